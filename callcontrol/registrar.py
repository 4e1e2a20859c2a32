"""The registrar: REGISTER in, response and binding changes out (RFC 3261 §10, 5626, 3327, 5627, 8599).

`Registrar.handle` follows the order of checks of RFC 3261 §10.3: Request-URI, Require, digest, does the
user own the AOR, Contact, CSeq, expiry.  Nothing is changed before the last check has passed, and then all
at once. Strangers get the same 401 whatever user they name; the AOR is judged only when the digest is good.

Policies where the RFCs leave a choice:

* To and From must be in a domain of ours (or name us by IP address); which AOR it is, the digest user
  decides.
* A user has a number of devices (DEV-02): a further one is refused with 403 and the reason
  ``too_many_devices``, and so is, when it registers again, one that came by another node at the same time.
* One device is one binding (DEV-06, `bindings.binding_key`).  Registering again replaces it, whatever
  changed: flow, contact, Call-ID; so does coming back with the same push token, or without outbound after
  outbound.
* A phone with neither instance id nor push token is known by its contact or Call-ID only and leaves dead
  bindings behind when it restarts.  When an AOR is full the oldest of those gives way; known devices never do.
* A binding over a connection ends with it, but a device that a push wakes stays registered, asleep.
* Service-Route is not sent: calls may come in over any listener.

Synchronous; ``now`` is unix seconds.  The caller drains ``events`` and ``orphans`` after each call.
"""

from __future__ import annotations

from collections.abc import Sequence
from email.utils import formatdate
from typing import Protocol

from callcontrol.auth import BAD, DeviceSecrets, DigestServer
from callcontrol.bindings import (
    Binding,
    BindingAdded,
    BindingAsleep,
    BindingRemoved,
    BindingStore,
)
from callcontrol.gather import target_of
from callcontrol.limits import AUTH, UNKNOWN_TARGET, Suspicious
from callcontrol.registration import (
    EXTENSIONS,
    Contact,
    Refusal,
    RegistrarPolicy,
    Registration,
    connected_before,
    contact_value,
    feature_caps,
    instance_id,
    is_late,
    is_twin,
    key_for,
    reach,
    read,
)
from callcontrol.sip import build
from callcontrol.sip.errors import RemoteProtocolError
from callcontrol.sip.fields import parse_name_addr
from callcontrol.sip.flow import Flow
from callcontrol.sip.message import Message
from callcontrol.sip.screening import MAX_NAMED
from callcontrol.sip.uri import Uri, escape_user, parse_uri
from dialplan.plan import DeviceTarget
from numbering.models import Device, PlanLimits


class Subscribers(Protocol):
    """What the registrar asks the directory; `numbering.directory.Directory` fits."""

    def device_by_username(self, username: str) -> Device | None: ...
    def device(self, ref: str) -> Device | None: ...
    def plan_of(self, user: str) -> PlanLimits | None: ...


Event = BindingAdded | BindingAsleep | BindingRemoved | Suspicious


class _Change:
    """The whole effect of one REGISTER, put together before any of it is done."""

    __slots__ = ("previous", "put", "remove")

    def __init__(self) -> None:
        self.put: dict[str, Binding] = {}
        self.previous: dict[str, Binding] = {}
        self.remove: dict[str, tuple[Binding, str]] = {}


class Registrar:
    """Answers REGISTER and owns the life of bindings.

    ``events``: what happened, in order.  ``orphans``: connections whose last binding has moved elsewhere
    and that may be closed.  ``counters``: plain ints by outcome: ``ok``, ``query``, ``unregistered``, a
    verdict of `callcontrol.auth` or the reason of a `Refusal`.
    """

    def __init__(
        self, directory: Subscribers, store: BindingStore, auth: DigestServer, policy: RegistrarPolicy
    ) -> None:
        self._directory = directory
        self._store = store
        self._auth = auth
        self.policy = policy
        """Times and bounds may be others from the next REGISTER on; the domains stay."""
        self._secrets = DeviceSecrets(directory, auth.realm)
        self._hosts = policy.domains | {policy.domain}
        self._plain_targets = frozenset(f"sip:{host}" for host in self._hosts)
        self._date = (0, "")
        self.events: list[Event] = []
        self.orphans: list[int] = []
        self.counters: dict[str, int] = {}

    # -- REGISTER

    def handle(self, message: Message, flow: Flow, now: float) -> bytes:
        """The final response to a REGISTER; never raises for what the peer sent."""
        try:
            if message.uri not in self._plain_targets:
                target = parse_uri(message.uri)
                if not target.is_sip:
                    refusal = Refusal(416, "bad_scheme", "REGISTER to a SIP domain")
                    return self._refuse(message, refusal, bare=True)
                if not self._is_ours(target):
                    refusal = Refusal(404, "unknown_domain", "not our domain")
                    return self._refuse(message, refusal, bare=True)
            if message.has("require"):
                unknown = [tag for tag in message.tokens("require") if tag not in EXTENSIONS]
                if unknown:
                    header = ("unsupported", ", ".join(unknown[:MAX_NAMED]))
                    refusal = Refusal(420, "bad_extension", "unknown extension", (header,))
                    return self._refuse(message, refusal, bare=True)
            verdict = self._auth.check(message, "REGISTER", now, self._secrets, source=flow.host)
            if not verdict.ok:
                if verdict.reason == BAD:
                    self._suspect(flow, AUTH, verdict.proven)
                self._count(verdict.reason)
                return self._auth.refuse(message, verdict, now, source=flow.host, transport=flow.transport)
            return self._authenticated(message, flow, verdict.username, now)
        except RemoteProtocolError as error:
            return self._refuse(message, Refusal(error.status, "malformed", error.reason))

    def _authenticated(self, message: Message, flow: Flow, username: str, now: float) -> bytes:
        to = parse_uri(parse_name_addr(message.to_value).uri)
        if not self._is_ours(to):
            return self._refuse(message, Refusal(404, "unknown_domain", "To is not in our domain"))
        # Nearly always From is To with a tag, which saves reading the same address twice.
        third_party = not message.from_value.startswith(message.to_value + ";")
        if third_party and not self._is_ours(parse_uri(parse_name_addr(message.from_value).uri)):
            return self._refuse(message, Refusal(403, "unknown_domain", "From is not in our domain"))
        device = self._directory.device_by_username(username)
        if device is None or to.user != username:
            # Known to the digest but asking for the AOR of another: before anything is read or changed.
            self._suspect(flow, UNKNOWN_TARGET, proven=True)
            return self._refuse(message, Refusal(403, "not_your_aor", "this address belongs to another user"))
        asked = read(message, self.policy, self._is_pushed(device))
        if isinstance(asked, Refusal):
            return self._refuse(message, asked)
        aor = self.aor_of(username)
        if asked.contacts or asked.star:
            change = self._decide(message, flow, device, aor, asked, now)
            if isinstance(change, Refusal):
                return self._refuse(message, change)
            self._commit(change)
            self._count("ok" if change.put else "unregistered")
            return self._accept(message, aor, asked, change, now)
        self._count("query")
        return self._accept(message, aor, asked, _Change(), now)

    def aor_of(self, username: str) -> str:
        """The canonical address of record of a digest user."""
        return f"sip:{escape_user(username)}@{self.policy.domain}"

    def _is_ours(self, uri: Uri) -> bool:
        """Our domain, or an IP address: the request has reached us, so phones set up by address mean us."""
        if uri.host in self._hosts:
            return True
        return uri.is_sip and (":" in uri.host or uri.host.replace(".", "").isdigit())

    # -- decisions

    def _decide(
        self, message: Message, flow: Flow, device: Device, aor: str, asked: Registration, now: float
    ) -> _Change | Refusal:
        self.tick(now)  # what has expired must be told as such, not as replaced
        held = {binding.key: binding for binding in self._store.bindings_of(aor, now)}
        change = _Change()
        if asked.star:
            if any(is_late(message, binding) for binding in held.values()):
                return _OUT_OF_ORDER
            change.remove = {key: (binding, "unregistered") for key, binding in held.items()}
            return change
        taken: set[str] = set()
        for contact in asked.contacts:
            key = key_for(message, contact, held, taken)
            taken.add(key)
            previous = held.get(key)
            if previous is not None and is_late(message, previous):
                return _OUT_OF_ORDER
            if contact.expires:
                if previous is not None:
                    change.previous[key] = previous
                change.put[key] = self._bind(message, flow, device, aor, key, contact, asked, previous, now)
            elif previous is not None:
                change.remove[key] = (previous, "unregistered")
        # pjsip takes leave of its old contact and brings the new one in one request, both of the same
        # instance.
        for key in change.put:
            change.remove.pop(key, None)
        self._drop_twins(change, held)
        return self._check_room(device, change, held, now) or change

    def _bind(
        self,
        message: Message,
        flow: Flow,
        device: Device,
        aor: str,
        key: str,
        contact: Contact,
        asked: Registration,
        previous: Binding | None,
        now: float,
    ) -> Binding:
        where, conn = reach(message, flow, contact, asked.path)
        return Binding(
            aor=aor,
            key=key,
            user=device.user,
            device=device.ref,
            contact=contact.uri,
            target=contact.target,
            flow=where,
            conn=conn,
            source=flow.host,
            path=asked.path,
            q=contact.q,
            expires_at=now + contact.expires,
            registered_at=now if previous is None else previous.registered_at,
            refreshed_at=now,
            call_id=message.call_id,
            cseq=message.cseq,
            instance=contact.instance,
            reg_id=contact.reg_id,
            push_provider=contact.provider,
            push_prid=contact.prid,
            push_param=contact.push_param,
            wakes=contact.provider in self.policy.push_providers
            or (bool(contact.provider) and self._is_pushed(device)),
            user_agent=(message.get("user-agent") or "")[:200],
            gruu=asked.gruu,
        )

    def _is_pushed(self, device: Device) -> bool:
        return self.policy.push and bool(device.mqtt_password)

    def _drop_twins(self, change: _Change, held: dict[str, Binding]) -> None:
        """Remove what is the same device under another key; within one request the later contact counts."""
        for key in list(change.put):
            new = change.put[key]  # only those before it are dropped
            for other in list(change.put):
                if other == key:
                    break
                if is_twin(new, change.put[other]):
                    del change.put[other]
                    previous = change.previous.pop(other, None)
                    if previous is not None:
                        change.remove[other] = (previous, "replaced")
            for other, old in held.items():
                if other not in change.put and other not in change.remove and is_twin(new, old):
                    change.remove[other] = (old, "replaced")

    def _check_room(
        self, device: Device, change: _Change, held: dict[str, Binding], now: float
    ) -> Refusal | None:
        """Devices of the user (DEV-02) and bindings of the AOR, counted as they would be afterwards."""
        if not change.put:
            return None
        everything = self._store.bindings_of_user(device.user, now)
        if len(everything) > len(held):
            others = connected_before(device.ref, held, everything)
            plan = self._directory.plan_of(device.user)
            most = self.policy.default_devices if plan is None else plan.devices
            if others >= most:
                self._drop(list(held.values()), "displaced")
                text = f"{others} of {most} devices are connected; sign one out first"
                return Refusal(403, "too_many_devices", text)
        staying = [b for key, b in held.items() if key not in change.put and key not in change.remove]
        excess = len(staying) + len(change.put) - self.policy.max_bindings
        if excess > 0:
            nameless = [b for b in staying if not b.instance and not b.push_provider]
            if excess > len(nameless):
                return Refusal(403, "too_many_contacts", "too many contacts for this address")
            nameless.sort(key=lambda binding: binding.refreshed_at)
            for binding in nameless[:excess]:
                change.remove[binding.key] = (binding, "displaced")
        return None

    def _commit(self, change: _Change) -> None:
        self._store.apply(list(change.put.values()), [binding for binding, _ in change.remove.values()])
        left: set[int] = set()
        for binding, reason in change.remove.values():
            self.events.append(BindingRemoved(binding, reason))
            if reason == "replaced":
                left.add(binding.conn)
        for key, binding in change.put.items():
            previous = change.previous.get(key)
            self.events.append(BindingAdded(binding, previous))
            if previous is not None:
                left.add(previous.conn)
        for conn in left:
            if conn and not self._store.on_connection(conn):
                self.orphans.append(conn)

    # -- answers

    def _accept(self, message: Message, aor: str, asked: Registration, change: _Change, now: float) -> bytes:
        """The 200 with all bindings in force; those of other devices without their push tokens."""
        headers: list[tuple[str, str]] = []
        for binding in self._store.bindings_of(aor, now):
            own = binding.key in change.put or binding.call_id == message.call_id
            headers.append(("contact", contact_value(binding, now, own=own)))
        if asked.path:
            headers.append(("path", ", ".join(f"<{uri}>" for uri in asked.path)))
        if asked.outbound:
            headers.append(("require", "outbound"))
            if self.policy.flow_timer_s:
                headers.append(("flow-timer", str(self.policy.flow_timer_s)))
        if asked.asks_push:
            headers.append(("feature-caps", feature_caps(self.policy)))
        headers.append(("supported", "path, outbound, gruu" if self.policy.gruu else "path, outbound"))
        if self.policy.date:
            second = int(now)
            if self._date[0] != second:
                self._date = (second, formatdate(second, usegmt=True))
            headers.append(("date", self._date[1]))
        return build.response(message, 200, to_tag=self._auth.tag(message), headers=headers)

    def _refuse(self, message: Message, refusal: Refusal, *, bare: bool = False) -> bytes:
        """``bare``: for strangers, who get no explanation of ours."""
        self._count(refusal.reason)
        headers: Sequence[tuple[str, str]] = refusal.headers
        if not bare:
            headers = [
                *headers,
                ("reason", f'SIP;cause={refusal.status};text="{refusal.reason}"'),
                ("warning", f'399 {self.policy.domain} "{refusal.text}"'),
            ]
        return build.response(message, refusal.status, to_tag=self._auth.tag(message), headers=headers)

    def _count(self, outcome: str) -> None:
        self.counters[outcome] = self.counters.get(outcome, 0) + 1

    def _suspect(self, flow: Flow, kind: str, proven: bool) -> None:
        self.events.append(Suspicious(flow.host, kind, proven or flow.reliable))

    # -- look-ups

    def bindings_of(self, aor: str, now: float) -> list[Binding]:
        """Contacts of an AOR in force, in order of preference."""
        return self._store.bindings_of(aor, now)

    def bindings_of_user(self, user: str, now: float) -> list[Binding]:
        """Contacts of all devices of a user (INC-05)."""
        return self._store.bindings_of_user(user, now)

    def target(self, binding: Binding) -> DeviceTarget | None:
        """How a device that is awake is rung; None: it cannot be reached."""
        return target_of(binding, self._store)

    def by_gruu(self, uri: Uri, now: float) -> list[Binding]:
        """The binding that a public GRUU of ours names, or its flows in order of preference."""
        instance = uri.params.get("gr")
        if not instance or not self._is_ours(uri):
            return []
        wanted = instance_id(instance)
        held = self._store.bindings_of(self.aor_of(uri.user), now)
        return [binding for binding in held if binding.instance and instance_id(binding.instance) == wanted]

    # -- the end of bindings

    def tick(self, now: float) -> None:
        """Let go of what has expired."""
        deadline = self._store.next_deadline()
        if deadline is not None and deadline <= now:
            self.events += [BindingRemoved(binding, "expired") for binding in self._store.expire(now)]

    def next_deadline(self) -> float | None:
        """When `tick` next has something to do, unix seconds."""
        return self._store.next_deadline()

    def connection_lost(self, conn: int) -> None:
        """A stream connection is gone, and with it its bindings; devices that a push wakes fall asleep."""
        asleep: list[Binding] = []
        gone: list[Binding] = []
        for binding in self._store.on_connection(conn):
            if binding.wakes:
                asleep.append(binding.put_to_sleep())
            else:
                gone.append(binding)
        self._store.apply(asleep, gone)
        self.events += [BindingAsleep(binding) for binding in asleep]
        self.events += [BindingRemoved(binding, "connection_lost") for binding in gone]

    def heard(self, binding: Binding, previous: Binding | None) -> None:
        """A device has registered with another node."""
        self.events.append(BindingAsleep(binding) if binding.asleep else BindingAdded(binding, previous))
        self._leave(previous)

    def heard_gone(self, binding: Binding, reason: str) -> None:
        """Another node has ended a registration."""
        self.events.append(BindingRemoved(binding, reason))
        self._leave(binding)

    def _leave(self, binding: Binding | None) -> None:
        if binding is not None and binding.conn and not self._store.on_connection(binding.conn):
            self.orphans.append(binding.conn)

    def sign_out(self, device: Device, now: float) -> int:
        """End all bindings of a device (DEV-02); how many.  With its password it may register again."""
        return self._drop(
            [b for b in self._store.bindings_of_user(device.user, now) if b.device == device.ref],
            "signed_out",
        )

    def reconcile(self) -> int:
        """After a change of the directory: end the bindings of devices that are gone or changed hands."""
        gone: list[Binding] = []
        for binding in self._store.own():
            device = self._directory.device(binding.device)
            if (
                device is None
                or device.user != binding.user
                or self.aor_of(device.sip_username) != binding.aor
            ):
                gone.append(binding)
        return self._drop(gone, "device_gone")

    def _drop(self, bindings: list[Binding], reason: str) -> int:
        self._store.apply((), bindings)
        self.events += [BindingRemoved(binding, reason) for binding in bindings]
        return len(bindings)


_OUT_OF_ORDER = Refusal(500, "out_of_order", "CSeq is not above that of the former registration")
