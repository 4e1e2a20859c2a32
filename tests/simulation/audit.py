"""What must hold in the server and between it and its parties, looked at every few seconds and at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from callcontrol.b2bua.causes import CAUSES
from callcontrol.b2bua.phases import ENDED, RINGING, TALKING
from callcontrol.cdr import CallRecord
from callcontrol.sip.usage import ACCEPTED, CLOSED, ESTABLISHED
from dialplan.plan import Hunt
from tests.simulation.moments import SKEW_S, START
from tests.simulation.party import PATIENCE
from tests.simulation.session import ANSWERED, UP, Session

if TYPE_CHECKING:
    from callcontrol.b2bua.call import Call
    from callcontrol.b2bua.leg import Leg
    from callcontrol.runner import Runner
    from tests.simulation.process import Process
    from tests.simulation.simulation import Simulation
    from tests.simulation.talker import Talker

EVERY_S: Final = 5.0
GRACE_S: Final = PATIENCE + 13.0
"""How long a party may believe in a dialog that the server gave up: BYE is sent for 64*T1."""
CLOSING_S: Final = 3 * PATIENCE + 15.0
"""How long the closing of a call may take: a 2xx without ACK, a BYE without answer, a CANCEL without final."""


class Audit:
    """See the module."""

    def __init__(self, sim: Simulation) -> None:
        self.sim = sim
        self.believers: dict[Session, Talker] = {}
        """Everybody who thinks to be in a call."""
        self.moved: dict[str, None] = {}
        """References of calls in which somebody was transferred."""
        self.answered: dict[str, tuple[bool, str]] = {}
        """Call-ID of a party for which a call stood -> whether it had called, and which call that was."""
        self.strangers: dict[tuple[str, bool], set[int]] = {}
        self.records = 0
        self._dead: dict[int, str] = {}
        """Connections that are gone and have a binding -> its device."""
        self._strays: dict[tuple[str, str], float] = {}
        """Legs that stand beside the two that talk -> since when."""

    # -- what parties report ----------------------------------------------------------------------------------

    def state_changed(self, party: Talker, session: Session, before: str) -> None:
        if session.believes:
            self.believers[session] = party
            if session.state == UP:
                self.answered[session.call_id] = (session.uac, self.sim.watch.refs.get(session.call_id, ""))
        else:
            self.believers.pop(session, None)

    def transfer_asked(self, session: Session) -> None:
        """From now on more than two parties may be in this call."""
        ref = self.sim.watch.refs.get(session.call_id)
        if ref is not None:
            self.moved[ref] = None

    def no_ack(self, party: Talker, session: Session) -> None:
        self.sim.count("answers whose ACK was lost for 64*T1")

    def ack_without_answer(self, party: Talker, session: Session) -> None:
        self.sim.count("late offers without answer")

    def stranger_saw(self, kind: str, known: bool, status: int) -> None:
        """What a stranger is told must not depend on who exists (OPS-05)."""
        self.strangers.setdefault((kind, known), set()).add(status)

    # -- call records -----------------------------------------------------------------------------------------

    def recorded(self, record: CallRecord) -> None:
        """A record became durable (CDR-01, CDR-02)."""
        sim = self.sim
        ref = record.call_ref
        same = sim.server.outbox.records[ref]
        if len(same) > 1:
            if not sim.server.deaths:
                sim.blame("two records", f"{len(same)} for one call", ref=ref)
            if record.reason != same[0].reason or record.answered_ms != same[0].answered_ms:
                sim.blame("two records", f"{same[0].reason} and {record.reason}", ref=ref)
            return
        self.records += 1
        self._check_times(record)
        sim.incoming.recorded(record)
        sim.clock.after(4 * PATIENCE, self._compare, record)

    def _check_times(self, record: CallRecord) -> None:
        ref = record.call_ref

        def wrong(detail: str) -> None:
            self.sim.blame("record is wrong", detail, ref=ref)

        times = [
            at for at in (record.started_ms, record.ringing_ms, record.answered_ms, record.ended_ms) if at
        ]
        if times != sorted(times) or not record.started_ms or not record.ended_ms:
            wrong(f"times {times} do not grow")
        if record.ended_ms > (START + self.sim.clock.now + SKEW_S) * 1000 + 1:
            wrong("it ends in the future")
        if record.reason not in CAUSES or not record.ended_by:
            wrong(f"reason {record.reason!r}, ended by {record.ended_by!r}")
        if bool(record.answered_ms) != (record.status == 200):
            wrong(f"status {record.status} of a call answered at {record.answered_ms}")
        if not record.legs or record.legs[0].leg != "a":
            wrong("no leg of the caller")
        for leg in record.legs:
            if not leg.ended_ms or not leg.started_ms <= leg.ended_ms <= record.ended_ms:
                wrong(f"leg {leg.leg} from {leg.started_ms} to {leg.ended_ms}, the call to {record.ended_ms}")
            if leg.answered_ms and not leg.started_ms <= leg.answered_ms <= leg.ended_ms:
                wrong(f"leg {leg.leg} answered at {leg.answered_ms}")
        if record.answered_ms and not any(leg.answered_ms for leg in record.legs if leg.role == "callee"):
            wrong("answered by nobody")

    def _compare(self, record: CallRecord) -> None:
        """What the parties saw must be what the record says."""
        for leg in record.legs:
            if leg.leg == "a" and self.sim.watch.refs.get(leg.call_id, record.call_ref) != record.call_ref:
                continue  # another process challenged the caller, whose next attempt is another call
            uac, ref = self.answered.get(leg.call_id, (False, ""))
            if ref not in ("", record.call_ref):
                continue  # a process that was cut off comes with a call for the same request when that one is over
            self.answered.pop(leg.call_id, None)
            if ref and uac and leg.leg == "a" and not record.answered_ms:
                detail = f"the caller was answered, the record says {record.reason}"
                self.sim.blame("record is wrong", detail, ref=record.call_ref)

    # -- every few seconds ------------------------------------------------------------------------------------

    def run(self) -> None:
        """Look at everything."""
        sim = self.sim
        sim.watch.sweep()
        if sim.server.up:
            self._look_at_calls()
            self._look_at_believers()
            self._look_at_tables()
        if not sim.is_over:
            sim.clock.after(EVERY_S, self.run)

    def _look_at_calls(self) -> None:
        now = self.sim.server.wall()
        strays: dict[tuple[str, str], float] = {}
        for call in self.sim.server.running().values():
            self._look_at_call(call, now, strays)
        self._strays = strays

    def _look_at_call(self, call: Call, now: float, strays: dict[tuple[str, str], float]) -> None:
        sim = self.sim
        sim.incoming.look(call)
        deadline = call.next_deadline()
        if deadline < now - 1.0 - SKEW_S:
            late = now - deadline
            sim.blame("past its deadline", f"{late:.1f} s; {call.deadlines}", ref=call.ref)
        if call.phase != ENDED and deadline == float("inf"):
            sim.blame("no deadline", f"phase {call.phase}", ref=call.ref)
        if call.phase == ENDED and now - max(call.ended_at, START + sim.server.booted_at) > CLOSING_S:
            states = {leg.id: leg.usage.state for leg in call.legs.values()}
            sim.blame("never closed", f"ended {now - call.ended_at:.0f} s ago, legs {states}", ref=call.ref)
        hunts = sum(step.limit_s for step in call.plan.steps if isinstance(step, Hunt))
        if call.phase == RINGING and now - call.started_at > sim.longest_ring_s + hunts:
            sim.blame("rings too long", f"{now - call.started_at:.0f} s", ref=call.ref)
        if call.phase == TALKING:
            if now - call.answered_at > sim.longest_call_s:
                sim.blame("talks too long", f"{now - call.answered_at:.0f} s", ref=call.ref)
            self._look_for_strays(call, now, strays)

    def _look_for_strays(self, call: Call, now: float, strays: dict[tuple[str, str], float]) -> None:
        """Beside the two that talk nobody may stand for long, unless a transfer is under way."""
        if call.transfer is not None:
            return
        for leg in call.legs.values():
            if leg.id in (call.a, call.b) or leg.usage.state not in (ACCEPTED, ESTABLISHED):
                continue
            since = strays[(call.ref, leg.id)] = self._strays.get((call.ref, leg.id), now)
            if now - since > GRACE_S:
                self.sim.blame(
                    "third party", f"leg {leg.id} stands beside {call.a} and {call.b}", ref=call.ref
                )

    def _look_at_believers(self) -> None:
        """Nobody may believe in a call that the server does not know (LIVE-02)."""
        now = self.sim.clock.now
        known: dict[str, list[Leg]] = {}
        for call in self.sim.server.running().values():
            for leg in call.legs.values():
                known.setdefault(leg.call_id, []).append(leg)
        callees: dict[str, Session] = {}
        for session, party in list(self.believers.items()):
            if session.excused or not party.up:
                continue
            if any(_is_party(leg, session) for leg in known.get(session.call_id, ())):
                session.missing_since = 0.0
            elif not session.missing_since:
                session.missing_since = now
            elif now - session.missing_since > GRACE_S:
                self._orphan(party, session)
                continue
            if not session.uac and session.state == UP and now - session.up_at > GRACE_S:
                self._two_winners(callees, session)

    def _two_winners(self, callees: dict[str, Session], session: Session) -> None:
        ref = session.call_id.partition(".")[0]
        if ref in self.moved:
            return
        other = callees.setdefault(ref, session)
        if other is not session:
            self.sim.blame("two winners", f"{other.call_id} and {session.call_id}", session.call_id)

    def _orphan(self, party: Talker, session: Session) -> None:
        """A fault, unless the server said BYE for 64*T1 and the network lost all of it."""
        bye = self.sim.watch.byes.get(f"{session.call_id}|{session.local_tag}")
        if bye is not None and (
            bye.count >= 7 or bye.transport == "tcp" or bye.life != self.sim.server.deaths
        ):
            session.excused = "every BYE was lost"
            self.sim.count("parties that no BYE could reach")
            return
        if session.state == ANSWERED:
            return  # it gives up by itself
        tried = "never said BYE" if bye is None else f"said BYE {bye.count} times"
        detail = f"{party.name} has been {session.state} since {session.up_at:.1f}, the server {tried}"
        self.sim.blame("orphan leg", detail, session.call_id)

    def _look_at_tables(self) -> None:
        sim = self.sim
        for process in sim.server.processes:
            self._look_at_runner(process.signalling.runner)
        running = sim.server.running()
        if sim.server.is_settled:
            gone = [ref for ref in sim.server.calls.snapshots if ref not in running]
            if gone:
                sim.blame("snapshot leaks", f"{len(gone)} of calls that are over", ref=gone[0])
            self._look_at_channels(running)
        self._look_at_bindings()
        if len(sim.server.bindings) > 4 * len(sim.phones):
            sim.blame("table leaks", f"{len(sim.server.bindings)} bindings of {len(sim.phones)} phones")

    def _look_at_runner(self, runner: Runner) -> None:
        sim = self.sim
        census = runner.census()
        calls = census["calls"]
        for name in ("owners", "epochs"):
            if census[name] != calls:
                sim.blame("table leaks", f"{name}: {census[name]} of {calls} calls")
        by_call = runner.running.index._owners.values()
        held = sum(len(owner.tags) for owners in by_call for owner in owners.values())
        if census["tags"] > held:
            sim.blame("table leaks", f"tags: {census['tags']}, held by legs: {held}")
        for name in ("scheduled", "resumed"):
            if census[name] > calls:
                sim.blame("table leaks", f"{name}: {census[name]} of {calls} calls")
        timers = len(runner.running.deadlines._due)
        if timers > 60 * calls + 2000:
            sim.blame("table leaks", f"{timers} timers of {calls} calls")

    def _look_at_bindings(self) -> None:
        """A binding of a connection ends with it (DEV-06)."""
        streams, now = self.sim.network.streams, self.sim.server.wall()
        dead: dict[int, str] = {}
        for user in self.sim.country.users:
            for binding in self.sim.server.bindings.bindings_of_user(user, now):
                if binding.conn and binding.flow and binding.conn not in streams:
                    dead[binding.conn] = binding.device
        for conn, device in dead.items():
            if conn in self._dead:
                self.sim.blame("dead binding", f"{device} is bound to connection {conn}, which is gone")
        self._dead = dead

    def _look_at_channels(self, running: dict[str, Call]) -> None:
        live = {
            leg.channel
            for call in running.values()
            for leg in call.legs.values()
            if leg.channel and not leg.ended_at
        }
        held = self.sim.server.channels()
        for channel, alive in held.items():
            if alive and channel not in live:
                self.sim.blame("channel leaks", channel, ref=channel.partition(".")[0])
        if self.sim.server.up and not self.sim.is_over:
            for channel in sorted(live - set(held)):
                ref = channel.partition(".")[0]
                self.sim.blame("channel lost", f"{channel} talks without a channel", ref=ref)

    # -- at the end -------------------------------------------------------------------------------------------

    def final(self) -> None:
        """Everybody has been quiet for long: nothing may be left."""
        sim = self.sim
        server = sim.server
        server.channel_table.sweep(server.wall())
        for process in server.processes:
            self._final_of(process)
        tables = {
            "snapshots": len(server.calls.snapshots),
            "bindings": len(server.bindings),
            "channels": len(server.channels()),
            "unsent": sum(process.store.waiting for process in server.processes),
        }
        left = {name: count for name, count in tables.items() if count}
        if left:
            sim.blame("left over", f"{left}", ref=next(iter(server.calls.snapshots), ""))
        for ref in server.calls.begun:
            if len(server.outbox.records.get(ref, ())) < 1:
                sim.blame("no record", "a call that was saved left none", ref=ref)
        if not server.deaths and server.calls_made != len(server.outbox.records):
            sim.blame("no record", f"{server.calls_made} calls, {len(server.outbox.records)} records")
        for session, party in self.believers.items():
            if not session.excused and party.up:
                sim.blame("orphan leg", f"{party.name} is still {session.state}", session.call_id)
        self._compare_strangers()

    def _final_of(self, process: Process) -> None:
        sim = self.sim
        signalling = process.signalling
        runner, endpoint = signalling.runner, signalling.endpoint
        left = {name: count for name, count in runner.census().items() if count}
        if left:
            sim.blame("left over", f"calls: {left}", ref=next(iter(runner.calls), ""))
        tables = {
            "client transactions": len(endpoint._clients),
            "server transactions": len(endpoint._servers),
            "waiting": len(endpoint._waiting),
            "held CANCELs": len(endpoint._held),
            "merged": len(endpoint._merged),
            "serving": len(endpoint._serving),
            "timers": len(endpoint._wheel),
            "call timers": len([at for at, _, ref in runner.running.deadlines._due if ref in runner.calls]),
            "probes": len(signalling.core.asked),
            "releases": len(signalling.core.strays.releasing),
        }
        left = {name: count for name, count in tables.items() if count}
        if left:
            sim.blame("left over", f"{left}")

    def _compare_strangers(self) -> None:
        for (kind, known), statuses in self.strangers.items():
            others = self.strangers.get((kind, not known))
            if (
                others is not None
                and known
                and kind.startswith(("REGISTER", "INVITE"))
                and statuses != others
            ):
                detail = f"{kind}: {sorted(statuses)} for known users, {sorted(others)} for unknown ones"
                self.sim.blame("strangers can tell", detail)


def _is_party(leg: Leg, session: Session) -> bool:
    """Whether the leg's dialog is the one that the party is in."""
    dialog = leg.usage.dialog
    return dialog is not None and dialog.remote_tag == session.local_tag and leg.usage.state != CLOSED
