"""Decisions about a call to a gateway number: does its caller's SIM have something to do with us (OUT-02, DEV-01)?

A SIM dials such a number because its app was told to.  Whoever else calls it gets a refusal that says so; a call that is
expected goes on as a call of the device that asked for it, under all the rules of its outgoing calls.
"""

from __future__ import annotations

from typing import Final

from dialplan import reasons
from dialplan.facts import (
    GATEWAY_EXPIRED,
    GATEWAY_LEASED,
    GATEWAY_MISMATCH,
    GATEWAY_UNAVAILABLE,
    GATEWAY_USED,
    GATEWAY_VERIFIED,
    CallerNumber,
    CallFacts,
    GatewayFacts,
)
from dialplan.trace import CHOOSE, Trace

CALL_THROUGH: Final = "call_through"
VERIFICATION: Final = "verification"


def refused(facts: CallFacts, gateway: GatewayFacts, trace: Trace) -> str:
    """Reason why the call ends here; empty: it is led on, in the name of ``facts.device``."""
    caller, number = facts.caller, gateway.number
    rule = "DEV-01" if gateway.kind == VERIFICATION else "OUT-02"
    state = gateway.state
    if state == GATEWAY_LEASED and facts.device is not None:
        detail = f"{gateway.sim} calls {number} with lease {gateway.lease}: {facts.called.dialled} is called"
        trace.add(rule, CHOOSE, f"{detail} from {caller.e164}")
        return ""
    if state == GATEWAY_VERIFIED:
        return trace.refuse(rule, reasons.SIM_VERIFIED, f"{gateway.sim} has proved itself; the call is done")
    if state == GATEWAY_MISMATCH:
        detail = f"{caller.e164} is not the SIM that {number} was given to for its verification"
        return trace.refuse(rule, reasons.SIM_MISMATCH, detail)
    if state == GATEWAY_UNAVAILABLE:
        return trace.refuse(rule, reasons.UNAVAILABLE, "the live store did not say who is expected")
    if gateway.kind not in (CALL_THROUGH, VERIFICATION):
        return trace.refuse(
            "INC-01", reasons.UNKNOWN_NUMBER, f"{number} serves {gateway.kind}, which is not there"
        )
    if is_nameless(caller):
        what = "hides its number" if caller.hidden else "has no number that can be read"
        return trace.refuse(
            rule, reasons.HIDDEN_CALLER, f"the caller {what}, and nobody leased {number} alone"
        )
    why = {
        GATEWAY_USED: f"the lease {gateway.lease} has been used",
        GATEWAY_EXPIRED: f"the lease {gateway.lease} has expired",
    }.get(state, f"nobody asked for a call from {caller.e164} to {number}")
    return trace.refuse(rule, reasons.NO_LEASE, why)


def is_nameless(caller: CallerNumber) -> bool:
    """Whether nothing tells which SIM calls: no number at all, or one that the caller wants hidden.

    A carrier that trusts us may send the number of a caller who hides; using it would tell a lie to those whose carrier does
    not, and call for a rule that nobody could explain.
    """
    return caller.hidden or not caller.e164
