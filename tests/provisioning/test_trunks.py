"""What a document may say of a trunk besides where it is: registration, identity, header rules, presets."""

from __future__ import annotations

import asyncio

import pytest

from callcontrol.provisioning import (
    Document,
    MemoryProvisioningStore,
    ProvisioningError,
    SqlProvisioningStore,
    apply,
    export,
)
from config.database import create_engine
from config.sections import DatabaseSettings
from gateway.profile import (
    MAX_RULES,
    PRESETS,
    DiversionHeader,
    HeaderRule,
    IdentityHeader,
    PrivacyForm,
    RuleAction,
    check_host,
    check_rule,
)
from gateway.trunk import NumberFormat, Trunk
from tests.support.acme import PLANS

TRUNK = '[[trunk]]\nref = "t"\npeers = ["sip:192.0.2.1:5080"]\nprefixes = ["+"]\n'
TEAMS = '[[trunk]]\nref = "t"\npreset = "teams"\nprefixes = ["+"]\n'


def read(text: str) -> Trunk:
    store = MemoryProvisioningStore()
    asyncio.run(apply([Document("1.toml", text)], store, plans=PLANS))
    return asyncio.run(store.read()).trunks["t"]


FULL = (
    TRUNK
    + """username = "acme"
password = "a word"
auth_username = "acme-auth"
register = true
registrar = "sip:register.carrier.example;transport=tcp"
register_seconds = 600
domain = "carrier.example"
host = "sbc.acme.example:5061"
identity = "rpid"
trusted = false
privacy = "user;id"
diversion = "history-info"
number_format = "phone-context"
caller_format = "digits"
[[trunk.headers]]
action = "add"
name = "X-Account"
value = "4711"
[[trunk.headers]]
action = "remove"
name = "Subject"
"""
)


def test_everything_that_can_be_said() -> None:
    trunk = read(FULL)
    assert (trunk.register, trunk.registrar, trunk.register_seconds) == (
        True,
        "sip:register.carrier.example;transport=tcp",
        600,
    )
    assert (trunk.login, trunk.domain, trunk.host) == (
        "acme-auth",
        "carrier.example",
        "sbc.acme.example:5061",
    )
    assert (trunk.identity, trunk.trusted) == (IdentityHeader.RPID, False)
    assert (trunk.privacy, trunk.diversion) == (PrivacyForm.USER, DiversionHeader.HISTORY_INFO)
    assert (trunk.number_format, trunk.caller_format) == (NumberFormat.CONTEXT, NumberFormat.DIGITS)
    assert trunk.headers == (
        HeaderRule(RuleAction.ADD, "X-Account", "4711"),
        HeaderRule(RuleAction.REMOVE, "Subject"),
    )


@pytest.mark.parametrize("secrets", [True, False])
def test_it_comes_back_from_the_database_and_its_own_document(database_url: str, secrets: bool) -> None:
    wanted = read(FULL)

    async def run() -> None:
        engine = create_engine(DatabaseSettings(url=database_url))
        try:
            store = SqlProvisioningStore(engine)
            await apply([Document("1.toml", FULL)], store, plans=PLANS)
            text = await export(store, secrets=secrets)
            assert ("a word" in text) is secrets
            assert not await apply([Document("export", text)], store, plans=PLANS, prune=True)
            assert (await store.read()).trunks["t"] == wanted
        finally:
            await engine.dispose()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('preset = "team"', "preset: there is no preset 'team' (did you mean 'teams'?)"),
        ('identity = "pia"', "identity: 'pia' is none of pai, ppi, rpid, from"),
        ('privacy = "none"', "privacy: 'none' is none of id, user;id, header;user;id"),
        ('diversion = "yes"', "diversion: 'yes' is none of"),
        (
            'caller_format = "short"',
            "caller_format: 'short' is none of e164, international, national, digits",
        ),
        ('host = "a b"', "host: 'a b' is not a host name"),
        ('host = "a.example:0"', "host: the port is 1 to 65535"),
        ('domain = "a.example:5060"', "domain: a domain has no port"),
        ('username = "a b"', "username: 'a b' cannot be a user name of SIP"),
        ('auth_username = "x"', "auth_username: needs a username"),
        ('registrar = "sip:r.example"', "registrar: this trunk does not register (write register = true)"),
        ('registrar = "r.example"', "registrar: 'r.example': a registrar is written sip:host"),
        ("register_seconds = 1", "register_seconds: 1 is not between 60 and 86400"),
        ("headers = [1]", "headers: 1 is not a rule"),
        (
            'headers = [{ action = "set", name = "X", value = "1" }]',
            "headers: 'set' is none of add, replace, remove",
        ),
        ('headers = [{ action = "add", name = "X-A", value = 1 }]', "headers: value: 1 is not text"),
        ('headers = [{ action = "add", header = "X" }]', "headers: header: unknown key"),
        ('headers = [{ action = "add", name = "Via", value = "1" }]', "headers: Via holds the call together"),
        (
            'headers = [{ action = "remove", name = "Privacy" }]',
            "Privacy tells who calls: the setting 'privacy'",
        ),
        ('preset = "teams"', "host: the preset 'teams' needs the name by which the carrier knows us"),
    ],
)
def test_a_mistake_is_named(line: str, said: str) -> None:
    with pytest.raises(ProvisioningError) as error:
        read(TRUNK + line + "\n")
    found = [str(each) for each in error.value.problems]
    assert any(said in each and each.startswith("1.toml:") for each in found), found


def test_rules_are_bounded() -> None:
    rule = '{ action = "add", name = "X-A", value = "1" }'
    assert len(read(TRUNK + f"headers = [{', '.join([rule] * MAX_RULES)}]\n").headers) == MAX_RULES
    with pytest.raises(ProvisioningError, match="more than 16 rules"):
        read(TRUNK + f"headers = [{', '.join([rule] * (MAX_RULES + 1))}]\n")


@pytest.mark.parametrize(
    "name",
    ["Via", "v", "ROUTE", "Record-Route", "CSeq", "call-id", "i", "From", "t", "Contact", "Max-Forwards",
     "Content-Length", "l", "Authorization", "Require", "Session-Expires", "x", "Refer-To", "P-Asserted-Identity",
     "Remote-Party-ID", "Diversion", "History-Info", "Identity", "y", "X-Cloudline-Call"],
)  # fmt: skip
@pytest.mark.parametrize("action", RuleAction)
def test_dangerous_headers_are_refused(name: str, action: RuleAction) -> None:
    assert check_rule(HeaderRule(action, name, "" if action is RuleAction.REMOVE else "x"))


@pytest.mark.parametrize(
    ("rule", "good"),
    [
        (HeaderRule(RuleAction.ADD, "X-Account", "4711"), True),
        (HeaderRule(RuleAction.REPLACE, "Subject", "caf\u00e9"), True),
        (HeaderRule(RuleAction.REMOVE, "s"), True),
        (HeaderRule(RuleAction.REMOVE, "s", "x"), False),
        (HeaderRule(RuleAction.ADD, "X-Account", " "), False),
        (HeaderRule(RuleAction.ADD, "X Account", "1"), False),
        (HeaderRule(RuleAction.ADD, "", "1"), False),
        (HeaderRule(RuleAction.ADD, "X-A", "1\r\nVia: x"), False),
        (HeaderRule(RuleAction.ADD, "X-A", "\x00"), False),
        (HeaderRule(RuleAction.ADD, "X-A", "1" * 513), False),
        (HeaderRule(RuleAction.ADD, "X" * 65, "1"), False),
    ],
)
def test_bounds_of_a_rule(rule: HeaderRule, good: bool) -> None:
    assert (check_rule(rule) == "") is good


@pytest.mark.parametrize(
    ("host", "good"),
    [("sbc.example", True), ("sbc.example:5061", True), ("[2001:db8::1]:5061", True), ("a..", False), ("", False),
     ("a@b", False), ("a:70000", False), ("a" * 256, False)],
)  # fmt: skip
def test_hosts(host: str, good: bool) -> None:
    assert (check_host(host) == "") is good


def test_a_preset_is_where_a_trunk_starts_from() -> None:
    trunk = read(TEAMS + 'host = "sbc.acme.example:5061"\n')
    assert trunk.peers[0] == "sip:sip.pstnhub.microsoft.com:5061;transport=tls"
    assert trunk.accept_from == ("52.112.0.0/14", "52.120.0.0/14")
    assert (trunk.host, trunk.domain) == ("sbc.acme.example:5061", "sbc.acme.example")
    assert (trunk.diversion, trunk.options_seconds) == (DiversionHeader.HISTORY_INFO, 60.0)
    mine = read(
        TEAMS + 'host = "s.example"\npeers = ["sip:192.0.2.7"]\ndiversion = "none"\noptions_seconds = 30\n'
    )
    assert (mine.peers, mine.diversion, mine.options_seconds) == (
        ("sip:192.0.2.7",),
        DiversionHeader.NONE,
        30.0,
    )
    plain = read(TRUNK + 'preset = "sipconnect"\n')
    assert (plain.identity, plain.options_seconds) == (IdentityHeader.PAI, 60.0)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_that_was_applied_is_exported_as_what_it_means(preset: str) -> None:
    async def run() -> None:
        store = MemoryProvisioningStore()
        text = TRUNK.replace("peers", f'host = "s.example"\npreset = "{preset}"\npeers')
        await apply([Document("1.toml", text)], store, plans=PLANS)
        exported = await export(store)
        assert "preset" not in exported
        assert not await apply([Document("2.toml", exported)], store, plans=PLANS, prune=True)
        assert not await apply([Document("1.toml", text)], store, plans=PLANS, prune=True)

    asyncio.run(run())
