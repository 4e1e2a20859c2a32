"""Answers that no transaction waits for: somebody picked up, and will wait for an ACK in vain (RFC 3261 §13.2.2.4).

They come from the callee of a call whose node is gone, or from a further phone behind a forking proxy long after the first.
When the call runs here its leg gets the answer.  When it ended here the phone is released at once (ACK, then BYE) instead of
being left in silence until it gives up.  Of such a call no more than its reference needs to be known: Call-ID and tag of an
INVITE of ours are a keyed hash, so a 2xx to it tells by itself that it is genuine.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from callcontrol.b2bua.dialling import ELSEWHERE_LINE, is_own_dialog
from callcontrol.runner import Runner
from callcontrol.sip.dialog import contact_uri, uac_dialog
from callcontrol.sip.endpoint import Endpoint
from callcontrol.sip.events import RequestReceived, StrayAnswer
from callcontrol.sip.flow import Flow
from callcontrol.sip.message import Message
from callcontrol.sip.usage import CLOSED, IdSource
from callcontrol.wire import Wire

MAX_RELEASES: Final = 256
"""Releases under way; what comes beyond waits for its repetition."""
_CSEQ_STEP: Final = 100
"""The BYE counts on from above whatever PRACK and UPDATE used while it rang."""


def left_open(endpoint: Endpoint, event: RequestReceived, outcome: str) -> bool:
    """Whether a hang-up is left without an answer, since nobody can tell now who has the call.

    Any answer would be the end for who hangs up, and nobody would tell the other side.  Over UDP it is asked again.
    """
    if outcome != "elsewhere" or event.message.method != "BYE" or event.flow.reliable:
        return False
    endpoint.leave(event.key)
    return True


class Strays:
    """See the module."""

    def __init__(
        self,
        endpoint: Endpoint,
        runner: Runner,
        wire: Wire,
        ids: IdSource,
        requests: dict[str, Callable[[Message | None, Flow | None], None]],
    ) -> None:
        """``requests`` of no call, by branch: who is told the answer of each."""
        self._endpoint = endpoint
        self._runner = runner
        self._wire = wire
        self._ids = ids
        self._requests = requests
        self.releasing: dict[str, None] = {}
        """Branches of the BYEs that have no answer yet."""
        self._released: OrderedDict[str, None] = OrderedDict()
        """The last that had one: a repeated answer needs no more than its ACK."""

    def answered(self, event: StrayAnswer, monotonic: float, now: float) -> str:
        """Take a 2xx to an INVITE; what became of it, for the counters."""
        message = event.message
        owner = self._runner.by_tag(message.from_tag)
        leg = owner.call.legs.get(owner.leg) if owner is not None else None
        if owner is not None and leg is not None:
            if leg.call_id != message.call_id or not leg.usage.uac:
                return "stray answer"
            if leg.usage.state == CLOSED and leg.usage.dialog is None:
                # its INVITE had failed for us, with the connection of a node that is gone; somebody has heard it all the same
                return self._release(event, monotonic)
            branch = self._wire.known_branch(event.branch)
            self._runner.response(owner, branch, message, event.flow, now)
            return "answer without transaction"
        if not is_own_dialog(self._ids, message.call_id, message.from_tag):
            return "stray answer"
        ref = message.call_id.partition(".")[0]
        if ref not in self._runner.running.ended:
            return "stray answer"  # another node may have the call, or be about to take it
        if self._runner.saving.has_unsent(ref):
            return "answer that is being dealt with"
        return self._release(event, monotonic)

    def _release(self, event: StrayAnswer, monotonic: float) -> str:
        """ACK and BYE go back over the flow that the answer came from, and nowhere else."""
        message = event.message
        if not message.to_tag or not contact_uri(message):
            return "stray answer"
        scope = f"{message.call_id} {message.to_tag}"
        branch = "z9hG4bK" + self._ids.make(scope, 2)
        if branch not in self.releasing and len(self.releasing) >= MAX_RELEASES:
            return "stray answer"
        dialog = uac_dialog(message, message.from_value, message.cseq + _CSEQ_STEP, "", "")
        ack = dialog.request("ACK", message.cseq, [], b"", "")
        self._endpoint.send_stateless_request("z9hG4bK" + self._ids.make(scope, 1), ack, event.flow)
        if branch not in self.releasing and branch not in self._released:
            self.releasing[branch] = None
            self._requests[branch] = lambda answer, flow: self._settled(branch)
            bye = dialog.request("BYE", dialog.next_cseq(), [ELSEWHERE_LINE], b"", "")
            self._endpoint.send_request(branch, "BYE", bye, event.flow, monotonic, None, keep_flow=True)
        return "answer released"

    def _settled(self, branch: str) -> None:
        """The BYE with this branch has its answer, or will have none."""
        self.releasing.pop(branch, None)
        self._released[branch] = None
        while len(self._released) > MAX_RELEASES:
            self._released.popitem(last=False)
