"""The optional compile step; everything else about the package is in ``pyproject.toml``.

``CLOUDLINE_COMPILE=1 python setup.py build_ext --inplace`` (``make compile``) compiles the pure core,
``callcontrol/sip`` and ``callcontrol/b2bua``, and the synchronous way of a call around it, with mypyc as one
group, from the same sources that otherwise run interpreted.
"""

import os
from pathlib import Path

from setuptools import setup

CORE = ("callcontrol/sip", "callcontrol/b2bua")
AROUND = (
    *(
        "call_index",
        "call_stats",
        "call_store",
        "callers",
        "core",
        "dialled",
        "gather",
        "ids",
        "intake",
        "ladder",
        "opening",
        "live_facts",
        "ports",
    ),
    *("runner", "strays", "trunking", "waiting_room", "wire"),
)
DECIDING = ("evaluate", "gateways", "incoming", "outgoing", "trace")


def core_modules() -> list[str]:
    """Source files of the compiled group; the packages' ``__init__`` stay interpreted."""
    files = [path for folder in CORE for path in sorted(Path(folder).glob("*.py"))]
    files += [Path("callcontrol", f"{name}.py") for name in AROUND]
    files += [Path("dialplan", f"{name}.py") for name in DECIDING]
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
