"""Claude Code's transcripts, and what ``claude -p`` prints.

A transcript repeats a message while it grows, copies the history of a session that is resumed
into a new file, and has lines for much that is no call. So every call here has the identity of
its message, and the copy that has ended or has most tokens stands; lines of other types are
passed over.
"""

from __future__ import annotations

from energy_tracking.logs.formats.base import Document, LogFile, LogFormat, at, keys, text
from energy_tracking.logs.formats.counts import counts_in
from energy_tracking.logs.formats.iterations import calls_beside
from energy_tracking.logs.logged import LoggedCall, time_of
from energy_tracking.usage.names import is_unique_id

CLAUDE_LINES = frozenset(
    {"assistant", "user", "system", "summary", "progress", "attachment", "result", "stream_event"}
    | {"file-history-snapshot", "queue-operation", "custom-title", "agent-name", "last-prompt"}
    | {"rate_limit_event", "tool_progress", "tool_use_summary", "auth_status", "permission-mode"}
    | {"mode", "agent-setting", "agent-color", "ai-title", "pr-link", "tag", "worktree-state"}
)
"""The types of lines so far. Newer ones are known by the lines before them in the file."""
NO_MODEL = "<synthetic>"
"""What Claude Code calls itself where it answers in the place of a model."""


def _read_claude_message(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A line with a message of Anthropic's, which its own id identifies."""
    message = document.get("message")
    if not isinstance(message, dict):
        return None
    raw = message.get("usage")
    if not isinstance(raw, dict):
        # The question, or the result of a tool.
        if "sessionId" in document:
            file.memory["claude code"] = True
        return [] if document.get("type") in CLAUDE_LINES or "sessionId" in document else None
    model = text(message.get("model"))
    if model == NO_MODEL:
        return []
    usage = counts_in(raw)
    if usage is None:
        return None
    session = text(document.get("sessionId") or document.get("session_id"))
    call = LoggedCall()
    if model is not None and "claude" in model:
        # Other models answer there, too, behind a gateway.
        call.provider = "anthropic"
    call.model = model
    call.response_id = text(message.get("id"))
    call.counts = usage
    call.time = time_of(document.get("timestamp") or message.get("created"))
    call.session = session
    call.grows = True
    call.identity = _message_identity(call, document.get("requestId"))
    file.note_call_of("claude", session or file.path)
    file.memory["claude code"] = True
    return [call, *calls_beside(call, raw)] if "iterations" in raw else [call]


def _message_identity(call: LoggedCall, *ids: object) -> tuple[object, ...] | None:
    """What all copies of a message say, however far it had come."""
    message_id, usage = call.response_id, call.counts
    if is_unique_id(message_id):
        return (message_id,)
    named = [one for one in (message_id, *ids) if isinstance(one, str)]
    if not named or usage is None:
        return None
    return (*named, call.model, usage.input_tokens)


def _read_claude_line(document: Document, file: LogFile) -> list[LoggedCall] | None:
    kind = document.get("type")
    if kind == "result" and "usage" in document:
        return _read_claude_result(document, file)
    if kind == "progress" or kind == "agent_progress":
        # A subagent's message, as its own transcript has it, too.
        inner = at(document, "data", "message")
        if isinstance(inner, dict) and isinstance(inner.get("message"), dict):
            return _read_claude_message({**document, **inner}, file) or []
    if kind == "stream_event" and isinstance(document.get("event"), dict):
        return _read_claude_event(document, file)
    is_known = kind in CLAUDE_LINES or ("claude code" in file.memory and "usage" not in document)
    return [] if is_known and not document.keys().isdisjoint(_CLAUDE_KEYS) else None


def _read_claude_event(document: Document, file: LogFile) -> list[LoggedCall]:
    """An event of a stream, whose last one has the whole usage; the message's line came before."""
    event, streams = document["event"], file.memory.setdefault("claude streams", {})
    # Subagents stream at the same time.
    stream = document.get("parent_tool_use_id")
    if event.get("type") == "message_start" and isinstance(event.get("message"), dict):
        streams[stream] = event["message"]
    message, counts = streams.get(stream), event.get("usage")
    if message is None or not isinstance(counts, dict):
        return []
    known = {name: count for name, count in counts.items() if count}
    message["usage"] = {**(message.get("usage") or {}), **known}
    return _read_claude_message({**document, "message": message}, file) or []


_CLAUDE_KEYS = keys("sessionId", "session_id", "uuid", "leafUuid", "messageId")


def _read_claude_result(document: Document, file: LogFile) -> list[LoggedCall]:
    """The last line of ``claude -p``: the sum of the messages before it, which count."""
    session = text(document.get("session_id"))
    time = time_of(document.get("timestamp"))
    by_model = document.get("modelUsage")
    sums = []
    for model, counts in by_model.items() if isinstance(by_model, dict) else ():
        usage = counts_in(
            {
                "inputTokens": at(counts, "inputTokens"),
                "outputTokens": at(counts, "outputTokens"),
                "cacheReadInputTokens": at(counts, "cacheReadInputTokens"),
                "cacheWriteInputTokens": at(counts, "cacheCreationInputTokens"),
            }
        )
        sums.append((model, usage))
    if not sums:
        sums.append((None, counts_in(document.get("usage"))))
    # Turns are counted, requests are not.
    return [
        LoggedCall(
            provider="anthropic",
            model=model,
            counts=usage,
            time=time,
            session=session,
            requests=None,
            identity=("claude result", session, model),
            sum_of=("claude", session or file.path),
        )
        for model, usage in sums
        if usage is not None
    ]


CLAUDE_CODE: tuple[LogFormat, ...] = (
    # Source: https://github.com/ryoppippi/ccusage/issues/888 (one message id, growing counts)
    LogFormat(name="claude-code", keys=keys("message"), read=_read_claude_message),
    # Source: https://docs.claude.com/en/docs/claude-code/sdk/sdk-headless
    LogFormat(
        name="claude-code-line", keys=keys("type"), any_of=_CLAUDE_KEYS, read=_read_claude_line,
        is_said=False,
    ),
)  # fmt: skip
