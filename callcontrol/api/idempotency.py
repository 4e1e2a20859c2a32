"""``Idempotency-Key``: a POST that is sent again gets the answer of the first time, and is not done again.

A key belongs to a token and to one request: with another path or body it is refused (422).  While the first
request runs, a second one gets 409.  Answers are kept in SQL for ``http.idempotency_seconds``, so that they
survive a restart and are the same on every node.  An answer that means "try again" (429, 5xx) is not kept.

What was done is answered as done, also when the database goes away before the answer is kept: it is kept as soon as the database
is back, and until then this node knows it.  When the node dies before it has answered, the key tells whether anything was written,
since that is noted in the transaction of the work: if not, the request is done anew; if so, its answer is lost (409), and it is
not done again.  Work that is in no database (a call that is asked for) is not noted, and done anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Final, Protocol

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response

from callcontrol.api.problems import Problem, problem_of, respond
from config.database import DatabaseUnavailable

HEADER: Final = "Idempotency-Key"
REPLAYED: Final = "Idempotency-Replayed"
MAX_KEY: Final = 255
RUNNING_S: Final = 60.0
"""A request without an answer counts as running for so long: then its node is taken for dead."""
MAX_LATER: Final = 10_000
"""Answers that may wait for a database that is away; beyond, the latest are not kept."""
_KEPT_HEADERS: Final = ("content-type", "etag", "location")
_AGAIN: Final = frozenset({401, 408, 413, 415, 429})


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What was answered to the first request with a key."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """An earlier request with the same key."""

    request: str
    """Hash of that request."""
    answer: Answer | None
    """None while it runs."""
    is_lost: bool = False
    """It does not run any more, has written something, and will never be answered."""


class Superseded(Exception):
    """A request took so long that its key was given to another one: it writes nothing any more."""


class AnswerStore(Protocol):
    """Where answers are kept; methods raise `config.database.DatabaseUnavailable`."""

    async def begin(
        self, token: str, key: str, request: str, now: float, running_s: float, kept_s: float
    ) -> Earlier | None:
        """Take a key for a request, atomically; the earlier request if the key is taken.

        A key whose answer is older than ``kept_s``, or whose request stopped running before it wrote anything, is free.
        """
        ...

    def running(self, token: str, key: str, started_at: float) -> AbstractContextManager[None]:
        """Within it, what this task writes is noted with the key in the same transaction.  ``started_at``: ``now`` of
        ``begin``.  Raises `Superseded` out of such a transaction, which writes nothing then."""
        ...

    async def finish(self, token: str, key: str, answer: Answer) -> None:
        """Keep the answer."""
        ...

    async def release(self, token: str, key: str) -> None:
        """Nothing is answered: the key is free again, unless something was written."""
        ...


class Idempotency:
    """Runs requests that carry a key once."""

    def __init__(self, store: AnswerStore, kept_s: float, wall: Callable[[], float]) -> None:
        self._store = store
        self._kept_s = kept_s
        self._wall = wall
        self._later: dict[tuple[str, str], Earlier] = {}
        """What the database has not taken yet, by token and key; without an answer: the key is to be free."""

    async def once(
        self,
        request: Request,
        token: str,
        run: Callable[[Request], Awaitable[Response]],
        *,
        secret: bool,
    ) -> Response:
        """The answer to a POST.  ``secret``: the answer shows what is not kept, so it cannot be shown again."""
        key = request.headers[HEADER]
        if not 0 < len(key) <= MAX_KEY or not key.isascii() or not key.isprintable():
            detail = f"Send at most {MAX_KEY} printable ASCII characters, a UUID for example."
            raise Problem(422, "invalid_idempotency_key", "The Idempotency-Key cannot be used", detail)
        digest = await _hash(request)
        await self.catch_up()
        waiting = self._later.get((token, key))
        if waiting is not None and waiting.answer is not None:
            return _replay(waiting, digest)
        now = self._wall()
        earlier = await self._store.begin(token, key, digest, now, RUNNING_S, self._kept_s)
        if earlier is not None:
            return _replay(earlier, digest)
        try:
            with self._store.running(token, key, now):
                answer = await run(request)
        except Superseded:
            raise _running() from None
        except RequestValidationError:
            await self._settle(token, key, Earlier(request=digest, answer=None))
            raise
        except Problem as error:
            if error.view.status in _AGAIN or error.view.status >= 500:
                await self._settle(token, key, Earlier(request=digest, answer=None))
                raise
            answer = respond(error)
        except BaseException as error:
            if isinstance(error, Exception) and problem_of(error) is not None:
                # nothing was written: the database was away
                await self._settle(token, key, Earlier(request=digest, answer=None))
            raise
        await self._settle(token, key, Earlier(request=digest, answer=_kept(answer, secret)))
        return answer

    async def _settle(self, token: str, key: str, outcome: Earlier) -> None:
        """Keep the answer, or free the key; later, if the database is away."""
        try:
            if outcome.answer is None:
                await self._store.release(token, key)
            else:
                await self._store.finish(token, key, outcome.answer)
        except DatabaseUnavailable:
            if len(self._later) < MAX_LATER:
                self._later[token, key] = outcome

    async def catch_up(self) -> None:
        """Bring what waits to the database; what it does not take goes on waiting."""
        for token, key in list(self._later):
            outcome = self._later.pop((token, key), None)
            if outcome is None:
                continue  # somebody else is at it
            await self._settle(token, key, outcome)
            if (token, key) in self._later:
                return


async def _hash(request: Request) -> str:
    found = hashlib.sha256()
    for part in (request.method.encode(), request.url.path.encode(), request.url.query.encode()):
        found.update(len(part).to_bytes(4, "big") + part)
    found.update(await request.body())
    return found.hexdigest()


def _kept(answer: Response, secret: bool) -> Answer:
    if secret and answer.status_code < 300:
        problem = Problem(
            409,
            "answer_not_kept",
            "It was done, and its answer held a secret that is not kept",
            "Revoke what was made, and ask again with another Idempotency-Key.",
        )
        answer = respond(problem)
    headers = {name: answer.headers[name] for name in _KEPT_HEADERS if name in answer.headers}
    return Answer(status=answer.status_code, headers=headers, body=bytes(answer.body))


def _replay(earlier: Earlier, digest: str) -> Response:
    if earlier.request != digest:
        title = "The Idempotency-Key was used for another request"
        raise Problem(422, "idempotency_mismatch", title, "Send a new key with a new request.")
    if earlier.is_lost:
        detail = "Look at what is there, and ask for what is missing with another Idempotency-Key."
        title = "It was done, at least in part, and its node died before it had answered"
        raise Problem(409, "answer_lost", title, detail)
    if earlier.answer is None:
        raise _running()
    answer = earlier.answer
    return Response(answer.body, answer.status, {**answer.headers, REPLAYED: "true"})


def _running() -> Problem:
    detail = "Wait a moment, then send it again with the same key."
    title = "The first request with this Idempotency-Key still runs"
    return Problem(409, "idempotency_running", title, detail, {"Retry-After": "1"})
