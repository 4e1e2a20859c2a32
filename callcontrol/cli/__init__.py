"""The command ``cloudline``: runs a node, asks a running one, brings the provisioning up to date.

Exit codes: 0 done; 1 refused or failed, with the reason on standard error; 2 wrong usage.
"""

from callcontrol.cli.commands import main

__all__ = ["main"]
