"""Documents that are wrong: each mistake is named by file, line, object and remedy, and changes nothing."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from callcontrol.provisioning import Document, MemoryProvisioningStore, ProvisioningError, apply, read_file
from callcontrol.provisioning.inventory import Inventory
from callcontrol.provisioning.terms import Terms
from numbering.policy import COUNTRIES
from tests.support.acme import ACME, PLANS, acme


def problems(*texts: str) -> list[str]:
    store = MemoryProvisioningStore()
    documents = [Document(f"{index}.toml", text) for index, text in enumerate(texts, 1)]
    with pytest.raises(ProvisioningError) as caught:
        asyncio.run(apply(documents, store, plans=PLANS))
    assert asyncio.run(store.read()) == Inventory()
    return [str(problem) for problem in caught.value.problems]


ACCOUNT = '[[account]]\nref = "a"\n'
USER = ACCOUNT + '[[user]]\nref = "u"\naccount = "a"\n'
DEVICE = USER + '[[device]]\nref = "d"\nuser = "u"\n'
NUMBER = USER + '[[number]]\ne164 = "+33639981001"\nuser = "u"\n'
TRUNK = '[[trunk]]\nref = "t"\npeers = ["sip:192.0.2.1:5080"]\nprefixes = ["+"]\n'

GATEWAY = "[[trunk]]\nref = 't'\naccept_from = ['192.0.2.1/32']\n[[gateway_number]]\ne164 = '+33199000001'\ntrunk = 't'\n"
SATELLITE = "+881" + "612345678"
"""A number of no country; there is no fictional one."""


WRONG = [
    # what is written, what is said
    ("[[account]\n", "1.toml:1: not valid TOML: expected ']]' at the end of an array declaration"),
    ("[[acount]]\nref = 'a'\n", "1.toml:1: acount: there is no such object (did you mean 'account'?)"),
    (
        "[account]\nref = 'a'\n",
        "1.toml:1: account: is not a list of tables (write [[account]] before each one)",
    ),
    ("[[account]]\n", "1.toml:1: account: ref: is missing"),
    ('[[account]]\nref = "a b"\n', "1.toml:2: account a b: ref: 'a b' is not a ref"),
    (ACCOUNT + "kind = 'firm'\n", "1.toml:3: account a: kind: 'firm' is none of company, consumer"),
    (
        ACCOUNT + "plan = 'standart'\n",
        "account a: plan: there is no plan 'standart' (did you mean 'standard'?)",
    ),
    (ACCOUNT + "\n\nmanger = 'x'\n", "1.toml:5: account a: manger: unknown key (did you mean 'manager'?)"),
    (ACCOUNT + "manager = 'x'\n", "account a: manager: only a company has a manager"),
    (ACCOUNT + "kind = 'company'\nmanager = 'x'\n", "1.toml:4: account a: manager: there is no manager 'x'"),
    ("[[user]]\nref = 'u'\n", "1.toml:1: user u: account: is missing"),
    ("[[user]]\nref = 'u'\naccount = 'x'\n", "1.toml:3: user u: account: there is no account 'x'"),
    (USER + "name = 7\n", "1.toml:6: user u: name: 7 is not text"),
    (USER + 'name = "a\\nb"\n', "user u: name: contains control characters"),
    (USER + f"email = '{'x' * 255}'\n", "user u: email: is longer than 254 characters"),
    (USER + "default_number = '+33639981001'\n", "user u: default_number: +33639981001 is not a number of"),
    ("[[device]]\nuser = 'u'\n", "device: ref: is missing (write ref, or sip_username"),
    ("[[device]]\nref = 'd'\nuser = 'bob'\n", "1.toml:3: device d: user: there is no user 'bob'"),
    (DEVICE + "answer = 'gsm'\n", "1.toml:9: device d: answer: there is no SIM to be called"),
    (DEVICE + "answer = 'sip'\n", "1.toml:9: device d: answer: 'sip' is none of voip, gsm"),
    (DEVICE + "confirm = 'press1'\n", "by pressing 1, and that needs media that this version does not have"),
    (DEVICE + "sim = '0639980001'\n", "device d: sim: '0639980001': it is a national number"),
    (DEVICE + "sim_verified = true\n", "device d: sim_verified: there is no SIM to be verified"),
    (DEVICE + "kind = 'desktop'\nsim = '+33639980001'\n", "device d: sim: a desktop has no SIM"),
    (DEVICE + "sip_password = 'x'\n", "device d: sip_password: a password needs a sip_username"),
    (DEVICE + "sim_verified = 'yes'\n", "device d: sim_verified: 'yes' is neither true nor false"),
    ("[[number]]\nuser = 'u'\n", "1.toml:1: number: e164: is missing"),
    ("[[number]]\ne164 = 33\nuser = 'u'\n", "number: e164: 33 is not text"),
    ("[[number]]\ne164 = '+999'\nuser = 'u'\n", "no country has this country code (write E.164 with a plus"),
    ("[[number]]\ne164 = '+3363998'\nuser = 'u'\n", "'+3363998': it is too short"),
    (
        NUMBER + "[[number.slot]]\nzone = 'Europe/Paris'\n",
        "1.toml:9: number +33639981001: slot: days: is missing",
    ),
    (
        NUMBER + "[number.forward]\nmode = 'all'\n",
        "number +33639981001: forward: to: calls are forwarded to nobody",
    ),
    (NUMBER + "[number.forward]\nmod = 'all'\n", "forward: mod: unknown key (did you mean 'mode'?)"),
    (NUMBER + "ring_seconds = 601\n", "ring_seconds: 601 is not between 0 and 600"),
    (NUMBER + "ring_seconds = nan\n", "ring_seconds: nan is not a number"),
    (NUMBER + "category = 'gold'\n", "category: 'gold' is none of standard, vip"),
    (NUMBER + "block = '+33639989999'\n", "block: is not a list of texts"),
    (NUMBER + "block = ['nobody']\n", "block: 'nobody' names no caller"),
    ("[[greeting]]\naccount = 'a'\n", "1.toml:1: greeting: number: is missing"),
    ("[[gateway_number]]\ntrunk = 't'\n", "1.toml:1: gateway_number: e164: is missing"),
    (
        "\n[[gateway_number]]\ne164 = '+33199000001'\n",
        "1.toml:2: gateway_number +33199000001: trunk: is missing",
    ),
    (
        GATEWAY.replace("trunk = 't'", "trunk = 'x'"),
        "1.toml:6: gateway_number +33199000001: trunk: there is no trunk 'x'",
    ),
    (GATEWAY + "kind = 'callback'\n", "kind: 'callback' is none of call_through, verification, voicemail"),
    (GATEWAY + "country = 'France'\n", "country: is longer than 2 characters"),
    (GATEWAY + "country = 'fr'\n", "gateway_number +33199000001: country: 'fr' is not a country"),
    (GATEWAY.replace("+33199000001", SATELLITE), f"country: {SATELLITE} tells no country (write country"),
    (GATEWAY + "user = 'u'\n", "gateway_number +33199000001: user: unknown key"),
    (GATEWAY + GATEWAY.partition("]\n")[2], "is named already in 1.toml:4"),
    (
        TRUNK + "[[gateway_number]]\ne164 = '+33199000001'\ntrunk = 't'\n",
        "1.toml:7: gateway_number +33199000001: trunk: no call can come in by 't', and a gateway number is there",
    ),
    (
        GATEWAY.replace("+33199000001", "+33639981001") + NUMBER,
        "gateway_number +33639981001: e164: +33639981001 is a cloud number",
    ),
    (
        GATEWAY.replace("+33199000001", "+33639980001") + DEVICE + "sim = '+33639980001'\n",
        "gateway_number +33639980001: e164: +33639980001 is the SIM of device d",
    ),
    ("[[trunk]]\nref = 't'\n", "1.toml:1: trunk t: does nothing: no call can come from it or go to it"),
    (TRUNK + "register = true\n", "1.toml:5: trunk t: register: who registers needs a username"),
    (TRUNK.replace("sip:192", "192"), "1.toml:3: trunk t: peers: '192.0.2.1:5080': a peer is written sip:"),
    (TRUNK.replace("5080", "70000"), "peers: 'sip:192.0.2.1:70000': the port of a peer is 1 to 65535"),
    (
        TRUNK + "accept_from = ['192.0.2.1/24']\n",
        "accept_from: 192.0.2.1/24 has host bits set (write 192.0.2.0",
    ),
    (TRUNK.replace("['+']", "x").replace('["+"]', '["33"]'), "prefixes: '33' is not a prefix"),
    (TRUNK.replace('["+"]', '["+", {prefix = "+"}]'), "prefixes: '+' is named twice"),
    (TRUNK.replace('["+"]', '[{prefix = "+", cost = -1}]'), "prefixes: -1 is not a price"),
    (TRUNK.replace('["+"]', '[{prefix = "+", price = 1}]'), "prefixes: price: unknown key"),
    (TRUNK + "priority = 1.5\n", "priority: 1.5 is not a whole number"),
    (TRUNK + "country = 'fr'\n", "country: 'fr' is not a country"),
    (TRUNK + "password = 'x'\n", "password: a password needs a username"),
    ("[[trunk]]\nref = 't'\nprefixes = ['+']\n", "prefixes: a trunk that terminates calls needs peers"),
]


@pytest.mark.parametrize(("text", "said"), WRONG, ids=[said[:50] for _, said in WRONG])
def test_a_mistake_is_named(text: str, said: str) -> None:
    found = problems(text)
    assert any(said in each for each in found), found


@pytest.mark.rule("NUM-03")
def test_a_number_has_one_holder() -> None:
    two = NUMBER + '[[user]]\nref = "v"\naccount = "a"\n[[number]]\ne164 = "+33639981001"\nuser = "v"\n'
    assert problems(two) == [
        "1.toml:12: number +33639981001: is named already in 1.toml:6, where 'u' holds it: "
        "a number has exactly one holder (keep one of them)"
    ]
    shared = USER + '[[number]]\ne164 = "+33639981001"\nusers = ["u", "v"]\n'
    assert problems(shared) == [
        "1.toml:8: number +33639981001: users: sharing a number is refused: it has exactly one holder "
        '(write user = "…")'
    ]


@pytest.mark.rule("NUM-02")
def test_a_plan_bounds_the_numbers_of_a_user() -> None:
    text = USER.replace("[[user]]", 'plan = "starter"\n[[user]]')
    for index in range(3):
        text += f'[[number]]\ne164 = "+3363998100{index}"\nuser = "u"\n'
    assert problems(text) == [
        "1.toml:15: number +33639981002: user: 'u' would hold 3 numbers; the plan 'starter' allows 2"
    ]


@pytest.mark.rule("NUM-09")
def test_what_the_country_does_not_offer_is_not_switched_on() -> None:
    france = replace(COUNTRIES.of("FR"), capabilities=("calls",))
    terms = Terms(countries=replace(COUNTRIES, by_country={**COUNTRIES.by_country, "FR": france}))
    documents = [Document("1.toml", NUMBER + "voicemail = true\n")]
    store = MemoryProvisioningStore()
    with pytest.raises(ProvisioningError) as caught:
        asyncio.run(apply(documents, store, plans=PLANS, terms=terms))
    assert [str(problem) for problem in caught.value.problems] == [
        "1.toml:9: number +33639981001: voicemail: numbers of FR have none"
    ]
    asyncio.run(apply(documents, store, plans=PLANS))
    asyncio.run(apply([Document("1.toml", NUMBER)], store, plans=PLANS, terms=terms))


def test_user_names_are_unique() -> None:
    text = DEVICE + 'sip_username = "x"\n[[device]]\nref = "e"\nuser = "u"\nsip_username = "x"\n'
    assert problems(text) == [
        "1.toml:13: device e: sip_username: 'x' is taken by device d (a user name is unique in the domain)"
    ]


def test_one_sim_belongs_to_one_user() -> None:
    text = DEVICE + 'sim = "+33639980001"\n[[user]]\nref = "v"\naccount = "a"\n'
    text += '[[device]]\nref = "e"\nuser = "v"\nsim = "+33639980001"\n'
    assert problems(text) == [
        "1.toml:16: device e: sim: +33639980001 is the SIM of device d, which is another user's"
    ]
    assert (
        "is a cloud number, not a SIM" in problems(NUMBER + DEVICE[len(USER) :] + 'sim = "+33639981001"\n')[0]
    )


def test_a_source_belongs_to_one_trunk() -> None:
    one = '[[trunk]]\nref = "a"\naccept_from = ["192.0.2.0/24"]\n'
    two = '[[trunk]]\nref = "b"\naccept_from = ["192.0.2.0/24"]\n'
    assert (
        "1.toml:6: trunk b: accept_from: 192.0.2.0/24 is where trunk a comes from" in problems(one + two)[0]
    )
    same_port = 'port_must_match = true\npeers = ["sip:192.0.2.1"]\n'
    assert "accept_from" in problems(one + same_port + two + same_port)[0]
    other_port = 'port_must_match = true\npeers = ["sip:192.0.2.1:5070"]\n'
    documents = [Document("t", one + same_port + two + other_port)]
    changes = asyncio.run(apply(documents, MemoryProvisioningStore(), plans=PLANS))
    assert len(changes.created) == 2


def test_user_names_of_trunks_are_unique() -> None:
    trunk = '[[trunk]]\nref = "{}"\nusername = "x"\npassword = "y"\n'
    assert "trunk b: username: 'x' is taken by trunk a" in problems(trunk.format("a") + trunk.format("b"))[0]
    device = DEVICE + 'sip_username = "x"\n'
    assert "trunk a: username: 'x' is the sip_username of a device" in problems(device + trunk.format("a"))[0]


def test_every_mistake_is_reported_at_once_with_its_file() -> None:
    found = problems(ACCOUNT + "plan = 'x'\nkind = 'y'\n", "[[user]]\nref = 'u'\nacount = 'a'\n")
    assert [each.split(":")[0] for each in found] == ["1.toml", "1.toml", "2.toml", "2.toml"]


def test_objects_of_several_documents_meet() -> None:
    head, tail = ACME.split("[[device]]", 1)
    documents = [Document("people.toml", head), Document("things.toml", "[[device]]" + tail)]
    changes = asyncio.run(apply(documents, MemoryProvisioningStore(), plans=PLANS))
    assert len(changes.created) == 8
    found = problems(head, "\n" + head)
    assert "2.toml:2: account acme: is named already in 1.toml:1 (keep one of them)" in found


def test_a_file_that_cannot_be_read(tmp_path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ProvisioningError, match="cannot be read"):
        read_file(tmp_path / "none.toml")
    (tmp_path / "latin.toml").write_bytes(b"# caf\xe9\n")
    with pytest.raises(ProvisioningError, match="not UTF-8"):
        read_file(tmp_path / "latin.toml")
    (tmp_path / "acme.toml").write_text(ACME)
    assert read_file(tmp_path / "acme.toml").text == acme()[0].text
