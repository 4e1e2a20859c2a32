"""Messages to lines, and what lines answer (NUM-10, NUM-11).  For operators, and for the gateway that carries messages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import FastAPI, Query
from pydantic import ConfigDict, Field

from callcontrol.api.bodies import Body
from callcontrol.api.changing import note
from callcontrol.api.door import Who
from callcontrol.api.life import Desk, asked, refused
from callcontrol.api.pages import DEFAULT_PAGE, Cursor, Limit, Page, read_cursor, write_cursor
from callcontrol.api.problems import not_found
from callcontrol.api.routing import OPERATOR, Routes
from callcontrol.api.services import Services
from callcontrol.api.sight import Sight
from callcontrol.node_view import Instant
from numbering.message import Message
from numbering.refusal import Fault, Refused

_MOST = 2**31 - 1


class Received(Body):
    """What a line has sent."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"from": "+33639981020", "text": "YES"}]}, populate_by_name=True
    )

    from_: Annotated[str, Field(alias="from", min_length=4, max_length=32, examples=["+33639981020"])]
    """The line, E.164."""
    to: Annotated[str, Field(max_length=32)] = ""
    """The number that it wrote to; not looked at."""
    text: Annotated[str, Field(max_length=2000)]

    def given(self) -> dict[str, Any]:
        return self.model_dump(exclude_unset=True, mode="json", by_alias=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageView:
    """A message to a line.  What it says is not shown: it may hold the line's RIO."""

    id: int
    to: str
    kind: str
    """``port_confirmation`` or ``rio``."""
    port: str
    created_at: Instant
    sent_at: Instant | None
    attempts: int
    """Tries to hand it over that failed."""
    next_at: Instant | None
    """When the next one is due."""
    failure: str
    """Why the last one failed."""
    given_up: bool
    """It is not tried any more: people have to look."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyView:
    """What became of a message that a line has sent."""

    number: str
    understood: bool
    """It answers a question of ours, and says yes or no."""
    port: str
    """The port that it was about; empty: none."""
    state: str
    """Where that port stands now."""
    refusal: str
    """Why its answer comes too late, or cannot be followed; empty: it was followed."""


def message_view(message: Message) -> MessageView:
    tried = not message.sent_at and not message.given_up
    return MessageView(
        id=message.id,
        to=message.e164,
        kind=message.kind,
        port=message.port,
        created_at=message.created_at,
        sent_at=message.sent_at or None,
        attempts=message.attempts,
        next_at=(message.next_at or None) if tried else None,
        failure=message.failure,
        given_up=message.given_up,
    )


def add_to(api: FastAPI, services: Services, sight: Sight) -> None:
    routes = Routes(api, "messages")
    desk = Desk(services, sight)

    @routes.get("/v1/messages", OPERATOR)
    async def messages(
        limit: Limit = DEFAULT_PAGE,
        cursor: Cursor = "",
        waiting: Annotated[bool, Query(description="Only those that were not sent yet.")] = True,
    ) -> Page[MessageView]:
        """Messages to lines, the oldest first, and why those that wait were not taken."""
        after = int(read_cursor(cursor, int)[0]) if cursor else 0
        found = await asked(
            desk.inventory.ports.messages(waiting=waiting, limit=limit + 1, after=min(max(after, 0), _MOST))
        )
        items = tuple(message_view(each) for each in found[:limit])
        more = len(found) > limit
        return Page(items=items, next_cursor=write_cursor(items[-1].id) if more else "")

    @routes.post("/v1/messages/received", OPERATOR, 200)
    async def received(who: Who, body: Received) -> ReplyView:
        """A line has answered: yes or no, in the words of its country, confirms or ends the port that it was asked about.

        Sending the same twice does no harm, so that a gateway may repeat itself.  What answers nothing is not kept.
        """
        ports = desk.inventory.ports
        try:
            number = desk.inventory.read(body.from_)
        except Refused as error:
            raise refused(error) from None
        asked_about = await ports.asked_about(number)
        if asked_about is None:
            return ReplyView(number=number, understood=False, port="", state="", refusal="")
        try:
            answered = await ports.reply(number, body.text, actor=who.actor)
        except Refused as error:
            state = asked_about.state.value
            return ReplyView(
                number=number, understood=True, port=asked_about.id, state=state, refusal=error.fault.value
            )
        if answered is None:
            state = asked_about.state.value
            return ReplyView(number=number, understood=False, port=asked_about.id, state=state, refusal="")
        await services.refresh()
        account = services.directory.account_of(answered.user)
        owner = account.ref if account is not None else ""
        await note(services, who, "reply", "port", answered.id, owner, answered.state.value)
        return ReplyView(
            number=number, understood=True, port=answered.id, state=answered.state.value, refusal=""
        )

    @routes.post("/v1/messages/{message}/resend", OPERATOR, 200, problems=[404, 409])
    async def resend(who: Who, message: int) -> MessageView:
        """Let a message be tried again at once, also one that was given up."""
        if not 0 < message <= _MOST:
            raise not_found("message")
        try:
            done = await desk.inventory.ports.resend(message)
        except Refused as error:
            if error.fault is Fault.BAD_REQUEST:
                raise not_found("message") from None
            raise refused(error) from None
        await note(services, who, "resend", "message", str(message))
        return message_view(done)
