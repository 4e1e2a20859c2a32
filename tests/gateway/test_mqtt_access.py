"""Who may do what at the broker, its files, and the hashes of passwords."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import mqtt_access
from gateway.mqtt_access import READ, WRITE, client_id_fits, may
from gateway.mqtt_broker import Connect, _Unreadable, is_expired, parse_connect, read_connect
from numbering import mqtt_password

BASE = "cloudline/v1/devices"


@pytest.mark.parametrize(
    ("action", "topic", "expected"),
    [
        (READ, f"{BASE}/ana/push", True),
        (READ, f"{BASE}/ana/replies/+", True),
        (READ, f"{BASE}/ana/replies/r1", True),
        (READ, f"{BASE}/ana/replies/#", True),
        (WRITE, f"{BASE}/ana/requests/r1", True),
        (READ, f"{BASE}/ana/requests/r1", False),
        (WRITE, f"{BASE}/ana/push", False),
        (WRITE, f"{BASE}/ana/replies/r1", False),
        (WRITE, f"{BASE}/ana/requests/+", False),
        (WRITE, f"{BASE}/ana/requests/", False),
        (WRITE, f"{BASE}/ana/requests/a/b", False),
        (READ, f"{BASE}/ben/push", False),
        (READ, f"{BASE}/+/push", False),
        (READ, f"{BASE}/ana/#", False),
        (READ, f"{BASE}/ana/+", False),
        (READ, f"{BASE}/#", False),
        (READ, "#", False),
        (READ, "", False),
        (READ, "cloudline/v1/events/calls/acme", False),
        (READ, f"$share/g/{BASE}/ana/push", False),
    ],
)
def test_a_device_has_its_own_topics_and_no_other(action: str, topic: str, expected: bool) -> None:
    assert may("ana", action, topic) is expected


@given(st.text(max_size=80), st.sampled_from([READ, WRITE]))
def test_no_topic_of_another_is_granted(tail: str, action: str) -> None:
    assert not may("ana", action, f"{BASE}/ben/{tail}")
    assert not may("ana", action, tail)


@pytest.mark.parametrize("username", ["", "+", "#", "a/b", "ana/", "ana+"])
def test_a_user_name_that_means_something_in_a_topic_has_no_rights(username: str) -> None:
    assert not may(username, READ, f"{BASE}/{username}/push")


def test_a_client_id_names_its_user() -> None:
    assert client_id_fits("ana", "ana")
    assert client_id_fits("ana", "ana/tablet-2")
    assert not client_id_fits("ana", "ana2")
    assert not client_id_fits("ana", "ben")
    assert not client_id_fits("ana", "")
    assert not client_id_fits("ana", "ana/" + "x" * 200)


def test_files_for_mosquitto() -> None:
    hashed = mqtt_password.hashed("ana", "secret")
    text = mqtt_access.password_file(
        {"ben": mqtt_password.hashed("ben", "x"), "ana": hashed, "off": ""}, "cloudline", "server-secret"
    )
    lines = text.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["ana", "ben", "cloudline"]
    assert lines[0] == f"ana:{hashed}"
    assert "secret" not in text
    assert "user cloudline\ntopic readwrite cloudline/v1/#" in mqtt_access.acl_file("cloudline")


# -- passwords ----------------------------------------------------------------------------------------------------


def test_a_password_is_kept_as_a_hash_that_mosquitto_reads() -> None:
    stored = mqtt_password.hashed("ana", "secret")
    assert stored.startswith("$7$1000$")
    assert mqtt_password.is_hash(stored)
    assert mqtt_password.matches("secret", stored)
    assert not mqtt_password.matches("Secret", stored)
    assert mqtt_password.hashed("ana", "secret") == stored, "the same document again changes nothing"
    assert mqtt_password.hashed("ben", "secret") != stored
    assert mqtt_password.hashed("ben", stored) == stored, "a hash stays as it is"


def test_a_hash_of_mosquitto_passwd_is_understood() -> None:
    # mosquitto_passwd -b of version 2.0.11, password "secret"
    stored = "$7$101$m+TZ6rKfXI6Fuy4A$2rZbwkQze02cok6pR7OwqSvmQoozXd97B4Sbdb0tabFSa08dW1AUzsD6XwbQbgDWOvdc6Dd5n4JYGxQiDwDFHg=="
    assert mqtt_password.is_hash(stored)
    assert mqtt_password.matches("secret", stored)
    assert not mqtt_password.matches("another", stored)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "secret",
        "$6$abc$def",
        "$7$0$AAAA$BBBB",
        "$7$1000000$AAAA$BBBB",
        "$7$101$A$B",
        "$7$101$$",
        "$7$101$AA",
    ],
)
def test_what_is_no_hash_lets_nobody_in(text: str) -> None:
    assert not mqtt_password.is_hash(text)
    assert not mqtt_password.matches("", text)
    assert not mqtt_password.matches("secret", text)


# -- the door of the built-in broker ----------------------------------------------------------------------------------


def connect(
    client_id: str = "ana",
    user: str | None = "ana",
    password: str | None = "pw",
    will: str = "",
    level: int = 4,
) -> bytes:
    def text(value: str) -> bytes:
        data = value.encode()
        return len(data).to_bytes(2, "big") + data

    flags = 2 | (0x80 if user is not None else 0) | (0x40 if password is not None else 0) | (4 if will else 0)
    body = b"\x00\x04MQTT" + bytes((level, flags, 0, 60)) + text(client_id)
    if will:
        body += text(will) + text("gone")
    body += text(user) if user is not None else b""
    body += text(password) if password is not None else b""
    size, length = len(body), b""
    while True:
        size, digit = divmod(size, 128)
        length += bytes((digit | (0x80 if size else 0),))
        if not size:
            return b"\x10" + length + body


async def _read(data: bytes) -> bytes:
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    return await read_connect(reader)


@pytest.mark.parametrize("client_id", ["ana", "x" * 300])
def test_a_connect_is_read_and_nothing_behind_it(client_id: str) -> None:
    raw = connect(client_id, will="t")
    assert asyncio.run(_read(raw + b"more")) == raw
    assert parse_connect(raw) == Connect(4, client_id, "ana", "pw", "t")


def test_a_connect_without_credentials_has_none() -> None:
    assert parse_connect(connect(user=None, password=None)) == Connect(4, "ana", "", "")


def test_of_another_version_only_that_is_known() -> None:
    assert parse_connect(connect(level=5)) == Connect(5, "", "", "")


@given(st.binary(max_size=200))
def test_any_first_bytes_are_a_connect_or_none(data: bytes) -> None:
    with contextlib.suppress(_Unreadable, asyncio.IncompleteReadError):
        parse_connect(asyncio.run(_read(data)))


@given(st.integers(0, 60))
def test_a_connect_that_is_cut_short_is_none(cut: int) -> None:
    raw = connect(will="topic")
    body = raw[:2] + raw[2 : 2 + cut]
    if len(body) < len(raw):
        with pytest.raises((_Unreadable, asyncio.IncompleteReadError)):
            parse_connect(asyncio.run(_read(body)))


def test_a_connect_of_any_size_is_not_waited_for() -> None:
    with pytest.raises(_Unreadable, match="too long"):
        asyncio.run(_read(b"\x10\xff\xff\x7f"))
    with pytest.raises(_Unreadable, match="too long"):
        asyncio.run(_read(b"\x10\xff\xff\xff\xff\x7f"))
    with pytest.raises(_Unreadable, match="no CONNECT"):
        asyncio.run(_read(b"GET / HTTP/1.1\r\n"))


def test_what_says_when_it_expires_expires() -> None:
    assert is_expired(b'{"sent_at":100,"ttl_s":5}', 105.0)
    assert not is_expired(b'{"sent_at":100,"ttl_s":5}', 104.9)
    for payload in (b"", b"[]", b"{}", b'{"sent_at":"x","ttl_s":1}', b"\xff"):
        assert not is_expired(payload, 1e12)
