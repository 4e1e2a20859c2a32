"""REGISTER with Path (RFC 3327), outbound (RFC 5626), GRUU (RFC 5627) and push (RFC 8599)."""

from __future__ import annotations

import pytest

from callcontrol.registration import RegistrarPolicy
from callcontrol.sip.message import Message
from callcontrol.sip.uri import parse_uri
from tests.callcontrol.register_kit import DOMAIN, NOW, Phone, Site, instance

PN = ";pn-provider=mqtt;pn-prid=token-1;pn-param=app"


def expires_of(response: Message) -> list[int]:
    return [int(value.split(";expires=")[1].split(";")[0]) for value in response.items("contact")]


# -- Path (RFC 3327)


def test_a_path_is_kept_in_order_and_told_back_when_the_phone_knows_it() -> None:
    site, phone = Site(), Phone()
    headers = [("Path", "<sip:edge.example;lr>, <sip:first.example;lr>"), ("Supported", "path")]
    response = phone.register(site, headers=headers)
    assert response.status == 200
    assert response.items("path") == ["<sip:edge.example;lr>", "<sip:first.example;lr>"]
    [binding] = site.of("ana-phone")
    assert binding.path == ("sip:edge.example;lr", "sip:first.example;lr")
    assert (binding.flow, binding.conn) == ("", 0)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([("Path", "<sip:evil.example;lr>")], 420),
        ([("Path", "<sip:p.example"), ("Supported", "path")], 400),
        ([("Path", ", ".join(["<sip:p.example;lr>"] * 11)), ("Supported", "path")], 403),
    ],
)
def test_a_path_that_is_not_wanted_is_refused(headers: list[tuple[str, str]], status: int) -> None:
    site, phone = Site(), Phone()
    response = phone.register(site, headers=headers)
    assert response.status == status
    assert (response.get("unsupported") == "path") is (status == 420)
    assert site.of("ana-phone") == []


# -- outbound (RFC 5626)


def test_outbound_flows_of_one_device_live_side_by_side() -> None:
    site = Site()
    supported = [("Supported", "path, outbound")]
    for reg_id in (1, 2):
        phone = Phone(transport="tcp", conn=reg_id, port=5060 + reg_id, call_id=f"flow-{reg_id}")
        response = phone.register(site, f"{phone.contact}{instance(1)};reg-id={reg_id}", headers=supported)
        assert response.status == 200
        assert response.get("require") == "outbound"
        assert response.get("flow-timer") == "120"
        assert f";reg-id={reg_id}" in response.all("contact")[-1] + response.all("contact")[0]
    assert sorted(b.reg_id for b in site.of("ana-phone")) == [1, 2]
    phone = Phone(transport="tcp", conn=3, call_id="flow-1 again")
    phone.register(site, f"{phone.contact}{instance(1)};reg-id=1", headers=supported)
    assert sorted((b.reg_id, b.conn) for b in site.of("ana-phone")) == [(1, 3), (2, 2)]
    phone = Phone(transport="tcp", conn=4, call_id="no outbound any more")
    phone.register(site, phone.contact + instance(1))
    assert [(b.reg_id, b.conn) for b in site.of("ana-phone")] == [(0, 4)]


def test_reg_id_is_ignored_without_the_option_tag_or_without_an_instance() -> None:
    site, phone = Site(), Phone()
    response = phone.register(site, f"{phone.contact}{instance(1)};reg-id=1")
    assert response.get("require") is None
    response = phone.register(site, f"{phone.contact};reg-id=1", headers=[("Supported", "outbound")])
    assert (response.status, response.get("require")) == (200, None)


def test_two_outbound_flows_in_one_request_are_refused() -> None:
    site, phone = Site(), Phone()
    contacts = [f"<sip:a@192.0.2.10>{instance(1)};reg-id={n}" for n in (1, 2)]
    assert phone.register(site, *contacts, headers=[("Supported", "outbound")]).status == 400


@pytest.mark.parametrize(
    ("path", "status"),
    [("", 439), ("<sip:p.example;lr>", 439), ("<sip:q.example;lr>, <sip:p.example;lr;ob>", 200)],
)
def test_behind_a_proxy_outbound_needs_its_help(path: str, status: int) -> None:
    site, phone = Site(), Phone()
    headers = [("Supported", "outbound, path"), ("Via", "SIP/2.0/UDP 10.0.0.9:5060;branch=z9hG4bKinner")]
    if path:
        headers.append(("Path", path))
    assert phone.register(site, f"{phone.contact}{instance(1)};reg-id=1", headers=headers).status == status


# -- GRUU (RFC 5627)


def test_a_public_gruu_is_given_to_those_who_know_it_and_leads_back() -> None:
    site, phone = Site(), Phone()
    gruu = f"sip:ana-phone@{DOMAIN};gr=urn:uuid:00000000-0000-4000-8000-000000000001"
    response = phone.register(site, phone.contact + instance(1), headers=[("Supported", "gruu")])
    assert f';pub-gruu="{gruu}"' in response.all("contact")[0]
    assert site.registrar.by_gruu(parse_uri(gruu), NOW) == site.of("ana-phone")
    assert site.registrar.by_gruu(parse_uri(gruu.replace("0001", "0002")), NOW) == []
    assert site.registrar.by_gruu(parse_uri(gruu.replace(DOMAIN, "elsewhere.example")), NOW) == []
    assert site.registrar.by_gruu(parse_uri(f"sip:ana-phone@{DOMAIN}"), NOW) == []
    response = phone.register(site, phone.contact + instance(1))
    assert "gruu" not in response.all("contact")[0]


def test_an_instance_that_cannot_stand_in_a_uri_gets_no_gruu() -> None:
    site, phone = Site(), Phone()
    response = phone.register(
        site, phone.contact + ';+sip.instance="<odd \\"one\\">"', headers=[("Supported", "gruu")]
    )
    assert response.status == 200
    assert "pub-gruu" not in response.all("contact")[0]
    assert '+sip.instance="<odd \\"one\\">"' in response.all("contact")[0]


# -- push (RFC 8599)


@pytest.mark.rule("DEV-04")
def test_push_parameters_are_kept_and_shown_to_their_device_alone() -> None:
    site = Site()
    phone = Phone(call_id="one")
    response = phone.register(site, f"<sip:ana-phone@192.0.2.10:5060{PN};ob>{instance(1)}", expires=99999)
    assert "pn-prid=token-1" in response.all("contact")[0]
    assert response.get("feature-caps") == '*;+sip.pns="mqtt";+sip.pns="fcm"'
    assert expires_of(response) == [86400], "a sleeping phone need not wake every hour"
    [binding] = site.of("ana-phone")
    assert (binding.push_provider, binding.push_prid, binding.push_param) == ("mqtt", "token-1", "app")
    assert binding.target == "sip:ana-phone@192.0.2.10:5060;ob"
    other = Phone(port=6060, call_id="two")
    for response in (other.register(site, other.contact + instance(2)), other.query(site)):
        assert len(response.items("contact")) == 2
        assert b"pn-" not in response.data
        assert b"token-1" not in response.data


def test_a_provider_that_nobody_serves_is_refused_with_555() -> None:
    site, phone = Site(), Phone()
    response = phone.register(site, "<sip:a@192.0.2.10;pn-provider=carrier-pigeon;pn-prid=coop>")
    assert response.status == 555
    assert response.get("feature-caps") == '*;+sip.pns="mqtt";+sip.pns="fcm"'
    assert site.of("ana-phone") == []


def test_a_provider_without_a_value_only_asks_what_there_is() -> None:
    site, phone = Site(), Phone()
    response = phone.register(site, "<sip:a@192.0.2.10;pn-provider>")
    assert "+sip.pns=" in (response.get("feature-caps") or "")
    assert not site.of("ana-phone")[0].wakes


def test_where_nobody_pushes_the_parameters_only_name_the_device() -> None:
    site = Site(policy=RegistrarPolicy(domain=DOMAIN))
    phone = Phone(transport="tcp", conn=1)
    response = phone.register(site, f"<sip:ana-phone@192.0.2.10{PN}>", expires=99999)
    assert (response.status, response.get("feature-caps"), expires_of(response)) == (200, None, [7200])
    assert "pn-" not in site.of("ana-phone")[0].target
    site.registrar.connection_lost(1)
    assert site.of("ana-phone") == []
