"""Which files are begun first when tests are shared out: the long ones, so that at the end no process is alone with one."""

from __future__ import annotations

from typing import Final

LONGEST: Final = (
    "tests/e2e/test_workers.py",
    "tests/e2e/test_kamailio.py",
    "tests/e2e/test_push.py",
    "tests/e2e/test_restart.py",
    "tests/e2e/test_failover.py",
    "tests/e2e/test_takeover.py",
    "tests/e2e/test_outgoing_rules.py",
    "tests/e2e/test_demo.py",
    "tests/e2e/test_explain.py",
    "tests/e2e/test_greeting.py",
    "tests/e2e/test_neighbours.py",
    "tests/e2e/test_forwarding.py",
    "tests/e2e/test_hostile.py",
    "tests/e2e/test_trunks.py",
    "tests/e2e/test_midcall.py",
    "tests/e2e/test_carrier_duty.py",
    "tests/scenarios/test_crashes.py",
    "tests/simulation/test_bugs.py",
    "tests/scenarios/test_memory.py",
    "tests/properties/test_call_total.py",
    "tests/simulation/test_simulation.py",
    "tests/hunting/test_exhaustive.py",
    "tests/loadtests/test_figures.py",
    "tests/loadtests/test_leases.py",
    "tests/architecture/test_files.py",
    "tests/cdr/test_chain.py",
    "tests/callcontrol/test_cli_numbers.py",
    "tests/explaining/test_stored_calls.py",
    "tests/explaining/test_commands.py",
    "tests/api/test_objects.py",
    "tests/api/test_tariffs.py",
    "tests/api/test_incoming.py",
    "tests/api/test_tokens.py",
    "tests/api/test_explain.py",
)
"""By how long they take on two cores, the longest first; `make test` says at its end what was slow."""


def rank(file: str) -> int:
    """Place of a file in the order in which files are begun."""
    return LONGEST.index(file) if file in LONGEST else len(LONGEST)
