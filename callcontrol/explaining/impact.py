"""What a change of the provisioning would have done to the calls of the past (OPS-02).

Each call's stored facts are taken apart: what came from the configuration (number, holder, lists, hours, forwarding, Greeting,
plan, prices) is read again from the new one by the gatherer of live calls; what was live then (who called, the time, who was
registered or busy, what was used) stays as it was.  The dialplan decides again, and first decisions are compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from callcontrol.assembly import Signalling
from callcontrol.call_views import plan_words
from callcontrol.cdr import CallRecord
from callcontrol.explaining import invite
from callcontrol.explaining.standins import RecordedBindings, RecordedOccupancy
from callcontrol.gather import Gatherer
from callcontrol.live_facts import Asking
from callcontrol.plans import outgoing_policy
from callcontrol.usage.counters import MemoryUsageCounters, Used
from callcontrol.usage.policy import Zoning
from callcontrol.usage.source import UsageSource
from dialplan import stored
from dialplan import trace as words
from dialplan.evaluate import evaluate
from dialplan.facts import GATEWAY_LEASED, TRANSFER, CallFacts
from dialplan.plan import Decision, TraceLine
from dialplan.usage import UsageFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """Where a call goes, and the rule that decided it."""

    steps: tuple[str, ...]
    rule: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Diverted:
    """A call that would have gone elsewhere."""

    call_ref: str
    started_ms: int
    caller: str
    called: str
    before: Way
    after: Way


@dataclass(frozen=True, slots=True, kw_only=True)
class Unread:
    """A call that could not be replayed."""

    call_ref: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Impact:
    """What became of the calls that were looked at."""

    same: int = 0
    elsewhere: tuple[Diverted, ...] = ()
    already: int = 0
    """Calls that would go elsewhere today as well: the configuration has changed since, and this change adds nothing."""
    unread: tuple[Unread, ...] = ()

    @property
    def calls(self) -> int:
        return self.same + len(self.elsewhere) + self.already + len(self.unread)

    def __add__(self, other: Impact) -> Impact:
        return Impact(
            same=self.same + other.same,
            elsewhere=(*self.elsewhere, *other.elsewhere),
            already=self.already + other.already,
            unread=(*self.unread, *other.unread),
        )


class Replay:
    """Decides calls of the past again, on one provisioning."""

    def __init__(self, parts: Signalling) -> None:
        """``parts`` of a node over that provisioning (`callcontrol.explaining.offline`)."""
        self._parts = parts

    def decide(self, facts: CallFacts) -> Decision | None:
        """The decision; None: who called, or the way that the call came, is gone."""
        again = self.gathered(facts)
        return None if again is None else evaluate(again)

    def gathered(self, facts: CallFacts) -> CallFacts | None:
        """The facts of the same call on this provisioning."""
        gatherer = self._parts.intake.gatherer.over(RecordedBindings(facts), RecordedOccupancy(facts))
        made = (
            self._from_device(facts, gatherer)
            if facts.device is not None
            else self._from_trunk(facts, gatherer)
        )
        if made is None:
            return None
        made = replace(
            made,
            trunk=facts.trunk,
            caller=replace(facts.caller, number_class=made.caller.number_class, labels=made.caller.labels),
            loop=facts.loop,
            limits=facts.limits,
            gateway=facts.gateway,
            rio=facts.rio,
            psap_callback=facts.psap_callback,
        )
        asking = Asking([self._usage(facts.usage)], made, facts.caller.presented)
        return asking.facts

    def _from_device(self, facts: CallFacts, gatherer: Gatherer) -> CallFacts | None:
        about = facts.device
        device = None if about is None else self._parts.directory.device(about.device)
        if about is None or device is None:
            return None
        gateway, caller, called = facts.gateway, facts.caller, facts.called
        if gateway is not None and gateway.state == GATEWAY_LEASED:
            to = called.e164 or called.dialled
            return gatherer.on_behalf(device, caller.e164, to, caller.hidden, facts.now, facts.loop)
        if caller.source == TRANSFER:
            uri = invite.request_uri(called.dialled, self._domain)
            return gatherer.from_transfer(uri, device, caller.e164, facts.now)
        uri = invite.request_uri(called.dialled, called.foreign_host or self._domain)
        username = about.sip_username or device.ref
        message = invite.from_device(username, caller.e164, caller.hidden, uri, self._domain)
        return gatherer.from_device(message, uri, device, facts.now)

    def _from_trunk(self, facts: CallFacts, gatherer: Gatherer) -> CallFacts | None:
        trunk = self._parts.trunks.get(facts.trunk)
        if trunk is None:
            return None
        called = facts.called
        uri = invite.request_uri(called.e164 or called.dialled, called.foreign_host or self._domain)
        made = gatherer.from_trunk(invite.from_trunk(facts.caller, uri), uri, trunk, facts.now)
        return replace(made, called=called)

    @property
    def _domain(self) -> str:
        return self._parts.settings.sip.domain

    def _usage(self, usage: UsageFacts | None) -> UsageSource:
        """Plans, packages and prices of this provisioning, with what was used then."""
        directory, book = self._parts.directory, self._parts.outgoing.book
        policy = outgoing_policy(self._parts.settings)
        return UsageSource(directory, policy, Zoning(directory, policy, book), book, _Recorded(usage))


class _Recorded(MemoryUsageCounters):
    """What had been used when a call was decided."""

    def __init__(self, usage: UsageFacts | None) -> None:
        super().__init__()
        self._usage = usage

    def look(self, owner: str, month: str, called: str, done: Callable[[Used | None], None]) -> None:
        usage = self._usage
        if usage is None or not usage.counted:
            done(None)
        else:
            done(Used({usage.zone: usage.used_s}, usage.callees, usage.knows_callee))


GONE: Final = Way(steps=("who called, or the trunk, is gone",), rule="", why="")


def impact_of(records: Iterable[CallRecord], today: Replay, then: Replay) -> Impact:
    """What a change makes of recorded calls.  ``today``: the provisioning as it is, ``then``: as it would be."""
    same = already = 0
    elsewhere: list[Diverted] = []
    unread: list[Unread] = []
    for record in records:
        try:
            parts = stored.split(record.facts)
            if not parts:
                raise stored.FactsError("its facts are not kept")
            facts = stored.load(parts[0])
            after = then.decide(facts)
            way = GONE if after is None else way_of(after)
            before = way_of(evaluate(facts))
            now = before if way.steps == before.steps else _way(today.decide(facts))
        except (stored.FactsError, invite.InviteError) as error:
            unread.append(Unread(call_ref=record.call_ref, why=str(error)))
            continue
        if way.steps == before.steps:
            same += 1
        elif way.steps == now.steps:
            already += 1
        else:
            elsewhere.append(_diverted(record, before, way))
    return Impact(same=same, elsewhere=tuple(elsewhere), already=already, unread=tuple(unread))


def _way(decision: Decision | None) -> Way:
    return GONE if decision is None else way_of(decision)


def _diverted(record: CallRecord, before: Way, after: Way) -> Diverted:
    return Diverted(
        call_ref=record.call_ref,
        started_ms=record.started_ms,
        caller="anonymous" if record.caller_hidden else record.caller or record.caller_presented,
        called=record.called or record.dialled,
        before=before,
        after=after,
    )


def way_of(decision: Decision) -> Way:
    """Where a decision leads, with the last rule that did not merely let the call pass."""
    line = _deciding(decision.trace)
    return Way(
        steps=plan_words(decision.plan),
        rule="" if line is None else line.rule,
        why="" if line is None else f"{line.outcome}: {line.detail}",
    )


def _deciding(trace: Sequence[TraceLine]) -> TraceLine | None:
    found = [line for line in trace if line.outcome != words.PASS]
    return found[-1] if found else trace[-1] if trace else None
