"""The members of a Greeting are hunted for."""

from __future__ import annotations

from callcontrol.b2bua.effects import Effect, FindMembers
from callcontrol.b2bua.events import Event, MemberChanged, MembersFound
from dialplan.plan import Hunt, Member, Reach, SimTarget, Step
from tests.hunting.cases import NAMES, SIM_S
from tests.hunting.play import Play


class HuntPlay(Play):
    """See the module."""

    def steps(self) -> tuple[Step, ...]:
        case = self.case
        groups = tuple(
            tuple(Member(user=NAMES[index], for_s=case.people[index].for_s) for index in group)
            for group in case.groups
        )
        return (Hunt(greeting="+33639987000", groups=groups, rounds=case.rounds, limit_s=case.limit_s),)

    def perform(self, effect: Effect, events: list[Event]) -> None:
        if isinstance(effect, FindMembers):
            reaches = tuple(self.reach(user) for user in effect.users)
            events.insert(0, MembersFound(effect.stage, reaches))

    def reach(self, user: str) -> Reach:
        """What a look at the live state finds."""
        seen = self.look(user)
        return Reach(
            user=user,
            targets=tuple(self.target(name) for name in seen.there),
            wake=tuple(self.wake_targets(user)),
            sims=tuple(self._sim(name) for name in seen.sims),
            fallback=tuple(self._sim(name) for name in seen.fallback),
            busy=seen.busy,
        )

    def _sim(self, device: str) -> SimTarget:
        user = device.partition("-")[0]
        return SimTarget(user=user, device=device, sim=self.sim_of(device), for_s=SIM_S)

    def member_changed(self, member: str) -> None:
        """Occupancy says that a member does something else now."""
        is_free = not self.busy[member]
        spec = self.model.is_free if is_free else self.model.talks
        self.compare(
            f"{member} is {self.busy[member] or 'free'}", lambda: spec(member), MemberChanged(member)
        )
