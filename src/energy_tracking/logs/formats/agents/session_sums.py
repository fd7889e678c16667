"""Agents that keep what a session or a turn took, and no calls: Mux, Vibe, Goose, Zed, Continue.

Each is a sum over an unknown number of requests. Where it has the id of a session, it grows, and
its copy with most tokens stands. By what names its tokens are counted, and what lies beside what,
is said where they are read.

A further agent is a row of ``SESSION_SUMS``, with the source of what it says, and a sample in the
tests.
"""

from __future__ import annotations

import os

from energy_tracking.logs.formats.agents.counts import CountNames, build_agent_sum, read_parts
from energy_tracking.logs.formats.base import (
    Document,
    LogFile,
    LogFormat,
    at,
    keys,
    known_by,
    leaves_out,
    text,
    unpacked,
)
from energy_tracking.logs.formats.bodies import usage_in_body
from energy_tracking.logs.formats.counts import whole
from energy_tracking.logs.formats.providers import provider_named
from energy_tracking.logs.logged import LoggedCall, time_of

MUX = CountNames("input", "output", "cached", "cacheCreate", "reasoning")


def _read_mux(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """What a session took by model, so far."""
    by_model, session = document["byModel"], os.path.basename(file.folder)
    found = []
    for named, of_model in by_model.items() if isinstance(by_model, dict) else ():
        provider, _, model = str(named).rpartition(":")
        counted = {name: at(of_model, name, "tokens") for name in MUX}
        parts = read_parts(counted, MUX, is_reasoning_beside=True)
        if parts is not None:
            found.append(
                build_agent_sum(
                    parts,
                    provider=provider_named(provider),
                    model=model,
                    time=time_of(at(document["lastRequest"], "timestamp")),
                    session=session or None,
                    identity=("mux", session, named),
                    grows=True,
                )
            )
    return found


VIBE = CountNames(
    *("session_prompt_tokens", "session_completion_tokens", "session_cached_tokens"), ""
)


def _read_vibe(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """What is kept beside the messages of a session, or around them in its first version."""
    facts = document["metadata"] if "stats" not in document else document
    if whole(at(facts, "stats", VIBE.input)) is None:
        return None
    parts = read_parts(at(facts, "stats"), VIBE, is_beside=False)
    if parts is None:
        return []
    session = text(at(facts, "session_id"))
    return [
        build_agent_sum(
            parts,
            provider="mistral_ai",
            model=text(at(facts, "config", "active_model")) or text(at(facts, "active_model")),
            time=time_of(at(facts, "end_time") or at(facts, "start_time")),
            session=session,
            identity=known_by("vibe", session),
            grows=True,
        )
    ]


GROK = CountNames("inputTokens", "outputTokens", "cachedReadTokens", "", "reasoningTokens")


def _read_grok(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A line of a session; that of a turn's end has what the turn took, by model."""
    facts = document["params"]
    update = at(facts, "update")
    kind = at(update, "sessionUpdate")
    if not isinstance(kind, str):
        return None
    usage = at(update, "usage") if kind == "turn_completed" else None
    by_model = at(usage, "modelUsage") or {None: usage}
    event = text(at(facts, "_meta", "eventId"))
    return [
        build_agent_sum(
            parts,
            provider="x_ai",
            model=model,
            time=time_of(document["timestamp"]),
            session=text(at(facts, "sessionId")),
            identity=None if event is None else ("grok", event, model),
        )
        for model, of_model in by_model.items()
        if (parts := read_parts(of_model, GROK, is_beside=False, is_reasoning_beside=True))
        is not None
    ]


GOOSE = CountNames("accumulated_input_tokens", "accumulated_output_tokens", "", "")
ZED = CountNames(
    "input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"
)
DROID = CountNames(
    "inputTokens", "outputTokens", "cacheReadTokens", "cacheCreationTokens", "thinkingTokens"
)


def _read_goose(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A session of Goose's: the head of its file, or a row of its database."""
    file.memory["goose"] = True
    parts = read_parts(document, GOOSE)
    config = unpacked(document.get("model_config_json") or document.get("model_config"))
    session = text(document.get("id"))
    if parts is None:
        return []
    return [
        build_agent_sum(
            parts,
            provider=provider_named(document.get("provider_name")),
            model=text(at(config, "model_name")),
            time=time_of(document.get("updated_at") or document.get("created_at")),
            session=session,
            grows=True,
            identity=known_by("goose", session),
        )
    ]


def _read_goose_message(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A message of Goose's, of which the session alone counts tokens."""
    return [] if "goose" in file.memory or "content_json" in document else None


def _read_zed(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A thread of Zed's; what it keeps of each request is that of the last in its turn."""
    parts = read_parts(document["cumulative_token_usage"], ZED)
    if parts is None:
        return []
    thread = text(document.get("id"))
    return [
        build_agent_sum(
            parts,
            provider=provider_named(at(document, "model", "provider")),
            model=text(at(document, "model", "model")),
            time=time_of(document.get("updated_at")),
            session=thread,
            grows=True,
            identity=known_by("zed", thread),
        )
    ]


def _read_droid(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """The settings of a session of Factory's Droid, with its running total."""
    usage = document["tokenUsage"]
    if not isinstance(usage, dict) or not usage.keys() & {"thinkingTokens", "cacheCreationTokens"}:
        return None
    parts = read_parts(usage, DROID)
    if parts is None:
        return []
    name = os.path.basename(file.path).partition(".")[0]
    return [
        build_agent_sum(
            parts,
            provider=provider_named(document.get("providerLock")),
            model=text(document.get("model")),
            time=time_of(document.get("providerLockTimestamp")),
            session=name,
            grows=True,
            identity=("droid", name),
        )
    ]


def _read_result(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """The last line that an agent prints, as Cursor's: the sum over a run."""
    counts = usage_in_body(document) if document["type"] == "result" else None
    if counts is None:
        return None
    session = text(document.get("session_id")) or text(document.get("sessionId"))
    run = text(document.get("request_id")) or session
    return [
        LoggedCall(
            counts=counts,
            session=session,
            requests=None,
            identity=known_by("result", run),
            grows=True,
        )
    ]


def _read_continue(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A session of Continue's, with what all its messages took."""
    counts, session = usage_in_body(document), text(document["sessionId"])
    if counts is None:
        return None
    named = text(document.get("chatModelTitle"))
    identity = known_by("continue", session)
    total = LoggedCall(
        model=named, counts=counts, session=session, requests=None, identity=identity, grows=True
    )
    return [total]


SESSION_SUMS: tuple[LogFormat, ...] = (
    # Source: https://github.com/junhoyeo/tokscale/blob/main/crates/tokscale-core/src/sessions/mux.rs
    LogFormat(name="mux", keys=keys("byModel", "lastRequest"), read=_read_mux),
    # Source: https://github.com/junhoyeo/tokscale/blob/main/crates/tokscale-core/src/sessions/vibe.rs
    LogFormat(name="vibe", any_of=keys("stats", "metadata"), read=_read_vibe, is_said=False),
    # Source: https://github.com/ccusage/ccusage (adapter/grok)
    LogFormat(name="grok", keys=keys("timestamp", "params"), read=_read_grok, is_said=False),
    # Source: https://github.com/junhoyeo/tokscale/blob/main/crates/tokscale-core/src/sessions/goose.rs
    LogFormat(name="goose", keys=keys("accumulated_input_tokens", "accumulated_output_tokens"),
              read=_read_goose),
    LogFormat(name="goose-message", keys=keys("role"), any_of=keys("content", "content_json"),
              read=_read_goose_message, is_said=False),
    # Source: https://cursor.com/docs/cli/reference/output-format
    LogFormat(name="agent-result", keys=keys("type", "usage"), read=_read_result, is_said=False),
    # Source: https://github.com/charmbracelet/crush (internal/agent, sessions)
    LogFormat(name="crush",
              keys=keys("parent_session_id", "message_count", "prompt_tokens", "completion_tokens"),
              read=leaves_out(
                  "a session of Crush, which keeps the tokens of its last request alone")),
    # Source: https://github.com/junhoyeo/tokscale/blob/main/crates/tokscale-core/src/sessions/zed.rs
    LogFormat(name="zed", keys=keys("cumulative_token_usage"), read=_read_zed),
    # Source: https://github.com/junhoyeo/tokscale/blob/main/crates/tokscale-core/src/sessions/droid.rs
    LogFormat(name="droid", keys=keys("tokenUsage"), read=_read_droid),
    # Source: https://github.com/continuedev/continue/blob/main/core/index.d.ts (Session)
    LogFormat(name="continue", keys=keys("sessionId", "history", "usage"), read=_read_continue),
)  # fmt: skip
