"""Calls that go on elsewhere: forwarding, voicemail, SIMs in place of softphones (INC-03 to INC-06, INC-08, FWD-01 to FWD-04)."""

from __future__ import annotations

import dataclasses

from numbering.models import ANSWER_GSM, Forwarding, ForwardMode
from tests.scenarios.stage import ANA, BEN, CALLER, CLEO, OUTSIDE, Stage
from tests.support.party import Party, sdp

VOICEMAIL = "sip:voicemail@10.0.9.1:5060"


def _number(stage: Stage, e164: str, **fields: object) -> None:
    """Other settings of a cloud number."""
    found = stage.world.directory.number(e164)
    assert found is not None
    stage.world.directory.put_one(dataclasses.replace(found, **fields))  # type: ignore[arg-type]


def _forward(
    stage: Stage, e164: str, to: str, mode: ForwardMode = ForwardMode.MISSED, **fields: object
) -> None:
    forward = dataclasses.replace(Forwarding(mode=mode, to=to), **fields)  # type: ignore[arg-type]
    _number(stage, e164, forward=forward)


def _call(stage: Stage, carrier: Party) -> None:
    stage.begin()
    carrier.call(ANA, caller=CALLER)
    stage.run(0.5)


def all_calls_go_to_a_number_outside(stage: Stage) -> None:
    """INC-04, FWD-02: nobody is rung; the target sees the caller, and by way of which number the call came."""
    ana = stage.phone("ana-phone")
    carrier = stage.carrier()
    _forward(stage, ANA, OUTSIDE, ForwardMode.ALL)
    _call(stage, carrier)
    assert not ana.rang
    invite = carrier.incoming.invite
    assert invite is not None
    assert OUTSIDE in invite.uri
    assert CALLER in invite.from_value
    assert f"<sip:{ANA}@" in (invite.get("diversion") or "")
    assert "reason=unconditional" in (invite.get("diversion") or "")
    assert "cause=302" in (invite.get("history-info") or "")
    carrier.ring()
    stage.run(0.5)
    carrier.answer(sdp(6000))
    stage.run(0.5)
    carrier.bye(carrier.dialogs[0])
    stage.run(1.0)
    record = stage.record
    assert (record.number, record.diversions, record.trunk) == (ANA, (ANA,), "carrier-a")


def a_missed_call_goes_on_by_its_cause(stage: Stage) -> None:
    """FWD-01: forwarded for no answer; ana has missed the call all the same."""
    ana = stage.phone("ana-phone")
    stage.pushable("ana-phone")
    carrier = stage.carrier()
    _forward(stage, ANA, OUTSIDE, causes=("no_answer",))
    _call(stage, carrier)
    ana.ring()
    stage.run(30.0)
    assert "reason=no-answer" in (carrier.incoming.invite.get("diversion") or "")  # type: ignore[union-attr]
    carrier.ring()
    carrier.answer(sdp(6000))
    stage.run(0.5)
    assert stage.pushed("ana-phone") == ["missed_call"]
    carrier.bye(carrier.dialogs[0])
    stage.run(1.0)
    assert stage.outcomes() == {"ana-phone": "missed"}


def a_cause_that_is_not_forwarded(stage: Stage) -> None:
    """FWD-01: busy is not one of the causes; the caller hears busy."""
    ana = stage.phone("ana-phone")
    carrier = stage.carrier()
    _forward(stage, ANA, OUTSIDE, causes=("no_answer",))
    _call(stage, carrier)
    ana.reply(ana.incoming, 486)
    stage.run(0.5)
    assert carrier.dialogs[0].status == 486
    assert len(carrier.dialogs) == 1


def forward_to_a_colleague_rings_the_colleague(stage: Stage) -> None:
    """FWD-02: a number of ours is rung by its own rules; it sees the caller, and which of its numbers was called."""
    ben = stage.phone("ben-phone")
    carrier = stage.carrier()
    _forward(stage, ANA, BEN, ForwardMode.ALL)
    _call(stage, carrier)
    invite = ben.incoming.invite
    assert invite is not None
    assert CALLER in invite.from_value
    assert BEN in (invite.get("p-called-party-id") or "")
    stage.talk(carrier, carrier.dialogs[0], ben)
    carrier.bye(carrier.dialogs[0])
    stage.run(1.0)


def forward_to_numbers_that_nobody_is_sent_to(stage: Stage) -> None:
    """OUT-04, OUT-05, NUM-11: no call is sent to an emergency service, to a priced number, or to what is no number but a service of
    whoever dials it, whatever has got into the settings of a number; its caller is not told to dial an emergency number either."""
    stage.phone("ana-phone")
    carrier = stage.carrier()
    stage.begin()
    for target, status, reason in (
        ("112", 403, "barred_class"),
        ("+33112", 403, "barred_class"),
        ("17", 403, "barred_class"),
        ("3179", 484, "invalid_number"),
        ("888", 484, "invalid_number"),
        ("3631", 484, "invalid_number"),
        ("118218", 484, "invalid_number"),
    ):
        _forward(stage, ANA, target, ForwardMode.ALL)
        call = carrier.call(ANA, caller=CALLER)
        stage.run(1.0)
        assert (target, call.status, stage.world.records[-1].reason) == (target, status, reason)
        assert b"alternative" not in call.responses[-1].body
    assert all(message.status for message in stage.sent(carrier)), "nothing was sent but answers"


def missed_call_is_not_sent_to_an_emergency_number(stage: Stage) -> None:
    """OUT-05, INC-08: nothing comes after the refused forward, whose reason the caller hears; ana has missed the call all the same."""
    ana = stage.phone("ana-phone")
    carrier = stage.carrier()
    _forward(stage, ANA, "112")
    _call(stage, carrier)
    ana.ring()
    stage.run(31.0)
    assert carrier.dialogs[0].status == 403
    assert len(carrier.dialogs) == 1
    assert stage.outcomes() == {"ana-phone": "missed"}


def a_to_b_to_a_ends(stage: Stage) -> None:
    """FWD-04, hazard 17: two numbers that forward to each other end with 482, and a line that says why."""
    stage.phone("ana-phone")
    carrier = stage.carrier()
    _forward(stage, ANA, BEN, ForwardMode.ALL)
    _forward(stage, BEN, ANA, ForwardMode.ALL)
    _call(stage, carrier)
    assert carrier.dialogs[0].status == 482
    assert "FWD-04" in stage.record.trace


def a_chain_is_followed(stage: Stage) -> None:
    """FWD-04: from ana to ben to cleo is no loop; each who forwarded is named."""
    cleo = stage.phone("cleo-phone")
    carrier = stage.carrier()
    _forward(stage, ANA, BEN, ForwardMode.ALL)
    _forward(stage, BEN, CLEO, ForwardMode.ALL)
    _call(stage, carrier)
    stage.talk(carrier, carrier.dialogs[0], cleo)
    carrier.bye(carrier.dialogs[0])
    stage.run(1.0)
    assert stage.record.diversions == (BEN, ANA)


def caller_leaves_while_the_forward_rings(stage: Stage) -> None:
    """INC-09: the leg outside is cancelled too."""
    carrier = stage.carrier()
    other = stage.carrier("10.0.1.2", "outside")
    other.node.up = False
    _forward(stage, ANA, OUTSIDE, ForwardMode.ALL)
    _call(stage, carrier)
    carrier.ring()
    stage.run(0.5)
    carrier.cancel(carrier.dialogs[0])
    stage.run(1.0)
    assert stage.record.reason == "caller_cancelled"


def voicemail_takes_what_nobody_took(stage: Stage) -> None:
    """INC-08, VM-01: the server is told whose box and why (RFC 4458); the phone notes a missed call."""
    stage.configure_media(voicemail_uri=VOICEMAIL)
    ana = stage.phone("ana-phone")
    stage.pushable("ana-phone")
    carrier, server = stage.carrier(), stage.carrier("10.0.9.1", "voicemail")
    _number(stage, ANA, voicemail=True)
    _call(stage, carrier)
    ana.ring()
    stage.run(30.0)
    invite = server.incoming.invite
    assert invite is not None
    assert f"target=sip:{ANA}%40" in invite.uri
    assert "cause=408" in invite.uri
    assert (invite.get("history-info") or "").count("cause=") == 1, "a parameter stands in a URI once"
    server.answer(sdp(6000))
    stage.run(0.5)
    assert stage.pushed("ana-phone") == ["missed_call"]
    server.bye(server.incoming)
    stage.run(1.0)
    assert stage.outcomes() == {"ana-phone": "missed"}
    assert stage.record.reason == "normal_clearing"


def voicemail_that_is_away_leaves_the_callers_answer(stage: Stage) -> None:
    """INC-08: without a voicemail that answers the caller gets what the phone said."""
    stage.configure_media(voicemail_uri=VOICEMAIL)
    ana = stage.phone("ana-phone")
    carrier, server = stage.carrier(), stage.carrier("10.0.9.1", "voicemail")
    _number(stage, ANA, voicemail=True)
    _call(stage, carrier)
    ana.reply(ana.incoming, 486)
    stage.run(0.5)
    server.reply(server.incoming, 503)
    stage.run(0.5)
    assert carrier.dialogs[0].status == 486


def a_phone_that_answers_by_gsm(stage: Stage) -> None:
    """INC-05: the SIM is called over a trunk, the registered softphone is not; the caller hears ringing only."""
    ana = stage.phone("ana-phone")
    device = stage.world.directory.device("ana-phone")
    assert device is not None
    stage.world.directory.put_one(dataclasses.replace(device, answer=ANSWER_GSM))
    carrier = stage.carrier()
    _call(stage, carrier)
    assert not ana.rang
    invite = carrier.incoming.invite
    assert invite is not None
    assert device.sim in invite.uri
    assert CALLER in invite.from_value
    carrier.ring()
    stage.run(1.0)
    carrier.answer(sdp(6000))
    stage.run(0.5)
    assert carrier.dialogs[0].statuses == [100, 180, 200]
    carrier.bye(carrier.dialogs[0])
    stage.run(1.0)
    assert stage.outcomes() == {"ana-phone": "answered"}


def the_sim_is_called_when_nobody_wakes(stage: Stage) -> None:
    """INC-06: the push brings nobody by the wake deadline; the SIM rings for what is left."""
    phone = stage.sleeper("ana-phone")
    carrier = stage.carrier()
    _number(stage, ANA, gsm_fallback=True)
    _call(stage, carrier)
    assert len(carrier.dialogs) == 1
    stage.run(8.0)
    assert len(carrier.dialogs) == 2, "the SIM"
    carrier.ring()
    stage.run(2.0)
    phone.register()
    stage.run(0.5)
    assert phone.rang, "and joins late"
    phone.ring()
    carrier.answer(sdp(6000))
    stage.run(0.5)
    carrier.bye(carrier.dialogs[0])
    stage.run(1.0)


def nobody_registered_and_the_sim_is_called_at_once(stage: Stage) -> None:
    """INC-06: where no push can wake anybody, nobody need be waited for."""
    carrier = stage.carrier()
    _number(stage, ANA, gsm_fallback=True)
    _call(stage, carrier)
    assert len(carrier.dialogs) == 2
    carrier.ring()
    stage.run(20.0)
    assert carrier.dialogs[0].status == 480, "before the SIM's own voicemail answers"


def forward_that_cannot_be_decided_leaves_voicemail(stage: Stage) -> None:
    """A lookup that fails is told in the trace; what comes after the forward is done."""
    stage.configure_media(voicemail_uri=VOICEMAIL)
    carrier, server = stage.carrier(), stage.carrier("10.0.9.1", "voicemail")
    _number(stage, ANA, voicemail=True)
    _forward(stage, ANA, OUTSIDE, ForwardMode.ALL)
    runner = stage.world.server.runner
    told: list[Exception] = []

    def broken(*_: object) -> tuple[None, None]:
        raise LookupError("the live store is broken")

    runner.lookups.route_forward, runner.defects.listener = broken, told.append
    _call(stage, carrier)
    assert len(told) == 1
    assert server.rang
    server.answer(sdp(6000))
    stage.run(0.5)
    carrier.bye(carrier.dialogs[0])
    stage.run(1.0)
    assert "the target could not be looked up" in stage.record.trace
