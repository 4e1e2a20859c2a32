"""Which worker a SIP message belongs to, by a look at its bytes: no message is parsed for it.

A message says by itself whose it is.  A **response** brings back our Via, in which each worker writes its number.  A **request
within a dialog** goes to a Contact of ours, ``sip:<reference>.<leg>@...``, and the first letter of a call reference tells the
worker that made it (`callcontrol.ids.place_of`); where a peer sends it to another address, its Call-ID tells: ours begins
with the reference as well.  What nobody has given a name yet goes by a hash: of the Call-ID, so that a new INVITE, its
repetitions, its CANCEL and the ACK of its refusal meet; REGISTER of the address of record, so that the registrations of a
phone and its next nonce meet.

The same bytes give the same worker whichever way they came, so that whoever has a message hands it to the same one.  Two things
are known beyond the bytes: calls that have **moved** to another worker since they were made, and new calls that were **placed**
with another one while the worker of their hash was away.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final
from zlib import crc32

from callcontrol.ids import MAX_PLACES, place_of

VIA_PARAMETER: Final = ";clw="
"""Of our Via: the number of the worker that sent the request (RFC 3261 §20.42 allows further parameters)."""
_MARK: Final = VIA_PARAMETER.encode()
_LETTERS: Final = b"abcdefghijklmnopqrstuvwxyz234567"
_REF: Final = 16
"""Characters of a call reference."""
MAX_KNOWN: Final = 50_000
"""Calls remembered that are not where their name says; the oldest are forgotten first."""
_NAMES: Final = {b"call-id": (b"\nCall-ID:", b"\ncall-id", b"\ni"), b"to": (b"\nTo:", b"\nto", b"\nt")}
_VIA: Final = (b"\nVia:", b"\nvia", b"\nv")


class Compass:
    """Knows the worker of a message, 1 to ``workers``."""

    __slots__ = ("_moved", "_placed", "_places", "workers")

    def __init__(self, workers: int) -> None:
        """Raises ValueError for more workers than there are first letters of references."""
        if not 1 <= workers <= MAX_PLACES:
            raise ValueError(f"a node has 1 to {MAX_PLACES} workers")
        self.workers = workers
        self._places = {letter: place_of(chr(letter), workers) + 1 for letter in _LETTERS}
        self._moved: OrderedDict[bytes, int] = OrderedDict()
        self._placed: OrderedDict[bytes, int] = OrderedDict()

    def owner(self, data: bytes) -> int:
        """The worker of a message.  Whatever the bytes are, the same bytes give the same one."""
        if data.startswith(b"SIP/2.0 "):
            sender = self._sender(data)
            if sender:
                return sender
        else:
            cut = data.find(b":", 0, 40) + 1
            dotted = cut and data[cut + _REF : cut + _REF + 1] == b"."
            if dotted and data.startswith((b" sip", b" SIP"), data.find(b" ", 0, 24)):
                named = self._of_ref(data[cut : cut + _REF])
                if named:
                    return named
            if data.startswith(b"REGISTER "):
                user = _user(_value(data, b"to"))
                if user:
                    return 1 + crc32(user) % self.workers
        return self._of_call_id(_value(data, b"call-id") or data[:64])

    def _sender(self, data: bytes) -> int:
        """The worker whose Via is on top of a response; 0: it is none of ours, or has lost its number."""
        at = data.find(_MARK)
        if at < 0:
            return 0
        top = _find(data, *_VIA)
        between = data[top + 1 : at] if 0 <= top < at else b","
        if b"," in between or any(line[:1] not in b" \t" for line in between.split(b"\n")[1:]):
            return 0  # it stands below another one, or in no Via at all
        digits = data[at + len(_MARK) : at + len(_MARK) + 3]
        number = digits[: len(digits) - len(digits.lstrip(b"0123456789"))]
        worker = int(number) if number else 0
        return worker if worker <= self.workers else 0

    def _of_ref(self, ref: bytes) -> int:
        """The worker of a call reference; 0: these letters are none."""
        if len(ref) != _REF or ref.translate(None, _LETTERS):
            return 0
        if self._moved:
            moved = self._moved.get(ref)
            if moved is not None:
                return moved
        return self._places[ref[0]]

    def _of_call_id(self, call_id: bytes) -> int:
        if self._placed:
            placed = self._placed.get(call_id)
            if placed is not None:
                return placed
        if call_id[_REF : _REF + 1] == b".":
            named = self._of_ref(call_id[:_REF])
            if named:
                return named
        return 1 + crc32(call_id) % self.workers

    def home(self, ref: str) -> int:
        """The worker that a call reference names, wherever the call is now."""
        return place_of(ref, self.workers) + 1

    def move(self, ref: str, worker: int) -> None:
        """A call is with this worker from now on."""
        name = ref.encode()
        self._moved.pop(name, None)
        if worker != self.home(ref):
            self._moved[name] = worker
            if len(self._moved) > MAX_KNOWN:
                self._moved.popitem(last=False)

    def place(self, data: bytes, worker: int) -> None:
        """The new call that this request begins is given to ``worker``, although its Call-ID names another one."""
        self._placed[_value(data, b"call-id") or data[:64]] = worker
        if len(self._placed) > MAX_KNOWN:
            self._placed.popitem(last=False)

    def census(self) -> dict[str, int]:
        """Entries of each table."""
        return {"moved": len(self._moved), "placed": len(self._placed)}


def begins_something(data: bytes) -> bool:
    """Whether a request opens a dialog or stands alone: any worker can take it.  False for what only its owner knows.

    CANCEL and ACK go where their INVITE went.  A tag in To tells a dialog; it is looked for in the To line alone.
    """
    if data.startswith((b"SIP/2.0 ", b"ACK ", b"CANCEL ", b"BYE ", b"PRACK ", b"UPDATE ")):
        return False
    return b";tag=" not in _value(data, b"to").lower()


def _find(data: bytes, usual: bytes, lower: bytes, compact: bytes) -> int:
    """Where a header line begins (at the line feed before it); -1: nowhere.  The usual spelling is looked for first."""
    end = data.find(b"\r\n\r\n")
    at = data.find(usual, 0, end if end >= 0 else len(data))
    if at >= 0:
        return at
    head = (data if end < 0 else data[:end]).lower()
    found = -1
    for name in (lower, compact):
        at = head.find(name)
        while at >= 0:
            rest = head[at + len(name) : at + len(name) + 8].lstrip(b" \t")
            if rest.startswith(b":"):
                if found < 0 or at < found:
                    found = at
                break
            at = head.find(name, at + 1)
    return found


def _value(data: bytes, name: bytes) -> bytes:
    """The value of a header, without the folds of its beginning; empty: there is none."""
    at = _find(data, *_NAMES[name])
    if at < 0:
        return b""
    start = data.find(b":", at) + 1
    end = data.find(b"\n", start)
    value = data[start : end if end >= 0 else len(data)].strip()
    while not value and end >= 0 and data[end + 1 : end + 2] in (b" ", b"\t"):
        start, end = end + 1, data.find(b"\n", end + 1)
        value = data[start : end if end >= 0 else len(data)].strip()
    return value


def _user(value: bytes) -> bytes:
    """The user part of the URI of a To value; empty: it has none."""
    at = value.lower().find(b"sip")
    colon = value.find(b":", at) if at >= 0 else -1
    end = value.find(b"@", colon)
    return value[colon + 1 : end] if 0 <= colon < end else b""
