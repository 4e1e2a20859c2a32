"""The record of one call attempt and of its legs (CDR-01).

Structs of msgspec, which build and encode several times faster than dataclasses: there is one of each per
call.  In the journal they are arrays, so fields are only ever *added at the end*, with a default; a test
reads journals of the past. All instants are integer milliseconds of UTC since 1970; 0 means that it did not
happen.
"""

from __future__ import annotations

import msgspec


class LegRecord(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One SIP dialog, or one attempt at one."""

    leg: str
    """Name of the leg within its call: ``a``, ``b1``, ``b2`` …; unique there."""
    role: str = ""
    """``caller`` or ``callee``."""
    call_id: str = ""
    """SIP Call-ID."""
    number: str = ""
    """E.164 number of the party at its end; empty if it has none."""
    user: str = ""
    device: str = ""
    device_class: str = ""
    """``phone``, ``desktop``, ``browser``, or ``trunk``."""
    trunk: str = ""
    peer: str = ""
    """URI of the peer that was tried."""
    transport: str = ""
    address: str = ""
    """Address and port of the other side's signalling."""
    user_agent: str = ""
    started_ms: int = 0
    ringing_ms: int = 0
    answered_ms: int = 0
    ended_ms: int = 0
    status: int = 0
    """Final SIP status of the INVITE; 0: there was none."""
    cause: int = 0
    """ITU-T Q.850 cause."""
    reason: str = ""
    ended_by: str = ""
    """``caller``, ``callee``, or ``server``."""
    payer: str = ""
    """Cloud number that had it called, E.164, where that is not the call's own: one that forwarded the call (FWD-03)."""
    payer_user: str = ""
    """Ref of its holder."""


class OfferRecord(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What became of one device that the call was for, or of a user none of whose devices could be rung (INC-09)."""

    user: str
    device: str = ""
    outcome: str = ""
    """``answered``, ``answered_elsewhere``, ``missed``, ``declined``, ``busy``, ``caller_gone``, ``never_reached``."""
    why: str = ""
    """Of ``busy`` and ``never_reached``: the cause."""
    rang_ms: int = 0


class CallRecord(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One call attempt.  Its key is ``call_ref``, a leg's is ``call_ref`` with ``leg``: writing twice is
    writing once.
    """

    call_ref: str
    direction: str = ""
    """``incoming``, ``outgoing``, ``internal``."""
    node: str = ""
    config_version: int = 0
    """Revision of the provisioning that the call was decided with."""
    started_ms: int = 0
    ringing_ms: int = 0
    """First 18x towards the caller."""
    answered_ms: int = 0
    ended_ms: int = 0
    account: str = ""
    user: str = ""
    """The user whose call it is: the holder of ``number``."""
    number: str = ""
    """The cloud number that the call came to or was made with, E.164."""
    caller: str = ""
    """Calling number, E.164; empty when it could not be read or was withheld from us."""
    caller_presented: str = ""
    """What the called side was shown: a number, a name, or ``anonymous``."""
    caller_hidden: bool = False
    dialled: str = ""
    """What the caller dialled, letter by letter."""
    called: str = ""
    """The same as E.164; empty when it could not be read."""
    original_called: str = ""
    """Number that was called before any forwarding, E.164 (RFC 5806, RFC 7044)."""
    diversions: tuple[str, ...] = ()
    """Numbers that forwarded the call, the latest first."""
    destination: str = ""
    """Number or AOR that was reached, or tried last."""
    trunk: str = ""
    """Trunk that the call came from or went to; empty for internal calls."""
    gateway_number: str = ""
    """Number that the SIM called, or that called it, E.164; empty: the call has nothing to do with one."""
    device: str = ""
    """Device that called, or that answered."""
    device_class: str = ""
    status: int = 0
    """Final SIP status that the caller got."""
    cause: int = 0
    """ITU-T Q.850 cause."""
    reason: str = ""
    """A word of the closed list (``dialplan.reasons``)."""
    ended_by: str = ""
    """``caller``, ``callee``, or ``server``."""
    trace_id: str = ""
    trace: str = ""
    """The decisions, as JSON."""
    legs: tuple[LegRecord, ...] = ()
    lease: str = ""
    """Lease of the gateway number that the call used up, or id of the callback (OUT-02, OUT-03)."""
    sim: str = ""
    """SIM of that lease, E.164: the party that the gateway number stands between."""
    facts: bytes = b""
    """What its decisions were made of (``dialplan.stored``); empty: not kept, or not any more."""
    offers: tuple[OfferRecord, ...] = ()
    """What became of each device that the call was for."""

    @property
    def duration_ms(self) -> int:
        """From the INVITE to the end."""
        return max(self.ended_ms - self.started_ms, 0)

    @property
    def billable_seconds(self) -> int:
        """Seconds since the answer, each begun one counted; 0 when nobody answered."""
        return -(-max(self.ended_ms - self.answered_ms, 0) // 1000) if self.answered_ms else 0
