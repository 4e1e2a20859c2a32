"""One run of a small case: the real call and the reference model hear the same, and must want the same.

No wire and no clock: the call is driven through ``Call.handle`` alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from callcontrol.b2bua.call import Call
from callcontrol.b2bua.effects import CallOver, ChooseTrunk, Effect, Push, WriteRecord
from callcontrol.b2bua.env import CallEnv
from callcontrol.b2bua.events import Event, RequestIn, ResponseIn, TrunkChosen
from callcontrol.cdr import CallRecord
from callcontrol.sip.commands import SendRequest, SendResponse
from callcontrol.sip.message import parse
from dialplan.plan import LIVE, NO_BINDING, Identity, Plan, Step, WakeTarget
from tests.hunting import model
from tests.hunting.cases import NAMES, Case
from tests.hunting.wire import CALLED, FLOW, Leg, answer, from_caller, parsed
from tests.hunting.world import Chooser, Disagreement, World

START: Final = 1_800_000_000.0
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


class Play(World):
    """See the module."""

    def __init__(self, case: Case, choose: Chooser, env: CallEnv) -> None:
        super().__init__(case, choose)
        self.all_legs: list[Leg] = []
        self.wanted: list[model.Action] = []
        """What the server wants done for one event."""
        self.pushes: dict[str, list[str]] = {}
        self.record: CallRecord | None = None
        self.to_caller: list[int] = []
        """Statuses of the responses to the caller's INVITE."""
        self.call = Call("ref", self._plan(), (), env, CALLED, "carrier-a")

    def steps(self) -> tuple[Step, ...]:
        raise NotImplementedError

    def _plan(self) -> Plan:
        return Plan(
            direction="incoming",
            steps=self.steps(),
            caller=Identity(number="+33199001234", asserted="+33199001234"),
            called="+33639987000",
            number="+33639987000",
            max_duration_s=4000.0,
        )

    def wake_targets(self, member: str) -> list[WakeTarget]:
        """Those that a push can reach, asleep or not, in the order of their refs."""
        names = [name for name in self.habits if name.partition("-")[0] == member and self.can_push(name)]
        return [
            WakeTarget(user=member, device=name, why=LIVE if name in self.registered else NO_BINDING)
            for name in names
        ]

    def deadline(self) -> float:
        """When the server wants to hear of the time."""
        return self.call.next_deadline() - START

    # -- what the server wants --------------------------------------------------------------------------------

    def compare(self, what: str, spec: Callable[[], list[model.Action]], event: Event) -> None:
        """Both hear of it; both must want the same."""
        self.log.append(f"{self.now:6.1f} {what}")
        self.model.now = self.now
        expected = self.expected = spec()
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
            self.got_invite(leg)
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
                    self.caller_tag = parse(effect.data).to_tag
                    events.append(RequestIn("a", from_caller("ACK", 1, self.caller_tag), "", FLOW))
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
        self.woken(effect.device)

    def _sent(self, effect: SendRequest, events: list[Event], new: list[Leg]) -> None:
        if effect.method == "CANCEL":
            leg = next(leg for leg in self.all_legs if leg.branch == effect.branch)
            self._cancelled(leg, effect, events)
            return
        message = parsed(effect.data)
        if effect.method == "INVITE":
            device = message.uri.partition(":")[2].partition("@")[0]
            held = self.legs.get(device)
            if held is not None and not held.is_over and not held.is_cancelled:
                raise Disagreement(f"{device} has two INVITEs\n{self.story()}")
            leg = self.legs[device] = Leg(device, effect.leg, effect.branch, message)
            self.all_legs.append(leg)
            self.wanted.append((model.RING, device, ""))
            new.append(leg)
        elif effect.method == "BYE":
            events.append(ResponseIn(effect.leg, effect.branch, answer(message, 200, "", "x")))
            device = next(leg.device for leg in self.all_legs if leg.leg == effect.leg)
            self.wanted.append((model.RELEASE, device, ""))

    def _cancelled(self, leg: Leg, effect: SendRequest, events: list[Event]) -> None:
        reasons = parsed(effect.data).all("reason")
        why = model.CALLER_GONE
        for reason in reasons:
            for cause, meaning in CAUSES.items():
                if f"cause={cause}" in reason:
                    why = meaning
        self.wanted.append((model.STOP, leg.device, why))
        leg.is_cancelled = True
        if leg.is_over:
            return
        if self.habits[leg.device].crosses:
            self.at(self.now, lambda: self.crosses(leg))
        else:
            events.append(self.respond(leg, 487))

    def hung_up(self, event: Event) -> None:
        self.feed(event)

    # -- the end ----------------------------------------------------------------------------------------------

    def compare_end(self) -> None:
        spec, record = self.model, self.record
        if record is None:
            raise Disagreement(f"no record\n{self.story()}")
        names = {leg.leg: leg.device for leg in self.all_legs}
        got = sorted((names[leg.leg], leg.reason) for leg in record.legs if leg.role == "callee")
        self._same("outcomes", got, self.expected_outcomes())
        if spec.ended == model.NOBODY:
            self._same("reason", record.reason, self.expected_reason())
        elif spec.ended == model.CANCELLED:
            self._same("reason", record.reason, "caller_cancelled")
        self._same("caller", self.to_caller[-1] == 200, bool(spec.winner))
        ringing = [status for status in self.to_caller if status < 200]
        self._same("ringback", bool(ringing), bool(spec.ever_rang))
        missed = [name for name, pushes in self.pushes.items() for push in pushes if push == "missed_call"]
        self._same("missed calls", sorted(missed), self.expected_missed())

    def expected_outcomes(self) -> list[tuple[str, str]]:
        words = {**OUTCOMES, model.ANSWERED: self.record.reason if self.record is not None else ""}
        return sorted(
            (device, words[outcome]) for device, outcome in self.model.results if device in self.habits
        )

    def expected_missed(self) -> list[str]:
        return [device for device in self.model.missed() if self.can_push(device)]

    def expected_reason(self) -> str:
        return self.model.reason()

    def _same(self, what: str, got: object, expected: object) -> None:
        if got != expected:
            raise Disagreement(f"{what}: {got}, but {expected} by the specification\n{self.story()}")
