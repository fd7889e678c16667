"""Agents that keep what a session or a turn took, by model: Mux, Mistral's Vibe, Grok Build.

Each is a sum over an unknown number of requests. Mux counts all parts beside each other; Vibe and
Grok count what came from a cache into the input, and Grok its thoughts beside the output.
"""

from __future__ import annotations

import os

from energy_tracking.logs.formats.base import (
    Document,
    LogFile,
    LogFormat,
    at,
    keys,
    text,
)
from energy_tracking.logs.formats.counts import sum_of_tokens, whole
from energy_tracking.logs.formats.providers import provider_named
from energy_tracking.logs.logged import LoggedCall, time_of


def _read_mux(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """What a session took by model, so far."""
    by_model, session = document["byModel"], os.path.basename(file.folder)
    found = []
    for named, parts in by_model.items() if isinstance(by_model, dict) else ():
        provider, _, model = str(named).rpartition(":")
        inputs, cached, written, outputs, reasoning = (
            whole(at(parts, part, "tokens")) or 0
            for part in ("input", "cached", "cacheCreate", "output", "reasoning")
        )
        counts = sum_of_tokens(inputs + cached + written, outputs + reasoning, cached, reasoning)
        if counts.input_tokens + counts.output_tokens:
            found.append(
                LoggedCall(
                    provider=provider_named(provider),
                    model=model,
                    counts=counts,
                    time=time_of(at(document["lastRequest"], "timestamp")),
                    session=session or None,
                    requests=None,
                    identity=("mux", session, named),
                    grows=True,
                )
            )
    return found


def _read_vibe(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """What is kept beside the messages of a session, or around them in its first version."""
    facts = document["metadata"] if "stats" not in document else document
    statistics = at(facts, "stats")
    inputs = whole(at(statistics, "session_prompt_tokens"))
    if inputs is None:
        return None
    outputs, cached = (
        at(statistics, f"session_{part}_tokens") for part in ("completion", "cached")
    )
    session = text(at(facts, "session_id"))
    return [
        LoggedCall(
            provider="mistral_ai",
            model=text(at(facts, "config", "active_model")) or text(at(facts, "active_model")),
            counts=sum_of_tokens(inputs, outputs, cached or 0),
            time=time_of(at(facts, "end_time") or at(facts, "start_time")),
            session=session,
            requests=None,
            identity=None if session is None else ("vibe", session),
            grows=True,
        )
    ]


def _read_grok(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A line of a session; that of a turn's end has what the turn took, by model."""
    facts = document["params"]
    update = at(facts, "update")
    kind = at(update, "sessionUpdate")
    if not isinstance(kind, str):
        return None
    usage = at(update, "usage") if kind == "turn_completed" else None
    by_model = at(usage, "modelUsage") or ({} if usage is None else {None: usage})
    session, event = text(at(facts, "sessionId")), text(at(facts, "_meta", "eventId"))
    found = []
    for model, parts in by_model.items():
        inputs, outputs, cached, reasoning = (
            whole(at(parts, f"{part}Tokens")) or 0
            for part in ("input", "output", "cachedRead", "reasoning")
        )
        if inputs + outputs + reasoning:
            found.append(
                LoggedCall(
                    provider="x_ai",
                    model=model,
                    counts=sum_of_tokens(inputs, outputs + reasoning, cached, reasoning),
                    time=time_of(document["timestamp"]),
                    session=session,
                    requests=None,
                    identity=None if event is None else ("grok", event, model),
                )
            )
    return found


SESSION_SUMS: tuple[LogFormat, ...] = (
    # Source: https://github.com/junhoyeo/tokscale/blob/main/crates/tokscale-core/src/sessions/mux.rs
    LogFormat(name="mux", keys=keys("byModel", "lastRequest"), read=_read_mux),
    # Source: https://github.com/junhoyeo/tokscale/blob/main/crates/tokscale-core/src/sessions/vibe.rs
    LogFormat(name="vibe", any_of=keys("stats", "metadata"), read=_read_vibe, is_said=False),
    # Source: https://github.com/ccusage/ccusage (adapter/grok)
    LogFormat(name="grok", keys=keys("timestamp", "params"), read=_read_grok, is_said=False),
)  # fmt: skip
