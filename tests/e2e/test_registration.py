"""Registration as real phones and strangers do it."""

from __future__ import annotations

import pytest

from loadtests import proc
from tests.e2e.harness.agent import Agent
from tests.e2e.harness.dialog import Leg
from tests.e2e.harness.server import HOST
from tests.e2e.harness.world import CLEO, OUTSIDE, PASSWORD, World

pytestmark = [pytest.mark.e2e, pytest.mark.needs("openssl")]


def devices(world: World, user: str) -> list[str]:
    return sorted(item["device"] for item in world.server.api(f"/v1/registrations?user={user}")["items"])


@pytest.mark.parametrize("kind", ["pjsua", "baresip"])
def test_a_wrong_password_is_refused(kind: str, world: World) -> None:
    phone = world.unregistered_phone(kind)
    assert phone.register("ben-1", "wrong", expect=0) in (401, 403)
    assert devices(world, "ben") == []


@pytest.mark.rule("OPS-05")
def test_unknown_user_and_wrong_password_get_equal_answers(world: World) -> None:
    answers = []
    for user in ("ben-1", "nobody-at-all"):
        agent = world.scripted(user, register=False, password="wrong")
        reply = agent.register()
        answers.append((reply.start, sorted(name for name, _ in reply.headers)))
    assert answers[0] == answers[1]


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls", "ws", "wss"])
def test_register_fetch_and_unregister(transport: str, world: World) -> None:
    agent = world.scripted("ben-1", transport)
    assert devices(world, "ben") == ["ben-1"]
    reply = agent.register(0)
    assert reply.status == 200
    assert devices(world, "ben") == []


def test_a_challenge_offers_the_better_algorithm_first(world: World) -> None:
    """RFC 8760; browsers' stacks read only the first challenge and know MD5 alone."""
    for transport, offered in (("udp", ["SHA-256", "MD5"]), ("tls", ["SHA-256", "MD5"]), ("ws", ["MD5"])):
        agent = world.scripted("ben-1", transport, register=False)
        reply = agent.transact("REGISTER", f"sip:{world.domain}", register_head(agent))
        assert reply.status == 401
        challenges = reply.all("www-authenticate")
        assert [a for c in challenges for a in ("SHA-256", "MD5") if f"algorithm={a}" in c] == offered


def register_head(agent: Agent) -> list[tuple[str, str]]:
    aor = f"<sip:{agent.user}@{agent.domain}>"
    return [
        ("From", f"{aor};tag=1"),
        ("To", aor),
        ("Call-ID", f"head-{id(agent)}"),
        ("CSeq", "1 REGISTER"),
        ("Contact", agent.contact),
    ]


@pytest.mark.rule("DEV-02")
def test_one_device_more_than_the_plan_allows_is_refused(world: World) -> None:
    """Dan is on the starter plan: one device at a time."""
    world.scripted("dan-1")
    second = world.scripted("dan-2", register=False)
    reply = second.register()
    assert reply.status == 403
    assert reply.get("warning") or reply.get("reason")
    assert devices(world, "dan") == ["dan-1"]


@pytest.mark.rule("DEV-06")
def test_the_same_instance_is_one_binding(world: World) -> None:
    """A phone that lost its network registers again from another port: it rings once."""
    old = world.scripted("cleo-1")
    new = world.scripted("cleo-1", register=False)
    new.instance = old.instance
    assert new.register().status == 200
    call = Leg.dial(world.carrier(), CLEO, OUTSIDE)
    leg = Leg.answering(new)
    leg.refuse(486)
    call.expect_failure()
    old.expect_silence(0.2)


@pytest.mark.rule("DEV-05")
def test_a_binding_ends_with_its_connection(world: World) -> None:
    agent = world.scripted("cleo-1", "tcp")
    assert devices(world, "cleo") == ["cleo-1"]
    agent.wire.close()
    assert proc.wait_until(lambda: devices(world, "cleo") == [], 3), "the binding outlived its connection"


def test_a_phone_behind_another_port_is_reached_where_it_came_from(world: World) -> None:
    """RFC 3581 and NAT: the Contact is wrong, the source is right; the flow is a TCP connection."""
    agent = world.scripted("cleo-1", "tcp", register=False)
    reply = agent.register(
        contact=f'<sip:cleo-1@192.0.2.1:5060;transport=tcp>;+sip.instance="<{agent.instance}>"'
    )
    assert reply.status == 200
    call = Leg.dial(world.carrier(), CLEO, OUTSIDE)
    leg = Leg.answering(agent)
    leg.refuse(486)
    assert call.expect_failure().status == 486


def test_someone_elses_address_of_record_cannot_be_taken(world: World) -> None:
    thief = world.scripted("cleo-1", register=False)
    thief.user, victim = "cleo-1", "ben-1"
    aor = f"sip:{victim}@{world.domain}"
    head = [("From", f"<{aor}>;tag=7"), ("To", f"<{aor}>"), ("Call-ID", "thief"), ("Contact", thief.contact)]
    first = thief.transact("REGISTER", f"sip:{world.domain}", [*head, ("CSeq", "1 REGISTER")])
    assert first.status == 401
    answer = world.credentials(thief.choose_challenge(first), "REGISTER", "cleo-1", PASSWORD)
    second = thief.transact(
        "REGISTER", f"sip:{world.domain}", [*head, ("CSeq", "2 REGISTER"), ("Authorization", answer)]
    )
    assert second.status == 403
    assert devices(world, "ben") == []


def test_a_short_expiry_is_refused_with_the_least(world: World) -> None:
    agent = world.scripted("ben-1", register=False)
    reply = agent.register(10)
    assert reply.status == 423
    assert int(reply.get("min-expires")) >= 10


def test_cloudline_registrations_lists_them(world: World) -> None:
    world.scripted("ben-1", "tls")
    done = world.server.cli("registrations", "--json")
    assert done.returncode == 0, done.stderr
    assert '"ben-1"' in done.stdout
    assert HOST in done.stdout
