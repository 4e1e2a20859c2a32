"""The plans of the price list, and the policy of outgoing calls, as the parts of a node want them: from the settings."""

from __future__ import annotations

from callcontrol.pricing.zones import Zones
from callcontrol.usage.policy import OutgoingPolicy
from config.settings import Settings
from numbering.models import PlanLimits


def plan_table(settings: Settings) -> dict[str, PlanLimits]:
    """Every plan by its name."""
    return {
        name: PlanLimits(
            devices=plan.devices,
            numbers=plan.numbers,
            minutes=dict(plan.minutes),
            callees=plan.callees,
            rates=plan.rates,
            calls=plan.calls,
            calls_abroad=plan.calls_abroad,
            greeting=plan.greeting,
        )
        for name, plan in settings.plans.items()
    }


def outgoing_policy(settings: Settings) -> OutgoingPolicy:
    """What stands in ``[outgoing]``."""
    outgoing = settings.outgoing
    return OutgoingPolicy(
        zones=Zones(outgoing.zones),
        sim_window_days=settings.numbers.sim_window_days,
        credit_seconds=outgoing.credit_seconds,
        warn_share=outgoing.warn_share,
        user_calls=outgoing.user_calls,
        account_calls=outgoing.account_calls,
        user_calls_per_minute=outgoing.user_calls_per_minute,
        account_calls_per_minute=outgoing.account_calls_per_minute,
        user_calls_abroad=outgoing.user_calls_abroad,
        account_calls_abroad=outgoing.account_calls_abroad,
        user_calls_abroad_per_minute=outgoing.user_calls_abroad_per_minute,
        account_calls_abroad_per_minute=outgoing.account_calls_abroad_per_minute,
    )
