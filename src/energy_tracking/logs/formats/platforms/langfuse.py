"""Langfuse: exports of its observations, and the events that its clients send, as it keeps them.

An observation lies in a file, on a page of the API or in a table, in three spellings of its names,
alone or with its trace. What is around a generation has its counts again, and does not count.

Of events, one begins an observation and others change it: the first often has the model and the
start, and a later one the usage and the end. What all said so far is one observation, whose copy
with most tokens stands.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from energy_tracking.logs.formats.base import (
    Document,
    LogFile,
    LogFormat,
    at,
    keys,
    mappings,
    remember,
    text,
    unpacked,
)
from energy_tracking.logs.formats.counts import counts_in_details, usage_in_cells
from energy_tracking.logs.formats.nesting import nesting_in, remember_sum
from energy_tracking.logs.formats.waiting import settle, wait
from energy_tracking.logs.logged import Counts, LoggedCall, time_of

# Langfuse's types of observations that are calls -> the operation.
LANGFUSE_CALLS = {"GENERATION": "chat", "EMBEDDING": "embeddings"}


def _read_langfuse(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """An observation, of the blob export, the API or a table, or a trace with all of its."""
    inner = document.get("observations")
    if isinstance(inner, list):
        if inner and not mappings(inner):
            file.leave_out("a trace that has the ids of its observations alone")
        found = (_read_langfuse(observation, file) for observation in mappings(inner))
        return [call for calls in found for call in calls or ()]
    kind = document.get("type")
    if not isinstance(kind, str) or not kind.isupper():
        return None
    names = _find_names(tuple(document))
    own = names.id and document[names.id]
    parent = names.parentobservationid and document[names.parentobservationid]
    nesting = nesting_in(file, "langfuse")
    if type(own) is not str or not own:
        own = None
    if parent is not None:
        parent = text(parent)
    operation = LANGFUSE_CALLS.get(kind)
    if operation is None:
        nesting.admit(own, parent, is_call=False)
        usage = None if own is None else _langfuse_usage(document, names, file)
        if usage is not None and usage.input_tokens + usage.output_tokens:
            remember_sum(file, own, nesting)
        return []
    is_in_tokens = _is_in_tokens(document, names)
    usage = _langfuse_usage(document, names, file) if is_in_tokens else None
    # One that lies around another, as of a framework around its client, is the same call again.
    is_call = nesting.admit(own, parent, is_call=usage is not None)
    if usage is not None and not is_call:
        return []
    has_failed = names.level is not None and document[names.level] == "ERROR"
    if usage is None and not has_failed:
        if not is_in_tokens:
            file.leave_out("a generation counted in another unit than tokens")
            return []
        file.leave_out("a generation without token counts")
        return []
    call = LoggedCall()
    call.operation = operation
    model = names.providedmodelname and document[names.providedmodelname]
    call.model = text(model or (names.model and document[names.model]))
    if call.model is None and names.internalmodelid is not None:
        call.model = text(document[names.internalmodelid])
    call.counts = usage
    ended = names.endtime and document[names.endtime]
    call.time = time_of(ended or (names.starttime and document[names.starttime]))
    session = names.sessionid and document[names.sessionid]
    call.session = text(session or (names.traceid and document[names.traceid]))
    call.error_type = "error" if has_failed and usage is None else None
    # An observation is exported again when it has changed.
    call.grows = True
    call.identity = None if own is None else ("langfuse", own)
    return [call]


@dataclass(slots=True)
class _Names:
    """What the columns of an observation are called, of which exports have their own style.

    As ``traceId``, ``trace_id``, ``TRACEID``; None where there is none.
    """

    id: str | None = None
    level: str | None = None
    providedmodelname: str | None = None
    model: str | None = None
    internalmodelid: str | None = None
    endtime: str | None = None
    starttime: str | None = None
    parentobservationid: str | None = None
    sessionid: str | None = None
    traceid: str | None = None
    usagedetails: str | None = None
    usage: str | None = None
    unit: str | None = None
    usageunit: str | None = None
    inputusage: str | None = None
    outputusage: str | None = None
    inputtokens: str | None = None
    outputtokens: str | None = None
    prompttokens: str | None = None
    completiontokens: str | None = None


@lru_cache(maxsize=1000)
def _find_names(names: tuple[str, ...]) -> _Names:
    """Find the columns that are looked at among the names of all."""
    plain = {name.replace("_", "").lower(): name for name in names}
    looked_at = plain.keys() & _Names.__dataclass_fields__.keys()
    return _Names(**{name: plain[name] for name in looked_at})


def _is_in_tokens(document: Document, names: _Names) -> bool:
    """Whether the counts of an observation are of tokens; some are of characters or seconds.

    Source: https://api.reference.langfuse.com (ModelUsageUnit)
    """
    if names.usage is names.unit is names.usageunit is None:
        return True  # most say none
    usage = names.usage and document[names.usage]
    unit = None if usage is None else at(unpacked(usage), "unit")
    unit = unit or (names.unit and document[names.unit])
    unit = unit or (names.usageunit and document[names.usageunit])
    return not isinstance(unit, str) or unit.upper() in ("", "TOKENS")


def _langfuse_usage(document: Document, names: _Names, file: LogFile) -> Counts | None:
    details = names.usagedetails and document[names.usagedetails]
    if type(details) is not dict:
        details = unpacked(details)
    if not isinstance(details, dict) or not details:
        details = unpacked(names.usage and document[names.usage])
    if isinstance(details, dict):
        usage = counts_in_details(details)
        if usage is None:
            # Older exports have these names.
            counts = (details.get("promptTokens"), details.get("completionTokens"))
            usage = usage_in_cells(file, input=counts[0], output=counts[1])
        if usage is not None:
            return usage
    for pair in (
        (names.inputusage, names.outputusage),
        (names.inputtokens, names.outputtokens),
        (names.prompttokens, names.completiontokens),
    ):
        inputs, outputs = (name and document[name] for name in pair)
        if inputs is not None or outputs is not None:
            return usage_in_cells(file, input=inputs, output=outputs)
    return None


REMEMBERED = 10_000
"""How many observations are remembered, from one file for the next, too."""

# Type of an event -> that of its observation; None where the observation says it itself.
OBSERVATIONS = {
    **dict.fromkeys(("generation-create", "generation-update"), "GENERATION"),
    **dict.fromkeys(("embedding-create", "embedding-update"), "EMBEDDING"),
    **dict.fromkeys(("span-create", "span-update"), "SPAN"),
    **dict.fromkeys(("event-create", "agent-create", "tool-create", "chain-create"), "SPAN"),
    **dict.fromkeys(("observation-create", "observation-update"), None),
}
OTHERS = frozenset({"trace-create", "score-create", "dataset-run-item-create", "sdk-log"})
"""Types of events that are of no observation."""
NO_COUNTS = "a generation without token counts"


def _read_event(document: Document, file: LogFile) -> list[LoggedCall] | None:
    kind, body = document["type"], document["body"]
    if kind in OTHERS:
        return []
    if kind not in OBSERVATIONS or not isinstance(body, dict):
        return None
    held: OrderedDict[Any, Document] = file.shared.setdefault("langfuse events", OrderedDict())
    own = text(body.get("id"))
    said = {name: value for name, value in body.items() if value is not None}
    whole = {**held.pop(own, {}), **said}
    whole["type"] = OBSERVATIONS[kind] or str(whole.get("type", "SPAN")).upper()
    whole.setdefault("startTime", document.get("timestamp"))
    if own is not None:
        remember(held, own, whole, REMEMBERED)
    if whole["type"] in ("SPAN", "EVENT") or _has_counts(whole) or whole.get("level") == "ERROR":
        settle(file, ("langfuse", own))
        return _read_langfuse(whole, file) or []
    wait(file, ("langfuse", own), NO_COUNTS)
    return []


def _has_counts(observation: Document) -> bool:
    """Whether an observation has a usage already."""
    return any(observation.get(name) for name in ("usage", "usageDetails"))


def _read_batch(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """What one request sent."""
    events = mappings(document["batch"])
    if not events or not all("body" in event and "type" in event for event in events):
        return None
    return [call for event in events for call in _read_event(event, file) or []]


LANGFUSE: tuple[LogFormat, ...] = (
    # Source: https://api.reference.langfuse.com (Ingestion)
    LogFormat(name="langfuse-events", keys=keys("id", "type", "body"), read=_read_event),
    LogFormat(name="langfuse-batch", keys=keys("batch"), read=_read_batch, is_said=False),
    # Source: https://langfuse.com/docs/api-and-data-platform/features/blob-storage-export-fields
    # Source: https://api.reference.langfuse.com (Observation)
    LogFormat(
        name="langfuse", keys=keys("id", "type"),
        any_of=keys("traceId", "trace_id", "usageDetails", "usage_details"), read=_read_langfuse,
    ),
    LogFormat(name="langfuse-trace", keys=keys("id", "observations"), read=_read_langfuse),
)  # fmt: skip
