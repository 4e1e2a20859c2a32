"""The one table of causes: complete, and right about what it says of a callee's answer (OUT-09, RFC 3261 §16.7, RFC 3326)."""

from __future__ import annotations

import itertools

import pytest

from callcontrol.b2bua.causes import (
    CAUSES,
    NEVER,
    NEXT_PEER,
    NEXT_TRUNK,
    better,
    end_line,
    failover,
    phrase_of,
    q850_of,
    reason_lines,
    reason_of,
    status_for_caller,
)
from callcontrol.sip.message import Message, parse
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
        (403, True, 502),  # nor is our account
        (433, True, 433),
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


FAILOVER = {
    NEXT_PEER: (302, 408, 481, 491, 500, 502, 503, 504, 580),
    NEXT_TRUNK: (400, 401, 402, 403, 405, 406, 407, 413, 414, 416, 420, 421, 428, 501, 505, 513),
    NEVER: (404, 410, 415, 433, 480, 482, 483, 484, 485, 486, 487, 488, 600, 603, 604, 606, 607, 608, 699),
}


@pytest.mark.parametrize(
    ("status", "scope"), [(status, scope) for scope, statuses in FAILOVER.items() for status in statuses]
)
def test_after_which_answers_of_a_peer_another_one_is_tried(status: int, scope: int) -> None:
    assert failover(status) == scope


@pytest.mark.parametrize(
    ("status", "q850", "reason", "scope"),
    [
        (404, 1, "invalid_number", NEVER),  # unallocated
        (404, 3, "trunk_failed", NEXT_TRUNK),  # no route at this carrier
        (500, 1, "invalid_number", NEVER),
        (503, 17, "busy", NEVER),
        (503, 34, "trunk_failed", NEXT_PEER),
        (480, 19, "no_answer", NEVER),
        (480, 34, "trunk_failed", NEXT_PEER),
        (403, 21, "declined", NEVER),
        (403, 57, "trunk_failed", NEXT_TRUNK),
        (480, 31, "no_answer", NEVER),  # normal, unspecified: the status has the word
        (503, 999, "trunk_failed", NEXT_PEER),
        (486, 34, "busy", NEVER),  # a callee who is busy is busy
        (603, 3, "declined", NEVER),
        (488, 65, "media_refused", NEVER),
        (503, 20, "unreachable", NEVER),
    ],
)
def test_the_cause_of_the_telephone_network_goes_before_the_status(
    status: int, q850: int, reason: str, scope: int
) -> None:
    assert reason_of(status, True, q850) == reason
    assert failover(status, q850) == scope
    assert 300 <= status_for_caller(status, True, q850) < 700


def test_every_cause_has_its_meaning() -> None:
    for status in range(300, 700):
        for q850 in range(130):
            reason = reason_of(status, True, q850)
            assert reason in CAUSES
            assert (failover(status, q850) != NEVER) == (reason == reasons.TRUNK_FAILED)
    assert status_for_caller(404, True, 1) == 404
    assert status_for_caller(404, True, 3) == 502
    assert status_for_caller(503, True, 17) == 486
    assert status_for_caller(480, True, 19) == 480


def _refused(*reasons_given: str) -> Message:
    lines = "".join(f"Reason: {value}\r\n" for value in reasons_given)
    return parse(
        f"SIP/2.0 503 No\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>;tag=2\r\n"
        f"Call-ID: c\r\nCSeq: 1 INVITE\r\n{lines}Content-Length: 0\r\n\r\n".encode()
    )


@pytest.mark.parametrize(
    ("values", "cause"),
    [
        ((), 0),
        (("Q.850;cause=34",), 34),
        (('q.850 ; text="no circuit" ; Cause = 34',), 34),
        (("SIP;cause=503", "Q.850;cause=17"), 17),
        (("SIP;cause=503",), 0),
        (("Q.850;cause=x", "Q.850;cause=1234"), 0),
        (("Q.850;cause=\u00b2",), 0),
        (("Q.850",), 0),
    ],
)
def test_reading_the_cause(values: tuple[str, ...], cause: int) -> None:
    assert q850_of(_refused(*values)) == cause


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
