"""The signalling core of a node put together: endpoint, registrar, intake, calls.  Synchronous, no sockets, no clock.

``app`` wires it to sockets, database and HTTP; the simulator to a virtual network.  Both run this very code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from callcontrol.auth import DigestPolicy, DigestServer
from callcontrol.b2bua.env import CallEnv
from callcontrol.bindings import BindingStore
from callcontrol.callbacks import CallbackDesk
from callcontrol.core import Core
from callcontrol.dialled import our_hosts
from callcontrol.gateway_calls import GatewayCalls, GatewayRecords
from callcontrol.gather_callee import IntakeSettings, target_of
from callcontrol.ids import CallRefs, KeyedIds
from callcontrol.intake import Intake
from callcontrol.ladder import Ladders
from callcontrol.limits import MALFORMED, Gate, GatePolicy
from callcontrol.logs import get_logger
from callcontrol.newcomers import is_emergency
from callcontrol.occupancy import MemoryOccupancy, Occupancy
from callcontrol.occupants import Occupants
from callcontrol.phone_requests import PhonePolicy, PhoneRequests
from callcontrol.plans import outgoing_policy
from callcontrol.ports import CallStore, RecordSink, Resolver
from callcontrol.pricing.quotes import Quotes
from callcontrol.pushing import Pushing
from callcontrol.registrar import Registrar
from callcontrol.registration import RegistrarPolicy
from callcontrol.rio_facts import LineRios, RioSource
from callcontrol.runner import Runner
from callcontrol.sip.endpoint import Endpoint
from callcontrol.sip.flow import Flow, Listeners
from callcontrol.sip.message import Limits as MessageLimits
from callcontrol.sip.message import Message
from callcontrol.sip.timers import SipTimers
from callcontrol.sip.usage import UsageEnv
from callcontrol.trunking import Trunking
from callcontrol.usage.outgoing import Outgoing, OutgoingStores
from callcontrol.verifying import SimRegister, SimVerifier
from callcontrol.wire import ListenerContacts, Owner, Wire
from config.settings import Settings
from dialplan import reasons
from dialplan.facts import CallFacts, Limits
from dialplan.plan import Decision, DeviceTarget, Forward, Identity
from gateway.capacity import MemoryTrunkChannels, TrunkChannels
from gateway.gateway_numbers import GatewayDirectory
from gateway.health import Health, HealthPolicy
from gateway.lease_store import LeaseStore, MemoryLeaseStore
from gateway.leases import LeasePolicy
from gateway.push import PushSink
from gateway.trunk import TrunkDirectory
from numbering.classes import emergency_number
from numbering.directory import Directory


@dataclass(slots=True, kw_only=True)
class Surroundings:
    """What differs between a real node and a simulated one."""

    monotonic: Callable[[], float]
    wall: Callable[[], float]
    entropy: Callable[[int], bytes]
    """n -> n unpredictable bytes."""
    dice: Callable[[], float]
    """Uniform in [0, 1)."""
    key: bytes
    """Secret of identifiers, nonces and tags; shared by the nodes of a cluster; 32 bytes."""
    resolver: Resolver
    calls: CallStore
    bindings: BindingStore
    records: RecordSink
    close_connection: Callable[[int], None] = lambda conn: None
    push: PushSink | None = None
    """How devices are pushed; None: they are not, and those that sleep are as good as away."""
    gateways: GatewayDirectory = field(default_factory=GatewayDirectory)
    outgoing: OutgoingStores = field(default_factory=OutgoingStores)
    """Prices, counters and slots of outgoing calls."""
    rios: LineRios | None = None
    """Who knows the RIOs of our lines; None: nobody, and they are told by message."""
    sims: SimRegister | None = None
    """Where verified SIMs are kept; None: none can be verified."""
    leases: LeaseStore | None = None
    """Leases of gateway numbers that the nodes share; None: this node keeps its own."""
    occupancy: Occupancy = field(default_factory=MemoryOccupancy)
    """Who of the members of Greetings is in a call."""
    channels: TrunkChannels | None = None
    """Channels of trunks that the nodes share; None: this node counts for itself."""
    place: int = 0
    places: int = 1
    """Which of how many workers this is, counted from 0: call references tell (`callcontrol.ids.CallRefs`)."""


class Signalling:
    """The parts, by name."""

    def __init__(
        self,
        settings: Settings,
        directory: Directory,
        trunks: TrunkDirectory,
        endpoint: Endpoint,
        gate: Gate,
        around: Surroundings,
    ) -> None:
        """The listeners of ``endpoint`` are bound already: they tell which hosts are ours."""
        sip, calls = settings.sip, settings.calls
        listeners = endpoint.listeners
        self.settings = settings
        self.directory = directory
        self.trunks = trunks
        self.gateways = around.gateways
        self.occupancy = around.occupancy
        self.bindings = around.bindings
        self._around = around
        self.verifier: SimVerifier | None = None
        self.endpoint = endpoint
        self.gate = gate
        endpoint.on_malformed = self._on_malformed
        endpoint.priority = self._is_emergency
        self.wire = Wire(self.endpoint, around.resolver, around.monotonic, self._unreachable)
        usage_env = UsageEnv(
            KeyedIds(around.key),
            ListenerContacts(listeners, self.wire.flow),
            session_expires=calls.session_expires_seconds,
            min_se=calls.min_se_seconds,
            t1=sip.timers.t1,
            t2=sip.timers.t2,
            server=sip.user_agent,
        )
        self.env = CallEnv(
            usage_env,
            sip.domain,
            settings.node.id,
            calls.total_ring_seconds,
            calls.trunk_silence_seconds,
            self._device_class,
            calls.wake_deadline_seconds,
            calls.push_delay_seconds,
            calls.trunk_progress_seconds,
        )
        self.env.keep_facts = settings.cdr.facts
        self.env.wakeable = self._is_wakeable
        self.digest = DigestServer(sip.domain, around.key, _digest_policy(settings))
        self.registrar = Registrar(directory, self.bindings, self.digest, _registrar_policy(settings, around))
        self.ladders = Ladders(calls.ladder_mib * 1024 * 1024, calls.kept_ladders)
        self.trunking = _trunking(settings, trunks, around)
        self.leases = around.leases or MemoryLeaseStore(lease_policy(settings))
        records = GatewayRecords(around.records)
        self.runner = Runner(
            self.env,
            around.calls,
            self.wire,
            self.trunking,
            records,
            self._route_transfer,
            self.ladders,
            calls.kept_ladders,
        )
        self.runner.lookups.other_flow = self._other_flow
        self.runner.running.occupants = Occupants(
            around.occupancy, self._is_member, calls.max_duration_seconds
        )
        around.occupancy.on_change = self.runner.member_changed
        self.runner.lookups.targets_of = self._targets_of
        self.intake = Intake(
            IntakeSettings(
                hosts=our_hosts((sip.domain, *sip.domains), listeners.all()),
                proxies=sip.proxies,
                country=calls.country,
                trust_datagram_flows=False,
                push=around.push is not None,
                stale_s=calls.stale_seconds,
                limits=Limits(
                    ring_s=calls.ring_seconds,
                    trunk_ring_s=calls.trunk_answer_seconds,
                    max_duration_s=calls.max_duration_seconds,
                    barred_classes=tuple(calls.barred_classes),
                    verified_sim=settings.outgoing.verified_sim,
                    gsm_ring_s=calls.gsm_ring_seconds,
                    hunt_limit_s=calls.hunt_limit_seconds,
                    blocked_as=calls.blocked_as,
                    voicemail_uri=settings.media.voicemail_uri,
                    announcement_uri=settings.media.announcement_uri,
                ),
            ),
            directory,
            trunks,
            self.bindings,
            self.digest,
            self.gate,
            self.runner,
            around.gateways,
            around.occupancy,
        )
        self.runner.lookups.reach = self.intake.gatherer.reach
        self.runner.lookups.route_forward = self._route_forward
        self.core = Core(
            self.endpoint,
            self.runner,
            self.registrar,
            self.intake,
            self.gate,
            self.wire,
            self.trunking,
            self.env,
            CallRefs(around.entropy, around.place, around.places),
            self.ladders,
            max_calls=settings.limits.max_calls,
            close_connection=around.close_connection,
            live_s=calls.live_state_seconds,
        )
        self.pushing = self._open_pushing(around.push)
        self.gateway_calls = GatewayCalls(directory, self.intake.gatherer, self.leases)
        self.intake.live.append(self.gateway_calls)
        if around.rios is not None:
            self.intake.live.append(RioSource(around.rios))
        self.outgoing = self._open_outgoing(around.outgoing)
        self.core.on_refused = self.gateway_calls.refused
        records.calls = self.gateway_calls
        self.phone = self._open_phone(around)

    def _open_outgoing(self, stores: OutgoingStores) -> Outgoing:
        """After all other live facts: they may tell who it is that calls."""
        calls = self.settings.calls
        longest_s = calls.max_duration_seconds + calls.total_ring_seconds
        outgoing = Outgoing(self.directory, outgoing_policy(self.settings), stores, longest_s)
        self.runner.trunk_legs.outgoing = outgoing
        self.intake.live.append(outgoing.source)
        return outgoing

    def _open_phone(self, around: Surroundings) -> PhoneRequests:
        """What apps ask for."""
        calls = self.settings.calls
        policy = PhonePolicy(
            lease_s=calls.lease_seconds,
            grace_s=calls.lease_grace_seconds,
            long_s=calls.long_lease_days * 86_400.0,
            wait_s=calls.live_state_seconds,
            country=calls.country,
        )
        gatherer, gateways, refs = (
            self.intake.gatherer,
            around.gateways,
            CallRefs(around.entropy, around.place, around.places),
        )
        phone = PhoneRequests(
            policy, self.directory, gatherer, self.intake.live, gateways, self.leases, refs.new
        )
        phone.prices = Quotes(self.outgoing.zoning)
        if around.rios is not None:
            phone.rio_asked = around.rios.rio_asked
        phone.callbacks = CallbackDesk(
            self.runner,
            gateways,
            self.leases,
            refs.new,
            self.core.no_room,
            calls.callback_ring_seconds,
            calls.callback_ring_seconds + calls.total_ring_seconds,
        )
        if around.sims is not None:
            self.verifier = SimVerifier(
                policy,
                calls.verification_seconds,
                self.directory,
                gateways,
                self.leases,
                around.sims,
                refs.new,
                around.wall,
            )
            self.gateway_calls.on_verification = self.verifier.on_call
            phone.verifications = self.verifier
        return phone

    def _open_pushing(self, sink: PushSink | None) -> Pushing | None:
        if sink is None:
            return None
        pushing = Pushing(sink, self.settings.mqtt.missed_call_seconds)
        self.runner.performer.pushes = pushing
        self.core.on_registered = pushing.registered
        return pushing

    def _is_member(self, user: str) -> bool:
        return bool(self.directory.greetings_of_member(user))

    def _route_forward(
        self, step: Forward, caller: Identity, cause: str, hops: int, ref: str, now: float
    ) -> tuple[CallFacts | None, Decision | None]:
        admitted = self.intake.route_forward(step, caller, cause, hops, ref, now)
        return admitted.facts, admitted.decision

    def _targets_of(self, user: str, since: float, now: float) -> list[DeviceTarget]:
        return self.intake.gatherer.callees.late(user, since, now)

    def _other_flow(self, user: str, device: str, tried: list[str], now: float) -> DeviceTarget | None:
        flows = [
            binding
            for binding in self.bindings.bindings_of_user(user, now)
            if binding.device == device and binding.reg_id and not binding.asleep and binding.key not in tried
        ]
        latest = max(flows, key=lambda binding: binding.refreshed_at) if flows else None
        return target_of(latest, self.bindings) if latest is not None else None

    def turn(self) -> None:
        """Work off everything that the endpoint reported; once per batch of input."""
        now = self._around.wall()
        self.core.turn(self._around.monotonic(), now)
        self.phone.tick(now)

    def _on_malformed(self, flow: Flow) -> None:
        self.gate.suspect(flow.host, MALFORMED, self._around.wall(), proven=flow.reliable)

    def _is_emergency(self, message: Message) -> bool:
        """Asked when others are turned away: such a call is not (OUT-05), whoever makes it and from wherever."""
        uri = message.target
        if uri is None:
            return False
        dialled = uri.user or f"{uri.scheme}:{uri.rest}"
        return message.method == "INVITE" and bool(emergency_number(dialled, (self.settings.calls.country,)))

    def _device_class(self, ref: str) -> str:
        device = self.directory.device(ref) if ref else None
        return str(device.kind) if device is not None else ""

    def _is_wakeable(self, ref: str) -> bool:
        device = self.directory.device(ref) if ref and self._around.push is not None else None
        return device is not None and bool(device.mqtt_password)

    def _route_transfer(self, device: str, target: str, number: str, now: float) -> Decision | None:
        admitted = self.intake.route_transfer(device, target, now, number=number)
        if admitted is None:
            return None
        if is_emergency(admitted):  # the record of the call that goes on does not say so (OUT-05)
            self.runner.performer.stats.refused(reasons.EMERGENCY)
            get_logger("calls").warning("emergency number in a transfer", device=device)
        return admitted.decision

    def _unreachable(self, owner: Owner, branch: str, method: str) -> None:
        self.runner.failed(owner, branch, method, "transport", self._around.wall())
        self.runner.flush(self._around.wall())


def _trunking(settings: Settings, trunks: TrunkDirectory, around: Surroundings) -> Trunking:
    policy = settings.trunks
    health = Health(
        HealthPolicy(
            down_after=policy.down_after,
            up_after=policy.up_after,
            quick_s=policy.quick_options_seconds,
            timeout_s=policy.options_timeout_seconds,
            jitter=policy.options_jitter,
            avoid_s=policy.avoid_seconds,
            avoid_max_s=policy.retry_after_max_seconds,
        ),
        around.dice,
    )
    channels = around.channels or MemoryTrunkChannels(settings.node.id, lease_s=policy.channel_lease_seconds)
    trunking = Trunking(trunks, channels, health, settings.calls.country, around.dice)
    trunking.gateways = around.gateways
    trunking.follow(around.wall())
    return trunking


def lease_policy(settings: Settings) -> LeasePolicy:
    """Times and bounds of leases of gateway numbers."""
    calls = settings.calls
    return LeasePolicy(
        retry_s=calls.lease_retry_seconds,
        hold_s=calls.max_duration_seconds + calls.total_ring_seconds,
        long_per_sim=calls.long_leases,
    )


def make_endpoint(settings: Settings, listeners: Listeners, key: bytes) -> Endpoint:
    """The endpoint of a node; sockets fill ``listeners``."""
    timers = settings.sip.timers
    return Endpoint(
        SipTimers(timers.t1, timers.t2, timers.t4),
        listeners,
        limits=MessageLimits(max_message=settings.limits.max_message_bytes),
        secret=key,
        max_transactions=settings.limits.max_transactions,
    )


def make_gate(settings: Settings, bindings: BindingStore) -> Gate:
    """Who may speak to us."""
    return Gate(_gate_policy(settings), bindings.has_source)


def _gate_policy(settings: Settings) -> GatePolicy:
    limits = settings.limits
    return GatePolicy(
        rate=limits.rate_per_second,
        burst=float(limits.burst),
        slow_rate=limits.slow_rate_per_second,
        auth_failures=limits.auth_failures,
        unknown_targets=limits.unknown_targets,
        malformed=limits.malformed,
        window_s=limits.window_seconds,
        ban_s=limits.ban_seconds,
        ban_cap_s=limits.ban_cap_seconds,
        bans=limits.bans,
        trusted_networks=limits.trusted_networks,
        trust_test_networks=limits.trust_test_networks,
    )


def _digest_policy(settings: Settings) -> DigestPolicy:
    registrar = settings.registrar
    return DigestPolicy(
        algorithms=registrar.digest_algorithms,
        md5_agents=tuple(part.lower() for part in registrar.md5_agents),
        nonce_s=registrar.nonce_seconds,
    )


def _registrar_policy(settings: Settings, around: Surroundings) -> RegistrarPolicy:
    registrar = settings.registrar
    return RegistrarPolicy(
        domain=settings.sip.domain.lower(),
        domains=frozenset(name.lower() for name in settings.sip.domains),
        default_expires_s=registrar.default_expires_seconds,
        min_expires_s=registrar.min_expires_seconds,
        max_expires_s=registrar.max_expires_seconds,
        flow_timer_s=registrar.flow_timer_seconds,
        max_bindings=registrar.max_bindings,
        gruu=registrar.gruu,
        push=around.push is not None,
    )
