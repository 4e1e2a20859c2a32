"""Who may call what, with a real server: documents change it within a second, and a restart forgets nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtests import proc
from tests.e2e.harness.dialog import Leg
from tests.e2e.harness.wire import NothingCame
from tests.e2e.harness.world import OUTSIDE, PASSWORD, World

OTHER, ABROAD = "+33199001235", "+447700900123"
SETTINGS = """
[plans.few]
devices = 8
numbers = 5
callees = 1

[outgoing]
user_calls = 1
"""
RATE = '[[rate]]\nprefix = "+44"\nper_minute = "0.05"\nvalid_from = 2020-01-01\n'


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("rules"), settings=SETTINGS)
    try:
        made.start()
        yield made
    finally:
        made.close()


def apply(world: World, text: str) -> None:
    done = world.server.apply(text)
    assert done.returncode == 0, done.stdout + done.stderr


def refusal(world: World, number: str, name: str = "ana-1") -> tuple[int, str]:
    """Status and reason of a call that is not put through."""
    call = Leg.dial(world.scripted(name), number, name)
    call.dial_with_credentials()
    final = call.expect_failure()
    world.everybody_out()
    return final.status, (final.get("reason") or "").partition('text="')[2].rstrip('"')


def is_refused(world: World, number: str, expected: tuple[int, str]) -> bool:
    with contextlib.suppress(AssertionError):
        return refusal(world, number) == expected
    return False


def talk(world: World, number: str = OUTSIDE, name: str = "ana-1") -> Leg:
    carrier = world.carrier()
    call = Leg.dial(world.scripted(name), number, name)
    call.dial_with_credentials()
    Leg.answering(carrier).accept()
    call.expect_answer()
    return call


@pytest.mark.rule("DEV-01", "OUT-09")
def test_a_sim_must_be_verified_before_its_user_calls(world: World) -> None:
    device = (
        '[[device]]\nref = "ana-sim"\nuser = "ana"\nkind = "phone"\nsim = "+33639980001"\n'
        f'sip_username = "ana-sim"\nsip_password = "{PASSWORD}"\n'
    )
    apply(world, device + "sim_verified = false\n")
    assert proc.wait_until(lambda: is_refused(world, OUTSIDE, (403, "unverified_sim")), 15)
    apply(world, device + "sim_verified = true\n")
    assert proc.wait_until(lambda: is_refused(world, "0899" + "000000", (403, "barred_class")), 15)


@pytest.mark.rule("OUT-06", "OUT-09", "OPS-03")
def test_prices_and_credit_come_from_documents(world: World) -> None:
    account = '[[account]]\nref = "acme"\nkind = "company"\nplan = "many"\nmanager = "ana"\n'
    apply(world, RATE)
    assert proc.wait_until(lambda: is_refused(world, ABROAD, (402, "no_credit")), 15)
    assert refusal(world, "+15550100") == (403, "not_in_plan")
    apply(world, account + 'credit = "0.05"\n')
    carrier = world.carrier("carrier-gb")

    def goes() -> bool:
        call = Leg.dial(world.scripted("ana-1"), ABROAD, "ana-1")
        call.dial_with_credentials()
        with contextlib.suppress(AssertionError, NothingCame):
            Leg.answering(carrier, 0.5).refuse(486)
            return call.expect_failure().status == 486
        return False

    assert proc.wait_until(goes, 15)
    exported = world.server.cli("export").stdout
    assert 'per_minute = "0.05"' in exported
    assert 'credit = "0.05"' in exported
    assert world.server.metric("cloudline_rates") == 1.0


@pytest.mark.rule("OUT-10")
def test_one_call_at_a_time(world: World) -> None:
    first = talk(world)
    second = Leg.dial(world.scripted("ana-2"), OTHER, "ana-2")
    second.dial_with_credentials()
    final = second.expect_failure()
    assert final.status == 486
    assert "too_many_calls" in (final.get("reason") or "")
    assert world.server.metric("cloudline_outgoing_legs_refused_total", bound="user_calls") == 1.0
    assert world.server.metric("cloudline_outgoing_slots") == 1.0
    first.hang_up()
    assert proc.wait_until(lambda: world.server.metric("cloudline_outgoing_slots") == 0.0, 15)


@pytest.mark.rule("OUT-08")
def test_what_was_used_is_known_after_a_restart(tmp_path: Path) -> None:
    world = World(tmp_path, settings=SETTINGS)
    try:
        world.start()
        apply(world, '[[account]]\nref = "acme"\nkind = "company"\nplan = "few"\nmanager = "ana"\n')
        known = world.server.records_now()
        call = talk(world)
        call.hang_up()
        world.server.record_of(known)
        assert proc.wait_until(lambda: is_refused(world, OTHER, (403, "fair_use")), 15)
        world.server.stop()
        world.server.start()
        assert proc.wait_until(
            lambda: world.server.metric("cloudline_usage_reconciliations_total", result="ok") >= 1, 10
        )
        assert refusal(world, OTHER) == (403, "fair_use")
    finally:
        world.close()
