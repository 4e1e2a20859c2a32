"""Making, rotating and revoking tokens, and telling at each request whom a token lets in.

What was read from the database is remembered until a token changes anywhere (`TokenCache` follows the
directory's revision), so an ordinary request costs no SQL, and known tokens go on working while the database
is away.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final, Protocol

from callcontrol.access.audit import AuditEntry, Author
from callcontrol.access.tokens import (
    OPERATOR_TOKEN,
    Principal,
    Scope,
    Token,
    digest_of,
    id_of,
    issue,
    same,
)
from numbering.directory import Directory

_REMEMBERED: Final = 10_000
_USE_STEP_S: Final = 60.0
"""The last use is known to the minute: writing it at each request would cost more than the request."""


class TokenStore(Protocol):
    """Where tokens are kept: `callcontrol.access.store.SqlTokenStore`."""

    async def get(self, token_id: str) -> Token | None: ...

    async def add(self, token: Token, entry: AuditEntry) -> None: ...

    async def rotate(self, token_id: str, new: Token, ends_at: float, entry: AuditEntry) -> bool: ...

    async def revoke(self, token_id: str, now: float, entry: AuditEntry) -> bool: ...

    async def mark_used(self, used: dict[str, float]) -> None: ...


class TokenCache:
    """Tokens that were asked for, also ids that there are none of; fits `numbering.cache.Follower`."""

    kinds = frozenset({"token"})

    def __init__(self) -> None:
        self._known: dict[str, Token | None] = {}
        self.generation = 0
        """Grows when everything is forgotten: what was read before must not be put in afterwards."""

    async def refresh(self, version: int) -> None:
        """A token has changed somewhere: forget all of them."""
        self.forget()

    def forget(self) -> None:
        self._known.clear()
        self.generation += 1

    def has(self, token_id: str) -> bool:
        return token_id in self._known

    def get(self, token_id: str) -> Token | None:
        return self._known.get(token_id)

    def put(self, token_id: str, token: Token | None, generation: int) -> None:
        if generation != self.generation:
            return
        if len(self._known) >= _REMEMBERED:
            self._known.pop(next(iter(self._known)))
        self._known[token_id] = token


class SubjectGone(Exception):
    """There is no such account, user or device; ``args[0]`` says which."""


class Tokens:
    """The tokens of the platform.  Methods that wait raise `config.database.DatabaseUnavailable`."""

    def __init__(
        self,
        store: TokenStore,
        cache: TokenCache,
        directory: Directory,
        *,
        operator_token: str,
        wall: Callable[[], float],
        entropy: Callable[[int], bytes],
    ) -> None:
        if not operator_token:
            raise ValueError("the operator's token must not be empty")
        self._store = store
        self._cache = cache
        self._directory = directory
        self._operator = digest_of(operator_token)
        self._wall = wall
        self._entropy = entropy
        self._used: dict[str, float] = {}

    def known(self, text: str) -> bool:
        """Whether a token can be judged without the database."""
        return same(digest_of(text), self._operator) or self._cache.has(id_of(text))

    async def principal(self, text: str) -> Principal | None:
        """Whom a token's text lets in; None for one that opens nothing."""
        digest = digest_of(text)
        if same(digest, self._operator):
            return Principal(scope=Scope.OPERATOR, token=OPERATOR_TOKEN)
        token_id = id_of(text)
        if not token_id:
            return None
        token = await self._find(token_id)
        now = self._wall()
        # A token that is not there is compared too: the answer takes as long.
        if not same(digest, token.digest if token is not None else "0" * 64) or token is None:
            return None
        if not token.works(now):
            return None
        found = self._whose(token)
        if found is not None and now - self._used.get(token_id, token.last_used_at) >= _USE_STEP_S:
            self._used[token_id] = now
        return found

    async def _find(self, token_id: str) -> Token | None:
        if self._cache.has(token_id):
            return self._cache.get(token_id)
        generation = self._cache.generation
        token = await self._store.get(token_id)
        self._cache.put(token_id, token, generation)
        return token

    def _whose(self, token: Token) -> Principal | None:
        """The principal of a token, as far as its subject is still there."""
        if token.scope is Scope.OPERATOR:
            return Principal(scope=token.scope, token=token.id)
        account, user, device = self._place(token.scope, token.subject)
        if not account:
            return None
        return Principal(scope=token.scope, token=token.id, account=account, user=user, device=device)

    def _place(self, scope: Scope, subject: str) -> tuple[str, str, str]:
        """Account, user and device of a subject; nothing where there is none."""
        device = self._directory.device(subject) if scope is Scope.DEVICE else None
        if scope is Scope.MANAGER:
            return (subject, "", "") if self._directory.account(subject) is not None else ("", "", "")
        user = self._directory.user(device.user if device is not None else subject)
        if user is None or (scope is Scope.DEVICE and device is None):
            return "", "", ""
        return user.account, user.ref, device.ref if device is not None else ""

    async def create(
        self, scope: Scope, subject: str, label: str, expires_at: float, author: Author
    ) -> tuple[Token, str]:
        """A new token and its text.  Raises `SubjectGone`."""
        account = "" if scope is Scope.OPERATOR else self._place(scope, subject)[0]
        if scope is not Scope.OPERATOR and not account:
            raise SubjectGone(f"there is no {'account' if scope is Scope.MANAGER else scope} {subject!r}")
        text, token_id = issue(self._entropy)
        now = self._wall()
        token = Token(
            id=token_id,
            scope=scope,
            subject=subject,
            digest=digest_of(text),
            account=account,
            label=label,
            created_at=now,
            created_by=author.actor,
            expires_at=expires_at,
        )
        await self._store.add(token, _entry(token, "create", author, now))
        self._cache.forget()
        return token, text

    async def rotate(self, old: Token, grace_s: float, author: Author) -> tuple[Token, str] | None:
        """A new token in place of one that works, which goes on working for ``grace_s`` seconds.

        None if the old one has been rotated or revoked meanwhile.
        """
        text, token_id = issue(self._entropy)
        now = self._wall()
        life = old.expires_at - old.created_at if old.expires_at else 0.0
        new = replace(
            old,
            id=token_id,
            digest=digest_of(text),
            created_at=now,
            created_by=author.actor,
            expires_at=now + life if life else 0.0,
            revoked_at=0.0,
            replaced_by="",
            last_used_at=0.0,
        )
        done = await self._store.rotate(old.id, new, now + grace_s, _entry(old, "rotate", author, now))
        self._cache.forget()
        return (new, text) if done else None

    async def revoke(self, token: Token, author: Author) -> bool:
        """End a token now; False if it had ended."""
        now = self._wall()
        done = await self._store.revoke(token.id, now, _entry(token, "revoke", author, now))
        self._cache.forget()
        return done

    async def write_uses(self) -> None:
        """Bring the last uses to the database; what cannot be written is tried again the next time."""
        used, self._used = self._used, {}
        if not used:
            return
        try:
            await self._store.mark_used(used)
        except Exception:
            self._used = {**used, **self._used}
            raise


def _entry(token: Token, action: str, author: Author, now: float) -> AuditEntry:
    detail = f"{token.scope} {token.subject}".strip()
    return AuditEntry(
        at=now,
        actor=author.actor,
        token=author.token,
        account=token.account,
        action=action,
        kind="token",
        key=token.id,
        detail=f"{detail}: {token.label}" if token.label else detail,
    )
