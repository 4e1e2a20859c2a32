"""Softphones: autonomous, seeded, and not always well behaved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from tests.simulation.country import GHOST, outside
from tests.simulation.party import DOMAIN, PLAIN_ALLOW
from tests.simulation.session import CALLING, RINGING, UP, Asked, Served, Session
from tests.simulation.talker import Talker
from tests.simulation.text import Heard, Note, credentials, parameter, sdp

if TYPE_CHECKING:
    from gateway.push import DevicePush
    from tests.simulation.simulation import Simulation

REFUSALS: Final = (404, 480, 488, 500, 503, 600, 603, 604)


class Phone(Talker):
    """A device of a user."""

    def __init__(self, sim: Simulation, name: str, host: str, user: str) -> None:
        self.user = user
        super().__init__(sim, name, host)
        self.setup()
        dice = self.dice
        self.transport = "tcp" if dice.random() < 0.35 else "udp"
        self.password = f"secret-{name}"
        self.knows_100rel = dice.random() < 0.4
        self.requires_100rel = dice.random() < 0.08
        self.session_interval = dice.choice((0, 0, 90, 120, 180, 60))
        self.holds_bye = dice.random() < 0.8
        self.compact = dice.random() < 0.15
        if dice.random() < 0.15:
            self.allow = PLAIN_ALLOW
        self.instance = f';+sip.instance="<urn:uuid:{name}>"' if dice.random() < 0.7 else ""
        self.expires = dice.choice((60, 90, 180, 300))
        self.sleepy = dice.random() < 0.1
        """Never hangs up by itself."""
        self.registered = False
        self._register_id = ""
        self._register_cseq = 0
        self._challenge = ""
        self._uses = 0
        self._register_tries = 0
        self._chain = 0
        self._registering: Asked | None = None
        self._dozing = False
        """It has no registration until a push wakes it."""
        self._consulting: dict[str, Session] = {}
        """Call-ID of a consultation -> the call whose other party is to be transferred."""

    @property
    def aor(self) -> str:
        return f"<sip:{self.name}@{DOMAIN}>"

    # -- life -------------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Begin, or begin again after a reboot."""
        self.up = True
        self._register_id = self.new_id("reg")
        self._register_cseq = self.dice.randint(1, 1000)
        self._challenge = ""
        self._dozing = False
        self.register()
        self.later(self.dice.expovariate(1 / 400), self._whim)
        if self.sim.mood.incoming:
            self.later(self.dice.uniform(5, 60), self._doze)

    def _doze(self) -> None:
        """The system puts the app to sleep; a push wakes it, or somebody who takes the phone into his hand."""
        if self.sim.is_closing:
            return
        if self.sim.country.can_be_pushed(self.name) and not self.live() and self.registered:
            self.register(0)
            self._dozing = True
            self.later(self.dice.uniform(30, 120), self._rouse)
        self.later(self.dice.uniform(20, 90), self._doze)

    def pushed(self, push: DevicePush) -> None:
        """A push has come through; most phones wake, some take their time."""
        if self.up and self._dozing and push.type == "incoming_call" and self.dice.random() < 0.85:
            self.later(
                self.dice.choice((0.2, 1.0, 3.0, 7.95, 10.0)) * self.dice.uniform(0.9, 1.1), self._rouse
            )

    def _rouse(self) -> None:
        if self._dozing:
            self._dozing = False
            self.register()

    def _whim(self) -> None:
        """What phones do besides calls."""
        if self.sim.is_closing:
            return
        dice = self.dice
        kind = dice.random()
        if kind < 0.25:
            self.register(0)
            self.later(dice.uniform(1, 60), self.register)
        elif kind < 0.45:
            self.sleep(dice.uniform(2, 120))
            return
        elif kind < 0.6:
            if self.stream is not None:
                self.sim.network.break_stream(self.stream)
        elif kind < 0.75:
            self.send_garbage(self._sample())
        else:
            self.register()
        self.later(dice.expovariate(1 / 400), self._whim)

    def sleep(self, seconds: float) -> None:
        """Vanish: the battery is empty, the tunnel is long."""
        self.sim.count("phones that vanished")
        self.die()
        self.registered = False
        self.clock.after(seconds, self._come_back, self.life)

    def _come_back(self, life: int) -> None:
        if self.life == life and not self.up and not self.sim.is_closing:
            if self.dice.random() < 0.1:
                self.sim.move(self)
            self.wake()

    def stream_gone(self, stream: object) -> None:
        mine = stream is self.stream
        super().stream_gone(stream)  # type: ignore[arg-type]
        if mine and self.up and not self.sim.is_closing:
            self.sim.count("phone connections that broke")
            self.later(self.dice.uniform(0.05, 3.0), self.register)

    # -- registration -----------------------------------------------------------------------------------------

    def register(self, expires: int = -1) -> None:
        """REGISTER; 0 takes the binding away."""
        if self.sim.is_closing and expires:
            return
        self._register_tries = 0
        self._chain += 1
        self._send_register(self.expires if expires < 0 else expires)

    def _next_register(self, delay: float) -> None:
        """Only the latest plan counts, or every extra REGISTER would start a chain of its own."""
        self.later(delay, self._register_if, self._chain)

    def _register_if(self, chain: int) -> None:
        if chain == self._chain and not self._dozing:
            self.register()

    def _send_register(self, expires: int) -> None:
        self._register_cseq += 1
        tag = self.new_id("f")
        lines = [
            f"From: {self.aor};tag={tag}",
            f"To: {self.aor}",
            f"Call-ID: {self._register_id}",
            f"CSeq: {self._register_cseq} REGISTER",
            f"Contact: {self.contact()}{self.instance};expires={expires}",
        ]
        uri = f"sip:{DOMAIN}"
        if self._challenge:
            self._uses += 1
            value = credentials(self._challenge, "REGISTER", uri, self.name, self.password, self._uses)
            lines.append(f"Authorization: {value}")
        asked = self.ask("REGISTER", uri, lines, (self._register_id, self._register_cseq, tag, ""))
        asked.provisional = False
        asked.interval = 0.5
        self._registering = asked
        asked.uri = str(expires)

    def answered(self, asked: Asked, heard: Heard | None) -> None:
        if asked.note.method != "REGISTER":
            super().answered(asked, heard)
        elif asked is self._registering and (heard is None or heard.status >= 200):
            self._registered(int(asked.uri), heard)

    def _registered(self, expires: int, heard: Heard | None) -> None:
        self._registering = None
        if heard is not None and heard.status == 401 and self._register_tries < 2:
            self._register_tries += 1
            self._challenge = heard.get("www-authenticate")
            self._uses = 0
            self._send_register(expires)
        elif heard is not None and heard.status == 200:
            self.registered = expires > 0
            if expires:
                mine = [value for value in heard.headers.get("contact", ()) if f"@{self.host}:" in value]
                granted = int(parameter(mine[0], "expires") or "60") if mine else 60
                self._next_register(granted * self.dice.uniform(0.5, 0.9))
        elif heard is not None and heard.status == 423:
            self.expires = max(self.expires, int(heard.get("min-expires") or "60"))
            self._next_register(1.0)
        else:
            self.registered = False
            self._next_register(self.dice.uniform(5, 40))

    # -- calling ----------------------------------------------------------------------------------------------

    def place_call(self) -> None:
        """Call somebody."""
        if not self.up or self.busy() >= 3:
            return
        dice, sim = self.dice, self.sim
        kind = dice.random()
        if kind < 0.4:
            target = outside(dice)
        elif kind < 0.75:
            target = dice.choice(sim.country.callable_numbers())
        elif kind < 0.9:
            target = dice.choice([phone.name for phone in sim.phones if phone.user != GHOST])
        else:
            target = dice.choice(("112", "+33639981777", "nobody", "12", "+33199", "0899"))
        session = self._call(target)
        self._mind(session)

    def _call(self, target: str, extra: tuple[str, ...] = (), late_offer: bool | None = None) -> Session:
        dice = self.dice
        if self.user == GHOST:
            extra = (*extra, "Privacy: id")
        elif dice.random() < 0.5:
            extra = (*extra, f"P-Preferred-Identity: <sip:{self.sim.country.numbers[self.user]}@{DOMAIN}>")
        late = dice.random() < 0.08 if late_offer is None else late_offer
        return self.call(f"sip:{target}@{DOMAIN}", self.aor, extra, late)

    def _mind(self, session: Session) -> None:
        """How long this caller waits."""
        kind = self.dice.random()
        if kind < 0.1:
            patience = self.dice.uniform(0.0, 0.3)
        elif kind < 0.4:
            patience = self.dice.uniform(0.3, 12.0)
        else:
            patience = self.dice.uniform(12.0, 100.0)
        self.later(patience, self.hang_up_ringing, session)

    def replace(self, other: Session) -> None:
        """Take over a call of a colleague: INVITE with Replaces (RFC 3891)."""
        if not self.up:
            return
        value = f"{other.call_id};to-tag={other.remote_tag};from-tag={other.local_tag}"
        session = self._call(
            "replaced", (f"Replaces: {value}", "Require: replaces"), self.dice.random() < 0.2
        )
        self.sim.audit.transfer_asked(session)
        self.sim.audit.transfer_asked(other)
        self._mind(session)

    # -- being called -----------------------------------------------------------------------------------------

    def on_called(self, session: Session) -> None:
        dice = self.dice
        kind = dice.random()
        if self.busy() >= 2 or kind < 0.06:
            self.later(dice.uniform(0, 0.5), self.refuse, session, 486)
        elif kind < 0.12:
            status = dice.choice(REFUSALS)
            if self.sim.mood.incoming and dice.random() < 0.5:
                status = 603
            self.later(dice.uniform(0.1, 15), self.refuse, session, status)
        elif kind < 0.14:
            return  # not a word
        elif kind < 0.16:
            self.later(dice.uniform(0, 0.05), self.accept, session)
        else:
            self._ring(session)
            if kind < 0.20:
                return  # rings for ever
            self.later(self._until_answer(), self._pick_up, session)
            if kind > 0.96:
                self._ring_twin(session)

    def _until_answer(self) -> float:
        return self.dice.uniform(0.2, 3.0) if self.dice.random() < 0.3 else self.dice.uniform(1.0, 25.0)

    def _ring(self, session: Session) -> None:
        dice = self.dice
        delay = dice.uniform(0.0, 0.8)
        self.later(delay, self.provisional, session, 180, b"", dice.random() < 0.5)
        if dice.random() < 0.12:
            body = sdp(self.index, 1)
            self.later(
                delay + dice.uniform(0.1, 3), self.provisional, session, 183, body, dice.random() < 0.7
            )

    def _ring_twin(self, session: Session) -> None:
        """Behind this address are two phones, and both may answer."""
        twin = self.fork(session)
        if twin is not None:
            self.sim.count("forked calls")
            self.later(self.dice.uniform(0, 1), self.provisional, twin, 180)
            self.later(self._until_answer(), self._pick_up, twin)

    def _pick_up(self, session: Session) -> None:
        if session.state == RINGING and session.reliable is not None:
            self.later(0.5, self._pick_up, session)  # the answer must not overtake its reliable response
        else:
            self.accept(session)

    def answers_cancel(self, session: Session) -> bool:
        if self.dice.random() < 0.1 and session.state == RINGING and session.reliable is None:
            self.sim.count("answers that crossed a CANCEL")
            self.accept(session)
            return True
        return False

    # -- talking ----------------------------------------------------------------------------------------------

    def on_up(self, session: Session) -> None:
        dice = self.dice
        pending = self._consulting.get(session.call_id)
        if pending is not None:
            self.later(dice.uniform(0.2, 4), self._complete_transfer, pending, session)
        if not self.sleepy:
            self.later(dice.expovariate(1 / self.sim.talk_s), self.bye, session)
        self.later(dice.expovariate(1 / self.sim.whim_s), self._act, session)

    def _act(self, session: Session) -> None:
        """Do something in the middle of a call."""
        if session.state != UP or self.sim.is_closing:
            return
        dice = self.dice
        kind = dice.random()
        if kind < 0.2:
            session.on_hold = not session.on_hold
            self.reinvite(session, "sendonly" if session.on_hold else "sendrecv")
        elif kind < 0.28:
            self.reinvite(session, offer=dice.random() < 0.6)
        elif kind < 0.36:
            self.update(session, dice.random() < 0.6)
        elif kind < 0.5:
            body = b"Signal=5\r\nDuration=160\r\n"
            self.in_dialog(session, "INFO", body=body, kind="application/dtmf-relay")
        elif kind < 0.55:
            self.in_dialog(session, dice.choice(("OPTIONS", "MESSAGE")), body=b"hello", kind="text/plain")
        elif kind < 0.67:
            self._transfer_blind(session)
        elif kind < 0.76:
            self._consult(session)
        elif kind < 0.82:
            self.sim.pick_up_elsewhere(self, session)
        elif kind < 0.87:
            self.sleep(dice.uniform(5, 100))
            return
        elif kind < 0.91:
            if self.stream is not None:
                self.sim.network.break_stream(self.stream)
        elif kind < 0.94:
            self.send_garbage(self._sample())
        else:
            self.bye(session)
        self.later(dice.expovariate(1 / self.sim.whim_s), self._act, session)

    def _someone(self) -> str:
        dice, country = self.dice, self.sim.country
        if dice.random() < 0.4:
            return outside(dice)
        return dice.choice(
            [number for user, number in country.numbers.items() if user not in (GHOST, self.user)]
        )

    def _transfer_blind(self, session: Session) -> None:
        if not session.referring:
            self.sim.count("blind transfers")
            self.refer(session, f"sip:{self._someone()}@{DOMAIN}")

    def _consult(self, session: Session) -> None:
        """Call somebody first; when that call stands, both are joined."""
        if session.referring or session.call_id in self._consulting:
            return
        consultation = self._call(self._someone(), late_offer=False)
        self._consulting[consultation.call_id] = session
        self._mind(consultation)

    def _complete_transfer(self, session: Session, consultation: Session) -> None:
        self._consulting.pop(consultation.call_id, None)
        if session.state != UP or consultation.state != UP:
            return
        self.sim.count("attended transfers")
        self.sim.audit.transfer_asked(consultation)
        tags = f"{consultation.call_id};to-tag={consultation.remote_tag};from-tag={consultation.local_tag}"
        self.refer(session, f"sip:consulted@{DOMAIN}?Replaces={quote(tags, safe='~')}")

    def on_refer_progress(self, session: Session, status: int, final: bool) -> None:
        if final and status < 300 and self.dice.random() < 0.7:
            self.later(self.dice.uniform(0.0, 1.0), self.bye, session)

    def on_reinvited(self, session: Session, served: Served) -> None:
        kind = self.dice.random()
        if kind < 0.04:
            self.refuse_reinvite(session, served, self.dice.choice((488, 491, 480, 500)))
        elif kind < 0.25:
            self.later(self.dice.uniform(0.1, 4), self.accept_reinvite, session, served)
        elif kind < 0.26:
            session.open_invite = False  # never answered
        else:
            self.accept_reinvite(session, served)

    def on_over(self, session: Session) -> None:
        self._consulting.pop(session.call_id, None)

    def close(self) -> None:
        """The run ends: hang up everything."""
        for session in list(self.sessions.values()):
            if session.state == UP:
                self.later(self.dice.uniform(0, 20), self.bye, session)
            elif session.state == CALLING:
                self.later(self.dice.uniform(0, 20), self.hang_up_ringing, session)

    # -- rubbish ----------------------------------------------------------------------------------------------

    def _sample(self) -> bytes:
        branch = self.new_id("z9hG4bK")
        text = (
            f"OPTIONS sip:{DOMAIN} SIP/2.0\r\n{self.via(branch)}\r\nMax-Forwards: 70\r\n"
            f"From: {self.aor};tag={self.new_id('f')}\r\nTo: <sip:{DOMAIN}>\r\nCall-ID: {self.new_id('g')}\r\n"
            f"CSeq: 1 OPTIONS\r\nContact: {self.contact()}\r\nContent-Length: 0\r\n\r\n"
        )
        return text.encode()


__all__ = ["Note", "Phone"]
