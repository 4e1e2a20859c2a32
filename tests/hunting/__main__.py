"""``python -m tests.hunting``: hunts of small cases against the specification, many more than the tests play.

Shared out over the cores; ends with exit code 1 at the first disagreement of each.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from itertools import islice

from tests.hunting.explore import Explorer
from tests.hunting.suites import FULL
from tests.hunting.world import Disagreement


def _play(job: tuple[str, int, int]) -> tuple[str, int, int, str]:
    name, index, count = job
    suite = FULL[name]
    explorer = Explorer(suite.make)
    try:
        explorer.explore_all(islice(suite.cases(), index, None, count), suite.leaves)
    except Disagreement as error:
        return name, explorer.cases, explorer.runs, str(error)
    return name, explorer.cases, explorer.runs, ""


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.hunting", description=__doc__)
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=f"of {', '.join(FULL)}; all by default")
    parser.add_argument("--cores", type=int, default=multiprocessing.cpu_count())
    chosen = parser.parse_args(arguments)
    began = time.monotonic()
    pieces = chosen.cores * 8
    jobs = [(name, index, pieces) for name in chosen.suites or FULL for index in range(pieces)]
    cases: dict[str, int] = {}
    runs: dict[str, int] = {}
    wrong = ""
    with multiprocessing.Pool(chosen.cores) as pool:
        for name, some_cases, some_runs, error in pool.imap_unordered(_play, jobs):
            cases[name] = cases.get(name, 0) + some_cases
            runs[name] = runs.get(name, 0) + some_runs
            wrong = wrong or error
            if error:
                print(f"{name}: {error}\n", flush=True)
    for name, count in cases.items():
        print(f"{name:20} {count:9} cases {runs[name]:9} runs")
    print(f"{sum(cases.values())} cases, {sum(runs.values())} runs in {time.monotonic() - began:.0f} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
