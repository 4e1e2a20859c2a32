"""The hunt of a Greeting: its members, group after group, round after round (GRT-01 to GRT-04, GRT-09, GRT-10).

The rules are ``docs/hunting.md``.  How the members of a group can be reached is asked when their turn comes; who is busy, cannot
be reached or has declined costs no time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from callcontrol.b2bua import offering, ringing, waking
from callcontrol.b2bua.causes import CAUSES
from callcontrol.b2bua.dialling import ELSEWHERE_LINE
from callcontrol.b2bua.effects import FindMembers
from callcontrol.b2bua.events import MembersFound
from callcontrol.b2bua.leg import CALLEE
from callcontrol.sip.usage import Turn
from dialplan import reasons
from dialplan.plan import OFFERED, TALKING, Forward, Hunt, Member, Reach, Ring

if TYPE_CHECKING:
    from callcontrol.b2bua.call import Call

LIMIT: Final = "hunt"
"""Name of the deadline at which the hunt is over, whoever rings."""
MEMBER: Final = "member "
"""Start of the names of deadlines at which a member's own time is over; the user follows."""

HUNT_FIELDS: Final = ("round", "group", "rang", "declined", "users", "held", "ring", "asked")


class Hunting:
    """Where a hunt stands."""

    __slots__ = HUNT_FIELDS

    def __init__(self) -> None:
        self.round = 0
        self.group = -1
        self.rang = False
        """Somebody was rung in this round."""
        self.declined: list[str] = []
        """Members who want nothing of this call any more."""
        self.users: list[str] = []
        """Members of the present group who ring, or join when they register."""
        self.held: list[str] = []
        """Members of the present group whom another call rings: waited for until they are free."""
        self.ring: Ring | None = None
        """The present offer; None while the members are being looked up."""
        self.asked = False
        """The members are being looked up."""


def begin(call: Call, turn: Turn, step: Hunt) -> None:
    """Begin to hunt."""
    call.hunt = Hunting()
    limit = turn.now + step.limit_s
    call.deadlines[LIMIT] = limit
    if "total" in call.deadlines:
        # the cap over all steps is for what comes after the hunt: a hunt has a limit of its own
        call.deadlines["total"] = max(call.deadlines["total"], limit + call.env.total_ring_s)
    members = sum([len(group) for group in step.groups])
    call.note("GRT-03", "hunt", f"{members} members, {step.rounds} rounds, {step.limit_s:g} s at the most")
    next_group(call, turn)


def _step(call: Call) -> Hunt | None:
    step = offering.present_step(call)
    return step if isinstance(step, Hunt) else None


def where(hunt: Hunting) -> str:
    """The present offer, for people."""
    return f"group {hunt.group + 1} of round {hunt.round + 1}"


def next_group(call: Call, turn: Turn) -> None:
    """The present group came to nothing, or there was none: on to the next one."""
    hunt, step = call.hunt, _step(call)
    if hunt is None or step is None:
        return
    _end_offer(call, turn, hunt)
    while True:
        hunt.group += 1
        if hunt.group >= len(step.groups):
            hunt.round += 1
            if not hunt.rang or hunt.round >= step.rounds:
                _over(call, turn, hunt, step)
                return
            hunt.group, hunt.rang = 0, False
            call.note("GRT-03", "repeat", f"round {hunt.round + 1} of {step.rounds}")
        wanted = _wanted(hunt, step.groups[hunt.group])
        if wanted:
            break
    call.begin_stage(turn)
    hunt.asked = True
    first = hunt.round == 0 and hunt.group == 0
    turn.commands.append(FindMembers(call.stage, wanted, step.greeting if first else ""))


def _wanted(hunt: Hunting, group: tuple[Member, ...]) -> list[str]:
    return [member.user for member in group if member.user not in hunt.declined]


def _end_offer(call: Call, turn: Turn, hunt: Hunting) -> None:
    """Nothing of the present offer is left."""
    for name in [name for name in call.deadlines if name == "step" or name.startswith(MEMBER)]:
        del call.deadlines[name]
    for user in hunt.held:
        call.skip(user, reasons.BUSY, "GRT-04", "is rung by another call")
    hunt.users, hunt.held, hunt.ring, hunt.asked = [], [], None, False


def _over(call: Call, turn: Turn, hunt: Hunting, step: Hunt) -> None:
    call.note("GRT-06", _verdict(call), f"nobody after {min(hunt.round, step.rounds)} rounds")
    _done(call, turn)


def _done(call: Call, turn: Turn) -> None:
    """The hunt found nobody: what its members said is one answer from now on."""
    reason = _verdict(call)
    call.best_reason, call.best_status, call.best_lines = reason, CAUSES[reason].status, []
    leave(call)
    ringing.stage_failed(call, turn)


def _verdict(call: Call) -> str:
    """What the caller is told of all members together: whoever rang in vain says most, a decline is one member's."""
    found = {word for _, word in call.skipped}
    for leg in call.legs.values():
        if leg.role == CALLEE and leg.user:
            found.add(leg.reason)
    for reason in (reasons.NO_ANSWER, reasons.BUSY, reasons.DECLINED):
        if reason in found:
            return reason
    return reasons.UNREACHABLE


def leave(call: Call) -> None:
    """The hunt is over."""
    if call.hunt is None:
        return
    call.hunt = None
    for name in [name for name in call.deadlines if name == LIMIT or name.startswith(MEMBER)]:
        del call.deadlines[name]


# -- the members ------------------------------------------------------------------------------------------------------


def on_found(call: Call, turn: Turn, event: MembersFound) -> None:
    """How the members of the group can be reached now: ring them, or go on at once."""
    hunt, step = call.hunt, _step(call)
    if hunt is None or step is None or event.stage != call.stage or not offering.searching(call):
        call.ignore("members found late")
        return
    hunt.asked = False
    call.dirty = True
    group = step.groups[hunt.group]
    own = offering.own_devices(call)
    reaches: list[Reach] = []
    for each in event.reaches:
        reach = _without(each, own)
        if _may_ring(call, hunt, reach):
            reaches.append(reach)
        elif not reach.busy and reach.user not in hunt.declined and reach.user not in hunt.users:
            hunt.users.append(
                reach.user
            )  # there is no way to it now; if it registers while others ring it joins
    hunt.users.extend([reach.user for reach in reaches])
    _set_times(call, turn, hunt, group)
    if not reaches:
        if hunt.held:
            _wait(call, turn, hunt, group)
        else:
            offering.unless_all_failed(call, turn)
        return
    hunt.rang = True
    offer = _offer(reaches, group, step)
    hunt.ring = offer if hunt.ring is None else _joined(hunt.ring, offer)
    longest = max([member.for_s for member in group if member.user in hunt.users])
    call.deadlines["step"] = max(call.deadlines.get("step", 0.0), turn.now + longest)
    offering.begin(call, turn, offer)
    offering.unless_all_failed(call, turn)


def _set_times(call: Call, turn: Turn, hunt: Hunting, group: tuple[Member, ...]) -> None:
    """Each of several members has a time of its own, which begins now."""
    if len(group) > 1:
        for member in group:
            if member.user in hunt.users and MEMBER + member.user not in call.deadlines:
                call.deadlines[MEMBER + member.user] = turn.now + member.for_s


def _may_ring(call: Call, hunt: Hunting, reach: Reach) -> bool:
    """Whether a member is rung; if not, why is told."""
    user = reach.user
    if user in hunt.declined or user in hunt.users:
        return False
    if user in hunt.held and reach.busy != OFFERED:
        hunt.held.remove(user)
    if reach.busy == TALKING:
        call.skip(user, reasons.BUSY, "GRT-10", "is talking")
        ringing.note_result(call, 0, reasons.BUSY, [])
        return False
    if reach.busy == OFFERED:
        if user not in hunt.held:
            hunt.held.append(user)
            call.note("GRT-04", "wait", f"{user} is rung by another call")
        return False
    if offering.can_ring(_offer([reach], (), None)):
        return True
    call.skip(user, reasons.UNREACHABLE, "GRT-01", "cannot be reached")
    ringing.note_result(call, 0, reasons.UNREACHABLE, [])
    return False


def _without(reach: Reach, devices: list[str]) -> Reach:
    """A member's other devices: who calls, or talks, in this very call is not rung by it."""
    if not devices:
        return reach
    return Reach(
        user=reach.user,
        targets=tuple([target for target in reach.targets if target.device not in devices]),
        wake=tuple([target for target in reach.wake if target.device not in devices]),
        sims=tuple([target for target in reach.sims if target.device not in devices]),
        fallback=tuple([target for target in reach.fallback if target.device not in devices]),
        busy=reach.busy,
    )


def _offer(reaches: list[Reach], group: tuple[Member, ...], step: Hunt | None) -> Ring:
    users = [reach.user for reach in reaches]
    return Ring(
        targets=tuple([target for reach in reaches for target in reach.targets]),
        for_s=max([member.for_s for member in group if member.user in users], default=0.0),
        wake=tuple([target for reach in reaches for target in reach.wake]),
        sims=tuple([target for reach in reaches for target in reach.sims]),
        fallback=tuple([target for reach in reaches for target in reach.fallback]),
        shown=step.shown if step is not None else None,
    )


def _joined(one: Ring, other: Ring) -> Ring:
    return Ring(
        targets=one.targets + other.targets,
        for_s=max(one.for_s, other.for_s),
        wake=one.wake + other.wake,
        sims=one.sims + other.sims,
        fallback=one.fallback + other.fallback,
        shown=one.shown,
    )


def _wait(call: Call, turn: Turn, hunt: Hunting, group: tuple[Member, ...]) -> None:
    """Nobody of the group can be rung but members whom another call rings: wait for them, as long as they would ring."""
    if "step" not in call.deadlines:
        hunt.rang = True  # the round took its time
        hunt.ring = _offer([], group, _step(call))  # of nobody yet: whoever registers meanwhile joins
        longest = max([member.for_s for member in group if member.user in hunt.held])
        call.deadlines["step"] = turn.now + longest


def waits(call: Call) -> bool:
    """Members are being looked up, or are waited for until another call lets go of them."""
    hunt = call.hunt
    return hunt is not None and (hunt.asked or bool(hunt.held))


def on_member_changed(call: Call, turn: Turn, user: str) -> None:
    """What a member does elsewhere has changed: look again, if this hunt has waited for that."""
    hunt = call.hunt
    if hunt is not None and user in hunt.held and not hunt.asked:
        turn.commands.append(FindMembers(call.stage, [user]))


def look_again(call: Call, turn: Turn) -> None:
    """The call was taken over: what its node was told of members, or waited for, is gone with it."""
    hunt, step = call.hunt, _step(call)
    if hunt is None or step is None or not 0 <= hunt.group < len(step.groups):
        return
    if hunt.asked or hunt.held:
        wanted = _wanted(hunt, step.groups[hunt.group])
        hunt.asked = True
        turn.commands.append(FindMembers(call.stage, [user for user in wanted if user not in hunt.users]))


def on_declined(call: Call, user: str) -> None:
    """A member wants nothing of this call; the others ring on."""
    hunt = call.hunt
    if hunt is None:
        return
    if user not in hunt.declined:
        hunt.declined.append(user)
    if user in hunt.users:
        hunt.users.remove(user)
    call.deadlines.pop(MEMBER + user, None)


def on_member_over(call: Call, turn: Turn, user: str) -> None:
    """A member has rung for its own time, while others of the group ring on."""
    hunt = call.hunt
    if hunt is None or user not in hunt.users:
        return
    hunt.users.remove(user)
    call.note("GRT-01", reasons.NO_ANSWER, user)
    stopping = [leg.id for leg in offering.legs_of_stage(call) if leg.user == user]
    lines = farewell(call, turn, stopping) or [offering.NO_ANSWER_LINE]
    offering.stop_user(call, turn, user, lines, reasons.NO_ANSWER, "server")
    waking.on_time_over(call, turn, user)
    ringing.note_result(call, 0, reasons.NO_ANSWER, [])
    offering.unless_all_failed(call, turn)


def on_limit(call: Call, turn: Turn) -> None:
    """The longest hunt is over (GRT-03)."""
    hunt = call.hunt
    if hunt is None:
        return
    call.note("GRT-03", reasons.NO_ANSWER, "the limit of the hunt")
    lines = [ELSEWHERE_LINE] if _forwards_after(call) else [offering.NO_ANSWER_LINE]
    offering.cancel_stage(call, turn, reasons.NO_ANSWER, lines)
    _end_offer(call, turn, hunt)
    _done(call, turn)


def farewell(call: Call, turn: Turn, stopping: Sequence[str] = ()) -> list[str]:
    """What a member is told whose time is over: no missed call yet, as long as somebody else may take the call.

    ``stopping``: the legs concerned, where others may ring on; empty: all stop.

    If nobody does, whoever has rung gets the missed call at the end (INC-09); a phone that noted it now would be wrong each time
    a colleague answers.
    """
    hunt, step = call.hunt, _step(call)
    if hunt is None or step is None or offering.present_ring(call) is None:
        return []
    last = hunt.group + 1 >= len(step.groups) and hunt.round + 1 >= step.rounds
    if stopping and offering.others_ring(call, turn, stopping):
        last = False
    return [ELSEWHERE_LINE] if not last or _forwards_after(call) else []


def _forwards_after(call: Call) -> bool:
    """A step to come may still find a person."""
    move = call.transfer
    plan, index = (call.plan, call.step) if move is None else (move.plan, move.step)
    return plan is not None and any(isinstance(step, Forward) for step in plan.steps[index + 1 :])
