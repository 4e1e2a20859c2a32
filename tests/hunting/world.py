"""Everybody around the hunt of a small case: devices with their habits, members who do something else, a caller who may leave.

What happens in one instant happens in the order that a chooser picks.  What the server makes of it is for the subclasses.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from callcontrol.b2bua.events import (
    CancelIn,
    DeadlinePassed,
    Event,
    RequestIn,
    ResponseIn,
    Start,
    TargetJoined,
    TransactionEnded,
)
from dialplan.plan import DeviceTarget
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
    Case,
    device_name,
)
from tests.hunting.wire import FLOW, INVITE, Leg, answer, from_caller

Chooser = Callable[[int], int]
"""Which of so many things that happen in the same instant happens next."""
Happening = Callable[[], None]


class Disagreement(AssertionError):
    """The server and the specification want different things."""


class World:
    """See the module."""

    def __init__(self, case: Case, choose: Chooser) -> None:
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
        self.came: set[str] = set()
        """Devices that registered while the call rang."""
        self.is_over = False
        self.hangs_up = False
        self.caller_tag = ""
        """Our tag towards the caller."""
        self.log: list[str] = []
        self.instants: list[float] = []
        """When something happened."""
        groups = [[(NAMES[index], case.people[index].for_s) for index in group] for group in case.groups]
        self.model = model.Model(groups, case.rounds, case.limit_s, self.look, self.can_push)

    # -- for the subclasses -----------------------------------------------------------------------------------

    def compare(self, what: str, spec: Callable[[], list[model.Action]], event: Event) -> None:
        """Something happens: both hear of it, and both must want the same.  Raises Disagreement."""
        raise NotImplementedError

    def compare_end(self) -> None:
        """The call is over."""

    def deadline(self) -> float:
        """When the server wants to hear of the time."""
        return float("inf")

    def member_changed(self, member: str) -> None:
        """A member is free, or talks now."""

    def hung_up(self, event: Event) -> None:
        """The caller ends the call that was answered."""

    # -- what is true -----------------------------------------------------------------------------------------

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
            elif self.can_push(name):
                seen.asleep.append(name)
        return seen

    def can_push(self, device: str) -> bool:
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

    # -- running ----------------------------------------------------------------------------------------------

    def at(self, when: float, happening: Happening, leg: Leg | None = None) -> None:
        self.queue.append((when, leg, happening))

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
        self.compare("begins", self.model.begin, Start(INVITE, "key-a", FLOW))
        while not self.is_over:
            self._step()
        self.compare_end()

    def _step(self) -> None:
        self.queue = [entry for entry in self.queue if entry[1] is None or not entry[1].is_over]
        due = min(self.deadline(), self.model.due())
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
            self.compare("time", lambda: self.model.passes(self.now), DeadlinePassed())

    def story(self) -> str:
        return "\n".join([f"{self.case}", *self.log])

    # -- what happens -----------------------------------------------------------------------------------------

    def _changes(self, number: int) -> None:
        person, name = self.case.people[number], NAMES[number]
        self.busy[name] = person.then
        self.member_changed(name)

    def _registers(self, device: str) -> None:
        is_new = device not in self.registered
        self.registered.add(device)
        if not self.model.ended:
            self.came.add(device)
        event = TargetJoined(self.target(device), is_new)
        self.compare(f"{device} registers", lambda: self.model.registers(device, is_new), event)

    def _caller_leaves(self) -> None:
        if self.model.ended:
            return
        self.compare("the caller leaves", self.model.caller_leaves, CancelIn("a", from_caller("CANCEL", 1)))

    def _hangs_up(self) -> None:
        self.hung_up(RequestIn("a", from_caller("BYE", 2, self.caller_tag), "key-bye", FLOW))

    def respond(self, leg: Leg, status: int) -> ResponseIn:
        if status >= 200:
            leg.is_over = True
            leg.accepted = status < 300
        return ResponseIn(leg.leg, leg.branch, answer(leg.message, status, leg.device, f"tag-{leg.leg}"))

    def _acts(self, leg: Leg) -> None:
        """A device does what it does when it rings."""
        habit, device = self.habits[leg.device], leg.device
        if habit.does == ANSWERS:
            self.compare(f"{device} answers", lambda: self.model.answers(device), self.respond(leg, 200))
        elif habit.does in (BUSY, DECLINES):
            declines = habit.does == DECLINES
            event = self.respond(leg, 603 if declines else 486)
            self.compare(f"{device} {habit.does}", lambda: self.model.refuses(device, declines), event)
        elif habit.does == DEAD:
            leg.is_over = True
            self.registered.discard(device)
            ended = TransactionEnded(leg.leg, leg.branch, "transport")
            self.compare(f"{device} is dead", lambda: self.model.is_dead(device), ended)

    def woken(self, device: str) -> None:
        """A push comes to a device."""
        habit = self.habits[device]
        if habit.wakes >= 0:
            self.at(self.now + habit.wakes, partial(self._registers, device))

    def crosses(self, leg: Leg) -> None:
        device = leg.device
        self.compare(
            f"{device} answers all the same",
            lambda: self.model.answers_late(device),
            self.respond(leg, 200),
        )

    def got_invite(self, leg: Leg) -> None:
        habit = self.habits[leg.device]
        if habit.does == DEAD:
            self.at(self.now, lambda: self._acts(leg), leg)
            return
        if habit.rings:
            self.compare(
                f"{leg.device} rings", lambda: self.model.says_ringing(leg.device), self.respond(leg, 180)
            )
        if habit.does in (ANSWERS, BUSY, DECLINES):
            self.at(self.now + habit.after, lambda: self._acts(leg), leg)
