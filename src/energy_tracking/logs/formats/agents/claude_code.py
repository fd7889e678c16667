"""Claude Code's transcripts, and what ``claude -p`` prints.

A transcript repeats a message while it grows, copies the history of a session that is resumed
into a new file, and has lines for much that is no call. So every call here has the identity of
its message, and the copy that has ended or has most tokens stands; lines of other types are
passed over.

A line may be written before its message has ended, and have a few tokens of the output alone, as
all that are printed have, and in many versions all that are kept. The result that is printed last
has the sums: what the output of the conversation has more is shared out among such messages. Where
there is none, the text of all lines of a message says how long it is at least. What requests beside
the conversation took, as those of subagents, is in the sums by model alone, and what these have
more is a sum of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import lru_cache

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
from energy_tracking.logs.formats.counts import counts_in, sum_in, sum_of_tokens, usage_of, whole
from energy_tracking.logs.formats.iterations import calls_beside
from energy_tracking.logs.logged import LoggedCall, time_of
from energy_tracking.usage.names import is_unique_id
from energy_tracking.usage.text import generated_tokens, tokens_in
from energy_tracking.usage.token_usage import TokenUsage

CLAUDE_LINES = frozenset(
    {"assistant", "user", "system", "summary", "progress", "attachment", "result", "stream_event"}
    | {"file-history-snapshot", "queue-operation", "custom-title", "agent-name", "last-prompt"}
    | {"rate_limit_event", "tool_progress", "tool_use_summary", "auth_status", "permission-mode"}
    | {"mode", "agent-setting", "agent-color", "ai-title", "pr-link", "tag", "worktree-state"}
)
"""The types of lines so far. Newer ones are known by the lines before them in the file."""
SHARED_OUT = "of messages that had not ended, counted with a share of what their session took"
MOST_PRINTED = 10_000
"""How many messages of a session may share what its result has more."""
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
        _remember_printed(call, file)
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
        file.note_call_of("claude", session, _plain_name(model))


_AROUND_NAME = re.compile(r"^(.*/)?(.*\banthropic\.)?|-v\d+:\d+$|(?<=-\d|\d\d)-v\d+$")
"""What a result has around the name that a message has: a gateway, a region, a size of context."""


@lru_cache(maxsize=256)
def _plain_name(model: str | None) -> str | None:
    """A model's name as its messages have it.

    Of ``claude-opus-4-6[1m]``, ``us.anthropic.claude-opus-4-6-v1:0``, ``claude-opus-4-6@20260105``
    and ``minimax/MiniMax-M2.1``.
    """
    return model and _AROUND_NAME.sub("", model.partition("[")[0]).replace("@", "-")


@dataclass(slots=True)
class _Printed:
    """The messages of one model that a session has printed, added up: results are many.

    Attributes:
        inputs: Their input [tokens].
        cached: Part of it read from a cache [tokens].
        outputs: Their output [tokens].
        unfinished: Those that had not ended, by what identifies them.
    """

    inputs: int = 0
    cached: int = 0
    outputs: int = 0
    unfinished: dict[object, LoggedCall] = field(default_factory=dict)

    def add(self, call: LoggedCall) -> None:
        """Add a message."""
        self._count(call, 1)
        if call.assumed is not None:
            self.unfinished[call.identity] = call

    def take_out(self, call: LoggedCall) -> None:
        """Take a message out, of which a better copy stands."""
        self._count(call, -1)
        self.unfinished.pop(call.identity, None)

    def give(self, call: LoggedCall, inputs: int, cached: int, outputs: int) -> None:
        """Give a message that had not ended more tokens.

        Args:
            call: The message.
            inputs: More input [tokens].
            cached: Part of that read from a cache [tokens].
            outputs: More output [tokens].
        """
        own = call.usage
        if own is not None:
            self._count(call, -1)
            call.counts = usage_of(
                own.input_tokens + inputs,
                own.output_tokens + outputs,
                cached=own.cached_input_tokens + cached,
                written=own.cache_write_input_tokens,
                reasoning=own.reasoning_tokens,
            )
            call.assumed = SHARED_OUT
            self._count(call, 1)

    def _count(self, call: LoggedCall, times: int) -> None:
        if call.counts is not None:
            self.inputs += times * call.counts.input_tokens
            self.cached += times * call.counts.cached_input_tokens
            self.outputs += times * call.counts.output_tokens


_Sessions = dict[str | None, dict[str | None, _Printed]]
"""Sessions -> models -> the messages."""


def _remember_printed(call: LoggedCall, file: LogFile) -> None:
    """Remember a message that was printed: of several copies the one that stands."""
    printed: dict[object, LoggedCall] = file.memory.setdefault("claude printed", {})
    sums: _Sessions = file.memory.setdefault("claude sums", {})
    known = printed.get(call.identity)
    if known is None:
        if call.identity is None or len(printed) >= MOST_PRINTED:
            return
    elif (call.assumed is None, call.tokens) > (known.assumed is None, known.tokens):
        sums[known.session][known.model].take_out(known)
    else:
        return
    printed[call.identity] = call
    sums.setdefault(call.session, {}).setdefault(call.model, _Printed()).add(call)


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


def _estimate_printed(file: LogFile) -> Iterable[LoggedCall]:
    """Count the text of messages that were printed, had not ended, and that no result is over."""
    texts = file.memory.get("claude texts", {})
    for by_model in file.memory.get("claude sums", {}).values():
        for printed in by_model.values():
            for call in printed.unfinished.values():
                estimate_output(call, sum(texts.get(call.identity, {}).values()))
    return ()


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
    message["stop_reason"] = "said in this event"
    return _read_claude_message({**document, "message": message}, file) or []


_CLAUDE_KEYS = keys("sessionId", "session_id", "uuid", "leafUuid", "messageId")


def _read_claude_result(document: Document, file: LogFile) -> list[LoggedCall]:
    """The last line of ``claude -p``: the sum of the messages before it, which count."""
    session = text(document.get("session_id"))
    time = time_of(document.get("timestamp"))
    by_model = document.get("modelUsage")
    sums: list[tuple[str | None, TokenUsage | None]] = [
        (model, _sum_of_model(counts))
        for model, counts in (by_model.items() if isinstance(by_model, dict) else ())
    ]
    sums = sums or [(None, sum_in(document.get("usage")))]
    sessions: _Sessions = file.memory.get("claude sums", {})
    printed = sessions.get(session, {})
    turns = file.memory.setdefault("claude turns", {})
    if any(messages.unfinished for messages in printed.values()):
        # The usage is of this turn, without what is beside the conversation.
        turn = sum_in(document.get("usage"))
        if turn is not None:
            _share_out(turn, list(printed.values()), turns.get(session, (0, 0)))
    # Turns are counted, requests are not; a session that is resumed has a result for each run.
    of, run = session or file.path, text(document.get("uuid")) or session
    names, calls = _names_printed(sums, printed), []
    for model, usage in sums:
        if usage is None:
            continue
        name = names.get(model, _plain_name(model))
        own = [one for of_model, one in printed.items() if name in (None, _plain_name(of_model))]
        _share_out(usage, own)
        call = LoggedCall()
        call.provider, call.model, call.time, call.session = "anthropic", model, time, session
        call.counts, call.requests = usage, None
        call.identity = "claude result", run, model
        call.sum_of = ("claude", of) if name is None else ("claude", of, name)
        calls.append(call)
        beside = _find_beside(usage, own)
        if beside is not None:
            for messages in own:
                # What these took, too, is in it.
                messages.unfinished.clear()
            # Later results of the same run have more of them.
            first = file.memory.setdefault("claude run", run)
            identity = ("claude beside", first if model else run, model)
            calls.append(
                replace(call, counts=beside, identity=identity, grows=True,
                        sum_of=("claude transcript", of))
            )  # fmt: skip
    if sums[0][0] is None:
        _estimate_printed(file)
        # The sums by model are of all turns so far.
        for known in (sessions, turns, file.memory.get("claude printed", {})):
            known.clear()
    elif printed:
        turns[session] = _add_up(printed.values())
    return calls


def _names_printed(
    sums: list[tuple[str | None, TokenUsage | None]], printed: dict[str | None, _Printed]
) -> dict[str | None, str | None]:
    """The names that messages have of models that the result names in a way of its own.

    Args:
        sums: Models and their sums.
        printed: The messages, by the model that answered.
    """
    known = {_plain_name(model) for model, _ in sums}
    others = {_plain_name(name): one for name, one in printed.items()}
    alone = [name for name in others if name not in known]
    if None in known or not alone:
        return {}
    alone.sort(key=lambda name: others[name].inputs, reverse=True)
    left = [(model, usage) for model, usage in sums if usage and _plain_name(model) not in others]
    left.sort(key=lambda entry: entry[1].input_tokens if entry[1] else 0, reverse=True)
    return {model: name for (model, _), name in zip(left, alone, strict=False)}


def _find_beside(total: TokenUsage, printed: list[_Printed]) -> TokenUsage | None:
    """What a sum has more than the messages that were printed, which is of further requests.

    Args:
        total: The sum.
        printed: All that it is over, as far as they were printed.
    """
    inputs, outputs = _add_up(printed)
    inputs, outputs = total.input_tokens - inputs, total.output_tokens - outputs
    cached = total.cached_input_tokens - sum(one.cached for one in printed)
    return sum_of_tokens(inputs, outputs, cached) if printed and inputs > 0 < outputs else None


def _sum_of_model(counts: object) -> TokenUsage:
    cached, written = (
        whole(at(counts, f"cache{name}InputTokens")) or 0 for name in ("Read", "Creation")
    )
    inputs = (whole(at(counts, "inputTokens")) or 0) + cached + written
    outputs, reasoning = at(counts, "outputTokens"), at(counts, "thinkingTokens")
    return sum_of_tokens(inputs, outputs, cached, reasoning)


def _add_up(printed: Iterable[_Printed]) -> tuple[int, int]:
    """The input and the output of messages [tokens]."""
    messages = list(printed)
    return sum(one.inputs for one in messages), sum(one.outputs for one in messages)


def _share_out(
    total: TokenUsage, printed: list[_Printed], before: tuple[int, int] = (0, 0)
) -> None:
    """Give each message that had not ended an equal share of what their sum has more.

    Args:
        total: The sum.
        printed: All that it is over, as far as they were printed.
        before: Input and output of those printed before [tokens], which it is not over.
    """
    unfinished = [(one, call) for one in printed for call in one.unfinished.values()]
    inputs, outputs = _add_up(printed)
    inputs, outputs = inputs - before[0], outputs - before[1]
    rest, rest_output = total.input_tokens - inputs, total.output_tokens - outputs
    has_none = not inputs + outputs
    is_whole = abs(rest) * 100 <= total.input_tokens
    if not unfinished or rest_output <= 0 or not (is_whole or has_none):
        # Where the input is another one, there are requests that were not printed.
        return
    rests = (rest, total.cached_input_tokens, rest_output) if has_none else (0, 0, rest_output)
    many = len(unfinished)
    for number, (messages, call) in enumerate(unfinished):
        shares = [each * (number + 1) // many - each * number // many for each in rests]
        messages.give(call, *shares)
    for messages in printed:
        # A later sum over more of them has nothing more for these.
        messages.unfinished.clear()


CLAUDE_CODE: tuple[LogFormat, ...] = (
    # Source: https://github.com/ryoppippi/ccusage/issues/888 (one message id, growing counts)
    # Source: https://github.com/anthropics/claude-code/issues/27361 (no line with the last count)
    LogFormat(name="claude-code", keys=keys("message"), read=_read_claude_message,
              finish=_estimate_printed),
    # Source: https://docs.claude.com/en/docs/claude-code/sdk/sdk-headless
    LogFormat(
        name="claude-code-line", keys=keys("type"), any_of=_CLAUDE_KEYS, read=_read_claude_line,
        is_said=False,
    ),
)  # fmt: skip
