"""The closed list of reasons why a call ends or is refused (OUT-09).

The same word stands in the SIP Reason header, the API error, the CDR, the metric label and the trace.  What
each means on the wire (SIP status, Q.850 cause, whether another trunk may be tried) is the table
``callcontrol.b2bua.causes``.
"""

from typing import Final

ANSWERED: Final = "answered"
# refusals of an outgoing call (OUT-09)
UNVERIFIED_SIM: Final = "unverified_sim"
NO_CREDIT: Final = "no_credit"
NOT_IN_PLAN: Final = "not_in_plan"
EXPIRED: Final = "expired"
SUSPENDED: Final = "suspended"
CALLS_OFF: Final = "calls_off"
BARRED_CLASS: Final = "barred_class"
NOT_YOUR_NUMBER: Final = "not_your_number"
INVALID_NUMBER: Final = "invalid_number"
FAIR_USE: Final = "fair_use"
TOO_MANY_CALLS: Final = "too_many_calls"
UNREACHABLE: Final = "unreachable"
EMERGENCY: Final = "emergency"
# refusals of an incoming call (INC-01 ...)
UNKNOWN_NUMBER: Final = "unknown_number"
QUARANTINED: Final = "quarantined"
PORTED_OUT: Final = "ported_out"
BLOCKED: Final = "blocked"
NUMBER_OFF: Final = "number_off"
LOOP: Final = "loop"
HIDDEN_CALLER: Final = "hidden_caller"
# refusals of a call to a gateway number, and of the request for one (OUT-02, DEV-01)
NO_LEASE: Final = "no_lease"
"""Nobody asked for this call, or it was made before, or too late."""
NO_GATEWAY_NUMBER: Final = "no_gateway_number"
"""Every gateway number that the SIM could be given is taken."""
SIM_VERIFIED: Final = "sim_verified"
"""The call has proved the SIM, and that is all it was for."""
SIM_MISMATCH: Final = "sim_mismatch"
"""The call came from another SIM than the one to be verified."""
UNAVAILABLE: Final = "unavailable"
"""The live store or the database does not answer now."""
# how a call that was offered ended
BUSY: Final = "busy"
DECLINED: Final = "declined"
NO_ANSWER: Final = "no_answer"
CALLER_CANCELLED: Final = "caller_cancelled"
NO_ROUTE: Final = "no_route"
TRUNK_FAILED: Final = "trunk_failed"
OVERLOAD: Final = "overload"
DRAINING: Final = "draining"
MAX_DURATION: Final = "max_duration"
SESSION_EXPIRED: Final = "session_expired"
MEDIA_REFUSED: Final = "media_refused"
PROTOCOL_ERROR: Final = "protocol_error"
INTERNAL_ERROR: Final = "internal_error"
NODE_LOST: Final = "node_lost"
TRANSFERRED: Final = "transferred"
NORMAL_CLEARING: Final = "normal_clearing"
OPERATOR: Final = "operator"
NOT_FOUND: Final = "not_found"
NOT_ALLOWED: Final = "not_allowed"
