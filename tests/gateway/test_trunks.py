"""Whose a source address is, which peers a number goes to, and how numbers are written on trunks."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.routes import (
    Candidate,
    check_peer,
    draw,
    explain,
    format_caller,
    format_number,
    peer_order,
    rank,
    read_number,
)
from gateway.trunk import NumberFormat, PeerShare, Prefix, Trunk, TrunkDirectory, peer_port
from numbering.e164 import NumberError, NumberFault


def trunk(ref: str, **fields: object) -> Trunk:
    values: dict[str, object] = {"peers": (f"sip:{ref}.example",), "prefixes": (Prefix("+"),)}
    return Trunk(ref=ref, **{**values, **fields})  # type: ignore[arg-type]


# -- sources ------------------------------------------------------------------------------------------------


def test_the_most_specific_network_wins() -> None:
    wide = trunk("wide", accept_from=("10.0.0.0/8", "2001:db8::/32"))
    narrow = trunk("narrow", accept_from=("10.1.0.0/16",))
    host = trunk("host", accept_from=("10.1.2.3/32", "2001:db8::5/128"))
    d = TrunkDirectory([wide, narrow, host])
    sources = [
        "10.9.9.9",
        "10.1.9.9",
        "10.1.2.3",
        "::ffff:10.1.2.3",
        "2001:db8::6",
        "2001:db8::5",
        "192.0.2.1",
    ]
    found = [d.match_source(source, 5060) for source in sources]
    assert found == [wide, narrow, host, host, wide, host, None]
    assert d.match_source("not an address", 5060) is None
    assert d.match_source("", 0) is None


def test_carriers_on_one_address_are_told_apart_by_port() -> None:
    a = trunk("a", accept_from=("127.0.0.1/32",), port_must_match=True, peers=("sip:127.0.0.1:5080",))
    b = trunk(
        "b",
        accept_from=("127.0.0.1/32",),
        port_must_match=True,
        peers=("sip:127.0.0.1:5081", "sip:127.0.0.1"),
    )
    d = TrunkDirectory([a, b])
    assert [d.match_source("127.0.0.1", port) for port in (5080, 5081, 5060, 5082)] == [a, b, b, None]


def test_one_that_asks_for_the_port_goes_before_one_that_does_not() -> None:
    any_port = trunk("a", accept_from=("127.0.0.1/32",))
    one_port = trunk("b", accept_from=("127.0.0.1/32",), port_must_match=True, peers=("sip:127.0.0.1:5081",))
    d = TrunkDirectory([any_port, one_port])
    assert d.match_source("127.0.0.1", 5081) is one_port
    assert d.match_source("127.0.0.1", 5082) is any_port


def test_a_wider_network_serves_ports_that_the_narrower_one_does_not() -> None:
    wide = trunk("wide", accept_from=("127.0.0.0/8",))
    narrow = trunk(
        "narrow", accept_from=("127.0.0.1/32",), port_must_match=True, peers=("sip:127.0.0.1:5081",)
    )
    d = TrunkDirectory([wide, narrow])
    assert d.match_source("127.0.0.1", 5081) is narrow
    assert d.match_source("127.0.0.1", 40000) is wide


def test_what_was_found_is_forgotten_when_trunks_change() -> None:
    d = TrunkDirectory([trunk("a", accept_from=("192.0.2.0/24",))])
    assert d.match_source("192.0.2.1", 5060) is not None
    d.replace([], version=2)
    assert d.match_source("192.0.2.1", 5060) is None
    assert d.version == 2


def test_the_memory_of_sources_is_bounded() -> None:
    d = TrunkDirectory([trunk("a", accept_from=("10.0.0.0/8",))])
    for index in range(10_000):
        assert d.match_source(f"10.0.{index // 256}.{index % 256}", 5060) is not None
    assert len(d._memo) <= 4096


def test_other_ways_to_find_a_trunk() -> None:
    one = trunk("b", username="carrier")
    two = trunk("a")
    d = TrunkDirectory([one, two])
    assert d.get("b") is one
    assert d.get("c") is None
    assert d.by_username("carrier") is one
    assert d.by_username("") is None
    assert d.all() == (two, one)
    assert len(d) == 2


@pytest.mark.parametrize(
    ("uri", "port"),
    [
        ("sip:192.0.2.1", 5060),
        ("sip:192.0.2.1:5080", 5080),
        ("sip:192.0.2.1:5080;transport=tcp", 5080),
        ("sip:192.0.2.1;transport=tls", 5061),
        ("sips:carrier.example", 5061),
        ("sip:[2001:db8::1]", 5060),
        ("sip:[2001:db8::1]:5090;transport=udp", 5090),
    ],
)
def test_the_port_of_a_peer(uri: str, port: int) -> None:
    assert check_peer(uri) == ""
    assert peer_port(uri) == port


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "192.0.2.1",
        "tel:+33199001234",
        "sip:",
        "sip:user@192.0.2.1",
        "sip:192.0.2.1:0",
        "sip:192.0.2.1:65536",
        "sip:192.0.2.1;transport=sctp",
        "sip:192.0.2.1 ",
        "sip:a.example\r\nVia: x",
        "sip:[::1",
        "sip:a.example?x=y",
    ],
)
def test_what_is_no_peer(uri: str) -> None:
    assert check_peer(uri) != ""


# -- routes -------------------------------------------------------------------------------------------------


def refs(candidates: tuple[Candidate, ...]) -> list[str]:
    return [candidate.trunk.ref for candidate in candidates]


def test_longest_prefix_then_priority_then_cost() -> None:
    d = TrunkDirectory(
        [
            trunk("world", priority=1),
            trunk("france", prefixes=(Prefix("+33"),), priority=20),
            trunk("mobile-dear", prefixes=(Prefix("+"), Prefix("+336", 0.05))),
            trunk("mobile-cheap", prefixes=(Prefix("+336", 0.02),)),
            trunk("mobile-first", prefixes=(Prefix("+336", 0.99),), priority=5),
            trunk("silent", prefixes=()),
        ]
    )
    assert refs(rank(d, "+33639980001", 0.5)) == [
        "mobile-first",
        "mobile-cheap",
        "mobile-dear",
        "france",
        "world",
    ]
    assert refs(rank(d, "+33199001234", 0.5)) == ["france", "world", "mobile-dear"]
    assert refs(rank(d, "+447700900123", 0.5)) == ["world", "mobile-dear"]
    assert rank(TrunkDirectory(), "+33639980001", 0.5) == ()
    # A short number goes to trunks that are at home in its country, and terminate it as a whole.
    assert refs(rank(d, "3179;phone-context=+33", 0.5, country="FR")) == ["france", "world", "mobile-dear"]
    assert rank(d, "3179;phone-context=+33", 0.5, country="US") == ()
    assert rank(d, "101;phone-context=+44", 0.5, country="FR") == ()
    assert rank(d, "101;phone-context=+44", 0.5) == ()
    for number_format in NumberFormat:
        short = format_number(trunk("any", number_format=number_format), "3179;phone-context=+33")
        assert short == "3179" + (";phone-context=+33" if number_format is NumberFormat.CONTEXT else "")
    assert rank(TrunkDirectory([trunk("a", prefixes=(Prefix("+44"),))]), "+33639980001", 0.5) == ()
    assert rank(d, "", 0.5) == ()


def test_every_peer_of_a_trunk_is_at_hand() -> None:
    a = trunk("a", peers=("sip:192.0.2.1", "sip:192.0.2.2"), priority=1)
    b = trunk("b")
    assert rank(TrunkDirectory([a, b]), "+33639980001", 0.1) == (
        Candidate(a, "sip:192.0.2.1"),
        Candidate(a, "sip:192.0.2.2"),
        Candidate(b, "sip:b.example"),
    )


def test_peers_that_are_down_are_left_out_unless_all_are() -> None:
    a = trunk("a", peers=("sip:192.0.2.1", "sip:192.0.2.2"), priority=1)
    b = trunk("b", peers=("sip:192.0.2.3",))
    d = TrunkDirectory([a, b])
    every = rank(d, "+33639980001", 0.1)
    one, two, three = (candidate.key for candidate in every)
    assert rank(d, "+33639980001", 0.1, down={one}) == every[1:]
    assert rank(d, "+33639980001", 0.1, down={one, two}) == every[2:]
    assert rank(d, "+33639980001", 0.1, down={one, two, three}) == every


def test_peers_to_be_avoided_come_last() -> None:
    a = trunk("a", peers=("sip:192.0.2.1", "sip:192.0.2.2"), priority=1)
    b = trunk("b", peers=("sip:192.0.2.3",))
    d = TrunkDirectory([a, b])
    first, second, third = rank(d, "+33639980001", 0.1)
    assert rank(d, "+33639980001", 0.1, {first.key}) == (second, third, first)
    assert rank(d, "+33639980001", 0.1, {first.key}, {second.key}) == (third, first)
    assert rank(d, "+33639980001", 0.1, {first.key, third.key}, {second.key}) == (first, third)
    assert rank(d, "+33639980001", 0.1, {first.key}, {first.key, second.key, third.key}) == (
        second,
        third,
        first,
    )


def test_weights_share_the_calls_and_the_failovers() -> None:
    d = TrunkDirectory(
        [trunk("a", weight=70), trunk("b", weight=20), trunk("c", weight=10), trunk("z", weight=0)]
    )
    throws = 20_000
    orders = [refs(rank(d, "+33639980001", (index + 0.5) / throws)) for index in range(throws)]
    first = Counter(order[0] for order in orders)
    assert {ref: round(count / throws, 2) for ref, count in first.items()} == {"a": 0.7, "b": 0.2, "c": 0.1}
    # Once the first has failed the others share by their weights: c follows b's failure in 1 of 8 cases.
    after_b = Counter(order[1] for order in orders if order[0] == "b")
    assert after_b["c"] / after_b.total() == pytest.approx(10 / 80, abs=0.01)
    assert {order[-1] for order in orders} == {"z"}


@given(
    st.lists(st.integers(0, 1000), max_size=6),
    st.floats(0, 1, exclude_max=True),
)
def test_a_draw_is_an_order_of_all(weights: list[int], dice: float) -> None:
    trunks = [trunk(str(index), weight=weight) for index, weight in enumerate(weights)]
    drawn, rest = draw(trunks, dice)
    assert sorted(item.ref for item in drawn) == sorted(item.ref for item in trunks)
    assert 0 <= rest < 1
    assert draw(trunks, dice) == (drawn, rest)
    heavy = [item.weight > 0 for item in drawn]
    assert heavy == sorted(heavy, reverse=True)


SHARED = (
    PeerShare("sip:a", 70),
    PeerShare("sip:b", 30),
    PeerShare("sip:spare", 0),
    PeerShare("sip:far", 100, 20),
)


def sharing(ref: str = "t", shares: tuple[PeerShare, ...] = SHARED, **more: object) -> Trunk:
    return trunk(ref, peers=tuple(each.uri for each in shares), peer=shares, **more)


def test_peers_of_a_trunk_share_its_calls_by_their_weights() -> None:
    d = TrunkDirectory([sharing()])
    throws = 20_000
    orders = [
        [candidate.peer_uri for candidate in rank(d, "+33639980001", (index + 0.5) / throws)]
        for index in range(throws)
    ]
    first = Counter(order[0] for order in orders)
    assert {uri: round(count / throws, 2) for uri, count in first.items()} == {"sip:a": 0.7, "sip:b": 0.3}
    # weight 0 comes after the others of its priority, a higher figure of priority after all of those
    assert {tuple(order[2:]) for order in orders} == {("sip:spare", "sip:far")}


def test_trunks_and_their_peers_are_drawn_by_one_number_and_independently() -> None:
    shares = (PeerShare("sip:a", 50), PeerShare("sip:b", 50))
    d = TrunkDirectory([sharing("one", shares, weight=25), sharing("two", shares, weight=75)])
    throws = 20_000
    seen = Counter(
        (order[0].trunk.ref, order[0].peer_uri)
        for order in (rank(d, "+33639980001", (index + 0.5) / throws) for index in range(throws))
    )
    assert {pair: round(count / throws, 3) for pair, count in seen.items()} == {
        ("one", "sip:a"): 0.125,
        ("one", "sip:b"): 0.125,
        ("two", "sip:a"): 0.375,
        ("two", "sip:b"): 0.375,
    }
    assert rank(d, "+33639980001", 0.3) == rank(d, "+33639980001", 0.3), "nothing but the dice decides"


def test_health_goes_before_the_shares_of_peers() -> None:
    d = TrunkDirectory([sharing()])
    order = [c.peer_uri for c in rank(d, "+33639980001", 0.1, {"t sip:a"}, {"t sip:b"})]
    assert order == ["sip:spare", "sip:far", "sip:a"]


def test_peers_without_shares_are_tried_in_their_order() -> None:
    d = TrunkDirectory([trunk("t", peers=("sip:c", "sip:a", "sip:b"))])
    for index in range(10):
        assert [c.peer_uri for c in rank(d, "+33639980001", index / 10)] == ["sip:c", "sip:a", "sip:b"]


def test_an_explanation_tells_the_shares_of_peers() -> None:
    told = explain(TrunkDirectory([sharing()]), "+33639980001")
    assert [(route.peer, route.peer_share) for route in told] == [
        ("sip:a", 0.7),
        ("sip:b", 0.3),
        ("sip:spare", 0.0),
        ("sip:far", 1.0),
    ]
    idle = sharing("idle", (PeerShare("sip:a", 0), PeerShare("sip:b", 0)))
    assert [r.peer_share for r in explain(TrunkDirectory([idle]), "+33639980001")] == [0.5, 0.5]


@given(
    st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 3)), max_size=6),
    st.floats(0, 1, exclude_max=True),
)
def test_every_peer_has_its_place(shares: list[tuple[int, int]], dice: float) -> None:
    made = sharing(
        shares=tuple(PeerShare(f"sip:p{n}", weight, priority) for n, (weight, priority) in enumerate(shares))
    )
    order, rest = peer_order(made, dice)
    assert sorted(order) == sorted(made.peers)
    assert 0 <= rest < 1
    assert peer_order(made, dice) == (order, rest)
    priority = {each.uri: each.priority for each in made.peer}
    assert [priority[uri] for uri in order] == sorted(priority.values())


# -- numbers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "country", "number", "written"),
    [
        (NumberFormat.E164, "FR", "+33639980001", "+33639980001"),
        (NumberFormat.INTERNATIONAL, "FR", "+33639980001", "0033639980001"),
        (NumberFormat.INTERNATIONAL, "", "+33639980001", "0033639980001"),
        (NumberFormat.INTERNATIONAL, "US", "+33639980001", "01133639980001"),
        (NumberFormat.NATIONAL, "FR", "+33639980001", "0639980001"),
        (NumberFormat.NATIONAL, "FR", "+447700900123", "00447700900123"),
        (NumberFormat.NATIONAL, "GB", "+447700900123", "07700900123"),
        (NumberFormat.NATIONAL, "US", "+12125550123", "2125550123"),
        (NumberFormat.NATIONAL, "IT", "+390612345678", "0612345678"),
        (NumberFormat.NATIONAL, "ES", "+34612345678", "612345678"),
        (NumberFormat.NATIONAL, "", "+33639980001", "0033639980001"),
        (NumberFormat.DIGITS, "FR", "+33639980001", "33639980001"),
        (NumberFormat.DIGITS, "US", "+33639980001", "33639980001"),
        (NumberFormat.CONTEXT, "FR", "+33639980001", "0639980001;phone-context=+33"),
        (NumberFormat.CONTEXT, "FR", "+447700900123", "+447700900123"),
        (NumberFormat.CONTEXT, "US", "+12125550123", "2125550123;phone-context=+1"),
        (NumberFormat.CONTEXT, "", "+33639980001", "+33639980001"),
        (NumberFormat.INTERNATIONAL, "FR", "anonymous", "anonymous"),
        (NumberFormat.NATIONAL, "FR", "112", "112"),
    ],
)
def test_numbers_as_a_trunk_wants_them(form: NumberFormat, country: str, number: str, written: str) -> None:
    assert format_number(trunk("a", number_format=form, country=country), number) == written


def test_the_platforms_country_stands_in() -> None:
    plain = trunk("a", number_format=NumberFormat.NATIONAL)
    assert format_number(plain, "+33639980001", "FR") == "0639980001"
    assert read_number("0639980001", plain, "FR") == "+33639980001"
    assert read_number("0639980001", trunk("a", country="GB"), "FR") != "+33639980001"


@given(
    st.integers(0, 9999), st.sampled_from(list(NumberFormat)), st.sampled_from(["FR", "GB", "US", "IT", ""])
)
def test_what_is_written_is_read_the_same(line: int, form: NumberFormat, country: str) -> None:
    """A carrier that echoes our number back means the same number."""
    a = trunk("a", number_format=form, country=country)
    for number in (f"+3363998{line:04d}", f"+4477009001{line % 100:02d}", f"+1212555{line % 100 + 100:04d}"):
        assert read_number(format_number(a, number), a) == number


@pytest.mark.parametrize(
    "text",
    [
        "+33639980001",
        "0033639980001",
        "33639980001",
        "0639980001",
        "06 39 98 00 01",
        "tel:+33639980001",
        "TEL:+33-6-39-98-00-01",
        "tel:0639980001;phone-context=+33",
        "tel:639980001;phone-context=+33",
        "<sip:0639980001;phone-context=%2B33@192.0.2.1;user=phone>",
        "sip:0639980001;Phone-Context=+33;npdi@carrier.example;user=phone",
        "sip:+33639980001;phone-context=+44@carrier.example",
        "sip:+33639980001@192.0.2.1;user=phone",
        "sips:0639980001@carrier.example:5061",
        "sip:+33639980001;npdi;rn=+33609@carrier.example",
        "<sip:+33639980001@192.0.2.1>",
        '"06 39" <sip:+33639980001@192.0.2.1>;tag=1',
        '"<sip:evil@x>" <sip:+33639980001@192.0.2.1>',
        "Ana <tel:+33639980001>;party=calling",
        '"+33639980001"',
        "%2B33639980001",
        " +33639980001 ",
        "+33639980001;cpc=ordinary",
    ],
)
def test_numbers_as_trunks_really_send_them(text: str) -> None:
    assert read_number(text, trunk("a", country="FR")) == "+33639980001"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", NumberFault.EMPTY),
        ("anonymous", NumberFault.NOT_A_NUMBER),
        ("sip:anonymous@anonymous.invalid", NumberFault.NOT_A_NUMBER),
        ("Restricted", NumberFault.NOT_A_NUMBER),
        ("sip:192.0.2.1", NumberFault.EMPTY),
        ("<sip:>", NumberFault.EMPTY),
        ("15", NumberFault.TOO_SHORT),
        ("0", NumberFault.NOT_A_NUMBER),
        ("00", NumberFault.TOO_SHORT),
    ],
)
def test_what_is_no_number(text: str, fault: NumberFault) -> None:
    result = read_number(text, trunk("a", country="FR"))
    assert isinstance(result, NumberError)
    assert result.fault is fault


@pytest.mark.parametrize("country", ["FR", "GB", "US", "", "IT"])
def test_a_local_number_is_of_its_context_not_of_the_trunk(country: str) -> None:
    a = trunk("a", country=country)
    assert read_number("tel:0639980001;phone-context=+33", a) == "+33639980001"
    assert read_number("sip:07700900123;phone-context=+44@192.0.2.1;user=phone", a) == "+447700900123"
    assert isinstance(read_number("tel:0639980001;phone-context=example.com", trunk("a")), NumberError)


@pytest.mark.parametrize(
    "text",
    [
        # routing prefixes of French portability (decision 2022-1583, 2.5.6), before the number with or without its 0
        "sip:+3360010639980001@192.0.2.1;user=phone",
        "sip:+336001639980001@192.0.2.1;user=phone",
        "sip:060010639980001@192.0.2.1",
        "sip:06001639980001@192.0.2.1",
        "sip:003360010639980001@192.0.2.1",
        "sip:+33639980001;npdi;rn=+336001@192.0.2.1;user=phone",
        "tel:+33639980001;npdi;rn=6001;rn-context=+33",
    ],
)
def test_the_routing_prefix_of_a_ported_number_is_no_part_of_it(text: str) -> None:
    assert read_number(text, trunk("a", country="FR")) == "+33639980001"


def test_who_writes_digits_is_read_so() -> None:
    for country in ("FR", "US", "IT", "GB", ""):
        a = trunk("a", number_format=NumberFormat.DIGITS, country=country)
        assert read_number("33639980001", a) == "+33639980001"
        assert read_number("447700900123", a) == "+447700900123"
    assert (
        read_number("0639980001", trunk("a", number_format=NumberFormat.DIGITS, country="FR"))
        == "+33639980001"
    )


def test_callers_may_be_written_otherwise_than_the_called() -> None:
    a = trunk("a", number_format=NumberFormat.NATIONAL, caller_format=NumberFormat.E164, country="FR")
    assert (format_number(a, "+33639980001"), format_caller(a, "+33639980001")) == (
        "0639980001",
        "+33639980001",
    )
    assert format_caller(trunk("a", number_format=NumberFormat.DIGITS), "+33639980001") == "33639980001"


@given(st.text(max_size=100))
def test_reading_never_raises(text: str) -> None:
    result = read_number(text, trunk("a", country="FR"))
    assert isinstance(result, NumberError) or result.startswith("+")


# -- why a number goes where it goes ------------------------------------------------------------------------


def test_an_explanation_says_what_decided() -> None:
    d = TrunkDirectory(
        [
            trunk("cheap", prefixes=(Prefix("+336", 0.02),), weight=75),
            trunk("same", prefixes=(Prefix("+336", 0.02),), weight=25, number_format=NumberFormat.NATIONAL),
            trunk("dear", prefixes=(Prefix("+"), Prefix("+336", 0.05)), peers=("sip:d1", "sip:d2")),
            trunk("world"),
        ]
    )
    routes = explain(d, "+33639980001", {"dear sip:d1"}, {"cheap sip:cheap.example"}, "FR")
    assert [(r.position, r.trunk, r.standing) for r in routes] == [
        (1, "same", "ready"),
        (2, "dear", "ready"),
        (3, "world", "ready"),
        (2, "dear", "last"),
        (1, "cheap", "out"),
    ]
    first = routes[0]
    assert (first.prefix, first.cost, first.share, first.called) == ("+336", 0.02, 0.25, "0639980001")
    assert (routes[2].prefix, routes[2].cost) == ("+", 0.0)
    assert [r.prefix for r in explain(d, "3179;phone-context=+33", country="FR")] == ["+", "+", "+"]
    assert explain(TrunkDirectory(), "+33639980001") == ()
    idle = TrunkDirectory([trunk("a", weight=0), trunk("b", weight=0)])
    assert [r.share for r in explain(idle, "+33639980001")] == [0.5, 0.5]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["+", "+33", "+336"]),
            st.integers(0, 2),
            st.sampled_from([0.0, 0.01]),
            st.integers(0, 3),
            st.integers(1, 3),
        ),
        max_size=6,
    ),
    st.floats(0, 1, exclude_max=True),
    st.sets(st.tuples(st.integers(0, 5), st.integers(0, 2))),
    st.sets(st.tuples(st.integers(0, 5), st.integers(0, 2))),
)
def test_the_explanation_and_the_calls_agree(
    made: list[tuple[str, int, float, int, int]],
    dice: float,
    last: set[tuple[int, int]],
    down: set[tuple[int, int]],
) -> None:
    trunks = [
        trunk(
            f"t{number}",
            prefixes=(Prefix(prefix, cost),),
            priority=priority,
            weight=weight,
            peers=tuple(f"sip:p{peer}" for peer in range(peers)),
        )
        for number, (prefix, priority, cost, weight, peers) in enumerate(made)
    ]
    d = TrunkDirectory(trunks)
    avoided, gone = ({f"t{t} sip:p{p}" for t, p in keys} for keys in (last, down))
    order = rank(d, "+33639980001", dice, avoided, gone)
    told = explain(d, "+33639980001", avoided, gone)
    positions = {f"{r.trunk} {r.peer}": (r.standing == "last", r.position) for r in told}
    ready = {f"{r.trunk} {r.peer}" for r in told if r.standing != "out"}
    assert {c.key for c in order} == (ready or {f"{r.trunk} {r.peer}" for r in told})
    if ready:
        assert [positions[c.key] for c in order] == sorted(positions[c.key] for c in order)
