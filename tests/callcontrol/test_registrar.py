"""REGISTER (RFC 3261 §10.3, RFC 5626, 3327, 5627, 8599): what is bound, what is refused, what is told."""

from __future__ import annotations

import gc

import pytest

from callcontrol.bindings import BindingAdded
from callcontrol.limits import AUTH, UNKNOWN_TARGET, Suspicious
from callcontrol.registration import RegistrarPolicy
from callcontrol.sip.flow import Flow
from callcontrol.sip.message import Message, parse
from numbering.directory import DirectoryChanges
from tests.callcontrol.register_kit import DOMAIN, NOW, Phone, Site, instance

PN = ";pn-provider=mqtt;pn-prid=token-1;pn-param=app"


def expires_of(response: Message) -> list[int]:
    return [int(value.split(";expires=")[1].split(";")[0]) for value in response.items("contact")]


# -- the ladder of RFC 3665 §2.1, and the plain cases


def test_a_phone_registers_refreshes_asks_and_leaves() -> None:
    site, phone = Site(), Phone()
    first = parse(site.registrar.handle(phone.request(phone.contact, expires=600), phone.flow, NOW))
    assert first.status == 401
    assert site.of("ana-phone") == []
    response = phone.register(site, expires=600)
    assert response.status == 200
    assert response.items("contact") == [f"{phone.contact};expires=600"]
    assert response.to_tag
    assert response.get("date") == "Fri, 15 Jan 2027 08:00:00 GMT"
    assert response.get("call-id") == phone.call_id
    [binding] = site.of("ana-phone")
    assert (binding.user, binding.device, binding.contact) == (
        "ana",
        "ana-phone",
        "sip:ana-phone@192.0.2.10:5060",
    )
    assert expires_of(phone.query(site, NOW + 100)) == [500]
    assert expires_of(phone.register(site, now=NOW + 100)) == [600]
    assert len(site.of("ana-phone", NOW + 100)) == 1
    left = phone.register(site, now=NOW + 200, expires=0)
    assert (left.status, left.items("contact")) == (200, [])
    assert site.reasons() == ["BindingAdded", "BindingAdded", "BindingRemoved unregistered"]


def test_a_binding_expires_and_is_told_once() -> None:
    site, phone = Site(), Phone()
    phone.register(site, expires=60)
    assert site.registrar.next_deadline() == NOW + 60
    site.registrar.tick(NOW + 59)
    assert site.reasons() == ["BindingAdded"]
    assert site.of("ana-phone", NOW + 60) == []
    site.registrar.tick(NOW + 60)
    site.registrar.tick(NOW + 61)
    assert site.reasons() == ["BindingRemoved expired"]


def test_a_registration_after_the_expiry_is_a_new_one_even_before_the_tick() -> None:
    site, phone = Site(), Phone()
    phone.register(site, expires=60)
    phone.register(site, now=NOW + 100)
    assert site.reasons() == ["BindingAdded", "BindingRemoved expired", "BindingAdded"]
    assert site.of("ana-phone", NOW + 100)[0].registered_at == NOW + 100


# -- order of checks, strangers, owners


@pytest.mark.rule("OPS-05")
@pytest.mark.parametrize(
    "to", ["sip:ana-phone@cloudline.example", "sip:nobody@cloudline.example", "sip:x@elsewhere.example"]
)
@pytest.mark.parametrize("contact", ["<sip:a@192.0.2.10>", "*", "<http://x>", '"open', "<sip:a@b>;q=7"])
def test_strangers_get_the_same_401_whatever_they_ask(to: str, contact: str) -> None:
    site = Site()
    phone = Phone("stranger")
    phone.to = f"<{to}>"
    response = parse(site.registrar.handle(phone.request(contact, expires=1), phone.flow, NOW))
    assert (response.status, response.reason) == (401, "Unauthorized")
    assert response.get("reason") is None
    assert len(response.all("www-authenticate")) == 2


@pytest.mark.rule("OPS-05")
def test_guesses_are_reported_with_their_proof() -> None:
    site = Site()
    Phone(password="wrong").register(site)
    assert site.registrar.events[-1] == Suspicious("192.0.2.10", AUTH, True)
    tcp = Phone(password="wrong", transport="tcp", conn=3)
    tcp.nonce = "made up"
    site.registrar.handle(tcp.request(authorization=tcp.authorize()), tcp.flow, NOW)
    assert site.registrar.events[-1] == Suspicious("192.0.2.10", AUTH, True), (
        "a connection proves the address"
    )
    udp = Phone(password="wrong")
    udp.nonce = "made up"
    site.registrar.handle(udp.request(authorization=udp.authorize()), udp.flow, NOW)
    assert site.registrar.events[-1] == Suspicious("192.0.2.10", AUTH, False)


@pytest.mark.parametrize(
    "contacts", [("*",), ("<sip:ben@192.0.2.66>",), ("<sip:x@192.0.2.10>;expires=0",), ()]
)
def test_hazard_26_digest_user_that_does_not_own_the_aor_is_refused_before_bindings_are_touched(
    contacts: tuple[str, ...],
) -> None:
    site = Site()
    Phone("ben-phone", host="192.0.2.20").register(site)
    before = site.store.snapshot()
    site.registrar.events.clear()
    thief = Phone("ana-phone")
    thief.to = f"<sip:ben-phone@{DOMAIN}>"
    request = thief.request()
    thief.take(parse(site.registrar.handle(request, thief.flow, NOW)))
    raw = site.registrar.handle(
        thief.request(*contacts, expires=0 if "*" in contacts else 600, authorization=thief.authorize()),
        thief.flow,
        NOW,
    )
    response = parse(raw)
    assert response.status == 403
    assert response.get("reason") == 'SIP;cause=403;text="not_your_aor"'
    assert b"192.0.2.20" not in raw, "nor is it told where the other phone is"
    assert site.store.snapshot() == before
    assert site.registrar.events == [Suspicious("192.0.2.10", UNKNOWN_TARGET, True)]


def test_request_uri_in_a_foreign_domain_is_not_ours() -> None:
    site, phone = Site(), Phone()
    phone.uri = "sip:elsewhere.example"
    assert phone.register(site).status == 404
    phone.uri = "tel:+33639980001"
    assert phone.register(site).status == 416


@pytest.mark.parametrize(
    ("uri", "aor_host"),
    [
        ("sip:198.51.100.1", "198.51.100.1"),
        ("sip:[2001:db8::1]:5060", DOMAIN),
        ("sip:alias.example", "ALIAS.example"),
    ],
)
def test_domains_aliases_and_addresses_name_the_same_aor(uri: str, aor_host: str) -> None:
    site = Site(policy=RegistrarPolicy(domain=DOMAIN, domains=frozenset({"alias.example"})))
    phone = Phone()
    phone.uri, phone.to = uri, f"<sip:ana-phone@{aor_host}>"
    assert phone.register(site).status == 200
    assert len(site.of("ana-phone")) == 1


@pytest.mark.parametrize(("header", "status"), [("To", 404), ("From", 403)])
@pytest.mark.parametrize("host", ["elsewhere.example", f"{DOMAIN}.elsewhere.example"])
def test_to_and_from_must_be_ours(header: str, status: int, host: str) -> None:
    site, phone = Site(), Phone()
    phone.to = f"sip:ana-phone@{DOMAIN}"
    phone.register(site)
    request = phone.request(phone.contact, authorization=phone.authorize())
    raw = request.data.replace(f"{header}: {phone.to}".encode(), f"{header}: sip:ana-phone@{host}".encode())
    assert parse(site.registrar.handle(parse(raw), phone.flow, NOW)).status == status


def test_an_unknown_required_extension_is_refused_before_the_digest() -> None:
    site, phone = Site(), Phone()
    response = phone.register(site, headers=[("Require", "path, sec-agree, teleport")])
    assert (response.status, response.get("unsupported")) == (420, "sec-agree, teleport")
    assert phone.register(site, headers=[("Require", "outbound, gruu")]).status == 200


# -- contacts and times


@pytest.mark.parametrize(
    ("param", "header", "granted"),
    [
        ("", None, 3600),
        ("", 600, 600),
        (";expires=120", 600, 120),
        ("", 999999, 7200),
        (";expires=99999999999999999999", None, 7200),
        (";expires=soon", 600, 3600),
        (";expires", 600, 3600),
        (";expires=", 600, 3600),
        ("", "never", 3600),
        ("", 60, 60),
    ],
)
def test_the_expiry_granted(param: str, header: int | str | None, granted: int) -> None:
    site, phone = Site(), Phone()
    response = phone.register(site, phone.contact + param, expires=header)
    assert (response.status, expires_of(response)) == (200, [granted])


@pytest.mark.parametrize("asked", [1, 59])
def test_too_brief_an_interval_is_refused_with_the_least(asked: int) -> None:
    site, phone = Site(), Phone()
    response = phone.register(site, phone.contact, "<sip:b@192.0.2.9>;expires=600", expires=asked)
    assert (response.status, response.get("min-expires")) == (423, "60")
    assert site.of("ana-phone") == [], "not even the contact that asked for enough"


def test_no_interval_of_an_hour_is_too_brief() -> None:
    site = Site(policy=RegistrarPolicy(domain=DOMAIN, min_expires_s=7200, max_expires_s=9000))
    assert Phone().register(site, expires=3600).status == 200
    assert Phone().register(site, expires=3599).status == 423


def test_several_contacts_with_their_own_times_and_weights() -> None:
    site, phone = Site(), Phone()
    response = phone.register(
        site, "<sip:a@192.0.2.10>;q=0.3", "<sip:b@192.0.2.10>;q=0.8;expires=100, <sip:c@192.0.2.10>"
    )
    assert response.status == 200
    assert [(b.contact, b.q) for b in site.of("ana-phone")] == [
        ("sip:c@192.0.2.10", 1.0),
        ("sip:b@192.0.2.10", 0.8),
        ("sip:a@192.0.2.10", 0.3),
    ]
    assert expires_of(response) == [600, 100, 600]
    phone.register(site, "<sip:b@192.0.2.10>;expires=0")
    assert [b.contact for b in site.of("ana-phone")] == ["sip:c@192.0.2.10", "sip:a@192.0.2.10"]
    phone.register(site, "*", expires=0)
    assert site.of("ana-phone") == []


@pytest.mark.parametrize(
    ("contacts", "expires"),
    [
        (("*",), 600),
        (("*",), None),
        (("*",), "zero"),
        (("*", "<sip:a@192.0.2.10>"), 0),
        (("<sip:a@192.0.2.10>, *",), 0),
    ],
)
def test_a_star_stands_alone_and_with_expires_zero(contacts: tuple[str, ...], expires: int | None) -> None:
    site, phone = Site(), Phone()
    phone.register(site)
    assert phone.register(site, *contacts, expires=expires).status == 400
    assert len(site.of("ana-phone")) == 1


@pytest.mark.parametrize(
    "contact",
    [
        "<sip:a@192.0.2.10>;q=1.1",
        "<sip:a@192.0.2.10>;q=high",
        "<sip:a@192.0.2.10?Replaces=x>",
        "<tel:+33639980001>",
        "<mailto:ana@acme.example>",
        "<sip:a@>",
        "<sip:a@192.0.2.10",
        '<sip:a@192.0.2.10>;+sip.instance="<urn:x>";reg-id=0',
        '<sip:a@192.0.2.10>;+sip.instance="<urn:x>";reg-id=99999999999',
        '<sip:a@192.0.2.10>;+sip.instance="<urn:x>";reg-id=x',
    ],
)
def test_a_contact_that_cannot_be_called_is_refused(contact: str) -> None:
    site, phone = Site(), Phone()
    response = phone.register(site, "<sip:good@192.0.2.10>", contact, headers=[("Supported", "outbound")])
    assert response.status == 400
    assert response.get("reason") == 'SIP;cause=400;text="bad_contact"'
    assert site.of("ana-phone") == []


def test_more_contacts_than_one_request_may_bring() -> None:
    site, phone = Site(), Phone()
    response = phone.register(site, *(f"<sip:a{n}@192.0.2.10>" for n in range(11)))
    assert response.status == 403
    assert site.of("ana-phone") == []


# -- CSeq and Call-ID


@pytest.mark.parametrize(
    "contacts", [("<sip:ana-phone@192.0.2.10:5060>",), ("*",), ("<sip:ana-phone@192.0.2.10:5060>;expires=0",)]
)
@pytest.mark.parametrize("late", [9, 10])
def test_a_register_that_was_overtaken_changes_nothing(contacts: tuple[str, ...], late: int) -> None:
    site, phone = Site(), Phone()
    phone.register(site, cseq=10)
    site.registrar.events.clear()
    before = site.store.snapshot()
    response = phone.register(site, *contacts, cseq=late, expires=0 if "*" in contacts else 600)
    assert (response.status, response.get("reason")) == (500, 'SIP;cause=500;text="out_of_order"')
    assert site.store.snapshot() == before
    assert site.registrar.events == []


def test_one_late_contact_of_two_aborts_the_whole_request() -> None:
    site, phone = Site(), Phone()
    phone.register(site, "<sip:a@192.0.2.10>" + instance(1), cseq=5)
    response = phone.register(
        site, "<sip:b@192.0.2.10>" + instance(2), "<sip:a@192.0.2.10>" + instance(1), cseq=4
    )
    assert response.status == 500
    assert [b.contact for b in site.of("ana-phone")] == ["sip:a@192.0.2.10"]


def test_a_new_call_id_starts_counting_anew() -> None:
    site = Site()
    Phone(call_id="one").register(site, cseq=100)
    assert Phone(call_id="two").register(site, cseq=1).status == 200
    assert len(site.of("ana-phone")) == 1, "and the same contact is the same binding (RFC 3261 §10.2.4)"


# -- the way back to the phone


@pytest.mark.parametrize(
    ("contact", "sent_by", "expected"),
    [
        ("<sip:a@192.0.2.10:5060>", "192.0.2.10:5060", ("192.0.2.10", 5060)),
        ("<sip:a@192.168.1.5:5060>", "192.168.1.5:5060", ("192.0.2.10", 5060)),
        ("<sip:a@192.0.2.10:6000>", "192.0.2.10:9", ("192.0.2.10", 5060)),
        ("<sip:a@192.0.2.10:6000>", "192.0.2.10:5060", ("192.0.2.10", 6000)),
        ("<sip:a@192.0.2.10:6000>", "192.0.2.10", ("192.0.2.10", 6000)),
        ("<sip:a@0.0.0.0:6000>", "192.0.2.10:5060", ("192.0.2.10", 5060)),
        ("<sip:a@224.0.1.75:6000>", "192.0.2.10:5060", ("192.0.2.10", 5060)),
        ("<sip:a@phone.invalid>", "192.0.2.10:5060", ("192.0.2.10", 5060)),
        ("<sip:a@192.0.2.99:6000;transport=tcp>", "192.0.2.10:5060", None),
        ("<sip:a@[2001:db8::9]:6000>", "192.0.2.10:5060", None),
    ],
)
def test_over_udp_calls_go_back_through_the_nat_or_to_the_contact_where_there_is_none(
    contact: str, sent_by: str, expected: tuple[str, int] | None
) -> None:
    site, phone = Site(), Phone()
    phone.register(site)
    phone.register(site, "*", expires=0)
    raw = phone.request(contact, expires=600, authorization=phone.authorize()).data
    raw = raw.replace(b"Via: SIP/2.0/UDP 192.0.2.10:5060;", f"Via: SIP/2.0/UDP {sent_by};".encode())
    assert parse(site.registrar.handle(parse(raw), phone.flow, NOW)).status == 200
    [binding] = site.of("ana-phone")
    if expected is None:
        assert binding.flow == "", "to be resolved"
        assert not binding.asleep
    else:
        flow = Flow.load(binding.flow)
        assert (flow.host, flow.port, flow.listener) == (*expected, phone.flow.listener)


def test_over_a_connection_calls_go_back_over_it_and_the_binding_ends_with_it() -> None:
    site = Site()
    phone = Phone(transport="wss", conn=7)
    phone.algorithm = "MD5"
    phone.register(site, "<sip:a1b2c3@x7yz.invalid;transport=ws>")
    [binding] = site.of("ana-phone")
    assert Flow.load(binding.flow) == phone.flow
    site.registrar.connection_lost(8)
    assert len(site.of("ana-phone")) == 1
    site.registrar.connection_lost(7)
    site.registrar.connection_lost(7)
    assert site.of("ana-phone") == []
    assert site.reasons() == ["BindingAdded", "BindingRemoved connection_lost"]


@pytest.mark.parametrize(
    ("contact", "outlives"),
    [
        ("<sip:a@192.0.2.10:7000>", True),
        ("<sip:a@192.0.2.10:7000;transport=tcp>", False),
        ("<sip:a@192.0.2.10:5060>", False),
        ("<sip:a@192.168.1.5:7000>", False),
        ("<sip:a@192.0.2.10>", False),
    ],
)
def test_a_contact_that_names_another_socket_of_the_host_outlives_the_connection(
    contact: str, outlives: bool
) -> None:
    site = Site()
    phone = Phone(transport="tcp", conn=7)
    phone.register(site, contact)
    site.registrar.connection_lost(7)
    assert len(site.of("ana-phone")) == int(outlives)


@pytest.mark.rule("DEV-04", "DEV-05")
def test_a_device_that_push_wakes_falls_asleep_and_comes_back() -> None:
    site = Site()
    phone = Phone(transport="tls", conn=7)
    contact = f"<sip:ana-phone@192.0.2.10:5060;transport=tls{PN}>"
    phone.register(site, contact)
    site.registrar.connection_lost(7)
    [binding] = site.of("ana-phone")
    assert (binding.asleep, binding.flow, binding.conn) == (True, "", 0)
    assert not site.store.has_source("192.0.2.10")
    woken = Phone(transport="tls", conn=9, call_id="woken")
    woken.register(site, contact, now=NOW + 30)
    event = site.registrar.events[-1]
    assert isinstance(event, BindingAdded)
    assert event.previous is not None
    assert event.previous.asleep
    assert not event.binding.asleep
    assert site.reasons() == ["BindingAdded", "BindingAsleep", "BindingAdded"]
    assert site.registrar.orphans == []


def test_an_orphan_connection_with_another_account_on_it_is_left_alone() -> None:
    site = Site()
    for name in ("ana-phone", "ana-desk"):
        phone = Phone(name, transport="tcp", conn=1)
        phone.register(site, phone.contact + instance(1))
    moved = Phone("ana-phone", transport="tcp", conn=2)
    moved.register(site, moved.contact + instance(1))
    assert site.registrar.orphans == []
    moved = Phone("ana-desk", transport="tcp", conn=2)
    moved.register(site, moved.contact + instance(1))
    assert site.registrar.orphans == [1]


# -- the directory changes


def test_bindings_of_devices_that_are_gone_or_changed_hands_end() -> None:
    site = Site()
    for number, name in enumerate(("ana-phone", "ana-desk", "ben-phone")):
        Phone(name, host=f"192.0.2.{number + 1}").register(site)
    desk = site.directory.device("ana-desk")
    assert desk is not None
    moved = type(desk)(ref="ana-desk", user="ben", sip_username="ana-desk", sip_password="x")
    changes = DirectoryChanges(
        accounts={}, users={}, devices={"ana-phone": None, "ana-desk": moved}, numbers={}
    )
    site.directory.put(changes, version=1)
    assert site.registrar.reconcile() == 2
    assert [b.device for b in site.store.all()] == ["ben-phone"]
    assert site.registrar.reconcile() == 0


def test_outcomes_are_counted() -> None:
    site, phone = Site(), Phone()
    phone.register(site)
    phone.query(site)
    phone.register(site, expires=0)
    phone.register(site, "<tel:+33639980001>")
    assert site.registrar.counters == {"none": 1, "ok": 1, "query": 1, "unregistered": 1, "bad_contact": 1}


def test_registering_leaves_no_cyclic_garbage() -> None:
    site, phone = Site(), Phone()
    phone.register(site)
    gc.collect()
    for _ in range(50):
        phone.register(site)
        site.registrar.events.clear()
    assert gc.collect() == 0
