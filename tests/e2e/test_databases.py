"""Thousands of numbers on SQLite and on PostgreSQL: every change is felt by calls within a second, and an outage of the
database loses nothing that was promised."""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from loadtests import proc
from tests.e2e.harness.agent import Agent
from tests.e2e.harness.dialog import Leg
from tests.e2e.harness.server import HOST
from tests.e2e.harness.wire import NothingCame
from tests.e2e.harness.world import ANA, BEN, CLEO, OUTSIDE, SPARE, World
from tests.support.postgres import Cluster, postgres

__all__ = ["postgres"]

pytestmark = [pytest.mark.e2e, pytest.mark.needs("openssl")]
FIRST, COUNT = 5000, 2000
SECOND_S = 1.5
"""How soon calls feel a change: a second, and what a busy machine takes on top."""
THERE = (480, "unreachable")
"""What a caller hears of a number whose holder has no phone."""


def number(place: int) -> str:
    return f"+3363998{FIRST + place:04}"


def crowd() -> str:
    """As many users with a phone and a number each."""
    parts = ['[[account]]\nref = "crowd"\nkind = "company"\nplan = "many"\n']
    for place in range(COUNT):
        parts.append(
            f'[[user]]\nref = "u{place}"\naccount = "crowd"\n'
            f'[[device]]\nref = "d{place}"\nuser = "u{place}"\nsip_username = "d{place}"\n'
            f'sip_password = "long and random {place}"\n'
            f'[[number]]\ne164 = "{number(place)}"\nuser = "u{place}"\n'
        )
    return "\n".join(parts)


class Full(World):
    """The usual world on the database of a URL; empty: on SQLite."""

    def __init__(self, folder: Path, url: str) -> None:
        super().__init__(folder)
        config = self.server.config
        if url:
            own = f"sqlite+aiosqlite:///{self.server.database}"
            assert own in config.read_text()
            config.write_text(config.read_text().replace(own, url))

    def ask(self, method: str, path: str, body: Any = None, timeout: float = 15.0) -> tuple[int, Any, str]:
        """Status, JSON, and Retry-After of one request of an operator."""
        token = self.server.database.with_suffix(".token").read_text().strip()
        request = urllib.request.Request(
            f"http://{HOST}:{self.server.http}{path}",
            None if body is None else json.dumps(body).encode(),
            {"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                text = answer.read()
                return answer.status, json.loads(text) if text else None, ""
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read()), error.headers.get("Retry-After") or ""

    def call(self, called: str) -> tuple[int, str]:
        """Status and reason that a caller of the outside world is told."""
        leg = Leg.dial(self.carrier("carrier-b"), called, OUTSIDE)
        final = leg.expect_failure()
        return final.status, (final.get("reason") or "").partition('text="')[2].rstrip('"')

    def call_rings(self, called: str, phone: Agent) -> bool:
        """Whether a call rings at this phone, which does not take it."""
        call = Leg.dial(self.carrier("carrier-b"), called, OUTSIDE)
        try:
            Leg.answering(phone, 0.2).refuse(486)
        except NothingCame:
            call.expect_failure()
            return False
        return call.expect_failure().status == 486

    def felt(self, change: Callable[[], None], called: str, expected: tuple[int, str]) -> None:
        """Make a change, and see that a call feels it soon."""
        assert self.call(called) != expected, "it would be felt without the change"
        change()
        began = time.monotonic()
        assert proc.wait_until(lambda: self.call(called) == expected, SECOND_S), (
            f"{called} is {self.call(called)} and not {expected}, {time.monotonic() - began:.2f} s after the change"
        )

    def done(self, method: str, path: str, body: Any = None) -> Callable[[], None]:
        def change() -> None:
            status, told, _ = self.ask(method, path, body)
            assert status < 300, told

        return change

    def applied(self, text: str) -> Callable[[], None]:
        def change() -> None:
            done = self.server.apply(text)
            assert done.returncode == 0, done.stdout + done.stderr

        return change


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Full]:
    cluster: Cluster | None = None
    url = ""
    if request.param == "postgresql":
        cluster = request.getfixturevalue("postgres")
        url = cluster.create_database()
    made = Full(tmp_path_factory.mktemp(str(request.param)), url)
    try:
        made.start()
        yield made
    finally:
        made.close()
        if cluster is not None:
            cluster.drop_database(url)


@pytest.mark.rule("NUM-04", "OPS-03")
def test_thousands_are_provisioned_while_calls_go_on(world: Full) -> None:
    """In one document, by the command line, under a running node: nothing of it before, all of it within a second."""
    phone, carrier = world.scripted("ben-1"), world.carrier("carrier-b")
    talking = Leg.dial(carrier, BEN, OUTSIDE)
    answered = Leg.answering(phone)
    answered.accept()
    talking.expect_answer()
    last = number(COUNT - 1)
    assert world.call(last) == (404, "unknown_number")
    world.felt(world.applied(crowd()), last, THERE)
    for place in (0, 1, COUNT // 2):
        assert world.call(number(place)) == THERE
    assert world.scripted("d7", password="long and random 7").registered
    assert talking.hang_up().status == 200
    answered.expect_hang_up()


@pytest.mark.rule("NUM-04", "NUM-05", "NUM-13", "BLK-01", "OPS-03")
def test_each_change_over_the_api_is_felt_within_a_second(world: Full) -> None:
    e164 = SPARE
    status, told, _ = world.ask("POST", "/v1/stock", {"numbers": [e164]})
    assert status in (200, 201), told
    life = f"/v1/numbers/{e164}"
    changes: list[tuple[str, str, Any, str, tuple[int, str]]] = [
        ("POST", f"{life}/assign", {"user": "cleo"}, e164, THERE),
        ("POST", f"{life}/suspend", {"reason": "unpaid"}, e164, (403, "suspended")),
        ("POST", f"{life}/resume", {"reason": "paid"}, e164, THERE),
        ("POST", f"{life}/blocks", {"caller": OUTSIDE}, e164, (603, "blocked")),
        ("DELETE", f"{life}/blocks/{OUTSIDE}", None, e164, THERE),
        ("PATCH", life, {"calls": False}, e164, (480, "number_off")),
        ("PATCH", life, {"calls": True}, e164, THERE),
        ("PATCH", "/v1/users/cleo", {"suspended": True}, CLEO, (403, "suspended")),
        ("PATCH", "/v1/users/cleo", {"suspended": False}, CLEO, THERE),
        ("POST", f"{life}/release", {"reason": "given up"}, e164, (410, "quarantined")),
        ("POST", f"{life}/take-back", {"user": "cleo"}, e164, THERE),
    ]
    for method, path, body, called, expected in changes:
        world.felt(world.done(method, path, body), called, expected)


@pytest.mark.rule("NUM-06", "NUM-12", "OPS-03")
def test_each_change_by_document_is_felt_within_a_second(world: Full) -> None:
    """Written by another process: the node learns of it from the database."""
    line = f'[[number]]\ne164 = "{ANA}"\nuser = "ana"\n'
    world.felt(world.applied(f'{line}block = ["{OUTSIDE}"]\n'), ANA, (603, "blocked"))
    # to another user of the company, without the list: her phone rings
    phone = world.scripted("cleo-2")
    world.applied(f'[[number]]\ne164 = "{ANA}"\nuser = "cleo"\n')()
    assert proc.wait_until(lambda: world.call_rings(ANA, phone), SECOND_S)


@pytest.mark.parametrize("world", ["postgresql"], indirect=True)
@pytest.mark.rule("CDR-02")
def test_an_outage_loses_nothing_that_was_promised(world: Full, request: pytest.FixtureRequest) -> None:
    """PostgreSQL stops while users are being made over the API: each is there or was refused with 503 and a time to wait;
    calls go on meanwhile, and their records come."""
    cluster: Cluster = request.getfixturevalue("postgres")
    made: list[str] = []
    refused: list[tuple[int, str, str]] = []
    odd: list[object] = []
    stop = threading.Event()

    def write() -> None:
        place = 0
        while not stop.is_set():
            place += 1
            ref = f"late-{place}"
            try:
                status, told, retry = world.ask("POST", "/v1/users", {"ref": ref, "account": "acme"})
            except OSError as error:
                odd.append(error)
                continue
            if status == 201:
                made.append(ref)
            elif status == 503:
                refused.append((status, str(told["code"]), retry))
            else:
                odd.append((status, told))

    writer = threading.Thread(target=write)
    writer.start()
    records = len(world.ask("GET", f"/v1/cdrs?number={sip_escaped(BEN)}&limit=100")[1]["items"])
    phone, carrier = world.scripted("ben-1"), world.carrier("carrier-b")
    runs = True
    try:
        assert proc.wait_until(lambda: len(made) >= 5, 10)
        cluster.stop()
        runs = False
        assert proc.wait_until(lambda: len(refused) >= 3, 20), odd
        for _ in range(2):  # calls go on
            call = Leg.dial(carrier, BEN, OUTSIDE)
            leg = Leg.answering(phone)
            leg.accept()
            call.expect_answer()
            assert call.hang_up().status == 200
            leg.expect_hang_up()
        before = len(made)
        cluster.start()
        runs = True
        assert proc.wait_until(lambda: len(made) >= before + 5, 20), (refused[-3:], odd)
    finally:
        stop.set()
        writer.join(30)
        if not runs:
            cluster.start()
    assert not odd, odd[:5]
    assert {each[:2] for each in refused} == {(503, "database_unavailable")}
    assert all(int(retry) > 0 for _, _, retry in refused)
    known = {ref for ref in made if world.ask("GET", f"/v1/users/{ref}")[0] == 200}
    assert known == set(made), "what was promised is there"

    def written() -> bool:
        items = world.ask("GET", f"/v1/cdrs?number={sip_escaped(BEN)}&limit=100")[1]["items"]
        return len(items) == records + 2

    assert proc.wait_until(written, 20), "the records of the calls meanwhile, each once"


def sip_escaped(e164: str) -> str:
    return e164.replace("+", "%2B")
