"""Sockets, connections and DNS around the sans-I/O endpoint; see README.md."""

from callcontrol.transport.bounds import StreamBounds
from callcontrol.transport.counters import Counters, LagMeter
from callcontrol.transport.dns_cache import DnsBounds, DnsCache, DnsClient, DnsPython, read_hosts
from callcontrol.transport.driver import Driver
from callcontrol.transport.listening import parse_listen
from callcontrol.transport.loop import loop_factory, run
from callcontrol.transport.ports import Clock, Gate, OpenGate, SipEndpoint
from callcontrol.transport.resolver import Located, Resolver
from callcontrol.transport.streams import ConnectionRow
from callcontrol.transport.tls import TlsContexts, TlsError, TlsFiles
from callcontrol.transport.websocket import WebSocketPolicy

__all__ = [
    "Clock",
    "ConnectionRow",
    "Counters",
    "DnsBounds",
    "DnsCache",
    "DnsClient",
    "DnsPython",
    "Driver",
    "Gate",
    "LagMeter",
    "Located",
    "OpenGate",
    "Resolver",
    "SipEndpoint",
    "StreamBounds",
    "TlsContexts",
    "TlsError",
    "TlsFiles",
    "WebSocketPolicy",
    "loop_factory",
    "parse_listen",
    "read_hosts",
    "run",
]
