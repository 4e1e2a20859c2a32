"""What must hold for calls that come in: who may be rung, who must not be, and what everybody is told afterwards.

No device of somebody who is blocked or closed rings; no device has two INVITEs of one call; every leg has one outcome; a missed call
is told once, to those who rang in vain, and never when somebody has answered; every member of a hunt that came to
nothing has a story; the facts that a record keeps lead to the plan that the call had.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from msgspec.msgpack import encode

from callcontrol.b2bua import seeking, waking
from callcontrol.b2bua.call import Call
from callcontrol.b2bua.leg import CALLEE, ELSEWHERE
from callcontrol.b2bua.phases import RINGING
from callcontrol.cdr import CallRecord, LegRecord
from callcontrol.sip.usage import CALLING
from dialplan import reasons, stored
from dialplan.evaluate import evaluate
from dialplan.plan import Forward, Hunt
from gateway.push import DevicePush
from numbering.models import ANSWER_GSM
from tests.simulation.moments import SKEW_S, START

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation
    from tests.simulation.text import Heard

LOST: Final = frozenset((reasons.NO_ANSWER, reasons.BUSY, reasons.DECLINED, reasons.UNREACHABLE))
LEFT: Final = frozenset((*LOST, reasons.CALLER_CANCELLED))
_STOPPED: Final = (reasons.NO_ANSWER, reasons.CALLER_CANCELLED)
KEEP_S: Final = 400.0


class Asked:
    """A call as a carrier asked for it."""

    __slots__ = ("at", "caller", "hidden", "number")

    def __init__(self, number: str, caller: str, hidden: bool, at: float) -> None:
        self.number = number
        self.caller = caller
        self.hidden = hidden
        self.at = at


class Incoming:
    """See the module."""

    def __init__(self, sim: Simulation) -> None:
        self.sim = sim
        self._asked: dict[str, Asked] = {}
        """Call-ID of the caller's dialog -> what was asked for."""
        self._by_ref: dict[str, Asked] = {}
        self.open: dict[tuple[str, str], str] = {}
        """(call reference, device) -> Call-ID of the INVITE that it was sent last."""
        self._declined: dict[tuple[str, str], float] = {}
        """(call reference, user) -> when a device of the user said 6xx."""
        self._idle: dict[str, float] = {}
        """Call reference -> since when its hunt has rung nobody."""
        self.pushes: dict[str, dict[str, list[str]]] = {}
        """Call reference -> device -> what was pushed."""

    @property
    def is_watched(self) -> bool:
        return self.sim.mood.incoming

    # -- what a carrier asks for ------------------------------------------------------------------------------

    def asked_for(self, call_id: str, number: str, caller: str, hidden: bool) -> None:
        """A carrier calls a number of ours."""
        if self.is_watched:
            self._asked[call_id] = Asked(number, caller, hidden, self.sim.clock.now)

    def belongs(self, call_id: str, ref: str) -> None:
        """A dialog is a leg of a call."""
        asked = self._asked.pop(call_id, None)
        if asked is not None:
            call = self.sim.server.call(ref)
            if call is not None:
                asked.at = call.started_at - START  # its INVITE may have been lost for half a minute
            self._by_ref[ref] = asked

    # -- who rings --------------------------------------------------------------------------------------------

    def rings(self, heard: Heard, device: str) -> None:
        """An INVITE that begins a dialog leaves for a phone."""
        if not self.is_watched:
            return
        ref = heard.get("x-cloudline-call")
        asked = self._by_ref.get(ref)
        if asked is not None:
            self._check_rules(asked, ref, device)
        self._check_device(ref, device, heard.call_id)
        before = self.open.get((ref, device))
        if ref in self.sim.audit.moved or not self.sim.has_instance(device):
            before = None  # it may talk in this very call; without an instance a reboot makes it another phone (DEV-06)
        if before is not None and before != heard.call_id and self._is_open(ref, before):
            self.sim.blame("offered twice", f"{device} has two INVITEs of one call", ref=ref)
        self.open[ref, device] = heard.call_id

    def declined(self, call_id: str, device: str) -> None:
        """A phone says 6xx to an INVITE that rings."""
        ref = self.sim.watch.refs.get(call_id, "")
        call = self.sim.server.call(ref)
        gone = call is None or any(leg.call_id == call_id and leg.ended_at for leg in call.legs.values())
        if ref and self.is_watched and not gone:  # whose time was over before has said nothing
            user = device.partition("-")[0]
            self._declined.setdefault((ref, user), self.sim.clock.now)

    def _check_device(self, ref: str, device: str, call_id: str) -> None:
        """A phone that answers by GSM is not rung over VoIP; who has declined is not rung again."""
        found = next((each for each in self.sim.country.devices if each.ref == device), None)
        if found is None:
            return
        if found.answer == ANSWER_GSM:
            self.sim.blame("rings over VoIP", f"{device} answers by GSM", ref=ref)
        declined_at = self._declined.get((ref, found.user))
        call = self.sim.server.call(ref)
        if declined_at is None or call is None or ref in self.sim.audit.moved or self.sim.server.deaths:
            return
        began = max([leg.started_at for leg in call.legs.values() if leg.call_id == call_id], default=0.0)
        if declined_at + self.sim.server.grain + 2 * SKEW_S < began - START:
            self.sim.blame("rings after a decline", f"{device}: declined at {declined_at:.2f}", ref=ref)

    def _check_rules(self, asked: Asked, ref: str, device: str) -> None:
        company = self.sim.country.company
        rules = company.rules.get(asked.number) if company is not None else None
        if rules is None:
            return
        if not rules.lets_through(asked.caller, asked.hidden):
            who = "hidden" if asked.hidden else asked.caller
            self.sim.blame("rings for a blocked caller", f"{device} for {who}", ref=ref)
        if rules.is_open(asked.at) is False:
            self.sim.blame("rings while it is closed", f"{device} for {asked.number}", ref=ref)

    def _is_open(self, ref: str, call_id: str) -> bool:
        call = self.sim.server.call(ref)
        if call is None:
            return False
        return any(leg.call_id == call_id and not leg.ended_at for leg in call.legs.values())

    def look(self, call: Call) -> None:
        """Every few seconds: a hunt rings somebody, or waits for somebody who may come."""
        hunt = call.hunt
        if hunt is None or call.phase != RINGING or not self.is_watched:
            self._idle.pop(call.ref, None)
            return
        rings = any(leg.usage.state == CALLING and leg.role == CALLEE for leg in call.legs.values())
        if rings or hunt.held or waking.awaited(call) or seeking.asking(call):
            self._idle.pop(call.ref, None)
        elif self.sim.clock.now - self._idle.setdefault(call.ref, self.sim.clock.now) > 4.0:
            self.sim.blame("hunt stands still", f"group {hunt.group} of round {hunt.round}", ref=call.ref)

    # -- what they are told -----------------------------------------------------------------------------------

    def pushed(self, push: DevicePush) -> None:
        """A push was handed over."""
        devices = self.pushes.setdefault(push.call, {})
        devices.setdefault(push.device, []).append(push.type)

    def recorded(self, record: CallRecord) -> None:
        """A record became durable: when everything is quiet it is compared with what was told."""
        self._evaluate_again(record)
        if self.is_watched:
            self.sim.clock.after(10.0, self._compare, record)

    def _evaluate_again(self, record: CallRecord) -> None:
        """The facts that the record keeps give the plan that the call had, and the trace that it began with."""
        ref = record.call_ref
        parts = stored.split(record.facts)
        if not parts:
            self.sim.blame("no facts", "the record keeps none", ref=ref)
            return
        decision = evaluate(stored.load(parts[0]))
        rows = [[line.rule, line.outcome, line.detail] for line in decision.trace]
        if [row[:3] for row in json.loads(record.trace)][: len(rows)] != rows:
            self.sim.blame("evaluated anew", f"another trace: {rows}", ref=ref)
        call = self.sim.server.call(ref)
        if call is None or any(isinstance(step, Forward) for step in decision.plan.steps):
            return  # the steps of a forward take its place
        if encode(decision.plan) != encode(call.plan):
            self.sim.blame("evaluated anew", f"another plan: {decision.plan} for {call.plan}", ref=ref)

    def _compare(self, record: CallRecord) -> None:
        ref = record.call_ref
        told = self.pushes.pop(ref, {})
        self._idle.pop(ref, None)
        for key in [key for key in self.open if key[0] == ref]:
            del self.open[key]
        for key in [key for key in self._declined if key[0] == ref]:
            del self._declined[key]
        if self.sim.server.deaths or ref in self.sim.audit.moved:
            return  # who takes a call over may say a thing again; who is moved has two stories
        legs = [leg for leg in record.legs if leg.role == "callee"]
        self._check_outcomes(record, legs)
        self._check_missed(record, legs, told)
        self._check_story(record, legs, told)

    def _check_outcomes(self, record: CallRecord, legs: list[LegRecord]) -> None:
        """One outcome for each leg, and one winner."""
        winners = [
            leg.leg
            for leg in legs
            if leg.answered_ms and leg.reason not in (ELSEWHERE, reasons.CALLER_CANCELLED)
        ]
        if len(winners) > 1 and record.answered_ms:
            self.sim.blame("wrong outcome", f"{winners} have all answered", ref=record.call_ref)
        answered = any(leg.answered_ms for leg in legs)
        for leg in legs:
            if not leg.reason or not leg.ended_by:
                self.sim.blame("wrong outcome", f"{leg.leg} has none", ref=record.call_ref)
            if leg.reason == ELSEWHERE and not answered:
                self.sim.blame(
                    "wrong outcome", f"{leg.leg}: nobody has answered elsewhere", ref=record.call_ref
                )

    def _check_missed(self, record: CallRecord, legs: list[LegRecord], told: dict[str, list[str]]) -> None:
        missed = {device: kinds.count("missed_call") for device, kinds in told.items()}
        # whom a number forwards to is nobody of its user's, but a Greeting was answered all the same
        taken = bool(record.answered_ms) and (
            self._hunt_of(record) is not None
            or any(leg.answered_ms and leg.device and leg.reason != ELSEWHERE for leg in legs)
        )
        for device, count in missed.items():
            if count > 1:
                self.sim.blame("missed call", f"{device} was told {count} times", ref=record.call_ref)
            if count and taken:
                self.sim.blame(
                    "missed call", f"{device} was told, but somebody answered", ref=record.call_ref
                )
        if record.answered_ms or record.direction != "incoming" or record.reason not in LEFT:
            return
        if any(leg.answered_ms for leg in legs):
            return  # somebody picked up in the moment in which the caller left, and knows of the call
        declined = {leg.user for leg in legs if leg.status >= 600 and leg.ended_by == "callee"}
        for leg in legs:
            able = (
                leg.device
                and not leg.trunk
                and leg.user not in declined
                and self.sim.country.can_be_pushed(leg.device)
            )
            spoke = any(other.device == leg.device and other.ended_by == "callee" for other in legs)
            if (
                able
                and leg.ringing_ms
                and leg.reason in _STOPPED
                and not spoke
                and not missed.get(leg.device)
            ):
                self.sim.blame(
                    "missed call", f"{leg.device} rang in vain and was not told", ref=record.call_ref
                )
            if leg.device and missed.get(leg.device) and leg.user in declined:
                self.sim.blame(
                    "missed call", f"{leg.device} was told, but its user declined", ref=record.call_ref
                )

    def _hunt_of(self, record: CallRecord) -> Hunt | None:
        """The hunt that the caller has called."""
        decision = evaluate(stored.load(stored.split(record.facts)[0]))
        return next((step for step in decision.plan.steps if isinstance(step, Hunt)), None)

    def _check_story(self, record: CallRecord, legs: list[LegRecord], told: dict[str, list[str]]) -> None:
        """Of a hunt that found nobody: each member was rung or sought, or the trace says why not."""
        hunt = self._hunt_of(record)
        decision = evaluate(stored.load(stored.split(record.facts)[0]))
        happened = str(json.loads(record.trace)[len(decision.trace) :])
        lasted = (record.ended_ms - record.started_ms) / 1000
        if hunt is None or record.answered_ms or record.reason not in LOST or lasted > hunt.limit_s - 1.0:
            return
        if lasted > self.sim.settings.calls.total_ring_seconds - 1.0:
            return
        users = {leg.user for leg in legs} | {device.partition("-")[0] for device in told}
        for group in hunt.groups:
            for member in group:
                if member.user not in users and member.user not in happened:
                    self.sim.blame(
                        "member without a story", f"{member.user} in {happened}", ref=record.call_ref
                    )
