"""``python -m callcontrol.cli``: the same as the console script ``cloudline``."""

import sys

from callcontrol.cli import main

if __name__ == "__main__":
    sys.exit(main())
