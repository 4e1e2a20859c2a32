"""``cloudline number …`` on a real SQLite file: what it prints, what it records, how it fails."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from callcontrol.cli import main
from numbering.countries import earliest_port
from numbering.policy import COUNTRIES
from numbering.rio import check_characters
from tests.support.inventory import ONE, PEOPLE, THREE, TWO
from tests.support.schema import sqlite_url

Run = Callable[..., tuple[int, str, str]]
LINE = "+33639981299"


@pytest.fixture(autouse=True)
def own_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith("CLOUDLINE_")]:
        monkeypatch.delenv(name)
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    monkeypatch.setenv("CLOUDLINE_DATABASE__URL", sqlite_url(tmp_path, "n.db"))
    monkeypatch.setenv("CLOUDLINE_NUMBERS__OPERATOR_CODE", "ZZ")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "people.toml").write_text(PEOPLE)
    return tmp_path


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def cloudline(*arguments: str) -> tuple[int, str, str]:
        code = main(arguments)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    assert cloudline("apply", "people.toml")[0] == 0
    assert cloudline("number", "add", ONE, TWO, THREE)[0] == 0
    return cloudline


def good(outcome: tuple[int, str, str]) -> str:
    code, out, err = outcome
    assert (code, err) == (0, "")
    return out


def bad(outcome: tuple[int, str, str]) -> str:
    code, out, err = outcome
    assert (code, out) == (1, "")
    return err


def facts(outcome: tuple[int, str, str]) -> Any:
    return json.loads(good(outcome))


@pytest.mark.rule("NUM-04", "NUM-05")
def test_the_life_of_a_number_from_the_command_line(run: Run) -> None:
    assert "kept for ana, reserved until 20" in good(run("number", "reserve", "ana", ONE))
    assert good(run("number", "assign", ONE, "ana", "--reason", "bought")) == f"{ONE}: held by ana, active\n"
    assert good(run("number", "suspend", ONE, "--reason", "unpaid")) == f"{ONE}: suspended\n"
    assert "not suspended any more, active" in good(run("number", "resume", ONE))
    assert "held by ben, active" in good(run("number", "reassign", ONE, "ben", "--with-history"))
    assert "given up, quarantined until 20" in good(run("number", "release", ONE))
    assert "held by ben, active" in good(run("number", "take-back", ONE, "ben"))
    assert "renewed, active" in good(run("number", "renew", ONE, "2099-01-31"))
    shown = facts(run("number", "show", ONE, "--json"))
    assert (shown["user"], shown["state"], shown["expires_at"]) == (
        "ben",
        "active",
        "2099-01-31T00:00:00+00:00",
    )
    assert shown["capabilities"] == ["calls", "messages", "voicemail"]
    history = facts(run("number", "history", ONE, "--json"))
    assert [event["action"] for event in reversed(history)] == [
        "add",
        "reserve",
        "assign",
        "suspend",
        "resume",
        "reassign",
        "release",
        "take_back",
        "renew",
    ]
    assert {event["actor"].partition(":")[0] for event in history} == {"cli"}
    assert history[6]["reason"] == "bought"
    table = good(run("number", "history", ONE))
    assert table.splitlines()[0].split()[:3] == ["AT", "(UTC)", "ACTION"]
    assert "ben" in good(run("number", "show", ONE))


@pytest.mark.rule("NUM-07")
def test_search(run: Run) -> None:
    assert [each["number"] for each in facts(run("number", "search", "--json"))] == [ONE, TWO, THREE]
    assert [each["number"] for each in facts(run("number", "search", "--pattern", "*2", "--json"))] == [TWO]
    assert facts(run("number", "search", "--run", "3", "--json")) == [[ONE, TWO, THREE]]
    assert THREE in good(run("number", "search", "--run", "3"))
    (found,) = facts(run("number", "search", "--user", "ana", "--limit", "1", "--json"))
    assert (found["national"], found["formerly_yours"]) == (True, False)
    assert good(run("number", "search", "--country", "GB")) == "no number fits\n"
    assert "is no pattern" in bad(run("number", "search", "--pattern", "abc"))


def test_refusals_say_why_and_exit_with_1(run: Run) -> None:
    good(run("number", "assign", ONE, "ana"))
    assert bad(run("number", "assign", ONE, "ben")) == (
        f"cloudline: {ONE} has a holder: a number has exactly one (held)\n"
    )
    assert "(unknown_number)" in bad(run("number", "show", "+33639981288"))
    assert "write E.164 with a plus sign (invalid_number)" in bad(run("number", "show", "0639981201"))
    assert "(unknown_user)" in bad(run("number", "assign", TWO, "nobody"))
    assert "(other_company)" in bad(run("number", "reassign", ONE, "rita"))
    assert "is no time: write 2027-01-31" in bad(run("number", "renew", ONE, "soon"))
    assert "(bad_request)" in bad(run("number", "suspend", ONE, "--reason", "because"))
    assert run("number", "suspend")[0] == 2
    assert run("number", "suspend", ONE, "--user", "ana")[0] == 2
    assert run("number", "nonsense")[0] == 2


def test_a_database_that_is_away_is_said(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUDLINE_DATABASE__URL", "postgresql+asyncpg://cloudline@127.0.0.1:1/none")
    monkeypatch.setenv("CLOUDLINE_DATABASE__TIMEOUT_SECONDS", "1")
    assert "the database does not answer, nothing was changed" in bad(run("number", "show", ONE))


@pytest.mark.rule("NUM-13")
def test_users_and_accounts(run: Run) -> None:
    good(run("number", "assign", ONE, "ana"))
    assert (
        good(run("number", "suspend", "--user", "ana", "--reason", "fraud"))
        == "ana: suspended, with 1 numbers\n"
    )
    view = facts(run("number", "suspend", "--account", "acme", "--reason", "unpaid", "--json"))
    assert view == {"user": "", "account": "acme", "suspended": True, "numbers": 1}
    assert "suspended = true" in good(run("export"))
    good(run("number", "resume", "--account", "acme"))
    good(run("number", "resume", "--user", "ana"))
    assert "suspended" not in good(run("export"))


def wished() -> str:
    rules = COUNTRIES.of("FR")
    assert rules.port_in is not None
    return str(earliest_port(rules, rules.port_in, (datetime.now(UTC) + timedelta(days=8)).timestamp()))


@pytest.mark.rule("NUM-10")
def test_a_number_comes(run: Run) -> None:
    rio = "04P000000" + check_characters("04", "P", "000000", "0639981299")
    port = facts(run("number", "port-in", "request", LINE, "ana", rio, wished(), "--json"))
    assert port["state"] == "requested"
    assert "(porting)" in bad(run("number", "port-in", "request", LINE, "ana", rio, wished()))
    (message,) = facts(run("number", "messages", "--json"))
    assert (message["to"], message["kind"], message["port"]) == (LINE, "port_confirmation", port["port"])
    assert LINE in good(run("number", "messages"))
    assert f"message {message['id']} to {LINE}: sent" in good(run("number", "sent", str(message["id"])))
    assert facts(run("number", "port-in", "show", port["port"], "--json"))["state"] == "awaiting_confirmation"
    assert "says neither yes nor no" in bad(run("number", "port-in", "reply", LINE, "who is this?"))
    assert ": confirmed, date" in good(run("number", "port-in", "reply", LINE, "Oui"))
    assert ": scheduled, date" in good(run("number", "port-in", "schedule", port["port"]))
    assert port["port"] in good(run("number", "port-in", "list"))
    assert ": done, date" in good(run("number", "port-in", "complete", port["port"]))
    assert facts(run("number", "show", LINE, "--json"))["user"] == "ana"
    assert good(run("number", "port-in", "list")) == "no number comes or leaves\n"
    assert good(run("number", "messages")) == "no message waits\n"


@pytest.mark.rule("NUM-10")
def test_ports_that_do_not_happen(run: Run) -> None:
    rio = "04P000000" + check_characters("04", "P", "000000", "0639981299")
    wrong = bad(run("number", "port-in", "request", LINE, "ana", "04P000000AAA", wished()))
    assert f"the RIO does not belong to {LINE}, or has a typing error (rio)" in wrong
    assert "(too_early)" in bad(run("number", "port-in", "request", LINE, "ana", rio, "2026-01-02"))
    assert "is no day" in bad(run("number", "port-in", "request", LINE, "ana", rio, "tomorrow"))
    port = facts(run("number", "port-in", "request", LINE, "ana", rio, wished(), "--json"))["port"]
    assert ": cancelled (changed_mind)" in good(run("number", "port-in", "cancel", port))
    port = facts(run("number", "port-in", "request", LINE, "ana", rio, wished(), "--json"))["port"]
    assert ": refused (inactive_line)" in good(run("number", "port-in", "refuse", port, "inactive_line"))
    assert "(bad_request)" in bad(run("number", "port-in", "refuse", port, "moon phase"))
    assert "(wrong_state)" in bad(run("number", "port-in", "confirm", port))
    assert "(unknown_port)" in bad(run("number", "port-in", "show", "no-port"))
    assert "(unknown_number)" in bad(run("number", "show", LINE))


@pytest.mark.rule("NUM-11")
def test_a_number_leaves_and_comes_back(run: Run) -> None:
    good(run("number", "assign", ONE, "ana"))
    rio = good(run("number", "rio", ONE)).strip()
    assert facts(run("number", "rio", ONE, "--json")) == {"number": ONE, "rio": rio}
    assert rio.startswith("ZZE"), "our operator code, a company's line"
    assert "(rio)" in bad(run("number", "port-out", ONE, "04P000000LJJ"))
    later = facts(run("number", "port-out", ONE, rio, "--at", "2099-01-31", "--json"))
    assert (later["direction"], later["state"]) == ("out", "scheduled")
    assert "(porting)" in bad(run("number", "reassign", ONE, "ben"))
    good(run("number", "port-in", "cancel", later["port"]))
    assert ": done, port" in good(run("number", "port-out", ONE, rio))
    assert facts(run("number", "show", ONE, "--json"))["state"] == "ported_out"
    assert "ours again, quarantined until" in good(run("number", "come-back", ONE))
    assert "(kept)" in bad(run("number", "take-back", ONE, "ana"))


def test_the_stock(run: Run) -> None:
    assert facts(run("number", "add", "+33639981277", "--category", "vip", "--json"))[0]["category"] == "vip"
    assert "none of our numbers any more" in good(run("number", "withdraw", "+33639981277"))
    assert "(held)" in bad(run("number", "add", ONE))
    good(run("number", "reserve", "ana", ONE, "--seconds", "60"))
    assert facts(run("number", "unreserve", ONE, "--json"))["state"] == "available"
    assert facts(run("number", "reserve", "ana", ONE, TWO, "--json"))[1]["kept_for"] == "ana"
