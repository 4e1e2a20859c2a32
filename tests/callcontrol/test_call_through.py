"""A SIM calls a gateway number: the whole way on a node, from the trunk's INVITE to the record (OUT-02)."""

from __future__ import annotations

import dataclasses

import pytest

from callcontrol.cdr import CallRecord
from gateway.leases import Lease, LeaseRequest
from numbering.models import NumberState
from tests.support.party import Dialog
from tests.support.world import World

SIM = "+33639980000"
"""Of ana's phone."""
ANA = "+33639981001"
OUTSIDE = "+33199005678"
STRANGER = "+33639989999"


class Scene:
    """A carrier that brings the SIM's calls, another one behind which the callee is."""

    def __init__(self) -> None:
        self.world = World()
        self.ingress = self.world.carrier("10.0.2.1", "ingress")
        self.carrier = self.world.carrier("10.0.1.1", "carrier")
        self._ids = 0

    def lease(self, to: str = OUTSIDE, **fields: object) -> Lease:
        self._ids += 1
        values: dict[str, object] = {
            "id": f"lease-{self._ids}",
            "kind": "call_through",
            "sim": SIM,
            "user": "ana",
            "device": "ana-phone",
            "number": ANA,
            "to": to,
            "life_s": 45.0,
        }
        request = LeaseRequest(**{**values, **fields})  # type: ignore[arg-type]
        found: list[object] = []
        kind = str(values | fields)
        pool = [n.e164 for n in self.world.gateways.of_country("FR", request.kind)]
        self.world.leases.take(request, pool, self.world.now(), found.append)
        assert isinstance(found[0], Lease), kind
        return found[0]

    def call(self, gateway: str, caller: str = SIM, headers: tuple[tuple[str, str], ...] = ()) -> Dialog:
        dialog = self.ingress.call(gateway, caller=caller, headers=headers)
        self.world.run(0.5)
        return dialog

    @property
    def record(self) -> CallRecord:
        (record,) = self.world.records
        return record


def refused(scene: Scene, dialog: Dialog) -> str:
    """Reason that the carrier and the record were told; they agree."""
    answer = dialog.responses[-1]
    text = next(value for value in answer.all("reason") if value.startswith("SIP"))
    record = scene.world.records[-1]
    assert f'text="{record.reason}"' in text
    assert record.status == answer.status
    assert not scene.carrier.dialogs, "nobody was called"
    return record.reason


@pytest.mark.rule("OUT-02")
def test_the_sim_is_led_on_and_the_callee_sees_the_cloud_number() -> None:
    scene = Scene()
    lease = scene.lease()
    dialog = scene.call(lease.gateway)
    (ringing,) = scene.carrier.dialogs
    assert ringing.invite is not None
    assert ringing.invite.uri.startswith(f"sip:{OUTSIDE}@")
    assert f"sip:{ANA}@" in ringing.invite.from_value
    assert SIM not in ringing.invite.data.decode(), "the SIM's number is nobody's business"
    assert lease.gateway not in ringing.invite.data.decode()
    scene.carrier.ring()
    scene.world.run(0.5)
    assert 180 in dialog.statuses
    scene.carrier.answer()
    scene.world.run(5.0)
    assert dialog.live
    assert ringing.live
    scene.ingress.bye(dialog)
    scene.world.run(1.0)
    assert ringing.over
    record = scene.record
    assert (record.gateway_number, record.lease, record.sim) == (lease.gateway, lease.id, SIM)
    assert (record.number, record.called, record.direction) == (ANA, OUTSIDE, "outgoing")
    assert (record.user, record.account, record.device, record.device_class) == (
        "ana",
        "acme",
        "ana-phone",
        "phone",
    )
    assert (record.trunk, record.dialled) == ("carrier-b", OUTSIDE)
    assert (record.reason, record.ended_by) == ("normal_clearing", "caller")
    assert [(leg.role, leg.number, leg.trunk) for leg in record.legs] == [
        ("caller", SIM, "carrier-b"),
        ("callee", OUTSIDE, "carrier-a"),
    ]
    assert f'"OUT-02","choose","{SIM} calls {lease.gateway} with lease {lease.id}' in record.trace
    assert scene.world.leases.counts(scene.world.now()) == {"open": 0, "in_use": 0, "cooling": 0}


A_NUMBERS = [
    # From user, further headers: what trunks really send for one and the same SIM
    (SIM, ()),
    ("0033639980000", ()),
    ("33639980000", ()),
    ("0639980000", ()),
    ("0639980000;phone-context=+33", ()),
    ("+33-6-39-98-00-00", ()),
    ("anything", (("P-Asserted-Identity", f"<sip:{SIM}@10.0.2.1;user=phone>"),)),
    ("anything", (("P-Asserted-Identity", f'"06 39 98 00 00" <tel:{SIM}>'),)),
    ("anything", (("P-Asserted-Identity", "tel:+33-6-39-98-00-00"),)),
    (STRANGER, (("P-Asserted-Identity", f'"Ana, Example" <sip:0639980000@10.0.2.1>, <tel:{SIM}>'),)),
    (STRANGER, (("Remote-Party-ID", f"<sip:{SIM}@10.0.2.1>;party=calling;privacy=off;screen=yes"),)),
    ("anything", (("P-Preferred-Identity", f"<sip:{SIM}@10.0.2.1>"),)),
    (SIM, (("Privacy", "none"),)),
]


@pytest.mark.rule("OUT-02")
@pytest.mark.rule("NUM-01")
@pytest.mark.parametrize(("user", "headers"), A_NUMBERS)
def test_the_sim_is_known_however_a_trunk_writes_it(user: str, headers: tuple[tuple[str, str], ...]) -> None:
    scene = Scene()
    scene.call(scene.lease().gateway, user, headers)
    assert len(scene.carrier.dialogs) == 1, scene.world.records


HIDDEN = [
    ("anonymous", ()),
    (SIM, (("Privacy", "id"),)),
    ("anonymous", (("P-Asserted-Identity", f"<sip:{SIM}@10.0.2.1>"), ("Privacy", "id"))),
    (SIM, (("Remote-Party-ID", f"<sip:{SIM}@10.0.2.1>;party=calling;privacy=full"),)),
    ("Unavailable", ()),
]


@pytest.mark.rule("OUT-02")
@pytest.mark.parametrize(("user", "headers"), HIDDEN)
def test_a_hidden_or_unknown_number_is_refused_unless_it_leased_exclusively(
    user: str, headers: tuple[tuple[str, str], ...]
) -> None:
    scene = Scene()
    dialog = scene.call(scene.lease().gateway, user, headers)
    assert refused(scene, dialog) == "hidden_caller"
    assert dialog.status == 433
    assert "Show your number" in (dialog.responses[-1].get("warning") or "")
    alone = scene.lease(to=f"{OUTSIDE[:-1]}0", exclusive=True)
    scene.call(alone.gateway, user, headers)
    assert len(scene.carrier.dialogs) == 1
    scene.carrier.answer()
    scene.world.run(1.0)
    scene.carrier.bye(scene.carrier.incoming)
    scene.world.run(1.0)
    assert (scene.world.records[-1].lease, scene.world.records[-1].sim) == (alone.id, SIM)


def test_a_stranger_gets_a_clear_refusal() -> None:
    scene = Scene()
    lease = scene.lease()
    dialog = scene.call(lease.gateway, STRANGER)
    assert refused(scene, dialog) == "no_lease"
    assert dialog.status == 403
    assert "in the app" in (dialog.responses[-1].get("warning") or "")
    record = scene.record
    assert (record.gateway_number, record.lease, record.user, record.number) == (lease.gateway, "", "", "")
    assert record.caller == STRANGER
    # and took nothing away from whom it was meant for
    scene.call(lease.gateway)
    assert len(scene.carrier.dialogs) == 1


def test_a_sim_that_calls_twice() -> None:
    scene = Scene()
    lease = scene.lease()
    scene.call(lease.gateway)
    scene.carrier.answer()
    scene.world.run(1.0)
    second = scene.call(lease.gateway)
    assert second.status == 403
    assert scene.world.records[-1].reason == "no_lease"
    assert "has been used" in scene.world.records[-1].trace
    assert len(scene.carrier.dialogs) == 1
    scene.carrier.bye(scene.carrier.incoming)
    scene.world.run(1.0)
    third = scene.call(lease.gateway)
    assert third.status == 403


def test_a_carrier_tries_again_when_we_could_not_complete_the_call() -> None:
    scene = Scene()
    lease = scene.lease()
    first = scene.call(lease.gateway)
    scene.carrier.reply(scene.carrier.incoming, 486)
    scene.world.run(1.0)
    assert first.status == 486
    scene.call(lease.gateway)
    assert len(scene.carrier.dialogs) == 2
    scene.carrier.reply(scene.carrier.incoming, 486)
    scene.world.run(20.0)
    assert scene.call(lease.gateway).status == 403
    assert len(scene.carrier.dialogs) == 2


def test_a_lease_that_is_never_used() -> None:
    scene = Scene()
    lease = scene.lease()
    scene.world.run(46.0)
    dialog = scene.call(lease.gateway)
    assert refused(scene, dialog) == "no_lease"
    assert "has expired" in scene.record.trace
    scene.world.run(700.0)
    scene.call(lease.gateway)
    assert "nobody asked" in scene.world.records[-1].trace
    assert len(scene.world.leases.table) == 0


def test_a_lease_that_expires_while_the_call_is_set_up() -> None:
    scene = Scene()
    lease = scene.lease(life_s=1.0)
    dialog = scene.call(lease.gateway)
    scene.carrier.ring()
    scene.world.run(30.0)
    scene.carrier.answer()
    scene.world.run(1.0)
    assert dialog.live


def test_two_apps_of_one_user_at_once() -> None:
    """A phone and a second phone of ana ask at the same time; both dial, each is led where it wanted."""
    scene = Scene()
    directory = scene.world.directory
    second = directory.device("ana-desktop")
    assert second is not None
    directory.put_one(dataclasses.replace(second, sim="+33639980008"))
    one = scene.lease()
    two = scene.lease(to="+33199005679", sim="+33639980008", device="ana-desktop")
    assert one.gateway == two.gateway, "the pair counts, so they may share the number"
    scene.call(two.gateway, "+33639980008")
    scene.call(one.gateway)
    targets = [dialog.invite.uri for dialog in scene.carrier.dialogs if dialog.invite is not None]
    assert [uri.partition("@")[0] for uri in targets] == ["sip:+33199005679", f"sip:{OUTSIDE}"]
    # the same phone twice: two numbers
    assert scene.lease(to="+33199005677").gateway != scene.lease(to="+33199005676").gateway


RULES = [
    # what is the matter at the time of the call, although it was not when the lease was asked for
    (lambda world: world.suspend("ana"), "suspended"),
    (lambda world: world.number(ANA, state=NumberState.EXPIRED), "expired"),
    (lambda world: world.number(ANA, calls=False), "calls_off"),
    (lambda world: world.number(ANA, user="ben"), "not_your_number"),
    (lambda world: world.device("ana-phone", sim_verified=False), "unverified_sim"),
    (lambda world: world.device("ana-phone", sim="+33639980009"), "no_lease"),
    (lambda world: world.device("ana-phone", user="ben"), "no_lease"),
]


class Changes:
    """Provisioning that changes between the request and the call."""

    def __init__(self, world: World) -> None:
        self._directory = world.directory

    def suspend(self, user: str) -> None:
        found = self._directory.user(user)
        assert found is not None
        self._directory.put_one(dataclasses.replace(found, suspended=True))

    def number(self, e164: str, **fields: object) -> None:
        found = self._directory.number(e164)
        assert found is not None
        self._directory.put_one(dataclasses.replace(found, **fields))  # type: ignore[arg-type]

    def device(self, ref: str, **fields: object) -> None:
        found = self._directory.device(ref)
        assert found is not None
        self._directory.put_one(dataclasses.replace(found, **fields))  # type: ignore[arg-type]


@pytest.mark.rule("OUT-02")
@pytest.mark.rule("OUT-09")
@pytest.mark.parametrize(
    ("change", "reason"), RULES, ids=[f"{i} {reason}" for i, (_, reason) in enumerate(RULES)]
)
def test_every_rule_of_outgoing_calls_is_asked_when_the_lease_is_used(change: object, reason: str) -> None:
    scene = Scene()
    lease = scene.lease()
    assert callable(change)
    change(Changes(scene.world))
    assert refused(scene, scene.call(lease.gateway)) == reason


@pytest.mark.parametrize(
    ("to", "reason"), [(f"08{99000000}", "barred_class"), ("112", "emergency"), ("nonsense", "no_lease")]
)
def test_where_nobody_may_be_led(to: str, reason: str) -> None:
    scene = Scene()
    assert refused(scene, scene.call(scene.lease(to=to).gateway)) == reason


@pytest.mark.rule("OUT-07")
def test_a_hidden_number_is_hidden_here_too() -> None:
    scene = Scene()
    scene.call(scene.lease(hide=True).gateway)
    invite = scene.carrier.incoming.invite
    assert invite is not None
    assert "anonymous" in invite.from_value
    assert invite.get("privacy") == "id"
    assert ANA in (invite.get("p-asserted-identity") or "")


def test_a_colleague_is_reached_without_a_trunk() -> None:
    scene = Scene()
    ben = scene.world.phone("ben-phone")
    scene.call(scene.lease(to="+33639981002").gateway)
    assert ben.rang
    assert not scene.carrier.dialogs


def test_a_sim_may_not_transfer() -> None:
    """What comes by a carrier acts for nobody; only devices may ask us to make calls."""
    scene = Scene()
    dialog = scene.call(scene.lease().gateway)
    scene.carrier.answer()
    scene.world.run(1.0)
    scene.ingress.request(dialog, "REFER", headers=(("Refer-To", f"<sip:{STRANGER}@10.0.2.1>"),))
    scene.world.run(1.0)
    assert [m.status for m in dialog.responses if m.method == "REFER"] == [403]


def test_a_call_that_there_is_no_room_for_may_come_again() -> None:
    scene = Scene()
    lease = scene.lease()
    scene.world.server.core.draining = True
    assert scene.call(lease.gateway).status == 503
    scene.world.server.core.draining = False
    scene.call(lease.gateway)
    assert len(scene.carrier.dialogs) == 1, "the carrier's second way leads to the callee"


class Silent:
    """A live store that is gone: nothing is ever answered, or the answer is that it cannot."""

    def __init__(self, answers: bool) -> None:
        self.answers = answers

    def use(self, sim: str, gateway: str, call_id: str, now: float, done: object) -> None:
        if self.answers:
            assert callable(done)
            done(None)

    def finish(self, id: str, call_id: str, answered: bool, now: float) -> None:
        raise AssertionError("there is no lease")


@pytest.mark.rule("LIVE-03")
@pytest.mark.parametrize("answers", [False, True])
def test_a_node_that_loses_its_live_store_says_so(answers: bool) -> None:
    scene = Scene()
    lease = scene.lease()
    scene.world.server.gateway_calls._leases = Silent(answers)  # type: ignore[assignment]
    dialog = scene.call(lease.gateway)
    phone = scene.world.phone("ana-phone")
    other = scene.ingress.call(ANA)
    scene.world.run(3.0)
    assert refused(scene, dialog) == "unavailable"
    assert dialog.status == 503
    assert phone.rang, "ordinary calls need no lease"
    assert other.hanging


def test_a_sim_takes_nobodys_place_in_a_call() -> None:
    """INVITE with Replaces is for devices of the account; whoever forges the SIM's number must not get into a call."""
    scene = Scene()
    ana, ben = scene.world.phone("ana-desktop"), scene.world.phone("ben-phone")
    talk = ana.call("+33639981002")
    scene.world.run(0.5)
    ben.answer()
    scene.world.run(1.0)
    assert talk.live
    ours, theirs = (text.rpartition(";tag=")[2] for text in (talk.remote, talk.local))
    replaces = (("Replaces", f"{talk.call_id};to-tag={ours};from-tag={theirs}"),)
    dialog = scene.call(scene.lease().gateway, headers=replaces)
    assert dialog.status == 603
    assert talk.live
