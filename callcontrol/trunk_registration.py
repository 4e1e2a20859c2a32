"""We register with carriers: the shell of ``gateway.registration`` (trunks with ``register = true``).

Each trunk registers with each of its peers.  The contact's user part is a word that only carrier and we know, and that stays the
same over restarts; by it, or by the address that took the registration, a call is known to come from that trunk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from callcontrol.carrier_account import Account, contact_user, granted_seconds, is_same, same_contact, whole
from callcontrol.core import Core
from callcontrol.ids import KeyedIds
from callcontrol.logs import get_logger
from callcontrol.ports import Resolver
from callcontrol.register_duty import Entry, RegisterDuty, SharedTable, Table
from callcontrol.sip import build, digest
from callcontrol.sip.endpoint import Endpoint
from callcontrol.sip.errors import RemoteProtocolError
from callcontrol.sip.fields import split_list
from callcontrol.sip.flow import Flow
from callcontrol.sip.message import Message
from callcontrol.sip.uri import escape_user
from callcontrol.sip.usage import Contacts
from callcontrol.trunking import Trunking, our_domain, retry_after
from gateway.registration import FAILED, LEFT, REGISTERED, Registration, RegistrationPolicy
from gateway.routes import peer_key
from gateway.trunk import Trunk

__all__ = ["Registrations", "contact_user"]

PER_TURN: Final = 5
MAX_ROUTES: Final = 10


class Registrations:
    """All of them.  ``tick`` a few times a second."""

    def __init__(
        self,
        core: Core,
        endpoint: Endpoint,
        trunking: Trunking,
        resolver: Resolver,
        ids: KeyedIds,
        contacts: Contacts,
        agent: str,
        monotonic: Callable[[], float],
        wall: Callable[[], float],
        dice: Callable[[], float],
        policy: RegistrationPolicy,
        scope: str,
    ) -> None:
        """``scope`` makes the identifiers of this process its own; ``agent``: our User-Agent."""
        self._core = core
        self._endpoint = endpoint
        self._trunking = trunking
        self._resolver = resolver
        self._ids = ids
        self._contacts = contacts
        self._agent = agent
        self._monotonic = monotonic
        self._wall = wall
        self._dice = dice
        self._policy = policy
        self._scope = f"register {scope}"
        self._count = 0
        self._followed: int | None = None
        self._accounts: dict[str, Account] = {}
        self._by_contact: dict[str, Account] = {}
        self._by_host: dict[str, list[Account]] = {}
        """By the address that took the registration."""
        self._leaving: list[Account] = []
        """Of trunks that are gone or have changed: unregistered before they are forgotten."""
        self._stopped = False
        self.duty: RegisterDuty | None = None
        """Which of several nodes registers; None: each does."""
        self._active = True
        self._ask_at = 0.0
        self._shared = SharedTable()
        """What the node has registered that has the duty."""
        self._log = get_logger("trunks")
        self.results: dict[tuple[str, str], int] = {}
        """(trunk, class of the answer or ``timeout``) -> REGISTERs."""

    # -- what others ask ------------------------------------------------------------------------------------

    def routes(self, trunk: str, peer: str) -> list[str] | None:
        """Service-Route of the registration at a peer; None when we are not registered there."""
        if not self._active:
            return self._shared.routes(peer_key(trunk, peer))
        account = self._accounts.get(peer_key(trunk, peer))
        return account.routes if account is not None and account.machine.bound else None

    def match(self, user: str, host: str) -> Trunk | None:
        """The trunk of a call to ``user`` (of the Request-URI) that came from ``host``: by the registered contact, else by
        the address that took a registration, if it took those of one trunk only.
        """
        account = self._by_contact.get(user)
        if account is not None:
            return account.trunk
        if not self._active:
            return self._trunking.directory.get(self._shared.trunk_of(host))
        there = self._by_host.get(host)
        if not there:
            return None
        trunks = {account.trunk.ref: account.trunk for account in there if account.machine.bound}
        return trunks.popitem()[1] if len(trunks) == 1 else None

    def is_contact(self, trunk: str, user: str) -> bool:
        """Whether ``user`` is what we registered for the trunk, and so no number."""
        account = self._by_contact.get(user)
        return account is not None and account.trunk.ref == trunk

    def machine(self, trunk: str, peer: str) -> Registration | None:
        """State of one registration; None for peers that are not registered with."""
        account = self._accounts.get(peer_key(trunk, peer))
        return account.machine if account is not None else None

    def registered(self) -> dict[tuple[str, str], int]:
        """(trunk, number of the peer from 1) -> 1 while we are registered there, else 0; for metrics."""
        found: dict[tuple[str, str], int] = {}
        for account in self._accounts.values():
            number = account.trunk.peers.index(account.peer) + 1
            elsewhere = self._shared.routes(peer_key(account.trunk.ref, account.peer)) is not None
            found[account.trunk.ref, str(number)] = int(account.machine.bound if self._active else elsewhere)
        return found

    def table(self) -> list[tuple[str, str, list[str], str]]:
        """(trunk, peer, Service-Route, address that took it) of each registration in force, here or on the node on duty."""
        if not self._active:
            return self._shared.rows()
        accounts = self._accounts.values()
        return [(a.trunk.ref, a.peer, a.routes, a.host) for a in accounts if a.machine.bound]

    @property
    def left(self) -> bool:
        """Nothing of ours is registered any more, as far as we know."""
        accounts = [*self._accounts.values(), *self._leaving]
        return all(account.machine.state == LEFT for account in accounts)

    # -- time -----------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Send what is due."""
        now = self._wall()
        self._follow(now)
        self._ask_duty(now)
        if not self._active:
            return
        sent = 0
        for account in [*self._leaving, *self._accounts.values()]:
            if sent < PER_TURN and account.machine.is_due(now):
                sent += 1
                self._send(account)
            self._tell(account)
        if self._leaving:
            self._leaving = [account for account in self._leaving if account.machine.state != LEFT]

    def elect(self, duty: RegisterDuty) -> None:
        """Register only while this node has the duty; called once, before the first `tick`."""
        self.duty = duty
        self._active = False

    def _ask_duty(self, now: float) -> None:
        if self.duty is None or self._stopped or now < self._ask_at:
            return
        self._ask_at = now + self.duty.every_s
        self.duty.hold([*self._left_for_others()] if self._active else None, now, self._told)

    def _left_for_others(self) -> Iterator[Entry]:
        for account in self._accounts.values():
            if account.machine.bound:
                yield account.trunk.ref, account.peer, account.routes, account.host, account.contact

    def _told(self, mine: bool, table: Table) -> None:
        """The answer of the duty."""
        if self._stopped:
            return
        now = self._wall()
        if not mine or not self._active:
            self._shared.learn(table)
        if mine and not self._active:
            self._active = True
            for key, account in self._accounts.items():
                account.old = self._shared.contact(key)
                account.machine.begin(now)
            self._log.info("this node registers with the carriers")
        elif not mine and self._active:
            self._active = False
            for account in self._accounts.values():
                account.machine.stand_by(now)
                account.routes, account.host, account.shown = [], "", ""
            self._leaving.clear()
            self._index_hosts()
            self._log.warning("another node registers with the carriers now")

    def peer_is_back(self, trunk: str, peer: str) -> None:
        """A peer that was down answers again: it may have lost its registrations with its memory."""
        account = self._accounts.get(peer_key(trunk, peer))
        if account is not None:
            account.machine.lost(self._wall())

    def stop(self) -> None:
        """Unregister everywhere: no calls may come any more."""
        if self._stopped:
            return
        self._stopped = True
        now = self._wall()
        if self.duty is not None:
            self.duty.give_up(now)
        for account in self._accounts.values():
            account.machine.leave(now)
        while any(account.machine.is_due(now) for account in self._accounts.values()):
            self.tick()

    def _follow(self, now: float) -> None:
        directory = self._trunking.directory
        if self._followed == directory.version or self._stopped:
            return
        self._followed = directory.version
        wanted = {
            peer_key(trunk.ref, peer): (trunk, peer)
            for trunk in directory.all()
            if trunk.register
            for peer in trunk.peers
        }
        for key, account in list(self._accounts.items()):
            if key in wanted and is_same(account.trunk, wanted[key][0]):
                account.trunk = wanted[key][0]
                continue
            del self._accounts[key]
            # where the new trunk registers the same contact, taking it out would take the new one out
            if self._active and (key not in wanted or not same_contact(account.trunk, wanted[key][0])):
                account.machine.leave(now)
                self._leaving.append(account)
        for key, (trunk, peer) in wanted.items():
            if key not in self._accounts:
                machine = Registration(trunk.register_seconds, now, self._dice, self._policy)
                if not self._active:
                    machine.stand_by(now)
                self._count += 1
                call_id = f"register-{self._ids.make(self._scope + ' call', self._count)}"
                self._accounts[key] = Account(trunk, peer, machine, call_id)
        self._by_contact = {account.token: account for account in self._accounts.values()}
        self._index_hosts()

    def _index_hosts(self) -> None:
        self._by_host = {}
        for account in self._accounts.values():
            if account.host:
                self._by_host.setdefault(account.host, []).append(account)

    def _tell(self, account: Account) -> None:
        machine = account.machine
        if machine.state == account.shown or machine.state not in (REGISTERED, FAILED, LEFT):
            return
        account.shown = machine.state
        say = self._log.warning if machine.state == FAILED else self._log.info
        say(
            f"trunk is {machine.state}" if machine.state != FAILED else "trunk cannot register",
            trunk=account.trunk.ref,
            peer=account.peer,
            status=machine.status,
            next_s=round(machine.due - self._wall(), 1),
        )

    # -- REGISTER -------------------------------------------------------------------------------------------

    def _send(self, account: Account) -> None:
        serial, expires = account.machine.sent()
        flow = self._resolver.direct(account.peer)
        if flow is not None:
            self._register(account, serial, expires, flow)
            return

        def resolved(flows: list[Flow]) -> None:
            if flows:
                self._register(account, serial, expires, flows[0])
            else:
                self._answered(account, serial, None, None)

        self._resolver.look_up(account.peer, resolved)

    def _register(self, account: Account, serial: int, expires: int, flow: Flow) -> None:
        self._count += 1
        account.cseq += 1
        account.flow = flow
        trunk, make = account.trunk, self._ids.make
        branch = "z9hG4bK" + make(self._scope, self._count)
        domain = our_domain(trunk)
        address = f"<sip:{escape_user(trunk.username)}@{domain}>"
        account.contact = self._contacts.uri(account.token, flow.dump(), trunk.host)
        lines = [
            ("Max-Forwards", "70"),
            ("From", f"{address};tag={make(self._scope + ' tag', self._count)}"),
            ("To", address),
            ("Call-ID", account.call_id),
            ("CSeq", f"{account.cseq} REGISTER"),
            ("Contact", f"<{account.contact}>;expires={expires}"),
            *self._of_the_dead(account, expires),
            ("Expires", str(expires)),
            ("User-Agent", self._agent),
        ]
        authorization = self._authorization(account)
        if authorization:
            lines.append(("Proxy-Authorization" if account.proxy else "Authorization", authorization))
        data = build.request("REGISTER", account.uri, lines)
        self._core.asked[branch] = lambda message, came: self._answered(account, serial, message, came)
        self._endpoint.send_request(branch, "REGISTER", data, flow, self._monotonic(), None)

    @staticmethod
    def _of_the_dead(account: Account, expires: int) -> list[tuple[str, str]]:
        """The contact that another node has left, to be taken out: the carrier would ring it until it expires."""
        if not account.old or not expires or account.old == account.contact:
            return []
        return [("Contact", f"<{account.old}>;expires=0")]

    def _authorization(self, account: Account) -> str:
        """Credentials for the challenge that we know; a nonce serves until the carrier wants another one."""
        challenge, trunk = account.challenge, account.trunk
        if challenge is None or not trunk.login:
            return ""
        account.count += 1
        cnonce = self._ids.make(self._scope + " cnonce", self._count)
        return digest.answer(
            challenge, "REGISTER", account.uri, trunk.login, trunk.password, b"", cnonce, account.count
        )

    def _answered(self, account: Account, serial: int, message: Message | None, flow: Flow | None) -> None:
        machine = account.machine
        if not machine.is_current(serial):
            return
        now = self._wall()
        status = 0 if message is None else message.status
        word = f"{status // 100}xx" if status else "timeout"
        counted = (account.trunk.ref, word)
        self.results[counted] = self.results.get(counted, 0) + 1
        again = False
        if status in (401, 407) and message is not None:
            again = account.used = self._on_challenge(account, message, now)
        else:
            account.used = False
            if message is None:
                machine.refused(0, 0.0, now)
            elif status < 300:
                self._on_accepted(account, message, now)
            elif status == 423:
                again = machine.too_brief(whole(message.get("min-expires")), now)
            else:
                account.old = ""  # perhaps it was that which the carrier did not like
                machine.refused(status, retry_after(message), now)
        if again:
            self._send(account)
        host = account.host
        if not machine.bound:
            account.routes, account.host = [], ""
        elif flow is not None and status < 300:
            account.host = flow.host
        if account.host != host:
            self._index_hosts()
        self._tell(account)

    def _on_challenge(self, account: Account, message: Message, now: float) -> bool:
        """True when the REGISTER goes again with credentials."""
        account.proxy = message.status == 407
        header = "proxy-authenticate" if account.proxy else "www-authenticate"
        try:
            chosen = digest.choose(digest.parse_challenges(message.all(header)))
        except RemoteProtocolError:
            chosen = None
        if chosen is None or not account.trunk.login:
            account.challenge = None
            account.machine.refused(message.status, 0.0, now)
            return False
        account.challenge, account.count = chosen, 0
        if account.machine.challenged(chosen.stale, account.used, now):
            return True
        account.challenge = None
        return False

    def _on_accepted(self, account: Account, message: Message, now: float) -> None:
        account.old = ""
        account.machine.accepted(granted_seconds(account, message), now)
        account.routes = [
            route for value in message.all("service-route")[:MAX_ROUTES] for route in split_list(value)
        ][:MAX_ROUTES]
