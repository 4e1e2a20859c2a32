"""The phases of a call, in the order in which they can follow each other."""

from typing import Final

NEW: Final = 0
RINGING: Final = 1
"""Looking for an answer."""
TALKING: Final = 2
"""Two parties are in dialogs with us; a transfer happens within it."""
ENDED: Final = 3
"""The outcome is known and recorded; legs may still be closing."""

PHASE_NAMES: Final = ("new", "ringing", "talking", "ended")
