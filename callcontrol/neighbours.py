"""This node among others: where they reach it, and what passes between them for the sake of a phone that hangs on one of them."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2s

from callcontrol.assembly import Signalling
from callcontrol.live.members import NOWHERE, Address, Members, read_address
from callcontrol.live.state import LiveState
from callcontrol.relay import FlowRelay, FlowTokens
from callcontrol.sip.flow import Listener


def join(
    live: LiveState, signalling: Signalling, key: bytes, wanted: str, reaches: Callable[[int], bool]
) -> FlowRelay:
    """Make this node's phones reachable from others and theirs from here.

    ``key``: secret that the nodes share; ``wanted``: ``state.address``; ``reaches``: whether another process of this
    node has a stream connection.
    """
    endpoint, timers = signalling.endpoint, signalling.settings.sip.timers
    tokens = FlowTokens(blake2s(key, person=b"flows").digest())
    listener = next((each for each in endpoint.listeners.all() if each.transport == "udp"), None)
    if listener is not None:
        live.announce(_address(listener, wanted), listener.name)
    live.bindings.tokens = tokens
    live.bindings.on_put = signalling.registrar.heard
    live.bindings.on_removed = signalling.registrar.heard_gone

    def is_open(conn: int) -> bool:
        # a binding over a connection ends with it
        return bool(live.bindings.on_connection(conn)) or reaches(conn)

    relay = FlowRelay(endpoint, tokens, live.members, is_open, t1=timers.t1, t2=timers.t2)
    endpoint.relay = relay.takes
    return relay


def _address(listener: Listener, wanted: str) -> Address:
    """Where the socket is reached, whatever it is called towards phones and carriers."""
    if wanted:
        found = read_address(wanted)
        return found if found != NOWHERE else (wanted.removeprefix("[").removesuffix("]"), listener.port)
    everywhere = listener.host in ("0.0.0.0", "::")
    return (listener.advertise_host if everywhere else listener.host), listener.port


def networks(members: Members) -> list[str]:
    """The addresses of the other nodes, which are no strangers."""
    found: list[str] = []
    for name in members.names():
        address = members.address_of(name)
        if address is not None and address != members.address:
            found.append(f"{address[0]}/{128 if ':' in address[0] else 32}")
    return found
