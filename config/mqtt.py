"""Settings of the MQTT broker that pushes, requests and events go over."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from config.parts import Count, HostPort, Seconds, Section

EMBEDDED = "embedded"
"""``mqtt.url`` of the built-in broker."""


class MqttSettings(Section):
    url: str = Field(default="", repr=False)
    username: str = Field(default="cloudline", pattern=r"^[A-Za-z0-9._-]{1,64}$")
    password: str = Field(default="", repr=False)
    ca: str = ""
    protocol: Literal["5", "3.1.1"] = "5"
    listen: HostPort = "127.0.0.1:1883"
    keepalive_seconds: Annotated[int, Field(ge=2, le=3600)] = 30
    connect_seconds: Seconds = 3.0
    max_backoff_seconds: Seconds = 10.0
    queue: Count = 1000
    send_seconds: Seconds = 2.0
    missed_call_seconds: Seconds = 86400.0
    requests_per_minute: Count = 30
    request_bytes: Annotated[int, Field(ge=256, le=65535)] = 4096
    events: bool = True

    @field_validator("url")
    @classmethod
    def _known(cls, value: str) -> str:
        if value in ("", EMBEDDED):
            return value
        parts = urlsplit(value)
        if parts.scheme not in {"mqtt", "mqtts"} or not parts.hostname:
            raise ValueError(f'write mqtt://host:port, mqtts://host:port or "{EMBEDDED}"')
        try:
            parts.port  # noqa: B018 - reading it is the check
        except ValueError:
            raise ValueError("the port is no number up to 65535") from None
        if parts.path.strip("/") or parts.query or parts.fragment:
            raise ValueError("only host, port, user and password belong into mqtt.url")
        return value
