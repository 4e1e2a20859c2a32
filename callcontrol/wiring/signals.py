"""Signals of the process: TERM drains and, when it comes again, stops; INT stops; HUP reloads."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import Any


def watch(
    drain: Callable[[], None], stop: Callable[[], None], reload: Callable[[], Coroutine[Any, Any, object]]
) -> None:
    """Call these from now on; to be called within the loop."""
    loop = asyncio.get_running_loop()
    terminations = 0

    def on_term() -> None:
        nonlocal terminations
        terminations += 1
        if terminations == 1:
            drain()
        else:
            stop()

    loop.add_signal_handler(signal.SIGTERM, on_term)
    loop.add_signal_handler(signal.SIGINT, stop)
    reloads: set[asyncio.Task[object]] = set()

    def on_hup() -> None:
        task = loop.create_task(reload(), name="reload")
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    loop.add_signal_handler(signal.SIGHUP, on_hup)
