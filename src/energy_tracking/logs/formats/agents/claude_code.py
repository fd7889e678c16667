"""Claude Code's transcripts, and what ``claude -p`` prints.

A transcript repeats a message while it grows, copies the history of a session that is resumed
into a new file, and has lines for much that is no call. So every call here has the identity of
its message, and the copy that has ended or has most tokens stands; lines of other types are
passed over.

A line may be written before its message has ended, and have a few tokens of the output alone, as
all that are printed have, and in many versions all that are kept: the text of all lines of such a
message says how long it is at least. ``claude_printed`` has what is printed.
"""

from __future__ import annotations

from energy_tracking.logs.formats.agents.claude_printed import (
    estimate_printed,
    plain_name,
    read_result,
    remember_printed,
)
from energy_tracking.logs.formats.base import (
    UNFINISHED,
    Document,
    LogFile,
    LogFormat,
    at,
    estimate_output,
    keys,
    mappings,
    remember,
    text,
)
from energy_tracking.logs.formats.counts import counts_in
from energy_tracking.logs.formats.iterations import calls_beside
from energy_tracking.logs.logged import LoggedCall, time_of
from energy_tracking.usage.names import is_unique_id
from energy_tracking.usage.text import generated_tokens, tokens_in

CLAUDE_LINES = frozenset(
    {"assistant", "user", "system", "summary", "progress", "attachment", "result", "stream_event"}
    | {"file-history-snapshot", "queue-operation", "custom-title", "agent-name", "last-prompt"}
    | {"rate_limit_event", "tool_progress", "tool_use_summary", "auth_status", "permission-mode"}
    | {"mode", "agent-setting", "agent-color", "ai-title", "pr-link", "tag", "worktree-state"}
)
"""The types of lines so far. Newer ones are known by the lines before them in the file."""
MOST_TEXTS = 1000
"""How many messages that have not ended may lie mixed in one file."""
BEGINNING = 64
"""By how much of its beginning the text of a block is known [characters]."""
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
    is_printed = "session_id" in document
    if message.get("stop_reason", "") is None or not call.tokens:
        call.assumed = UNFINISHED
        written = _add_text(call, message.get("content"), file)
        if not is_printed:
            estimate_output(call, written)
    if is_printed:
        remember_printed(call, file)
    calls = [call, *calls_beside(call, raw)] if "iterations" in raw else [call]
    file.memory["claude code"] = True
    if "sessionId" in document:
        file.note_call_of("claude transcript", session)
    for each in calls:
        _note_call_of(session or file.path, each.model, file)
    return calls


def _note_call_of(session: str, model: str | None, file: LogFile) -> None:
    """Remember that there are calls of a session, and of a model in it."""
    if file.memory.get("claude noted") != (session, model):
        file.memory["claude noted"] = (session, model)
        file.note_call_of("claude", session)
        file.note_call_of("claude", session, plain_name(model))


def _add_text(call: LoggedCall, content: object, file: LogFile) -> float:
    """Add the text in a line of a message to that of its other lines; returns all [tokens].

    A line has one block of the message, or what there is of one so far.
    """
    texts: dict[object, dict[object, float]] = file.memory.setdefault("claude texts", {})
    blocks = texts.get(call.identity)
    if blocks is None:
        blocks = {}
        if call.identity is not None:
            remember(texts, call.identity, blocks, MOST_TEXTS)
    for block in mappings(content):
        own, said = block.get("id"), block.get("text") or block.get("thinking")
        if type(said) is str:
            own, tokens = said[:BEGINNING], tokens_in(len(said))
        else:
            # What is asked of a tool is generated as JSON.
            tokens = generated_tokens({"choices": [{"message": {"tool_calls": [block]}}]})
        blocks[own] = max(tokens, blocks.get(own, 0.0))
    return sum(blocks.values())


def _message_identity(call: LoggedCall, *ids: object) -> tuple[object, ...] | None:
    """What all copies of a message say, however far it had come."""
    message_id, usage = call.response_id, call.counts
    if is_unique_id(message_id):
        return (message_id,)
    # A side question repeats messages of its session, each with the id of its own request.
    named = [one for one in (message_id, *ids) if isinstance(one, str)][:1]
    if not named or usage is None:
        return None
    return (*named, call.model, usage.input_tokens)


def _read_claude_line(document: Document, file: LogFile) -> list[LoggedCall] | None:
    kind = document.get("type")
    if kind == "result" and "usage" in document:
        if at(document, "usage", "inputTokens") is not None:
            return None  # of another agent, which prints the same lines
        return read_result(document, file)
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
    message["stop_reason"] = "said in this event"
    return _read_claude_message({**document, "message": message}, file) or []


_CLAUDE_KEYS = keys("sessionId", "session_id", "uuid", "leafUuid", "messageId")


CLAUDE_CODE: tuple[LogFormat, ...] = (
    # Source: https://github.com/ryoppippi/ccusage/issues/888 (one message id, growing counts)
    # Source: https://github.com/anthropics/claude-code/issues/27361 (no line with the last count)
    LogFormat(name="claude-code", keys=keys("message"), read=_read_claude_message,
              finish=estimate_printed),
    # Source: https://docs.claude.com/en/docs/claude-code/sdk/sdk-headless
    LogFormat(
        name="claude-code-line", keys=keys("type"), any_of=_CLAUDE_KEYS, read=_read_claude_line,
        is_said=False,
    ),
)  # fmt: skip
