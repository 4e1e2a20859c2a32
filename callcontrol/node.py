"""A running node as its operator sees it: the ``Node`` protocol of ``callcontrol.node_view`` over the live parts."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from functools import partial

import msgspec

from callcontrol.b2bua.call import Call
from callcontrol.b2bua.leg import Leg
from callcontrol.b2bua.phases import ENDED, RINGING, TALKING
from callcontrol.bindings import Binding, BindingStore
from callcontrol.call_places import CallKey, Place, after_place
from callcontrol.cdr import CallRecord
from callcontrol.cdr.store import CallFilter, SqlCallStore
from callcontrol.ladder import Ladders, Line
from callcontrol.limits import Gate
from callcontrol.metrics import Metrics
from callcontrol.node_view import (
    BanView,
    CallView,
    CdrPage,
    ComponentView,
    LadderEntry,
    LadderView,
    LegView,
    NodeView,
    PartyView,
    Registered,
    RegistrationView,
    ReloadView,
    TraceView,
    cdr_view,
)
from callcontrol.probing import Prober
from callcontrol.pushing import Wake
from callcontrol.registration_views import registration_view
from callcontrol.runner import Runner
from callcontrol.sip.usage import CALLING, CANCELLING, CLOSED, CLOSING, INCOMING
from callcontrol.trunk_types import RouteView, TrunkView
from callcontrol.trunk_views import route_views, trunk_views
from dialplan import reasons
from dialplan.plan import Plan, Refuse, Ring, Step, ToTrunk


class LiveNode:
    """See the module.  Only ``cdrs`` and ``reload`` wait for something; all the rest reads memory."""

    def __init__(
        self,
        *,
        node_id: str,
        version: str,
        domain: str,
        started_at: float,
        wall: Callable[[], float],
        calls: CallsOf,
        bindings: BindingStore,
        prober: Prober,
        listeners: Callable[[], tuple[str, ...]],
        metrics: Metrics,
        records: SqlCallStore,
        health: Callable[[], Sequence[ComponentView]],
        readiness: Callable[[], Sequence[ComponentView]],
        bans: BansOf,
        on_drain: Callable[[], None],
        on_reload: Callable[[], Awaitable[ReloadView]],
        on_sign_out: Callable[[str], int],
        config_version: Callable[[], int],
        draining: Callable[[], bool],
        wakes: Callable[[str], Sequence[Wake]] = lambda device: (),
    ) -> None:
        self._id = node_id
        self._version = version
        self._domain = domain
        self._started_at = started_at
        self._wall = wall
        self._calls = calls
        self._bindings = bindings
        self._prober = prober
        self._listeners = listeners
        self._metrics = metrics
        self._records = records
        self._health = health
        self._readiness = readiness
        self._bans = bans
        self._on_drain = on_drain
        self._on_reload = on_reload
        self._on_sign_out = on_sign_out
        self._config_version = config_version
        self._draining = draining
        self._wakes = wakes

    async def info(self) -> NodeView:
        return NodeView(
            id=self._id,
            version=self._version,
            started_at=self._started_at,
            draining=self._draining(),
            calls=self._calls.count(),
            registrations=len(self._bindings),
            listeners=self._listeners(),
            domain=self._domain,
            config_version=self._config_version(),
        )

    async def health(self) -> Sequence[ComponentView]:
        return self._health()

    async def readiness(self) -> Sequence[ComponentView]:
        return self._readiness()

    async def metrics_page(self) -> bytes:
        return self._metrics.render()

    # -- calls ----------------------------------------------------------------------------------------------

    async def call_keys(self, ended: bool, place: Place | None = None) -> AsyncIterator[CallKey]:
        for key in after_place(self._calls.ended_keys() if ended else self._calls.running_keys(), place):
            yield key

    async def call_key(self, ref: str) -> CallKey | None:
        running = self._calls.running(ref)
        if running is not None:
            return running_key(running)
        record = self._calls.ended(ref)
        return ended_key(record) if record is not None else None

    async def call(self, ref: str) -> CallView | None:
        running = self._calls.running(ref)
        if running is not None:
            return running_view(running)
        record = self._calls.ended(ref)
        return ended_view(record) if record is not None else None

    async def ladder(self, ref: str) -> LadderView | None:
        lines = self._calls.lines(ref)
        if not lines:
            return None
        running = self._calls.running(ref)
        record = self._calls.ended(ref)
        if running is not None:
            names = {leg.id: (_party_name(leg), _where(leg.address)) for leg in running.legs.values()}
        elif record is not None:
            names = {leg.leg: (leg.device or leg.trunk or leg.leg, leg.address) for leg in record.legs}
        else:
            names = {}
        return ladder_view(ref, lines, names, self._calls.dropped(ref))

    async def hang_up(self, ref: str) -> bool:
        return self._calls.hang_up(ref, reasons.OPERATOR)

    # -- live state -----------------------------------------------------------------------------------------

    def registrations(self, user: str = "") -> Iterator[Registered]:
        now = self._wall()
        for binding in self._bindings.all():
            if binding.expires_at > now and (not user or user in (binding.user, binding.device)):
                name = hashlib.blake2s(f"{binding.aor} {binding.key}".encode(), digest_size=8).hexdigest()
                key = f"{binding.device}~{name}"
                yield Registered(key, binding.user, binding.device, partial(self._registration, key, binding))

    def _registration(self, key: str, binding: Binding) -> RegistrationView:
        return registration_view(key, binding, self._wakes(binding.device))

    def sign_out(self, device: str) -> int:
        return self._on_sign_out(device)

    def trunks(self) -> Sequence[TrunkView]:
        return trunk_views(self._prober, self._wall())

    def routes(self, number: str) -> Sequence[RouteView]:
        return route_views(self._prober, number, self._wall())

    def bans(self) -> Sequence[BanView]:
        return self._bans.list(self._wall())

    def lift_ban(self, address: str) -> bool:
        return self._bans.lift(address)

    async def drain(self) -> NodeView:
        self._on_drain()
        return await self.info()

    async def reload(self) -> ReloadView:
        return await self._on_reload()

    async def cdrs(
        self, limit: int, cursor: str, number: str, *, account: str = "", user: str = ""
    ) -> CdrPage:
        before = _read_cursor(cursor) if cursor else None
        where = CallFilter(number=number, account=account, user=user, before=before)
        found = await self._records.recent(limit + 1, where)
        page = found[:limit]
        last = page[-1] if len(found) > limit else None
        return CdrPage(
            items=tuple(cdr_view(record) for record in page),
            next_cursor=_write_cursor(last) if last is not None else "",
        )


class CallsOf:
    """The calls of a runner, running and recent."""

    def __init__(self, runner: Runner, ladders: Ladders, hang_up: Callable[[str, str], bool]) -> None:
        self._runner = runner
        self._ladders = ladders
        self.hang_up = hang_up

    def count(self) -> int:
        return sum(1 for call in self._runner.calls.values() if call.phase != ENDED)

    def running_keys(self) -> Iterator[CallKey]:
        # a copy of the references, so that the list may be looked through in slices while calls come and go
        running = list(reversed(self._runner.calls.values()))
        return (running_key(call) for call in running if call.phase != ENDED)

    def ended_keys(self) -> Iterator[CallKey]:
        return (ended_key(record) for record in list(reversed(self._runner.recent.values())))

    def running(self, ref: str) -> Call | None:
        call = self._runner.calls.get(ref)
        return call if call is not None and call.phase != ENDED else None

    def ended(self, ref: str) -> CallRecord | None:
        return self._runner.recent.get(ref)

    def lines(self, ref: str) -> list[Line]:
        return self._ladders.of(ref)

    def dropped(self, ref: str) -> int:
        return self._ladders.dropped.get(ref, 0)


class BansOf:
    """Bans as views."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def list(self, now: float) -> Sequence[BanView]:
        return [
            BanView(
                address=ban.address, reason=ban.reason, since=ban.since, until=ban.until, slowed=ban.slowed
            )
            for ban in self._gate.list_bans(now)
        ]

    def lift(self, address: str) -> bool:
        return self._gate.unban(address)


def running_key(call: Call) -> CallKey:
    """Whose a running call is."""
    return CallKey(
        ref=call.ref,
        started_at=call.started_at,
        account=call.plan.account,
        user=call.plan.user,
        devices=tuple(leg.device for leg in call.legs.values() if leg.device),
    )


def ended_key(record: CallRecord) -> CallKey:
    """Whose a call was."""
    return CallKey(
        ref=record.call_ref,
        started_at=record.started_ms / 1000,
        account=record.account,
        user=record.user,
        devices=tuple(leg.device for leg in record.legs if leg.device),
    )


def running_view(call: Call) -> CallView:
    """A call that runs."""
    states = {RINGING: "ringing" if call.ringing_at else "setup", TALKING: "talking", ENDED: "ended"}
    plan = call.plan
    outward = [leg.trunk for leg in call.legs.values() if leg.trunk]
    return CallView(
        ref=call.ref,
        direction=plan.direction,
        state=states.get(call.phase, "setup"),
        caller=plan.caller.asserted or plan.caller.number or plan.caller.user,
        called=plan.called,
        started_at=call.started_at,
        number=plan.number,
        user=plan.user,
        account=plan.account,
        trunk=outward[-1] if outward else "",
        caller_hidden=plan.caller.hidden,
        ringing_at=call.ringing_at or None,
        answered_at=call.answered_at or None,
        plan=plan_words(plan),
        legs=tuple(_leg_view(leg) for leg in call.legs.values()),
        trace=tuple(TraceView(rule=t.rule, outcome=t.outcome, detail=t.detail) for t in call.trace),
    )


def ended_view(record: CallRecord) -> CallView:
    """A call that ended, from its record."""
    trace = msgspec.json.decode(record.trace, type=list[tuple[str, str, str]]) if record.trace else []
    return CallView(
        ref=record.call_ref,
        direction=record.direction,
        state="ended",
        caller=record.caller,
        called=record.called or record.dialled,
        started_at=record.started_ms / 1000,
        number=record.number,
        user=record.user,
        account=record.account,
        trunk=record.trunk,
        caller_hidden=record.caller_hidden,
        ringing_at=record.ringing_ms / 1000 if record.ringing_ms else None,
        answered_at=record.answered_ms / 1000 if record.answered_ms else None,
        ended_at=record.ended_ms / 1000,
        status=record.status,
        reason=record.reason,
        ended_by=record.ended_by,
        legs=tuple(
            LegView(
                leg=leg.leg,
                role=leg.role,
                state="ended",
                party=leg.number,
                device=leg.device,
                trunk=leg.trunk,
                transport=leg.transport,
                address=leg.address,
                call_id=leg.call_id,
                status=leg.status,
                reason=leg.reason,
                answered_at=leg.answered_ms / 1000 if leg.answered_ms else None,
                ended_at=leg.ended_ms / 1000 if leg.ended_ms else None,
            )
            for leg in record.legs
        ),
        trace=tuple(TraceView(rule=rule, outcome=outcome, detail=detail) for rule, outcome, detail in trace),
    )


def plan_words(plan: Plan) -> tuple[str, ...]:
    """The steps of a plan, one phrase each."""
    return tuple(_step_words(step) for step in plan.steps)


def _step_words(step: Step) -> str:
    if isinstance(step, Ring):
        devices = ", ".join(target.device for target in step.targets)
        asleep = ", ".join(target.device for target in step.wake if target.asleep)
        waking = f", wake {asleep}" if asleep else ""
        return f"ring {devices or 'nobody'}{waking} for {step.for_s:g} s"
    if isinstance(step, ToTrunk):
        return f"call {step.number} over a trunk for {step.for_s:g} s"
    if isinstance(step, Refuse):
        return f"refuse: {step.reason}"
    return type(step).__name__.lower()


def _leg_view(leg: Leg) -> LegView:
    state = leg.usage.state
    words = "talking"
    if state in (CALLING, CANCELLING, INCOMING):
        words = "ringing" if leg.ringing_at else "trying"
    elif state in (CLOSING, CLOSED):
        words = "ended"
    transport, _, _ = leg.address.partition("|")
    return LegView(
        leg=leg.id,
        role=leg.role,
        state=words,
        party=leg.number,
        device=leg.device,
        trunk=leg.trunk,
        transport=transport if "|" in leg.address else "",
        address=_where(leg.address),
        call_id=leg.call_id,
        status=leg.status,
        reason=leg.reason,
        answered_at=leg.answered_at or None,
        ended_at=leg.ended_at or None,
    )


def _party_name(leg: Leg) -> str:
    return leg.device or leg.trunk or leg.id


def _where(address: str) -> str:
    """``host:port`` of a dumped flow; a URI stays as it is."""
    parts = address.split("|")
    return f"{parts[1]}:{parts[2]}" if len(parts) > 2 else address


def ladder_view(
    ref: str, lines: Sequence[Line], names: dict[str, tuple[str, str]], dropped: int
) -> LadderView:
    """Columns: the caller, ourselves, then the called parties in the order in which they were dialled."""
    order = ["a", *[leg for leg in names if leg != "a"]]
    order += [line.leg for line in lines if line.leg not in order and line.leg]
    columns = list(dict.fromkeys(order))
    index = {leg: 0 if number == 0 else number + 1 for number, leg in enumerate(columns)}
    parties: list[PartyView] = []
    for number, leg in enumerate(columns):
        name, address = names.get(leg, (leg, ""))
        parties.append(PartyView(name=name, address=address))
        if number == 0:
            parties.append(PartyView(name="Cloudline"))
    entries = [
        LadderEntry(
            at=line.at,
            source=1 if line.outgoing else index[line.leg],
            target=index[line.leg] if line.outgoing else 1,
            label=line.label,
            leg=line.leg,
            transport=line.flow.partition("|")[0] if "|" in line.flow else "",
            message=line.data.decode("utf-8", "replace"),
        )
        for line in lines
    ]
    return LadderView(call_ref=ref, parties=tuple(parties), entries=tuple(entries), truncated=dropped)


def _write_cursor(record: CallRecord) -> str:
    return base64.urlsafe_b64encode(f"{record.started_ms} {record.call_ref}".encode()).decode()


def _read_cursor(cursor: str) -> tuple[int, str]:
    """Raises ValueError for a cursor that no page gave out."""
    text = base64.urlsafe_b64decode(cursor.encode()).decode()
    started, _, ref = text.partition(" ")
    return int(started), ref
