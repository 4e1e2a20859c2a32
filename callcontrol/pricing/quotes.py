"""What a call will cost, told before it is made (OUT-06); fits `callcontrol.phone_requests.Prices`."""

from __future__ import annotations

import math
from collections.abc import Callable

from callcontrol.b2bua.causes import CAUSES
from callcontrol.phone_requests import Ok, Reply
from callcontrol.pricing.rates import Rate, billed_seconds, cost
from callcontrol.usage.policy import Zoning
from dialplan import reasons
from dialplan.facts import CallFacts
from dialplan.paying import CREDIT, FREE, FREE_CLASSES, NOBODY, judge
from dialplan.plan import Decision, Refuse, ToTrunk
from numbering.models import Device
from numbering.money import ZERO, Money, written


class Quotes:
    """Prices by the minute and for a duration."""

    in_spite = frozenset({reasons.NO_CREDIT, reasons.FAIR_USE})
    """The user may want to pay."""

    def __init__(self, zoning: Zoning) -> None:
        self._zoning = zoning

    def quote(
        self,
        device: Device,
        facts: CallFacts,
        decision: Decision,
        seconds: float,
        done: Callable[[Reply], None],
    ) -> None:
        """Tell what a call of so many seconds costs the user of a device.

        ``decision`` is what would become of the call now.  The fields: ``number``, ``to``, ``zone``, ``paid_by``
        (free, plan, package, credit, nobody; empty: nobody may make the call now), ``currency``, ``per_minute``,
        ``connection``, ``minimum_seconds``, ``increment_seconds``, and with a duration ``seconds``, ``billed_seconds``
        and ``total``.  Amounts are decimal text in units.  ``refusal`` says why the call would be refused now.
        """
        step = decision.plan.steps[0] if decision.plan.steps else None
        refusal = step.reason if isinstance(step, Refuse) else ""
        called = facts.called.e164
        number = decision.plan.number or ("" if facts.usage is None else facts.usage.number)
        rate: Rate | None = None
        zone, payer = "", FREE
        if called and (refusal or isinstance(step, ToTrunk)):
            rate = self._zoning.rate(device.user, called, facts.now)
            zone = self._zoning.zone(device.user, number, called, facts.now)
            payer = NOBODY
            if facts.called.number_class in FREE_CLASSES:
                payer = FREE
            elif facts.usage is not None:
                payer = judge(facts.usage, facts.called.number_class).payer
        priced = rate if payer in (CREDIT, "") else None
        fields: dict[str, object] = {
            "number": number,
            "to": decision.plan.called,
            "zone": zone,
            "paid_by": payer,
            "currency": "" if rate is None else rate.currency,
            "per_minute": written(ZERO if priced is None else priced.per_minute),
            "connection": written(ZERO if priced is None else priced.connection),
            "minimum_seconds": 0 if priced is None else priced.minimum_seconds,
            "increment_seconds": 1 if priced is None else priced.increment_seconds,
        }
        if seconds > 0:
            whole = math.ceil(seconds)
            total: Money = ZERO if priced is None else cost(priced, whole)
            fields["seconds"] = whole
            fields["billed_seconds"] = whole if priced is None else billed_seconds(priced, whole)
            fields["total"] = written(total)
        if refusal:
            fields["refusal"] = {"code": refusal, "message": CAUSES[refusal].sentence}
        done(Ok(fields=fields))
