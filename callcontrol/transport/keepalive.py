"""Keep-alives of the SIP outbound extension on UDP: STUN binding requests (RFC 5626 §4.4.2, RFC 5389/8489 §7.3).

Only what keep-alive needs: a binding request gets its success response with XOR-MAPPED-ADDRESS, which tells the phone that
the flow lives and whether its NAT mapping has moved.  No authentication, no other method.
"""

from __future__ import annotations

import socket
import struct
from typing import Final

MAGIC_COOKIE: Final = 0x2112A442
BINDING_REQUEST: Final = 0x0001
BINDING_SUCCESS: Final = 0x0101
XOR_MAPPED_ADDRESS: Final = 0x0020
_HEADER: Final = struct.Struct("!HHI12s")


def stun_answer(data: bytes, host: str, port: int) -> bytes | None:
    """The binding success response to ``data`` from ``host``:``port``; None when it is not a binding request."""
    if len(data) < _HEADER.size:
        return None
    kind, length, cookie, transaction = _HEADER.unpack_from(data)
    if kind != BINDING_REQUEST or cookie != MAGIC_COOKIE or length != len(data) - _HEADER.size:
        return None
    host = host.partition("%")[0]
    if ":" in host:
        family, address = 2, socket.inet_pton(socket.AF_INET6, host)
    else:
        family, address = 1, socket.inet_pton(socket.AF_INET, host)
    # The mask is the cookie followed by the transaction id, cut to the size of the address (RFC 8489 §14.2).
    mask = struct.pack("!I", MAGIC_COOKIE) + transaction
    masked = bytes(a ^ m for a, m in zip(address, mask, strict=False))
    value = struct.pack("!xBH", family, port ^ (MAGIC_COOKIE >> 16)) + masked
    attribute = struct.pack("!HH", XOR_MAPPED_ADDRESS, len(value)) + value
    return _HEADER.pack(BINDING_SUCCESS, len(attribute), MAGIC_COOKIE, transaction) + attribute
