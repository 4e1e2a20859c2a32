"""Names of the keys in Redis, each with its owner and its end.

- ``{cl}:call:<ref>``: epoch (10 digits), owner and snapshot of a call, written by that owner; goes with the call, at the latest
  an hour after the longest call could have ended.  A call that was taken over leaves its epoch alone behind for so long.
- ``{cl}:begun:<hash>``: the call that a request has begun, written with its first save; goes after a minute.
- ``{cl}:calls:<node>``: set of the references of a node's calls, written by that node and by whoever takes them over.
- ``{cl}:moved:<node>``: list of the references of calls that others have fetched from a node that lives, read and emptied by it with
  its sign of life; goes after a minute.
- ``{cl}:nodes``: sorted set, node -> when its lease lapses (ms by the clock of Redis); goes once its calls have been taken.
- ``{cl}:nodes:<node>``: the process that is the node; goes a day after its last sign of life.
- ``{cl}:addresses``: hash, node -> ``host:port`` where other nodes reach it, written by that node; goes with its lease.
- ``{cl}:binding:<aor>:<hash>``: time of the REGISTER (ms, 13 digits), node that took it, and the contact; goes with the
  registration.
- ``{cl}:bindings``: stream of changes of registrations, read by all nodes; the oldest are dropped.
- ``{cl}:log``: stream of the steps that all nodes do on their tables; trimmed to what those who start may need.
- ``{cl}:log:copy``: the tables as they were after a number of steps, left by any node.
- ``{cl}:register``: the process that registers with the carriers for all; goes ``state.lease_seconds`` after its last sign of life.
- ``{cl}:registered``: what that process has registered, written by it every second; goes a week after the last time.
- ``{cl}:secret``: what identifiers and nonces are made with where ``registrar.secret`` is not set, written by the first node;
  stays.

The braces keep all keys of a deployment together on one master of a Redis Cluster: scripts touch several of them, and one
connection is all that a node needs.
"""

from __future__ import annotations

from hashlib import blake2s
from typing import Final

TAG: Final = "{cl}"
"""What a Redis Cluster finds the place of all keys by."""
NODES: Final = f"{TAG}:nodes"
ADDRESSES: Final = f"{TAG}:addresses"
LOG: Final = f"{TAG}:log"
LOG_COPY: Final = f"{TAG}:log:copy"
SECRET: Final = f"{TAG}:secret"
REGISTER_DUTY: Final = f"{TAG}:register"
REGISTERED: Final = f"{TAG}:registered"
BINDINGS: Final = f"{TAG}:binding:"
BINDING_CHANGES: Final = f"{TAG}:bindings"


def call(ref: str) -> str:
    return f"{TAG}:call:{ref}"


def begun(request: str) -> str:
    """What a stranger has chosen is of any length, and hashed."""
    return f"{TAG}:begun:{blake2s(request.encode('utf-8', 'surrogateescape'), digest_size=12).hexdigest()}"


def calls_of(node: str) -> str:
    return f"{TAG}:calls:{node}"


def moved(node: str) -> str:
    return f"{TAG}:moved:{node}"


def node(name: str) -> str:
    return f"{NODES}:{name}"


def binding(aor: str, key: str) -> str:
    """A key of a binding may be long, and holds push tokens, which are secrets: it is hashed."""
    return f"{BINDINGS}{aor}:{blake2s(key.encode(), digest_size=10).hexdigest()}"
