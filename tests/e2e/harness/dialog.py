"""One leg of a call of a scripted endpoint: tags, route set, remote target, sequence numbers."""

from __future__ import annotations

from collections.abc import Sequence

from loadtests.phone import authorization
from tests.e2e.harness import sip
from tests.e2e.harness.agent import Agent
from tests.e2e.harness.sip import Message


class Leg:
    """A dialog, or what may become one.  Made by `dial` or `answering`."""

    def __init__(self, agent: Agent, call_id: str, local: str, remote: str, target: str, cseq: int) -> None:
        self.agent = agent
        self.call_id = call_id
        self.local = local
        """From of our requests, with our tag."""
        self.remote = remote
        """To of our requests, with the peer's tag once it is known."""
        self.target = target
        self.cseq = cseq
        self.routes: list[str] = []
        self.invite: Message | None = None
        """The INVITE we received."""
        self.invite_text = ""
        self.invite_via = ""
        self.answer: Message | None = None
        """The 2xx we received."""
        self.invite_cseq = cseq

    # ---- caller

    @classmethod
    def dial(
        cls,
        agent: Agent,
        called: str,
        caller: str,
        *,
        headers: Sequence[tuple[str, str]] = (),
        body: str | None = None,
        to_server: bool = True,
        call_id: str = "",
    ) -> Leg:
        """Send an INVITE.  ``called``, ``caller``: user parts or whole URIs; body None: the usual offer; without ``call_id`` one is
        made up."""
        host = f"{agent.server[0]}:{agent.server[1]}" if to_server and not agent.user else agent.domain
        uri = called if ":" in called else f"sip:{called}@{host}"
        own = f"{agent.wire.host}" if not agent.user else agent.domain
        local_uri = caller if ":" in caller else f"sip:{caller}@{own}"
        leg = cls(agent, call_id or sip.new_id(), f"<{local_uri}>;tag={sip.new_id()[:8]}", f"<{uri}>", uri, 1)
        leg.send_invite(headers, agent.sdp() if body is None else body)
        return leg

    def send_invite(self, headers: Sequence[tuple[str, str]] = (), body: str = "") -> None:
        """The first INVITE, or a re-INVITE when the dialog is up."""
        self.invite_via = self.agent.via
        self.invite_cseq = self.cseq
        all_headers = [*self._head("INVITE", self.invite_via), ("Contact", self.agent.contact)]
        all_headers += [("Allow", "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE, PRACK, REFER, NOTIFY")]
        self.invite_text = sip.build(f"INVITE {self.target} SIP/2.0", [*all_headers, *headers], body)
        self.agent.send(self.invite_text)

    def dial_with_credentials(self, body: str | None = None, headers: Sequence[tuple[str, str]] = ()) -> None:
        """Answer the 401 or 407 that the INVITE got: ACK it, and send the INVITE again.

        A server may trust the connection that the phone registered over: then nothing is done.
        """
        first = self.agent.expect(
            lambda m: m.call_id == self.call_id and not m.is_request and m.status > 100, "answer to INVITE"
        )
        if first.status not in (401, 407):
            self.agent.inbox.insert(0, first)
            return
        challenge = first
        self.ack_failure(challenge)
        name = "Authorization" if challenge.status == 401 else "Proxy-Authorization"
        value = authorization(
            Agent.choose_challenge(challenge), "INVITE", self.target, self.agent.user, self.agent.password
        )
        self.cseq += 1
        self.send_invite([(name, value), *headers], self.agent.sdp() if body is None else body)

    def expect_final(self, low: int, high: int = 0, timeout: float = 6.0) -> Message:
        return self.agent.expect_response("INVITE", low, high, timeout, self.call_id)

    def expect_provisional(self, status: int, timeout: float = 6.0) -> Message:
        message = self.agent.expect_response("INVITE", status, 0, timeout, self.call_id)
        self._learn(message)
        return message

    def expect_answer(self, timeout: float = 6.0, body: str = "") -> Message:
        """Wait for the 2xx of our INVITE and acknowledge it."""
        message = self.expect_final(200, 299, timeout)
        self._learn(message)
        self.answer = message
        self.ack(body)
        return message

    def expect_failure(self, low: int = 300, high: int = 699, timeout: float = 8.0) -> Message:
        """Wait for the refusal of our INVITE and acknowledge it."""
        message = self.expect_final(low, high if high >= low else low, timeout)
        self.ack_failure(message)
        return message

    def ack(self, body: str = "") -> None:
        """ACK to a 2xx: a request of its own."""
        headers = self._head("ACK", self.agent.via, self.invite_cseq)
        self.agent.send(sip.build(f"ACK {self.target} SIP/2.0", headers, body))

    def ack_failure(self, final: Message) -> None:
        """ACK to a refusal: belongs to the INVITE, same branch."""
        invite = sip.parse(self.invite_text)
        headers = [
            ("Via", self.invite_via),
            ("Max-Forwards", "70"),
            ("From", self.local),
            ("To", final.get("to")),
        ]
        headers += [("Call-ID", self.call_id), ("CSeq", f"{self.invite_cseq} ACK")]
        self.agent.send(sip.build(f"ACK {invite.uri} SIP/2.0", headers))

    def cancel(self, headers: Sequence[tuple[str, str]] = ()) -> None:
        invite = sip.parse(self.invite_text)
        own = [
            ("Via", self.invite_via),
            ("Max-Forwards", "70"),
            ("From", self.local),
            ("To", invite.get("to")),
        ]
        own += [("Call-ID", self.call_id), ("CSeq", f"{self.invite_cseq} CANCEL"), *headers]
        self.agent.send(sip.build(f"CANCEL {invite.uri} SIP/2.0", own))
        self.agent.expect_response("CANCEL", 200, call_id=self.call_id)

    # ---- callee

    @classmethod
    def answering(cls, agent: Agent, timeout: float = 5.0) -> Leg:
        """Wait for a call."""
        invite = agent.expect(
            lambda m: m.method == "INVITE" and m.is_request and not m.tag("to"), "INVITE", timeout
        )
        tag = sip.new_id()[:8]
        leg = cls(
            agent, invite.call_id, f"{invite.get('to')};tag={tag}", invite.get("from"), invite.contact_uri, 0
        )
        leg.invite = invite
        leg.routes = invite.items("record-route")
        return leg

    @property
    def tag(self) -> str:
        return self.local.split(";tag=")[1]

    def ring(self, status: int = 180, body: str = "", headers: Sequence[tuple[str, str]] = ()) -> None:
        assert self.invite is not None
        self.agent.respond(self.invite, status, headers, body, self.tag)

    def accept(self, body: str | None = None, headers: Sequence[tuple[str, str]] = ()) -> Message:
        """Answer 200 and wait for the ACK."""
        assert self.invite is not None
        answer = self.agent.sdp() if body is None else body
        self.agent.respond(self.invite, 200, headers, answer, self.tag)
        return self.agent.expect_request("ACK", call_id=self.call_id)

    def pick_up(self) -> None:
        """Answer 200, whatever comes of it."""
        assert self.invite is not None
        self.agent.respond(self.invite, 200, (), self.agent.sdp(), self.tag)

    def refuse(self, status: int, headers: Sequence[tuple[str, str]] = ()) -> None:
        assert self.invite is not None
        self.agent.respond(self.invite, status, headers, "", self.tag)
        self.agent.expect_request("ACK", call_id=self.call_id)

    def expect_cancel(self, timeout: float = 5.0) -> Message:
        """The CANCEL of our call: it is answered, the INVITE gets 487, and the ACK is awaited."""
        assert self.invite is not None
        cancel = self.agent.expect_request("CANCEL", timeout, self.call_id)
        self.agent.respond(cancel, 200, tag=self.tag)
        self.refuse(487)
        return cancel

    # ---- both

    def request(self, method: str, headers: Sequence[tuple[str, str]] = (), body: str = "") -> Message:
        """An in-dialog request but INVITE; its final response."""
        self.cseq += 1
        own = [h for h in self._head(method, "") if h[0] not in ("Via", "Max-Forwards")]
        if method in ("UPDATE", "REFER", "SUBSCRIBE"):
            own.append(("Contact", self.agent.contact))
        return self.agent.transact(method, self.target, [*own, *headers], body)

    def request_text(self, method: str, body: str = "", content_type: str = "") -> str:
        """The text of an in-dialog request, for a test that sends it and plays both sides."""
        self.cseq += 1
        return sip.build(
            f"{method} {self.target} SIP/2.0", self._head(method, self.agent.via), body, content_type
        )

    def prack(self, provisional: Message) -> None:
        """Acknowledge a reliable provisional response (RFC 3262 section 4)."""
        self.cseq += 1
        rack = f"{provisional.get('rseq')} {self.invite_cseq} INVITE"
        headers = [*self._head("PRACK", self.agent.via), ("RAck", rack)]
        self.agent.send(sip.build(f"PRACK {self.target} SIP/2.0", headers))
        self.agent.expect_response("PRACK", 200, call_id=self.call_id)

    def reinvite(self, body: str, headers: Sequence[tuple[str, str]] = ()) -> None:
        self.cseq += 1
        self.send_invite(headers, body)

    def hang_up(self) -> Message:
        reply = self.request("BYE")
        assert reply.status == 200, f"BYE was answered {reply.start}\n{self.agent.story()}"
        return reply

    def expect_hang_up(self, timeout: float = 5.0) -> Message:
        bye = self.agent.expect_request("BYE", timeout, self.call_id)
        self.agent.respond(bye, 200)
        return bye

    def _learn(self, message: Message) -> None:
        if message.tag("to"):
            self.remote = message.get("to")
        if message.contact_uri:
            self.target = message.contact_uri
        routes = message.items("record-route")
        if routes:
            self.routes = routes[::-1]

    def _head(self, method: str, via: str, cseq: int = 0) -> list[tuple[str, str]]:
        return [
            ("Via", via),
            ("Max-Forwards", "70"),
            *(("Route", route) for route in self.routes),
            ("From", self.local),
            ("To", self.remote),
            ("Call-ID", self.call_id),
            ("CSeq", f"{cseq or self.cseq} {method}"),
        ]
