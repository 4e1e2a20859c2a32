"""What many tests begin with: something that is started and closed, a Redis for it, two scripted parties who talk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TypeVar

from tests.e2e.harness.dialog import Leg
from tests.e2e.harness.world import CLEO, OUTSIDE, World
from tests.support.redis import RedisServer


class Runs(Protocol):
    """A node, or several, and who speaks with them."""

    def start(self) -> None: ...

    def close(self) -> None: ...


Made = TypeVar("Made", bound=Runs)


@contextmanager
def running(made: Made) -> Iterator[Made]:
    """Start it, and close it in any case."""
    try:
        made.start()
        yield made
    finally:
        made.close()


@contextmanager
def redis_in(folder: Path) -> Iterator[RedisServer]:
    """A Redis that outlives whoever uses it."""
    store = RedisServer(folder)
    store.start()
    try:
        yield store
    finally:
        store.kill()


def talk(world: World, transport: str = "udp") -> tuple[Leg, Leg]:
    """A scripted carrier and a scripted phone, talking: (carrier's leg, phone's leg)."""
    phone = world.scripted("cleo-1", transport)
    call = Leg.dial(world.carrier(), CLEO, OUTSIDE)
    leg = Leg.answering(phone)
    leg.ring()
    call.expect_provisional(180)
    leg.accept()
    call.expect_answer()
    # its answer says that the ACK sent before it has been read: the call is up on both sides
    assert call.request("OPTIONS").status == 200
    return call, leg
