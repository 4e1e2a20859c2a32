"""Greetings that hunt: cascade, all at once, repeats, members who are busy, decline, sleep, answer by GSM (GRT-01 to GRT-10)."""

from __future__ import annotations

import dataclasses

from dialplan.plan import Reach
from numbering.e164 import E164
from numbering.models import ANSWER_GSM, Greeting, GreetingMember, Strategy
from tests.scenarios.stage import CALLER, Stage
from tests.support.party import Party, sdp

MAIN = "+33639987000"
SECOND = "+33639987001"


def _greeting(stage: Stage, *users: str, number: str = MAIN, **fields: object) -> None:
    """A Greeting of these members, 20 s each."""
    greeting = Greeting(
        number=E164(number), account="acme", members=tuple(GreetingMember(user=user) for user in users)
    )
    stage.world.directory.put_one(dataclasses.replace(greeting, **fields))  # type: ignore[arg-type]


def _reason(stage: Stage, phone: Party) -> str:
    """What the last CANCEL to a phone said."""
    cancels = [message for message in stage.sent(phone) if message.method == "CANCEL" and not message.status]
    return cancels[-1].get("reason") or ""


def _call(stage: Stage, carrier: Party) -> None:
    stage.begin()
    carrier.call(MAIN, caller=CALLER)
    stage.run(0.5)


def cascade_goes_on_until_somebody_answers(stage: Stage) -> None:
    """GRT-01: one after the other, each for its time; who is away costs none, and the colleague's answer is no missed call."""
    ana, cleo = stage.phone("ana-phone"), stage.phone("cleo-phone")
    stage.pushable("ana-phone")
    carrier = stage.carrier()
    _greeting(stage, "ana", "ben", "cleo")
    _call(stage, carrier)
    assert ana.rang
    assert not cleo.rang
    ana.ring()
    stage.run(19.0)
    assert not cleo.rang
    stage.run(1.0)
    assert "cause=200" in _reason(stage, ana), "a colleague may still answer"
    assert cleo.rang, "ben is away, and costs no time"
    cleo.ring()
    stage.run(2.0)
    cleo.answer(sdp(6000))
    stage.run(1.0)
    call = carrier.dialogs[0]
    assert call.statuses == [100, 180, 200]
    carrier.bye(call)
    stage.run(1.0)
    assert stage.pushed("ana-phone") == [], "cleo took it"
    assert stage.outcomes() == {
        "ana-phone": "answered_elsewhere",
        "ben": "never_reached",
        "cleo-phone": "answered",
    }


def nobody_of_a_cascade_answers(stage: Stage) -> None:
    """GRT-06, INC-09: who rang is told of a missed call, once, when all is over."""
    ana, ben = stage.phone("ana-phone"), stage.phone("ben-phone")
    for device in ("ana-phone", "ben-phone"):
        stage.pushable(device)
    carrier = stage.carrier()
    _greeting(stage, "ana", "ben")
    _call(stage, carrier)
    ana.ring()
    stage.run(20.0)
    assert stage.pushed("ana-phone") == []
    ben.ring()
    stage.run(20.5)
    assert carrier.dialogs[0].status == 480
    assert "cause=408" in _reason(stage, ben), "nobody else comes"
    assert stage.pushed("ana-phone") == stage.pushed("ben-phone") == ["missed_call"]
    assert stage.record.reason == "no_answer"


def who_did_not_wake_has_missed_nothing(stage: Stage) -> None:
    """INC-09: a colleague rang in vain, too; the app of who never came takes the call off the screen and notes nothing."""
    ana = stage.phone("ana-phone")
    for device in ("ana-phone", "ben-phone"):
        stage.pushable(device)
    carrier = stage.carrier()
    _greeting(stage, "ana", "ben", strategy=Strategy.SIMULTANEOUS)
    _call(stage, carrier)
    ana.ring()
    stage.run(20.5)
    assert carrier.dialogs[0].status == 480
    assert stage.pushed("ana-phone") == ["missed_call"]
    assert stage.pushed("ben-phone") == ["incoming_call", "call_ended cancelled"]
    assert stage.outcomes() == {"ana-phone": "missed", "ben-phone": "never_reached"}


def all_at_once_and_the_first_answer_wins(stage: Stage) -> None:
    """GRT-02: all ring; one answers, the others are told that it was answered elsewhere."""
    ana, ben = stage.phone("ana-phone"), stage.phone("ben-phone")
    carrier = stage.carrier()
    _greeting(stage, "ana", "ben", strategy=Strategy.SIMULTANEOUS)
    _call(stage, carrier)
    ana.ring()
    ben.ring()
    stage.run(1.0)
    ben.answer(sdp(6000))
    stage.run(1.0)
    assert "cause=200" in _reason(stage, ana)
    carrier.bye(carrier.dialogs[0])
    stage.run(1.0)
    assert stage.outcomes() == {"ana-phone": "answered_elsewhere", "ben-phone": "answered"}


def a_decline_is_one_members_answer(stage: Stage) -> None:
    """INC-08, GRT-01: 603 costs no time, stops the member's devices only, and lasts for all rounds."""
    ana, desktop, ben = stage.phone("ana-phone"), stage.phone("ana-desktop"), stage.phone("ben-phone")
    carrier = stage.carrier()
    _greeting(stage, "ana", "ben", repeat=1)
    _call(stage, carrier)
    ana.ring()
    desktop.ring()
    stage.run(1.0)
    ana.reply(ana.incoming, 603)
    stage.run(0.5)
    assert "cause=603" in _reason(stage, desktop)
    assert ben.rang
    ben.ring()
    stage.run(20.0)
    assert len(ana.dialogs) == 1, "never again in this call"
    assert len(ben.dialogs) == 2, "the second round"
    ben.reply(ben.dialogs[1], 486)
    stage.run(0.5)
    assert carrier.dialogs[0].status == 480, "ben rang in vain; one decline is not the company's"
    assert stage.outcomes() == {"ana-phone": "declined", "ana-desktop": "declined", "ben-phone": "missed"}


def a_member_who_talks_is_skipped(stage: Stage) -> None:
    """GRT-10: who is in a call is not rung; the next one is, at once."""
    ana, ben = stage.phone("ana-phone"), stage.phone("ben-phone")
    carrier = stage.carrier()
    _greeting(stage, "ana", "ben")
    stage.begin()
    first = carrier.call("+33639981001", caller=CALLER)
    stage.talk(carrier, first, ana)
    second = carrier.call(MAIN, caller=CALLER)
    stage.run(0.5)
    assert len(ana.dialogs) == 1
    assert ben.rang
    stage.talk(carrier, second, ben)
    for call in (first, second):
        carrier.bye(call)
    stage.run(1.0)


def call_waiting_rings_a_member_who_talks(stage: Stage) -> None:
    """GRT-10: unless call waiting is on for it."""
    ana = stage.phone("ana-phone")
    carrier = stage.carrier()
    user = stage.world.directory.user("ana")
    assert user is not None
    stage.world.directory.put_one(dataclasses.replace(user, call_waiting=True))
    _greeting(stage, "ana")
    stage.begin()
    first = carrier.call("+33639981001", caller=CALLER)
    stage.talk(carrier, first, ana)
    second = carrier.call(MAIN, caller=CALLER)
    stage.run(0.5)
    assert len(ana.dialogs) == 2
    ana.reply(ana.dialogs[1], 486)
    stage.run(0.5)
    assert second.status == 486
    carrier.bye(first)
    stage.run(1.0)


def two_hunts_share_a_member(stage: Stage) -> None:
    """GRT-04: one offer at a time; the second hunt waits for the member whom the first rings, and goes on when it talks."""
    ana, ben = stage.phone("ana-phone"), stage.phone("ben-phone")
    carrier = stage.carrier()
    _greeting(stage, "ana")
    _greeting(stage, "ana", "ben", number=SECOND)
    _call(stage, carrier)
    ana.ring()
    second = carrier.call(SECOND, caller=CALLER)
    stage.run(3.0)
    assert len(ana.dialogs) == 1
    assert not ben.rang, "it waits"
    ana.answer(sdp(6000))
    stage.run(0.5)
    assert len(ana.dialogs) == 1
    assert ben.rang, "ana talks now"
    ben.ring()
    stage.run(0.3)
    ben.answer(sdp(6010))
    stage.run(0.5)
    for call in (carrier.dialogs[0], second):
        carrier.bye(call)
    stage.run(1.0)


def a_held_member_who_becomes_free_is_rung(stage: Stage) -> None:
    """GRT-04: the first caller gives up, and the second hunt rings the member at once."""
    ana = stage.phone("ana-phone")
    carrier = stage.carrier()
    _greeting(stage, "ana")
    _greeting(stage, "ana", number=SECOND)
    _call(stage, carrier)
    ana.ring()
    second = carrier.call(SECOND, caller=CALLER)
    stage.run(3.0)
    carrier.cancel(carrier.dialogs[0])
    stage.run(0.5)
    assert len(ana.dialogs) == 2
    stage.talk(carrier, second, ana)
    carrier.bye(second)
    stage.run(1.0)


def the_limit_ends_a_hunt(stage: Stage) -> None:
    """GRT-03: repeats go on until the limit."""
    ana = stage.phone("ana-phone")
    carrier = stage.carrier()
    _greeting(stage, "ana", repeat=9, limit_seconds=50.0)
    _call(stage, carrier)
    for _ in range(2):
        ana.ring()
        stage.run(20.0)
    ana.ring()
    stage.run(10.0)
    assert len(ana.dialogs) == 3
    assert carrier.dialogs[0].status == 480


def nobody_there_ends_a_hunt_at_once(stage: Stage) -> None:
    """GRT-01, hazard: all away, however many rounds there are."""
    carrier = stage.carrier()
    _greeting(stage, "ana", "ben", "cleo", repeat=5)
    _call(stage, carrier)
    assert carrier.dialogs[0].status == 480
    assert stage.record.reason == "unreachable"


def a_member_answers_by_gsm(stage: Stage) -> None:
    """INC-05, GRT-04: a member whose phone answers by GSM is called on the SIM, beside a colleague's softphone."""
    ben = stage.phone("ben-phone")
    device = stage.world.directory.device("ana-phone")
    assert device is not None
    stage.world.directory.put_one(dataclasses.replace(device, answer=ANSWER_GSM))
    carrier = stage.carrier()
    _greeting(stage, "ana", "ben", strategy=Strategy.SIMULTANEOUS)
    _call(stage, carrier)
    sim = carrier.incoming
    assert sim.invite is not None
    assert "+33639980000" in sim.invite.uri
    assert f"<sip:{MAIN}@" in (sim.invite.get("diversion") or "")
    ben.ring()
    carrier.ring(183, sdp(6100))
    stage.run(1.0)
    assert carrier.dialogs[0].statuses == [100, 180], "the caller hears no network of a SIM"
    carrier.answer(sdp(6100))
    stage.run(1.0)
    assert "cause=200" in _reason(stage, ben)
    carrier.bye(carrier.dialogs[0])
    stage.run(1.0)
    assert stage.outcomes() == {"ana-phone": "answered", "ben-phone": "answered_elsewhere"}


def caller_leaves_between_two_members(stage: Stage) -> None:
    """INC-09: nobody is rung for a caller who is gone; who rang has one missed call."""
    ana, ben = stage.phone("ana-phone"), stage.phone("ben-phone")
    stage.pushable("ana-phone")
    carrier = stage.carrier()
    _greeting(stage, "ana", "ben")
    _call(stage, carrier)
    ana.ring()
    stage.run(19.4)
    carrier.cancel(carrier.dialogs[0])
    stage.run(5.0)
    assert not ben.rang
    assert "cause=200" not in _reason(stage, ana)
    assert stage.pushed("ana-phone") == ["missed_call"]


def late_device_joins_its_members_turn_only(stage: Stage) -> None:
    """Hazard: a device that registers after the hunt moved on waits for its member's next turn."""
    ana, ben = stage.phone("ana-phone"), stage.phone("ben-phone")
    desktop = stage.world.phone("ana-desktop", register=False)
    carrier = stage.carrier()
    _greeting(stage, "ana", "ben", repeat=1)
    _call(stage, carrier)
    ana.ring()
    stage.run(20.0)
    ben.ring()
    desktop.register()
    stage.run(5.0)
    assert not desktop.rang
    stage.run(15.5)
    assert desktop.rang
    assert len(ana.dialogs) == 2
    desktop.ring()
    stage.run(0.5)
    desktop.answer(sdp(6000))
    stage.run(0.5)
    carrier.bye(carrier.dialogs[0])
    stage.run(1.0)


def member_who_answers_and_hangs_up_at_once(stage: Stage) -> None:
    """An answer is an answer: the hunt is over, nobody else is rung."""
    ana, ben = stage.phone("ana-phone"), stage.phone("ben-phone")
    carrier = stage.carrier()
    _greeting(stage, "ana", "ben", repeat=1)
    _call(stage, carrier)
    ana.ring()
    stage.run(0.5)
    answered = ana.answer(sdp(6000))
    stage.run(0.1)
    ana.bye(answered)
    stage.run(2.0)
    assert carrier.dialogs[0].over
    assert not ben.rang
    assert stage.outcomes() == {"ana-phone": "answered"}


def member_who_cannot_be_looked_up_costs_no_time(stage: Stage) -> None:
    """A lookup that fails is told in the trace, and the hunt goes on with the next member at once."""
    stage.phone("ana-phone")
    ben = stage.phone("ben-phone")
    carrier = stage.carrier()
    _greeting(stage, "ana", "ben")
    runner = stage.world.server.runner
    sound = runner.lookups.reach
    told: list[Exception] = []

    def broken(user: str, now: float, ref: str) -> Reach:
        if user == "ana":
            raise LookupError("the directory is broken")
        return sound(user, now, ref)

    runner.lookups.reach, runner.defects.listener = broken, told.append
    _call(stage, carrier)
    assert ben.rang
    assert [str(error) for error in told] == ["the directory is broken"]
    stage.talk(carrier, carrier.dialogs[0], ben)
    carrier.bye(carrier.dialogs[0])
    stage.run(1.0)
    assert "ana could not be looked up" in stage.record.trace
