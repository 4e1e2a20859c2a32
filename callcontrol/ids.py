"""Identifiers: unguessable outside, the same again after a takeover (RFC 3261 §19.3).

Everything that a leg needs (branches, tags, Call-IDs) is a keyed hash of the leg's scope and a counter that is stored with it.
A node that takes the call over and does an effect again therefore writes the same bytes, which is a retransmission.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from hashlib import blake2s
from typing import Final


class KeyedIds:
    """``IdSource`` with a key that all nodes of a cluster share (at most 32 bytes)."""

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        self._key = key

    def make(self, scope: str, number: int) -> str:
        """20 hex digits (80 bits)."""
        text = f"{scope}/{number}".encode("utf-8", "surrogateescape")  # a scope may hold what a peer sent
        return blake2s(text, digest_size=10, key=self._key).hexdigest()


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
