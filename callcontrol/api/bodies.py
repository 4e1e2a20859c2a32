"""Bodies of requests: names and types of fields, as OpenAPI shows them.

What a value must mean (that a number can be read, a user exists, a plan allows it) is judged by the rules of
provisioning, the same as for documents; a test holds the fields and those of documents together.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from callcontrol.access.tokens import Scope
from callcontrol.api.incoming_bodies import REF_PATTERN as REF_PATTERN
from callcontrol.api.incoming_bodies import Calendars, Callers, Forward, NumberSlot, SpecialDays
from callcontrol.api.incoming_bodies import Number as Number
from callcontrol.api.incoming_bodies import Ref as Ref

RefOrNone = Annotated[str, Field(pattern=REF_PATTERN)] | None
Text = Annotated[str, Field(max_length=200)]
Secret = Annotated[
    str, Field(max_length=128, json_schema_extra={"writeOnly": True}, description="Never shown again.")
]


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    def given(self) -> dict[str, Any]:
        """What was written, and nothing else."""
        return self.model_dump(exclude_unset=True, mode="json", by_alias=True)


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
    call_waiting: bool | None = None
    """A Greeting rings the user also while the user talks."""
    block: Callers | None = None
    spam: Callers | None = None


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
    confirm: Literal["none"] | None = None
    """Whether a person has to accept a call to the SIM by pressing 1: that needs media that this version does not have."""


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


class NumberChange(Body):
    """Settings of a number; null puts one back to its default."""

    category: Literal["standard", "vip"] | None = None
    calls: bool | None = None
    voicemail: bool | None = None
    hide: bool | None = None
    ring_seconds: Annotated[float, Field(ge=0, le=600, strict=False)] | None = None
    gsm_fallback: bool | None = None
    block: Callers | None = None
    spam: Callers | None = None
    forward: Forward | None = None
    slot: Annotated[list[NumberSlot], Field(max_length=100)] | None = None
    """When the number is on; null: always."""
    holidays: Calendars | None = None
    special: SpecialDays | None = None


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
