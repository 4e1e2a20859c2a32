"""Registration with a carrier as a machine: refresh, challenges, 423, back-off, leaving (RFC 3261 section 10.2)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.registration import (
    FAILED,
    LEAVING,
    LEFT,
    MAX_ANSWERS,
    REGISTERED,
    STATES,
    TRYING,
    Registration,
    RegistrationPolicy,
)

POLICY = RegistrationPolicy(retry_s=10.0, retry_max_s=900.0)


def machine(dice: float = 1.0, expires: int = 3600) -> Registration:
    return Registration(expires, 0.0, lambda: dice, POLICY)


def registered(granted: float = 3600.0, dice: float = 1.0) -> Registration:
    made = machine(dice)
    made.sent()
    made.accepted(granted, 0.0)
    return made


def test_it_registers_at_once_and_refreshes_before_the_end() -> None:
    made = machine(0.0)
    assert made.is_due(0.0)
    assert made.sent() == (1, 3600)
    assert not made.is_due(100.0), "one REGISTER at a time"
    made.accepted(3600.0, 1.0)
    assert (made.state, made.since, made.until, made.bound) == (REGISTERED, 1.0, 3601.0, True)
    assert not made.is_due(3480.9)
    assert made.is_due(3481.0), "two minutes before the end: an unanswered one can be repeated"
    made.sent()
    made.accepted(3600.0, 3481.0)
    assert made.since == 1.0, "still registered"


@pytest.mark.parametrize(
    ("granted", "latest"), [(60.0, 30.0), (239.0, 119.5), (240.0, 120.0), (3600.0, 3480.0)]
)
@pytest.mark.parametrize("dice", [0.0, 0.5, 0.999])
def test_refreshes_come_in_time_and_not_in_step(granted: float, latest: float, dice: float) -> None:
    made = registered(granted, dice)
    assert latest * 0.9 <= made.due <= latest


def test_a_challenge_is_answered_once() -> None:
    made = machine()
    made.sent()
    assert made.challenged(stale=False, fresh=False, now=0.0)
    assert made.is_due(0.0)
    made.sent()
    assert not made.challenged(stale=False, fresh=True, now=0.0), "the password is wrong"
    assert (made.state, made.status) == (FAILED, 401)
    assert made.due == 900.0, "asking again at once would look like guessing"


def test_a_nonce_that_grew_old_is_no_wrong_password() -> None:
    made = machine()
    for _ in range(MAX_ANSWERS):
        made.sent()
        assert made.challenged(stale=True, fresh=True, now=0.0)
    made.sent()
    assert not made.challenged(stale=True, fresh=True, now=0.0), "not for ever"
    # the next attempt may answer again
    made.sent()
    assert made.challenged(stale=False, fresh=False, now=900.0)


def test_423_makes_it_ask_for_more() -> None:
    made = machine(expires=60)
    made.sent()
    assert made.too_brief(600, 0.0)
    assert made.is_due(0.0)
    assert made.sent() == (2, 600)
    made.accepted(600.0, 0.0)
    assert made.state == REGISTERED


@pytest.mark.parametrize("least", [0, 60, 10_000_000])
def test_423_that_makes_no_sense_is_a_refusal(least: int) -> None:
    made = machine(expires=60)
    made.sent()
    assert not made.too_brief(least, 0.0)
    assert (made.state, made.status) == (FAILED, 423)


def test_pauses_double_up_to_a_bound() -> None:
    made = machine(1.0)
    now, pauses = 0.0, []
    for _ in range(9):
        made.sent()
        made.refused(503, 0.0, now)
        pauses.append(made.due - now)
        now = made.due
    assert pauses == [10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 640.0, 900.0, 900.0]
    made.sent()
    made.accepted(3600.0, now)
    made.sent()
    made.refused(0, 0.0, now)
    assert made.due - now == 10.0, "a success forgets the failures"


def test_pauses_have_jitter_and_heed_retry_after() -> None:
    for dice, pause in ((0.0, 5.0), (0.5, 7.5), (1.0, 10.0)):
        made = machine(dice)
        made.sent()
        made.refused(500, 0.0, 0.0)
        assert made.due == pause
    made = machine()
    made.sent()
    made.refused(503, 120.0, 0.0)
    assert made.due == 120.0
    made.sent()
    made.refused(503, 1e9, 0.0)
    assert made.due == 900.0


def test_what_will_not_change_by_itself_is_asked_again_late() -> None:
    for status in (403, 404, 603):
        made = machine()
        made.sent()
        made.refused(status, 0.0, 0.0)
        assert made.due == 900.0
    for status in (0, 408, 500, 302):
        made = machine()
        made.sent()
        made.refused(status, 0.0, 0.0)
        assert made.due == 10.0


def test_a_failed_refresh_leaves_what_still_stands() -> None:
    made = registered(600.0)
    made.sent()
    made.refused(0, 0.0, 480.0)
    assert (made.state, made.bound) == (REGISTERED, True)
    assert made.is_due(490.0)
    made.sent()
    made.refused(0, 0.0, 599.0)
    assert made.is_due(619.0)
    assert (made.state, made.bound) == (TRYING, False), "it has run out meanwhile"
    made.sent()
    made.refused(0, 0.0, 620.0)
    assert made.state == FAILED


def test_a_carrier_that_was_away_is_registered_with_again() -> None:
    made = registered(3600.0, 0.5)
    made.lost(100.0)
    assert made.is_due(100.5)
    made.sent()
    made.lost(101.0)
    made.accepted(3600.0, 101.0)
    assert made.due > 1000.0


def test_leaving() -> None:
    made = registered()
    made.leave(10.0)
    assert made.state == LEAVING
    assert made.is_due(10.0)
    assert made.sent()[1] == 0
    made.leave(10.5)
    made.accepted(0.0, 11.0)
    assert (made.state, made.bound) == (LEFT, False)
    assert not made.is_due(1e9)


def test_leaving_with_a_challenge_and_without_an_answer() -> None:
    made = registered()
    made.leave(10.0)
    made.sent()
    assert made.challenged(stale=False, fresh=False, now=10.0)
    assert made.sent()[1] == 0
    made.refused(0, 0.0, 42.0)
    assert made.state == LEFT


def test_who_never_registered_need_not_leave() -> None:
    made = machine()
    made.leave(1.0)
    assert made.state == LEFT
    late = machine()
    late.sent()
    late.leave(1.0)
    assert late.state == LEAVING, "the REGISTER under way may still succeed"
    assert not late.is_due(1.0)
    late.accepted(3600.0, 2.0)
    assert (late.state, late.bound) == (LEAVING, True)
    assert late.is_due(2.0)
    assert late.sent()[1] == 0
    late.accepted(0.0, 2.5)
    assert late.state == LEFT


def test_a_2xx_without_our_contact_is_no_registration() -> None:
    made = machine()
    made.sent()
    made.accepted(0.0, 0.0)
    assert (made.state, made.bound) == (FAILED, False)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["ok", "401", "stale", "423", "500", "403", "silent", "lost", "wait"]),
            st.floats(0, 1000),
        ),
        max_size=60,
    )
)
def test_it_never_stops_trying_and_never_floods(events: list[tuple[str, float]]) -> None:
    """Whatever a carrier says: one REGISTER at a time, a next one at some time, few at once."""
    made = machine(0.5, 600)
    now, sent_now = 0.0, 0
    for what, pause in events:
        if pause:
            sent_now = 0
        now += pause
        if what == "lost":
            made.lost(now)
            continue
        if not made.is_due(now):
            assert made.due - now <= 900.0
            continue
        serial, _ = made.sent()
        sent_now += 1
        assert sent_now <= 1 + MAX_ANSWERS
        assert made.is_current(serial)
        match what:
            case "ok":
                made.accepted(600.0, now)
            case "401":
                made.challenged(False, sent_now > 1, now)
            case "stale":
                made.challenged(True, True, now)
            case "423":
                made.too_brief(made.expires + 1, now)
            case "silent":
                made.refused(0, 0.0, now)
            case "wait":
                made.refused(503, 30.0, now)
            case _:
                made.refused(int(what), 0.0, now)
        assert made.state in STATES
        assert made.bound == (made.until > 0)
