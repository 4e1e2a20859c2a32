"""``python -m tests.simulation --seed 7``: play one seed, or ``--seeds 1..100`` for many."""

from __future__ import annotations

import argparse
import sys
import time

from tests.simulation.report import Fault
from tests.simulation.simulation import Simulation


def main(arguments: list[str]) -> int:
    """Exit code 1 when a seed failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seeds", default="", help="A..B: play all of these, report each that fails")
    parser.add_argument("--hours", type=float, default=0.1, help="virtual hours of traffic per seed")
    parser.add_argument("--steps", action="store_true", help="print everything that a party hears")
    parser.add_argument("--ignore", action="append", default=[], help="go on after faults of this name")
    parser.add_argument("--crashes", choices=("yes", "no"), help="instead of what the seed says")
    parser.add_argument(
        "--mood", action="append", default=[], help="NAME=NUMBER, instead of what the seed says"
    )
    chosen = parser.parse_args(arguments)
    first, _, last = chosen.seeds.partition("..")
    seeds = range(int(first), int(last or first) + 1) if first else range(chosen.seed, chosen.seed + 1)
    failed = 0
    for seed in seeds:
        failed += not _play(seed, chosen, brief=len(seeds) > 1)
    if len(seeds) > 1:
        print(f"{failed} of {len(seeds)} seeds failed")
    return 1 if failed else 0


def _number(text: str) -> float:
    return int(text) if text.isdigit() else float(text)


def _play(seed: int, chosen: argparse.Namespace, brief: bool) -> bool:
    began = time.process_time()
    crashes = None if chosen.crashes is None else chosen.crashes == "yes"
    mood = {name: _number(value) for name, _, value in (each.partition("=") for each in chosen.mood)}
    run = Simulation(
        seed, chosen.hours, steps=chosen.steps, ignore=frozenset(chosen.ignore), crashes=crashes, mood=mood
    )
    fault: Fault | None = None
    try:
        run.play()
    except Fault as error:
        fault = error
    spent = time.process_time() - began
    records = len(run.server.outbox.records)
    rate = run.clock.now / 60 / spent if spent else 0.0
    outcome = (
        "ok" if fault is None else f"FAILED: {fault.name}: {fault.detail.strip().splitlines()[-1][:160]}"
    )
    print(
        f"seed {seed}: {run.clock.now / 3600:.2f} h, {records} calls, {run.network.sent} messages "
        f"({run.network.lost} lost), {run.server.deaths} crashes, {spent:.1f} s CPU "
        f"({rate:.2f} virtual h per CPU minute), trace {run.trace:012x}: {outcome}",
        flush=True,
    )
    if run.faults:
        print(f"  ignored: {run.faults}")
    if not brief:
        print(f"  {run.mood}")
        for what, count in sorted(run.tally.counts.items()):
            print(f"  {count:7} {what}")
        for what, count in sorted(run.server.unexpected.items()):
            print(f"  {count:7} unexpected: {what}")
        if fault is not None:
            print(fault)
    return fault is None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
