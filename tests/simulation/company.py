"""What the owners of numbers and the managers of companies have set up for calls that come in.

Blocks, hours, forwards, phones that answer by GSM, phones that sleep, Greetings of every strategy.  Beside each rule that is set
stands what it must come to (`Rules`), worked out in the simplest way there is and not by the product's own functions.
"""

from __future__ import annotations

import dataclasses
import random
from typing import Final

from numbering.e164 import E164
from numbering.hours import DAY_MINUTES, Hours, Span, WeeklySlot
from numbering.models import (
    ANONYMOUS,
    ANSWER_GSM,
    CloudNumber,
    Device,
    DeviceKind,
    Flow,
    FlowAction,
    Forwarding,
    ForwardMode,
    Greeting,
    GreetingMember,
    Strategy,
    User,
)
from tests.simulation.moments import START

BEGINS_AT: Final = 9 * 60 + int(START - 1_800_000_000) // 60
"""What a clock in Paris shows when a run begins, in minutes: 15 January 2027, 09:00."""

ZONE: Final = "Europe/Paris"
EVERY_DAY: Final = (0, 1, 2, 3, 4, 5, 6)


def greeting_number(index: int) -> E164:
    return E164(f"+3363998700{index}")


def sim_number(index: int) -> str:
    """Number of the SIM in the phone of the user with this index."""
    return f"+33639980{index:03d}"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Of one number: whom it does not let through, and when."""

    blocked: tuple[str, ...] = ()
    """Beginnings of numbers of callers."""
    blocks_hidden: bool = False
    open_minutes: frozenset[int] = frozenset()
    """Minutes of the day in which it is on; empty: always."""

    def lets_through(self, caller: str, hidden: bool) -> bool:
        if hidden and self.blocks_hidden:
            return False
        return not (caller and any(caller.startswith(each) for each in self.blocked))

    def is_open(self, seconds: float) -> bool | None:
        """At this second of the run; None: too close to a change to be told by a clock that may be wrong."""
        if not self.open_minutes:
            return True
        found = {
            (BEGINS_AT + int((seconds + slack) // 60)) % DAY_MINUTES in self.open_minutes
            for slack in (-1.0, 0.0, 1.0)
        }
        return found.pop() if len(found) == 1 else None


class Company:
    """See the module."""

    def __init__(self, users: list[str], accounts: dict[str, str], dice: random.Random) -> None:
        self.dice = dice
        self.users = users
        self.accounts = accounts
        self.rules: dict[str, Rules] = {}
        """By number."""
        self.waiting = {name for name in users if dice.random() < 0.3}
        """Users with call waiting."""
        self.greetings = self._greetings()

    # -- numbers, users, devices ------------------------------------------------------------------------------

    def user(self, user: User) -> User:
        return dataclasses.replace(user, call_waiting=user.ref in self.waiting)

    def number(self, number: CloudNumber, others: list[str]) -> CloudNumber:
        """With the rules of its owner."""
        dice = self.dice
        block, blocked, blocks_hidden = self._block()
        hours, minutes = self._hours(0.15)
        self.rules[number.e164] = Rules(blocked=blocked, blocks_hidden=blocks_hidden, open_minutes=minutes)
        return dataclasses.replace(
            number,
            block=block,
            hours=hours,
            forward=self._forwarding(others),
            gsm_fallback=dice.random() < 0.2,
            ring_seconds=dice.choice((0.0, 6.0, 12.0)),
        )

    def device(self, device: Device, index: int) -> Device:
        dice = self.dice
        if device.kind is not DeviceKind.PHONE:
            return dataclasses.replace(device, mqtt_password="hashed" if dice.random() < 0.5 else "")
        return dataclasses.replace(
            device,
            sim=sim_number(index),
            sim_verified=True,
            answer=ANSWER_GSM if dice.random() < 0.12 else device.answer,
            mqtt_password="hashed" if dice.random() < 0.7 else "",
        )

    def _block(self) -> tuple[tuple[str, ...], tuple[str, ...], bool]:
        """The list as its owner writes it, and what it means."""
        dice = self.dice
        if dice.random() < 0.6:
            return (), (), False
        entries: list[str] = []
        blocked: list[str] = []
        for _ in range(dice.randint(1, 3)):
            if dice.random() < 0.5:
                blocked.append(f"+331990020{dice.randrange(10)}")
                entries.append(f"{blocked[-1]}*")
            else:
                blocked.append(f"+331990020{dice.randrange(100):02d}")
                entries.append(blocked[-1])
        hidden = dice.random() < 0.3
        return (*entries, *([ANONYMOUS] if hidden else [])), tuple(blocked), hidden

    def _hours(self, chance: float) -> tuple[Hours | None, frozenset[int]]:
        """On and off by turns of a minute or two, so that a run sees changes."""
        dice = self.dice
        if dice.random() > chance:
            return None, frozenset()
        slots, minutes = [], set[int]()
        start = BEGINS_AT - dice.randint(0, 2)
        while start < BEGINS_AT + 12:
            end = start + dice.randint(1, 4)
            slots.append(WeeklySlot(days=EVERY_DAY, span=Span(start=start, end=end)))
            minutes.update(range(start, end))
            start = end + dice.randint(1, 3)
        return Hours(zone=ZONE, slots=tuple(slots)), frozenset(minutes)

    def _forwarding(self, others: list[str]) -> Forwarding:
        """To the outside, to another number of ours, which may well forward back, or to a Greeting."""
        dice = self.dice
        if dice.random() < 0.65:
            return Forwarding()
        mode = dice.choice((ForwardMode.ALL, ForwardMode.MISSED, ForwardMode.MISSED))
        return Forwarding(mode=mode, to=self._target(others))

    def _target(self, others: list[str]) -> str:
        kind = self.dice.random()
        if kind < 0.4:
            return f"+33199001{self.dice.randrange(1000):03d}"
        if kind < 0.8 or not self.greetings:
            return self.dice.choice(others)
        return self.dice.choice(self.greetings).number

    # -- Greetings --------------------------------------------------------------------------------------------

    def _greetings(self) -> list[Greeting]:
        found: list[Greeting] = []
        for index in range(4):
            account = f"firm{index % 2}"
            people = [name for name in self.users if self.accounts[name] == account]
            if people:
                found.append(self._greeting(greeting_number(index), account, people))
        return found

    def _greeting(self, number: E164, account: str, people: list[str]) -> Greeting:
        dice = self.dice
        chosen = dice.sample(people, dice.randint(1, min(4, len(people))))
        block, blocked, blocks_hidden = self._block()
        hours, minutes = self._hours(0.25)
        self.rules[number] = Rules(blocked=blocked, blocks_hidden=blocks_hidden, open_minutes=minutes)
        outside = f"+33199001{dice.randrange(1000):03d}"
        return Greeting(
            number=number,
            account=account,
            strategy=dice.choice(tuple(Strategy)),
            members=tuple(
                GreetingMember(
                    user=name,
                    priority=dice.randint(1, 2),
                    ring_seconds=dice.choice((0.0, 0.0, 4.0, 9.0)),
                )
                for name in chosen
            ),
            ring_seconds=dice.choice((5.0, 8.0, 12.0)),
            repeat=dice.choice((0, 0, 1, 2)),
            limit_seconds=dice.choice((0.0, 0.0, 15.0)),
            hours=hours,
            closed=Flow(action=FlowAction.REFUSE),
            unanswered=dice.choice(
                (Flow(action=FlowAction.REFUSE), Flow(action=FlowAction.FORWARD, to=outside))
            ),
            block=block,
        )
