"""A process that puts call records into a journal until it is killed; run by ``test_crash.py``.

It says on its output which records are safe: a record's number is written once the flush after it has
returned.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from callcontrol.cdr.outbox import JournalOutbox
from tests.support.call_records import call


def main(folder: str, first: int) -> None:
    outbox = JournalOutbox(Path(folder), schedule=lambda flush: None, segment_bytes=20_000)
    index = first
    while True:
        start = index
        # Writes of different sizes, as the turns of a loop give them.
        for _ in range(1 + index % 7):
            outbox.put(call(index))
            index += 1
        os.write(1, f"put {index}\n".encode())
        outbox.flush()
        os.write(1, f"safe {index}\n".encode())
        if index % 5 == 0:
            # The exporter's part, so that segments are deleted while others are written.
            batch = outbox.take(3)
            os.write(1, b"".join(f"sent {record.call_ref}\n".encode() for record in batch.records))
            outbox.acknowledge(batch)
        if index - start > 1_000_000:
            return


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
