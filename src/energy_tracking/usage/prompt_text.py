"""Tokens of a request from its text, where a server reports no input.

See ``text`` for how they are counted, and how far off that may be.

1. A prompt is walked once, with a stack and not by recursion: it may be nested as deep as JSON.
2. Only the values under known keys are text. Ids, types and encodings of media are not.
3. What cannot be counted is named: files, sound, hosted tools, what a server has stored.

A new kind of item is a key in one of the sets below; a new kind of medium a row in ``MEDIA``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from energy_tracking.usage.text import (
    JSON_KEYS,
    call_overhead,
    count_characters,
    json_characters,
    pop_parts,
    tokens_in,
)

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

# Keys of a JSON schema whose values are schemas, too.
_SUBSCHEMA_KEYS = frozenset(
    {"items", "prefixItems", "anyOf", "oneOf", "allOf", "additionalProperties"}
)


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
    counted.text_tokens += tokens_in(json_characters(body.get("documents")))
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
    for part in pop_parts(stack):
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
                    counted.text_tokens += tokens_in(json_characters(below))
                elif key == "tools":
                    _count_tools((below,), counted)
                elif key in PROMPT_KEYS:
                    stack.append(below)


def _item_overhead(item: Mapping[Any, Any]) -> int:
    is_message = "role" in item or str(item.get("type")).endswith("_output")
    return call_overhead(item) or (TOKENS_PER_MESSAGE if is_message else 0)


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
    for tool in pop_parts(stack):
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
        tokens += tokens_in(json_characters(grammar))
    return tokens + _schema_tokens(function.get("parameters") or function.get("input_schema"))


def _schema_tokens(schema: object) -> float:
    """A JSON schema as OpenAI shows it to the model: as types, not as JSON."""
    tokens = 0.0
    stack = [schema]
    for part in pop_parts(stack):
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
            tokens += tokens_in(json_characters(part.get("const")))
            choices = part.get("enum")
            if isinstance(choices, list) and choices:
                tokens += TOKENS_PER_ENUM + TOKENS_PER_CHOICE * len(choices)
                tokens += tokens_in(count_characters(choices, frozenset()))
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
        characters = json_characters(holder["schema"]) + _length_of(holder, "name", "description")
        counted.text_tokens += tokens_in(characters)


def _length_of(holder: Mapping[Any, Any], *names: str) -> int:
    return sum(len(text) for name in names if isinstance(text := holder.get(name), str))
