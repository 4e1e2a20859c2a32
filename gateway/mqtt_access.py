"""Who may do what at the MQTT broker: one set of rules, for the built-in broker and as files for Mosquitto.

A device reads its pushes and the replies to its own requests, and writes its own requests; nothing else, and nothing of
another.  Its user name is its ref, which holds no character that means something in a topic.  The server may do everything
below its prefix.  Values in, values out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from gateway.push import PREFIX
from numbering import mqtt_password

READ: Final = "read"
WRITE: Final = "write"

_SAFE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_DEVICE: Final = f"{PREFIX}/devices"
_SHARE: Final = "$share/"

PASSWORD_FILE: Final = "cloudline.passwd"
ACL_FILE: Final = "cloudline.acl"
CONF_FILE: Final = "cloudline.conf"


def may(device: str, action: str, topic: str) -> bool:
    """Whether a device may publish to a topic, or subscribe to a filter and be sent what matches it.

    A filter with a wildcard is granted only where everything that it can match is the device's own.
    """
    parts = topic.split("/")
    if (
        _SAFE.fullmatch(device) is None
        or "/".join(parts[:3]) != _DEVICE
        or len(parts) < 5
        or parts[3] != device
    ):
        return False
    if action == WRITE:
        return len(parts) == 6 and parts[4] == "requests" and bool(parts[5]) and not _wild(parts[5])
    if parts[4:] == ["push"]:
        return True
    return (
        parts[4] == "replies"
        and len(parts) == 6
        and bool(parts[5])
        and (parts[5] in "+#" or not _wild(parts[5]))
    )


def _wild(level: str) -> bool:
    return "+" in level or "#" in level


def client_id_fits(username: str, client_id: str) -> bool:
    """A session belongs to a client id: a device may use its ref, alone or followed by a slash and what it likes.

    Otherwise a device could take over the session, and the waiting pushes, of another one.
    """
    return client_id == username or (client_id.startswith(f"{username}/") and len(client_id) <= 128)


def server_may(topic: str) -> bool:
    """Whether the server's own user may read or write a topic or filter."""
    return topic.startswith((f"{PREFIX}/", f"{_SHARE}cloudline/{PREFIX}/"))


def password_file(devices: Mapping[str, str], server: str, password: str, further: Iterable[str] = ()) -> str:
    """``password_file`` of Mosquitto: device ref -> hash, and the server's user with its password.

    A device that is called like the server has no access: it would have the server's rights.

    ``further``: lines that are kept as they are, of users that an operator has added.
    """
    lines = [
        f"{ref}:{stored}"
        for ref, stored in sorted(devices.items())
        if ref != server and mqtt_password.is_hash(stored)
    ]
    if password:
        lines.append(f"{server}:{mqtt_password.hashed(server, password)}")
    return "\n".join([*lines, *further]) + "\n"


def acl_file(server: str) -> str:
    """``acl_file`` of Mosquitto.  The same rules as `may`; it does not depend on which devices there are."""
    return f"""\
# The server: pushes, replies, requests, events.
user {server}
topic readwrite {PREFIX}/#

# A device (%u is its user name): its own pushes and replies, its own requests.
pattern read {_DEVICE}/%u/push
pattern read {_DEVICE}/%u/replies/+
pattern write {_DEVICE}/%u/requests/+
"""


def conf_file(folder: Path) -> str:
    """What belongs into ``mosquitto.conf`` beside listeners and certificates; the other files are in ``folder``."""
    return f"""\
per_listener_settings false
allow_anonymous false
password_file {folder / PASSWORD_FILE}
acl_file {folder / ACL_FILE}
# Pushes wait for a device that is away; each has its own time to live.
persistent_client_expiration 14d
max_queued_messages 100
max_packet_size 65536
"""
