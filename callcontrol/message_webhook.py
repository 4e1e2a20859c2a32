"""Messages to lines over HTTP: each is posted to the address in the settings, which has it sent as an SMS (NUM-10, NUM-11).

The request is JSON, ``{"id", "to", "text", "kind", "port"}``, with ``Idempotency-Key`` (the ``id`` as well): a message that is
posted again, after a time-out or by another node, has the same one.  2xx: it was taken.  400, 413, 422: this message will never
be.  Anything else, and silence: again later, as ``Retry-After`` says where it does (RFC 9110 section 10.2.3).
"""

from __future__ import annotations

import asyncio
import http.client
import json
import ssl
from typing import Final
from urllib.parse import urlsplit

from callcontrol.version import VERSION
from config.messages import MessageSettings
from numbering.message import Message
from numbering.messages import Handover, Outcome

_REFUSED: Final = frozenset({400, 413, 422})


class WebhookSender:
    """`numbering.messages.MessageSender` that posts to an address.

    One request has a connection and a thread of its own: there are few, and the event loop, which carries calls, waits for none.
    """

    def __init__(self, settings: MessageSettings) -> None:
        """Raises ValueError when the settings name no address."""
        parts = urlsplit(settings.url)
        if not parts.hostname:
            raise ValueError("messages.url names no host")
        self._host = parts.hostname
        self._port = parts.port
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._context = ssl.create_default_context() if parts.scheme == "https" else None
        self._token = settings.token
        self._timeout_s = settings.timeout_seconds

    async def send(self, message: Message, key: str) -> Handover:
        try:
            # a server that sends its answer drop by drop is not waited for either
            async with asyncio.timeout(2 * self._timeout_s):
                return await asyncio.to_thread(self._post, message, key)
        except TimeoutError:
            return Handover(outcome=Outcome.FAILED, why="no answer in time")

    def _post(self, message: Message, key: str) -> Handover:
        body = json.dumps(
            {
                "id": key,
                "to": message.e164,
                "text": message.body,
                "kind": message.kind,
                "port": message.port or None,
            },
            ensure_ascii=False,
        ).encode()
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "Idempotency-Key": key,
            "User-Agent": f"Cloudline/{VERSION}",
            "Connection": "close",
        }
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        connection = self._connection()
        try:
            connection.request("POST", self._path, body, headers)
            answer = connection.getresponse()
            return _read(answer.status, answer.headers.get("Retry-After", ""))
        except TimeoutError:
            return Handover(outcome=Outcome.FAILED, why="no answer in time")
        except (OSError, http.client.HTTPException) as error:
            # of an answer that is no HTTP the first line is quoted by the error; nobody knows what stands in it
            why = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
            return Handover(outcome=Outcome.FAILED, why=f"no answer: {why}")
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        if self._context is None:
            return http.client.HTTPConnection(self._host, self._port, timeout=self._timeout_s)
        return http.client.HTTPSConnection(
            self._host, self._port, timeout=self._timeout_s, context=self._context
        )


def _read(status: int, retry_after: str) -> Handover:
    if 200 <= status < 300:
        return Handover(outcome=Outcome.TAKEN)
    outcome = Outcome.REFUSED if status in _REFUSED else Outcome.FAILED
    return Handover(outcome=outcome, why=f"HTTP status {status}", retry_after_s=_seconds(retry_after))


def _seconds(retry_after: str) -> float:
    """Seconds of a Retry-After; a date, which needs a clock that agrees with ours, is not heard."""
    text = retry_after.strip()
    return float(text) if text.isascii() and text.isdigit() and len(text) <= 6 else 0.0
