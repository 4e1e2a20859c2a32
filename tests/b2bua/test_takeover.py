"""What becomes of a call whose node died: the policy as a table, by phase and by what the caller was told (LIVE-02)."""

from __future__ import annotations

import pytest

from callcontrol.b2bua import snapshot, takeover
from callcontrol.b2bua.call import Call
from callcontrol.b2bua.effects import CallOver, Effect, WriteRecord
from callcontrol.b2bua.events import CancelIn, DeadlinePassed, RequestIn, ResponseIn, Resumed
from callcontrol.b2bua.phases import ENDED, RINGING, TALKING
from callcontrol.sip.commands import SendAck, SendRequest, SendResponse
from callcontrol.sip.usage import ESTABLISHED
from tests.support.adversary import FLOW, SDP, START, Adversary, environment, plan_of

RING = plan_of(1)
"""Three devices at the same time."""
PRACK_ME = (("require", "100rel"), ("supported", "100rel"))


def ringing() -> Adversary:
    return Adversary(RING, SDP[0], (), False)


def respond(them: Adversary, leg: str, status: int, body: bytes = b"", tag: str = "one") -> None:
    """The callee of a leg answers the INVITE."""
    request = next(each.request for key, each in them.open.items() if each.leg == leg and "INVITE" in key)
    message = them.parsed(request.data)
    contact = (("contact", f"<sip:{leg}@10.1.0.1:5060>"),)
    them.feed(ResponseIn(leg, request.branch, them.answer(message, status, tag, contact, body)))


def answered() -> Adversary:
    them = ringing()
    respond(them, "b2", 200, SDP[1])
    return them


def talking() -> Adversary:
    them = answered()
    them.feed(RequestIn("a", them.request("ACK", "caller", them.tags["a"][0], 1, (), b""), "", FLOW))
    return them


def held_back() -> Adversary:
    """Somebody answered, but the caller's 2xx waits for the PRACK of the 180."""
    them = Adversary(RING, SDP[0], PRACK_ME, False)
    respond(them, "b1", 180)
    respond(them, "b1", 200, SDP[1])
    return them


def hanging_up() -> Adversary:
    them = talking()
    them.feed(RequestIn("a", them.request("BYE", "caller", them.tags["a"][0], 2, (), b""), "bye", FLOW))
    return them


def cancelled() -> Adversary:
    them = ringing()
    respond(them, "b1", 180)
    them.feed(CancelIn("a", them.request("CANCEL", "caller", "", 1, (), b"")))
    return them


TRIES = ["INVITE b1", "INVITE b2", "INVITE b3", "CANCEL b1", "CANCEL b2", "CANCEL b3"]
TABLE = [
    # (the moment of death, phase, policy, what goes out at once)
    (ringing, RINGING, takeover.END, [*TRIES, "503 a", "record"]),
    (held_back, TALKING, takeover.END, ["CANCEL b2", "CANCEL b3", "503 a", "BYE b1", "record"]),
    (answered, TALKING, takeover.GO_ON, ["200 a", "CANCEL b1", "CANCEL b3"]),
    (talking, TALKING, takeover.GO_ON, ["CANCEL b1", "CANCEL b3"]),
    (hanging_up, ENDED, takeover.FINISH, ["CANCEL b1", "BYE b2", "CANCEL b3", "record"]),
    (cancelled, ENDED, takeover.FINISH, ["487 a", "CANCEL b1", "CANCEL b2", "CANCEL b3", "record"]),
]  # fmt: skip


def words(effects: list[Effect]) -> list[str]:
    out = []
    for effect in effects:
        if isinstance(effect, SendRequest):
            out.append(f"{effect.method} {effect.leg}")
        elif isinstance(effect, SendResponse):
            out.append(f"{effect.status} {effect.leg}")
        elif isinstance(effect, SendAck):
            out.append(f"ACK {effect.leg}")
        elif isinstance(effect, WriteRecord):
            out.append("record")
        elif isinstance(effect, CallOver):
            out.append("over")
    return out


def died(them: Adversary) -> Call:
    return snapshot.load(snapshot.dump(them.call), environment())


@pytest.mark.rule("LIVE-02")
@pytest.mark.parametrize(("moment", "phase", "policy", "expected"), TABLE)
def test_policy_by_phase(moment: object, phase: int, policy: str, expected: list[str]) -> None:
    assert callable(moment)
    call = died(moment())
    assert call.phase == phase
    assert takeover.policy(call) == policy
    assert sorted(words(call.handle(Resumed(), START + 1.0))) == sorted(expected)


def test_every_phase_has_a_policy() -> None:
    assert sorted(takeover.POLICY) == [0, RINGING, TALKING, ENDED]


@pytest.mark.rule("LIVE-02")
def test_a_repeated_invite_is_byte_for_byte_the_first_one() -> None:
    them = ringing()
    first = {each.request.branch: each.request.data for each in them.open.values()}
    again = [
        e
        for e in died(them).handle(Resumed(), START + 1.0)
        if isinstance(e, SendRequest) and e.method == "INVITE"
    ]
    assert {effect.branch: effect.data for effect in again} == first


@pytest.mark.rule("LIVE-02")
def test_whoever_rings_gets_a_cancel_that_its_invite_is_known_by() -> None:
    """A repeated INVITE from another address would be a second one for the phone, and a CANCEL from there nobody's; from the
    same address it is a retransmission, and brings the final response to us."""
    them = ringing()
    respond(them, "b1", 180)
    elsewhere = died(them)
    invite = elsewhere.legs["b1"].usage.invite
    assert invite is not None
    invite.sent_by = "198.51.100.7:5060"
    for call, expected in (
        (elsewhere, [("CANCEL", "198.51.100.7:5060")]),
        (died(them), [("INVITE", ""), ("CANCEL", "192.0.2.1:5060")]),
    ):
        requests = [
            (effect.method, effect.sent_by)
            for effect in call.handle(Resumed(), START + 1.0)
            if isinstance(effect, SendRequest) and effect.leg == "b1"
        ]
        assert requests == expected


@pytest.mark.rule("LIVE-02")
@pytest.mark.parametrize(("sent_by", "expected"), [("198.51.100.7:5060", ["BYE b1"]), ("", [])])
def test_whoever_picked_up_over_a_dead_node_is_released(sent_by: str, expected: list[str]) -> None:
    """Its 2xx goes to an address that nobody listens on; at our own we would hear it."""
    them = ringing()
    respond(them, "b1", 180)
    call = died(them)
    for leg in call.legs.values():
        if leg.usage.invite is not None and sent_by:
            leg.usage.invite.sent_by = sent_by
    call.handle(Resumed(), START + 1.0)
    later: list[Effect] = []
    for second in range(1, 35):
        later += call.handle(DeadlinePassed(), START + 1.0 + second)
    byes = [effect for effect in later if isinstance(effect, SendRequest) and effect.method == "BYE"]
    assert [f"{bye.method} {bye.leg}" for bye in byes] == expected
    for bye in byes:
        assert b";tag=one" in bye.data
        assert b"CSeq: 2 BYE" in bye.data
        call.handle(
            ResponseIn("b1", bye.branch, them.answer(them.parsed(bye.data), 481, "one", (), b"")),
            START + 40.0,
        )
    assert sent_by == "" or call.legs["b1"].usage.quiet()


@pytest.mark.rule("LIVE-02")
def test_an_answer_that_comes_after_the_takeover_is_acked_and_released() -> None:
    them = ringing()
    branch = next(each.request.branch for each in them.open.values() if each.leg == "b1")
    message = them.parsed(next(each.request.data for each in them.open.values() if each.leg == "b1"))
    call = died(them)
    call.handle(Resumed(), START + 1.0)
    late = them.answer(message, 200, "one", (("contact", "<sip:b1@10.1.0.1>"),), SDP[1])
    assert words(call.handle(ResponseIn("b1", branch, late), START + 1.1)) == ["ACK b1", "BYE b1"]


@pytest.mark.rule("LIVE-02")
def test_the_2xx_without_ack_is_sent_until_64_t1_and_then_both_are_released() -> None:
    call = died(answered())
    sent = words(call.handle(Resumed(), START + 5.0))
    now = START + 5.0
    while call.phase != ENDED and now < START + 90.0:
        now = call.next_deadline()
        sent += words(call.handle(DeadlinePassed(), now))
    assert now == START + 5.0 + 32.0, "64·T1 since the takeover: nobody could be heard before"
    assert sent.count("200 a") > 5
    assert sent[-3:] == ["BYE a", "BYE b2", "record"]


@pytest.mark.rule("LIVE-03")
@pytest.mark.parametrize("moment", [ringing, cancelled])
def test_a_call_that_is_over_ends_although_nodes_come_and_go(moment: object) -> None:
    """Silent phones and a caller that sends no ACK are given 64*T1 once, not anew by each node that takes the call over."""
    assert callable(moment)
    call = died(moment())
    for took_over in range(10):
        now = START + 1.0 + 20.0 * took_over
        out = words(call.handle(Resumed(), now))
        while "over" not in out and call.next_deadline() < now + 20.0:
            out += words(call.handle(DeadlinePassed(), call.next_deadline()))
        if "over" in out:
            break
        call = snapshot.load(snapshot.dump(call), environment())
    assert took_over <= 2, "the second one has no INVITE to repeat, and waits from then on; the third ends it"


@pytest.mark.rule("LIVE-02")
def test_a_transfer_under_way_is_given_up_and_the_two_go_on() -> None:
    them = talking()
    them.count = 1  # the target is found
    refer = (("refer-to", "<sip:+33639981003@cloudline.example>"),)
    them.feed(
        RequestIn("a", them.request("REFER", "caller", them.tags["a"][0], 2, refer, b""), "refer", FLOW)
    )
    assert them.call.transfer is not None
    call = died(them)
    sent = words(call.handle(Resumed(), START + 1.0))
    assert call.transfer is None
    assert "NOTIFY a" in sent
    assert any(word.startswith("CANCEL b") for word in sent), "the target that rang is left"
    assert {call.legs[name].usage.state for name in (call.a, call.b)} == {ESTABLISHED}


@pytest.mark.rule("LIVE-02")
def test_a_dead_connection_is_not_used_again() -> None:
    them = talking()
    info = them.request("INFO", "caller", them.tags["a"][0], 2, (), b"")
    them.feed(RequestIn("a", info, "info", "tcp|10.2.0.1|40000|7|tcp:10.0.0.1:5060"))
    call = died(them)
    call.handle(Resumed(), START + 1.0)
    dialog = call.legs["a"].usage.dialog
    assert dialog is not None
    assert dialog.next_hop() == "sip:them@10.0.1.1:5060", "its Contact, as RFC 3261 §12.2.1.1 has it"


@pytest.mark.rule("LIVE-02")
def test_a_prack_goes_to_the_contact_of_its_fork_when_its_connection_is_gone() -> None:
    """Found by the simulator: it went to the connection of the dead node, and the peer's 2xx waited for it in vain."""
    them = ringing()
    leg = them.call.legs["b1"]
    invite = leg.usage.invite
    assert invite is not None
    connection = "tcp|10.1.0.1|40000|7|tcp:10.0.0.1:5060"
    invite.hop, invite.bound = connection, True
    request = next(each.request for each in them.open.values() if each.leg == "b1")
    for tag in ("one", "two"):
        headers = (("contact", f"<sip:{tag}@10.1.0.1:5060>"), ("require", "100rel"), ("rseq", "1"))
        them.feed(
            ResponseIn("b1", request.branch, them.answer(them.parsed(request.data), 183, tag, headers, b""))
        )
    assert [pending.hop for pending in leg.usage.pending.values()] == [connection, connection]
    effects = died(them).handle(Resumed(), START + 1.0)
    pracks = [e.target for e in effects if isinstance(e, SendRequest) and e.method == "PRACK"]
    assert pracks == ["sip:one@10.1.0.1:5060", "sip:two@10.1.0.1:5060"]
