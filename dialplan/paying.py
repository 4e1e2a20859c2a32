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


FREE: Final = "free"
PLAN: Final = "plan"
PACKAGE: Final = "package"
CREDIT: Final = "credit"
NOBODY: Final = "nobody"
"""There are no prices: everything is as it was before there were any."""
PAYERS: Final = (FREE, PLAN, PACKAGE, CREDIT, NOBODY)


class Verdict:
    """Who pays, or why nobody does, and the line of the trace that says so."""

    __slots__ = ("detail", "payer", "reason", "rule")

    def __init__(self, rule: str, payer: str, detail: str, reason: str = "") -> None:
        self.rule = rule
        self.payer = payer
        """A word of ``PAYERS``; empty: nobody."""
        self.detail = detail
        self.reason = reason
        """Why the call is refused; empty: it is not."""


def refused(facts: CallFacts, trace: Trace) -> str:
    """Reason why nobody pays for the call, or why it is too much; empty: it may go."""
    usage = facts.usage
    if usage is None:
        return ""
    if not usage.counted:
        trace.add("OUT-08", PASS, "what was used this month is not at hand")
    verdict = judge(usage, facts.called.number_class)
    if verdict.reason:
        return trace.refuse(verdict.rule, verdict.reason, verdict.detail)
    trace.add(verdict.rule, CHOOSE if verdict.payer in (PACKAGE, CREDIT) else PASS, verdict.detail)
    return ""


def judge(usage: UsageFacts, number_class: NumberClass) -> Verdict:
    """Who pays for a call to the outside (OUT-06), within fair use (OUT-08)."""
    if number_class in FREE_CLASSES:
        return Verdict("OUT-06", FREE, f"{number_class.value} is free")
    if usage.max_callees and not usage.knows_callee and usage.callees >= usage.max_callees:
        detail = f"{usage.number} has called {usage.callees} numbers this month, of {usage.max_callees}"
        return Verdict("OUT-08", "", detail, reasons.FAIR_USE)
    return _payer(usage)


def _payer(usage: UsageFacts) -> Verdict:
    plan_s, zone = usage.plan_s, usage.zone
    if plan_s == UNBOUNDED:
        return Verdict("OUT-08", PLAN, f"{zone} is included in the plan")
    if plan_s > 0:
        used = f"{usage.used_s // 60} of {plan_s // 60} minutes to {zone} are used"
        if usage.used_s < plan_s:
            nearly = 0 < usage.warn_s <= usage.used_s
            return Verdict("OUT-08", PLAN, f"{used}, nearly all" if nearly else used)
    else:
        used = f"the plan includes no minutes to {zone}"
    if usage.package:
        if usage.package_s == UNBOUNDED or usage.package_used_s < usage.package_s:
            return Verdict("OUT-06", PACKAGE, f"{used}; package {usage.package} covers {zone}")
        used = f"{used}, and those of package {usage.package} too"
    exhausted = plan_s > 0 or bool(usage.package)
    if zone == NATIONAL:
        if plan_s < 0:
            return Verdict("OUT-06", PLAN, "national, and the plan sets no bound")
        return Verdict("OUT-08", "", used, reasons.FAIR_USE)
    if usage.rate and usage.credit >= usage.needed:
        return Verdict("OUT-06", CREDIT, f"{used}; {_price(usage)} from the credit")
    if not usage.priced and not exhausted:
        return Verdict("OUT-06", NOBODY, f"{zone}: there are no prices")
    if usage.rate:
        used = f"{used}; {_price(usage)}, credit {written(usage.credit)} of {written(usage.needed)} needed"
    else:
        used = f"{used}, and there is no price"
    if exhausted:
        return Verdict("OUT-08", "", used, reasons.FAIR_USE)
    return Verdict("OUT-06", "", used, reasons.NO_CREDIT if usage.rate else reasons.NOT_IN_PLAN)


def _price(usage: UsageFacts) -> str:
    return f"{written(usage.per_minute)} {usage.currency} a minute"
