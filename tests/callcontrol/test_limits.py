"""The gate: rates, scanners, guessers, bans, and whom a forger cannot harm (OPS-05)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callcontrol.limits import (
    AUTH,
    MALFORMED,
    SCANNER,
    UNKNOWN_TARGET,
    Ban,
    Doorkeeper,
    Gate,
    GatePolicy,
    Networks,
    address_key,
)

PHONE = "192.0.2.10"
TRUNK = "198.51.100.7"


def gate(registered: set[str] | None = None, **policy: object) -> Gate:
    live = registered or set()
    return Gate(GatePolicy(**policy), lambda key: key in live)  # type: ignore[arg-type]


def offend(gate: Gate, host: str, now: float, *, proven: bool, times: int = 10) -> None:
    for _ in range(times):
        gate.suspect(host, AUTH, now, proven=proven)


def admitted(gate: Gate, host: str, now: float, tries: int) -> int:
    return sum(gate.admit(host, now) for _ in range(tries))


def options(user_agent: str) -> bytes:
    return f"OPTIONS sip:100@x SIP/2.0\r\nVia: SIP/2.0/UDP y\r\nUser-Agent: {user_agent}\r\n\r\n".encode()


@pytest.mark.rule("OPS-05")
def test_a_burst_passes_and_then_the_rate_holds() -> None:
    g = gate(rate=10.0, burst=50.0)
    assert admitted(g, PHONE, 0.0, 100) == 50
    assert admitted(g, PHONE, 1.0, 100) == 10
    assert g.counters["rate"] == 140
    assert admitted(g, "192.0.2.11", 1.0, 10) == 10, "each address has its own"
    assert admitted(g, PHONE, 1000.0, 100) == 50, "never more than the burst"


@pytest.mark.rule("OPS-05")
def test_a_password_guesser_is_banned_and_comes_back_after_the_ban() -> None:
    g = gate(ban_s=60.0)
    offend(g, PHONE, 0.0, proven=True, times=9)
    assert g.admit(PHONE, 0.0)
    offend(g, PHONE, 0.0, proven=True, times=1)
    assert not g.admit(PHONE, 0.0)
    assert not g.admit(PHONE, 59.9)
    assert g.admit(PHONE, 60.0)
    assert g.counters["banned"] == 2
    assert g.counters["bans"] == 1


def test_suspicions_leak_away() -> None:
    g = gate(window_s=60.0)
    for minute in range(20):
        offend(g, PHONE, minute * 60.0, proven=True, times=9)
        assert g.admit(PHONE, minute * 60.0)
    assert g.list_bans(1200.0) == []


def test_bans_double_up_to_the_cap_and_are_forgotten_after_good_conduct() -> None:
    g = gate(ban_s=60.0, ban_cap_s=200.0, forget_s=1000.0)
    now = 0.0
    lengths = []
    for _ in range(4):
        offend(g, PHONE, now, proven=True)
        [ban] = g.list_bans(now)
        lengths.append(ban.until - ban.since)
        now = ban.until
    assert lengths == [60.0, 120.0, 200.0, 200.0]
    now += 1000.0
    offend(g, PHONE, now, proven=True)
    [ban] = g.list_bans(now)
    assert (ban.until - ban.since, ban.count) == (60.0, 1)


@pytest.mark.parametrize(("kind", "times"), [(UNKNOWN_TARGET, 20), (MALFORMED, 30), (SCANNER, 1)])
def test_each_kind_has_its_threshold(kind: str, times: int) -> None:
    g = gate()
    for _ in range(times - 1):
        g.suspect(PHONE, kind, 0.0, proven=True)
    assert not g.is_banned(PHONE, 0.0)
    g.suspect(PHONE, kind, 0.0, proven=True)
    assert g.is_banned(PHONE, 0.0)
    assert g.list_bans(0.0)[0].reason == kind
    assert g.counters[f"suspicion_{kind}"] == times


@pytest.mark.rule("OPS-05")
@pytest.mark.parametrize(
    "name", ["friendly-scanner", "sipvicious", "sipcli/v1.8", "pplsip", "VaxSIPUserAgent/3.1", "SUNDAYDDR"]
)
def test_scanners_are_dropped_without_an_answer_and_banned(name: str) -> None:
    g = gate()
    assert not g.inspect(options(name), PHONE, 0.0)
    assert not g.admit(PHONE, 0.0)
    assert g.counters["scanner"] == 1
    assert gate().scanner_name(options(name).replace(b"User-Agent", b"USER-AGENT"))


@pytest.mark.parametrize(
    "name", ["Linphone/5.2", "baresip v3.6.0", "PJSUA v2.15 Linux", "sipsak 0.9.8", "CosmApp"]
)
def test_phones_and_tools_of_good_name_are_not_scanners(name: str) -> None:
    g = gate()
    assert g.inspect(options(name), PHONE, 0.0)
    assert g.inspect(b"\r\n\r\n", PHONE, 0.0)
    assert g.inspect(b"X" * 5000 + b"\r\nUser-Agent: sipvicious\r\n", PHONE, 0.0), (
        "only the head is looked at"
    )
    assert g.list_bans(0.0) == []


@pytest.mark.rule("OPS-05")
def test_a_trunk_is_never_limited_whoever_forges_its_address() -> None:
    g = gate(rate=1.0, burst=1.0)
    g.trust(["198.51.100.0/28"])
    for proven in (False, True):
        offend(g, TRUNK, 0.0, proven=proven, times=500)
    assert g.inspect(options("sipvicious"), TRUNK, 0.0)
    assert admitted(g, TRUNK, 0.0, 5000) == 5000
    assert g.list_bans(0.0) == []


@pytest.mark.rule("OPS-05")
def test_a_registered_phone_cannot_be_banned_by_forging_its_address() -> None:
    g = gate({PHONE}, slow_rate=20.0, ban_s=60.0)
    offend(g, PHONE, 0.0, proven=False, times=1000)
    assert not g.is_banned(PHONE, 0.0)
    [measure] = g.list_bans(0.0)
    assert measure.slowed
    assert admitted(g, PHONE, 0.0, 100) == 20
    assert admitted(g, PHONE, 1.0, 100) == 20
    assert admitted(g, PHONE, 400.0, 300) == 300, "and that ends too"
    assert g.counters["bans"] == 0
    assert g.counters["slowed"] == 160


@pytest.mark.rule("OPS-05")
def test_one_bad_password_in_an_office_does_not_silence_it_but_a_real_guesser_there_is_banned() -> None:
    g = gate({PHONE})
    offend(g, PHONE, 0.0, proven=True, times=99)
    assert g.admit(PHONE, 0.0)
    offend(g, PHONE, 0.0, proven=True, times=1)
    assert not g.admit(PHONE, 0.0)


@pytest.mark.rule("OPS-05")
def test_a_forged_ban_is_short_and_never_lengthens_or_shortens_an_earned_one() -> None:
    g = gate(ban_s=60.0, forged_ban_cap_s=300.0, ban_cap_s=86400.0)
    now = 0.0
    for _ in range(8):
        offend(g, PHONE, now, proven=False)
        [ban] = g.list_bans(now)
        assert ban.until - now <= 300.0
        now = ban.until
    offend(g, PHONE, now, proven=True)
    [ban] = g.list_bans(now)
    assert (ban.until - now, ban.count) == (60.0, 1)
    for _ in range(5):
        now = ban.until
        offend(g, PHONE, now, proven=True)
        [ban] = g.list_bans(now)
    assert ban.until - now == 60.0 * 2**5
    offend(g, PHONE, now, proven=False)
    assert g.list_bans(now)[0].until == ban.until


def test_test_networks_are_trusted_only_when_the_settings_say_so() -> None:
    for trusted in (False, True):
        g = gate(trust_test_networks=trusted)
        for host in ("127.0.0.1", "127.9.9.9", "::1"):
            offend(g, host, 0.0, proven=True)
            assert g.is_banned(host, 0.0) is not trusted
            assert g.is_trusted(host) is trusted


def test_bans_can_be_switched_off_while_rates_hold() -> None:
    g = gate(bans=False, burst=5.0, rate=1.0)
    offend(g, PHONE, 0.0, proven=True, times=100)
    assert admitted(g, PHONE, 0.0, 10) == 5
    assert g.counters["suspicion_auth"] == 100


def test_a_change_of_the_trunks_takes_effect_at_once_and_lifts_bans() -> None:
    g = gate()
    offend(g, TRUNK, 0.0, proven=True)
    assert not g.admit(TRUNK, 0.0)
    g.trust([f"{TRUNK}/32"])
    assert g.admit(TRUNK, 0.0)
    g.trust([])
    offend(g, TRUNK, 0.0, proven=True)
    assert not g.admit(TRUNK, 0.0)
    with pytest.raises(ValueError):
        g.trust(["nonsense"])


def test_unban_lifts_a_ban_and_its_history() -> None:
    g = gate(ban_s=60.0)
    offend(g, PHONE, 0.0, proven=True)
    assert g.unban(PHONE)
    assert not g.unban(PHONE)
    assert g.admit(PHONE, 0.0)
    offend(g, PHONE, 1.0, proven=True)
    assert g.list_bans(1.0)[0].count == 1
    offend(g, "2001:db8::5", 1.0, proven=True)
    assert g.unban("2001:db8::/64"), "by the key that the list shows"
    assert g.admit("2001:db8::5", 1.0)


def test_bans_are_listed_the_longest_first_and_only_while_in_force() -> None:
    g = gate(ban_s=60.0)
    offend(g, "192.0.2.1", 0.0, proven=True)
    offend(g, "192.0.2.2", 30.0, proven=True)
    assert [ban.address for ban in g.list_bans(31.0)] == ["192.0.2.2", "192.0.2.1"]
    assert [ban.address for ban in g.list_bans(61.0)] == ["192.0.2.2"]
    assert g.list_bans(91.0) == []


def test_ipv6_counts_by_line_and_mapped_addresses_as_ipv4() -> None:
    g = gate()
    for number in range(10):
        g.suspect(f"2001:db8:0:1::{number:x}", AUTH, 0.0, proven=True)
    assert not g.admit("2001:db8:0:1:ffff::1", 0.0)
    assert g.admit("2001:db8:0:2::1", 0.0)
    offend(g, "::ffff:192.0.2.10", 0.0, proven=True)
    assert not g.admit("192.0.2.10", 0.0)
    assert g.admit("::ffff:192.0.2.11", 0.0)


def test_trust_of_one_ipv6_address_does_not_cover_its_neighbours() -> None:
    g = gate()
    g.trust(["2001:db8::1/128"])
    offend(g, "2001:db8::1", 0.0, proven=True)
    offend(g, "2001:db8::2", 0.0, proven=True)
    assert g.admit("2001:db8::1", 0.0)
    assert not g.admit("2001:db8::2", 0.0)


@pytest.mark.rule("OPS-05")
def test_a_flood_of_forged_addresses_does_not_grow_memory_nor_lift_bans() -> None:
    g = gate(max_addresses=1000, max_bans=100)
    offend(g, PHONE, 0.0, proven=True)
    for number in range(5000):
        g.admit(f"10.{number >> 8}.{number & 255}.1", 0.0)
    assert len(g) <= 1000
    assert g.counters["forgotten"] > 0
    assert not g.admit(PHONE, 1.0)
    for number in range(1000):
        g.suspect(f"10.0.{number >> 8}.{number & 255}", SCANNER, 1.0, proven=False)
    assert len(g._bans) <= 100


def test_a_slowed_address_stays_slowed_when_it_was_forgotten_meanwhile() -> None:
    g = gate({PHONE}, max_addresses=10, slow_rate=2.0)
    offend(g, PHONE, 0.0, proven=False)
    for number in range(50):
        g.admit(f"10.0.0.{number}", 0.0)
    assert admitted(g, PHONE, 0.0, 100) <= 2


def test_bans_that_are_over_make_room_first() -> None:
    g = gate(max_bans=10, ban_s=10.0)
    for number in range(10):
        offend(g, f"10.0.0.{number}", 0.0 if number % 2 else 100.0, proven=True)
    offend(g, "10.0.1.1", 101.0, proven=True)
    assert {ban.address for ban in g.list_bans(101.0)} == {
        "10.0.0.0",
        "10.0.0.2",
        "10.0.0.4",
        "10.0.0.6",
        "10.0.0.8",
        "10.0.1.1",
    }


@pytest.mark.parametrize(
    ("host", "key"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("[2001:db8::1]", "2001:db8::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("not:an:address", "not:an:address"),
        ("phone.example", "phone.example"),
    ],
)
def test_address_keys(host: str, key: str) -> None:
    assert address_key(host) == key


def test_networks() -> None:
    nets = Networks(["192.0.2.0/24", "198.51.100.7", "2001:db8::/32", "10.1.2.3/8"])
    for inside in ("192.0.2.255", "198.51.100.7", "2001:db8:ffff::1", "::ffff:192.0.2.1", "10.255.0.1"):
        assert inside in nets
    for outside in ("192.0.3.0", "198.51.100.8", "2001:db9::1", "11.0.0.1", "phone.example"):
        assert outside not in nets
    assert "192.0.2.1" not in Networks()
    assert "192.0.2.1" in Networks(["0.0.0.0/0"])


_call = st.tuples(
    st.sampled_from(["admit", "suspect", "unban", "trust", "inspect"]),
    st.sampled_from(["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2", "127.0.0.1", "garbage"]),
    st.sampled_from([AUTH, UNKNOWN_TARGET, MALFORMED, SCANNER]),
    st.booleans(),
    st.floats(0, 1000),
)


@given(st.lists(_call, max_size=80))
def test_any_history_keeps_the_promises(calls: list[tuple[str, str, str, bool, float]]) -> None:
    """Trusted: always admitted. Registered: never banned without proof. Bans within their caps. No
    exception.
    """
    g = gate({"192.0.2.2"}, auth_failures=2, unknown_targets=2, malformed=2, max_addresses=4, max_bans=3)
    now = 0.0
    proven_at_two = False
    for name, host, kind, proven, step in calls:
        now += step
        if name == "suspect":
            g.suspect(host, kind, now, proven=proven)
            proven_at_two = proven_at_two or (host == "192.0.2.2" and proven)
        elif name == "unban":
            g.unban(host)
        elif name == "trust":
            g.trust(["2001:db8::1/128"])
        elif name == "inspect":
            g.inspect(options("sipvicious"), host, now, reliable=proven)
            proven_at_two = proven_at_two or (host == "192.0.2.2" and proven)
        else:
            allowed = g.admit(host, now)
            assert allowed or not g.is_trusted(host)
        assert proven_at_two or not g.is_banned("192.0.2.2", now)
        for ban in g.list_bans(now):
            assert ban.until - now <= 86400.0
            assert ban.count or ban.until - now <= 300.0
        assert len(g) <= 4
        assert len(g._bans) <= 3


@pytest.mark.rule("OPS-05")
def test_a_name_in_a_body_is_nobodys() -> None:
    """A phone may be sent a fragment of somebody else's message."""
    g = gate()
    assert g.scanner_name(options("friendly-scanner")) == "friendly-scanner"
    quoting = b"MESSAGE sip:a@x SIP/2.0\r\nVia: SIP/2.0/UDP y\r\n\r\n" + options("friendly-scanner")
    assert g.scanner_name(quoting) == ""
    assert g.inspect(quoting, PHONE, 0.0, reliable=True)


def test_a_suspicion_can_be_taken_back() -> None:
    g = gate(unknown_targets=2)
    for now in range(10):
        g.suspect(PHONE, UNKNOWN_TARGET, float(now), proven=False)
        g.absolve(PHONE, UNKNOWN_TARGET, float(now))
    assert g.admit(PHONE, 10.0)
    offend(g, PHONE, 11.0, proven=False, times=9)
    g.absolve(PHONE, UNKNOWN_TARGET, 11.0)
    offend(g, PHONE, 11.0, proven=False, times=5)
    assert g.admit(PHONE, 11.0), "half a score was forgiven"
    offend(g, PHONE, 11.0, proven=False, times=1)
    assert not g.admit(PHONE, 11.0)


@pytest.mark.rule("OPS-05")
def test_bans_told_by_the_wall_clock_end_on_the_sockets_clock() -> None:
    """The core tells of suspicions in unix seconds, the sockets ask in seconds since the machine was started."""
    g = gate(ban_s=60.0)
    door = Doorkeeper(g, lambda monotonic: 1_800_000_000.0 + monotonic)
    offend(g, PHONE, 1_800_000_005.0, proven=True)
    assert not door.admit(PHONE, 5.0)
    assert not door.admit(PHONE, 64.9)
    assert door.admit(PHONE, 65.1)
    assert not door.inspect(options("sipvicious"), PHONE, 66.0, reliable=True)
    assert not door.admit(PHONE, 66.1)
    assert g.list_bans(1_800_000_067.0)[0].until == 1_800_000_066.0 + 120.0


@pytest.mark.rule("OPS-05")
def test_bans_of_other_processes_take_no_more_room_than_own_ones() -> None:
    """Who floods one node with forged addresses fills the memory of none."""
    g = gate(max_bans=100)
    for number in range(1000):
        address = f"192.0.{number // 250}.{number % 250}"
        g.learn(
            Ban(
                address=address,
                reason=AUTH,
                since=float(number),
                until=number + 600.0,
                count=0,
                forged_count=1,
                proven=False,
                slowed=False,
            )
        )
        assert not g.admit(address, number + 1.0)
        assert len(g.list_bans(0.0)) <= 100
    assert len(g.list_bans(0.0)) > 90
