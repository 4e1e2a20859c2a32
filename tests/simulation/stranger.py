"""Strangers: scanners, guessers of passwords, and senders of rubbish.  They must learn nothing and break nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.simulation.network import SERVER
from tests.simulation.party import DOMAIN
from tests.simulation.session import Asked
from tests.simulation.talker import Talker
from tests.simulation.text import Heard, credentials, sdp

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation


class Stranger(Talker):
    """An address that nobody knows."""

    def __init__(self, sim: Simulation, name: str, host: str) -> None:
        super().__init__(sim, name, host)
        self.setup()
        self._known: dict[str, tuple[bool, str]] = {}
        """Branch of a request -> whether it named a user that there is, and what kind it was."""
        self._tries = 0

    def wake(self) -> None:
        self.later(self.dice.expovariate(1 / self.sim.stranger_s), self._bother)

    def _bother(self) -> None:
        if self.sim.is_closing:
            return
        dice = self.dice
        kind = dice.random()
        if kind < 0.3:
            self._request("REGISTER")
        elif kind < 0.6:
            self._request("INVITE")
        elif kind < 0.7:
            self._request("OPTIONS")
        elif kind < 0.8:
            self._request(dice.choice(("BYE", "SUBSCRIBE", "NOTIFY", "INFO", "REFER", "CANCEL", "MESSAGE")))
        else:
            self.send_garbage(self._sample() if dice.random() < 0.8 else dice.randbytes(dice.randint(1, 400)))
        self.later(dice.expovariate(1 / self.sim.stranger_s), self._bother)

    def _request(self, method: str) -> None:
        dice = self.dice
        is_known = dice.random() < 0.5
        known = dice.choice(self.sim.phones).name if is_known else f"{dice.randrange(1000)}"
        tag, call_id = self.new_id("f"), self.new_id("scan")
        aor = f"<sip:{known}@{DOMAIN}>"
        target = f"sip:{DOMAIN}" if method == "REGISTER" else f"sip:{dice.randrange(10**6)}@{SERVER}"
        lines = [
            f"From: {aor};tag={tag}",
            f"To: {aor}" if method == "REGISTER" else f"To: <{target}>",
            f"Call-ID: {call_id}",
            f"CSeq: 1 {method}",
            f"Contact: {self.contact()}",
        ]
        guesses = dice.random() < 0.4
        if guesses:
            challenge = f'Digest realm="{DOMAIN}", nonce="{dice.randbytes(8).hex()}"'
            lines.append(f"Authorization: {credentials(challenge, method, target, known, 'guess', 1)}")
        body = sdp(self.index, 1) if method == "INVITE" else b""
        asked = self.ask(method, target, lines, (call_id, 1, tag, ""), None, body)
        if len(self._known) > 1000:
            self._known.clear()
        self._known[asked.note.branch] = (is_known, f"{method} {'guess' if guesses else 'bare'}")

    def answered(self, asked: Asked, heard: Heard | None) -> None:
        if heard is None or heard.status < 200:
            return
        known, kind = self._known.get(asked.note.branch, (False, ""))
        method = asked.note.method
        if heard.status < 300 and method != "OPTIONS":
            self.sim.blame("stranger let in", f"{self.name} got {heard.status} to {kind}", asked.note.call_id)
        self.sim.audit.stranger_saw(kind, known, heard.status)

    def _sample(self) -> bytes:
        method = self.dice.choice(("INVITE", "REGISTER", "OPTIONS", "BYE", "ACK", "CANCEL", "PUBLISH"))
        text = (
            f"{method} sip:{self.dice.randrange(999)}@{SERVER} SIP/2.0\r\n{self.via(self.new_id('z9hG4bK'))}\r\n"
            f"Max-Forwards: 70\r\nFrom: <sip:a@{DOMAIN}>;tag={self.new_id('f')}\r\nTo: <sip:b@{DOMAIN}>\r\n"
            f"Call-ID: {self.new_id('scan')}\r\nCSeq: 1 {method}\r\nContact: {self.contact()}\r\n"
            "Content-Length: 0\r\n\r\n"
        )
        return text.encode()
