"""The wires between the server and its parties: datagrams that are lost, late, doubled; streams that break; partitions.

Every party has a path of its own, whose weather changes.  A stream keeps order and loses nothing as long as it stands; what
waits on it longer than the server's TCP_USER_TIMEOUT breaks it.
"""

from __future__ import annotations

import random
from collections import deque
from typing import TYPE_CHECKING, Final

from callcontrol.sip.flow import Flow
from tests.simulation.clock import Clock
from tests.simulation.text import Heard, Note

if TYPE_CHECKING:
    from tests.simulation.party import Party
    from tests.simulation.server import Server

SERVER: Final = "10.0.0.1"
STREAM_TIMEOUT: Final = 20.0
"""Seconds after which unacknowledged data breaks a connection (``callcontrol.transport.streams``)."""


class Path:
    """Weather between one party and the server."""

    __slots__ = ("cut_down", "cut_up", "double", "jitter", "latency", "loss")

    def __init__(self, latency: float, jitter: float, loss: float, double: float) -> None:
        self.latency = latency
        self.jitter = jitter
        self.loss = loss
        """Share of datagrams that are lost."""
        self.double = double
        self.cut_up = 0.0
        """Until when nothing reaches the server."""
        self.cut_down = 0.0
        """Until when nothing reaches the party."""


class Stream:
    """A TCP connection."""

    __slots__ = ("abandoned", "by_server", "conn", "down_at", "open", "party", "port", "up_at")

    def __init__(self, conn: int, party: Party, by_server: bool, port: int) -> None:
        self.conn = conn
        self.party = party
        self.by_server = by_server
        self.port = port
        """The party's port."""
        self.open = True
        self.abandoned = False
        """The party died without closing it: the server learns it when it sends."""
        self.up_at = 0.0
        """When the last message upwards arrives: the next one is not earlier."""
        self.down_at = 0.0


class Passing:
    """One message that was sent, for the ladder of a failing run."""

    __slots__ = ("at", "call_id", "data", "fate", "party", "upwards")

    def __init__(self, at: float, party: str, upwards: bool, call_id: str, data: bytes, fate: str) -> None:
        self.at = at
        self.party = party
        self.upwards = upwards
        self.call_id = call_id
        self.data = data
        self.fate = fate
        """Empty when it arrived, or will."""


class Network:
    """See the module."""

    def __init__(self, clock: Clock, dice: random.Random) -> None:
        self.clock = clock
        self.dice = dice
        self.server: Server
        self.parties: dict[str, Party] = {}
        """By address."""
        self.streams: dict[int, Stream] = {}
        self.passed: deque[Passing] = deque(maxlen=30_000)
        self.sent = 0
        self.lost = 0
        self._conn = 1000
        self._flows: dict[str, Flow] = {}

    # -- from parties -----------------------------------------------------------------------------------------

    def up(self, party: Party, note: Note, stream: Stream | None) -> None:
        """A party sends to the server, over a stream or as a datagram."""
        self.sent += 1
        if stream is not None:
            self._up_stream(party, stream, note)
            return
        path, now, dice = party.path, self.clock.now, self.dice
        flow = self._flows.get(party.host)
        if flow is None:
            flow = self._flows[party.host] = Flow("udp", party.host, 5060, f"udp:{SERVER}:5060")
        if now < path.cut_up or dice.random() < path.loss:
            self.lost += 1
            self.passed.append(Passing(now, party.name, True, note.call_id, note.data, "lost"))
            return
        self.passed.append(Passing(now, party.name, True, note.call_id, note.data, ""))
        self.clock.after(path.latency + path.jitter * dice.random(), self.server.arrive, note, flow, party)
        if dice.random() < path.double:
            self.clock.after(
                path.latency + 4 * path.jitter * dice.random(), self.server.arrive, note, flow, party
            )

    def _up_stream(self, party: Party, stream: Stream, note: Note) -> None:
        now, path = self.clock.now, party.path
        if not stream.open:
            self.passed.append(Passing(now, party.name, True, note.call_id, note.data, "no connection"))
            return
        self.passed.append(Passing(now, party.name, True, note.call_id, note.data, ""))
        at = max(now, path.cut_up) + path.latency
        if at - now > STREAM_TIMEOUT:
            self.clock.at(now + STREAM_TIMEOUT, self.break_stream, stream)
            return
        stream.up_at = max(stream.up_at, at)
        self.clock.at(stream.up_at, self._arrive_stream, note, stream)

    def _arrive_stream(self, note: Note, stream: Stream) -> None:
        if stream.open:
            flow = Flow("tcp", stream.party.host, stream.port, f"tcp:{SERVER}:5060", stream.conn)
            self.server.arrive(note, flow, stream.party)

    def connect(self, party: Party) -> Stream:
        """A party opens a connection to the server."""
        self._conn += 1
        stream = Stream(self._conn, party, False, 30000 + self._conn % 30000)
        self.streams[stream.conn] = stream
        return stream

    def break_stream(self, stream: Stream, silent: bool = False) -> None:
        """Both ends learn that a connection is gone; ``silent``: the server does not."""
        if not stream.open:
            return
        stream.open = False
        self.streams.pop(stream.conn, None)
        if not silent:
            self.clock.after(stream.party.path.latency, self.server.stream_gone, stream)
        self.clock.after(stream.party.path.latency, stream.party.stream_gone, stream)

    # -- from the server --------------------------------------------------------------------------------------

    def down(self, flow: Flow, heard: Heard) -> bool:
        """The server sends; False when it has no connection for it."""
        self.sent += 1
        party = self.parties.get(flow.host)
        now = self.clock.now
        if party is None:
            self.lost += 1
            self.passed.append(Passing(now, flow.host, False, heard.call_id, heard.data, "nobody there"))
            return True
        if flow.reliable:
            return self._down_stream(flow, party, heard)
        path, dice = party.path, self.dice
        if not party.up or now < path.cut_down or dice.random() < path.loss:
            self.lost += 1
            fate = "lost" if party.up else "party is dead"
            self.passed.append(Passing(now, party.name, False, heard.call_id, heard.data, fate))
            return True
        self.passed.append(Passing(now, party.name, False, heard.call_id, heard.data, ""))
        self.clock.after(path.latency + path.jitter * dice.random(), party.hear, heard, party.life)
        if dice.random() < path.double:
            self.clock.after(path.latency + 4 * path.jitter * dice.random(), party.hear, heard, party.life)
        return True

    def _down_stream(self, flow: Flow, party: Party, heard: Heard) -> bool:
        now = self.clock.now
        stream = self.streams.get(flow.conn) if flow.conn else self._server_stream(party)
        if stream is None:
            self.passed.append(Passing(now, party.name, False, heard.call_id, heard.data, "no connection"))
            return False
        if stream.abandoned or now < party.path.cut_down - STREAM_TIMEOUT:
            self.lost += 1
            self.passed.append(Passing(now, party.name, False, heard.call_id, heard.data, "stuck"))
            # a machine that came back knows nothing of the connection and resets it
            self.clock.after(
                2 * party.path.latency if party.up else STREAM_TIMEOUT, self.break_stream, stream
            )
            return True
        self.passed.append(Passing(now, party.name, False, heard.call_id, heard.data, ""))
        stream.down_at = max(stream.down_at, max(now, party.path.cut_down) + party.path.latency)
        self.clock.at(stream.down_at, self._hear_stream, heard, stream, party.life)
        return True

    def _hear_stream(self, heard: Heard, stream: Stream, life: int) -> None:
        if stream.open and not stream.abandoned:
            stream.party.hear(heard, life, stream)

    def _server_stream(self, party: Party) -> Stream | None:
        """The connection that the server opened to a party, or a new one; None when the party refuses it."""
        for stream in self.streams.values():
            if stream.party is party and stream.by_server:
                return stream
        if not party.up or not party.accepts_streams or self.clock.now < party.path.cut_down:
            return None
        self._conn += 1
        stream = Stream(self._conn, party, True, 5060)
        self.streams[stream.conn] = stream
        return stream

    def server_died(self) -> None:
        """Its connections end with a process."""
        for stream in list(self.streams.values()):
            self.break_stream(stream, silent=True)
