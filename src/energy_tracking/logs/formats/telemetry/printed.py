"""Spans that a program prints over several lines.

Each line comes as a document of its own, and its format remembers those before it. A further one
is a row of ``PRINTED``, and its lines a pattern of ``text_lines``.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

from energy_tracking.logs.files.text_lines import SERVER_LINE
from energy_tracking.logs.formats.base import Document, LogFile, LogFormat, keys
from energy_tracking.logs.formats.telemetry.spans import read_otlp_span
from energy_tracking.logs.logged import LoggedCall, time_of

# .NET.

_ACTIVITY = re.compile(r"Activity\.(\w+): *(.*)")
_TAG = re.compile(r"    ([a-z_]+\.[\w.]+): (.*)")
_DURATION = re.compile(r"(?:(\d+)\.)?(\d\d):(\d\d):(\d\d(?:\.\d+)?)")
_AFTER = "Resource associated with Activity"
_IDS = {"TraceId": "traceId", "SpanId": "spanId", "ParentSpanId": "parentSpanId"}


def _read_activity(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A line of a span as .NET's console exporter prints it; what follows it ends it."""
    line = document[SERVER_LINE].rstrip()
    found, tag = _ACTIVITY.match(line), _TAG.match(line)
    activity: dict[str, Any] | None = file.memory.get("activity")
    if found is not None:
        name, value = found[1], found[2].strip()
        ended: list[LoggedCall] = []
        if name == "TraceId":
            ended = _finish_activity(file)
            activity = file.memory["activity"] = {"attributes": {}}
        if activity is not None:
            activity[_IDS.get(name, name)] = value
        return ended
    if line.startswith(_AFTER):
        return _finish_activity(file)
    if tag is None or activity is None:
        return None
    activity["attributes"].setdefault(tag[1], tag[2])
    return []


def _finish_activity(file: LogFile) -> list[LoggedCall]:
    """The call of a span that has ended, which is read as one of OTLP's."""
    activity = file.memory.pop("activity", None)
    if activity is None:
        return []
    ended = time_of(activity.get("StartTime"))
    lasted = _DURATION.fullmatch(str(activity.get("Duration")))
    if ended is not None and lasted is not None:
        days, hours, minutes, seconds = (float(part or 0) for part in lasted.groups())
        ended += timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    if ended is not None:
        activity["endTimeUnixNano"] = int(ended.timestamp() * 1e6) * 1000
    return read_otlp_span(activity, file) or []


# The Collector.

_FIELD = re.compile(r"    (Trace ID|Parent ID|ID|End time) +: ?(.*)")
_ATTRIBUTE = re.compile(r" +-> ([a-z_]+\.[\w.]+): [A-Z][A-Za-z]+\((.*)\)")
_FIELDS = {"Trace ID": "traceId", "Parent ID": "parentSpanId", "ID": "spanId"}
_SPAN, _ABOVE = "Span #", ("ScopeSpans #", "ResourceSpans #")


def _read_debugged(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A line of a span as the Collector's debug exporter prints it; the next one ends it."""
    line = document[SERVER_LINE].rstrip()
    if line.startswith(_SPAN):
        ended = _finish_debugged(file)
        file.memory["debugged"] = {"attributes": {}}
        return ended
    if any(name in line for name in _ABOVE):
        return _finish_debugged(file)
    span: dict[str, Any] | None = file.memory.get("debugged")
    field, attribute = _FIELD.match(line), _ATTRIBUTE.match(line)
    if span is None or (field is None and attribute is None):
        return None
    if attribute is not None:
        span["attributes"].setdefault(attribute[1], attribute[2])
    elif field is not None and field[1] in _FIELDS:
        span[_FIELDS[field[1]]] = field[2].strip()
    elif field is not None and (ended_at := time_of(field[2].strip())) is not None:
        span["endTimeUnixNano"] = int(ended_at.timestamp() * 1e6) * 1000
    return []


def _finish_debugged(file: LogFile) -> list[LoggedCall]:
    span = file.memory.pop("debugged", None)
    return [] if span is None else read_otlp_span(span, file) or []


PRINTED: tuple[LogFormat, ...] = (
    # Source: https://github.com/open-telemetry/opentelemetry-dotnet (ConsoleActivityExporter)
    LogFormat(name="printed-span-dotnet", keys=keys(SERVER_LINE), read=_read_activity,
              finish=_finish_activity, is_said=False),
    # Source: https://github.com/open-telemetry/opentelemetry-collector (debugexporter)
    LogFormat(name="printed-span-collector", keys=keys(SERVER_LINE), read=_read_debugged,
              finish=_finish_debugged, is_said=False),
)  # fmt: skip
