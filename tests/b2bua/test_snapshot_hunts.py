"""The codec of calls that hunt, are forwarded, or ring a SIM: what is stored at each of these moments can be gone on with (LIVE-02).

The files of ``tests/corpus/snapshots/hunts`` were written by the version that brought hunts; they are never written again.
``python -m tests.b2bua.test_snapshot_hunts FOLDER`` writes what today's version makes of the same moments.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from callcontrol.b2bua import snapshot
from callcontrol.b2bua.call import Call
from callcontrol.b2bua.events import Resumed
from callcontrol.b2bua.phases import ENDED
from numbering.e164 import E164
from numbering.models import ANSWER_GSM, Forwarding, ForwardMode, Greeting, GreetingMember
from tests.b2bua.test_snapshot import summary
from tests.scenarios.stage import ANA, CALLER, OUTSIDE, Stage
from tests.support.adversary import environment

FOLDER = Path(__file__).parent.parent / "corpus" / "snapshots" / "hunts"
MAIN, SECOND = E164("+33639987000"), E164("+33639987001")


def _greeting(stage: Stage, number: E164, *users: str) -> None:
    members = tuple(GreetingMember(user=user) for user in users)
    stage.world.directory.put_one(Greeting(number=number, account="acme", members=members, repeat=1))


def second_member() -> Stage:
    """A cascade has gone on to its second member; the first has declined."""
    stage = Stage()
    ana, ben = stage.phone("ana-phone"), stage.phone("ben-phone")
    carrier = stage.carrier()
    _greeting(stage, MAIN, "ana", "ben")
    carrier.call(MAIN, caller=CALLER)
    stage.run(0.5)
    ana.reply(ana.incoming, 603)
    stage.run(0.5)
    ben.ring()
    stage.run(0.5)
    return stage


def waiting_for_a_member() -> Stage:
    """The only member is rung by another hunt."""
    stage = Stage()
    stage.phone("ana-phone").auto = None
    carrier = stage.carrier()
    for number in (MAIN, SECOND):
        _greeting(stage, number, "ana")
        carrier.call(number, caller=CALLER)
        stage.run(0.5)
    return stage


def sim_rings() -> Stage:
    """A phone that answers by GSM: its SIM rings."""
    stage = Stage()
    device = stage.world.directory.device("ana-phone")
    assert device is not None
    stage.world.directory.put_one(dataclasses.replace(device, answer=ANSWER_GSM))
    carrier = stage.carrier()
    carrier.call(ANA, caller=CALLER)
    stage.run(0.5)
    carrier.ring()
    stage.run(0.5)
    return stage


def forwarded() -> Stage:
    """The number that all calls are forwarded to rings."""
    stage = Stage()
    found = stage.world.directory.number(E164(ANA))
    assert found is not None
    forward = Forwarding(mode=ForwardMode.ALL, to=OUTSIDE)
    stage.world.directory.put_one(dataclasses.replace(found, forward=forward))
    carrier = stage.carrier()
    carrier.call(ANA, caller=CALLER)
    stage.run(0.5)
    carrier.ring()
    stage.run(0.5)
    return stage


MOMENTS: dict[str, Callable[[], Stage]] = {
    each.__name__: each for each in (second_member, waiting_for_a_member, sim_rings, forwarded)
}
EXPECTED: dict[str, object] = (
    msgspec.json.decode((FOLDER / "expected.json").read_bytes())
    if (FOLDER / "expected.json").exists()
    else {}
)


def latest(stage: Stage) -> Call:
    """The call that began last."""
    return list(stage.world.server.runner.calls.values())[-1]


def told(call: Call) -> dict[str, object]:
    """What must not be lost, besides what must not be lost of any call."""
    hunt = call.hunt
    return {
        **summary(call),
        "stage": call.stage,
        "hunt": [hunt.round, hunt.group, hunt.rang, hunt.declined, hunt.users, hunt.held] if hunt else [],
        "seeks": [[seek.device, seek.sim, seek.asking] for seek in call.seeks],
        "forwards": call.forwards,
        "shown": [step.shown.called for step in call.plan.steps if getattr(step, "shown", None) is not None],
    }


@pytest.mark.rule("LIVE-02", "GRT-01", "FWD-01")
@pytest.mark.parametrize("moment", MOMENTS)
def test_what_is_stored_is_what_is_loaded(moment: str) -> None:
    call = latest(MOMENTS[moment]())
    data = snapshot.dump(call)
    loaded = snapshot.load(data, environment())
    assert snapshot.dump(loaded) == data
    assert told(loaded) == told(call)
    assert loaded.next_deadline() == call.next_deadline()
    assert loaded.plan == call.plan


@pytest.mark.rule("LIVE-02", "GRT-01", "FWD-01")
@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.bin")), ids=lambda path: path.stem)
def test_calls_of_an_earlier_version_are_loaded_and_come_to_an_end(path: Path) -> None:
    data = path.read_bytes()
    call = snapshot.load(data, environment())
    assert msgspec.json.decode(msgspec.json.encode(told(call))) == EXPECTED[path.stem]
    call.handle(Resumed(), call.started_at + 60.0)
    assert call.phase == ENDED, "who rang when its node died tries again"


def test_there_are_files_of_every_moment() -> None:
    assert {path.stem for path in FOLDER.glob("*.bin")} == set(MOMENTS) == set(EXPECTED)


def write(folder: Path) -> None:
    """Write the files of this version."""
    folder.mkdir(parents=True, exist_ok=True)
    expected = {}
    for name, moment in MOMENTS.items():
        call = latest(moment())
        (folder / f"{name}.bin").write_bytes(snapshot.dump(call))
        expected[name] = told(call)
    (folder / "expected.json").write_bytes(msgspec.json.format(msgspec.json.encode(expected)))


if __name__ == "__main__":
    write(Path(sys.argv[1]))
