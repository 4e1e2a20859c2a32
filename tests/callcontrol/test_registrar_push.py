"""Registrations of devices that our own push channel wakes (RFC 8599, DEV-04, DEV-06)."""

from __future__ import annotations

import dataclasses

import pytest

from callcontrol.registration import RegistrarPolicy
from tests.callcontrol.register_kit import DOMAIN, NOW, Phone, Site

PN = ";pn-provider=acme;pn-prid=ZH5XaSECRET;pn-param=app"


def site(*, pushed: bool = True) -> Site:
    """A registrar of a node with MQTT; ana's phone has push credentials."""
    made = Site(policy=RegistrarPolicy(domain=DOMAIN, push=True))
    device = made.directory.device("ana-phone")
    assert device is not None
    if pushed:
        made.directory.put_one(dataclasses.replace(device, mqtt_password="hashed"))
    return made


def contact(extra: str = PN) -> str:
    return f"<sip:ana-phone@192.0.2.10:5060;transport=tls{extra}>"


@pytest.mark.rule("DEV-04")
@pytest.mark.parametrize(("pushed", "stays"), [(True, 1), (False, 0)])
def test_who_can_be_woken_stays_registered_when_the_connection_is_gone(pushed: bool, stays: int) -> None:
    at = site(pushed=pushed)
    Phone(transport="tls", conn=7).register(at, contact())
    at.registrar.connection_lost(7)
    assert len(at.of("ana-phone")) == stays
    assert all(binding.asleep for binding in at.of("ana-phone"))


@pytest.mark.rule("DEV-04")
@pytest.mark.parametrize(
    ("extra", "pushed", "longest"), [(PN, True, 86_400), (PN, False, 7200), ("", True, 7200)]
)
def test_who_can_be_woken_may_sleep_for_a_day(extra: str, pushed: bool, longest: int) -> None:
    at = site(pushed=pushed)
    Phone(transport="tls", conn=7).register(at, contact(extra), expires=10_000_000)
    [binding] = at.of("ana-phone")
    assert binding.expires_at == NOW + longest


def test_it_is_told_that_we_push_and_others_are_not() -> None:
    at = site()
    told = Phone(transport="tls", conn=7).register(at, contact())
    assert told.get("feature-caps") == '*;+sip.pns="mqtt"'
    asked = Phone(transport="tls", conn=8).register(at, contact(";pn-provider"))
    assert asked.get("feature-caps") == '*;+sip.pns="mqtt"'
    at = site(pushed=False)
    told = Phone(transport="tls", conn=7).register(at, contact())
    assert told.get("feature-caps") is None


@pytest.mark.rule("DEV-06")
def test_the_token_is_kept_and_shown_to_nobody_else() -> None:
    at = site()
    phone = Phone(transport="tls", conn=7)
    told = phone.register(at, contact())
    assert "ZH5XaSECRET" in told.all("contact")[0], "the device itself sees what it said"
    [binding] = at.of("ana-phone")
    assert binding.push_prid == "ZH5XaSECRET"
    assert "pn-" not in binding.target, "what calls go to"
    other = Phone(transport="udp", host="192.0.2.77").register(at)
    assert len(other.all("contact")) == 2
    assert "ZH5XaSECRET" not in str(other.all("contact"))


@pytest.mark.rule("DEV-06")
def test_a_device_that_wakes_at_another_address_is_the_same_binding() -> None:
    at = site()
    for conn in range(1, 30):
        phone = Phone(transport="tls", conn=conn, port=40_000 + conn)
        phone.register(at, f"<sip:ana-phone@192.0.2.10:{40_000 + conn};transport=tls{PN}>")
        at.registrar.connection_lost(conn)
    assert len(at.of("ana-phone")) == 1
