"""Rules of the RFCs that no other test has for its subject; docs/sip-conformance.md names them."""

from __future__ import annotations

import pytest

from tests.support.party import Dialog, Party
from tests.support.world import DOMAIN, World


def talking() -> tuple[World, Party, Dialog]:
    """ana's phone talks with the carrier."""
    world = World()
    phone, carrier = world.phone("ana-phone"), world.carrier()
    carrier.call("+33639981001")
    world.run(0.3)
    phone.answer()
    world.run(0.3)
    return world, phone, phone.incoming


@pytest.mark.parametrize("status", [300, 301, 302, 305])
def test_a_redirection_is_not_followed(status: int) -> None:
    """RFC 3261 section 8.1.3.4: a phone could else make calls for its user past the rules for outgoing ones."""
    world = World()
    phone, carrier = world.phone("ana-phone"), world.carrier()
    call = carrier.call("+33639981001")
    world.run(0.3)
    phone.reply(phone.incoming, status, headers=(("contact", f"<sip:+15550142@{DOMAIN}>"),))
    world.run(1)
    assert call.status == 480
    assert "contact" not in [name for name, _, _ in call.last("INVITE").headers]
    assert not carrier.rang
    assert world.calls == 1 or world.records[-1].status == 480


@pytest.mark.parametrize(("status", "shown"), [(299, 200), (399, 480), (499, 480), (599, 480), (699, 603)])
def test_a_status_that_nobody_knows_counts_for_its_class(status: int, shown: int) -> None:
    """RFC 3261 section 8.1.3.2."""
    world = World()
    phone, carrier = world.phone("ana-phone"), world.carrier()
    call = carrier.call("+33639981001")
    world.run(0.3)
    phone.reply(phone.incoming, status)
    world.run(1)
    assert call.status == shown


@pytest.mark.parametrize(
    "targets",
    [
        (),
        (f"<sip:+33639981002@{DOMAIN}>", f"<sip:+33639981003@{DOMAIN}>"),
        (f"<sip:+33639981002@{DOMAIN};method=BYE>",),
        ("<mailto:ben@x>",),
        ("<sip:",),
        (f"<sip:+33639981002@{DOMAIN}?Replaces=x>",),
    ],
)
def test_a_refer_that_asks_for_no_call_is_refused(targets: tuple[str, ...]) -> None:
    """RFC 3515 section 2.4.2; the call goes on as if nothing had been said."""
    world, phone, dialog = talking()
    phone.request(dialog, "REFER", headers=tuple(("refer-to", target) for target in targets))
    world.run(0.5)
    assert dialog.last("REFER").status == 400
    assert not dialog.got("NOTIFY")
    phone.bye(dialog)
    world.run(1)
    assert [record.reason for record in world.records] == ["normal_clearing"]


def test_events_within_a_call() -> None:
    """RFC 6665: we are no notifier and hold no subscription, and neither ends the call (RFC 5057)."""
    world, phone, dialog = talking()
    phone.request(dialog, "SUBSCRIBE", headers=(("event", "dialog"),))
    phone.request(dialog, "NOTIFY", headers=(("event", "refer"), ("subscription-state", "active")))
    world.run(0.5)
    assert dialog.last("SUBSCRIBE").status == 405
    assert dialog.last("NOTIFY").status == 481
    assert world.calls == 1


def test_a_device_is_told_which_number_was_called() -> None:
    """RFC 7315: P-Called-Party-ID; the caller is not told."""
    world, phone, dialog = talking()
    invite = dialog.got("INVITE")[0]
    assert invite.get("p-called-party-id") == f"<sip:+33639981001@{DOMAIN}>"
    carrier = world.parties[-1]
    assert not [m for m in carrier.dialogs[0].responses if m.has("p-called-party-id")]
    assert phone.rang
