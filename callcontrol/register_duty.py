"""Which node registers with the carriers when several share their live state (LIVE-01).

A carrier that has the contacts of several nodes rings all of them, so one node registers for all.  The duty is a lease; with
it goes the table of what is registered, so that the others know over which peers calls may go, whose calls come in, and which
contact a node that died has left with the carrier.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from gateway.routes import peer_key

Entry = tuple[str, str, Sequence[str], str, str]
"""Trunk, peer, Service-Route, address that took the registration, and the contact that was registered."""
Table = Sequence[Entry]
Told = Callable[[bool, Table], None]
"""(whether the duty is ours, what the node that has it, or had it last, has registered)."""


class RegisterDuty(Protocol):
    """The duty as one process sees it.  Nothing waits; a store that is away tells nothing, and everything stays as it is."""

    @property
    def every_s(self) -> float:
        """How often it is to be asked for, or kept: several times within its lease."""
        ...

    def hold(self, table: Table | None, now: float, done: Told) -> None:
        """Take the duty, or keep it.

        ``table``: what is registered now, left for the others; None: the process has not registered anything yet, and the
        table of the one before it stays.
        """
        ...

    def give_up(self, now: float) -> None:
        """Let another process have it at once; does nothing for who has not got it."""
        ...


class DutyBoard:
    """Where the memory twins of several nodes meet."""

    def __init__(self, lease_s: float = 4.0) -> None:
        self.lease_s = lease_s
        self.owner = ""
        self.until = 0.0
        self.table: Table = ()


class MemoryRegisterDuty:
    """`RegisterDuty` over a board; for nodes of one process."""

    def __init__(self, board: DutyBoard, process: str) -> None:
        self._board = board
        self._process = process

    @property
    def every_s(self) -> float:
        return self._board.lease_s / 4

    def hold(self, table: Table | None, now: float, done: Told) -> None:
        board = self._board
        free = not board.owner or board.until <= now
        if not free and board.owner != self._process:
            done(False, board.table)
            return
        before = board.table
        if table is not None:
            board.table = table
        board.owner, board.until = self._process, now + board.lease_s
        done(True, before)

    def give_up(self, now: float) -> None:
        if self._board.owner == self._process:
            self._board.owner = ""


class SharedTable:
    """What another node has registered, for those who ask about calls."""

    def __init__(self) -> None:
        self._routes: dict[str, list[str]] = {}
        self._by_host: dict[str, set[str]] = {}
        self._contacts: dict[str, str] = {}
        self._rows: list[tuple[str, str, list[str], str]] = []

    def learn(self, table: Iterable[Entry]) -> None:
        self._routes, self._by_host, self._contacts = {}, {}, {}
        self._rows = []
        for trunk, peer, routes, host, contact in table:
            self._rows.append((trunk, peer, list(routes), host))
            key = peer_key(trunk, peer)
            self._routes[key] = list(routes)
            self._contacts[key] = contact
            if host:
                self._by_host.setdefault(host, set()).add(trunk)

    def rows(self) -> list[tuple[str, str, list[str], str]]:
        """Trunk, peer, Service-Route and address of each registration."""
        return self._rows

    def routes(self, key: str) -> list[str] | None:
        """Service-Route of a registration by the key of its peer; None: there is none."""
        return self._routes.get(key)

    def trunk_of(self, host: str) -> str:
        """The trunk whose registration an address took, if it took those of one only; empty otherwise."""
        there = self._by_host.get(host, ())
        return next(iter(there)) if len(there) == 1 else ""

    def contact(self, key: str) -> str:
        """Contact that was registered there; empty: none."""
        return self._contacts.get(key, "")
