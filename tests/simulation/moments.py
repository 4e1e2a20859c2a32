"""Instants and grains of time that all parts of the simulation share."""

from __future__ import annotations

from typing import Final

START: Final = 1_800_000_000.0
"""Unix time at which every run begins."""
TICK: Final = 0.02
"""The driver looks at timers this often."""
SKEW_S: Final = 0.5
"""By how much the wall clocks of processes may be wrong."""
