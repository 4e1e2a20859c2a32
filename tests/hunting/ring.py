"""The devices of one person ring: a hunt for one member, in one round (INC-05 to INC-09)."""

from __future__ import annotations

from dialplan.plan import Ring, Step
from tests.hunting.play import Play


class RingPlay(Play):
    """See the module."""

    def steps(self) -> tuple[Step, ...]:
        seen = self.look("ana")
        return (
            Ring(
                targets=tuple(self.target(name) for name in seen.there),
                wake=tuple(self.wake_targets("ana")),
                for_s=self.case.people[0].for_s,
            ),
        )

    def expected_reason(self) -> str:
        """RFC 3261 §16.7 has it: the best response, which is no rule of hunts."""
        return self.record.reason if self.record is not None else ""

    def expected_missed(self) -> list[str]:
        """Nobody but a push tells the one person who was called (docs/push.md): also those that never came hear of it."""
        found = set(super().expected_missed())
        if not self.model.winner and "ana" not in self.model.declined:
            woken = {name for name, pushes in self.pushes.items() if "incoming_call" in pushes}
            found |= woken - self.came
        return sorted(found)
