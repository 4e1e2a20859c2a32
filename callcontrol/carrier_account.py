"""One trunk at one of its peers, as `callcontrol.trunk_registration` registers it."""

from __future__ import annotations

from hashlib import blake2s
from typing import Final

from callcontrol.sip import digest
from callcontrol.sip.errors import RemoteProtocolError
from callcontrol.sip.fields import parse_name_addr, split_list
from callcontrol.sip.flow import Flow
from callcontrol.sip.message import Message
from gateway.registration import Registration
from gateway.trunk import Trunk


def contact_user(trunk: Trunk, peer: str) -> str:
    """User part of the contact that we register: unguessable without the password, the same after a restart."""
    word = blake2s(f"{trunk.ref} {peer}".encode(), key=trunk.password.encode()[:32], digest_size=10)
    return f"t-{word.hexdigest()}"


class Account:
    """One trunk at one peer."""

    __slots__ = (
        "call_id",
        "challenge",
        "contact",
        "count",
        "cseq",
        "flow",
        "host",
        "machine",
        "old",
        "peer",
        "proxy",
        "routes",
        "shown",
        "token",
        "trunk",
        "uri",
        "used",
    )

    def __init__(self, trunk: Trunk, peer: str, machine: Registration, call_id: str) -> None:
        self.trunk = trunk
        self.peer = peer
        self.machine = machine
        self.call_id = call_id
        self.token = contact_user(trunk, peer)
        scheme, _, rest = (trunk.registrar or peer).partition(":")
        self.uri = f"{scheme}:{rest.partition(';')[0]}"
        self.cseq = 0
        self.contact = ""
        self.old = ""
        """Contact of a node that registered before us: it is taken out with our next REGISTER."""
        self.host = ""
        """Address that answered."""
        self.flow: Flow | None = None
        self.routes: list[str] = []
        self.challenge: digest.Challenge | None = None
        self.proxy = False
        self.count = 0
        """Uses of the nonce."""
        self.used = False
        """The REGISTER under way has credentials for a nonce of this attempt."""
        self.shown = ""
        """State that was last logged."""


_CONTACT: Final = ("username", "password", "registrar", "domain", "host")
_LOGIN: Final = (*_CONTACT, "auth_username", "register_seconds")


def is_same(one: Trunk, other: Trunk) -> bool:
    """The registration of a changed trunk may go on: nothing that it consists of is other than before."""
    return all(getattr(one, name) == getattr(other, name) for name in _LOGIN)


def same_contact(one: Trunk, other: Trunk) -> bool:
    """Both register the same contact for the same address of record."""
    return all(getattr(one, name) == getattr(other, name) for name in _CONTACT)


def granted_seconds(account: Account, message: Message) -> float:
    """Seconds that a 2xx gives our contact (§10.2.4): its own parameter, else Expires, else what we asked for."""
    ours = f"{account.token}@"
    granted = -1.0
    for value in message.all("contact"):
        for member in split_list(value):
            try:
                address = parse_name_addr(member)
            except RemoteProtocolError:
                continue
            expires = address.params.get("expires")
            if expires is not None and (
                address.uri == account.contact or (ours in address.uri and granted < 0)
            ):
                granted = float(whole(expires))
                if address.uri == account.contact:
                    return granted
    if granted >= 0:
        return granted
    expires = message.get("expires")
    return float(whole(expires) if expires is not None else account.machine.expires)


def whole(text: str | None) -> int:
    text = (text or "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else 0
