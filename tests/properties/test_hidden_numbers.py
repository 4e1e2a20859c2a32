"""OUT-07 under every profile of a trunk: a hidden number stands in P-Asserted-Identity beside Privacy: id, or nowhere."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callcontrol.b2bua.crossing import from_value
from callcontrol.b2bua.identity import TrunkProfile, apply_rules, trunk_lines
from dialplan.plan import Diversion, Identity
from gateway.profile import (
    DiversionHeader,
    HeaderRule,
    IdentityHeader,
    PrivacyForm,
    RuleAction,
    check_rule,
    long_name,
)
from gateway.routes import format_caller
from gateway.trunk import NumberFormat, Trunk
from tests.scenarios.stage import ANA, OUTSIDE, Stage

SECRET = "+33639981001"
FORWARDER = "+33639981002"
DIGITS = "639981001"
"""What every spelling of the number holds."""


def spelt(number: str, form: NumberFormat, country: str) -> str:
    return format_caller(Trunk(ref="t", number_format=form, country=country), number)


PROFILES = st.builds(
    TrunkProfile,
    st.sampled_from(IdentityHeader).map(lambda item: item.value),
    st.booleans(),
    st.sampled_from(PrivacyForm).map(lambda item: item.value),
    st.sampled_from(DiversionHeader).map(lambda item: item.value),
    st.sampled_from(["", "carrier.example"]),
    st.sampled_from(["", "sbc.example:5061"]),
)
NAMES = st.sampled_from(
    [
        "X-Account",
        "Subject",
        "s",
        "P-Asserted-Identity",
        "Privacy",
        "From",
        "f",
        "Remote-Party-ID",
        "Diversion",
        "Reason",
    ]
)


@pytest.mark.rule("OUT-07")
@settings(max_examples=400)
@given(
    PROFILES,
    st.lists(st.tuples(st.sampled_from(RuleAction), NAMES, st.sampled_from(["", "4711"])), max_size=4),
    st.sampled_from(NumberFormat),
    st.sampled_from(["FR", "GB", ""]),
    st.lists(st.sampled_from(["unknown", "user-busy", "unconditional"]), max_size=2),
)
def test_a_hidden_number_is_told_in_one_place_or_nowhere(
    profile: TrunkProfile,
    rules: list[tuple[RuleAction, str, str]],
    form: NumberFormat,
    country: str,
    reasons: list[str],
) -> None:
    legal = [HeaderRule(*rule) for rule in rules if not check_rule(HeaderRule(*rule))]
    profile.rules = tuple((rule.action.value, long_name(rule.name), rule.value) for rule in legal)
    diverted = tuple(Diversion(number=FORWARDER, reason=reason) for reason in reasons)
    identity = Identity(asserted=SECRET, hidden=True, diverted=diverted)
    shown = spelt(SECRET, form, country)
    target = f"sip:{OUTSIDE}@192.0.2.1;user=phone"
    lines = apply_rules(trunk_lines(identity, profile, "cloudline.example", shown, target), profile.rules)
    sender = from_value(identity, profile.domain or "cloudline.example", shown)
    assert "anonymous.invalid" in sender
    assert DIGITS not in sender
    told = [line for line in lines if DIGITS in line]
    asserted = [line for line in lines if line.startswith("P-Asserted-Identity: ")]
    privacy = [line for line in lines if line.startswith("Privacy: ")]
    assert len(privacy) == 1
    assert "id" in privacy[0].partition(": ")[2].split(";")
    assert told == asserted
    assert len(asserted) == (1 if profile.trusted else 0)
    if asserted:
        host = profile.domain or "cloudline.example"
        assert re.fullmatch(
            rf"P-Asserted-Identity: <sip:[^<>@]*{DIGITS}[^<>@]*@{re.escape(host)}>", asserted[0]
        )


@pytest.mark.rule("OUT-07")
@given(PROFILES, st.sampled_from(NumberFormat))
def test_a_number_that_is_shown_stands_where_the_profile_says(
    profile: TrunkProfile, form: NumberFormat
) -> None:
    identity = Identity(number=SECRET, asserted=SECRET)
    shown = spelt(SECRET, form, "FR")
    lines = trunk_lines(identity, profile, "cloudline.example", shown, f"sip:{OUTSIDE}@192.0.2.1")
    names = [line.partition(":")[0] for line in lines]
    wanted = {
        IdentityHeader.PAI: ["P-Asserted-Identity"],
        IdentityHeader.PPI: ["P-Preferred-Identity"],
        IdentityHeader.RPID: ["Remote-Party-ID"],
        IdentityHeader.FROM: [],
    }
    assert names == wanted[IdentityHeader(profile.identity)]
    assert all(DIGITS in line for line in lines)
    assert DIGITS in from_value(identity, "cloudline.example", shown)


@pytest.mark.rule("FWD-02")
@pytest.mark.parametrize("form", DiversionHeader)
def test_who_forwarded_is_told_in_the_headers_of_the_profile(form: DiversionHeader) -> None:
    """RFC 5806: the last one first; RFC 7044 with the causes of RFC 7544, the target last."""
    diverted = (
        Diversion(number="+33639981002", reason="unconditional"),
        Diversion(number="+33639981003", reason="user-busy"),
    )
    identity = Identity(number=SECRET, asserted=SECRET, diverted=diverted)
    profile = TrunkProfile(diversion=form.value, domain="c.example")
    lines = trunk_lines(identity, profile, "x", SECRET, f"sip:{OUTSIDE}@192.0.2.1;user=phone")[1:]
    diversion = [
        "Diversion: <sip:+33639981003@c.example>;reason=user-busy;counter=1",
        "Diversion: <sip:+33639981002@c.example>;reason=unconditional;counter=1",
    ]
    history = [
        "History-Info: <sip:+33639981002@c.example>;index=1, <sip:+33639981003@c.example;cause=302>;index=1.1, "
        f"<sip:{OUTSIDE}@192.0.2.1;user=phone;cause=486>;index=1.1.1"
    ]
    wanted = {"diversion": diversion, "history-info": history, "both": diversion + history, "none": []}
    assert lines == wanted[form.value]


def every_profile() -> Iterator[dict[str, object]]:
    for identity in IdentityHeader:
        for trusted in (True, False):
            for number, form in enumerate(NumberFormat):
                yield {
                    "identity": identity,
                    "trusted": trusted,
                    "number_format": form,
                    "privacy": list(PrivacyForm)[number % 3],
                    "diversion": list(DiversionHeader)[number % 4],
                    "host": "sbc.acme.example" if number % 2 else "",
                    "headers": (HeaderRule(RuleAction.ADD, "X-Account", "4711"),),
                }


@pytest.mark.rule("OUT-07")
@pytest.mark.parametrize(
    "fields", list(every_profile()), ids=lambda fields: "-".join(str(v) for v in list(fields.values())[:3])
)
def test_nothing_that_a_carrier_gets_of_a_hidden_call_names_the_caller(fields: dict[str, object]) -> None:
    """Every message of a whole call, over the real core: INVITE, ACK, re-INVITE, BYE, in whatever spelling."""
    from tests.scenarios.carriers import _change

    stage = Stage()
    trunk = _change(stage, "carrier-a", **fields)
    ana = stage.phone("ana-phone")
    carrier = stage.carrier()
    stage.begin()
    call = ana.call(OUTSIDE, headers=(("privacy", "id"),))
    stage.talk(ana, call, carrier)
    carrier.answers = 7002
    ana.request(
        call,
        "INVITE",
        b"v=0\r\no=- 1 2 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\nm=audio 4002 RTP/AVP 0\r\n",
    )
    stage.run(0.5)
    ana.bye(call)
    stage.run(1.0)
    told = []
    for message in stage.sent(carrier):
        for line in message.data.decode().splitlines():
            if ANA[4:] in line or "ana" in line.lower():
                told.append(line)
                assert "id" in (message.get("privacy") or "").split(";")
    assert all(line.startswith("P-Asserted-Identity: ") for line in told), told
    assert len(told) == (1 if trunk.trusted else 0)
