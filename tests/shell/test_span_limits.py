"""Spans hold a limited number of attributes: ours never push others out, and matter most."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from counts import the_only
from energy_tracking import EnergySpanProcessor, energy_session, track_energy, wrap_openai
from energy_tracking.telemetry.names import MOST_IMPORTANT, most_important_first
from loopback import (
    DONE,
    Flavour,
    Loopback,
    chat_chunks,
    chat_completion,
    error_reply,
    json_reply,
    sse,
)
from own_errors import keep_error

REQUEST: dict[str, Any] = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}]}
ENERGY = "energy_tracking.total_energy_joules"
STATUS = "energy_tracking.status"


class Limited:
    """A tracer provider whose spans hold so many attributes."""

    def __init__(self, limit: int) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(span_limits=SpanLimits(max_span_attributes=limit))
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.arguments: dict[str, Any] = {
            "tracer_provider": self.provider,
            "on_error": keep_error,
        }

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        return self.exporter.get_finished_spans()

    def attributes(self, name: str) -> dict[str, Any]:
        attributes = the_only(span.attributes or {} for span in self.spans if span.name == name)
        return dict(attributes)

    @property
    def energies(self) -> list[Any]:
        attributes = [span.attributes or {} for span in self.spans]
        return [each[ENERGY] for each in attributes if ENERGY in each]


def openinference(messages: int) -> dict[str, Any]:
    """What that instrumentation puts on a span when a chat of so many messages starts."""
    attributes: dict[str, Any] = {
        "openinference.span.kind": "LLM",
        "llm.system": "openai",
        "llm.provider": "openai",
        "llm.model_name": "gpt-4o",
        "llm.invocation_parameters": "{}",
        "input.value": "{}",
        "input.mime_type": "application/json",
    }
    for number in range(messages):
        attributes[f"llm.input_messages.{number}.message.role"] = "user"
        attributes[f"llm.input_messages.{number}.message.content"] = "Hi"
    return attributes


ANSWER: dict[str, Any] = {
    "output.value": "{}",
    "output.mime_type": "application/json",
    "llm.output_messages.0.message.role": "assistant",
    "llm.output_messages.0.message.content": "Hello!",
    "llm.token_count.prompt": 120,
    "llm.token_count.completion": 80,
    "llm.token_count.total": 200,
}
"""What it puts there when the answer is in."""


async def test_what_matters_survives_a_small_limit_on_our_own_span(
    loopback: Loopback, flavour: Flavour, caplog: pytest.LogCaptureFixture
) -> None:
    loopback.serve(json_reply(chat_completion(model="gpt-4o-2024-08-06")))
    bench = Limited(16)
    client = wrap_openai(flavour.client(loopback.base_url), **bench.arguments)
    for _ in range(2):
        await flavour.call(client.chat.completions.create, **REQUEST)
    for span in bench.spans:
        attributes: dict[str, Any] = dict(span.attributes or {})
        assert attributes[ENERGY] > 0
        assert attributes[STATUS] == "estimated"
        assert attributes["gen_ai.request.model"] == "gpt-4o"
        assert attributes["gen_ai.response.model"] == "gpt-4o-2024-08-06"
        assert attributes["gen_ai.usage.input_tokens"] == 120
        assert attributes["gen_ai.usage.output_tokens"] == 80
        assert len(attributes) == 16
        assert list(attributes)[-1] == ENERGY
    said = the_only(each.getMessage() for each in caplog.records if each.name == "energy_tracking")
    assert "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT" in said
    assert "energy_tracking.grade" in said


async def test_the_smallest_limits_still_hold_energy_and_status(
    loopback: Loopback, flavour: Flavour
) -> None:
    loopback.serve(json_reply(chat_completion()))
    bench = Limited(2)
    client = wrap_openai(flavour.client(loopback.base_url), **bench.arguments)
    await flavour.call(client.chat.completions.create, **REQUEST)
    assert set(bench.attributes("chat gpt-4o")) == {ENERGY, STATUS}


class Theirs(SpanProcessor):
    """Another processor, which puts attributes on every span that starts."""

    def on_start(self, span: Any, parent_context: object = None) -> None:
        span.set_attributes({"app.one": 1, "app.two": 2, "app.three": 3})


@pytest.mark.parametrize("limit", range(4, 16))
@pytest.mark.parametrize("theirs", [False, True], ids=["alone", "beside"])
def test_the_model_outlives_the_operation_the_provider_and_the_server(
    loopback: Loopback, limit: int, theirs: bool
) -> None:
    loopback.serve(json_reply(chat_completion()))
    bench = Limited(limit)
    if theirs:
        bench.provider.add_span_processor(Theirs())
    with openai.OpenAI(api_key="none", base_url=loopback.base_url) as client:
        wrap_openai(client, **bench.arguments)
        client.chat.completions.create(**REQUEST)
    kept = bench.attributes("chat gpt-4o")
    order = ["gen_ai.request.model", "gen_ai.operation.name", "gen_ai.provider.name"]
    held = [name in kept for name in (*order, "server.address", "server.port")]
    assert held == sorted(held, reverse=True)


async def test_a_failed_call_keeps_its_error_and_reason(
    loopback: Loopback, flavour: Flavour
) -> None:
    loopback.serve(error_reply(400))
    bench = Limited(10)
    client = wrap_openai(flavour.client(loopback.base_url), **bench.arguments)
    with pytest.raises(Exception, match="refused"):
        await flavour.call(client.chat.completions.create, **REQUEST)
    attributes = bench.attributes("chat gpt-4o")
    assert attributes["error.type"] == "BadRequestError"
    assert attributes[STATUS] == "unestimated"


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("enriched", [False, True], ids=["", "enriched"])
@pytest.mark.parametrize("messages", [1, 40, 48, 54, 57, 60, 100])
async def test_a_long_chat_of_another_instrumentation_loses_nothing_and_has_its_energy(
    loopback: Loopback, flavour: Flavour, messages: int, enriched: bool, stream: bool
) -> None:
    theirs = openinference(messages)
    alone = Limited(128)
    span = alone.provider.get_tracer("openinference").start_span("theirs", attributes=theirs)
    span.set_attributes(ANSWER)
    span.end()
    loopback.serve(
        sse(*chat_chunks("Hello", "!"), DONE) if stream else json_reply(chat_completion())
    )
    bench = Limited(128)
    if enriched:
        bench.provider.add_span_processor(EnergySpanProcessor(**bench.arguments))
    client = flavour.client(loopback.base_url)
    wrap_openai(client, include_usage="always", **bench.arguments)
    tracer = bench.provider.get_tracer("openinference")
    with energy_session() as session:
        with tracer.start_as_current_span("theirs", attributes=theirs) as span:
            result = await flavour.call(client.chat.completions.create, **REQUEST, stream=stream)
            if stream:
                _ = [chunk async for chunk in flavour.items(result)]
            span.set_attributes(ANSWER)
        assert session.totals.calls == 1
    # All that they have without us.
    assert alone.attributes("theirs").items() <= bench.attributes("theirs").items()
    assert bench.energies == pytest.approx([session.total_energy_joules])
    for each in bench.spans:
        if ENERGY in (each.attributes or {}):
            assert (each.attributes or {})[STATUS] == "estimated"
    assert "end" not in vars(span)


async def test_a_span_that_is_full_has_one_of_ours_below_it(
    loopback: Loopback, flavour: Flavour
) -> None:
    loopback.serve(json_reply(chat_completion()))
    bench = Limited(128)
    client = wrap_openai(flavour.client(loopback.base_url), **bench.arguments)
    tracer = bench.provider.get_tracer("openinference")
    with tracer.start_as_current_span("theirs", attributes=openinference(60)):
        await flavour.call(client.chat.completions.create, **REQUEST)
    ours, theirs = bench.spans
    assert (ours.name, ours.parent) == ("chat gpt-4o", theirs.context)
    assert (ours.links[0].context, (ours.attributes or {})[STATUS]) == (theirs.context, "estimated")
    assert not {name for name in ours.attributes or {} if name.startswith("gen_ai.usage")}


async def test_spans_without_a_limit_get_everything(loopback: Loopback, flavour: Flavour) -> None:
    loopback.serve(json_reply(chat_completion()))
    bench = Limited(SpanLimits.UNSET)
    client = wrap_openai(flavour.client(loopback.base_url), **bench.arguments)
    tracer = bench.provider.get_tracer("openinference")
    with tracer.start_as_current_span("theirs", attributes=openinference(200)):
        await flavour.call(client.chat.completions.create, **REQUEST)
    attributes = bench.attributes("theirs")
    assert attributes["energy_tracking.grade"] == "C"
    assert len(attributes) > 400


async def test_a_function_span_keeps_what_its_function_put_there(
    loopback: Loopback, flavour: Flavour
) -> None:
    loopback.serve(json_reply(chat_completion()))
    bench = Limited(16)
    client = wrap_openai(flavour.client(loopback.base_url), **bench.arguments)
    users: dict[str, Any] = {f"app.attribute.{number}": number for number in range(14)}

    @track_energy(name="answer", **bench.arguments)
    async def answer() -> None:
        trace.get_current_span().set_attributes(users)
        await flavour.call(client.chat.completions.create, **REQUEST)

    await answer()
    attributes = bench.attributes("answer")
    assert users.items() <= attributes.items()
    assert attributes["energy_tracking.rollup.total_energy_joules"] > 0
    assert attributes["energy_tracking.rollup.calls"] == 1


def test_tags_come_before_what_can_be_computed_again() -> None:
    given = ["energy_tracking.grade", "energy_tracking.tag.team", *reversed(MOST_IMPORTANT)]
    assert most_important_first(given) == [
        *MOST_IMPORTANT,
        "energy_tracking.tag.team",
        "energy_tracking.grade",
    ]
