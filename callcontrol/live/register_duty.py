"""The duty to register with carriers, in Redis (`callcontrol.register_duty`)."""

from __future__ import annotations

from typing import Final

import msgspec

from callcontrol.live import keys
from callcontrol.live.connection import Replies, Script
from callcontrol.live.link import RedisLink
from callcontrol.register_duty import Entry, Table, Told

HOLD: Final = Script(
    """
local held = redis.call('GET', KEYS[1])
local table = redis.call('GET', KEYS[2]) or ''
if held and held ~= ARGV[1] then return {0, table} end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
if ARGV[3] ~= '' then redis.call('SET', KEYS[2], ARGV[3], 'EX', ARGV[4]) end
return {1, table}
"""
)
"""KEYS: duty, table.  ARGV: process, lease in ms, what is registered (empty: leave the table), seconds that this is kept.  Returns
whether the duty is the process's, and the table as it was."""

GIVE_UP: Final = Script(
    """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""
)
"""KEYS: duty.  ARGV: process."""

DUTY_SCRIPTS: Final = (HOLD, GIVE_UP)
_KEEP_S: Final = 7 * 86_400
"""No registration lasts longer (`gateway.registration.LONGEST_S`)."""
_decoder: Final = msgspec.json.Decoder(list[tuple[str, str, list[str], str, str]])


class RedisRegisterDuty:
    """`callcontrol.register_duty.RegisterDuty` of a deployment.  Time is that of Redis."""

    def __init__(self, link: RedisLink, process: str, lease_s: float) -> None:
        """``process``: a word that no other process has."""
        self._link = link
        self._process = process
        self._lease_ms = int(lease_s * 1000)

    @property
    def every_s(self) -> float:
        return self._lease_ms / 4000

    def hold(self, table: Table | None, now: float, done: Told) -> None:
        if not self._link.is_up:
            return

        def told(replies: Replies | None) -> None:
            reply = None if replies is None else replies[0]
            if isinstance(reply, list) and len(reply) == 2:
                done(reply[0] == 1, _read(reply[1]))

        names = (keys.REGISTER_DUTY, keys.REGISTERED)
        entry = b"" if table is None else msgspec.json.encode(list(table))
        self._link.send(HOLD.call(names, self._process, self._lease_ms, entry, _KEEP_S), 1, told)

    def give_up(self, now: float) -> None:
        if self._link.is_up:
            self._link.send(GIVE_UP.call((keys.REGISTER_DUTY,), self._process), 1, _nothing)


def _nothing(replies: Replies | None) -> None:
    """The duty lapses by itself where this is lost."""


def _read(value: object) -> list[Entry]:
    """A table; what cannot be read is none, since it is written anew within a second."""
    if not isinstance(value, bytes) or not value:
        return []
    try:
        return [*_decoder.decode(value)]
    except msgspec.DecodeError:
        return []
