"""What passes over the wire, held against the rules of SIP and against what nobody may see (RFC 3261, topology hiding).

Looks at every message that reaches the server and at every one that leaves it, and keeps for a few minutes what is needed to
judge the next one.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from callcontrol.b2bua.leg import ELSEWHERE
from callcontrol.sip.flow import Flow
from dialplan import reasons
from dialplan.plan import Hunt
from tests.simulation.country import GHOST
from tests.simulation.moments import START
from tests.simulation.network import SERVER
from tests.simulation.party import PATIENCE
from tests.simulation.text import Heard, Note

if TYPE_CHECKING:
    from callcontrol.b2bua.call import Call
    from tests.simulation.party import Party
    from tests.simulation.simulation import Simulation

KEEP_S: Final = 200.0
LONGEST_HUNT_S: Final = 180.0
SLACK_S: Final = 0.6
"""Grains of timers, batches of input."""
_TRACES: Final = re.compile(
    rb"10\.\d{1,3}\.\d{1,3}\.\d{1,3}|~(\d+)~|1990066\d\d|639981900|ghost|X-Cloudline-Call", re.IGNORECASE
)
_ORIGIN: Final = re.compile(rb"^o=- (\d+ \d+) IN IP4 192\.0\.2\.1\r$", re.MULTILINE)
_DIRECTION: Final = re.compile(rb"^a=(sendrecv|sendonly|recvonly|inactive)\r$", re.MULTILINE)
_VIA: Final = re.compile(rb"^(?:Via|v): [^\r]*\r\n", re.MULTILINE)


class Sent:
    """A request of the server, by branch and method."""

    __slots__ = (
        "acked",
        "answered",
        "asked_by",
        "at",
        "call_id",
        "cancelled_at",
        "conn",
        "count",
        "cseq",
        "data",
        "final",
        "final_at",
        "finals",
        "from_tag",
        "host",
        "in_time",
        "life",
        "method",
        "provisional",
        "to_tag",
        "transport",
    )

    def __init__(self, heard: Heard, at: float, life: int, flow: Flow, asked_by: int) -> None:
        self.data = heard.data
        self.method = heard.method
        self.at = at
        self.call_id = heard.call_id
        self.cseq = heard.cseq
        self.from_tag = heard.from_tag
        self.to_tag = heard.to_tag
        self.transport = flow.transport
        self.host = flow.host
        self.conn = flow.conn
        self.life = life
        """How many processes had died when something came of it last."""
        self.asked_by = asked_by
        """Number of the process that sent it last."""
        self.count = 1
        self.provisional = False
        self.in_time = False
        """A provisional response came while its transaction certainly lived."""
        self.answered = False
        """Some final response has reached the server."""
        self.final = 0
        self.final_at = 0.0
        self.cancelled_at = 0.0
        self.finals: dict[str, float] = {}
        """To tag -> when its 2xx reached the server first."""
        self.acked: dict[str, float] = {}


class Owed:
    """A request that reached the server, by branch and method."""

    __slots__ = (
        "answered_by",
        "at",
        "born",
        "call_id",
        "cseq",
        "final",
        "first_at",
        "last",
        "life",
        "method",
        "party",
        "to_tag",
    )

    def __init__(self, note: Note, at: float, party: str, life: int) -> None:
        self.method = note.method
        self.at = self.first_at = at
        self.call_id = note.call_id
        self.cseq = note.cseq
        self.to_tag = note.to_tag
        self.party = party
        self.born = self.life = life
        """Processes of the server that had it first, and last."""
        self.final = 0
        self.answered_by = 0
        """Number of the process that answered it last."""
        self.last = b""


class Answer:
    """A 2xx of the server to an INVITE."""

    __slots__ = ("acked", "at", "cseq", "initial")

    def __init__(self, at: float, cseq: int, initial: bool) -> None:
        self.at = at
        self.cseq = cseq
        self.initial = initial
        """Of the INVITE that opened the dialog."""
        self.acked = False


def description_of(data: bytes) -> tuple[bytes, bytes]:
    """Origin and direction of the session description in a message; empty where there is none."""
    origin = _ORIGIN.search(data)
    if origin is None:
        return b"", b""
    direction = _DIRECTION.search(data)
    return origin.group(1), direction.group(1) if direction is not None else b""


class Watch:
    """See the module."""

    def __init__(self, sim: Simulation) -> None:
        self.sim = sim
        self.speaker = 0
        """Number of the process that is sending."""
        self.sent: dict[str, Sent] = {}
        self.owed: dict[str, Owed] = {}
        self.answers: dict[str, Answer] = {}
        """Call-ID and our tag -> our last 2xx to an INVITE in that dialog."""
        self.byes: dict[str, Sent] = {}
        """Call-ID and the party's tag -> our BYE."""
        self.refs: dict[str, str] = {}
        """Call-ID -> call reference."""
        self._cseqs: dict[str, tuple[int, float]] = {}
        self._invites: dict[str, Sent] = {}
        """Call-ID and CSeq -> our INVITE."""
        self._offering: dict[str, Sent] = {}
        """Call-ID and the party's tag -> our last INVITE in the dialog."""
        self._asked: dict[str, Owed] = {}
        """Call-ID and our tag -> the party's last INVITE in the dialog."""
        self._left: dict[str, float] = {}
        """Call-ID and the party's tag -> when its BYE came."""
        self._garbage: dict[str, float] = {}
        self._directions: dict[bytes, set[bytes]] = {}
        """Origin of a session description -> directions that its maker gave it."""

    def belongs(self, call_id: str, ref: str) -> None:
        """A dialog is a leg of a call."""
        self.refs[call_id] = ref
        self.sim.incoming.belongs(call_id, ref)

    def server_died(self) -> None:
        """What it had to answer is forgotten with its transactions."""
        for owed in self.owed.values():
            if not owed.final:
                owed.final = -1

    # -- what reaches the server ------------------------------------------------------------------------------

    def reached(self, note: Note, party: Party) -> None:
        """A message is handed to the server."""
        now, life = self.sim.clock.now, self.sim.server.deaths
        origin, direction = description_of(note.data)
        if origin:
            self._directions.setdefault(origin, set()).add(direction)
        if not note.method:
            self._garbage[party.host] = now
            return
        key = f"{note.branch}|{note.method}"
        if note.status:
            self._response_reached(key, note, now, life)
        elif note.method == "ACK":
            answer = self.answers.get(f"{note.call_id}|{note.to_tag}")
            if answer is not None and answer.cseq == note.cseq:
                answer.acked = True
        else:
            owed = self.owed.get(key)
            if owed is None:
                owed = self.owed[key] = Owed(note, now, party.name, life)
                if note.method == "BYE":
                    self._left[f"{note.call_id}|{note.from_tag}"] = now
                if note.method == "INVITE" and note.to_tag:
                    self._asked[f"{note.call_id}|{note.to_tag}"] = owed
            elif owed.final == -1:
                owed.final = 0
                owed.at = now
                owed.life = life

    def _response_reached(self, key: str, note: Note, now: float, life: int) -> None:
        sent = self.sent.get(key)
        if sent is None:
            return
        if note.status < 200:
            sent.provisional = True
            if now < sent.at + PATIENCE - SLACK_S:
                sent.in_time = True
            return
        sent.answered = True
        if not sent.final:
            if note.method == "INVITE" and note.status >= 600 and not sent.cancelled_at:
                party = self.sim.network.parties.get(sent.host)
                if party is not None and not party.is_trunk:
                    self.sim.incoming.declined(note.call_id, party.name)
            sent.final = note.status
            sent.final_at = now
            sent.life = life
        if note.method == "INVITE" and note.status < 300 and note.to_tag not in sent.finals:
            sent.finals[note.to_tag] = now
            sent.life = life

    def stream_gone(self, host: str, conn: int) -> None:
        """A connection broke, or there is none: what waits on it has failed.  ``conn`` 0: one that the server opened."""
        for sent in self.sent.values():
            same = sent.conn == conn if conn else not sent.conn and sent.host == host
            if same and sent.transport == "tcp" and not sent.final:
                sent.final = 503

    def sends_garbage(self, host: str) -> bool:
        """Whether nothing sensible can be said about answers to this address."""
        return self.sim.clock.now - self._garbage.get(host, -1e9) < KEEP_S

    # -- what leaves the server -------------------------------------------------------------------------------

    def leaves(self, heard: Heard, flow: Flow, speaker: int) -> None:
        """A process of the server sends a message."""
        self.speaker = speaker
        party = self.sim.network.parties.get(flow.host)
        if heard.body:
            self._check_description(heard)
        if heard.is_request:
            self._request_leaves(heard, flow, party)
        else:
            self._response_leaves(heard, party)

    def _blame(self, name: str, detail: str, heard: Heard) -> None:
        start = heard.data.partition(b"\r\n")[0].decode("utf-8", "replace")
        self.sim.blame(name, f"{start}: {detail}", heard.call_id)

    def _request_leaves(self, heard: Heard, flow: Flow, party: Party | None) -> None:
        key = f"{heard.branch}|{heard.method}"
        if heard.method == "ACK":
            key += f"|{heard.to_tag}"  # of a refusal: a phone that was restarted refuses as somebody else
        sent = self.sent.get(key)
        now = self.sim.clock.now
        if sent is not None:
            sent.count += 1
            same = sent.asked_by == self.speaker
            sent.asked_by = self.speaker
            transport = sent.transport
            sent.transport, sent.host, sent.conn = flow.transport, flow.host, flow.conn
            if sent.life != self.sim.server.deaths or not same:
                sent.life, sent.final = self.sim.server.deaths, 0  # another process asks again
                sent.finals = {}  # what it has heard of, it would not ask for; whoever waits for an ACK repeats its 2xx
            if (
                sent.data != heard.data
                and (same or heard.method != "CANCEL")
                and (
                    transport == flow.transport or _VIA.sub(b"", sent.data, 1) != _VIA.sub(b"", heard.data, 1)
                )
            ):
                self._blame("retransmission differs", f"{sent.data!r} became {heard.data!r}", heard)
            return
        if party is not None:
            self._look_for_leaks(heard, party)
        sent = self.sent[key] = Sent(heard, now, self.sim.server.deaths, flow, self.speaker)
        method = heard.method
        if method == "ACK":
            self._check_ack(heard, now)
        elif method == "CANCEL":
            self._check_cancel(heard, now)
        else:
            self._check_cseq(heard, now)
            if method == "INVITE":
                self._check_invite(heard, sent, now)
                if not heard.to_tag and party is not None and not party.is_trunk:
                    self.sim.incoming.rings(heard, party.name)
            elif method == "BYE":
                self.byes[f"{heard.call_id}|{heard.to_tag}"] = sent
                answer = self.answers.get(f"{heard.call_id}|{heard.from_tag}")
                if (
                    answer is not None
                    and answer.initial
                    and not answer.acked
                    and now < answer.at + PATIENCE - SLACK_S - self.sim.server.grain
                ):
                    self._blame("BYE before ACK", f"our 2xx was sent {now - answer.at:.2f} s ago", heard)

    def _check_cseq(self, heard: Heard, now: float) -> None:
        early = f"{heard.call_id}|{heard.from_tag}|"
        dialog = f"{early}{heard.to_tag}"
        last = self._cseqs.get(dialog) or self._cseqs.get(early)
        if last is not None and heard.cseq <= last[0]:
            self._blame("CSeq does not grow", f"{heard.cseq} after {last[0]}", heard)
        self._cseqs[dialog] = (heard.cseq, now)

    def _check_invite(self, heard: Heard, sent: Sent, now: float) -> None:
        self._invites[f"{heard.call_id}|{heard.cseq}"] = sent
        if not heard.to_tag:
            return
        life = self.sim.server.deaths
        name = f"{heard.call_id}|{heard.to_tag}"
        before = self._offering.get(name)
        self._offering[name] = sent
        if before is not None and not before.final and before.life == life and now < before.at + PATIENCE:
            self._blame("overlapping INVITE", "our last INVITE in this dialog has no answer", heard)
        asked = self._asked.get(f"{heard.call_id}|{heard.from_tag}")
        crossed = asked is not None and now - asked.at <= self.sim.server.grain
        if asked is not None and not crossed and not asked.final and asked.life == life:
            self._blame("overlapping INVITE", "the peer's INVITE in this dialog has no answer of ours", heard)

    def _check_ack(self, heard: Heard, now: float) -> None:
        invite = self._invites.get(f"{heard.call_id}|{heard.cseq}")
        # a process that takes over and is cut off from the store hears the answer before its own repetition has left
        if invite is None or not invite.answered:
            self._blame("ACK of nothing", "no final response to such an INVITE has come", heard)
        else:
            invite.acked[heard.to_tag] = now

    def _check_cancel(self, heard: Heard, now: float) -> None:
        invite = self.sent.get(f"{heard.branch}|INVITE")
        if invite is None:
            if self._is_inherited(heard.call_id):
                return  # its INVITE was saved and died with the process that was about to send it
            self._blame("CANCEL of nothing", "no INVITE was sent with this branch", heard)
            return
        invite.cancelled_at = now
        self._check_reason(heard)
        if invite.asked_by != self.speaker:
            return  # who takes a call over sends the CANCEL of an INVITE that it did not send itself, answered or not
        if not invite.provisional:
            self._blame("early CANCEL", "its INVITE has no response yet", heard)
        crossed = now - invite.final_at <= self.sim.server.grain
        if invite.final and not crossed and invite.life == self.sim.server.deaths:
            self._blame("late CANCEL", f"its INVITE was answered {invite.final}", heard)

    def _answers_again(self, owed: Owed) -> bool:
        """Whether the process that speaks has answered this request before, and no other one had it earlier.

        Who is asked for a call that is not there knows nothing of it, or cannot ask, and does not remember having said so.
        """
        if owed.final in (481, 500) and self.sim.mood.nodes > 1:
            return False
        return owed.answered_by == self.speaker and owed.born == self.sim.server.deaths

    def _check_reason(self, heard: Heard) -> None:
        """Losers are told that somebody else has answered, and nobody else is (INC-07, INC-09)."""
        call = self.sim.server.call(self.refs.get(heard.call_id, ""))
        leg = (
            next((leg for leg in call.legs.values() if leg.call_id == heard.call_id), None) if call else None
        )
        if leg is None or not leg.reason:
            return
        moved = call is not None and call.ref in self.sim.audit.moved  # perhaps to a Greeting
        if leg.reason in (reasons.NO_ANSWER, reasons.UNREACHABLE) and (moved or _hunts(call)):
            return  # whether somebody else may still take the call is for the small cases to judge
        lost = leg.reason == ELSEWHERE
        if lost != any("cause=200" in value for value in heard.headers.get("reason", ())):
            self._blame("wrong reason", f"{leg.id} is {leg.reason}", heard)

    def _check_description(self, heard: Heard) -> None:
        """A session description says what its maker said: hold reaches the other side (RFC 3264 §8.4)."""
        origin, direction = description_of(heard.body)
        if self.refs.get(heard.call_id, "") in self.sim.audit.moved:
            return  # a session that goes on with somebody else counts its versions by itself
        known = self._directions.get(origin)
        if known is not None and direction not in known:
            self._blame("description changed", f"{origin!r} is {direction!r}, its maker said {known}", heard)

    def _is_inherited(self, call_id: str) -> bool:
        """Whether the call of an INVITE of ours was begun by another process."""
        server = self.sim.server
        ref = call_id.partition(".")[0]
        begun = server.calls.begun.get(ref)
        held = server.calls.snapshots.get(ref)
        return (begun is not None and begun < server.booted_at) or (held is not None and held[0] > 1)

    def _response_leaves(self, heard: Heard, party: Party | None) -> None:
        owed = self.owed.get(f"{heard.branch}|{heard.method}")
        status = heard.status
        if owed is None:
            if party is None or not self.sends_garbage(party.host):
                self._blame("response to nothing", "no such request has come", heard)
            return
        if heard.data == owed.last:
            return
        owed.last = heard.data
        if party is not None:
            self._look_for_leaks(heard, party)
        if owed.final in (401, 407):
            owed.final = (
                0  # challenges are stateless: what changed meanwhile counts for the request's next copy
            )
        if status > 100 and not heard.to_tag:
            self._blame("no To tag", "", heard)
        if status < 200:
            if owed.final > 0 and self._answers_again(owed):
                self._blame("provisional after final", f"{owed.final} was sent before", heard)
            return
        if owed.final > 0 and owed.final != status and self._answers_again(owed):
            self._blame("two finals", f"{owed.final} was sent before", heard)
        owed.final = status
        owed.answered_by = self.speaker
        owed.life = self.sim.server.deaths
        if heard.method == "INVITE" and status < 300:
            name = f"{heard.call_id}|{heard.to_tag}"
            answer = self.answers.get(name)
            if answer is None or answer.cseq != heard.cseq:
                self.answers[name] = Answer(self.sim.clock.now, heard.cseq, not owed.to_tag)

    # -- what nobody may see ----------------------------------------------------------------------------------

    def _look_for_leaks(self, heard: Heard, party: Party) -> None:
        for found in _TRACES.finditer(heard.data):
            word = found.group(0)
            if found.group(1):
                if int(found.group(1)) != party.index:
                    self._blame("leaked identifier", f"{word!r} is not {party.name}'s", heard)
            elif word.startswith(b"10."):
                host = word.decode()
                if host != SERVER and host not in party.hosts:
                    self._blame("leaked address", f"{host} is not {party.name}'s", heard)
            elif word.lower() == b"x-cloudline-call":
                if party.is_trunk:
                    self._blame("leaked call reference", f"{party.name} is a trunk", heard)
            elif word.lower() == GHOST.encode() or word.startswith(b"6399"):
                self._check_hidden(heard, party, word, party.name.startswith(GHOST))
            else:
                self._check_hidden(heard, party, word, False)

    def _check_hidden(self, heard: Heard, party: Party, word: bytes, its_own: bool) -> None:
        if its_own or party.name.startswith("stranger"):
            return
        is_number = word.lower() != GHOST.encode()
        if not (party.is_trunk and is_number and heard.is_request and heard.get("privacy") == "id"):
            self._blame("leaked hidden number", f"{party.name} may not see {word!r}", heard)
            return
        shown = [value for name in ("from", "to", "contact") for value in heard.headers.get(name, ())]
        if any(word.decode() in value for value in shown):
            self._blame("leaked hidden number", f"{word!r} stands outside of P-Asserted-Identity", heard)

    # -- what is overdue --------------------------------------------------------------------------------------

    def sweep(self) -> None:
        """Look for what should have come by now, and forget what is old."""
        now, life = self.sim.clock.now, self.sim.server.deaths
        ring = self.sim.longest_ring_s + (LONGEST_HUNT_S if self.sim.mood.incoming else 0.0)
        for owed in self.owed.values():
            patience = ring + 5 if owed.method == "INVITE" else PATIENCE + 3
            if b"\r\nRSeq: " in owed.last:
                patience += PATIENCE  # the answer waits for a PRACK as long as that may come (RFC 3262 §3)
            if not owed.final and now - owed.at > patience and owed.life == life and self.sim.server.up:
                if not self._asked_in_vain(owed):
                    self.sim.unanswered(owed)
                owed.final = -1
        for sent in self.sent.values():
            if sent.finals and sent.life == life and self.sim.server.up:
                self._check_acked(sent, now)
        self._forget(now - KEEP_S)

    def _asked_in_vain(self, owed: Owed) -> bool:
        """Whether it was passed on to somebody who was silent: nobody wants the answer then (RFC 4320 §4.2)."""
        if owed.method == "INVITE":
            return False
        ref = self.refs.get(owed.call_id)
        return any(
            (sent.final in (0, 503) or sent.final_at - owed.at > PATIENCE - SLACK_S)
            and 0 <= sent.at - owed.first_at < SLACK_S + self.sim.server.grain
            and self.refs.get(sent.call_id) == ref
            for sent in self.sent.values()
        )

    def _check_acked(self, sent: Sent, now: float) -> None:
        over = float("inf") if sent.in_time else sent.at + PATIENCE
        if sent.cancelled_at:
            over = sent.cancelled_at + PATIENCE
        for tag, at in sent.finals.items():
            if f"{sent.call_id}|{tag}" in self._left:
                continue  # it hung up itself
            late = PATIENCE + SLACK_S + self.sim.server.grain  # an answer that waits for the caller's ACK
            if tag not in sent.acked and now - at > late and at < over - SLACK_S:
                # Timer M: a 2xx of a further fork finds no transaction 64*T1 after the first
                if at > min(sent.finals.values()) + PATIENCE - SLACK_S or sent.final >= 300:
                    continue
                if self._is_beyond_recall(sent, at):
                    self.sim.count("answers to calls that ended with their process")
                    continue
                self.sim.blame("answer without ACK", f"2xx with tag {tag} came at {at:.2f}", sent.call_id)

    def _is_beyond_recall(self, sent: Sent, at: float) -> bool:
        """Whether the call was over, and the process that knew it is gone: nobody can tell that it was ours."""
        server = self.sim.server
        records = server.outbox.records.get(self.refs.get(sent.call_id, ""), ())
        over = any(record.ended_ms <= (START + at + 1.0) * 1000 for record in records)
        return over and all(process.number != sent.asked_by for process in server.processes)

    def _forget(self, before: float) -> None:
        for table in (self.sent, self.byes, self._invites, self._offering):
            for key in [key for key, sent in table.items() if sent.at < before]:
                del table[key]
        for asked in (self.owed, self._asked):
            for key in [key for key, owed in asked.items() if owed.at < before]:
                del asked[key]
        # answers and CSeq numbers matter as long as the dialog does, which is longer
        before -= self.sim.longest_call_s
        for key in [key for key, at in self._left.items() if at < before]:
            del self._left[key]
        for key in [key for key, answer in self.answers.items() if answer.at < before]:
            del self.answers[key]
        for key in [key for key, last in self._cseqs.items() if last[1] < before]:
            del self._cseqs[key]


def _hunts(call: Call) -> bool:
    return any(isinstance(step, Hunt) for step in call.plan.steps)
