"""One session towards one party, whoever talks to it (RFC 3264 §8, RFC 8866 §5.2).

After a transfer a party gets descriptions written by somebody else.  In its dialog the session goes on, so the origin line
must stay the one that it knows, with a version that grows by one when the content changes.
"""

from __future__ import annotations

from mediarelay.body import find_sdp, replace_sdp
from mediarelay.sdp import Sdp, SdpError, parse, same_content


def continue_session(previous: bytes, previous_type: str, new: bytes, new_type: str) -> bytes:
    """``new`` with the origin of ``previous``; unchanged where either has no description that can be read."""
    old, fresh = _description(previous, previous_type), _description(new, new_type)
    if old is None or fresh is None:
        return new
    try:
        origin = old.origin
        if fresh.origin.identity == origin.identity:
            return new
        version = int(origin.version) if same_content(old, fresh) else int(origin.version) + 1
    except (SdpError, ValueError):
        return new
    line = (
        f"o={origin.username} {origin.session_id} {version} "
        f"{origin.network_type} {origin.address_type} {origin.address}"
    )
    index = next(number for number, raw in enumerate(fresh.lines) if raw.startswith("o="))
    return replace_sdp(new_type, new, fresh.replace_line(index, line).encode())


def _description(body: bytes, content_type: str) -> Sdp | None:
    located = find_sdp(content_type, body)
    if located is None:
        return None
    try:
        return parse(body[located.start : located.stop])
    except SdpError:
        return None
