"""Tokens from text, where a server reports none.

Counted are characters, and what stands around them: each message, tool and tool call has tokens
of its own, which are most of a short request. Nothing is tokenised: where the alternative is to
count nothing, a count that is right in the median will do, and the range says how far off it
may be (``tests/benchmarks/text_tokens.py`` measures both).

1. A prompt is walked once, with a stack and not by recursion: it may be nested as deep as JSON.
2. Only the values under known keys are text. Ids, types and encodings of media are not.
3. What cannot be counted is named: files, sound, hosted tools, what a server has stored.

A new kind of item is a key in one of the sets below; a new kind of medium a row in ``MEDIA``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

TEXT = "text"
"""The dialect of a usage that no server reported."""

CHARACTERS_PER_TOKEN = 4.3
"""Characters of text per token [1].

English prose and code lie near 4 to 4.5 with the tokenisers of today; other scripts are
far lower.
"""

# Source: OpenAI, "How to count tokens with tiktoken", for gpt-4o
# (https://github.com/openai/openai-cookbook/blob/main/examples/How_to_count_tokens_with_tiktoken.ipynb):
# tokens_per_message with the role, reply priming, and func_init to func_end, whose letters those
# of the names are here.
TOKENS_PER_MESSAGE = 4
TOKENS_BEFORE_REPLY = 3
TOKENS_PER_FUNCTION = 7
TOKENS_PER_PROPERTIES = 3
TOKENS_PER_PROPERTY = 3
TOKENS_PER_ENUM = -3
TOKENS_PER_CHOICE = 3
TOKENS_AFTER_FUNCTIONS = 12

TOKENS_PER_TOOL_CALL = 11
"""What a tool call has beside its name and arguments [tokens], in an answer or a prompt.

Fitted to recorded calls; ``tests/benchmarks/text_tokens.py`` leaves each repository out in turn.
"""

TOKENS_PER_IMAGE = 765
TOKENS_PER_SMALL_IMAGE = 85
"""What an image in a prompt is taken for [tokens], and one of ``detail: low``.

Source: OpenAI, "Images and vision", gpt-4o: 1024 by 1024 pixels are four tiles of 170, and 85.
"""

IMAGE = "an image"

# Type of a part of a prompt -> what it is called where it cannot be counted as text.
MEDIA = {
    "image_url": IMAGE,
    "input_image": IMAGE,
    "image": IMAGE,
    "computer_screenshot": IMAGE,
    "input_audio": "audio",
    "audio": "audio",
    "input_file": "files",
    "file": "files",
    "document_url": "files",
    "video_url": "video",
}

# Key of a request -> what a server adds to the prompt because of it.
STORED = {"previous_response_id": "earlier turns", "conversation": "earlier turns"}

HOSTED_TOOLS = "hosted tools"

FUNCTION_TYPES = frozenset({"None", "function", "custom"})

# Keys whose values are text, or hold some.
PROMPT_KEYS = frozenset(
    {"content", "text", "arguments", "output", "input", "prompt", "tool_calls", "function_call"}
    | {"function", "name", "refusal", "action", "variables", "custom", "code", "operation"}
)
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

# Keys of a JSON schema whose values are schemas, too.
_SUBSCHEMA_KEYS = frozenset(
    {"items", "prefixItems", "anyOf", "oneOf", "allOf", "additionalProperties"}
)

NUMBER_CHARACTERS = 3
MAX_PARTS = 1_000_000
"""Parts of a prompt looked at [1]: one that holds itself has no end."""


def tokens_in(characters: int) -> float:
    """About how many tokens so many characters are [tokens]."""
    return characters / CHARACTERS_PER_TOKEN


def whole_tokens(tokens: float) -> int:
    """The tokens of a text as a count; at least one where there is any text."""
    return max(1, round(tokens)) if tokens > 0 else 0


# What was generated.


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
    return _count_characters(value, OUTPUT_KEYS) if value else 0


def _calls_tokens(calls: object, choice: object, named: set[object] | None) -> float:
    """Tool calls, or pieces of them: the first piece of a call has its name, or all have."""
    tokens = 0.0
    for call in calls if isinstance(calls, list) else [calls]:
        if isinstance(call, Mapping):
            called = call.get("function") or call.get("custom") or call
            if isinstance(called, Mapping):
                name = called.get("name")
                given = called.get("arguments") or called.get("input")
                characters = len(given) if isinstance(given, str) else _json_characters(given)
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
    return _call_overhead(item) + tokens_in(_count_characters(item, OUTPUT_KEYS))


def _streamed_item_tokens(event: str, item: Mapping[str, Any]) -> float:
    """What an event says of an item that deltas do not."""
    if event == "response.output_item.added":
        return _call_overhead(item) + tokens_in(_count_characters(item.get("name"), OUTPUT_KEYS))
    if event == "response.output_item.done" and str(item.get("type")) not in STREAMED_ITEMS:
        unnamed = {key: value for key, value in item.items() if key != "name"}
        return tokens_in(_count_characters(unnamed, OUTPUT_KEYS))
    return 0


def _call_overhead(item: object) -> int:
    return TOKENS_PER_TOOL_CALL if isinstance(item, Mapping) and _is_call(item) else 0


def _is_call(item: Mapping[Any, Any]) -> bool:
    return "arguments" in item or str(item.get("type")).endswith("_call")


def _pop_parts(stack: list[Any]) -> Iterator[Any]:
    """What is on a stack or put on it meanwhile, the last first: bounded, and of any depth."""
    for _ in range(MAX_PARTS):
        if not stack:
            return
        yield stack.pop()


def _count_characters(value: object, keys: frozenset[str]) -> int:
    """Characters of the strings below a value, descending only into the given keys."""
    characters = 0
    stack = [value]
    for part in _pop_parts(stack):
        if isinstance(part, str):
            characters += len(part)
        elif isinstance(part, list | tuple):
            stack.extend(part)
        elif isinstance(part, Mapping):
            for key, below in part.items():
                if key in JSON_KEYS and key in keys and not isinstance(below, str):
                    characters += _json_characters(below)
                elif key in keys:
                    stack.append(below)
    return characters


def _json_characters(value: object) -> int:
    """Characters of a value as JSON without spaces; none for None."""
    if value is None:
        return 0
    characters = 0
    stack = [value]
    for part in _pop_parts(stack):
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


# What was asked.


class PromptTokens:
    """Tokens of a prompt, as far as they can be counted.

    Attributes:
        text_tokens: Of text, messages, tools and formats [tokens].
        image_tokens: Of images, by their number [tokens].
        uncounted: What there is beside, in words.
    """

    def __init__(self) -> None:
        self.text_tokens = 0.0
        self.image_tokens = 0
        self.uncounted: set[str] = set()

    @property
    def assumptions(self) -> str:
        """What the count takes for granted, as the end of a sentence; empty where nothing."""
        said = ""
        if self.image_tokens:
            said += f"; an image is taken for {TOKENS_PER_IMAGE} tokens"
        if self.uncounted:
            said += f"; not counted: {', '.join(sorted(self.uncounted))}"
        return said


def count_prompt(body: object) -> PromptTokens:
    """Count the tokens of a request's body, of any endpoint; nothing where it is no body."""
    counted = PromptTokens()
    if not isinstance(body, Mapping):
        return counted
    _count_items(body.get("messages"), counted)
    _count_items(body.get("input"), counted)
    _count_items(body.get("prompt"), counted)
    _count_items(body.get("suffix"), counted)
    # Of Cohere and vLLM, whose templates show the model each field.
    counted.text_tokens += tokens_in(_json_characters(body.get("documents")))
    instructions = body.get("instructions")
    if isinstance(instructions, str) and instructions:
        counted.text_tokens += TOKENS_PER_MESSAGE
    _count_items(instructions, counted)
    # One message without a role of its own.
    if isinstance(body.get("input"), str):
        counted.text_tokens += TOKENS_PER_MESSAGE
    if body.get("messages") or body.get("input"):
        counted.text_tokens += TOKENS_BEFORE_REPLY
    _count_tools((body.get("tools"), body.get("functions")), counted)
    for holder in (body.get("response_format"), body.get("text")):
        _count_format(holder, counted)
    prompt = body.get("prompt")
    if isinstance(prompt, Mapping) and prompt.get("id"):
        counted.uncounted.add("the stored prompt")
    counted.uncounted |= {what for key, what in STORED.items() if body.get(key)}
    return counted


def _count_items(items: object, counted: PromptTokens) -> None:
    """Messages, items, texts or numbers of tokens, and everything below them."""
    stack = [items]
    for part in _pop_parts(stack):
        if isinstance(part, str):
            counted.text_tokens += tokens_in(len(part))
        elif isinstance(part, list | tuple):
            if part and type(part[0]) is int:
                counted.text_tokens += len(part)  # tokenised by the caller
            else:
                stack.extend(part)
        elif isinstance(part, Mapping):
            medium = MEDIA.get(str(part.get("type")))
            if medium is not None:
                _count_medium(medium, part, counted)
                continue
            counted.text_tokens += _item_overhead(part)
            if part.get("encrypted_content"):
                counted.uncounted.add("earlier reasoning")
            for key, below in part.items():
                if key in JSON_KEYS and not isinstance(below, str):
                    counted.text_tokens += tokens_in(_json_characters(below))
                elif key == "tools":
                    _count_tools((below,), counted)
                elif key in PROMPT_KEYS:
                    stack.append(below)


def _item_overhead(item: Mapping[Any, Any]) -> int:
    if _is_call(item):
        return TOKENS_PER_TOOL_CALL
    is_message = "role" in item or str(item.get("type")).endswith("_output")
    return TOKENS_PER_MESSAGE if is_message else 0


def _count_medium(medium: str, part: Mapping[Any, Any], counted: PromptTokens) -> None:
    if medium != IMAGE:
        counted.uncounted.add(medium)
        return
    source = part.get("image_url")
    detail = source.get("detail") if isinstance(source, Mapping) else part.get("detail")
    counted.image_tokens += TOKENS_PER_SMALL_IMAGE if detail == "low" else TOKENS_PER_IMAGE


def _count_tools(holders: Iterable[object], counted: PromptTokens) -> None:
    """Definitions of functions, of whatever depth; of hosted tools little is known."""
    tokens = 0.0
    stack = list(holders)
    for tool in _pop_parts(stack):
        if isinstance(tool, list | tuple):
            stack.extend(tool)
        elif isinstance(tool, Mapping):
            if isinstance(tool.get("tools"), list):
                stack.append(tool["tools"])  # a namespace
            elif str(tool.get("type")) in FUNCTION_TYPES or "parameters" in tool:
                tokens += _function_tokens(tool)
            else:
                counted.uncounted.add(HOSTED_TOOLS)
    if tokens:
        counted.text_tokens += tokens + TOKENS_AFTER_FUNCTIONS


def _function_tokens(tool: Mapping[Any, Any]) -> float:
    function = tool.get("function") or tool.get("custom") or tool
    if not isinstance(function, Mapping):
        return 0
    tokens = TOKENS_PER_FUNCTION + tokens_in(_length_of(function, "name", "description"))
    grammar = function.get("format")
    if isinstance(grammar, Mapping):
        tokens += tokens_in(_json_characters(grammar))
    return tokens + _schema_tokens(function.get("parameters") or function.get("input_schema"))


def _schema_tokens(schema: object) -> float:
    """A JSON schema as OpenAI shows it to the model: as types, not as JSON."""
    tokens = 0.0
    stack = [schema]
    for part in _pop_parts(stack):
        if isinstance(part, list | tuple):
            stack.extend(part)
        elif isinstance(part, Mapping):
            for key in ("properties", "patternProperties"):
                properties = part.get(key)
                if isinstance(properties, Mapping) and properties:
                    names = sum(len(str(name)) for name in properties)
                    tokens += TOKENS_PER_PROPERTIES + TOKENS_PER_PROPERTY * len(properties)
                    tokens += tokens_in(names)
                    stack.extend(properties.values())
            if part is not schema:
                tokens += tokens_in(_length_of(part, "type", "title", "description"))
            tokens += tokens_in(_json_characters(part.get("const")))
            choices = part.get("enum")
            if isinstance(choices, list) and choices:
                tokens += TOKENS_PER_ENUM + TOKENS_PER_CHOICE * len(choices)
                tokens += tokens_in(_count_characters(choices, frozenset()))
            stack.extend(below for key, below in part.items() if key in _SUBSCHEMA_KEYS)
            for key in ("$defs", "definitions"):
                if isinstance(part.get(key), Mapping):
                    stack.extend(part[key].values())
    return tokens


def _count_format(holder: object, counted: PromptTokens) -> None:
    """The schema that an answer is to have, which the model reads as JSON."""
    for key in ("format", "json_schema"):
        inner = holder.get(key) if isinstance(holder, Mapping) else None
        holder = inner if isinstance(inner, Mapping) else holder
    if isinstance(holder, Mapping) and isinstance(holder.get("schema"), Mapping):
        characters = _json_characters(holder["schema"]) + _length_of(holder, "name", "description")
        counted.text_tokens += tokens_in(characters)


def _length_of(holder: Mapping[Any, Any], *names: str) -> int:
    return sum(len(text) for name in names if isinstance(text := holder.get(name), str))
