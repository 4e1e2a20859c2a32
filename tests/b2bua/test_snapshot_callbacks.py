"""The codec of calls at every stage of a callback: the SIM that is called first, then B, then the two joined (OUT-03, LIVE-02).

The files of ``tests/corpus/snapshots/callbacks`` were written by the version before Greetings came; they are never written again.
``python -m tests.b2bua.test_snapshot_callbacks FOLDER`` shows what today's version makes of the same callbacks.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from callcontrol.b2bua import snapshot
from callcontrol.b2bua.call import Call
from callcontrol.b2bua.effects import TrunkReleased
from callcontrol.b2bua.events import HangUp, ResponseIn, Resumed
from dialplan import reasons
from tests.b2bua.test_snapshot import summary
from tests.support.adversary import SDP, START, Adversary, environment, plan_of

FOLDER = Path(__file__).parent.parent / "corpus" / "snapshots" / "callbacks"
SIM, CALLEE = "b1", "b2"


def respond(them: Adversary, leg: str, status: int, body: bytes = b"") -> None:
    """Answer the latest INVITE to a leg."""
    wanted = [each.request for key, each in them.open.items() if each.leg == leg and "INVITE" in key]
    contact = ("contact", f"<sip:{leg}@10.1.0.1:5060>")
    answer = them.answer(them.parsed(wanted[-1].data), status, "one", (contact,), body)
    them.feed(ResponseIn(leg, wanted[-1].branch, answer))


def calling_the_sim() -> Adversary:
    """The SIM rings; nobody else is called yet."""
    them = Adversary(plan_of(2), b"", (), False, callback=True)
    respond(them, SIM, 180)
    return them


def calling_the_callee() -> Adversary:
    """The SIM has answered with its offer, which is on its way to B."""
    them = calling_the_sim()
    respond(them, SIM, 200, SDP[0])
    return them


def early_media() -> Adversary:
    """B's network plays: the SIM is asked to take that in."""
    them = calling_the_callee()
    respond(them, CALLEE, 183, SDP[1])
    return them


def callee_answered() -> Adversary:
    """B has answered, and the SIM is told its description."""
    them = calling_the_callee()
    respond(them, CALLEE, 180)
    respond(them, CALLEE, 200, SDP[1])
    return them


def joined() -> Adversary:
    them = callee_answered()
    respond(them, SIM, 200, SDP[0])
    return them


def cancelled() -> Adversary:
    """The app has called it off while B rang: its CANCEL is not answered yet."""
    them = calling_the_callee()
    respond(them, CALLEE, 180)
    them.feed(HangUp(reasons.CALLER_CANCELLED))
    return them


MOMENTS: dict[str, Callable[[], Adversary]] = {
    each.__name__: each
    for each in (calling_the_sim, calling_the_callee, early_media, callee_answered, joined, cancelled)
}
EXPECTED: dict[str, object] = (
    msgspec.json.decode((FOLDER / "expected.json").read_bytes())
    if (FOLDER / "expected.json").exists()
    else {}
)


def told(call: Call) -> dict[str, object]:
    """What must not be lost of a callback, besides what must not be lost of any call."""
    state = call.callback
    first = call.plan.first
    return {
        **summary(call),
        "stage": "" if state is None else state.stage,
        "sizes": [] if state is None else [len(state.wanted), len(state.asked), len(state.given)],
        "sim": "" if first is None else first.number,
        "shown": "" if first is None else first.shown,
    }


@pytest.mark.rule("LIVE-02", "OUT-03")
@pytest.mark.parametrize("moment", MOMENTS)
def test_what_is_stored_of_a_callback_is_what_is_loaded(moment: str) -> None:
    call = MOMENTS[moment]().call
    data = snapshot.dump(call)
    loaded = snapshot.load(data, environment())
    assert snapshot.dump(loaded) == data
    assert told(loaded) == told(call)
    assert loaded.next_deadline() == call.next_deadline()
    assert loaded.plan == call.plan


@pytest.mark.rule("LIVE-02", "OUT-03")
@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.bin")), ids=lambda path: path.stem)
def test_callbacks_of_an_earlier_version_are_loaded_and_gone_on_with(path: Path) -> None:
    data = path.read_bytes()
    call = snapshot.load(data, environment())
    assert msgspec.json.decode(msgspec.json.encode(told(call))) == EXPECTED[path.stem]
    assert isinstance(snapshot.outbox(data), list)
    done = [*call.handle(Resumed(), START + 1.0)]
    # what is joined has nothing to repeat; it can be ended like every other
    assert [*done, *call.handle(HangUp(reasons.OPERATOR), START + 2.0)]


def test_every_stage_has_its_file() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.bin")) == sorted(MOMENTS) == sorted(EXPECTED)


def test_the_stages_are_those_that_their_names_say() -> None:
    """So that no file holds the same as another one."""
    stages = {name: told(made().call) for name, made in MOMENTS.items()}
    assert stages["calling_the_sim"]["stage"] != stages["calling_the_callee"]["stage"]
    assert stages["callee_answered"]["stage"] != stages["joined"]["stage"]
    assert len({msgspec.json.encode(each) for each in stages.values()}) == len(stages)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    made = {}
    for name, moment in MOMENTS.items():
        them = moment()
        made[name] = told(them.call)
        (folder / f"{name}.bin").write_bytes(snapshot.dump(them.call, [TrunkReleased("carrier-a", "ref.b9")]))
    (folder / "expected.json").write_bytes(msgspec.json.format(msgspec.json.encode(made), indent=1) + b"\n")
