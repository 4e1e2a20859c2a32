"""What people do when their server has died under a call, and what must have come of it.

The answered call goes on: either side holds, refreshes and hangs up, and the other one notices.  What rang is answered, or has
ended on both sides.  Nobody is left in a session or waiting for ever, and each call has one record, and a right one.
"""

from __future__ import annotations

from callcontrol.b2bua.call import Call
from callcontrol.b2bua.phases import TALKING
from callcontrol.cdr import CallRecord
from callcontrol.sip.usage import ESTABLISHED
from gateway.leases import Lease, LeasePolicy, LeaseState, state_of
from tests.scenarios.stage import Stage
from tests.support.party import Dialog, Party, own, sdp
from tests.support.world import UNSAVED

CALLER = "caller"
CALLEE = "callee"
NOBODY = "nobody"
ANSWERS = "who rings answers, then nobody"
WHO = (CALLER, CALLEE, ANSWERS, NOBODY)
"""Who acts after the death of the server."""

Side = tuple[Party, Dialog]


def live(stage: Stage, incoming: bool) -> list[Side]:
    return [
        (party, dialog)
        for party in stage.world.parties
        for dialog in party.dialogs
        if dialog.live and dialog.incoming == incoming and party.node.up
    ]


def talking(stage: Stage) -> list[tuple[Call, Side, Side]]:
    """Calls that stand for the server and for both of their parties, with the side that ``a`` is and the other one."""
    sides = {
        dialog.call_id: (party, dialog)
        for party in stage.world.parties
        for dialog in party.dialogs
        if dialog.live and party.node.up
    }
    found = []
    for call in stage.world.server.runner.calls.values():
        legs = [call.legs.get(call.a), call.legs.get(call.b)]
        both = [
            sides[leg.call_id]
            for leg in legs
            if leg is not None and leg.usage.state == ESTABLISHED and leg.call_id in sides
        ]
        if call.phase == TALKING and len(both) == 2:
            found.append((call, both[0], both[1]))
    return found


def go_on(stage: Stage, who: str, how: str) -> None:
    """What the people do who notice nothing of the crash, or too much."""
    stage.world.crash_at = 0
    for number, party in enumerate(stage.world.parties):
        party.auto, party.auto_ack, party.answers = None, True, 9000 + number
        _answer_questions(party)
    stood = talking(stage)
    stage.run(1.0)
    for call, (_, first), (_, second) in stood:
        assert how == UNSAVED or (first.live and second.live), f"answered call {call.ref} is lost"
    if who == ANSWERS:
        _answer(stage)
    if who in (ANSWERS, NOBODY):
        stage.run(15_000.0)
        return
    for call, calling, called in talking(stage):
        _use(stage, call, *((calling, called) if who == CALLER else (called, calling)))
    for side in (who == CALLEE, who != CALLEE):
        for party, dialog in live(stage, side):
            party.request(dialog, "INVITE", sdp(9100, 1, 9, "sendonly"))
            stage.run(5.0)
            if dialog.live:
                party.bye(dialog)
            stage.run(1.0)
        if not stage.world.calls:
            break  # whoever is still in a session now was left behind
    stage.run(400.0)


def _answer_questions(party: Party) -> None:
    """What was asked of somebody while the script had the word."""
    for dialog in party.dialogs if party.node.up else ():
        for message in list(dialog.requests):
            waits = message.method in ("INVITE", "UPDATE") and message is not dialog.invite
            if waits and message.cseq not in dialog.replied and dialog.live:
                party.reply(dialog, 200, own(party.answers) if message.body else b"", message=message)


def _answer(stage: Stage) -> None:
    """Whoever still rings is picked up: then it talks to somebody, or is told that nobody is there."""
    for party in stage.world.parties:
        for dialog in party.dialogs:
            if dialog.incoming and dialog.hanging and party.node.up:
                party.reply(dialog, 200, sdp(9200))
    stage.run(40.0)
    known = {leg.call_id for call in stage.world.server.runner.calls.values() for leg in call.legs.values()}
    for party, dialog in (*live(stage, True), *live(stage, False)):
        assert dialog.call_id in known, f"{party.name} is in a call that nobody knows"


def _is_answered(dialog: Dialog) -> bool:
    """Whether the last INVITE that was sent in it has its final response."""
    if not dialog.invite_cseq:
        return True
    return any(
        message.method == "INVITE" and message.cseq == dialog.invite_cseq and message.status >= 200
        for message in dialog.responses
    ) or any("INVITE" in failed for failed in dialog.failed)


def _use(stage: Stage, call: Call, speaker: Side, other: Side) -> None:
    """Refresh and hold from both sides; then one hangs up."""
    for party, dialog in (speaker, other):
        if not dialog.live:
            return  # the script of the other side was about to end it
        for _ in range(40):
            if _is_answered(dialog):
                break
            stage.run(1.0)
        else:
            raise AssertionError(f"the re-INVITE of {party.name} has no answer")
        party.request(
            dialog, "UPDATE", headers=(("supported", "timer"), ("session-expires", "1800;refresher=uac"))
        )
        stage.run(3.0)
        for _ in range(3):
            party.request(dialog, "INVITE", sdp(9100, 1, 9, "sendonly"))
            stage.run(3.0)
            if dialog.last("INVITE").status not in (491, 500):
                break
            stage.run(4.0)  # something else is still being negotiated (RFC 3261 §14.1, §14.2)
        assert dialog.last("UPDATE").status == 200, f"{party.name} cannot refresh its session"
        assert dialog.last("INVITE").status == 200, f"{party.name} cannot hold"
    party, dialog = speaker
    role = next(leg.role for leg in call.legs.values() if leg.call_id == dialog.call_id)
    party.bye(dialog)
    stage.run(1.0)
    assert dialog.last("BYE").status == 200, f"{party.name} cannot hang up"
    assert other[1].over, f"{other[0].name} was not told of the end"
    stage.run(1.0)
    record = records_of(stage)[call.ref][0]
    assert record.answered_ms
    assert record.reason == "normal_clearing"
    assert record.ended_by == role


def records_of(stage: Stage) -> dict[str, list[CallRecord]]:
    found: dict[str, list[CallRecord]] = {}
    for record in stage.world.records:
        found.setdefault(record.call_ref, []).append(record)
    return found


def check(stage: Stage) -> None:
    stage.settle()
    found = records_of(stage)
    assert stage.world.saved <= set(found), "each call has its record"
    for records in found.values():
        assert all(record == records[0] for record in records), "a record is written again as it was"
    _check_leases(stage, [records[0] for records in found.values()])


def _check_leases(stage: Stage, records: list[CallRecord]) -> None:
    """A lease serves one call that is answered, and no call that is over holds one."""
    now = stage.world.now()
    held: list[Lease] = []
    stage.world.leases.all(now, held.extend)
    used_by = {record.call_ref for record in records}
    used_by.update(record.legs[0].call_id for record in records if record.legs)
    for lease in held:
        state = state_of(lease, now, LeasePolicy())
        served = [record for record in records if record.lease == lease.id and record.answered_ms]
        assert len(served) <= 1, f"lease {lease.id} served {len(served)} calls"
        assert not served or state is LeaseState.OVER, "a lease has served and can be used again"
        assert lease.used_by not in used_by or state is not LeaseState.IN_USE, "a lease is held by nobody"


def go_on_and_check(stage: Stage, who: str, how: str, what: str) -> None:
    try:
        go_on(stage, who, how)
        check(stage)
    except BaseException:
        print(what)
        print(stage.ladder())
        raise
