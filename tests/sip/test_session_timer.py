"""Session timers (RFC 4028): who agrees to what, as tables."""

from __future__ import annotations

import pytest

from callcontrol.sip import build
from callcontrol.sip.message import Message, parse
from callcontrol.sip.session_timer import (
    LOCAL,
    NONE,
    REMOTE,
    accept,
    agreed,
    expire_after,
    min_se,
    parse_session_expires,
    refresh_after,
    too_small,
)

Headers = tuple[tuple[str, str], ...]
TIMER: Headers = (("supported", "timer"),)


def request(headers: Headers) -> Message:
    lines = [
        ("via", "SIP/2.0/UDP 10.0.1.1:5060;branch=z9hG4bK1"),
        ("from", "<sip:a@x>;tag=1"),
        ("to", "<sip:b@x>"),
        ("call-id", "c"),
        ("cseq", "1 UPDATE"),
        *headers,
    ]
    return parse(build.request("UPDATE", "sip:b@x", lines))


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("1800", (1800, "")),
        ("1800;refresher=uac", (1800, "uac")),
        (" 90 ; Refresher = UAS ;x", (90, "uas")),
        ("1800;refresher=nobody", (1800, "")),
        ("-1", (0, "")),
        ("\u00b2", (0, "")),
        ("99999999999999999999", (0, "")),
        ("", (0, "")),
        ("abc;refresher=uac", (0, "")),
    ],
)
def test_session_expires(value: str, found: tuple[int, str]) -> None:
    assert parse_session_expires(value) == found


@pytest.mark.parametrize(
    ("headers", "present", "found"),
    [
        ((), NONE, (0, NONE)),  # nobody asks
        (TIMER, NONE, (1800, REMOTE)),  # it can, so it shall
        ((*TIMER, ("session-expires", "600")), NONE, (600, REMOTE)),
        ((*TIMER, ("session-expires", "600")), LOCAL, (600, LOCAL)),  # whoever refreshes goes on
        ((*TIMER, ("session-expires", "600;refresher=uac")), LOCAL, (600, REMOTE)),
        ((*TIMER, ("session-expires", "600;refresher=uas")), REMOTE, (600, LOCAL)),
        ((*TIMER, ("session-expires", "600"), ("min-se", "900")), NONE, (900, REMOTE)),
        ((("session-expires", "600"),), NONE, (600, LOCAL)),  # a proxy wants it; only we can (table 2)
        ((("session-expires", "30"),), NONE, (0, NONE)),  # too often, and it cannot be told so
        ((*TIMER, ("session-expires", "nonsense")), NONE, (1800, REMOTE)),
    ],
)
def test_what_a_uas_agrees_to(headers: Headers, present: int, found: tuple[int, int]) -> None:
    assert accept(request(headers), 1800, 90, present) == found


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ((), (0, NONE)),
        ((("session-expires", "1800;refresher=uac"),), (1800, LOCAL)),
        ((("session-expires", "1800;refresher=uas"),), (1800, REMOTE)),
        ((("session-expires", "1800"),), (1800, LOCAL)),
        ((("session-expires", "2;refresher=uac"),), (90, LOCAL)),  # below Min-SE: held to the rule
        ((("session-expires", "x"),), (0, NONE)),
    ],
)
def test_what_a_2xx_says(headers: Headers, found: tuple[int, int]) -> None:
    response = parse(build.response(request(()), 200, "", "t", headers))
    assert agreed(response, 90) == found


@pytest.mark.parametrize(
    ("headers", "small"),
    [
        ((*TIMER, ("session-expires", "89")), True),
        ((*TIMER, ("session-expires", "90")), False),
        ((("session-expires", "89"),), False),  # 422 is for those that understand it
        ((*TIMER, ("session-expires", "nonsense")), False),
        (TIMER, False),
    ],
)
def test_too_small(headers: Headers, small: bool) -> None:
    assert too_small(request(headers), 90) is small


def test_deadlines() -> None:
    """§10: refresh at half; give up 32 s or a third before the end, whichever is less."""
    assert refresh_after(1800) == 900
    assert expire_after(1800) == 1768
    assert expire_after(90) == 60
    assert min_se(request((("min-se", "120;x"),))) == 120
    assert min_se(request(())) == 0
