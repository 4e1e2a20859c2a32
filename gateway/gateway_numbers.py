"""Gateway numbers: numbers of the platform that a SIM dials to reach it, or that call the SIM.  Pure.

They are no cloud numbers: nobody holds them, and a call to one means something only together with who calls (OUT-02, OUT-03,
DEV-01).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from numbering.e164 import E164


class GatewayKind(StrEnum):
    """What a gateway number is for."""

    CALL_THROUGH = "call_through"
    """A SIM dials it and is led on to the number it asked for (OUT-02); callbacks show it (OUT-03)."""
    VERIFICATION = "verification"
    """A SIM dials it to prove its MSISDN (DEV-01)."""
    VOICEMAIL = "voicemail"
    """A SIM dials it to hear its messages (VM-02)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayNumber:
    """One gateway number, and the trunk by which its calls come in."""

    e164: E164
    trunk: str
    """Ref of the trunk that brings its calls and over which callbacks show it."""
    kind: GatewayKind = GatewayKind.CALL_THROUGH
    country: str = ""
    """ISO 3166 alpha-2 country in which it is a local number; a SIM is given one of its own country."""


class GatewayDirectory:
    """All gateway numbers, in memory.

    One object for the life of a process; `replace` exchanges the content between two events of the loop.
    """

    __slots__ = ("_by_country", "_by_number", "version")

    def __init__(self, numbers: Iterable[GatewayNumber] = (), *, version: int = 0) -> None:
        self._by_number: dict[str, GatewayNumber] = {}
        self._by_country: dict[tuple[str, GatewayKind], tuple[GatewayNumber, ...]] = {}
        self.version = version
        self.replace(numbers, version=version)

    def replace(self, numbers: Iterable[GatewayNumber], *, version: int) -> None:
        """Exchange the whole content."""
        ordered = sorted(numbers, key=lambda number: number.e164)
        groups: dict[tuple[str, GatewayKind], list[GatewayNumber]] = {}
        for number in ordered:
            groups.setdefault((number.country, number.kind), []).append(number)
        self._by_number = {number.e164: number for number in ordered}
        self._by_country = {key: tuple(group) for key, group in groups.items()}
        self.version = version

    def get(self, e164: str) -> GatewayNumber | None:
        return self._by_number.get(e164)

    def of_country(self, country: str, kind: str) -> tuple[GatewayNumber, ...]:
        """The numbers of a kind that are local in a country, in ascending order."""
        try:
            return self._by_country.get((country, GatewayKind(kind)), ())
        except ValueError:
            return ()

    def all(self) -> tuple[GatewayNumber, ...]:
        """Every gateway number in ascending order."""
        return tuple(self._by_number.values())

    def __len__(self) -> int:
        return len(self._by_number)
