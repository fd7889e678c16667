"""Transcripts of further coding agents: Amp, Copilot, Kimi, CodeBuddy, OpenHands, Junie.

Most of them count what was read from a prompt cache, and written to it, beside the input;
``counts.CountNames`` says by what names. Where an agent keeps no calls, it is in ``session_sums``.
A new one is a row of ``AGENTS``, with the source of what it says, and a sample in the tests.
"""

from __future__ import annotations

import os
from datetime import datetime

from energy_tracking.logs.formats.agents.counts import (
    CountNames,
    Parts,
    build_agent_call,
    build_agent_sum,
    count_on,
    read_parts,
)
from energy_tracking.logs.formats.agents.pi import read_pi
from energy_tracking.logs.formats.base import (
    Document,
    LogFile,
    LogFormat,
    at,
    identify,
    keys,
    known_by,
    mappings,
    text,
)
from energy_tracking.logs.formats.counts import counts_in, whole
from energy_tracking.logs.logged import LoggedCall, time_of

# Amp.

AMP = CountNames("inputTokens", "outputTokens", "cacheReadInputTokens", "cacheCreationInputTokens")
AMP_LEDGER = CountNames("input", "output", "cacheReadInputTokens", "cacheCreationInputTokens")


def _read_amp(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A thread, whose messages have what they took, and its ledger, which has it again."""
    thread, created = text(document.get("id")), document.get("created")
    events = mappings(at(document, "usageLedger", "events"))
    calls = []
    for message in mappings(document["messages"]):
        usage, number = message.get("usage"), message.get("messageId")
        parts = read_parts(usage, AMP)
        if parts is None:
            continue
        event = next((event for event in events if _is_of(event, number, parts)), {})
        if event:
            events.remove(event)
        time = time_of(at(usage, "timestamp")) or time_of(event.get("timestamp") or created)
        calls.append(_amp_call(parts, at(usage, "model"), time, thread, number))
    for event in events:
        # Of messages that are gone.
        parts, time = read_parts(event.get("tokens"), AMP_LEDGER), event.get("timestamp")
        if parts is not None:
            calls.append(_amp_call(parts, event.get("model"), time_of(time), thread, time))
    return calls or None


def _is_of(event: Document, number: object, parts: Parts) -> bool:
    """Whether an entry of the ledger is of a message."""
    of = event.get("toMessageId")
    if of is not None:
        return bool(of == number)
    found = read_parts(event.get("tokens"), AMP_LEDGER)
    return found is not None and found[:2] == parts[:2]


def _amp_call(
    parts: Parts, model: object, time: datetime | None, thread: str | None, number: object
) -> LoggedCall:
    return build_agent_call(
        parts,
        model=text(model),
        time=time,
        session=thread,
        grows=True,
        identity=known_by("amp", thread, number),
    )


# Copilot's command line.

COPILOT = CountNames(
    "inputTokens", "outputTokens", "cacheReadTokens", "cacheWriteTokens", "reasoningTokens"
)

COPILOT_EVENTS = frozenset(
    {"assistant", "hook", "permission", "session", "skill", "subagent", "system", "tool", "user"}
    | {"abort"}
)
"""What the types of its events begin with."""


def _read_copilot(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """An event; that of a session's end has the sums of its requests."""
    kind, data, time = document["type"], document["data"], time_of(document.get("timestamp"))
    if not isinstance(kind, str) or not isinstance(data, dict):
        return None
    memory = file.memory
    if kind == "session.start":
        memory["copilot"] = text(data.get("sessionId"))
        return []
    if kind == "session.resume":
        memory["copilot runs"] = memory.get("copilot runs", 0) + 1
    session = memory.get("copilot")
    if kind == "assistant.usage":
        model = text(data.get("model"))
        parts = _read_copilot_parts(data, model)
        if parts is None:
            return None
        file.note_call_of("copilot", session)
        identity = known_by("copilot", text(document.get("id")) or text(data.get("apiCallId")))
        return [build_agent_call(parts, model=model, time=time, session=session, identity=identity)]
    if kind == "session.shutdown" and isinstance(data.get("modelMetrics"), dict):
        return [
            build_agent_sum(
                parts,
                whole(at(metrics, "requests", "count")),
                model=model,
                time=time,
                session=session,
                # A process says what it took so far, and begins anew where it resumes a session.
                identity=("copilot", session or file.path, memory.get("copilot runs"), model),
                grows=True,
                sum_of=known_by("copilot", session),
            )
            for model, metrics in data["modelMetrics"].items()
            if (parts := _read_copilot_parts(at(metrics, "usage"), model)) is not None
        ]
    is_known = "copilot" in memory and kind.partition(".")[0] in COPILOT_EVENTS
    return [] if is_known else None


def _read_copilot_parts(counted: object, model: str | None) -> Parts | None:
    # Source: https://github.com/ccusage/ccusage (adapter/copilot/README.md)
    is_gemini = model is not None and model.startswith("gemini")
    return read_parts(counted, COPILOT, is_beside=False, is_reasoning_beside=is_gemini)


# Kimi's two.

KIMI = CountNames("input_other", "output", "input_cache_read", "input_cache_creation")
KIMI_CODE = CountNames("inputOther", "output", "inputCacheRead", "inputCacheCreation")


def _read_kimi(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A line of ``kimi-cli``."""
    message = document["message"]
    payload = at(message, "payload")
    if not isinstance(payload, dict) or "type" not in message:
        return None
    parts = read_parts(payload.get("token_usage"), KIMI)
    if parts is None:
        return []
    return [
        build_agent_call(
            parts,
            provider="moonshot_ai",
            time=time_of(document["timestamp"]),
            grows=True,
            identity=known_by("kimi", text(payload.get("message_id"))),
        )
    ]


def _read_kimi_code(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A line of ``kimi-code``; a step's end repeats what its record says."""
    kind, memory = document["type"], file.memory
    if kind == "llm.request":
        memory["kimi code"] = text(document.get("model"))
        return []
    if kind != "usage.record":
        is_known = "kimi code" in memory and (kind == "step.end" or "usage" not in document)
        return [] if is_known else None
    parts = read_parts(document.get("usage"), KIMI_CODE)
    if parts is None:
        return None
    if document.get("usageScope") != "turn":
        file.leave_out("usage of a session, which may repeat that of its turns")
        return []
    model = text(document.get("model"))
    if model is None or model.startswith("__"):
        # A name of the settings.
        model = memory.get("kimi code")
    return [
        build_agent_call(
            parts,
            provider="moonshot_ai",
            model=model and model.removeprefix("kimi-code/"),
            time=time_of(document.get("time")),
        )
    ]


# CodeBuddy.


def _read_code_buddy(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A line of a session; those of an answer have what it took."""
    data = document["providerData"]
    counts = counts_in(at(data, "rawUsage"))
    if counts is None:
        return [] if "sessionId" in document else None
    call = LoggedCall(
        model=text(at(data, "requestModelId")) or text(at(data, "model")),
        response_id=text(document.get("id")),
        counts=counts,
        time=time_of(document.get("timestamp")),
        session=text(document.get("sessionId")),
    )
    return [identify(call, created=document.get("timestamp"))]


# OpenHands.

OPEN_HANDS = CountNames(
    *("prompt_tokens", "completion_tokens", "cache_read_tokens", "cache_write_tokens"),
    "reasoning_tokens",
)


def _read_open_hands(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """An event, or the result of an evaluation: what each call took, or a running total."""
    time = time_of(document.get("timestamp"))
    for name in ("stats", "value"):
        by_usage = at(document, name, "usage_to_metrics")
        if isinstance(by_usage, dict):
            # From its first version on: those of the agent, and of what condenses its history.
            named = by_usage.items()
            return [one for of, found in named for one in _open_hands_calls(found, time, of, file)]
    metrics = document.get("llm_metrics") or document.get("metrics")
    if not isinstance(metrics, dict) or "accumulated_token_usage" not in metrics:
        return None
    return _open_hands_calls(metrics, time, "" if "source" in document else None, file)


def _open_hands_calls(
    metrics: Document, time: datetime | None, of: str | None, file: LogFile
) -> list[LoggedCall]:
    """The calls in metrics, or what a running total has more than it had before.

    Args:
        metrics: What they are.
        time: When they were written.
        of: Whose total they have; None where it is no running one.
        file: Where they are.
    """
    total = at(metrics, "accumulated_token_usage")
    calls = [
        build_agent_call(
            parts,
            model=text(usage.get("model")),
            time=time,
            grows=True,
            identity=known_by("open hands", text(usage.get("response_id"))),
        )
        for usage in mappings(at(metrics, "token_usages"))
        if (parts := read_parts(usage, OPEN_HANDS, is_beside=False)) is not None
    ]
    parts = read_parts(total, OPEN_HANDS, is_beside=False)
    if calls or parts is None:
        return calls
    if of is None:
        return [build_agent_sum(parts, model=text(at(total, "model")), time=time)]
    totals: dict[str, tuple[int, ...]] = file.memory.setdefault("open hands", {})
    before, totals[of] = totals.get(of), parts[:4]
    if parts[:4] == before:
        return []
    inputs, outputs, cached, written = count_on(parts[:4], before)
    own = Parts(inputs, outputs, cached, written, None)
    return [build_agent_call(own, model=text(at(total, "model")), time=time)]


# Junie, of JetBrains.

JUNIE = CountNames(
    "inputTokens", "outputTokens", "cacheInputTokens", "cacheCreateTokens", "reasoningTokens"
)


def _read_junie(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """An event of a session; that of a model's answer has its tokens, by model."""
    event = at(document, "event", "agentEvent")
    if not isinstance(event, dict):
        return None
    answered = event.get("kind") == "LlmResponseMetadataEvent"
    session, time = os.path.basename(file.folder) or None, document["timestampMs"]
    calls = []
    for number, usage in enumerate(mappings(event.get("modelUsage")) if answered else ()):
        parts, model = read_parts(usage, JUNIE), text(usage.get("model"))
        if parts is not None:
            identity = known_by("junie", session, time, number, *parts[:2])
            calls.append(
                build_agent_call(
                    parts, model=model, time=time_of(time), session=session, identity=identity
                )
            )
    return calls


AGENTS: tuple[LogFormat, ...] = (
    # Source: https://github.com/junhoyeo/tokscale/blob/main/crates/tokscale-core/src/sessions/junie.rs
    LogFormat(name="junie", keys=keys("timestampMs", "event"), read=_read_junie),
    # Source: https://github.com/junhoyeo/tokscale/blob/main/crates/tokscale-core/src/sessions/amp.rs
    LogFormat(name="amp", keys=keys("id", "messages"), any_of=keys("usageLedger", "created"),
              read=_read_amp),
    # Source: https://github.com/github/copilot-sdk (session events)
    LogFormat(name="copilot", keys=keys("type", "data"), read=_read_copilot, is_said=False),
    # Source: https://github.com/junhoyeo/tokscale/blob/main/crates/tokscale-core/src/sessions/kimi.rs
    LogFormat(name="kimi", keys=keys("timestamp", "message"), read=_read_kimi),
    LogFormat(name="kimi-code", keys=keys("type"), read=_read_kimi_code, is_said=False),
    # Source: https://github.com/badlogic/pi-mono/tree/main/packages/coding-agent (session format)
    LogFormat(name="pi", keys=keys("type", "timestamp"), read=read_pi, is_said=False),
    # Source: https://github.com/ccusage/ccusage (adapter/codebuddy)
    LogFormat(name="codebuddy", keys=keys("type", "providerData"), read=_read_code_buddy),
    # Source: https://github.com/OpenHands/software-agent-sdk (Metrics)
    LogFormat(name="open-hands", any_of=keys("llm_metrics", "metrics", "stats", "value"),
              read=_read_open_hands, is_said=False),
)  # fmt: skip
