"""The messages of a virtual network as a ladder in text, one line a message, as the field draws calls (RFC 3665).

       0.010  cloudline    -> ana-phone     INVITE 1 sdp:4000
       0.120  ana-phone    -> cloudline     180 Ringing (INVITE 1)

Behind the message stands what tells it apart: port and direction of its session description, Reason, RSeq and RAck, what a
NOTIFY reports, and ``/2`` for the second To tag that one side of a call was shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from callcontrol.sip.errors import RemoteProtocolError
from callcontrol.sip.message import Message, parse
from gateway.push import DevicePush

_SHOWN = {"reason": "", "rseq": "rseq:", "rack": "rack:"}


class Tags:
    """Numbers the To tags of each dialog in the order in which they were first seen."""

    def __init__(self) -> None:
        self._seen: dict[str, list[str]] = {}

    def mark(self, message: Message) -> str:
        if not message.to_tag or message.is_request:
            return ""
        seen = self._seen.setdefault(f"{message.call_id} {message.from_tag}", [])
        if message.to_tag not in seen:
            seen.append(message.to_tag)
        number = seen.index(message.to_tag) + 1
        return f"/{number}" if number > 1 else ""


def description(body: bytes) -> str:
    """``sdp:4000 sendonly``: what tells one session description from another."""
    text = body.decode("utf-8", "replace")
    port = direction = ""
    for line in text.split("\r\n"):
        if line.startswith("m="):
            port = port or line.split(" ")[1]
        elif line in ("a=sendonly", "a=recvonly", "a=inactive"):
            direction = f" {line[2:]}"
    return f"sdp:{port}{direction}"


def label(message: Message, tags: Tags, headers: Sequence[str] = ()) -> str:
    """One message in a few words; ``headers`` are shown with their values."""
    if message.is_request:
        parts = [f"{message.method} {message.cseq}"]
    else:
        parts = [
            f"{message.status} {message.reason} ({message.cseq_method} {message.cseq}){tags.mark(message)}"
        ]
    if message.content_type == "application/sdp":
        parts.append(description(message.body))
    elif message.content_type == "message/sipfrag":
        parts.append(f"[{message.body.decode().strip()}]")
    elif message.body:
        parts.append(f"[{message.content_type}]")
    for name, before in _SHOWN.items():
        parts.extend(f"{before}{value}" for value in message.all(name) if not value.startswith("Q.850"))
    for name in headers:
        parts.extend(f"{name}: {value}" for value in message.all(name))
    return " ".join(parts)


def render(
    log: Iterable[tuple[float, str, str, bytes]],
    names: Mapping[str, str],
    start: float,
    headers: Sequence[str] = (),
    pushes: Sequence[tuple[float, DevicePush]] = (),
) -> str:
    """The ladder of everything in ``log`` (time, from host, to host, data) but registrations, and of the pushes.

    A push stands before what the network carried at the same time.
    """
    tags = Tags()
    lines = []
    waiting = list(pushes)
    for at, source, target, data in log:
        while waiting and waiting[0][0] <= at:
            lines.append(push_line(*waiting.pop(0), start))
        try:
            message = parse(data)
        except RemoteProtocolError as error:
            what = f"{data[:60].partition(b' ')[0].decode('utf-8', 'replace')} malformed: {error.reason}"
        else:
            if message.cseq_method == "REGISTER":
                continue
            what = label(message, tags, headers)
        left, right = names.get(source, source), names.get(target, target)
        lines.append(f"{at - start:9.3f}  {left:<12} -> {right:<12}  {what}".rstrip())
    lines.extend(push_line(at, push, start) for at, push in waiting)
    return "\n".join(lines) + "\n"


def push_line(at: float, push: DevicePush, start: float) -> str:
    """``cloudline ~~> ana-phone  push incoming_call from +33199001234 for 30 s``"""
    what = f"push {push.type} {push.reason}".rstrip()
    return f"{at - start:9.3f}  {'cloudline':<12} ~> {push.device:<12}  {what} from {push.caller} for {push.ttl_s:g} s"
