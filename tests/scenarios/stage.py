"""The stage on which a scenario plays: a node, its parties, and the ladder of what they said to each other.

A scenario is a function that drives a stage and asserts what a telephone engineer would check; its ladder is compared with
the text of the same name in ``ladders/``.  The same function is played again with every call stored and loaded at each event,
and with a server that dies after each save: see ``test_ladders`` and ``test_crashes``.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from callcontrol.b2bua import snapshot
from callcontrol.b2bua.call import CALL_FIELDS, Call
from callcontrol.b2bua.events import Event
from callcontrol.cdr import CallRecord
from callcontrol.core import Admission
from callcontrol.gather import targets_of
from callcontrol.intake import Admitted, Answer, Deferred
from callcontrol.sip.flow import Flow
from callcontrol.sip.message import Message, parse
from config.settings import Settings
from dialplan.plan import DeviceTarget, Step
from tests.support.ladder_text import render
from tests.support.party import SERVER, Dialog, Party, sdp
from tests.support.world import Crashed, World

LADDERS = Path(__file__).parent / "ladders"

ANA = "+33639981001"
BEN = "+33639981002"
CLEO = "+33639981003"
ZOE = "+33639981009"
CALLER = "+33199001234"
OUTSIDE = "+33199005678"

Scenario = Callable[["Stage"], None]


class PlannedIntake:
    """Admits whom the real one admits, with other steps."""

    def __init__(self, intake: Admission, steps: tuple[Step, ...]) -> None:
        self._intake = intake
        self._steps = steps

    def admit(self, message: Message, flow: Flow, now: float) -> Answer | Admitted | Deferred:
        outcome = self._intake.admit(message, flow, now)
        if not isinstance(outcome, Admitted):
            return outcome
        plan = dataclasses.replace(outcome.decision.plan, steps=self._steps)
        outcome.decision = dataclasses.replace(outcome.decision, plan=plan)
        return outcome


class Stage:
    """One play of a scenario."""

    def __init__(
        self, reload: bool = False, crash_at: int = 0, crash_how: str = "", commit_s: float = 0.0
    ) -> None:
        """``commit_s``: how long the store takes for a commit."""
        self._commit_s = commit_s
        self.reload = reload
        self._crash_at = crash_at
        self._crash_how = crash_how
        self.headers: tuple[str, ...] = ()
        """Headers that the ladder shows with their values."""
        self.world = World(commit_s=commit_s)
        self.world.crash_at = crash_at
        self.world.crash_how = crash_how
        self.reloads = 0
        self._names = {SERVER: "cloudline"}
        self._begun = 0
        self._start = 0.0
        if reload:
            self._reload_at_each_event()

    def configure(self, **calls: object) -> None:
        """Start the node anew with other settings of ``[calls]``; before anything else."""
        self._configure("calls", calls)

    def configure_media(self, **media: object) -> None:
        """The same with settings of ``[media]``."""
        self._configure("media", media)

    def _configure(self, section: str, changes: dict[str, object]) -> None:
        settings = Settings()
        before = getattr(settings, section)
        after = type(before)(**{**before.model_dump(), **changes})
        settings = settings.model_copy(update={section: after})
        self.world = World(settings=settings, commit_s=self._commit_s)
        self.world.crash_at = self._crash_at
        self.world.crash_how = self._crash_how
        if self.reload:
            self._reload_at_each_event()

    def configure_ring(self, number: str, seconds: float) -> None:
        """Another ring time for a cloud number."""
        directory = self.world.directory
        found = directory.number(number)
        assert found is not None
        directory.put_one(dataclasses.replace(found, ring_seconds=seconds))

    def plan(self, *steps: Step) -> None:
        """Whatever is decided for the calls to come, these steps are carried out."""
        core = self.world.server.core
        core.intake = PlannedIntake(core.intake, steps)

    def targets(self, *users: str) -> tuple[DeviceTarget, ...]:
        """The registered devices of users, as a step rings them."""
        store, now = self.world.bindings, self.world.now()
        bindings = [binding for user in users for binding in store.bindings_of_user(user, now)]
        return targets_of(bindings, store)

    def _reload_at_each_event(self) -> None:
        """``call = load(dump(call))`` before every event: what is not stored does not live."""
        runner = self.world.server.runner

        def reload(call: Call, event: Event) -> None:
            loaded = snapshot.load(snapshot.dump(call), runner.env)
            for name in CALL_FIELDS:
                setattr(call, name, getattr(loaded, name))
            self.reloads += 1

        runner.tap = reload

    # -- parties

    def phone(self, username: str, transport: str = "udp", host: str = "") -> Party:
        """A registered softphone."""
        party = self.world.phone(username, host, transport)
        self._names[party.host] = username
        return party

    def sleeper(self, username: str, transport: str = "udp", host: str = "") -> Party:
        """A softphone that a push can wake, and that is not registered."""
        self.pushable(username)
        party = self.world.phone(username, host, transport, register=False)
        self._names[party.host] = username
        return party

    def pushable(self, device: str) -> None:
        """Give a device push credentials."""
        directory = self.world.directory
        found = directory.device(device)
        assert found is not None
        directory.put_one(dataclasses.replace(found, mqtt_password="hashed"))

    def pushed(self, device: str) -> list[str]:
        """What was pushed to a device: type, and the reason where there is one."""
        return [f"{push.type} {push.reason}".strip() for push in self.world.pushes.to(device)]

    def carrier(self, host: str = "10.0.1.1", name: str = "carrier") -> Party:
        """A gateway of a carrier."""
        party = self.world.carrier(host, name)
        self._names[host] = name
        return party

    def begin(self) -> None:
        """Everybody is there: the ladder starts."""
        self._begun = len(self.world.network.log)
        self._start = self.world.network.now

    def run(self, seconds: float) -> None:
        self.world.run(seconds)

    # -- short cuts

    def talk(self, caller: Party, dialog: Dialog, callee: Party, body: bytes = b"") -> Dialog:
        """The callee rings and answers at once; both talk."""
        self.run(0.3)
        callee.ring()
        self.run(0.3)
        answered = callee.answer(body or sdp(6000))
        self.run(0.5)
        assert dialog.status == 200, dialog.statuses
        return answered

    # -- what came of it

    def ladder(self) -> str:
        log = self.world.network.log[self._begun :]
        pushes = [(at, push) for at, push in self.world.push_log if at >= self._start]
        return render(log, self._names, self._start, self.headers, pushes)

    def sent(self, party: Party) -> list[Message]:
        """Everything that the server sent to a party since the beginning."""
        log = self.world.network.log[self._begun :]
        return [parse(data) for _, source, target, data in log if source == SERVER and target == party.host]

    def times(self, party: Party, method: str, status: int = 0) -> list[float]:
        """When the server sent this request, or response to it, to a party; seconds since the beginning."""
        found = []
        for at, source, target, data in self.world.network.log[self._begun :]:
            if source == SERVER and target == party.host:
                message = parse(data)
                if message.cseq_method == method and message.status == status:
                    found.append(round(at - self._start, 2))
        return found

    @property
    def record(self) -> CallRecord:
        """The one record there is."""
        assert len(self.world.records) == 1, [record.reason for record in self.world.records]
        return self.world.records[0]

    def outcomes(self) -> dict[str, str]:
        """What became of each device of the one call there was; of a user without devices under its ref."""
        return {offer.device or offer.user: offer.outcome for offer in self.record.offers}

    def settle(self) -> None:
        """Let everything that lingers run out; nothing may be left."""
        self.run(100.0)
        assert self.world.calls == 0, "a call is left"
        assert not self.world.store.snapshots, "a snapshot is left"
        tags = self.world.server.runner.census()
        assert not any(tags.values()), tags
        for party in self.world.parties:
            for dialog in party.dialogs if party.node.up else ():
                assert not dialog.live, f"{party.name} is left in a session"
                assert not dialog.hanging, f"{party.name} still waits"
        assert not self.world.server.endpoint.transactions, "transactions are left"
        for trunk in ("carrier-a", "carrier-b", "carrier-c"):
            assert not self.world.server.trunking.channels.in_use(trunk), f"a channel of {trunk} is left"


def scenarios_of(*modules: ModuleType) -> dict[str, Scenario]:
    """The scenarios of modules: their public functions that take a stage, by name."""
    found: dict[str, Scenario] = {}
    for module in modules:
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if function.__module__ == module.__name__ and not name.startswith("_"):
                found[name] = function
    return found


__all__ = ["LADDERS", "Crashed", "Scenario", "Stage", "scenarios_of"]
