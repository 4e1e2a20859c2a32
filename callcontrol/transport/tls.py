"""TLS: contexts from files, their reload, and whom a certificate speaks for (RFC 5922, RFC 3261 §26).

TLS 1.2 is the floor (widely deployed softphone stacks speak nothing newer) and 1.3 is used where the peer has it.
"""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

PEM_CERTIFICATE: Final = "-----BEGIN CERTIFICATE-----"
_PEM_END: Final = "-----END CERTIFICATE-----"


class TlsError(Exception):
    """A certificate, key or CA file cannot be used; the text names the file and what is wrong with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """Where certificates come from and how peers are checked."""

    certificate: str
    """PEM file: our certificate and its chain.  Watched."""
    key: str
    """PEM file: its private key, without a passphrase.  Watched."""
    client_ca: str = ""
    """PEM file: who may sign the certificates of clients; empty: the CAs of ``ca``.  Watched."""
    client_certificates: str = "no"
    """Whether clients are asked for a certificate: no, optional, required."""
    ca: str = ""
    """PEM file: who may sign the certificates of servers we connect to; empty: the system's CAs.  Watched."""
    verify_servers: bool = True
    """Check servers we connect to (RFC 5922 §7.3); off for test networks only."""
    allow_wildcards: bool = False
    """Accept ``*.example.com`` for ``sip.example.com``: RFC 5922 §7.2 forbids it, some carriers need it."""


class TlsContexts:
    """The contexts for new connections, rebuilt from the files by ``reload``; connections that are up keep theirs."""

    __slots__ = (
        "_seen",
        "client",
        "files",
        "not_after",
        "not_before",
        "refused_reloads",
        "reloads",
        "server",
    )

    def __init__(self, files: TlsFiles) -> None:
        """Raises TlsError."""
        self.files = files
        self.reloads = 0
        self.refused_reloads = 0
        self._seen = self._signature()
        self.server, self.client, self.not_before, self.not_after = _build(files)
        """``not_before``, ``not_after``: validity of our certificate, unix seconds."""

    def reload(self, now: float) -> None:
        """Take the files as they are now (``now``: unix seconds).  Raises TlsError and keeps the old on any defect.

        A certificate that is not valid now is refused here but not at start: a restart must not take down a server
        over an expired certificate, a reload must not make things worse.
        """
        self._seen = self._signature()
        try:
            server, client, not_before, not_after = _build(self.files)
            if not not_before <= now <= not_after:
                span = f"{_date(not_before)} to {_date(not_after)}"
                raise TlsError(f"{self.files.certificate}: the certificate is valid from {span}, not now")
        except TlsError:
            self.refused_reloads += 1
            raise
        self.server, self.client, self.not_before, self.not_after = server, client, not_before, not_after
        self.reloads += 1

    def changed(self) -> bool:
        """Whether a file differs from what was last looked at (size, time or identity)."""
        return self._signature() != self._seen

    def _signature(self) -> tuple[tuple[int, int, int] | None, ...]:
        return tuple(
            map(_stat, (self.files.certificate, self.files.key, self.files.client_ca, self.files.ca))
        )


def _stat(path: str) -> tuple[int, int, int] | None:
    if not path:
        return None
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _date(when: float) -> str:
    return datetime.fromtimestamp(when, UTC).date().isoformat()


def _build(files: TlsFiles) -> tuple[ssl.SSLContext, ssl.SSLContext, float, float]:
    if files.client_certificates not in ("no", "optional", "required"):
        raise TlsError(
            f"client_certificates must be no, optional or required, not {files.client_certificates!r}"
        )
    not_before, not_after = certificate_validity(files.certificate)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for context in (server, client):
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
        _use_certificate(context, files)
    if files.client_certificates != "no":
        required = files.client_certificates == "required"
        server.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
        _use_ca(server, files.client_ca or files.ca, ssl.Purpose.CLIENT_AUTH)
    client.check_hostname = False  # names are checked by RFC 5922, which is not what HTTPS does
    if files.verify_servers:
        client.verify_mode = ssl.CERT_REQUIRED
        _use_ca(client, files.ca, ssl.Purpose.SERVER_AUTH)
    else:
        client.verify_mode = ssl.CERT_NONE
    return server, client, not_before, not_after


def _use_certificate(context: ssl.SSLContext, files: TlsFiles) -> None:
    try:
        context.load_cert_chain(files.certificate, files.key, password=_no_passphrase)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise TlsError(
                f"{files.key}: is not the key of the certificate in {files.certificate}"
            ) from error
        raise TlsError(f"{files.key}: no usable private key ({error.reason or error})") from error
    except OSError as error:
        raise TlsError(f"{error.filename or files.key}: {error.strerror or error}") from error
    except ValueError as error:
        raise TlsError(f"{files.key}: {error}") from error


def _no_passphrase() -> str:
    # Without this OpenSSL would ask on the terminal, and the server would hang.
    raise ValueError("the key is protected by a passphrase; store it without one")


def _use_ca(context: ssl.SSLContext, path: str, purpose: ssl.Purpose) -> None:
    if not path:
        context.load_default_certs(purpose)
        return
    try:
        context.load_verify_locations(path)
    except ssl.SSLError as error:
        raise TlsError(f"{path}: no usable CA certificate ({error.reason or error})") from error
    except OSError as error:
        raise TlsError(f"{path}: {error.strerror or error}") from error


def certificate_validity(path: str) -> tuple[float, float]:
    """Not-before and not-after of the first certificate of a PEM file, unix seconds (RFC 5280 §4.1.2.5).

    Raises TlsError.
    """
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            text = file.read()
    except OSError as error:
        raise TlsError(f"{path}: {error.strerror or error}") from error
    start = text.find(PEM_CERTIFICATE)
    end = text.find(_PEM_END, start)
    if start < 0 or end < 0:
        raise TlsError(f"{path}: no PEM certificate in it")
    try:
        return _validity(ssl.PEM_cert_to_DER_cert(text[start : end + len(_PEM_END)] + "\n"))
    except (ValueError, IndexError) as error:
        raise TlsError(f"{path}: the certificate cannot be read ({error})") from error


def _validity(der: bytes) -> tuple[float, float]:
    """Walk to TBSCertificate.validity: the ssl module does not tell the dates of one's own certificate."""
    certificate = _element(der, 0)[1]
    fields = _children(_element(certificate, 0)[1])
    if fields[0][0] == 0xA0:  # [0] version, absent in version 1
        del fields[0]
    first, last = _children(fields[3][1])[:2]  # serialNumber, signature, issuer, then validity
    return _time(*first), _time(*last)


def _element(der: bytes, at: int) -> tuple[int, bytes, int]:
    """Tag, content and end of the DER element at ``at`` (X.690 §8.1)."""
    tag, length, start = der[at], der[at + 1], at + 2
    if length & 0x80:
        size = length & 0x7F
        length, start = int.from_bytes(der[start : start + size], "big"), start + size
    if start + length > len(der):
        raise ValueError("truncated")
    return tag, der[start : start + length], start + length


def _children(content: bytes) -> list[tuple[int, bytes]]:
    found: list[tuple[int, bytes]] = []
    at = 0
    while at < len(content):
        tag, value, at = _element(content, at)
        found.append((tag, value))
    return found


def _time(tag: int, value: bytes) -> float:
    """UTCTime (0x17, two-digit year: 50 and above is 19xx) or GeneralizedTime (0x18)."""
    text = value.decode("ascii")
    if tag == 0x17:
        text = ("19" if text[:2] >= "50" else "20") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()


def sip_identities(certificate: dict[str, Any]) -> tuple[str, ...]:
    """Domains that a peer's certificate speaks for, lower case (RFC 5922 §7.1).

    ``certificate`` is what ``SSLObject.getpeercert()`` returns.  SIP URIs of subjectAltName count first and DNS names only
    when there are none; the common name counts when there is no subjectAltName; addresses are given as they stand.
    """
    uris: list[str] = []
    names: list[str] = []
    for kind, value in certificate.get("subjectAltName", ()):
        if kind == "URI":
            scheme, _, rest = str(value).partition(":")
            if (
                scheme.lower() == "sip" and "@" not in rest
            ):  # with a user part it names a person, not a domain
                uris.append(_host_of(rest).lower())
        elif kind in ("DNS", "IP Address"):
            names.append(str(value).lower())
    if uris or names:
        return tuple(uris or names)
    if certificate.get("subjectAltName"):
        return ()
    subject = certificate.get("subject", ())
    return tuple(str(value).lower() for part in subject for kind, value in part if kind == "commonName")


def _host_of(rest: str) -> str:
    """Host of ``host:port;params?headers``."""
    hostport = rest.partition("?")[0].partition(";")[0]
    if hostport.startswith("["):
        return hostport[1:].partition("]")[0]
    return hostport.partition(":")[0]


def speaks_for(identities: tuple[str, ...], name: str, allow_wildcards: bool = False) -> bool:
    """Whether one of a certificate's identities is ``name``, a domain or an address (RFC 5922 §7.2)."""
    name = name.lower().rstrip(".")
    for identity in identities:
        if identity.rstrip(".") == name or _same_address(identity, name):
            return True
        if allow_wildcards and identity.startswith("*.") and name.partition(".")[2] == identity[2:]:
            return True
    return False


def _same_address(identity: str, name: str) -> bool:
    """OpenSSL prints IPv6 addresses its own way, so they are compared as values."""
    if ":" not in name:
        return False
    import ipaddress

    try:
        return ipaddress.ip_address(identity) == ipaddress.ip_address(name)
    except ValueError:
        return False
