"""What the settings say that documents are judged by, besides the plans."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from config.settings import Settings
from numbering.countries import Countries
from numbering.models import CloudNumber, Flow, FlowAction, Greeting
from numbering.policy import COUNTRIES


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """See the module."""

    barred: tuple[str, ...] = ("premium", "shared_cost", "priced_short", "unknown_short")
    """Classes of numbers that nobody may call, and so none is forwarded to (OUT-04)."""
    voicemail: bool = False
    """There is a voicemail server."""
    announcements: bool = False
    """There is an announcement server."""
    countries: Countries = COUNTRIES
    """What numbers of each country can do (NUM-09)."""


STANDARD_TERMS: Final = Terms()


def terms_of(settings: Settings) -> Terms:
    return Terms(
        barred=tuple(settings.calls.barred_classes),
        voicemail=bool(settings.media.voicemail_uri),
        announcements=bool(settings.media.announcement_uri),
    )


def warnings_of(item: object, terms: Terms) -> tuple[str, ...]:
    """What an object asks for and the settings do not give yet; it is no mistake of the object."""
    found: list[str] = []
    if isinstance(item, CloudNumber) and item.voicemail and not terms.voicemail:
        found.append(_missing("voicemail", "voicemail", "voicemail_uri"))
    if isinstance(item, Greeting):
        for name, flow in (("flow", item.open), ("closed", item.closed), ("unanswered", item.unanswered)):
            found.extend(_flow_warning(name, flow, terms))
    return tuple(found)


def _flow_warning(name: str, flow: Flow, terms: Terms) -> list[str]:
    if flow.action is FlowAction.VOICEMAIL and not terms.voicemail:
        return [_missing(name, "voicemail", "voicemail_uri")]
    if flow.action is FlowAction.ANNOUNCE and not terms.announcements:
        return [_missing(name, "announcement", "announcement_uri")]
    return []


def _missing(key: str, what: str, setting: str) -> str:
    return f"{key}: there is no {what} server: callers are refused until media.{setting} names one"
