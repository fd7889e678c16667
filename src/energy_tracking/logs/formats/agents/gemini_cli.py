"""Sessions of Gemini CLI, as one document or in lines, and what it prints."""

from __future__ import annotations

from energy_tracking.logs.formats.base import (
    Document,
    LogFile,
    LogFormat,
    at,
    keys,
    known_by,
    mappings,
    text,
)
from energy_tracking.logs.formats.counts import counts_in, sum_of_tokens, whole
from energy_tracking.logs.logged import Counts, LoggedCall, time_of


def _read_gemini_session(document: Document, file: LogFile) -> list[LoggedCall] | None:
    session = text(document.get("sessionId"))
    calls = [
        _gemini_call(message, session)
        for message in mappings(document.get("messages"))
        if message.get("type") == "gemini"
    ]
    found = [call for call in calls if call is not None]
    for _ in range(len(calls) - len(found)):
        file.leave_out("an answer of a model without token counts")
    if found:
        file.note_call_of("gemini cli", session)
    return found


def _read_gemini_line(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A line of a session that is kept in lines, or printed by ``--output-format stream-json``."""
    memory = file.memory.setdefault("gemini cli", {})
    if "projectHash" in document or document.keys() >= _GEMINI_INIT:
        memory["session"] = text(document.get("sessionId") or document.get("session_id"))
        return []
    if not memory or "stats" in document:
        return None
    session, calls = memory.get("session"), []
    # A line may set all messages, or add one.
    for message in (document, *mappings(at(document, "$set", "messages"))):
        call = _gemini_call(message, session) if message.get("type") == "gemini" else None
        if call is not None:
            file.note_call_of("gemini cli", session)
            calls.append(call)
    return calls


_GEMINI_INIT = keys("type", "timestamp", "session_id", "model")


def _gemini_call(message: Document, session: str | None) -> LoggedCall | None:
    tokens = message.get("tokens")
    if not isinstance(tokens, dict):
        return None
    usage = counts_in(
        {
            "promptTokenCount": tokens.get("input"),
            "candidatesTokenCount": tokens.get("output"),
            "cachedContentTokenCount": tokens.get("cached"),
            "thoughtsTokenCount": tokens.get("thoughts"),
            "toolUsePromptTokenCount": tokens.get("tool"),
            "totalTokenCount": tokens.get("total"),
        }
    )
    return LoggedCall(
        provider="gcp.gemini",
        operation="generate_content",
        model=text(message.get("model")),
        counts=usage,
        time=time_of(message.get("timestamp")),
        session=session,
        grows=True,
        identity=known_by("gemini cli", text(message.get("id"))),
    )


def _read_gemini_result(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """What ``gemini --output-format json`` prints, or ``stream-json`` last: sums by model."""
    stats = document.get("stats")
    models = at(stats, "models")
    if not isinstance(models, dict):
        if whole(at(stats, "input_tokens")) is None:
            return None
        models = {None: stats}
    session = text(document.get("session_id")) or file.memory.get("gemini cli", {}).get("session")
    return [
        LoggedCall(
            provider="gcp.gemini",
            operation="generate_content",
            model=model,
            sum_of=known_by("gemini cli", session),
            counts=counts,
            time=time_of(document.get("timestamp")),
            session=session,
            requests=whole(at(of_model, "api", "totalRequests")),
        )
        for model, of_model in models.items()
        if (counts := _gemini_sum(of_model)) is not None
    ]


def _gemini_sum(of_model: object) -> Counts | None:
    """The tokens of one model, in either form."""
    tokens = at(of_model, "tokens")
    if isinstance(tokens, dict):
        prompt, tool, answer, thoughts = (
            whole(tokens.get(name)) or 0 for name in ("prompt", "tool", "candidates", "thoughts")
        )
        return sum_of_tokens(prompt + tool, answer + thoughts, tokens.get("cached"), thoughts)
    inputs, outputs, total = (
        whole(at(of_model, f"{name}_tokens")) for name in ("input", "output", "total")
    )
    if inputs is None:
        return None
    # Thoughts are in the total alone.
    generated = max(outputs or 0, (total or 0) - inputs)
    return sum_of_tokens(inputs, generated, at(of_model, "cached"))


GEMINI_CLI: tuple[LogFormat, ...] = (
    # Source: https://github.com/google-gemini/gemini-cli/blob/main/packages/core/src/services/chatRecordingTypes.ts
    LogFormat(
        name="gemini-cli", keys=keys("sessionId", "messages", "projectHash"),
        read=_read_gemini_session,
    ),
    LogFormat(
        name="gemini-cli-line", any_of=keys("projectHash", "$set", "$rewindTo", "type"),
        read=_read_gemini_line, is_said=False,
    ),
    # Source: https://github.com/google-gemini/gemini-cli/blob/main/docs/cli/headless.md
    LogFormat(name="gemini-cli-result", keys=keys("stats"), read=_read_gemini_result),
)  # fmt: skip
