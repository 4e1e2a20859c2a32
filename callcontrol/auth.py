"""Digest authentication, server side (RFC 7616, RFC 8760, RFC 3261 §22): challenges, nonces, replay
protection.

**Challenges.** SHA-256 first, then MD5 (RFC 8760 §2.3); over WebSocket MD5 first, because JsSIP and SIP.js
know only MD5 and read only the first challenge.  Both carry the same nonce.  Only qop "auth" is offered.

**Nonces** are stateless: time, a counter, and a keyed hash over both and over the address that asked.  So
they expire by themselves, any node with the same secret accepts them, and an answer to one proves that the
sender receives at its address (`Verdict.proven`), which `callcontrol.limits` needs to know before it bans
anybody. A phone that changes its address is challenged once more, with ``stale=true``, and answers without
asking its user.  The same happens after the nonce has expired, after a change of the secret, and for a
replay.

**Replays.**  A nonce count may be used once per nonce.  Counts may arrive out of order within a window of
64, since a phone may have several requests under way.  Retransmissions never get here (the transaction
layer absorbs them); a request sent anew with an old count is a replay, and is challenged with
``stale=true`` rather than refused: its sender knew the password when it was made, so an honest phone simply
answers again, and a thief cannot.  Without qop (RFC 2069) there is no count: such a nonce serves once.
Memory is taken only by those who knew a password, and is bounded; when it is full the oldest nonces are
forgotten *and no longer accepted*, as are those from before a restart.  Counts are remembered per node:
nodes that share a secret accept a count once each.

**Strangers learn nothing**: an unknown user and a wrong password cost the same work, are compared in
constant time and get the same answer.  ``stale=true`` is only ever said to someone who knew the password
(RFC 7616 §3.3).

Left out: auth-int (refused in so many words), -sess algorithms and userhash (never offered), nextnonce.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from ipaddress import ip_address
from typing import Final, Literal, Protocol

from callcontrol.limits import address_key
from callcontrol.sip import build, digest
from callcontrol.sip.digest import Credentials
from callcontrol.sip.errors import RemoteProtocolError
from callcontrol.sip.message import Message
from callcontrol.sip.uri import parse_uri, same
from numbering.models import Device

NONE: Final = "none"
"""No credentials for our realm: the usual first request."""
BAD: Final = "bad"
"""Unknown user or wrong password; which of the two is not told, not even here."""
STALE: Final = "stale"
REPLAY: Final = "replay"
ALGORITHM: Final = "algorithm"
QOP: Final = "qop"
AUTH_INT: Final = "auth-int"
URI: Final = "uri"
MALFORMED: Final = "malformed"
OK: Final = "ok"

_TEXTS: Final[dict[str, str]] = {
    AUTH_INT: "qop auth-int is not supported, use auth",
    URI: "digest-uri differs from the Request-URI",
    MALFORMED: "malformed credentials",
}
"""Refusals that another challenge would not mend: answered with 400 (RFC 7616 §3.4.6) and this text."""

_WINDOW: Final = 64
_MAX_CREDENTIALS: Final = 4
"""Header lines looked at: pjsip may send one per algorithm, and old ones beside new ones."""
_STAMP: Final = 11
_COUNTER: Final = 6
_HEAD: Final = _STAMP + _COUNTER
_MAC: Final = 20


class Secret(Protocol):
    """What we know about one user."""

    def ha1(self, algorithm: str) -> str | None:
        """H(username:realm:password) for "SHA-256" or "MD5"; None when this one is not at hand."""
        ...


class Password:
    """A plain password."""

    __slots__ = ("_password", "_realm", "_username")

    def __init__(self, username: str, realm: str, password: str) -> None:
        self._username = username
        self._realm = realm
        self._password = password

    def ha1(self, algorithm: str) -> str | None:
        return digest.ha1(algorithm, self._username, self._realm, self._password)


class Ha1Table:
    """Hashes by algorithm, for a directory that holds no passwords."""

    __slots__ = ("_hashes",)

    def __init__(self, hashes: dict[str, str]) -> None:
        self._hashes = hashes

    def ha1(self, algorithm: str) -> str | None:
        return self._hashes.get(algorithm)


Lookup = Callable[[str], Secret | None]
"""From a user name, as the peer spelt it, to what we know; None for a stranger."""


class Devices(Protocol):
    """What a `DeviceSecrets` asks the directory."""

    def device_by_username(self, username: str) -> Device | None: ...


class DeviceSecrets:
    """The `Lookup` over the directory: devices without a password do not exist for it."""

    __slots__ = ("_devices", "_realm")

    def __init__(self, devices: Devices, realm: str) -> None:
        self._devices = devices
        self._realm = realm

    def __call__(self, username: str) -> Secret | None:
        device = self._devices.device_by_username(username)
        if device is None or not device.sip_password:
            return None
        return Password(username, self._realm, device.sip_password)


class Verdict:
    """What became of a request's credentials."""

    __slots__ = ("ok", "proven", "reason", "stale", "username")

    def __init__(self, reason: str, username: str = "", *, proven: bool = False) -> None:
        self.ok: bool = reason == OK
        self.username: str = username
        """Who it is, or claims to be."""
        self.reason: str = reason
        self.stale: bool = reason in (STALE, REPLAY)
        """The password was right; only the nonce must be a new one."""
        self.proven: bool = proven
        """The nonce was issued to this very address: the sender receives there."""

    def __repr__(self) -> str:
        return f"Verdict({self.reason!r}, {self.username!r})"


MD5_AGENTS: Final = ("sipp", "load-", "baresip v0.", "baresip v1.")
"""SIPp reads only the first challenge and knows MD5; old baresip stops at an algorithm that it does not know.

Browsers' stacks know MD5 alone too, and read the first challenge (SIP.js) or the last (JsSIP): over WebSocket there is one.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class DigestPolicy:
    """Figures and switches of a `DigestServer`."""

    algorithms: tuple[str, ...] = ("SHA-256", "MD5")
    """Offered, in this order (RFC 8760 §2.3: the one we like best first); not more than these are accepted."""
    md5_agents: tuple[str, ...] = MD5_AGENTS
    """Parts of User-Agent values, lower case, whose owners are offered MD5 alone: they give up when they see another
    algorithm.  MD5 is accepted anyway, so whoever forges a User-Agent wins nothing by it.
    """
    nonce_s: float = 300.0
    """Life of a nonce."""
    max_nonces: int = 65536
    """Nonces whose counts are remembered."""
    allow_without_qop: bool = True
    """Accept the form of RFC 2069, as old phones use it; a nonce then serves once."""
    uri_check: Literal["strict", "lenient", "off"] = "lenient"
    """digest-uri against Request-URI. Lenient: scheme, port and parameters may differ, and the host where
    one of the two is an address, since proxies and ALGs rewrite it; the user part must agree, or be left out
    (SIPp writes ``sip:host:port`` whatever it calls).  A nonce count serves once, so this opens no replay.
    """


class _Uses:
    """Counts seen with one nonce: the highest, and which of the 64 up to it."""

    __slots__ = ("highest", "seen")

    def __init__(self) -> None:
        self.highest = -1
        self.seen = 0

    def take(self, count: int) -> bool:
        """True when the count is new."""
        if count > self.highest:
            shift = min(count - self.highest, _WINDOW)
            self.seen = ((self.seen << shift) | 1) & ((1 << _WINDOW) - 1)
            self.highest = count
            return True
        behind = self.highest - count
        if behind >= _WINDOW or self.seen >> behind & 1:
            return False
        self.seen |= 1 << behind
        return True


_LAST: Final = 1 << 40
"""A count above all that eight hex digits hold: nothing may follow it."""


class DigestServer:
    """Challenges and checks for one realm.  ``counters``: plain ints by `Verdict.reason`."""

    def __init__(self, realm: str, secret: bytes, policy: DigestPolicy | None = None) -> None:
        """``secret``: at least 16 random bytes, the same on all nodes of a cluster; ValueError if shorter."""
        if len(secret) < 16:
            raise ValueError("the secret of the nonces needs at least 16 bytes")
        self.realm = realm
        self._policy = policy or DigestPolicy()
        # One key per purpose, so that no output of one can be used for another.
        self._nonce_key = blake2b(secret, person=b"sip-nonce").digest()
        self._tag_key = blake2b(secret, person=b"sip-tag").digest()
        self._dummy = blake2b(secret, person=b"sip-dummy").hexdigest()
        self._counter = 0
        self._uses: dict[str, _Uses] = {}
        # Time as it is seen here never runs backwards: a clock set back must neither revive nonces nor refuse
        # new ones as if they were old.
        self._clock = 0.0
        self._forgotten = ""
        self.counters: dict[str, int] = dict.fromkeys(
            (OK, NONE, BAD, STALE, REPLAY, ALGORITHM, QOP, AUTH_INT, URI, MALFORMED), 0
        )

    # -- challenges

    def challenge(
        self,
        now: float,
        *,
        source: str = "",
        transport: str = "udp",
        stale: bool = False,
        proxy: bool = False,
        agent: str = "",
    ) -> list[tuple[str, str]]:
        """Header lines of a 401 (``proxy``: of a 407) for a request from ``source`` over ``transport``; ``agent``:
        its User-Agent."""
        nonce = self._make_nonce(now, source)
        algorithms: Sequence[str] = self._policy.algorithms
        if "MD5" in algorithms and (transport in ("ws", "wss") or self._knows_md5_only(agent)):
            algorithms = ("MD5",)
        name = "proxy-authenticate" if proxy else "www-authenticate"
        return [
            (name, digest.make_challenge(self.realm, nonce, algorithm, stale)) for algorithm in algorithms
        ]

    def _knows_md5_only(self, agent: str) -> bool:
        lowered = agent.lower()
        return any(part in lowered for part in self._policy.md5_agents)

    def refuse(self, message: Message, verdict: Verdict, now: float, *, source: str, transport: str) -> bytes:
        """The response to a request whose verdict is not ok: 401 to REGISTER, 407 to others, or 400."""
        text = _TEXTS.get(verdict.reason)
        tag = self.tag(message)
        if text is not None:
            return build.response(
                message, 400, to_tag=tag, headers=[("warning", f'399 {self.realm} "{text}"')]
            )
        proxy = message.method != "REGISTER"
        agent = message.get("user-agent") or ""
        headers = self.challenge(
            now, source=source, transport=transport, stale=verdict.stale, proxy=proxy, agent=agent
        )
        return build.response(message, 407 if proxy else 401, to_tag=tag, headers=headers)

    def tag(self, message: Message) -> str:
        """A To tag for a final response: unguessable, and the same for the same request (RFC 3261 §8.2.7)."""
        text = f"{message.call_id}\0{message.from_tag}\0{message.branch}"
        return blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8, key=self._tag_key).hexdigest()

    def _make_nonce(self, now: float, source: str) -> str:
        self._counter = (self._counter + 1) & 0xFFFFFF
        head = f"{_stamp(self._time(now))}{self._counter:0{_COUNTER}x}"
        return head + self._mac(head, source)

    def _time(self, now: float) -> float:
        if now > self._clock:
            if not self._clock:
                # What was answered before we started is not remembered, so those nonces are not accepted.
                self._forgotten = _stamp(now) + "0" * _COUNTER
            self._clock = now
        return self._clock

    def _mac(self, head: str, source: str) -> str:
        text = f"{head} {address_key(source)}".encode()
        return blake2b(text, digest_size=_MAC // 2, key=self._nonce_key).hexdigest()

    # -- checks

    def check(
        self, message: Message, method: str, now: float, lookup: Lookup, *, source: str = ""
    ) -> Verdict:
        """Judge a request's credentials.  Authorization and Proxy-Authorization count alike.

        Of several for our realm the first good one counts, else the one that came nearest.  Never raises for
        what the peer sent.
        """
        best = Verdict(NONE)
        rank = 0
        seen = 0
        for value in message.all("authorization") + message.all("proxy-authorization"):
            seen += 1
            if seen > _MAX_CREDENTIALS:
                break
            try:
                credentials = digest.parse_credentials(value)
            except RemoteProtocolError:
                verdict = Verdict(MALFORMED)
            else:
                if credentials.scheme != "digest" or credentials.realm != self.realm:
                    continue
                verdict = self._judge(credentials, message, method, now, lookup, source)
            if verdict.ok:
                best = verdict
                break
            # Stale beats bad: an old header that a phone sends along must not make it ask for a password.
            worth = 3 if verdict.stale else 2 if verdict.reason == BAD else 1
            if worth > rank:
                best, rank = verdict, worth
        self.counters[best.reason] += 1
        return best

    def _judge(
        self,
        credentials: Credentials,
        message: Message,
        method: str,
        now: float,
        lookup: Lookup,
        source: str,
    ) -> Verdict:
        username = credentials.username
        if credentials.algorithm not in self._policy.algorithms:
            return Verdict(ALGORITHM, username)
        if credentials.qop != "auth":
            if credentials.qop == "auth-int":
                return Verdict(AUTH_INT, username)
            if credentials.qop or not self._policy.allow_without_qop:
                return Verdict(QOP, username)
        if not self._uri_fits(credentials.uri, message.uri):
            return Verdict(URI, username)
        known = self._password_fits(credentials, method, lookup)
        issued_ms = self._issued(credentials.nonce, source)
        proven = issued_ms >= 0
        age = self._time(now) - issued_ms / 1000
        fresh = proven and age <= self._policy.nonce_s
        if not known:
            return Verdict(BAD, username, proven=fresh)
        # Issued in the future: another node's clock is ahead; a second is forgiven.
        if not fresh or age < -1.0:
            return Verdict(STALE, username)
        count = int(credentials.nc, 16) if credentials.qop else _LAST
        return Verdict(self._use(credentials.nonce, count), username, proven=True)

    def _password_fits(self, credentials: Credentials, method: str, lookup: Lookup) -> bool:
        secret = lookup(credentials.username)
        # A stranger costs the same hashes as a subscriber: there is a password for everybody, only it never
        # fits.
        dummy = Password(credentials.username, self.realm, self._dummy)
        held = (secret or dummy).ha1(credentials.algorithm)
        known = secret is not None and held is not None
        expected = digest.response_digest(
            credentials.algorithm,
            held or self._dummy,
            method,
            credentials.uri,
            credentials.nonce,
            credentials.cnonce,
            credentials.nc,
            credentials.qop,
        )
        answered = credentials.response.encode("utf-8", "surrogateescape")
        return hmac.compare_digest(expected.encode("ascii"), answered) and known

    def _issued(self, nonce: str, source: str) -> int:
        """When we issued a nonce to this source, in ms; -1 when we did not."""
        head = nonce[:_HEAD]
        if len(nonce) != _HEAD + _MAC or not nonce.isascii():
            return -1
        if not hmac.compare_digest(self._mac(head, source), nonce[_HEAD:]):
            return -1
        return int(head[:_STAMP], 16)

    def _use(self, nonce: str, count: int) -> str:
        """Note one use of a nonce by someone who knew the password: OK, REPLAY or STALE."""
        uses = self._uses.get(nonce)
        if uses is None:
            # Heads are of fixed width and in the order of issue, so that they compare as text.
            if nonce[:_HEAD] <= self._forgotten:
                # Its uses may have been forgotten: it is refused, not trusted.
                return STALE
            self._make_room()
            uses = self._uses[nonce] = _Uses()
        return OK if uses.take(count) else REPLAY

    def _make_room(self) -> None:
        """Forget up to two nonces that have expired; when full, the one first used, however fresh."""
        limit = _stamp(self._clock - self._policy.nonce_s)
        for _ in range(2):
            oldest = next(iter(self._uses), None)
            if oldest is None or (oldest >= limit and len(self._uses) < self._policy.max_nonces):
                return
            del self._uses[oldest]
            self._forgotten = max(self._forgotten, oldest[:_HEAD])

    def _uri_fits(self, claimed: str, actual: str) -> bool:
        mode = self._policy.uri_check
        if claimed == actual or mode == "off":
            return True
        try:
            one, other = parse_uri(claimed), parse_uri(actual)
        except RemoteProtocolError:
            return False
        if mode == "strict":
            return same(one, other)
        if (one.user and one.user != other.user) or one.rest != other.rest:
            return False
        return one.host == other.host or _is_address(one.host) or _is_address(other.host)


def _stamp(now: float) -> str:
    return f"{int(now * 1000):0{_STAMP}x}"


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
