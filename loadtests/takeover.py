"""``python -m loadtests.takeover``: a node is killed under a thousand calls behind Kamailio, and what became of them.

It is the end-to-end test with other numbers; the figures are those that the test prints.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

TEST = "tests/e2e/test_kamailio.py::test_a_node_is_killed_under_calls"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m loadtests.takeover", description=__doc__)
    parser.add_argument("--up", type=int, default=1000, help="calls that are up")
    parser.add_argument("--ringing", type=int, default=50, help="calls that ring")
    options = parser.parse_args()
    environment = {
        **os.environ,
        "CLOUDLINE_CALLS_UP": str(options.up),
        "CLOUDLINE_CALLS_RINGING": str(options.ringing),
    }
    command = [sys.executable, "-m", "pytest", "-q", "-s", "--timeout=0", TEST]
    return subprocess.run(command, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
