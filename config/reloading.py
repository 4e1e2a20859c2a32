"""A configuration file that is read again while the node runs: what takes effect at once, what at the next start (OPS-03)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from config.parts import Section
from config.settings import Settings, load

LIVE: Final = frozenset(
    (
        "calls.blocked_as",
        "calls.gsm_ring_seconds",
        "calls.hunt_limit_seconds",
        "calls.min_se_seconds",
        "calls.push_delay_seconds",
        "calls.ring_seconds",
        "calls.session_expires_seconds",
        "calls.stale_seconds",
        "calls.trunk_answer_seconds",
        "calls.trunk_progress_seconds",
        "calls.trunk_silence_seconds",
        "calls.wake_deadline_seconds",
        "log.format",
        "log.level",
        "media.announcement_uri",
        "media.voicemail_uri",
        "outgoing.verified_sim",
        "registrar.default_expires_seconds",
        "registrar.flow_timer_seconds",
        "registrar.max_bindings",
        "registrar.max_expires_seconds",
        "registrar.min_expires_seconds",
    )
)
"""Settings that a running node takes over; calls that are up keep what they began with.  All others wait for the next start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reread:
    """What a file says that was read again."""

    settings: Settings
    """The running ones, with the live settings of the file."""
    changes: tuple[str, ...]
    """Live settings that differ from those in force; keys, ascending."""
    needs_restart: tuple[str, ...]
    """Other settings that differ from those of the start."""


class Source:
    """Where the settings of this process came from."""

    def __init__(self, path: Path | None, environ: Mapping[str, str], written: Settings) -> None:
        """``written``: what the file and the environment said at the start, before anything was put in for it."""
        self.path = path.resolve() if path is not None else None
        self._environ = dict(environ)
        self.written = written

    def read(self, running: Settings) -> Reread:
        """Raises SettingsError; the settings in force stay then."""
        return compared(running, self.written, load(self.path, self._environ))


def compared(running: Settings, written: Settings, file: Settings) -> Reread:
    """``written``: the file as it was at the start."""
    now, before, after = _flat(running), _flat(written), _flat(file)
    changes = tuple(sorted(key for key in LIVE if after[key] != now[key]))
    waiting = tuple(sorted(key for key in after if key not in LIVE and after[key] != before[key]))
    sections: dict[str, dict[str, Any]] = {}
    for key in changes:
        section, _, name = key.partition(".")
        sections.setdefault(section, {})[name] = after[key]
    update = {name: getattr(running, name).model_copy(update=values) for name, values in sections.items()}
    return Reread(settings=running.model_copy(update=update), changes=changes, needs_restart=waiting)


def _flat(section: Section, prefix: str = "") -> dict[str, Any]:
    """Dotted key -> value."""
    found: dict[str, Any] = {}
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, Section):
            found.update(_flat(value, f"{prefix}{name}."))
        else:
            found[prefix + name] = value
    return found
