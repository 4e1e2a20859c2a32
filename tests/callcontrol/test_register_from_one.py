"""Two nodes and a carrier: one registers for both, the other takes over when it dies (LIVE-01, LIVE-02)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from callcontrol.register_duty import DutyBoard, MemoryRegisterDuty
from callcontrol.sip.fields import parse_name_addr, split_list
from callcontrol.sip.message import Message
from callcontrol.trunk_views import trunk_views
from gateway.registration import LEFT, REGISTERED, STANDBY
from tests.callcontrol.test_trunk_registration import PEER, TRUNK, Carrier, Stage

pytestmark = pytest.mark.rule("LIVE-01", "LIVE-02")


class TwoContacts(Carrier):
    """A registrar that takes several contacts in one REGISTER, and keeps those of all nodes."""

    def _verdict(self, message: Message) -> tuple[int, list[tuple[str, str]]]:
        status, headers = super()._verdict(message)
        if status == 200:
            for value in message.all("contact"):
                for member in split_list(value):
                    contact = parse_name_addr(member)
                    if contact.params.get("expires") == "0":
                        self.bindings.pop(contact.uri, None)
        return status, headers


class Elsewhere:
    """Contacts of a node with another address."""

    def __init__(self, inner: object, host: str) -> None:
        self._inner = inner
        self._host = host

    def uri(self, user: str, flow: str, host: str = "") -> str:
        found: str = self._inner.uri(user, flow, host)  # type: ignore[attr-defined]
        return found.replace("10.0.0.1", self._host)


class Pair:
    """Two nodes, each on a network of its own, before one carrier."""

    def __init__(self, lease_s: float = 4.0, *, host: str = "10.0.0.2") -> None:
        self.board = DutyBoard(lease_s)
        self.nodes = [Stage(), Stage()]
        self.bindings: dict[str, int] = {}
        for number, node in enumerate(self.nodes):
            carrier = node.carrier
            carrier.__class__ = TwoContacts
            carrier.bindings = self.bindings
            node.registrations.elect(MemoryRegisterDuty(self.board, f"process-{number}"))
        second = self.nodes[1].registrations
        second._contacts = Elsewhere(second._contacts, host)

    def run(self, seconds: float, *alive: int) -> None:
        """Let time pass on the nodes that live (both, if none is named)."""
        for _ in range(max(round(seconds / 0.25), 1)):
            for number in alive or (0, 1):
                self.nodes[number].run(0.25)
            now = max(node.world.network.now for node in self.nodes)
            for node in self.nodes:
                if node.world.network.now < now:
                    node.world.run(now - node.world.network.now)

    def state(self, number: int) -> str:
        return str(self.nodes[number].machine.state)

    @property
    def contacts(self) -> list[str]:
        return sorted(uri.partition("@")[2].partition(":")[0] for uri in self.bindings)


def test_one_of_two_nodes_registers() -> None:
    pair = Pair()
    pair.run(5.0)
    assert pair.contacts == ["10.0.0.1"]
    assert (pair.state(0), pair.state(1)) == (REGISTERED, STANDBY)
    assert pair.nodes[1].carrier.requests == []
    # the other one knows of it: it may send calls there, and shows it
    for node in pair.nodes:
        assert node.registrations.routes("reg", PEER) == []
        assert node.registrations.registered() == {("reg", "1"): 1}
    view = trunk_views(pair.nodes[1].prober, pair.nodes[1].world.now())[0].peers[0]
    assert view.registration == STANDBY


def test_calls_to_the_contact_are_known_on_both() -> None:
    pair = Pair()
    pair.run(5.0)
    user = next(iter(pair.bindings)).removeprefix("sip:").partition("@")[0]
    for node in pair.nodes:
        found = node.registrations.match(user, "192.0.2.1")
        assert found is not None
        assert found.ref == "reg"
        assert node.registrations.is_contact("reg", user)
        by_host = node.registrations.match("somebody", "10.0.5.1")
        assert by_host is not None
        assert by_host.ref == "reg"


def test_another_takes_over_within_seconds_and_takes_the_dead_contact_out() -> None:
    pair = Pair()
    pair.run(5.0)
    pair.run(6.0, 1)  # the first one is dead
    assert pair.state(1) == REGISTERED
    assert pair.contacts == ["10.0.0.2"], "the carrier rings nobody who is dead"
    pair.run(200.0, 1)
    assert pair.contacts == ["10.0.0.2"]


def test_who_comes_back_does_not_take_it_again() -> None:
    pair = Pair()
    pair.run(5.0)
    pair.run(6.0, 1)
    count = len(pair.nodes[0].carrier.requests)
    pair.run(10.0)
    assert (pair.state(0), pair.state(1)) == (STANDBY, REGISTERED)
    assert len(pair.nodes[0].carrier.requests) == count, "and sends nothing, not even to leave"
    assert pair.contacts == ["10.0.0.2"]


def test_a_node_that_stops_leaves_and_the_other_registers_at_once() -> None:
    pair = Pair()
    pair.run(5.0)
    pair.nodes[0].registrations.stop()
    pair.run(3.0)
    assert pair.nodes[0].registrations.left
    assert (pair.state(0), pair.state(1)) == (LEFT, REGISTERED)
    assert pair.contacts == ["10.0.0.2"]


def test_a_node_on_standby_leaves_at_once() -> None:
    pair = Pair()
    pair.run(5.0)
    pair.nodes[1].registrations.stop()
    assert pair.nodes[1].registrations.left
    pair.run(2.0, 0)
    assert pair.contacts == ["10.0.0.1"]


def test_nodes_behind_one_address_have_one_contact() -> None:
    """Both advertise the balancer: the new one takes nothing out, since it would take itself out."""
    pair = Pair(host="10.0.0.1")
    pair.run(5.0)
    pair.run(6.0, 1)
    assert pair.contacts == ["10.0.0.1"]
    requests = pair.nodes[1].carrier.requests
    assert requests
    assert all(len(message.all("contact")) == 1 for message in requests)


def test_an_answer_that_comes_after_the_duty_was_lost_is_nobodys() -> None:
    pair = Pair()
    pair.nodes[0].carrier.silent = True
    pair.run(1.0)
    pair.board.owner, pair.board.until = "process-1", 1e18
    pair.nodes[0].carrier.silent = False
    pair.run(3.0, 0)
    assert pair.state(0) == STANDBY
    pair.run(40.0, 0)
    assert pair.state(0) == STANDBY


def test_a_trunk_that_comes_while_standing_by_stands_by() -> None:
    pair = Pair()
    pair.run(5.0)
    for node in pair.nodes:
        node.provision(TRUNK, replace(TRUNK, ref="reg2"))
    pair.run(3.0)
    machine = pair.nodes[1].registrations.machine("reg2", PEER)
    assert machine is not None
    assert machine.state == STANDBY
    assert len(pair.contacts) == 2
    for node in pair.nodes:
        node.provision(TRUNK)
    pair.run(3.0)
    assert len(pair.contacts) == 1


def test_without_a_duty_each_node_registers() -> None:
    """``trunks.register_from = "all"``."""
    one, two = Stage(), Stage()
    one.run(1.0)
    two.run(1.0)
    assert (one.machine.state, two.machine.state) == (REGISTERED, REGISTERED)
