"""Numbers that come to us and leave us, as a service (NUM-10, NUM-11); a part of `numbering.inventory`.

What a line is asked or told goes through an outbox in the database, written with the change itself; `numbering.messages`
tells who carries it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING, Final

from config.sections import NumberSettings
from numbering import lifecycle, porting
from numbering.countries import HOUR_S, local_day, port_moment, portable_until
from numbering.lifecycle import HELD, Cause
from numbering.message import Message
from numbering.models import AccountKind, CloudNumber, NumberState
from numbering.porting import IN, OUT, Port, PortState
from numbering.refusal import Fault, Refused
from numbering.rio import REFERENCE, Rio, make_rio, read_rio
from numbering.store_inventory import InventoryStore, Look, Work

if TYPE_CHECKING:
    from numbering.inventory import NumberInventory

CONFIRMATION: Final = "port_confirmation"
RIO: Final = "rio"

# Thirty-two signs that nobody mistakes for another.
_SIGNS: Final = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"


class PortDesk:
    """See the module."""

    def __init__(
        self,
        inventory: NumberInventory,
        store: InventoryStore,
        settings: NumberSettings,
        token: Callable[[int], str],
    ) -> None:
        self._inventory = inventory
        self._store = store
        self._settings = settings
        self._token = token

    # -- reading ----------------------------------------------------------------------------------------------

    async def get(self, port: str) -> Port:
        async with self._store.look() as look:
            return await self._known(look, port)

    async def list(
        self,
        *,
        number: str = "",
        direction: str = "",
        only_open: bool = False,
        after: str = "",
        limit: int = 100,
    ) -> Sequence[Port]:
        """Ports, the oldest first."""
        e164 = self._inventory.read(number) if number else ""
        async with self._store.look() as look:
            return await look.ports(
                e164=e164, direction=direction, only_open=only_open, after=after, limit=limit
            )

    @staticmethod
    async def leaving(look: Look, e164: str) -> bool:
        """Whether a number has a date to leave us."""
        return bool(await look.ports(e164=e164, direction=OUT, only_open=True, limit=1))

    @staticmethod
    async def _known(look: Look, ref: str, version: int = 0) -> Port:
        port = await look.port(ref)
        if port is None:
            raise Refused(Fault.UNKNOWN_PORT, f"there is no port {ref!r}")
        if version and version != port.version:
            raise Refused(Fault.STALE, f"port {ref} has been changed since: version {port.version}")
        return port

    # -- numbers that come ------------------------------------------------------------------------------------

    async def request(
        self,
        number: str,
        user: str,
        rio: str,
        wished: date,
        *,
        actor: str,
        reason: str = "port-in requested",
        for_greeting: bool = False,
    ) -> Port:
        """Ask for a number of another operator; the line is sent a question."""
        e164 = self._inventory.read(number)
        cause = self._inventory.cause(actor, reason)
        if for_greeting:
            raise Refused(Fault.NOT_PORTABLE, f"{e164}: a Greeting number cannot be ported in")
        rules = self._inventory.rules_of(e164)
        port_in = porting.rules_for(rules, e164)
        code = read_rio(rio, e164)
        port_at = porting.check_date(rules, port_in, wished, cause.at)
        async with self._store.work() as work:
            known = await work.number(e164)
            if await work.ports(e164=e164, only_open=True, limit=1):
                raise Refused(Fault.PORTING, f"{e164} is being ported already")
            if known is not None and known.state is not NumberState.PORTED_OUT:
                raise Refused(Fault.HELD, f"{e164} is one of our numbers already")
            await self._inventory.holder(work, user)
            port = Port(
                id=f"{int(cause.at * 1000):012x}{self._token(4)}",
                direction=IN,
                e164=e164,
                user=user,
                state=PortState.REQUESTED,
                rio=str(code),
                port_at=port_at,
                requested_at=cause.at,
                had_left=known is not None,
            )
            moved = lifecycle.request_port_in(known, e164, self._inventory.category_of(e164), user, cause)
            await self._inventory.put(work, known, moved)
            await work.add_port(port)
            question = port_in.question.format(
                company=self._settings.company, number=e164, date=local_day(rules, port_at).isoformat()
            )
            await work.add_message(
                Message(e164=e164, kind=CONFIRMATION, body=question, port=port.id, created_at=cause.at)
            )
        return port

    async def asked_about(self, number: str) -> Port | None:
        """The port whose line was, or is about to be, asked by us; None: there is none."""
        async with self._store.look() as look:
            ports = await look.ports(e164=self._inventory.read(number), direction=IN, only_open=True, limit=1)
        return ports[0] if ports else None

    async def reply(self, number: str, text: str, *, actor: str) -> Port | None:
        """What a line answered to our question; None when it has no question, or its words say neither."""
        e164 = self._inventory.read(number)
        rules = self._inventory.rules_of(e164)
        answer = None if rules.port_in is None else porting.read_reply(text, rules.port_in)
        port = await self.asked_about(e164)
        if port is None or answer is None:
            return None
        if answer and port.state in (PortState.CONFIRMED, PortState.SCHEDULED):
            return port  # it said so before: carriers deliver a message twice
        if answer:
            return await self.confirm(port.id, actor=actor, reason="the line replied yes")
        return await self.cancel(port.id, actor=actor, why=porting.DECLINED, reason="the line replied no")

    async def confirm(
        self, port: str, *, actor: str, reason: str = "confirmed by the line", version: int = 0
    ) -> Port:
        """The line wants to move."""
        cause = self._inventory.cause(actor, reason)
        async with self._store.work() as work:
            known = await self._of_direction(work, port, IN, version)
            if porting.timed_ending(known, cause.at) is not None:
                raise Refused(Fault.TOO_LATE, f"port {port}: the time to confirm is over")
            return await self._step(
                work, known, porting.moved(known, PortState.CONFIRMED, confirm_by=0.0), cause
            )

    async def schedule(
        self,
        port: str,
        *,
        on: date | None = None,
        actor: str,
        reason: str = "agreed with the other operator",
        version: int = 0,
    ) -> Port:
        """The other operator has agreed to the date, or to another one."""
        cause = self._inventory.cause(actor, reason)
        async with self._store.work() as work:
            known = await self._of_direction(work, port, IN, version)
            rules = self._inventory.rules_of(known.e164)
            port_at = known.port_at
            if on is not None:
                port_at = port_moment(rules, porting.rules_for(rules, known.e164), on)
            if port_at <= cause.at:
                raise Refused(Fault.TOO_EARLY, f"port {port}: {local_day(rules, port_at)} is past")
            return await self._step(
                work, known, porting.moved(known, PortState.SCHEDULED, port_at=port_at), cause
            )

    async def cancel(
        self,
        port: str,
        *,
        actor: str,
        why: str = porting.CHANGED_MIND,
        reason: str = "cancelled",
        version: int = 0,
    ) -> Port:
        """The number is not to pass after all; possible until 48 hours (a policy) before."""
        cause = self._inventory.cause(actor, reason)
        async with self._store.work() as work:
            known = await self._known(work, port, version)
            port_in = self._inventory.rules_of(known.e164).port_in
            hours = 0.0 if port_in is None else port_in.cancel_hours
            return await self._end(work, known, porting.cancelled(known, why, cause.at, hours), cause)

    async def refuse(
        self, port: str, why: str, *, actor: str, reason: str = "refused", version: int = 0
    ) -> Port:
        """The other operator refuses; ``why``: a word of `numbering.porting.REFUSALS`."""
        cause = self._inventory.cause(actor, reason)
        async with self._store.work() as work:
            known = await self._of_direction(work, port, IN, version)
            return await self._end(work, known, porting.refused(known, why), cause)

    async def complete(
        self, port: str, *, actor: str, reason: str = "the number has passed", version: int = 0
    ) -> Port:
        """The number has passed; the clock does this at the date, people may do it earlier."""
        cause = self._inventory.cause(actor, reason)
        async with self._store.work() as work:
            known = await self._known(work, port, version)
            return await self.finish(work, known, cause)

    # -- numbers that leave -----------------------------------------------------------------------------------

    async def out(
        self, number: str, rio: str, at: float, *, actor: str, reason: str = "port-out requested"
    ) -> Port:
        """Another operator has asked for a number of ours; it leaves at ``at`` (now or in the past: at once)."""
        cause = self._inventory.cause(actor, reason)
        async with self._store.work() as work:
            known = await self._inventory.known(work, number)
            if read_rio(rio, known.e164) != await self._rio(work, known, cause):
                raise Refused(Fault.RIO, f"the RIO is not that of {known.e164}")
            if await work.ports(e164=known.e164, only_open=True, limit=1):
                raise Refused(Fault.PORTING, f"{known.e164} is being ported already")
            port = Port(
                id=f"{int(cause.at * 1000):012x}{self._token(4)}",
                direction=OUT,
                e164=known.e164,
                user=known.user or known.kept_for,
                state=PortState.SCHEDULED,
                rio=rio.upper(),
                port_at=max(at, cause.at),
                requested_at=cause.at,
            )
            await work.add_port(port)
            await work.tell([lifecycle.event("port_out_scheduled", known, known, cause)])
            return port if port.port_at > cause.at else await self.finish(work, port, cause)

    async def come_back(self, number: str, *, actor: str, reason: str = "given up elsewhere") -> CloudNumber:
        """A number that had left us falls back to us, and rests in quarantine."""
        cause = self._inventory.cause(actor, reason)
        async with self._store.work() as work:
            known = await self._inventory.known(work, number)
            until = self._inventory.quarantine_until(known.e164, cause.at)
            moved = lifecycle.come_back(known, until, cause)
            await self._inventory.put(work, known, moved)
            return moved.kept

    async def rio(self, number: str, *, actor: str) -> Rio:
        """The RIO of one of our lines, also when it is suspended or has lately ended."""
        cause = self._inventory.cause(actor, "RIO asked for")
        async with self._store.work() as work:
            return await self._rio(work, await self._inventory.known(work, number), cause)

    async def tell_rio(self, number: str, *, actor: str) -> Rio:
        """Send the line its RIO, as who calls 3179 is told (NUM-11)."""
        cause = self._inventory.cause(actor, "RIO asked for")
        async with self._store.work() as work:
            known = await self._inventory.known(work, number)
            rio = await self._rio(work, known, cause)
            if await work.is_waiting(known.e164, RIO):
                return rio  # who asks again before it was sent does not get it twice
            body = f"{self._settings.company}: the RIO of {known.e164} is {rio}."
            await work.add_message(Message(e164=known.e164, kind=RIO, body=body, created_at=cause.at))
            await work.tell([lifecycle.event("rio_sent", known, known, cause)])
            return rio

    async def _rio(self, work: Work, number: CloudNumber, cause: Cause) -> Rio:
        rules = self._inventory.rules_of(number.e164)
        if number.state not in HELD:
            ended = number.state is NumberState.QUARANTINED and number.kept_for
            if not ended or cause.at > portable_until(rules, number.since):
                raise Refused(Fault.NO_RIO, f"{number.e164} is nobody's line, or has ended too long ago")
        reference = await work.rio_reference(number)
        if not reference:
            digits = int(self._token(8), 16)
            reference = "".join(_SIGNS[(digits >> (5 * place)) % len(_SIGNS)] for place in range(REFERENCE))
            await work.set_rio_reference(number, reference)
        user = await work.user(number.user or number.kept_for)
        account = await work.account(user.account) if user is not None else None
        enterprise = bool(number.kept_account) or (
            account is not None and account.kind is AccountKind.COMPANY
        )
        operator = self._settings.operator_code
        return make_rio(operator, reference, number.e164, enterprise=enterprise, rules=rules)

    # -- messages ---------------------------------------------------------------------------------------------

    async def messages(self, *, waiting: bool = True, limit: int = 100, after: int = 0) -> Sequence[Message]:
        """Messages to lines, the oldest first; ``after``: those behind the one of this id."""
        async with self._store.look() as look:
            return await look.messages(waiting=waiting, limit=limit, after=after)

    async def sent(self, message: int, *, actor: str, reason: str = "message sent") -> Message:
        """A message was sent: a port whose line was asked waits for the answer from now on."""
        cause = self._inventory.cause(actor, reason)
        async with self._store.work() as work:
            known = await work.message(message)
            if known is None:
                raise Refused(Fault.BAD_REQUEST, f"there is no message {message}")
            if known.sent_at:
                return known
            await work.message_sent(message, cause.at)
            port = await work.port(known.port) if known.port else None
            if port is not None and port.state is PortState.REQUESTED:
                rules = porting.rules_for(self._inventory.rules_of(port.e164), port.e164)
                after = porting.moved(
                    port, PortState.AWAITING_CONFIRMATION, confirm_by=cause.at + rules.confirm_hours * HOUR_S
                )
                await self._step(work, port, after, cause)
            return replace(known, sent_at=cause.at)

    async def resend(self, message: int) -> Message:
        """A message that no sender tries any more, or only later, is due at once, as if it were new."""
        async with self._store.work() as work:
            known = await work.message(message)
            if known is None:
                raise Refused(Fault.BAD_REQUEST, f"there is no message {message}")
            if known.sent_at:
                raise Refused(Fault.WRONG_STATE, f"message {message} was sent already")
            await work.message_failed(message, attempts=0, next_at=0.0, failure="", given_up=False)
            return replace(known, attempts=0, next_at=0.0, failure="", given_up=False)

    # -- steps ------------------------------------------------------------------------------------------------

    async def _of_direction(self, work: Work, ref: str, direction: str, version: int) -> Port:
        port = await self._known(work, ref, version)
        if port.direction != direction:
            raise Refused(Fault.WRONG_STATE, f"port {ref} is one of a number that leaves us")
        return port

    async def _step(self, work: Work, before: Port, after: Port, cause: Cause) -> Port:
        """A step of a port that leaves its number as it is."""
        await work.write_port(before, after)
        number = await work.number(before.e164)
        if number is not None:
            await work.tell([lifecycle.event(f"port_{after.state.value}", number, number, cause)])
        return after

    async def _end(self, work: Work, before: Port, after: Port, cause: Cause) -> Port:
        """A port ends without a port."""
        await work.write_port(before, after)
        await work.drop_messages(before.id)
        number = await work.number(before.e164)
        if number is not None and before.direction == IN:
            moved = lifecycle.abort_port_in(number, had_left=before.had_left, cause=cause)
            await self._inventory.put(work, number, moved)
        elif number is not None:
            await work.tell([lifecycle.event("port_out_cancelled", number, number, cause)])
        return after

    async def finish(self, work: Work, port: Port, cause: Cause) -> Port:
        """The number passes."""
        after = porting.moved(port, PortState.DONE)
        number = await work.number(port.e164)
        if number is None:
            raise Refused(Fault.UNKNOWN_NUMBER, f"{port.e164} is none of our numbers any more")
        await work.write_port(port, after)
        await work.drop_messages(port.id)
        if port.direction == OUT:
            await self._inventory.put(work, number, lifecycle.port_out(number, cause))
            return after
        if await work.user(port.user) is None:
            raise Refused(Fault.UNKNOWN_USER, f"there is no user {port.user!r} any more")
        await self._inventory.put(work, number, lifecycle.complete_port_in(number, port.user, 0.0, cause))
        return after

    async def fail(self, ref: str, cause: Cause) -> Port | None:
        """A port that cannot be done at its date ends, so that it is not tried for ever."""
        async with self._store.work() as work:
            port = await work.port(ref)
            if port is None or not port.is_open:
                return None
            return await self._end(work, port, porting.moved(port, PortState.REFUSED, porting.OTHER), cause)

    async def by_clock(self, work: Work, port: Port, cause: Cause) -> Port | None:
        """The port after what the clock does to it now; None: nothing."""
        ending = porting.timed_ending(port, cause.at)
        if ending is None:
            return None
        if ending.state is not PortState.DONE:
            return await self._end(work, port, porting.moved(port, ending.state, ending.reason), cause)
        if port.direction == IN and await work.user(port.user) is None:
            # The number has come, and whom it was for is gone: nobody may have it at once.
            return await self._end(work, port, porting.moved(port, PortState.REFUSED, porting.OTHER), cause)
        return await self.finish(work, port, cause)
