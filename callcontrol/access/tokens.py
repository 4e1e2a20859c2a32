"""Bearer tokens of the API (RFC 6750): what one is, how it is written, and whom it lets in.  Pure.

A token is ``cl_<id>_<secret>``.  The id names its row and may be shown; the secret is 256 random bits and is
shown once.  Kept is the SHA-256 of the whole text: a slow hash protects passwords, which can be guessed one
by one, and buys nothing against 2^256 words, while each request would pay for it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

_FORM: Final = re.compile(r"cl_([a-z2-7]{16})_([A-Za-z0-9_-]{43})")
_ID_BYTES: Final = 10
_SECRET_BYTES: Final = 32

OPERATOR_TOKEN: Final = "operator-file"
"""Id of the token in the operator's file, which is in no table: it opens the API before there is any other."""


class Scope(StrEnum):
    """Whose eyes and hands a token has."""

    OPERATOR = "operator"
    MANAGER = "manager"
    """Of one account: the account, its users, their devices and numbers."""
    USER = "user"
    DEVICE = "device"


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """One token as it is kept; instants are unix seconds."""

    id: str
    scope: Scope
    subject: str
    """Ref of the account (manager), user or device; empty for an operator."""
    digest: str = field(repr=False)
    account: str = ""
    """Account of the subject when it was made: whose manager sees it in lists."""
    label: str = ""
    created_at: float
    created_by: str
    expires_at: float = 0.0
    """0: never."""
    revoked_at: float = 0.0
    """From then on it opens nothing: now if it was revoked, later if it was rotated; 0: neither."""
    replaced_by: str = ""
    """Id of the token that it was rotated to."""
    last_used_at: float = 0.0
    """To the minute; 0: never."""

    def works(self, now: float) -> bool:
        """Neither expired nor revoked."""
        return (not self.expires_at or now < self.expires_at) and (
            not self.revoked_at or now < self.revoked_at
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who asks."""

    scope: Scope
    token: str
    """Id of the token."""
    account: str = ""
    """Account of a manager, user or device."""
    user: str = ""
    """A user's own ref, a device's user."""
    device: str = ""

    @property
    def actor(self) -> str:
        """How records of changes name it."""
        subject = self.device or self.user or self.account
        return f"{self.scope}:{subject}" if subject else str(self.scope)


def issue(entropy: Callable[[int], bytes]) -> tuple[str, str]:
    """A new token: its text, to be shown once, and its id."""
    token_id = base64.b32encode(entropy(_ID_BYTES)).decode("ascii").lower()
    secret = base64.urlsafe_b64encode(entropy(_SECRET_BYTES)).decode("ascii").rstrip("=")
    return f"cl_{token_id}_{secret}", token_id


def id_of(text: str) -> str:
    """The id that a token's text names; empty for what is no token of ours."""
    found = _FORM.fullmatch(text)
    return found[1] if found is not None else ""


def digest_of(text: str) -> str:
    """What is kept of a token."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def same(one: str, other: str) -> bool:
    """Whether two digests or texts are equal, in a time that does not tell where they differ."""
    return hmac.compare_digest(
        one.encode("utf-8", "surrogateescape"), other.encode("utf-8", "surrogateescape")
    )
