"""From commands of calls to transactions of the endpoint: flows, names to be looked up, failover within a name (RFC 3263 §4.3).

Nearly every target is a flow or a numeric URI and goes out at once.  A name is looked up by the resolver; when the first of
its addresses is silent or says 503, the request goes to the next one in a transaction of its own, and the call does not notice.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from callcontrol.ports import Resolver
from callcontrol.sip.commands import SendAck, SendRequest, SendResponse
from callcontrol.sip.endpoint import Endpoint
from callcontrol.sip.flow import Flow, Listener, Listeners

if TYPE_CHECKING:
    from callcontrol.b2bua.call import Call

_CACHE_MAX: Final = 20_000
_ANSWERS_MAX: Final = 5_000
_CACHED_LENGTH: Final = 256
"""Characters of a target that is remembered: longer ones are rare, and somebody's attempt to fill memory."""


class Owner:
    """Whose requests these are: a leg of a call.  One object per leg, so that a leg can move to another call."""

    __slots__ = ("call", "leg", "tags")

    def __init__(self, call: Call, leg: str) -> None:
        self.call = call
        self.leg = leg
        self.tags: list[str] = []


class Attempt:
    """A request that has further addresses to go to."""

    __slots__ = ("branch", "command", "number", "owner", "rest")

    def __init__(self, owner: Owner, command: SendRequest, rest: list[Flow]) -> None:
        self.owner = owner
        self.command = command
        self.rest = rest
        self.number = 0
        self.branch = command.branch
        """Branch that is on the wire now."""


class Wire:
    """Sends for calls; see the module."""

    def __init__(
        self,
        endpoint: Endpoint,
        resolver: Resolver,
        monotonic: Callable[[], float],
        unreachable: Callable[[Owner, str, str], None],
    ) -> None:
        """``unreachable`` is told (owner, branch, method) of a request whose name leads nowhere."""
        self._endpoint = endpoint
        self._resolver = resolver
        self._monotonic = monotonic
        self._unreachable = unreachable
        self._flows: dict[str, Flow] = {}
        self._answers: OrderedDict[str, SendResponse] = OrderedDict()
        """Final responses without a transaction of ours, by the key that it would have; the last of them."""
        self._attempts: dict[str, Attempt] = {}
        """By the branch that the call knows."""

    @property
    def attempts(self) -> int:
        """Requests to names that may still be sent to a further address."""
        return len(self._attempts)

    def flow(self, target: str) -> Flow | None:
        """The flow of a target that needs no names."""
        found = self._flows.get(target)
        if found is None:
            found = Flow.load(target) if "|" in target else self._resolver.direct(target)
            if found is not None and len(target) <= _CACHED_LENGTH:
                if len(self._flows) >= _CACHE_MAX:
                    self._flows.clear()
                self._flows[target] = found
        return found

    def send_request(self, owner: Owner, command: SendRequest) -> None:
        attempt = self._attempts.get(command.branch)
        if command.method == "CANCEL" and attempt is not None:
            live = attempt.rest[0]
            attempt.rest = [live]  # whoever was cancelled and stays silent must not be looked for elsewhere
            self._endpoint.send_request(
                attempt.branch, "CANCEL", command.data, live, self._monotonic(), owner
            )
            return
        flow = self.flow(command.target)
        if flow is not None:
            # a registered flow is the only way to a phone behind NAT: no leaving it for TCP
            self._endpoint.send_request(
                command.branch,
                command.method,
                command.data,
                flow,
                self._monotonic(),
                owner,
                keep_flow="|" in command.target,
                sent_by=command.sent_by,
            )
            return
        self._resolver.look_up(command.target, lambda flows: self._resolved(owner, command, flows))

    def _resolved(self, owner: Owner, command: SendRequest, flows: list[Flow]) -> None:
        if not flows:
            self._unreachable(owner, command.branch, command.method)
            return
        if command.method != "CANCEL":
            self._attempts[command.branch] = Attempt(owner, command, flows)
        self._endpoint.send_request(
            command.branch, command.method, command.data, flows[0], self._monotonic(), owner
        )

    def try_next(self, branch: str) -> bool:
        """The attempt with this branch (as on the wire) failed; True when another address is tried."""
        known = branch.partition("-")[0]
        attempt = self._attempts.get(known)
        if attempt is None or attempt.branch != branch:
            return False
        attempt.rest.pop(0)
        if not attempt.rest:
            del self._attempts[known]
            return False
        attempt.number += 1
        attempt.branch = f"{known}-{attempt.number}"
        command = attempt.command
        self._endpoint.send_request(
            attempt.branch, command.method, command.data, attempt.rest[0], self._monotonic(), attempt.owner
        )
        return True

    def send_again(self, branch: str) -> None:
        """An INVITE without response goes out again now."""
        attempt = self._attempts.get(branch)
        self._endpoint.send_again(branch if attempt is None else attempt.branch, self._monotonic())

    def known_branch(self, branch: str) -> str:
        """The branch that the call knows, from the one on the wire."""
        return branch.partition("-")[0]

    def settled(self, branch: str) -> None:
        """A final response came: no further address will be needed."""
        self._attempts.pop(branch.partition("-")[0], None)

    def adopt_invite(self, owner: Owner, key: str, target: str) -> None:
        """The transaction of a caller's INVITE goes on here."""
        flow = self.flow(target)
        if flow is not None:
            self._endpoint.adopt_invite(key, flow, owner, self._monotonic())

    def send_response(self, command: SendResponse, flow: str = "") -> None:
        """Answer a request.  ``flow``: where to send it when its transaction was on a node that is gone.

        A request has one final response (RFC 3261 §17.2.2).  Where no transaction sees to that, what was said first stands: the
        same request may have come again, as one out of order, while its answer waited to be sent.
        """
        key, status = command.key, command.status
        held = self._answers.get(key) if flow else None
        if held is not None and held.data != command.data:
            return
        taken = self._endpoint.send_response(key, status, command.data, self._monotonic())
        if not flow:
            return
        if status >= 200:
            self._answers[key] = command
            if len(self._answers) > _ANSWERS_MAX:
                self._answers.popitem(last=False)
        path = self.flow(flow) if not taken and status != 408 else None
        if path is not None:
            self._endpoint.transmit_response(path, status, command.data)

    def leave(self, key: str) -> None:
        """A request is answered by another node."""
        self._endpoint.leave(key)

    def answer_again(self, key: str) -> bool:
        """A request that another node was asked comes once more: it gets the answer that it got, and is no new one (RFC 3261
        §17.2.3).  False: it was not answered."""
        held = self._answers.get(key) if self._answers else None
        if held is None:
            return False
        self._endpoint.send_response(key, held.status, held.data, self._monotonic())
        return True

    def send_ack(self, owner: Owner, command: SendAck) -> None:
        flow = self.flow(command.target)
        if flow is not None:
            self._endpoint.send_stateless_request(command.branch, command.data, flow)
        else:
            self._resolver.look_up(command.target, lambda flows: self._ack_resolved(command, flows))

    def _ack_resolved(self, command: SendAck, flows: list[Flow]) -> None:
        if flows:
            self._endpoint.send_stateless_request(command.branch, command.data, flows[0])


class ListenerContacts:
    """Our Contact URIs: user part is the scope (call and leg), host the listener that reaches the peer."""

    def __init__(self, listeners: Listeners, flow: Callable[[str], Flow | None]) -> None:
        self._listeners = listeners
        self._flow = flow
        self._ends: dict[str, str] = {}
        self._said: dict[str, str] = {}

    def uri(self, scope: str, target: str, host: str = "") -> str:
        end = self._ends.get(target)
        if end is None:
            end = self._end(target)
            if len(target) <= _CACHED_LENGTH:
                if len(self._ends) >= _CACHE_MAX:
                    self._ends.clear()
                self._ends[target] = end
        if host:
            _, semicolon, transport = end.partition(";")
            return f"sip:{scope}@{host}{semicolon}{transport}"
        return f"sip:{scope}{end}"

    def sent_by(self, target: str) -> str:
        said = self._said.get(target)
        if said is None:
            listener = self._listener(target)
            said = "" if listener is None else listener.sent_by_lower
            if len(target) <= _CACHED_LENGTH:
                if len(self._said) >= _CACHE_MAX:
                    self._said.clear()
                self._said[target] = said
        return said

    def _listener(self, target: str) -> Listener | None:
        flow = self._flow(target) if target else None
        if flow is None:
            return None
        listener = self._listeners.get(flow.listener) if flow.listener else None
        return listener or self._listeners.pick(flow.transport, flow.host)

    def _end(self, target: str) -> str:
        listener = self._listener(target)
        if listener is None:
            listener = self._listeners.pick("udp", "127.0.0.1") or next(iter(self._listeners.all()), None)
        if listener is None:
            return "@invalid"
        transport = "" if listener.transport == "udp" else f";transport={listener.transport}"
        return f"@{listener.sent_by}{transport}"
