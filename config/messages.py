"""Settings of the sender of messages to lines (porting confirmations, RIO)."""

from __future__ import annotations

from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from config.parts import CountOrNone, Seconds, Section


class MessageSettings(Section):
    url: str = Field(default="", repr=False)
    token: str = Field(default="", repr=False, max_length=4096, pattern=r"^[!-~]*$")
    timeout_seconds: Seconds = 10.0
    retry_seconds: Seconds = 30.0
    retry_max_seconds: Seconds = 3600.0
    attempts: CountOrNone = 20

    @field_validator("url")
    @classmethod
    def _known(cls, value: str) -> str:
        if not value:
            return value
        parts = urlsplit(value)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("write https://host/path")
        try:
            parts.port  # noqa: B018 - reading it is the check
        except ValueError:
            raise ValueError("the port is no number up to 65535") from None
        if parts.username or parts.password or parts.fragment:
            raise ValueError("no user, password or fragment belongs into messages.url; use messages.token")
        if not value.isascii() or any(char <= " " for char in value):
            raise ValueError("a URL is written in ASCII, without spaces")
        return value

    @model_validator(mode="after")
    def _ordered(self) -> MessageSettings:
        if self.retry_seconds > self.retry_max_seconds:
            raise ValueError("retry_seconds must not exceed retry_max_seconds")
        return self
