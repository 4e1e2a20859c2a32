"""SIP over UDP: a non-blocking socket of our own, drained in batches (RFC 3261 §18, RFC 3581).

ICMP errors are read from the socket's error queue (``IP_RECVERR``), which names the destination, so that a dead port fails its
transactions in milliseconds (RFC 3261 §18.4) and never the wrong ones.  Left out: choosing the source address on a wildcard
listener (a host with several addresses should listen on each).
"""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from callcontrol.sip.clock import Monotonic
from callcontrol.sip.flow import Flow, Listener
from callcontrol.transport.counters import count
from callcontrol.transport.keepalive import stun_answer
from callcontrol.transport.poller import BROKEN, READ, WRITE
from callcontrol.transport.shared import Shared

Address = tuple[Any, ...]
"""What the kernel says about a sender: host and port first, in IPv6 two more."""
BATCH: Final = 64
"""Datagrams taken from one socket before the output is flushed."""
BATCH_BYTES: Final = 128 * 1024
"""Bytes of them: datagrams of the largest size are to hold nobody up either."""
SOCKET_BUFFER: Final = 4 * 1024 * 1024
"""Bytes asked for in each direction: with the default a stall of some 20 ms under load already loses datagrams."""
BACKLOG: Final = 2000
"""Datagrams kept when the send buffer is full; beyond that they are lost, as UDP may."""
SINGLY: Final = 3
"""Datagrams at the beginning of a batch of which each is followed by the question whether another waits.  The question costs
a quarter of the failed attempt to read, with its exception; in a long batch it is asked often and the attempt fails once."""
_CACHE: Final = 8192
_SAMPLE_EVERY_S: Final = 0.02
_SAMPLE_HOLDS_S: Final = 0.2

# Numbers of the Linux ABI that Python 3.11's socket module does not name.
_IP_RECVERR, _IPV6_RECVERR = 11, 25
_IP_MTU_DISCOVER, _IPV6_MTU_DISCOVER, _PMTUDISC_DONT = 10, 23, 0
_SO_RCVBUFFORCE, _SO_SNDBUFFORCE = 33, 32
_SO_TIMESTAMPNS = 35
_SO_MEMINFO, _MEMINFO_RMEM, _MEMINFO_DROPS = 55, 0, 8
_EXTENDED_ERROR: Final = struct.Struct("=IBBBBII")
_ORIGIN_LOCAL: Final = 1

# Errors that an ICMP message for an *earlier* datagram leaves on the socket for whoever calls next.
_PENDING: Final = frozenset(
    {
        errno.ECONNREFUSED,
        errno.EHOSTUNREACH,
        errno.ENETUNREACH,
        errno.ENOPROTOOPT,
        errno.EPROTO,
        errno.EHOSTDOWN,
    }
)
# ICMP "destination unreachable" (3; codes 0 to 3) and "parameter problem" (12) fail a flow, "time exceeded" and
# "fragmentation needed" do not (RFC 3261 §18.4); ICMPv6: 1 and 4.
_ICMP_TIME_EXCEEDED: Final = {2: 11, 3: 3}


def open_udp(host: str, port: int) -> socket.socket:
    """A bound UDP socket of ours.  Raises OSError when the address cannot be bound."""
    six = ":" in host
    sock = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        if six:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _PMTUDISC_DONT)
        else:
            sock.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
            sock.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _PMTUDISC_DONT)
        sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        _set_buffer(sock, socket.SO_RCVBUF, _SO_RCVBUFFORCE)
        _set_buffer(sock, socket.SO_SNDBUF, _SO_SNDBUFFORCE)
        sock.bind((host, port))
    except BaseException:
        sock.close()
        raise
    return sock


def _set_buffer(sock: socket.socket, option: int, force: int) -> None:
    """Ask for SOCKET_BUFFER bytes, beyond the system's limit where we may (CAP_NET_ADMIN)."""
    sock.setsockopt(socket.SOL_SOCKET, option, SOCKET_BUFFER)
    # The kernel reports twice what it granted.
    if sock.getsockopt(socket.SOL_SOCKET, option) < 2 * SOCKET_BUFFER:
        try:
            sock.setsockopt(socket.SOL_SOCKET, force, SOCKET_BUFFER)
        except PermissionError:
            return  # `receive_buffer` tells what we got


class UdpSocket:
    """One UDP listener: reads batches into the endpoint and sends what the endpoint has for it."""

    __slots__ = (
        "_backlog",
        "_flows",
        "_next_sample",
        "_own",
        "_queue_delay_s",
        "_read",
        "_shared",
        "_sock",
        "_valid_hosts",
        "listener",
        "name",
        "on_error",
        "receive_buffer",
    )

    def __init__(self, listener: Listener, sock: socket.socket, shared: Shared, reads: bool = True) -> None:
        """``reads``: False for a socket that another process reads from; here it only sends."""
        self.listener = listener
        self.name = listener.name
        self._queue_delay_s = 0.0
        self.receive_buffer = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2
        """Receive buffer granted, bytes."""
        self._shared = shared
        self._sock = sock
        self._backlog: deque[tuple[Flow, bytes]] = deque()
        self._flows: dict[Address, Flow] = {}
        self._valid_hosts: set[str] = set()
        self._next_sample = 0.0
        self._own: select.epoll | None = None
        """An epoll set of this socket alone, opened with the first datagram."""
        self.on_error: Callable[[Flow, str], None] | None = None
        """Told of each ICMP error too: others send over the same socket, and their destinations come up here."""
        self._read = READ if reads else 0
        shared.poller.add(sock, self._read, self._on_ready)

    def _on_ready(self, events: int) -> None:
        now = self._shared.clock.monotonic()
        if events & BROKEN:
            self._read_errors(now)
        if events & WRITE:
            self._send_backlog(now)
        if events & READ:
            self._read_batch(now)

    def _read_batch(self, now: Monotonic) -> None:
        shared = self._shared
        recvfrom, receive, admit = self._sock.recvfrom, shared.endpoint.receive, shared.gate.admit
        inspect = shared.gate.inspect
        flows = self._flows
        more = (self._own or self._watch()).poll
        taken = size = 0
        if now >= self._next_sample:
            self._next_sample = now + _SAMPLE_EVERY_S
            self._sample_queue_delay()
        try:
            for number in range(BATCH):
                if size >= BATCH_BYTES or (0 < number <= SINGLY and not more(0, 1)):
                    break
                try:
                    data, address = recvfrom(65535)
                except BlockingIOError:
                    break
                except OSError:
                    self._read_errors(
                        now
                    )  # for something sent earlier; the datagrams behind it are still there
                    continue
                taken += 1
                size += len(data)
                if not admit(address[0], now):
                    count(shared.counters.dropped, "gate")
                    continue
                flow = flows.get(address)
                if flow is None:
                    flow = self._flow_of(address)
                # No SIP message starts with a control character; CRLF before one is skipped by the parser.
                if (len(data) <= 4 or data[0] < 33) and self._keep_alive(data, flow, now):
                    continue
                if not inspect(data, address[0], now, reliable=False):
                    count(shared.counters.dropped, "gate")
                    continue
                receive(data, flow, now)
        finally:
            counted = shared.counters.udp
            counted.reads += 1
            counted.messages_in += taken
            counted.bytes_in += size

    def _watch(self) -> select.epoll:
        self._own = own = select.epoll()
        own.register(self._sock.fileno(), READ)
        return own

    def _flow_of(self, address: Address) -> Flow:
        if len(self._flows) >= _CACHE:
            self._flows.clear()
        flow = Flow("udp", address[0], address[1], self.name)
        self._flows[address] = flow
        return flow

    def _keep_alive(self, data: bytes, flow: Flow, now: Monotonic) -> bool:
        """Absorb what phones send to hold a NAT mapping open; answers STUN.  False when it may be a message."""
        if not data.strip(b"\r\n\0"):
            self._shared.counters.pings += 1
            return True
        answer = stun_answer(data, flow.host, flow.port)
        if answer is None:
            return False
        self._shared.counters.pings += 1
        self.send(flow, answer, now)
        return True

    def _sample_queue_delay(self) -> None:
        """Look at the kernel's time stamp of the next datagram without taking it."""
        self._queue_delay_s = 0.0
        try:
            _, ancillary, _, _ = self._sock.recvmsg(0, 64, socket.MSG_PEEK)
        except OSError:
            return  # nothing waits; an error is found again, and handled, by the batch itself
        for _, kind, value in ancillary:
            if kind == _SO_TIMESTAMPNS:
                seconds, nanoseconds = struct.unpack("=qq", value)
                self._queue_delay_s = max(0.0, time.time() - seconds - nanoseconds / 1e9)

    def queue_delay_s(self, now: float) -> float:
        """How long datagrams lately had to wait in the socket buffer, seconds: the measure of overload.

        Zero when nothing was sampled for a while: what came after a silence has not waited.
        """
        return self._queue_delay_s if now < self._next_sample + _SAMPLE_HOLDS_S else 0.0

    def kernel_queue(self) -> tuple[int, int]:
        """Bytes waiting in the receive buffer, and datagrams the kernel has dropped since it is open (SO_MEMINFO)."""
        if not self._read:
            return 0, 0  # whoever reads from it tells
        words = struct.unpack("=9I", self._sock.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, 36))
        return words[_MEMINFO_RMEM], words[_MEMINFO_DROPS]

    def send(self, flow: Flow, data: bytes, now: Monotonic) -> None:
        """Send one datagram, or keep it while the send buffer is full.  Never raises: failures go to the endpoint."""
        if not self._backlog and flow.host in self._valid_hosts:
            try:
                self._sock.sendto(data, (flow.host, flow.port))
            except (OSError, OverflowError):
                pass  # the slow path meets it again and settles it
            else:
                counted = self._shared.counters.udp
                counted.messages_out += 1
                counted.bytes_out += len(data)
                return
        if self._backlog:
            self._keep(flow, data)
        elif not self._send_now(flow, data, now):
            self._keep(flow, data)
            self._shared.poller.modify(self._sock, self._read | WRITE)

    def _send_now(self, flow: Flow, data: bytes, now: Monotonic) -> bool:
        """False when the send buffer is full; everything else is settled here."""
        shared = self._shared
        if flow.host not in self._valid_hosts and not self._check_host(flow.host):
            shared.send_failed(flow, "not an address", now)
            return True
        for attempt in (1, 2):
            try:
                self._sock.sendto(data, (flow.host, flow.port))
            except BlockingIOError:
                return False
            except OverflowError:  # a port above 65535
                shared.send_failed(flow, "not an address", now)
                return True
            except OSError as error:
                code = error.errno or 0
                if attempt == 1 and code in _PENDING:
                    self._read_errors(
                        now
                    )  # it may have been for an earlier datagram: settle that one, try again
                    continue
                name = errno.errorcode.get(code, "error")
                if (
                    code == errno.ENOBUFS
                ):  # the device queue is full: a loss like any other, retransmission heals it
                    count(shared.counters.dropped, name)
                else:
                    shared.send_failed(flow, name, now)
                return True
            break
        shared.counters.udp.messages_out += 1
        shared.counters.udp.bytes_out += len(data)
        return True

    def _check_host(self, host: str) -> bool:
        """Only address literals may reach sendto: given a name it would ask the DNS and block."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        if family != self._sock.family:
            return False
        try:
            socket.inet_pton(family, host.partition("%")[0])
        except OSError:
            return False
        if len(self._valid_hosts) >= _CACHE:
            self._valid_hosts.clear()
        self._valid_hosts.add(host)
        return True

    def _keep(self, flow: Flow, data: bytes) -> None:
        if len(self._backlog) >= BACKLOG:
            count(self._shared.counters.dropped, "backlog")
        else:
            self._backlog.append((flow, data))

    def _send_backlog(self, now: Monotonic) -> None:
        while self._backlog:
            flow, data = self._backlog[0]
            if not self._send_now(flow, data, now):
                return
            self._backlog.popleft()
        self._shared.poller.modify(self._sock, self._read)

    def _read_errors(self, now: Monotonic) -> None:
        """Empty the error queue; each entry names the destination that its ICMP error is about."""
        for _ in range(BATCH):
            try:
                _, ancillary, _, address = self._sock.recvmsg(0, 512, socket.MSG_ERRQUEUE)
            except BlockingIOError:
                return
            except OSError:
                continue  # the pending error itself, reported once and thereby cleared
            for level, kind, value in ancillary:
                if (level, kind) in ((socket.IPPROTO_IP, _IP_RECVERR), (socket.IPPROTO_IPV6, _IPV6_RECVERR)):
                    self._icmp_error(value, address, now)

    def _icmp_error(self, value: bytes, address: Address, now: Monotonic) -> None:
        code, origin, kind, _, _, _, _ = _EXTENDED_ERROR.unpack_from(value)
        if origin == _ORIGIN_LOCAL or code == errno.EMSGSIZE or kind == _ICMP_TIME_EXCEEDED.get(origin):
            count(self._shared.counters.dropped, f"ignored {errno.errorcode.get(code, os.strerror(code))}")
            return
        self._shared.counters.icmp_errors += 1
        flow, name = self._flow_of((address[0], address[1])), errno.errorcode.get(code, "ICMP")
        if self.on_error is not None:
            self.on_error(flow, name)
        self._shared.send_failed(flow, name, now)

    def waiting(self) -> int:
        """Datagrams that wait for room in the send buffer."""
        return len(self._backlog)

    def close(self) -> None:
        if self._own is not None:
            self._own.close()
        self._shared.poller.close_socket(self._sock)
