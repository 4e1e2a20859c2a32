"""Health and metrics: open, since they name no person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from fastapi.responses import Response

from callcontrol.api.services import Services
from callcontrol.api.sight import Sight
from callcontrol.metrics import CONTENT_TYPE
from callcontrol.node_view import ComponentView


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthView:
    """The node's own opinion of itself."""

    status: str
    """``ok`` or ``failed``."""
    components: tuple[ComponentView, ...]


def add_to(api: FastAPI, services: Services, sight: Sight) -> None:
    node = services.node
    unwell: dict[int | str, dict[str, Any]] = {503: {"model": HealthView, "description": "A part failed."}}

    def health(components: Sequence[ComponentView], response: Response) -> HealthView:
        status = "ok" if all(component.ok for component in components) else "failed"
        response.status_code = 200 if status == "ok" else 503
        return HealthView(status=status, components=tuple(components))

    @api.get("/healthz", tags=["health"], responses=unwell)
    async def healthz(response: Response) -> HealthView:
        """Whether the process works; 503 asks for a restart."""
        return health(await node.health(), response)

    @api.get("/readyz", tags=["health"], responses=unwell)
    async def readyz(response: Response) -> HealthView:
        """Whether the node should get new traffic; 503 while it starts, drains or lacks a part."""
        return health(await node.readiness(), response)

    text: dict[int | str, dict[str, Any]] = {
        200: {"description": "Prometheus text.", "content": {"text/plain": {"schema": {"type": "string"}}}}
    }

    @api.get("/metrics", tags=["health"], response_class=Response, responses=text)
    async def metrics() -> Response:
        """The metrics of `docs/metrics.md` for Prometheus."""
        return Response(await node.metrics_page(), headers={"Content-Type": CONTENT_TYPE})
