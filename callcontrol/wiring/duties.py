"""What a node does all the time beside calls, and how it comes to its end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Final

from callcontrol.assembly import Signalling
from callcontrol.cdr.exporter import CdrExporter
from callcontrol.cdr.outbox import JournalOutbox
from callcontrol.phone_link import PhoneLink
from callcontrol.system_clock import SystemClock
from callcontrol.wiring.signalling import CarrierAccounts
from dialplan import reasons

HANG_UP_S: Final = 1.5
"""How long a stop waits for the last BYEs to be answered."""


def begin(runs: Mapping[str, Coroutine[Any, Any, None]]) -> list[asyncio.Task[None]]:
    """A task for each, with its name."""
    return [asyncio.create_task(run, name=name) for name, run in runs.items()]


async def every(seconds: float, do: Callable[[], None]) -> None:
    """Call it for ever, with a pause before each time."""
    while True:
        await asyncio.sleep(seconds)
        do()


async def leave_carriers(
    registrations: CarrierAccounts, clock: SystemClock, kick: Callable[[], None]
) -> None:
    """Let the answers to our last REGISTERs come, so that no call comes to a node that is gone."""
    until = clock.monotonic() + HANG_UP_S
    while not registrations.left and clock.monotonic() < until:
        await asyncio.sleep(0.02)
        registrations.tick()
        kick()


async def hang_up_all(
    signalling: Signalling, clock: SystemClock, kick: Callable[[], None], idle: asyncio.Event
) -> None:
    """End the calls that still run, and let the last messages go out."""
    runner = signalling.runner
    for ref in list(runner.calls):
        runner.hang_up(ref, reasons.DRAINING, clock.wall())
    kick()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(idle.wait(), HANG_UP_S)


async def end(
    tasks: Sequence[asyncio.Task[None]],
    link: PhoneLink | None,
    outbox: JournalOutbox,
    exporter: CdrExporter,
) -> None:
    """Let the last pushes go, end the tasks, bring the records to the database."""
    if link is not None:
        await link.drain()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    outbox.flush()
    await exporter.drain(3.0)
