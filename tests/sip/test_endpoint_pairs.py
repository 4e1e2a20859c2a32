"""Two endpoints back to back over a network that loses, doubles, delays and cuts, always in the same way."""

from itertools import product

import pytest

from callcontrol.sip import build
from callcontrol.sip.events import (
    AckReceived,
    CancelReceived,
    RequestReceived,
    ResponseReceived,
    TransactionFailed,
)
from callcontrol.sip.flow import Flow
from callcontrol.sip.message import Message
from tests.support.exchanges import event_word, request_data, word
from tests.support.wire import DELIVER, DOUBLE, LATE, LOSE, Fate, Network, Node

A, B = "192.0.2.10", "192.0.2.20"


class Caller:
    """A TU that calls, acknowledges each 2xx, and hangs up a second later."""

    def __init__(self, node: Node, peer: Node, transport: str = "udp") -> None:
        self.node = node
        self.flow = node.flow_to(peer, transport)
        self.seen: list[str] = []
        self.acked = 0
        self.hung_up = False
        node.turn = self.turn

    def call(self) -> None:
        self.send("INVITE", "z9hG4bK-call", 1)

    def send(self, method: str, branch: str, cseq: int, to_tag: str = "") -> None:
        data = request_data(method, cseq=cseq, to_tag=to_tag)
        self.node.endpoint.send_request(branch, method, data, self.flow, self.node.network.now, self)

    def turn(self, node: Node) -> None:
        events = node.endpoint.events[:]
        node.endpoint.events.clear()
        for event in events:
            self.seen.append(event_word(event))
            if isinstance(event, ResponseReceived):
                assert event.owner is self or event.message.status >= 200
                self.on_response(event.message)

    def on_response(self, message: Message) -> None:
        if message.method == "INVITE" and 200 <= message.status < 300:
            ack = request_data("ACK", to_tag=message.to_tag)
            self.node.endpoint.send_stateless_request("z9hG4bK-ack", ack, self.flow)
            self.acked += 1
            if not self.hung_up:
                self.hung_up = True
                to_tag = message.to_tag
                self.node.network.at(
                    self.node.network.now + 1, lambda: self.send("BYE", "z9hG4bK-bye", 2, to_tag)
                )


class Callee:
    """A TU that rings, then answers, repeats its 2xx until the ACK, and answers BYE and CANCEL."""

    def __init__(self, node: Node, final: int = 200, ring_for: float = 2.0) -> None:
        self.node = node
        self.final = final
        self.ring_for = ring_for
        self.seen: list[str] = []
        self.acked = False
        self.answered = False
        node.turn = self.turn

    def turn(self, node: Node) -> None:
        events = node.endpoint.events[:]
        node.endpoint.events.clear()
        for event in events:
            self.seen.append(event_word(event))
            match event:
                case RequestReceived(message=message) if message.method == "INVITE":
                    self.ring(event.key, message)
                case RequestReceived():
                    self.respond(event.key, event.message, 200)
                case AckReceived():
                    self.acked = True
                case CancelReceived():
                    owner = node.endpoint.owner_of(event.key)
                    assert isinstance(owner, Message)
                    self.answered = True
                    self.respond(event.key, owner, 487)

    def ring(self, key: str, message: Message) -> None:
        self.node.endpoint.claim(key, message)
        self.respond(key, message, 180)
        now = self.node.network.now
        self.node.network.at(now + self.ring_for, lambda: self.answer(key, message))

    def answer(self, key: str, message: Message) -> None:
        if self.answered:
            return
        self.answered = True
        if self.final < 300:
            self.repeat(key, message, 0.5, self.node.network.now + 32)
        else:
            self.respond(key, message, self.final)

    def repeat(self, key: str, message: Message, interval: float, until: float) -> None:
        """RFC 3261 §13.3.1.4."""
        if self.acked or not self.respond(key, message, self.final):
            return
        when = self.node.network.now + interval
        if when < until:
            self.node.network.at(when, lambda: self.repeat(key, message, min(interval * 2, 4.0), until))

    def respond(self, key: str, message: Message, status: int) -> bool:
        data = build.response(message, status, to_tag="callee")
        return self.node.endpoint.send_response(key, status, data, self.node.network.now)


def pair(
    there: list[Fate], back: list[Fate], final: int = 200, transport: str = "udp"
) -> tuple[Network, Caller, Callee]:
    net = Network(latency=0.02)
    a, b = net.node(A), net.node(B)
    net.link(A, B).fates = there
    net.link(B, A).fates = back
    return net, Caller(a, b, transport), Callee(b, final)


def assert_at_rest(net: Network) -> None:
    for node in net.nodes.values():
        assert node.endpoint.transactions == 0
        assert node.endpoint.next_deadline() is None


def started(net: Network, host: str) -> list[str]:
    return [word(data) for _, source, _, data in net.log if source == host]


CLEAN = [DELIVER]
PATTERNS: list[list[Fate]] = [
    CLEAN,
    [LOSE, DELIVER],
    [DELIVER, LOSE],
    [LOSE, LOSE, DELIVER, DELIVER, DELIVER],
    [DELIVER, LOSE, LOSE, DELIVER],
    [DOUBLE],
    [LATE, DELIVER],
    [DELIVER, LATE, DOUBLE, LOSE],
]


def test_clean_call_is_eight_messages() -> None:
    net, caller, callee = pair(CLEAN, CLEAN)
    caller.call()
    net.run_until(200)
    assert started(net, A) == ["INVITE", "ACK", "BYE"]
    assert started(net, B) == ["180", "200", "200"]
    assert caller.seen == ["180 INVITE", "200 INVITE", "200 BYE"]
    assert callee.seen == ["request INVITE", "ACK", "request BYE"]
    assert_at_rest(net)


@pytest.mark.parametrize(("there", "back"), list(product(PATTERNS, PATTERNS)))
def test_answered_call_survives_every_pattern_of_loss(there: list[Fate], back: list[Fate]) -> None:
    net, caller, callee = pair(there, back)
    caller.call()
    net.run_until(300)
    assert callee.seen.count("request INVITE") == 1, "told once, however often it came"
    assert callee.seen.count("request BYE") == 1
    assert "200 INVITE" in caller.seen
    assert caller.seen.count("200 BYE") == 1
    assert callee.acked
    assert "failed" not in " ".join(caller.seen)
    assert_at_rest(net)


@pytest.mark.parametrize(("there", "back"), list(product(PATTERNS, PATTERNS)))
def test_refused_call_survives_every_pattern_of_loss(there: list[Fate], back: list[Fate]) -> None:
    net, caller, callee = pair(there, back, final=486)
    caller.call()
    net.run_until(300)
    assert callee.seen.count("request INVITE") == 1
    assert caller.seen.count("486 INVITE") == 1
    assert callee.seen.count("ACK") == 0, "the ACK of a refusal is the transaction's"
    assert callee.node.endpoint.counters.named == {}
    assert_at_rest(net)


@pytest.mark.parametrize(("there", "back"), list(product(PATTERNS, PATTERNS)))
@pytest.mark.parametrize("after", [0.0, 0.5, 1.9])
def test_cancel_ends_the_call_once(there: list[Fate], back: list[Fate], after: float) -> None:
    """Sent at once (held back until the first 1xx), while it rings, and about when it is answered."""
    net, caller, callee = pair(there, back)
    caller.call()
    net.at(after, lambda: caller.send("CANCEL", "z9hG4bK-call", 1))
    net.run_until(300)
    finals = [x for x in caller.seen if x in ("200 INVITE", "487 INVITE")]
    assert len(set(finals)) == 1, "one of the two, never both"
    assert callee.seen.count("cancel") <= 1
    if finals[0] == "487 INVITE":
        assert len(finals) == 1
    assert_at_rest(net)


@pytest.mark.parametrize(
    ("there", "back", "expected"),
    [
        ([LOSE], CLEAN, ["failed INVITE timeout"]),
        (CLEAN, [LOSE], ["failed INVITE timeout"]),
    ],
)
def test_nobody_there(there: list[Fate], back: list[Fate], expected: list[str]) -> None:
    net, caller, _ = pair(there, back, final=486)
    caller.call()
    net.run_until(300)
    assert caller.seen == expected
    assert_at_rest(net)


def test_host_that_does_not_exist() -> None:
    net = Network()
    a = net.node(A)
    a.endpoint.send_request("z9hG4bK-1", "OPTIONS", request_data("OPTIONS"), Flow("udp", B, 5060), 0.0)
    a.endpoint.send_request("z9hG4bK-2", "OPTIONS", request_data("OPTIONS"), Flow("tcp", B, 5060), 0.0)
    net.run_until(100)
    assert [(round(when, 2), event_word(event)) for when, event in a.seen] == [
        (0.01, "failed OPTIONS transport"),
        (32.0, "failed OPTIONS timeout"),
    ]
    assert isinstance(a.seen[0][1], TransactionFailed)


@pytest.mark.parametrize("transport", ["tcp", "tls", "ws", "wss"])
def test_clean_call_over_streams(transport: str) -> None:
    net = Network()
    a, b = net.node(A, [transport]), net.node(B, [transport])
    caller, callee = Caller(a, b, transport), Callee(b)
    caller.call()
    net.run_until(200)
    assert started(net, A) == ["INVITE", "ACK", "BYE"]
    assert started(net, B) == ["180", "200", "200"]
    assert callee.acked
    assert len(net.connections) == 1
    assert_at_rest(net)


@pytest.mark.parametrize("when", [0.005, 0.5, 1.99, 2.03, 2.05])
def test_connection_cut_during_a_call(when: float) -> None:
    net, caller, _ = pair(CLEAN, CLEAN, transport="tcp")
    caller.call()
    net.at(when, lambda: net.cut(next(iter(net.connections))))
    net.run_until(300)
    if when < 2.04:
        assert [word for word in caller.seen if word != "stray 200"][-1] == "failed INVITE transport"
    else:
        assert caller.acked == 2, "the 2xx came again over a connection of the callee's own"
        assert caller.seen[-1] == "200 BYE"
    assert_at_rest(net)


def test_oversize_call_over_tcp_and_back_to_udp_when_refused() -> None:
    for refuses in (False, True):
        net, caller, callee = pair(CLEAN, CLEAN)
        callee.node.refuses_streams = refuses
        data = request_data("INVITE", body=b"a=x\r\n" * 400)
        caller.node.endpoint.send_request("z9hG4bK-call", "INVITE", data, caller.flow, 0.0, caller)
        net.run_until(200)
        assert "200 INVITE" in caller.seen
        assert bool(net.connections) is not refuses
        assert_at_rest(net)


def test_the_same_run_is_the_same_to_the_last_byte() -> None:
    def run() -> list[tuple[float, str, str, bytes]]:
        net, caller, _ = pair(PATTERNS[7], PATTERNS[6])
        caller.call()
        net.run_until(100)
        return net.log

    assert run() == run()


def test_network_that_never_rests_is_an_error() -> None:
    net = Network()
    net.node(A)

    def again() -> None:
        net.at(net.now + 0.001, again)

    again()
    with pytest.raises(AssertionError, match="still busy"):
        net.run_until(10, steps=100)
