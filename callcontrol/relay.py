"""Phones that hang on another node: requests for them go by that node, and so does what they say (RFC 5626 §5, RFC 3261 §16.11).

Only the node that a phone registered with has the connection, or the hole in the NAT, that leads to it.  The node of a call
sends its INVITE there with a Route that holds the flow, signed; the owner of the flow passes it on without any state, as a
proxy that record-routes, and passes back what the phone answers and asks.  What has to be known for that stands in the
messages: the flow in the Route, the way back in a parameter of our Via.

**A node that is dead** is not waited for: what its phones ask within a call is then taken for this node, which fetches the
call.  A request that came over a connection, and so will not be sent again by the phone, is kept until an answer passes.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from hashlib import blake2s
from hmac import compare_digest
from typing import Final, Protocol

from callcontrol.sip.build import response
from callcontrol.sip.endpoint import Endpoint
from callcontrol.sip.errors import RemoteProtocolError
from callcontrol.sip.fields import parse_name_addr, split_list
from callcontrol.sip.flow import Flow, Listener
from callcontrol.sip.message import Message
from callcontrol.sip.reception import stamp, stateless_tag
from callcontrol.sip.uri import parse_uri

MARK: Final = "flow~"
"""Start of the user part of our Routes."""
BRANCH: Final = "z9hG4bKrelay"
"""Start of the branches of what is passed on."""
_BACK: Final = re.compile(r";back=([A-Za-z0-9_-]+)")
_MAC_BYTES: Final = 10
_MAX_KEPT: Final = 10_000

Address = tuple[str, int]


class Homes(Protocol):
    """Which nodes live (``callcontrol.live.members``)."""

    def lives_at(self, address: Address) -> bool:
        """Whether a node that lives is reached at this address."""
        ...


class FlowTokens:
    """Flows as words that nobody else can make: ``home`` is the address of the node that a phone's requests go to."""

    def __init__(self, key: bytes) -> None:
        """``key``: shared by the nodes, at most 32 bytes."""
        self._key = key

    def make(self, flow: Flow, home: Address | None = None) -> str:
        """A word of letters, digits, - and _."""
        text = f"{flow.dump()}\n{f'{home[0]} {home[1]}' if home is not None else ''}".encode()
        return base64.urlsafe_b64encode(self._mac(text) + text).rstrip(b"=").decode()

    def read(self, word: str) -> tuple[Flow, Address | None] | None:
        """What ``make`` was given; None: the word is not of our making."""
        try:
            data = base64.urlsafe_b64decode(word + "=" * (-len(word) % 4))
        except (binascii.Error, ValueError):
            return None
        mac, text = data[:_MAC_BYTES], data[_MAC_BYTES:]
        if not compare_digest(mac, self._mac(text)):
            return None
        flow, _, home = text.decode().partition("\n")
        host, _, port = home.partition(" ")
        return Flow.load(flow), (host, int(port)) if home else None

    def _mac(self, text: bytes) -> bytes:
        return blake2s(text, digest_size=_MAC_BYTES, key=self._key, person=b"flow").digest()


def route(tokens: FlowTokens, flow: Flow, owner: str) -> str:
    """Route value by which a request reaches ``flow`` of the node at ``owner`` (host:port)."""
    return f"<sip:{MARK}{tokens.make(flow)}@{owner};lr>"


class _Kept:
    """A request of a phone that nobody has answered yet."""

    __slots__ = ("at", "flow", "home", "message", "out", "pause", "until")

    def __init__(self, message: Message, flow: Flow, home: Flow, out: bytes, now: float, t1: float) -> None:
        self.message = message
        self.flow = flow
        self.home = home
        self.out = out
        self.pause = t1
        self.at = now + t1
        self.until = now + 64 * t1


class FlowRelay:
    """See the module; ``Endpoint.relay`` is its ``takes``."""

    def __init__(
        self,
        endpoint: Endpoint,
        tokens: FlowTokens,
        homes: Homes,
        is_open: Callable[[int], bool],
        *,
        t1: float = 0.5,
        t2: float = 4.0,
    ) -> None:
        """``is_open``: whether a stream connection of this node is still there, by its id."""
        self._endpoint = endpoint
        self._tokens = tokens
        self._homes = homes
        self._is_open = is_open
        self._t1 = t1
        self._t2 = t2
        self._kept: dict[str, _Kept] = {}
        self.passed: dict[str, int] = {}
        """Messages passed on, by direction: ``to_phone``, ``to_node``, ``response``; and ``flow_gone``, ``node_gone``."""

    def takes(self, message: Message, flow: Flow, now: float) -> bool:
        """Pass a message on if it is for somebody else; False: it is for this node itself."""
        if not message.is_request:
            return message.branch.startswith(BRANCH) and self._response(message)
        first = message.get("route")
        return first is not None and MARK in first and self._request(message, flow, first, now)

    def tick(self, now: float) -> None:
        """Send again what came over a connection and has no answer; take it for this node when the other one has died."""
        for branch, kept in list(self._kept.items()):
            home = (kept.home.host, kept.home.port)
            if not self._homes.lives_at(home):
                del self._kept[branch]
                self._endpoint.receive(kept.message.data, kept.flow, now)
            elif now >= kept.until:
                del self._kept[branch]
            elif now >= kept.at:
                kept.pause = min(2 * kept.pause, self._t2)
                kept.at = now + kept.pause
                self._endpoint.transmit_request(kept.home, kept.message.method, kept.out)

    def __len__(self) -> int:
        return len(self._kept)

    # -- requests

    def _request(self, message: Message, flow: Flow, first: str, now: float) -> bool:
        found = self._read_route(first)
        if found is None:
            return False
        target, home = found
        if home is None:
            self._to_phone(message, flow, target)
            return True
        if not message.to_tag:
            return False  # what a phone begins it begins with us, and proves who it is
        if not self._same(flow, target) and not self._is_of_phone(message):
            self._to_phone(message, flow, target)
            return True
        return self._to_node(message, flow, home, now)

    def _read_route(self, first: str) -> tuple[Flow, Address | None] | None:
        try:
            user = parse_uri(parse_name_addr(split_list(first)[0]).uri).user
        except (RemoteProtocolError, IndexError):
            return None
        return self._tokens.read(user.removeprefix(MARK)) if user.startswith(MARK) else None

    @staticmethod
    def _same(flow: Flow, other: Flow) -> bool:
        return flow.key == other.key

    @staticmethod
    def _is_of_phone(message: Message) -> bool:
        """Its Request-URI is a Contact of ours: the phone's path has changed, a NAT gave it another port."""
        user = message.uri.partition(":")[2].partition("@")[0]
        return len(user) > 16 and user[16] == "."

    def _to_phone(self, message: Message, flow: Flow, target: Flow) -> None:
        listener = self._listener(target)
        if listener is None or (target.conn and not self._is_open(target.conn)):
            self._note("flow_gone")
            if message.method != "ACK":
                self._answer(message, flow, 430, "Flow Failed")
            return
        own = Flow(target.transport, target.host, target.port, listener.name, target.conn)
        record = ""
        if message.method == "INVITE":
            # written for the phone; the other node keeps to the address that it has
            token = self._tokens.make(own, (flow.host, flow.port))
            transport = "" if listener.transport == "udp" else f";transport={listener.transport}"
            record = f"<sip:{MARK}{token}@{listener.sent_by}{transport};lr>"
        self._pass(message, flow, own, listener, record, "to_phone")

    def _to_node(self, message: Message, flow: Flow, home: Address, now: float) -> bool:
        target = Flow("udp", home[0], home[1])
        listener = self._listener(target)
        if listener is None or not self._homes.lives_at(home):
            self._note("node_gone")
            return False
        own = Flow("udp", home[0], home[1], listener.name)
        out = self._pass(message, flow, own, listener, "", "to_node")
        if out is not None and flow.reliable and message.method != "ACK" and len(self._kept) < _MAX_KEPT:
            self._kept[self._branch(message)] = _Kept(message, flow, own, out, now, self._t1)
        return True

    def _pass(
        self, message: Message, flow: Flow, target: Flow, listener: Listener, record: str, direction: str
    ) -> bytes | None:
        """Send a request on: our Via on top, our Route taken off (RFC 3261 §16.6)."""
        if message.max_forwards == 0:
            if message.method != "ACK":
                self._answer(message, flow, 483, "Too Many Hops")
            return None
        back = self._tokens.make(stamp(message, flow))
        lines = [
            f"{message.method} {message.uri} SIP/2.0",
            f"{listener.via}{self._branch(message)};back={back}",
        ]
        if record:
            lines.append(f"Record-Route: {record}")
        taken = False
        for name, value, raw in message.headers:
            if name == "route" and not taken:
                taken = True
                rest = split_list(value)[1:]
                if rest:
                    lines.append(f"Route: {', '.join(rest)}")
            elif name == "max-forwards":
                lines.append(f"Max-Forwards: {message.max_forwards - 1}")
            else:
                lines.append(raw)
        out = _written(lines, message)
        self._note(direction)
        self._endpoint.transmit_request(target, message.method, out)
        return out

    def _branch(self, message: Message) -> str:
        """The same for each repetition, for the CANCEL, and for the ACK of a refusal (§16.11)."""
        text = f"{message.branch}|{message.sent_by}|{message.call_id}"
        return BRANCH + blake2s(text.encode("utf-8", "surrogateescape"), digest_size=10).hexdigest()

    def _answer(self, message: Message, flow: Flow, status: int, reason: str) -> None:
        tag = stateless_tag(message, self._endpoint.secret)
        self._endpoint.send_stateless_response(message, flow, response(message, status, reason, to_tag=tag))

    def _listener(self, flow: Flow) -> Listener | None:
        listeners = self._endpoint.listeners
        return (listeners.get(flow.listener) if flow.listener else None) or listeners.pick(
            flow.transport, flow.host
        )

    # -- responses

    def _response(self, message: Message) -> bool:
        match = _BACK.search(message.top_via)
        found = self._tokens.read(match.group(1)) if match is not None else None
        if found is None:
            return False
        self._kept.pop(message.branch, None)
        lines = [f"SIP/2.0 {message.status} {message.reason}"]
        taken = False
        for name, value, raw in message.headers:
            if name == "via" and not taken:
                taken = True
                rest = split_list(value)[1:]
                if rest:
                    lines.append(f"Via: {', '.join(rest)}")
            else:
                lines.append(raw)
        self._note("response")
        self._endpoint.transmit_response(found[0], message.status, _written(lines, message))
        return True

    def _note(self, what: str) -> None:
        self.passed[what] = self.passed.get(what, 0) + 1


def _written(lines: list[str], message: Message) -> bytes:
    if not message.has("content-length"):
        lines.append(f"Content-Length: {len(message.body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "surrogateescape") + message.body
