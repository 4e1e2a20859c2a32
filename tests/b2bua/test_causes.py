"""The one table of causes: complete, and right about what it says of a callee's answer (OUT-09, RFC 3261 §16.7, RFC 3326)."""

from __future__ import annotations

import itertools

import pytest

from callcontrol.b2bua.causes import (
    CAUSES,
    better,
    end_line,
    phrase_of,
    reason_lines,
    reason_of,
    status_for_caller,
    tries_next,
)
from dialplan import reasons

WORDS = {value for name, value in vars(reasons).items() if name.isupper() and isinstance(value, str)}
LABELS = {"answered", "busy", "no_answer", "cancelled", "rejected", "failed"}


@pytest.mark.rule("OUT-09")
def test_every_reason_has_its_row_and_no_row_is_without_reason() -> None:
    assert set(CAUSES) == WORDS
    for word, cause in CAUSES.items():
        assert cause.reason == word
        assert 200 <= cause.status < 700
        assert 1 <= cause.q850 <= 127
        assert cause.label in LABELS
        assert cause.sentence.endswith(".")


@pytest.mark.parametrize("trunk", [True, False])
def test_every_status_means_some_reason(trunk: bool) -> None:
    for status in range(300, 700):
        assert reason_of(status, trunk) in CAUSES
        assert 300 <= status_for_caller(status, trunk) < 700


@pytest.mark.parametrize(
    ("status", "trunk", "told"),
    [
        (486, False, 486),
        (486, True, 486),
        (603, False, 603),
        (404, True, 404),
        (404, False, 480),  # that a contact of a device is gone is no news about the number
        (410, False, 480),
        (408, False, 480),
        (500, False, 480),
        (503, False, 480),
        (401, True, 502),  # our password is not the caller's business
        (407, True, 502),
        (503, True, 502),  # passed on, it would make the caller avoid us
        (302, True, 502),
        (403, True, 603),
        (484, True, 484),
    ],
)
def test_what_the_caller_is_told(status: int, trunk: bool, told: int) -> None:
    assert status_for_caller(status, trunk) == told


@pytest.mark.rule("INC-08")
def test_best_response() -> None:
    """§16.7 step 6: 6xx, else the lowest class, in 4xx what helps to mend the request; then what says most of the callee."""
    order = [603, 302, 415, 484, 486, 488, 403, 480, 408, 500, 503]
    for first, second in itertools.pairwise(order):
        assert not better(second, first), f"{second} is not better than {first}"
    assert better(603, 486)
    assert better(486, 480)
    assert better(480, 500)
    assert better(302, 486)
    assert not better(480, 480)


@pytest.mark.parametrize(
    ("status", "again"),
    [
        *((status, True) for status in (302, 401, 407, 408, 500, 502, 503, 504)),
        *((status, False) for status in (404, 480, 484, 486, 487, 488, 600, 603)),
    ],
)
def test_after_which_answers_of_a_peer_the_next_one_is_tried(status: int, again: bool) -> None:
    assert tries_next(status) is again


def test_headers_of_a_refusal() -> None:
    assert reason_lines("blocked", 603) == [
        'Reason: SIP;cause=603;text="blocked"',
        "Reason: Q.850;cause=21",
        'Warning: 399 cloudline "The call was declined."',
    ]
    assert phrase_of(486) == "Busy Here"
    assert phrase_of(499) == "Refused"


def test_a_bye_of_ours_never_claims_that_the_call_was_answered_elsewhere() -> None:
    """SIP;cause=200 in a Reason is how phones are told not to note a missed call."""
    assert end_line("max_duration", 200) == 'Reason: Q.850;cause=102;text="max_duration"'
    assert end_line("operator", 480) == 'Reason: SIP;cause=480;text="operator"'
