"""Call records for tests: complete ones, told apart by a number."""

from __future__ import annotations

from callcontrol.cdr import CallRecord, LegRecord

START_MS = 1_790_000_000_000


def call(index: int, **changes: object) -> CallRecord:
    """An answered call that came over a trunk; the ``index``-th second of the day it ended."""
    start = START_MS + index * 1000
    caller = LegRecord(
        leg="a",
        role="caller",
        call_id=f"a{index}@192.0.2.1",
        number="+33199001234",
        trunk="carrier-a",
        device_class="trunk",
        peer="sip:192.0.2.1:5080",
        transport="udp",
        address="192.0.2.1:5080",
        started_ms=start,
        ringing_ms=start + 100,
        answered_ms=start + 2000,
        ended_ms=start + 62_001,
        status=200,
        cause=16,
        ended_by="caller",
    )
    callee = LegRecord(
        leg="b1",
        role="callee",
        call_id=f"b{index}@192.0.2.9",
        number="+33639981001",
        user="ana",
        device="ana-phone",
        device_class="phone",
        transport="tls",
        address="192.0.2.77:40123",
        user_agent="Phone/1",
        started_ms=start + 10,
        ringing_ms=start + 90,
        answered_ms=start + 1990,
        ended_ms=start + 62_000,
        status=200,
        cause=16,
        ended_by="caller",
    )
    values: dict[str, object] = {
        "call_ref": f"call-{index}",
        "direction": "incoming",
        "node": "node-1",
        "config_version": 7,
        "started_ms": start,
        "ringing_ms": start + 100,
        "answered_ms": start + 2000,
        "ended_ms": start + 62_001,
        "account": "acme",
        "user": "ana",
        "number": "+33639981001",
        "caller": "+33199001234",
        "caller_presented": "+33199001234",
        "caller_hidden": False,
        "dialled": "0639981001",
        "called": "+33639981001",
        "original_called": "+33639981009",
        "diversions": ("+33639981009", "+33639981008"),
        "destination": "sip:ana-phone@cloudline.example",
        "trunk": "carrier-a",
        "device": "ana-phone",
        "device_class": "phone",
        "status": 200,
        "cause": 16,
        "reason": "",
        "ended_by": "caller",
        "trace_id": f"t{index}",
        "trace": '[{"rule":"INC-05","outcome":"ring"}]',
        "legs": (caller, callee),
    }
    return CallRecord(**{**values, **changes})  # type: ignore[arg-type]
