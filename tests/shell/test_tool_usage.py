"""Tokens that the server's own tools used are counted apart from the call's own."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry import trace

from counts import the_only
from energy_tracking import Session
from loopback import (
    RESPONSE_USAGE,
    Body,
    Flavour,
    Loopback,
    json_reply,
    response_events,
    response_object,
    sse,
)
from observed_calls import Watch

# Fields as in openai 3.57, types/responses/response.py and types/images_response.py.
DRAWN = {
    "input_tokens": 50,
    "input_tokens_details": {"image_tokens": 0, "text_tokens": 50},
    "output_tokens": 1056,
    "output_tokens_details": {"image_tokens": 1056, "text_tokens": 0},
    "total_tokens": 1106,
}
UNUSED = {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0, "input_tokens_details": {}}
AUTHORED = {
    "model": "gpt-4o",
    "input_tokens": 200,
    "output_tokens": 900,
    "reasoning_tokens": 300,
    "total_tokens": 1100,
}
TOOLS = [{"type": "web_search"}, {"type": "image_generation", "model": "gpt-image-1"}]
REQUEST: Body = {"model": "gpt-4o", "input": "Draw the capital of Mexico."}


def tool_usage(drawn: Body) -> Body:
    return {"image_gen": drawn, "web_search": {"num_requests": 3}}


async def ask(flavour: Flavour, client: Any, stream: bool) -> None:
    more = {"stream": True} if stream else {}
    result = await flavour.call(client.responses.create, **REQUEST, **more)
    if stream:
        _ = [event async for event in flavour.items(result)]


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_a_picture_drawn_for_a_response_is_a_record_below_it(
    flavour: Flavour, loopback: Loopback, watch: Watch, stream: bool
) -> None:
    stated = {"tool_usage": tool_usage(DRAWN), "tools": TOOLS}
    events = response_events()
    events[-1]["response"] |= stated
    loopback.serve(sse(*events) if stream else json_reply(response_object() | stated))
    client = watch.wrap(flavour.client(loopback.base_url))
    with Session("here", tags={"team": "search"}) as session:
        await ask(flavour, client, stream)
    call, drawn = watch.records
    assert call.usage is not None
    assert drawn.usage is not None
    assert call.usage.output_tokens == RESPONSE_USAGE["output_tokens"]
    assert (drawn.usage.input_tokens, drawn.usage.output_tokens) == (50, 1056)
    assert (drawn.usage.output_image_tokens, drawn.usage.repairs) == (1056, ())
    assert (drawn.request.operation, drawn.model) == ("image_generation", "gpt-image-1")
    assert (drawn.status, drawn.duration_seconds) == ("unestimated", 0)
    assert session.totals.output_tokens == 80 + 1056
    chat, picture = watch.spans
    assert picture.parent is not None
    assert picture.parent == chat.get_span_context()
    assert picture.attributes is not None
    assert picture.attributes["gen_ai.usage.output_tokens"] == 1056
    assert picture.attributes["energy_tracking.tag.team"] == "search"


async def test_a_tool_that_was_offered_and_not_used_is_nothing(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    for stated in (tool_usage(UNUSED), {"image_gen": None}, {}, None, 7):
        loopback.serve(json_reply(response_object() | {"tool_usage": stated, "tools": TOOLS}))
        await ask(flavour, watch.wrap(flavour.client(loopback.base_url)), stream=False)
    assert [record.request.operation for record in watch.records] == ["chat"] * 5


async def test_a_tool_without_a_model_is_counted_without_one(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    loopback.serve(json_reply(response_object() | {"tool_usage": tool_usage(DRAWN)}))
    await ask(flavour, watch.wrap(flavour.client(loopback.base_url)), stream=False)
    _, drawn = watch.records
    assert (drawn.model, drawn.reason) == ("unknown", "the model is not named")


@pytest.mark.parametrize("where", ["images", "responses"])
async def test_the_model_that_authored_a_drawing_is_estimated(
    flavour: Flavour, loopback: Loopback, watch: Watch, where: str
) -> None:
    client = watch.wrap(flavour.client(loopback.base_url))
    if where == "images":
        picture = {"created": 1, "data": [{"b64_json": "AAAA"}], "usage": DRAWN}
        loopback.serve(json_reply(picture | {"svg_usage": AUTHORED}))
        await flavour.call(client.images.generate, model="gpt-image-1", prompt="Mexico City")
    else:
        item = {"type": "image_generation_call", "id": "ig_1", "svg_usage": AUTHORED}
        loopback.serve(json_reply(response_object() | {"output": [item]}))
        await ask(flavour, client, stream=False)
    _, authored = watch.records
    assert authored.usage is not None
    assert (authored.usage.input_tokens, authored.usage.output_tokens) == (200, 900)
    assert authored.usage.reasoning_tokens == 300
    assert (authored.model, authored.status) == ("gpt-4o", "estimated")


async def test_below_a_span_of_another_instrumentation_the_part_has_its_own(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    stated = {"tool_usage": tool_usage(AUTHORED), "tools": [TOOLS[1] | {"model": "gpt-4o"}]}
    loopback.serve(json_reply(response_object() | stated))
    client = watch.wrap(flavour.client(loopback.base_url))
    # In one pipeline: in one of its own, ours would not repeat what theirs says.
    theirs = (
        watch.arguments["tracer_provider"]
        .get_tracer("another")
        .start_span("chat gpt-4o", attributes={"gen_ai.operation.name": "chat"})
    )
    with trace.use_span(theirs, end_on_exit=True):
        await ask(flavour, client, stream=False)
    watch.every_call_has_a_span = False
    call, drawn = watch.records
    assert theirs.attributes["energy_tracking.total_energy_joules"] == call.total_energy_joules
    span = the_only(span for span in watch.spans if span.name != theirs.name)
    assert span.parent == theirs.get_span_context()
    assert span.attributes is not None
    assert span.attributes["energy_tracking.total_energy_joules"] == drawn.total_energy_joules
    # Whether they report the tool's tokens is not known; ours never repeat them.
    assert "gen_ai.usage.output_tokens" not in span.attributes
