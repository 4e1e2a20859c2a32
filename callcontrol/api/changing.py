"""What the routes of provisioned objects share: creating, changing and removing one, with ETag, record and rules."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from fastapi.responses import Response

from callcontrol.access.audit import AuditEntry, Author
from callcontrol.access.tokens import Principal, Scope
from callcontrol.api.etags import check_match, etag
from callcontrol.api.problems import FieldError, Problem, not_found, of_documents
from callcontrol.api.services import Services
from callcontrol.api.sight import Sight
from callcontrol.logs import get_logger
from callcontrol.provisioning.documents import Problem as DocumentProblem
from callcontrol.provisioning.documents import ProvisioningError
from callcontrol.provisioning.editing import AlreadyThere, Change, EditRefused, NotThere
from callcontrol.provisioning.inventory import Inventory, Item
from callcontrol.provisioning.service import Edited
from config.database import DatabaseUnavailable

T = TypeVar("T")
_PATIENCE_S = 1.0
"""What was done is answered by then, whether the database has recorded it or not."""
_SOMEBODY = "somebody else's"
_WORD = re.compile(r"[A-Za-z0-9+][A-Za-z0-9._-]*")


def author_of(who: Principal) -> Author:
    """Who is written down as having done it."""
    return Author(actor=who.actor, token=who.token)


class Changes:
    """Creates, changes and removes objects of one kind on behalf of principals."""

    def __init__(
        self, services: Services, sight: Sight, kind: str, what: str, view: Callable[[Any], Any], path: str
    ) -> None:
        """``view`` makes what is shown of an object; ``path`` is where it is then, with one ``{}``."""
        self._services = services
        self._sight = sight
        self._kind = kind
        self._what = what
        self._view = view
        self._path = path

    async def create(self, who: Principal, values: Mapping[str, Any], response: Response) -> Any:
        """Make one and show it."""
        try:
            edited = await self._services.editor.create(self._kind, values, author_of(who))
        except AlreadyThere:
            detail = f"Choose another key, or change the {self._what} that is there."
            raise Problem(409, "already_there", f"There is such a {self._what} already", detail) from None
        except ProvisioningError as error:
            raise self.refused(who, error) from None
        key = edited.changes.created[0].key
        return await self._shown(edited, key, response)

    async def change(
        self,
        who: Principal,
        key: str,
        patch: Change,
        if_match: str,
        response: Response,
        guard: Callable[[Any], None] | None = None,
    ) -> Any:
        """Change one and show it; ``guard`` is shown the object as it is and may raise."""
        try:
            edited = await self._services.editor.change(
                self._kind, key, patch, self._guard(if_match, guard), author_of(who)
            )
        except NotThere:
            raise not_found(self._what) from None
        except ProvisioningError as error:
            raise self.refused(who, error) from None
        return await self._shown(edited, key, response)

    async def replace(
        self,
        who: Principal,
        key: str,
        values: Mapping[str, Any],
        if_match: str,
        response: Response,
        guard: Callable[[Any], None] | None = None,
    ) -> Any:
        """Put another object in the place of one, and show it."""
        try:
            edited = await self._services.editor.replace(
                self._kind, key, values, self._guard(if_match, guard), author_of(who)
            )
        except NotThere:
            raise not_found(self._what) from None
        except ProvisioningError as error:
            raise self.refused(who, error) from None
        return await self._shown(edited, key, response)

    async def remove(
        self, who: Principal, key: str, if_match: str, guard: Callable[[Any], None] | None = None
    ) -> Response:
        """Remove one."""
        try:
            await self._services.editor.remove(self._kind, key, self._guard(if_match, guard), author_of(who))
        except NotThere:
            raise not_found(self._what) from None
        except EditRefused as error:
            found = self.refused(who, error).view
            title = f"The {self._what} is still needed"
            raise Problem(409, "in_use", title, found.detail, errors=found.errors) from None
        await self._services.refresh()
        return Response(status_code=204)

    def _guard(self, if_match: str, guard: Callable[[Any], None] | None) -> Callable[[Item], None]:
        def check(item: Item) -> None:
            if guard is not None:
                guard(item)
            check_match(if_match, self._view(item))

        return check

    async def _shown(self, edited: Edited, key: str, response: Response) -> Any:
        if edited.changes.revision:
            await self._services.refresh()
        view = self._view(edited.after.of(self._kind)[key])
        response.headers["ETag"] = etag(view)
        if edited.changes.created:
            response.headers["Location"] = self._path.format(key)
        return view

    def refused(self, who: Principal, error: ProvisioningError, *, bulk: bool = False) -> Problem:
        """What the rules say, without words about what is somebody else's."""
        problems: Sequence[DocumentProblem] = error.problems
        if who.scope is not Scope.OPERATOR:
            after = error.after if isinstance(error, EditRefused) else Inventory()
            problems = [self._veiled(who, problem, after) for problem in problems]
        return of_documents(problems, bulk=bulk)

    def _veiled(self, who: Principal, problem: DocumentProblem, after: Inventory) -> DocumentProblem:
        """A rule speaks of everything that it has looked at; the answer only of what the token sees."""
        hidden = {
            key
            for kind in ("account", "user", "device", "number", "greeting", "trunk", "gateway_number")
            for key in after.of(kind)
            if not self._sight.may_name(who, kind, key)
        }

        def veil(text: str) -> str:
            return _WORD.sub(lambda found: _SOMEBODY if found[0] in hidden else found[0], text)

        remedy = problem.remedy if veil(problem.remedy) == problem.remedy else ""
        return DocumentProblem(
            problem.file, problem.line, veil(problem.object), veil(problem.message), remedy, problem.path
        )


def only(given: Mapping[str, Any], allowed: Sequence[str], who: Principal) -> None:
    """Raises 403 for fields that a principal may not set."""
    wrong = [name for name in given if name not in allowed]
    if wrong:
        errors = [
            FieldError(
                pointer=f"/{name}",
                detail=f"a token of scope {who.scope} may not set it",
                remedy="leave it out",
            )
            for name in wrong
        ]
        detail = f"{', '.join(wrong)}: not for a token of scope {who.scope}."
        raise Problem(403, "field_forbidden", "A field is not yours to set", detail, errors=errors)


def unknown(field: str, what: str, key: str) -> Problem:
    """422: a body names an object that is not there, or not for this token."""
    message = f"there is no {what} {key!r}"
    errors = [FieldError(pointer=f"/{field}", detail=message, remedy=f"name a {what} of yours")]
    return Problem(422, "invalid_object", "The object is refused", f"{field}: {message}", errors=errors)


async def note(
    services: Services, who: Principal, action: str, kind: str, key: str, account: str = "", detail: str = ""
) -> None:
    """Record what was done where no object changed.  The deed stands also when the database is away: then the
    log has it."""
    entry = AuditEntry(
        at=services.wall(),
        actor=who.actor,
        token=who.token,
        account=account,
        action=action,
        kind=kind,
        key=key,
        detail=detail,
    )
    try:
        async with asyncio.timeout(_PATIENCE_S):
            await services.audit.write([entry])
    except (DatabaseUnavailable, TimeoutError):
        get_logger("http").warning(
            "not recorded in the database",
            actor=entry.actor,
            action=action,
            kind=kind,
            key=key,
            detail=detail,
        )
