"""Choosing the trunk peer of a leg, when it is dialled: health, load and channels are live (OUT, trunks).

The ranking is pure (``gateway.routes``); here lie the things it needs from the moment: which peers are well
(``gateway.health``), where we are registered, and whether a channel is free.
"""

from __future__ import annotations

from collections.abc import Callable, Set
from typing import Final, Protocol

from callcontrol.b2bua.events import TrunkChosen
from callcontrol.b2bua.identity import TrunkProfile
from callcontrol.sip.digest_client import Login
from callcontrol.sip.message import Message
from dialplan import reasons
from gateway.capacity import FULL, GRANTED, Done, TrunkChannels
from gateway.gateway_numbers import GatewayDirectory
from gateway.health import Health
from gateway.profile import long_name
from gateway.routes import Candidate, Route, explain, format_caller, format_number, peer_key, rank
from gateway.trunk import Trunk, TrunkDirectory

_MAX_RETRY_AFTER: Final = 9
"""Digits of a Retry-After that are read."""


class Registered(Protocol):
    """Who knows where we are registered (``callcontrol.trunk_registration``)."""

    def routes(self, trunk: str, peer: str) -> list[str] | None:
        """Service-Route of the registration at a peer (RFC 3608); None when we are not registered there."""
        ...


class Trunking:
    """Picks trunk peers and keeps their channels."""

    def __init__(
        self,
        directory: TrunkDirectory,
        channels: TrunkChannels,
        health: Health,
        country: str,
        dice: Callable[[], float],
    ) -> None:
        self.directory = directory
        self.channels = channels
        self.health = health
        self.registered: Registered | None = None
        """None: nobody registers, and trunks that should are used as they are."""
        self.gateways: GatewayDirectory | None = None
        """Gateway numbers: a leg that shows one goes out by the trunk that the number is on, where that takes it."""
        self.country = country
        self._dice = dice
        self._followed: int | None = None
        self._profiles: dict[str, tuple[Trunk, TrunkProfile]] = {}
        self._registering: dict[str, tuple[str, str]] = {}
        """Keys of the peers of trunks that register -> (trunk, peer)."""
        self.refused_full = 0
        self.refused_rate = 0
        self.failovers: dict[str, int] = {}
        """Attempts that were followed by another one, by the trunk that failed."""

    def follow(self, now: float) -> None:
        """Take notice of changed provisioning; costs nothing when there is none."""
        if self._followed == self.directory.version:
            return
        self._followed = self.directory.version
        self._profiles = {}
        trunks = self.directory.all()
        self.health.watch({peer_key(t.ref, peer): t.options_seconds for t in trunks for peer in t.peers}, now)
        self._registering = {
            peer_key(t.ref, peer): (t.ref, peer) for t in trunks if t.register for peer in t.peers
        }

    # -- outgoing -------------------------------------------------------------------------------------------

    def choose(
        self,
        number: str,
        caller: str,
        tried: list[str],
        leg: str,
        now: float,
        done: Callable[[TrunkChosen], None],
    ) -> None:
        """The next peer for ``number``; ``tried`` holds ``trunk peer`` keys of the attempts so far, and ``trunk *``.

        ``done`` is told once; before this returns where the channels are in memory.
        """
        self.follow(now)
        if tried:
            failed = tried[-1].partition(" ")[0]
            self.failovers[failed] = self.failovers.get(failed, 0) + 1
        _Choice(self, self.candidates(number, now, caller), number, caller, tried, leg, now, done).go_on()

    def candidates(self, number: str, now: float, caller: str = "") -> tuple[Candidate, ...]:
        """Peers for ``number`` in the order in which they would be tried now.

        ``caller``: the number that is shown.  If it is a gateway number, the trunk that it is on comes first, provided that
        it terminates ``number``: another carrier may not believe that it is ours, and the SIM's bill would show a stranger.
        Peers of it that failed a call of late are tried last all the same.
        """
        last, down = self._levels(now)
        found = rank(self.directory, number, self._dice(), last, down, self.country)
        shown = self.gateways.get(caller) if self.gateways is not None and caller else None
        if shown is None:
            return found
        own = [each for each in found if each.trunk.ref == shown.trunk and each.key not in last]
        return (*own, *(each for each in found if each not in own)) if own else found

    def routes(self, number: str, now: float) -> tuple[Route, ...]:
        """The same order without dice, and why it is so; for operators."""
        self.follow(now)
        last, down = self._levels(now)
        return explain(self.directory, number, last, down, self.country)

    def _levels(self, now: float) -> tuple[Set[str], Set[str]]:
        last, down = self.health.levels(now)
        away = self._unregistered()
        return (last | away if away else last), down

    def _unregistered(self) -> set[str]:
        """Peers of trunks that register where we are not registered: they would ask who we are."""
        registered = self.registered
        if not self._registering or registered is None:
            return set()
        return {
            key for key, (trunk, peer) in self._registering.items() if registered.routes(trunk, peer) is None
        }

    def chosen(self, candidate: Candidate, number: str, caller: str, leg: str) -> TrunkChosen:
        """What is dialled at a peer."""
        trunk, peer = candidate.trunk, candidate.peer_uri
        user = format_number(trunk, number, self.country)
        shown = format_caller(trunk, caller, self.country) if caller else ""
        scheme, _, rest = peer.partition(":")
        home = trunk.registrar.partition(":")[2] if trunk.registrar else rest
        routes = (
            self.registered.routes(trunk.ref, peer)
            if self.registered is not None and trunk.register
            else None
        )
        return TrunkChosen(
            trunk.ref,
            peer,
            f"{scheme}:{user}@{home.rpartition('@')[2]};user=phone",
            peer,
            user,
            shown,
            "",
            self._profile(trunk),
            leg,
            routes,
        )

    def _profile(self, trunk: Trunk) -> TrunkProfile:
        known = self._profiles.get(trunk.ref)
        if known is not None and known[0] is trunk:
            return known[1]
        made = TrunkProfile(
            trunk.identity.value,
            trunk.trusted,
            trunk.privacy.value,
            trunk.diversion.value,
            our_domain(trunk),
            trunk.host,
            tuple((rule.action.value, long_name(rule.name), rule.value) for rule in trunk.headers),
        )
        self._profiles[trunk.ref] = (trunk, made)
        return made

    # -- channels -------------------------------------------------------------------------------------------

    def acquire(self, trunk: Trunk, leg: str, now: float, done: Done) -> None:
        """A channel for a call that comes in by ``trunk``."""
        self.channels.acquire(trunk, leg, now, done)

    def restore(self, trunk: str, leg: str, now: float) -> None:
        """A leg of a call that was taken over has a channel."""
        self.channels.restore(trunk, leg, now)

    def release(self, trunk: str, leg: str) -> None:
        self.channels.release(trunk, leg)

    # -- what calls tell of peers ---------------------------------------------------------------------------

    def failed(self, trunk: str, peer: str, why: str, retry_after: float, now: float) -> None:
        """A peer was silent, could not be reached, or said 503 (with ``retry_after`` seconds, 0: none)."""
        self.health.call_failed(peer_key(trunk, peer), why, retry_after, now)

    def answered(self, trunk: str, peer: str, now: float) -> None:
        self.health.call_answered(peer_key(trunk, peer), now)

    def login(self, trunk: str) -> Login | None:
        """Our credentials towards the trunk's carrier."""
        found = self.directory.get(trunk)
        if found is None or not found.login:
            return None
        return Login(found.login, found.password)


class _Choice:
    """Goes through the candidates until one has a free channel.  Answers may come at once or later."""

    __slots__ = (
        "_asking",
        "_at",
        "_caller",
        "_candidates",
        "_done",
        "_full",
        "_leg",
        "_now",
        "_number",
        "_outcome",
        "_tried",
        "_trunking",
    )

    def __init__(
        self,
        trunking: Trunking,
        candidates: tuple[Candidate, ...],
        number: str,
        caller: str,
        tried: list[str],
        leg: str,
        now: float,
        done: Callable[[TrunkChosen], None],
    ) -> None:
        self._trunking = trunking
        self._candidates = candidates
        self._number = number
        self._caller = caller
        self._tried = tried
        self._leg = leg
        self._now = now
        self._done = done
        self._at = 0
        self._full = False
        self._asking = False
        """``acquire`` has not returned: an answer is noted and taken up after it."""
        self._outcome = ""

    def go_on(self) -> None:
        while self._at < len(self._candidates):
            candidate = self._candidates[self._at]
            if self._is_tried(candidate):
                self._at += 1
                continue
            self._outcome = ""
            self._asking = True
            self._trunking.channels.acquire(candidate.trunk, self._leg, self._now, self._answered)
            self._asking = False
            if not self._outcome or self._take(self._outcome):
                return
        if self._full:
            self._done(TrunkChosen("", reason=reasons.TOO_MANY_CALLS))
        else:
            self._done(TrunkChosen("", reason=reasons.TRUNK_FAILED if self._tried else reasons.NO_ROUTE))

    def _is_tried(self, candidate: Candidate) -> bool:
        tried = self._tried
        return bool(tried) and (candidate.key in tried or f"{candidate.trunk.ref} *" in tried)

    def _answered(self, outcome: str) -> None:
        if self._asking:
            self._outcome = outcome
        elif not self._take(outcome):
            self.go_on()

    def _take(self, outcome: str) -> bool:
        """True when the choice is made."""
        trunking = self._trunking
        candidate = self._candidates[self._at]
        self._at += 1
        if outcome == GRANTED:
            self._done(trunking.chosen(candidate, self._number, self._caller, self._leg))
            return True
        self._full = True
        if outcome == FULL:
            trunking.refused_full += 1
        else:
            trunking.refused_rate += 1
        # the other peers of a trunk share its channels
        while self._at < len(self._candidates) and self._candidates[self._at].trunk is candidate.trunk:
            self._at += 1
        return False


def our_domain(trunk: Trunk) -> str:
    """Host of our identities towards a trunk; empty: the platform's domain."""
    if trunk.domain or not trunk.register:
        return trunk.domain
    return host_of(trunk.registrar or next(iter(trunk.peers), ""))


def host_of(uri: str) -> str:
    """The host of a peer's URI, without port; IPv6 in its brackets."""
    rest = uri.partition(":")[2].partition(";")[0].rpartition("@")[2]
    if rest.startswith("["):
        return rest.partition("]")[0] + "]"
    return rest.partition(":")[0]


def retry_after(message: Message) -> float:
    """Seconds of a Retry-After header (RFC 3261 §20.33); 0 when there is none that can be read."""
    text = (message.get("retry-after") or "").partition(";")[0].partition("(")[0].strip()
    return float(text) if text.isascii() and text.isdigit() and len(text) <= _MAX_RETRY_AFTER else 0.0
