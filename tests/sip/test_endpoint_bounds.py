"""Bounds and hostility: overload, full tables, memory, garbage."""

import gc
import tracemalloc

import pytest

from callcontrol.sip import build
from callcontrol.sip.events import RequestReceived
from callcontrol.sip.flow import Flow
from callcontrol.sip.message import Message
from tests.support.exchanges import Bench, arriving, request_data, response_to


def emergency(message: Message) -> bool:
    return message.uri == "sip:112@example.org"


def urgent(branch: str = "z9hG4bK-112") -> bytes:
    return arriving("INVITE", branch, call_id="urgent").replace(b"sip:bob@", b"sip:112@", 1)


# ---- overload


def overloaded() -> Bench:
    bench = Bench()
    bench.endpoint.overloaded = True
    bench.endpoint.priority = emergency
    return bench


def test_overload_sheds_invites_that_open_dialogs_without_state() -> None:
    bench = overloaded()
    bench.receive(arriving("INVITE"))
    assert (bench.told(), bench.sent()) == ([], ["503"])
    assert b"Retry-After: 5\r\n" in bench.last
    assert bench.is_empty()
    assert bench.endpoint.counters.stateless == {503: 1}


@pytest.mark.parametrize(
    "data",
    [
        arriving("INVITE", to_tag="in-dialog"),
        arriving("BYE", to_tag="in-dialog"),
        arriving("OPTIONS"),
        arriving("REGISTER"),
        arriving("ACK", to_tag="in-dialog"),
        urgent(),
    ],
)
def test_overload_lets_pass_what_belongs_to_calls_and_emergency(data: bytes) -> None:
    bench = overloaded()
    bench.receive(data)
    assert len(bench.told()) == 1


def test_invite_taken_before_the_overload_is_retransmitted_and_cancelled_as_ever() -> None:
    bench = Bench()
    bench.receive(arriving("INVITE"))
    bench.endpoint.overloaded = True
    bench.answer(180)
    bench.sent()
    bench.receive(arriving("INVITE"))
    bench.receive(arriving("CANCEL"))
    assert bench.sent() == ["180", "200"]


# ---- full


def test_full_tables_refuse_and_keep_a_reserve_for_calls() -> None:
    bench = Bench(max_transactions=8)
    bench.endpoint.priority = emergency
    for index in range(8):
        bench.receive(arriving("OPTIONS", f"z9hG4bK-{index}", cseq=index))
    assert len(bench.told()) == 8
    bench.receive(arriving("OPTIONS", "z9hG4bK-x", cseq=77))
    bench.receive(arriving("INVITE", "z9hG4bK-y", cseq=78))
    assert bench.sent() == ["503", "503"]
    bench.receive(arriving("BYE", "z9hG4bK-b", to_tag="in-dialog"))
    bench.receive(urgent())
    assert bench.told() == ["request BYE", "request INVITE"]
    bench.receive(arriving("BYE", "z9hG4bK-c", to_tag="in-dialog", cseq=3))
    assert bench.sent() == ["503"]
    assert bench.endpoint.transactions == 10
    assert bench.endpoint.counters.stateless == {503: 3}


def test_room_comes_back_with_time() -> None:
    bench = Bench(max_transactions=1)
    bench.receive(arriving("OPTIONS", "z9hG4bK-1"))
    bench.answer(200)
    bench.run(33)
    bench.told()
    bench.receive(arriving("OPTIONS", "z9hG4bK-2"))
    assert bench.told() == ["request OPTIONS"]


# ---- once


@pytest.mark.rule("OPS-05")
@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_an_invite_answered_once_leaves_nothing_and_is_not_repeated(transport: str) -> None:
    """Else a forged address would be sent the same challenge ten times (RFC 3261 §26.3.2.4)."""
    bench = Bench(transport)
    data = arriving("INVITE", transport=transport.upper())
    bench.receive(data)
    answer = build.response(bench.message, 407, to_tag="t") if bench.message is not None else b""
    assert bench.endpoint.answer_once(bench.key, 407, answer, bench.now)
    assert (bench.told(), bench.sent()) == (["request INVITE"], ["407"])
    assert bench.endpoint.transactions == 0
    assert bench.run(200) == []
    assert bench.is_empty()
    assert bench.endpoint.counters.stateless == {407: 1}
    bench.receive(arriving("ACK", to_tag="t", transport=transport.upper()))
    assert (bench.told(), bench.sent()) == (["ACK"], [])
    bench.receive(data)
    assert bench.told() == ["request INVITE"], "sent again it is a new request"


def test_nobody_is_answered_once_twice() -> None:
    bench = Bench()
    bench.receive(arriving("OPTIONS"))
    assert bench.message is not None
    answer = build.response(bench.message, 405, to_tag="t")
    assert bench.endpoint.answer_once(bench.key, 405, answer, bench.now)
    assert not bench.endpoint.answer_once(bench.key, 405, answer, bench.now)
    assert bench.sent() == ["405"]


# ---- garbage


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", True),
        (arriving("OPTIONS").replace(b"CSeq: 1", b"CSeq: x"), True),
        (b"\r\n\r\n", False),
        (b"\0\0\0\0", False),
        (b"jaK", False),
        (b"\x00\x01\x00\x00\x21\x12\xa4\x42" + b"id" * 6, False),
        (arriving("OPTIONS"), False),
    ],
)
def test_who_sends_no_sip_is_told_of_but_not_for_a_keep_alive(data: bytes, told: bool) -> None:
    bench = Bench()
    seen: list[Flow] = []
    bench.endpoint.on_malformed = seen.append
    bench.receive(data)
    assert seen == ([bench.flow] if told else [])


def exchange(bench: Bench, index: int) -> None:
    """Both sides of a few exchanges, complete with refusals, CANCELs and timeouts."""
    bench.receive(arriving("INVITE", f"z9hG4bK-i{index}", call_id=f"i{index}"))
    bench.answer(180)
    bench.receive(arriving("INVITE", f"z9hG4bK-i{index}", call_id=f"i{index}"))
    bench.answer(200 if index % 2 else 486)
    bench.receive(arriving("ACK", f"z9hG4bK-i{index}", call_id=f"i{index}", to_tag="bob"))
    bench.receive(arriving("BYE", f"z9hG4bK-b{index}", call_id=f"i{index}", to_tag="bob"))
    bench.answer(200)
    bench.receive(b"nonsense")
    bench.send("INVITE", branch=f"z9hG4bK-c{index}", owner=("call", index))
    invite = bench.endpoint.out[-1][1]
    bench.receive(response_to(invite, 180))
    bench.send("CANCEL", branch=f"z9hG4bK-c{index}", owner=("call", index))
    if index % 3:
        bench.receive(response_to(bench.endpoint.out[-1][1], 200))
        bench.receive(response_to(invite, 487))
    bench.endpoint.out.clear()
    bench.endpoint.events.clear()


def test_finished_transactions_leave_no_cycles() -> None:
    bench = Bench()
    exchange(bench, 0)
    bench.run(200)
    gc.collect()
    gc.disable()
    try:
        for index in range(1, 50):
            exchange(bench, index)
        bench.run(400)
        assert bench.is_empty()
        bench.message = None
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_owner_is_let_go_when_the_transaction_ends() -> None:
    bench = Bench()
    for final in (200, 486):
        branch = f"z9hG4bK-{final}"
        bench.send("INVITE", branch=branch, owner="call")
        bench.receive(response_to(bench.endpoint.out[-1][1], final))
    ended = list(bench.endpoint._clients.values())
    bench.run(100)
    assert [transaction.owner for transaction in ended] == [None, None]
    bench.receive(arriving("INVITE"))
    bench.endpoint.claim(bench.key, "call")
    (server,) = bench.endpoint._servers.values()
    bench.answer(200)
    assert server.owner is None


# ---- size


def held_bytes(bench: Bench, make: object, count: int = 500) -> int:
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for index in range(count):
            make(index)  # type: ignore[operator]
            bench.endpoint.out.clear()
            bench.endpoint.events.clear()
        bench.message = None
        return (tracemalloc.get_traced_memory()[0] - before) // count
    finally:
        tracemalloc.stop()


SDP = b"v=0\r\n" + b"a=candidate:1 1 udp 1 192.0.2.1 1 typ host\r\n" * 40


@pytest.mark.parametrize(
    ("name", "bound"),
    [
        ("accepted server", 900),
        ("accepted client", 900),
        ("non-INVITE server", 1500),
        ("refused client", 1500),
    ],
)
def test_a_finished_transaction_is_small_however_large_its_messages_were(name: str, bound: int) -> None:
    """They linger for 32 s: thousands of calls a second are hundreds of thousands of them."""
    bench = Bench()

    def server(index: int) -> None:
        bench.receive(arriving("INVITE", f"z9hG4bK-{index:016}", call_id=f"c{index}", body=SDP))
        bench.answer(180)
        bench.answer(200)

    def options(index: int) -> None:
        bench.receive(arriving("OPTIONS", f"z9hG4bK-{index:016}", call_id=f"c{index}", body=SDP))
        bench.answer(200)

    def client(index: int, status: int) -> None:
        data = request_data("INVITE", call_id=f"c{index}", body=SDP)
        flow = bench.flow
        bench.endpoint.send_request(f"z9hG4bK-{index:016}", "INVITE", data, flow, 0.0, keep_flow=True)
        bench.receive(response_to(bench.endpoint.out[0][1], status))

    makers = {
        "accepted server": server,
        "non-INVITE server": options,
        "accepted client": lambda index: client(index, 200),
        "refused client": lambda index: client(index, 486),
    }
    assert held_bytes(bench, makers[name]) < bound
    assert bench.endpoint.transactions >= 500


def hostile(index: int) -> bytes:
    """One of many kinds of nuisance, never the same twice."""
    kind = index % 10
    method = ("INVITE", "OPTIONS", "REGISTER", "BYE", "CANCEL", "ACK", "INVITE", "X", "INVITE", "OPTIONS")[
        kind
    ]
    data = arriving(
        method,
        f"z9hG4bK-{index}",
        call_id=f"h{index}",
        from_tag=str(index),
        to_tag="x" if kind in (3, 5) else "",
        via=f"SIP/2.0/UDP 10.0.0.1;x={index}" if kind == 6 else "",
    )
    if kind == 8:
        return data.replace(b"CSeq: 1", b"CSeq: x")
    if kind == 9:
        return data[: 40 + index % 200]
    return data


def counter_sizes(bench: Bench) -> dict[str, int]:
    counters = bench.endpoint.counters
    tables = {name: getattr(counters, name) for name in dir(counters) if not name.startswith("_")}
    return {name: len(table) for name, table in tables.items() if isinstance(table, dict)}


@pytest.mark.rule("OPS-05")
@pytest.mark.parametrize("count", [2_500])
def test_memory_after_hostile_messages_is_where_it_was(count: int) -> None:
    """A stranger sends what he likes from many addresses, the TU refuses what reaches it, time passes."""
    bench = Bench(max_transactions=2_000)
    endpoint = bench.endpoint

    def flood(start: int) -> None:
        for index in range(start, start + count):
            host = f"10.{index >> 16 & 255}.{index >> 8 & 255}.{index & 255}"
            flow = Flow("udp", host, 1024 + index % 60000)
            now = bench.now + index % 100 / 100
            endpoint.receive(hostile(index), flow, now)
            for event in endpoint.events:
                if isinstance(event, RequestReceived):
                    bench.key, bench.message = event.key, event.message
                    bench.answer(404)
            endpoint.events.clear()
            endpoint.out.clear()
        bench.message = None
        bench.now += 1
        endpoint.tick(bench.now)
        bench.run(bench.now + 100)
        assert bench.is_empty()

    tracemalloc.start()
    try:
        flood(0)
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        names = counter_sizes(bench)
        for part in range(1, 4):
            flood(count * part)
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < 20_000
    assert counter_sizes(bench) == names, "counter names must not be the stranger's choice"


def test_cost_of_a_timer_does_not_grow_with_outstanding_ones() -> None:
    """A hundred thousand transactions wait in as many wheel entries, and ticks look only at what is due."""
    bench = Bench()
    for index in range(20_000):
        bench.now = index / 1000
        bench.endpoint.tick(bench.now)
        bench.receive(arriving("OPTIONS", f"z9hG4bK-{index}", cseq=index))
        bench.answer(200)
        bench.endpoint.out.clear()
        bench.endpoint.events.clear()
    assert bench.endpoint.transactions == 20_000
    assert len(bench.endpoint._wheel) == 20_000, "one entry each, however often deadlines moved"
    bench.run(100)
    assert bench.is_empty()
