"""A small company in provisioning documents, for tests."""

from __future__ import annotations

from callcontrol.provisioning import Document
from numbering.models import PlanLimits

PLANS = {
    "starter": PlanLimits(devices=1, numbers=2, greeting=False),
    "standard": PlanLimits(devices=3, numbers=5),
    "advanced": PlanLimits(devices=3, numbers=10),
}

ACME = """\
[[account]]
ref = "acme"
kind = "company"
plan = "advanced"
manager = "ana"

[[user]]
ref = "ana"
account = "acme"
name = "Ana Example"
email = "ana@acme.example"

[[user]]
ref = "ben"
account = "acme"
name = "Ben \\"the\\" Example"

[[device]]
ref = "ana-phone"
user = "ana"
kind = "phone"                # phone | desktop | browser
sim = "+33639980001"
sim_verified = true
sip_username = "ana-phone"
sip_password = "secret"
answer = "voip"

[[device]]
sip_username = "ben-desk"
sip_password = "tres'secret"
user = "ben"
kind = "desktop"

[[number]]
e164 = "+33 6 39 98 10 01"
user = "ana"
category = "standard"
calls = true
voicemail = false
hide = false
ring_seconds = 30
gsm_fallback = false
block = ["+33639989999", "anonymous"]
[number.forward]
mode = "off"

[[number]]
e164 = "+33639981002"
user = "ben"
hide = true

[[trunk]]
ref = "carrier-a"
peers = ["sip:127.0.0.1:5080;transport=udp"]
accept_from = ["127.0.0.1/32"]
port_must_match = true
prefixes = ["+", { prefix = "+33", cost = 0.012 }]
priority = 10
weight = 100
max_channels = 100
max_cps = 50
number_format = "e164"
options_seconds = 30
"""


def acme(text: str = ACME) -> list[Document]:
    return [Document("acme.toml", text)]
