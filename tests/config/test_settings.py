"""Settings: the reference file is the truth, and mistakes are named by file, line, key and remedy."""

from __future__ import annotations

import socket
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from config.parts import Section, split_host_port
from config.sections import Settings
from config.settings import SettingsError, load

REFERENCE = Path(__file__).parents[2] / "config" / "reference.toml"


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "node.toml"
    path.write_text(text)
    return path


def problems(path: Path | None, environ: dict[str, str]) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(path, environ)
    return [str(problem).replace(str(path), "node.toml") for problem in caught.value.problems]


def keys(model: type[BaseModel]) -> dict[str, Any]:
    """Every key of the models, as the nesting of a TOML file."""
    result: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        kind = field.annotation
        result[name] = keys(kind) if isinstance(kind, type) and issubclass(kind, Section) else None
    return result


TABLES = ("plans", "zones", "quarantine_days")
"""Settings whose keys the operator names."""


def shape(values: dict[str, Any]) -> dict[str, Any]:
    return {
        name: shape(value) if isinstance(value, dict) and name not in TABLES else None
        for name, value in values.items()
    }


def test_the_reference_file_says_the_defaults() -> None:
    assert load(REFERENCE, {}) == load(None, {}) == Settings()


def test_the_reference_file_has_every_key_and_explains_it() -> None:
    text = REFERENCE.read_text()
    assert shape(tomllib.loads(text)) == keys(Settings)
    lines = text.splitlines()
    for index, line in enumerate(lines):
        if " = " in line and not line.startswith("#") and "[plans" not in "\n".join(lines[:index]):
            assert "# " in line or lines[index - 1].startswith("# "), f"no comment: {line}"


def test_the_defaults_of_the_reference_file_are_literally_there() -> None:
    """Not only equal after reading: a default that changes in code must change in the file."""
    values = tomllib.loads(REFERENCE.read_text())
    values["node"]["id"] = socket.gethostname()
    assert values == Settings().model_dump(mode="json")


def test_a_file_and_the_environment_over_it(tmp_path: Path) -> None:
    path = written(tmp_path, '[node]\nid = "n1"\n[sip]\ndomain = "Acme.Example"\n[sip.timers]\nt1 = 0.25\n')
    settings = load(
        path,
        {
            "CLOUDLINE_NODE__ID": "n2",
            "CLOUDLINE_SIP__LISTEN": "udp:0.0.0.0:5070, tls:[::]:5071",
            "CLOUDLINE_SIP__DOMAINS": '["a.example", "B.example"]',
            "CLOUDLINE_SIP__TLS__CERTIFICATE": "c.pem",
            "CLOUDLINE_SIP__TLS__KEY": "k.pem",
            "CLOUDLINE_LIMITS__BANS": "false",
            "CLOUDLINE_PLANS__GOLD__DEVICES": "9",
            "CLOUDLINE_PLANS__GOLD__NUMBERS": "50",
            "CLOUDLINE_DEMO": "not a setting: it names no section",
            "HOME": "/root",
        },
    )
    assert settings.node.id == "n2"
    assert settings.sip.listen == ("udp:0.0.0.0:5070", "tls:[::]:5071")
    assert settings.sip.domain == "acme.example"
    assert settings.sip.domains == ("a.example", "b.example")
    assert settings.sip.timers.t1 == 0.25
    assert not settings.limits.bans
    assert settings.plans["gold"].numbers == 50
    assert settings.plans["starter"].devices == 1


def test_a_plan_of_a_file_replaces_the_standard_one(tmp_path: Path) -> None:
    settings = load(written(tmp_path, "[plans.starter]\ndevices = 2\nnumbers = 3\n"), {})
    assert (settings.plans["starter"].devices, len(settings.plans)) == (2, 4)


def test_the_node_is_called_like_the_host() -> None:
    assert load(None, {}).node.id == socket.gethostname()


def test_settings_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load(None, {}).sip.domain = "x"


WRONG = [
    ("[sip]\nlistn = []\n", "node.toml:2: sip.listn: unknown key (did you mean 'listen'?)"),
    ("\n[spi]\n", "node.toml:2: spi: unknown key (did you mean 'sip'?)"),
    ("[sip]\nxyzzy = 1\n", "node.toml:2: sip.xyzzy: unknown key (known: advertise, connect_seconds,"),
    (
        "[sip]\nlisten = [\n  'udp:[::1]:1',\n  'foo:1',\n]\n",
        "node.toml:2: sip.listen: 'foo:1' begins with none",
    ),
    ("[sip]\nlisten = ['udp:::1:5060']\n", "an IPv6 address is written in brackets: [::1]:5060"),
    ("[sip]\nlisten = ['udp:127.0.0.1']\n", "sip.listen: '127.0.0.1' is not host:port"),
    ("[sip]\nlisten = ['udp:127.0.0.1:99999']\n", "sip.listen: port 99999 is above 65535"),
    ("[sip]\nlisten = []\n", "sip.listen: there must be at least one listening address"),
    ("[sip]\nlisten = ['udp:h:1', 'udp:h:1']\n", "sip.listen: 'udp:h:1' is named twice"),
    ("[sip]\nlisten = 'udp:h:1'\n", "sip.listen: input should be a valid tuple, not 'udp:h:1'"),
    ("[sip]\nlisten = ['tls:127.0.0.1:5061']\n", "sip: 'tls:127.0.0.1:5061' needs sip.tls.certificate"),
    ("[sip]\nadvertise = 'a b'\n", "sip.advertise: 'a b' is not host or host:port"),
    ("[sip]\n[sip.tls]\nkey = 'k'\n", "node.toml:2: sip.tls: certificate and key belong together"),
    (
        "[sip.tls]\nkey = 'k'\ncertificate = 'c'\nrequire_client_certificate = true\n",
        "sip.tls: require_client_certificate needs client_ca",
    ),
    ("[sip.timers]\nt1 = 9\n", "node.toml:1: sip.timers: t1, t2 and t4 must not decrease"),
    ("[sip.timers]\nt1 = -1\n", "node.toml:2: sip.timers.t1: input should be greater than 0, not -1"),
    ("[node]\nworkers = 4\n", "node.workers: several workers have their calls and registrations in common"),
    ("[node]\nworkers = 33\n", "node.workers: input should be less than or equal to 32"),
    (
        "[node]\nworkers = 2\n[state]\nurl = 'redis://h'\n[mqtt]\nurl = 'embedded'\n",
        "node.workers: the built-in MQTT broker serves one process",
    ),
    ("[state]\nurl = 'redis+tls://h'\n", "state.url: redis+tls is not supported"),
    ("[mqtt]\nurl = 'tcp://h'\n", 'mqtt.url: write mqtt://host:port, mqtts://host:port or "embedded"'),
    ("[mqtt]\nurl = 'mqtt://u:secret@h/topic'\n", "mqtt.url: only host, port, user and password"),
    ("[media]\nmode = 'rtpengine'\n", "media.mode: this version lets media pass directly"),
    (
        "[database]\nurl = 'mysql://u:secret@h/d'\n",
        "database.url: mysql is not supported; write sqlite+aiosqlite",
    ),
    ("[calls]\nring_seconds = 91\n", "calls: ring_seconds must not exceed total_ring_seconds"),
    ("[calls]\nmin_se_seconds = 80\n", "min_se_seconds: input should be greater than or equal to 90, not 80"),
    ("[calls]\nsession_expires_seconds = 90\nmin_se_seconds = 91\n", "calls: min_se_seconds must not exceed"),
    ("[calls]\ncountry = 'France'\n", "calls.country: string should match pattern"),
    (
        "[registrar]\nmin_expires_seconds = 9999\n",
        "registrar: min_, default_ and max_expires_seconds must not",
    ),
    (
        "[limits]\ntrusted_networks = ['10.0.0.1/8']\n",
        "limits.trusted_networks: 10.0.0.1/8 has host bits set",
    ),
    ("[http]\nlisten = '8080'\n", "http.listen: '8080' is not host:port"),
    ("[plans.gold]\ndevices = 3\n", "node.toml:1: plans.gold.numbers: is missing (write it)"),
    (
        "[plans.gold]\ndevices = 3\nnumbers = 1\nnmbers = 2\n",
        "plans.gold.nmbers: unknown key (did you mean 'numb",
    ),
    (
        "[log]\nlevel = 'loud'\n",
        "log.level: input should be 'debug', 'info', 'warning' or 'error', not 'loud'",
    ),
    ("[sip\n", "node.toml:1: not valid TOML: expected ']' at the end of a table declaration"),
    ("a = \n", "node.toml:1: not valid TOML: invalid value"),
    ("a = '''\n\n", "node.toml:3: not valid TOML: expected"),
]


@pytest.mark.parametrize(("text", "said"), WRONG, ids=[said[:40] for _, said in WRONG])
def test_a_mistake_is_named(tmp_path: Path, text: str, said: str) -> None:
    found = problems(written(tmp_path, text), {})
    assert any(said in each for each in found), found


def test_mistakes_of_the_environment_name_the_variable() -> None:
    found = problems(
        None,
        {
            "CLOUDLINE_SIP__LISTN": "x",
            "CLOUDLINE_SIPP__LISTEN": "x",
            "CLOUDLINE_NODE__WORKERS": "two",
            "CLOUDLINE_SIP__TIMERS": "1",
            "CLOUDLINE_SIP__TIMERS__T1__X": "1",
            "CLOUDLINE_PLANS__GOLD": "1",
            "CLOUDLINE_SIP__DOMAINS": "[oops",
        },
    )
    assert sorted(found) == [
        "environment: CLOUDLINE_NODE__WORKERS: input should be a valid integer, unable to parse string as an "
        "integer, not 'two'",
        "environment: CLOUDLINE_PLANS__GOLD: there is no such setting (write plans__NAME__KEY)",
        "environment: CLOUDLINE_SIPP__LISTEN: there is no such setting (did you mean 'sip'?)",
        "environment: CLOUDLINE_SIP__LISTN: there is no such setting (did you mean 'listen'?)",
        "environment: CLOUDLINE_SIP__TIMERS: there is no such setting (sip.timers is a section; one of t1, t2, t4)",
        "environment: CLOUDLINE_SIP__TIMERS__T1__X: there is no such setting (sip.timers.t1 has no parts)",
    ]


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    path = written(tmp_path, "[node]\nworkers = 0\n[http]\nlisten = 'x'\n[sip]\nzzz = 1\n")
    with pytest.raises(SettingsError) as caught:
        load(path, {})
    error = caught.value
    assert len(error.problems) == 3
    assert (error.file, error.line, error.key) == (str(path), 2, "node.workers")
    assert len(str(error).splitlines()) == 3


def test_passwords_are_not_repeated_in_messages(tmp_path: Path) -> None:
    path = written(tmp_path, "[database]\nurl = ['x://u:geheim@h/d']\n[registrar]\nsecret = [1, 'geheim']\n")
    found = problems(path, {})
    assert len(found) == 2
    assert "geheim" not in "".join(found)
    assert "geheim" not in repr(load(None, {"CLOUDLINE_REGISTRAR__SECRET": "geheim"}))


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    assert "cannot be read: No such file" in problems(tmp_path / "none.toml", {})[0]
    (tmp_path / "latin.toml").write_bytes(b"# caf\xe9")
    assert "is not UTF-8 text" in problems(tmp_path / "latin.toml", {})[0]


@pytest.mark.parametrize(
    ("text", "pair"),
    [("127.0.0.1:80", ("127.0.0.1", 80)), ("[::1]:0", ("::1", 0)), ("a.example:9", ("a.example", 9))],
)
def test_host_and_port(text: str, pair: tuple[str, int]) -> None:
    assert split_host_port(text) == pair


@pytest.mark.parametrize("text", ["", ":", "h:", ":1", "[::1:1", "::1]:1", "h:x", "h:70000", "h:²"])
def test_what_is_not_host_and_port(text: str) -> None:
    with pytest.raises(ValueError):
        split_host_port(text)
