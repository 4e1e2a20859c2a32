"""What a call wants done, besides the messages of ``callcontrol.sip.commands``."""

from __future__ import annotations

from callcontrol.cdr import CallRecord
from callcontrol.sip.commands import Command
from dialplan.plan import Forward, Identity


class ChooseTrunk(Command):
    """Pick the next trunk peer for ``number``; the answer is a ``TrunkChosen`` event."""

    __slots__ = ("caller", "channel", "number", "tried", "user")

    def __init__(self, number: str, caller: str, tried: list[str], channel: str, user: str = "") -> None:
        self.number = number
        self.user = user
        """Ref of the user in whose name the leg is called; empty: the plan's."""
        self.caller = caller
        """Caller's number to be asserted, E.164; empty if there is none."""
        self.channel = channel
        """Key under which the leg will hold its channel."""
        self.tried = tried
        """``trunk peer`` pairs that were tried for this step; ``trunk *`` for a trunk that is not to be tried again."""


class FindMembers(Command):
    """Look up how the members of a group of a hunt can be reached now; the answer is a ``MembersFound`` event."""

    __slots__ = ("greeting", "stage", "users")

    def __init__(self, stage: int, users: list[str], greeting: str = "") -> None:
        self.stage = stage
        """Number of the offer that they are looked up for."""
        self.users = users
        self.greeting = greeting
        """Number of the Greeting whose hunt begins with this, E.164; empty: it goes on."""


class RouteForward(Command):
    """Decide how a call goes on that is forwarded; the answer is a ``ForwardRouted`` event."""

    __slots__ = ("caller", "cause", "max_forwards", "step")

    def __init__(self, step: Forward, caller: Identity, cause: str, max_forwards: int) -> None:
        self.step = step
        self.caller = caller
        """The caller, with those who forwarded the call before."""
        self.cause = cause
        """Why it was missed, a word of ``dialplan.reasons``."""
        self.max_forwards = max_forwards


class RouteTransfer(Command):
    """Decide where a REFER of ``leg`` leads; the answer is a ``TransferRouted`` event."""

    __slots__ = ("device", "leg", "target", "user")

    def __init__(self, leg: str, target: str, user: str, device: str) -> None:
        self.leg = leg
        self.target = target
        """URI of Refer-To without its header part."""
        self.user = user
        self.device = device


class JoinDialog(Command):
    """Find the dialog that a Replaces names (RFC 3891) and bring the other side of its call into this one.

    The answer is ``joining.adopt`` of the leg, or a ``TransferRouted`` refusal.
    """

    __slots__ = ("call_id", "from_tag", "leg", "target", "to_tag")

    def __init__(self, leg: str, call_id: str, to_tag: str, from_tag: str, target: str) -> None:
        self.leg = leg
        self.call_id = call_id
        self.to_tag = to_tag
        self.from_tag = from_tag
        self.target = target


class PeerSilent(Command):
    """A trunk peer let an INVITE go unanswered: try others first for a while."""

    __slots__ = ("peer", "trunk")

    def __init__(self, trunk: str, peer: str) -> None:
        self.trunk = trunk
        self.peer = peer


class TrunkReleased(Command):
    """A leg over ``trunk`` ended: its ``channel`` is free again."""

    __slots__ = ("channel", "trunk")

    def __init__(self, trunk: str, channel: str) -> None:
        self.trunk = trunk
        self.channel = channel


class SendAgain(Command):
    """Send the open INVITE of a leg at once instead of at its next retransmission: its device has just shown itself."""

    __slots__ = ("branch", "leg")

    def __init__(self, leg: str, branch: str) -> None:
        self.leg = leg
        self.branch = branch


class AdoptInvite(Command):
    """The caller's INVITE, of a call that was taken over while it rings: its transaction goes on here."""

    __slots__ = ("flow", "key", "leg")

    def __init__(self, leg: str, key: str, flow: str) -> None:
        self.leg = leg
        self.key = key
        self.flow = flow
        """Dumped flow that it came on."""


class Push(Command):
    """Tell a device something over its push channel (DEV-04, INC-09).  Doing it twice is harmless: the device knows the call by
    its reference."""

    __slots__ = ("at", "caller", "device", "kind", "number", "reason", "ttl_s")

    def __init__(
        self, device: str, kind: str, number: str, caller: str, reason: str, at: float, ttl_s: float
    ) -> None:
        self.device = device
        self.kind = kind
        """``incoming_call``, ``call_ended``, ``missed_call``."""
        self.number = number
        """Number that was called."""
        self.caller = caller
        """As the called side may see it; empty: anonymous (OUT-07)."""
        self.reason = reason
        """Of ``call_ended``: ``answered_elsewhere``, ``missed``, ``cancelled``."""
        self.at = at
        """Unix seconds."""
        self.ttl_s = ttl_s
        """How long it is worth delivering; 0: as long as the settings say."""


class WriteRecord(Command):
    """The outcome is known: hand the record to the outbox.  Its key is the call reference, so doing it twice is harmless."""

    __slots__ = ("record",)

    def __init__(self, record: CallRecord) -> None:
        self.record = record


class CallOver(Command):
    """Nothing is left to wait for: the call can be forgotten."""

    __slots__ = ()


Effect = Command
