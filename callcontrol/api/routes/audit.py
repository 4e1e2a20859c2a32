"""The record of changes."""

from __future__ import annotations

from typing import Annotated

from fastapi import FastAPI, Query

from callcontrol.access.tokens import Scope
from callcontrol.api.door import Who
from callcontrol.api.pages import DEFAULT_PAGE, Cursor, Limit, Page, read_cursor, write_cursor
from callcontrol.api.routing import MANAGERS, Routes
from callcontrol.api.services import Services
from callcontrol.api.sight import Sight
from callcontrol.api.views import AuditView, audit_view

Word = Annotated[str, Query(max_length=100, pattern=r"^[^\x00-\x1f\x7f]*$")]


def add_to(api: FastAPI, services: Services, sight: Sight) -> None:
    routes = Routes(api, "audit")

    @routes.get("/v1/audit", MANAGERS)
    async def audit(
        who: Who,
        limit: Limit = DEFAULT_PAGE,
        cursor: Cursor = "",
        kind: Word = "",
        key: Word = "",
        actor: Word = "",
    ) -> Page[AuditView]:
        """What was changed or done, by whom and when, the latest first; a manager sees its own account's."""
        before = int(read_cursor(cursor, int)[0]) if cursor else 0
        found = await services.audit.latest(
            limit + 1,
            before=before,
            account=who.account if who.scope is Scope.MANAGER else None,
            kind=kind,
            key=key,
            actor=actor,
        )
        items = tuple(audit_view(entry) for entry in found[:limit])
        return Page(items=items, next_cursor=write_cursor(items[-1].id) if len(found) > limit else "")
