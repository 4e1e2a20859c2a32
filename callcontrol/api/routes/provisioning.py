"""Documents over HTTP: thousands of objects at once, all or nothing."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Annotated, Any, Final

import msgspec
from fastapi import FastAPI, Query, Request

from callcontrol.api.changing import Changes, author_of
from callcontrol.api.door import Who
from callcontrol.api.problems import Problem
from callcontrol.api.routing import OPERATOR, Routes
from callcontrol.api.services import Services
from callcontrol.api.sight import Sight
from callcontrol.api.views import ProvisioningView, provisioning_view
from callcontrol.explaining.view import impact_view
from callcontrol.provisioning.documents import KINDS, ProvisioningError
from callcontrol.provisioning.objects import Desired

_SHOWN: Final = 1000
_EXAMPLE: Final = {
    "account": [{"ref": "acme", "kind": "company", "plan": "advanced"}],
    "user": [{"ref": "ana", "account": "acme", "name": "Ana Example"}],
    "device": [{"ref": "ana-phone", "user": "ana", "sim": "+33639980001"}],
    "number": [{"e164": "+33639981001", "user": "ana"}],
}
_OBJECTS: Final = {"type": "array", "items": {"type": "object"}}
_BODY: Final[dict[str, Any]] = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "properties": dict.fromkeys(KINDS, _OBJECTS),
                "additionalProperties": False,
                "description": "Lists of objects by kind, with the fields of provisioning documents.",
            },
            "example": _EXAMPLE,
        }
    },
}


def add_to(api: FastAPI, services: Services, sight: Sight) -> None:
    routes = Routes(api, "provisioning")
    changes = Changes(services, sight, "account", "object", lambda item: item, "")

    @routes.post("/v1/provisioning", OPERATOR, 200, extra={"requestBody": _BODY})
    async def provision(
        who: Who,
        request: Request,
        dry_run: Annotated[bool, Query(description="Say what would change, change nothing.")] = False,
        impact: Annotated[
            int,
            Query(
                ge=0,
                le=10_000,
                description="With `dry_run`: which of so many latest calls would have gone elsewhere, and why.",
            ),
        ] = 0,
    ) -> ProvisioningView:
        """Bring objects to what the body says, all of them or none; what it does not name stays.

        It is what `cloudline apply` does, with the same rules.
        """
        if impact and (not dry_run or services.impact is None):
            raise Problem(
                422, "invalid_parameter", "A parameter is wrong", "impact: it goes with dry_run=true"
            )
        body = await request.body()

        def read() -> Desired:
            values = msgspec.json.decode(body)
            if not isinstance(values, dict):
                raise msgspec.ValidationError("the body is not an object")
            return services.editor.read(values)

        try:
            # reading thousands of objects takes longer than the loop may be held
            desired = await asyncio.to_thread(read)
            edited = await services.editor.put_read(desired, author_of(who), dry_run=dry_run)
        except (msgspec.DecodeError, RecursionError) as error:
            raise Problem(422, "invalid_body", "The body is wrong", str(error)) from None
        except ProvisioningError as error:
            raise changes.refused(who, error, bulk=True) from None
        if edited.changes.revision:
            await services.refresh()
        view = provisioning_view(edited.changes, dry_run=dry_run, shown=_SHOWN)
        if not impact or services.impact is None:
            return view
        return replace(view, impact=impact_view(await services.impact(edited, impact), _SHOWN))
