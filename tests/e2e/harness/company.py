"""A company in the world of the tests: people of all kinds, Greetings, a voicemail server, a broker that pushes.

Calls come in by one carrier and go out by another, so that SIPp can be both at the same time.
"""

from __future__ import annotations

import json
import queue
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from loadtests import ports, proc
from tests.e2e.harness.agent import Agent
from tests.e2e.harness.dialog import Leg
from tests.e2e.harness.server import HOST
from tests.e2e.harness.sipp import SippRun
from tests.e2e.harness.wire import NothingCame, UdpWire
from tests.e2e.harness.world import OUTSIDE, PASSWORD, World

INBOUND, OUTBOUND, MOBILE = "carrier-b", "carrier-a", "carrier-ouest"
"""Who brings calls, who takes those to the outside world, and who takes those to SIMs."""
AWAY = "+33199001240"
"""A number of the outside world to which calls are forwarded."""
RING_S = 2
"""How long people ring here."""
WAKE_S = 2.5
MEDIA_HOST = "127.0.0.7"
PUSH_PASSWORD = "push-secret"
SIMS = {"gus": "+33639980011", "hal": "+33639980012"}
OUTCOME_FIELDS = ("user", "device", "outcome", "why")
BARRED = '["premium", "shared_cost", "priced_short", "unknown_short"]'
Told = dict[str, str]


class App:
    """The part of an app that waits for pushes."""

    def __init__(self, device: str, port: int) -> None:
        self.news: queue.Queue[dict[str, Any]] = queue.Queue()
        ready: queue.Queue[bool] = queue.Queue()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id=device)
        self._client.username_pw_set(device, PUSH_PASSWORD)
        self._client.on_connect = lambda client, *_: client.subscribe(f"cloudline/v1/devices/{device}/push")
        self._client.on_subscribe = lambda *_: ready.put(True)
        self._client.on_message = lambda _client, _data, message: self.news.put(json.loads(message.payload))
        self._client.connect(HOST, port)
        self._client.loop_start()
        ready.get(timeout=5)

    def next(self, kind: str, timeout: float = 8.0) -> dict[str, Any]:
        """The next push, which must be of this type."""
        try:
            push = self.news.get(timeout=timeout)
        except queue.Empty:
            raise NothingCame(f"no push {kind} came") from None
        assert push["type"] == kind, push
        return push

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


class Company(World):
    """The usual world with more people.

    Eve's phone sleeps and can be woken; so does Hal's, whose SIM is called when it does not come. Gus takes calls on his SIM.
    Ivy has call waiting. Fay is never there.
    """

    def __init__(self, folder: Path, documents: str = "", blocked_as: str = "declined") -> None:
        self.media_port = ports.free_port(MEDIA_HOST)
        self.broker_port = ports.free_port(HOST)
        self._documents = documents
        super().__init__(
            folder,
            settings=f"""
[media]
voicemail_uri = "sip:voicemail@{MEDIA_HOST}:{self.media_port}"

[mqtt]
url = "embedded"
listen = "{HOST}:{self.broker_port}"
""",
        )
        calls = f'ring_seconds = 5\nwake_deadline_seconds = {WAKE_S}\nblocked_as = "{blocked_as}"'
        config = self.server.config
        text = config.read_text().replace("ring_seconds = 5", calls).replace("numbers = 5", "numbers = 30")
        config.write_text(text)

    def start(self) -> None:
        """Start with the class of premium numbers barred, which it was not when the documents were written."""
        config = self.server.config
        text = config.read_text()
        config.write_text(text.replace("blocked_as", f"barred_classes = {json.dumps([])}\nblocked_as"))
        self.apply(self.document(ben=f"ring_seconds = {RING_S}") + self._documents)
        config.write_text(text)
        self.server.start()
        assert proc.wait_until(lambda: self.server.metric("cloudline_mqtt_up") == 1, 10)

    def document(self, **changes: str) -> str:
        text = super().document(**changes).replace('prefixes = ["+332"]', 'prefixes = ["+33639980"]')
        for user in ("eve", "fay", "gus", "hal", "ivy"):
            waiting = "call_waiting = true\n" if user == "ivy" else ""
            text += f'\n[[user]]\nref = "{user}"\naccount = "acme"\nname = "{user.title()}"\n{waiting}'
            text += f'\n[[device]]\nref = "{user}-1"\nuser = "{user}"\nsip_username = "{user}-1"\n'
            text += f'sip_password = "{PASSWORD}"\n'
            if user in SIMS:
                text += f'kind = "phone"\nsim = "{SIMS[user]}"\nsim_verified = true\n'
                text += 'answer = "gsm"\n' if user == "gus" else ""
            else:
                text += 'kind = "desktop"\n'
            if user in ("eve", "hal"):
                text += f'mqtt_password = "{PUSH_PASSWORD}"\n'
        return text

    def apply(self, text: str) -> None:
        """Apply a document, which may be one object only: the rest stays."""
        done = self.server.apply(text)
        assert done.returncode == 0, f"apply: {done.stdout}{done.stderr}"

    def apply_and_see(self, text: str) -> float:
        """Apply, and wait until the running node has it; the seconds since it was written."""
        before = self.revision()
        self.apply(text)
        written = time.monotonic()
        assert proc.wait_until(lambda: self.revision() > before, 5)
        return time.monotonic() - written

    def revision(self) -> float:
        return float(self.server.api("/v1/node")["config_version"])

    # ---- people and calls

    def app(self, device: str) -> App:
        app = App(device, self.broker_port)
        self.leaves(app.close)
        return app

    def voicemail(self) -> Agent:
        """The voicemail server, played by the test."""
        wire = UdpWire(MEDIA_HOST, self.media_port, self.server.address())
        self.leaves(wire.close)
        return Agent(wire, self.server.address(), self.domain, rtp_port=ports.free_port(MEDIA_HOST))

    def voicemail_of_sipp(self) -> SippRun:
        """The voicemail server, played by SIPp: it answers one call."""
        run = SippRun("carrier_answers", self.folder / "sipp", local=(MEDIA_HOST, self.media_port))
        self.leaves(run.stop)
        assert proc.wait_until(lambda: bool(proc.udp_bound((MEDIA_HOST, self.media_port))), 3)
        return run

    def call(self, number: str, caller: str = OUTSIDE, headers: Sequence[tuple[str, str]] = ()) -> Leg:
        """A call by the carrier that brings them, every message of it written by the test."""
        return Leg.dial(self.carrier(INBOUND), number, caller, headers=headers)

    def sipp_calls(self, scenario: str, number: str, **options: object) -> SippRun:
        return self.sipp(scenario, INBOUND, calling=number, **options)

    def until_over(self, device: str) -> None:
        """Until the server knows that a device does not ring any more."""

        def over() -> bool:
            calls = self.server.api("/v1/calls")["items"]
            legs = [leg for call in calls for leg in self.server.api(f"/v1/calls/{call['ref']}")["legs"]]
            return any(leg["device"] == device and leg["state"] == "ended" for leg in legs)

        assert proc.wait_until(over, 5), f"{device} still rings"

    # ---- what became of it

    def told(self, reference: str, by: str = "api") -> list[tuple[str, str]]:
        """Rule and outcome of each line of a call, by the API or, which takes longer, by ``cloudline calls show``."""
        server = self.server
        shown = (
            server.api(f"/v1/calls/{reference}")
            if by == "api"
            else server.cli_json("calls", "show", reference)
        )
        return _rules(shown)

    def explained(self, caller: str, called: str, *options: str) -> list[tuple[str, str]]:
        """Rule and outcome of each line that ``cloudline explain`` has for a call of the outside world."""
        view = self.server.cli_json("explain", caller, called, "--trunk", INBOUND, *options)
        return _rules(view["call"])


def greeting(number: str, *members: str, strategy: str = "cascade", more: str = "") -> str:
    """A document of a Greeting.  A member is a user, or a user and fields: ``eve, ring_seconds = 8``."""
    listed = []
    for each in members:
        user, comma, fields = each.partition(",")
        listed.append(f'{{ user = "{user}"{comma}{fields} }}')
    return (
        f'[[greeting]]\nnumber = "{number}"\naccount = "acme"\nstrategy = "{strategy}"\n'
        f"members = [{', '.join(listed)}]\nring_seconds = {RING_S}\n{more}\n"
    )


def number(e164: str, *lines: str, user: str = "ben") -> str:
    return "\n".join(
        ["[[number]]", f'e164 = "{e164}"', f'user = "{user}"', f"ring_seconds = {RING_S}", *lines, ""]
    )


def forward(to: str, mode: str = "all", causes: str = "") -> str:
    listed = f"\ncauses = {causes}" if causes else ""
    return f'[number.forward]\nmode = "{mode}"\nto = "{to}"{listed}'


def outcomes(record: dict[str, Any]) -> Told:
    """What the record says of each device (of a user none of whose devices was rung: of the user)."""
    rows = [dict(zip(OUTCOME_FIELDS, row, strict=False)) for row in json.loads(record["offers"])]
    return {row["device"] or row["user"]: row["outcome"] for row in rows}


def lines_of(record: dict[str, Any]) -> list[tuple[str, str, str]]:
    """The trace of a record: rule, outcome, detail."""
    return [(line[0], line[1], line[2]) for line in json.loads(record["trace"])]


def _rules(call: dict[str, Any]) -> list[tuple[str, str]]:
    return [(line["rule"], line["outcome"]) for line in call["trace"]]


def refusals(record: dict[str, Any]) -> list[tuple[str, str]]:
    """Rules that refused something, and as what."""
    return [(rule, outcome) for rule, outcome, _ in lines_of(record) if outcome.startswith("refuse:")]


def closed_now(zone: str = "Europe/Paris") -> str:
    """Opening hours that neither this moment nor the next two days are within."""
    import datetime

    day = (datetime.datetime.now(ZoneInfo(zone)) + datetime.timedelta(days=3)).strftime("%a").lower()
    return f'days = ["{day}"]\nfrom = "10:00"\nto = "11:00"\n'
