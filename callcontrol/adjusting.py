"""Settings that a running node takes over, put where they are read: for the next call, the next REGISTER, the next line."""

from __future__ import annotations

from dataclasses import replace

from callcontrol import logs
from callcontrol.assembly import Signalling
from config.settings import Settings


def adjust(signalling: Signalling, settings: Settings) -> None:
    """Let the settings of `config.reloading.LIVE` take effect."""
    calls, media, registrar = settings.calls, settings.media, settings.registrar
    env = signalling.env
    env.silence_s = calls.trunk_silence_seconds
    env.progress_s = calls.trunk_progress_seconds
    env.wake_s = calls.wake_deadline_seconds
    env.push_delay_s = calls.push_delay_seconds
    env.usage.session_expires = calls.session_expires_seconds
    env.usage.min_se = calls.min_se_seconds
    intake = signalling.intake
    limits = replace(
        intake.settings.limits,
        ring_s=calls.ring_seconds,
        trunk_ring_s=calls.trunk_answer_seconds,
        gsm_ring_s=calls.gsm_ring_seconds,
        hunt_limit_s=calls.hunt_limit_seconds,
        blocked_as=calls.blocked_as,
        verified_sim=settings.outgoing.verified_sim,
        voicemail_uri=media.voicemail_uri,
        announcement_uri=media.announcement_uri,
    )
    intake.adjust(replace(intake.settings, limits=limits, stale_s=calls.stale_seconds))
    signalling.registrar.policy = replace(
        signalling.registrar.policy,
        default_expires_s=registrar.default_expires_seconds,
        min_expires_s=registrar.min_expires_seconds,
        max_expires_s=registrar.max_expires_seconds,
        flow_timer_s=registrar.flow_timer_seconds,
        max_bindings=registrar.max_bindings,
    )
    logs.configure(settings.log.level, settings.log.format)
