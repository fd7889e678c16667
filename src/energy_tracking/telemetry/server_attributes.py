"""The attributes of what a call's server says of itself: its clock, and how busy it was."""

from __future__ import annotations

from operator import attrgetter

from energy_tracking.calls.record import CallRecord
from energy_tracking.telemetry.attribute import Attribute
from energy_tracking.telemetry.values import Entry, Field, find_assumed

_TIMING = attrgetter("server_timing")
_LOAD = attrgetter("server_load")

SERVER_ATTRIBUTES: tuple[Attribute[CallRecord], ...] = (
    Attribute(
        "energy_tracking.assumed.concurrency_source",
        "",
        "where `assumed.sequences` was read, if it was: see `server_metrics`",
        Entry(find_assumed, "concurrency_source"),
    ),
    Attribute(
        "energy_tracking.server.running_requests",
        "1",
        "requests that shared a step of the server, mean over the call",
        Field(_LOAD, "running_requests"),
    ),
    Attribute(
        "energy_tracking.server.model",
        "",
        "the model there, as its metrics page names it",
        Field(_LOAD, "model"),
    ),
    Attribute(
        "energy_tracking.server.output_tokens_per_second",
        "{token}/s",
        "what it generated for all its requests meanwhile",
        Field(_LOAD, "output_tokens_per_second"),
    ),
    Attribute(
        "energy_tracking.server.cached_share",
        "1",
        "part of its prompt tokens that came out of its prefix cache",
        Field(_LOAD, "cached_share"),
    ),
    Attribute(
        "energy_tracking.server.queue_seconds",
        "s",
        "by the server's clock, if it says: before anything was computed",
        Field(_TIMING, "queue_seconds"),
    ),
    Attribute(
        "energy_tracking.server.prefill_seconds",
        "s",
        "the same: to read the prompt",
        Field(_TIMING, "prefill_seconds"),
    ),
    Attribute(
        "energy_tracking.server.decode_seconds",
        "s",
        "the same: from the first token to the last",
        Field(_TIMING, "decode_seconds"),
    ),
    Attribute(
        "energy_tracking.server.first_token_seconds",
        "s",
        "the same: from the request's arrival to its first token",
        Field(_TIMING, "first_token_seconds"),
    ),
    Attribute(
        "energy_tracking.server.total_seconds",
        "s",
        "the same: from its arrival to its end",
        Field(_TIMING, "total_seconds"),
    ),
    Attribute(
        "energy_tracking.server.timing_source",
        "",
        "the engine, provider or header that states these times",
        Field(_TIMING, "source"),
    ),
)
