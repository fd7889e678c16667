"""Tokens counted from text: of what was generated, and of what was asked.

The expected numbers are counted by hand: 43 characters are 10 tokens, and the tokens around
messages and functions are those that OpenAI publishes.
"""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from energy_tracking.usage.prompt_text import count_prompt
from energy_tracking.usage.text import TOKENS_PER_TOOL_CALL, generated_tokens, whole_tokens

TEN = "x" * 43
"""A text of ten tokens."""

HALF = "x" * 21
REST = "x" * 22
CALL = TOKENS_PER_TOOL_CALL


def choice(**fields: Any) -> dict[str, Any]:
    return {"choices": [fields]}


def item(**fields: Any) -> dict[str, Any]:
    return {"output": [fields]}


def event(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": f"response.{kind}", **fields}


CALLS = [{"function": {"name": HALF, "arguments": REST}}, {"function": None}, None, 7]
NOTHING: dict[str, Any] = {}

GENERATED: list[tuple[dict[str, Any], float]] = [
    (choice(delta={"content": TEN}), 10),
    (choice(message={"content": TEN}), 10),
    (choice(text=TEN), 10),
    (choice(delta={"refusal": TEN}), 10),
    (choice(delta={"reasoning_content": HALF, "content": REST}), 10),
    (choice(delta={"reasoning": TEN}), 10),
    (choice(delta={"reasoning_content": TEN, "reasoning": TEN}), 10),
    # Reasoning under other keys, in parts, and under several at once.
    *(
        (choice(**{place: {key: value}}), 10)
        for place in ("delta", "message")
        for key, value in (
            ("reasoning_text", TEN),
            ("thinking", TEN),
            ("reasoning_details", [{"type": "reasoning.text", "text": TEN, "signature": TEN}]),
            ("reasoning_details", [{"type": "reasoning.summary", "summary": TEN}]),
            ("thinking_blocks", [{"type": "thinking", "thinking": TEN, "signature": TEN}]),
            (
                "content",
                [
                    {"type": "thinking", "thinking": [{"type": "text", "text": HALF}]},
                    {"type": "text", "text": REST},
                ],
            ),
            ("audio", {"id": "a", "transcript": TEN, "data": "A" * 9999}),
        )
    ),
    (choice(delta={"reasoning": TEN, "reasoning_details": [{"text": TEN}]}), 10),
    (choice(delta={"reasoning_content": HALF, "refusal": REST}), 10),
    (choice(delta={"reasoning": "", "thinking": TEN, "reasoning_details": []}), 10),
    ({"choices": [{"delta": {"content": HALF}}, {"delta": {"content": REST}}]}, 10),
    (choice(delta={"content": None, "role": "assistant"}), 0),
    (choice(delta=None, finish_reason="stop"), 0),
    (choice(delta=TEN), 0),
    ({"choices": []}, 0),
    ({"choices": [None, 1]}, 0),
    # Tool calls: their names, their arguments, and what stands around each.
    (choice(message={"tool_calls": CALLS}), CALL + 10),
    (choice(message={"tool_calls": [CALLS[0], CALLS[0]]}), 2 * (CALL + 10)),
    (choice(message={"function_call": {"name": HALF, "arguments": REST}}), CALL + 10),
    (
        choice(
            message={"tool_calls": [{"type": "custom", "custom": {"name": HALF, "input": REST}}]}
        ),
        CALL + 10,
    ),
    # Streamed, a call is named once, and its arguments come in pieces.
    (
        choice(delta={"tool_calls": [{"id": "a", "function": {"name": TEN, "arguments": ""}}]}),
        10 + CALL,
    ),
    (choice(delta={"tool_calls": [{"function": {"arguments": TEN}}]}), 10),
    (choice(delta={"tool_calls": [{"function": {"name": "", "arguments": TEN}}]}), 10),
    (choice(delta={"function_call": {"arguments": TEN}}), 10),
    # Some servers give the arguments as an object: {"xx":"yyyy"} has 13 characters.
    (
        choice(message={"tool_calls": [{"function": {"name": "f", "arguments": {"xx": "yyyy"}}}]}),
        CALL + 14 / 4.3,
    ),
    # Responses.
    (event("output_text.delta", delta=TEN), 10),
    (event("function_call_arguments.delta", delta=TEN), 10),
    (event("custom_tool_call_input.delta", delta=TEN), 10),
    (event("audio.delta", delta=TEN), 0),
    (event("output_text.done", text=TEN), 0),
    (
        event("output_item.added", item={"type": "function_call", "name": TEN, "arguments": ""}),
        10 + CALL,
    ),
    (event("output_item.done", item={"type": "function_call", "name": TEN, "arguments": TEN}), 0),
    (event("output_item.added", item={"type": "message", "content": []}), 0),
    (event("output_item.done", item={"type": "message", "content": [{"text": TEN}]}), 0),
    (event("output_item.added", item={"type": "web_search_call"}), CALL),
    (
        event("output_item.done", item={"type": "local_shell_call", "action": {"command": [TEN]}}),
        59 / 4.3,
    ),
    (item(type="message", content=[{"type": "output_text", "text": TEN}]), 10),
    (item(type="function_call", name=HALF, arguments=REST), CALL + 10),
    (item(type="custom_tool_call", name=HALF, input=REST), CALL + 10),
    (item(type="mcp_call", name=HALF, arguments=REST, output="y" * 1000), CALL + 10),
    (item(type="mcp_list_tools", tools=[{"name": TEN, "input_schema": {}}]), 0),
    (item(type="reasoning", summary=[{"text": TEN}]), 10),
    (item(type="code_interpreter_call", code=TEN, outputs=[{"logs": TEN}]), CALL + 10),
    (item(type="image_generation_call", result="A" * 100_000), CALL),
    ({"data": [{"embedding": "AAAA"}]}, 0),
    (NOTHING, 0),
]


def shortened(value: object) -> str:
    return json.dumps(value).replace("x" * 20, "x")[:80]


@pytest.mark.parametrize(("data", "tokens"), GENERATED, ids=shortened)
def test_generated_text_and_tool_calls_are_counted(data: dict[str, Any], tokens: float) -> None:
    assert generated_tokens(data) == pytest.approx(tokens, abs=0.01)


@pytest.mark.parametrize(("tokens", "whole"), [(0, 0), (0.2, 1), (10.4, 10), (10.6, 11)])
def test_a_text_has_one_token_at_least(tokens: float, whole: int) -> None:
    assert whole_tokens(tokens) == whole


def user(content: object, **more: object) -> dict[str, Any]:
    return {"role": "user", "content": content, **more}


def function(**more: Any) -> dict[str, Any]:
    return {"name": HALF, "description": REST, **more}


SCHEMA = {
    "type": "object",
    "properties": {
        # Type and description are 43 characters with the name, as for any other text.
        "abcde": {"type": "string", "description": "x" * 32},
        "place": {"type": "string", "description": "x" * 32, "enum": [HALF, REST]},
    },
    "required": ["abcde", "place"],
}
# 7 and ten for the function; 3 for its properties; 3 and ten for each; -3, 3 and 3, and ten.
FUNCTION = 7 + 10
PROPERTIES = 3 + 2 * (3 + 10) + (-3 + 3 + 3 + 10)
AFTER = 12
REPLY = 3
MESSAGE = 4

PROMPTS: list[tuple[object, float]] = [
    ({"messages": [user(TEN)]}, MESSAGE + 10 + REPLY),
    ({"messages": [user(HALF), user(REST)]}, 2 * MESSAGE + 10 + REPLY),
    ({"messages": [user([{"type": "text", "text": TEN}])]}, MESSAGE + 10 + REPLY),
    ({"messages": [user(HALF, name=REST)]}, MESSAGE + 10 + REPLY),
    (
        {"messages": [{"role": "assistant", "tool_calls": [{"id": "x", "type": "function",
                       "function": {"name": HALF, "arguments": REST}}]}]},
        MESSAGE + CALL + 10 + REPLY,
    ),
    (
        {"messages": [{"role": "assistant", "function_call": {"name": HALF, "arguments": REST}}]},
        MESSAGE + CALL + 10 + REPLY,
    ),
    ({"messages": [{"role": "tool", "tool_call_id": "x", "content": TEN}]}, MESSAGE + 10 + REPLY),
    # Responses.
    ({"input": TEN, "instructions": TEN}, 2 * (MESSAGE + 10) + REPLY),
    ({"input": [user(TEN), {"type": "function_call_output", "call_id": "x", "output": TEN}]},
     2 * (MESSAGE + 10) + REPLY),
    ({"input": [{"type": "function_call", "call_id": "x", "name": HALF, "arguments": REST}]},
     CALL + 10 + REPLY),
    ({"input": [{"type": "custom_tool_call", "name": HALF, "input": REST}]}, CALL + 10 + REPLY),
    ({"input": "", "instructions": [{"role": "developer", "content": TEN}]},
     2 * MESSAGE + 10),
    ({"prompt": HALF, "suffix": REST}, 10),
    # Documents of Cohere and vLLM: [{"text":"..."}] has 13 characters around its text.
    ({"messages": [user(HALF)], "documents": [{"text": "x" * 9}]},
     MESSAGE + REPLY + (21 + 9 + 13) / 4.3),
    # Legacy completions have no messages; a caller may tokenise.
    ({"prompt": TEN, "model": "gpt-4o", "user": "me"}, 10),
    ({"prompt": [HALF, REST]}, 10),
    ({"prompt": [1, 2, 3]}, 3),
    ({"prompt": [[1, 2, 3], [4, 5]]}, 5),
    # Tools, however they are written.
    ({"tools": [{"type": "function", "function": function()}]}, FUNCTION + AFTER),
    ({"tools": [{"type": "function", **function()}]}, FUNCTION + AFTER),
    ({"functions": [function()]}, FUNCTION + AFTER),
    ({"tools": [{"type": "function", **function()}] * 2}, 2 * FUNCTION + AFTER),
    ({"tools": [{"type": "custom", "custom": function()}]}, FUNCTION + AFTER),
    ({"functions": [function(parameters=SCHEMA)]}, FUNCTION + PROPERTIES + AFTER),
    (
        {"tools": [{"type": "namespace", "tools": [{"type": "function", **function()}]}]},
        FUNCTION + AFTER,
    ),
    # A schema inside of a schema: the inner properties, and the 5 + 6 letters of what holds them.
    (
        {"functions": [function(parameters={"properties": {"inner": SCHEMA}})]},
        FUNCTION + 3 + 3 + 11 / 4.3 + PROPERTIES + AFTER,
    ),
    # Other keys of schemas: names and types as above, a constant as JSON.
    (
        {"functions": [function(parameters={"patternProperties": SCHEMA["properties"]})]},
        FUNCTION + PROPERTIES + AFTER,
    ),
    (
        {"functions": [function(parameters={"prefixItems": [{"type": "string",
                       "title": "x" * 15, "description": "x" * 22}]})]},
        FUNCTION + 10 + AFTER,
    ),
    (
        {"functions": [function(parameters={"anyOf": [{"const": "x" * 41}]})]},
        FUNCTION + 10 + AFTER,
    ),
    # What an answer is to look like is read as JSON: {"type":"string"} has 17 characters.
    (
        {"response_format": {"type": "json_schema",
                             "json_schema": {"name": "n", "schema": {"type": "string"}}}},
        18 / 4.3,
    ),
    (
        {"text": {"format": {"type": "json_schema", "name": "n", "schema": {"type": "string"}}}},
        18 / 4.3,
    ),
    ({"response_format": {"type": "json_object"}, "text": {"format": {"type": "text"}}}, 0),
    ({"tools": "none", "messages": None, "input": 7, "functions": [None, 1, "f"]}, REPLY),
    (None, 0),
    ("text", 0),
]  # fmt: skip


@pytest.mark.parametrize(("body", "tokens"), PROMPTS, ids=shortened)
def test_the_text_of_a_prompt_and_what_stands_around_it_is_counted(
    body: object, tokens: float
) -> None:
    counted = count_prompt(body)
    assert counted.text_tokens == pytest.approx(tokens, abs=0.01)
    assert (counted.image_tokens, counted.uncounted) == (0, set())


def image(**more: str) -> dict[str, Any]:
    return {
        "type": "image_url",
        "image_url": {"url": "data:image/png;base64," + "A" * 9999, **more},
    }


BESIDE_TEXT: list[tuple[dict[str, Any], int, str]] = [
    ({"messages": [user([image()])]}, 765, "; an image is taken for 765 tokens"),
    ({"messages": [user([image(), image()])]}, 1530, "; an image is taken for 765 tokens"),
    ({"messages": [user([image(detail="low")])]}, 85, "; an image is taken for 765 tokens"),
    ({"input": [user([{"type": "input_image", "image_url": "data:", "detail": "low"}])]}, 85,
     "; an image is taken for 765 tokens"),
    ({"input": [{"type": "computer_call_output", "call_id": "x", "output":
                 {"type": "computer_screenshot", "image_url": "data:" + "A" * 9999}}]}, 765,
     "; an image is taken for 765 tokens"),
    ({"messages": [user([{"type": "input_audio", "input_audio": {"data": "A" * 9999}}])]}, 0,
     "; not counted: audio"),
    ({"messages": [user([{"type": "file", "file": {"file_data": "A" * 9999}}])]}, 0,
     "; not counted: files"),
    ({"input": [user([{"type": "input_file", "file_id": "f"}])],
      "tools": [{"type": "web_search"}, {"type": "mcp", "server_label": "s"}]}, 0,
     "; not counted: files, hosted tools"),
    ({"input": "", "previous_response_id": "resp_1"}, 0, "; not counted: earlier turns"),
    ({"input": "", "conversation": {"id": "conv_1"}}, 0, "; not counted: earlier turns"),
    ({"prompt": {"id": "pmpt_1", "variables": {}}}, 0, "; not counted: the stored prompt"),
    ({"input": [{"type": "reasoning", "summary": [], "encrypted_content": "A" * 9999}]}, 0,
     "; not counted: earlier reasoning"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "images", "said"), BESIDE_TEXT, ids=shortened)
def test_what_is_no_text_is_assumed_or_left_out_and_reported(
    body: dict[str, Any], images: int, said: str
) -> None:
    counted = count_prompt(body)
    assert (counted.image_tokens, counted.assumptions) == (images, said)
    assert counted.text_tokens < 20


DEPTH = 20_000
"""Of what is nested [1]: twenty times as deep as Python's functions can call each other."""


def nested(innermost: object, key: str = "content") -> object:
    for _ in range(DEPTH):
        innermost = [{key: innermost}]
    return innermost


@pytest.mark.parametrize("key", ["content", "properties", "arguments", "tools", "other"])
@pytest.mark.parametrize("place", ["messages", "input", "prompt", "tools", "response_format"])
@pytest.mark.no_cover  # rounds of what other tests do once
def test_a_prompt_is_counted_at_any_depth(key: str, place: str) -> None:
    assert count_prompt({place: nested(TEN, key)}).text_tokens >= 0
    if key == "content" and place == "prompt":
        assert count_prompt({place: nested(TEN, key)}).text_tokens == pytest.approx(10)


@pytest.mark.no_cover  # rounds of what other tests do once
def test_an_answer_is_counted_at_any_depth() -> None:
    assert generated_tokens({"output": nested(TEN)}) == pytest.approx(10)
    calls = [{"function": {"name": "f", "arguments": nested(TEN)}}]
    assert generated_tokens(choice(message={"tool_calls": calls})) > DEPTH


@pytest.mark.no_cover  # rounds of what other tests do once
def test_what_holds_itself_is_counted_in_finite_time() -> None:
    endless: dict[str, Any] = {"role": "user"}
    endless.update(content=[endless, endless])
    begun = time.process_time()
    assert count_prompt({"messages": [endless]}).text_tokens > 0
    assert time.process_time() - begun < 20
