"""The life of a number: the table, its steps, and what no walk through it can do."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from numbering import lifecycle
from numbering.countries import DAY_S, quarantine_end
from numbering.e164 import E164
from numbering.hours import Hours
from numbering.lifecycle import HELD, KEPT, LEGAL, Action, Cause, Moved
from numbering.models import ANONYMOUS, CloudNumber, Forwarding, ForwardMode, NumberState
from numbering.policy import COUNTRIES
from numbering.refusal import Fault, Refused

S = NumberState
NUMBER = E164("+33639981001")
NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC).timestamp()


def cause(at: float = NOW) -> Cause:
    return Cause(at=at, actor="operator", reason="because")


def number(state: NumberState, **fields: object) -> CloudNumber:
    defaults: dict[str, object] = {
        "e164": NUMBER,
        "user": "ana" if state in HELD else "",
        "state": state,
        "kept_for": "ana" if state in KEPT else "",
        "until": NOW - 1 if state in (S.RESERVED, S.QUARANTINED) else 0.0,
        "expires_at": NOW - 1 if state is S.ACTIVE else 0.0,
        "version": 7,
    }
    return CloudNumber(**{**defaults, **fields})  # type: ignore[arg-type]


STEPS: dict[Action, Callable[[CloudNumber | None], Moved]] = {
    Action.WITHDRAW: lambda n: lifecycle.withdraw(n, cause()),  # type: ignore[arg-type]
    Action.RESERVE: lambda n: lifecycle.reserve(n, "ana", NOW + 1, cause()),  # type: ignore[arg-type]
    Action.UNRESERVE: lambda n: lifecycle.unreserve(n, cause()),  # type: ignore[arg-type]
    Action.LAPSE: lambda n: lifecycle.lapse(n, cause()),  # type: ignore[arg-type]
    Action.ASSIGN: lambda n: lifecycle.assign(n, "ana", 0.0, cause()),  # type: ignore[arg-type]
    Action.RELEASE: lambda n: lifecycle.release(n, "", NOW + 1, cause()),  # type: ignore[arg-type]
    Action.TAKE_BACK: lambda n: lifecycle.take_back(n, "ana", "", 0.0, cause()),  # type: ignore[arg-type]
    Action.END_QUARANTINE: lambda n: lifecycle.end_quarantine(n, cause()),  # type: ignore[arg-type]
    Action.REASSIGN: lambda n: lifecycle.reassign(n, "ben", with_history=False, cause=cause()),  # type: ignore[arg-type]
    Action.SUSPEND: lambda n: lifecycle.suspend(n, cause()),  # type: ignore[arg-type]
    Action.RESUME: lambda n: lifecycle.resume(n, cause()),  # type: ignore[arg-type]
    Action.EXPIRE: lambda n: lifecycle.expire(n, cause()),  # type: ignore[arg-type]
    Action.RENEW: lambda n: lifecycle.renew(n, NOW + 1, cause()),  # type: ignore[arg-type]
    Action.REQUEST_PORT_IN: lambda n: lifecycle.request_port_in(n, NUMBER, "standard", "ana", cause()),
    Action.COMPLETE_PORT_IN: lambda n: lifecycle.complete_port_in(n, "ana", 0.0, cause()),  # type: ignore[arg-type]
    Action.ABORT_PORT_IN: lambda n: lifecycle.abort_port_in(n, had_left=True, cause=cause()),  # type: ignore[arg-type]
    Action.PORT_OUT: lambda n: lifecycle.port_out(n, cause()),  # type: ignore[arg-type]
    Action.COME_BACK: lambda n: lifecycle.come_back(n, NOW + 1, cause()),  # type: ignore[arg-type]
}


def test_the_table_names_every_action_and_every_state_lives_and_dies() -> None:
    assert set(LEGAL) == set(Action) == {*STEPS, Action.ADD}
    reached = {after for ways in LEGAL.values() for afters in ways.values() for after in afters}
    left = {before for ways in LEGAL.values() for before in ways}
    assert reached == left == {*S, None}
    assert HELD | KEPT | {S.AVAILABLE, S.PORTED_OUT} == set(S)


@pytest.mark.rule("NUM-04")
@pytest.mark.parametrize("state", S)
@pytest.mark.parametrize("action", STEPS)
def test_each_step_from_each_state_is_legal_or_refused(action: Action, state: NumberState) -> None:
    """All pairs: what the table has can be done, and nothing else."""
    before = number(state)
    if state in LEGAL[action]:
        moved = STEPS[action](before)
        after = None if moved.number is None else moved.number.state
        assert after in LEGAL[action][state]
        assert (moved.event.action, moved.event.before, moved.event.after) == (action, state, after)
        assert (moved.event.at, moved.event.actor, moved.event.reason) == (NOW, "operator", "because")
        assert moved.number is None or moved.number.version == before.version + 1
    else:
        with pytest.raises(Refused) as caught:
            STEPS[action](before)
        assert caught.value.fault in (Fault.WRONG_STATE, Fault.HELD, Fault.KEPT)


@pytest.mark.rule("NUM-04")
@pytest.mark.parametrize(
    ("actor", "reason", "at"),
    [("", "r", 1.0), ("a" * 101, "r", 1.0), ("a", " ", 1.0), ("a", "r" * 201, 1.0), ("a", "r", 0.0)],
)
def test_every_change_has_time_actor_and_reason(actor: str, reason: str, at: float) -> None:
    with pytest.raises(Refused) as caught:
        Cause(at=at, actor=actor, reason=reason)
    assert caught.value.fault is Fault.BAD_REQUEST
    for name, function in inspect.getmembers(lifecycle, inspect.isfunction):
        hints = inspect.signature(function)
        if hints.return_annotation == "Moved" and not name.startswith("_"):
            assert "cause" in hints.parameters, f"{name} needs no cause"


def test_the_clock_does_nothing_before_its_time() -> None:
    for state, action in (
        (S.RESERVED, Action.LAPSE),
        (S.QUARANTINED, Action.END_QUARANTINE),
        (S.ACTIVE, Action.EXPIRE),
    ):
        early = number(state, until=NOW + 1, expires_at=NOW + 1)
        assert lifecycle.by_clock(early, cause()) is None
        with pytest.raises(Refused) as caught:
            STEPS[action](early)
        assert caught.value.fault is Fault.TOO_EARLY
        moved = lifecycle.by_clock(early, cause(NOW + 1))
        assert moved is not None
        assert moved.event.action == action
    for state in set(S) - {S.RESERVED, S.QUARANTINED, S.ACTIVE}:
        assert lifecycle.by_clock(number(state, until=1.0, expires_at=1.0), cause()) is None


@pytest.mark.rule("NUM-12", "NUM-13")
def test_what_lapsed_while_it_was_suspended_comes_back_expired() -> None:
    suspended = lifecycle.suspend(number(S.ACTIVE, expires_at=NOW + 1), cause()).kept
    assert lifecycle.resume(suspended, cause()).kept.state is S.ACTIVE
    assert lifecycle.resume(suspended, cause(NOW + 1)).kept.state is S.EXPIRED
    renewed = lifecycle.renew(suspended, NOW + DAY_S, cause()).kept
    assert renewed.state is S.SUSPENDED, "who pays is not innocent of fraud"
    assert lifecycle.renew(number(S.EXPIRED), 0.0, cause()).kept.state is S.ACTIVE


def full(state: NumberState) -> CloudNumber:
    """A number with something in every field."""
    filled = number(
        state,
        calls=False,
        hide=True,
        ring_seconds=9.0,
        block=(ANONYMOUS,),
        spam=("+33639989999",),
        hours=Hours(zone="Europe/Paris"),
        forward=Forwarding(mode=ForwardMode.ALL, to="+33199001234"),
        voicemail=True,
        gsm_fallback=True,
        held_since=1.0,
    )
    for field in dataclasses.fields(CloudNumber):
        if field.name not in LIFE:
            assert getattr(filled, field.name) != field.default, f"{field.name}: give it a value here"
    return filled


LIFE = {"e164", "user", "state", "category", "expires_at", "until", "kept_for", "kept_account", "since"}
LIFE |= {"held_since", "version", "account"}
"""Fields that tell of the number's life; all others are its holder's."""


@pytest.mark.rule("NUM-05")
@pytest.mark.parametrize("action", [a for a in STEPS if a not in (Action.WITHDRAW, Action.REQUEST_PORT_IN)])
def test_whatever_changes_the_holder_leaves_nothing_of_him(action: Action) -> None:
    """Also of fields that are added to numbers later."""
    for state in LEGAL[action]:
        assert state is None or action is not Action.REASSIGN or state in HELD
        before = full(state) if state is not None else None
        if before is None:
            continue
        after = STEPS[action](before).number
        if after is None or after.user == before.user:
            continue
        for field in dataclasses.fields(CloudNumber):
            if field.name not in LIFE:
                assert getattr(after, field.name) == field.default, (action, state, field.name)
        assert after.held_since in (0.0, NOW)
        assert after.user in ("", "ana", "ben")


@pytest.mark.rule("NUM-06")
def test_with_its_history_everything_goes_along() -> None:
    before = full(S.ACTIVE)
    after = lifecycle.reassign(before, "ben", with_history=True, cause=cause()).kept
    assert after == dataclasses.replace(before, user="ben")
    assert after.held_since == before.held_since
    without = lifecycle.reassign(before, "ben", with_history=False, cause=cause()).kept
    assert (without.expires_at, without.held_since, without.block) == (before.expires_at, NOW, ())


@pytest.mark.rule("NUM-05")
def test_only_the_former_holder_may_take_it_back() -> None:
    resting = number(S.QUARANTINED, kept_for="ana", kept_account="acme")
    may = lifecycle.may_take_back
    assert may(resting, "ana", "")
    assert may(resting, "ben", "acme")
    assert not may(resting, "ben", "rival")
    assert not may(resting, "", "")
    orphan = number(S.QUARANTINED, kept_for="", kept_account="")
    assert not may(orphan, "", "")
    assert not may(number(S.ACTIVE, kept_for="ana"), "ana", "")
    with pytest.raises(Refused) as caught:
        lifecycle.take_back(orphan, "ana", "acme", 0.0, cause())
    assert caught.value.fault is Fault.KEPT


# -- quarantine, over every day there is --


@pytest.mark.rule("NUM-05")
@given(
    start=st.floats(min_value=1_600_000_000, max_value=2_600_000_000),
    country=st.sampled_from(["FR", "US", "GB", "BE", "NZ", "BR", "RE", "MX", ""]),
    days=st.integers(0, 400),
)
@settings(max_examples=150)
def test_a_quarantine_is_always_within_the_law(start: float, country: str, days: int) -> None:
    """By the length of days and by the calendar of the country, over leap days and clocks put forward and back."""
    from datetime import timedelta
    from zoneinfo import ZoneInfo

    rules = COUNTRIES.of(country)
    end = quarantine_end(rules, start, days)
    floor, ceiling = rules.quarantine.floor, rules.quarantine.ceiling
    assert start + floor * DAY_S <= end <= start + ceiling * DAY_S
    zone = ZoneInfo(rules.zone)
    local = datetime.fromtimestamp(start, zone)
    # a microsecond of grace: times of the calendar have no finer ones
    assert (local + timedelta(days=floor)).timestamp() - 1e-5 <= end
    assert end <= (local + timedelta(days=ceiling)).timestamp() + 1e-5
    if floor <= days < ceiling - 1:
        assert abs(end - (start + days * DAY_S)) <= 3600.001


@pytest.mark.rule("NUM-05")
@pytest.mark.parametrize(
    ("start", "end"),
    [
        # 60 days each: over the hour that is missing, the hour that is there twice, a leap day
        ("2026-03-01T10:00:00+01:00", "2026-04-30T11:00:00+02:00"),
        ("2026-10-01T10:00:00+02:00", "2026-11-30T10:00:00+01:00"),
        ("2028-02-01T10:00:00+01:00", "2028-04-01T11:00:00+02:00"),
    ],
)
def test_sixty_days_of_france(start: str, end: str) -> None:
    begun = datetime.fromisoformat(start).timestamp()
    assert quarantine_end(COUNTRIES.of("FR"), begun) == datetime.fromisoformat(end).timestamp()


# -- a walk through a life --


class Life(RuleBasedStateMachine):
    """Any steps in any order, with a clock that only goes on.  The invariants are asked after each."""

    def __init__(self) -> None:
        super().__init__()
        self.number: CloudNumber | None = None
        self.now = NOW
        self.holder = ""
        """Who holds it, as the walk has counted."""
        self.released_at = 0.0
        self.former = ""

    def cause(self) -> Cause:
        return Cause(at=self.now, actor="walk", reason="step")

    def take(self, step: Callable[[], Moved], with_history: bool = False) -> None:
        before = self.number
        try:
            moved = step()
        except Refused:
            return
        state = None if before is None else before.state
        after = None if moved.number is None else moved.number.state
        assert after in LEGAL[Action(moved.event.action)][state]
        assert before is None or moved.number is None or moved.number.version > before.version
        self.number = moved.number
        holder = "" if moved.number is None else moved.number.user
        if moved.number is None:
            self.former = ""  # it is not ours any more, and neither is whom it was kept for
        elif before is not None and before.user and not holder:
            self.released_at, self.former = self.now, before.user
        if before is not None and moved.number is not None and holder and holder != before.user:
            if before.state is S.QUARANTINED:
                assert holder == self.former, "only the former holder gets it out of quarantine"
            if moved.event.action != Action.REASSIGN or not with_history:
                assert (moved.number.block, moved.number.hide) == ((), False)
        self.holder = holder

    @rule(days=st.floats(0, 70))
    def time_passes(self, days: float) -> None:
        self.now += days * DAY_S
        if self.number is not None:
            number = self.number
            moved = lifecycle.by_clock(number, self.cause())
            if moved is not None:
                self.take(lambda: moved)

    @precondition(lambda self: self.number is None)
    @rule()
    def add(self) -> None:
        self.take(lambda: lifecycle.add(NUMBER, "standard", self.cause()))

    @precondition(lambda self: self.number is not None)
    @rule(
        action=st.sampled_from(list(STEPS)),
        user=st.sampled_from(["ana", "ben", "zoe"]),
        days=st.floats(0, 40),
    )
    def anything(self, action: Action, user: str, days: float) -> None:
        number = self.number
        assert number is not None
        at, until = self.cause(), self.now + days * DAY_S
        rules = COUNTRIES.of("FR")
        steps: dict[Action, Callable[[], Moved]] = {
            Action.WITHDRAW: lambda: lifecycle.withdraw(number, at),
            Action.RESERVE: lambda: lifecycle.reserve(number, user, until, at),
            Action.UNRESERVE: lambda: lifecycle.unreserve(number, at),
            Action.LAPSE: lambda: lifecycle.lapse(number, at),
            Action.ASSIGN: lambda: lifecycle.assign(number, user, until if days > 1 else 0.0, at),
            Action.RELEASE: lambda: lifecycle.release(number, "", quarantine_end(rules, self.now), at),
            Action.TAKE_BACK: lambda: lifecycle.take_back(number, user, "", 0.0, at),
            Action.END_QUARANTINE: lambda: lifecycle.end_quarantine(number, at),
            Action.REASSIGN: lambda: lifecycle.reassign(number, user, with_history=days > 20, cause=at),
            Action.SUSPEND: lambda: lifecycle.suspend(number, at),
            Action.RESUME: lambda: lifecycle.resume(number, at),
            Action.EXPIRE: lambda: lifecycle.expire(number, at),
            Action.RENEW: lambda: lifecycle.renew(number, until, at),
            Action.REQUEST_PORT_IN: lambda: lifecycle.request_port_in(number, NUMBER, "vip", user, at),
            Action.COMPLETE_PORT_IN: lambda: lifecycle.complete_port_in(number, user, 0.0, at),
            Action.ABORT_PORT_IN: lambda: lifecycle.abort_port_in(number, had_left=days > 20, cause=at),
            Action.PORT_OUT: lambda: lifecycle.port_out(number, at),
            Action.COME_BACK: lambda: lifecycle.come_back(number, quarantine_end(rules, self.now), at),
        }
        self.take(steps[action], with_history=days > 20)

    @precondition(lambda self: self.number is not None and self.number.state in HELD)
    @rule()
    def settings_are_made(self) -> None:
        assert self.number is not None
        self.number = dataclasses.replace(self.number, hide=True, block=(ANONYMOUS,))

    @invariant()
    def exactly_who_may_hold_it_holds_it(self) -> None:
        if self.number is None:
            return
        assert bool(self.number.user) == (self.number.state in HELD)
        assert self.number.user == self.holder
        assert not (self.number.kept_for and self.number.user)

    @invariant()
    def nobody_has_a_number_before_its_rest_is_over(self) -> None:
        if self.number is None or not self.released_at:
            return
        if self.number.state in (S.AVAILABLE, S.RESERVED) and self.former:
            assert self.now - self.released_at >= COUNTRIES.of("FR").quarantine.floor * DAY_S
            self.former = ""

    @invariant()
    def what_nobody_holds_has_nothing_of_a_holder(self) -> None:
        if self.number is not None and not self.number.user:
            assert (self.number.hide, self.number.block) == (False, ())


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)
