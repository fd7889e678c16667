"""Tokens from text, where a server reports none.

Counted are characters, and what stands around them: each message, tool and tool call has tokens
of its own, which are most of a short request. Nothing is tokenised: where the alternative is to
count nothing, a count that is right in the median will do, and the range says how far off it
may be (``tests/benchmarks/text_tokens.py`` measures both).

Here is what was generated, and what both halves need; what was asked is in ``prompt_text``, which
is loaded with the first call whose server counts no input.

A new kind of item is a key in one of the sets below.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

TEXT = "text"
"""The dialect of a usage that no server reported."""

CHARACTERS_PER_TOKEN = 4.3
"""Characters of text per token [1].

English prose and code lie near 4 to 4.5 with the tokenisers of today; other scripts are
far lower.
"""

TOKENS_PER_TOOL_CALL = 11
"""What a tool call has beside its name and arguments [tokens], in an answer or a prompt.

Fitted to recorded calls; ``tests/benchmarks/text_tokens.py`` leaves each repository out in turn.
"""

# Keys whose values are text, or hold some.
OUTPUT_KEYS = frozenset(
    {"content", "text", "arguments", "summary", "refusal", "input", "name", "code", "action"}
    | {"operation", "queries", "thinking", "transcript"}
)
# Of these, those whose values are generated as JSON, if they are not strings.
JSON_KEYS = frozenset({"arguments", "action", "operation"})

# Keys of a message in a choice, or of a piece of one. Servers repeat the same reasoning under
# several names: the first that has text is counted.
_ANSWER_KEYS = ("content", "refusal", "text", "audio")
_REASONING_KEYS = (
    *("reasoning_content", "reasoning", "reasoning_text", "thinking"),
    *("reasoning_details", "thinking_blocks"),
)

_REASONING = frozenset(_REASONING_KEYS)

# Items of a response whose text is streamed; the others come as a whole, when they are done.
STREAMED_ITEMS = frozenset(
    {"message", "reasoning", "function_call", "custom_tool_call", "mcp_call"}
    | {"code_interpreter_call"}
)

NUMBER_CHARACTERS = 3
MAX_PARTS = 1_000_000
"""Parts of a prompt or an answer looked at [1]: one that holds itself has no end."""


def tokens_in(characters: int) -> float:
    """About how many tokens so many characters are [tokens]."""
    return characters / CHARACTERS_PER_TOKEN


def whole_tokens(tokens: float) -> int:
    """The tokens of a text as a count; at least one where there is any text."""
    return max(1, round(tokens)) if tokens > 0 else 0


def generated_tokens(data: Mapping[str, Any], named: set[object] | None = None) -> float:
    """About how many tokens of text and tool calls a body or a stream event holds [tokens].

    Chat and legacy completions keep it in ``choices`` (a ``delta`` while streaming),
    Responses events in ``delta``, Responses bodies in ``output``.

    Args:
        data: The body or event.
        named: The tool calls whose names the stream has shown already, which are not counted
            again; those of ``data`` are added.
    """
    choices = data.get("choices")
    if isinstance(choices, list):
        if len(choices) == 1:
            return _choice_tokens(choices[0], named)
        return sum(_choice_tokens(choice, named) for choice in choices)
    delta = data.get("delta")
    if isinstance(delta, str):
        # Audio comes base64-encoded; its transcript has events of its own.
        return 0 if str(data.get("type")).endswith("audio.delta") else tokens_in(len(delta))
    output = data.get("output")
    if isinstance(output, list):
        return sum(_item_tokens(item) for item in output)
    item = data.get("item")
    if isinstance(item, Mapping):
        return _streamed_item_tokens(str(data.get("type")), item)
    return 0


def _choice_tokens(choice: object, named: set[object] | None) -> float:
    if type(choice) is not dict and not isinstance(choice, Mapping):
        return 0
    characters = len(choice["text"]) if isinstance(choice.get("text"), str) else 0
    message = choice.get("delta") or choice.get("message")
    if type(message) is not dict and not isinstance(message, Mapping):
        return tokens_in(characters)
    for key in _ANSWER_KEYS:
        if (value := message.get(key)) is not None:
            characters += _text_characters(value)
    if not _REASONING.isdisjoint(message):
        for key in _REASONING_KEYS:
            if (value := message.get(key)) is not None and (reasoning := _text_characters(value)):
                characters += reasoning
                break
    calls = message.get("tool_calls") or message.get("function_call")
    if not calls:
        return tokens_in(characters)
    is_piece = named is not None and bool(choice.get("delta"))
    return tokens_in(characters) + _calls_tokens(
        calls, choice.get("index"), named if is_piece else None
    )


def _text_characters(value: object) -> int:
    """Characters of a text, or of the parts that one is given in."""
    if isinstance(value, str):
        return len(value)
    return count_characters(value, OUTPUT_KEYS) if value else 0


def _calls_tokens(calls: object, choice: object, named: set[object] | None) -> float:
    """Tool calls, or pieces of them: the first piece of a call has its name, or all have."""
    tokens = 0.0
    for call in calls if isinstance(calls, list) else [calls]:
        if isinstance(call, Mapping):
            called = call.get("function") or call.get("custom") or call
            if isinstance(called, Mapping):
                name = called.get("name")
                given = called.get("arguments") or called.get("input")
                characters = len(given) if isinstance(given, str) else json_characters(given)
                # The legacy `function_call` is the only one of its choice.
                place = call.get("index", call.get("id")) if isinstance(calls, list) else 0
                if name and isinstance(name, str) and _is_new(name, place, choice, named):
                    characters += len(name)
                    tokens += TOKENS_PER_TOOL_CALL
                tokens += tokens_in(characters)
    return tokens


def _is_new(name: str, place: object, choice: object, named: set[object] | None) -> bool:
    """Whether a call, or a piece of one, is the first that names it.

    Args:
        name: The name.
        place: The call's index or id in its choice.
        choice: Index of the choice.
        named: The calls that were named before; None where each comes whole.
    """
    if named is None or place is None:
        return True
    # Some servers give the same index to all calls, each of which comes whole.
    key = (str(choice), str(place), name)
    if key in named:
        return False
    named.add(key)
    return True


def _item_tokens(item: object) -> float:
    return call_overhead(item) + tokens_in(count_characters(item, OUTPUT_KEYS))


def _streamed_item_tokens(event: str, item: Mapping[str, Any]) -> float:
    """What an event says of an item that deltas do not."""
    if event == "response.output_item.added":
        return call_overhead(item) + tokens_in(count_characters(item.get("name"), OUTPUT_KEYS))
    if event == "response.output_item.done" and str(item.get("type")) not in STREAMED_ITEMS:
        unnamed = {key: value for key, value in item.items() if key != "name"}
        return tokens_in(count_characters(unnamed, OUTPUT_KEYS))
    return 0


def call_overhead(item: object) -> int:
    return TOKENS_PER_TOOL_CALL if isinstance(item, Mapping) and _is_call(item) else 0


def _is_call(item: Mapping[Any, Any]) -> bool:
    return "arguments" in item or str(item.get("type")).endswith("_call")


def pop_parts(stack: list[Any]) -> Iterator[Any]:
    """What is on a stack or put on it meanwhile, the last first: bounded, and of any depth."""
    for _ in range(MAX_PARTS):
        if not stack:
            return
        yield stack.pop()


def count_characters(value: object, keys: frozenset[str]) -> int:
    """Characters of the strings below a value, descending only into the given keys.

    Args:
        value: The value.
        keys: The keys.
    """
    characters = 0
    stack = [value]
    for part in pop_parts(stack):
        if isinstance(part, str):
            characters += len(part)
        elif isinstance(part, list | tuple):
            stack.extend(part)
        elif isinstance(part, Mapping):
            for key, below in part.items():
                if key in JSON_KEYS and key in keys and not isinstance(below, str):
                    characters += json_characters(below)
                elif key in keys:
                    stack.append(below)
    return characters


def json_characters(value: object) -> int:
    """Characters of a value as JSON without spaces; none for None."""
    if value is None:
        return 0
    characters = 0
    stack = [value]
    for part in pop_parts(stack):
        if isinstance(part, str):
            characters += len(part) + 2
        elif isinstance(part, Mapping):
            characters += 1 + sum(len(str(key)) + 4 for key in part)
            stack.extend(part.values())
        elif isinstance(part, list | tuple):
            characters += 1 + len(part)
            stack.extend(part)
        else:
            characters += NUMBER_CHARACTERS
    return characters
