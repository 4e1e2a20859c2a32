"""What happens to a finished call besides its record: one line in the log."""

from __future__ import annotations

from callcontrol.cdr import CallRecord
from callcontrol.logs import CallLog
from callcontrol.ports import RecordSink
from dialplan import reasons


class LoggedOutbox:
    """Hands records to the outbox and writes the one log line of a finished call."""

    def __init__(self, outbox: RecordSink, log: CallLog) -> None:
        self._outbox = outbox
        self._log = log

    def put(self, record: CallRecord) -> None:
        self._outbox.put(record)
        self._log.finished(
            record.call_ref,
            ended_at=record.ended_ms / 1000,
            direction=record.direction,
            caller=record.caller_presented if record.caller_hidden else record.caller,
            called=record.called or record.dialled,
            result="answered" if record.answered_ms else "failed",
            reason=record.reason,
            status=record.status,
            duration_s=record.duration_ms / 1000,
            trunk=record.trunk,
            urgent=record.reason == reasons.EMERGENCY,  # always logged (OUT-05)
        )
