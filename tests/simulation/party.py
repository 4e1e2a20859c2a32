"""What every party of the simulation has: an address, a path, and transactions of its own (RFC 3261 §17).

Written apart from the product's stack and much simpler: no tables to tune, one timer per request.  A party can vanish at any
moment and come back without memory.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from tests.simulation.network import SERVER, Path, Stream
from tests.simulation.session import Asked, Served, Session
from tests.simulation.text import PHRASES, Heard, Note, garbage, write

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

T1: Final = 0.5
T2: Final = 4.0
PATIENCE: Final = 32.0
"""64*T1."""
DOMAIN: Final = "cloudline.example"
ALLOW: Final = "Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, PRACK, INFO, MESSAGE, NOTIFY, REFER"
PLAIN_ALLOW: Final = "Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, NOTIFY"


class Party:
    """See the module."""

    def __init__(self, sim: Simulation, name: str, host: str, transport: str = "udp") -> None:
        self.sim = sim
        self.clock = sim.clock
        self.name = name
        self.index = sim.new_index()
        self.mark = f"~{self.index}~"
        """Stands in every identifier that this party makes, so that a leak tells its source."""
        self.host = host
        self.hosts = {host}
        """Every address that it ever had."""
        self.transport = transport
        self.dice = random.Random(f"{sim.seed} {name}")
        self.path: Path = sim.new_path(self.dice)
        self.stream: Stream | None = None
        self.up = True
        self.life = 0
        """Changes when the party dies: what it had planned before is not done any more."""
        self.accepts_streams = self.dice.random() < 0.7
        """Others sit behind NAT."""
        self.is_trunk = False
        self.compact = False
        """Writes compact header names (RFC 3261 §7.3.3)."""
        self.requests: dict[str, Asked] = {}
        self.served: dict[str, Served] = {}
        self._old: deque[tuple[float, bool, str]] = deque()
        self._ids = 0
        sim.network.parties[host] = self

    # -- small things -----------------------------------------------------------------------------------------

    def new_id(self, prefix: str) -> str:
        self._ids += 1
        return f"{prefix}{self.mark}{self._ids}"

    def later(self, delay: float, action: Callable[..., None], *args: Any) -> None:
        """Do something later, unless this party dies before."""
        self.clock.after(delay, self._do, self.life, action, args)

    def _do(self, life: int, action: Callable[..., None], args: tuple[Any, ...]) -> None:
        if self.life == life:
            action(*args)

    def contact(self) -> str:
        transport = ";transport=tcp" if self.transport == "tcp" else ""
        return f"<sip:{self.name}@{self.host}:5060{transport}>"

    def my_stream(self) -> Stream | None:
        """The connection for what this party sends by itself; None for datagrams."""
        if self.transport == "udp":
            return None
        if self.stream is None or not self.stream.open:
            self.stream = self.sim.network.connect(self)
        return self.stream

    def stream_gone(self, stream: Stream) -> None:
        """A connection broke."""
        if self.stream is stream:
            self.stream = None

    def send(self, note: Note, stream: Stream | None) -> None:
        if not self.up:
            return
        if stream is not None and not stream.open and self.transport == "tcp":
            stream = self.my_stream()  # §18.2.2: the connection of the request is gone
        self.sim.network.up(self, note, stream)

    def die(self) -> None:
        """Vanish without a word."""
        self.up = False
        self.life += 1
        self.requests.clear()
        self.served.clear()
        self._old.clear()
        if self.stream is not None:
            self.stream.abandoned = True
            self.stream = None

    # -- requests ---------------------------------------------------------------------------------------------

    def via(self, branch: str) -> str:
        name = "UDP" if self.transport == "udp" else "TCP"
        return f"Via: SIP/2.0/{name} {self.host}:5060;branch={branch};rport"

    def ask(
        self,
        method: str,
        uri: str,
        lines: Sequence[str],
        ids: tuple[str, int, str, str],
        session: Session | None = None,
        body: bytes = b"",
        branch: str = "",
        kind: str = "application/sdp",
    ) -> Asked:
        """Start a client transaction; ``ids`` are Call-ID, CSeq number, From tag and To tag.

        ``answered`` is called with each response, with None when there is none.
        """
        branch = branch or self.new_id("z9hG4bK")
        data = write(f"{method} {uri} SIP/2.0", [self.via(branch), "Max-Forwards: 70", *lines], body, kind)
        note = Note(self.spelled(data), method, 0, branch, *ids)
        asked = Asked(note, uri, session)
        self.requests[f"{branch}|{method}"] = asked
        asked.stop_at = self.clock.now + PATIENCE
        self.send(note, self.my_stream())
        self.later(T1 if self.transport == "udp" else PATIENCE, self._again, asked)
        return asked

    def spelled(self, data: bytes) -> bytes:
        if not self.compact:
            return data
        for long, short in (
            (b"Via", b"v"),
            (b"From", b"f"),
            (b"To", b"t"),
            (b"Call-ID", b"i"),
            (b"Contact", b"m"),
        ):
            data = data.replace(b"\r\n" + long + b": ", b"\r\n" + short + b": ")
        return data.replace(b"\r\nContent-Length: ", b"\r\nl: ")

    def _again(self, asked: Asked) -> None:
        """The retransmission timer of a request, and the end of its patience."""
        if asked.done:
            return
        now = self.clock.now
        is_invite = asked.note.method == "INVITE"
        if now >= asked.stop_at - 1e-6:
            if is_invite and asked.provisional and not (asked.session and asked.session.cancelled):
                return  # it rings; there is no timer for that
            asked.done = True
            self._retire(asked)
            self.answered(asked, None)
            return
        if not (is_invite and asked.provisional) and self.transport == "udp":
            self.send(asked.note, None)
        if is_invite:
            asked.interval *= 2
        else:
            asked.interval = T2 if asked.provisional else min(asked.interval * 2, T2)
        self.later(min(asked.interval, asked.stop_at - now), self._again, asked)

    def extend(self, asked: Asked) -> None:
        """A CANCEL went out: the INVITE may take another 64*T1."""
        asked.stop_at = self.clock.now + PATIENCE
        self.later(PATIENCE, self._again, asked)

    def _retire(self, asked: Asked) -> None:
        self._old.append((self.clock.now + PATIENCE, True, f"{asked.note.branch}|{asked.note.method}"))

    def forget_old(self) -> None:
        """Finished transactions are kept for 64*T1."""
        now = self.clock.now
        while self._old and self._old[0][0] <= now:
            _, own, key = self._old.popleft()
            (self.requests if own else self.served).pop(key, None)

    def answered(self, asked: Asked, heard: Heard | None) -> None:
        """A response to an own request; None: 64*T1 passed."""
        raise NotImplementedError

    # -- hearing ----------------------------------------------------------------------------------------------

    def hear(self, heard: Heard, life: int, stream: Stream | None = None) -> None:
        """A message of the server arrives."""
        if not self.up or life != self.life:
            return
        if self._old:
            self.forget_old()
        self.sim.heard(self, heard)
        if heard.is_request:
            self._hear_request(heard, stream)
        else:
            self._hear_response(heard)

    def _hear_response(self, heard: Heard) -> None:
        asked = self.requests.get(f"{heard.branch}|{heard.method}")
        if asked is None:
            return
        status = heard.status
        if status >= 300 and heard.method == "INVITE":
            self._acknowledge_refusal(asked, heard)
        if status < 200:
            if asked.done:
                return
            asked.provisional = True
        elif not asked.done:
            asked.done = True
            self._retire(asked)
        elif heard.method != "INVITE" or status >= 300:
            return
        self.answered(asked, heard)

    def _acknowledge_refusal(self, asked: Asked, heard: Heard) -> None:
        """ACK of a non-2xx: part of the transaction (§17.1.1.3)."""
        note = asked.note
        lines = [
            self.via(note.branch),
            "Max-Forwards: 70",
            f"From: {heard.get('from')}",
            f"To: {heard.get('to')}",
            f"Call-ID: {heard.call_id}",
            f"CSeq: {heard.cseq} ACK",
        ]
        data = write(f"ACK {asked.uri} SIP/2.0", lines)
        ack = Note(data, "ACK", 0, note.branch, note.call_id, note.cseq, note.from_tag, heard.to_tag)
        self.send(ack, self.my_stream())

    def _hear_request(self, heard: Heard, stream: Stream | None) -> None:
        method = heard.method
        if method == "ACK":
            served = self.served.get(f"{heard.branch}|INVITE")
            if served is not None and served.final >= 300:
                served.acked = True
            else:
                self.acked(heard)
            return
        key = f"{heard.branch}|{method}"
        served = self.served.get(key)
        if served is not None:
            if stream is not None:
                served.stream = stream
            if served.last is not None:
                self.send(served.last, served.stream)
            return
        served = Served(heard, stream)
        self.served[key] = served
        if method != "INVITE":
            self._old.append((self.clock.now + PATIENCE, False, key))
        if method == "CANCEL":
            invite = self.served.get(f"{heard.branch}|INVITE")
            self.respond(served, 200 if invite is not None else 481, to_tag=self._tag_of(invite))
            if invite is not None and not invite.final:
                self.cancelled(invite)
        else:
            self.requested(served)

    def _tag_of(self, invite: Served | None) -> str:
        session = invite.session if invite is not None else None
        return session.local_tag if session is not None else "gone"

    def acked(self, heard: Heard) -> None:
        """An ACK of a 2xx."""

    def cancelled(self, invite: Served) -> None:
        """A CANCEL of an open INVITE."""
        self.respond(invite, 487, to_tag=self._tag_of(invite))

    def requested(self, served: Served) -> None:
        """A new request."""
        status = 200 if served.request.method == "OPTIONS" else 481
        self.respond(served, status, to_tag="none")

    # -- responses --------------------------------------------------------------------------------------------

    def respond(
        self,
        served: Served,
        status: int,
        lines: Sequence[str] = (),
        body: bytes = b"",
        to_tag: str = "",
        repeat: bool = True,
    ) -> Note:
        """Answer a request of the server; a refused INVITE is answered again until its ACK."""
        request = served.request
        to = request.get("to")
        if not request.to_tag and status > 100:
            to = f"{to};tag={to_tag}"
        head = [f"Via: {value}" for value in request.headers["via"]]
        head += [
            f"From: {request.get('from')}",
            f"To: {to}",
            f"Call-ID: {request.call_id}",
            f"CSeq: {request.cseq} {request.method}",
            *lines,
        ]
        data = write(f"SIP/2.0 {status} {PHRASES.get(status, 'Something')}", head, body)
        note = Note(
            self.spelled(data),
            request.method,
            status,
            request.branch,
            request.call_id,
            request.cseq,
            request.from_tag,
            request.to_tag or to_tag,
        )
        served.last = note
        self.send(note, served.stream)
        if status >= 200:
            served.final = status
            if request.method == "INVITE":
                self._old.append((self.clock.now + PATIENCE, False, f"{request.branch}|INVITE"))
                if status >= 300 and repeat and served.stream is None:
                    self.later(T1, self._refuse_again, served, T1, self.clock.now + PATIENCE)
        return note

    def _refuse_again(self, served: Served, interval: float, stop_at: float) -> None:
        if served.acked or self.clock.now >= stop_at or served.last is None:
            return
        self.send(served.last, None)
        interval = min(interval * 2, T2)
        self.later(interval, self._refuse_again, served, interval, stop_at)

    # -- rubbish ----------------------------------------------------------------------------------------------

    def send_garbage(self, sample: bytes) -> None:
        """Something that looks a little like SIP."""
        dice = self.dice
        data = bytearray(sample)
        for _ in range(dice.randint(1, 8)):
            at = dice.randrange(len(data)) if data else 0
            kind = dice.random()
            if kind < 0.3:
                data[at : at + dice.randint(1, 30)] = b""
            elif kind < 0.6:
                data[at:at] = dice.randbytes(dice.randint(1, 12))
            elif kind < 0.8:
                data[at : at + 1] = dice.choice((b"\r\n", b"\0", b";", b'"', b"<", b":", b" ", b"\xff"))
            else:
                data[at:at] = data[at : at + dice.randint(1, 60)]
        self.send(garbage(bytes(data)), self.my_stream())


def server_uri() -> str:
    return f"sip:{SERVER}:5060"
