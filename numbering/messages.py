"""Messages to lines: who carries them, and when one that was not taken is tried again (NUM-10, NUM-11).

What a line is asked or told goes through an outbox in the database, written with the change itself (`numbering.portdesk`).
Who carries it is a `MessageSender`.  Without one people see what waits (``cloudline number messages``), send it, and say so.
The node that has the duty of numbers (`numbering.clockwork`) lets the sender carry what is due, one message after the other.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from config.database import DatabaseUnavailable
from numbering.inventory import NumberInventory
from numbering.message import Message
from numbering.refusal import Refused
from numbering.store_inventory import InventoryStore

_log = logging.getLogger(__name__)

ACTOR: Final = "sender"
MAX_FAILURE: Final = 200
"""Characters of a failure that are kept."""


class Outcome(StrEnum):
    """What became of handing a message over."""

    TAKEN = "taken"
    FAILED = "failed"
    """Not now: it is tried again."""
    REFUSED = "refused"
    """Never: whoever carries messages does not want this one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Handover:
    """The answer of a sender."""

    outcome: Outcome
    why: str = ""
    """In words, when it was not taken; never a secret, nor the text of the message."""
    retry_after_s: float = 0.0
    """The sender's own wish when to be asked again; 0: none."""


class MessageSender(Protocol):
    """Carries short messages to lines."""

    async def send(self, message: Message, key: str) -> Handover:
        """Hand a message over.  ``key`` names it among all: the same message again, also from another node, has the
        same one, so that whoever carries it can tell a repetition.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """When a message that was not taken is tried again; seconds."""

    first_s: float = 30.0
    most_s: float = 3600.0
    attempts: int = 20
    """After so many it waits for people; 0: it is tried for ever."""


def retry_in(policy: RetryPolicy, attempts: int, asked_s: float = 0.0) -> float:
    """Seconds until the next try after ``attempts`` that failed: twice as long each time, up to the most.

    ``asked_s``: what the sender has asked for; it is heard up to the most.
    """
    backoff = policy.first_s * 2.0 ** min(attempts - 1, 30)
    return min(max(backoff, asked_s), policy.most_s)


def message_key(message: Message) -> str:
    """Key of a message: the same on every node and in every try, and nobody else's."""
    named = f"{message.id} {message.e164} {message.kind} {message.created_at:.6f}"
    return hashlib.sha256(named.encode()).hexdigest()[:32]


class Courier:
    """Lets a sender carry what is due while this node has the duty.

    ``handed`` (by outcome) is for metrics.
    """

    def __init__(
        self,
        store: InventoryStore,
        inventory: NumberInventory,
        sender: MessageSender,
        policy: RetryPolicy,
        *,
        clock: Callable[[], float],
        on_duty: Callable[[], bool],
        pause_s: float,
        batch: int = 20,
    ) -> None:
        self._store = store
        self._inventory = inventory
        self._sender = sender
        self._policy = policy
        self._clock = clock
        self._on_duty = on_duty
        self._pause_s = pause_s
        self._batch = batch
        self.handed: dict[str, int] = dict.fromkeys((each.value for each in Outcome), 0)

    async def round(self) -> int:
        """Hand over what is due now; how many messages were taken.  Raises `DatabaseUnavailable`.

        A node that loses the duty in the middle may hand over what another one hands over too; both use the same key.
        """
        if not self._on_duty():
            return 0
        async with self._store.look() as look:
            due = await look.due_messages(self._clock(), self._batch)
        taken = 0
        for message in due:
            if not self._on_duty():
                break
            taken += await self._hand_over(message)
        return taken

    async def _hand_over(self, message: Message) -> bool:
        answer = await self._sender.send(message, message_key(message))
        self.handed[answer.outcome.value] += 1
        try:
            if answer.outcome is Outcome.TAKEN:
                await self._inventory.ports.sent(message.id, actor=ACTOR)
                return True
            await self._failed(message, answer)
        except Refused as refusal:
            # its port ended while it was under way: nobody waits for an answer any more
            _log.info("message %d to a line: %s", message.id, refusal.fault.value)
        return False

    async def _failed(self, message: Message, answer: Handover) -> None:
        attempts = message.attempts + 1
        given_up = answer.outcome is Outcome.REFUSED or 0 < self._policy.attempts <= attempts
        wait_s = retry_in(self._policy, attempts, answer.retry_after_s)
        async with self._store.work() as work:
            await work.message_failed(
                message.id,
                attempts=attempts,
                next_at=self._clock() + wait_s,
                failure=answer.why[:MAX_FAILURE],
                given_up=given_up,
            )
        words = "waits for people" if given_up else f"again in {wait_s:.0f} s"
        level = logging.WARNING if given_up or attempts == 1 else logging.INFO
        _log.log(level, "message %d (%s) was not taken: %s; %s", message.id, message.kind, answer.why, words)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(self._pause_s)
            try:
                await self.round()
            except DatabaseUnavailable as error:
                _log.debug("messages to lines: the database is away: %s", error)
