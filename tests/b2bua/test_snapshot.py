"""The codec of calls: what was stored is what is loaded, and what yesterday's version stored can still be loaded (LIVE-02).

The files of ``tests/corpus/snapshots`` were written by the version that brought their schema; they are never written again.
``python -m tests.b2bua.test_snapshot`` shows what today's version makes of the same calls, for a new schema's folder.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from callcontrol.b2bua import snapshot
from callcontrol.b2bua.call import CALL_FIELDS, Call
from callcontrol.b2bua.effects import TrunkReleased, WriteRecord
from callcontrol.b2bua.events import RequestIn, ResponseIn, Resumed
from callcontrol.b2bua.phases import PHASE_NAMES
from callcontrol.b2bua.records import of_call
from callcontrol.sip.commands import SendAck, SendRequest, SendResponse
from callcontrol.sip.usage import STATE_NAMES
from tests.support.adversary import FLOW, SDP, START, Adversary, environment, plan_of

FOLDER = Path(__file__).parent.parent / "corpus" / "snapshots" / "v1"
BY_TIMER = (
    ("supported", "timer, 100rel"),
    ("session-expires", "600;refresher=uac"),
    ("allow", "INVITE, UPDATE"),
)


def _respond(
    them: Adversary, leg: str, status: int, body: bytes, headers: tuple[tuple[str, str], ...] = ()
) -> None:
    request = next(each.request for key, each in them.open.items() if each.leg == leg and "INVITE" in key)
    contact = (("contact", f"<sip:{leg}@10.1.0.1:5060>"), ("record-route", "<sip:edge.example;lr>"))
    answer = them.answer(them.parsed(request.data), status, "one", (*contact, *headers), body)
    them.feed(ResponseIn(leg, request.branch, answer))


def _ask(
    them: Adversary, method: str, cseq: int, headers: tuple[tuple[str, str], ...] = (), body: bytes = b""
) -> None:
    message = them.request(method, "caller", them.tags["a"][0], cseq, headers, body)
    them.feed(RequestIn("a", message, "" if method == "ACK" else f"key {cseq}", FLOW))


def ringing() -> Adversary:
    """Three devices; one rings reliably, one has early media that the caller has not acknowledged."""
    them = Adversary(plan_of(1, 2), SDP[0], BY_TIMER, False)
    _respond(them, "b1", 180, b"", (("require", "100rel"), ("rseq", "5")))
    _respond(them, "b2", 183, SDP[1])
    return them


def trying_trunks() -> Adversary:
    """The second peer of a trunk, after the first one was busy elsewhere."""
    them = Adversary(plan_of(2), SDP[0], (), False)
    _respond(them, "b1", 503, b"")
    return them


def talking() -> Adversary:
    them = ringing()
    _ask(them, "PRACK", 2, (("rack", "1 1 INVITE"),))
    _respond(them, "b2", 200, SDP[1], (("session-expires", "1800;refresher=uac"),))
    _ask(them, "ACK", 1)
    return them


def negotiating() -> Adversary:
    """A re-INVITE of the caller waits for the callee's answer."""
    them = talking()
    _ask(them, "INVITE", 3, (), SDP[1])
    return them


def transferring() -> Adversary:
    them = talking()
    them.count = 1
    _ask(them, "REFER", 3, (("refer-to", "<sip:+33639981003@cloudline.example>"),))
    return them


def hanging_up() -> Adversary:
    them = talking()
    _ask(them, "BYE", 3)
    return them


MOMENTS: dict[str, Callable[[], Adversary]] = {
    each.__name__: each for each in (ringing, trying_trunks, talking, negotiating, transferring, hanging_up)
}


def summary(call: Call) -> dict[str, object]:
    """What must not be lost."""
    return {
        "phase": PHASE_NAMES[call.phase],
        "step": call.step,
        "steps": len(call.plan.steps),
        "caller": ascii(call.plan.caller.display),
        "trace": len(call.trace),
        "deadlines": sorted(call.deadlines),
        "transfer": call.transfer.stage if call.transfer is not None else "",
        "legs": {
            leg.id: [
                STATE_NAMES[leg.usage.state],
                leg.usage.dialog.local_cseq if leg.usage.dialog is not None else -1,
                leg.usage.dialog.remote_cseq if leg.usage.dialog is not None else -1,
                leg.usage.dialog.route_set if leg.usage.dialog is not None else [],
                sorted(leg.usage.deadlines),
                len(leg.usage.local_body),
                len(leg.usage.remote_body),
            ]
            for leg in call.legs.values()
        },
    }


EXPECTED: dict[str, object] = (
    msgspec.json.decode((FOLDER / "expected.json").read_bytes())
    if (FOLDER / "expected.json").exists()
    else {}
)


@pytest.mark.rule("LIVE-02")
@pytest.mark.parametrize("moment", MOMENTS)
def test_what_is_stored_is_what_is_loaded(moment: str) -> None:
    call = MOMENTS[moment]().call
    data = snapshot.dump(call)
    loaded = snapshot.load(data, environment())
    assert snapshot.dump(loaded) == data
    assert summary(loaded) == summary(call)
    assert loaded.next_deadline() == call.next_deadline()
    assert loaded.plan == call.plan
    assert loaded.trace == call.trace


@pytest.mark.rule("LIVE-02")
@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.bin")), ids=lambda path: path.stem)
def test_snapshots_of_schema_1_are_loaded_and_gone_on_with(path: Path) -> None:
    data = path.read_bytes()
    call = snapshot.load(data, environment())
    assert msgspec.json.decode(msgspec.json.encode(summary(call))) == EXPECTED[path.stem]
    assert isinstance(snapshot.outbox(data), list)
    assert call.handle(Resumed(), START + 1.0)


def test_the_corpus_is_complete() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.bin")) == sorted(MOMENTS) == sorted(EXPECTED)


@pytest.mark.rule("LIVE-02")
def test_a_field_that_is_not_there_yet_has_its_default() -> None:
    """What a version before this one stored lacks the fields that were added since."""
    schema, fields, outbox = msgspec.msgpack.decode(snapshot.dump(talking().call))
    call = snapshot.load(msgspec.msgpack.encode([schema, fields[:-2], outbox]), environment())
    fresh = Call("", call.plan, (), environment())
    for name in CALL_FIELDS[-2:]:
        assert getattr(call, name) == getattr(fresh, name)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"\xc0",
        msgspec.msgpack.encode([99, [], []]),
        msgspec.msgpack.encode([1, ["ref"], []]),
        msgspec.msgpack.encode([1, ["ref", ["\0new kind", 1]], []]),
        msgspec.msgpack.encode({"schema": 1}),
    ],
)
def test_what_cannot_be_read_is_refused(data: bytes) -> None:
    with pytest.raises(snapshot.SnapshotError):
        snapshot.load(data, environment())


def test_an_unknown_effect_is_refused() -> None:
    call = ringing().call
    schema, fields, _ = msgspec.msgpack.decode(snapshot.dump(call))
    with pytest.raises(snapshot.SnapshotError):
        snapshot.outbox(msgspec.msgpack.encode([schema, fields, [["dance"]]]))


def test_the_outbox_holds_what_the_state_does_not_tell() -> None:
    call = talking().call
    effects = [
        SendResponse("a", "key", 200, b"data"),
        SendAck("b1", "branch", b"ack", "target"),
        TrunkReleased("carrier-a", "ref.a"),
        SendRequest("b1", "branch", "BYE", b"bye", "target"),
        WriteRecord(of_call(hanging_up().call)),
    ]
    out = snapshot.outbox(snapshot.dump(call, effects))
    assert [type(each) for each in out] == [SendResponse, SendAck, TrunkReleased]
    first = out[0]
    assert isinstance(first, SendResponse)
    assert (first.leg, first.key, first.status, first.data) == ("a", "key", 200, b"data")


def test_text_that_is_no_utf_8_comes_back_as_the_bytes_that_it_was() -> None:
    call = talking().call
    dialog = call.legs["a"].usage.dialog
    assert dialog is not None
    assert "\udce9" in dialog.remote_header
    loaded = snapshot.load(snapshot.dump(call), environment())
    assert loaded.plan.caller.display == "Zo\udce9"
    kept = loaded.legs["a"].usage.dialog
    assert kept is not None
    assert kept.remote_header == dialog.remote_header


def test_no_secret_is_stored() -> None:
    """Passwords never are; the credentials line of an answered challenge holds a digest only."""
    assert b"password" not in snapshot.dump(trying_trunks().call)


if __name__ == "__main__":
    made = {}
    for name, moment in MOMENTS.items():
        them = moment()
        made[name] = summary(them.call)
        (FOLDER / f"{name}.bin").write_bytes(snapshot.dump(them.call, [TrunkReleased("carrier-a", "ref.b9")]))
    (FOLDER / "expected.json").write_bytes(msgspec.json.format(msgspec.json.encode(made), indent=1) + b"\n")
