"""Errors of ours that hit one call or message, so that the others go on."""

from __future__ import annotations

from collections.abc import Callable


class Defects:
    """Where they are told."""

    def __init__(self) -> None:
        self.count = 0
        self.listener: Callable[[Exception], None] | None = None
        """Told of each; None: nobody wants to know, and it is raised."""

    def tell(self, error: Exception) -> None:
        """An error was caught; raises it again while nobody listens."""
        if self.listener is None:
            raise error
        self.count += 1
        self.listener(error)
