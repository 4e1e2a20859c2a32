"""Rows of tables to objects and back."""

from __future__ import annotations

from typing import Any

from sqlalchemy.engine import Row

from numbering.e164 import E164
from numbering.models import (
    Account,
    AccountKind,
    CloudNumber,
    Device,
    DeviceKind,
    Greeting,
    NumberState,
    Strategy,
    User,
)
from numbering.money import Money
from numbering.porting import Port, PortState
from numbering.store_forms import (
    dump_flow,
    dump_forward,
    dump_hours,
    dump_member,
    load_flow,
    load_forward,
    load_hours,
    load_member,
)


def load_account(row: Row[Any]) -> Account:
    return Account(
        ref=row.ref,
        kind=AccountKind(row.kind),
        plan=row.plan,
        manager=row.manager or "",
        suspended=row.suspended,
        credit=Money(row.credit),
        packages=tuple(row.packages),
    )


def dump_account(account: Account) -> dict[str, Any]:
    return {
        "ref": account.ref,
        "kind": account.kind.value,
        "plan": account.plan,
        "manager": account.manager or None,
        "suspended": account.suspended,
        "credit": int(account.credit),
        "packages": list(account.packages),
    }


def load_user(row: Row[Any]) -> User:
    return User(
        ref=row.ref,
        account=row.account,
        name=row.name,
        email=row.email,
        default_number=row.default_number or "",
        suspended=row.suspended,
        contacts=dict(row.contacts),
        call_waiting=row.call_waiting,
        block=tuple(row.block),
        spam=tuple(row.spam),
    )


def dump_user(user: User) -> dict[str, Any]:
    return {
        "ref": user.ref,
        "account": user.account,
        "name": user.name,
        "email": user.email,
        "default_number": user.default_number or None,
        "suspended": user.suspended,
        "contacts": dict(user.contacts),
        "call_waiting": user.call_waiting,
        "block": list(user.block),
        "spam": list(user.spam),
    }


def load_device(row: Row[Any]) -> Device:
    return Device(
        ref=row.ref,
        user=row.user_ref,
        kind=DeviceKind(row.kind),
        sim=row.sim or "",
        sim_verified=row.sim_verified,
        sim_country=row.sim_country or "",
        sim_seen_at=row.sim_seen_at,
        sip_username=row.sip_username or "",
        sip_password=row.sip_password,
        mqtt_password=row.mqtt_password,
        answer=row.answer,
    )


def dump_device(device: Device) -> dict[str, Any]:
    return {
        "ref": device.ref,
        "user_ref": device.user,
        "kind": device.kind.value,
        "sim": device.sim or None,
        "sim_verified": device.sim_verified,
        "sip_username": device.sip_username or None,
        "sip_password": device.sip_password,
        "sim_country": device.sim_country or None,
        "sim_seen_at": device.sim_seen_at,
        "mqtt_password": device.mqtt_password,
        "answer": device.answer,
    }


def load_number(row: Row[Any]) -> CloudNumber:
    return CloudNumber(
        e164=E164(row.e164),
        user=row.user_ref or "",
        state=NumberState(row.state),
        category=row.category,
        calls=row.calls,
        hide=row.hide,
        ring_seconds=row.ring_seconds,
        block=tuple(row.block),
        spam=tuple(row.spam),
        hours=load_hours(row.hours),
        forward=load_forward(row.forward),
        voicemail=row.voicemail,
        gsm_fallback=row.gsm_fallback,
        account=row.account or "",
        expires_at=row.expires_at,
        until=row.until_at,
        kept_for=row.kept_for or "",
        kept_account=row.kept_account or "",
        since=row.since,
        held_since=row.held_since,
        version=row.version,
    )


def dump_number(number: CloudNumber) -> dict[str, Any]:
    return {
        "e164": number.e164,
        "user_ref": number.user or None,
        "state": number.state.value,
        "category": number.category,
        "calls": number.calls,
        "hide": number.hide,
        "ring_seconds": number.ring_seconds,
        "block": list(number.block),
        "spam": list(number.spam),
        "hours": dump_hours(number.hours),
        "forward": dump_forward(number.forward),
        "voicemail": number.voicemail,
        "gsm_fallback": number.gsm_fallback,
        "account": number.account or None,
        "expires_at": number.expires_at,
        "until_at": number.until,
        "kept_for": number.kept_for or None,
        "kept_account": number.kept_account or None,
        "since": number.since,
        "held_since": number.held_since,
        "version": number.version,
    }


def load_greeting(row: Row[Any]) -> Greeting:
    return Greeting(
        number=E164(row.number),
        account=row.account,
        strategy=Strategy(row.strategy),
        members=tuple(load_member(member) for member in row.members),
        ring_seconds=row.ring_seconds,
        repeat=row.repeat_count,
        limit_seconds=row.limit_seconds,
        hours=load_hours(row.hours),
        open=load_flow(row.open_flow),
        closed=load_flow(row.closed_flow),
        unanswered=load_flow(row.unanswered_flow),
        block=tuple(row.block),
        spam=tuple(row.spam),
    )


def dump_greeting(greeting: Greeting) -> dict[str, Any]:
    return {
        "number": greeting.number,
        "account": greeting.account,
        "strategy": greeting.strategy.value,
        "members": [dump_member(member) for member in greeting.members],
        "ring_seconds": greeting.ring_seconds,
        "repeat_count": greeting.repeat,
        "limit_seconds": greeting.limit_seconds,
        "hours": dump_hours(greeting.hours),
        "open_flow": dump_flow(greeting.open),
        "closed_flow": dump_flow(greeting.closed),
        "unanswered_flow": dump_flow(greeting.unanswered),
        "block": list(greeting.block),
        "spam": list(greeting.spam),
    }


def load_port(row: Row[Any]) -> Port:
    return Port(
        id=row.id,
        direction=row.direction,
        e164=row.e164,
        user=row.user_ref,
        state=PortState(row.state),
        rio=row.rio,
        port_at=row.port_at,
        requested_at=row.requested_at,
        confirm_by=row.confirm_by,
        had_left=row.had_left,
        reason=row.reason,
        version=row.version,
    )


def dump_port(port: Port) -> dict[str, Any]:
    return {
        "id": port.id,
        "direction": port.direction,
        "e164": port.e164,
        "user_ref": port.user,
        "state": port.state.value,
        "rio": port.rio,
        "port_at": port.port_at,
        "requested_at": port.requested_at,
        "confirm_by": port.confirm_by,
        "had_left": port.had_left,
        "reason": port.reason,
        "version": port.version,
    }
