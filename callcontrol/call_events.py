"""Events of calls for integrations: started, ringing, answered, ended, as CloudEvents 1.0 on the topic of the account.

The id of an event is made from the call and what happened, so that the same event sent twice (by the node that took a call
over, say) is known as the same; ``sequence`` puts those of one call into order.  Who hides his number is anonymous here too
(OUT-07).  An event that cannot be sent is lost and counted: the call record tells the same later.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from callcontrol.b2bua.phases import ENDED
from gateway.push import PREFIX, Outgoing

if TYPE_CHECKING:
    from callcontrol.b2bua.call import Call

STARTED: Final = "started"
RINGING: Final = "ringing"
ANSWERED: Final = "answered"
FINISHED: Final = "ended"
SEQUENCE: Final = {STARTED: 1, RINGING: 2, ANSWERED: 3, FINISHED: 4}
EVENT_S: Final = 3600.0
"""How long an integration that is away may get an event afterwards."""


def event_topic(account: str) -> str:
    return f"{PREFIX}/events/calls/{account}"


class CallEvents:
    """Watches the calls of a node."""

    def __init__(
        self, send: Callable[[Outgoing], bool], domain: str, account_of: Callable[[str], str]
    ) -> None:
        """``account_of``: the account of a user; an integration learns nothing of the devices of other accounts."""
        self._send = send
        self._account_of = account_of
        self._source = f"urn:cloudline:{domain}"
        self._told: dict[str, int] = {}
        """Call reference -> sequence number of the last event."""
        self.lost = 0

    def changed(self, call: Call, now: float) -> None:
        """A call was saved, or has ended: tell what was not told yet."""
        account = call.plan.account
        told = self._told.get(call.ref, 0)
        for kind, at in (
            (STARTED, call.started_at),
            (RINGING, call.ringing_at),
            (ANSWERED, call.answered_at),
            (FINISHED, call.ended_at if call.phase == ENDED else 0.0),
        ):
            number = SEQUENCE[kind]
            if account and at and number > told:
                told = number
                payload = json.dumps(self._event(call, kind, at), separators=(",", ":")).encode()
                message = Outgoing(
                    topic=event_topic(account), payload=payload, expires_at=now + EVENT_S, kind="event"
                )
                self.lost += not self._send(message)
        self._told[call.ref] = told

    def forget(self, call_ref: str) -> None:
        """The call is over, or another node has it."""
        self._told.pop(call_ref, None)

    def census(self) -> int:
        """Calls that are watched."""
        return len(self._told)

    def _event(self, call: Call, kind: str, at: float) -> dict[str, object]:
        plan = call.plan
        caller = plan.caller
        data: dict[str, object] = {
            "call": call.ref,
            "sequence": SEQUENCE[kind],
            "direction": plan.direction,
            "caller": "anonymous" if caller.hidden else caller.number or caller.user or "anonymous",
            "called": plan.called,
            "number": plan.number,
            "user": plan.user,
        }
        if kind in (ANSWERED, FINISHED):
            callee = call.legs.get(call.b)
            own = callee is not None and self._account_of(callee.user) == plan.account
            data["device"] = callee.device if callee is not None and own else ""
        if kind == FINISHED:
            talked_s = call.ended_at - call.answered_at if call.answered_at else 0.0
            data |= {
                "reason": call.reason,
                "status": call.status,
                "ended_by": call.ended_by,
                "answered": bool(call.answered_at),
                "talked_s": round(talked_s, 3),
            }
        return {
            "specversion": "1.0",
            "id": f"{call.ref}.{kind}",
            "source": self._source,
            "type": f"cloudline.call.{kind}",
            "subject": call.ref,
            "time": datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "datacontenttype": "application/json",
            "data": data,
        }
