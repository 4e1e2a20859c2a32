"""Who pays for a call to the outside: the plan, a package, or credit (OUT-06), and fair use (OUT-08).

In this order: free numbers, the plan's minutes, packages, credit.  Minutes within the country are fair use: past
them nothing but a package helps.  Minutes to a zone are an allowance: past them a package or credit pays.
"""

from __future__ import annotations

from typing import Final

from dialplan import reasons
from dialplan.facts import CallFacts
from dialplan.trace import CHOOSE, PASS, Trace
from dialplan.usage import UNBOUNDED, UsageFacts
from numbering.money import written
from numbering.plans import NumberClass

NATIONAL: Final = "national"
FREE_CLASSES: Final = frozenset({NumberClass.TOLL_FREE, NumberClass.FREE_SHORT})
"""Free for the caller: never counted, never priced (OUT-04)."""


def refused(facts: CallFacts, trace: Trace) -> str:
    """Reason why nobody pays for the call, or why it is too much; empty: it may go."""
    usage = facts.usage
    if usage is None:
        return ""
    if facts.called.number_class in FREE_CLASSES:
        trace.add("OUT-06", PASS, f"{facts.called.number_class.value} is free")
        return ""
    return _too_many_callees(usage, trace) or _unpaid(usage, trace)


def _too_many_callees(usage: UsageFacts, trace: Trace) -> str:
    if not usage.max_callees or usage.knows_callee or usage.callees < usage.max_callees:
        return ""
    detail = f"{usage.number} has called {usage.callees} numbers this month, of {usage.max_callees}"
    return trace.refuse("OUT-08", reasons.FAIR_USE, detail)


def _unpaid(usage: UsageFacts, trace: Trace) -> str:
    if not usage.counted:
        trace.add("OUT-08", PASS, "what was used this month is not at hand")
    plan_s, zone = usage.plan_s, usage.zone
    if plan_s == UNBOUNDED:
        trace.add("OUT-08", PASS, f"{zone} is included in the plan")
        return ""
    if plan_s > 0:
        used = f"{usage.used_s // 60} of {plan_s // 60} minutes to {zone} are used"
        if usage.used_s < plan_s:
            trace.add("OUT-08", PASS, f"{used}, nearly all" if _nearly_all(usage) else used)
            return ""
    else:
        used = f"the plan includes no minutes to {zone}"
    if usage.package:
        if usage.package_s == UNBOUNDED or usage.package_used_s < usage.package_s:
            trace.add("OUT-06", CHOOSE, f"{used}; package {usage.package} covers {zone}")
            return ""
        used = f"{used}, and those of package {usage.package} too"
    if zone == NATIONAL and plan_s < 0:
        trace.add("OUT-06", PASS, "national, and the plan sets no bound")
        return ""
    exhausted = plan_s > 0 or bool(usage.package)
    if zone == NATIONAL:
        return trace.refuse("OUT-08", reasons.FAIR_USE, used)
    if not usage.priced:
        if exhausted:
            return trace.refuse("OUT-08", reasons.FAIR_USE, used)
        trace.add("OUT-06", PASS, f"{zone}: there are no prices")
        return ""
    if not usage.rate:
        if exhausted:
            return trace.refuse("OUT-08", reasons.FAIR_USE, f"{used}, and there is no price")
        return trace.refuse(
            "OUT-06", reasons.NOT_IN_PLAN, f"{used}, no package covers it, and there is no price"
        )
    price = f"{written(usage.per_minute)} {usage.currency} a minute"
    if usage.credit < usage.needed:
        detail = f"{used}; {price}, credit {written(usage.credit)} of {written(usage.needed)} needed"
        if exhausted:
            return trace.refuse("OUT-08", reasons.FAIR_USE, detail)
        return trace.refuse("OUT-06", reasons.NO_CREDIT, detail)
    trace.add("OUT-06", CHOOSE, f"{used}; {price} from the credit")
    return ""


def _nearly_all(usage: UsageFacts) -> bool:
    return 0 < usage.warn_s <= usage.used_s
