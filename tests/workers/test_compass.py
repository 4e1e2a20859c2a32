"""The owner of a message: every message of a dialog, whoever sent it, comes to one worker."""

from __future__ import annotations

import os
import random
import string
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callcontrol.ids import CallRefs, call_ref_of, place_of
from callcontrol.sip.flow import Listener
from callcontrol.workers.compass import VIA_PARAMETER, Compass, begins_something

SDP = "v=0\r\ns=-\r\nCall-ID: not-a-header@body\r\nTo: <sip:nobody@body>\r\n"
TOKEN = st.text(string.ascii_letters + string.digits + "-.!%*_+`'~", min_size=1, max_size=40)
WORKERS = st.integers(1, 32)
SPELT = st.sampled_from(["Call-ID: ", "call-id:", "CALL-ID : ", "i: ", "Call-Id:\t", "Call-ID:\r\n ", "I:"])


def refs(worker: int, workers: int) -> CallRefs:
    return CallRefs(os.urandom, worker - 1, workers)


def request(
    method: str,
    uri: str,
    call_id: str,
    *,
    via: str = "Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx",
    to: str = "<sip:bob@cloudline.example>",
    spelt: str = "Call-ID: ",
    lines: str = "",
) -> bytes:
    text = f"{method} {uri} SIP/2.0\r\n{via}\r\nMax-Forwards: 70\r\nFrom: <sip:x@y>;tag=1\r\nTo: {to}\r\n"
    return f"{text}{spelt}{call_id}\r\nCSeq: 1 {method}\r\n{lines}Content-Length: {len(SDP)}\r\n\r\n{SDP}".encode()


def answer(status: int, via: str, call_id: str, *, spelt: str = "Call-ID: ") -> bytes:
    text = f"SIP/2.0 {status} Fine\r\n{via}\r\nFrom: <sip:x@y>;tag=1\r\nTo: <sip:b@c>;tag=2\r\n"
    return f"{text}{spelt}{call_id}\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n".encode()


def own_via(worker: int) -> str:
    mark = f"{VIA_PARAMETER}{worker}"
    listener = Listener("udp:127.0.0.1:5060", "udp", "127.0.0.1", 5060, mark=mark)
    return f"{listener.via}z9hG4bKours;rport=5060;received=127.0.0.1"


@pytest.mark.rule("LIVE-02")
@given(WORKERS, TOKEN, TOKEN, SPELT, st.data())
def test_every_message_of_a_call_comes_to_the_worker_of_its_first(
    workers: int, foreign: str, host: str, spelt: str, data: st.DataObject
) -> None:
    """The caller's dialog has a Call-ID of the caller, the callee's one of ours; both directions, all methods."""
    compass = Compass(workers)
    theirs = f"{foreign}@{host}"
    invite = request("INVITE", "sip:+33639981001@cloudline.example", theirs, spelt=spelt)
    owner = compass.owner(invite)
    assert 1 <= owner <= workers
    for method in ("INVITE", "CANCEL", "ACK"):  # repetition; given up; refusal acknowledged
        to = "<sip:bob@cloudline.example>" + (";tag=refused" if method == "ACK" else "")
        assert compass.owner(request(method, "sip:+33639981001@cloudline.example", theirs, to=to)) == owner
    ref = refs(owner, workers).new()
    ours = f"{ref}.b1.0123456789abcdef0123"
    within = data.draw(
        st.sampled_from(["ACK", "BYE", "INVITE", "UPDATE", "PRACK", "INFO", "REFER", "NOTIFY"])
    )
    other = data.draw(st.sampled_from([theirs, ours, "spoilt-by-a-box"]))
    to = "<sip:b@c>;tag=ours"
    for leg in ("a", "b1"):
        scheme = data.draw(st.sampled_from(["sip", "sips"]))
        uri = f"{scheme}:{ref}.{leg}@127.0.0.1:5060;transport=tcp"
        assert compass.owner(request(within, uri, other, to=to, spelt=spelt)) == owner
    # peers that send to another address than our Contact
    for call_id in (theirs, ours):
        assert compass.owner(request(within, "sip:cloudline.example", call_id, to=to, spelt=spelt)) == owner
    for status in (100, 183, 200, 487, 603):
        for call_id in (theirs, ours, "spoilt-by-a-box"):
            assert compass.owner(answer(status, own_via(owner), call_id, spelt=spelt)) == owner
        # whoever loses our parameter still brings back the Call-ID
        plain = "Via: SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bKours"
        for call_id in (theirs, ours):
            assert compass.owner(answer(status, plain, call_id, spelt=spelt)) == owner


@given(st.binary(max_size=300), WORKERS)
def test_whatever_the_bytes_there_is_one_owner(data: bytes, workers: int) -> None:
    compass = Compass(workers)
    owner = compass.owner(data)
    assert 1 <= owner <= workers
    assert compass.owner(bytes(data)) == owner
    assert begins_something(data) in (True, False)


@given(st.data(), WORKERS)
def test_headers_spoilt_at_any_place_have_one_owner(data: st.DataObject, workers: int) -> None:
    message = bytearray(request("INVITE", "sip:abcdefghijklmnop.b1@h", "a@b"))
    for _ in range(data.draw(st.integers(1, 4))):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    assert 1 <= Compass(workers).owner(bytes(message)) <= workers


@pytest.mark.parametrize("workers", [1, 2, 3, 5, 8, 31, 32])
def test_references_lead_to_their_maker_and_stay_unguessable(workers: int) -> None:
    for worker in range(1, workers + 1):
        made = [refs(worker, workers).new() for _ in range(200)]
        assert {place_of(ref, workers) + 1 for ref in made} == {worker}
        assert len({ref[1:] for ref in made}) == 200
        assert all(call_ref_of(f"sip:{ref}.a@h") == ref for ref in made)
        first = {ref[0] for ref in made}
        assert len(first) <= 32 // workers
        assert workers > 4 or len(first) > 2


def test_one_worker_makes_references_as_ever() -> None:
    drawn = bytes(range(10))
    assert CallRefs(lambda n: drawn[:n]).new() == CallRefs(lambda n: drawn[:n], 0, 1).new()


def test_calls_of_one_trunk_are_spread() -> None:
    found: Counter[int] = Counter()
    compass = Compass(4)
    for number in range(4000):
        found[compass.owner(request("INVITE", "sip:1@h", f"{number}-777@192.0.2.7"))] += 1
    assert len(found) == 4
    assert max(found.values()) < 1.25 * min(found.values())


@pytest.mark.rule("DEV-06")
def test_registrations_of_a_phone_meet_whatever_their_call_id() -> None:
    compass = Compass(8)
    random.seed(7)
    owners = set()
    for number in range(50):
        to = ["<sip:ana-1@cloudline.example>", '"Ana" <sip:ana-1@cloudline.example:5060>', "sip:ana-1@h"][
            number % 3
        ]
        owners.add(compass.owner(request("REGISTER", "sip:cloudline.example", f"{random.random()}", to=to)))
    assert len(owners) == 1
    users = {
        compass.owner(request("REGISTER", "sip:cloudline.example", "same", to=f"<sip:u{n}@h>"))
        for n in range(200)
    }
    assert users == set(range(1, 9))


def test_a_call_that_moved_is_found_where_it_is() -> None:
    compass = Compass(3)
    ref = refs(2, 3).new()
    bye = request("BYE", f"sip:{ref}.a@h", "x@y", to="<sip:b@c>;tag=2")
    assert compass.owner(bye) == 2
    compass.move(ref, 3)
    assert compass.owner(bye) == 3
    assert compass.owner(request("BYE", "sip:h", f"{ref}.b1.00", to="<sip:b@c>;tag=2")) == 3
    compass.move(ref, 2)
    assert compass.owner(bye) == 2
    assert compass.census() == {"moved": 0, "placed": 0}


def test_a_new_call_that_another_worker_took_stays_there() -> None:
    compass = Compass(2)
    invite = request("INVITE", "sip:1@h", "c@d")
    owner = compass.owner(invite)
    compass.place(invite, 3 - owner)
    for method in ("INVITE", "CANCEL", "ACK"):
        assert compass.owner(request(method, "sip:1@h", "c@d")) == 3 - owner


def test_what_is_remembered_is_bounded() -> None:
    compass = Compass(2)
    maker = refs(1, 2)
    for number in range(60_000):
        compass.move(maker.new(), 2)
        compass.place(b"INVITE sip:a SIP/2.0\r\nCall-ID: %d\r\n\r\n" % number, 1)
    assert compass.census() == {"moved": 50_000, "placed": 50_000}


@pytest.mark.parametrize(
    ("via", "counts"),
    [
        ("Via: SIP/2.0/UDP 10.0.0.1;clw=2;branch=z9hG4bKa", True),
        ("v: SIP/2.0/UDP 10.0.0.1;clw=2;branch=z9hG4bKa", True),
        ("Via: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKa;rport;clw=2", True),
        ("Via: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKa\r\n ;clw=2", True),
        ("Via: SIP/2.0/UDP 10.0.0.2;branch=z9hG4bKb\r\nVia: SIP/2.0/UDP 10.0.0.1;clw=2;branch=a", False),
        ("Via: SIP/2.0/UDP 10.0.0.2;branch=z9hG4bKb, SIP/2.0/UDP 10.0.0.1;clw=2;branch=a", False),
        ("Via: SIP/2.0/UDP 10.0.0.1;clw=99;branch=z9hG4bKa", False),
        ("Via: SIP/2.0/UDP 10.0.0.1;clw=;branch=z9hG4bKa", False),
        ("X-Copy: ;clw=2\r\nVia: SIP/2.0/UDP 10.0.0.2;branch=z9hG4bKb", False),
    ],
)
def test_only_our_own_via_on_top_names_the_sender(via: str, counts: bool) -> None:
    compass = Compass(2)
    call_id = next(f"{n}@x" for n in range(99) if compass.owner(request("OPTIONS", "sip:h", f"{n}@x")) == 1)
    assert compass.owner(answer(200, via, call_id)) == (2 if counts else 1)


@pytest.mark.parametrize(
    ("method", "to", "begins"),
    [
        ("INVITE", "<sip:b@c>", True),
        ("REGISTER", "<sip:b@c>", True),
        ("OPTIONS", "<sip:b@c>", True),
        ("INVITE", "<sip:b@c>;tag=1", False),
        ("INVITE", "<sip:b@c> ;TAG=1", False),
        ("CANCEL", "<sip:b@c>", False),
        ("ACK", "<sip:b@c>", False),
        ("BYE", "<sip:b@c>", False),
    ],
)
def test_what_any_worker_can_take(method: str, to: str, begins: bool) -> None:
    assert begins_something(request(method, "sip:h", "a@b", to=to)) is begins
    assert not begins_something(answer(200, "Via: SIP/2.0/UDP h;branch=z9hG4bKa", "a@b"))


@pytest.mark.parametrize("workers", [0, 33])
def test_a_node_has_no_more_workers_than_there_are_letters(workers: int) -> None:
    with pytest.raises(ValueError, match="1 to 32"):
        Compass(workers)
