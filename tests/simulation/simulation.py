"""One run: everything that happens follows from its seed.

    run = Simulation(seed=7, hours=0.2)
    run.play()          # raises Fault with everything that one needs to know

No clock but the virtual one, no random numbers but those of the seed, no sockets, no asyncio.
"""

from __future__ import annotations

import random
import traceback
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from config.settings import Settings
from tests.simulation.audit import Audit
from tests.simulation.carrier import Carrier
from tests.simulation.clock import Clock
from tests.simulation.country import Country
from tests.simulation.incoming import Incoming
from tests.simulation.network import Network, Path
from tests.simulation.phone import Phone
from tests.simulation.report import Fault, describe
from tests.simulation.server import Server
from tests.simulation.stranger import Stranger
from tests.simulation.watch import Owed, Watch

if TYPE_CHECKING:
    from tests.simulation.bugs import Bug
    from tests.simulation.party import Party
    from tests.simulation.session import Session
    from tests.simulation.text import Heard

SETTLE_S: Final = 140.0
"""After the last call is over: 64*T1 for each of INVITE, ACK and BYE, and what lingers behind them."""


@dataclass(slots=True, kw_only=True)
class Mood:
    """What kind of run it is, drawn from the seed."""

    users: int
    calls_per_second: float
    loss: float
    double: float
    jitter: float
    talk_s: float
    whim_s: float
    storms: bool
    partitions: bool
    crashes: bool
    batch: float
    provisioning: bool
    drains: bool
    strangers: int
    nodes: int
    """Processes behind the server's address."""
    store_delay: float
    """Mean seconds until the call store answers; 0: at once."""
    store_cuts: bool
    """A process is cut off from the store now and then, sometimes beyond its lease."""
    amnesia: bool
    """When everything dies the store may forget its last second."""
    skewed: bool
    """The clocks of the processes differ."""
    incoming: bool = False
    """Owners and managers have set up what happens to incoming calls; phones sleep and are pushed."""

    @staticmethod
    def draw(dice: random.Random) -> Mood:
        calm = dice.random() < 0.15
        return Mood(
            users=dice.randint(4, 10),
            calls_per_second=dice.choice((0.5, 1.0, 2.0, 3.0)),
            loss=0.0 if calm else dice.choice((0.0, 0.01, 0.05, 0.15)),
            double=0.0 if calm else dice.choice((0.0, 0.02, 0.1)),
            jitter=0.0 if calm else dice.choice((0.002, 0.05, 0.4)),
            talk_s=dice.choice((8.0, 20.0, 45.0)),
            whim_s=dice.choice((5.0, 15.0, 40.0)),
            storms=dice.random() < 0.4,
            partitions=dice.random() < 0.5,
            crashes=dice.random() < 0.4,
            batch=dice.choice((0.0, 0.0, 0.003, 0.02)),
            provisioning=dice.random() < 0.4,
            drains=dice.random() < 0.15,
            strangers=dice.choice((0, 2, 4)),
            nodes=1,
            store_delay=dice.choice((0.0, 0.0, 0.001, 0.05, 0.3)),
            store_cuts=False,
            amnesia=dice.random() < 0.2,
            skewed=dice.random() < 0.3,
        )


@dataclass(slots=True)
class Tally:
    """What a run did, for the figures."""

    counts: dict[str, int] = field(default_factory=dict)

    def add(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1


class Simulation:
    """See the module."""

    def __init__(
        self,
        seed: int,
        hours: float = 0.1,
        *,
        bug: Bug | None = None,
        steps: bool = False,
        ignore: frozenset[str] = frozenset(),
        crashes: bool | None = None,
        mood: dict[str, float | bool] | None = None,
    ) -> None:
        """``ignore``: faults that are counted and do not end the run.  ``crashes``, ``mood``: instead of what the seed says."""
        self.seed = seed
        self.seconds = hours * 3600
        self.bug = bug
        self.ignore = ignore
        self.prints = steps
        self.clock = Clock()
        self.dice = random.Random(f"{seed}")
        self.mood = Mood.draw(self.dice)
        self.mood.incoming = random.Random(f"{seed} mood").random() < 0.5
        apart = random.Random(f"{seed} nodes")
        self.mood.nodes = apart.choice((1, 2))
        self.mood.store_cuts = self.mood.nodes > 1 and apart.random() < 0.5
        if crashes is not None:
            self.mood.crashes = crashes
        for name, value in (mood or {}).items():
            setattr(self.mood, name, value)
        if not self.mood.crashes:
            self.mood.nodes, self.mood.amnesia = 1, False
        self.tally = Tally()
        self.faults: dict[str, int] = {}
        """Faults that were ignored."""
        self.is_closing = False
        """No new calls: everybody goes home."""
        self.is_over = False
        self.trace = 0
        """Folded from everything that was heard; equal for equal runs."""
        self._indices = 0
        self.network = Network(self.clock, random.Random(f"{seed} network"))
        self.talk_s, self.whim_s, self.stranger_s = self.mood.talk_s, self.mood.whim_s, 8.0
        rules = random.Random(f"{seed} rules") if self.mood.incoming else None
        self.country = Country(self.mood.users, random.Random(f"{seed} country"), rules)
        self.settings = self._settings()
        calls = self.settings.calls
        self.longest_ring_s = calls.total_ring_seconds + 5.0
        self.longest_call_s = calls.max_duration_seconds + 60.0
        self.watch = Watch(self)
        self.audit = Audit(self)
        self.incoming = Incoming(self)
        self.server = Server(self, self.settings, self.mood)
        self.network.server = self.server
        self.phones = self._phones()
        self.carriers = [
            Carrier(self, "carrier-a1", "10.2.0.1", "udp", False),
            Carrier(self, "carrier-a2", "10.2.0.2", "udp", False),
            Carrier(self, "carrier-b", "10.2.1.1", "udp", True),
            Carrier(self, "carrier-c", "10.2.2.1", "tcp", False),
        ]
        self.strangers = [
            Stranger(self, f"stranger{n}", f"10.9.0.{n + 1}") for n in range(self.mood.strangers)
        ]

    def _settings(self) -> Settings:
        dice = self.dice
        return Settings.model_validate(
            {
                "node": {"id": "sim"},
                "calls": {
                    "ring_seconds": dice.choice((15, 30)),
                    "total_ring_seconds": dice.choice((40, 60)),
                    "trunk_answer_seconds": dice.choice((20, 40)),
                    "trunk_silence_seconds": dice.choice((3, 5)),
                    "max_duration_seconds": dice.choice((90, 240)),
                    "session_expires_seconds": dice.choice((90, 120, 200)),
                    "kept_ladders": 20,
                },
                "registrar": {"min_expires_seconds": 60, "nonce_seconds": dice.choice((40, 300))},
            }
        )

    def _phones(self) -> list[Phone]:
        phones = []
        for number, device in enumerate(self.country.devices):
            phones.append(Phone(self, device.ref, f"10.1.0.{number + 1}", device.user))
        return phones

    # -- for the parts ----------------------------------------------------------------------------------------

    def new_index(self) -> int:
        self._indices += 1
        return self._indices

    def new_path(self, dice: random.Random) -> Path:
        mood = self.mood
        return Path(
            dice.uniform(0.001, 0.08), mood.jitter * dice.random(), mood.loss * dice.random(), mood.double
        )

    def count(self, what: str) -> None:
        self.tally.add(what)

    def say(self, what: str) -> None:
        """Something happened that a reader of the steps wants to know."""
        self.tally.add(what.partition(" takes ")[0])
        if self.prints:
            print(f"{self.clock.now:10.3f}  ** {what}")

    def heard(self, party: Party, heard: Heard) -> None:
        """A party got a message."""
        self.trace = (self.trace * 1_000_003 + len(heard.data) + int(self.clock.now * 1e6)) & 0xFFFFFFFFFFFF
        if self.prints:
            start = heard.data.partition(b"\r\n")[0].decode("utf-8", "replace")
            print(f"{self.clock.now:10.3f}  {party.name:18} <- {start}   [{heard.call_id}]")

    def blame(self, name: str, detail: str, call_id: str = "", ref: str = "") -> None:
        """Something is wrong with the server."""
        if name in self.ignore:
            self.faults[name] = self.faults.get(name, 0) + 1
            return
        ref = ref or self.watch.refs.get(call_id, "")
        if ref in self.server.calls.forgotten:
            self.count("faults of calls that the store forgot")
            return
        raise Fault(name, detail, describe(self, name, detail, call_id, ref))

    def unanswered(self, owed: Owed) -> None:
        """A request that reached the server got no final response."""
        detail = f"{owed.method} of {owed.party}, {self.clock.now - owed.at:.0f} s ago"
        self.blame("unanswered request", detail, owed.call_id)

    def has_instance(self, device: str) -> bool:
        """Whether a phone says which one it is when it registers (RFC 5626)."""
        return any(phone.name == device and phone.instance for phone in self.phones)

    def move(self, phone: Phone) -> None:
        """A phone comes back with another address."""
        del self.network.parties[phone.host]
        _, _, third, fourth = phone.host.split(".")
        phone.host = f"10.1.{int(third) + 1}.{fourth}"
        phone.hosts.add(phone.host)
        self.network.parties[phone.host] = phone

    def pick_up_elsewhere(self, phone: Phone, session: Session) -> None:
        """A colleague takes a call over."""
        account = self.country.accounts[phone.user]
        others = [
            each
            for each in self.phones
            if each is not phone
            and each.up
            and each.registered
            and self.country.accounts[each.user] == account
        ]
        if others:
            self.count("calls replaced")
            self.dice.choice(others).replace(session)

    # -- what happens by itself -------------------------------------------------------------------------------

    def _next_call(self) -> None:
        if self.is_closing:
            return
        if self.dice.random() < 0.55:
            carrier = self.dice.choice(self.carriers)
            if carrier.up:
                carrier.place_call()
        else:
            self.dice.choice(self.phones).place_call()
        self.clock.after(self.dice.expovariate(self.mood.calls_per_second), self._next_call)

    def _storm(self) -> None:
        """Bad weather for everybody, for a while."""
        if self.is_closing:
            return
        loss = self.dice.choice((0.2, 0.5, 0.9))
        before = [(party, party.path.loss) for party in self.network.parties.values()]
        for party, _ in before:
            party.path.loss = loss * self.dice.random()
        self.say(f"a storm begins, loss up to {loss}")
        self.clock.after(self.dice.uniform(2, 20), self._calm, before)
        self.clock.after(self.dice.expovariate(1 / 300), self._storm)

    def _calm(self, before: list[tuple[Party, float]]) -> None:
        for party, loss in before:
            party.path.loss = loss

    def _partition(self) -> None:
        if self.is_closing:
            return
        party = self.dice.choice(list(self.network.parties.values()))
        until = self.clock.now + self.dice.choice((0.3, 2.0, 10.0, 40.0, 70.0)) * self.dice.uniform(0.5, 1.0)
        kind = self.dice.random()
        if kind < 0.7:
            party.path.cut_up = until
        if kind > 0.3:
            party.path.cut_down = until
        self.say(f"{party.name} is cut off for {until - self.clock.now:.1f} s")
        self.clock.after(self.dice.expovariate(1 / 20), self._partition)

    def _crash(self) -> None:
        if self.is_closing:
            return
        if self.dice.random() < 0.3:
            self.server.kill()
        else:
            self.server.light_fuse(self.dice.randint(1, 40))
        self.clock.after(self.dice.expovariate(1 / 60), self._crash)

    def _cut_store(self) -> None:
        if self.is_closing:
            return
        self.server.cut_from_store(self.dice.choice((0.5, 3.0, 4.9, 9.0, 20.0)))
        self.clock.after(self.dice.expovariate(1 / 60), self._cut_store)

    def _provision(self) -> None:
        if self.is_closing:
            return
        self.say(self.country.change_something())
        self.server.provisioned()
        self.clock.after(self.dice.expovariate(1 / 25), self._provision)

    def _drain(self, on: bool) -> None:
        if self.is_closing and on:
            return
        self.say("drain" if on else "end of drain")
        self.server.drain(on)
        self.clock.after(
            self.dice.uniform(20, 60) if on else self.dice.expovariate(1 / 400), self._drain, not on
        )

    def _operator(self) -> None:
        """Somebody ends a call by hand now and then."""
        if self.is_closing:
            return
        self.server.hang_up()
        self.clock.after(self.dice.expovariate(1 / 60), self._operator)

    # -- the run ----------------------------------------------------------------------------------------------

    def play(self) -> None:
        """Run to the end.  Raises Fault."""
        clock, dice, mood = self.clock, self.dice, self.mood
        for phone in self.phones:
            clock.after(dice.uniform(0, 10), phone.wake)
        for party in (*self.carriers, *self.strangers):
            party.wake()
        clock.after(8.0, self._next_call)
        clock.after(1.0, self.audit.run)
        clock.after(dice.uniform(20, 60), self._operator)
        for wanted, what in (
            (mood.storms, self._storm),
            (mood.partitions, self._partition),
            (mood.crashes, self._crash),
            (mood.crashes and mood.store_cuts, self._cut_store),
            (mood.provisioning, self._provision),
        ):
            if wanted:
                clock.after(dice.uniform(10, 40), what)
        if mood.drains:
            clock.after(dice.uniform(30, 200), self._drain, True)
        self._step(self.seconds)
        self._go_home()

    def _step(self, seconds: float) -> None:
        try:
            self.clock.run_until(self.clock.now + seconds)
        except Fault:
            raise
        except Exception as error:
            text = "".join(traceback.format_exception(error)[-6:])
            raise Fault("exception", text, describe(self, "exception", text, "", "")) from error

    def _go_home(self) -> None:
        """No new calls, the weather clears, everybody hangs up; then nothing may be left."""
        self.is_closing = True
        self.say("closing time")
        for party in list(self.network.parties.values()):
            party.path.loss = min(party.path.loss, 0.05)
        for talker in (*self.phones, *self.carriers):
            talker.close()
        self._step(self.longest_call_s + SETTLE_S)
        longest = max(phone.expires for phone in self.phones)
        self._step(longest + 30.0)
        self.is_over = True
        self.server.finish()
        self.audit.final()
