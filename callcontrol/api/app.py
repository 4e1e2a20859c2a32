"""The application: middleware, errors, and the routes of every resource.

``/healthz``, ``/readyz``, ``/metrics`` and the schema are open (they name no person); everything below ``/v1``
needs a token.  The server shares the event loop with SIP, so nothing here may hold it: lists are bounded,
bodies are small, and what takes longer is done in slices or beside the loop.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import TypeAdapter

from callcontrol.api import problems
from callcontrol.api.door import Door
from callcontrol.api.metering import BodyBound, Meter
from callcontrol.api.routes import (
    accounts,
    audit,
    calls,
    devices,
    explain,
    greetings,
    health,
    incoming,
    leases,
    messages,
    node,
    number_life,
    numbers,
    phone,
    ports,
    provisioning,
    state,
    tariffs,
    tokens,
    trunks,
    usage,
    users,
)
from callcontrol.api.services import Services
from callcontrol.api.sight import Sight

_RESOURCES = (
    health,
    node,
    calls,
    state,
    explain,
    accounts,
    users,
    devices,
    numbers,
    number_life,
    incoming,
    greetings,
    usage,
    ports,
    messages,
    phone,
    leases,
    trunks,
    tariffs,
    provisioning,
    tokens,
    audit,
)

_ABOUT = """
Call control for cloud numbers: accounts, users, devices, numbers, trunks, and the calls between them.

Everything below `/v1` takes a bearer token.  What a token does not see is not there for it (404).
"""


def build_api(services: Services) -> FastAPI:
    """The application over the parts of one node."""
    api = FastAPI(
        title="Cloudline",
        version=services.version,
        description=_ABOUT.strip(),
        redoc_url=None,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
    )
    api.state.door = Door(services.tokens, services.settings, services.monotonic, services.counters)
    api.state.idempotency = services.idempotency
    problems.add_handlers(api)
    sight = Sight(services.directory)
    for resource in _RESOURCES:
        resource.add_to(api, services, sight)
    api.add_middleware(BodyBound, most=services.settings.max_body_bytes)
    api.add_middleware(Meter, counters=services.counters)
    _describe(api)
    return api


def _describe(api: FastAPI) -> None:
    """Let OpenAPI know the shape of a problem, which no route names as its model."""
    plain: dict[str, Any] = {}

    def openapi() -> dict[str, Any]:
        if not plain:
            schema = get_openapi(
                title=api.title,
                version=api.version,
                description=api.description,
                license_info=api.license_info,
                routes=api.routes,
            )
            problem = TypeAdapter(problems.ProblemView).json_schema(
                ref_template="#/components/schemas/{model}", mode="serialization"
            )
            known = schema.setdefault("components", {}).setdefault("schemas", {})
            known.update(problem.pop("$defs", {}))
            known["ProblemView"] = problem
            for name in ("HTTPValidationError", "ValidationError"):
                known.pop(name, None)
            plain.update(schema)
        return plain

    api.openapi = openapi  # type: ignore[method-assign]
