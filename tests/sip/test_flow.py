"""Flows, listeners, clocks."""

import pytest

from callcontrol.sip.clock import Monotonic, UnixTime, later
from callcontrol.sip.flow import Flow, Listener, Listeners

FLOWS = [
    Flow("udp", "192.0.2.1", 5060, "udp:127.0.0.1:5060"),
    Flow("tcp", "2001:db8::1", 40000, "tcp:[::1]:5060", 17),
    Flow("wss", "198.51.100.3", 1, "", 3),
]


@pytest.mark.parametrize("flow", FLOWS)
def test_flow_is_a_value_that_can_be_stored(flow: Flow) -> None:
    loaded = Flow.load(flow.dump())
    assert loaded == flow
    assert hash(loaded) == hash(flow)
    assert (loaded.reliable, loaded.secure, loaded.key) == (flow.reliable, flow.secure, flow.key)
    assert repr(flow.dump()) in repr(flow)


@pytest.mark.parametrize("text", ["", "udp|1.2.3.4", "sctp|1.2.3.4|5060|0|", "udp|h|port|0|l", "udp|h|1|x|l"])
def test_what_is_not_a_flow_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        Flow.load(text)


def test_flows_differ_by_every_part() -> None:
    base = ("tcp", "192.0.2.1", 5060, "l", 1)
    variants = [
        ("tls", *base[1:]),
        ("tcp", "192.0.2.2", *base[2:]),
        (*base[:2], 5061, *base[3:]),
        (*base[:3], "m", 1),
        (*base[:4], 2),
    ]
    assert len({Flow(*base), *(Flow(*v) for v in variants)}) == 6
    assert Flow("udp", "192.0.2.1", 5060) != "udp|192.0.2.1|5060|0|"


def test_key_names_the_connection_or_the_peer() -> None:
    assert Flow("tcp", "192.0.2.1", 5060, "x", 9).key == "#9"
    assert Flow("tcp", "192.0.2.1", 5060, "x").key == Flow("tcp", "192.0.2.1", 5060, "y").key
    assert Flow("udp", "2001:db8::1", 5060).key == "udp:[2001:db8::1]:5060"


@pytest.mark.parametrize(
    ("transport", "reliable", "secure"),
    [
        ("udp", False, False),
        ("tcp", True, False),
        ("tls", True, True),
        ("ws", True, False),
        ("wss", True, True),
    ],
)
def test_transports(transport: str, reliable: bool, secure: bool) -> None:
    flow = Flow(transport, "192.0.2.1", 5060)
    assert (flow.reliable, flow.secure) == (reliable, secure)


def test_listener_names_itself_in_via() -> None:
    plain = Listener("udp:a", "udp", "192.0.2.1", 5060)
    assert plain.via == "Via: SIP/2.0/UDP 192.0.2.1:5060;branch="
    six = Listener("tls:b", "tls", "::", 5061, "2001:DB8::5", 443)
    assert six.sent_by == "[2001:DB8::5]:443"
    assert six.via == "Via: SIP/2.0/TLS [2001:DB8::5]:443;branch="
    assert "tls:b" in repr(six)
    with pytest.raises(ValueError, match="sctp"):
        Listener("x", "sctp", "192.0.2.1", 5060)


def listeners(*specs: tuple[str, str]) -> Listeners:
    made = Listeners()
    for transport, host in specs:
        made.add(Listener(f"{transport}:{host}", transport, host, 5060))
    return made


@pytest.mark.parametrize(
    ("remote", "transport", "chosen"),
    [
        ("198.51.100.9", "udp", "udp:192.0.2.1"),
        ("127.0.0.1", "udp", "udp:127.0.0.1"),
        ("127.0.0.9", "udp", "udp:127.0.0.1"),
        ("192.0.2.1", "udp", "udp:192.0.2.1"),
        ("198.51.100.9", "tcp", "tcp:0.0.0.0"),
        ("127.0.0.1", "tcp", "tcp:0.0.0.0"),
        ("2001:db8::1", "udp", "udp:::"),
        ("2001:db8::1", "tcp", None),
        ("198.51.100.9", "tls", None),
    ],
)
def test_pick_takes_family_transport_and_a_way_out(remote: str, transport: str, chosen: str | None) -> None:
    made = listeners(
        ("udp", "127.0.0.1"), ("udp", "192.0.2.1"), ("udp", "::"), ("tcp", "0.0.0.0"), ("ws", "127.0.0.1")
    )
    picked = made.pick(transport, remote)
    assert (picked.name if picked else None) == chosen


def test_only_a_poor_listener_is_better_than_none() -> None:
    assert listeners(("udp", "127.0.0.1")).pick("udp", "198.51.100.9") is not None


def test_listeners_by_name() -> None:
    made = listeners(("udp", "127.0.0.1"), ("tcp", "127.0.0.1"))
    assert [listener.name for listener in made.all()] == ["udp:127.0.0.1", "tcp:127.0.0.1"]
    made.remove("udp:127.0.0.1")
    made.remove("udp:127.0.0.1")
    assert made.get("udp:127.0.0.1") is None
    assert made.get("tcp:127.0.0.1") is not None


def test_clocks_stay_apart_and_advance() -> None:
    assert later(Monotonic(1.0), 0.5) == 1.5
    assert later(UnixTime(1_900_000_000.0), 60) == 1_900_000_060.0
