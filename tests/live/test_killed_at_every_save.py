"""Reference calls whose node is killed at each of its saves to a real Redis; another one goes on over what is there.

Before the save, between the save and its effects, and after them.  `tests.scenarios.test_crashes` does the same to all
scenarios over a store in memory; here it is the scripts, the epochs and the sets of Redis that have to carry the calls.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios.aftermath import WHO, go_on_and_check
from tests.scenarios.stage import Stage
from tests.scenarios.test_crashes import HOW, commits_of, play_to_the_end
from tests.scenarios.test_ladders import SCENARIOS
from tests.support.redis import RedisServer
from tests.support.redis_calls import BlockingLink, RedisCalls
from tests.support.world import UNSAVED, Crashed

REFERENCE = (
    "all_devices_ring_one_answers",
    "answer_crosses_cancel",
    "hold_and_resume",
    "caller_gives_up_while_ringing",
    "outgoing_call",
    "failover_on_503",
    "all_calls_go_to_a_number_outside",
    "a_missed_call_goes_on_by_its_cause",
    "blind_transfer_by_the_callee_to_a_device",
    "attended_transfer",
    "call_through",
    "call_through_to_a_colleague",
    "call_through_given_up_and_tried_again",
    "callback",
    "callback_cancelled_while_the_callee_rings",
    "sleeping_phone_wakes_and_answers",
    "cascade_goes_on_until_somebody_answers",
    "all_at_once_and_the_first_answer_wins",
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    made = RedisServer(Path(tmp_path_factory.mktemp("redis")))
    made.start()
    yield made
    made.kill()


class KeptStage(Stage):
    """A stage whose calls are in Redis."""

    def __init__(self, link: BlockingLink, crash_at: int, crash_how: str) -> None:
        link.ask("FLUSHALL")
        self.kept = RedisCalls(link)
        super().__init__(crash_at=crash_at, crash_how=crash_how)
        self._keep()

    def _configure(self, section: str, changes: dict[str, object]) -> None:
        super()._configure(section, changes)
        self._keep()

    def _keep(self) -> None:
        self.world.store = self.kept  # type: ignore[assignment]  # it does what the world needs


@pytest.mark.rule("LIVE-01", "LIVE-02", "LIVE-03", "CDR-02")
@pytest.mark.parametrize("name", REFERENCE)
def test_whoever_takes_over_ends_every_leg_and_writes_one_record(server: RedisServer, name: str) -> None:
    link = BlockingLink(server.port)
    number = 0
    for commit in range(1, commits_of(SCENARIOS[name]) + 1):
        for how in HOW:
            number += 1
            who = WHO[number % len(WHO)]
            stage = KeptStage(link, commit, how)
            with pytest.raises(Crashed):
                play_to_the_end(stage, name)
            assert stage.world.crashes == 1
            go_on_and_check(stage, who, how, f"killed at save {commit} ({how}), then {who} hangs up")
            assert stage.kept.left() == []
            assert how == UNSAVED or stage.kept.saved
    link.close()
    assert number >= len(HOW)
