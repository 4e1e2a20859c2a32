"""Kinds of bugs that can be put into a server, and what a case of the catalogue consists of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from callcontrol.b2bua.call import Call
from callcontrol.b2bua.effects import Effect
from callcontrol.b2bua.events import Event

if TYPE_CHECKING:
    from tests.simulation.process import Process

Change = Callable[[Call, Effect], Sequence[Effect]]


class Bug(Protocol):
    """Alters a process that has just been put together."""

    def install(self, process: Process) -> None: ...


class EffectBug:
    """Other effects are carried out than the call asked for."""

    def __init__(self, change: Change) -> None:
        self._change = change

    def install(self, process: Process) -> None:
        performer = process.signalling.runner.performer
        perform = performer.perform

        def instead(call: Call, effect: Effect, now: float) -> None:
            for each in self._change(call, effect):
                perform(call, each, now)

        performer.perform = instead  # type: ignore[method-assign]


class Bungle:
    """Anything else that is done to a process."""

    def __init__(self, install: Callable[[Process], None]) -> None:
        self._install = install

    def install(self, process: Process) -> None:
        self._install(process)


def without(wanted: Callable[[Call, Effect], bool]) -> EffectBug:
    return EffectBug(lambda call, effect: () if wanted(call, effect) else (effect,))


def handling(change: Callable[[Call, Event], bool]) -> Bungle:
    """Events pass ``change`` first, which says whether their call gets them."""

    def install(process: Process) -> None:
        runner = process.signalling.runner
        handle = runner.handle

        def instead(call: Call, event: Event, now: float) -> None:
            if change(call, event):
                handle(call, event, now)

        runner.handle = instead  # type: ignore[method-assign]

    return Bungle(install)


class Case:
    """A bug, what it does, what may catch it, and whether it shows only when something breaks."""

    def __init__(self, bug: Bug, says: str, *caught_by: str, crashes: bool = False, **mood: float) -> None:
        self.bug = bug
        self.says = says
        self.caught_by = frozenset(caught_by)
        self.crashes = crashes
        self.mood = mood
