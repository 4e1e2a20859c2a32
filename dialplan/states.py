"""States of a number in which it takes no calls (INC-01)."""

from __future__ import annotations

from typing import Final

from dialplan import reasons
from dialplan.trace import Trace
from numbering.models import CloudNumber, NumberState

_REASONS: Final[dict[NumberState, str]] = {
    NumberState.QUARANTINED: reasons.QUARANTINED,
    NumberState.PORTED_OUT: reasons.PORTED_OUT,
    NumberState.EXPIRED: reasons.EXPIRED,
    NumberState.SUSPENDED: reasons.SUSPENDED,
}
"""States with a reason of their own; any other state but ``active`` is as good as unknown."""
_OUTSIDE: Final = frozenset({NumberState.PORTED_OUT, NumberState.PORTING_IN})


def refused(number: CloudNumber, trace: Trace) -> str:
    """Reason why nobody can call the number; empty: its state does not forbid it."""
    if number.state is NumberState.ACTIVE:
        return ""
    reason = _REASONS.get(number.state, reasons.UNKNOWN_NUMBER)
    return trace.refuse("INC-01", reason, f"{number.e164} is {number.state.value}")


def is_outside(number: CloudNumber) -> bool:
    """A number that left us, or that has not come yet, is a number of the outside world (NUM-10, NUM-11)."""
    return number.state in _OUTSIDE
