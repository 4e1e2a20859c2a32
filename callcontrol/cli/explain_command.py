"""``cloudline explain``: what would happen if A called B, and why."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer

from callcontrol.audience import ENGINEER
from callcontrol.cli.calls_commands import For, print_call, print_story
from callcontrol.cli.client import Failure, NodeClient
from callcontrol.cli.options import AsJson, ConfigFile, Url, client, settings
from callcontrol.cli.output import print_json
from callcontrol.explaining.question import (
    ANSWER,
    BUSY,
    DECLINE,
    SILENT,
    Question,
    QuestionError,
    read_behaviour,
)


def explain_command(
    caller: Annotated[
        str,
        typer.Argument(
            metavar="A", help="Who calls: a number, anonymous, a SIP user name, a user or device."
        ),
    ],
    called: Annotated[
        str, typer.Argument(metavar="B", help="What is dialled: a number, a short number, a SIP user name.")
    ],
    at: Annotated[
        str,
        typer.Option("--at", metavar="TIME", help="2027-03-28T02:30 by the clock of B, or with its offset."),
    ] = "",
    from_device: Annotated[
        str, typer.Option("--from-device", metavar="REF", help="The device that calls.")
    ] = "",
    trunk: Annotated[
        str, typer.Option("--trunk", metavar="REF", help="The trunk that brings a call from outside.")
    ] = "",
    answer: Annotated[
        list[str] | None,
        typer.Option(
            "--answer", metavar="WHO@SECONDS", help="A device, user or number answers after so long."
        ),
    ] = None,
    busy: Annotated[list[str] | None, typer.Option("--busy", metavar="WHO", help="Is busy.")] = None,
    decline: Annotated[list[str] | None, typer.Option("--decline", metavar="WHO", help="Declines.")] = None,
    silent: Annotated[
        list[str] | None,
        typer.Option("--silent", metavar="WHO", help="Says nothing, not even that it rings."),
    ] = None,
    audience: For = ENGINEER,
    as_json: AsJson = False,
    config: ConfigFile = None,
    url: Url = "",
) -> None:
    """Say step by step what would happen if A called B, and why; no message is sent.

    Every phone rings and nobody answers, unless it is said.  With --config the provisioning database of that configuration
    is asked instead of a running node.
    """
    given = ((ANSWER, answer), (BUSY, busy), (DECLINE, decline), (SILENT, silent))
    try:
        behaviours = [read_behaviour(does, text) for does, texts in given for text in texts or ()]
    except QuestionError as error:
        raise typer.BadParameter(str(error), param_hint=f"--{error.field}") from None
    question = Question(
        caller=caller, called=called, at=at, device=from_device, trunk=trunk, behaviours=tuple(behaviours)
    )
    if config is not None:
        view = asyncio.run(_offline(config, question, audience))
    else:
        view = _node(url).post("/v1/explain", _body(question, audience))
    if as_json:
        print_json(view)
    else:
        print_explanation(caller, called, view, audience)


def _node(url: str) -> NodeClient:
    try:
        return client(url)
    except Failure as failure:
        raise Failure(f"{failure}\nWithout a node: name its configuration with --config") from None


def _body(question: Question, audience: str) -> dict[str, object]:
    body: dict[str, object] = {
        "caller": question.caller,
        "called": question.called,
        "at": question.at,
        "behaviours": [
            {"who": each.who, "does": each.does, "after_seconds": each.after_s}
            for each in question.behaviours
        ],
        "audience": audience,
    }
    return body | {name: ref for name, ref in (("device", question.device), ("trunk", question.trunk)) if ref}


async def _offline(config: Path, question: Question, audience: str) -> Any:
    """What a node would answer that has this configuration, and nobody registered."""
    from pydantic import TypeAdapter

    from callcontrol.explaining.offline import explain
    from callcontrol.explaining.view import ExplanationView, view_of
    from config.database import DatabaseUnavailable
    from numbering.cache import DirectoryUnavailable

    try:
        answer = await explain(settings(config), question)
    except QuestionError as error:
        raise Failure(str(error)) from None
    except (DatabaseUnavailable, DirectoryUnavailable, OSError) as error:
        raise Failure(f"the database does not answer: {error}") from None
    return TypeAdapter(ExplanationView).dump_python(view_of(answer, audience), mode="json")


def print_explanation(caller: str, called: str, view: dict[str, Any], audience: str) -> None:
    """An explanation for people."""
    typer.echo(f"{caller} calls {called} on {view['clock']}")
    for note in view["notes"]:
        typer.echo(f"  note: {note}")
    call = view["call"]
    typer.echo("")
    if call is not None and audience == ENGINEER:
        print_call(call | {"story": view["story"]}, explained=True)
    else:
        print_story(view["story"])
    if view["ends_after_seconds"] is not None:
        typer.echo(f"\n{_end(call, view['ends_after_seconds'])}")


def _end(call: dict[str, Any], after_s: float) -> str:
    if call["state"] == "talking":
        return f"answered after {after_s:g} s"
    return f"the caller gets {call['status']} after {after_s:g} s: {call['reason']}"
