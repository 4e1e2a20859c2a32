"""INVITE server transaction: every arrow of RFC 3261 figure 7 as amended by RFC 6026 figure 3."""

import pytest

from callcontrol.sip.events import CancelReceived
from callcontrol.sip.message import parse
from callcontrol.sip.timers import SipTimers
from tests.support.exchanges import Bench, arriving

STREAMS = ("tcp", "tls", "ws", "wss")


def proceeding(transport: str = "udp") -> Bench:
    bench = Bench(transport)
    bench.receive(arriving("INVITE", transport=transport.upper()))
    assert bench.told() == ["request INVITE"]
    return bench


def ack(bench: Bench, branch: str = "z9hG4bK-1") -> bytes:
    return arriving("ACK", branch, to_tag="bob")


# ---- Proceeding


def test_100_only_if_the_tu_is_silent_for_200_ms() -> None:
    bench = proceeding()
    assert bench.run(10) == [(0.2, "100")]
    assert b";tag=" not in bench.last.partition(b"\r\nTo:")[2].partition(b"\r\n")[0]
    assert bench.endpoint.transactions == 1


@pytest.mark.parametrize("status", [100, 180, 183])
def test_no_100_once_the_tu_has_spoken(status: int) -> None:
    bench = proceeding()
    bench.run(0.1)
    assert bench.answer(status)
    assert bench.sent() == [str(status)]
    assert bench.run(100) == []


def test_tu_may_ring_after_the_100_of_the_transaction() -> None:
    bench = proceeding()
    bench.run(1)
    assert bench.answer(180)
    assert bench.answer(183)
    assert bench.sent() == ["180", "183"]


def test_retransmitted_invite_gets_the_last_1xx() -> None:
    bench = proceeding()
    invite = arriving("INVITE")
    bench.receive(invite)
    assert (bench.told(), bench.sent()) == ([], [])  # nothing to repeat yet
    bench.answer(180)
    bench.answer(183)
    bench.sent()
    bench.receive(invite)
    bench.receive(invite)
    assert (bench.told(), bench.sent()) == ([], ["183", "183"])
    assert bench.endpoint.counters.absorbed == {"INVITE": 3}
    assert bench.endpoint.counters.retransmissions == {"INVITE": 2}


def test_ack_before_a_final_is_counted() -> None:
    bench = proceeding()
    bench.receive(ack(bench))
    assert (bench.told(), bench.sent()) == ([], [])
    assert bench.endpoint.counters.dropped == {"ACK before final": 1}


# ---- 300-699: Completed, Confirmed


@pytest.mark.parametrize("status", [300, 404, 486, 503, 603])
def test_timer_g_doubles_up_to_t2_and_timer_h_ends_it_counted(status: int) -> None:
    bench = proceeding()
    assert bench.answer(status)
    assert bench.sent() == [str(status)]
    times = [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    assert bench.run(100) == [(when, str(status)) for when in times]
    assert bench.is_empty()
    assert bench.endpoint.counters.named == {"INVITE without ACK": 1}


@pytest.mark.parametrize("transport", STREAMS)
def test_streams_repeat_nothing_and_keep_timer_h(transport: str) -> None:
    bench = proceeding(transport)
    bench.answer(486)
    bench.sent()
    assert bench.run(31.9) == []
    assert bench.endpoint.transactions == 1
    bench.run(32.1)
    assert bench.is_empty()
    assert bench.endpoint.counters.named == {"INVITE without ACK": 1}


def test_retransmitted_invite_gets_the_refusal_again() -> None:
    bench = proceeding()
    bench.answer(486)
    refusal = bench.endpoint.out[-1][1]
    bench.sent()
    bench.receive(arriving("INVITE"))
    assert bench.endpoint.out == [(bench.flow, refusal)]


def test_ack_stops_it_and_timer_i_absorbs_more() -> None:
    bench = proceeding()
    bench.answer(486)
    bench.sent()
    bench.run(1.0)
    bench.receive(ack(bench))
    assert bench.told() == []
    assert bench.run(5.9) == []
    bench.receive(ack(bench))
    bench.receive(arriving("INVITE"))
    assert (bench.told(), bench.sent()) == ([], [])
    assert bench.endpoint.counters.absorbed == {"ACK": 1, "INVITE": 1}
    assert bench.endpoint.transactions == 1
    bench.run(6.1)
    assert bench.is_empty()


@pytest.mark.parametrize("transport", STREAMS)
def test_timer_i_is_zero_on_streams(transport: str) -> None:
    bench = proceeding(transport)
    bench.answer(486)
    bench.receive(ack(bench))
    assert bench.told() == []
    assert bench.endpoint.transactions == 0


@pytest.mark.parametrize("late", [100, 180, 200, 486, 500])
def test_no_answer_after_a_refusal(late: int) -> None:
    bench = proceeding()
    bench.answer(486)
    bench.sent()
    assert not bench.answer(late)
    assert bench.sent() == []
    assert bench.endpoint.counters.dropped == {"response of ours after final": 1}


# ---- 2xx: Accepted (RFC 6026)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_accepted_absorbs_invites_and_passes_acks_until_timer_l(transport: str) -> None:
    bench = proceeding(transport)
    bench.answer(180)
    bench.answer(200)
    assert bench.sent() == ["180", "200"]
    for _ in range(3):
        bench.receive(arriving("INVITE"))
    assert (bench.told(), bench.sent()) == ([], [])
    bench.receive(ack(bench))
    bench.receive(ack(bench))
    assert bench.told() == ["ACK", "ACK"]
    assert bench.run(31.9) == []
    bench.receive(arriving("INVITE"))
    assert (bench.told(), bench.sent()) == ([], [])
    bench.run(32.1)
    assert bench.is_empty()
    assert bench.endpoint.counters.absorbed == {"INVITE": 4}


def test_the_tu_repeats_its_2xx_itself() -> None:
    bench = proceeding()
    assert bench.answer(200)
    assert bench.sent() == ["200"]
    for when in (0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5):
        assert bench.run(when) == []
        assert bench.answer(200)
        assert bench.sent() == ["200"]
    assert bench.endpoint.counters.retransmissions == {"INVITE": 10}
    bench.run(32.5)
    assert not bench.answer(200)
    assert bench.endpoint.counters.dropped == {"response of ours without transaction": 1}


@pytest.mark.parametrize("late", [100, 180, 302, 486, 603])
def test_nothing_but_2xx_after_a_2xx(late: int) -> None:
    bench = proceeding()
    bench.answer(200)
    bench.sent()
    assert not bench.answer(late)
    assert bench.sent() == []


def test_ack_of_a_2xx_has_its_own_branch_and_is_passed_up() -> None:
    bench = proceeding()
    bench.answer(200)
    bench.receive(ack(bench, "z9hG4bK-another"))
    assert bench.told() == ["ACK"]


# ---- CANCEL (§9.2)


def test_cancel_is_answered_and_told_with_the_owner_and_the_tag_of_the_invite() -> None:
    bench = proceeding()
    bench.endpoint.claim(bench.key, "call")
    bench.answer(180, to_tag="bob")
    bench.sent()
    bench.receive(arriving("CANCEL"))
    event = bench.endpoint.events[0]
    assert isinstance(event, CancelReceived)
    assert (event.key, event.message.method) == (bench.key, "CANCEL")
    assert bench.endpoint.owner_of(event.key) == "call"
    assert bench.sent() == ["200"]
    assert parse(bench.last).to_tag == "bob"  # §9.2: the same as in the answer to the INVITE
    bench.told()
    bench.receive(arriving("CANCEL"))
    assert (bench.told(), bench.sent()) == ([], ["200"])  # absorbed by its own transaction
    assert bench.answer(487)
    bench.receive(ack(bench))
    bench.run(100)
    assert bench.is_empty()


def test_cancel_before_any_tag_is_known_gets_one() -> None:
    bench = proceeding()
    bench.receive(arriving("CANCEL"))
    assert bench.sent() == ["200"]
    assert parse(bench.last).to_tag != ""


@pytest.mark.parametrize("final", [200, 486])
def test_cancel_after_the_final_is_answered_and_means_nothing(final: int) -> None:
    bench = proceeding()
    bench.answer(final)
    bench.sent()
    bench.receive(arriving("CANCEL"))
    assert (bench.told(), bench.sent()) == ([], ["200"])
    assert bench.endpoint.counters.named == {"CANCEL after final": 1}


@pytest.mark.parametrize(
    "cancel",
    [
        arriving("CANCEL", "z9hG4bK-other"),
        arriving("CANCEL", sent_by="198.51.100.99:5060"),
    ],
)
def test_cancel_without_its_invite_gets_481_and_no_state(cancel: bytes) -> None:
    bench = proceeding()
    bench.receive(cancel)
    bench.receive(cancel)
    assert (bench.told(), bench.sent()) == ([], ["481", "481"])
    assert bench.endpoint.transactions == 1


@pytest.mark.parametrize("transport", STREAMS)
def test_cancel_on_streams_leaves_no_transaction_of_its_own(transport: str) -> None:
    bench = proceeding(transport)
    bench.receive(arriving("CANCEL"))
    assert (bench.told(), bench.sent()) == (["cancel"], ["200"])
    assert bench.endpoint.transactions == 1


def test_claim_of_what_is_gone_is_nothing() -> None:
    bench = Bench()
    bench.endpoint.claim("gone", "call")
    assert bench.endpoint.transactions == 0


def test_other_timers() -> None:
    bench = Bench(timers=SipTimers(t1=0.1, t2=0.3, t4=1))
    bench.receive(arriving("INVITE"))
    bench.told()
    bench.answer(486)
    bench.sent()
    assert [when for when, _ in bench.run(1.6)] == [0.1, 0.3, 0.6, 0.9, 1.2, 1.5]
