"""What apps ask for, from the request to the call that follows: leases, verification, refusals (OUT-02, DEV-01, DEV-03)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import pytest

from callcontrol.cdr import CallRecord
from callcontrol.phone_requests import Error, Ok, Reply
from config.sections import MediaSettings
from config.settings import Settings
from gateway.gateway_numbers import GatewayNumber
from gateway.lease_store import MemoryLeaseStore
from gateway.leases import Lease, LeaseRequest
from numbering.e164 import E164
from numbering.models import Device, NumberState
from tests.support.party import Dialog
from tests.support.world import World

SIM = "+33639980000"
ANA, BEN = "+33639981001", "+33639981002"
OUTSIDE = "+33199005678"
VERIFY = "+33199000004"


class Scene:
    """A node, and the carrier that brings the calls of SIMs."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.world = World(settings=settings)
        self.ingress = self.world.carrier("10.0.2.1", "ingress")
        self.carrier = self.world.carrier("10.0.1.1", "carrier")

    def ask(self, device: str = "ana-phone", **request: object) -> Reply:
        told: list[Reply] = []
        self.world.server.phone.handle(device, request, self.world.now(), told.append)
        (reply,) = told
        return reply

    def ok(self, device: str = "ana-phone", **request: object) -> Mapping[str, object]:
        reply = self.ask(device, **request)
        assert isinstance(reply, Ok), reply
        return reply.fields

    def error(self, device: str = "ana-phone", **request: object) -> Error:
        reply = self.ask(device, **request)
        assert isinstance(reply, Error), reply
        return reply

    def call(self, gateway: object, caller: str = SIM) -> Dialog:
        dialog = self.ingress.call(str(gateway), caller=caller)
        self.world.run(0.5)
        return dialog

    def change(self, ref: str, **fields: object) -> None:
        self.world.directory.put_one(dataclasses.replace(self.device(ref), **fields))  # type: ignore[arg-type]

    def device(self, ref: str) -> Device:
        found = self.world.directory.device(ref)
        assert found is not None
        return found

    @property
    def record(self) -> CallRecord:
        return self.world.records[-1]


# -- the RIO service ---------------------------------------------------------------------------------------------


@pytest.mark.rule("NUM-11")
def test_a_phone_without_data_asks_for_its_rio() -> None:
    """Where nobody can speak the request is refused, and the message is sent: a price that is asked for sends none."""
    scene = Scene()
    rios = scene.world.rios
    rios.known[ANA] = "04P000000LJJ"
    assert scene.error(type="price", to="3179").code == "rio_by_message"
    assert rios.asked == []
    for kind in ("call_through", "callback"):
        assert scene.error(type=kind, to="3179").code == "rio_by_message"
    assert rios.asked == [ANA, ANA]
    rios.known.clear()
    assert scene.error(type="call_through", to="3179").code == "no_rio"
    assert rios.asked == [ANA, ANA], "nothing is promised that there is not"


@pytest.mark.rule("NUM-11", "OUT-02")
def test_a_call_through_hears_the_rio() -> None:
    server = "sip:announcements@10.0.9.1:5060"
    scene = Scene(Settings(media=MediaSettings(announcement_uri=server)))
    speaker = scene.world.carrier("10.0.9.1", "speaker")
    scene.world.rios.known[ANA] = "04P000000LJJ"
    told = scene.ok(type="call_through", to="3179")
    dialog = scene.call(told["gateway_number"])
    invite = speaker.incoming.invite
    assert invite is not None
    assert invite.uri == f"{server};play=rio;param1=04P000000LJJ"
    assert SIM not in invite.data.decode()
    speaker.answer()
    scene.world.run(1.0)
    assert dialog.live
    speaker.bye(speaker.incoming)
    scene.world.run(1.0)
    assert dialog.over
    assert (scene.record.number, scene.record.lease, scene.record.legs[1].number) == (
        ANA,
        told["lease"],
        "rio",
    )


# -- calls through ----------------------------------------------------------------------------------------------


@pytest.mark.rule("OUT-02")
def test_an_app_asks_its_sim_dials_and_the_callee_is_called() -> None:
    scene = Scene()
    told = scene.ok(type="call_through", number=ANA, to="01 99 00 56 78")
    assert set(told) == {"gateway_number", "expires_in_s", "lease", "number", "to"}
    assert (told["expires_in_s"], told["number"], told["to"]) == (45, ANA, OUTSIDE)
    scene.call(told["gateway_number"])
    scene.carrier.answer()
    scene.world.run(1.0)
    invite = scene.carrier.incoming.invite
    assert invite is not None
    assert invite.uri.startswith(f"sip:{OUTSIDE}@")
    assert f"sip:{ANA}@" in invite.from_value
    assert Ok(fields=told).as_json() == {"ok": True, **told}


def test_with_no_number_named_the_default_one_is_leased() -> None:
    assert Scene().ok(type="call_through", to=OUTSIDE)["number"] == ANA


def test_a_call_that_comes_at_the_last_second_is_not_too_late() -> None:
    """The app counts down to zero; the networks then need their time to bring the call."""
    scene = Scene()
    told = scene.ok(type="call_through", to=OUTSIDE)
    scene.world.run(45.0 + 14.0)
    scene.call(told["gateway_number"])
    assert len(scene.carrier.dialogs) == 1


def test_asking_twice_is_asking_once() -> None:
    scene = Scene()
    first = scene.ok(type="call_through", to=OUTSIDE)
    scene.world.run(10.0)
    again = scene.ok(type="call_through", to=OUTSIDE)
    assert again == first
    assert again["expires_in_s"] == 45


def test_a_pool_that_is_exhausted_says_when_to_ask_again() -> None:
    scene = Scene()
    for line in range(3):
        scene.ok(type="call_through", to=f"+3319900567{line}")
    scene.world.run(20.0)
    refused = scene.error(type="call_through", to=OUTSIDE)
    assert (refused.code, refused.retry_after_s) == ("no_gateway_number", 40)
    assert refused.as_json() == {
        "ok": False,
        "error": {"code": "no_gateway_number", "message": refused.message, "retry_after_s": 40},
    }
    # the other phone of the company is served
    assert isinstance(scene.ask("ben-phone", type="call_through", to=OUTSIDE), Ok)


def test_there_may_be_no_number_in_the_country_of_the_sim() -> None:
    scene = Scene()
    scene.change("ana-phone", sim="+447700900123")
    refused = scene.error(type="call_through", to=OUTSIDE)
    assert (refused.code, refused.retry_after_s) == ("no_gateway_number", 0)
    assert "GB" in refused.message
    number = GatewayNumber(e164=E164("+447700900001"), trunk="carrier-a", country="GB")
    scene.world.gateways.replace([*scene.world.gateways.all(), number], version=2)
    assert scene.ok(type="call_through", to=OUTSIDE)["gateway_number"] == "+447700900001"


@pytest.mark.rule("OUT-02")
def test_a_sim_that_hides_its_number_gets_one_for_itself() -> None:
    scene = Scene()
    told = scene.ok(type="call_through", to=OUTSIDE, hidden_sim=True)
    assert scene.ok("ben-phone", type="call_through", to=OUTSIDE)["gateway_number"] != told["gateway_number"]
    scene.call(told["gateway_number"], "anonymous")
    assert len(scene.carrier.dialogs) == 1


@pytest.mark.rule("OUT-02")
def test_a_favourite_contact_can_be_called_without_asking_again() -> None:
    scene = Scene()
    told = scene.ok(type="call_through", to=OUTSIDE, favourite=True)
    assert told["expires_in_s"] == 60 * 86_400 - 15
    for count in range(1, 4):
        scene.call(told["gateway_number"])
        scene.carrier.answer()
        scene.world.run(1.0)
        scene.carrier.bye(scene.carrier.incoming)
        scene.world.run(86_400.0)
        assert len(scene.carrier.dialogs) == count
    assert scene.ok(type="release", lease=told["lease"]) == {"lease": told["lease"]}
    assert scene.call(told["gateway_number"]).status == 403
    refused = scene.error("ben-phone", type="release", lease=told["lease"])
    assert refused.code == "not_found", "what another device has leased is nobody's business"


def test_favourites_are_bounded() -> None:
    scene = Scene()
    scene.world.leases.table.policy = dataclasses.replace(scene.world.leases.table.policy, long_per_sim=1)
    scene.ok(type="call_through", to=OUTSIDE, favourite=True)
    refused = scene.error(type="call_through", to="+33199005679", favourite=True)
    assert (refused.code, refused.retry_after_s) == ("no_gateway_number", 0)
    assert "favourite" in refused.message


RULES: list[tuple[Callable[[Scene], None], dict[str, object], str]] = [
    (lambda s: s.change("ana-phone", sim_verified=False), {}, "unverified_sim"),
    (lambda s: s.change("ana-phone", sim=""), {}, "unverified_sim"),
    (lambda s: None, {"number": BEN}, "not_your_number"),
    (lambda s: None, {"number": "nonsense"}, "invalid_number"),
    (lambda s: None, {"to": "nonsense"}, "invalid_number"),
    (lambda s: None, {"to": "0899 000 000"}, "barred_class"),
    (lambda s: None, {"to": "112"}, "emergency"),
    (lambda s: None, {"to": BEN}, "unreachable"),
    (lambda s: s.world.trunks.replace([], version=2), {}, "no_route"),
]


@pytest.mark.rule("OUT-09")
@pytest.mark.rule("OUT-02")
@pytest.mark.parametrize(
    ("prepare", "fields", "code"), RULES, ids=[f"{i} {code}" for i, (_, _, code) in enumerate(RULES)]
)
def test_every_rule_of_outgoing_calls_is_asked_when_a_lease_is_asked_for(
    prepare: Callable[[Scene], None], fields: dict[str, object], code: str
) -> None:
    scene = Scene()
    prepare(scene)
    refused = scene.error(**{"type": "call_through", "to": OUTSIDE, **fields})
    assert refused.code == code
    assert refused.message
    assert len(scene.world.leases.table) == 0


def test_states_of_the_number_and_its_holder() -> None:
    scene = Scene()
    number, user = scene.world.directory.number(ANA), scene.world.directory.user("ana")
    assert number is not None
    assert user is not None
    scene.world.directory.put_one(dataclasses.replace(number, state=NumberState.EXPIRED))
    assert scene.error(type="call_through", to=OUTSIDE).code == "expired"
    scene.world.directory.put_one(dataclasses.replace(user, suspended=True))
    assert scene.error(type="call_through", to=OUTSIDE).code == "suspended"


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ({}, "type is none of call_through"),
        ({"type": 7}, "type is none of"),
        ({"type": "call_through"}, "to is missing"),
        ({"type": "call_through", "to": 33}, "to is no text"),
        ({"type": "call_through", "to": "1" * 65}, "to is no text of at most 64"),
        ({"type": "call_through", "to": OUTSIDE, "hide": "yes"}, "hide is neither true nor false"),
        ({"type": "call_through", "to": OUTSIDE, "number": ["x"]}, "number is no text"),
        ({"type": "release"}, "lease is missing"),
        ({"type": "verify", "sim": None}, "sim is missing"),
        ({"type": "verification"}, "verification is missing"),
        ({"type": "cancel_callback"}, "callback is missing"),
        ({"type": "price", "to": OUTSIDE, "seconds": True}, "seconds is no number"),
        ({"type": "price", "to": OUTSIDE, "seconds": -1}, "seconds is no number"),
    ],
)
def test_requests_that_cannot_be_read(request_: dict[str, object], said: str) -> None:
    refused = Scene().error(**request_)
    assert refused.code == "bad_request"
    assert said in refused.message


def test_a_device_that_is_not_there() -> None:
    assert Scene().error("nobody", type="call_through", to=OUTSIDE).code == "not_found"


class Gone:
    """A live store that answers nothing, or that it cannot."""

    def __init__(self, answers: bool) -> None:
        self.answers = answers

    def take(self, request: object, candidates: object, now: float, done: Callable[[None], None]) -> None:
        if self.answers:
            done(None)


class Late:
    """A live store that answers when the app has been told that it does not."""

    def __init__(self, leases: MemoryLeaseStore) -> None:
        self.leases = leases
        self.waiting: list[Callable[[], None]] = []

    def take(
        self, request: LeaseRequest, candidates: list[str], now: float, done: Callable[..., None]
    ) -> None:
        self.waiting.append(lambda: self.leases.take(request, candidates, now, done))

    def use(self, sim: str, gateway: str, call_id: str, now: float, done: Callable[..., None]) -> None:
        self.leases.use(sim, gateway, call_id, now, done)

    def finish(self, id: str, call_id: str, answered: bool, now: float) -> None:
        self.leases.finish(id, call_id, answered, now)


def test_no_sim_is_called_for_an_app_that_was_told_no() -> None:
    scene = Scene()
    late = Late(scene.world.leases)
    desk = scene.world.server.phone.callbacks
    desk._leases = late  # type: ignore[union-attr, assignment]
    told: list[Reply] = []
    asked = {"type": "callback", "to": OUTSIDE}
    scene.world.server.phone.handle("ana-phone", asked, scene.world.now(), told.append)
    scene.world.network.now += 3.0
    scene.world.server.turn()
    assert [isinstance(reply, Error) for reply in told] == [True]
    late.waiting[0]()
    scene.world.run(1.0)
    assert not scene.carrier.dialogs
    assert len(told) == 1
    assert scene.world.leases.counts(scene.world.now())["in_use"] == 0


@pytest.mark.parametrize("answers", [True, False])
def test_a_live_store_that_is_away_is_told_as_such(answers: bool) -> None:
    scene = Scene()
    phone = scene.world.server.phone
    phone._leases = Gone(answers)  # type: ignore[assignment]
    told: list[Reply] = []
    phone.handle("ana-phone", {"type": "call_through", "to": OUTSIDE}, scene.world.now(), told.append)
    assert bool(told) is answers
    assert phone.waiting() == (0 if answers else 1)
    scene.world.network.now += 3.0
    scene.world.server.turn()
    (reply,) = told
    assert isinstance(reply, Error)
    assert (reply.code, reply.retry_after_s) == ("unavailable", 5)
    assert phone.waiting() == 0
    assert phone.counters == {("call_through", "unavailable"): 1}


# -- verification -----------------------------------------------------------------------------------------------

NEW = "+33639980007"


def outcome(scene: Scene, told: Mapping[str, object]) -> tuple[object, object]:
    fields = scene.ok(type="verification", verification=told["verification"])
    return fields["state"], fields.get("reason", "")


@pytest.mark.rule("DEV-01")
def test_a_sim_proves_itself_by_a_call_that_costs_nothing() -> None:
    scene = Scene()
    results: list[tuple[str, str, str]] = []

    def note(lease: Lease, state: str, reason: str, now: float) -> None:
        results.append((lease.device, state, reason))

    assert scene.world.server.verifier is not None
    scene.world.server.verifier.on_result = note
    scene.change("ana-phone", sim="", sim_verified=False)
    told = scene.ok(type="verify", sim="06 39 98 00 00")
    assert (told["gateway_number"], told["expires_in_s"], told["sim"]) == (VERIFY, 120, SIM)
    assert outcome(scene, told) == ("pending", "")
    dialog = scene.call(VERIFY)
    assert dialog.status == 486, "the busy tone: every phone makes it, and nobody pays"
    assert (scene.device("ana-phone").sim, scene.device("ana-phone").sim_verified) == (SIM, True)
    assert outcome(scene, told) == ("verified", "")
    assert results == [("ana-phone", "verified", "")]
    assert (scene.record.reason, scene.record.answered_ms, scene.record.gateway_number) == (
        "sim_verified",
        0,
        VERIFY,
    )
    assert scene.record.lease == told["verification"]
    assert scene.ok(type="verify", sim=SIM) == {"state": "verified", "sim": SIM}
    # and the call itself was used up
    assert scene.call(VERIFY).status == 403
    assert scene.world.leases.counts(scene.world.now())["in_use"] == 0


@pytest.mark.rule("DEV-01")
def test_a_sim_that_hides_its_number_is_told_to_show_it() -> None:
    scene = Scene()
    told = scene.ok(type="verify", sim=NEW)
    dialog = scene.call(VERIFY, "anonymous")
    assert dialog.status == 433
    assert scene.record.reason == "hidden_caller"
    fields = scene.ok(type="verification", verification=told["verification"])
    assert (fields["state"], fields["reason"]) == ("failed", "hidden_caller")
    assert "Show your number" in str(fields["message"])
    assert not scene.device("ana-phone").sim_verified
    # with the number shown it works, without asking again
    scene.call(VERIFY, NEW)
    assert outcome(scene, told) == ("verified", "")


@pytest.mark.rule("DEV-01")
def test_another_sim_than_the_one_named_verifies_nothing() -> None:
    scene = Scene()
    told = scene.ok(type="verify", sim=NEW)
    dialog = scene.call(VERIFY, "+33639980008")
    assert dialog.status == 403
    assert (scene.record.reason, scene.record.lease, scene.record.sim) == ("sim_mismatch", "", "")
    assert NEW not in scene.record.trace, "a stranger's record does not name it"
    assert outcome(scene, told) == ("failed", "sim_mismatch")
    assert scene.device("ana-phone").sim == SIM


@pytest.mark.rule("DEV-03")
def test_a_changed_sim_must_be_verified_again() -> None:
    scene = Scene()
    assert isinstance(scene.ask(type="call_through", to=OUTSIDE), Ok)
    told = scene.ok(type="verify", sim=NEW)
    assert scene.error(type="call_through", to=OUTSIDE).code == "unverified_sim"
    scene.call(VERIFY, NEW)
    assert scene.device("ana-phone").sim == NEW
    gateway = scene.ok(type="call_through", to=OUTSIDE)["gateway_number"]
    assert scene.call(gateway, SIM).status == 403, "the old SIM is nothing to us"
    scene.call(gateway, NEW)
    assert len(scene.carrier.dialogs) == 1
    assert outcome(scene, told) == ("verified", "")


def test_several_verify_at_once_over_one_number() -> None:
    """Each is known by its number; whose a hidden call was meant to be nobody can tell then."""
    scene = Scene()
    first = scene.ok(type="verify", sim=NEW)
    second = scene.ok("ben-phone", type="verify", sim="+33639980008")
    assert second["gateway_number"] == VERIFY
    scene.call(VERIFY, "anonymous")
    assert outcome(scene, first) == ("pending", "")
    scene.call(VERIFY, "+33639980008")
    assert scene.device("ben-phone").sim == "+33639980008"
    scene.call(VERIFY, NEW)
    assert scene.device("ana-phone").sim == NEW


def test_who_has_no_sim_and_what_is_none() -> None:
    scene = Scene()
    assert scene.error("ana-desktop", type="verify", sim=NEW).code == "not_allowed"
    assert scene.error(type="verify", sim=BEN).code == "invalid_number"
    assert scene.error(type="verify", sim=VERIFY).code == "invalid_number"
    assert scene.error(type="verify", sim="12").code == "invalid_number"
    assert scene.error(type="verify", sim="+447700900123").code == "no_gateway_number"


def test_a_verification_that_nobody_calls_for_expires() -> None:
    scene = Scene()
    told = scene.ok(type="verify", sim=NEW)
    scene.world.run(136.0)
    assert outcome(scene, told) == ("expired", "")
    assert (
        scene.error("ben-phone", type="verification", verification=told["verification"]).code == "not_found"
    )
    assert scene.error(type="verification", verification="nothing").code == "not_found"
    assert scene.call(VERIFY, NEW).status == 403


def test_the_app_is_told_only_when_it_is_written() -> None:
    scene = Scene()
    scene.world.sims.away = True
    told = scene.ok(type="verify", sim=NEW)
    assert scene.call(VERIFY, NEW).status == 486
    assert outcome(scene, told) == ("pending", "")
    assert scene.device("ana-phone").sim == SIM
    ((device, sim, done),) = scene.world.sims.waiting
    assert (device, sim) == ("ana-phone", NEW)
    done(False)
    assert outcome(scene, told) == ("failed", "unavailable")


def test_a_stranger_who_calls_a_verification_number() -> None:
    scene = Scene()
    dialog = scene.call(VERIFY, "+33639989999")
    assert (dialog.status, scene.record.reason) == (403, "no_lease")
    assert scene.call(VERIFY, "anonymous").status == 433


# -- callbacks --------------------------------------------------------------------------------------------------


@pytest.mark.rule("OUT-03")
@pytest.mark.parametrize(
    ("prepare", "fields", "code"), RULES, ids=[f"{i} {code}" for i, (_, _, code) in enumerate(RULES)]
)
def test_a_callback_asks_every_rule_first(
    prepare: Callable[[Scene], None], fields: dict[str, object], code: str
) -> None:
    scene = Scene()
    prepare(scene)
    assert scene.error(**{"type": "callback", "to": OUTSIDE, **fields}).code == code
    assert not scene.world.server.runner.calls


def test_a_callback_needs_room_and_a_gateway_number() -> None:
    scene = Scene()
    scene.world.server.core.draining = True
    refused = scene.error(type="callback", to=OUTSIDE)
    assert (refused.code, refused.retry_after_s) == ("draining", 5)
    scene.world.server.core.draining = False
    for line in range(3):
        scene.ok(type="call_through", to=f"+3319900567{line}")
    assert scene.error(type="callback", to=OUTSIDE).code == "no_gateway_number"
    scene.world.gateways.replace([], version=2)
    assert "FR" in scene.error(type="callback", to=OUTSIDE).message


@pytest.mark.rule("OUT-03")
def test_a_callback_holds_its_gateway_number_until_it_is_over() -> None:
    scene = Scene()
    told = scene.ok(type="callback", to=OUTSIDE)
    scene.world.run(0.5)
    assert scene.world.leases.counts(scene.world.now())["in_use"] == 1
    # the SIM dials the number that calls it: its own call is not expected while that one runs
    assert scene.call(told["gateway_number"]).status == 403
    sim = scene.carrier.incoming
    scene.carrier.reply(sim, 486)
    scene.world.run(1.0)
    assert scene.world.leases.counts(scene.world.now()) == {"open": 0, "in_use": 0, "cooling": 1}
    scene.world.run(11.0)
    assert scene.world.leases.counts(scene.world.now()) == {"open": 0, "in_use": 0, "cooling": 0}


def test_only_who_asked_cancels_a_callback() -> None:
    scene = Scene()
    told = scene.ok(type="callback", to=OUTSIDE)
    scene.world.run(0.5)
    assert scene.error("ben-phone", type="cancel_callback", callback=told["callback"]).code == "not_found"
    assert scene.error(type="cancel_callback", callback="nothing").code == "not_found"
    assert scene.ok(type="cancel_callback", callback=told["callback"]) == {"callback": told["callback"]}
