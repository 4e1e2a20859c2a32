"""Two accounts that must not see each other, and the tokens of one."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from callcontrol.access.tokens import Scope
from callcontrol.phone_requests import Ok, Reply
from tests.support.acme import ACME
from tests.support.api import ApiWorld

ZETA = """
[[account]]
ref = "zeta"
kind = "company"
manager = "zoe"

[[user]]
ref = "zoe"
account = "zeta"
name = "Zoe Example"
email = "zoe@zeta.example"

[[device]]
ref = "zoe-phone"
user = "zoe"
sim = "+33639980009"
sip_username = "zoe-phone"
sip_password = "hush-hush"

[[number]]
e164 = "+33639981009"
user = "zoe"

[[greeting]]
number = "+33639987009"
account = "zeta"
members = ["zoe"]

[[gateway_number]]
e164 = "+33199000001"
trunk = "carrier-a"
kind = "call_through"

[[rate]]
prefix = "+44"
per_minute = "0.05"

[[package]]
ref = "europe-600"
zones = ["europe"]
minutes = 600

[[rate]]
table = "zetas"
prefix = "+44"
per_minute = "0.01"

[[package]]
ref = "zetas-600"
zones = ["world"]
"""
GREETING = """
[[greeting]]
number = "+33639987000"
account = "acme"
members = ["ana", "ben"]
zone = "Europe/Paris"
[[greeting.open]]
days = ["mon", "tue", "wed", "thu", "fri"]
from = "09:00"
to = "18:00"
"""
WORLD = GREETING + ACME.replace('manager = "ana"\n', 'manager = "ana"\npackages = ["europe-600"]\n', 1) + ZETA
ZETAS_WORDS = ("zeta", "zoe", "Zoe", "+33639980009", "+33639981009", "+33639987009", "hush")
"""What nobody of acme may ever read."""

SUBJECTS = {Scope.OPERATOR: "", Scope.MANAGER: "acme", Scope.USER: "ana", Scope.DEVICE: "ana-phone"}


async def tokens(world: ApiWorld) -> dict[Scope, str]:
    """A token of each scope, of acme's people."""
    return {scope: await world.token(scope, subject) for scope, subject in SUBJECTS.items()}


class Phones:
    """Answers the apps of phones with what they ask."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Mapping[str, object]]] = []

    def handle(
        self, device_ref: str, request: Mapping[str, object], now: float, done: Callable[[Reply], None]
    ) -> None:
        self.asked.append((device_ref, request))
        fields: dict[str, object] = {
            "lease": "l1",
            "gateway_number": "+33199000001",
            "expires_in_s": 45,
            "number": "+33639981001",
            "to": str(request.get("to", "")),
            "callback": "k1",
            "verification": "v1",
            "state": "pending",
        }
        done(Ok(fields=fields))
