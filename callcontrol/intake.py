"""Intake: from an initial INVITE to facts and a decision, or to the answer that a stranger gets.

**Who calls** is settled first: a flow that a device registered over, else digest credentials, else a trunk by
its source address; everybody else is challenged, whatever was dialled, so that a stranger learns neither
users nor numbers.  The From header proves nothing and is not compared with the credentials: devices that were
transferred put other things there.

**Then** `callcontrol.gather` reads the facts, and `dialplan.evaluate` decides.  All of it is synchronous and
in memory, but for facts that only the live store of all nodes knows (`callcontrol.live_facts`): a call that
needs one of those may be `Deferred`.  A caller who is known always gets a decision, also one that refuses, so
that each attempt has its trace and its record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from callcontrol import auth
from callcontrol.bindings import Binding, BindingStore
from callcontrol.dialled import asked_of_contact
from callcontrol.gather import CallIndex, Gatherer, IntakeSettings
from callcontrol.limits import AUTH, UNKNOWN_TARGET, address_key
from callcontrol.live_facts import Asking, LiveSource
from callcontrol.occupancy import Occupancy
from callcontrol.proxies import Proxies
from callcontrol.sip import build
from callcontrol.sip.digest import parse_credentials
from callcontrol.sip.errors import RemoteProtocolError
from callcontrol.sip.fields import Replaces, parse_name_addr, parse_replaces
from callcontrol.sip.flow import Flow
from callcontrol.sip.message import Message
from callcontrol.sip.uri import Uri, parse_uri, unescape
from dialplan.evaluate import evaluate
from dialplan.facts import CallFacts
from dialplan.plan import Decision, Forward, Identity
from gateway.gateway_numbers import GatewayDirectory
from gateway.trunk import Trunk, TrunkDirectory
from numbering.directory import Directory
from numbering.e164 import NumberError, read
from numbering.models import Device

BY_FLOW: Final = "flow"
BY_DIGEST: Final = "digest"
BY_SOURCE: Final = "source"
BY_TRANSFER: Final = "transfer"
BY_FORWARD: Final = "forward"
_MAX_CREDENTIALS: Final = 4


class Suspicions(Protocol):
    """Who counts what strangers do (`callcontrol.limits.Gate`)."""

    def suspect(self, host: str, kind: str, now: float, *, proven: bool) -> None: ...

    def absolve(self, host: str, kind: str, now: float) -> None: ...


class Registrations(Protocol):
    """Who knows where we are registered with carriers (`callcontrol.trunk_registration`)."""

    def match(self, user: str, host: str) -> Trunk | None:
        """The trunk whose registered contact has this user part, or whose registration ``host`` took."""
        ...

    def is_contact(self, trunk: str, user: str) -> bool:
        """Whether ``user`` is the user part of a contact that we registered for the trunk."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The request is not let in: send these bytes."""

    status: int
    data: bytes
    why: str
    """Word for counters: a reason of `callcontrol.auth.Verdict`."""


class Admitted:
    """The caller is known, and this is what happens to the call.

    ``device``: ref of the calling device, empty for trunks; ``trunk``: ref of the trunk the call came by, empty for devices;
    ``by``: how the caller was recognised: ``flow``, ``digest``, ``source``, ``transfer``, ``forward``.
    """

    __slots__ = ("by", "decision", "device", "facts", "trunk")

    def __init__(
        self, *, facts: CallFacts, decision: Decision, by: str, device: str = "", trunk: str = ""
    ) -> None:
        self.facts = facts
        self.decision = decision
        self.device = device
        self.trunk = trunk
        self.by = by

    @property
    def asserted(self) -> str:
        """E.164 number that the caller was found to have, also when it is hidden; empty: none."""
        return self.decision.plan.caller.asserted


class Deferred:
    """The caller is known, but facts of the live store are still to come."""

    __slots__ = ("_asking", "_by", "_ingress", "trunk")

    def __init__(self, asking: Asking, ingress: str, trunk: str, by: str) -> None:
        self._asking = asking
        self._ingress = ingress
        self.trunk = trunk
        self._by = by

    def then(self, told: Callable[[], None]) -> None:
        """Have ``told`` called when the facts are there."""
        self._asking.then(told)

    def give_up(self) -> None:
        """Wait no longer; what has not come is missing."""
        self._asking.give_up()

    def admitted(self) -> Admitted:
        """The decision with the facts as they are."""
        return _admitted(self._asking.facts, self._ingress, self.trunk, self._by)


class Intake:
    """Decides about initial INVITEs and targets of transfers.

    ``counters``: outcomes by word, the ``by`` of those let in and the ``why`` of the others.
    """

    def __init__(
        self,
        settings: IntakeSettings,
        directory: Directory,
        trunks: TrunkDirectory,
        bindings: BindingStore,
        digest: auth.DigestServer,
        suspicions: Suspicions,
        calls: CallIndex,
        gateways: GatewayDirectory | None = None,
        occupancy: Occupancy | None = None,
    ) -> None:
        self._settings = settings
        self._directory = directory
        self._trunks = trunks
        self._bindings = bindings
        self._digest = digest
        self._suspicions = suspicions
        self.gatherer = Gatherer(settings, directory, trunks, bindings, calls, gateways, occupancy)
        self.live: list[LiveSource] = []
        """Sources of facts of the live store, in the order in which they are asked."""
        self._proxies = Proxies(settings.proxies)
        self.registrations: Registrations | None = None
        """Where we are registered with carriers; None: nowhere."""
        self.counters: dict[str, int] = {}

    @property
    def settings(self) -> IntakeSettings:
        """Those in force."""
        return self._settings

    def adjust(self, settings: IntakeSettings) -> None:
        """Other limits and times from the next call on; hosts and proxies stay as they are."""
        self._settings = settings
        self.gatherer.adjust(settings)

    def admit(self, message: Message, flow: Flow, now: float) -> Answer | Admitted | Deferred:
        """What becomes of an initial INVITE.  ``now``: unix seconds.  Never raises for what the peer sent."""
        uri = message.target
        if uri is None:
            data = build.response(message, 400, to_tag=self._digest.tag(message))
            self._count(auth.MALFORMED)
            return Answer(status=400, data=data, why=auth.MALFORMED)
        return self._admit(message, uri, self._proxies.origin(message, flow), now)

    def route_transfer(self, device: str, target: str, now: float, *, number: str = "") -> Admitted | None:
        """Where the target of a REFER leads (RFC 3515): to a call that the transferring device makes.

        ``target`` is the URI of Refer-To, ``number`` the cloud number (E.164) of the call that is
        transferred: the new one is made with it.  None when there is no such device, when the URI cannot be
        read, or when it asks for something else than an INVITE.
        """
        caller = self._directory.device(device)
        try:
            uri = parse_uri(target)
        except RemoteProtocolError:
            return None
        if caller is None or (uri.params.get("method") or "INVITE") != "INVITE":
            return None
        facts = self._told(self.gatherer.from_transfer(uri, caller, number, now))
        return Admitted(facts=facts, decision=evaluate(facts), device=caller.ref, by=BY_TRANSFER)

    def route_forward(
        self, forward: Forward, caller: Identity, cause: str, max_forwards: int, own_ref: str, now: float
    ) -> Admitted:
        """Where a forward leads (FWD-01 to FWD-04): to a call in the name of the number that forwards.

        ``caller``: as those who forward saw it; ``cause``: why the call was missed, a word of ``dialplan.reasons``;
        ``max_forwards``: hops that the call has left; ``own_ref``: reference of the call that is forwarded.
        """
        loop = self.gatherer.forward_loop(own_ref, max_forwards)
        facts = self._told(self.gatherer.forwarded(forward, caller, cause, loop, now))
        return Admitted(facts=facts, decision=evaluate(facts), by=BY_FORWARD)

    def _told(self, facts: CallFacts) -> CallFacts:
        """Facts with what live state has at hand; transfers and forwards wait for nothing, so the rest is missing."""
        if not any(source.wants(facts) for source in self.live):
            return facts
        asking = Asking(self.live, facts, "")
        if not asking.over:
            asking.give_up()
        return asking.facts

    def _count(self, word: str) -> None:
        self.counters[word] = self.counters.get(word, 0) + 1

    def _complete(
        self, facts: CallFacts, message: Message, device: str, trunk: str, by: str
    ) -> Admitted | Deferred:
        """The decision, unless facts are missing that only the live store has."""
        self._count(by)
        for source in self.live:
            if source.wants(facts):
                asking = Asking(self.live, facts, message.call_id)
                if not asking.over:
                    return Deferred(asking, device, trunk, by)
                facts = asking.facts
                break
        return _admitted(facts, device, trunk, by)

    def _admit(self, message: Message, uri: Uri, flow: Flow, now: float) -> Answer | Admitted | Deferred:
        by, trunk = BY_FLOW, None
        verdict = auth.Verdict(auth.NONE)
        device = self._device_of_flow(message, flow, now)
        if device is None:
            verdict = self._digest.check(message, message.method, now, self._secret, source=flow.host)
            if verdict.ok:
                by = BY_DIGEST
                self._suspicions.absolve(flow.host, UNKNOWN_TARGET, now)
                device = self._directory.device_by_username(verdict.username)
                trunk = None if device is not None else self._trunks.by_username(verdict.username)
            elif verdict.reason == auth.NONE:
                # Who sends credentials, if wrong or stale ones, wants to be that user and not the trunk
                # beside
                # whose address it happens to sit.
                by = BY_SOURCE
                trunk = self._trunk_of(uri, flow)
        if device is not None:
            facts = self.gatherer.from_device(message, uri, device, now)
            return self._complete(facts, message, device.ref, "", by)
        if trunk is not None:
            facts = self.gatherer.from_trunk(message, self._asked_of(trunk, message, uri), trunk, now)
            return self._complete(facts, message, "", trunk.ref, by)
        self._suspect(flow, verdict, now)
        data = self._digest.refuse(message, verdict, now, source=flow.host, transport=flow.transport)
        self._count(verdict.reason)
        return Answer(status=int(data[8:11]), data=data, why=verdict.reason)

    # -- who calls --

    def _trunk_of(self, uri: Uri, flow: Flow) -> Trunk | None:
        """The trunk that a request without credentials comes from: by our contact there, else by its source."""
        registered = self.registrations.match(uri.user, flow.host) if self.registrations is not None else None
        return registered or self._trunks.match_source(flow.host, flow.port)

    def _asked_of(self, trunk: Trunk, message: Message, uri: Uri) -> Uri:
        """The Request-URI as it is meant, where the carrier knows us by a contact or a name of its own."""
        registrations = self.registrations
        contact = (
            registrations is not None and trunk.register and registrations.is_contact(trunk.ref, uri.user)
        )
        if contact or (uri.host and uri.host in (trunk.host.partition(":")[0].lower(), trunk.domain.lower())):
            return asked_of_contact(message, uri, self._digest.realm, is_contact=contact)
        return uri

    def _device_of_flow(self, message: Message, flow: Flow, now: float) -> Device | None:
        """The device that registered over this very flow; None when credentials must decide.

        Several devices may share a flow (accounts of one softphone): the request then says which one by a
        user name or a number, and whoever names a device of another flow has to prove it.
        """
        bound: list[Binding] = []
        if flow.conn:
            bound = [b for b in self._bindings.on_connection(flow.conn) if b.expires_at > now and not b.path]
            if not bound:
                return None
        elif flow.reliable or not self._settings.trust_datagram_flows:
            return None
        for name in self._names(message):
            device = self._directory.device_by_username(name)
            if device is not None:
                registered = self._bindings.bindings_of_user(device.user, now)
                mine = any(b.device == device.ref and _is_over(b, flow) for b in registered)
                return device if mine else None
            holder = self._holder(name)
            registered = self._bindings.bindings_of_user(holder, now) if holder else []
            only = _only_device([b for b in registered if _is_over(b, flow)])
            if only:
                return self._directory.device(only)
        return self._directory.device(_only_device(bound))

    def _names(self, message: Message) -> Iterator[str]:
        """User names and numbers by which the sender says who it is.

        The name in credentials for our realm is the only one that counts, where there is one.
        """
        for value in (message.all("authorization") + message.all("proxy-authorization"))[:_MAX_CREDENTIALS]:
            try:
                credentials = parse_credentials(value)
            except RemoteProtocolError:
                continue
            if credentials.realm == self._digest.realm:
                yield credentials.username
                return
        for value in (message.from_value, message.get("p-preferred-identity") or ""):
            try:
                user = parse_uri(parse_name_addr(value).uri).user
            except RemoteProtocolError:
                continue
            if user:
                yield user.partition(";")[0]

    def _holder(self, text: str) -> str:
        """Ref of the user who holds the number; empty: it is none, or not ours."""
        number = read(text, self._settings.country)
        found = None if isinstance(number, NumberError) else self._directory.number(number)
        return "" if found is None else found.user

    def _secret(self, username: str) -> auth.Secret | None:
        """What is known of a digest user: a device, or the carrier of a trunk."""
        device = self._directory.device_by_username(username)
        if device is not None:
            password = device.sip_password
        else:
            trunk = self._trunks.by_username(username)
            password = "" if trunk is None else trunk.password
        return auth.Password(username, self._digest.realm, password) if password else None

    # -- strangers --

    def _suspect(self, flow: Flow, verdict: auth.Verdict, now: float) -> None:
        """Count what an unknown sender did.

        Not by whom or what it named: else a ban, or that none came, would tell which users and numbers there are.  A
        call without credentials counts against every address that nobody has registered from, until credentials follow.
        """
        proven = flow.reliable or verdict.proven
        if verdict.reason == auth.BAD:
            self._suspicions.suspect(flow.host, AUTH, now, proven=proven)
        elif verdict.reason == auth.NONE and not self._bindings.has_source(address_key(flow.host)):
            self._suspicions.suspect(flow.host, UNKNOWN_TARGET, now, proven=proven)


def _admitted(facts: CallFacts, ingress: str, trunk: str, by: str) -> Admitted:
    """``ingress``: the device that sent the request; a SIM that called by a trunk stands for its own."""
    device = ingress or (facts.device.device if facts.device is not None else "")
    return Admitted(facts=facts, decision=evaluate(facts), device=device, trunk=trunk, by=by)


def replaces_in(target: str) -> Replaces | None:
    """The dialog that a Refer-To URI asks to replace: its ``?Replaces=`` header (RFC 3891 §3, RFC 5589 §7).

    None if it has none.  Raises RemoteProtocolError(400) when the URI or the header cannot be read.
    """
    for part in parse_uri(target).headers.split("&"):
        name, _, value = part.partition("=")
        if unescape(name).strip().lower() == "replaces":
            return parse_replaces(unescape(value))
    return None


def _is_over(binding: Binding, flow: Flow) -> bool:
    """Whether a binding registered over this flow, by itself: with a Path the flow is a proxy's, which passes
    on whatever it gets."""
    if binding.path:
        return False
    return binding.conn == flow.conn if flow.conn else binding.flow == flow.dump()


def _only_device(bindings: list[Binding]) -> str:
    """Ref of the device that all these bindings are of; empty if they are of none or of several."""
    devices = {binding.device for binding in bindings}
    return devices.pop() if len(devices) == 1 else ""
