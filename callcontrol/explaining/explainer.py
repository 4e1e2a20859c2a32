"""What would happen if A called B at a time, without a message on the wire (OPS-02).

Facts are gathered by the gatherer of live calls, from an INVITE that nobody sent; the dialplan decides; and the call machine
plays the call on a clock of its own (`callcontrol.explaining.rehearsal`).  Registrations, trunks and counters are those of
now, hours and schedules those of the time asked about.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from callcontrol import call_views
from callcontrol.assembly import Signalling
from callcontrol.b2bua.call import Call
from callcontrol.b2bua.effects import ChooseTrunk, Effect, FindMembers, RouteForward
from callcontrol.b2bua.events import Event, ForwardRouted, MembersFound, TrunkChosen
from callcontrol.explaining import invite
from callcontrol.explaining.answer import Explanation
from callcontrol.explaining.moment import Moment, MomentError, clock_at, read_moment
from callcontrol.explaining.question import Question, QuestionError
from callcontrol.explaining.rehearsal import Rehearsal
from callcontrol.explaining.standins import ShiftedBindings, ShiftedOccupancy
from callcontrol.gather import Gatherer
from callcontrol.live_facts import Asking, LiveSource
from callcontrol.rio_facts import RioSource
from callcontrol.sip.message import Message
from callcontrol.sip.uri import Uri
from callcontrol.trunking import Trunking
from dialplan import reasons
from dialplan.evaluate import evaluate
from dialplan.facts import RIO_KNOWN, CallerNumber, CallFacts, LoopFacts, OwnCall, RioFacts
from dialplan.plan import Decision
from gateway.trunk import Trunk
from numbering.directory import Directory
from numbering.e164 import NumberError, country_of, read
from numbering.models import ANONYMOUS, Device, DeviceKind
from numbering.policy import COUNTRIES

REF: Final = "explained"
_WAIT_S: Final = 2.0
"""How long counters of other machines are waited for; a live call waits less."""


class Explainer:
    """Answers questions about calls from the parts of one node."""

    def __init__(
        self,
        parts: Signalling,
        wall: Callable[[], float],
        remarks: Sequence[str] = (),
        watch: Callable[[Rehearsal], None] = lambda played: None,
    ) -> None:
        """``remarks``: said with every answer, as that there is no live state here; ``watch`` is shown each call that was
        played."""
        self._parts = parts
        self._wall = wall
        self._remarks = tuple(remarks)
        self._watch = watch

    async def explain(self, question: Question) -> Explanation:
        """Raises QuestionError for what cannot be asked."""
        parts, now = self._parts, self._wall()
        notes = [*self._remarks]
        caller = _Caller.of(question, parts, notes)
        zone = self._zone(caller.facts(parts.intake.gatherer, now))
        moment = self._moment(question, zone, now)
        shift = moment.at - now if question.at else 0.0
        gatherer = parts.intake.gatherer.over(
            ShiftedBindings(parts.bindings, shift), ShiftedOccupancy(parts.occupancy, shift)
        )
        facts = await self._told(caller.facts(gatherer, moment.at))
        if RioSource.asks(facts):
            # what it is, is for the line alone
            facts = replace(facts, rio=RioFacts(state=RIO_KNOWN))
            notes.append("the RIO itself is not looked up: it is taken to be known")
        if facts.gateway is not None:
            notes.append("leases of gateway numbers are not looked at: looking would use them up")
        decision = evaluate(facts)
        rehearsal = self._rehearse(question, caller, facts, decision, gatherer)
        if rehearsal.unfinished:
            notes.append("the call was not followed to its end")
        return self._answer(rehearsal, moment, clock_at(moment.at, zone), notes)

    # -- the question --

    def _zone(self, facts: CallFacts) -> str:
        """Zone of the number called: of its hours, else of its country."""
        greeting = facts.greeting.greeting if facts.greeting is not None else None
        hours = greeting.hours if greeting is not None else None
        if hours is None and facts.number is not None:
            hours = facts.number.hours
        if hours is not None:
            return hours.zone
        called = facts.called.e164
        return COUNTRIES.of(country_of(called) if called else self._parts.settings.calls.country).zone

    def _moment(self, question: Question, zone: str, now: float) -> Moment:
        if not question.at:
            return Moment(at=now)
        try:
            return read_moment(question.at, zone)
        except MomentError as error:
            raise QuestionError("at", str(error)) from None

    async def _told(self, facts: CallFacts) -> CallFacts:
        """The facts with what counters and prices say; nothing that a live call would use up is asked for."""
        sources: list[LiveSource] = [self._parts.outgoing.source]
        asking = Asking(sources, facts, REF)
        if not asking.over:
            told = asyncio.Event()
            asking.then(told.set)
            try:
                await asyncio.wait_for(told.wait(), _WAIT_S)
            except TimeoutError:
                asking.give_up()
        return asking.facts

    # -- the answer --

    def _rehearse(
        self,
        question: Question,
        caller: _Caller,
        facts: CallFacts,
        decision: Decision,
        gatherer: Gatherer,
    ) -> Rehearsal:
        env = self._parts.env
        trunk = "" if caller.trunk is None else caller.trunk.ref
        device = "" if caller.device is None else caller.device.ref
        call = Call(REF, decision.plan, decision.trace, env, facts.called.dialled, trunk, device)
        call.facts.append(facts)  # also where records keep none: the story is told by them
        world = _World(self._parts.trunking, gatherer, self._parts.outgoing.source, self._wall())
        rehearsal = Rehearsal(call, world, question.behaviours)
        rehearsal.run(caller.message, facts.now)
        self._watch(rehearsal)
        return rehearsal

    def _answer(self, rehearsal: Rehearsal, moment: Moment, clock: str, notes: list[str]) -> Explanation:
        call, record = rehearsal.call, rehearsal.record
        if record is not None:
            view, story = call_views.ended_view(record), call_views.ended_story(record)
        else:
            view, story = call_views.running_view(call), call_views.running_story(call)
        end = call.ended_at or call.answered_at
        return Explanation(
            at=moment.at,
            clock=clock,
            notes=tuple(notes),
            time_note=moment.note,
            call=view,
            story=replace(story, explained=True),
            ends_after_s=round(end - call.started_at, 3) if end else 0.0,
        )


class _World:
    """The parts of the node that a call asks while it looks for an answer; nothing is taken from them."""

    def __init__(self, trunking: Trunking, gatherer: Gatherer, usage: LiveSource, now: float) -> None:
        self._trunking = trunking
        self._gatherer = gatherer
        self._usage = usage
        self._now = now
        """Trunks are as well as they are now, whenever the call is."""

    def trunk(self, call: Call, effect: ChooseTrunk) -> TrunkChosen:
        self._trunking.follow(self._now)
        for candidate in self._trunking.candidates(effect.number, self._now):
            if candidate.key not in effect.tried and f"{candidate.trunk.ref} *" not in effect.tried:
                return self._trunking.chosen(candidate, effect.number, effect.caller, effect.channel)
        return TrunkChosen("", reason="" if effect.tried else reasons.NO_ROUTE, channel=effect.channel)

    def answer(self, call: Call, effect: Effect, now: float) -> Event | None:
        if isinstance(effect, FindMembers):
            reaches = [self._gatherer.reach(user, now, call.ref) for user in effect.users]
            return MembersFound(effect.stage, tuple(reaches))
        if isinstance(effect, RouteForward):
            return ForwardRouted(self._forwarded(call, effect, now))
        return None

    def _forwarded(self, call: Call, effect: RouteForward, now: float) -> Decision:
        """As `callcontrol.intake.Intake.route_forward`: forwards wait for no counters."""
        own = (OwnCall(call_ref=call.ref, called=call.plan.called),)
        loop = LoopFacts(max_forwards=effect.max_forwards, own_calls=own)
        found = self._gatherer.forwarded(effect.step, effect.caller, effect.cause, loop, now)
        asking = Asking([self._usage], found, "")
        if not asking.over:
            asking.give_up()
        call.keep(asking.facts)
        return evaluate(asking.facts)


class _Caller:
    """Who calls, and what the INVITE says."""

    def __init__(self, message: Message, uri: Uri, device: Device | None, trunk: Trunk | None) -> None:
        self.message = message
        self.device = device
        self.trunk = trunk
        self._uri = uri

    def facts(self, gatherer: Gatherer, now: float) -> CallFacts:
        if self.device is not None:
            return gatherer.from_device(self.message, self._uri, self.device, now)
        if self.trunk is None:
            raise QuestionError("trunk", "there is no trunk that the call could come by")
        return gatherer.from_trunk(self.message, self._uri, self.trunk, now)

    @staticmethod
    def of(question: Question, parts: Signalling, notes: list[str]) -> _Caller:
        """Raises QuestionError."""
        directory, domain = parts.directory, parts.settings.sip.domain
        country = parts.settings.calls.country
        try:
            uri = invite.request_uri(question.called, domain)
            read_number = read(question.caller, country)
            number = "" if isinstance(read_number, NumberError) else str(read_number)
            device = None if question.from_outside else _device(question, directory, number)
            if device is not None:
                own = directory.number(number) if number else None
                named = number if own is not None and own.user == device.user else ""
                hidden = question.caller == ANONYMOUS
                message = invite.from_device(device.sip_username or device.ref, named, hidden, uri, domain)
                notes.append(f"called from {device.ref}, a {device.kind.value} of {device.user}")
                return _Caller(message, uri, device, None)
            if not number and question.caller != ANONYMOUS and not question.caller.lstrip("+").isdigit():
                raise QuestionError(
                    "caller",
                    f"{question.caller!r} is neither a number nor a device, user or SIP user name of ours",
                )
            trunk = _trunk(question, parts)
            called = read(question.called, trunk.country or country)
            if not isinstance(called, NumberError):
                uri = invite.request_uri(called, domain)
            hidden = question.caller == ANONYMOUS
            who = CallerNumber(
                presented="" if hidden else number or question.caller, e164=number, hidden=hidden
            )
            notes.append(f"comes in by trunk {trunk.ref}")
            return _Caller(invite.from_trunk(who, uri), uri, None, trunk)
        except invite.InviteError as error:
            raise QuestionError("called", str(error)) from None


def _device(question: Question, directory: Directory, number: str) -> Device | None:
    """The device that calls; None: the call comes from outside."""
    if question.device:
        device = directory.device(question.device)
        if device is None:
            raise QuestionError("device", f"there is no device {question.device!r}")
        return device
    named = directory.device_by_username(question.caller) or directory.device(question.caller)
    if named is not None:
        return named
    held = directory.number(number) if number else None
    user = held.user if held is not None else question.caller
    devices = [device for device in directory.devices_of(user) if device.sip_username]
    phones = [device for device in devices if device.kind is DeviceKind.PHONE]
    return next(iter(phones or devices), None)


def _trunk(question: Question, parts: Signalling) -> Trunk:
    if question.trunk:
        trunk = parts.trunks.get(question.trunk)
        if trunk is None:
            raise QuestionError("trunk", f"there is no trunk {question.trunk!r}")
        return trunk
    trunks = sorted(parts.trunks.all(), key=lambda each: (each.priority, each.ref))
    if not trunks:
        raise QuestionError("trunk", "there is no trunk that the call could come by")
    return trunks[0]
