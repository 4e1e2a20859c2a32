"""A small DNS server on loopback (UDP and TCP on one free port), with the faults that tests need."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset


class DnsServer:
    """Answers from ``zone``: text lines such as ``a.example. 60 A 192.0.2.1``."""

    def __init__(self, *lines: str) -> None:
        self.zone: dict[tuple[str, str], dns.rrset.RRset] = {}
        self.asked: list[tuple[str, str]] = []
        self.silent: set[str] = set()
        """Names (or types) that get no answer."""
        self.failing: set[str] = set()
        """Names (or types) that get SERVFAIL."""
        self.truncate = False
        """Over UDP say only that the answer is too long."""
        self.chase = True
        """Put what is behind a CNAME into the answer, as a resolver does."""
        self.negative_ttl: int | None = 30
        """TTL and minimum of the SOA record with negative answers; None: no SOA."""
        self.port = 0
        self.set(*lines)

    def set(self, *lines: str) -> None:
        for line in lines:
            name, ttl, kind, text = line.split(None, 3)
            key = (name.lower(), kind)
            record = dns.rrset.from_text(name, int(ttl), "IN", kind, text)
            if key in self.zone:
                self.zone[key].update(record)  # type: ignore[no-untyped-call]
                self.zone[key].update_ttl(int(ttl))
            else:
                self.zone[key] = record

    def count(self, name: str, kind: str) -> int:
        return self.asked.count((name, kind))

    def answer(self, wire: bytes, *, udp: bool) -> bytes | None:
        query = dns.message.from_wire(wire)
        question = query.question[0]
        name, kind = question.name.to_text().lower(), dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, kind))
        if self.silent & {name, kind}:
            return None
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA
        if self.failing & {name, kind}:
            response.set_rcode(dns.rcode.SERVFAIL)
        elif udp and self.truncate:
            response.flags |= dns.flags.TC
        else:
            self._fill(response, name, kind)
        if not udp:
            return response.to_wire(max_size=65535)
        try:
            return response.to_wire()
        except dns.exception.TooBig:
            short = dns.message.make_response(query)
            short.flags |= dns.flags.TC
            return short.to_wire()

    def _fill(self, response: dns.message.Message, name: str, kind: str) -> None:
        for _ in range(10):
            alias = self.zone.get((name, "CNAME"))
            if alias is None:
                break
            response.answer.append(alias)
            name = alias[0].target.to_text().lower()
            if not self.chase:
                return
        records = self.zone.get((name, kind))
        if records is not None:
            response.answer.append(records)
            return
        if not any(known == name for known, _ in self.zone):
            response.set_rcode(dns.rcode.NXDOMAIN)
        if self.negative_ttl is not None:
            ttl = self.negative_ttl
            soa = f"ns.example. root.example. 1 60 60 60 {ttl}"
            response.authority.append(dns.rrset.from_text("example.", ttl, "IN", "SOA", soa))


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, server: DnsServer) -> None:
        self._server = server
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)  # no loop's class says so

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        answer = self._server.answer(data, udp=True)
        if answer is not None and self._transport is not None:
            self._transport.sendto(answer, addr)


def free_port_for_both() -> tuple[socket.socket, socket.socket]:
    """A UDP and a TCP socket bound to the same free port: what is free for one may be taken for the other."""
    while True:
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        udp.setblocking(False)
        udp.bind(("127.0.0.1", 0))
        try:
            tcp.bind(udp.getsockname())
        except OSError:
            udp.close()
            tcp.close()
            continue
        return udp, tcp


@asynccontextmanager
async def dns_server(*lines: str) -> AsyncIterator[DnsServer]:
    server = DnsServer(*lines)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            size = struct.unpack("!H", await reader.readexactly(2))[0]
            answer = server.answer(await reader.readexactly(size), udp=False)
            if answer is not None:
                writer.write(struct.pack("!H", len(answer)) + answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    udp, tcp_socket = free_port_for_both()
    server.port = udp.getsockname()[1]
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: _Udp(server), sock=udp)
    tcp = await asyncio.start_server(serve, sock=tcp_socket)
    try:
        yield server
    finally:
        transport.close()
        tcp.close()
        await tcp.wait_closed()
        await asyncio.sleep(0)
