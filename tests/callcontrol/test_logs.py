"""Logs: no number of a person at info and above, no secret at any level, one search finds one call."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from callcontrol import logs
from callcontrol.masking import mask_message, mask_number, mask_numbers, mask_secrets, mask_user


@dataclass
class Settings:
    level: str = "info"
    format: str = "json"


@pytest.fixture
def out() -> Iterator[io.StringIO]:
    """A stream that the process logs to as JSON at debug; the set-up before is restored."""
    root = logging.getLogger()
    before = (list(root.handlers), root.level, structlog.get_config())
    stream = io.StringIO()
    logs.configure("debug", "json", stream)
    yield stream
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    structlog.configure(**before[2])


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_carries_call_and_leg(out: io.StringIO) -> None:
    logger = logs.for_call(logs.get_logger("calls"), "c-1f", "b2")
    logger.info("ringing", status=180)
    (line,) = lines(out)
    assert line["call_ref"] == "c-1f"
    assert line["leg"] == "b2"
    assert line["part"] == "calls"
    assert line["status"] == 180
    assert line["level"] == "info"
    assert str(line["timestamp"]).endswith("Z")


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        ("debug", "+33639980001"),
        ("info", "+3363998••••"),
        ("warning", "+3363998••••"),
        ("error", "+3363998••••"),
    ],
)
def test_numbers_are_shortened_at_info_and_above(out: io.StringIO, level: str, shown: str) -> None:
    getattr(logs.get_logger("calls"), level)(
        "from +33639980001", caller="+33639980001", more=["+33639980001"]
    )
    (line,) = lines(out)
    assert line["caller"] == shown
    assert line["more"] == [shown]
    assert line["event"] == f"from {shown}"


def test_foreign_loggers_follow_the_same_rules(out: io.StringIO) -> None:
    logging.getLogger("some.library").warning("call of +33639980001 with password=hunter2")
    (line,) = lines(out)
    assert line["event"] == "call of +3363998•••• with password=[removed]"
    assert line["logger"] == "some.library"


@pytest.mark.parametrize("level", ["debug", "info", "error"])
def test_secrets_never_reach_a_line(out: io.StringIO, level: str) -> None:
    digest = (
        'Digest username="ana-phone", realm="r", nonce="n0nce", response="6629fae49393a05397450978507c4ef1"'
    )
    getattr(logs.get_logger("auth"), level)(
        f"REGISTER\r\nAuthorization: {digest}\r\nTo: x",
        password="hunter2",
        headers={"Authorization": digest, "sip-password": "hunter2"},
        url="postgresql+asyncpg://cloudline:hunter2@127.0.0.1/db",
        raw=b"password=hunter2",
    )
    text = out.getvalue()
    assert "hunter2" not in text
    assert "6629fae49393a053" not in text
    assert "n0nce" not in text


def test_an_exception_is_one_line_without_secrets(out: io.StringIO) -> None:
    try:
        raise ValueError("password=hunter2 of +33639980001")
    except ValueError:
        logs.get_logger("x").exception("failed")
    (line,) = lines(out)
    assert "ValueError" in str(line["exception"])
    assert "hunter2" not in str(line)
    assert "+33639980001" not in str(line)


def test_level_is_kept(out: io.StringIO) -> None:
    logs.configure("warning", "json", out)
    logs.get_logger("x").info("quiet")
    logs.get_logger("x").warning("loud")
    assert [line["event"] for line in lines(out)] == ["loud"]


def test_console_format_is_for_people(out: io.StringIO) -> None:
    logs.configure("info", "console", out)
    logs.get_logger("x").info("listening", listener="udp:127.0.0.1:5060")
    assert "listening" in out.getvalue()
    assert not out.getvalue().startswith("{")


@pytest.mark.parametrize(("level", "format"), [("loud", "json"), ("info", "xml")])
def test_wrong_settings_are_named(level: str, format: str) -> None:
    with pytest.raises(ValueError, match="is not one of"):
        logs.configure(level, format)


@pytest.mark.parametrize("format", ["json", "console"])
def test_call_log_writes_one_masked_line(format: str) -> None:
    stream = io.StringIO()
    log = logs.CallLog(Settings(format=format), stream)
    log.finished(
        "c-1f",
        ended_at=1_780_000_000.5,
        direction="incoming",
        caller="+33199001234",
        called="+33639981001",
        result="answered",
        status=200,
        duration_s=12.3456,
        trunk="carrier-a",
    )
    (line,) = stream.getvalue().splitlines()
    assert "c-1f" in line
    assert "+3319900••••" in line
    assert "+33639981001" not in line
    assert log.lines == 1
    if format == "json":
        assert json.loads(line)["duration_s"] == 12.346
        assert json.loads(line)["timestamp"] == "2026-05-28T20:26:40.500Z"


def test_call_log_is_silent_above_info() -> None:
    stream = io.StringIO()
    log = logs.CallLog(Settings(level="warning"), stream)
    log.finished("c", ended_at=0, direction="incoming", caller="", called="", result="busy")
    assert stream.getvalue() == ""


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("+33639980001", "+3363998••••"),
        ("call 0639980001 now", "call 063998•••• now"),
        ("<sip:+33639980001@cloudline.example>", "<sip:+3363998••••@cloudline.example>"),
        ("sip:ana-phone@cloudline.example", "sip:a•••@cloudline.example"),
        ("sip:ana:secret@cloudline.example", "sip:a•••@cloudline.example"),
        ("tel:+15550101234", "tel:+1555010••••"),
        ("127.0.0.1:5060", "127.0.0.1:5060"),
        ("udp:127.0.0.1:5060 10.0.0.1", "udp:127.0.0.1:5060 10.0.0.1"),
        ("z9hG4bK0123456789", "z9hG4bK0123456789"),
        ("2026-05-28T20:26:40.500Z", "2026-05-28T20:26:40.500Z"),
        ("sip:cloudline.example", "sip:cloudline.example"),
    ],
)
def test_mask_numbers(text: str, masked: str) -> None:
    assert mask_numbers(text) == masked


@pytest.mark.parametrize(
    ("number", "masked"), [("", ""), ("1", "1"), ("112", "1••"), ("1234", "1•••"), ("12345", "1••••")]
)
def test_mask_short_numbers(number: str, masked: str) -> None:
    assert mask_number(number) == masked


def test_mask_user_drops_the_password() -> None:
    assert mask_user("ana:secret") == "a•••"


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Digest hunter2",
        "authorization : Digest a=b,\r\n hunter2",
        "Proxy-Authorization: Digest hunter2",
        '{"password": "hunter2"}',
        "password='hunter2'",
        "token=hunter2&x=1",
        "postgresql://user:hunter2@host/db",
        "Bearer hunter2-and-more",
        'nonce="hunter2"',
        "<sip:a@b;pn-prid=hunter2>",
        "INVITE sip:announcements@192.0.2.9;play=rio;param1=hunter2 SIP/2.0",
    ],
)
def test_mask_secrets(text: str) -> None:
    assert "hunter2" not in mask_secrets(text)


def test_ladder_message_keeps_all_but_credentials() -> None:
    message = (
        "REGISTER sip:cloudline.example SIP/2.0\r\n"
        "From: <sip:ana-phone@cloudline.example>;tag=1\r\n"
        'Authorization: Digest username="ana-phone",\r\n response="abcdef"\r\n'
        "Contact: <sip:ana@127.0.0.1;pn-provider=x;pn-prid=hunter2>\r\n"
        "X-Asked: <sip:announcements@192.0.2.9;play=rio;param1=hunter2>\r\n"
        "\r\n"
        "v=0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:hunter2\r\na=ice-pwd:hunter2\r\n"
    )
    shown = mask_message(message)
    assert "hunter2" not in shown
    assert "abcdef" not in shown
    assert "From: <sip:ana-phone@cloudline.example>;tag=1" in shown
    assert "pn-provider=x" in shown
    assert ";play=rio;param1=[removed]" in shown
    assert "a=crypto:1 AES_CM_128_HMAC_SHA1_80" in shown


@given(st.text(max_size=300))
def test_masking_takes_any_text(text: str) -> None:
    mask_numbers(mask_secrets(text))
    mask_message(text)


@given(
    st.from_regex(r"\+[1-9]\d{7,14}", fullmatch=True),
    st.sampled_from(["%s", "<sip:%s@h>", "a %s b", "tel:%s"]),
)
def test_no_spelling_shows_a_whole_number(number: str, frame: str) -> None:
    assert number not in mask_numbers(frame % number)
