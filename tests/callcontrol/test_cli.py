"""The command line against a node of fixed content, over a real socket; apply and export on a real SQLite
file.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from callcontrol.api.server import HttpServer
from callcontrol.cli import main
from callcontrol.node_view import ReloadView
from callcontrol.operator_access import NodeNote, leave_note, notes_folder
from callcontrol.version import VERSION
from tests.support.api import app_over
from tests.support.fake_node import FakeNode

TOKEN = "a-token-of-the-operator"


@pytest.fixture(autouse=True)
def own_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No node of anybody else, no configuration from the environment, an empty working directory."""
    for name in [name for name in os.environ if name.startswith("CLOUDLINE_")]:
        monkeypatch.delenv(name)
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def node() -> FakeNode:
    return FakeNode()


@pytest.fixture
def url(node: FakeNode, own_world: Path) -> Iterator[str]:
    """A running node with its note; its HTTP server has a thread and a loop of its own."""
    started = threading.Event()
    stop = asyncio.Event()
    found: list[str] = []
    loop = asyncio.new_event_loop()

    async def run() -> None:
        server = HttpServer(app_over(node), "127.0.0.1", 0)
        await server.start()
        found.append(server.url)
        started.set()
        await stop.wait()
        await server.stop()

    def body() -> None:
        loop.run_until_complete(run())
        loop.close()

    thread = threading.Thread(target=body)
    thread.start()
    assert started.wait(10)
    leave_note(NodeNote(url=found[0], token=TOKEN, node="node-1"))
    yield found[0]
    loop.call_soon_threadsafe(stop.set)
    thread.join(10)


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def cloudline(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command: exit code, standard output, standard error."""

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main(arguments)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def good(outcome: tuple[int, str, str]) -> str:
    code, out, err = outcome
    assert code == 0, err
    assert err == ""
    return out


def facts(outcome: tuple[int, str, str]) -> Any:
    return json.loads(good(outcome))


@pytest.mark.usefixtures("url")
def test_calls(cloudline: Run) -> None:
    out = good(cloudline("calls"))
    assert out.splitlines()[0].split()[:4] == ["REF", "DIRECTION", "STATE", "CALLER"]
    assert "+33639981001" in out
    assert [call["ref"] for call in facts(cloudline("calls", "--json"))] == ["c-1", "c-2", "c-3"]
    assert [call["ref"] for call in facts(cloudline("calls", "--json", "-n", "2"))] == ["c-1", "c-2"]
    assert [call["ref"] for call in facts(cloudline("calls", "--ended", "--json"))] == ["e-1"]


@pytest.mark.rule("OPS-02")
@pytest.mark.usefixtures("url")
def test_a_call_and_why(cloudline: Run) -> None:
    out = good(cloudline("calls", "show", "last"))
    assert "call c-1: incoming, talking" in out
    assert "INC-05   ring  (2 bindings)" in out
    assert "1. ring ana-phone, ana-desk for 30 s" in out
    assert facts(cloudline("calls", "show", "c-2", "--json"))["ref"] == "c-2"


@pytest.mark.rule("OPS-02")
@pytest.mark.usefixtures("url")
def test_the_ladder_is_drawn(cloudline: Run) -> None:
    out = good(cloudline("calls", "ladder", "c-1"))
    assert "── INVITE (SDP) ─▶" in out
    assert "(retransmission)" in out
    full = good(cloudline("calls", "ladder", "c-1", "--full"))
    assert "Proxy-Authorization: [removed]" in full
    assert "6629fae49393a053" not in full
    assert facts(cloudline("calls", "ladder", "c-1", "--json"))["call_ref"] == "c-1"


@pytest.mark.usefixtures("url")
def test_hang_up(cloudline: Run, node: FakeNode) -> None:
    assert good(cloudline("calls", "hangup", "last")) == "c-1: ending\n"
    assert node.hung_up == ["c-1"]
    code, out, err = cloudline("calls", "hangup", "c-99")
    assert (code, out) == (1, "")
    assert "No such call" in err


@pytest.mark.usefixtures("url")
def test_last_without_any_call(cloudline: Run, node: FakeNode) -> None:
    node.running.clear()
    assert "call e-1" in good(cloudline("calls", "show", "last"))
    node.ended.clear()
    assert cloudline("calls", "show", "last") == (1, "", "cloudline: there was no call yet\n")
    assert good(cloudline("calls")) == "no call is running\n"


@pytest.mark.usefixtures("url")
def test_registrations_and_trunks(cloudline: Run) -> None:
    assert "ben-desk" in good(cloudline("registrations"))
    assert [item["device"] for item in facts(cloudline("registrations", "ana", "--json"))] == ["ana-phone"]
    out = good(cloudline("trunks"))
    assert "sip:127.0.0.1:5080  up" in out
    assert facts(cloudline("trunks", "--json"))[1]["up"] is False
    shown = good(cloudline("trunks", "route", "+33199001234"))
    assert "carrier-a" in shown
    assert "priority 10, 0.01 a minute" in shown
    assert facts(cloudline("trunks", "route", "+33199001234", "--json"))[0]["share"] == 1.0
    code, _, said = cloudline("trunks", "route", "nonsense")
    assert code == 1
    assert "is not a number" in said


@pytest.mark.rule("OPS-05")
@pytest.mark.usefixtures("url")
def test_bans_are_seen_and_lifted(cloudline: Run, node: FakeNode) -> None:
    assert "198.51.100.7" in good(cloudline("bans"))
    assert good(cloudline("bans", "lift", "2001:db8::/64")) == "2001:db8::/64: not banned any more\n"
    assert node.banned == ["198.51.100.7"]
    assert [ban["address"] for ban in facts(cloudline("bans", "--json"))] == ["198.51.100.7"]


@pytest.mark.rule("CDR-01")
@pytest.mark.usefixtures("url")
def test_call_records(cloudline: Run) -> None:
    assert "normal_clearing" in good(cloudline("cdr", "list"))
    records = facts(cloudline("cdr", "list", "--json", "--number", "+33639981001"))
    assert records[0]["billable_seconds"] == 60
    assert facts(cloudline("cdr", "list", "--json", "--number", "+33639989999")) == []


@pytest.mark.rule("OPS-04")
@pytest.mark.usefixtures("url")
def test_drain(cloudline: Run, node: FakeNode) -> None:
    assert good(cloudline("drain")) == "node-1 takes no new calls; 3 are still running\n"
    assert node.draining
    assert facts(cloudline("drain", "--json"))["draining"] is True


@pytest.mark.rule("OPS-03")
@pytest.mark.usefixtures("url")
def test_reload(cloudline: Run, node: FakeNode) -> None:
    assert good(cloudline("reload")) == "changed: calls.ring_seconds\n"
    node.reload_view = ReloadView(ok=True, needs_restart=("sip.listen",))
    assert "takes effect at the next start: sip.listen" in good(cloudline("reload"))
    node.reload_view = ReloadView(ok=False, problems=("cloudline.toml:3: sip.listen: wrong",))
    code, out, err = cloudline("reload")
    assert (code, out) == (1, "")
    assert "the old configuration stays" in err
    assert "cloudline.toml:3: sip.listen: wrong" in err


def test_without_a_node_it_says_how_to_start_one(cloudline: Run) -> None:
    code, out, err = cloudline("calls")
    assert (code, out) == (1, "")
    assert "cloudline serve --demo" in err
    assert good(cloudline("nodes")).startswith("no node runs here")


def test_a_named_node_that_is_gone(cloudline: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUDLINE_TOKEN", TOKEN)
    code, _, err = cloudline("calls", "--url", "http://127.0.0.1:1")
    assert code == 1
    assert "no node answers at http://127.0.0.1:1" in err
    code, _, err = cloudline("calls", "--url", "ftp://x")
    assert code == 1
    assert "is not http://host:port" in err


def test_a_wrong_token(cloudline: Run, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUDLINE_TOKEN", "wrong")
    code, _, err = cloudline("calls", "--url", url)
    assert code == 1
    assert "does not accept the token" in err


def test_several_nodes_must_be_told_apart(cloudline: Run, url: str) -> None:
    leave_note(NodeNote(url="http://127.0.0.1:1", token=TOKEN, node="node-2", pid=os.getppid()))
    code, _, err = cloudline("calls")
    assert code == 1
    assert "say which with --url" in err
    assert len(facts(cloudline("calls", "--json", "--url", url))) == 3
    assert {item["node"] for item in facts(cloudline("nodes", "--json"))} == {"node-1", "node-2"}


@pytest.mark.usefixtures("url")
def test_a_node_without_demo_data_places_no_demo_call(cloudline: Run) -> None:
    code, _, err = cloudline("demo", "call")
    assert code == 1
    assert "serve --demo" in err


@pytest.mark.parametrize(
    "arguments", [("nothing",), ("calls", "show"), ("calls", "--limit", "0"), ("serve", "--x")]
)
def test_wrong_usage_is_2(cloudline: Run, arguments: tuple[str, ...]) -> None:
    code, out, err = cloudline(*arguments)
    assert code == 2
    assert out == ""
    assert "Usage: cloudline" in err


def test_version(cloudline: Run) -> None:
    assert good(cloudline("version")).startswith(f"cloudline {VERSION}, core ")
    assert facts(cloudline("version", "--json"))["version"] == VERSION


@pytest.mark.rule("OPS-03")
def test_a_wrong_configuration_names_file_line_and_key(cloudline: Run, tmp_path: Path) -> None:
    file = tmp_path / "cloudline.toml"
    file.write_text('[sip]\nlistn = ["udp:127.0.0.1:5060"]\n')
    code, _, err = cloudline("serve", "--check", "--config", str(file))
    assert code == 1
    assert f"{file}:2" in err
    assert "listn" in err
    assert "listen" in err


DOCUMENT = """
[[account]]
ref = "acme"
kind = "company"

[[user]]
ref = "ana"
account = "acme"

[[device]]
ref = "ana-phone"
user = "ana"
sip_username = "ana-phone"
sip_password = "secret-of-ana"

[[number]]
e164 = "+33639981001"
user = "ana"
"""


def test_apply_and_export(cloudline: Run, tmp_path: Path) -> None:
    document = tmp_path / "acme.toml"
    document.write_text(DOCUMENT)
    assert "dry run, nothing written: 4 created" in good(cloudline("apply", str(document), "--dry-run"))
    assert "4 created, 0 changed, 0 removed" in good(cloudline("apply", str(document)))
    assert facts(cloudline("apply", str(document), "--json"))["created"] == []
    exported = good(cloudline("export"))
    assert "secret-of-ana" not in exported
    whole = tmp_path / "whole.toml"
    whole.write_text(good(cloudline("export", "--secrets")))
    assert "secret-of-ana" in whole.read_text()
    assert "0 created, 0 changed, 0 removed" in good(cloudline("apply", str(whole), "--prune"))


def test_apply_refuses_as_a_whole(cloudline: Run, tmp_path: Path) -> None:
    document = tmp_path / "acme.toml"
    document.write_text(DOCUMENT.replace('user = "ana"\nsip_username', 'user = "nobody"\nsip_username'))
    code, out, err = cloudline("apply", str(document))
    assert (code, out) == (1, "")
    assert "nothing was changed" in err
    assert f"{document}:12: device ana-phone" in err
    assert "[[" not in good(cloudline("export"))


def test_apply_of_a_missing_file(cloudline: Run, tmp_path: Path) -> None:
    code, _, err = cloudline("apply", str(tmp_path / "none.toml"))
    assert code == 1
    assert "none.toml" in err


@pytest.mark.usefixtures("url")
def test_apply_goes_to_the_database_of_the_running_node(cloudline: Run, tmp_path: Path) -> None:
    database = f"sqlite+aiosqlite:///{tmp_path}/node.db"
    leave_note(
        NodeNote(url="http://127.0.0.1:1", token=TOKEN, node="node-1", extra={"database": database}),
        notes_folder(),
    )
    document = tmp_path / "acme.toml"
    document.write_text(DOCUMENT)
    code, out, err = cloudline("apply", str(document))
    assert code == 0
    assert "4 created" in out
    assert "node.db" in err
    assert (tmp_path / "node.db").exists()
    assert not (tmp_path / "cloudline.db").exists()
