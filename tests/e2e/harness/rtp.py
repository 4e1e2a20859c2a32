"""The media of a carrier: whatever RTP comes is sent back, and counted."""

from __future__ import annotations

import contextlib
import socket
import threading


class RtpEcho:
    """A UDP port that echoes.  What a phone hears from it shows that media passes in both directions."""

    def __init__(self, host: str) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((host, 0))
        self._socket.settimeout(0.2)
        self.port = int(self._socket.getsockname()[1])
        self.packets = 0
        self._open = True
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while self._open:
            try:
                data, sender = self._socket.recvfrom(4096)
            except TimeoutError:
                continue
            except OSError:
                return
            if len(data) >= 12 and data[0] >> 6 == 2:  # version 2, RFC 3550 section 5.1
                self.packets += 1
                with contextlib.suppress(OSError):  # the phone has closed its port
                    self._socket.sendto(data, sender)

    def close(self) -> None:
        self._open = False
        self._thread.join(1)
        self._socket.close()
