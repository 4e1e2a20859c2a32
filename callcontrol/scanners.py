"""Scanners that say who they are: names in User-Agent, looked for in raw messages before anything is parsed (OPS-05)."""

from __future__ import annotations

from typing import Final

SCANNERS: Final[tuple[str, ...]] = (
    "friendly-scanner",
    "friendly-request",
    "sipvicious",
    "sundayddr",
    "sipcli",
    "pplsip",
    "vaxsipuseragent",
    "vaxipuseragent",
    "sipsscuser",
    "sip-scan",
    "sipscan",
    "siparmyknife",
)
"""Names by which scanners announce themselves in User-Agent, lower case; matched anywhere in the value."""

_HEADERS: Final = (b"\nUser-Agent", b"\nuser-agent", b"\nUSER-AGENT")
"""As they write it.  Whoever spells it oddly on purpose would use another name, too."""
_WITHIN: Final = frozenset(b"ABC")
"""First letters of ACK, BYE and CANCEL: half of all messages, which begin nothing."""
_LOOKED_AT: Final = 2048
_MAX_KNOWN: Final = 4096


class ScannerNames:
    """Finds the names; remembers what it has found in which line, since all phones of a kind write the same."""

    __slots__ = ("_known", "_names")

    def __init__(self, names: tuple[str, ...]) -> None:
        """``names``: in lower case; matched anywhere in the value."""
        self._names = names
        self._known: dict[bytes, str] = {}

    def named_in(self, data: bytes) -> str:
        """The scanner that a raw request names; "" for none, and for what begins nothing."""
        if not data or data[0] in _WITHIN or data.startswith(b"SIP/"):
            return ""
        at = -1
        for header in _HEADERS:
            at = data.find(header, 0, _LOOKED_AT)
            if at >= 0:
                break
        if at < 0 or data.find(b"\r\n\r\n", 0, at) >= 0:
            return ""  # what a body quotes is nobody's name
        line = data[at + 11 : data.find(b"\n", at + 1)][:200]
        name = self._known.get(line)
        if name is None:
            lowered = line.lower().decode("latin-1")
            name = next((scanner for scanner in self._names if scanner in lowered), "")
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            self._known[line] = name
        return name
