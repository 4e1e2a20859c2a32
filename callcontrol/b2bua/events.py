"""What goes into a call.  Every input is a value, so a call can be recorded, replayed and explained."""

from __future__ import annotations

from callcontrol.b2bua.identity import DEFAULT, TrunkProfile
from callcontrol.sip.digest_client import Login
from callcontrol.sip.message import Message
from dialplan.plan import Decision, DeviceTarget, Reach


class Event:
    """Base of all events."""

    __slots__ = ()


class Start(Event):
    """The initial INVITE was admitted; the call begins to carry out its plan."""

    __slots__ = ("contact_host", "flow", "key", "message")

    def __init__(self, message: Message, key: str, flow: str, contact_host: str = "") -> None:
        self.message = message
        self.key = key
        """Transaction key of the INVITE."""
        self.flow = flow
        """Dumped flow that it came on."""
        self.contact_host = contact_host
        """Host of our Contact towards the caller; empty: the listener's."""


class CallBack(Event):
    """Begin with the SIM that the plan names first (OUT-03): nobody has called us."""

    __slots__ = ()


class RequestIn(Event):
    """A request in a dialog of ``leg`` (ACK of a 2xx too)."""

    __slots__ = ("flow", "key", "leg", "message")

    def __init__(self, leg: str, message: Message, key: str, flow: str) -> None:
        self.leg = leg
        self.message = message
        self.key = key
        self.flow = flow


class CancelIn(Event):
    """CANCEL of the INVITE of ``leg``; it has been answered already."""

    __slots__ = ("leg", "message")

    def __init__(self, leg: str, message: Message) -> None:
        self.leg = leg
        self.message = message


class ResponseIn(Event):
    """A response to a request of ``leg``; ``login`` are the credentials that a challenge may be answered with.

    ``flow`` is the dumped flow that it came from, where the request may be asked for again (401, 407, 422); else empty.
    """

    __slots__ = ("branch", "flow", "leg", "login", "message")

    def __init__(
        self, leg: str, branch: str, message: Message, login: Login | None = None, flow: str = ""
    ) -> None:
        self.leg = leg
        self.branch = branch
        self.message = message
        self.login = login
        self.flow = flow


class TransactionEnded(Event):
    """A client transaction of ``leg`` ended without a final response; ``cause``: timeout or transport."""

    __slots__ = ("branch", "cause", "leg")

    def __init__(self, leg: str, branch: str, cause: str) -> None:
        self.leg = leg
        self.branch = branch
        self.cause = cause


class DeadlinePassed(Event):
    """The time of ``Call.next_deadline()`` has come."""

    __slots__ = ()


class TrunkChosen(Event):
    """Answer to ``ChooseTrunk``.  An empty ``trunk`` says that there is none left; ``reason`` then tells why."""

    __slots__ = (
        "called_user",
        "caller_user",
        "channel",
        "peer",
        "profile",
        "reason",
        "routes",
        "target",
        "trunk",
        "uri",
    )

    def __init__(
        self,
        trunk: str,
        peer: str = "",
        uri: str = "",
        target: str = "",
        called_user: str = "",
        caller_user: str = "",
        reason: str = "",
        profile: TrunkProfile = DEFAULT,
        channel: str = "",
        routes: list[str] | None = None,
    ) -> None:
        self.trunk = trunk
        self.peer = peer
        """The peer's URI as provisioned; it names the peer in traces and records."""
        self.uri = uri
        """Request-URI with the number in the trunk's format."""
        self.target = target
        """Dumped flow, or the URI to resolve."""
        self.called_user = called_user
        self.caller_user = caller_user
        """The caller's number in the trunk's format; empty if there is none."""
        self.reason = reason
        self.profile = profile
        """How the carrier wants to be told who calls."""
        self.channel = channel
        """Key under which the leg holds its channel."""
        self.routes = routes or []
        """Route set that the carrier gave us when we registered (RFC 3608)."""


class TransferRouted(Event):
    """Answer to ``RouteTransfer``; ``decision`` is None when the target was refused with ``status``."""

    __slots__ = ("decision", "status")

    def __init__(self, decision: Decision | None, status: int = 200) -> None:
        self.decision = decision
        self.status = status


class MembersFound(Event):
    """Answer to ``FindMembers``: how each of the members can be reached, in the order in which they were named."""

    __slots__ = ("reaches", "stage")

    def __init__(self, stage: int, reaches: tuple[Reach, ...]) -> None:
        self.stage = stage
        self.reaches = reaches


class MemberChanged(Event):
    """What a member of a Greeting does in other calls has changed."""

    __slots__ = ("user",)

    def __init__(self, user: str) -> None:
        self.user = user


class ForwardRouted(Event):
    """Answer to ``RouteForward``; ``decision`` is None when nothing can be done with the target."""

    __slots__ = ("decision",)

    def __init__(self, decision: Decision | None) -> None:
        self.decision = decision


class JoinPostponed(Event):
    """Answer to ``JoinDialog``: the other call is negotiating; ask again in a moment."""

    __slots__ = ("call_id", "from_tag", "target", "to_tag")

    def __init__(self, call_id: str, to_tag: str, from_tag: str, target: str) -> None:
        self.call_id = call_id
        self.to_tag = to_tag
        self.from_tag = from_tag
        self.target = target


class HangUp(Event):
    """End the call from inside: an operator, a limit, a shutdown."""

    __slots__ = ("reason",)

    def __init__(self, reason: str) -> None:
        self.reason = reason


class TargetJoined(Event):
    """A device registered while the call rings: ring it too (DEV-05)."""

    __slots__ = ("anew", "target")

    def __init__(self, target: DeviceTarget, anew: bool = True) -> None:
        self.target = target
        self.anew = anew
        """It was not registered before, or asleep, or is reached in another way now; else it has only said that it is there."""


class PushFailed(Event):
    """A push that was to wake a device failed at once: nobody need wait for it."""

    __slots__ = ("device",)

    def __init__(self, device: str) -> None:
        self.device = device


class Resumed(Event):
    """The call was loaded by a node that did not have it: what that one had under way is gone with it."""

    __slots__ = ()
