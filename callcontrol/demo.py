"""``cloudline serve --demo`` and ``cloudline demo call``: a node on loopback that anyone can call within a minute.

The demo call is a real one: a small carrier and a small softphone speak SIP over UDP with the running node.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncEngine

from callcontrol.demo_agent import Agent
from callcontrol.operator_access import NodeNote
from callcontrol.plans import plan_table
from callcontrol.provisioning import Document, SqlProvisioningStore, apply
from callcontrol.sip.events import RequestReceived
from callcontrol.sip.flow import Listeners
from config.settings import Settings

DOMAIN: Final = "cloudline.example"
ANA: Final = "+33639981001"
BEN: Final = "+33639981002"
OUTSIDE: Final = "+33199001234"
SIM: Final = "+33639980001"
"""Of ana's phone."""
GATEWAY: Final = "+33199000001"
GREETING: Final = "+33639987000"
"""Number of the company, which hunts for ana, then ben."""
PASSWORD: Final = "demo"
RING_S: Final = 2.0
"""How long the demo's softphone rings before it answers."""
TALK_S: Final = 1.0

_DOCUMENT: Final = """
[[account]]
ref = "demo"
kind = "company"
plan = "advanced"
manager = "ana"

[[user]]
ref = "ana"
account = "demo"
name = "Ana Example"

[[user]]
ref = "ben"
account = "demo"
name = "Ben Example"

[[device]]
ref = "ana-phone"
user = "ana"
kind = "phone"
sim = "{sim}"
sim_verified = true
sip_username = "ana-phone"
sip_password = "{password}"

[[device]]
ref = "ana-demo"
user = "ana"
kind = "desktop"
sip_username = "ana-demo"
sip_password = "{password}"

[[device]]
ref = "ben-phone"
user = "ben"
kind = "phone"
sim = "+33639980002"
sim_verified = true
sip_username = "ben-phone"
sip_password = "{password}"

[[number]]
e164 = "{ana}"
user = "ana"

[[number]]
e164 = "{ben}"
user = "ben"

[[greeting]]
number = "{greeting}"
account = "demo"
members = ["ana", "ben"]
ring_seconds = 20
repeat = 1

[[trunk]]
ref = "demo-carrier"
peers = ["sip:127.0.0.1:{carrier};transport=udp"]
accept_from = ["127.0.0.1/32"]
port_must_match = true
prefixes = ["+"]
options_seconds = 0

[[gateway_number]]
e164 = "{gateway}"
trunk = "demo-carrier"
kind = "call_through"

[[gateway_number]]
e164 = "+33199000002"
trunk = "demo-carrier"
kind = "call_through"

[[gateway_number]]
e164 = "+33199000003"
trunk = "demo-carrier"
kind = "verification"
"""


def settings_for(settings: Settings, folder: Path) -> Settings:
    """The settings of a demo node: loopback, SQLite and journal in ``folder``, test networks trusted."""
    sip = free_port(5060)
    http = free_port(8080)
    return settings.model_copy(
        update={
            "sip": settings.sip.model_copy(
                update={"listen": (f"udp:127.0.0.1:{sip}", f"tcp:127.0.0.1:{sip}"), "domain": DOMAIN}
            ),
            "http": settings.http.model_copy(update={"listen": f"127.0.0.1:{http}"}),
            "database": settings.database.model_copy(
                update={"url": f"sqlite+aiosqlite:///{folder / 'demo.db'}"}
            ),
            "cdr": settings.cdr.model_copy(update={"outbox": str(folder / "outbox")}),
            "limits": settings.limits.model_copy(update={"trust_test_networks": True}),
            "node": settings.node.model_copy(update={"drain_seconds": 2.0}),
        }
    )


def free_port(wanted: int) -> int:
    """``wanted`` if UDP and TCP of it are free on loopback, else any that is."""
    for port in (wanted, 0):
        with (
            socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        ):
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                tcp.bind(("127.0.0.1", port))
                taken = int(tcp.getsockname()[1])
                udp.bind(("127.0.0.1", taken))
            except OSError:
                continue
            return taken
    raise OSError("no free port on 127.0.0.1")


def carrier_port(settings: Settings) -> int:
    """Port of the demo's carrier: beside the node's own."""
    return int(settings.sip.listen[0].rpartition(":")[2]) + 20


async def provision(engine: AsyncEngine, settings: Settings) -> None:
    """Put the demo's users, numbers and trunk into the database."""
    text = _DOCUMENT.format(
        password=PASSWORD,
        ana=ANA,
        ben=BEN,
        greeting=GREETING,
        gateway=GATEWAY,
        sim=SIM,
        carrier=carrier_port(settings),
    )
    await apply([Document("demo", text)], SqlProvisioningStore(engine), plans=plan_table(settings))


def facts(listeners: Listeners, settings: Settings) -> dict[str, str]:
    """What ``cloudline demo call`` has to know."""
    udp = next(listener for listener in listeners.all() if listener.transport == "udp")
    return {
        "sip": f"{udp.host}:{udp.port}",
        "carrier": str(carrier_port(settings)),
        "domain": DOMAIN,
        "database": settings.database.url,
    }


def banner(listeners: Listeners, settings: Settings) -> list[str]:
    """What to type into a softphone, and the command that needs none."""
    address = facts(listeners, settings)["sip"]
    return [
        "",
        "  Two softphone accounts (any softphone on this machine, UDP or TCP):",
        f"    user ana-phone   password {PASSWORD}   domain {DOMAIN}   server (proxy) {address}   number {ANA}",
        f"    user ben-phone   password {PASSWORD}   domain {DOMAIN}   server (proxy) {address}   number {BEN}",
        f"  Register both, and dial {BEN} from ana-phone; {GREETING} is the company, which rings ana, then ben.",
        "",
        "  Or let the demo place a call by itself, in a second terminal:",
        "    .venv/bin/cloudline demo call",
        "    .venv/bin/cloudline demo call-through    a SIM dials a gateway number and is led on",
        "    .venv/bin/cloudline demo callback        the SIM is called, then the callee, and the two are joined",
        "",
        "  Ctrl-C stops the node.",
    ]


# -- the demo call --------------------------------------------------------------------------------------------------


def place_call(note: NodeNote, say: Callable[[str], None]) -> str:
    """Register a softphone, call its number from the carrier, talk, hang up.  Returns the call reference.

    Raises RuntimeError when a step does not happen, OSError when a socket cannot be used.
    """
    host, _, port = note.extra["sip"].rpartition(":")
    domain = note.extra["domain"]
    with Agent("ana-demo", (host, int(port)), domain) as phone:
        phone.register(PASSWORD)
        say(f"registered a softphone as ana-demo ({phone.address})")
        with Agent(OUTSIDE, (host, int(port)), domain, int(note.extra["carrier"])) as carrier:
            say(f"the demo's carrier calls {ANA} from {OUTSIDE}")
            return _talk(phone, carrier, say)


def _talk(phone: Agent, carrier: Agent, say: Callable[[str], None]) -> str:
    call = carrier.invite(ANA)
    incoming = phone.wait("the INVITE", lambda: phone.request("INVITE"), carrier)
    ref = incoming.message.get("x-cloudline-call") or ""
    if not ref:
        raise RuntimeError("the INVITE carries no call reference")
    phone.respond(incoming, 180)
    say("ana-demo rings")
    phone.pause(RING_S, carrier)
    phone.respond(incoming, 200, phone.description())
    answer = carrier.wait("the answer", lambda: carrier.response("INVITE", 200), phone)
    carrier.acknowledge(call, answer)
    say("answered" if answer.status < 300 else f"ended with {answer.status} {answer.reason}")
    if answer.status >= 300:
        return ref
    carrier.pause(TALK_S, phone)
    carrier.bye(call, answer)
    bye = phone.wait("the BYE", lambda: phone.request("BYE"), carrier)
    phone.respond(bye, 200)
    carrier.wait("the end", lambda: carrier.response("BYE", 200), phone)
    say("hung up")
    phone.pause(0.3, carrier)
    return ref


# -- calls over the GSM network -------------------------------------------------------------------------------------

Ask = Callable[[str, dict[str, str]], Mapping[str, Any]]
"""(path, body) -> what the API answered."""


def call_through(note: NodeNote, ask: Ask, say: Callable[[str], None]) -> str:
    """The app asks for a gateway number, the SIM dials it, the callee answers.  Returns the call reference.

    One small carrier plays both networks: the one that brings the SIM's call, and the one that the callee is in.  Raises
    RuntimeError when a step does not happen, OSError when a socket cannot be used.
    """
    with _carrier(note) as carrier:
        told = ask("/v1/call-through", {"device": "ana-phone", "number": ANA, "to": OUTSIDE})
        gateway = str(told["gateway_number"])
        say(f"ana's app asks to call {OUTSIDE} from {ANA}: dial {gateway} within {told['expires_in_s']} s")
        say(f"the SIM {SIM} dials {gateway} over the GSM network")
        call = carrier.invite(gateway, SIM)
        incoming = carrier.wait("the INVITE", lambda: carrier.request("INVITE"), carrier)
        shown = carrier.caller_of(incoming)
        carrier.respond(incoming, 180)
        say(f"the carrier rings {OUTSIDE}, which sees {shown}")
        carrier.pause(RING_S, carrier)
        carrier.respond(incoming, 200, carrier.description())
        answer = carrier.wait("the answer", lambda: carrier.response("INVITE", 200), carrier)
        carrier.acknowledge(call, answer)
        if answer.status >= 300:
            raise RuntimeError(f"the SIM got {answer.status} {answer.reason}")
        say("answered: the two talk")
        carrier.pause(TALK_S, carrier)
        carrier.bye(call, answer, SIM)
        bye = carrier.wait("the BYE", lambda: carrier.request("BYE"), carrier)
        carrier.respond(bye, 200)
        carrier.wait("the end", lambda: carrier.response("BYE", 200), carrier)
        say("the SIM hangs up")
        carrier.pause(0.3, carrier)
        return _ref_of(incoming)


def callback(note: NodeNote, ask: Ask, say: Callable[[str], None]) -> str:
    """The app asks to be called back: the SIM rings, then the callee, and both are joined.  Returns the call reference.

    Raises RuntimeError when a step does not happen, OSError when a socket cannot be used.
    """
    with _carrier(note) as carrier:
        told = ask("/v1/callbacks", {"device": "ana-phone", "number": ANA, "to": OUTSIDE})
        say(f"ana's app asks to be called back and led to {OUTSIDE} from {ANA}")
        sim = carrier.wait("the SIM's INVITE", lambda: carrier.request("INVITE"), carrier)
        carrier.respond(sim, 180)
        say(f"the SIM {SIM} rings and sees {carrier.caller_of(sim)}")
        carrier.pause(RING_S, carrier)
        carrier.respond(sim, 200, carrier.description())
        callee = carrier.wait("the callee's INVITE", lambda: carrier.request("INVITE"), carrier)
        carrier.respond(callee, 180)
        say(f"ana picks up; {OUTSIDE} rings and sees {carrier.caller_of(callee)}")
        carrier.pause(RING_S, carrier)
        carrier.respond(callee, 200, carrier.description())
        joined = carrier.wait("the re-INVITE", lambda: carrier.request("INVITE"), carrier)
        carrier.respond(joined, 200, carrier.description())
        say("answered: the two are joined")
        carrier.pause(TALK_S, carrier)
        carrier.hang_up(callee)
        bye = carrier.wait("the BYE", lambda: carrier.request("BYE"), carrier)
        carrier.respond(bye, 200)
        carrier.wait("the end", lambda: carrier.response("BYE", 200), carrier)
        say("the callee hangs up")
        carrier.pause(0.3, carrier)
        return str(told["callback"])


def _carrier(note: NodeNote) -> Agent:
    host, _, port = note.extra["sip"].rpartition(":")
    return Agent(OUTSIDE, (host, int(port)), note.extra["domain"], int(note.extra["carrier"]))


def _ref_of(event: RequestReceived) -> str:
    """The call reference, with which our Call-IDs begin."""
    return event.message.call_id.partition(".")[0]
