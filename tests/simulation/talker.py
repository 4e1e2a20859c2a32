"""A party that makes and takes calls: the INVITE usage as a softphone or a carrier's gateway has it (RFC 3261 §12 to §15).

It keeps to the RFCs where its character does not say otherwise, and says so when the server does not.  What it *does* with
its calls is decided by its subclasses through the ``on_...`` hooks.
"""

from __future__ import annotations

from tests.simulation import session as states
from tests.simulation.party import ALLOW, DOMAIN, PATIENCE, T1, T2, Party
from tests.simulation.session import ANSWERED, CALLING, LEAVING, OVER, RINGING, UP, Asked, Served, Session
from tests.simulation.text import Heard, Note, credentials, parameter, sdp, uri_of, write


class Talker(Party):
    """See the module."""

    password = ""
    allow = ALLOW
    knows_100rel = False
    requires_100rel = False
    session_interval = 0
    """Session-Expires that it asks for; 0: it does not know of session timers."""
    holds_bye = True
    """As a callee it says BYE only after the ACK (§15)."""

    def setup(self) -> None:
        """Tables; called by the constructors of the subclasses."""
        self.sessions: dict[str, Session] = {}

    # -- hooks ------------------------------------------------------------------------------------------------

    def on_called(self, session: Session) -> None:
        """An INVITE came: ring, answer, refuse, or let it be."""

    def on_progress(self, session: Session, heard: Heard) -> None:
        """An own INVITE has a provisional response."""

    def on_up(self, session: Session) -> None:
        """The call stands."""

    def on_over(self, session: Session) -> None:
        """The call is over, or came to nothing."""

    def on_refer_progress(self, session: Session, status: int, final: bool) -> None:
        """A NOTIFY tells how a transfer goes."""

    # -- the table of calls -----------------------------------------------------------------------------------

    def enter(self, session: Session, state: str) -> None:
        """Change the state of a call."""
        before = session.state
        if before in (LEAVING, OVER) and state != OVER:
            return
        session.state = state
        self.sim.audit.state_changed(self, session, before)
        if state == UP and before != UP:
            session.up_at = self.clock.now
            self.on_up(session)
        elif state == OVER and before != OVER:
            session.over_at = self.clock.now
            self.later(2 * PATIENCE, self._forget, session)
            self.on_over(session)

    def _forget(self, session: Session) -> None:
        self.sessions.pop(f"{session.call_id}|{session.local_tag}", None)

    def _add(self, session: Session) -> None:
        self.sessions[f"{session.call_id}|{session.local_tag}"] = session

    def find(self, heard: Heard) -> Session | None:
        """The call that a request of the server belongs to."""
        return self.sessions.get(f"{heard.call_id}|{heard.to_tag}")

    def live(self) -> list[Session]:
        return [each for each in self.sessions.values() if each.state == UP]

    def busy(self) -> int:
        return sum(1 for each in self.sessions.values() if each.state in (ANSWERED, UP))

    def die(self) -> None:
        for session in list(self.sessions.values()):
            if session.state not in (LEAVING, OVER):
                session.dead = True
                session.state = OVER
                self.sim.audit.state_changed(self, session, UP)
        self.sessions.clear()
        super().die()

    # -- calling ----------------------------------------------------------------------------------------------

    def call(self, uri: str, caller: str, extra: tuple[str, ...] = (), late_offer: bool = False) -> Session:
        """Send an INVITE; ``caller`` is the From value without tag."""
        tag = self.new_id("f")
        session = Session(self.new_id("call") + f"@{self.name}", f"{caller};tag={tag}", tag, True, self.life)
        session.remote = f"<{uri}>"
        session.request_uri = session.target = uri
        session.extra = extra
        session.late_offer = late_offer
        session.offer = b"" if late_offer else sdp(self.index, session.version)
        self._add(session)
        self._invite(session)
        return session

    def _invite(self, session: Session) -> None:
        session.cseq += 1
        session.invite_cseq = session.cseq
        lines = [
            f"From: {session.local}",
            f"To: {session.remote}",
            f"Call-ID: {session.call_id}",
            f"CSeq: {session.cseq} INVITE",
            f"Contact: {self.contact()}",
            self.allow,
            *self._offers_timer(session.timer),
            *session.extra,
        ]
        if session.credentials:
            lines.append(session.credentials)
        ids = (session.call_id, session.cseq, session.local_tag, "")
        asked = self.ask("INVITE", session.request_uri, lines, ids, session, session.offer)
        session.branch = asked.note.branch

    def _offers_timer(self, interval: int) -> list[str]:
        supported = [
            name for name, has in (("100rel", self.knows_100rel), ("timer", self.session_interval)) if has
        ]
        lines = [f"Supported: {', '.join(supported)}"] if supported else []
        if self.session_interval:
            lines.append(f"Session-Expires: {max(self.session_interval, interval)}")
            if interval:
                lines.append(f"Min-SE: {interval}")
        if self.requires_100rel:
            lines.append("Require: 100rel")
        return lines

    def hang_up_ringing(self, session: Session) -> None:
        """Give up a call that nobody answered: CANCEL, as soon as it may be sent (§9.1)."""
        if session.state != CALLING or session.cancelled:
            return
        session.cancelled = True
        asked = self.requests.get(f"{session.branch}|INVITE")
        if asked is not None and asked.provisional and not asked.done:
            self._send_cancel(session, asked)

    def _send_cancel(self, session: Session, asked: Asked) -> None:
        lines = [
            f"From: {session.local}",
            f"To: <{session.request_uri}>" if not session.replaced else f"To: {session.remote}",
            f"Call-ID: {session.call_id}",
            f"CSeq: {asked.note.cseq} CANCEL",
        ]
        ids = (session.call_id, asked.note.cseq, session.local_tag, "")
        self.ask("CANCEL", asked.uri, lines, ids, session, branch=asked.note.branch)
        self.extend(asked)

    def answered(self, asked: Asked, heard: Heard | None) -> None:
        session = asked.session
        method = asked.note.method
        if session is None or method == "CANCEL":
            return
        if method == "INVITE":
            if session.own_invite is asked or asked.note.to_tag:
                self._reinvite_answered(session, asked, heard)
            else:
                self._invite_answered(session, asked, heard)
        elif method == "BYE":
            if heard is None or heard.status >= 200:
                self._bye_answered(session, heard)
        elif method == "UPDATE":
            self._update_answered(session, asked, heard)
        elif method == "REFER":
            if heard is not None and heard.status >= 300:
                session.referring = False
                self.on_refer_progress(session, heard.status, True)
        elif heard is not None and heard.status == 481 and session.state == UP:
            self.enter(session, OVER)

    def _bye_answered(self, session: Session, heard: Heard | None) -> None:
        if heard is not None and heard.status in (401, 407):
            self.sim.blame(
                "challenged BYE", f"{self.name}: BYE in a dialog got {heard.status}", session.call_id
            )
        self.enter(session, OVER)

    def _invite_answered(self, session: Session, asked: Asked, heard: Heard | None) -> None:
        if heard is None:
            self.enter(session, OVER)
            return
        status = heard.status
        if status < 300 and session.auth_tries and heard.cseq != session.invite_cseq:
            # a process challenged this INVITE after another one had taken it: it is over, and another is under way
            self.sim.count("answers to an INVITE that was challenged")
        elif status < 200:
            self._progress(session, asked, heard)
        elif status < 300:
            self._success(session, heard)
        elif session.state == CALLING:
            if status in (401, 407) and self._log_in(session, heard):
                return
            if status == 422 and self.session_interval and session.timer == 0 and not session.cancelled:
                session.timer = int(heard.get("min-se") or "0") or 1800
                self._invite(session)
                return
            session.status = status
            self.enter(session, OVER)

    def _log_in(self, session: Session, heard: Heard) -> bool:
        name = "proxy-authenticate" if heard.status == 407 else "www-authenticate"
        offered = heard.headers.get(name)
        stale = offered is not None and parameter(offered[0], "stale").lower() == "true"
        if not offered or not self.password or session.cancelled:
            return False
        if session.auth_tries >= (2 if stale else 1):
            return False
        session.auth_tries += 1
        value = credentials(
            offered[0], "INVITE", session.request_uri, self.name, self.password, session.auth_tries
        )
        header = "Proxy-Authorization" if heard.status == 407 else "Authorization"
        session.credentials = f"{header}: {value}"
        self._invite(session)
        return True

    def _progress(self, session: Session, asked: Asked, heard: Heard) -> None:
        if session.state != CALLING:
            return
        if session.cancelled:
            if f"{session.branch}|CANCEL" not in self.requests:
                self._send_cancel(session, asked)
            return
        if heard.status == 100 or not heard.to_tag:
            return
        tag = heard.to_tag
        if tag not in session.early_tags:
            session.early_tags.append(tag)
        session.remote = heard.get("to")
        contact = heard.get("contact")
        session.target = uri_of(contact) if contact else session.request_uri
        if heard.has_token("require", "100rel"):
            rseq = int(heard.get("rseq"))
            last = session.rseqs.get(tag)
            if last is not None and rseq <= last:
                return  # our PRACK is on its way
            if last is not None and rseq != last + 1:
                return
            session.rseqs[tag] = rseq
            self.in_dialog(session, "PRACK", (f"RAck: {rseq} {heard.cseq} INVITE",), tag=tag)
        self.on_progress(session, heard)

    def _success(self, session: Session, heard: Heard) -> None:
        tag = heard.to_tag
        if session.remote_tag:
            if tag != session.remote_tag:
                self.sim.blame("two answers", f"{self.name} got two answers with two tags", session.call_id)
            ack = session.ack_data.get(heard.cseq)
            if ack is not None:
                self.send(ack, self.my_stream())
            return
        session.remote_tag = tag
        session.remote = heard.get("to")
        contact = heard.get("contact")
        session.target = uri_of(contact) if contact else session.request_uri
        session.status = heard.status
        if not contact:
            self.sim.blame("2xx without Contact", self.name, session.call_id)
        body = b""
        if session.late_offer:
            if not heard.body:
                self.sim.blame(
                    "no offer", f"{self.name}: 2xx to an INVITE without offer has none", session.call_id
                )
            body = sdp(self.index, session.version)
        self.acknowledge(session, heard.cseq, body)
        self._agree_timer(session, heard)
        crossed = session.cancelled
        self.enter(session, UP)
        if crossed:
            self.bye(session)

    def acknowledge(self, session: Session, cseq: int, body: bytes = b"") -> None:
        """ACK of a 2xx (§13.2.2.4)."""
        branch = self.new_id("z9hG4bK")
        lines = [
            self.via(branch),
            "Max-Forwards: 70",
            f"From: {session.local}",
            f"To: {session.remote}",
            f"Call-ID: {session.call_id}",
            f"CSeq: {cseq} ACK",
        ]
        data = self.spelled(write(f"ACK {session.target} SIP/2.0", lines, body))
        ids = (session.call_id, cseq, session.local_tag, session.remote_tag)
        note = Note(data, "ACK", 0, branch, *ids)
        session.ack_data[cseq] = note
        self.send(note, self.my_stream())

    # -- being called -----------------------------------------------------------------------------------------

    def requested(self, served: Served) -> None:
        request = served.request
        if request.to_tag:
            session = self.find(request)
            if session is None or session.state == OVER:
                done = request.method == "BYE" and session is not None
                self.respond(served, 200 if done else 481)
            else:
                self._in_dialog_request(session, served)
        elif request.method == "INVITE":
            self._called(served)
        elif request.method == "OPTIONS":
            self.respond(served, 200, (self.allow,), to_tag=self.new_id("t"))
        else:
            self.respond(served, 481, to_tag=self.new_id("t"))

    def _called(self, served: Served) -> None:
        session = self._callee_session(served)
        self.on_called(session)

    def _callee_session(self, served: Served) -> Session:
        request = served.request
        tag = self.new_id("t")
        session = Session(request.call_id, f"{request.get('to')};tag={tag}", tag, False, self.life)
        session.remote = request.get("from")
        session.remote_tag = request.from_tag
        session.remote_cseq = request.cseq
        session.target = uri_of(request.get("contact"))
        session.late_offer = not request.body
        session.served = served
        if served.session is None:
            served.session = session
        self._add(session)
        return session

    def fork(self, session: Session) -> Session | None:
        """A second phone behind this party, as behind a forking proxy: another To tag for the same INVITE."""
        if session.served is None:
            return None
        twin = self._callee_session(session.served)
        session.forks.append(twin)
        return twin

    def provisional(self, session: Session, status: int, body: bytes = b"", reliable: bool = False) -> None:
        """180, 183 ... of a call that rings."""
        served = session.served
        if served is None or session.state != RINGING or served.final:
            return
        lines = [f"Contact: {self.contact()}", self.allow]
        can = served.request.has_token("supported", "100rel") or served.request.has_token("require", "100rel")
        if reliable and can and session.reliable is None:
            session.rseq += 1
            lines += ["Require: 100rel", f"RSeq: {session.rseq}"]
            note = self.respond(served, status, lines, body, session.local_tag)
            session.reliable = note
            self.later(T1, self._repeat_reliable, session, note, T1, self.clock.now + PATIENCE)
        else:
            self.respond(served, status, lines, body, session.local_tag)

    def _repeat_reliable(self, session: Session, note: Note, interval: float, stop_at: float) -> None:
        served = session.served
        if session.reliable is not note or session.state != RINGING or served is None or served.final:
            return
        if self.clock.now >= stop_at:
            self.refuse(session, 504)
            return
        self.send(note, served.stream)
        self.later(interval * 2, self._repeat_reliable, session, note, interval * 2, stop_at)

    def accept(self, session: Session) -> None:
        """2xx to the INVITE that rings."""
        served = session.served
        if served is None or session.state != RINGING or (served.final and served.final >= 300):
            return
        body = sdp(self.index, session.version)
        lines = [f"Contact: {self.contact()}", self.allow, *self._grants_timer(session, served.request)]
        session.status = 200
        self.enter(session, ANSWERED)
        self._respond_until_ack(session, served, lines, body)

    def _respond_until_ack(self, session: Session, served: Served, lines: list[str], body: bytes) -> None:
        note = self.respond(served, 200, lines, body, session.local_tag)
        stop_at = self.clock.now + PATIENCE
        session.unacked[served.request.cseq] = (served, stop_at)
        self.later(T1, self._accept_again, session, served, note, T1)

    def _accept_again(self, session: Session, served: Served, note: Note, interval: float) -> None:
        waiting = session.unacked.get(served.request.cseq)
        if waiting is None or waiting[0] is not served:
            return
        if self.clock.now >= waiting[1]:
            del session.unacked[served.request.cseq]
            if session.state in (ANSWERED, UP):
                self.sim.audit.no_ack(self, session)
                self.bye(session)
            return
        self.send(note, served.stream)
        interval = min(interval * 2, T2)
        # 64*T1 is a deadline of its own (RFC 3261 §13.3.1.4): the server that waits for its caller's ACK may wait longer
        after = min(interval, waiting[1] - self.clock.now)
        self.later(after, self._accept_again, session, served, note, interval)

    def refuse(self, session: Session, status: int, lines: tuple[str, ...] = ()) -> None:
        """Final refusal of the INVITE that rings."""
        served = session.served
        if served is None or session.state != RINGING or served.final:
            return
        session.status = status
        self.respond(served, status, lines, to_tag=session.local_tag)
        self._invite_over(session)

    def _invite_over(self, session: Session) -> None:
        for each in (session, *session.forks):
            if each.state == RINGING:
                self.enter(each, OVER)

    def cancelled(self, invite: Served) -> None:
        session = invite.session
        if session is None:
            super().cancelled(invite)
            return
        session.cancelled = True
        if self.answers_cancel(session):
            return
        session.status = 487
        self.respond(invite, 487, to_tag=session.local_tag)
        self._invite_over(session)

    def answers_cancel(self, session: Session) -> bool:
        """Whether somebody picks up in the very moment of the CANCEL; it has been dealt with then."""
        return False

    def acked(self, heard: Heard) -> None:
        session = self.find(heard)
        if session is None:
            return
        waiting = session.unacked.pop(heard.cseq, None)
        if waiting is None:
            return
        if session.late_offer and session.state == ANSWERED and not heard.body:
            self.sim.audit.ack_without_answer(self, session)
        if session.state == ANSWERED:
            self.enter(session, UP)
            if session.wants_bye:
                self.bye(session)
        else:
            session.open_invite = False

    # -- in the dialog: asking --------------------------------------------------------------------------------

    def in_dialog(
        self,
        session: Session,
        method: str,
        lines: tuple[str, ...] = (),
        body: bytes = b"",
        tag: str = "",
        kind: str = "application/sdp",
    ) -> Asked:
        """Send any request in the dialog."""
        session.cseq += 1
        head = [
            f"From: {session.local}",
            f"To: {session.remote}",
            f"Call-ID: {session.call_id}",
            f"CSeq: {session.cseq} {method}",
            *lines,
        ]
        if method in ("INVITE", "UPDATE", "REFER"):
            head += [f"Contact: {self.contact()}", self.allow]
        ids = (session.call_id, session.cseq, session.local_tag, tag or session.remote_tag)
        return self.ask(method, session.target, head, ids, session, body, kind=kind)

    def bye(self, session: Session) -> None:
        """Hang up."""
        if session.state == ANSWERED and session.unacked and self.holds_bye:
            session.wants_bye = True
            return
        if session.state not in (ANSWERED, UP):
            return
        session.unacked.clear()
        self.enter(session, LEAVING)
        self.in_dialog(session, "BYE")

    def reinvite(self, session: Session, direction: str = "", offer: bool = True) -> bool:
        """Offer something new; False when another offer is in the way (§14.1)."""
        if session.state != UP or session.own_invite is not None or session.open_invite:
            return False
        session.version += 1
        body = sdp(self.index, session.version, direction) if offer else b""
        lines = tuple(self._keeps_timer(session))
        session.own_invite = self.in_dialog(session, "INVITE", lines, body)
        return True

    def _keeps_timer(self, session: Session) -> list[str]:
        if not session.timer:
            return []
        who = "uac" if session.refresh_by_me else "uas"
        return ["Supported: timer", f"Session-Expires: {session.timer};refresher={who}"]

    def _reinvite_answered(self, session: Session, asked: Asked, heard: Heard | None) -> None:
        if heard is not None and heard.status < 200:
            return
        if heard is not None and heard.status < 300:
            if heard.cseq in session.ack_data:
                self.send(session.ack_data[heard.cseq], self.my_stream())
                return
            body = b"" if b"\r\n\r\nv=0" in asked.note.data else sdp(self.index, session.version)
            if not heard.body:
                self.sim.blame(
                    "no description", f"{self.name}: 2xx to a re-INVITE without body", session.call_id
                )
            contact = heard.get("contact")
            if contact:
                session.target = uri_of(contact)
            self.acknowledge(session, heard.cseq, body)
            self._agree_timer(session, heard)
        session.own_invite = None
        if session.state != UP:
            return
        if heard is None or heard.status in (408, 481):
            self.bye(session)
        elif heard.status == 491:
            delay = self.dice.uniform(2.1, 4.0) if session.uac else self.dice.uniform(0.0, 2.0)
            self.later(delay, self.reinvite, session)

    def update(self, session: Session, offer: bool) -> bool:
        """UPDATE (RFC 3311), with an offer or as a refresh."""
        if session.state != UP or (offer and (session.own_invite is not None or session.open_invite)):
            return False
        body = b""
        if offer:
            session.version += 1
            body = sdp(self.index, session.version)
        asked = self.in_dialog(session, "UPDATE", tuple(self._keeps_timer(session)), body)
        if offer:
            session.own_invite = asked
        return True

    def _update_answered(self, session: Session, asked: Asked, heard: Heard | None) -> None:
        if heard is not None and heard.status < 200:
            return
        if session.own_invite is asked:
            session.own_invite = None
        if session.state != UP:
            return
        if heard is None or heard.status in (408, 481):
            self.bye(session)
        elif heard.status < 300:
            self._agree_timer(session, heard)

    def refer(self, session: Session, target: str) -> None:
        """Ask the server to transfer the other party (RFC 3515)."""
        if session.state == UP and not session.referring:
            session.referring = session.transferring = True
            self.sim.audit.transfer_asked(session)
            self.in_dialog(session, "REFER", (f"Refer-To: <{target}>", f"Referred-By: {self.contact()}"))

    # -- in the dialog: being asked ---------------------------------------------------------------------------

    def _in_dialog_request(self, session: Session, served: Served) -> None:
        request = served.request
        method = request.method
        if request.cseq <= session.remote_cseq:
            self.respond(served, 500)
            return
        session.remote_cseq = request.cseq
        if method == "BYE":
            self.respond(served, 200)
            session.unacked.clear()
            if session.state == RINGING:
                self.sim.blame("BYE to a ringing callee", self.name, session.call_id)
            self.enter(session, OVER)
        elif method == "INVITE":
            self._reinvited(session, served)
        elif method == "UPDATE":
            if request.body and session.own_invite is not None:
                self.respond(served, 491)
            else:
                lines = [f"Contact: {self.contact()}", self.allow, *self._grants_timer(session, request)]
                body = sdp(self.index, session.version) if request.body else b""
                self.respond(served, 200, lines, body)
        elif method == "PRACK":
            self._pracked(session, served)
        elif method == "NOTIFY":
            self.respond(served, 200)
            self._notified(session, request)
        elif method in ("INFO", "MESSAGE", "OPTIONS"):
            self.respond(served, 200)
        else:
            self.respond(served, 405, (self.allow,))

    def _pracked(self, session: Session, served: Served) -> None:
        note = session.reliable
        rack = served.request.get("rack").split()
        if note is None or rack != [str(session.rseq), str(note.cseq), "INVITE"]:
            self.respond(served, 481)
            return
        session.reliable = None
        session.pracked = True
        self.respond(served, 200)

    def _reinvited(self, session: Session, served: Served) -> None:
        if session.own_invite is not None:
            self.respond(served, 491)
        elif session.open_invite or session.state != UP:
            self.respond(served, 500, ("Retry-After: 3",))
        else:
            session.open_invite = True
            served.session = session
            self.on_reinvited(session, served)

    def on_reinvited(self, session: Session, served: Served) -> None:
        """The server offers something new; answer it."""
        self.accept_reinvite(session, served)

    def accept_reinvite(self, session: Session, served: Served) -> None:
        if session.state != UP or served.final:
            return
        contact = served.request.get("contact")
        if contact:
            session.target = uri_of(contact)
        lines = [f"Contact: {self.contact()}", self.allow, *self._grants_timer(session, served.request)]
        self._respond_until_ack(session, served, lines, sdp(self.index, session.version))

    def refuse_reinvite(self, session: Session, served: Served, status: int) -> None:
        session.open_invite = False
        if session.state == UP and not served.final:
            self.respond(served, status)

    def _notified(self, session: Session, request: Heard) -> None:
        parts = request.body.split(b" ", 2)
        if len(parts) > 1 and parts[1].isdigit():
            final = "terminated" in request.get("subscription-state")
            if final:
                session.referring = False
            self.on_refer_progress(session, int(parts[1]), final)

    # -- session timers (RFC 4028) ----------------------------------------------------------------------------

    def _grants_timer(self, session: Session, request: Heard) -> list[str]:
        value = request.get("session-expires")
        if not self.session_interval or not value:
            return []
        interval = int(value.partition(";")[0])
        who = parameter(value, "refresher") or ("uac" if request.has_token("supported", "timer") else "uas")
        self._set_timer(session, interval, who == "uas")
        lines = [f"Session-Expires: {interval};refresher={who}"]
        return [*lines, "Require: timer"] if who == "uac" else lines

    def _agree_timer(self, session: Session, heard: Heard) -> None:
        value = heard.get("session-expires")
        if value and self.session_interval:
            self._set_timer(session, int(value.partition(";")[0]), parameter(value, "refresher") == "uac")

    def _set_timer(self, session: Session, interval: int, by_me: bool) -> None:
        now = self.clock.now
        session.timer = interval
        session.refresh_by_me = by_me
        session.refreshed_at = now
        if by_me:
            self.later(interval / 2, self._refresh, session, now)
        self.later(interval - min(32.0, interval / 3), self._expire, session, now)

    def _refresh(self, session: Session, since: float) -> None:
        if session.state != UP or session.refreshed_at != since or not session.refresh_by_me:
            return
        self.sim.count("session refreshes")
        done = self.update(session, False) if self.dice.random() < 0.5 else self.reinvite(session)
        if not done:
            self.later(2.0, self._refresh, session, since)

    def _expire(self, session: Session, since: float) -> None:
        if session.state == UP and session.refreshed_at == since:
            self.sim.count("sessions expired at a party")
            self.bye(session)


__all__ = ["DOMAIN", "Talker", "states"]
