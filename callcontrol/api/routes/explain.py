"""What would happen to a call, and why (OPS-02)."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

from fastapi import FastAPI
from pydantic import ConfigDict, Field

from callcontrol.access.tokens import Principal, Scope
from callcontrol.api.bodies import Body, Ref
from callcontrol.api.door import Who
from callcontrol.api.problems import FieldError, Problem
from callcontrol.api.routes.calls import audience_of, viewer_of
from callcontrol.api.routing import USERS, Routes
from callcontrol.api.services import Services
from callcontrol.api.sight import Sight
from callcontrol.explaining.question import Behaviour, Question, QuestionError
from callcontrol.explaining.view import ExplanationView, view_of
from numbering.directory import Directory
from numbering.e164 import NumberError, read

Party = Annotated[str, Field(min_length=1, max_length=128)]


class BehaviourBody(Body):
    """What somebody does who is called; unless it is said, every phone rings and nobody answers."""

    who: Party
    """Ref of a device or a user, or a number."""
    does: Literal["ring", "answer", "busy", "decline", "silent"]
    after_seconds: Annotated[float, Field(ge=0, le=86400)] = 0.0


class ExplainBody(Body):
    """One call that is to be explained."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"caller": "+33639989999", "called": "+33639987000", "at": "2027-03-28T02:30"},
                {
                    "caller": "+33199001234",
                    "called": "+33639981001",
                    "behaviours": [{"who": "ana", "does": "answer", "after_seconds": 5.0}],
                },
            ]
        }
    )

    caller: Annotated[
        Party, Field(description="A number, `anonymous`, a SIP user name, or the ref of a user or device.")
    ]
    called: Annotated[Party, Field(description="As dialled: a number, a short number, a SIP user name.")]
    at: Annotated[
        str,
        Field(
            max_length=40,
            description="RFC 3339; without an offset by the clock of the number called.  Empty: now.",
        ),
    ] = ""
    device: Annotated[Ref | None, Field(description="The device that calls.")] = None
    trunk: Annotated[Ref | None, Field(description="The trunk that brings a call from outside.")] = None
    behaviours: Annotated[list[BehaviourBody], Field(max_length=100, default_factory=list)]
    audience: Literal["", "engineer", "support", "customer"] = ""


def add_to(api: FastAPI, services: Services, sight: Sight) -> None:
    routes = Routes(api, "explain")
    node, directory = services.node, services.directory

    @routes.post("/v1/explain", USERS, 200)
    async def explain(who: Who, body: ExplainBody) -> ExplanationView:
        """What would happen if somebody called somebody at a time: no message is sent, and nothing is used up.

        Registrations, trunks and counters are those of now.  Managers and users may ask about their own numbers.
        """
        reader = audience_of(who, body.audience)
        question = Question(
            caller=body.caller,
            called=body.called,
            at=body.at,
            device=body.device or "",
            trunk=body.trunk or "",
            behaviours=tuple(
                Behaviour(who=each.who, does=each.does, after_s=each.after_seconds)
                for each in body.behaviours
            ),
        )
        if who.scope is not Scope.OPERATOR:
            question = _own(who, question, sight, directory)
        try:
            answer = await node.explain(question)
        except QuestionError as error:
            raise _wrong(error.field, str(error)) from None
        viewer = None if who.scope is Scope.OPERATOR else viewer_of(sight, directory, who)
        return view_of(answer, reader, viewer)


def _own(who: Principal, question: Question, sight: Sight, directory: Directory) -> Question:
    """A question that a customer may ask: about calls that he makes, or that come to him.

    A caller who is not his own is somebody outside, also one whom we know: asking tells nothing of others.  Raises a 422
    `Problem`.
    """

    def owns(text: str) -> bool:
        number = read(text)
        if not isinstance(number, NumberError):
            held = directory.number(number)
            if held is not None and sight.sees_number(who, held):
                return True
            greeting = directory.greeting(number)
            return greeting is not None and sight.sees_account(who, greeting.account)
        device = directory.device_by_username(text) or directory.device(text)
        return sight.sees_device(who, device) if device is not None else sight.sees_user_ref(who, text)

    if question.trunk:
        raise _wrong("trunk", "this token may not choose a trunk")
    if question.device and not owns(question.device):
        raise _wrong("device", "there is no such device")
    if owns(question.device or question.caller):
        return question
    if not owns(question.called):
        raise _wrong("called", "ask about calls that you make, or that come to a number of yours")
    return replace(question, from_outside=True)


def _wrong(field: str, detail: str) -> Problem:
    errors = [FieldError(pointer=f"/{field}", detail=detail)]
    return Problem(422, "invalid_body", "The question cannot be answered", detail, errors=errors)
