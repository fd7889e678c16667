"""What ``claude -p`` prints: messages with a few tokens of their output, and a result over them.

Order of events: messages are added up by session and model (``remember_printed``); a result comes
last and has the sums (``read_result``). What the output of the conversation has more is shared out
among the messages that had not ended. Where there is no result, the text of all lines of a message
says how long it is at least (``estimate_printed``). What requests beside the conversation took, as
those of subagents, is in the sums by model alone, and what these have more is a sum of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import lru_cache

from energy_tracking.logs.formats.base import Document, LogFile, at, estimate_output, text
from energy_tracking.logs.formats.counts import sum_in, sum_of_tokens, usage_of, whole
from energy_tracking.logs.logged import Counts, LoggedCall, time_of
from energy_tracking.usage.token_usage import TokenUsage

SHARED_OUT = "of messages that had not ended, counted with a share of what their session took"
MOST_PRINTED = 10_000
"""How many messages of a session may share what its result has more."""


_AROUND_NAME = re.compile(r"^(.*/)?(.*\banthropic\.)?|-v\d+:\d+$|(?<=-\d|\d\d)-v\d+$")
"""What a result has around the name that a message has: a gateway, a region, a size of context."""


@lru_cache(maxsize=256)
def plain_name(model: str | None) -> str | None:
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


def remember_printed(call: LoggedCall, file: LogFile) -> None:
    """Remember a message that was printed: of several copies the one that stands.

    Args:
        call: The message.
        file: Where it is.
    """
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


def estimate_printed(file: LogFile) -> Iterable[LoggedCall]:
    """Count the text of messages that were printed, had not ended, and that no result is over."""
    texts = file.memory.get("claude texts", {})
    for by_model in file.memory.get("claude sums", {}).values():
        for printed in by_model.values():
            for call in printed.unfinished.values():
                estimate_output(call, sum(texts.get(call.identity, {}).values()))
    return ()


def read_result(document: Document, file: LogFile) -> list[LoggedCall]:
    """The last line of ``claude -p``: the sum of the messages before it, which count.

    Args:
        document: The line.
        file: Where it is.
    """
    session, by_model = text(document.get("session_id")), document.get("modelUsage")
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
        name = names.get(model, plain_name(model))
        own = [one for of_model, one in printed.items() if name in (None, plain_name(of_model))]
        _share_out(usage, own)
        call = LoggedCall(
            provider="anthropic",
            model=model,
            counts=usage,
            time=time_of(document.get("timestamp")),
            session=session,
            requests=None,
            identity=("claude result", run, model),
            sum_of=("claude", of) if name is None else ("claude", of, name),
        )
        calls += [call, *_calls_beside(call, own, run, file)]
    if sums[0][0] is None:
        estimate_printed(file)
        # The sums by model are of all turns so far.
        for known in (sessions, turns, file.memory.get("claude printed", {})):
            known.clear()
    elif printed:
        turns[session] = _add_up(printed.values())
    return calls


def _calls_beside(
    total: LoggedCall, printed: list[_Printed], run: str | None, file: LogFile
) -> list[LoggedCall]:
    """What a sum has more than the messages that were printed, which is of further requests.

    Args:
        total: The sum.
        printed: All that it is over, as far as they were printed.
        run: What the result is known by.
        file: Where it is.
    """
    beside = _find_beside(total.counts, printed)
    if beside is None:
        return []
    for messages in printed:
        # What these took, too, is in it.
        messages.unfinished.clear()
    # Later results of the same run have more of them.
    first = file.memory.setdefault("claude run", run)
    identity = ("claude beside", first if total.model else run, total.model)
    transcript = ("claude transcript", total.session or file.path)
    return [replace(total, counts=beside, identity=identity, grows=True, sum_of=transcript)]


def _names_printed(
    sums: list[tuple[str | None, TokenUsage | None]], printed: dict[str | None, _Printed]
) -> dict[str | None, str | None]:
    """The names that messages have of models that the result names in a way of its own.

    Args:
        sums: Models and their sums.
        printed: The messages, by the model that answered.
    """
    known = {plain_name(model) for model, _ in sums}
    others = {plain_name(name): one for name, one in printed.items()}
    alone = [name for name in others if name not in known]
    if None in known or not alone:
        return {}
    alone.sort(key=lambda name: others[name].inputs, reverse=True)
    left = [(model, usage) for model, usage in sums if usage and plain_name(model) not in others]
    left.sort(key=lambda entry: entry[1].input_tokens if entry[1] else 0, reverse=True)
    return {model: name for (model, _), name in zip(left, alone, strict=False)}


def _find_beside(total: Counts | None, printed: list[_Printed]) -> TokenUsage | None:
    """The tokens of that; None where there are none."""
    if total is None or not printed:
        return None
    inputs, outputs = _add_up(printed)
    inputs, outputs = total.input_tokens - inputs, total.output_tokens - outputs
    cached = total.cached_input_tokens - sum(one.cached for one in printed)
    return sum_of_tokens(inputs, outputs, cached) if inputs > 0 < outputs else None


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
