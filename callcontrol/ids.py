"""Identifiers: unguessable outside, the same again after a takeover (RFC 3261 §19.3).

Everything that a leg needs (branches, tags, Call-IDs) is a keyed hash of the leg's scope and a counter that is stored with it.
A node that takes the call over and does an effect again therefore writes the same bytes, which is a retransmission.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from hashlib import blake2b
from typing import Final

_DIGITS_OF_ID: Final = 20
_IDS_OF_HASH: Final = 6
"""A hash of 60 bytes is cut into identifiers of 10."""
_MAX_SCOPES: Final = 8192


class KeyedIds:
    """``IdSource`` with a key that all nodes of a cluster share (at most 32 bytes).

    A leg needs some three identifiers soon after one another, and a hash costs as much as all the rest of one: so one hash
    serves six, and those of the latest scopes are kept.
    """

    __slots__ = ("_hashes", "_key")

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._hashes: dict[str, str] = {}

    def make(self, scope: str, number: int) -> str:
        """20 hex digits (80 bits)."""
        part = number // _IDS_OF_HASH
        name = f"{scope}/{part}"
        digits = self._hashes.get(name)
        if digits is None:
            text = name.encode("utf-8", "surrogateescape")  # a scope may hold what a peer sent
            size = _IDS_OF_HASH * _DIGITS_OF_ID // 2
            digits = blake2b(text, digest_size=size, key=self._key).hexdigest()
            if len(self._hashes) >= _MAX_SCOPES:
                self._hashes.clear()
            self._hashes[name] = digits
        start = (number - part * _IDS_OF_HASH) * _DIGITS_OF_ID
        return digits[start : start + _DIGITS_OF_ID]


_REF: Final = re.compile(r"[a-z2-7]{16}")


def call_ref_of(uri: str) -> str:
    """The call reference in a Contact URI of ours, ``sip:<reference>.<leg>@…``; empty: it is none."""
    user = uri.partition(":")[2].partition("@")[0]
    ref = user.partition(".")[0]
    return ref if _REF.fullmatch(ref) is not None else ""


_DIGITS: Final = "abcdefghijklmnopqrstuvwxyz234567"
_PAIRS: Final = [first + second for first in _DIGITS for second in _DIGITS]
"""Base 32 (RFC 4648), ten bits at a time: the standard library's takes longer than all the rest of an identifier."""


MAX_PLACES: Final = 32


def place_of(ref: str, places: int) -> int:
    """Which of so many places, counted from 0, a call reference belongs to: its first letter tells."""
    return _DIGITS.index(ref[0]) % places


class CallRefs:
    """Makes call references: 80 random bits in 16 letters and digits, fit for a user part and a Call-ID.

    With several ``places`` (workers of a node) each makes references of its own, which lead to it (`place_of`).
    """

    __slots__ = ("_entropy", "_place", "_places")

    def __init__(self, entropy: Callable[[int], bytes], place: int = 0, places: int = 1) -> None:
        """``places``: at most ``MAX_PLACES``."""
        self._entropy = entropy
        self._place = place
        self._places = places

    def new(self) -> str:
        drawn = self._entropy(10)
        ref = _letters(int.from_bytes(drawn[:5], "big")) + _letters(int.from_bytes(drawn[5:], "big"))
        if self._places == 1:
            return ref
        rounds = MAX_PLACES // self._places  # each place has as many first letters as every other
        drawn_round = _DIGITS.index(ref[0]) % rounds
        return _DIGITS[drawn_round * self._places + self._place] + ref[1:]


def _letters(bits: int) -> str:
    """40 bits as eight letters."""
    pairs = _PAIRS
    return pairs[bits >> 30] + pairs[(bits >> 20) & 1023] + pairs[(bits >> 10) & 1023] + pairs[bits & 1023]
