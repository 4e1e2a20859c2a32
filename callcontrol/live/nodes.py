"""Nodes that are alive, and the calls of those that are not (LIVE-02, LIVE-03).

Each node renews a lease in Redis, by the clock of Redis, several times within its length.  A node whose lease has lapsed is
dead: whoever sees it first takes its calls, one by one, so that several survivors share them and none is taken twice.  A node
that starts takes the calls of its own name: it is the one that came back.  A process whose name another process has taken stops:
it is the one that was given up.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from callcontrol.live import keys
from callcontrol.live.calls import TAKE, RedisCallStore
from callcontrol.live.connection import Replies, Script, command
from callcontrol.live.link import LinkError, RedisLink
from callcontrol.live.members import Members, written

_log = logging.getLogger(__name__)

_SLICE: Final = 50
"""Calls that are taken over at once: the loop serves others in between."""

BEAT: Final = Script(
    """
local held = redis.call('GET', KEYS[2])
if held and held ~= ARGV[2] and ARGV[4] == '0' then return {0} end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('SET', KEYS[2], ARGV[2], 'EX', 86400)
local lease = redis.call('ZSCORE', KEYS[1], ARGV[1])
redis.call('ZADD', KEYS[1], now + ARGV[3], ARGV[1])
local lapsed = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(' .. now)
local is = 1
if ARGV[4] == '0' then
  if not held then is = 2 elseif not lease or tonumber(lease) < now then is = 3 end
end
return {is, unpack(lapsed)}
"""
)
"""KEYS: leases, this node.  ARGV: name, process, lease in ms, 1 to take the name.  Returns 1 and the names of the dead, 2
and those when Redis knew nothing of the node any more, 3 when its lease had lapsed, or 0."""

BURY: Final = Script(
    """
local time = redis.call('TIME')
local held = redis.call('ZSCORE', KEYS[1], ARGV[1])
if held and tonumber(held) >= time[1] * 1000 + math.floor(time[2] / 1000) then return 0 end
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('HDEL', KEYS[2], ARGV[1])
return 1
"""
)
"""KEYS: leases, addresses.  ARGV: name of a dead node, which is forgotten unless it has come back meanwhile."""

MOVED: Final = Script(
    """
local refs = redis.call('LRANGE', KEYS[1], 0, -1)
redis.call('DEL', KEYS[1])
return refs
"""
)
"""KEYS: what has moved from this node."""

NODE_SCRIPTS: Final = (BEAT, BURY, MOVED)
_MOVED_S: Final = 60
"""A node that is told nothing for so long is dead, or learns it when it next saves the call."""

_KNOWN: Final = 1
_FORGOTTEN: Final = 2
_LAPSED: Final = 3
"""Replies of `BEAT`."""

HERE: Final = "here"
ELSEWHERE: Final = "elsewhere"
"""Another node has the call, and it cannot be moved now; or nobody can be asked."""
GONE: Final = "gone"
TAKEN: Final = 2
"""Reply of `TAKE`: this node has the call already, or had it in its last life."""

Fetched = Callable[[str], None]
Resume = Callable[[bytes, int], None]
"""Goes on with a call from its snapshot, under this epoch.  Raises ValueError when the snapshot cannot be read."""


class NodeLease:
    """Keeps this node alive in the eyes of the others, and takes over the calls of the dead."""

    def __init__(
        self,
        link: RedisLink,
        store: RedisCallStore,
        node: str,
        process: str,
        *,
        lease_s: float,
        resume: Resume,
        may_move: Callable[[bytes], bool],
        on_usurped: Callable[[], None],
        on_defect: Callable[[Exception], None],
        on_unsure: Callable[[], None] = lambda: None,
        members: Members | None = None,
        on_moved: Callable[[list[str]], None] = lambda refs: None,
    ) -> None:
        """``process``: a word that no other process has.  ``may_move``: whether a call may change nodes while its owner lives,
        by its snapshot.  ``on_usurped``: another process is this node now.  ``on_unsure``: Redis has lost what it held, and
        the connection did not tell (FLUSHALL, keys evicted); or others may have taken the calls.  ``on_moved``: told of calls
        that others have fetched.  ``on_defect``: told of an error of ours that one call met when it was gone on with."""
        self._link = link
        self._store = store
        self._node = node
        self._process = process
        self._lease_s = lease_s
        self._resume = resume
        self._may_move = may_move
        self._on_usurped = on_usurped
        self._on_moved = on_moved
        self._on_unsure = on_unsure
        self._on_defect = on_defect
        self._breaks = -1
        """Breaks of the link at the last beat."""
        self._trusts_at = 0.0
        self.members = members or Members(node)
        """The other nodes, as of the last beat."""
        self.recovered = 0
        """Calls taken over and gone on with."""
        self.orphaned = 0
        """Calls that were found and could not be read, or were gone."""

    async def begin(self) -> None:
        """Take the name, so that a process that had it before stops.  Raises LinkError."""
        await self._beat(takes=True)

    async def renew(self) -> None:
        """Give a sign of life now.  Raises LinkError."""
        await self._beat()

    async def recover(self) -> int:
        """Take the calls that this node had in its last life; how many.  Raises LinkError."""
        return await self._adopt(self._node)

    async def run(self) -> None:
        """Renew the lease and take over from the dead.  Until cancelled.

        At once: a start may have taken longer than the lease, and a node that was given up meanwhile has no heirs until it has
        one again.
        """
        while True:
            if self._link.is_up:
                await self._beat_and_bury()
            await asyncio.sleep(self._lease_s / 4)

    async def _beat_and_bury(self) -> None:
        try:
            for dead in await self._beat():
                taken = await self._adopt(dead)
                await self._link.ask_all([BURY.call((keys.NODES, keys.ADDRESSES), dead)])
                _log.warning("live state: node %s is gone; %d of its calls are here now", dead, taken)
        except LinkError as error:
            _log.warning("live state: %s", error)

    async def leave(self) -> None:
        """This node stops, and has no calls any more."""
        if self._link.is_up:
            try:
                await self._link.ask_all(
                    [
                        command("ZREM", keys.NODES, self._node),
                        command("HDEL", keys.ADDRESSES, self._node),
                        command("DEL", keys.node(self._node)),
                    ]
                )
            except LinkError as error:
                _log.warning("live state: %s", error)

    async def alive(self) -> dict[str, float]:
        """Nodes with a lease, and when it lapses, Unix seconds by the clock of Redis.  Raises LinkError."""
        reply = await self._link.ask("ZRANGE", keys.NODES, 0, -1, "WITHSCORES")
        return {name: float(at) / 1000 for name, at in _pairs(reply).items()}

    def fetch(self, ref: str, done: Fetched) -> None:
        """Take one call over because a request for it came here; ``done`` is told whether it is here now.

        Nothing is known of it while Redis is away: it is then told to be elsewhere, since "gone" would end it for who asks."""

        def taken(replies: Replies | None) -> None:
            if replies is None:
                done(ELSEWHERE)
                return
            reply = replies[0]
            if reply == TAKEN and self._store.knows(ref):
                done(HERE)  # as one of a dead node's, while it was asked for
            elif reply == TAKEN:  # of this node's last life, and the set that should name it was lost
                self._link.send(TAKE.call((keys.call(ref),), self._node, self._node), 1, taken)
            elif isinstance(reply, list) and self._go_on(ref, reply):
                self._store.adopt([ref])
                self.recovered += 1
                done(HERE)
            else:
                done(GONE)

        def seen(replies: Replies | None) -> None:
            if replies is None:
                done(ELSEWHERE)
                return
            head, _, snapshot = (
                replies[0].partition(b"\n") if isinstance(replies[0], bytes) else (b"", b"", b"")
            )
            if not snapshot:
                done(GONE)
            elif not self._may_move(snapshot):
                done(ELSEWHERE)
            else:
                take = [
                    TAKE.call((keys.call(ref),), self._node, ""),
                    command("SADD", keys.calls_of(self._node), ref),
                ]
                owner = head[10:].decode("utf-8", "replace")
                if owner not in ("", self._node):
                    # it may live on, and would take its copy for the call until it next wants to save it
                    moved = keys.moved(owner)
                    take += [command("RPUSH", moved, ref), command("EXPIRE", moved, _MOVED_S)]
                self._link.send(b"".join(take), len(take), taken)

        self._link.send(command("GET", keys.call(ref)), 1, seen)

    async def _beat(self, *, takes: bool = False) -> list[str]:
        """Renew the lease; the names of nodes whose lease has lapsed."""
        names = (keys.NODES, keys.node(self._node))
        lease_ms = int(self._lease_s * 1000)
        beat = BEAT.call(names, self._node, self._process, lease_ms, int(takes))
        reply, _, leases, addresses, moved = await self._link.ask_all(
            [
                beat,
                command("HSET", keys.ADDRESSES, self._node, written(self.members.address)),
                command("ZRANGE", keys.NODES, 0, -1),
                command("HGETALL", keys.ADDRESSES),
                MOVED.call((keys.moved(self._node),)),
            ]
        )
        if not isinstance(reply, list) or not reply or reply[0] not in (_KNOWN, _FORGOTTEN, _LAPSED):
            _log.error("live state: another process runs as node %s; this one stops", self._node)
            self._on_usurped()
            return []
        refs = _texts(moved)
        if refs:
            self._on_moved(refs)
        if reply[0] == _FORGOTTEN:
            _log.error("live state: Redis has lost what it held; all that this node knows is written again")
            self._on_unsure()
        elif reply[0] == _LAPSED:
            _log.warning(
                "live state: this node was silent for too long; which calls are still its own is asked"
            )
            self._on_unsure()
        dead = {_text(word) for word in reply[1:]} - {self._node} if self._may_bury() else set()
        known = _pairs(addresses)
        self.members.update({name: known.get(name, "") for name in _texts(leases) if name not in dead})
        return sorted(dead)

    def _may_bury(self) -> bool:
        """Whether a lapsed lease means a death: not just after an outage, when nobody could renew his."""
        now = asyncio.get_running_loop().time()
        if self._breaks != self._link.breaks:
            self._breaks = self._link.breaks
            self._trusts_at = now + self._lease_s
        return now >= self._trusts_at

    async def _adopt(self, owner: str) -> int:
        """Take the calls of a node, in slices; those that another survivor takes meanwhile are its."""
        found = await self._link.ask("SMEMBERS", keys.calls_of(owner))
        refs = sorted(_text(ref) for ref in found) if isinstance(found, list | set) else []
        taken = 0
        for at in range(0, len(refs), _SLICE):
            taken += await self._take(owner, refs[at : at + _SLICE])
            await asyncio.sleep(0)
        return taken

    async def _take(self, owner: str, refs: list[str]) -> int:
        mine = keys.calls_of(self._node)
        if owner != self._node:
            moves = [command("SMOVE", keys.calls_of(owner), mine, ref) for ref in refs]
            moved = await self._link.ask_all(moves)
            refs = [ref for ref, reply in zip(refs, moved, strict=True) if reply == 1]
        if not refs:
            return 0
        replies = await self._link.ask_all([TAKE.call((keys.call(ref),), self._node, owner) for ref in refs])
        self._store.adopt(refs)
        gone: list[str] = []
        mine_already = 0
        for ref, reply in zip(refs, replies, strict=True):
            if reply == TAKEN:
                mine_already += 1  # somebody asked for it
            elif not self._go_on(ref, reply):
                gone.append(ref)
                self.orphaned += reply != 0
        if gone:
            await self._link.ask("SREM", mine, *gone)
        taken = len(refs) - len(gone) - mine_already
        self.recovered += taken
        return taken

    def _go_on(self, ref: str, reply: object) -> bool:
        if not isinstance(reply, list) or len(reply) != 2 or not isinstance(reply[1], bytes):
            return False  # it ended with its owner, which did not come to tell its set
        try:
            self._resume(reply[1], int(_text(reply[0])))
        except ValueError as error:
            _log.error("live state: call %s cannot be read: %s", ref, error)
            return False
        except Exception as error:  # noqa: BLE001 - or this call would end every node that takes it, one after the other
            self._on_defect(error)
            return False
        return True


def _text(word: object) -> str:
    return word.decode("utf-8", "replace") if isinstance(word, bytes) else str(word)


def _texts(reply: object) -> list[str]:
    return [_text(word) for word in reply] if isinstance(reply, list) else []


def _pairs(reply: object) -> dict[str, str]:
    """What Redis tells as name, value, name, value ..."""
    words = _texts(reply)
    return dict(zip(words[::2], words[1::2], strict=True))
