"""``cloudline number block|forward|slots`` and ``cloudline greeting …`` on a real SQLite file."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from callcontrol.cli import main
from tests.support.inventory import ONE, PEOPLE
from tests.support.schema import sqlite_url

Run = Callable[..., tuple[int, str, str]]
HEAD = "+33639987000"


@pytest.fixture(autouse=True)
def own_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith("CLOUDLINE_")]:
        monkeypatch.delenv(name)
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    monkeypatch.setenv("CLOUDLINE_DATABASE__URL", sqlite_url(tmp_path, "n.db"))
    monkeypatch.chdir(tmp_path)
    number = f'[[number]]\ne164 = "{ONE}"\nuser = "ana"\n'
    (tmp_path / "people.toml").write_text(PEOPLE.replace('plan = "starter"', 'plan = "standard"') + number)
    return tmp_path


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def cloudline(*arguments: str) -> tuple[int, str, str]:
        code = main(arguments)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    assert cloudline("apply", "people.toml")[0] == 0
    return cloudline


def good(outcome: tuple[int, str, str]) -> str:
    code, out, err = outcome
    assert (code, err) == (0, ""), err
    return out


def bad(outcome: tuple[int, str, str]) -> str:
    code, out, err = outcome
    assert (code, out) == (1, "")
    return err


def facts(outcome: tuple[int, str, str]) -> Any:
    return json.loads(good(outcome))


@pytest.mark.rule("BLK-01")
def test_callers_are_blocked_and_unblocked(run: Run) -> None:
    assert good(run("number", "blocks", ONE)) == "nobody is blocked\n"
    assert good(run("number", "block", ONE, "06 39 98 99 99", "anonymous")) == (
        "block  +33639989999\nblock  anonymous\n"
    )
    assert facts(run("number", "block", ONE, "anonymous", "--spam", "--json")) == {
        "block": ["+33639989999"],
        "spam": ["anonymous"],
    }
    good(run("number", "unblock", ONE, "+33639989999"))
    assert "+33639989999 is on no list" in bad(run("number", "unblock", ONE, "+33639989999"))
    assert "is no class of numbers" in bad(run("number", "block", ONE, "class:nice"))
    assert good(run("number", "blocks", ONE)) == "spam   anonymous\n"


@pytest.mark.rule("FWD-01")
def test_calls_are_forwarded(run: Run) -> None:
    assert good(run("number", "forward", ONE)) == f"{ONE}: off\n"
    assert good(run("number", "forward", ONE, "missed", "01 99 00 12 34", "--cause", "busy")) == (
        f"{ONE}: missed to +33199001234 for busy\n"
    )
    assert good(run("number", "forward", ONE, "all")) == f"{ONE}: all to +33199001234\n"
    assert facts(run("number", "forward", ONE, "off", "--json"))["mode"] == "off"
    assert "is the number itself (forward to another number)" in bad(
        run("number", "forward", ONE, "all", ONE)
    )
    assert f"there is no number {HEAD}" in bad(run("number", "forward", HEAD))


@pytest.mark.rule("SLOT-01")
def test_a_number_has_slots(run: Run) -> None:
    assert good(run("number", "slots", ONE)) == "always\n"
    told = good(run("number", "slots", ONE, "mon-fri 08:30-19:00", "sat,sun 10:00-12:00", "--holidays", "FR"))
    assert told.startswith(
        "Europe/Paris\n  mon-fri 08:30-19:00\n  sat,sun 10:00-12:00\n  closed on holidays of FR\nnow "
    )
    found = facts(run("number", "slots", ONE, "--json"))
    assert found["slots"][1] == {"days": ["sat", "sun"], "from": "10:00", "to": "12:00"}
    assert found["next_change"] is not None
    assert "write 'mon-fri 08:30-19:00'" in bad(run("number", "slots", ONE, "mon-fri"))
    assert "'monday' are no days" in bad(run("number", "slots", ONE, "monday 08:00-09:00"))
    assert "overlap" in bad(run("number", "slots", ONE, "mon 08:00-10:00", "mon 09:00-11:00"))
    assert good(run("number", "slots", ONE, "--always")) == "always\n"


@pytest.mark.rule("GRT-08")
def test_a_greeting_from_its_making_to_its_end(run: Run) -> None:
    assert good(run("greeting", "list")) == "there is no Greeting\n"
    assert "account: is missing" in bad(run("greeting", "set", HEAD, "--member", "ana"))
    told = good(
        run(
            "greeting", "set", HEAD, "--account", "acme", "--member", "ana", "--member", "ben:2:15",
            "--strategy", "priority", "--closed", "forward:+33199001234",
        )
    )  # fmt: skip
    assert told == (
        f'[[greeting]]\nnumber = "{HEAD}"\naccount = "acme"\nstrategy = "priority"\n'
        'members = ["ana", { priority = 2, ring_seconds = 15, user = "ben" }]\n'
        'closed = { action = "forward", to = "+33199001234" }\n'
    )
    code, out, err = run("greeting", "set", HEAD, "--unanswered", "voicemail", "--closed", "refuse", "--json")
    assert (code, "there is no voicemail server" in err) == (0, True)
    assert "closed" not in json.loads(out)
    assert good(run("greeting", "hours", HEAD, "mon-fri 09:00-18:00")).startswith(
        "Europe/Paris\n  mon-fri 09"
    )
    assert facts(run("greeting", "hours", HEAD, "--holidays", "FR", "--json"))["holidays"] == ["FR"]
    assert "priority" in good(run("greeting", "list", "--account", "acme"))
    good(run("greeting", "block", HEAD, "anonymous"))
    assert good(run("greeting", "blocks", HEAD)) == "block  anonymous\n"
    good(run("greeting", "unblock", HEAD, "anonymous"))
    assert "members: 'rita' belongs to the account" in bad(run("greeting", "set", HEAD, "--member", "rita"))
    assert "nothing is named" in bad(run("greeting", "set", HEAD))
    assert "the number rests in quarantine" in good(run("greeting", "remove", HEAD))
    assert f"there is no greeting {HEAD}" in bad(run("greeting", "show", HEAD))
    assert facts(run("number", "show", HEAD, "--json"))["state"] == "quarantined"


def test_what_apply_warns_of_stands_beside_what_it_does(run: Run, tmp_path: Path) -> None:
    (tmp_path / "more.toml").write_text(f'[[number]]\ne164 = "{ONE}"\nuser = "ana"\nvoicemail = true\n')
    code, out, err = run("apply", "more.toml")
    assert (code, out.splitlines()[0]) == (0, f"~ number {ONE}")
    assert err.startswith(f"warning: more.toml:1: number {ONE}: voicemail: there is no voicemail server")
