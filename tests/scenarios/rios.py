"""3179: a line asks for its RIO, and a server speaks it, where there is one (NUM-11)."""

from __future__ import annotations

import dataclasses

from numbering.models import NumberState
from tests.scenarios.callbacks import SIM, _call_back, _parties, _pick_up
from tests.scenarios.consulting import ben_talks_with_the_carrier, refer, reports
from tests.scenarios.stage import ANA, BEN, Stage
from tests.support.party import Dialog, Party, sdp

SERVER = "sip:announcements@10.0.9.1:5060"
RIO = "04P00A00+LJJ"
SERVICE = "3179"


def _with_server(stage: Stage) -> Party:
    """An announcement server, and a line whose RIO is known."""
    stage.configure_media(announcement_uri=SERVER)
    stage.world.rios.known[ANA] = RIO
    return stage.carrier("10.0.9.1", "speaker")


def _asks(stage: Stage) -> tuple[Party, Dialog]:
    ana = stage.phone("ana-phone")
    stage.begin()
    call = ana.call(SERVICE)
    stage.run(0.5)
    return ana, call


def _is_told_to_nobody_else(stage: Stage) -> None:
    """What is kept of the call, and what its caller's phone was sent."""
    record = stage.record
    assert RIO not in record.trace
    assert RIO.encode() not in record.facts
    assert b"known" in record.facts
    for leg in record.legs:
        assert RIO not in f"{leg.address} {leg.number} {leg.peer} {leg.reason}"
    assert RIO not in f"{record.destination} {record.called} {record.dialled}"


def the_rio_is_spoken(stage: Stage) -> None:
    """The server is told what to say in its Request-URI, and who calls; nobody has forwarded the call."""
    server = _with_server(stage)
    ana, call = _asks(stage)
    invite = server.incoming.invite
    assert invite is not None
    assert invite.uri == f"{SERVER};play=rio;param1={RIO}"
    assert invite.to_value == f"<{SERVER}>", "what stands in To comes back in every response"
    assert invite.get("p-asserted-identity") == f"<sip:{ANA}@cloudline.example>"
    assert not invite.has("diversion")
    assert not invite.has("history-info")
    server.answer(sdp(6000))
    stage.run(5.0)
    assert call.status == 200
    server.bye(server.incoming)
    stage.run(1.0)
    assert call.over
    for message in stage.sent(ana):
        assert RIO.encode() not in message.data
    _is_told_to_nobody_else(stage)
    record = stage.record
    assert (record.direction, record.number, record.dialled, record.reason) == (
        "outgoing",
        ANA,
        SERVICE,
        "normal_clearing",
    )
    media = record.legs[1]
    assert (media.number, media.device_class, media.address) == ("rio", "media", "10.0.9.1:5060")


def the_rio_of_a_line_that_has_not_paid(stage: Stage) -> None:
    """Nobody is kept from leaving."""
    server = _with_server(stage)
    found = stage.world.directory.number(ANA)
    assert found is not None
    stage.world.directory.put_one(dataclasses.replace(found, state=NumberState.EXPIRED))
    ana, call = _asks(stage)
    server.answer(sdp(6000))
    stage.run(0.5)
    ana.bye(call)
    stage.run(0.5)
    assert server.incoming.over
    assert (stage.record.number, stage.record.reason) == (ANA, "normal_clearing")


def the_rio_server_refuses(stage: Stage) -> None:
    """The caller is told that the message comes, and so is the record."""
    server = _with_server(stage)
    _, call = _asks(stage)
    server.reply(server.incoming, 503)
    stage.run(0.5)
    assert call.status == 480
    assert 'text="rio_by_message"' in (call.responses[-1].get("reason") or "")
    assert stage.record.reason == "rio_by_message"
    _is_told_to_nobody_else(stage)


def the_rio_server_is_silent(stage: Stage) -> None:
    server = _with_server(stage)
    server.node.up = False
    _, call = _asks(stage)
    stage.run(40.0)
    assert call.status == 480
    assert stage.record.reason == "rio_by_message"


def who_asks_for_the_rio_hangs_up(stage: Stage) -> None:
    server = _with_server(stage)
    ana, call = _asks(stage)
    server.ring()
    stage.run(0.5)
    ana.cancel(call)
    stage.run(1.0)
    assert server.incoming.cancelled
    assert stage.record.reason == "caller_cancelled"
    _is_told_to_nobody_else(stage)


def a_rio_that_does_not_come_in_time(stage: Stage) -> None:
    """The database is slow: after two seconds the call is refused, and the message sent when it can be."""
    server = _with_server(stage)
    stage.world.rios.away = True
    _, call = _asks(stage)
    assert call.statuses == [100]
    stage.run(2.0)
    assert call.status == 480
    assert not server.dialogs
    assert stage.record.reason == "rio_by_message"


def a_line_without_a_rio(stage: Stage) -> None:
    server = _with_server(stage)
    stage.world.rios.known.clear()
    _, call = _asks(stage)
    assert call.status == 480
    assert not server.dialogs
    assert (stage.record.reason, stage.record.number) == ("no_rio", ANA)


def transfer_to_the_rio_service(stage: Stage) -> None:
    """Whoever knows the RIO of a line can take it away: it is told to the line, and to nobody whom the line transfers."""
    server = _with_server(stage)
    stage.world.rios.known[BEN] = RIO
    carrier, ben, call, talk = ben_talks_with_the_carrier(stage)
    refer(ben, talk, f"<sip:{SERVICE}@cloudline.example>")
    stage.run(2.0)
    assert talk.last("REFER").status == 202
    assert reports(talk) == ["100 Trying", "403 Forbidden"]
    assert not server.dialogs
    assert not call.got("INVITE")
    assert talk.live
    carrier.bye(call)
    stage.run(1.0)
    assert talk.over
    assert RIO not in stage.record.trace
    assert stage.record.reason == "normal_clearing", "and no message is sent"


def the_rio_by_callback(stage: Stage) -> None:
    """A phone without data: its SIM is called and hears the server."""
    server = _with_server(stage)
    sim, carrier = _parties(stage)
    _call_back(stage, SERVICE)
    leg = _pick_up(stage, sim)
    invite = server.incoming.invite
    assert invite is not None
    assert invite.uri.endswith(f";play=rio;param1={RIO}")
    assert SIM not in invite.data.decode()
    server.answer(sdp(6000))
    stage.run(1.0)
    assert b"m=audio 6000" in leg.got("INVITE")[-1].body
    server.bye(server.incoming)
    stage.run(1.0)
    assert leg.over
    assert not carrier.dialogs
    _is_told_to_nobody_else(stage)
    assert (stage.record.number, stage.record.reason) == (ANA, "normal_clearing")
