"""Names of the keys in Redis, each with its owner and its end.

- ``cl:call:<ref>``: epoch (10 digits), owner and snapshot of a call, written by that owner; goes with the call, at the latest
  ``state.keep_seconds`` after its last save.
- ``cl:{calls}:<node>``: set of the references of a node's calls, written by that node and by whoever takes them over.
- ``cl:{nodes}``: sorted set, node -> when its lease lapses (ms by the clock of Redis); goes once its calls have been taken.
- ``cl:{nodes}:<node>``: the process that is the node; goes a day after its last sign of life.
- ``cl:binding:<aor>:<hash>``: one registered contact, written by the node that took the REGISTER; goes with the
  registration.
- ``cl:{log}``: stream of the steps that all nodes do on their tables; trimmed to what those who start may need.
- ``cl:{log}:copy``: the tables as they were after a number of steps, left by any node.
- ``cl:secret``: what identifiers and nonces are made with where ``registrar.secret`` is not set, written by the first node;
  stays.

Braces say which keys a Redis Cluster must keep together.
"""

from __future__ import annotations

from hashlib import blake2s
from typing import Final

NODES: Final = "cl:{nodes}"
LOG: Final = "cl:{log}"
LOG_COPY: Final = "cl:{log}:copy"
SECRET: Final = "cl:secret"
BINDINGS: Final = "cl:binding:"


def call(ref: str) -> str:
    return f"cl:call:{ref}"


def calls_of(node: str) -> str:
    return f"cl:{{calls}}:{node}"


def node(name: str) -> str:
    return f"{NODES}:{name}"


def binding(aor: str, key: str) -> str:
    """A key of a binding may be long, and holds push tokens, which are secrets: it is hashed."""
    return f"{BINDINGS}{aor}:{blake2s(key.encode(), digest_size=10).hexdigest()}"
