"""A node of fixed content for tests of the HTTP API and the command line."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from functools import partial

from callcontrol.call_places import CallKey, Place, after_place
from callcontrol.cdr.records import CallRecord, LegRecord
from callcontrol.explaining.answer import Explanation
from callcontrol.explaining.question import Question, QuestionError
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
from callcontrol.story import Story
from callcontrol.trunk_types import PeerView, RouteView, TrunkView
from config.database import DatabaseUnavailable
from dialplan.plan import TraceLine
from tests.support.metrics_page import full_metrics

T0 = 1_780_000_000.0
"""2026-05-28T20:26:40Z, when everything here began."""

_REGISTER = (
    "INVITE sip:+33639981001@cloudline.example SIP/2.0\r\n"
    'Proxy-Authorization: Digest username="carrier-a", response="6629fae49393a05397450978507c4ef1"\r\n'
    "Content-Length: 0\r\n\r\n"
)

LADDER = LadderView(
    call_ref="c-1",
    parties=(
        PartyView(name="carrier-a", address="127.0.0.1:5080"),
        PartyView(name="Cloudline", address="127.0.0.1:5060"),
        PartyView(name="ana-phone", address="127.0.0.1:40112"),
        PartyView(name="ana-desk", address="127.0.0.1:40113"),
    ),
    entries=(
        LadderEntry(
            at=T0, source=0, target=1, label="INVITE (SDP)", leg="a", transport="udp", message=_REGISTER
        ),
        LadderEntry(at=T0 + 0.001, source=1, target=0, label="100 Trying", leg="a", transport="udp"),
        LadderEntry(at=T0 + 0.002, source=1, target=2, label="INVITE (SDP)", leg="b1", transport="udp"),
        LadderEntry(at=T0 + 0.003, source=1, target=3, label="INVITE (SDP)", leg="b2", transport="tcp"),
        LadderEntry(at=T0 + 0.5, source=1, target=2, label="INVITE (SDP)", leg="b1", note="retransmission"),
        LadderEntry(at=T0 + 0.6, source=2, target=1, label="180 Ringing", leg="b1", transport="udp"),
        LadderEntry(at=T0 + 2.0, source=3, target=1, label="200 OK (SDP)", leg="b2", transport="tcp"),
    ),
    truncated=2,
)


class FakeNode:
    """Implements ``callcontrol.node_view.Node``."""

    def __init__(self, running: int = 3, ended: int = 1) -> None:
        self.running = [f"c-{n}" for n in range(1, running + 1)]
        self.ended = [f"e-{n}" for n in range(1, ended + 1)]
        self.hung_up: list[str] = []
        self.questions: list[Question] = []
        self.signed_out: list[str] = []
        self.banned = ["198.51.100.7", "2001:db8::/64"]
        self.draining = False
        self.reloads = 0
        self.reload_view = ReloadView(ok=True, changes=("calls.ring_seconds",))
        self.parts: tuple[ComponentView, ...] = (
            ComponentView(name="database", ok=True),
            ComponentView(name="listeners", ok=True),
        )
        self.database_up = True
        self.broken = False

    async def info(self) -> NodeView:
        return NodeView(
            id="node-1",
            version="0.1.0",
            started_at=T0,
            draining=self.draining,
            calls=len(self.running),
            registrations=2,
            listeners=("udp:127.0.0.1:5060",),
            domain="cloudline.example",
            config_version=7,
        )

    async def health(self) -> Sequence[ComponentView]:
        return self.parts

    async def readiness(self) -> Sequence[ComponentView]:
        return (*self.parts, ComponentView(name="draining", ok=not self.draining, detail="3 calls left"))

    async def metrics_page(self) -> bytes:
        return full_metrics().render()

    async def call_keys(self, ended: bool, place: Place | None = None) -> AsyncIterator[CallKey]:
        for key in after_place((self._key(ref) for ref in (self.ended if ended else self.running)), place):
            yield key

    async def call_key(self, ref: str) -> CallKey | None:
        return self._key(ref) if ref in self.running or ref in self.ended else None

    def _key(self, ref: str) -> CallKey:
        number = int(ref.partition("-")[2])
        return CallKey(
            ref=ref, started_at=T0 - number, account="acme", user="ana", devices=("ana-phone", "ana-desk")
        )

    async def call(self, ref: str) -> CallView | None:
        if self.broken:
            raise RuntimeError("password=hunter2")
        if ref not in self.running and ref not in self.ended:
            return None
        ended = ref in self.ended
        view = CallView(
            ref=ref,
            direction="incoming",
            state="talking",
            caller="+33199001234",
            called="+33639981001",
            number="+33639981001",
            user="ana",
            account="acme",
            trunk="carrier-a",
            started_at=T0,
            ringing_at=T0 + 0.6,
            answered_at=T0 + 2,
            plan=("ring ana-phone, ana-desk for 30 s",),
            legs=(
                LegView(
                    leg="a",
                    role="caller",
                    state="talking",
                    party="+33199001234",
                    trunk="carrier-a",
                    status=200,
                ),
                LegView(leg="b1", role="callee", state="ended", device="ana-phone", status=487),
                LegView(
                    leg="b2", role="callee", state="talking", device="ana-desk", transport="tcp", status=200
                ),
            ),
            trace=(
                TraceView(rule="INC-01", outcome="known", detail="held by ana"),
                TraceView(rule="INC-05", outcome="ring", detail="2 bindings"),
            ),
        )
        if ended:
            return replace(
                view, state="ended", ended_at=T0 + 62, reason="normal_clearing", status=200, ended_by="caller"
            )
        return view

    async def story(self, ref: str) -> Story | None:
        view = await self.call(ref)
        if view is None:
            return None
        return Story(
            direction=view.direction,
            caller=view.caller,
            called=view.called,
            number=view.number,
            user=view.user,
            callee=view.user,
            status=view.status,
            reason=view.reason,
            trace=tuple(
                TraceLine(rule=line.rule, outcome=line.outcome, detail=line.detail, at=line.at)
                for line in view.trace
            ),
        )

    async def explain(self, question: Question) -> Explanation:
        if question.caller == "nobody":
            raise QuestionError("caller", "'nobody' is neither a number nor a device")
        self.questions.append(question)
        view, story = await self.call(self.ended[0]), await self.story(self.ended[0])
        assert view is not None
        assert story is not None
        return Explanation(
            at=T0,
            clock="Thursday 2026-05-28 22:26 in Europe/Paris (2026-05-28T20:26:40Z)",
            notes=("comes in by trunk carrier-a",),
            time_note="",
            call=view,
            story=replace(story, explained=True),
            ends_after_s=2.0,
        )

    async def ladder(self, ref: str) -> LadderView | None:
        return replace(LADDER, call_ref=ref) if ref in self.running or ref in self.ended else None

    async def hang_up(self, ref: str) -> bool:
        if ref not in self.running:
            return False
        self.hung_up.append(ref)
        return True

    def sign_out(self, device: str) -> int:
        self.signed_out.append(device)
        return 1

    def registrations(self, user: str = "") -> Iterator[Registered]:
        for device, owner, transport in (("ana-phone", "ana", "udp"), ("ben-desk", "ben", "tls")):
            if user in ("", device, owner):
                view = RegistrationView(
                    id=f"{device}~1",
                    aor=f"sip:{device}@cloudline.example",
                    device=device,
                    user=owner,
                    contact=f"sip:{device}@127.0.0.1:40112;transport={transport}",
                    transport=transport,
                    address="127.0.0.1:40112",
                    expires_at=T0 + 3600,
                    user_agent="test phone",
                )
                yield Registered(view.id, owner, device, partial(replace, view))

    def routes(self, number: str) -> Sequence[RouteView]:
        if not number.startswith("+"):
            raise ValueError(f"{number!r} is not a number")
        return (
            RouteView(
                position=1,
                trunk="carrier-a",
                peer="sip:127.0.0.1:5080",
                called=number,
                prefix="+",
                peer_share=1.0,
                priority=10,
                cost=0.01,
                weight=100,
                share=1.0,
                standing="ready",
                why="prefix +, priority 10, 0.01 a minute",
            ),
        )

    def trunks(self) -> Sequence[TrunkView]:
        peer = PeerView(uri="sip:127.0.0.1:5080", state="up", answered_at=T0, round_trip_seconds=0.002)
        return (
            TrunkView(
                ref="carrier-a",
                up=True,
                channels=3,
                channel_limit=100,
                prefixes=("+",),
                priority=10,
                peers=(peer,),
            ),
            TrunkView(ref="carrier-b", up=False, channels=0, channel_limit=0),
        )

    def bans(self) -> Sequence[BanView]:
        return [BanView(address=host, reason="scanner", since=T0, until=T0 + 60) for host in self.banned]

    def lift_ban(self, address: str) -> bool:
        if address not in self.banned:
            return False
        self.banned.remove(address)
        return True

    async def drain(self) -> NodeView:
        self.draining = True
        return await self.info()

    async def reload(self) -> ReloadView:
        self.reloads += 1
        return self.reload_view

    async def cdrs(
        self, limit: int, cursor: str, number: str, *, account: str = "", user: str = ""
    ) -> CdrPage:
        if not self.database_up:
            raise DatabaseUnavailable("connection to postgresql://cloudline:hunter2@db refused")
        if cursor not in ("", "2"):
            raise ValueError(cursor)
        record = CallRecord(
            call_ref="e-1",
            direction="incoming",
            account="acme",
            user="ana",
            started_ms=int(T0 * 1000),
            answered_ms=int(T0 * 1000) + 2000,
            ended_ms=int(T0 * 1000) + 62000,
            caller="+33199001234",
            called="+33639981001",
            number="+33639981001",
            status=200,
            cause=16,
            reason="normal_clearing",
            ended_by="caller",
            legs=(LegRecord(leg="a", role="caller", started_ms=int(T0 * 1000), status=200),),
        )
        if (
            number not in ("", record.number, record.caller)
            or account not in ("", record.account)
            or user not in ("", record.user)
        ):
            return CdrPage(items=())
        return CdrPage(items=(cdr_view(record),), next_cursor="" if cursor else "2")
