"""Explanations and stories over HTTP: who may ask what, and what is said to whom."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from callcontrol.access.tokens import Scope
from callcontrol.cdr.store import SqlCallStore
from callcontrol.explaining.question import Behaviour, Question
from callcontrol.provisioning import export
from dialplan import stored
from dialplan.facts import CalledNumber
from tests.api.worlds import WORLD, ZETAS_WORDS, tokens
from tests.dialplan.cases import FROM_CARRIER
from tests.support.api import ApiWorld, api_world, run
from tests.support.call_records import call
from tests.support.fake_node import FakeNode
from tests.support.schema import sqlite_url

ANA = "+33639981001"
ZOE = "+33639981009"
GREETING = "+33639987000"
OUTSIDE = "+33199001234"


def asked(
    tmp_path: Path, scope: Scope, body: dict[str, Any], path: str = "/v1/explain"
) -> tuple[httpx.Response, list[Question]]:
    """One question of a token of acme, and what the node was asked."""

    async def scenario() -> tuple[httpx.Response, list[Question]]:
        async with api_world(sqlite_url(tmp_path), WORLD) as world:
            node = node_of(world)
            token = (await tokens(world))[scope]
            if path == "/v1/explain":
                answer = await world.ask("POST", path, body, token)
            else:
                answer = await world.ask("GET", path, token=token)
            return answer, node.questions

    tmp_path.mkdir(exist_ok=True)
    return run(scenario())


def node_of(world: ApiWorld) -> FakeNode:
    node = world.services.node
    assert isinstance(node, FakeNode)
    return node


@pytest.mark.rule("OPS-02")
def test_an_operator_is_told_everything(tmp_path: Path) -> None:
    body = {
        "caller": OUTSIDE,
        "called": ANA,
        "at": "2027-03-28T02:30",
        "trunk": "carrier-a",
        "behaviours": [{"who": "ana", "does": "answer", "after_seconds": 5.0}],
    }
    answer, questions = asked(tmp_path, Scope.OPERATOR, body)
    assert answer.status_code == 200, answer.text
    assert questions == [
        Question(
            caller=OUTSIDE,
            called=ANA,
            at="2027-03-28T02:30",
            trunk="carrier-a",
            behaviours=(Behaviour(who="ana", does="answer", after_s=5.0),),
        )
    ]
    view = answer.json()
    assert view["at"] == "2026-05-28T20:26:40.000Z"
    assert view["notes"] == ["comes in by trunk carrier-a"]
    assert view["story"][0] == {"at": 0.0, "text": "INC-01   known  (held by ana)"}
    assert view["call"]["legs"][1]["device"] == "ana-phone"
    assert view["ends_after_seconds"] == 2.0


@pytest.mark.rule("OPS-02")
@pytest.mark.parametrize("scope", [Scope.MANAGER, Scope.USER])
def test_a_customer_is_told_his_own_side_in_plain_words(tmp_path: Path, scope: Scope) -> None:
    answer, _ = asked(tmp_path, scope, {"caller": OUTSIDE, "called": ANA})
    assert answer.status_code == 200, answer.text
    view = answer.json()
    assert (view["call"], view["ends_after_seconds"], view["notes"]) == (None, None, [])
    assert view["story"][0]["text"] == "A call from +3319900•••• to your number +33 6 39 98 10 01."
    assert not any(word in answer.text for word in ("ana-phone", "carrier-a", OUTSIDE, "INC-"))


@pytest.mark.parametrize(
    ("scope", "body", "from_outside"),
    [
        (Scope.USER, {"caller": "ana", "called": OUTSIDE}, False),
        (Scope.USER, {"caller": ANA, "called": ZOE}, False),
        (Scope.USER, {"caller": OUTSIDE, "called": "ana-phone", "device": "ana-phone"}, False),
        (Scope.USER, {"caller": ZOE, "called": ANA}, True),
        (Scope.USER, {"caller": "zoe-phone", "called": ANA}, True),
        (Scope.MANAGER, {"caller": "ben", "called": OUTSIDE}, False),
        (Scope.MANAGER, {"caller": OUTSIDE, "called": GREETING}, True),
    ],
)
def test_whoever_is_not_ones_own_is_somebody_outside(
    tmp_path: Path, scope: Scope, body: dict[str, str], from_outside: bool
) -> None:
    answer, questions = asked(tmp_path, scope, body)
    assert answer.status_code == 200, answer.text
    assert questions[0].from_outside is from_outside


@pytest.mark.parametrize(
    ("scope", "body", "field"),
    [
        (Scope.USER, {"caller": OUTSIDE, "called": ZOE}, "/called"),
        (Scope.USER, {"caller": "ben", "called": OUTSIDE}, "/called"),
        (Scope.USER, {"caller": OUTSIDE, "called": GREETING}, "/called"),
        (Scope.USER, {"caller": ANA, "called": OUTSIDE, "device": "zoe-phone"}, "/device"),
        (Scope.USER, {"caller": ANA, "called": OUTSIDE, "trunk": "carrier-a"}, "/trunk"),
        (Scope.MANAGER, {"caller": "zoe", "called": OUTSIDE}, "/called"),
        (Scope.OPERATOR, {"caller": "nobody", "called": ANA}, "/caller"),
    ],
)
def test_calls_of_others_cannot_be_asked_about(
    tmp_path: Path, scope: Scope, body: dict[str, str], field: str
) -> None:
    answer, questions = asked(tmp_path, scope, body)
    assert answer.status_code == 422, answer.text
    assert [error["pointer"] for error in answer.json()["errors"]] == [field]
    assert questions == []
    assert not any(word in answer.text for word in ZETAS_WORDS if word not in str(body))


@pytest.mark.rule("OPS-02")
def test_a_call_is_told_to_three_audiences(tmp_path: Path) -> None:
    stories = {}
    for audience in ("", "engineer", "support", "customer"):
        path = f"/v1/calls/e-1?audience={audience}"
        answer, _ = asked(tmp_path / (audience or "none"), Scope.OPERATOR, {}, path)
        stories[audience] = [told["text"] for told in answer.json()["story"]]
    assert stories[""] == stories["engineer"]
    assert stories["engineer"][1] == "INC-05   ring  (2 bindings)"
    assert stories["support"] == ["held by ana.", "2 bindings."]
    assert stories["customer"][-1] == "The call was hung up."


def test_customers_read_what_is_for_customers(tmp_path: Path) -> None:
    answer, _ = asked(tmp_path / "a", Scope.USER, {}, "/v1/calls/e-1")
    assert answer.json()["story"][0]["text"] == "A call from +3319900•••• to your number +33 6 39 98 10 01."
    assert answer.json()["trace"] == []
    answer, _ = asked(tmp_path / "b", Scope.USER, {}, "/v1/calls/e-1?audience=support")
    assert answer.status_code == 403
    answer, _ = asked(tmp_path / "c", Scope.OPERATOR, {}, "/v1/calls/e-1?audience=everybody")
    assert answer.status_code == 422


@pytest.mark.rule("OPS-02")
def test_a_dry_run_says_which_calls_would_have_gone_elsewhere(tmp_path: Path) -> None:
    facts = replace(FROM_CARRIER, called=CalledNumber(dialled=ANA, e164=ANA), trunk="carrier-a")
    record = call(1, call_ref="c-1", facts=stored.join([stored.dump(facts)]))
    change = {"number": [{"e164": ANA, "user": "ana", "calls": False}]}

    async def scenario() -> None:
        async with api_world(sqlite_url(tmp_path), WORLD) as world:
            await SqlCallStore(world.engine).write([record, call(2, call_ref="bare")])
            before = await export(world.stores.provisioning)
            answer = await world.ask("POST", "/v1/provisioning?dry_run=true&impact=10", change)
            assert answer.status_code == 200, answer.text
            impact = answer.json()["impact"]
            assert (impact["calls"], impact["same"], impact["diverted"], impact["already"]) == (2, 0, 1, 0)
            (diverted,) = impact["elsewhere"]
            assert (diverted["call_ref"], diverted["called"]) == ("c-1", ANA)
            assert diverted["before"]["steps"] == ["ring ana-phone, ana-desktop for 30 s"]
            assert diverted["after"]["rule"] == "INC-03"
            assert impact["unread"] == [{"call_ref": "bare", "why": "its facts are not kept"}]
            assert await export(world.stores.provisioning) == before
            answer = await world.ask("POST", "/v1/provisioning?dry_run=true", change)
            assert answer.json()["impact"] is None
            answer = await world.ask("POST", "/v1/provisioning?impact=10", change)
            assert answer.status_code == 422
            assert await export(world.stores.provisioning) == before

    run(scenario())
