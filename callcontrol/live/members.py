"""Which nodes live, and where others reach them: what each beat of the lease brings (LIVE-03)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

Address = tuple[str, int]

NOWHERE: Final = ("", 0)


class Members:
    """The nodes of the deployment as this one sees them; reading is a look into memory."""

    def __init__(self, own: str) -> None:
        self.own = own
        self.address: Address = NOWHERE
        """Where other nodes reach this one by UDP; `NOWHERE`: they do not."""
        self.on_gone: list[Callable[[str], None]] = []
        """Told of a node that is dead, or has left."""
        self.on_come: list[Callable[[str], None]] = []
        """Told of a node that was not there before."""
        self._living: dict[str, Address] = {}

    def names(self) -> list[str]:
        """The nodes that live, this one included."""
        return sorted({self.own, *self._living})

    @property
    def alone(self) -> bool:
        """There is no other one."""
        return not self._living

    def lives(self, name: str) -> bool:
        return name == self.own or name in self._living

    def address_of(self, name: str) -> Address | None:
        """Where a node is reached; None when it is dead, or cannot be reached."""
        found = self.address if name == self.own else self._living.get(name, NOWHERE)
        return found if found != NOWHERE else None

    def lives_at(self, address: Address) -> bool:
        """Whether a node that lives is reached there."""
        return address in (self.address, *self._living.values()) and address != NOWHERE

    def update(self, living: Mapping[str, str]) -> None:
        """What Redis says: names of nodes whose lease holds, and their ``host:port`` (may be empty)."""
        before = self._living
        self._living = {name: read_address(text) for name, text in living.items() if name != self.own}
        for name in sorted(before.keys() - self._living.keys()):
            for told in self.on_gone:
                told(name)
        for name in sorted(self._living.keys() - before.keys()):
            for told in self.on_come:
                told(name)


def read_address(text: str) -> Address:
    """``host:port``, IPv6 hosts in brackets; `NOWHERE` for anything else."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    return (host, int(port)) if host and port.isascii() and port.isdigit() else NOWHERE


def written(address: Address) -> str:
    """What ``read_address`` reads; empty for `NOWHERE`."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}" if host else ""
