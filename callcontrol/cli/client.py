"""The command line's side of the HTTP API: find the running node, ask it, turn its problems into
sentences.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from callcontrol.operator_access import AccessError, NodeNote, find_notes

_TIMEOUT_SECONDS = 10.0
START_HINT = "start one with: cloudline serve --demo"


class Failure(Exception):
    """Refused or failed: the reason goes to standard error, the exit code is 1."""


def choose_node(url: str, token: str, demo: bool = False) -> NodeNote:
    """The node to talk to: the one named, else the only one (``demo``: with demo data) that runs on this machine.

    Raises Failure.
    """
    if url and token:
        return NodeNote(url=url.rstrip("/"), token=token)
    try:
        notes = find_notes()
    except AccessError as error:
        raise Failure(str(error)) from None
    if url:
        for note in notes:
            if note.url == url.rstrip("/"):
                return note
        raise Failure(f"no token for {url}: give it in CLOUDLINE_TOKEN (it is in the node's token file)")
    if not notes:
        raise Failure(
            f"no node runs here; {START_HINT}\nFor a node elsewhere: CLOUDLINE_URL and CLOUDLINE_TOKEN"
        )
    if len(notes) > 1:
        urls = ", ".join(note.url for note in notes)
        raise Failure(f"several nodes run here ({urls}); say which with --url")
    return notes[0]


class NodeClient:
    """Blocking requests to one node."""

    def __init__(self, note: NodeNote) -> None:
        parts = urlsplit(note.url)
        if parts.scheme != "http" or not parts.hostname:
            raise Failure(f"{note.url!r} is not http://host:port")
        self.note = note
        self._host = parts.hostname
        self._port = parts.port or 80

    def get(self, path: str, **query: str | int) -> Any:
        """The JSON of one answer.  Raises Failure with the node's own reason."""
        given = {name: value for name, value in query.items() if value != ""}
        return self._ask("GET", f"{path}?{urlencode(given)}" if given else path)

    def post(self, path: str, body: Mapping[str, object] | None = None) -> Any:
        return self._ask("POST", path, body)

    def delete(self, path: str) -> None:
        self._ask("DELETE", path)

    def pages(self, path: str, limit: int, **query: str | int) -> Iterator[dict[str, Any]]:
        """At most ``limit`` items of a list, over as many pages as that takes."""
        cursor = ""
        while limit > 0:
            page = self.get(path, limit=min(limit, 500), cursor=cursor, **query)
            items = page["items"][:limit]
            yield from items
            limit -= len(items)
            cursor = page["next_cursor"]
            if not cursor or not items:
                return

    def _ask(self, method: str, target: str, body: Mapping[str, object] | None = None) -> Any:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=_TIMEOUT_SECONDS)
        try:
            headers = {"Authorization": f"Bearer {self.note.token}"}
            if body is not None:
                headers["Content-Type"] = "application/json"
            connection.request(method, target, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            received = answer.read()
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise Failure(f"no node answers at {self.note.url} ({reason}); {START_HINT}") from None
        finally:
            connection.close()
        content: Any = _decoded(received)
        if answer.status >= 400:
            raise Failure(_reason(answer.status, content))
        return content


def segment(text: str) -> str:
    """Text from the command line as one segment of a path."""
    return quote(text, safe="")


def _decoded(body: bytes) -> Any:
    try:
        return json.loads(body) if body else None
    except ValueError:
        return None


def _reason(status: int, content: Any) -> str:
    if status == 401:
        return "the node does not accept the token; CLOUDLINE_TOKEN must be what is in its token file"
    if isinstance(content, Mapping):
        if "problems" in content:  # a reload that was refused
            return "refused, the old configuration stays:\n" + "\n".join(
                f"  {line}" for line in content["problems"]
            )
        title, detail = str(content.get("title", "")), str(content.get("detail", ""))
        if title:
            return f"{title}: {detail}" if detail else title
    return f"the node answered with HTTP status {status}"
