"""TLS: handshakes both ways, whom a certificate speaks for (RFC 5922), reload, and hostile peers."""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from callcontrol.sip.flow import Flow
from callcontrol.transport import StreamBounds, TlsContexts, TlsError, TlsFiles
from callcontrol.transport import driver as driver_module
from callcontrol.transport.tls import certificate_validity, sip_identities, speaks_for
from callcontrol.transport.tls_layer import TlsFailure, TlsLayer
from tests.transport.support import (
    Authority,
    Rig,
    StreamPeer,
    UdpPeer,
    connected,
    on_both_loops,
    raw_socket,
    rig,
    sip,
    until,
)

TLS = "tls:127.0.0.1:0"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


# -- serving -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@on_both_loops
async def test_messages_and_keep_alive_over_tls(authority: Authority, version: ssl.TLSVersion) -> None:
    context = authority.client_context()
    context.minimum_version = context.maximum_version = version
    async with rig(TLS, tls=authority.files("server")) as server:
        server.echo()
        async with connected(server.port("tls"), ssl=context) as peer:
            peer.send(b"\r\n\r\n" + sip(b"x" * 50_000) + sip())
            assert await peer.exactly(2) == b"\r\n"
            whole = sip(b"x" * 50_000) + sip()
            assert await peer.exactly(len(whole)) == whole
            flow = server.endpoint.received[0][1]
            assert (flow.transport, flow.secure, flow.reliable) == ("tls", True, True)
        await until(lambda: server.lost == [flow.conn])


@on_both_loops
async def test_old_versions_are_refused(authority: Authority) -> None:
    context = authority.client_context()
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1 is deprecated"):
        context.minimum_version = ssl.TLSVersion.TLSv1_1
    with pytest.warns(DeprecationWarning, match="TLSv1_1 is deprecated"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    async with rig(TLS, tls=authority.files("server")) as server:
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            async with connected(server.port("tls"), ssl=context):
                pass
        await until(lambda: server.driver.counters.tls_failures)
        assert not server.lost


@on_both_loops
async def test_the_end_is_announced_to_the_peer(authority: Authority) -> None:
    """A reader that insists on close_notify sees a clean end, not a truncation."""
    async with rig(TLS, tls=authority.files("server")) as server:
        sock = raw_socket(server.port("tls"))
        sock.setblocking(True)
        wrapped = await asyncio.to_thread(
            authority.client_context().wrap_socket, sock, suppress_ragged_eofs=False
        )
        wrapped.send(sip())
        await until(lambda: server.endpoint.received)
        server.driver.close_connection(server.endpoint.received[0][1].conn, "operator")
        assert await asyncio.to_thread(wrapped.recv, 100) == b""
        wrapped.close()


@on_both_loops
async def test_client_certificates(authority: Authority, tmp_path: Path) -> None:
    files = authority.files("server", client_certificates="required", client_ca=authority.path)
    own = authority.issue("client", "uri:sip:carrier.example", "dns:other.example")
    stranger = Authority(tmp_path, "stranger").issue("stranger", "uri:sip:carrier.example")
    async with rig(TLS, tls=files) as server:
        async with connected(server.port("tls"), ssl=authority.client_context(own)) as peer:
            peer.send(sip())
            await until(lambda: server.endpoint.received)
            conn = server.endpoint.received[0][1].conn
            assert server.driver.peer_names(conn) == ("carrier.example",)
            assert server.driver.connections()[0].peer_names == ("carrier.example",)
        for certificate in (None, stranger):
            async with connected(server.port("tls"), ssl=authority.client_context(certificate)) as peer:
                peer.send(sip())
                assert await peer.to_end() == b""
        assert len(server.endpoint.received) == 1
        assert sum(server.driver.counters.tls_failures.values()) == 2
        assert server.driver.peer_names(99) == ()


@on_both_loops
async def test_an_optional_client_certificate(authority: Authority) -> None:
    files = authority.files("server", client_certificates="optional")
    context = authority.client_context()
    async with rig(TLS, tls=files) as server, connected(server.port("tls"), ssl=context) as peer:
        peer.send(sip())
        await until(lambda: server.endpoint.received)
        assert server.driver.peer_names(server.endpoint.received[0][1].conn) == ()


# -- connecting --------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def pair(client_files: TlsFiles, server_files: TlsFiles) -> AsyncIterator[tuple[Rig, Rig, int]]:
    """Two drivers; the first connects to the second."""
    async with rig(TLS, tls=client_files) as client, rig(TLS, tls=server_files) as server:
        yield client, server, server.port("tls")


@on_both_loops
async def test_a_server_that_proves_its_domain_is_accepted(authority: Authority) -> None:
    own = authority.files("own")
    async with pair(
        own, authority.files("carrier", "dns:sip.carrier.example", "uri:sip:carrier.example")
    ) as (
        client,
        server,
        port,
    ):
        target = client.driver.tls_target("tls", "127.0.0.1", port, "Carrier.Example")
        assert target < 0
        assert client.driver.tls_target("tls", "127.0.0.1", port, "carrier.example") == target
        flow = Flow("tls", "127.0.0.1", port, conn=target)
        server.echo()
        client.send(flow, sip())
        client.send(flow, sip(b"2"))
        await until(lambda: client.endpoint.messages == [sip(), sip(b"2")])
        assert len(server.driver.connections()) == 1
        assert client.endpoint.failed == []
        back = client.endpoint.received[0][1]
        assert back.conn > 0
        await server.driver.stop(0.5)
        await until(lambda: client.endpoint.lost)
        assert client.endpoint.lost == [back.conn, target]  # requests wait under the name of the target


@pytest.mark.parametrize(
    ("names", "domain", "failure"),
    [
        (("dns:other.example",), "carrier.example", "wrong name"),
        # A SIP URI makes the DNS names irrelevant (RFC 5922 §7.1).
        (("uri:sip:other.example", "dns:carrier.example"), "carrier.example", "wrong name"),
        (("dns:*.carrier.example",), "sip.carrier.example", "wrong name"),
        (("ip:127.0.0.2",), "", "wrong name"),
        (("ip:127.0.0.1",), "", ""),
        (("dns:carrier.example",), "carrier.example", ""),
    ],
)
@on_both_loops
async def test_names_that_match_and_names_that_do_not(
    authority: Authority, names: tuple[str, ...], domain: str, failure: str
) -> None:
    async with pair(authority.files("own"), authority.files("carrier", *names)) as (client, server, port):
        conn = client.driver.tls_target("tls", "127.0.0.1", port, domain) if domain else 0
        flow = Flow("tls", "127.0.0.1", port, conn=conn)
        client.send(flow, sip())
        if failure:
            await until(lambda: client.endpoint.failed)
            assert client.endpoint.failed == [flow]
            assert client.driver.counters.tls_failures == {failure: 1}
            assert client.driver.counters.connect_failed == {"tls": 1}
            assert not server.endpoint.received  # the message never left
        else:
            await until(lambda: server.endpoint.received)
            assert client.endpoint.failed == []


@on_both_loops
async def test_one_connection_per_domain_at_the_same_address(authority: Authority) -> None:
    """A connection verified for one domain must not carry messages for another (RFC 5922 §7.3, RFC 5923 §9)."""
    carrier = authority.files("carrier", "dns:a.example")
    async with pair(authority.files("own"), carrier) as (client, server, port):
        for domain in ("a.example", "b.example"):
            conn = client.driver.tls_target("tls", "127.0.0.1", port, domain)
            client.send(Flow("tls", "127.0.0.1", port, conn=conn), sip(domain.encode()))
        await until(lambda: client.endpoint.failed and server.endpoint.received)
        assert server.endpoint.messages == [sip(b"a.example")]
        assert [flow.conn for flow in client.endpoint.failed] == [conn]


@on_both_loops
async def test_an_unknown_authority_is_refused_unless_checks_are_off(
    authority: Authority, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path, "stranger").files("stranger", "dns:carrier.example")
    own = authority.files("own")
    async with pair(own, stranger) as (client, server, port):
        client.send(Flow("tls", "127.0.0.1", port), sip())
        await until(lambda: client.endpoint.failed)
        assert client.driver.counters.tls_failures == {"certificate_verify_failed": 1}
        assert not server.endpoint.received
    async with pair(replace(own, verify_servers=False), stranger) as (client, server, port):
        client.send(Flow("tls", "127.0.0.1", port), sip())
        await until(lambda: server.endpoint.received)


@on_both_loops
async def test_our_certificate_is_shown_to_servers_that_ask(authority: Authority) -> None:
    carrier = authority.files("carrier", client_certificates="required")
    async with pair(authority.files("own", "uri:sip:cloudline.example"), carrier) as (client, server, port):
        client.send(Flow("tls", "127.0.0.1", port), sip())
        await until(lambda: server.endpoint.received)
        assert server.driver.peer_names(server.endpoint.received[0][1].conn) == ("cloudline.example",)


@on_both_loops
async def test_tls_to_a_port_that_does_not_answer_the_handshake(authority: Authority) -> None:
    bounds = StreamBounds(connect_s=0.2)
    async with rig(TLS, "tcp:127.0.0.1:0", tls=authority.files("own"), bounds=bounds) as server:
        flow = Flow("tls", "127.0.0.1", server.port("tcp"))
        server.send(flow, sip())
        await until(lambda: server.endpoint.failed)
        assert server.endpoint.failed == [flow]
        assert server.driver.counters.connect_failed == {"handshake timeout": 1}


@on_both_loops
async def test_targets_are_bounded_and_a_forgotten_one_fails(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callcontrol.transport.streams.MAX_TARGETS", 2)
    async with rig(TLS, tls=authority.files("own")) as server:
        target = server.driver.tls_target
        ids = [target("tls", "127.0.0.1", 5061, f"{name}.example") for name in "abc"]
        assert len(set(ids)) == 3
        server.send(Flow("tls", "127.0.0.1", 5061, conn=ids[0]), sip())
        await until(lambda: server.endpoint.failed)
        assert server.driver.counters.dropped == {"unknown target": 1}


@on_both_loops
async def test_a_domain_that_no_handshake_can_name_fails_its_flow(authority: Authority) -> None:
    async with rig(TLS, tls=authority.files("own")) as server:
        conn = server.driver.tls_target("tls", "127.0.0.1", 5061, "x" * 64 + ".example")
        flow = Flow("tls", "127.0.0.1", 5061, conn=conn)
        server.send(flow, sip())
        await until(lambda: server.endpoint.failed)
        assert server.endpoint.failed == [flow]
        assert server.driver.connections() == []


# -- hostile peers -----------------------------------------------------------------------------------------------------


@on_both_loops
async def test_garbage_and_plain_sip_on_the_tls_port(authority: Authority) -> None:
    async with rig(TLS, tls=authority.files("server")) as server:
        for noise in (
            sip(),
            b"\xff" * 5000,
            b"\x16\x03\x01\xff\xff" + b"\0" * 70_000,
            b"GET / HTTP/1.1\r\n\r\n",
        ):
            async with connected(server.port("tls")) as peer:
                peer.send(noise)
                peer.writer.write_eof()
                await peer.to_end()
        await until(lambda: not server.driver.connections())
        assert not server.endpoint.received
        assert not server.lost  # never open, so nobody can have been bound to them
        server.echo()
        async with connected(server.port("tls"), ssl=authority.client_context()) as good:
            good.send(sip())
            assert await good.exactly(len(sip())) == sip()


@on_both_loops
async def test_half_open_handshakes_time_out_and_are_bounded(authority: Authority) -> None:
    bounds = StreamBounds(handshake_s=0.3, opening=5, linger_s=0.1)
    async with rig(TLS, tls=authority.files("server"), bounds=bounds) as server:
        socks = [raw_socket(server.port("tls")) for _ in range(8)]
        for sock in socks[:5]:
            sock.send(b"\x16\x03\x01\x02\x00\x01\x00")  # the start of a ClientHello
        await until(lambda: server.driver.counters.refused == {"opening": 3})
        assert server.driver.connection_totals() == {("tls", "handshake"): 5}
        await until(lambda: not server.driver.connections())
        assert server.driver.counters.closed == {"handshake timeout": 5}
        for sock in socks:
            sock.close()
        async with connected(server.port("tls"), ssl=authority.client_context()) as good:
            good.send(sip())
            await until(lambda: server.endpoint.received)


@on_both_loops
async def test_a_storm_of_handshakes_leaves_room_for_others(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Handshake steps are counted out per turn, and all get done."""
    monkeypatch.setattr(driver_module, "HANDSHAKES", 2)
    async with rig(TLS, "udp:127.0.0.1:0", tls=authority.files("server")) as server, UdpPeer() as peer:
        server.echo()
        context = authority.client_context()
        storm = [asyncio.open_connection("127.0.0.1", server.port("tls"), ssl=context) for _ in range(30)]
        opened = asyncio.gather(*storm)
        peer.send(sip(), server.port("udp"))
        assert await peer.receive() == sip()
        clients = [StreamPeer(*each) for each in await asyncio.wait_for(opened, 30)]
        await until(lambda: server.driver.connection_totals() == {("tls", "open"): 30})
        assert {row.tls for row in server.driver.connections()} == {"TLSv1.3"}
        for client in clients:
            await client.close()


@on_both_loops
async def test_a_tls_peer_that_stops_reading_is_closed_at_the_bound(authority: Authority) -> None:
    bounds = StreamBounds(write_bytes=200_000, linger_s=0.1)
    async with rig(TLS, tls=authority.files("server"), bounds=bounds) as server:
        sock = raw_socket(server.port("tls"), 4096)
        sock.setblocking(True)
        deaf = await asyncio.to_thread(authority.client_context().wrap_socket, sock)
        deaf.send(sip())
        await until(lambda: server.endpoint.received)
        flow = server.endpoint.received[0][1]
        for _ in range(2000):
            server.send(flow, sip(b"x" * 20_000))
            await asyncio.sleep(0)
            if server.lost:
                break
        assert server.driver.counters.closed == {"slow reader": 1}
        deaf.close()


# -- reload ------------------------------------------------------------------------------------------------------------


@pytest.mark.rule("OPS-03")
@on_both_loops
async def test_a_new_certificate_is_taken_without_dropping_connections(authority: Authority) -> None:
    files = authority.files("server")
    async with rig(TLS, tls=files) as server:
        server.echo()
        tls = server.driver.tls
        assert tls is not None
        first_end = tls.not_after
        async with connected(server.port("tls"), ssl=authority.client_context()) as old:
            authority.issue("server", "dns:new.example", days=(-1, 60))
            server.driver.reload_tls()
            assert tls.not_after > first_end + 86_400
            assert tls.reloads == 1
            async with connected(server.port("tls"), ssl=authority.client_context()) as new:
                shown = new.writer.get_extra_info("peercert")
                assert sip_identities(shown) == ("new.example",)
            old.send(sip())
            assert await old.exactly(len(sip())) == sip()


@pytest.mark.rule("OPS-03")
@on_both_loops
async def test_changed_files_are_noticed_and_a_bad_pair_is_refused(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(driver_module, "TLS_WATCH_S", 0.02)
    files = authority.files("server")
    async with rig(TLS, tls=files) as server:
        tls = server.driver.tls
        assert tls is not None
        certificate, key = authority.issue("other", "dns:other.example", days=(-1, 60))
        os.replace(certificate, files.certificate)  # the key has not come yet
        await until(lambda: tls.refused_reloads)
        assert "is not the key of the certificate" in caplog.text
        async with connected(server.port("tls"), ssl=authority.client_context()) as peer:
            assert sip_identities(peer.writer.get_extra_info("peercert")) == ("127.0.0.1", "localhost")
        os.replace(key, files.key)
        await until(lambda: tls.reloads)
        async with connected(server.port("tls"), ssl=authority.client_context()) as peer:
            assert sip_identities(peer.writer.get_extra_info("peercert")) == ("other.example",)


def _spoil(files: TlsFiles, authority: Authority, how: str) -> None:
    match how:
        case "certificate gone":
            os.unlink(files.certificate)
        case "key gone":
            os.unlink(files.key)
        case "no certificate in it":
            Path(files.certificate).write_text("hello")
        case "broken certificate":
            text = Path(files.certificate).read_text().splitlines()
            Path(files.certificate).write_text("\n".join([*text[:2], *text[-1:]]) + "\n")
        case "not base64":
            Path(files.certificate).write_text(
                "-----BEGIN CERTIFICATE-----\n%%%\n-----END CERTIFICATE-----\n"
            )
        case "key is no key":
            Path(files.key).write_text("hello")
        case "another key":
            os.replace(authority.issue("other")[1], files.key)
        case "passphrase":
            os.replace(authority.issue("other", passphrase=b"secret")[1], files.key)
        case "expired":
            authority.issue("server", days=(-10, -1))
        case "not yet valid":
            authority.issue("server", days=(1, 10))
        case "ca gone":
            os.unlink(files.ca)
        case "ca empty":
            Path(files.ca).write_text("")


@pytest.mark.rule("OPS-03")
@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("certificate gone", "server.crt: No such file"),
        ("key gone", "server.key: No such file"),
        ("no certificate in it", "server.crt: no PEM certificate"),
        ("broken certificate", "server.crt: the certificate cannot be read"),
        ("not base64", "server.crt: the certificate cannot be read"),
        ("key is no key", "server.key: no usable private key"),
        ("another key", "server.key: is not the key of the certificate in"),
        ("passphrase", "server.key: the key is protected by a passphrase"),
        ("expired", "server.crt: the certificate is valid from"),
        ("not yet valid", "server.crt: the certificate is valid from"),
        ("ca gone", "ca.pem: No such file"),
        ("ca empty", "ca.pem: no usable CA certificate"),
    ],
)
def test_a_bad_new_certificate_is_refused_by_name_and_the_old_stays(
    authority: Authority, how: str, says: str
) -> None:
    contexts = TlsContexts(authority.files("server"))
    kept = (contexts.server, contexts.client, contexts.not_after)
    assert not contexts.changed()
    _spoil(contexts.files, authority, how)
    assert contexts.changed()
    with pytest.raises(TlsError) as refused:
        contexts.reload(time.time())
    assert says in str(refused.value)
    assert (contexts.server, contexts.client, contexts.not_after) == kept
    assert contexts.refused_reloads == 1
    assert not contexts.changed()  # the same defect is told once


def test_an_expired_certificate_does_not_stop_a_start(authority: Authority) -> None:
    certificate, key = authority.issue("server", days=(-10, -1))
    contexts = TlsContexts(TlsFiles(certificate=certificate, key=key, ca=authority.path))
    assert contexts.not_after < time.time()


def test_a_wrong_word_for_client_certificates_is_refused(authority: Authority) -> None:
    with pytest.raises(TlsError, match="must be no, optional or required"):
        TlsContexts(authority.files("server", client_certificates="yes"))


@on_both_loops
async def test_listening_on_tls_needs_certificates() -> None:
    with pytest.raises(TlsError, match="needs sip\\.tls\\.certificate"):
        async with rig(TLS):
            pass


# -- certificates as values --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("days", [(-1, 30), (-20_000, 30), (-1, 20_000)])
def test_validity_agrees_with_another_reader(authority: Authority, days: tuple[int, int]) -> None:
    """Also with dates outside 1950-2049, which are written in another type (RFC 5280 §4.1.2.5)."""
    path, _ = authority.issue("server", days=days)
    theirs = x509.load_pem_x509_certificate(Path(path).read_bytes())
    assert certificate_validity(path) == (
        theirs.not_valid_before_utc.timestamp(),
        theirs.not_valid_after_utc.timestamp(),
    )


@given(st.binary(max_size=300))
def test_any_bytes_as_a_certificate_give_a_verdict(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.pem"
    path.write_text(ssl.DER_cert_to_PEM_cert(data))
    with pytest.raises(TlsError, match="cannot be read"):
        certificate_validity(str(path))


@pytest.mark.parametrize(
    ("certificate", "identities"),
    [
        ({"subjectAltName": (("DNS", "A.example"), ("DNS", "b.example"))}, ("a.example", "b.example")),
        ({"subjectAltName": (("DNS", "a.example"), ("URI", "sip:B.example"))}, ("b.example",)),
        ({"subjectAltName": (("URI", "SIP:b.example:5061;transport=tls"),)}, ("b.example",)),
        ({"subjectAltName": (("URI", "sip:alice@b.example"),)}, ()),
        ({"subjectAltName": (("URI", "sips:b.example"), ("URI", "https://b.example"))}, ()),
        ({"subjectAltName": (("URI", "sip:[2001:db8::1]:5061"),)}, ("2001:db8::1",)),
        ({"subjectAltName": (("IP Address", "192.0.2.1"),)}, ("192.0.2.1",)),
        ({"subjectAltName": (("email", "a@b.example"),), "subject": ((("commonName", "b.example"),),)}, ()),
        ({"subject": ((("countryName", "FR"),), (("commonName", "B.example"),))}, ("b.example",)),
        ({}, ()),
    ],
)
def test_identities_of_a_certificate(certificate: dict[str, object], identities: tuple[str, ...]) -> None:
    """RFC 5922 §7.1."""
    assert sip_identities(certificate) == identities


@pytest.mark.parametrize(
    ("identity", "name", "plain", "wild"),
    [
        ("a.example", "A.Example", True, True),
        ("a.example", "a.example.", True, True),
        ("a.example", "b.a.example", False, False),
        ("*.a.example", "b.a.example", False, True),
        ("*.a.example", "c.b.a.example", False, False),
        ("*.a.example", "a.example", False, False),
        ("*", "a.example", False, False),
        ("192.0.2.1", "192.0.2.1", True, True),
        ("2001:DB8:0:0:0:0:0:1", "2001:db8::1", True, True),
        ("example.com", "2001:db8::1", False, False),
    ],
)
def test_comparing_names(identity: str, name: str, plain: bool, wild: bool) -> None:
    """RFC 5922 §7.2: no wildcards, unless the operator has to."""
    assert speaks_for((identity.lower(),), name) is plain
    assert speaks_for((identity.lower(),), name, allow_wildcards=True) is wild


# -- the layer without sockets -----------------------------------------------------------------------------------------


def test_a_session_in_single_bytes(authority: Authority) -> None:
    contexts = TlsContexts(authority.files("server"))
    server, client = TlsLayer(contexts.server, server=True), TlsLayer(contexts.client, server=False)
    client.feed(b"")
    plain = b""
    for _ in range(4):
        for byte in client.take():
            plain += server.feed(bytes((byte,)))
        for byte in server.take():
            client.feed(bytes((byte,)))
    assert client.established
    assert server.established
    client.write(sip())
    client.goodbye()
    for byte in client.take():
        plain += server.feed(bytes((byte,)))
    assert plain == sip()
    assert server.peer_closed
    assert server.version() == "TLSv1.3"
    assert client.peer_identities() == ("127.0.0.1", "localhost")


def test_a_broken_record_is_a_failure_with_a_name(authority: Authority) -> None:
    contexts = TlsContexts(authority.files("server"))
    layer = TlsLayer(contexts.server, server=True)
    with pytest.raises(TlsFailure) as failure:
        layer.feed(b"not TLS at all, sorry")
    assert failure.value.reason == failure.value.reason.lower() != ""
    layer.goodbye()  # harmless before the handshake


@given(st.binary(min_size=1, max_size=400))
def test_any_bytes_end_in_waiting_or_failure(shared_contexts: TlsContexts, data: bytes) -> None:
    layer = TlsLayer(shared_contexts.server, server=True)
    try:
        assert layer.feed(data) == b""
    except TlsFailure:
        assert not layer.established


@pytest.fixture(scope="module")
def shared_contexts(tmp_path_factory: pytest.TempPathFactory) -> TlsContexts:
    return TlsContexts(Authority(tmp_path_factory.mktemp("tls")).files("server"))
