"""A few lines of SIP of our own: registering the callee, and probe calls with kernel time stamps."""

from __future__ import annotations

import hashlib
import re
import select
import socket
import struct
import threading
import time
import uuid
from collections.abc import Callable

from loadtests.sipp import Address

SO_TIMESTAMPNS = 35  # not named by the socket module


class RefusedError(Exception):
    """The server did not accept a registration."""


def _header(message: str, name: str) -> str:
    found = re.search(rf"^{name}\s*:\s*(.*?)\s*$", message, re.IGNORECASE | re.MULTILINE)
    return found.group(1) if found else ""


def _all(message: str, name: str) -> list[str]:
    return re.findall(rf"^{name}\s*:\s*(.*?)\s*$", message, re.IGNORECASE | re.MULTILINE)


def authorization(challenge: str, method: str, uri: str, user: str, password: str) -> str:
    """Value of an Authorization header that answers a challenge (RFC 7616), MD5 or SHA-256."""
    fields = {k.lower(): v.strip('"') for k, v in re.findall(r'(\w+)=("[^"]*"|[^,\s]+)', challenge)}
    algorithm = fields.get("algorithm", "MD5")
    make = hashlib.sha256 if algorithm.upper() == "SHA-256" else hashlib.md5

    def digest(text: str) -> str:
        return make(text.encode()).hexdigest()

    secret, request = digest(f"{user}:{fields['realm']}:{password}"), digest(f"{method}:{uri}")
    value = f'Digest username="{user}", realm="{fields["realm"]}", nonce="{fields["nonce"]}", uri="{uri}"'
    if "qop" in fields:
        cnonce = uuid.uuid4().hex[:12]
        response = digest(f"{secret}:{fields['nonce']}:00000001:{cnonce}:auth:{request}")
        value += f', qop=auth, nc=00000001, cnonce="{cnonce}"'
    else:
        response = digest(f"{secret}:{fields['nonce']}:{request}")
    if "opaque" in fields:
        value += f', opaque="{fields["opaque"]}"'
    return f'{value}, algorithm={algorithm}, response="{response}"'


def register(server: Address, local: Address, user: str, password: str, domain: str) -> None:
    """Register ``user`` with a contact at ``local`` for an hour; raises RefusedError."""
    instance = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_DNS, user)}"
    call_id, tag = uuid.uuid4().hex, uuid.uuid4().hex[:8]
    answer = ""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(local.pair)
        sock.settimeout(3)
        for cseq in (1, 2):
            lines = [
                f"REGISTER sip:{domain} SIP/2.0",
                f"Via: SIP/2.0/UDP {local};branch=z9hG4bK{uuid.uuid4().hex};rport",
                "Max-Forwards: 70",
                f"From: <sip:{user}@{domain}>;tag={tag}",
                f"To: <sip:{user}@{domain}>",
                f"Call-ID: {call_id}",
                f"CSeq: {cseq} REGISTER",
                f'Contact: <sip:{user}@{local}>;+sip.instance="<{instance}>"',
                "Expires: 3600",
                *([f"Authorization: {answer}"] if answer else []),
                "Content-Length: 0",
            ]
            sock.sendto(("\r\n".join(lines) + "\r\n\r\n").encode(), server.pair)
            try:
                reply = sock.recv(65535).decode("utf-8", "replace")
                while reply.startswith("SIP/2.0 1"):
                    reply = sock.recv(65535).decode("utf-8", "replace")
            except TimeoutError as error:
                raise RefusedError(f"no answer to REGISTER from {server}") from error
            if reply.startswith("SIP/2.0 200"):
                return
            if not reply.startswith("SIP/2.0 401"):
                raise RefusedError(f"REGISTER was answered {reply.splitlines()[0]}")
            answer = authorization(
                _header(reply, "WWW-Authenticate"), "REGISTER", f"sip:{domain}", user, password
            )
    raise RefusedError("REGISTER with credentials was refused")


class Probe(threading.Thread):
    """A few calls beside the load: time from INVITE sent to 180 received.

    The kernel stamps what is received (SO_TIMESTAMPNS): the scheduling of this process does not count.  What
    is sent is stamped just before ``sendto``.  SIPp's own response times move in steps of 4 ms and would hide
    the server.
    """

    def __init__(self, server: Address, local_host: str, called: str, rate: float, seconds: float) -> None:
        super().__init__(daemon=True)
        self.delays_ms: list[float] = []
        self.made = 0
        self.answered = 0
        self._server, self._host, self._called = server, local_host, called
        self._rate, self._seconds = rate, seconds
        self._begun: dict[str, int] = {}
        self._ringing: set[str] = set()
        self._up: set[str] = set()
        self._port = 0

    @property
    def failed(self) -> int:
        return self.made - self.answered

    def run(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            sock.bind((self._host, 0))
            sock.setblocking(False)
            self._port = sock.getsockname()[1]
            begin = time.monotonic()
            while True:
                now = time.monotonic() - begin
                due = self.made / self._rate
                if now < self._seconds and now >= due:
                    self._call(sock)
                    continue
                if now > self._seconds + 4 or (now > self._seconds and not self._begun):
                    return
                patience = min(0.1, due - now) if now < self._seconds else 0.1
                if select.select([sock], [], [], max(0.0, patience))[0]:
                    self._read(sock, lambda data: sock.sendto(data, self._server.pair))

    def _call(self, sock: socket.socket) -> None:
        call_id = uuid.uuid4().hex
        invite = self._request("INVITE", call_id, 1, self._uri, [], "")
        self._begun[call_id] = time.clock_gettime_ns(time.CLOCK_REALTIME)
        sock.sendto(invite, self._server.pair)
        self.made += 1

    def _read(self, sock: socket.socket, send: Callable[[bytes], int]) -> None:
        while True:
            try:
                data, ancillary, _, _ = sock.recvmsg(65535, 128)
            except (BlockingIOError, ConnectionRefusedError):
                return
            stamp = time.clock_gettime_ns(time.CLOCK_REALTIME)
            for level, kind, raw in ancillary:
                if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
                    seconds, nanoseconds = struct.unpack("qq", raw[:16])
                    stamp = seconds * 1_000_000_000 + nanoseconds
            self._receive(data.decode("utf-8", "replace"), stamp, send)

    def _receive(self, message: str, stamp: int, send: Callable[[bytes], int]) -> None:
        call_id = _header(message, "Call-ID")
        if call_id not in self._begun or not message.startswith("SIP/2.0 "):
            return
        status, method = int(message[8:11]), _header(message, "CSeq").split()[-1]
        if method == "BYE":
            if status >= 200:
                del self._begun[call_id]
        elif status == 180:
            if call_id not in self._ringing:
                self._ringing.add(call_id)
                self.delays_ms.append((stamp - self._begun[call_id]) / 1e6)
        elif 200 <= status < 300:
            if call_id not in self._up:
                self._up.add(call_id)
                self.answered += 1
            contact = re.search(r"<([^>]+)>|(sips?:[^;\s]+)", _header(message, "Contact"))
            target = (contact.group(1) or contact.group(2)) if contact else self._uri
            tag = re.search(r";\s*tag=([^;\s]+)", _header(message, "To"))
            to_tag = f";tag={tag.group(1)}" if tag else ""
            routes = [item.strip() for value in _all(message, "Record-Route") for item in value.split(",")][
                ::-1
            ]
            send(self._request("ACK", call_id, 1, target, routes, to_tag))
            send(self._request("BYE", call_id, 2, target, routes, to_tag))
        elif status >= 300:
            del self._begun[call_id]

    @property
    def _uri(self) -> str:
        return f"sip:{self._called}@{self._server}"

    def _request(
        self, method: str, call_id: str, cseq: int, target: str, routes: list[str], to_tag: str
    ) -> bytes:
        body = ""
        lines = [
            f"{method} {target} SIP/2.0",
            f"Via: SIP/2.0/UDP {self._host}:{self._port};branch=z9hG4bK{uuid.uuid4().hex}",
            *(f"Route: {route}" for route in routes),
            "Max-Forwards: 70",
            f"From: <sip:+33199001235@{self._host}:{self._port}>;tag={call_id[:10]}",
            f"To: <{self._uri}>{to_tag}",
            f"Call-ID: {call_id}",
            f"CSeq: {cseq} {method}",
            f"Contact: <sip:probe@{self._host}:{self._port}>",
        ]
        if method == "INVITE":
            body = (
                f"v=0\r\no=- 3 3 IN IP4 {self._host}\r\ns=-\r\nc=IN IP4 {self._host}\r\nt=0 0\r\n"
                "m=audio 24000 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\n"
            )
            lines.append("Content-Type: application/sdp")
        lines.append(f"Content-Length: {len(body)}")
        return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()
