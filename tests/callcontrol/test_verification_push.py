"""What an app is told over MQTT of the verification of its SIM (DEV-01)."""

from __future__ import annotations

import json

import pytest

from callcontrol.phone_link import RESULT_S, PhoneLink
from config.sections import MqttSettings
from gateway.leases import Lease
from gateway.push import Outgoing
from numbering.directory import Directory

NOW = 1_800_000_000.0
LEASE = Lease(
    id="proof-1",
    kind="verification",
    sim="+33639980001",
    gateway="+33199000004",
    user="ana",
    device="ana-phone",
    created_at=NOW,
    expires_at=NOW + 60,
)


class Client:
    """Takes messages as the connection to the broker would."""

    def __init__(self) -> None:
        self.sent: list[Outgoing] = []

    def put(self, message: Outgoing) -> bool:
        self.sent.append(message)
        return True


@pytest.mark.rule("DEV-01")
@pytest.mark.parametrize(("state", "reason"), [("verified", ""), ("failed", "hidden_caller")])
def test_the_result_goes_to_the_device_that_asked(state: str, reason: str) -> None:
    link = PhoneLink(MqttSettings(), "node-1", "x", Directory(), lambda: NOW, lambda: 0.5, lambda n: b"0" * n)
    client = Client()
    link.client = client  # type: ignore[assignment]
    link.verified(LEASE, state, reason, NOW)
    (message,) = client.sent
    assert message.topic == "cloudline/v1/devices/ana-phone/push"
    assert message.expires_at == NOW + RESULT_S
    body = json.loads(message.payload)
    told = {"type": "verification", "verification": "proof-1", "state": state, "sim": "+33639980001"}
    assert body == {**told, **({"reason": reason} if reason else {}), "sent_at": NOW}
