"""Bindings as operators see them."""

from __future__ import annotations

from collections.abc import Sequence

from callcontrol.bindings import Binding
from callcontrol.node_view import RegistrationView, WakeView
from callcontrol.pushing import LATE, WOKE, Wake
from callcontrol.sip.flow import Flow


def registration_view(key: str, binding: Binding, wakes: Sequence[Wake] = ()) -> RegistrationView:
    """One binding, and the last pushes of its device."""
    flow = Flow.load(binding.flow) if binding.flow else None
    return RegistrationView(
        id=key,
        aor=binding.aor,
        device=binding.device,
        user=binding.user,
        contact=binding.target,  # without the push token, which is a credential
        transport=flow.transport if flow is not None else "",
        address=f"{flow.host}:{flow.port}" if flow is not None else "asleep",
        expires_at=binding.expires_at,
        registered_at=binding.refreshed_at,
        user_agent=binding.user_agent,
        instance=binding.instance,
        q=binding.q,
        wakes=tuple(
            WakeView(
                pushed_at=wake.pushed_at,
                outcome=wake.outcome,
                seconds=round(wake.seconds, 3) if wake.outcome in (WOKE, LATE) else None,
            )
            for wake in wakes
        ),
    )
