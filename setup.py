"""The optional compile step; everything else about the package is in ``pyproject.toml``.

``CLOUDLINE_COMPILE=1 python setup.py build_ext --inplace`` (``make compile``) compiles the pure core,
``callcontrol/sip`` and ``callcontrol/b2bua``, and the synchronous way of a message and a call around it, from
the sockets to the dialplan, with mypyc as one group, from the same sources that otherwise run interpreted.
"""

import os
from pathlib import Path

from setuptools import setup

CORE = ("callcontrol/sip", "callcontrol/b2bua")
AROUND = {
    "callcontrol": """asked_trunk auth bindings call_deadlines call_index call_log call_search call_stats call_store callers
        capabilities core defects dialled gather gather_callee histogram ids intake ladder
        limits live_facts lookups newcomers occupancy occupants opening performing ports
        registrar registration runner running_calls saving scanners strays system_clock
        trunk_legs trunking waiting_room wire""",
    "callcontrol/live": "calls connection keys tables",
    "callcontrol/transport": "counters driver poller shared udp",
    "dialplan": """evaluate facts forwarded forwarding gateways greeting hours incoming outgoing plan screening states
        stored trace""",
    "gateway": "capacity gateway_numbers routes trunk",
    "numbering": "classes directory e164 plans",
}
"""What is passed on the way of a message or a call, by folder."""


def core_modules() -> list[str]:
    """Source files of the compiled group; the packages' ``__init__`` stay interpreted."""
    files = [path for folder in CORE for path in sorted(Path(folder).glob("*.py"))]
    files += [Path(folder, f"{name}.py") for folder, names in AROUND.items() for name in names.split()]
    return [str(path) for path in files if path.name != "__init__.py"]


def extensions() -> list[object]:
    if os.environ.get("CLOUDLINE_COMPILE") != "1":
        return []
    from mypyc.build import mypycify

    return list(
        mypycify(
            core_modules(),
            opt_level=os.environ.get("CLOUDLINE_COMPILE_OPT", "3"),
            debug_level="1",
            group_name="cloudline_core",
        )
    )


setup(ext_modules=extensions())
