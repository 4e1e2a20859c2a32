"""Choosing the trunk peer of a leg, when it is dialled: health, load and channels are live (OUT, trunks).

The ranking is pure (``gateway.routes``); here lie the two things it needs from the moment: which peers failed just now, and
whether a channel is free.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from callcontrol.b2bua.events import TrunkChosen
from callcontrol.sip.digest_client import Login
from dialplan import reasons
from gateway.capacity import TrunkChannels
from gateway.routes import Candidate, format_number, rank
from gateway.trunk import Trunk, TrunkDirectory

PENALTY_S: Final = 30.0
"""How long a peer that did not answer, or answered 503, is tried last."""


class Trunking:
    """Picks trunk peers and keeps their channels."""

    def __init__(
        self,
        directory: TrunkDirectory,
        channels: TrunkChannels,
        country: str,
        dice: Callable[[], float],
    ) -> None:
        self.directory = directory
        self.channels = channels
        self._country = country
        self._dice = dice
        self._down: dict[str, float] = {}
        """Peer URI -> until when it is tried last (Unix seconds)."""
        self.refused_full = 0

    def choose(self, number: str, caller: str, tried: list[str], leg: str, now: float) -> TrunkChosen:
        """The next peer for ``number``; ``tried`` holds ``trunk peer`` keys of the attempts so far."""
        for peer in [peer for peer, until in self._down.items() if until <= now]:
            del self._down[peer]
        full = False
        for candidate in rank(self.directory, number, self._dice(), self._down.keys(), self._country):
            trunk = candidate.trunk
            if f"{trunk.ref} {candidate.peer_uri}" in tried:
                continue
            if not self.channels.acquire(trunk, leg, now):
                full = True
                self.refused_full += 1
                continue
            return self._chosen(candidate, number, caller)
        if full:
            return TrunkChosen("", reason=reasons.TOO_MANY_CALLS)
        return TrunkChosen("", reason=reasons.TRUNK_FAILED if tried else reasons.NO_ROUTE)

    def _chosen(self, candidate: Candidate, number: str, caller: str) -> TrunkChosen:
        trunk = candidate.trunk
        user = format_number(trunk, number, self._country)
        shown = format_number(trunk, caller, self._country) if caller else ""
        scheme, _, rest = candidate.peer_uri.partition(":")
        uri = f"{scheme}:{user}@{rest.rpartition('@')[2]};user=phone"
        return TrunkChosen(trunk.ref, candidate.peer_uri, uri, candidate.peer_uri, user, shown, "pai")

    def acquire(self, trunk: Trunk, leg: str, now: float) -> bool:
        """A channel for a call that comes in by ``trunk``."""
        return self.channels.acquire(trunk, leg, now)

    def release(self, trunk: str, leg: str) -> None:
        self.channels.release(trunk, leg)

    def failed(self, peer: str, now: float) -> None:
        """A peer was silent or said 503: others come first for a while."""
        self._down[peer] = now + PENALTY_S

    def answered(self, peer: str) -> None:
        self._down.pop(peer, None)

    def is_down(self, peer: str, now: float) -> bool:
        return self._down.get(peer, 0.0) > now

    def login(self, trunk: str) -> Login | None:
        """Our credentials towards the trunk's carrier."""
        found = self.directory.get(trunk)
        if found is None or not found.username or not found.password:
            return None
        return Login(found.username, found.password)
