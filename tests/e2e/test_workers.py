"""A node of two workers: one address, calls over both, a worker's death as a node's death in small."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import pytest

from callcontrol.workers.compass import Compass
from loadtests import ports, proc
from tests.e2e.harness import sip
from tests.e2e.harness.agent import Agent
from tests.e2e.harness.dialog import Leg
from tests.e2e.harness.running import redis_in, running
from tests.e2e.harness.server import HOST
from tests.e2e.harness.sipp import SippRun
from tests.e2e.harness.team import Team, calls_by_worker, kill, up, workers
from tests.e2e.harness.wire import NothingCame, UdpWire
from tests.e2e.harness.world import ANA, BEN, CLEO, OUTSIDE

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.needs("openssl", "redis-server", "redis-cli", "sipp"),
    pytest.mark.rule("LIVE-02", "LIVE-03"),
]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    with (
        redis_in(tmp_path_factory.mktemp("redis")) as store,
        running(Team(tmp_path_factory.mktemp("team"), store)) as made,
    ):
        yield made


@pytest.fixture
def team(both: Team) -> Iterator[Team]:
    """Two workers that serve, without any call."""
    assert proc.wait_until(lambda: up(both.server) == 2, 30)
    yield both
    both.everybody_out()
    assert proc.wait_until(lambda: up(both.server) == 2, 30)
    both.server.wait_idle(12)


def call_id_of(worker: int) -> str:
    """A Call-ID whose call this worker of two gets."""
    while True:
        found = sip.new_id()
        if Compass(2).owner(f"INVITE sip:x SIP/2.0\r\nCall-ID: {found}\r\n\r\n".encode()) == worker:
            return found


def several(team: Team, phone: Agent, count: int, called: str = CLEO) -> list[tuple[Leg, Leg]]:
    """Calls of one trunk to one phone, all answered, by turns of one worker and of the other."""
    carrier = team.carrier()
    dialled = {}
    for number in range(count):
        caller = f"+331990012{number:02}"
        dialled[caller] = Leg.dial(carrier, called, caller, call_id=call_id_of(1 + number % 2))
    pairs = []
    for _ in range(count):
        leg = Leg.answering(phone)
        assert leg.invite is not None
        call = dialled[sip.user_of(leg.invite.get("from"))]
        leg.ring()
        call.expect_provisional(180)
        leg.accept()
        call.expect_answer()
        pairs.append((call, leg))
    return pairs


def lose(team: Team, worker: int) -> None:
    """Kill a worker other than the first; the node has noticed."""
    dead = kill(team.server, worker)
    assert proc.wait_until(lambda: workers(team.server)[worker - 1]["pid"] != dead, 5)


def end(pairs: list[tuple[Leg, Leg]]) -> None:
    """Each call is ended by the other side than the one before."""
    for number, (call, leg) in enumerate(pairs):
        first, second = (call, leg) if number % 2 else (leg, call)
        first.hang_up()
        second.expect_hang_up()


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls", "ws"])
def test_calls_of_one_trunk_are_spread_over_both(team: Team, transport: str) -> None:
    """Both legs work whichever worker the phone's connection belongs to, and either side may hang up."""
    before = team.server.records_now()
    pairs = several(team, team.scripted("cleo-1", transport), 8)
    spread = calls_by_worker(team.server)
    assert sum(spread) == 8
    assert min(spread) > 0, f"all calls are on one worker: {spread}"
    assert len(team.server.cli_json("calls")) == 8
    for call, leg in pairs:  # in a dialog, both ways
        assert call.request("OPTIONS").status == 200
        assert leg.request("OPTIONS").status == 200
    end(pairs)
    team.server.wait_idle()
    new = team.server.records_now() - before
    assert len(new) == 8
    ended = team.server.rows("SELECT call_ref, reason FROM calls")
    assert {row["reason"] for row in ended if row["call_ref"] in new} == {"normal_clearing"}


def test_many_calls_of_sipp_go_well_and_the_numbers_add_up(team: Team) -> None:
    def told(name: str, **labels: str) -> float:
        return team.server.metric(f"cloudline_{name}", **labels)

    watcher = team.scripted("ana-sim", register=False)
    port = ports.free_port(HOST)
    assert watcher.register(contact=f"<sip:ana-sim@{HOST}:{port}>").status == 200
    team.settle()
    before, attempts = team.server.records_now(), told("call_attempts_total")
    invites = told("sip_messages_total", direction="in", method="INVITE")
    phones = SippRun("carrier_answers", team.folder / "sipp", local=(HOST, port), calls=30, timeout=40)
    calls = team.sipp("carrier_calls", calling=ANA, calls=30, timeout=40, options=("-r", "10"))
    calls.wait()
    phones.stop()
    team.server.wait_idle(15)
    assert len(team.server.records_now() - before) == 30
    assert told("call_attempts_total") - attempts == 30
    assert told("sip_messages_total", direction="in", method="INVITE") - invites >= 30
    assert told("cdr_written_total") >= 30
    assert told("workers", state="up") == 2
    given = [told("worker_datagrams_total", worker=str(worker)) for worker in (1, 2)]
    assert min(given) > 30
    assert told("worker_dropped_total") == 0
    page = team.server.get("/metrics")[1]
    assert page.count("\ncloudline_build_info{") == 1


@pytest.mark.parametrize("side", ["caller", "callee"])
@pytest.mark.parametrize("worker", [1, 2])
def test_answered_calls_outlive_the_worker_that_had_them(team: Team, worker: int, side: str) -> None:
    phone = team.scripted("cleo-1")
    pairs = several(team, phone, 6)
    assert min(calls_by_worker(team.server)) > 0
    before = kill(team.server, worker)
    # who asks at once waits for the worker to come back, or for the other one to take the call
    for number, (call, leg) in enumerate(pairs):
        first, second = (call, leg) if side == "caller" else (leg, call)
        if number % 2:
            assert request_until(first, "OPTIONS") == 200
        assert request_until(first, "BYE") == 200
        second.expect_hang_up(8)
    assert proc.wait_until(lambda: up(team.server) == 2, 30)
    now = workers(team.server)[worker - 1]
    assert now["pid"] != before
    assert now["restarts"] >= 1


def request_until(leg: Leg, method: str) -> int:
    """An in-dialog request as a phone sends it: again and again, for as long as it takes."""
    text = leg.request_text(method)
    for pause_s in (0.5, 1.0, 2.0, 4.0, 4.0, 4.0):
        leg.agent.send(text)
        with contextlib.suppress(NothingCame):
            return leg.agent.expect_response(method, 200, 699, pause_s, leg.call_id).status
    raise AssertionError(f"no answer to {method}\n{leg.agent.story()}")


def test_new_calls_go_on_while_a_worker_is_away(team: Team) -> None:
    """One of two workers dies and takes its time to start: not one new call waits for it."""
    phone = team.scripted("cleo-1")
    lose(team, 2)
    pairs = several(team, phone, 6)
    assert calls_by_worker(team.server)[0] == 6 or up(team.server) == 2
    end(pairs)


def test_a_call_that_rings_can_be_cancelled_whoever_stood_in(team: Team) -> None:
    phone = team.scripted("cleo-1")
    carrier = team.carrier()
    lose(team, 2)
    for number in range(4):
        call = Leg.dial(carrier, CLEO, f"+331990013{number:02}")
        leg = Leg.answering(phone)
        leg.ring()
        call.expect_provisional(180)
        call.cancel()
        leg.expect_cancel()
        call.expect_failure(487, 487)


def test_phones_on_connections_of_one_worker_are_rung_by_the_other(team: Team) -> None:
    """Ten connections: the kernel spreads them over both workers, and so are the calls."""
    names = [f"ana-{number}" for number in range(1, 7)]
    phones = [team.scripted(name, "tcp") for name in names]
    carrier = team.carrier()
    for number in range(4):
        call = Leg.dial(carrier, ANA, f"+331990014{number:02}")
        legs = [Leg.answering(phone) for phone in phones]
        for leg in legs:
            leg.ring()
        call.expect_provisional(180)
        winner = legs[number]
        winner.accept()
        for leg in legs:
            if leg is not winner:
                leg.expect_cancel()
        call.expect_answer()
        call.hang_up()
        winner.expect_hang_up()
    assert team.server.metric("cloudline_worker_messages_passed_total", direction="in") > 0


@pytest.mark.rule("DEV-05")
def test_a_phone_that_registers_with_one_worker_joins_a_call_of_the_other(team: Team) -> None:
    first = team.scripted("ben-1", "tcp")
    carrier = team.carrier()
    for transport in ("udp", "tcp"):
        call = Leg.dial(carrier, BEN, OUTSIDE)
        rung = Leg.answering(first)
        rung.ring()
        call.expect_provisional(180)
        late = team.scripted("ben-2", transport)
        joined = Leg.answering(late)
        joined.ring()
        joined.accept()
        rung.expect_cancel()
        call.expect_answer()
        call.hang_up()
        joined.expect_hang_up()
        late.register(0, contact="*", instance=False)


def test_a_phone_whose_worker_died_registers_again_and_is_called(team: Team) -> None:
    """What hung on the dead worker's connections is not rung any more; who comes again is."""
    for number in range(1, 5):
        team.scripted(f"ana-{number}", "tcp")
    kill(team.server, 1)
    assert proc.wait_until(lambda: up(team.server) == 2, 30)
    late = team.scripted("ana-5", "tcp")
    call = Leg.dial(team.carrier(), ANA, OUTSIDE)
    leg = Leg.answering(late)
    leg.accept()
    call.expect_answer()
    call.hang_up()
    leg.expect_hang_up()


@pytest.mark.parametrize("round_number", [1, 2])
def test_calls_of_both_workers_are_joined_by_an_attended_transfer(team: Team, round_number: int) -> None:
    """Ana holds one call on each worker, and has the two parties talk to each other."""
    compass = Compass(2)
    pairs = several(team, team.scripted("ana-1"), 8, ANA)
    by_worker: dict[int, list[tuple[Leg, Leg]]] = {1: [], 2: []}
    for call, leg in pairs:
        assert leg.invite is not None
        by_worker[compass.home(leg.invite.get("x-cloudline-call"))].append((call, leg))
    here, there = by_worker[round_number].pop(), by_worker[3 - round_number].pop()
    carrier, own = there[0].agent, there[1]
    ours = own.remote.rpartition(";tag=")[2]
    replaces = quote(f"{own.call_id};to-tag={ours};from-tag={own.tag}", safe="")
    refer = [
        ("Refer-To", f"<{own.target}?Replaces={replaces}>"),
        ("Referred-By", f"<sip:ana-1@{team.domain}>"),
    ]
    here[1].agent.idle_answers |= {"NOTIFY", "BYE"}
    assert here[1].request("REFER", refer).status == 202
    agreed: set[str] = set()
    while agreed != {here[0].call_id, there[0].call_id}:  # each party hears where the other is
        request = carrier.expect(
            lambda m: m.is_request and m.method in ("INVITE", "UPDATE", "ACK"), "re-INVITE"
        )
        if request.method == "ACK":
            agreed.add(request.call_id)
            continue
        carrier.respond(request, 200, (), carrier.sdp(version=2))
        if request.method == "UPDATE":
            agreed.add(request.call_id)
    assert proc.wait_until(lambda: sum(calls_by_worker(team.server)) == 7, 5)
    here[0].hang_up()
    there[0].expect_hang_up()
    end([pair for rest in by_worker.values() for pair in rest])


@pytest.mark.rule("OPS-03")
def test_the_command_line_shows_and_reaches_both(team: Team) -> None:
    phone = team.scripted("cleo-1")
    pairs = several(team, phone, 4)
    refs = [call["ref"] for call in team.server.cli_json("calls")]
    assert len(refs) == 4
    for ref in refs:
        assert team.server.cli_json("calls", "show", ref)["state"] == "talking"
        assert team.server.ladder(ref)
    shown = team.server.cli("nodes")
    assert "1 up" in shown.stdout
    assert "2 up" in shown.stdout
    (listed,) = team.server.cli_json("nodes")
    assert (listed["node"], listed["pid"]) == ("e2e", team.server.pid)
    assert sum(each["calls"] for each in listed["workers"]) == 4
    assert team.server.cli("reload").returncode == 0
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda ref: team.server.cli("calls", "hangup", ref), refs))
    assert all(each.returncode == 0 for each in done)
    for call, leg in pairs:
        call.expect_hang_up()
        leg.expect_hang_up()


@pytest.mark.rule("OPS-04")
def test_term_drains_all_workers_and_the_last_call_ends_the_node(team: Team) -> None:
    phone = team.scripted("cleo-1")
    pairs = several(team, phone, 4)
    team.server.signal(signal.SIGTERM)
    assert proc.wait_until(lambda: not team.server.is_ready(), 5)
    refused = Leg.dial(team.carrier(), CLEO, OUTSIDE)
    refused.expect_failure(503, 503)
    assert team.server.alive
    end(pairs)
    assert proc.wait_until(lambda: not team.server.alive, 10)
    assert team.server.stop() == 0
    team.start()


def test_workers_do_not_outlive_the_front_and_their_calls_do(team: Team) -> None:
    phone = team.scripted("cleo-1")
    pairs = several(team, phone, 4)
    pids = [int(each["pid"]) for each in workers(team.server)]
    team.server.signal(signal.SIGKILL)
    assert proc.wait_until(lambda: not any(is_running(pid) for pid in pids), 10)
    team.server.stop()
    team.start()
    end(pairs)


def is_running(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_node_that_cannot_start_says_why_and_leaves_no_process(team: Team, tmp_path: Path) -> None:
    """The address of the API is taken: the first worker finds out, and none of them stays."""
    config = team.server.config.read_text()
    for transport, port in team.server.ports.items():
        config = config.replace(f"{transport}:{HOST}:{port}", f"{transport}:{HOST}:0")
    other = tmp_path / "other.toml"
    other.write_text(config.replace('id = "e2e"', 'id = "other"').replace('/outbox"', '/outbox-2"'))
    before = processes()
    done = team.server.cli("serve", "--config", str(other), timeout=90)
    assert done.returncode == 1
    assert f"{HOST}:{team.server.http}" in done.stderr
    assert "Traceback" not in done.stderr
    assert proc.wait_until(lambda: not processes() - before, 5)


def test_one_contact_is_registered_with_a_carrier_and_both_workers_know_its_calls(team: Team) -> None:
    phone = team.scripted("ana-1")
    wire = UdpWire(*team.registrar, team.server.address())
    team.leaves(wire.close)
    carrier = Agent(wire, team.server.address(), "carrier.example", rtp_port=ports.free_port(HOST))
    register = carrier.expect_request("REGISTER", 15)
    contact = register.contact_uri
    carrier.respond(register, 200, [("Contact", f"<{contact}>;expires=600")])

    def registered() -> bool:
        return team.server.metric("cloudline_trunk_registered", trunk="registers") == 1

    assert proc.wait_until(registered, 5)
    for _ in range(8):  # whichever worker they come to
        call = Leg.dial(
            carrier, contact, OUTSIDE, headers=[("P-Called-Party-ID", f"<sip:{ANA}@carrier.example>")]
        )
        leg = Leg.answering(phone)
        leg.accept()
        call.expect_answer()
        call.hang_up()
        leg.expect_hang_up()
    others = [message for message in carrier.inbox if message.method == "REGISTER"]
    assert not others, "every worker registers by itself"


def processes() -> set[str]:
    """Processes of workers."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if b"callcontrol.workers.child" in path.read_bytes():
                found.add(path.parent.name)
    return found


def test_the_node_of_another_is_not_taken_twice(team: Team) -> None:
    """A second node on the same ports is refused, on UDP and on TCP, and the first does not notice."""
    for transports in (["udp"], ["tcp"]):
        listen = ", ".join(f'"{name}:{HOST}:{team.server.ports[name]}"' for name in transports)
        lines = team.server.config.read_text().splitlines()
        text = "\n".join(f"listen = [{listen}]" if line.startswith("listen = [") else line for line in lines)
        other = team.folder / "second.toml"
        other.write_text(text)
        done = team.server.cli("serve", "--config", str(other), timeout=60)
        assert done.returncode == 1
        assert "cannot listen on" in done.stderr
    assert up(team.server) == 2
