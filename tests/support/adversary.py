"""Everybody around one call, with bad manners: turns small numbers into events for ``Call.handle`` and keeps the books.

Most of what it makes would be a sound message at another moment; some of it never is.  What the call wants done is noted, so
that in the end one can ask who was promised what: see ``Adversary.verdict``.
"""

from __future__ import annotations

from dataclasses import replace

import msgspec

from callcontrol.b2bua import snapshot
from callcontrol.b2bua.call import Call
from callcontrol.b2bua.effects import (
    CallOver,
    ChooseTrunk,
    Effect,
    JoinDialog,
    RouteTransfer,
    TrunkReleased,
    WriteRecord,
)
from callcontrol.b2bua.env import CallEnv
from callcontrol.b2bua.events import (
    CallBack,
    CancelIn,
    DeadlinePassed,
    Event,
    HangUp,
    RequestIn,
    ResponseIn,
    Resumed,
    Start,
    TargetJoined,
    TransactionEnded,
    TransferRouted,
    TrunkChosen,
)
from callcontrol.cdr import CallRecord
from callcontrol.ids import KeyedIds
from callcontrol.sip import build
from callcontrol.sip.commands import SendAck, SendRequest, SendResponse, UseTag
from callcontrol.sip.digest import make_challenge
from callcontrol.sip.digest_client import Login
from callcontrol.sip.message import Message, parse
from callcontrol.sip.usage import CLOSED, UsageEnv
from dialplan import reasons
from dialplan.plan import (
    Decision,
    DeviceTarget,
    Identity,
    Plan,
    Refuse,
    Ring,
    Step,
    ToSim,
    ToTrunk,
    TraceLine,
)

START = 1_800_000_000.0
FLOW = "udp|10.0.1.1|5060|0|udp:10.0.0.1:5060"
STATUSES = (
    100,
    180,
    183,
    199,
    200,
    202,
    302,
    401,
    404,
    407,
    408,
    415,
    422,
    481,
    486,
    487,
    488,
    491,
    500,
    503,
    600,
    603,
    606,
)
METHODS = (
    "INVITE",
    "ACK",
    "BYE",
    "UPDATE",
    "PRACK",
    "INFO",
    "MESSAGE",
    "OPTIONS",
    "REFER",
    "NOTIFY",
    "DANCE",
)
WAITS = (0.0, 0.01, 0.3, 0.6, 3.0, 6.0, 33.0, 95.0, 1000.0, 2000.0)
SDP = (
    b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n",
    b"v=0\r\no=x 2 9 IN IP4 192.0.2.2\r\ns=-\r\nc=IN IP4 192.0.2.2\r\nt=0 0\r\nm=audio 6000 RTP/AVP 0\r\n",
)
BODIES = (b"", SDP[0], SDP[1], b"\xff\x00nonsense", b"")
CHALLENGE = make_challenge("carrier.example", "nonce", "MD5")
HEADERS: tuple[tuple[tuple[str, str], ...], ...] = (
    (),
    (("allow", "INVITE, ACK, BYE, UPDATE, INFO"),),
    (("require", "100rel"), ("rseq", "1")),
    (("require", "100rel"), ("rseq", "2")),
    (("require", "100rel"), ("rseq", "\u00b2")),
    (("supported", "timer"), ("session-expires", "100;refresher=uac")),
    (("supported", "timer"), ("session-expires", "100;refresher=uas")),
    (("session-expires", "5"), ("min-se", "99999999999")),
    (("min-se", "2000"), ("www-authenticate", CHALLENGE), ("proxy-authenticate", CHALLENGE)),
    (("www-authenticate", 'Digest realm="open'), ("proxy-authenticate", "Basic x")),
    (("contact", "<sip:moved@10.9.9.9:5060>"), ("record-route", "<sip:proxy.example;lr>")),
    (("contact", "<sip:@@>"), ("record-route", "<sip:old.example>, <nonsense")),
    (("refer-to", "<sip:+33639981003@cloudline.example>"), ("rack", "1 1 INVITE")),
    (("refer-to", "<sip:x@y?Replaces=a%3Bto-tag%3Db%3Bfrom-tag%3Dc>"), ("refer-sub", "false")),
    (("refer-to", "<mailto:x>"), ("rack", "\u0663 x"), ("reason", "SIP;cause=200")),
    (("subject", "caf\udce9"), ("user-to-user", "00;encoding=hex"), ("retry-after", "7")),
)
TAGS = ("", "one", "two", "three", "stranger")


class Contacts:
    def uri(self, scope: str, target: str, host: str = "") -> str:
        return f"sip:{scope}@{host or '10.0.0.1:5060'}"

    def sent_by(self, target: str) -> str:
        return "192.0.2.1:5060"


def environment() -> CallEnv:
    return CallEnv(UsageEnv(KeyedIds(b"k" * 32), Contacts()), "cloudline.example", "node")


def device(user: str, number: int) -> DeviceTarget:
    return DeviceTarget(
        user=user,
        device=f"{user}-{number}",
        aor=f"sip:{user}-{number}@cloudline.example",
        contact=f"sip:{user}-{number}@10.1.0.{number}:5060",
        flow=FLOW if number % 2 else "",
        path=() if number < 3 else ("<sip:edge.example;lr>",),
        binding=f"{user}{number}",
    )


STEPS: tuple[Step, ...] = (
    Ring(targets=(device("ana", 1),), for_s=20.0),
    Ring(targets=(device("ana", 1), device("ana", 2), device("ben", 3)), for_s=30.0),
    ToTrunk(number="+33199005678", for_s=40.0),
    Ring(targets=(), for_s=10.0),
    Refuse(reason=reasons.CALLS_OFF),
)


def plan_of(*numbers: int) -> Plan:
    return Plan(
        direction="outgoing",
        steps=tuple(STEPS[number % len(STEPS)] for number in numbers),
        caller=Identity(number="+33639981001", asserted="+33639981001", display="Zo\udce9"),
        called="+33199005678",
        user="ana",
        max_duration_s=4000.0,
    )


class Transaction:
    """A request of the call that the wire still knows."""

    def __init__(self, leg: str, request: SendRequest, until: float) -> None:
        self.leg = leg
        self.request = request
        self.until = until
        """When it ends by itself."""
        self.provisional = False
        self.cancelled = False
        self.answered = False
        """A 2xx came: more of them may."""

    def ends_by_itself(self) -> bool:
        """An INVITE with a provisional response waits without end, unless it was cancelled (Timer B, §9.1)."""
        return self.request.method != "INVITE" or not self.provisional or self.cancelled or self.answered


class Adversary:
    """One call and its surroundings."""

    def __init__(
        self,
        plan: Plan,
        body: bytes,
        headers: tuple[tuple[str, str], ...],
        reload: bool,
        callback: bool = False,
    ) -> None:
        """``callback``: nobody calls us; the call begins with the SIM that the plan then names first."""
        self.now = START
        if callback:
            plan = replace(plan, first=ToSim(number="+33639980001", shown="+33199000001", for_s=25.0))
        self.call = Call("ref", plan, (), environment(), "06", "" if callback else "carrier-a", "ana-9")
        self.reload = reload
        self.tags: dict[str, list[str]] = {}
        """Our tags by leg."""
        self.open: dict[str, Transaction] = {}
        """By branch and method."""
        self.byes: dict[str, tuple[str, str]] = {}
        """BYEs of peers by transaction key: (Call-ID, the peer's tag)."""
        self.accepted: set[tuple[str, str]] = set()
        """(leg, tag) of every 2xx to an initial INVITE of ours."""
        self.acked: set[tuple[str, str]] = set()
        self.ended: set[tuple[str, str]] = set()
        self.answers: set[bytes] = set()
        self.records: list[CallRecord] = []
        self.overs = 0
        self.channels: set[str] = set() if callback else {"ref.a"}
        self.cseqs: dict[str, int] = {}
        self.count = 0
        self.feed(CallBack() if callback else Start(self._invite(body, headers), "key-a", FLOW))

    # -- in and out

    def feed(self, event: Event) -> None:
        if self.reload:
            self.call = snapshot.load(snapshot.dump(self.call), self.call.env)
        effects = self.call.handle(event, self.now)
        follow: list[Event] = []
        for effect in effects:
            self._note(effect, follow)
        self.call.ignored.clear()
        for answer in follow:
            self.feed(answer)

    def _note(self, effect: Effect, follow: list[Event]) -> None:
        if isinstance(effect, UseTag):
            self.tags.setdefault(effect.leg, []).append(effect.tag)
        elif isinstance(effect, SendRequest):
            self._sent(effect)
        elif isinstance(effect, SendAck):
            message = self.parsed(effect.data)
            self.acked.add((message.call_id, message.to_tag))
        elif isinstance(effect, SendResponse):
            message = parse(effect.data)
            if message.cseq_method == "INVITE" and 200 <= message.status < 300 and effect.key == "key-a":
                self.answers.add(effect.data)
            if effect.key in self.byes and message.status == 200:
                self.ended.add(self.byes.pop(effect.key))
        elif isinstance(effect, ChooseTrunk):
            if len(effect.tried) < 3:
                self.channels.add(effect.channel)
                follow.append(self._trunk(len(effect.tried)))
            else:
                follow.append(TrunkChosen("", reason=reasons.TRUNK_FAILED))
        elif isinstance(effect, (RouteTransfer, JoinDialog)):
            plan = plan_of(self.count % 5, 1)
            decision = Decision(plan=plan, trace=(TraceLine(rule="x", outcome="y"),))
            follow.append(TransferRouted(decision if self.count % 3 else None, 404))
        elif isinstance(effect, WriteRecord):
            msgspec.msgpack.encode(effect.record)
            self.records.append(effect.record)
        elif isinstance(effect, TrunkReleased):
            self.channels.discard(effect.channel)
        elif isinstance(effect, CallOver):
            self.overs += 1

    def _trunk(self, number: int) -> TrunkChosen:
        target = FLOW if number else "sip:gw.example"
        return TrunkChosen(
            "carrier-a", f"peer{number}", "sip:+33199005678@gw.example;user=phone", target, "", "+33639981001"
        )

    def _sent(self, effect: SendRequest) -> None:
        message = self.parsed(effect.data)
        key = f"{effect.branch} {effect.method}"
        invite = self.open.get(f"{effect.branch} INVITE")
        if effect.method == "CANCEL" and invite is not None:
            invite.cancelled = True
            invite.until = self.now + 32.0
        elif effect.method != "CANCEL" and key not in self.open:
            self.open[key] = Transaction(effect.leg, effect, self.now + 32.0)
        if effect.method == "BYE":
            self.ended.add((message.call_id, message.to_tag))

    @staticmethod
    def parsed(data: bytes) -> Message:
        """A request of the call, as the endpoint would send it."""
        cut = data.find(b"\r\n") + 2
        return parse(data[:cut] + b"Via: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKx\r\n" + data[cut:])

    def _invite(self, body: bytes, headers: tuple[tuple[str, str], ...]) -> Message:
        return self.request("INVITE", "caller", "", 1, headers, body)

    def request(
        self,
        method: str,
        from_tag: str,
        to_tag: str,
        cseq: int,
        headers: tuple[tuple[str, str], ...],
        body: bytes,
    ) -> Message:
        to = "<sip:us@cloudline.example>" + (f";tag={to_tag}" if to_tag else "")
        lines = [
            ("via", "SIP/2.0/UDP 10.0.1.1:5060;branch=z9hG4bKin"),
            ("max-forwards", "70"),
            ("from", '"Zo\udce9" <sip:them@carrier.example>' + (f";tag={from_tag}" if from_tag else "")),
            ("to", to),
            ("call-id", "call-id"),
            ("cseq", f"{cseq} {method}"),
            *headers,
        ]
        if not any(name == "contact" for name, _ in headers):
            lines.append(("contact", "<sip:them@10.0.1.1:5060>"))
        kind = "application/sdp" if body else ""
        return parse(build.request(method, "sip:us@cloudline.example", lines, body, kind))

    # -- what happens to the call

    def step(self, kind: int, which: int, first: int, second: int) -> None:
        """One event, made of small numbers."""
        if self.overs:
            return
        self.count += 1
        body = BODIES[second % len(BODIES)]
        headers = HEADERS[first % len(HEADERS)]
        if kind < 8:
            self._respond(
                which,
                STATUSES[first % len(STATUSES)],
                HEADERS[second % len(HEADERS)],
                BODIES[(first + second) % 5],
            )
        elif kind < 14:
            self._ask(which, METHODS[second % len(METHODS)], headers, body)
        elif kind == 14:
            self.feed(
                CancelIn("a" if which % 4 else "b1", self.request("CANCEL", "caller", "", 1, headers, b""))
            )
        elif kind == 15:
            self._fail(which, "timeout" if first % 2 else "transport")
        elif kind == 16:
            self.feed(DeadlinePassed())
        elif kind == 17:
            self.feed(TargetJoined(device("ana", which % 5)))
        elif kind == 18:
            self._misplaced(which, first)
        elif kind == 19:
            self._die()
        else:
            self.pass_time(WAITS[first % len(WAITS)])

    def _misplaced(self, which: int, first: int) -> None:
        """Events that nobody waits for."""
        match which % 8:
            case 0:
                self.feed(TrunkChosen(""))
            case 1:
                self.channels.add(f"ref.b{self.call.count + 1}")
                self.feed(self._trunk(1))
            case 2:
                self.feed(TransferRouted(None, 404))
            case 3:
                self.feed(HangUp(reasons.OPERATOR) if first % 3 == 0 else DeadlinePassed())
            case 4:
                self.feed(ResponseIn("b9", "none", parse(build.response(self._invite(b"", ()), 200)), None))
            case 5:
                self.feed(TransactionEnded("b9", "none", "timeout"))
            case 6:
                self.feed(RequestIn("b9", self._invite(b"", ()), "none", FLOW))
            case _:
                self.feed(Start(self._invite(b"", ()), "again", FLOW))

    @staticmethod
    def answer(
        request: Message, status: int, tag: str, headers: tuple[tuple[str, str], ...], body: bytes
    ) -> Message:
        """A response to a request of the call."""
        kind = "application/sdp" if body else ""
        return parse(build.response(request, status, "", tag, headers, body, kind))

    def _pick(self, which: int) -> str:
        keys = sorted(self.open)
        return keys[which % len(keys)] if keys else ""

    def _respond(self, which: int, status: int, headers: tuple[tuple[str, str], ...], body: bytes) -> None:
        key = self._pick(which)
        if not key:
            return
        transaction = self.open[key]
        request = transaction.request
        message = self.parsed(request.data)
        tag = TAGS[which % len(TAGS)] if not message.to_tag else ""
        if not message.to_tag and not tag and status >= 200:
            tag = "none"  # without a tag in its 2xx a re-INVITE could not be told from the first INVITE here
        if not any(name == "contact" for name, _ in headers) and which % 7:
            headers = (*headers, ("contact", "<sip:peer@10.1.0.1:5060>"))
        answer = self.answer(message, status, tag, headers, body)
        if transaction.answered and not 200 <= status < 300:
            return
        if status < 200:
            transaction.provisional = True
        elif status < 300 and request.method == "INVITE":
            if not transaction.answered:
                transaction.answered, transaction.until = True, self.now + 32.0
            if not message.to_tag:
                self.accepted.add((answer.call_id, answer.to_tag))
        else:
            del self.open[key]
        login = Login("user", "password") if which % 2 else None
        flow = FLOW if which % 3 else ""
        self.feed(ResponseIn(transaction.leg, request.branch, answer, login, flow))

    def accept(self, body: bytes) -> None:
        """The party that was invited last says yes."""
        waiting = [
            key for key, each in self.open.items() if each.request.method == "INVITE" and not each.answered
        ]
        if waiting and not self.overs:
            which = sorted(self.open).index(waiting[-1])
            self._respond(which, 200, (("contact", "<sip:peer@10.1.0.1:5060>"),), body)

    def _ask(self, which: int, method: str, headers: tuple[tuple[str, str], ...], body: bytes) -> None:
        legs = sorted(self.call.legs)
        if not legs:
            return
        name = legs[which % len(legs)]
        leg = self.call.legs[name]
        dialog = leg.usage.dialog
        remote = dialog.remote_tag if dialog is not None else TAGS[which % len(TAGS)]
        ours = self.tags.get(name, ["none"])
        local = ours[(which // 2) % len(ours)]
        cseq = self.cseqs.get(name, 1)
        if method != "ACK" or which % 3 == 0:
            cseq += 1 if which % 11 else 0
        self.cseqs[name] = cseq
        key = "" if method == "ACK" else f"key{self.count}"
        if method == "ACK" and which % 2:
            cseq = leg.usage.final_cseq or cseq
        if method == "BYE":
            self.byes[key] = (leg.call_id, remote)
        flow = FLOW if which % 4 else "tcp|10.2.0.1|40000|7|tcp:10.0.0.1:5060"
        self.feed(RequestIn(name, self.request(method, remote, local, cseq, headers, body), key, flow))

    def _fail(self, which: int, cause: str) -> None:
        key = self._pick(which)
        if key and not self.open[key].answered:
            transaction = self.open.pop(key)
            self.feed(TransactionEnded(transaction.leg, transaction.request.branch, cause))

    def _die(self) -> None:
        """The node dies and another takes over: transactions are gone, requests come anew."""
        data = snapshot.dump(self.call)
        self.call = snapshot.load(data, environment())
        self.open = {}
        self.byes = {}
        self.feed(Resumed())

    def pass_time(self, seconds: float) -> None:
        """Let time pass, with the deadlines of the call and of its transactions."""
        until = self.now + seconds
        while not self.overs:
            due = self.call.next_deadline()
            ending = [key for key, transaction in self.open.items() if transaction.ends_by_itself()]
            key = min(ending, key=lambda each: self.open[each].until, default="")
            over = self.open[key].until if key else float("inf")
            if min(due, over) > until:
                break
            self.now = max(self.now, min(due, over))
            if over <= due:
                transaction = self.open.pop(key)
                if not transaction.answered:
                    self.feed(TransactionEnded(transaction.leg, transaction.request.branch, "timeout"))
            else:
                self.feed(DeadlinePassed())
                assert self.overs or self.call.next_deadline() > self.now, "a deadline that does not go away"
        self.now = until

    # -- in the end

    def verdict(self) -> None:
        """Everybody falls silent; then the call must come to its end, and nobody may be left."""
        self.pass_time(6000.0)
        call = self.call
        assert self.overs == 1, f"over {self.overs} times"
        assert len({msgspec.msgpack.encode(record) for record in self.records}) == 1, (
            "one record, whatever happens"
        )
        assert len(self.answers) <= 1, "two winners"
        for leg in call.legs.values():
            assert leg.usage.state == CLOSED, leg.id
            assert leg.ended_at, leg.id
        assert self.accepted <= self.acked, "a 2xx without ACK"
        assert self.accepted <= self.ended, "a session that nobody released"
        assert not self.channels, "a channel is left"
