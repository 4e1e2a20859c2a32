"""Two calls of one person, and the wish to bring the others together: what the scenarios of transfers begin with."""

from __future__ import annotations

from tests.scenarios.stage import BEN, CALLER, CLEO, Stage
from tests.support.party import Dialog, Headers, Party, sdp


def refer(party: Party, dialog: Dialog, target: str, headers: Headers = ()) -> None:
    party.request(dialog, "REFER", headers=(("refer-to", target), *headers))


def reports(dialog: Dialog) -> list[str]:
    """What the transferor was told, in order."""
    return [m.body.decode().strip().removeprefix("SIP/2.0 ") for m in dialog.got("NOTIFY")]


def answer_reinvites(party: Party, port: int) -> None:
    party.answers = port


def ben_talks_with_the_carrier(stage: Stage) -> tuple[Party, Party, Dialog, Dialog]:
    """A carrier called Ben, who will transfer: (carrier, ben, the carrier's dialog, Ben's)."""
    ben = stage.phone("ben-phone")
    carrier = stage.carrier()
    answer_reinvites(carrier, 4100)
    stage.begin()
    call = carrier.call(BEN, caller=CALLER)
    return carrier, ben, call, stage.talk(carrier, call, ben, sdp(6000))


def replaces(dialog: Dialog) -> str:
    """Replaces value (escaped for a URI) of a dialog, as the one who holds it writes it down for somebody else."""
    remote = dialog.remote.rpartition(";tag=")[2]
    local = dialog.local.rpartition(";tag=")[2]
    return f"{dialog.call_id}%3Bto-tag%3D{remote}%3Bfrom-tag%3D{local}"


def consultation(stage: Stage) -> tuple[Party, Party, Party, Dialog, Dialog, Dialog, Dialog]:
    """A carrier called Ben, who called Cleo to ask her: both calls are up."""
    cleo = stage.phone("cleo-phone")
    answer_reinvites(cleo, 7100)
    carrier, ben, call, talk = ben_talks_with_the_carrier(stage)
    consult = ben.call(CLEO, sdp(6001))
    hers = stage.talk(ben, consult, cleo, sdp(7000))
    return carrier, ben, cleo, call, talk, consult, hers
