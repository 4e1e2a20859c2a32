"""Requests of devices over MQTT: read, bounded, handed to the service, answered on the topic of the reply (OUT-02).

The broker has made sure that a device writes to topics of its own only.  What it writes there is as little to be trusted as
anything else: JSON that is none, requests too long, too many or twice.  QoS 1 may deliver a request again; that is the same
request and gets the same reply.

State: replies of the last minutes and the rate of each device, in memory, bounded.
"""

from __future__ import annotations

import json
import logging
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Final

from callcontrol.phone_requests import BAD_REQUEST, Error, PhoneRequestHandler, Reply
from dialplan import reasons
from gateway.push import Outgoing, reply_topic, request_of

_log = logging.getLogger(__name__)

TOO_MANY_REQUESTS: Final = "too_many_requests"
REPLY_S: Final = 60.0
"""How long a reply is worth delivering; the phone has given up long before."""
REMEMBERED_S: Final = 300.0
"""How long a request that comes again is known."""
MAX_REMEMBERED: Final = 20_000
MAX_RATES: Final = 50_000
_ID: Final = re.compile(r"[A-Za-z0-9._:~-]{1,64}")
_MINUTE: Final = 60.0


class _Bucket:
    """Tokens of one device: one a request, refilled evenly, at most those of a minute."""

    __slots__ = ("at", "tokens")

    def __init__(self, tokens: float, at: float) -> None:
        self.tokens = tokens
        self.at = at


class _Answered:
    """A request that was seen."""

    __slots__ = ("at", "payload")

    def __init__(self, at: float) -> None:
        self.at = at
        self.payload = b""
        """The reply; empty while it is being made."""


class PhoneChannel:
    """The MQTT transport of `callcontrol.phone_requests`."""

    def __init__(
        self,
        handler: PhoneRequestHandler | None,
        send: Callable[[Outgoing], bool],
        is_known: Callable[[str], bool],
        wall: Callable[[], float],
        *,
        per_minute: int = 30,
        max_bytes: int = 4096,
    ) -> None:
        """``handler`` None: every request is told that the service is not there.  ``is_known``: device ref -> there
        is such a device."""
        self.handler = handler
        self._send = send
        self._is_known = is_known
        self._wall = wall
        self._per_minute = per_minute
        self._max_bytes = max_bytes
        self._seen: OrderedDict[tuple[str, str], _Answered] = OrderedDict()
        self._rates: OrderedDict[str, _Bucket] = OrderedDict()
        self.results: dict[str, int] = {}
        """Requests by what became of them: ``ok``, a code, ``repeated``, ``ignored``, ``dropped``."""

    def receive(self, topic: str, payload: bytes) -> None:
        """One message of the subscription to requests."""
        named = request_of(topic)
        if named is None or _ID.fullmatch(named[1]) is None or not self._is_known(named[0]):
            self._count("ignored")
            return
        device, request = named
        now = self._wall()
        self._forget(now)
        seen = self._seen.get((device, request))
        if seen is not None:
            self._count("repeated")
            if seen.payload:
                self._reply(device, request, seen.payload, now)
            return
        wait_s = self._rate(device, now)
        if wait_s > _MINUTE:
            self._count("dropped")  # it does not listen to what it is told: no more replies
            return
        if wait_s > 0:
            told = Error(
                code=TOO_MANY_REQUESTS,
                message="Too many requests; wait a little.",
                retry_after_s=max(1, round(wait_s)),
            )
            self._answer(device, request, None, told)
            return
        answered = self._seen[device, request] = _Answered(now)
        asked = self._read(payload)
        if isinstance(asked, Error):
            self._answer(device, request, answered, asked)
        elif self.handler is None:
            self._answer(
                device,
                request,
                answered,
                Error(code=reasons.UNAVAILABLE, message="This server takes no requests."),
            )
        else:
            self._ask(self.handler, device, request, answered, asked, now)

    def _ask(
        self,
        handler: PhoneRequestHandler,
        device: str,
        request: str,
        answered: _Answered,
        asked: Mapping[str, object],
        now: float,
    ) -> None:
        try:
            handler.handle(device, asked, now, lambda reply: self._answer(device, request, answered, reply))
        except Exception:  # noqa: BLE001 - logged; the next request must not suffer from this one
            _log.exception("a request of device %s failed", device)
            self._answer(
                device,
                request,
                answered,
                Error(code=reasons.UNAVAILABLE, message="The request could not be served.", retry_after_s=5),
            )

    def _read(self, payload: bytes) -> Mapping[str, object] | Error:
        if len(payload) > self._max_bytes:
            return Error(code=BAD_REQUEST, message=f"A request has at most {self._max_bytes} bytes.")
        try:
            asked = json.loads(payload)
        except (ValueError, RecursionError):
            return Error(code=BAD_REQUEST, message="The request is not JSON.")
        if not isinstance(asked, dict) or not isinstance(asked.get("type"), str):
            return Error(code=BAD_REQUEST, message='The request is no object with a "type".')
        return asked

    def _answer(self, device: str, request: str, answered: _Answered | None, reply: Reply) -> None:
        if answered is not None and answered.payload:
            return
        self._count(reply.code if isinstance(reply, Error) else "ok")
        payload = json.dumps(reply.as_json(), separators=(",", ":")).encode()
        if answered is not None:
            answered.payload = payload
        self._reply(device, request, payload, self._wall())

    def _reply(self, device: str, request: str, payload: bytes, now: float) -> None:
        topic = reply_topic(device, request)
        self._send(Outgoing(topic=topic, payload=payload, expires_at=now + REPLY_S, kind="reply"))

    def _rate(self, device: str, now: float) -> float:
        """Take a token; how long to wait for one, seconds: 0 if there was one, more than a minute for who goes on and on."""
        most = float(self._per_minute)
        bucket = self._rates.get(device)
        if bucket is None:
            if len(self._rates) >= MAX_RATES:
                self._rates.popitem(last=False)
            bucket = self._rates[device] = _Bucket(most, now)
        per_second = most / _MINUTE
        bucket.tokens = min(most, bucket.tokens + max(now - bucket.at, 0.0) * per_second)
        bucket.at = now
        self._rates.move_to_end(device)
        bucket.tokens = max(bucket.tokens - 1.0, -most - 1.0)
        return 0.0 if bucket.tokens >= 0 else -bucket.tokens / per_second

    def _forget(self, now: float) -> None:
        while self._seen:
            key, seen = next(iter(self._seen.items()))
            if now - seen.at <= REMEMBERED_S and len(self._seen) < MAX_REMEMBERED:
                return
            del self._seen[key]

    def _count(self, what: str) -> None:
        self.results[what] = self.results.get(what, 0) + 1
