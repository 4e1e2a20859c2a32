"""Protocol errors by blame: the peer's carry the status to answer, ours are bugs (RFC 3261 §8.2, §18.3).

Every function of ``callcontrol.sip`` that reads the peer's text raises `RemoteProtocolError` and nothing
else; every function that writes raises `LocalProtocolError` when it is handed something that must not reach
the wire.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from callcontrol.sip.message import Message


class RemoteProtocolError(Exception):
    """The peer sent something malformed or unacceptable.

    ``status`` is the SIP status to answer, ``reason`` a short explanation fit for a reason phrase or a log
    line, ``message`` the message as far as it could be read when it can be answered (Via, From, To, Call-ID
    and CSeq are all there), else None. A response that is in error is never answered; it is only counted.
    """

    def __init__(self, status: int, reason: str, message: Message | None = None) -> None:
        super().__init__(f"{status} {reason}")
        self.status = status
        self.reason = reason
        self.message = message


class LocalProtocolError(Exception):
    """We tried to write what is not SIP, such as a header value with a line break: a bug of ours."""
