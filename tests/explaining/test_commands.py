"""``cloudline explain``, ``calls show --for`` and ``apply --impact`` as they are typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from callcontrol.explaining.question import Behaviour, Question
from tests.callcontrol.test_cli import Run, cloudline, node, own_world, url
from tests.explaining.examples import PAGE, set_up
from tests.support.fake_node import FakeNode

__all__ = ["cloudline", "node", "own_world", "url"]


@pytest.mark.rule("OPS-02")
def test_a_running_node_is_asked(cloudline: Run, node: FakeNode, url: str) -> None:
    code, out, err = cloudline(
        "explain",
        *("+33199001234", "+33639981001", "--at", "2026-05-28T22:26", "--trunk", "carrier-a"),
        *("--answer", "ana@5", "--busy", "ben", "--from-device", "ana-phone"),
    )
    assert (code, err) == (0, "")
    assert node.questions == [
        Question(
            caller="+33199001234",
            called="+33639981001",
            at="2026-05-28T22:26",
            device="ana-phone",
            trunk="carrier-a",
            behaviours=(
                Behaviour(who="ana", does="answer", after_s=5.0),
                Behaviour(who="ben", does="busy"),
            ),
        )
    ]
    assert "calls +33639981001 on Thursday 2026-05-28 22:26 in Europe/Paris" in out
    assert "  +0 s     INC-05   ring  (2 bindings)" in out
    assert out.rstrip().endswith("the caller gets 200 after 2 s: normal_clearing")


@pytest.mark.rule("OPS-02")
def test_the_same_words_for_a_real_call(cloudline: Run, url: str) -> None:
    _, explained, _ = cloudline("explain", "+33199001234", "+33639981001")
    _, shown, _ = cloudline("calls", "show", "e-1")
    why = [line for line in shown.splitlines() if line.startswith("  +0 s")]
    assert why
    assert why == [line for line in explained.splitlines() if line.startswith("  +0 s")]


@pytest.mark.parametrize("command", [("explain", "+33199001234", "+33639981001"), ("calls", "show", "e-1")])
def test_other_audiences_get_sentences(cloudline: Run, url: str, command: tuple[str, ...]) -> None:
    code, out, _ = cloudline(*command, "--for", "support")
    assert code == 0
    assert "  +0 s     held by ana." in out
    code, out, _ = cloudline(*command, "--for", "customer")
    assert "your number +33 6 39 98 10 01" in out
    assert "ana" not in out
    code, _, err = cloudline(*command, "--for", "everybody")
    assert code == 2
    assert "engineer, support, customer" in err


def test_json_is_what_the_api_says(cloudline: Run, url: str) -> None:
    code, out, _ = cloudline("explain", "+33199001234", "+33639981001", "--json")
    assert code == 0
    view = json.loads(out)
    assert view["call"]["ref"] == "e-1"
    assert view["story"][0]["text"] == "INC-01   known  (held by ana)"


def test_what_cannot_be_asked_is_a_reason_or_wrong_usage(cloudline: Run, url: str) -> None:
    code, _, err = cloudline("explain", "nobody", "+33639981001")
    assert code == 1
    assert "'nobody' is neither a number nor a device" in err
    code, _, err = cloudline("explain", "+33199001234", "+33639981001", "--answer", "ana@soon")
    assert code == 2
    assert "ben@5" in err


def test_without_a_node_the_configuration_has_to_be_named(cloudline: Run, own_world: Path) -> None:
    code, _, err = cloudline("explain", "+33199001234", "+33639981001")
    assert code == 1
    assert "no node runs here" in err
    assert "--config" in err


@pytest.mark.rule("OPS-02")
def test_the_impact_for_programs(cloudline: Run, own_world: Path) -> None:
    set_up(PAGE.read_text(encoding="utf-8"), own_world)
    arguments = ("apply", "closed.toml", "--config", "node.toml", "--impact", "9")
    code, out, _ = cloudline(*arguments, "--dry-run", "--json")
    assert code == 0
    impact = json.loads(out)["impact"]
    assert (impact["calls"], impact["same"], impact["already"], impact["unread"]) == (1, 0, 0, [])
    (call,) = impact["elsewhere"]
    assert call["before"]["steps"] == ["forward to +33199001234"]
    assert call["after"] == {
        "steps": ["refuse: closed"],
        "rule": "GRT-05",
        "why": "refuse:closed: calls are refused at this time",
    }
    code, _, err = cloudline(*arguments)
    assert code == 2
    assert "--dry-run" in err
