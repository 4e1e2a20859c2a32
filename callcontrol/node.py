"""A running node as its operator sees it: the ``Node`` protocol of ``callcontrol.node_view`` over the live parts."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from functools import partial

from callcontrol.b2bua.call import Call
from callcontrol.b2bua.phases import ENDED
from callcontrol.bindings import Binding, BindingStore
from callcontrol.call_places import CallKey, Place, after_place
from callcontrol.call_views import (
    ended_key,
    ended_story,
    ended_view,
    ladder_view,
    leg_names,
    running_key,
    running_story,
    running_view,
)
from callcontrol.cdr import CallRecord
from callcontrol.cdr.store import CallFilter, SqlCallStore
from callcontrol.explaining.answer import Explanation
from callcontrol.explaining.explainer import Explainer
from callcontrol.explaining.question import Question
from callcontrol.ladder import Ladders, Line
from callcontrol.limits import Gate
from callcontrol.metrics import Metrics
from callcontrol.node_view import (
    BanView,
    CallView,
    CdrPage,
    ComponentView,
    LadderView,
    NodeView,
    Registered,
    RegistrationView,
    ReloadView,
    cdr_view,
)
from callcontrol.probing import Prober
from callcontrol.pushing import Wake
from callcontrol.registration_views import registration_view
from callcontrol.runner import Runner
from callcontrol.story import Story
from callcontrol.trunk_types import RouteView, TrunkView
from callcontrol.trunk_views import route_views, trunk_views
from dialplan import reasons


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
        explainer: Explainer,
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
        self._explainer = explainer
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

    async def story(self, ref: str) -> Story | None:
        running = self._calls.running(ref)
        if running is not None:
            return running_story(running)
        record = self._calls.ended(ref)
        return ended_story(record) if record is not None else None

    async def explain(self, question: Question) -> Explanation:
        return await self._explainer.explain(question)

    async def ladder(self, ref: str) -> LadderView | None:
        lines = self._calls.lines(ref)
        if not lines:
            return None
        names = leg_names(self._calls.running(ref), self._calls.ended(ref))
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
        return (ended_key(record) for record in list(reversed(self._runner.performer.recent.values())))

    def running(self, ref: str) -> Call | None:
        call = self._runner.calls.get(ref)
        return call if call is not None and call.phase != ENDED else None

    def ended(self, ref: str) -> CallRecord | None:
        return self._runner.performer.recent.get(ref)

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


def _write_cursor(record: CallRecord) -> str:
    return base64.urlsafe_b64encode(f"{record.started_ms} {record.call_ref}".encode()).decode()


def _read_cursor(cursor: str) -> tuple[int, str]:
    """Raises ValueError for a cursor that no page gave out."""
    text = base64.urlsafe_b64decode(cursor.encode()).decode()
    started, _, ref = text.partition(" ")
    return int(started), ref
