"""Entries of documents to Greetings: company numbers that hunt over members."""

from __future__ import annotations

from typing import Final

from callcontrol.provisioning.incoming import OF_GREETINGS, listed, read_hours
from callcontrol.provisioning.reading import REF, REF_FORM, Reader
from numbering.e164 import E164, country_of
from numbering.models import Flow, FlowAction, Greeting, GreetingMember, Strategy

MAX_MEMBERS: Final = 1000
MAX_REPEAT: Final = 100
MAX_SECONDS: Final = 3600
_HUNT: Final = Flow(action=FlowAction.HUNT)
_REFUSE: Final = Flow(action=FlowAction.REFUSE)
_WITH_TARGET: Final = (FlowAction.FORWARD, FlowAction.ANNOUNCE)
_FLOWS: Final = ("flow", "closed", "unanswered")


def read_greeting(reader: Reader) -> Greeting | None:
    number = reader.number("number", required=True)
    country = country_of(number) if number else ""
    members = _members(reader)
    flows = {
        key: _flow(reader, key, default, country)
        for key, default in zip(_FLOWS, (_HUNT, _REFUSE, _REFUSE), strict=True)
    }
    hunting = [key for key in ("flow", "closed") if flows[key].action is FlowAction.HUNT]
    if hunting and not members and not any(reader.has(key) for key in ("members", "member")):
        reader.fail("members", "there is nobody to hunt for", 'write members = ["…"], or another action')
    if flows["unanswered"].action is FlowAction.HUNT:
        reader.fail(
            "unanswered", "this is when a hunt has found nobody", "repeat = 1 lets everybody ring once more"
        )
    greeting = Greeting(
        number=E164(number),
        account=reader.ref("account", required=True),
        strategy=reader.choice("strategy", Strategy, Strategy.CASCADE),
        members=members,
        ring_seconds=reader.amount("ring_seconds", 20.0, 1, 600),
        repeat=reader.count("repeat", 0, 0, MAX_REPEAT),
        limit_seconds=reader.amount("limit_seconds", 0.0, 0, MAX_SECONDS),
        hours=read_hours(reader, OF_GREETINGS, number),
        open=flows["flow"],
        closed=flows["closed"],
        unanswered=flows["unanswered"],
        block=listed(reader, "block", country),
        spam=listed(reader, "spam", country),
    )
    return greeting if number else None


def _members(reader: Reader) -> tuple[GreetingMember, ...]:
    """``members = ["ana", { user = "ben", priority = 2 }]``, or each as ``[[greeting.member]]``."""
    plain = reader.items("members")
    tables = reader.tables("member")
    if plain and tables:
        reader.fail("member", "members are written already", "write each as [[greeting.member]]")
        return ()
    found: list[GreetingMember] = []
    for index, value in enumerate(plain):
        if isinstance(value, dict):
            tables.append(reader.within(("members", index), value))
        elif not isinstance(value, str) or REF.fullmatch(value) is None:
            reader.fail("members", f"{value!r} is not a ref", REF_FORM)
        else:
            tables.append(reader.within(("members", index), {"user": value}))
    for table in tables:
        member = GreetingMember(
            user=table.ref("user", required=True),
            priority=table.count("priority", 1, 1, 1000),
            ring_seconds=table.amount("ring_seconds", 0.0, 0, 600),
        )
        table.finish()
        if member.user:
            found.append(member)
    if len(found) > MAX_MEMBERS:
        reader.fail("members", f"there are more than {MAX_MEMBERS}")
        return ()
    seen: set[str] = set()
    for member in found:
        if member.user in seen:
            key = "members" if plain else "member"
            reader.fail(key, f"{member.user!r} is named twice", "a call is offered to a member once a round")
        seen.add(member.user)
    return tuple(found)


def _flow(reader: Reader, key: str, default: Flow, country: str) -> Flow:
    table = reader.inner(key)
    if table is None:
        return default
    if not table.has("action"):
        table.fail("action", "is missing", f'write action = "{default.action}"')
    action = table.choice("action", FlowAction, default.action)
    to = ""
    if action is FlowAction.FORWARD:
        to = table.number("to", required=True, country=country)
    elif action is FlowAction.ANNOUNCE:
        to = table.ref("to")
    elif table.anything("to") is not None:
        named = " and ".join(_WITH_TARGET)
        table.fail("to", f"{action} has no target", f"leave it out: {named} have one")
    table.finish()
    return Flow(action=action, to=to)
