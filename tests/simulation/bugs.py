"""Bugs that are put into a server on purpose: a simulator that cannot fail is worth nothing.

Each is one that this kind of server has had somewhere: a line that is missing, an order that is wrong.  ``CATALOGUE`` names the
invariants that may catch it; ``test_bugs`` plays few seeds until one does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from callcontrol.b2bua.call import Call
from callcontrol.b2bua.effects import CallOver, Effect, TrunkReleased, WriteRecord
from callcontrol.b2bua.events import DeadlinePassed, Event
from callcontrol.b2bua.leg import ELSEWHERE
from callcontrol.b2bua.phases import TALKING
from callcontrol.sip.commands import SendAck, SendRequest, SendResponse
from tests.simulation.bug_kinds import Bungle, Case, EffectBug, handling, without
from tests.simulation.hunt_bugs import HUNT_CATALOGUE

if TYPE_CHECKING:
    from tests.simulation.process import Process

# -- effects ------------------------------------------------------------------------------------------------------


def _is_request(effect: Effect, method: str) -> bool:
    return isinstance(effect, SendRequest) and effect.method == method


def _loses(call: Call, effect: Effect) -> bool:
    """The BYE of a phone whose answer came second."""
    leg = call.legs.get(effect.leg) if isinstance(effect, SendRequest) else None
    return leg is not None and _is_request(effect, "BYE") and leg.reason == ELSEWHERE


def _is_487(call: Call, effect: Effect) -> bool:
    return isinstance(effect, SendResponse) and effect.status == 487 and b" INVITE\r\n" in effect.data


def _rewritten(old: bytes, new: bytes, *methods: str) -> EffectBug:
    def change(call: Call, effect: Effect) -> Sequence[Effect]:
        if not isinstance(effect, SendRequest) or effect.method not in methods or old not in effect.data:
            return (effect,)
        data = effect.data.replace(old, new)
        grown = len(new) - len(old)
        body = effect.data.partition(b"\r\n\r\n")[2]
        if old in body:
            size = b"Content-Length: %d" % len(body)
            data = data.replace(size, b"Content-Length: %d" % (len(body) + grown * body.count(old)))
        return (SendRequest(effect.leg, effect.branch, effect.method, data, effect.target),)

    return EffectBug(change)


def _recorded(change: Callable[[WriteRecord], Sequence[Effect]]) -> EffectBug:
    return EffectBug(lambda call, effect: change(effect) if isinstance(effect, WriteRecord) else (effect,))


def _unanswered(effect: WriteRecord) -> Sequence[Effect]:
    return (WriteRecord(msgspec.structs.replace(effect.record, answered_ms=0)),)


def _seldom(effect: WriteRecord) -> Sequence[Effect]:
    return () if effect.record.started_ms % 7 == 0 else (effect,)


def _shows_the_other(call: Call, effect: Effect) -> Sequence[Effect]:
    """A header of the caller that nobody meant to pass on."""
    caller = call.legs.get("a")
    if not _is_request(effect, "INVITE") or caller is None or not isinstance(effect, SendRequest):
        return (effect,)
    head, blank, body = effect.data.partition(b"\r\n\r\n")
    data = head + b"\r\nX-Debug: " + caller.address.encode() + blank + body
    return (SendRequest(effect.leg, effect.branch, effect.method, data, effect.target),)


# -- the rest -----------------------------------------------------------------------------------------------------


def _talks_for_ever(call: Call, event: Event) -> bool:
    if call.phase == TALKING and "duration" in call.deadlines:
        call.deadlines["duration"] = float("inf")
    return True


def _acts_first(process: Process) -> None:
    runner = process.signalling.runner
    flush, saving = runner.flush, runner.saving

    def instead(now: float) -> None:
        pending, saving.pending = saving.pending, []
        for call, effect in pending:
            if isinstance(effect, CallOver):
                saving.pending.append((call, effect))
            else:
                runner.performer.perform(call, effect, now)
        flush(now)

    runner.flush = instead  # type: ignore[method-assign]


def _deaf_to_losses(process: Process) -> None:
    store = process.store
    commit = store.commit
    store.commit = lambda done: commit(done and (lambda lost: done(frozenset())))  # type: ignore[method-assign]


def _never_deletes(process: Process) -> None:
    process.store.delete = lambda ref, epoch: None  # type: ignore[method-assign]


def _forgets_nothing(process: Process) -> None:
    process.signalling.runner.running.index.forget = lambda call: None  # type: ignore[method-assign]


def _bindings_for_ever(process: Process) -> None:
    bindings = process.server.bindings
    apply = type(bindings).apply
    bindings.apply = lambda put, remove=(): apply(bindings, put, ())  # type: ignore[method-assign]


def _counts_anew(process: Process) -> None:
    """Who takes a call over begins with an older CSeq."""
    runner = process.signalling.runner
    resume = runner.resume

    def instead(data: bytes, epoch: int, now: float) -> None:
        before = set(runner.calls)
        resume(data, epoch, now)
        for ref in set(runner.calls) - before:
            for leg in runner.calls[ref].legs.values():
                if leg.usage.dialog is not None:
                    leg.usage.dialog.local_cseq = 0

    runner.resume = instead  # type: ignore[method-assign]


def _forgets_channels(process: Process) -> None:
    process.signalling.trunking.restore = lambda trunk, leg, now: None  # type: ignore[method-assign]


def _keeps_transactions(process: Process) -> None:
    """An index that nobody cleans up."""
    endpoint = process.signalling.endpoint
    endpoint._waiting = _Keeper(endpoint._waiting)


class _Keeper(dict[str, object]):  # type: ignore[type-arg]
    def __delitem__(self, key: str) -> None:
        return None

    def pop(self, key: str, *rest: object) -> object:  # type: ignore[override]
        return self.get(key, *rest)


CATALOGUE = {
    "record_twice": Case(_recorded(lambda e: (e, e)), "each record is written twice", "two records"),
    "record_never": Case(_recorded(lambda e: ()), "no record is written", "no record"),
    "record_seldom_lost": Case(_recorded(_seldom), "one record of seven is not written", "no record"),
    "record_wrong": Case(
        _recorded(_unanswered), "answered calls are recorded as not answered", "record is wrong"
    ),
    "no_cancel_to_losers": Case(
        without(lambda call, effect: _is_request(effect, "CANCEL")),
        "phones that lost ring on",
        "rings on",
        "two winners",
        "never closed",
    ),
    "crossing_answer_not_released": Case(
        without(_loses),
        "ACK without BYE for an answer that came second",
        "orphan leg",
        "two winners",
        "never closed",
        "third party",
    ),
    "no_ack": Case(
        without(lambda call, effect: isinstance(effect, SendAck)), "no 2xx is ACKed", "answer without ACK"
    ),
    "no_bye": Case(
        without(lambda call, effect: _is_request(effect, "BYE")),
        "the other party does not learn of the end",
        "orphan leg",
        "never closed",
    ),
    "no_487": Case(
        without(_is_487), "a cancelled INVITE gets no final response", "unanswered request", "never closed"
    ),
    "channel_kept": Case(
        without(lambda call, effect: isinstance(effect, TrunkReleased)),
        "no trunk channel is given back",
        "channel leaks",
    ),
    "wrong_reason_to_losers": Case(
        _rewritten(b"cause=200", b"cause=480", "CANCEL"),
        "the losers' phones note a missed call",
        "wrong reason",
    ),
    "hold_lost": Case(
        _rewritten(b"a=sendonly", b"a=sendrecv", "INVITE", "UPDATE"),
        "hold does not reach the other party",
        "description changed",
    ),
    "shows_the_other": Case(
        EffectBug(_shows_the_other), "the caller's address crosses", "leaked address", "malformed egress"
    ),
    "timer_forgotten": Case(
        handling(lambda call, event: not isinstance(event, DeadlinePassed)),
        "deadlines pass unnoticed",
        "past its deadline",
        "rings too long",
    ),
    "talks_for_ever": Case(
        handling(_talks_for_ever), "the longest duration is ignored", "talks too long", "no deadline"
    ),
    "snapshot_kept": Case(
        Bungle(_never_deletes), "the store keeps calls that are over", "snapshot leaks", "left over"
    ),
    "index_kept": Case(Bungle(_forgets_nothing), "tags of calls that are over stay", "table leaks"),
    "flow_table_kept": Case(
        Bungle(_keeps_transactions), "the table of who waits on a flow only grows", "left over"
    ),
    "binding_kept": Case(
        Bungle(_bindings_for_ever), "bindings are not removed before they expire", "dead binding"
    ),
    "cseq_reused": Case(
        Bungle(_counts_anew), "CSeq numbers begin anew after a takeover", "CSeq does not grow", crashes=True
    ),
    "channel_lost": Case(
        Bungle(_forgets_channels), "calls that were taken over hold no channel", "channel lost", crashes=True
    ),
    "acts_before_saving": Case(
        Bungle(_acts_first),
        "the answer is sent, then saved",
        "orphan leg",
        "answer without ACK",
        "CSeq does not grow",
        "retransmission differs",
        "record is wrong",
        "two answers",
        crashes=True,
        calls_per_second=3.0,
        strangers=0,
    ),
    "acts_without_its_call": Case(
        Bungle(_deaf_to_losses),
        "a node goes on with calls that another one has",
        "acts without its call",
        "two records",
        crashes=True,
        store_cuts=1,
    ),
    **HUNT_CATALOGUE,
}
"""By name."""
