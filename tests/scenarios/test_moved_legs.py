"""What was under way for a party in the moment in which it moved to another call (attended transfer)."""

from __future__ import annotations

import pytest

from tests.scenarios.consulting import consultation, refer, replaces, reports
from tests.scenarios.stage import CLEO, Stage

pytestmark = pytest.mark.rule("LIVE-03")


def test_what_waited_for_the_store_when_its_party_moved_is_answered_where_it_is() -> None:
    """Ben's INFO to Cleo was about to be sent when she went over to the caller: her answer finds the call that she is in, which
    would wait for it for ever."""
    stage = Stage(commit_s=0.1)
    carrier, ben, cleo, call, talk, consult, hers = consultation(stage)
    ben.request(consult, "INFO", b"1", "text/plain")
    refer(ben, talk, f"<sip:{CLEO}@cloudline.example?Replaces={replaces(consult)}>")
    stage.run(2.5)
    assert hers.got("INFO")
    assert reports(talk) == ["100 Trying", "200 OK"]
    assert consult.last("INFO").status == 487, "it was between the two of them, who have parted"
    cleo.request(hers, "INFO", b"2", "text/plain")
    stage.run(1.0)
    assert hers.last("INFO").status == 200
    carrier.bye(call)
    stage.run(1.0)
    assert hers.over
    stage.settle()
