"""Bodies of requests: names and types of fields, as OpenAPI shows them.

What a value must mean (that a number can be read, a user exists, a plan allows it) is judged by the rules of
provisioning, the same as for documents; a test holds the fields and those of documents together.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from callcontrol.access.tokens import Scope

REF_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
Ref = Annotated[str, Field(pattern=REF_PATTERN, examples=["ana"])]
RefOrNone = Annotated[str, Field(pattern=REF_PATTERN)] | None
Number = Annotated[str, Field(min_length=4, max_length=32, examples=["+33639981001"])]
Text = Annotated[str, Field(max_length=200)]
Secret = Annotated[
    str, Field(max_length=128, json_schema_extra={"writeOnly": True}, description="Never shown again.")
]


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    def given(self) -> dict[str, Any]:
        """What was written, and nothing else."""
        return self.model_dump(exclude_unset=True, mode="json")


class AccountChange(Body):
    """Fields of an account; null puts one back to its default."""

    kind: Literal["company", "consumer"] | None = None
    plan: RefOrNone = None
    manager: RefOrNone = None
    suspended: bool | None = None
    credit: Annotated[str, Field(max_length=24, examples=["12.50"])] | None = None
    packages: Annotated[list[Ref], Field(max_length=100)] | None = None


class NewAccount(AccountChange):
    """A company or a consumer."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"ref": "acme", "kind": "company", "plan": "advanced"}]}
    )

    ref: Ref


class UserChange(Body):
    """Fields of a user; null puts one back to its default."""

    account: Ref | None = None
    name: Text | None = None
    email: Annotated[str, Field(max_length=254)] | None = None
    default_number: Number | None = None
    suspended: bool | None = None
    contacts: Annotated[dict[str, Number], Field(max_length=1000)] | None = None
    """Number of a contact -> own number that calls to it are made with."""


class NewUser(UserChange):
    """A person of an account."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"ref": "ben", "account": "acme", "name": "Ben Example"}]}
    )

    ref: Ref
    account: Ref


class DeviceChange(Body):
    """Fields of a device; null puts one back to its default."""

    user: Ref | None = None
    kind: Literal["phone", "desktop", "browser"] | None = None
    sim: Number | None = None
    sim_verified: bool | None = None
    sip_username: RefOrNone = None
    sip_password: Secret | None = None
    mqtt_password: Secret | None = None
    answer: Literal["voip", "gsm"] | None = None


class NewDevice(DeviceChange):
    """A phone, a computer or a browser."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "ref": "ben-phone",
                    "user": "ben",
                    "kind": "phone",
                    "sim": "+33639980002",
                    "sip_username": "ben-phone",
                    "sip_password": "a long random word",
                }
            ]
        }
    )

    ref: Ref | None = None
    user: Ref


class Forward(Body):
    mode: Literal["off", "all", "missed"] | None = None
    to: Annotated[str, Field(max_length=64)] | None = None


class NumberChange(Body):
    """Settings of a number; null puts one back to its default."""

    category: Literal["standard", "vip"] | None = None
    calls: bool | None = None
    voicemail: bool | None = None
    hide: bool | None = None
    ring_seconds: Annotated[float, Field(ge=0, le=600, strict=False)] | None = None
    gsm_fallback: bool | None = None
    block: Annotated[list[Annotated[str, Field(max_length=32)]], Field(max_length=1000)] | None = None
    forward: Forward | None = None


class NewNumber(NumberChange):
    """A cloud number that a user holds from now on; without a user it comes into the stock."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"e164": "+33639981002", "user": "ben"}]})

    e164: Number
    user: Ref | None = None
    expires_at: Annotated[datetime, Field(strict=False)] | None = None
    """When the subscription ends; null: it does not."""


class NewToken(Body):
    """A token to be made."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"scope": "manager", "subject": "acme", "label": "the portal of Acme"}]
        }
    )

    scope: Annotated[Scope, Field(strict=False)]
    subject: Annotated[str, Field(max_length=64, pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]*)?$")] = ""
    """Ref of the account, user or device; empty for an operator."""
    label: Annotated[str, Field(max_length=100, pattern=r"^[^\x00-\x1f\x7f]*$")] = ""
    expires_at: Annotated[datetime, Field(strict=False)] | None = None
    """When it stops to work; null: never."""


class Rotation(Body):
    """How long the old token goes on working."""

    grace_seconds: Annotated[float, Field(ge=0, le=2_592_000, strict=False)] | None = None
    """Default: the setting http.token_grace_seconds."""
