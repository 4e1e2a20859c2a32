"""What is pushed to devices, on which topics, and the protocol of whoever delivers it (DEV-04).

``PushSink.put`` is synchronous and never waits: a call goes on whatever becomes of its pushes.  Values and text only; how they
travel is ``gateway.mqtt_client``.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from typing import Final, Protocol

PREFIX: Final = "cloudline/v1"
REQUESTS: Final = f"{PREFIX}/devices/+/requests/+"
"""Filter of all requests of all devices."""

_NAMESPACE: Final = uuid.uuid5(uuid.NAMESPACE_URL, "urn:cloudline:call")


def call_uuid(call_ref: str) -> str:
    """The UUID by which a phone's operating system knows a call: made from the call reference, so every node names the same."""
    return str(uuid.uuid5(_NAMESPACE, call_ref))


def push_topic(device: str) -> str:
    return f"{PREFIX}/devices/{device}/push"


def reply_topic(device: str, request: str) -> str:
    return f"{PREFIX}/devices/{device}/replies/{request}"


def request_of(topic: str) -> tuple[str, str] | None:
    """(device, id) of a topic of a request; None for any other topic."""
    parts = topic.split("/")
    if len(parts) != 6 or "/".join(parts[:3]) != f"{PREFIX}/devices" or parts[4] != "requests":
        return None
    return (parts[3], parts[5]) if parts[3] and parts[5] else None


@dataclass(frozen=True, slots=True, kw_only=True)
class DevicePush:
    """One push to one device."""

    device: str
    """Ref of the device."""
    type: str
    """``incoming_call``, ``call_ended``, ``missed_call``, ``callback``."""
    call: str
    """Call reference, the X-Cloudline-Call of the INVITE."""
    uuid: str
    number: str
    """Number that was called."""
    caller: str
    """As privacy allows: E.164, a user name, or ``anonymous``."""
    reason: str = ""
    """Of ``call_ended``: ``answered_elsewhere``, ``missed``, ``cancelled``."""
    sent_at: float
    """Unix seconds."""
    ttl_s: float
    """How long it is worth anything: the remaining ring time of an ``incoming_call``."""

    def payload(self) -> bytes:
        """The JSON of ``docs/push.md``."""
        body: dict[str, object] = {"type": self.type, "call": self.call, "uuid": self.uuid}
        if self.reason:
            body["reason"] = self.reason
        body |= {"number": self.number, "caller": self.caller}
        body |= {"sent_at": round(self.sent_at, 3), "ttl_s": round(self.ttl_s, 3)}
        return json.dumps(body, separators=(",", ":")).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """One message to the broker."""

    topic: str
    payload: bytes
    expires_at: float
    """Unix seconds when it is worth nothing any more."""
    kind: str
    """``push``, ``reply`` or ``event``: for the counters, and for who has to wait."""


class PushSink(Protocol):
    """Takes pushes to devices."""

    def put(self, push: DevicePush, now: float) -> bool:
        """Have it delivered; never waits.  False: it has failed already (no broker, queue full)."""
        ...


class MemoryPushes:
    """Keeps what it is given: for the simulator and for tests; with ``up`` off, a broker that is away."""

    def __init__(self) -> None:
        self.pushes: list[DevicePush] = []
        self.up = True
        self.failed = 0

    def put(self, push: DevicePush, now: float) -> bool:
        if not self.up:
            self.failed += 1
            return False
        self.pushes.append(push)
        return True

    def to(self, device: str) -> list[DevicePush]:
        return [push for push in self.pushes if push.device == device]
