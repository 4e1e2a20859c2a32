"""Logs: structured lines by structlog, as JSON or for a terminal, with numbers of people shortened and no
secret.

Every line carries what was bound to its logger (``call_ref``, ``leg``), so that one search finds one call.
The standard library's loggers (uvicorn, SQLAlchemy, Alembic) go through the same processors and the same
rules.

On the hot path nothing is logged per message or transaction (a structlog line costs tens of microseconds):
:class:`CallLog` writes at most one line per call, formatted directly.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, MutableMapping
from datetime import UTC, datetime
from typing import Any, Final, Protocol, TextIO

import msgspec
import structlog

from callcontrol.masking import REMOVED, mask_number, mask_numbers, mask_secrets

LEVELS: Final = ("debug", "info", "warning", "error")
FORMATS: Final = ("json", "console")

# Values of these keys are our own ids, words of closed lists or addresses of machines: never numbers of
# people.
_PLAIN_KEYS: Final = frozenset(
    {
        "call_ref",
        "leg",
        "event",
        "level",
        "timestamp",
        "logger",
        "node",
        "trunk",
        "listener",
        "listeners",
        "version",
        "reason",
        "result",
    }
)
_SECRET_KEYS: Final = frozenset(
    {
        "password",
        "sip_password",
        "passwd",
        "secret",
        "token",
        "operator_token",
        "authorization",
        "proxy_authorization",
        "ha1",
        "nonce",
        "cnonce",
        "response_digest",
        "cookie",
        "api_key",
        "private_key",
    }
)
_MASKED_LEVELS: Final = frozenset({"info", "warning", "warn", "error", "critical", "exception"})
# Libraries that tell at info what a node's operator did not ask for.
_CHATTY: Final = ("alembic", "asyncio", "sqlalchemy", "uvicorn")
_MAX_DEPTH: Final = 4


class LogSettings(Protocol):
    """What ``[log]`` of the configuration must offer."""

    @property
    def level(self) -> str: ...
    @property
    def format(self) -> str: ...


def hide_secrets(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """structlog processor: no password, token or digest answer in any field, at any level."""
    for key in event:
        event[key] = _without_secrets(key, event[key], 0)
    return event


def shorten_numbers(
    _logger: object, method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """structlog processor: at info and above numbers of people are shown as ``+3363998••••``."""
    if str(event.get("level", method)) not in _MASKED_LEVELS:
        return event
    for key, value in event.items():
        if key == "event" or key not in _PLAIN_KEYS:
            event[key] = _without_numbers(value, 0)
    return event


def configure(level: str = "info", format: str = "json", stream: TextIO | None = None) -> None:
    """Set up structlog and the standard library's logging for the process; the last call wins.

    ``level`` is one of :data:`LEVELS`, ``format`` one of :data:`FORMATS`; else ValueError.
    """
    if level not in LEVELS:
        raise ValueError(f"log.level: {level!r} is not one of {', '.join(LEVELS)}")
    if format not in FORMATS:
        raise ValueError(f"log.format: {format!r} is not one of {', '.join(FORMATS)}")
    out = sys.stderr if stream is None else stream
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        hide_secrets,
        shorten_numbers,
    ]
    render: structlog.typing.Processor = (
        structlog.processors.JSONRenderer(serializer=_to_json)
        if format == "json"
        else structlog.dev.ConsoleRenderer(colors=out.isatty())
    )
    structlog.configure(
        processors=[*shared, render],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(out),
        cache_logger_on_first_use=False,  # a logger made before configure() must not keep the old set-up
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(number, logging.INFO))
    for chatty in _CHATTY:
        logging.getLogger(chatty).setLevel(max(number, logging.WARNING))


def get_logger(part: str, **bound: object) -> structlog.typing.FilteringBoundLogger:
    """A logger of one part (``"registrar"``); ``bound`` goes into each of its lines."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger(part=part, **bound)
    return logger


def for_call(
    logger: structlog.typing.FilteringBoundLogger, call_ref: str, leg: str = ""
) -> structlog.typing.FilteringBoundLogger:
    """``logger`` with our call reference, and the leg where the line is about one."""
    return logger.bind(call_ref=call_ref, leg=leg) if leg else logger.bind(call_ref=call_ref)


class CallLog:
    """One line per finished call, formatted without the processor chain (some 3 µs instead of 50)."""

    __slots__ = ("_enabled", "_json", "_out", "lines")

    def __init__(self, settings: LogSettings, stream: TextIO | None = None) -> None:
        self._out = sys.stderr if stream is None else stream
        self._json = settings.format == "json"
        self._enabled = settings.level in ("debug", "info")
        self.lines = 0
        """Lines written so far."""

    def finished(
        self,
        call_ref: str,
        *,
        ended_at: float,
        direction: str,
        caller: str,
        called: str,
        result: str,
        reason: str = "",
        status: int = 0,
        duration_s: float = 0.0,
        trunk: str = "",
        urgent: bool = False,
    ) -> None:
        """Write the line; ``caller`` and ``called`` are shortened.  ``ended_at`` is Unix time in seconds.

        ``urgent``: it is written at every level, as a warning.
        """
        if not (self._enabled or urgent):
            return
        self.lines += 1
        when = datetime.fromtimestamp(ended_at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        a = mask_number(caller) if caller else ""
        b = mask_number(called) if called else ""
        if self._json:
            fields = {
                "timestamp": when,
                "level": "warning" if urgent else "info",
                "event": "call ended",
                "call_ref": call_ref,
                "direction": direction,
                "caller": a,
                "called": b,
                "result": result,
                "reason": reason,
                "status": status,
                "duration_s": round(duration_s, 3),
                "trunk": trunk,
            }
            self._out.write(msgspec.json.encode(fields).decode() + "\n")
        else:
            because = f" ({reason})" if reason else ""
            self._out.write(
                f"{when} call {call_ref} {direction} {a} -> {b}: "
                f"{result}{because} {status} after {duration_s:.1f} s\n"
            )


def _to_json(value: object, default: object = None, **_options: object) -> str:
    return msgspec.json.encode(value, enc_hook=str).decode()


def _without_secrets(key: str, value: Any, depth: int) -> Any:
    if key.lower().replace("-", "_") in _SECRET_KEYS:
        return REMOVED
    if isinstance(value, str):
        return mask_secrets(value)
    if isinstance(value, bytes):
        return mask_secrets(value.decode("utf-8", "replace"))
    if depth >= _MAX_DEPTH:
        return value
    if isinstance(value, Mapping):
        return {str(name): _without_secrets(str(name), item, depth + 1) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_secrets("", item, depth + 1) for item in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return mask_secrets(str(value))


def _without_numbers(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return mask_numbers(value)
    if depth >= _MAX_DEPTH:
        return value
    if isinstance(value, Mapping):
        return {name: _without_numbers(item, depth + 1) for name, item in value.items()}
    if isinstance(value, list):
        return [_without_numbers(item, depth + 1) for item in value]
    return value
