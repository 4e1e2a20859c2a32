"""Requests that name a dialog of another worker wait for its call, once, and go on whatever comes of it."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote

import pytest

from callcontrol.sip.fields import Replaces
from callcontrol.sip.flow import Flow
from callcontrol.sip.message import Message, parse
from callcontrol.workers import bringing as module
from callcontrol.workers.bringing import Bringing, named_dialog

FLOW = Flow("udp", "192.0.2.1", 5060)


def message(method: str, *lines: str, call_id: str = "c@d", cseq: int = 1) -> Message:
    head = [
        f"{method} sip:abcdefghijklmnop.a@h SIP/2.0",
        "Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx",
        "Max-Forwards: 70",
        "From: <sip:a@b>;tag=1",
        "To: <sip:b@c>;tag=2",
        f"Call-ID: {call_id}",
        f"CSeq: {cseq} {method}",
        *lines,
        "Content-Length: 0",
    ]
    return parse(("\r\n".join(head) + "\r\n\r\n").encode())


def refer(dialog: str = "x@y;to-tag=7;from-tag=8", **words: object) -> Message:
    line = f"Refer-To: <sip:abcdefghijklmnop.b1@h?Replaces={quote(dialog, safe='')}>"
    return message("REFER", line, **words)  # type: ignore[arg-type]  # Call-ID and CSeq


class World:
    def __init__(self, *known: str) -> None:
        self.asked: list[tuple[Replaces, Callable[[], None]]] = []
        self.received: list[bytes] = []
        self.bringing = Bringing(
            known.__contains__,
            lambda dialog, done: self.asked.append((dialog, done)),
            lambda data, flow: self.received.append(data),
        )

    def takes(self, request: Message) -> bool:
        return self.bringing.takes(request, FLOW, 0.0)


@pytest.mark.parametrize(
    "request_", [refer(), message("INVITE", "Replaces: x@y;to-tag=7;from-tag=8")], ids=["REFER", "INVITE"]
)
def test_a_request_waits_until_the_other_call_is_here(request_: Message) -> None:
    world = World()
    assert world.takes(request_)
    dialog, done = world.asked[0]
    assert (dialog.call_id, dialog.to_tag, dialog.from_tag) == ("x@y", "7", "8")
    assert world.takes(request_)  # repeated
    assert len(world.asked) == 1
    done()
    assert world.received == [request_.data]
    assert len(world.bringing) == 0
    assert not world.takes(request_)  # as it comes again by itself: it is decided now, found or not


@pytest.mark.parametrize("known", ["7", "8"])
def test_a_call_that_is_here_is_not_looked_for(known: str) -> None:
    assert not World(known).takes(refer())


@pytest.mark.parametrize(
    "request_",
    [
        message("BYE"),
        message("INVITE"),
        message("REFER", "Refer-To: <sip:+33199001234@h>"),
        message("REFER"),
        message("REFER", "Refer-To: <sip:x@h?Replaces=nonsense>"),
        message("REFER", "Refer-To: Replaces <<<"),
        message("INVITE", "Replaces: nonsense"),
    ],
)
def test_everything_else_goes_on_at_once(request_: Message) -> None:
    world = World()
    assert not world.takes(request_)
    assert not world.asked


def test_responses_are_none_of_its_business() -> None:
    text = b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKx\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:b@c>;tag=2\r\n"
    assert not World().takes(parse(text + b"Call-ID: c@d\r\nCSeq: 1 REFER\r\nContent-Length: 0\r\n\r\n"))


def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 3)
    world = World()
    taken = [world.takes(refer(call_id=f"c{number}", cseq=number + 1)) for number in range(5)]
    assert taken == [True, True, True, False, False]
    for _, done in world.asked:
        done()
    for number in range(5, 12):
        assert world.takes(refer(call_id=f"c{number}"))
        world.asked[-1][1]()
    assert len(world.bringing) == 0


def test_odd_values_name_nothing() -> None:
    for text in ("Refer-To: <sip:x@h?Subject=Replaces>", "Refer-To: <tel:+33199001234?Replaces=a>"):
        assert named_dialog(message("REFER", text)) is None
