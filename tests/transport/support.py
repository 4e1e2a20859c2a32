"""A driver on loopback sockets with a scripted endpoint, clients that talk to it, and waiting without sleeping."""

from __future__ import annotations

import asyncio
import functools
import inspect
import ipaddress
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from callcontrol.sip.clock import Monotonic
from callcontrol.sip.flow import Flow, Listeners
from callcontrol.transport import Driver, OpenGate, StreamBounds, TlsFiles

PATIENCE_S = 10.0
"""How long a condition may take to come true before the test fails; nothing waits that long when all is well."""

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}


def on_both_loops(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a coroutine test on asyncio's own loop and on uvloop; what either loop reports as an error fails it."""

    @functools.wraps(test)
    def run(*args: Any, event_loop_kind: str, **kwargs: Any) -> None:
        reported: list[dict[str, Any]] = []

        async def guarded() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda _loop, context: reported.append(context))
            await asyncio.wait_for(test(*args, **kwargs), 60)

        with asyncio.Runner(loop_factory=LOOPS[event_loop_kind]) as runner:
            runner.run(guarded())
        assert not reported, reported

    signature = inspect.signature(test)
    kind = inspect.Parameter("event_loop_kind", inspect.Parameter.KEYWORD_ONLY)
    run.__signature__ = signature.replace(parameters=[*signature.parameters.values(), kind])  # type: ignore[attr-defined]
    marked: Callable[..., None] = pytest.mark.parametrize("event_loop_kind", list(LOOPS))(run)
    return marked


class RealClock:
    def monotonic(self) -> Monotonic:
        return Monotonic(time.monotonic())


async def until(condition: Callable[[], object], what: str = "") -> None:
    """Wait until ``condition()`` holds; fails after PATIENCE_S, naming ``what``."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"never came true: {what or inspect.getsource(condition).strip()}")
        await asyncio.sleep(0.001)


class FakeEndpoint:
    """The surface of the endpoint; notes everything and answers what it is told to."""

    def __init__(self) -> None:
        self.out: list[tuple[Flow, bytes]] = []
        self.listeners = Listeners()
        self.received: list[tuple[bytes, Flow]] = []
        self.lost: list[int] = []
        self.lost_to: list[Flow] = []
        self.failed: list[Flow] = []
        self.failed_at: list[float] = []
        self.ticks: list[float] = []
        self.deadline: float | None = None
        self.on_receive: Callable[[bytes, Flow], None] | None = None

    def receive(self, data: bytes, flow: Flow, now: Monotonic) -> None:
        self.received.append((data, flow))
        if self.on_receive is not None:
            self.on_receive(data, flow)

    def tick(self, now: Monotonic) -> None:
        self.ticks.append(now)

    def next_deadline(self) -> float | None:
        return self.deadline

    def connection_lost(self, conn_id: int, now: Monotonic, flow: Flow | None = None) -> None:
        self.lost.append(conn_id)
        if flow is not None:
            self.lost_to.append(flow)

    def send_failed(self, flow: Flow, now: Monotonic) -> None:
        self.failed.append(flow)
        self.failed_at.append(time.monotonic())

    @property
    def messages(self) -> list[bytes]:
        return [data for data, _ in self.received]


class Rig:
    """A driver with its fake endpoint, and the port of each listener."""

    def __init__(self, endpoint: FakeEndpoint, driver: Driver) -> None:
        self.endpoint = endpoint
        self.driver = driver
        self.turns = 0
        self.lost: list[int] = []

    def port(self, transport: str) -> int:
        return next(each.port for each in self.driver.listeners() if each.transport == transport)

    def name(self, transport: str) -> str:
        return next(each.name for each in self.driver.listeners() if each.transport == transport)

    def send(self, flow: Flow, data: bytes) -> None:
        self.endpoint.out.append((flow, data))
        self.driver.kick()

    def echo(self) -> None:
        """Answer every message with itself."""
        self.endpoint.on_receive = lambda data, flow: self.endpoint.out.append((flow, data))


@asynccontextmanager
async def rig(
    *listen: str,
    bounds: StreamBounds | None = None,
    tls: TlsFiles | None = None,
    **driver_options: Any,
) -> AsyncIterator[Rig]:
    endpoint = FakeEndpoint()
    made: list[Rig] = []

    def turn() -> None:
        made[0].turns += 1

    gate = driver_options.pop("gate", OpenGate())
    drain_s = driver_options.pop("drain_s", 0.5)
    advertise = driver_options.pop("advertise", "")
    driver = Driver(
        endpoint,
        RealClock(),
        turn,
        gate,
        bounds=bounds or StreamBounds(linger_s=0.2),
        on_connection_lost=lambda conn: made[0].lost.append(conn),
        **driver_options,
    )
    made.append(Rig(endpoint, driver))
    await driver.start(listen, tls, advertise)
    try:
        yield made[0]
    finally:
        await driver.stop(drain_s)


def sip(body: bytes = b"", method: str = "OPTIONS", branch: str = "z9hG4bK1", cseq: int = 1) -> bytes:
    """A small request that frames and parses."""
    return (
        f"{method} sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1:5060;branch={branch};rport\r\n"
        f"From: <sip:alice@example.com>;tag=a\r\nTo: <sip:bob@example.com>\r\nCall-ID: {branch}@test\r\n"
        f"CSeq: {cseq} {method}\r\nMax-Forwards: 70\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body


class UdpPeer:
    """A UDP socket of the other side."""

    def __init__(self, family: socket.AddressFamily = socket.AF_INET) -> None:
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.socket.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))

    @property
    def port(self) -> int:
        return int(self.socket.getsockname()[1])

    def send(self, data: bytes, port: int) -> None:
        host = "::1" if self.socket.family == socket.AF_INET6 else "127.0.0.1"
        self.socket.sendto(data, (host, port))

    async def receive(self) -> bytes:
        got: list[bytes] = []

        def arrived() -> bool:
            try:
                got.append(self.socket.recv(65535))
            except BlockingIOError:
                return False
            return True

        await until(arrived, "a datagram")
        return got[0]

    def __enter__(self) -> UdpPeer:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    async def __aenter__(self) -> UdpPeer:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.socket.close()


class StreamPeer:
    """A TCP or TLS client that reads with patience."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @property
    def port(self) -> int:
        return int(self.writer.get_extra_info("sockname")[1])

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def exactly(self, size: int) -> bytes:
        return bytes(await patient(self.reader.readexactly(size)))

    async def to_end(self) -> bytes:
        """Everything until the server ends the connection (a reset counts as an end)."""
        parts: list[bytes] = []
        try:
            while part := await patient(self.reader.read(65536)):
                parts.append(part)
        except (ConnectionResetError, ssl.SSLError):
            pass
        return b"".join(parts)

    async def close(self) -> None:
        self.writer.transport.abort()
        try:
            await self.writer.wait_closed()
        except (OSError, ssl.SSLError):
            return


async def patient(awaitable: Awaitable[Any]) -> Any:
    return await asyncio.wait_for(awaitable, PATIENCE_S)


@asynccontextmanager
async def connected(port: int, host: str = "127.0.0.1", **options: Any) -> AsyncIterator[StreamPeer]:
    reader, writer = await patient(asyncio.open_connection(host, port, **options))
    peer = StreamPeer(reader, writer)
    try:
        yield peer
    finally:
        await peer.close()


def raw_socket(port: int, receive_buffer: int = 0) -> socket.socket:
    """A connected non-blocking socket that nobody reads."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if receive_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.connect(("127.0.0.1", port))
    sock.setblocking(False)
    return sock


class Authority:
    """A certificate authority of the test, and the certificates it signs."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Test {name}")])
        now = datetime.now(UTC)
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(self.name)
            .issuer_name(self.name)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=30))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self.key, hashes.SHA256())
        )
        self.path = str(folder / f"{name}.pem")
        Path(self.path).write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def issue(
        self,
        name: str,
        *alternatives: str,
        days: tuple[int, int] = (-1, 30),
        common_name: str = "",
        passphrase: bytes = b"",
    ) -> tuple[str, str]:
        """Certificate and key files.  Alternatives: ``dns:a.example``, ``uri:sip:a.example``, ``ip:127.0.0.1``."""
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name or name)]))
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + timedelta(days=days[0]))
            .not_valid_after(now + timedelta(days=days[1]))
        )
        if alternatives:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_alternative(text) for text in alternatives]), critical=False
            )
        certificate = builder.sign(self.key, hashes.SHA256())
        certificate_path, key_path = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        certificate_path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
        if passphrase:
            encryption = serialization.BestAvailableEncryption(passphrase)
        key_path.write_bytes(
            key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
        )
        return str(certificate_path), str(key_path)

    def files(self, name: str, *alternatives: str, **options: Any) -> TlsFiles:
        """Files of a server with a certificate of ours, which trusts us."""
        certificate, key = self.issue(name, *(alternatives or ("ip:127.0.0.1", "dns:localhost")))
        return TlsFiles(certificate=certificate, key=key, ca=self.path, **options)

    def client_context(self, certificate: tuple[str, str] | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.path)
        context.check_hostname = False
        if certificate is not None:
            context.load_cert_chain(*certificate)
        return context


def _alternative(text: str) -> x509.GeneralName:
    kind, _, value = text.partition(":")
    if kind == "dns":
        return x509.DNSName(value)
    if kind == "uri":
        return x509.UniformResourceIdentifier(value)
    return x509.IPAddress(ipaddress.ip_address(value))
