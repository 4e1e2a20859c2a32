"""Passwords of devices at the MQTT broker: kept as the hash that Mosquitto reads, never as they are.

``$7$iterations$salt$key``: PBKDF2 with SHA-512, salt and key in base64 (mosquitto_passwd(1)).  The salt is made from the device
and the password, so that applying the same document twice changes nothing; two devices with one password have different
hashes.  No clock, no dice.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from typing import Final

ITERATIONS: Final = 1000
"""Ten times Mosquitto's own default.  Each connection of a device costs this once at the broker, each provisioning once here."""
MAX_ITERATIONS: Final = 100_000
"""More in a hash that an operator writes would let each connection stop the built-in broker."""
_KEY_BYTES: Final = 64
_SALT_BYTES: Final = 12
_HASH: Final = re.compile(r"\$7\$([1-9][0-9]{0,5})\$([A-Za-z0-9+/]+=*)\$([A-Za-z0-9+/]+=*)")


def is_hash(text: str) -> bool:
    """True for a hash in the form above, which documents may hold instead of the password."""
    return _parts(text) is not None


def hashed(device: str, password: str) -> str:
    """The hash of a device's password; a hash stays as it is."""
    if is_hash(password):
        return password
    salt = hashlib.sha256(f"cloudline mqtt\0{device}\0{password}".encode()).digest()[:_SALT_BYTES]
    key = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, ITERATIONS, _KEY_BYTES)
    return f"$7${ITERATIONS}${base64.b64encode(salt).decode()}${base64.b64encode(key).decode()}"


def matches(password: str, stored: str) -> bool:
    """Whether ``password`` is the one that ``stored`` was made from; False for what is no hash."""
    parts = _parts(stored)
    if parts is None:
        return False
    iterations, salt, key = parts
    made = hashlib.pbkdf2_hmac(
        "sha512", password.encode("utf-8", "surrogateescape"), salt, iterations, len(key)
    )
    return hmac.compare_digest(made, key)


def _parts(text: str) -> tuple[int, bytes, bytes] | None:
    match = _HASH.fullmatch(text)
    if match is None or int(match.group(1)) > MAX_ITERATIONS:
        return None
    try:
        salt, key = (base64.b64decode(match.group(group), validate=True) for group in (2, 3))
    except binascii.Error:
        return None
    return int(match.group(1)), salt, key
