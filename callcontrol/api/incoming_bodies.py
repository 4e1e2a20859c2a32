"""Bodies of requests about calls that come in; the same shapes as in documents (`callcontrol.api.bodies`)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

REF_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
Ref = Annotated[str, Field(pattern=REF_PATTERN, examples=["ana"])]
Number = Annotated[str, Field(min_length=4, max_length=32, examples=["+33639981001"])]
Caller = Annotated[str, Field(min_length=1, max_length=64, examples=["+33639989999"])]
"""A number, a beginning ``+3316*``, a class ``class:premium``, or ``anonymous``."""
Callers = Annotated[list[Caller], Field(max_length=1000)]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
Days = Annotated[list[Day], Field(min_length=1, max_length=7)]
TimeOfDay = Annotated[str, Field(pattern=r"^([01][0-9]|2[0-4]):[0-5][0-9]$", examples=["08:30"])]
Zone = Annotated[str, Field(min_length=1, max_length=64, examples=["Europe/Paris"])]
Calendars = Annotated[list[Annotated[str, Field(max_length=16, examples=["FR"])]], Field(max_length=20)]
Cause = Literal["no_answer", "busy", "declined", "unreachable"]
Seconds = Annotated[float, Field(ge=0, le=600, strict=False)]


class Part(BaseModel):
    """A part of a body."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Whole(Part):
    """A body."""

    def given(self) -> dict[str, Any]:
        """What was written, and nothing else."""
        return self.model_dump(exclude_unset=True, mode="json", by_alias=True)


class Slot(Part):
    """A time of the week: half-open, and over midnight when ``to`` is not after ``from``."""

    days: Days
    from_: Annotated[TimeOfDay, Field(alias="from")]
    to: TimeOfDay


class NumberSlot(Slot):
    """A time of the week in which a number is on."""

    zone: Zone | None = None
    """Null: that of the number's country.  The same for all slots of a number."""


class SpecialDay(Part):
    """Hours of one date, or that it is closed."""

    date: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\d$", examples=["2026-12-24"])]
    from_: Annotated[TimeOfDay | None, Field(alias="from")] = None
    to: TimeOfDay | None = None
    closed: bool | None = None
    name: Annotated[str, Field(max_length=100)] | None = None


SpecialDays = Annotated[list[SpecialDay], Field(max_length=400)]


class Forward(Part):
    """Where calls to a number go; null puts a field back to its default."""

    mode: Literal["off", "all", "missed"] | None = None
    to: Annotated[str, Field(max_length=64, examples=["+33199001234"])] | None = None
    causes: Annotated[list[Cause], Field(min_length=1, max_length=4)] | None = None


class NewForward(Whole):
    """Where calls to a number go instead of to its holder."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"mode": "missed", "to": "+33199001234", "causes": ["no_answer"]}]}
    )

    mode: Literal["off", "all", "missed"]
    to: Annotated[str, Field(max_length=64)] | None = None
    causes: Annotated[list[Cause], Field(min_length=1, max_length=4)] | None = None


class NewHours(Whole):
    """When a number is on."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "zone": "Europe/Paris",
                    "slots": [{"days": ["mon", "fri"], "from": "08:30", "to": "19:00"}],
                    "holidays": ["FR"],
                }
            ]
        }
    )

    zone: Zone | None = None
    """Null: that of the number's country."""
    slots: Annotated[list[Slot], Field(min_length=1, max_length=100)]
    holidays: Calendars | None = None
    special: SpecialDays | None = None


class NewBlock(Whole):
    """A caller who is refused from now on."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"caller": "+33639989999"}]})

    caller: Caller
    spam: bool | None = None
    """It goes onto the list of spam instead."""


class Member(Part):
    """A user for whom a Greeting hunts."""

    user: Ref
    priority: Annotated[int, Field(ge=1, le=1000)] | None = None
    ring_seconds: Seconds | None = None


class FlowBody(Part):
    """What a Greeting does in one situation."""

    action: Literal["hunt", "forward", "voicemail", "announce", "refuse"]
    to: Annotated[str, Field(max_length=64)] | None = None
    """Of ``forward``: a number; of ``announce``: the name of an announcement."""


class GreetingChange(Whole):
    """Fields of a Greeting; null puts one back to its default."""

    strategy: Literal["cascade", "simultaneous", "round_robin", "longest_idle", "priority"] | None = None
    members: Annotated[list[Ref | Member], Field(max_length=1000)] | None = None
    ring_seconds: Annotated[float, Field(ge=1, le=600, strict=False)] | None = None
    repeat: Annotated[int, Field(ge=0, le=100)] | None = None
    limit_seconds: Annotated[float, Field(ge=0, le=3600, strict=False)] | None = None
    zone: Zone | None = None
    open: Annotated[list[Slot], Field(max_length=100)] | None = None
    holidays: Calendars | None = None
    special: SpecialDays | None = None
    flow: FlowBody | None = None
    closed: FlowBody | None = None
    unanswered: FlowBody | None = None
    block: Callers | None = None
    spam: Callers | None = None


class GreetingBody(GreetingChange):
    """A whole Greeting: what is not written is as by default."""

    account: Ref


class NewGreeting(GreetingBody):
    """A company number whose calls hunt over members."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "number": "+33639987000",
                    "account": "acme",
                    "members": ["ana", {"user": "ben", "ring_seconds": 15}],
                    "ring_seconds": 20,
                }
            ]
        }
    )

    number: Number
