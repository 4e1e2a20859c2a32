"""OPTIONS to trunk peers on a virtual network: what they say, what counts as an answer, what is logged and measured."""

from __future__ import annotations

import pytest
import structlog.testing

from callcontrol.ids import KeyedIds
from callcontrol.probing import Prober
from callcontrol.sip import build
from callcontrol.sip.events import RequestReceived
from callcontrol.sip.message import Message
from callcontrol.trunk_views import route_views, trunk_views
from gateway.capacity import ChannelTable, MemoryTrunkChannels
from gateway.trunk import Prefix, Trunk
from tests.support.party import Party
from tests.support.world import World

PEER = "sip:10.0.1.1:5060"
OUTSIDE = "+33199005678"


class Carrier(Party):
    """Answers OPTIONS with whatever a test wants."""

    def __init__(self, world: World, host: str = "10.0.1.1") -> None:
        super().__init__(world, "carrier", host, "udp")
        self.status = 200
        self.options: list[Message] = []
        self.node.turn = lambda node: self._look()

    def _look(self) -> None:
        for event in self.endpoint.events[:]:
            if isinstance(event, RequestReceived) and event.message.method == "OPTIONS":
                self.endpoint.events.remove(event)
                self.options.append(event.message)
                if self.status:
                    data = build.response(event.message, self.status, "", "tag")
                    self.endpoint.send_response(event.key, self.status, data, self.now)
        self._turn()


class Stage:
    """A world with one trunk and the shell that probes it."""

    def __init__(self, **fields: object) -> None:
        self.world = World()
        values: dict[str, object] = {"peers": (PEER,), "prefixes": (Prefix("+"),), "options_seconds": 30.0}
        self.trunk = Trunk(ref="t", **{**values, **fields})  # type: ignore[arg-type]
        self.world.trunks.replace([self.trunk], version=1)
        self.carrier = Carrier(self.world)
        server, world = self.world.server, self.world
        self.prober = Prober(
            server.core,
            server.endpoint,
            server.trunking,
            world.resolver,
            KeyedIds(b"k" * 32),
            server.env.usage.contacts,
            "cloudline.example",
            lambda: world.network.now,
            world.now,
            "test",
        )

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.25)):
            self.prober.tick()
            self.world.node.settle()
            self.world.run(0.25)

    @property
    def state(self) -> str:
        return trunk_views(self.prober, self.world.now())[0].peers[0].state


def test_a_peer_that_answers_is_up_and_its_round_trip_is_measured() -> None:
    stage = Stage()
    assert stage.state == "unknown"
    stage.run(1.0)
    view = trunk_views(stage.prober, stage.world.now())[0]
    peer = view.peers[0]
    assert (peer.state, peer.failures, peer.failure, view.up) == ("up", 0, "", True)
    assert peer.since is not None
    assert peer.answered_at is not None
    assert peer.round_trip_seconds is not None
    assert 0.01 < peer.round_trip_seconds < 0.3
    assert sum(stage.prober.round_trips["t"].counts) == 1
    assert stage.prober.states() == {("t", "1", "up"): 1}
    assert stage.prober.changes == {("t", "up"): 1}


def test_options_say_who_we_are() -> None:
    stage = Stage()
    stage.run(1.0)
    message = stage.carrier.options[0]
    assert message.uri == PEER
    assert message.from_value.startswith("<sip:cloudline.example>;tag=")
    assert message.get("contact") == "<sip:options@10.0.0.1:5060>"
    assert not message.body


def test_a_carrier_that_knows_us_by_name_is_asked_in_that_name() -> None:
    stage = Stage(host="sbc.acme.example:5061", domain="acme.example")
    stage.run(1.0)
    message = stage.carrier.options[0]
    assert message.from_value.startswith("<sip:sbc.acme.example:5061>;tag=")
    assert message.get("contact") == "<sip:options@sbc.acme.example:5061>"


def test_any_answer_but_503_shows_that_somebody_is_there() -> None:
    for status in (200, 404, 405, 481, 500, 603):
        stage = Stage()
        stage.carrier.status = status
        stage.run(1.0)
        assert stage.state == "up", status
    refused = Stage()
    refused.carrier.status = 503
    refused.run(60.0)
    view = trunk_views(refused.prober, refused.world.now())[0]
    assert (view.up, view.peers[0].state, view.peers[0].failure) == (False, "down", "503 to OPTIONS")


def test_a_silent_peer_goes_down_and_comes_back_and_each_change_is_logged_once() -> None:
    stage = Stage()
    stage.run(1.0)
    with structlog.testing.capture_logs() as logs:
        stage.carrier.status = 0
        stage.run(70.0)
        assert stage.state == "down"
        stage.carrier.status = 200
        stage.run(40.0)
        assert stage.state == "up"
    told = [(each["event"], each["log_level"], each["trunk"], each["why"]) for each in logs]
    assert told == [
        ("trunk peer is down", "warning", "t", "no answer to OPTIONS"),
        ("trunk peer is up", "info", "t", "answers again"),
    ]
    assert stage.prober.changes == {("t", "up"): 2, ("t", "down"): 1}


def test_a_peer_whose_name_leads_nowhere_goes_down() -> None:
    stage = Stage(peers=("sip:nowhere.example",))
    stage.run(60.0)
    view = trunk_views(stage.prober, stage.world.now())[0]
    assert view.peers[0].failure == "its name leads nowhere"
    assert view.peers[0].state == "down"


def test_without_interval_nobody_is_asked() -> None:
    stage = Stage(options_seconds=0)
    stage.run(60.0)
    assert not stage.carrier.options
    assert stage.state == "unknown"


def test_channels_live_as_long_as_the_node_does() -> None:
    stage = Stage(max_channels=1)
    table = ChannelTable()
    mine = MemoryTrunkChannels("mine", table)
    stage.world.server.trunking.channels = mine
    answers: list[str] = []
    mine.acquire(stage.trunk, "x.b1", stage.world.now(), answers.append)
    stage.run(300.0)
    MemoryTrunkChannels("other", table).acquire(stage.trunk, "y.b1", stage.world.now(), answers.append)
    assert answers == ["granted", "full"]


def test_why_a_peer_stands_where_it_stands() -> None:
    second = "sip:10.0.1.2:5060"
    stage = Stage(peers=(PEER, second), max_channels=1, prefixes=(Prefix("+33", 0.02),))
    other = Carrier(stage.world, "10.0.1.2")
    other.status = 0
    stage.run(60.0)
    trunking, now = stage.world.server.trunking, stage.world.now()
    trunking.failed("t", PEER, "silent", 0.0, now)
    trunking.acquire(stage.trunk, "x.b1", now, lambda outcome: None)
    views = route_views(stage.prober, "01 99 00 56 78", now)
    assert [(view.peer, view.standing) for view in views] == [(PEER, "last"), (second, "out")]
    assert views[0].why == (
        "prefix +33, priority 10, 0.02 a minute; full; failed a call (silent), tried last for 30 s"
    )
    assert views[1].why.endswith("full; down: no answer to OPTIONS")
    assert route_views(stage.prober, "+447700900123", now) == []
    with pytest.raises(ValueError, match="nonsense"):
        route_views(stage.prober, "nonsense", now)
