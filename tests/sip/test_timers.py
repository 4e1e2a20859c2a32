"""The table of timers, against appendix A of RFC 3261, RFC 6026 and RFC 4320."""

import pytest

from callcontrol.sip.timers import NEVER, SipTimers

LETTERS = "abdefghijklm"

#                a      b   d   e      f   g      h   i  j   k  l   m
UNRELIABLE = (0.5, 32, 32, 0.5, 32, 0.5, 32, 5, 32, 5, 32, 32)
RELIABLE = (NEVER, 32, 0, NEVER, 32, NEVER, 32, 0, 0, 0, 32, 32)


@pytest.mark.parametrize(("reliable", "expected"), [(False, UNRELIABLE), (True, RELIABLE)])
def test_defaults(reliable: bool, expected: tuple[float, ...]) -> None:
    table = SipTimers().table(reliable)
    assert {letter: getattr(table, letter) for letter in LETTERS} == dict(zip(LETTERS, expected, strict=True))
    assert table.trying_invite == 0.2
    assert table.trying_other == 3.5


def test_all_follow_from_t1_t2_t4() -> None:
    table = SipTimers(t1=1.0, t2=8.0, t4=6.0).unreliable
    assert [getattr(table, x) for x in LETTERS] == [1, 64, 64, 1, 64, 1, 64, 6, 64, 6, 64, 64]
    assert table.trying_other == 7.0


def test_timer_d_does_not_shrink_with_our_t1() -> None:
    assert SipTimers(t1=0.1).unreliable.d == 32
    assert SipTimers(t1=0.1).unreliable.b == pytest.approx(6.4)


def test_trying_when_t1_is_t2() -> None:
    assert SipTimers(t1=4.0, t2=4.0).unreliable.trying_other == 4.0


@pytest.mark.parametrize("values", [(0, 4, 5), (-1, 4, 5), (5, 4, 5), (0.5, 4, 0)])
def test_impossible_values_are_refused(values: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="T1"):
        SipTimers(*values)
