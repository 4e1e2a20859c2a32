"""What the dialog layer wants done on the wire, as values.

A command carries everything that the wire will show: branch, tags, CSeq, body.  Doing one twice is therefore a
retransmission, which the peer's transaction layer absorbs (RFC 3261 §17); that is what makes a takeover safe.
The top Via alone is left to the endpoint, which knows the socket.
"""

from __future__ import annotations


class Command:
    """Base of all that is to be done."""

    __slots__ = ()


class SendRequest(Command):
    """Start a client transaction."""

    __slots__ = ("branch", "data", "leg", "method", "sent_by", "target")

    def __init__(
        self, leg: str, branch: str, method: str, data: bytes, target: str, sent_by: str = ""
    ) -> None:
        self.leg = leg
        self.branch = branch
        """Branch parameter without host; a CANCEL has the branch of its INVITE."""
        self.sent_by = sent_by
        """Sent-by of the top Via, where the peer knows the request by one that was another node's (§17.2.3); empty: ours."""
        self.method = method
        self.data = data
        """The message without its top Via."""
        self.target = target
        """``Flow.dump()`` or a URI to be resolved (RFC 3263)."""


class SendAck(Command):
    """Send the ACK of a 2xx: no transaction (RFC 3261 §13.2.2.4)."""

    __slots__ = ("branch", "data", "leg", "target")

    def __init__(self, leg: str, branch: str, data: bytes, target: str) -> None:
        self.leg = leg
        self.branch = branch
        self.data = data
        self.target = target


class SendResponse(Command):
    """Answer a server transaction, or send its 2xx again."""

    __slots__ = ("data", "key", "leg", "status")

    def __init__(self, leg: str, key: str, status: int, data: bytes) -> None:
        self.leg = leg
        self.key = key
        self.status = status
        self.data = data


class UseTag(Command):
    """From now on requests that carry ``tag`` as our tag belong to ``leg``."""

    __slots__ = ("leg", "tag")

    def __init__(self, leg: str, tag: str) -> None:
        self.leg = leg
        self.tag = tag
