"""Carriers' gateways: they call cloud numbers and terminate calls to the outside world, each with a character of its own."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from tests.simulation.country import TRUNK_PASSWORD, hidden_caller, open_caller
from tests.simulation.network import SERVER, Stream
from tests.simulation.party import DOMAIN, PLAIN_ALLOW
from tests.simulation.session import CALLING, RINGING, UP, Served, Session
from tests.simulation.talker import Talker
from tests.simulation.text import Heard, parameter, sdp

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

REFUSALS = (
    300,
    302,
    400,
    403,
    404,
    408,
    410,
    415,
    480,
    484,
    486,
    487,
    488,
    500,
    501,
    502,
    503,
    503,
    504,
    600,
    603,
)


class Carrier(Talker):
    """One peer of a trunk."""

    is_trunk = True

    def __init__(self, sim: Simulation, name: str, host: str, transport: str, challenges: bool) -> None:
        super().__init__(sim, name, host, transport)
        self.setup()
        self.is_trunk = self.accepts_streams = True
        dice = self.dice
        self.challenges = challenges
        self.knows_100rel = dice.random() < 0.5
        self.session_interval = dice.choice((0, 90, 150, 300))
        self.holds_bye = dice.random() < 0.9
        if dice.random() < 0.3:
            self.allow = PLAIN_ALLOW
        self.failing_until = 0.0
        """Until when it answers 503, or nothing at all."""
        self.silent = False
        self._nonces: dict[str, None] = {}

    def wake(self) -> None:
        self.later(self.dice.expovariate(1 / 600), self._fail)

    def _fail(self) -> None:
        """A bad hour of this peer."""
        if self.sim.is_closing:
            return
        self.silent = self.dice.random() < 0.5
        self.failing_until = self.clock.now + self.dice.uniform(5, 60)
        if self.stream is not None and self.dice.random() < 0.5:
            self.sim.network.break_stream(self.stream)
        self.later(self.dice.expovariate(1 / 600), self._fail)

    def hear(self, heard: Heard, life: int, stream: Stream | None = None) -> None:
        if stream is not None and self.transport == "tcp" and self.stream is None:
            self.stream = stream  # the server opened it; we use it as well
        if self.clock.now < self.failing_until and self.silent and heard.is_request and not heard.to_tag:
            return
        super().hear(heard, life, stream)

    # -- calling ----------------------------------------------------------------------------------------------

    def place_call(self) -> None:
        """Somebody outside calls a cloud number."""
        dice = self.dice
        if dice.random() < 0.93:
            number = dice.choice(self.sim.country.callable_numbers())
        else:
            number = dice.choice(("+33639981777", "0639981000", "+4477009", "x"))
        hides = dice.random() < 0.2
        if hides:
            shown = hidden_caller(dice)
            extra = (f"P-Asserted-Identity: <sip:{shown}@{self.host}>", "Privacy: id")
            caller = '"Anonymous" <sip:anonymous@anonymous.invalid>'
        else:
            shown = open_caller(dice)
            extra = (f"P-Asserted-Identity: <sip:{shown}@{self.host}>", "User-Agent: gateway" + self.mark)
            caller = f"<sip:{shown}@{self.host}>"
        session = self.call(f"sip:{number}@{SERVER}", caller, extra, dice.random() < 0.08)
        self.sim.incoming.asked_for(session.call_id, number, shown, hides)
        kind = dice.random()
        patience = dice.uniform(0, 0.4) if kind < 0.08 else dice.uniform(0.4, 90.0)
        self.later(patience, self.hang_up_ringing, session)

    # -- being called -----------------------------------------------------------------------------------------

    def _called(self, served: Served) -> None:
        if self.challenges and not self._may_come_in(served):
            return
        super()._called(served)

    def _may_come_in(self, served: Served) -> bool:
        """Ask for credentials, and check what comes."""
        value = served.request.get("proxy-authorization")
        nonce = parameter(value, "nonce")
        if not value or nonce not in self._nonces:
            nonce = self.new_id("nonce").replace("~", "")
            if len(self._nonces) > 200:
                self._nonces.clear()
            self._nonces[nonce] = None
            stale = ", stale=true" if value else ""
            header = f'Proxy-Authenticate: Digest realm="carrier.example", nonce="{nonce}", qop="auth"{stale}'
            self.respond(served, 407, (header,), to_tag=self.new_id("t"))
            return False
        self._check(value, nonce, served.request)
        return True

    def _check(self, value: str, nonce: str, request: Heard) -> None:
        def hashed(text: str) -> str:
            return hashlib.md5(text.encode()).hexdigest()

        secret = hashed(f"{parameter(value, 'username')}:carrier.example:{TRUNK_PASSWORD}")
        rest = f"{nonce}:{parameter(value, 'nc')}:{parameter(value, 'cnonce')}:auth"
        expected = hashed(f"{secret}:{rest}:{hashed('INVITE:' + request.uri)}")
        if parameter(value, "response") != expected:
            self.sim.blame("wrong credentials", f"{self.name} cannot verify {value}", request.call_id)

    def on_called(self, session: Session) -> None:
        dice, now = self.dice, self.clock.now
        served = session.served
        if now < self.failing_until:
            self.refuse(session, 503)
            return
        kind = dice.random()
        if kind < 0.03:
            return  # not a word
        if served is not None and kind < 0.9:
            self.respond(served, 100)
        if kind < 0.15:
            lines = (f"Contact: <sip:elsewhere@{self.host}>",) if dice.random() < 0.3 else ()
            self.later(dice.uniform(0, 4), self.refuse, session, dice.choice(REFUSALS), lines)
            return
        if kind < 0.18:
            return  # 100 and nothing more
        delay = dice.uniform(0.1, 2.5)
        if dice.random() < 0.4:
            self.later(delay, self.provisional, session, 183, sdp(self.index, 1), dice.random() < 0.5)
            if dice.random() < 0.2:
                self.later(delay + 1, self.provisional, session, 183, sdp(self.index, 2))
        else:
            self.later(delay, self.provisional, session, 180, b"", dice.random() < 0.3)
        if kind < 0.24:
            return  # rings for ever
        self.later(delay + dice.uniform(0.1, 20.0), self._pick_up, session)
        if kind > 0.97:
            twin = self.fork(session)
            if twin is not None:
                self.sim.count("forked calls")
                self.later(delay + 0.2, self.provisional, twin, 180)
                self.later(delay + dice.uniform(0.5, 20.0), self._pick_up, twin)

    def _pick_up(self, session: Session) -> None:
        if session.state == RINGING and session.reliable is not None:
            self.later(0.5, self._pick_up, session)
        else:
            self.accept(session)

    def answers_cancel(self, session: Session) -> bool:
        if self.dice.random() < 0.1 and session.state == RINGING and session.reliable is None:
            self.accept(session)
            return True
        return False

    # -- talking ----------------------------------------------------------------------------------------------

    def on_up(self, session: Session) -> None:
        self.later(self.dice.expovariate(1 / self.sim.talk_s), self.bye, session)
        self.later(self.dice.expovariate(1 / self.sim.whim_s), self._act, session)

    def _act(self, session: Session) -> None:
        if session.state != UP or self.sim.is_closing:
            return
        dice = self.dice
        kind = dice.random()
        if kind < 0.4:
            self.reinvite(session, offer=dice.random() < 0.8)
        elif kind < 0.6:
            self.update(session, dice.random() < 0.5)
        elif kind < 0.75:
            self.in_dialog(
                session, "INFO", body=b"Signal=1\r\nDuration=100\r\n", kind="application/dtmf-relay"
            )
        elif kind < 0.8:
            self.refer(session, f"sip:+33199001234@{DOMAIN}")  # carriers may not
        elif self.stream is not None and kind < 0.85:
            self.sim.network.break_stream(self.stream)
        self.later(dice.expovariate(1 / self.sim.whim_s), self._act, session)

    def on_reinvited(self, session: Session, served: Served) -> None:
        kind = self.dice.random()
        if kind < 0.06:
            self.refuse_reinvite(session, served, self.dice.choice((488, 491, 500, 503)))
        elif kind < 0.2:
            self.later(self.dice.uniform(0.1, 3), self.accept_reinvite, session, served)
        else:
            self.accept_reinvite(session, served)

    def close(self) -> None:
        """The run ends: hang up everything."""
        for session in list(self.sessions.values()):
            if session.state == UP:
                self.later(self.dice.uniform(0, 20), self.bye, session)
            elif session.state == CALLING:
                self.later(self.dice.uniform(0, 20), self.hang_up_ringing, session)
