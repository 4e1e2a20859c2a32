"""How a number becomes that of a Greeting: held by a company, and by none of its users.  Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Container

from numbering.e164 import E164
from numbering.lifecycle import HELD, Action, Cause, Moved, bare, check, fresh, may_take_back, moved
from numbering.models import CloudNumber, NumberState
from numbering.refusal import Fault, Refused

S = NumberState


def to_company(
    number: CloudNumber | None,
    e164: E164,
    category: str,
    account: str,
    people: Container[str],
    cause: Cause,
) -> Moved:
    """The number becomes that of a Greeting of a company (GRT-07).

    It may be new, from the stock, reserved for or held by one of the company's ``people``, or one that the company
    gave up and that still rests.  One that is being ported in cannot (NUM-10).
    """
    if number is None:
        held = dataclasses.replace(
            fresh(e164, S.ACTIVE, category, cause), account=account, held_since=cause.at
        )
        return moved(Action.ASSIGN, None, held, cause)
    state = number.state
    if state in HELD:
        if number.account or number.user not in people:
            raise Refused(Fault.HELD, f"{e164} has a holder: a number has exactly one")
        check(Action.REASSIGN, state, state, e164)
        after = dataclasses.replace(
            bare(number, state, cause, account=account), since=number.since, expires_at=number.expires_at
        )
        return moved(Action.REASSIGN, number, after, cause)
    after = bare(number, S.ACTIVE, cause, account=account)
    if state is S.PORTING_IN:
        raise Refused(Fault.PORTING, f"{e164} is being ported in, and a number of a Greeting cannot be")
    if state is S.QUARANTINED:
        if not may_take_back(number, "", account):
            raise Refused(Fault.KEPT, f"{e164} is quarantined, and only its former holder may take it back")
        return moved(Action.TAKE_BACK, number, after, cause)
    if state is S.RESERVED and number.kept_for not in people:
        raise Refused(Fault.KEPT, f"{e164} is reserved")
    return moved(Action.ASSIGN, number, after, cause)
