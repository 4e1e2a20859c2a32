"""Strangers, garbage, faults and maintenance: the server goes on."""

from __future__ import annotations

import random
import signal
import socket
import sqlite3
import ssl
import time

import pytest

from loadtests import proc
from tests.e2e.harness import certificate
from tests.e2e.harness.dialog import Leg
from tests.e2e.harness.wire import StreamWire
from tests.e2e.harness.world import CLEO, OUTSIDE, STRANGER, World

pytestmark = [pytest.mark.e2e, pytest.mark.needs("openssl")]
INVITE = (
    b"INVITE sip:+33639981003@e2e.example SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.9:5060;branch=z9hG4bKx\r\n"
    b"Max-Forwards: 70\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\nCall-ID: fuzz\r\nCSeq: 1 INVITE\r\n"
    b"Contact: <sip:a@127.0.0.9>\r\nContent-Length: 0\r\n\r\n"
)


def a_call_works(world: World) -> None:
    phone = world.scripted("cleo-1")
    carrier = world.carrier()
    call = Leg.dial(carrier, CLEO, OUTSIDE)
    leg = Leg.answering(phone)
    leg.accept()
    call.expect_answer()
    call.hang_up()
    leg.expect_hang_up()


def mutations(count: int, seed: int) -> list[bytes]:
    """Damaged INVITEs and plain noise, the same every time."""
    dice = random.Random(seed)
    made = []
    for _ in range(count):
        data = bytearray(INVITE)
        for _ in range(dice.randrange(1, 12)):
            match dice.randrange(4):
                case 0:
                    data[dice.randrange(len(data))] = dice.randrange(256)
                case 1:
                    del data[dice.randrange(len(data)) :][:20]
                case 2:
                    data[dice.randrange(len(data)) :] = dice.randbytes(dice.randrange(60))
                case 3:
                    at = dice.randrange(len(data))
                    data[at:at] = data[: dice.randrange(200)]
            data = data or bytearray(b"\r\n")
        made.append(bytes(data[:60000]))
    return made


@pytest.mark.rule("OPS-05")
def test_garbage_over_udp(world: World) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((STRANGER, 0))
        for data in mutations(1500, 1):
            sock.sendto(data, world.server.address())
        for size in (0, 1, 65000):
            sock.sendto(b"\xff" * size, world.server.address())
    a_call_works(world)


@pytest.mark.parametrize("transport", ["tcp", "tls", "ws"])
@pytest.mark.rule("OPS-05")
def test_garbage_over_streams(transport: str, world: World) -> None:
    for data in mutations(40, 2):
        plain = socket.create_connection(world.server.address(transport), timeout=3)
        with plain:
            plain.sendall(data)
    a_call_works(world)


def test_a_slow_stream_stalls_nobody(world: World) -> None:
    """A connection that sends half a message, and one that never reads."""
    half = socket.create_connection(world.server.address("tcp"), timeout=3)
    with half:
        half.sendall(INVITE[:100])
        deaf = socket.create_connection(world.server.address("tcp"), timeout=3)
        with deaf:
            ask = INVITE.replace(b"INVITE", b"OPTIONS").replace(b"SIP/2.0/UDP", b"SIP/2.0/TCP")
            deaf.settimeout(1)
            end = time.monotonic() + 1
            try:
                while time.monotonic() < end:
                    deaf.sendall(ask * 20)
            except OSError:
                pass  # the server has had enough of it, as it should
            begin = time.monotonic()
            a_call_works(world)
            assert time.monotonic() - begin < 2


def test_many_connections_and_no_bytes(world: World) -> None:
    sockets = [socket.create_connection(world.server.address("tls"), timeout=3) for _ in range(150)]
    try:
        a_call_works(world)
    finally:
        for sock in sockets:
            sock.close()


@pytest.mark.rule("OPS-03")
def test_a_new_certificate_is_taken_without_a_restart(world: World) -> None:
    """Connections that are up stay up; new ones get the new certificate; a broken file changes nothing."""
    server = world.server
    phone = world.scripted("cleo-1", "tls")

    def shown() -> bytes:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        with (
            socket.create_connection(server.address("tls"), timeout=3) as plain,
            context.wrap_socket(plain) as tls,
        ):
            der = tls.getpeercert(binary_form=True)
            assert der is not None
            return der

    old = shown()
    kept_chain, kept_key = server.certificate.chain.read_bytes(), server.certificate.key.read_bytes()
    fresh = certificate.make(server.folder / "fresh", "e2e.example")
    server.certificate.key.write_bytes(fresh.key.read_bytes())
    server.certificate.chain.write_bytes(fresh.chain.read_bytes())
    server.signal(signal.SIGHUP)
    assert proc.wait_until(lambda: shown() != old, 6), "the old certificate is still shown"
    new = shown()
    call = Leg.dial(world.carrier(), CLEO, OUTSIDE)
    leg = Leg.answering(phone)
    leg.refuse(486)
    call.expect_failure()
    server.certificate.chain.write_text("broken")
    server.expected.append("no PEM certificate in it")
    server.signal(signal.SIGHUP)
    assert proc.wait_until(lambda: "no PEM certificate in it" in server.tail(5), 6), "nobody was told"
    assert shown() == new
    server.certificate.key.write_bytes(kept_key)
    server.certificate.chain.write_bytes(kept_chain)
    server.signal(signal.SIGHUP)
    assert proc.wait_until(lambda: shown() == old, 6)


def test_a_changed_document_takes_effect_within_a_second(world: World) -> None:
    carrier = world.carrier()
    phone = world.scripted("cleo-1")
    done = world.server.apply(world.document(cleo="calls = false"))
    assert done.returncode == 0, done.stderr
    time.sleep(1.0)
    refused = Leg.dial(carrier, CLEO, OUTSIDE).expect_failure()
    assert refused.status == 480
    phone.expect_silence(0.1)
    done = world.server.apply(world.document(ben="ring_seconds = 2", cleo="calls = true"))
    assert done.returncode == 0, done.stderr
    time.sleep(1.0)
    a_call_works(world)


@pytest.mark.rule("OPS-05")
def test_a_scanner_learns_nothing(world: World) -> None:
    """OPTIONS and REGISTER of a scanner: no version, no user, equal answers."""
    stranger = world.stranger()
    seen = set()
    for user in ("cleo-1", "100", "admin"):
        stranger.user = user
        stranger.tag = f"t{user}"
        reply = stranger.register(password="guess")
        seen.add((reply.status, reply.get("server")))
    assert len(seen) == 1
    (status, banner) = seen.pop()
    assert status in (401, 403)
    assert not any(char.isdigit() for char in banner)


def test_the_database_may_be_locked_during_calls(world: World) -> None:
    """Records wait; calls do not notice (CDR-02)."""
    before = world.server.records_now()
    lock = sqlite3.connect(world.server.database, timeout=5, isolation_level=None)
    try:
        lock.execute("BEGIN EXCLUSIVE")
        begin = time.monotonic()
        a_call_works(world)
        assert time.monotonic() - begin < 2
    finally:
        lock.execute("ROLLBACK")
        lock.close()
    assert world.server.record_of(before, 15)["reason"] == "normal_clearing"


def test_stop_and_start_again(world: World) -> None:
    """TERM ends it cleanly with exit code 0; phones register anew, records are there."""
    before = world.server.records_now()
    a_call_works(world)
    world.server.record_of(before)
    assert world.server.stop() == 0
    world.everybody_out()
    world.server.start()
    a_call_works(world)


def test_a_stream_wire_is_closed_when_the_server_stops_speaking_sip(world: World) -> None:
    """A body longer than the bound ends the connection, not the server."""
    wire = world.wire("tcp")
    assert isinstance(wire, StreamWire)
    wire.send_bytes(INVITE.replace(b"Content-Length: 0", b"Content-Length: 99999999"))
    assert proc.wait_until(lambda: wire.receive(0.2) is None and wire.closed, 4) or wire.closed
    a_call_works(world)
