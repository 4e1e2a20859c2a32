"""What the transaction user does with requests, on a whole node: which device rings, what is told, what a bug may cost."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from callcontrol.b2bua.call import Call
from callcontrol.b2bua.events import Event, RequestIn
from callcontrol.core import Admission
from callcontrol.intake import Admitted, Answer, Deferred
from callcontrol.live.nodes import HERE
from callcontrol.sip.flow import Flow
from callcontrol.sip.message import Message, parse
from tests.hostile.kit import Fence, request
from tests.scenarios.stage import ANA, BEN, CALLER, Stage
from tests.support.party import Party
from tests.support.world import DOMAIN, SERVER, World

INSTANCE = "urn:uuid:00000000-0000-4000-8000-0000000000a1"
OUTBOUND = (("supported", "path, outbound, gruu"),)


def flow_of(phone: Party, number: int) -> None:
    """Register an outbound flow of the phone."""
    phone.contact_params = f';+sip.instance="<{INSTANCE}>";reg-id={number}'
    phone.register(headers=OUTBOUND)
    phone.world.network.run_until(phone.now + 0.5)


def test_a_device_with_two_flows_rings_once() -> None:
    """RFC 5626 section 5.3: over the flow that it refreshed last, and over the other one when that is gone."""
    world = World()
    phone, carrier = world.phone("ana-phone", transport="tcp", register=False), world.carrier()
    flow_of(phone, 1)
    flow_of(phone, 2)
    assert len(world.bindings) == 2
    call = carrier.call("+33639981001")
    world.run(0.5)
    assert len(phone.dialogs) == 1
    carrier.cancel(call)
    world.run(1)
    flow_of(phone, 1)
    call = carrier.call("+33639981001")
    world.run(0.5)
    assert len(phone.dialogs) == 2
    flow_of(phone, 2)
    world.run(0.5)
    assert len(phone.dialogs) == 2, "another flow of a device that rings is no late device"


@pytest.mark.parametrize("how", ["430", "transport"])
def test_a_dead_flow_is_followed_by_the_other_one_of_the_device(how: str) -> None:
    """RFC 5626 section 5.3: the next flow of the same instance, once, before the device counts as unreachable."""
    world = World()
    phone, carrier = world.phone("ana-phone", transport="udp", register=False), world.carrier()
    flow_of(phone, 1)
    phone.transport, phone.contact = "tcp", f"<sip:ana-phone@{phone.host}:5060;transport=tcp>"
    flow_of(phone, 2)
    latest = max(
        world.bindings.bindings_of_user("ana", world.now()), key=lambda binding: binding.refreshed_at
    )
    assert latest.flow.startswith("tcp|")
    call = carrier.call("+33639981001")
    if how == "430":
        world.run(0.5)
        phone.reply(phone.incoming, 430)
    else:
        world.run(0.01)
        world.server.endpoint.send_failed(Flow.load(latest.flow), world.network.now)
        world.node.settle()
    world.run(0.5)
    running = next(iter(world.server.runner.calls.values()))
    callees = [leg for leg in running.legs.values() if leg.role == "callee"]
    assert [leg.address.partition("|")[0] for leg in callees] == ["tcp", "udp"]
    assert call.status < 200
    phone.reply(phone.dialogs[-1], 486)
    world.run(1.0)
    assert call.status == 486
    assert len(callees) == 2


def gruu(phone: Party) -> str:
    """The public GRUU that the registrar gave."""
    return phone.replies[-1].data.decode().partition('pub-gruu="')[2].partition('"')[0]


def test_a_gruu_leads_to_its_device_alone() -> None:
    """RFC 5627 section 5.1; a plain address of record leads to all devices of its user."""
    world = World()
    ana, other = world.phone("ana-phone", register=False), world.phone("ana-desktop")
    flow_of(ana, 1)
    ben = world.phone("ben-phone")
    address = gruu(ana)
    assert address == f"sip:ana-phone@{DOMAIN};gr={INSTANCE}"
    first = ben.call("ana-phone")
    world.run(0.5)
    assert ana.rang
    assert other.rang
    ben.cancel(first)
    world.run(1)
    rang = len(other.dialogs)
    world.network.transmit = _with_uri(world, f"sip:ana-phone@{DOMAIN}", address)  # type: ignore[method-assign]
    ben.call("ana-phone")
    world.run(0.5)
    assert len(ana.dialogs) == 2
    assert len(other.dialogs) == rang


def test_a_gruu_of_a_device_that_is_gone_leads_nowhere() -> None:
    world = World()
    ana, other = world.phone("ana-phone", register=False), world.phone("ana-desktop")
    flow_of(ana, 1)
    address = gruu(ana)
    ana.register(0, OUTBOUND)
    world.run(0.5)
    ben = world.phone("ben-phone")
    world.network.transmit = _with_uri(world, f"sip:ana-phone@{DOMAIN}", address)  # type: ignore[method-assign]
    call = ben.call("ana-phone")
    world.run(0.5)
    assert call.status == 480
    assert not other.rang


def _with_uri(world: World, old: str, new: str) -> object:
    """Another Request-URI in each INVITE to the server, behind the back of the party's own dialog."""
    passed = world.network.transmit

    def transmit(sender: object, flow: object, data: bytes) -> None:
        line = f"INVITE {old} SIP/2.0".encode()
        passed(sender, flow, data.replace(line, f"INVITE {new} SIP/2.0".encode()))  # type: ignore[arg-type]

    return transmit


def test_options_tells_what_we_can() -> None:
    """RFC 3261 section 11.2."""
    fence = Fence()
    (answer,) = [parse(data) for data in fence.send(request("OPTIONS", 1, uri=f"sip:{DOMAIN}"))]
    assert answer.status == 200
    assert {"INVITE", "ACK", "CANCEL", "BYE", "REGISTER", "UPDATE", "PRACK", "REFER"} <= set(
        answer.items("allow")
    )
    assert answer.get("accept") == "application/sdp"
    assert (answer.get("accept-encoding"), answer.get("accept-language")) == ("identity", "en")
    assert {"100rel", "timer", "replaces"} <= set(answer.tokens("supported"))


@pytest.mark.rule("OPS-04")
def test_options_tells_load_balancers_of_a_drain() -> None:
    fence = Fence()
    fence.world.server.core.draining = True
    (answer,) = [parse(data) for data in fence.send(request("OPTIONS", 1, uri=f"sip:{DOMAIN}"))]
    assert answer.status == 503


class BrokenIntake:
    """An intake that has a bug, which one message meets."""

    def __init__(self, sound: Admission) -> None:
        self._sound = sound

    def admit(self, message: Message, flow: Flow, now: float) -> Answer | Admitted | Deferred:
        if message.call_id == "bad":
            raise RuntimeError("a bug")
        return self._sound.admit(message, flow, now)


@pytest.mark.rule("OPS-05")
def test_a_bug_that_one_message_meets_costs_the_others_nothing() -> None:
    """The sender gets 500, the defect is told once, and what came in the same turn is dealt with."""
    fence = Fence(open_gate=True)
    told: list[Exception] = []
    fence.server.runner.defects.listener = told.append
    fence.server.core.intake = BrokenIntake(fence.server.core.intake)
    for call_id in ("good1", "bad", "good2"):
        fence.receive(request("INVITE", fence.number(), uri=f"sip:{DOMAIN}", call_id=call_id))
    answers = {message.call_id: message.status for message in map(parse, fence.turn())}
    assert answers == {"good1": 407, "bad": 500, "good2": 407}
    assert [str(error) for error in told] == ["a bug"]
    assert fence.server.runner.defects.count == 1


def test_a_bug_is_raised_where_nobody_wants_to_know_of_it() -> None:
    """So that no test passes over one."""
    fence = Fence(open_gate=True)
    fence.server.core.intake = BrokenIntake(fence.server.core.intake)
    fence.receive(request("INVITE", 1, uri=f"sip:{DOMAIN}", call_id="bad"))
    with pytest.raises(RuntimeError):
        fence.turn()


@pytest.mark.rule("OPS-05", "LIVE-02")
def test_a_bug_that_a_request_meets_after_its_call_was_fetched_costs_the_others_nothing() -> None:
    """Two parties hang up, each in a call that another node has; the first of the calls meets a bug here."""
    stage = Stage()
    world, carrier = stage.world, stage.carrier()
    for name, number in (("ana-phone", ANA), ("ben-phone", BEN)):
        phone = stage.phone(name)
        carrier.call(number, caller=CALLER)
        stage.run(0.3)
        phone.answer()
        stage.run(0.5)
    for call in carrier.dialogs:
        carrier.bye(call)
    byes = [data for _, source, _, data in world.network.log if source == carrier.host][-2:]
    other, now = world.build(), world.network.now
    told: list[Exception] = []
    other.runner.defects.listener = told.append
    refs = list(world.server.runner.calls)

    def broken(call: Call, event: Event) -> None:
        if call.ref == refs[0] and isinstance(event, RequestIn):
            raise RuntimeError("a bug")

    def fetch(ref: str, done: Callable[[str], None]) -> None:
        taken = world.store.take(ref)
        assert taken is not None
        other.runner.resume(taken[1], taken[0], world.now())
        done(HERE)

    other.runner.tap, other.core.search.fetch = broken, fetch
    for bye in byes:
        assert bye.startswith(b"BYE ")
        other.endpoint.receive(bye, Flow("udp", carrier.host, 5060, f"udp:{SERVER}:5060"), now)
    other.turn()
    other.turn()
    answers = [parse(data) for _, data in other.endpoint.out]
    assert [answer.status for answer in answers if answer.status and answer.cseq_method == "BYE"] == [
        500,
        200,
    ]
    assert [str(error) for error in told] == ["a bug"]


@pytest.mark.rule("INC-09")
def test_a_cancel_that_comes_in_one_batch_with_its_invite_ends_it() -> None:
    """RFC 3261 section 9.2: the server had not even looked at the INVITE when its CANCEL was there."""
    fence = Fence()
    carrier = fence.world.carrier()
    phone = fence.world.phone("ana-phone")
    fence.world.run(1)
    invite = request("INVITE", 1, sender=f"<sip:{CALLER}@{carrier.host}>")
    cancel = invite.partition(b"\r\n\r\n")[0].replace(b"INVITE", b"CANCEL")
    cancel = b"\r\n".join(line for line in cancel.split(b"\r\n") if not line.lower().startswith(b"content-"))
    fence.receive(invite, carrier.host)
    fence.receive(cancel + b"\r\nContent-Length: 0\r\n\r\n", carrier.host)
    told = [parse(data) for data in fence.turn(carrier.host)]
    assert [(each.method, each.status) for each in told if each.status > 100] == [
        ("CANCEL", 200),
        ("INVITE", 487),
    ]
    fence.world.run(0.2)
    phone.ring()  # the CANCEL waits for that (section 9.1)
    fence.world.run(40)
    assert fence.world.calls == 0
    (record,) = fence.world.records
    assert record.reason == "caller_cancelled"
    log = fence.world.network.log
    sent = [parse(data) for _, source, target, data in log if (source, target) == (SERVER, phone.host)]
    assert [each.method for each in sent if not each.status] == ["INVITE", "CANCEL", "ACK"]
