"""Identity headers of trunks and devices, in their order of trust."""

from __future__ import annotations

import pytest

from callcontrol.callers import display_name, from_device, from_trunk, wants_privacy
from callcontrol.dialled import Reader
from dialplan.facts import CallerNumber
from numbering.e164 import E164, NumberError, read
from tests.callcontrol.intake_bench import ANA, OUTSIDE, STRANGER, invite

TO = "sip:+33639981001@cloudline.example"


def french(text: str) -> E164 | NumberError:
    return read(text, "FR")


READER: Reader = french


@pytest.mark.parametrize(
    ("headers", "sender", "expected"),
    [
        ((), f'"Stranger" <sip:{STRANGER}@c.example>', (STRANGER, "Stranger", "from")),
        ((), "<sip:0639989999@c.example;user=phone>", (STRANGER, "", "from")),
        ((), f"<tel:{STRANGER}>", (STRANGER, "", "from")),
        # a local number is of the country that it names, not of the one who reads it
        ((), "<sip:07700900123;phone-context=+44@c;user=phone>", ("+447700900123", "", "from")),
        ((), "<tel:07700-900-123;phone-context=+44>", ("+447700900123", "", "from")),
        ((), "<sip:0639989999;phone-context=%2B33@c;user=phone>", (STRANGER, "", "from")),
        (
            (f"P-Asserted-Identity: <sip:{OUTSIDE}@c>",),
            f"<sip:{STRANGER}@c>",
            (OUTSIDE, "", "p-asserted-identity"),
        ),
        (
            (f'P-Asserted-Identity: "Stranger" <sip:user@c>, <tel:{STRANGER}>',),
            "<sip:x@c>",
            (STRANGER, "Stranger", "p-asserted-identity"),
        ),
        (
            ("P-Asserted-Identity: <sip:user@c>", f"P-Asserted-Identity: <tel:{STRANGER}>"),
            "<sip:x@c>",
            (STRANGER, "", "p-asserted-identity"),
        ),
        # A name is believed only where no header tells a number.
        (("P-Asserted-Identity: <sip:gateway@c>",), f"<sip:{STRANGER}@c>", (STRANGER, "", "from")),
        (("P-Asserted-Identity: <sip:gateway@c>",), "<sip:x@c>", ("", "", "p-asserted-identity")),
        (("P-Asserted-Identity: nonsense",), f"<sip:{STRANGER}@c>", (STRANGER, "", "from")),
        (
            (
                f"Remote-Party-ID: <sip:{OUTSIDE}@c>;party=calling;screen=yes",
                f"P-Preferred-Identity: <tel:{ANA}>",
            ),
            f"<sip:{STRANGER}@c>",
            (OUTSIDE, "", "remote-party-id"),
        ),
        (
            (f"Remote-Party-ID: <sip:{OUTSIDE}@c>;party=called",),
            f"<sip:{STRANGER}@c>",
            (STRANGER, "", "from"),
        ),
        (
            (f"P-Preferred-Identity: <sip:{OUTSIDE}@c>",),
            f"<sip:{STRANGER}@c>",
            (OUTSIDE, "", "p-preferred-identity"),
        ),
        # The display name of From counts when it came with the same number.
        (
            (f"P-Asserted-Identity: <sip:{STRANGER}@c>",),
            f'"Stranger" <sip:{STRANGER}@c>',
            (STRANGER, "Stranger", "p-asserted-identity"),
        ),
        (
            (f"P-Asserted-Identity: <sip:{STRANGER}@c>",),
            f'"Somebody" <sip:{OUTSIDE}@c>',
            (STRANGER, "", "p-asserted-identity"),
        ),
    ],
)
def test_the_most_trusted_number_is_the_callers(
    headers: tuple[str, ...], sender: str, expected: tuple[str, str, str]
) -> None:
    caller = from_trunk(invite(TO, *headers, sender=sender), READER)
    assert (caller.e164, caller.display, caller.source) == expected
    assert not caller.hidden


@pytest.mark.rule("OUT-07", "INC-02")
@pytest.mark.parametrize(
    ("headers", "sender", "e164"),
    [
        (
            (f"P-Asserted-Identity: <sip:{STRANGER}@c>", "Privacy: id"),
            "<sip:anonymous@anonymous.invalid>",
            STRANGER,
        ),
        ((f"P-Asserted-Identity: <sip:{STRANGER}@c>", "Privacy: ID"), f"<sip:{STRANGER}@c>", STRANGER),
        (
            (f"P-Asserted-Identity: <sip:{STRANGER}@c>", "Privacy: User;Critical"),
            f"<sip:{STRANGER}@c>",
            STRANGER,
        ),
        (
            (f"P-Asserted-Identity: <sip:{STRANGER}@c>", "Privacy: critical", "Privacy: id"),
            "<sip:x@c>",
            STRANGER,
        ),
        ((f"P-Asserted-Identity: <sip:{STRANGER}@c>", "Privacy: session, header"), "<sip:x@c>", STRANGER),
        ((), '"Anonymous" <sip:Anonymous@anonymous.invalid>', ""),
        ((), "<sip:anonymous@carrier.example>", ""),
        ((), "<sip:Restricted@carrier.example>", ""),
        ((f"Remote-Party-ID: <sip:{STRANGER}@c>;privacy=full",), "<sip:x@c>", STRANGER),
        (("P-Asserted-Identity: <sip:anonymous@c>",), "<sip:anonymous@c>", ""),
    ],
)
def test_hidden_callers(headers: tuple[str, ...], sender: str, e164: str) -> None:
    caller = from_trunk(invite(TO, *headers, sender=sender), READER)
    assert caller.hidden
    assert caller.e164 == e164


@pytest.mark.parametrize(
    "header", ["Privacy: none", "Privacy: critical", "Privacy: session", "Privacy: idx", "Privacy:"]
)
def test_tokens_that_do_not_hide(header: str) -> None:
    assert not wants_privacy(invite(TO, header))


def test_without_any_identity() -> None:
    assert from_trunk(invite(TO, sender="<sip:c.example>"), READER) == CallerNumber()
    assert from_device(invite(TO, sender="<urn:x:y>"), READER) == CallerNumber()


def test_identities_beyond_the_bound_are_not_read() -> None:
    many = ", ".join(["<sip:x@c>"] * 8 + [f"<tel:{OUTSIDE}>"])
    assert (
        from_trunk(invite(TO, f"P-Asserted-Identity: {many}", sender=f"<sip:{STRANGER}@c>"), READER).e164
        == STRANGER
    )


def test_a_device_is_not_believed_what_it_asserts() -> None:
    request = invite(TO, f"P-Asserted-Identity: <sip:{OUTSIDE}@c>", sender="<sip:ana-phone@c>")
    assert from_device(request, READER) == CallerNumber(presented="ana-phone", source="from")


@pytest.mark.parametrize(
    ("text", "user", "e164", "shown"),
    [
        ("Stranger", "x", "", "Stranger"),
        ("  Ana\t  Example ", "x", "", "Ana Example"),
        ('Ana "the boss"', "x", "", "Ana the boss"),
        ("Anonymous", "x", "", ""),
        ("UNKNOWN", "x", "", ""),
        ("'unavailable'", "x", "", ""),
        ("+33639989999", "+33639989999", STRANGER, ""),
        ("06 39 98 99 99", "+33639989999", STRANGER, ""),
        ("+33 1 99 00 12 34", "+33639989999", STRANGER, ""),
        ("Bureau 12", "+33639989999", STRANGER, "Bureau 12"),
        ("ana-phone", "Ana-Phone", "", ""),
        ("Zoé", "x", "", "Zoé"),
        ("a\x07b", "x", "", "a?b"),
        ("x" * 200, "y", "", "x" * 64),
        ("\udc80", "y", "", "?"),
    ],
)
def test_display_names_without_noise(text: str, user: str, e164: str, shown: str) -> None:
    assert display_name(text, user, e164) == shown
