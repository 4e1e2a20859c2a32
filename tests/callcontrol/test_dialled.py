"""Which hosts are ours; targets that are no numbers."""

from __future__ import annotations

import pytest

from callcontrol.dialled import clean, our_hosts, read_dialled
from callcontrol.sip.flow import Listener
from callcontrol.sip.uri import parse_uri
from dialplan.facts import CalledNumber
from numbering.e164 import read

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


@pytest.mark.parametrize(
    ("text", "expected"),
    [("ana", "ana"), ("a\nb", "a?b"), ("\udcff", "?"), ("é", "é"), ("x" * 200, "x" * 128)],
)
def test_text_of_facts(text: str, expected: str) -> None:
    assert clean(text) == expected
