"""Which device a REGISTER comes from (DEV-06), and how many a user and an AOR may have (DEV-02)."""

from __future__ import annotations

import pytest

from callcontrol.bindings import BindingAdded
from callcontrol.registration import RegistrarPolicy
from numbering.models import PlanLimits
from tests.callcontrol.register_kit import DOMAIN, NOW, Phone, Site, instance

PN = ";pn-provider=mqtt;pn-prid=token-1;pn-param=app"


# -- which device it is


@pytest.mark.rule("DEV-06")
def test_one_device_is_one_binding_by_its_instance() -> None:
    site = Site()
    for port in range(5060, 5070):
        phone = Phone(port=port, transport="tcp", conn=port)
        assert phone.register(site, phone.contact + instance(1)).status == 200
    [binding] = site.of("ana-phone")
    assert (binding.conn, binding.registered_at) == (5069, NOW)
    assert site.registrar.orphans == list(range(5060, 5069)), "connections that carry nothing any more"
    phone = Phone(port=5080)
    phone.register(site, phone.contact + instance(1).replace("urn:uuid", "URN:UUID"))
    assert len(site.of("ana-phone")) == 1, "URNs of UUIDs ignore case"


@pytest.mark.rule("DEV-06", "DEV-04")
def test_hazard_14_many_pushes_one_phone_one_contact() -> None:
    """Every push makes the phone register again, each time over a new connection and with a new Call-ID."""
    site = Site()
    for attempt in range(5):
        phone = Phone(port=40000 + attempt, transport="tls", conn=attempt + 1, call_id=f"wake-{attempt}")
        contact = f"<sip:ana-phone@192.0.2.10:{40000 + attempt};transport=tls{PN}>"
        response = phone.register(site, contact)
        assert response.status == 200
        assert len(response.items("contact")) == 1
    [binding] = site.of("ana-phone")
    assert binding.conn == 5
    added = [event for event in site.registrar.events if isinstance(event, BindingAdded)]
    assert [event.previous is None for event in added] == [True, False, False, False, False]
    assert len(site.registrar.events) == 5


@pytest.mark.rule("DEV-06")
def test_a_reinstalled_app_with_the_same_push_token_replaces_the_old_one() -> None:
    site = Site()
    for number in (1, 2):
        phone = Phone(call_id=f"install-{number}", port=5060 + number)
        phone.register(site, f"<sip:ana-phone@192.0.2.10:{5060 + number}{PN}>{instance(number)}")
    assert [b.instance[-1] for b in site.of("ana-phone")] == ["2"]
    assert "BindingRemoved replaced" in site.reasons()


@pytest.mark.rule("DEV-06")
def test_without_instance_and_token_the_call_id_tells_the_device() -> None:
    site = Site()
    phone = Phone(call_id="same")
    phone.register(site, "<sip:ana-phone@10.0.0.1:5060>")
    phone.register(site, "<sip:ana-phone@203.0.113.9:1024>")
    assert [b.contact for b in site.of("ana-phone")] == ["sip:ana-phone@203.0.113.9:1024"]
    phone.register(site, "<sip:ana-phone@10.0.0.1:5060>;expires=0")
    assert len(site.of("ana-phone")) == 1, "leaving with the old contact does not remove the new one"


def test_old_contact_taken_off_and_new_one_brought_in_one_request() -> None:
    """What pjsip sends after its address has changed."""
    site, phone = Site(), Phone()
    for params in ("", instance(1)):
        phone.register(site, "<sip:a@192.0.2.10:5060>" + params)
        phone.register(site, "<sip:a@192.0.2.10:6060>" + params, "<sip:a@192.0.2.10:5060>;expires=0" + params)
        assert [b.contact for b in site.of("ana-phone")] == ["sip:a@192.0.2.10:6060"]
        phone.register(site, "*", expires=0)


def test_the_same_contact_over_the_same_path_is_the_same_device_whatever_it_calls_itself() -> None:
    site = Site()
    Phone(call_id="old firmware").register(site)
    phone = Phone(call_id="new firmware")
    phone.register(site, phone.contact + instance(1))
    assert [b.instance != "" for b in site.of("ana-phone")] == [True]


# -- how many


@pytest.mark.rule("DEV-02")
def test_one_device_more_than_the_plan_allows_is_refused_with_the_reason() -> None:
    site = Site(per_user=3)
    for number, name in enumerate(("phone", "desk", "tablet")):
        assert Phone(f"ana-{name}", host=f"192.0.2.{number + 1}").register(site).status == 200
    spare = Phone("ana-spare", host="192.0.2.9")
    response = spare.register(site)
    assert response.status == 403
    assert response.get("reason") == 'SIP;cause=403;text="too_many_devices"'
    assert "3 of 3 devices" in (response.get("warning") or "")
    assert site.of("ana-spare") == []
    assert Phone("ana-phone", host="192.0.2.1").register(site).status == 200, "those that are in stay in"
    assert Phone("ben-phone", host="192.0.2.8").register(site).status == 200, "others are not concerned"
    assert spare.query(site).status == 200
    Phone("ana-desk", host="192.0.2.2").register(site, expires=0)
    assert spare.register(site).status == 200


@pytest.mark.rule("DEV-02", "LIVE-01")
def test_of_two_that_came_by_two_nodes_at_once_the_later_one_goes_when_it_registers_again() -> None:
    """Neither node knew of the other's device when it let its own in."""
    site, elsewhere = Site(per_user=1), Site(per_user=1)
    phone, desk = Phone("ana-phone"), Phone("ana-desk", host="192.0.2.2")
    assert phone.register(site).status == 200
    assert desk.register(elsewhere, now=NOW + 0.01).status == 200
    for here, there in ((site, elsewhere), (elsewhere, site)):
        for binding in there.store.own():
            here.store.apply([binding])
    site.reasons()
    assert phone.register(site, now=NOW + 60).status == 200
    assert len(site.of("ana-desk", NOW + 60)) == 1
    again = Phone("ana-desk", host="192.0.2.2", call_id=desk.call_id)
    again.cseq = 50
    response = again.register(site, now=NOW + 61)
    assert (response.status, response.get("reason")) == (403, 'SIP;cause=403;text="too_many_devices"')
    assert site.of("ana-desk", NOW + 61) == [], "it rings no more"
    assert "BindingRemoved displaced" in site.reasons()
    assert len(site.of("ana-phone", NOW + 61)) == 1


@pytest.mark.rule("DEV-02")
def test_a_smaller_plan_lets_those_stay_that_were_there_first() -> None:
    site = Site(per_user=3)
    phones = [
        Phone(f"ana-{name}", host=f"192.0.2.{at}") for at, name in enumerate(("spare", "desk", "phone"), 1)
    ]
    for at, phone in enumerate(phones):
        assert phone.register(site, now=NOW + at).status == 200
    site.directory._plans = {"advanced": PlanLimits(devices=2, numbers=5)}
    assert [phone.register(site, now=NOW + 60 + at).status for at, phone in enumerate(phones)] == [
        200,
        200,
        403,
    ]
    assert [phone.register(site, now=NOW + 90 + at).status for at, phone in enumerate(phones)] == [
        200,
        200,
        403,
    ]


@pytest.mark.rule("DEV-02")
def test_a_device_signed_out_or_expired_makes_room() -> None:
    site = Site(per_user=1)
    Phone("ana-phone").register(site, expires=60)
    desk = Phone("ana-desk", host="192.0.2.2")
    assert desk.register(site).status == 403
    assert desk.register(site, now=NOW + 61).status == 200
    device = site.directory.device("ana-desk")
    assert device is not None
    assert site.registrar.sign_out(device, NOW + 62) == 1
    assert site.reasons()[-1] == "BindingRemoved signed_out"
    assert Phone("ana-tablet").register(site, now=NOW + 63).status == 200


@pytest.mark.rule("DEV-02")
def test_a_user_without_a_known_plan_has_the_default() -> None:
    site = Site(policy=RegistrarPolicy(domain=DOMAIN, default_devices=1))
    site.directory._plans = {}
    assert Phone("ana-phone").register(site).status == 200
    assert Phone("ana-desk", host="192.0.2.2").register(site).status == 403


def test_a_restarting_phone_without_a_name_does_not_lock_itself_out() -> None:
    site = Site()
    for boot in range(30):
        phone = Phone(port=30000 + boot, call_id=f"boot-{boot}")
        assert phone.register(site, now=NOW + boot).status == 200
    held = site.of("ana-phone", NOW + 30)
    assert [b.call_id for b in held] == [f"boot-{boot}" for boot in range(29, 19, -1)]
    assert site.reasons().count("BindingRemoved displaced") == 20


def test_named_devices_never_give_way() -> None:
    site = Site()
    for number in range(10):
        phone = Phone(port=30000 + number, call_id=f"c{number}")
        assert phone.register(site, phone.contact + instance(number)).status == 200
    phone = Phone(port=40000, call_id="one more")
    response = phone.register(site)
    assert (response.status, response.get("reason")) == (403, 'SIP;cause=403;text="too_many_contacts"')
    assert len(site.of("ana-phone")) == 10


@pytest.mark.rule("DEV-06")
def test_of_two_contacts_of_one_device_in_one_request_the_later_counts() -> None:
    site, phone = Site(), Phone()
    for _ in range(2):
        response = phone.register(site, f"<sip:a@10.0.0.4{PN}>", f"<sip:a@10.0.0.5{PN}>{instance(3)}")
        assert [b.instance for b in site.of("ana-phone")] == ["urn:uuid:00000000-0000-4000-8000-000000000003"]
        assert len(response.items("contact")) == 1
    phone.register(site, f"<sip:a@10.0.0.5{PN}>{instance(3)}", f"<sip:a@10.0.0.4{PN}>")
    assert [b.instance for b in site.of("ana-phone")] == [""]
    assert site.reasons() == ["BindingAdded", "BindingAdded", "BindingRemoved replaced", "BindingAdded"]
