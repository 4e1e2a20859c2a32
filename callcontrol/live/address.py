"""Where Redis is: one server, one that Sentinels watch, or the master of a Cluster that has our keys."""

from __future__ import annotations

import binascii
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

from callcontrol.live import keys

SERVER: Final = "redis"
SOCKET: Final = "unix"
SENTINEL: Final = "redis+sentinel"
CLUSTER: Final = "redis+cluster"
SCHEMES: Final = (SERVER, SOCKET, SENTINEL, CLUSTER)
_PORTS: Final = {SENTINEL: 26379}
SLOT: Final = binascii.crc_hqx(keys.TAG.strip("{}").encode(), 0) % 16384
"""The slot of a Cluster that all our keys fall into, by their tag."""

Place = tuple[str, int]


class Address:
    """What one of these says::

    redis://[user[:password]@]host[:port][/db]
    unix:///path
    redis+sentinel://[user[:password]@]host[:port][,host[:port]...]/service[/db][?sentinel_password=...]
    redis+cluster://[user[:password]@]host[:port][,host[:port]...]
    """

    __slots__ = (
        "database",
        "password",
        "path",
        "places",
        "scheme",
        "sentinel_password",
        "sentinel_username",
        "service",
        "username",
    )

    def __init__(self, url: str) -> None:
        """Raises ValueError for a URL that names something else."""
        parts = urlsplit(url)
        if parts.scheme not in SCHEMES:
            raise ValueError(f"{parts.scheme or 'this'} is not {'://, '.join(SCHEMES)}://")
        self.scheme = parts.scheme
        self.path = parts.path if parts.scheme == SOCKET else ""
        login, _, hosts = parts.netloc.rpartition("@")
        username, _, password = login.partition(":")
        self.username = unquote(username)
        self.password = unquote(password)
        port = _PORTS.get(parts.scheme, 6379)
        self.places: list[Place] = [_place(host, port) for host in hosts.split(",")]
        """Host and port of the server, of the Sentinels, or of some nodes of the Cluster."""
        words = [] if self.path else [word for word in parts.path.split("/") if word]
        self.service = ""
        if parts.scheme == SENTINEL:
            if not words:
                raise ValueError(
                    "redis+sentinel:// needs the name of the service: redis+sentinel://host:port/service"
                )
            self.service = unquote(words.pop(0))
        if parts.scheme != SENTINEL and len(self.places) > 1 and parts.scheme != CLUSTER:
            raise ValueError("several hosts go with redis+sentinel:// and redis+cluster:// only")
        text = "/".join(words)
        if text and not (text.isascii() and text.isdigit()):
            raise ValueError(f"{text!r} is not the number of a database")
        self.database = int(text or 0)
        if parts.scheme == CLUSTER and self.database:
            raise ValueError("a Redis Cluster has one database, 0")
        options = parse_qs(parts.query)
        self.sentinel_username = options.get("sentinel_username", [""])[0]
        self.sentinel_password = options.get("sentinel_password", [""])[0]

    @property
    def moves(self) -> bool:
        """The server that we talk to may become another one."""
        return self.scheme in (SENTINEL, CLUSTER)

    def __str__(self) -> str:
        if self.path:
            return self.path
        hosts = ",".join(f"{host}:{port}" for host, port in self.places)
        return f"{hosts}/{self.service or self.database}"


def _place(text: str, port: int) -> Place:
    try:
        found = urlsplit(f"//{text}")
        return found.hostname or "127.0.0.1", found.port or port
    except ValueError as error:
        raise ValueError(f"{text!r} is not host:port: {error}") from None


def master_of(reply: object, asked: Place) -> Place | None:
    """The master of our slot in the answer to CLUSTER SLOTS; None: it has none now.  ``asked``: who answered."""
    for entry in reply if isinstance(reply, list) else ():
        if isinstance(entry, list) and len(entry) > 2 and entry[0] <= SLOT <= entry[1]:
            host, port = entry[2][0], entry[2][1]
            return (host.decode() if host else asked[0]), int(port)
    return None
