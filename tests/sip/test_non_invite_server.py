"""Non-INVITE server transaction: every arrow of RFC 3261 figure 8, and RFC 4320."""

import pytest

from tests.support.exchanges import Bench, arriving

STREAMS = ("tcp", "tls", "ws", "wss")


def trying(transport: str = "udp", method: str = "OPTIONS") -> Bench:
    bench = Bench(transport)
    bench.receive(arriving(method, transport=transport.upper()))
    assert bench.told() == [f"request {method}"]
    return bench


@pytest.mark.parametrize("method", ["OPTIONS", "BYE", "REGISTER", "INVENTED"])
@pytest.mark.parametrize("status", [200, 302, 404, 500, 603])
def test_final_is_sent_and_repeated_until_timer_j(method: str, status: int) -> None:
    bench = trying(method=method)
    bench.receive(arriving(method))
    assert (bench.told(), bench.sent()) == ([], [])  # absorbed while the TU thinks
    assert bench.answer(status)
    assert bench.sent() == [str(status)]
    bench.run(30.0)
    bench.receive(arriving(method))
    assert (bench.told(), bench.sent()) == ([], [str(status)])
    assert not bench.answer(200)
    assert bench.sent() == []
    assert bench.run(31.9) == []
    assert bench.endpoint.transactions == 1
    bench.run(32.1)
    assert bench.is_empty()
    bench.receive(arriving(method))
    assert bench.told() == [f"request {method}"]  # by now it is a new one


@pytest.mark.parametrize("transport", STREAMS)
def test_timer_j_is_zero_on_streams(transport: str) -> None:
    bench = trying(transport)
    assert bench.answer(200)
    assert bench.sent() == ["200"]
    assert bench.endpoint.transactions == 0
    assert not bench.answer(200)


# ---- RFC 4320


def test_100_is_sent_when_timer_e_of_the_peer_has_reached_t2() -> None:
    bench = trying()
    assert bench.run(3.6) == [(3.5, "100")]
    bench.receive(arriving("OPTIONS"))
    assert (bench.told(), bench.sent()) == ([], ["100"])
    assert bench.answer(200)
    assert bench.sent() == ["200"]


@pytest.mark.parametrize("transport", STREAMS)
def test_100_on_streams_too(transport: str) -> None:
    assert trying(transport).run(10) == [(3.5, "100")]


def test_no_early_100_over_udp() -> None:
    bench = trying()
    bench.run(3.4)
    assert not bench.answer(100)
    assert bench.sent() == []
    bench.run(3.49)
    bench.now = 3.5
    assert bench.answer(100)
    assert bench.sent() == ["100"]
    assert bench.run(10) == []


def test_early_100_is_allowed_on_streams() -> None:
    bench = trying("tcp")
    assert bench.answer(100)
    assert bench.sent() == ["100"]


@pytest.mark.parametrize("status", [101, 180, 183, 199])
@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_no_other_1xx(status: int, transport: str) -> None:
    bench = trying(transport)
    bench.run(4)
    assert not bench.answer(status)
    assert bench.sent() == []
    assert bench.endpoint.counters.dropped == {"1xx of ours to non-INVITE": 1}


def test_no_408() -> None:
    bench = trying()
    assert not bench.answer(408)
    assert bench.sent() == []
    assert bench.endpoint.counters.dropped == {"408 of ours to non-INVITE": 1}
    bench.run(100)
    assert bench.is_empty()


def test_no_answer_once_the_peer_has_given_up() -> None:
    bench = trying()
    assert bench.run(100) == [(3.5, "100")]
    assert bench.is_empty()
    assert not bench.answer(200)
    assert bench.sent() == []
    counters = bench.endpoint.counters
    assert counters.named == {"request without answer": 1}
    assert counters.dropped == {"response of ours without transaction": 1}


def test_100_does_not_give_the_tu_more_time() -> None:
    bench = trying()
    bench.run(30)
    assert bench.answer(200)
    bench = trying()
    bench.run(32.5)
    assert not bench.answer(200)
