"""Registrations with carriers as workers know them that do not register."""

from __future__ import annotations

from callcontrol.trunk_registration import contact_user
from callcontrol.workers.carriers import TOPIC, FollowedRegistrations, Teller
from gateway.trunk import Trunk, TrunkDirectory

PEER = "sip:192.0.2.10"


def trunk(ref: str, **words: object) -> Trunk:
    made = {"ref": ref, "peers": (PEER,), "register": True, "username": "us", "password": f"secret of {ref}"}
    return Trunk(**{**made, **words})  # type: ignore[arg-type]  # fields of a trunk


def test_calls_of_a_carrier_are_known_by_contact_or_address() -> None:
    one, two = trunk("one"), trunk("two")
    followed = FollowedRegistrations(TrunkDirectory([one, two]))
    user = contact_user(one, PEER)
    assert followed.match(user, "203.0.113.1") == one
    assert followed.is_contact("one", user)
    assert not followed.is_contact("two", user)
    assert followed.match("+33639981001", "192.0.2.10") is None
    assert followed.routes("one", PEER) is None
    followed.learn(1, [["one", PEER, ["<sip:edge;lr>"], "192.0.2.10"]])
    assert followed.routes("one", PEER) == ["<sip:edge;lr>"]
    assert followed.match("+33639981001", "192.0.2.10") == one
    followed.learn(1, [["one", PEER, [], "192.0.2.10"], ["two", PEER, [], "192.0.2.10"]])
    assert followed.match("+33639981001", "192.0.2.10") is None, (
        "an address that took those of two tells nothing"
    )
    followed.learn(1, [])
    assert followed.routes("one", PEER) is None


def test_trunks_that_come_later_are_known() -> None:
    directory = TrunkDirectory(version=1)
    followed = FollowedRegistrations(directory)
    late = trunk("late")
    assert followed.match(contact_user(late, PEER), "") is None
    newer = TrunkDirectory([late], version=2)
    followed = FollowedRegistrations(newer)
    assert followed.match(contact_user(late, PEER), "") == late
    assert (
        FollowedRegistrations(TrunkDirectory([trunk("late", register=False)])).match(
            contact_user(late, PEER), ""
        )
        is None
    )


def test_it_sends_nothing_and_leaves_at_once() -> None:
    followed = FollowedRegistrations(TrunkDirectory())
    followed.tick()
    followed.stop()
    assert followed.left


def test_the_others_are_told_when_something_changes_or_somebody_comes() -> None:
    table: list[object] = [("one", PEER, [], "")]
    told: list[tuple[str, object]] = []
    teller = Teller(lambda: list(table), lambda what, words: told.append((what, words)))
    teller.tick()
    teller.tick()
    assert told == [(TOPIC, [("one", PEER, [], "")])]
    table.clear()
    teller.tick()
    teller.tick(again=True)
    assert told[1:] == [(TOPIC, []), (TOPIC, [])]
