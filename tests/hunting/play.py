"""One run of a small case: the real call and the reference model hear the same, and must want the same.

No wire and no clock: devices are what their habits say, and whatever happens in one instant happens in the order that a
chooser picks.  The call is driven through ``Call.handle`` alone.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from callcontrol.b2bua.call import Call
from callcontrol.b2bua.effects import CallOver, ChooseTrunk, Effect, Push, WriteRecord
from callcontrol.b2bua.env import CallEnv
from callcontrol.b2bua.events import (
    CancelIn,
    DeadlinePassed,
    Event,
    RequestIn,
    ResponseIn,
    Start,
    TargetJoined,
    TransactionEnded,
    TrunkChosen,
)
from callcontrol.cdr import CallRecord
from callcontrol.ids import KeyedIds
from callcontrol.sip import build
from callcontrol.sip.commands import SendAck, SendRequest, SendResponse
from callcontrol.sip.message import Message, parse
from callcontrol.sip.usage import UsageEnv
from dialplan.plan import LIVE, NO_BINDING, DeviceTarget, Identity, Plan, Step, WakeTarget
from tests.hunting import model
from tests.hunting.cases import (
    ANSWERS,
    ASLEEP,
    AWAY,
    BUSY,
    DEAD,
    DECLINES,
    FALLBACK,
    NAMES,
    SIM,
    THERE,
    WAKE_S,
    Case,
    Device,
    device_name,
)

START: Final = 1_800_000_000.0
SDP: Final = (
    b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"
)
FLOW: Final = "udp|10.0.1.1|5060|0|udp:10.0.0.1:5060"

Chooser = Callable[[int], int]
"""Which of so many things that happen in the same instant happens next."""
Happening = Callable[[], None]


class Disagreement(AssertionError):
    """The server and the specification want different things."""


class _Contacts:
    def uri(self, scope: str, target: str, host: str = "") -> str:
        return f"sip:{scope}@10.0.0.1:5060"


def environment() -> CallEnv:
    usage = UsageEnv(KeyedIds(b"k" * 32), _Contacts(), session_expires=0)
    return CallEnv(usage, "cloudline.example", "node", total_ring_s=1000.0, wake_s=WAKE_S)


def _parsed(data: bytes) -> Message:
    """A request of the call, as the endpoint would send it."""
    cut = data.find(b"\r\n") + 2
    return parse(data[:cut] + b"Via: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKx\r\n" + data[cut:])


def _invite() -> Message:
    lines = [
        ("via", "SIP/2.0/UDP 10.0.1.1:5060;branch=z9hG4bKin"),
        ("max-forwards", "70"),
        ("from", "<sip:+33199001234@carrier.example>;tag=caller"),
        ("to", "<sip:+33639987000@cloudline.example>"),
        ("call-id", "call-id"),
        ("cseq", "1 INVITE"),
        ("contact", "<sip:them@10.0.1.1:5060>"),
    ]
    return parse(build.request("INVITE", "sip:+33639987000@cloudline.example", lines, SDP, "application/sdp"))


INVITE: Final = _invite()


class Leg:
    """An INVITE of the server that a device has."""

    def __init__(self, device: str, leg: str, branch: str, message: Message) -> None:
        self.device = device
        self.leg = leg
        self.branch = branch
        self.message = message
        self.is_over = False
        self.cancel_lines: list[str] = []
        self.accepted = False


class Play:
    """See the module."""

    def __init__(self, case: Case, choose: Chooser, env: CallEnv) -> None:
        self.case = case
        self.choose = choose
        self.now = 0.0
        self.queue: list[tuple[float, Leg | None, Happening]] = []
        """What will happen: when, and whose leg must still ring for it."""
        self.habits = {
            device_name(number, index): device
            for number, person in enumerate(case.people)
            for index, device in enumerate(person.devices)
        }
        self.registered = {name for name, habit in self.habits.items() if habit.is_ == THERE}
        self.busy = {NAMES[number]: person.busy for number, person in enumerate(case.people)}
        self.legs: dict[str, Leg] = {}
        """Device -> the last INVITE that it has."""
        self.all_legs: list[Leg] = []
        self.wanted: list[model.Action] = []
        """What the server wants done for one event."""
        self.came: set[str] = set()
        """Devices that registered while the call rang."""
        self.pushes: dict[str, list[str]] = {}
        self.record: CallRecord | None = None
        self.to_caller: list[int] = []
        self.is_over = False
        self.hangs_up = False
        self.caller_tag = ""
        self.log: list[str] = []
        self.instants: list[float] = []
        groups = [[(NAMES[index], case.people[index].for_s) for index in group] for group in case.groups]
        self.model = model.Model(groups, case.rounds, case.limit_s, self.look, self._can_push)
        self.call = Call("ref", self._plan(), (), env, "+33639987000", "carrier-a")

    # -- the world

    def look(self, member: str) -> model.Seen:
        """What is true of a member now."""
        seen = model.Seen(busy=self.busy[member])
        for name, habit in self.habits.items():
            if name.partition("-")[0] != member:
                continue
            if name in self.registered:
                seen.there.append(name)
            elif habit.is_ == SIM:
                seen.sims.append(name)
            elif habit.is_ == FALLBACK:
                seen.fallback.append(name)
            elif self._can_push(name):
                seen.asleep.append(name)
        return seen

    def _can_push(self, device: str) -> bool:
        habit = self.habits[device]
        return habit.has_push and habit.is_ in (THERE, ASLEEP)

    def target(self, device: str) -> DeviceTarget:
        return DeviceTarget(
            user=device.partition("-")[0],
            device=device,
            aor=f"sip:{device}@cloudline.example",
            contact=f"sip:{device}@10.1.0.1:5060",
            flow="",
            binding=device,
        )

    def wake_targets(self, member: str) -> list[WakeTarget]:
        """Those that a push can reach, asleep or not, in the order of their refs."""
        names = [name for name in self.habits if name.partition("-")[0] == member and self._can_push(name)]
        return [
            WakeTarget(user=member, device=name, why=LIVE if name in self.registered else NO_BINDING)
            for name in names
        ]

    def _plan(self) -> Plan:
        return Plan(
            direction="incoming",
            steps=self.steps(),
            caller=Identity(number="+33199001234", asserted="+33199001234"),
            called="+33639987000",
            number="+33639987000",
            max_duration_s=4000.0,
        )

    def steps(self) -> tuple[Step, ...]:
        raise NotImplementedError

    def at(self, when: float, happening: Happening, leg: Leg | None = None) -> None:
        self.queue.append((when, leg, happening))

    # -- running

    def run(self) -> None:
        """To the end; raises Disagreement."""
        for number, person in enumerate(self.case.people):
            if person.until >= 0:
                self.at(person.until, partial(self._changes, number))
            for index, habit in enumerate(person.devices):
                if habit.is_ == AWAY and habit.comes >= 0:
                    name = device_name(number, index)
                    self.at(habit.comes, partial(self._registers, name))
        if self.case.leaves >= 0:
            self.at(self.case.leaves, self._caller_leaves)
        self._compare("begins", self.model.begin, Start(INVITE, "key-a", FLOW, ""))
        while not self.is_over:
            self._step()
        self._compare_end()

    def _step(self) -> None:
        self.queue = [entry for entry in self.queue if entry[1] is None or not entry[1].is_over]
        deadline = self.call.next_deadline() - START
        due = min(deadline, self.model.due())
        first = min([due, *[when for when, _, _ in self.queue]])
        if first > 3000.0:
            raise Disagreement(f"nothing will ever happen again\n{self.story()}")
        self.now = max(first, self.now)
        ready = [entry for entry in self.queue if entry[0] <= self.now]
        timer = due <= self.now
        if not self.instants or self.instants[-1] != self.now:
            self.instants.append(self.now)
        count = len(ready) + timer
        picked = self.choose(count) if count > 1 else 0
        if picked < len(ready):
            entry = ready[picked]
            self.queue.remove(entry)
            entry[2]()
        else:
            self._compare("time", lambda: self.model.passes(self.now), DeadlinePassed())

    # -- what happens

    def _changes(self, number: int) -> None:
        person, name = self.case.people[number], NAMES[number]
        self.busy[name] = person.then
        self.tell_changed(name)

    def tell_changed(self, member: str) -> None:
        """A member is free, or talks now."""

    def _registers(self, device: str) -> None:
        is_new = device not in self.registered
        self.registered.add(device)
        if not self.model.ended:
            self.came.add(device)
        event = TargetJoined(self.target(device), is_new)
        self._compare(f"{device} registers", lambda: self.model.registers(device, is_new), event)

    def _caller_leaves(self) -> None:
        if self.model.ended:
            return
        lines = [("via", "SIP/2.0/UDP 10.0.1.1:5060;branch=z9hG4bKin"), ("cseq", "1 CANCEL")]
        lines += [("from", "<sip:a@b>;tag=caller"), ("to", "<sip:c@d>"), ("call-id", "call-id")]
        message = parse(build.request("CANCEL", "sip:+33639987000@cloudline.example", lines))
        self._compare("the caller leaves", self.model.caller_leaves, CancelIn("a", message))

    def _hangs_up(self) -> None:
        lines = [
            ("via", "SIP/2.0/UDP 10.0.1.1:5060;branch=z9hG4bKbye"),
            ("from", "<sip:+33199001234@carrier.example>;tag=caller"),
            ("to", f"<sip:+33639987000@cloudline.example>;tag={self.caller_tag}"),
            ("call-id", "call-id"),
            ("cseq", "2 BYE"),
        ]
        message = parse(build.request("BYE", "sip:ref.a@10.0.0.1:5060", lines))
        self.feed(RequestIn("a", message, "key-bye", FLOW))

    def _respond(self, leg: Leg, status: int) -> ResponseIn:
        headers = (("contact", f"<sip:{leg.device}@10.1.0.1:5060>"),) if status < 300 else ()
        body = SDP if status == 200 else b""
        data = build.response(
            leg.message, status, "", f"tag-{leg.leg}", headers, body, "application/sdp" if body else ""
        )
        if status >= 200:
            leg.is_over = True
            leg.accepted = status < 300
        return ResponseIn(leg.leg, leg.branch, parse(data))

    def _acts(self, leg: Leg) -> None:
        """A device does what it does when it rings."""
        habit, device = self.habits[leg.device], leg.device
        if habit.does == ANSWERS:
            self._compare(f"{device} answers", lambda: self.model.answers(device), self._respond(leg, 200))
        elif habit.does in (BUSY, DECLINES):
            declines = habit.does == DECLINES
            event = self._respond(leg, 603 if declines else 486)
            self._compare(f"{device} {habit.does}", lambda: self.model.refuses(device, declines), event)
        elif habit.does == DEAD:
            leg.is_over = True
            self.registered.discard(device)
            ended = TransactionEnded(leg.leg, leg.branch, "transport")
            self._compare(f"{device} is dead", lambda: self.model.is_dead(device), ended)

    # -- what the server wants

    def _compare(self, what: str, spec: Callable[[], list[model.Action]], event: Event) -> None:
        """Both hear of it; both must want the same."""
        self.log.append(f"{self.now:6.1f} {what}")
        self.model.now = self.now
        expected = spec()
        self.wanted = []
        new = self.feed(event)
        got = sorted(self.wanted)
        if got != expected:
            raise Disagreement(
                f"{what}: the server wants {got}, the specification {expected}\n{self.story()}"
            )
        for action in expected:
            self.log.append(f"{'':9}{' '.join(action)}")
        for leg in new:
            self._got_invite(leg)
        if self.model.ended == model.ANSWERED and not self.hangs_up:
            self.hangs_up = True
            self.at(self.now + 50.0, self._hangs_up)

    def feed(self, event: Event) -> list[Leg]:
        """Give the call an event, and what it asks for, until it asks for nothing more; new INVITEs."""
        new: list[Leg] = []
        events: list[Event] = [event]
        while events:
            for effect in self.call.handle(events.pop(0), START + self.now):
                self._perform(effect, events, new)
        return new

    def _perform(self, effect: Effect, events: list[Event], new: list[Leg]) -> None:
        if isinstance(effect, SendRequest):
            self._sent(effect, events, new)
        elif isinstance(effect, ChooseTrunk):
            events.append(self._trunk(effect))
        elif isinstance(effect, Push):
            self._pushed(effect)
        elif isinstance(effect, SendResponse):
            if effect.key == "key-a":
                self.to_caller.append(effect.status)
                if effect.status == 200:
                    events.append(RequestIn("a", self._ack(effect), "", FLOW))
        elif isinstance(effect, WriteRecord):
            if self.record is not None:
                raise Disagreement(f"two records\n{self.story()}")
            self.record = effect.record
        elif isinstance(effect, CallOver):
            self.is_over = True
        else:
            self.perform(effect, events)

    def perform(self, effect: Effect, events: list[Event]) -> None:
        """Anything else."""

    def _ack(self, effect: SendResponse) -> Message:
        tag = self.caller_tag = parse(effect.data).to_tag
        lines = [
            ("via", "SIP/2.0/UDP 10.0.1.1:5060;branch=z9hG4bKack"),
            ("from", "<sip:+33199001234@carrier.example>;tag=caller"),
            ("to", f"<sip:+33639987000@cloudline.example>;tag={tag}"),
            ("call-id", "call-id"),
            ("cseq", "1 ACK"),
        ]
        return parse(build.request("ACK", "sip:ref.a@10.0.0.1:5060", lines))

    def _trunk(self, effect: ChooseTrunk) -> Event:
        device = self.device_of_sim(effect.number)
        if effect.tried or not device:
            return TrunkChosen("", reason="trunk_failed", channel=effect.channel)
        uri = f"sip:{device}@gw.example"
        return TrunkChosen(
            "carrier-b", "peer", uri, "sip:gw.example", "", "+33199001234", channel=effect.channel
        )

    @staticmethod
    def sim_of(device: str) -> str:
        person, _, index = device.partition("-")
        return f"+3363998{NAMES.index(person)}0{int(index):02d}"

    def device_of_sim(self, number: str) -> str:
        return next((name for name in self.habits if self.sim_of(name) == number), "")

    def _pushed(self, effect: Push) -> None:
        self.pushes.setdefault(effect.device, []).append(f"{effect.kind} {effect.reason}".strip())
        if effect.kind != "incoming_call":
            return
        self.wanted.append((model.PUSH, effect.device, ""))
        habit = self.habits[effect.device]
        if habit.wakes >= 0:
            name = effect.device
            self.at(self.now + habit.wakes, lambda: self._registers(name))

    def _sent(self, effect: SendRequest, events: list[Event], new: list[Leg]) -> None:
        if effect.method == "CANCEL":
            leg = next(leg for leg in self.legs.values() if leg.branch == effect.branch)
            self._cancelled(leg, effect, events)
            return
        message = _parsed(effect.data)
        if effect.method == "INVITE":
            device = message.uri.partition(":")[2].partition("@")[0]
            held = self.legs.get(device)
            if held is not None and not held.is_over:
                raise Disagreement(f"{device} has two INVITEs\n{self.story()}")
            leg = self.legs[device] = Leg(device, effect.leg, effect.branch, message)
            self.all_legs.append(leg)
            self.wanted.append((model.RING, device, ""))
            new.append(leg)
        elif effect.method == "BYE":
            data = build.response(message, 200, "", "x")
            events.append(ResponseIn(effect.leg, effect.branch, parse(data)))
            device = next(leg.device for leg in self.legs.values() if leg.leg == effect.leg)
            self.wanted.append((model.RELEASE, device, ""))

    def _cancelled(self, leg: Leg, effect: SendRequest, events: list[Event]) -> None:
        reasons = _parsed(effect.data).all("reason")
        why = model.CALLER_GONE
        for reason in reasons:
            for cause, meaning in CAUSES.items():
                if f"cause={cause}" in reason:
                    why = meaning
        self.wanted.append((model.STOP, leg.device, why))
        if leg.is_over:
            return
        if self.habits[leg.device].crosses:
            self.at(self.now, lambda: self._crosses(leg))
        else:
            events.append(self._respond(leg, 487))

    def _crosses(self, leg: Leg) -> None:
        device = leg.device
        self._compare(
            f"{device} answers all the same",
            lambda: self.model.answers_late(device),
            self._respond(leg, 200),
        )

    def _got_invite(self, leg: Leg) -> None:
        habit = self.habits[leg.device]
        if habit.does == DEAD:
            self.at(self.now, lambda: self._acts(leg), leg)
            return
        if habit.rings:
            self._compare(
                f"{leg.device} rings", lambda: self.model.says_ringing(leg.device), self._respond(leg, 180)
            )
        if habit.does in (ANSWERS, BUSY, DECLINES):
            self.at(self.now + habit.after, lambda: self._acts(leg), leg)

    # -- the end

    def _compare_end(self) -> None:
        spec, record = self.model, self.record
        if record is None:
            raise Disagreement(f"no record\n{self.story()}")
        names = {leg.leg: leg.device for leg in self.all_legs}
        got = sorted((names[leg.leg], leg.reason) for leg in record.legs if leg.role == "callee")
        self._same("outcomes", self.forgiven(got), self.forgiven(self.expected_outcomes()))
        if spec.ended == model.NOBODY:
            self._same("reason", record.reason, self.expected_reason())
        elif spec.ended == model.CANCELLED:
            self._same("reason", record.reason, "caller_cancelled")
        self._same("caller", self.to_caller[-1] == 200, bool(spec.winner))
        ringing = [status for status in self.to_caller if status < 200]
        self._same("ringback", bool(ringing), bool(spec.ever_rang))
        missed = [name for name, pushes in self.pushes.items() for push in pushes if push == "missed_call"]
        self._same("missed calls", sorted(missed), self.expected_missed())

    def forgiven(self, outcomes: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """What is not compared is left out."""
        return outcomes

    def expected_outcomes(self) -> list[tuple[str, str]]:
        words = {**OUTCOMES, model.ANSWERED: self.record.reason if self.record is not None else ""}
        return sorted(
            (device, words[outcome]) for device, outcome in self.model.results if device in self.habits
        )

    def expected_missed(self) -> list[str]:
        return [device for device in self.model.missed() if self._can_push(device)]

    def expected_reason(self) -> str:
        return self.model.reason()

    def _same(self, what: str, got: object, expected: object) -> None:
        if got != expected:
            raise Disagreement(f"{what}: {got}, but {expected} by the specification\n{self.story()}")

    def story(self) -> str:
        return "\n".join([f"{self.case}", *self.log])


OUTCOMES: Final = {
    "busy": "busy",
    "declined": "declined",
    model.DECLINED: "declined",
    model.TIME_OVER: "no_answer",
    model.ELSEWHERE: "answered_elsewhere",
    model.CALLER_GONE: "caller_cancelled",
    model.UNREACHABLE: "unreachable",
}
CAUSES: Final = {
    "408": model.TIME_OVER,
    "200": model.ELSEWHERE,
    "603": model.DECLINED,
}

__all__ = ["Device", "Disagreement", "Play", "SendAck", "environment"]
