"""Calls in Redis: the `CallStore` that lets a call outlive its node (LIVE-01, LIVE-02).

**Save before act without waiting.**  What was noted in one turn of the loop goes out as one pipeline; its replies release
the effects.  Each save is a compare-and-set on the epoch, so that a node which lost a call to another one learns it from
the very save that comes too late.

**When Redis is away** calls go on: effects are released without a save, and what was not saved is kept (the latest state of
each call) and written as soon as the link is back.  A node that dies while Redis is away loses the calls that it had then.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import Final

import hiredis

from callcontrol.histogram import ROUND_TRIP_SECONDS, Histogram
from callcontrol.live import keys
from callcontrol.live.connection import SILENTLY, Replies, Script, command
from callcontrol.live.link import RedisLink

_log = logging.getLogger(__name__)

SAVE: Final = Script(
    """
local held = redis.call('GETRANGE', KEYS[1], 0, 9)
if held > ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1] .. ARGV[2] .. '\\n' .. ARGV[3], 'EX', ARGV[4])
return 1
"""
)
"""ARGV: epoch, owner, snapshot, seconds.  0: another node has the call."""
BEGIN: Final = Script(
    """
local first = redis.call('GET', KEYS[2])
if first and first ~= ARGV[5] and redis.call('EXISTS', ARGV[6] .. first) == 1 then return 0 end
redis.call('SET', KEYS[2], ARGV[5], 'EX', ARGV[7])
redis.call('SET', KEYS[1], ARGV[1] .. ARGV[2] .. '\\n' .. ARGV[3], 'EX', ARGV[4])
return 1
"""
)
"""The first save of a call.  KEYS: call, request that began it.  ARGV: as of a save, then reference, what names of calls begin
with, seconds.  0: the request has begun another call, which there still is: it was sent again because that call's node is dead."""
DELETE: Final = Script(
    """
local held = redis.call('GETRANGE', KEYS[1], 0, 9)
if held > ARGV[1] then return 0 end
if ARGV[2] ~= '0' then redis.call('SET', KEYS[1], ARGV[1] .. '\\n', 'EX', ARGV[2]) else redis.call('DEL', KEYS[1]) end
return 1
"""
)
"""ARGV: epoch, seconds for which a call that was taken over is remembered to be over (0: it never was taken over).  A node that
was cut off and lost the call may come with a save long after its end: without a trace of it the call would rise again."""
TAKE: Final = Script(
    """
local held = redis.call('GET', KEYS[1])
if not held then return false end
local stop = string.find(held, '\\n', 11, true)
local former = tonumber(string.sub(held, 1, 10))
if not stop or not former then return false end
local owner = string.sub(held, 11, stop - 1)
if owner == ARGV[1] and ARGV[2] ~= ARGV[1] then return 2 end
if ARGV[2] ~= '' and owner ~= ARGV[2] then return 0 end
local epoch = string.format('%010d', former + 1)
local snapshot = string.sub(held, stop + 1)
if snapshot == '' then return false end
redis.call('SET', KEYS[1], epoch .. ARGV[1] .. '\\n' .. snapshot, 'KEEPTTL')
return {epoch, snapshot}
"""
)
"""ARGV: new owner, old owner (empty: whoever it is).  Epoch and snapshot; 0: it is not the old owner's; 2: the
new owner has it, in its present life; nothing: it is gone."""
LEAVE: Final = Script(
    """
for at = 3, #ARGV do
  local owner = redis.call('GETRANGE', ARGV[2] .. ARGV[at], 10, 10 + #ARGV[1])
  if owner ~= ARGV[1] .. '\\n' then redis.call('SREM', KEYS[1], ARGV[at]) end
end
return 1
"""
)
"""KEYS: set of a node.  ARGV: the node, what names of calls begin with, references.  The set names no more those of them that the
node does not have, or not again by now."""
SCRIPTS: Final = (SAVE, BEGIN, DELETE, TAKE, LEAVE)
_BEGUN_S: Final = 64
"""A request is sent again for 64*T1, half of this by default (RFC 3261 §17.1.1.2)."""
_SAVE_HEAD: Final = b"*8\r\n$7\r\nEVALSHA\r\n$40\r\n%b\r\n$1\r\n1\r\n$" % SAVE.sha.encode()
_BEGIN_HEAD: Final = b"*12\r\n$7\r\nEVALSHA\r\n$40\r\n%b\r\n$1\r\n2\r\n$" % BEGIN.sha.encode()
_DELETE_HEAD: Final = b"*6\r\n$7\r\nEVALSHA\r\n$40\r\n%b\r\n$1\r\n1\r\n$" % DELETE.sha.encode()
_CALLS: Final = keys.call("").encode()
"""What names of calls begin with."""

Lost = frozenset[str]
_NOBODY: Final[Lost] = frozenset()


class RedisCallStore:
    """`callcontrol.ports.CallStore`; see the module."""

    encodes = True

    def __init__(self, link: RedisLink, node: str, *, keep_s: int, waits: bool = True) -> None:
        """``keep_s``: a call that nobody saves for so long is gone, seconds.  ``waits``: effects wait for their save."""
        self._link = link
        self._node = node
        self._set = keys.calls_of(node)
        self._keep_s = keep_s
        # what commands of calls have in common, as bytes: there are several for each step of a call
        begun_s = str(_BEGUN_S).encode()
        keep = str(keep_s).encode()
        name = node.encode()
        named = self._set.encode()
        self._owner_word = b"$%d\r\n%b\r\n$" % (len(name), name)
        self._keep_word = b"\r\n$%d\r\n%b\r\n" % (len(keep), keep)
        self._kept_word = b"$%d\r\n%b\r\n" % (len(keep), keep)
        self._begin_tail = b"$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(_CALLS), _CALLS, len(begun_s), begun_s)
        self._known_head = b"*3\r\n$4\r\nSADD\r\n$%d\r\n%b\r\n$" % (len(named), named)
        self._gone_head = b"*3\r\n$4\r\nSREM\r\n$%d\r\n%b\r\n$" % (len(named), named)
        self._waits = waits
        self._noted: dict[str, tuple[int, bytes | None]] = {}
        self._unsaved: dict[str, tuple[int, bytes | None]] = {}
        self._claims: dict[str, str] = {}
        self._known: set[str] = set()
        """Calls that the set of this node names."""
        self._lost_later: set[str] = set()
        self._in_flight = 0
        self.saved = 0
        self.failed = 0
        """Saves of which it is not known that they are in Redis."""
        self.refusal = ""
        """What Redis said when it last refused a save."""
        self.save_seconds = Histogram(ROUND_TRIP_SECONDS)

    @property
    def waiting(self) -> bool:
        """A commit is under way: what comes after it must not overtake it."""
        return self._in_flight > 0

    @property
    def unsaved(self) -> int:
        """Calls whose latest state is not in Redis."""
        return len(self._unsaved)

    def save(self, ref: str, epoch: int, snapshot: bytes) -> None:
        self._noted[ref] = (epoch, snapshot)

    def delete(self, ref: str, epoch: int) -> None:
        self._noted[ref] = (epoch, None)

    def claim(self, ref: str, request: str) -> None:
        self._claims[ref] = request

    def commit(self, done: Callable[[Lost], None] | None) -> None:
        if done is None:
            if self._tell():
                return
            done = self._note_lost
        noted, self._noted = self._noted, {}
        if not self._link.is_up:
            self._claims.clear()
            self._keep(noted)
            done(self._late())
            return
        if not noted and not self._in_flight:
            done(self._late())
            return
        if not self._waits:
            self._write(noted, self._note_lost)
            done(self._late())
            return
        self._write(noted, lambda lost: done(lost | self._late()))

    def adopt(self, refs: Iterable[str]) -> None:
        """These calls are in the set of this node already: they were taken over."""
        self._known.update(refs)

    def knows(self, ref: str) -> bool:
        """Whether this node has the call in its present life, or has ended it and could not tell Redis yet."""
        return ref in self._known or ref in self._unsaved

    def write_unsaved(self) -> None:
        """Write what was kept while Redis was away or refused it; does nothing while it is away, or while a later state of the
        same call may be on its way."""
        if self._unsaved and self._link.is_up and not self._in_flight:
            unsaved, self._unsaved = self._unsaved, {}
            self._write(unsaved, self._note_lost)

    def distrust(self) -> None:
        """Redis may have lost everything (it was restarted): what it should have is written again, set and all."""
        self._known.clear()

    def _tell(self) -> bool:
        """Save without a reply; False: there is more to it than that."""
        noted = self._noted
        if not self._link.is_up or self._claims:
            return False
        data: list[bytes] = []
        saves = 0
        deletions: dict[str, tuple[int, bytes | None]] = {}
        for ref, (epoch, snapshot) in noted.items():
            if snapshot is None:
                deletions[ref] = (epoch, None)  # goes with what waits for replies
            elif ref not in self._known or ref in self._unsaved:
                return False
            else:
                data.append(SILENTLY)
                self._add_save(data, ref.encode(), epoch, snapshot)
                saves += 1
        if saves and not self._link.tell(b"".join(data)):
            return False
        self._noted = deletions
        self.saved += saves
        return True

    def _add_save(self, data: list[bytes], ref: bytes, epoch: int, snapshot: bytes) -> None:
        """`SAVE` of a state."""
        data.append(
            b"%b%d\r\n%b%b\r\n$10\r\n%010d\r\n%b%d\r\n"
            % (_SAVE_HEAD, len(_CALLS) + len(ref), _CALLS, ref, epoch, self._owner_word, len(snapshot))
        )
        data.append(snapshot)
        data.append(self._keep_word)

    def _add_begin(self, data: list[bytes], ref: bytes, epoch: int, snapshot: bytes, request: str) -> None:
        """`BEGIN` of the first state."""
        begun = keys.begun(request).encode()
        data.append(
            b"%b%d\r\n%b%b\r\n$%d\r\n%b\r\n$10\r\n%010d\r\n%b%d\r\n"
            % (
                _BEGIN_HEAD,
                len(_CALLS) + len(ref),
                _CALLS,
                ref,
                len(begun),
                begun,
                epoch,
                self._owner_word,
                len(snapshot),
            )
        )
        data.append(snapshot)
        data.append(b"%b$%d\r\n%b\r\n%b" % (self._keep_word, len(ref), ref, self._begin_tail))

    def _add_deletion(self, data: list[bytes], ref: bytes, epoch: int) -> None:
        """`DELETE`, and no more in the set of this node."""
        kept = self._kept_word if epoch > 1 else b"$1\r\n0\r\n"
        data.append(
            b"%b%d\r\n%b%b\r\n$10\r\n%010d\r\n%b%b%d\r\n%b\r\n"
            % (
                _DELETE_HEAD,
                len(_CALLS) + len(ref),
                _CALLS,
                ref,
                epoch,
                kept,
                self._gone_head,
                len(ref),
                ref,
            )
        )

    # -- one pipeline --

    def _write(self, noted: dict[str, tuple[int, bytes | None]], done: Callable[[Lost], None]) -> None:
        data: list[bytes] = []
        wanted = 0
        checked: list[tuple[int, str]] = []
        claims: dict[str, str] = {}
        if self._claims:
            claims, self._claims = self._claims, claims
        for ref, (epoch, snapshot) in noted.items():
            name = ref.encode()
            if snapshot is None:
                checked.append((wanted, ref))
                wanted += 2
                self._known.discard(ref)
                self._add_deletion(data, name, epoch)
                continue
            if ref not in self._known:
                self._known.add(ref)
                data.append(b"%b%d\r\n%b\r\n" % (self._known_head, len(name), name))
                wanted += 1
            checked.append((wanted, ref))
            wanted += 1
            request = claims.get(ref) if claims else None
            if request is None:
                self._add_save(data, name, epoch, snapshot)
            else:
                self._add_begin(data, name, epoch, snapshot, request)
        self._in_flight += 1
        if not data:
            data.append(command("PING"))  # nothing to save, but what waits for earlier saves goes after them
            wanted = 1
        began = time.perf_counter()

        def answered(replies: Replies | None) -> None:
            self.save_seconds.observe(time.perf_counter() - began)
            self._answered(noted, checked, done, replies)

        self._link.send(b"".join(data), wanted, answered)

    def _answered(
        self,
        noted: dict[str, tuple[int, bytes | None]],
        checked: list[tuple[int, str]],
        done: Callable[[Lost], None],
        replies: Replies | None,
    ) -> None:
        self._in_flight -= 1
        refusal = None if replies is None else _refusal(replies)
        if replies is None or refusal is not None:
            self._known.difference_update(noted)  # nor is it known whether the set names them
            self._keep(noted)
            if refusal is not None:
                self._on_refusal(str(refusal))
            done(_NOBODY)
            return
        self.saved += len(checked)
        for ref in noted:
            self._unsaved.pop(ref, None)  # an earlier state whose save failed
        lost = frozenset(ref for at, ref in checked if replies[at] == 0)
        self._known -= lost
        if lost:
            left = LEAVE.call((self._set,), self._node, keys.call(""), *sorted(lost))
            self._link.send(left, 1, lambda replies: None)
        self.refusal = ""
        done(lost)

    def _keep(self, noted: dict[str, tuple[int, bytes | None]]) -> None:
        """Remember what is not saved; a later state of the same call is the one that counts."""
        self.failed += len(noted)
        for ref, state in noted.items():
            held = self._noted.get(ref)
            if held is None:
                self._unsaved[ref] = state

    def _on_refusal(self, text: str) -> None:
        if text != self.refusal:
            self.refusal = text
            _log.error("live state: Redis refuses to save calls: %s", text)

    def _note_lost(self, lost: Lost) -> None:
        self._lost_later.update(lost)

    def _late(self) -> Lost:
        if not self._lost_later:
            return _NOBODY
        lost, self._lost_later = frozenset(self._lost_later), set()
        return lost


def _refusal(replies: Replies) -> hiredis.ReplyError | None:
    for reply in replies:
        if isinstance(reply, hiredis.ReplyError):
            return reply
    return None
