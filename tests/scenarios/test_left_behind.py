"""What a dead process left behind: phones that ring, answers nobody waits for, connections (LIVE-02, INC-07).

Found by the simulator; each is told as short as it can be.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from callcontrol.live.nodes import ELSEWHERE, HERE
from callcontrol.occupancy import MemoryOccupancy
from callcontrol.sip.flow import Flow
from callcontrol.sip.message import parse
from tests.scenarios.stage import ANA, CALLER, OUTSIDE, Stage
from tests.support.party import Dialog, Party, sdp
from tests.support.wire import DELIVER, LOSE
from tests.support.world import SERVER


def told(stage: Stage, party: Party) -> list[str]:
    """Methods of the requests that the server sent to a party."""
    return [message.method for message in stage.sent(party) if not message.status]


def ringing(stage: Stage, transport: str = "udp") -> tuple[Party, Party, Dialog]:
    ana = stage.phone("ana-phone", transport)
    carrier = stage.carrier()
    stage.begin()
    call = carrier.call(ANA, caller=CALLER)
    stage.run(0.3)
    ana.ring()
    stage.run(0.3)
    return ana, carrier, call


def out_of_reach(stage: Stage, party: Party, is_out: bool) -> None:
    stage.world.network.link(SERVER, party.host).fates = (LOSE,) if is_out else (DELIVER,)


def rings_though_the_call_is_over(stage: Stage) -> Party:
    """The node dies, and neither the repeated INVITE nor the CANCEL of the new one reaches the phone."""
    ana, _, call = ringing(stage)
    out_of_reach(stage, ana, True)
    stage.world.die()
    stage.run(40.0)
    assert call.status == 503
    assert stage.world.calls == 0
    out_of_reach(stage, ana, False)
    stage.begin()
    return ana


@pytest.mark.rule("LIVE-02", "INC-09")
def test_a_phone_that_nobody_could_tell_is_released_when_it_answers() -> None:
    """Its call is over and forgotten; it picks up, and is not left in silence until it gives up after 64*T1."""
    stage = Stage()
    ana = rings_though_the_call_is_over(stage)
    ana.answer()
    stage.run(2.0)
    assert told(stage, ana) == ["ACK", "BYE"]
    assert ana.incoming.over
    core = stage.world.server.core
    assert core.counters["answer released"] == 1
    assert not core.strays.releasing
    stage.begin()
    answer = next(
        data
        for _, source, _, data in stage.world.network.log
        if source == ana.host and b" 200 " in data[:12] and b" INVITE" in data
    )
    stage.world.network.transmit(ana.node, ana.flow, answer)  # a copy that took long
    stage.run(1.0)
    assert told(stage, ana) == ["ACK"]
    assert not core.strays.releasing
    assert not core.asked
    stage.settle()


def test_a_release_without_answer_leaves_nothing() -> None:
    stage = Stage()
    ana = rings_though_the_call_is_over(stage)
    ana.auto = lambda dialog, message, key: True
    ana.answer()
    stage.run(5.0)
    assert stage.world.server.core.strays.releasing
    stage.run(40.0)
    assert not stage.world.server.core.strays.releasing


@pytest.mark.rule("OPS-05")
def test_an_answer_to_an_invite_that_was_never_sent_brings_nobody_anything() -> None:
    """Call-ID and tag are a keyed hash: who has not got an INVITE of ours cannot make us send an ACK or a BYE."""
    stage = Stage()
    ana = rings_though_the_call_is_over(stage)
    invite = ana.incoming.invite
    assert invite is not None
    tag, unique = invite.from_tag, invite.call_id.rpartition(".")[2]
    genuine = stage.world.network.log
    ana.repeats = False
    ana.answer()
    answer = next(data for _, source, _, data in reversed(genuine) if source == ana.host)
    stage.run(40.0)
    stage.begin()
    for forged in (
        answer.replace(tag.encode(), b"0" * len(tag)),
        answer.replace(unique.encode(), b"0" * len(unique)),
        answer.replace(b"Contact: ", b"Subject: "),
    ):
        assert forged != answer
        assert parse(forged).status == 200
        stage.world.network.transmit(ana.node, ana.flow, forged)
        stage.run(1.0)
    assert told(stage, ana) == []
    assert stage.world.server.core.counters["stray answer"] == 3


@pytest.mark.rule("LIVE-02")
@pytest.mark.parametrize("later", [False, True])
def test_an_answer_of_a_call_that_another_node_has_is_not_ours_to_release(later: bool) -> None:
    """A node that was cut off from its store loses its calls; what their parties still say to it must not end them."""
    stage = Stage()
    stage.world.alone = False
    ana, carrier, call = ringing(stage)
    runner = stage.world.server.runner
    ref = next(iter(runner.calls))
    assert stage.world.store.take(ref) is not None
    stage.begin()
    carrier.cancel(call)
    stage.run(1.0)
    assert runner.running.lost == 1
    assert list(runner.running.elsewhere) == [ref]
    assert runner.calls == {}
    if later:
        stage.run(200.0)  # no transaction knows of the leg any more
    ana.answer()
    stage.run(5.0)
    assert told(stage, ana) == []


@pytest.mark.rule("LIVE-02")
def test_what_was_asked_here_is_heard_where_the_call_is_now() -> None:
    """The call went to another node before its requests were answered here: asked again, they are looked for there, and not
    swallowed by the transactions of the first time."""
    stage = Stage()
    ana, carrier, call = ringing(stage)
    ana.answer()
    stage.run(0.5)
    ana.auto = lambda dialog, message, key: message.method == "INFO"
    carrier.request(call, "INFO")
    stage.run(0.1)
    core = stage.world.server.core
    ref = next(iter(stage.world.server.runner.calls))
    core.search.fetch = lambda ref, done: None
    assert stage.world.store.take(ref) is not None
    carrier.request(call, "UPDATE")
    stage.run(0.1)
    assert stage.world.server.runner.running.lost == 1
    stage.run(1.0)
    assert {event.message.method for event in core.search._asked_for[ref]} == {"INFO", "UPDATE"}


@pytest.mark.rule("LIVE-02", "INC-07")
def test_a_further_phone_behind_a_proxy_that_answers_after_a_takeover_is_released() -> None:
    """The transaction that knew of forks died with its node; the leg knows that it has its answer."""
    stage = Stage()
    ana, carrier, call = ringing(stage)
    first = ana.answer()
    stage.run(0.5)
    stage.world.die()
    stage.run(1.0)
    stage.begin()
    ana.reply(first, 200, b"", tag="twin")
    stage.run(1.0)
    ends = [(m.method, m.to_tag) for m in stage.sent(ana) if m.method in ("ACK", "BYE")]
    assert ends == [("ACK", "twin"), ("BYE", "twin")]
    assert call.live
    assert len(stage.world.server.runner.calls) == 1
    carrier.bye(call)
    stage.run(1.0)


@pytest.mark.rule("LIVE-02")
def test_an_answer_without_ack_has_64_t1_from_the_takeover_on() -> None:
    """The time that nobody had the call is not the caller's fault: no BYE before its whole chance has passed (§15)."""
    stage = Stage()
    ana, carrier, call = ringing(stage)
    carrier.auto_ack = False
    ana.answer()
    stage.run(30.0)
    stage.begin()
    stage.world.die()
    stage.run(20.0)
    assert call.live
    assert "BYE" not in told(stage, carrier)
    stage.run(13.0)
    assert not call.live
    assert stage.times(carrier, "BYE")[0] >= 32.0
    stage.settle()


@pytest.mark.rule("LIVE-02")
def test_trunk_channels_are_held_by_the_calls_that_were_taken_over() -> None:
    """Or the trunk would take more calls than it has channels for, and the release would free somebody else's."""
    stage = Stage()
    ana, carrier, call = ringing(stage)
    ana.answer()
    stage.run(0.5)
    stage.world.die()
    channels = stage.world.server.trunking.channels
    assert channels.in_use("carrier-a") == 1
    carrier.bye(call)
    stage.run(1.0)
    assert channels.in_use("carrier-a") == 0
    stage.settle()


def test_outgoing_calls_hold_their_channel_after_a_takeover_too() -> None:
    stage = Stage()
    ana, carrier = stage.phone("ana-phone"), stage.carrier()
    stage.begin()
    call = ana.call(OUTSIDE)
    stage.run(0.3)
    stage.talk(ana, call, carrier)
    stage.world.die()
    assert stage.world.server.trunking.channels.in_use("carrier-a") == 1
    ana.bye(call)
    stage.run(1.0)
    stage.settle()


@pytest.mark.rule("LIVE-03", "GRT-10")
def test_a_node_that_lost_a_call_holds_nothing_for_it() -> None:
    """It was cut off and others took its calls: what their legs hold is given back by those."""
    stage = Stage()
    held: dict[str, str] = {}
    ana, carrier = stage.phone("ana-phone"), stage.carrier()
    stage.begin()
    call = ana.call(OUTSIDE)
    stage.run(0.3)
    stage.talk(ana, call, carrier)
    server = stage.world.server
    occupancy = server.runner.running.occupants
    assert occupancy is not None
    occupancy._told = {ref: {"ana": "talking"} for ref in server.runner.calls}
    occupancy.occupancy = Told(held)
    (ref,) = server.runner.calls
    server.runner.performer.lose(ref)
    assert held == {ref: "ana"}
    assert not len(occupancy)
    assert server.trunking.channels.in_use("carrier-a") == 0
    assert not any(server.runner.census().values())


class Told:
    """Writes down of whom it is told that another node has the call.  (A compiled class cannot be inherited from.)"""

    def __init__(self, lost: dict[str, str]) -> None:
        self._lost = lost
        self.on_change: Callable[[str], None] | None = None
        inner = MemoryOccupancy()
        self.busy, self.idle_since, self.turns = inner.busy, inner.idle_since, inner.turns
        self.set, self.took_turn = inner.set, inner.took_turn

    def lost(self, call: str, user: str) -> None:
        self._lost[call] = user


@pytest.mark.rule("LIVE-02")
def test_an_invite_that_is_repeated_after_its_node_died_makes_no_second_call() -> None:
    """The caller never heard of the first node; what it repeats was answered by the one that took the call over."""
    stage = Stage()
    stage.phone("ana-phone")
    carrier = stage.carrier()
    out_of_reach(stage, carrier, True)
    stage.begin()
    call = carrier.call(ANA, caller=CALLER)
    stage.run(0.1)
    stage.world.die()
    stage.run(0.3)
    out_of_reach(stage, carrier, False)
    stage.run(5.0)
    assert call.status == 503
    assert [record.reason for record in stage.world.records] == ["node_lost"]
    invites = [message for message in told(stage, stage.world.parties[0]) if message == "INVITE"]
    assert len(invites) <= 2, "the first one, and its repetition by the new node"


@pytest.mark.rule("LIVE-02", "CDR-01")
def test_an_invite_that_is_repeated_to_another_node_makes_no_second_call() -> None:
    """Its node has saved the call and died with the first message in its hands; nobody has taken the call over yet."""
    stage = Stage()
    _, carrier = stage.phone("ana-phone"), stage.carrier()
    stage.begin()
    carrier.call(ANA, caller=CALLER)
    stage.run(0.3)
    (ref,) = stage.world.server.runner.calls
    invite = next(data for _, source, _, data in stage.world.network.log if source == carrier.host)
    other = stage.world.build()
    flow = Flow("udp", carrier.host, 5060, f"udp:{SERVER}:5060")
    other.endpoint.receive(invite, flow, stage.world.network.now)
    other.turn()
    assert not other.runner.calls
    assert not other.endpoint.transactions, "its caller is answered by who has the call"
    assert not any(other.runner.census().values())
    assert not other.endpoint.out
    assert set(stage.world.store.snapshots) == {ref}
    assert not other.trunking.channels.in_use("carrier-a")
    stage.world.die()
    stage.run(1.0)
    assert [record.call_ref for record in stage.world.records] == [ref]
    stage.run(40.0)
    stage.settle()


@pytest.mark.rule("LIVE-02", "INC-07")
def test_a_phone_whose_connection_went_with_its_node_is_released_when_it_answers_though_the_call_goes_on() -> (
    None
):
    """Nothing can be sent to it any more, so for the new node it is out; it rings on, and its answer finds a way."""
    stage = Stage()
    stage.sleeper("ana-phone")
    carrier = stage.carrier()
    desk = stage.world.phone("ana-desktop", transport="tcp", register=False)
    desk.contact = (
        "<sip:ana-desktop@10.9.9.9:5060;transport=tcp>"  # behind a NAT: there is no way but its connection
    )
    desk.register()
    stage.run(0.3)
    carrier.call(ANA, caller=CALLER)
    stage.run(0.3)
    desk.ring()
    stage.run(0.3)
    stage.begin()
    stage.world.die()
    stage.run(0.5)
    assert stage.world.calls == 1, "it waits for the phone that was woken"
    desk.answer()
    stage.run(2.0)
    assert told(stage, desk)[-2:] == ["ACK", "BYE"]
    assert desk.incoming.over
    stage.run(60.0)
    stage.settle()


@pytest.mark.rule("LIVE-02")
def test_a_hang_up_is_asked_again_while_nobody_can_tell_who_has_the_call() -> None:
    """The store is away for the node that the BYE came to: an error would end it for who hangs up, and for nobody else."""
    stage = Stage()
    ana, carrier, call = ringing(stage)
    talk = ana.answer()
    stage.run(0.5)
    server, store = stage.world.server, stage.world.store
    (ref,) = server.runner.calls
    stage.begin()
    carrier.bye(call)
    bye = next(data for _, source, _, data in reversed(stage.world.network.log) if source == carrier.host)
    assert bye.startswith(b"BYE ")
    other = stage.world.build()
    flow = Flow("udp", carrier.host, 5060, f"udp:{SERVER}:5060")
    now = stage.world.network.now
    other.core.search.fetch = lambda asked, done: done(ELSEWHERE)
    other.endpoint.receive(bye, flow, now)
    other.turn()
    other.turn()
    assert not other.endpoint.out
    assert not other.endpoint.transactions

    def fetch(asked: str, done: Callable[[str], None]) -> None:
        taken = store.take(asked)
        assert taken is not None
        other.runner.resume(taken[1], taken[0], stage.world.now())
        done(HERE)

    other.core.search.fetch = fetch
    other.endpoint.receive(bye, flow, now)
    other.turn()
    other.turn()
    sent = [parse(data) for _, data in other.endpoint.out]
    assert [(m.method, m.status) for m in sent if m.cseq_method == "BYE"] == [("BYE", 200), ("BYE", 0)]
    assert talk.live
    assert ref in other.runner.calls


@pytest.mark.rule("LIVE-02", "CDR-01")
def test_a_call_that_comes_back_before_its_loss_was_noticed_is_one_call() -> None:
    """Another node was asked something in a call, took it, and died before this one had anything to save."""
    stage = Stage()
    ana, carrier, call = ringing(stage)
    ana.answer()
    stage.run(1.0)
    carrier.request(call, "INVITE", sdp(4000, 1, 2, "sendonly"))
    stage.run(0.1)
    runner, store = stage.world.server.runner, stage.world.store
    (ref,) = runner.calls
    before = runner.calls[ref]
    for _ in range(2):
        taken = store.take(ref)
        assert taken is not None
    runner.resume(taken[1], taken[0], stage.world.now())
    runner.flush(stage.world.now())
    assert runner.calls[ref] is not before
    (asked,) = [message for message in ana.incoming.requests if message.method == "INVITE"][1:]
    ana.reply(ana.incoming, 200, sdp(6000, 1, 2, "recvonly"), message=asked)
    stage.run(1.0)
    assert call.responses[-1].status == 200
    assert not runner.calls[ref].legs["a"].usage.asked, "its answer came to the call as it is now"
    assert runner.running.lost == 0
    carrier.bye(call)
    stage.run(1.0)
    assert told(stage, ana)[-1] == "BYE"
    assert len(stage.world.records) == 1
    stage.run(40.0)
    stage.settle()
