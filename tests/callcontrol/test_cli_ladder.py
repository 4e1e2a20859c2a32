"""The ladder as text: columns, arrows, times; every label readable, whatever the call was."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from callcontrol.cli.ladder import Arrow, Ladder, draw

T0 = datetime(2026, 5, 28, 20, 26, 40, tzinfo=UTC)


def arrow(at: float, source: int, target: int, label: str, tail: str = "", message: str = "") -> Arrow:
    return Arrow(T0 + timedelta(seconds=at), source, target, label, tail, message)


CALL = Ladder(
    parties=(
        ("carrier-a", "127.0.0.1:5080"),
        ("Cloudline", "127.0.0.1:5060"),
        ("ana-phone", "127.0.0.1:40112"),
    ),
    arrows=(
        arrow(0, 0, 1, "INVITE (SDP)", "udp"),
        arrow(0.002, 1, 2, "INVITE (SDP)", "udp"),
        arrow(0.31, 2, 1, "180 Ringing", "udp"),
        arrow(0.311, 1, 0, "180 Ringing", "udp"),
        arrow(2.5, 1, 2, "CANCEL", "udp (retransmission)"),
    ),
)

DRAWN = """\
              carrier-a          Cloudline          ana-phone
           127.0.0.1:5080     127.0.0.1:5060     127.0.0.1:40112
                  │                  │                  │
   0.000          │── INVITE (SDP) ─▶│                  │  udp
   0.002          │                  │── INVITE (SDP) ─▶│  udp
   0.310          │                  │◀─ 180 Ringing ───│  udp
   0.311          │◀─ 180 Ringing ───│                  │  udp
   2.500          │                  │───── CANCEL ────▶│  udp (retransmission)"""


def test_a_call_as_it_is_drawn() -> None:
    assert "\n".join(draw(CALL)) == DRAWN


def test_an_arrow_crosses_the_columns_between() -> None:
    ladder = Ladder(CALL.parties, (arrow(0, 0, 2, "INVITE"),))
    line = draw(ladder)[-1]
    assert line.count("│") == 2
    assert line.rstrip().endswith("▶│")


def test_messages_stand_below_their_arrow() -> None:
    ladder = Ladder(CALL.parties, (arrow(0, 0, 1, "BYE", message="BYE sip:x SIP/2.0\r\nA: b\r\n\r\n"),))
    assert draw(ladder, full=True)[-2:] == ["          BYE sip:x SIP/2.0", "          A: b"]
    assert not any("BYE sip" in line for line in draw(ladder))


def test_a_message_to_oneself_and_what_was_not_kept() -> None:
    ladder = Ladder((("Cloudline", ""),), (arrow(0, 0, 0, "INVITE"),), truncated=4)
    lines = draw(ladder)
    assert "INVITE (to itself)" in lines[-2]
    assert "4 more messages" in lines[-1]


def test_nothing_happened() -> None:
    assert draw(Ladder((), ())) == ["", ""]


@given(
    st.lists(st.tuples(st.text(max_size=60), st.text(max_size=60)), min_size=1, max_size=8),
    st.lists(
        st.tuples(st.integers(0, 7), st.integers(0, 7), st.text(st.characters(codec="ascii"), max_size=80))
    ),
)
def test_any_call_can_be_drawn(parties: list[tuple[str, str]], messages: list[tuple[int, int, str]]) -> None:
    count = len(parties)
    arrows = tuple(arrow(0.1, source % count, target % count, label) for source, target, label in messages)
    lines = draw(Ladder(tuple(parties), arrows))
    assert len(lines) >= len(arrows) + 2
