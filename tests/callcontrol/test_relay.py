"""Passing on between a phone of this node and a call of another one."""

from __future__ import annotations

import pytest

from callcontrol.relay import BRANCH, FlowRelay, FlowTokens, route
from callcontrol.sip.endpoint import Endpoint
from callcontrol.sip.flow import Flow, Listener, Listeners
from callcontrol.sip.message import Message, parse
from callcontrol.sip.timers import SipTimers

pytestmark = pytest.mark.rule("LIVE-01")

KEY = bytes(range(32))
HERE, THERE = ("192.0.2.1", 5060), ("192.0.2.2", 5060)
"""This node, and the one that has the call."""
PHONE = Flow("tcp", "198.51.100.7", 40000, "tcp", 77)
NODE = Flow("udp", *THERE, "udp")
DIALOG = "Call-ID: vfbf7lzj6cv2pdnh.b1.1\r\nFrom: <sip:a@x>;tag=one\r\n"


class Site:
    """The node that has the phone."""

    def __init__(self) -> None:
        listeners = Listeners()
        for transport in ("udp", "tcp"):
            listeners.add(Listener(transport, transport, HERE[0], HERE[1]))
        self.endpoint = Endpoint(SipTimers(0.5, 4.0, 5.0), listeners)
        self.tokens = FlowTokens(KEY)
        self.living = {THERE}
        self.open = {77}
        self.relay = FlowRelay(self.endpoint, self.tokens, self, self.open.__contains__)
        self.endpoint.relay = self.relay.takes

    def lives_at(self, address: tuple[str, int]) -> bool:
        return address in self.living

    def receive(self, text: str, flow: Flow, now: float = 0.0) -> list[tuple[Flow, Message]]:
        self.endpoint.receive(text.encode(), flow, now)
        return self.sent()

    def sent(self) -> list[tuple[Flow, Message]]:
        sent = [(flow, parse(data)) for flow, data in self.endpoint.out]
        self.endpoint.out.clear()
        return sent


def from_node(
    method: str, routes: str, *, branch: str = "z9hG4bKabc", to: str = "<sip:b@x>", forwards: int = 70
) -> str:
    return (
        f"{method} sip:phone@198.51.100.7;transport=tcp SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP {THERE[0]}:{THERE[1]};branch={branch};rport\r\nRoute: {routes}\r\n"
        f"Max-Forwards: {forwards}\r\n{DIALOG}To: {to}\r\nCSeq: 1 {method}\r\n"
        "Contact: <sip:vfbf7lzj6cv2pdnh.b1@192.0.2.2:5060>\r\nX-Odd:  kept as it is \r\nContent-Length: 2\r\n\r\nhi"
    )


def from_phone(
    method: str, route_value: str, *, branch: str = "z9hG4bKphone", to: str = "<sip:a@x>;tag=one"
) -> str:
    return (
        f"{method} sip:vfbf7lzj6cv2pdnh.b1@192.0.2.2:5060 SIP/2.0\r\n"
        f"Via: SIP/2.0/TCP 198.51.100.7:40000;branch={branch}\r\nRoute: {route_value}\r\n"
        f"Max-Forwards: 70\r\nCall-ID: vfbf7lzj6cv2pdnh.b1.1\r\nFrom: <sip:b@x>;tag=two\r\nTo: {to}\r\n"
        f"CSeq: 2 {method}\r\nContent-Length: 0\r\n\r\n"
    )


def answer(request: Message, status: int) -> str:
    lines = [f"SIP/2.0 {status} Whatever"]
    lines += [
        raw
        for name, _, raw in request.headers
        if name in ("via", "from", "to", "call-id", "cseq", "record-route")
    ]
    return "\r\n".join(lines) + "\r\nContent-Length: 0\r\n\r\n"


def rung(site: Site) -> Message:
    """The INVITE as the phone gets it."""
    text = from_node("INVITE", route(site.tokens, PHONE, "192.0.2.1:5060"))
    ((flow, invite),) = site.receive(text, NODE)
    assert flow == PHONE
    return invite


def test_an_invite_goes_over_the_flow_and_its_answers_come_back() -> None:
    site = Site()
    invite = rung(site)
    assert invite.method == "INVITE"
    assert not invite.has("route")
    assert invite.max_forwards == 69
    assert invite.body == b"hi"
    assert b"X-Odd:  kept as it is \r\n" in invite.data
    assert [via.partition(";")[0] for via in invite.all("via")] == [
        "SIP/2.0/TCP 192.0.2.1:5060",
        "SIP/2.0/UDP 192.0.2.2:5060",
    ]
    record = invite.get("record-route") or ""
    assert "@192.0.2.1:5060;transport=tcp;lr>" in record
    ((flow, reply),) = site.receive(answer(invite, 180), PHONE)
    assert (flow.transport, flow.host, flow.port) == ("udp", *THERE)
    assert reply.status == 180
    assert len(reply.all("via")) == 1
    assert reply.branch == "z9hG4bKabc"
    assert not site.endpoint.transactions
    assert not site.endpoint.events
    assert site.relay.passed == {"to_phone": 1, "response": 1}


def test_repetition_cancel_and_ack_of_a_refusal_follow_the_invite() -> None:
    site = Site()
    invite = rung(site)
    way = route(site.tokens, PHONE, "192.0.2.1:5060")
    for method in ("INVITE", "CANCEL", "ACK"):
        ((flow, again),) = site.receive(from_node(method, way), NODE)
        assert flow == PHONE
        assert again.branch == invite.branch
        assert again.branch.startswith(BRANCH)
    ((_, other),) = site.receive(from_node("INVITE", way, branch="z9hG4bKother"), NODE)
    assert other.branch != invite.branch


def test_what_the_phone_asks_in_the_call_goes_to_its_node_and_is_kept_until_it_is_answered() -> None:
    site = Site()
    record = rung(site).get("record-route") or ""
    ((flow, bye),) = site.receive(from_phone("BYE", record), PHONE)
    assert (flow.host, flow.port) == THERE
    assert bye.uri == "sip:vfbf7lzj6cv2pdnh.b1@192.0.2.2:5060"
    assert len(site.relay) == 1
    sent = []
    for at in (0.4, 0.6, 1.0, 1.7):
        site.relay.tick(at)
        sent.append(len(site.sent()))
    assert sent == [0, 1, 0, 1]
    ((flow, reply),) = site.receive(answer(bye, 200), NODE)
    assert flow == PHONE
    assert reply.branch == "z9hG4bKphone"
    assert len(site.relay) == 0


@pytest.mark.rule("LIVE-02")
def test_when_the_calls_node_dies_the_request_is_for_this_one() -> None:
    site = Site()
    record = rung(site).get("record-route") or ""
    site.receive(from_phone("BYE", record), PHONE)
    site.living.clear()
    site.relay.tick(0.1)
    assert [type(event).__name__ for event in site.endpoint.events] == ["RequestReceived"]
    assert len(site.relay) == 0
    site.receive(from_phone("INFO", record, branch="z9hG4bKnext"), PHONE)
    assert len(site.endpoint.events) == 2


def test_nobody_waits_for_ever() -> None:
    site = Site()
    record = rung(site).get("record-route") or ""
    site.receive(from_phone("BYE", record), PHONE)
    site.relay.tick(33.0)
    assert len(site.relay) == 0


def test_a_phone_whose_path_has_changed_is_still_the_phone() -> None:
    site = Site()
    record = rung(site).get("record-route") or ""
    other = Flow("udp", "198.51.100.8", 50000, "udp")
    ((flow, _),) = site.receive(from_phone("BYE", record), other)
    assert (flow.host, flow.port) == THERE


def test_the_node_uses_the_same_route_towards_the_phone() -> None:
    site = Site()
    record = rung(site).get("record-route") or ""
    ((flow, bye),) = site.receive(from_node("BYE", record, to="<sip:b@x>;tag=two"), NODE)
    assert flow == PHONE
    assert not bye.has("record-route")


@pytest.mark.rule("DEV-05")
def test_a_flow_that_is_gone_is_said_at_once() -> None:
    site = Site()
    site.open.clear()
    way = route(site.tokens, PHONE, "192.0.2.1:5060")
    ((flow, reply),) = site.receive(from_node("INVITE", way), NODE)
    assert flow == NODE
    assert reply.status == 430
    assert site.receive(from_node("ACK", way), NODE) == []
    assert not site.endpoint.transactions


@pytest.mark.rule("OPS-05")
def test_what_a_phone_begins_it_does_not_begin_over_its_route() -> None:
    """Else a device would send new calls to another node as if that node's neighbour had."""
    site = Site()
    record = rung(site).get("record-route") or ""
    site.receive(from_phone("INVITE", record, to="<sip:somebody@x>"), PHONE)
    assert [type(event).__name__ for event in site.endpoint.events] == ["RequestReceived"]


@pytest.mark.rule("OPS-05")
@pytest.mark.parametrize("word", ["", "AAAA", "flow~", "not base64!", "é"])
def test_routes_that_others_made_lead_nowhere(word: str) -> None:
    site = Site()
    sent = site.receive(from_node("OPTIONS", f"<sip:flow~{word}@192.0.2.1:5060;lr>"), NODE)
    assert sent == []
    assert len(site.endpoint.events) == 1
    forged = FlowTokens(bytes(32)).make(PHONE)
    assert site.tokens.read(forged) is None
    assert site.tokens.read(site.tokens.make(PHONE, THERE)) == (PHONE, THERE)


@pytest.mark.rule("OPS-05")
def test_responses_that_others_made_up_go_nowhere() -> None:
    site = Site()
    invite = rung(site)
    text = answer(invite, 200)
    at = text.index(";back=") + 8
    assert site.receive(text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :], PHONE) == []


def test_loops_end() -> None:
    site = Site()
    way = route(site.tokens, PHONE, "192.0.2.1:5060")
    ((_, reply),) = site.receive(from_node("INVITE", way, forwards=0), NODE)
    assert reply.status == 483
