"""Events that a client sends to Langfuse, as it keeps them: one of a generation, others change it.

The first often has the model and the start, and a later one the usage and the end. What all said
so far is one observation, whose copy with most tokens stands.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from energy_tracking.logs.formats.base import (
    Document,
    LogFile,
    LogFormat,
    keys,
    mappings,
    remember,
    text,
)
from energy_tracking.logs.formats.platforms.gateways import read_langfuse
from energy_tracking.logs.formats.waiting import settle, wait
from energy_tracking.logs.logged import LoggedCall

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
    if whole["type"] in ("SPAN", "EVENT") or has_counts(whole) or whole.get("level") == "ERROR":
        settle(file, ("langfuse", own))
        return read_langfuse(whole, file) or []
    wait(file, ("langfuse", own), NO_COUNTS)
    return []


def has_counts(observation: Document) -> bool:
    """Whether an observation has a usage already."""
    return any(observation.get(name) for name in ("usage", "usageDetails"))


def _read_batch(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """What one request sent."""
    events = mappings(document["batch"])
    if not events or not all("body" in event and "type" in event for event in events):
        return None
    return [call for event in events for call in _read_event(event, file) or []]


INGESTION: tuple[LogFormat, ...] = (
    # Source: https://api.reference.langfuse.com (Ingestion)
    LogFormat(name="langfuse-events", keys=keys("id", "type", "body"), read=_read_event),
    LogFormat(name="langfuse-batch", keys=keys("batch"), read=_read_batch, is_said=False),
)
