"""Bans on all nodes: a table of `callcontrol.live.log` (OPS-05).

Each node judges by itself what strangers do there; what it has decided, the others do as well, and who starts later too.  Without
Redis each goes on with the bans that it knows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from callcontrol.limits import Ban
from callcontrol.live.log import Steps

BANS: Final = "bans"
MAX_BANS: Final = 10_000
"""Addresses kept in the table; beyond that the oldest sixteenth goes."""
_FIELDS: Final = ("address", "reason", "since", "until", "count", "forged_count", "proven", "slowed")


def words_of(ban: Ban) -> list[object]:
    """A ban as other processes are told it."""
    return [getattr(ban, name) for name in _FIELDS]


def ban_of(words: Sequence[Any]) -> Ban:
    """The opposite of `words_of`."""
    return Ban(**dict(zip(_FIELDS, words, strict=True)))


class Banning(Protocol):
    """The gate of this node (`callcontrol.limits.Gate`)."""

    on_ban: list[Callable[[Ban], None]]
    on_unban: list[Callable[[str], None]]

    def learn(self, ban: Ban) -> None: ...

    def forgive(self, host: str) -> bool: ...


class BanMachine:
    """The bans of all nodes, step by step."""

    def __init__(self) -> None:
        self.bans: dict[str, list[Any]] = {}
        """Address -> words of its ban, the latest told last."""
        self.mine: dict[str, list[object]] = {}
        """Those that this node has given and nobody has lifted."""
        self.gate: Banning | None = None

    def step(self, verb: str, words: Sequence[Any]) -> object:
        match verb:
            case "ban":
                self._ban(list(words))
            case "lift":
                self.bans.pop(words[0], None)
                self.mine.pop(words[0], None)
                if self.gate is not None:
                    self.gate.forgive(words[0])
            case _:
                raise ValueError(f"bans know no {verb!r}")
        return None

    def _ban(self, words: list[Any]) -> None:
        self.bans.pop(words[0], None)
        if len(self.bans) >= MAX_BANS:
            since = words[2]
            over = [address for address, held in self.bans.items() if held[3] <= since]
            for address in over or list(self.bans)[: MAX_BANS // 16]:
                del self.bans[address]
        self.bans[words[0]] = words
        if self.gate is not None:
            self.gate.learn(ban_of(words))

    def dump(self) -> object:
        return list(self.bans.values())

    def load(self, data: Any) -> None:
        self.bans = {words[0]: list(words) for words in data or ()}  # none: of a version without this table
        self.tell_all()

    def tell_all(self) -> None:
        """Have the gate know everything that is in the table."""
        if self.gate is not None:
            for words in self.bans.values():
                self.gate.learn(ban_of(words))


class SharedBans:
    """Tells the other nodes what the gate of this one decides, and the gate what they decide."""

    def __init__(self, steps: Steps, machine: BanMachine) -> None:
        self._steps = steps
        self._machine = machine

    def follow(self, gate: Banning) -> None:
        """From now on; bans that are there already hold at once."""
        self._machine.gate = gate
        gate.on_ban.append(self._banned)
        gate.on_unban.append(self._lifted)
        self._machine.tell_all()

    def _banned(self, ban: Ban) -> None:
        mine = self._machine.mine
        mine.pop(ban.address, None)
        if len(mine) >= MAX_BANS:
            mine.pop(next(iter(mine)))
        words = mine[ban.address] = words_of(ban)
        self._steps.submit(BANS, "ban", words)

    def _lifted(self, address: str) -> None:
        self._machine.mine.pop(address, None)
        self._steps.insist(BANS, "lift", (address,))

    def say_again(self) -> None:
        """The table may know nothing of this node's bans any more."""
        for words in list(self._machine.mine.values()):
            self._steps.submit(BANS, "ban", words)
