"""A line calls 3179: SIPp, as the announcement server, is told what to say, and the line is sent the message (NUM-11)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtests import ports, proc
from tests.e2e.harness import sip
from tests.e2e.harness.company import lines_of, refusals
from tests.e2e.harness.sipp import SippRun
from tests.e2e.harness.world import ANA, BEN, World

pytestmark = [pytest.mark.e2e, pytest.mark.needs("sipp", "openssl")]
MEDIA_HOST = "127.0.0.8"
SERVICE = "3179"


class Speaking(World):
    """The usual world with an announcement server, of an operator whose lines have RIOs."""

    def __init__(self, folder: Path) -> None:
        self.media = (MEDIA_HOST, ports.free_port(MEDIA_HOST))
        uri = f"sip:announcements@{MEDIA_HOST}:{self.media[1]}"
        super().__init__(
            folder, settings=f'\n[media]\nannouncement_uri = "{uri}"\n\n[numbers]\noperator_code = "ZZ"\n'
        )
        self.uri = uri

    def announcements(self) -> SippRun:
        run = SippRun("announcement_speaks", self.folder / "sipp", local=self.media)
        self.leaves(run.stop)
        assert proc.wait_until(lambda: bool(proc.udp_bound(self.media)), 3)
        return run

    def rio(self, number: str) -> str:
        """As an operator reads it."""
        return str(self.server.cli_json("number", "rio", number, "--config", str(self.server.config))["rio"])

    def messages(self, number: str) -> list[str]:
        """Texts that wait for this line."""
        return [
            str(row["body"])
            for row in self.server.rows(
                "SELECT body FROM number_messages WHERE e164 = ? AND kind = 'rio'", number
            )
        ]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Speaking]:
    made = Speaking(tmp_path_factory.mktemp("speaking"))
    try:
        made.start()
        yield made
    finally:
        made.close()


@pytest.mark.rule("NUM-11", "CDR-01")
def test_a_line_hears_its_own_rio_and_is_sent_it(world: Speaking) -> None:
    phone = world.phone("ana-1", "pjsua", "tcp")
    server = world.announcements()
    before, since = world.server.records_now(), world.server.log_position()
    call = phone.dial(SERVICE)
    phone.wait("up", call)
    phone.wait("ended", call)
    server.wait()
    rio = world.rio(ANA)
    assert len(rio) == 12
    assert rio.startswith("ZZE")
    invite = server.received("INVITE")
    assert invite.start.split()[1] == f"{world.uri};play=rio;param1={rio}"
    assert sip.user_of(invite.get("from")) == sip.user_of(invite.get("p-asserted-identity")) == ANA
    assert not invite.get("diversion")
    assert proc.wait_until(lambda: bool(world.messages(ANA)), 8)
    (text,) = world.messages(ANA)
    assert f"the RIO of {ANA} is {rio}" in text

    record = world.server.record_of(before)
    assert (record["number"], record["dialled"], record["reason"]) == (ANA, SERVICE, "normal_clearing")
    assert (record["status"], record["ended_by"], record["direction"]) == (200, "callee", "outgoing")
    (_, media) = record["legs"]
    assert (media["number"], media["device_class"]) == ("rio", "media")
    assert ("NUM-11", "announce", f"the RIO of {ANA} is spoken, and sent as a message") in lines_of(record)
    # told to the line alone: not in the record's columns that people read, nor in log, trace, or ladder
    assert rio.encode() not in record.pop("facts")
    assert rio not in json.dumps(record)
    assert rio not in world.server.log.read_bytes()[since:].decode(errors="replace")
    told = "\n".join(message.text for _, message in world.server.ladder(record["call_ref"]))
    assert ";play=rio;param1=[removed]" in told
    assert rio not in told
    shown = world.server.cli("calls", "show", record["call_ref"])
    assert rio not in shown.stdout


@pytest.mark.rule("NUM-11", "OUT-09")
def test_without_the_server_the_line_is_refused_and_sent_the_message(world: Speaking) -> None:
    phone = world.phone("ben-1", "baresip", "udp")
    before = world.server.records_now()
    call = phone.dial(SERVICE)
    phone.wait("ended", call, timeout=15)
    record = world.server.record_of(before)
    assert (record["number"], record["reason"], record["status"]) == (BEN, "rio_by_message", 480)
    assert not refusals(record)
    assert proc.wait_until(lambda: bool(world.messages(BEN)), 8)
    (text,) = world.messages(BEN)
    assert world.rio(BEN) in text


@pytest.mark.rule("NUM-11", "OPS-02")
def test_explain_says_what_would_be_said_without_saying_it(world: Speaking) -> None:
    view = world.server.cli_json("explain", ANA, SERVICE)
    assert view["call"]["plan"] == ["the RIO is spoken"]
    assert "the RIO itself is not looked up: it is taken to be known" in view["notes"]
    assert world.rio(ANA) not in json.dumps(view)
