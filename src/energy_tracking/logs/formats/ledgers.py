"""Our own ledger: calls that were tracked, or read from another log before."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from energy_tracking.logs.formats.base import Document, LogFile, LogFormat, at, identify, keys, text
from energy_tracking.logs.logged import LoggedCall, time_of
from energy_tracking.usage.measured_energy import joules_from
from energy_tracking.usage.token_usage import TokenUsage

_COUNTS = frozenset(field.name for field in fields(TokenUsage) if "tokens" in field.name)


def _read_ledger_line(document: Document, file: LogFile) -> list[LoggedCall] | None:
    request = document.get("request")
    named = document.get("usage")
    if not isinstance(request, dict):
        return None
    tags = document.get("tags")
    call = LoggedCall(
        provider=text(request.get("provider")) or "unknown",
        operation=text(request.get("operation")) or "chat",
        model=text(document.get("response_model")) or text(request.get("model")),
        response_id=text(document.get("response_id")),
        counts=_read_usage(named) if isinstance(named, dict) else None,
        measured_energy_joules=joules_from(document.get("measured_energy_joules")),
        error_type=text(document.get("error_type")),
        time=time_of(document.get("timestamp")),
        session=text(document.get("session")),
        tags={str(name): str(value) for name, value in tags.items()}
        if isinstance(tags, dict)
        else {},
    )
    log_identity = text(document.get("log_identity"))
    if log_identity is not None:
        call.identity, call.log_key = (log_identity,), log_identity
        return [call]
    # A line is written in one instant by one process.
    return [identify(call, at(document, "pid"), created=document.get("timestamp"))]


def _read_usage(named: dict[str, Any]) -> TokenUsage:
    counts = {name: named[name] for name in _COUNTS if type(named.get(name)) is int}
    return TokenUsage(
        **counts,
        dialect=str(named.get("dialect", "")),
        # What was estimated or repaired widens the range again.
        estimated=_read_texts(named.get("estimated")),
        repairs=_read_texts(named.get("repairs")),
    )


def _read_texts(listed: object) -> tuple[str, ...]:
    return tuple(map(str, listed)) if isinstance(listed, list) else ()


# Source: energy_tracking.ledger
LEDGER = LogFormat(name="energy-tracking", keys=keys("ledger", "request"), read=_read_ledger_line)
