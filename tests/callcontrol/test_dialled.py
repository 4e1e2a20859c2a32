"""Which hosts are ours; targets that are no numbers."""

from __future__ import annotations

import pytest

from callcontrol.dialled import classified, clean, our_hosts, read_dialled
from callcontrol.sip.flow import Listener
from callcontrol.sip.uri import parse_uri
from dialplan.facts import CalledNumber
from numbering.e164 import read
from numbering.plans import NumberClass

DOMAINS = ("cloudline.example", "Second.Example.")
BOUND = Listener("udp:a", "udp", "192.0.2.1", 5060)
ADVERTISED = Listener("udp:b", "udp", "0.0.0.0", 5060, "sip.cloudline.example", 5060)
EVERYWHERE = Listener("udp:c", "udp", "::", 5060)


@pytest.mark.parametrize(
    ("host", "bound", "advertised", "everywhere"),
    [
        ("cloudline.example", True, True, True),
        ("second.example", True, True, True),
        ("cloudline.example.", True, True, True),
        ("192.0.2.1", True, False, True),
        ("sip.cloudline.example", False, True, False),
        ("192.0.2.2", False, False, True),
        ("2001:db8::1", False, False, True),
        ("other.example", False, False, False),
        ("", False, False, False),
    ],
)
def test_our_hosts(host: str, bound: bool, advertised: bool, everywhere: bool) -> None:
    assert (host in our_hosts(DOMAINS, [BOUND])) is bound
    assert (host in our_hosts(DOMAINS, [ADVERTISED])) is advertised
    assert (host in our_hosts(DOMAINS, [EVERYWHERE])) is everywhere


@pytest.mark.parametrize(
    ("uri", "called", "is_telephone"),
    [
        ("sip:ana@cloudline.example", CalledNumber(dialled="ana", fault="not_a_number"), False),
        (
            "sip:ana@other.example",
            CalledNumber(dialled="ana", fault="not_a_number", foreign_host="other.example"),
            False,
        ),
        ("sip:cloudline.example", CalledNumber(dialled="", fault="empty"), False),
        ("sip:12@cloudline.example;user=PHONE", CalledNumber(dialled="12", fault="too_short"), True),
        ("tel:12;phone-context=+999", CalledNumber(dialled="12", fault="too_short"), True),
        ("mailto:ana", CalledNumber(dialled="mailto:ana"), False),
    ],
)
def test_targets_that_are_no_numbers(uri: str, called: CalledNumber, is_telephone: bool) -> None:
    dialled = read_dialled(parse_uri(uri), lambda text: read(text, "FR"), our_hosts(DOMAINS, []))
    assert dialled.called == called
    assert dialled.is_telephone is is_telephone


@pytest.mark.rule("OUT-04", "OUT-05", "NUM-01")
@pytest.mark.parametrize(
    ("uri", "short", "country", "number_class"),
    [
        ("sip:3179@cloudline.example", "3179", "FR", NumberClass.FREE_SHORT),
        ("sip:31%2079@cloudline.example;user=phone", "3179", "FR", NumberClass.FREE_SHORT),
        ("sip:3200@cloudline.example", "3200", "FR", NumberClass.PRICED_SHORT),
        ("sip:12@cloudline.example", "12", "FR", NumberClass.UNKNOWN_SHORT),
        ("tel:101;phone-context=+44", "101", "GB", NumberClass.FREE_SHORT),
        ("tel:999;phone-context=+44", "999", "GB", NumberClass.EMERGENCY),
        ("sip:111@cloudline.example", "111", "", NumberClass.EMERGENCY),
        ("tel:15;phone-context=+44", "15", "", NumberClass.EMERGENCY),
        ("urn:service:sos.police", "urn:service:sos.police", "", NumberClass.EMERGENCY),
        ("sip:0639981001@cloudline.example", "", "", NumberClass.MOBILE),
        ("sip:ana@cloudline.example", "", "", NumberClass.UNKNOWN),
        ("sip:0199@cloudline.example", "", "", NumberClass.UNKNOWN),
    ],
)
def test_classes_of_what_was_dialled(uri: str, short: str, country: str, number_class: NumberClass) -> None:
    dialled = read_dialled(parse_uri(uri), lambda text: read(text, "FR"), our_hosts(DOMAINS, []))
    called = classified(dialled, "FR", ("FR", "NZ"))
    assert (called.short, called.country, called.number_class) == (short, country, number_class)
    assert not (called.short and called.e164)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("ana", "ana"), ("a\nb", "a?b"), ("\udcff", "?"), ("é", "é"), ("x" * 200, "x" * 128)],
)
def test_text_of_facts(text: str, expected: str) -> None:
    assert clean(text) == expected
