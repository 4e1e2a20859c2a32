"""What is asked of the running core: by its sockets, by provisioning, by operators.  Synchronous."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from callcontrol import neighbours
from callcontrol.assembly import Signalling
from callcontrol.live.state import LiveState
from callcontrol.pushing import Wake
from callcontrol.system_clock import SystemClock
from callcontrol.transport.driver import Driver
from config.settings import Settings
from gateway.trunk import TrunkDirectory
from numbering.directory import Directory

OVERLOAD_S: Final = 0.2
"""Datagrams that waited so long: new calls get 503 until the queue is short again."""


class Desk:
    """There as soon as the core is."""

    def __init__(
        self,
        settings: Settings,
        signalling: Signalling,
        driver: Driver,
        clock: SystemClock,
        directory: Directory,
        trunks: TrunkDirectory,
        live: LiveState | None,
    ) -> None:
        self._settings = settings
        self._signalling = signalling
        self._driver = driver
        self._clock = clock
        self._directory = directory
        self._trunks = trunks
        self._live = live
        self._refuses_without_state = settings.state.outage == "refuse"

    def turn(self) -> None:
        """Messages came, or a deadline did."""
        # shed new calls before the queue grows longer than T1 and retransmissions feed it
        self._signalling.endpoint.overloaded = self._driver.queue_delay_s() > OVERLOAD_S
        if self._refuses_without_state and self._live is not None:
            self._signalling.core.state_away = not self._live.link.is_up
        self._signalling.turn()

    def needs_tick(self) -> bool:
        """Whether anything waits for time to pass."""
        runner = self._signalling.runner
        if runner.calls or runner.saving.is_waiting or len(self._signalling.core.waiting_room):
            return True
        return self._signalling.registrar.next_deadline() is not None

    def provisioned(self) -> None:
        """The provisioning has changed."""
        self.trust()
        self._signalling.registrar.reconcile()

    def trust(self) -> None:
        """Carriers and the other nodes are no strangers."""
        known = [network for trunk in self._trunks.all() for network in trunk.accept_from]
        known += self._settings.sip.proxies
        if self._live is not None:
            known += neighbours.networks(self._live.members)
        self._signalling.gate.trust(known)

    def hang_up(self, ref: str, reason: str) -> bool:
        """Whether there was such a call."""
        done = self._signalling.runner.hang_up(ref, reason, self._clock.wall())
        self._driver.kick()
        return done

    def sign_out(self, ref: str) -> int:
        """End the bindings of a device; how many there were."""
        device = self._directory.device(ref)
        ended = self._signalling.registrar.sign_out(device, self._clock.wall()) if device is not None else 0
        self._driver.kick()
        return ended

    def wakes_of(self, device: str) -> Sequence[Wake]:
        """The latest pushes to a device."""
        pushing = self._signalling.pushing
        return pushing.history(device) if pushing is not None else ()
