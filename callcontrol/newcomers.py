"""Those who come to calls that run: a newcomer with Replaces (RFC 3891), a device that registers while its user is rung (DEV-05)."""

from __future__ import annotations

from callcontrol.b2bua.call import Call
from callcontrol.b2bua.effects import Effect
from callcontrol.b2bua.env import CallEnv
from callcontrol.b2bua.events import TargetJoined
from callcontrol.b2bua.leg import CALLER, Leg
from callcontrol.bindings import BindingAdded
from callcontrol.intake import Admitted
from callcontrol.ladder import Ladders
from callcontrol.registrar import Registrar
from callcontrol.runner import Runner
from callcontrol.sip import usage_uas
from callcontrol.sip.errors import RemoteProtocolError
from callcontrol.sip.events import RequestReceived
from callcontrol.sip.fields import parse_replaces
from callcontrol.sip.usage import ESTABLISHED, Turn, Usage
from callcontrol.wire import Owner
from dialplan import reasons
from dialplan.plan import Refuse


def take_place(
    runner: Runner,
    env: CallEnv,
    ladders: Ladders,
    event: RequestReceived,
    outcome: Admitted,
    now: float,
) -> int | Owner | None:
    """The newcomer takes the place of a party of ours: whose the INVITE is from now on, or the status that refuses it.

    Devices of the same account only: a SIM that a carrier brings acts for nobody in our dialogs.
    """
    message = event.message
    values = message.all("replaces")
    try:
        replaces = parse_replaces(values[0] if len(values) == 1 else "")
    except RemoteProtocolError as error:
        return error.status
    owner = runner.by_tag(replaces.to_tag)
    leg = owner.call.legs.get(owner.leg) if owner is not None else None
    dialog = leg.usage.dialog if leg is not None else None
    if owner is None or leg is None or leg.call_id != replaces.call_id:
        return 481
    if dialog is None or dialog.remote_tag != replaces.from_tag:
        return 481
    device = outcome.facts.device
    if device is None or outcome.trunk or not device.account or device.account != owner.call.plan.account:
        return 603
    if replaces.early_only or leg.usage.state != ESTABLISHED:
        return 486 if replaces.early_only else 481
    call = owner.call
    call.count += 1
    name = f"b{call.count}"
    newcomer = Leg(name, Usage(name, f"{call.ref}.{name}", uac=False), CALLER, now)
    newcomer.device = outcome.device
    newcomer.user = device.user
    newcomer.device_class = env.device_class(outcome.device)
    newcomer.call_id = message.call_id
    newcomer.address = event.flow.dump()
    effects: list[Effect] = []
    turn = Turn(env.usage, now, effects)
    usage_uas.begin(newcomer.usage, turn, message, event.key, newcomer.address, True)
    ladders.add(call.ref, now, name, False, newcomer.address, message.data)
    if not runner.replace(owner, newcomer, now, effects):
        return 491
    own = newcomer.usage.dialog
    return runner.by_tag(own.local_tag) if own is not None else None


def join_ringing(runner: Runner, registrar: Registrar, event: BindingAdded, now: float) -> None:
    """A device registers while its user is being rung: it gets the INVITE at once (DEV-05)."""
    binding, previous = event.binding, event.previous
    anew = (
        previous is None
        or previous.asleep
        or (previous.flow, previous.target) != (binding.flow, binding.target)
    )
    if binding.reg_id and any(
        other.instance == binding.instance and other.key != binding.key and not other.asleep
        for other in registrar.bindings_of(binding.aor, now)
    ):
        return  # a further flow of a device that rings over another one (RFC 5626 §5.3)
    target = registrar.target(binding)
    if target is None:
        return
    for call in runner.ringing(target.user):
        runner.guarded(call, TargetJoined(target, anew), now)


def is_emergency(outcome: Admitted) -> bool:
    """An emergency call is answered with its advice whatever the load (OUT-05)."""
    steps = outcome.decision.plan.steps
    return any(isinstance(step, Refuse) and step.reason == reasons.EMERGENCY for step in steps)


def owner_of(runner: Runner, call: Call) -> Owner | None:
    """The caller's leg of a call that has just begun."""
    leg = call.legs.get("a")
    dialog = leg.usage.dialog if leg is not None else None
    return runner.by_tag(dialog.local_tag) if dialog is not None else None
