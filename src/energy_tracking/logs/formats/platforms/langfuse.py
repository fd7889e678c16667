"""Langfuse: exports of its observations, and the events that its clients send, as it keeps them.

An observation lies in a file, on a page of the API or in a table, in three spellings of its names,
alone or with its trace. What is around a generation has its counts again, and does not count.

Of events, one begins an observation and others change it: the first often has the model and the
start, and a later one the usage and the end. What all said so far is one observation, whose copy
with most tokens stands.
"""

from __future__ import annotations

from collections import OrderedDict
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
    named = {plain: document[name] for plain, name in _plain_names(tuple(document))}
    get = named.get
    nesting = nesting_in(file, "langfuse")
    observation, parent = get("id"), get("parentobservationid")
    if type(observation) is not str or not observation:
        observation = None
    if parent is not None:
        parent = text(parent)
    if kind not in LANGFUSE_CALLS:
        nesting.admit(observation, parent, is_call=False)
        usage = None if observation is None else _langfuse_usage(named, file)
        if usage is not None and usage.input_tokens + usage.output_tokens:
            remember_sum(file, observation, nesting)
        return []
    failed = get("level") == "ERROR"
    # Most say no unit.
    is_in_tokens = _UNITS.isdisjoint(named) or _is_in_tokens(named)
    usage = _langfuse_usage(named, file) if is_in_tokens else None
    # One that lies around another, as of a framework around its client, is the same call again.
    is_call = nesting.admit(observation, parent, is_call=usage is not None)
    if usage is not None and not is_call:
        return []
    if usage is None and not failed:
        if not is_in_tokens:
            file.leave_out("a generation counted in another unit than tokens")
            return []
        file.leave_out("a generation without token counts")
        return []
    call = LoggedCall()
    call.operation = LANGFUSE_CALLS[kind]
    call.model = text(get("providedmodelname") or get("model")) or text(get("internalmodelid"))
    call.counts = usage
    call.time = time_of(get("endtime") or get("starttime"))
    call.session = text(get("sessionid") or get("traceid"))
    call.error_type = "error" if failed and usage is None else None
    # An observation is exported again when it has changed.
    call.grows = True
    call.identity = None if observation is None else ("langfuse", observation)
    return [call]


@lru_cache(maxsize=1000)
def _plain_names(names: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Names of columns that are looked at, without their style, and as they are.

    Exports have ``traceId``, ``trace_id``, ``TRACEID``.
    """
    plain = {name.replace("_", "").lower(): name for name in names}
    return tuple((name, given) for name, given in plain.items() if name in _LANGFUSE_COLUMNS)


_LANGFUSE_COLUMNS = frozenset(
    {"id", "level", "providedmodelname", "model", "internalmodelid", "endtime", "starttime"}
    | {
        "parentobservationid",
        "sessionid",
        "traceid",
        "usage",
        "unit",
        "usageunit",
        "usagedetails",
        "inputusage",
    }
    | {"outputusage", "inputtokens", "outputtokens", "prompttokens", "completiontokens"}
)


_UNITS = frozenset({"usage", "unit", "usageunit"})


def _is_in_tokens(named: Document) -> bool:
    """Whether the counts of an observation are of tokens; some are of characters or seconds.

    Source: https://api.reference.langfuse.com (ModelUsageUnit)
    """
    usage = named.get("usage")
    unit = None if usage is None else at(unpacked(usage), "unit")
    unit = unit or named.get("unit") or named.get("usageunit")
    return not isinstance(unit, str) or unit.upper() in ("", "TOKENS")


def _langfuse_usage(named: Document, file: LogFile) -> Counts | None:
    details = named.get("usagedetails")
    if type(details) is not dict:
        details = unpacked(details)
    if not isinstance(details, dict) or not details:
        details = unpacked(named.get("usage"))
    if isinstance(details, dict):
        usage = counts_in_details(details)
        if usage is None:
            # Older exports have these names.
            counts = (details.get("promptTokens"), details.get("completionTokens"))
            usage = usage_in_cells(file, input=counts[0], output=counts[1])
        if usage is not None:
            return usage
    for inputs, outputs in (
        ("inputusage", "outputusage"),
        ("inputtokens", "outputtokens"),
        ("prompttokens", "completiontokens"),
    ):
        if named.get(inputs) is not None or named.get(outputs) is not None:
            return usage_in_cells(file, input=named.get(inputs), output=named.get(outputs))
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
