"""The node itself: what it is, draining, reloading."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.responses import Response

from callcontrol.api.changing import note
from callcontrol.api.door import Who
from callcontrol.api.routing import OPERATOR, Routes
from callcontrol.api.services import Services
from callcontrol.api.sight import Sight
from callcontrol.node_view import NodeView, ReloadView


def add_to(api: FastAPI, services: Services, sight: Sight) -> None:
    routes = Routes(api, "node")
    node = services.node

    @routes.get("/v1/node", OPERATOR)
    async def info() -> NodeView:
        """The node: version, listeners, how many calls and registrations."""
        return await node.info()

    @routes.post("/v1/drain", OPERATOR, 202)
    async def drain(who: Who) -> NodeView:
        """Take no new calls, finish the running ones, then exit."""
        view = await node.drain()
        await note(services, who, "drain", "node", view.id)
        return view

    refused: dict[int | str, dict[str, Any]] = {
        409: {"model": ReloadView, "description": "Refused; the old one stays."}
    }

    @routes.post("/v1/reload", OPERATOR, 200, responses=refused)
    async def reload(who: Who, response: Response) -> ReloadView:
        """Read configuration, certificates and provisioning again."""
        view = await node.reload()
        response.status_code = 200 if view.ok else 409
        await note(services, who, "reload", "node", (await node.info()).id, detail=", ".join(view.changes))
        return view
