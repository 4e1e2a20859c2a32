"""Fuzzes everything that reads SIP; the invariant is `tests.fuzz.invariant`.

    python tests/fuzz/fuzz_parser.py                      until it finds something or is stopped
    python tests/fuzz/fuzz_parser.py -atheris_runs=10000  bounded; libFuzzer's other options work too
    python tests/fuzz/fuzz_parser.py -seeded_runs=10000 -seed=1
    python tests/fuzz/fuzz_parser.py FILE...              single inputs again

Coverage-guided with atheris where that is installed; else, or with ``-seeded_runs``, seeded mutations of the corpus.
Finds are left in the current folder, inputs worth keeping in ``build/fuzz``.
"""

from __future__ import annotations

import os
import random
import sys
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def run_seeded(runs: int, seed: int) -> None:
    """Mutated corpus messages, the same for the same seed; ``runs`` below 0: without end."""
    from tests.fuzz.invariant import corpus, mutate, one_input

    dice = random.Random(seed)
    seeds = corpus()
    count = 0
    while runs < 0 or count < runs:
        data = mutate(dice.choice(seeds), dice)
        try:
            one_input(data)
        except BaseException:
            print(f"run {count} of seed {seed}: {data!r}", file=sys.stderr)
            raise
        count += 1


def run_guided(arguments: list[str]) -> None:
    """libFuzzer with our modules instrumented; never returns."""
    import atheris  # type: ignore[import-untyped]

    with atheris.instrument_imports(include=["callcontrol.sip"]):
        from tests.fuzz.invariant import one_input
    scratch = ROOT / "build" / "fuzz"
    scratch.mkdir(parents=True, exist_ok=True)
    seeds = [str(ROOT / "tests" / "corpus" / name) for name in ("devices", "rfc4475", "rfc5118")]
    atheris.Setup([sys.argv[0], *arguments, str(scratch), *seeds], one_input)
    atheris.Fuzz()


def main(arguments: list[str]) -> None:
    """See the module's docstring."""
    sys.path.insert(0, str(ROOT))
    options = dict(one[1:].split("=", 1) for one in arguments if one.startswith("-") and "=" in one)
    files = [one for one in arguments if not one.startswith("-")]
    if files:
        from tests.fuzz.invariant import one_input

        for name in files:
            one_input(Path(name).read_bytes())
    elif "seeded_runs" not in options and find_spec("atheris") is not None:
        run_guided(arguments)
    else:
        run_seeded(int(options.get("seeded_runs", "-1")), int(options.get("seed", str(os.getpid()))))


if __name__ == "__main__":
    main(sys.argv[1:])
