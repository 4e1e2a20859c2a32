"""Non-INVITE client transaction: every arrow of RFC 3261 figure 6."""

import pytest

from tests.support.exchanges import Bench, response_to

STREAMS = ("tcp", "tls", "ws", "wss")


def trying(transport: str = "udp", method: str = "OPTIONS") -> Bench:
    bench = Bench(transport)
    bench.send(method, owner="owner")
    assert bench.sent() == [method]
    return bench


@pytest.mark.parametrize("method", ["OPTIONS", "BYE", "REGISTER", "INFO", "INVENTED"])
def test_timer_e_doubles_up_to_t2_and_timer_f_ends_it(method: str) -> None:
    bench = trying(method=method)
    times = [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    assert bench.run(100) == [(when, method) for when in times] + [(32.0, f"failed {method} timeout")]
    assert bench.is_empty()
    label = "other" if method == "INVENTED" else method
    assert bench.endpoint.counters.retransmissions == {label: 10}


@pytest.mark.parametrize("transport", STREAMS)
def test_streams_retransmit_nothing(transport: str) -> None:
    assert trying(transport).run(100) == [(32.0, "failed OPTIONS timeout")]


def test_1xx_slows_retransmissions_to_t2_and_does_not_stop_them() -> None:
    """§17.1.2.2, figure 6: the running Timer E is left as it is, then it is T2."""
    bench = trying()
    request = bench.last
    bench.run(0.1)
    bench.receive(response_to(request, 100))
    assert bench.told() == ["100 OPTIONS"]
    times = [0.5, 4.5, 8.5, 12.5, 16.5, 20.5, 24.5, 28.5]
    assert bench.run(100) == [(when, "OPTIONS") for when in times] + [(32.0, "failed OPTIONS timeout")]


@pytest.mark.parametrize("status", [200, 302, 404, 503, 600])
@pytest.mark.parametrize("before", [(), (100,), (100, 183)])
def test_final_is_passed_up_once_and_timer_k_absorbs(status: int, before: tuple[int, ...]) -> None:
    bench = trying()
    request = bench.last
    for provisional in before:
        bench.receive(response_to(request, provisional))
    bench.receive(response_to(request, status))
    assert bench.told() == [f"{x} OPTIONS" for x in (*before, status)]
    for again in (status, 200, 100):
        bench.receive(response_to(request, again))
    assert (bench.told(), bench.sent()) == ([], [])
    assert bench.endpoint.counters.dropped == {"response after final": 3}
    assert bench.run(4.9) == []
    assert bench.endpoint.transactions == 1
    bench.run(5.1)
    assert bench.is_empty()


@pytest.mark.parametrize("transport", STREAMS)
def test_timer_k_is_zero_on_streams(transport: str) -> None:
    bench = trying(transport)
    bench.receive(response_to(bench.last, 200))
    assert bench.told() == ["200 OPTIONS"]
    assert bench.endpoint.transactions == 0


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("before", [(), (100,)])
def test_transport_error_in_trying_and_proceeding(transport: str, before: tuple[int, ...]) -> None:
    bench = trying(transport)
    for provisional in before:
        bench.receive(response_to(bench.last, provisional))
    bench.told()
    bench.endpoint.send_failed(bench.flow, 0.0)
    assert bench.told() == ["failed OPTIONS transport"]
    bench.run(100)
    assert bench.is_empty()


def test_transport_error_in_completed_is_ignored() -> None:
    bench = trying()
    bench.receive(response_to(bench.last, 200))
    bench.told()
    bench.endpoint.send_failed(bench.flow, 0.0)
    assert bench.told() == []
    assert bench.endpoint.transactions == 1


def test_owner_is_let_go_with_the_final() -> None:
    bench = trying()
    bench.receive(response_to(bench.last, 200))
    (transaction,) = bench.endpoint._clients.values()
    assert transaction.owner is None
