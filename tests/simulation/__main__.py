"""``python -m tests.simulation --seed 7``: play one seed; ``--seeds 1..100`` many; ``--forever`` until one fails."""

from __future__ import annotations

import argparse
import secrets
import sys
import time
from collections.abc import Iterator
from itertools import count

from tests.simulation.report import Fault
from tests.simulation.simulation import Simulation
from tests.simulation.smaller import Run, smaller


class Sum:
    """What all seeds took together."""

    def __init__(self) -> None:
        self.seeds = 0
        self.failed = 0
        self.hours = 0.0
        self.spent = 0.0

    def line(self) -> str:
        rate = self.hours / (self.spent / 60) if self.spent else 0.0
        return (
            f"{self.failed} of {self.seeds} seeds failed; {self.hours:.1f} h of traffic in {self.spent:.0f} s of CPU: "
            f"{rate:.1f} h per CPU minute"
        )


def main(arguments: list[str]) -> int:
    """Exit code 1 when a seed failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seeds", default="", help="A..B: play all of these, report each that fails")
    parser.add_argument(
        "--forever", action="store_true", help="ever new seeds; stops at the first that fails"
    )
    parser.add_argument("--hours", type=float, default=0.1, help="virtual hours of traffic per seed")
    parser.add_argument("--steps", action="store_true", help="print everything that a party hears")
    parser.add_argument("--ignore", action="append", default=[], help="go on after faults of this name")
    parser.add_argument("--crashes", choices=("yes", "no"), help="instead of what the seed says")
    parser.add_argument(
        "--mood", action="append", default=[], help="NAME=NUMBER, instead of what the seed says"
    )
    parser.add_argument("--shrink", action="store_true", help="look for the smallest run with the same fault")
    chosen = parser.parse_args(arguments)
    seeds = _seeds(chosen)
    total = Sum()
    alone = not chosen.seeds and not chosen.forever
    try:
        for seed in seeds:
            if not _play(seed, chosen, alone, total) and chosen.forever:
                break
    except KeyboardInterrupt:
        print()
    if not alone:
        print(total.line())
    return 1 if total.failed else 0


def _seeds(chosen: argparse.Namespace) -> Iterator[int]:
    if chosen.forever:
        return count(secrets.randbelow(10**9))
    first, _, last = (chosen.seeds or str(chosen.seed)).partition("..")
    return iter(range(int(first), int(last or first) + 1))


def _number(text: str) -> float:
    return int(text) if text.isdigit() else float(text)


def _play(seed: int, chosen: argparse.Namespace, alone: bool, total: Sum) -> bool:
    began = time.process_time()
    mood = {name: _number(value) for name, _, value in (each.partition("=") for each in chosen.mood)}
    crashes = None if chosen.crashes is None else chosen.crashes == "yes"
    run = Simulation(
        seed, chosen.hours, steps=chosen.steps, ignore=frozenset(chosen.ignore), crashes=crashes, mood=mood
    )
    fault: Fault | None = None
    try:
        run.play()
    except Fault as error:
        fault = error
    spent = time.process_time() - began
    total.seeds += 1
    total.hours += run.clock.now / 3600
    total.spent += spent
    total.failed += fault is not None
    print(_summary(seed, run, fault, spent), flush=True)
    if run.faults:
        print(f"  ignored: {run.faults}")
    if alone or (chosen.forever and fault is not None):
        print(f"  {run.mood}")
        for what, times in sorted(run.tally.counts.items()):
            print(f"  {times:7} {what}")
        for what, times in sorted(run.server.unexpected.items()):
            print(f"  {times:7} unexpected: {what}")
        if fault is not None:
            print(fault)
    if fault is not None and (chosen.shrink or chosen.forever):
        found = smaller(Run(seed, chosen.hours, run.mood.crashes, mood), fault.name)
        print(f"the smallest run that was found with this fault:\n  {found.command()}", flush=True)
    return fault is None


def _summary(seed: int, run: Simulation, fault: Fault | None, spent: float) -> str:
    rate = run.clock.now / 60 / spent if spent else 0.0
    outcome = (
        "ok" if fault is None else f"FAILED: {fault.name}: {fault.detail.strip().splitlines()[-1][:160]}"
    )
    return (
        f"seed {seed}: {run.clock.now / 3600:.2f} h, {len(run.server.outbox.records)} calls, "
        f"{run.network.sent} messages ({run.network.lost} lost), {run.server.deaths} crashes, {spent:.1f} s CPU "
        f"({rate:.2f} virtual h per CPU minute), trace {run.trace:012x}: {outcome}"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
