"""Spans of other instrumentations get the energy of their call, once."""

from __future__ import annotations

import gc
import json
import logging
import os
import subprocess
import sys
import time
from contextlib import nullcontext
from typing import Any

import openai
import pytest
from opentelemetry.context import get_current
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from calls import CHAT, CHAT_SPAN
from counts import the_only
from energy_tracking import CallRecord, Session, TokenUsage, Tracker, wrap_openai
from energy_tracking.calls.span_places import CALL_SECONDS
from energy_tracking.otel.span_processor import EnergyCompletionHook, EnergySpanProcessor
from energy_tracking.telemetry.metrics import ENERGY_METRIC
from energy_tracking.usage.span_dialects import CALL_KINDS, USAGE_ATTRIBUTES, span_facts
from loopback import (
    CHAT_USAGE,
    DONE,
    Flavour,
    Loopback,
    chat_chunks,
    chat_completion,
    json_reply,
    sse,
)
from observed_calls import collect
from own_errors import keep_error

ENERGY = "energy_tracking.total_energy_joules"


class Bench:
    """A tracer provider whose spans get energy."""

    def __init__(self, provider: TracerProvider | None = None, **settings: Any) -> None:
        self.exporter = InMemorySpanExporter()
        self.tracer_provider = provider or TracerProvider()
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.reader = InMemoryMetricReader()
        self.arguments: dict[str, Any] = {
            "tracer_provider": self.tracer_provider,
            "meter_provider": MeterProvider([self.reader]),
            "on_error": keep_error,
            **settings,
        }
        self.processor = EnergySpanProcessor(**self.arguments)
        self.tracer_provider.add_span_processor(self.processor)
        self.tracer = self.tracer_provider.get_tracer("somebody.else")

    @property
    def energies(self) -> dict[str, Any]:
        return {
            span.name: (span.attributes or {}).get(ENERGY)
            for span in self.exporter.get_finished_spans()
        }


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    # On a busy machine a span that is over at once may last as long as a call.
    monkeypatch.setattr("energy_tracking.calls.span_places.CALL_SECONDS", 60.0)
    return Bench()


@pytest.fixture
def short_calls(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lasts any time is a call; for tests in which every span does."""
    monkeypatch.setattr("energy_tracking.calls.span_places.CALL_SECONDS", CALL_SECONDS)


@pytest.mark.parametrize(
    ("field", "name"),
    [(field, name) for field, names in USAGE_ATTRIBUTES.items() for name in names],
)
def test_every_dialect_is_read(field: str, name: str) -> None:
    attributes = {
        names[0]: count
        for key, names in USAGE_ATTRIBUTES.items()
        if key != field
        for count in [{"input_tokens": 120, "output_tokens": 80, "total_tokens": 200}.get(key)]
        if count is not None
    }
    stated = {"input_tokens": 120, "output_tokens": 80, "total_tokens": 200}.get(field, 32)
    facts = span_facts(attributes | {name: stated})
    assert facts is not None
    assert getattr(facts.usage, field) == stated
    assert (facts.usage.input_tokens, facts.usage.output_tokens) == (120, 80)
    assert facts.usage.repairs == ()


def test_reasoning_that_the_output_leaves_out_is_added_to_it() -> None:
    counts = {"gen_ai.usage.input_tokens": 136, "gen_ai.usage.output_tokens": 16}
    facts = span_facts(counts | {"gen_ai.usage.experimental.reasoning_tokens": 76})
    assert facts is not None
    assert (facts.usage.output_tokens, facts.usage.reasoning_tokens) == (92, 76)
    assert facts.usage.repairs == ()


@pytest.mark.parametrize(
    "details", ['{"cache_read": 64, "audio": 0}', '{"cache_read": 6', "[1]", 7]
)
def test_parts_of_counts_in_json_are_read_unless_they_are_cut_off(details: object) -> None:
    facts = span_facts(
        {
            "langsmith.span.kind": "llm",
            "gen_ai.usage.input_tokens": 100,
            "gen_ai.usage.output_tokens": 20,
            "gen_ai.usage.input_token_details": details,
            "gen_ai.usage.output_token_details": '{"reasoning": 5}',
        }
    )
    assert facts is not None
    counts = (facts.usage.input_tokens, facts.usage.output_tokens, facts.usage.reasoning_tokens)
    assert counts == (100, 20, 5)
    assert facts.usage.cached_input_tokens == (64 if "audio" in str(details) else 0)


# What instrumentations that run beside each other put on one span: the first of each is right.
PRECEDENCE: list[tuple[str, list[str]]] = [
    (
        "input_tokens",
        [
            "gen_ai.usage.input_tokens",
            "gen_ai.usage.prompt_tokens",
            "llm.token_count.prompt",
            "llm.usage.prompt_tokens",
        ],
    ),
    (
        "output_tokens",
        [
            "gen_ai.usage.output_tokens",
            "gen_ai.usage.completion_tokens",
            "llm.token_count.completion",
            "llm.usage.completion_tokens",
        ],
    ),
    (
        "cached_input_tokens",
        [
            "gen_ai.usage.cache_read.input_tokens",
            "gen_ai.usage.cache_read_input_tokens",
            "gen_ai.usage.details.cache_read_tokens",
            "llm.token_count.prompt_details.cache_read",
        ],
    ),
    (
        "reasoning_tokens",
        [
            "gen_ai.usage.reasoning.output_tokens",
            "gen_ai.usage.reasoning_tokens",
            "gen_ai.usage.details.reasoning_tokens",
            "llm.token_count.completion_details.reasoning",
        ],
    ),
]


@pytest.mark.parametrize("is_reversed", [False, True])
@pytest.mark.parametrize(("field", "names"), PRECEDENCE)
def test_of_several_counts_on_one_span_the_most_reliable_is_read(
    field: str, names: list[str], is_reversed: bool
) -> None:
    others = {
        other[0]: count
        for key, other in PRECEDENCE
        if key != field
        for count in [{"input_tokens": 900, "output_tokens": 900}.get(key)]
        if count is not None
    }
    for first, expected in enumerate(names):
        values = {name: 100 + names.index(name) for name in names[first:]}
        given = dict(reversed(values.items())) if is_reversed else values
        facts = span_facts({"gen_ai.operation.name": "chat"} | others | given)
        assert facts is not None
        assert getattr(facts.usage, field) == 100 + names.index(expected)


@pytest.mark.parametrize(
    ("fact", "better", "worse"),
    [
        ("request_model", "gen_ai.request.model", "llm.request.model"),
        ("response_model", "gen_ai.response.model", "llm.model_name"),
        ("response_model", "llm.model_name", "embedding.model_name"),
        ("provider", "gen_ai.provider.name", "gen_ai.system"),
        ("provider", "gen_ai.system", "llm.provider"),
        ("provider", "llm.provider", "llm.system"),
    ],
)
def test_of_several_names_on_one_span_the_most_reliable_is_read(
    fact: str, better: str, worse: str
) -> None:
    counts = {name: value for name, value in CHAT_SPAN.items() if "usage" in name}
    for attributes in ({better: "better", worse: "worse"}, {worse: "worse", better: "better"}):
        facts = span_facts(counts | attributes)
        assert facts is not None
        assert getattr(facts, fact) == "better"


@pytest.mark.parametrize(
    ("attributes", "operation"),
    [
        ({"gen_ai.operation.name": "invoke_agent", "openinference.span.kind": "LLM"}, None),
        ({"gen_ai.operation.name": "embeddings", "openinference.span.kind": "LLM"}, "embeddings"),
        ({"openinference.span.kind": "CHAIN", "llm.request.type": "chat"}, None),
        ({"traceloop.span.kind": "workflow", "llm.request.type": "chat"}, None),
        ({"langfuse.observation.type": "generation"}, "chat"),
        ({"langfuse.observation.type": "agent"}, None),
        ({"mlflow.spanType": '"EMBEDDING"'}, "embeddings"),
    ],
)
def test_of_several_kinds_on_one_span_the_most_reliable_decides(
    attributes: dict[str, str], operation: str | None
) -> None:
    counts = {name: value for name, value in CHAT_SPAN.items() if "usage" in name}
    facts = span_facts(counts | attributes)
    assert (facts and facts.operation) == operation


def test_a_raw_usage_states_what_the_counts_leave_out() -> None:
    raw = {"input_tokens": 20, "cache_read_input_tokens": 100, "output_tokens": 80}
    raw["cache_creation_input_tokens"] = 0
    facts = span_facts(CHAT_SPAN | {"gen_ai.usage.raw": json.dumps(raw)})
    assert facts is not None
    assert (facts.usage.input_tokens, facts.usage.cached_input_tokens) == (120, 100)
    cut_off = span_facts(CHAT_SPAN | {"gen_ai.usage.raw": json.dumps(raw)[:20]})
    assert cut_off is not None
    assert cut_off.usage.input_tokens == 120


@pytest.mark.parametrize(
    "attributes",
    [
        {"gen_ai.operation.name": "invoke_agent"},
        {"gen_ai.operation.name": "fetch_response"},
        {"openinference.span.kind": "CHAIN"},
        {"openinference.span.kind": "AGENT"},
        {"traceloop.span.kind": "workflow"},
        {"gen_ai.usage.input_tokens": 0, "gen_ai.usage.output_tokens": 0},
    ],
)
def test_sums_and_empty_spans_stand_for_no_call(attributes: dict[str, Any]) -> None:
    plain = {name: value for name, value in CHAT_SPAN.items() if "operation" not in name}
    assert span_facts(plain | attributes) is None
    assert span_facts(plain) is not None


def test_kinds_lead_to_operations_of_the_convention() -> None:
    meant = {operation for _, kinds in CALL_KINDS for operation in kinds.values()}
    assert meant == set(CALL_KINDS[0][1]) & meant


def test_a_span_gets_energy_and_its_session_too(bench: Bench) -> None:
    with Session("inner") as session:
        span = bench.tracer.start_span("theirs", attributes={"gen_ai.operation.name": "chat"})
    # Known at the end only, and outside of the session it belongs to.
    span.set_attributes(CHAT_SPAN)
    span.end()
    estimate = Tracker().estimation.estimate(
        "gpt-4o", None, TokenUsage(input_tokens=120, output_tokens=80)
    )
    assert estimate.estimate is not None
    expected = estimate.estimate.total_energy_joules
    assert bench.energies == {"theirs": pytest.approx(expected)}
    ended = the_only(bench.exporter.get_finished_spans())
    assert ended.attributes is not None
    assert ended.attributes["energy_tracking.session.name"] == "inner"
    assert session.total_energy_joules == pytest.approx(expected, abs=1e-8)
    data = bench.reader.get_metrics_data()
    assert data is not None
    metrics = {metric.name for metric in data.resource_metrics[0].scope_metrics[0].metrics}
    assert ENERGY_METRIC in metrics
    assert not [name for name in metrics if name.startswith("gen_ai.")]


@pytest.mark.parametrize(
    "outer",
    [
        {"gen_ai.operation.name": "invoke_agent"},
        {"gen_ai.operation.name": "chat"},
        {"openinference.span.kind": "LLM"},
        {},
    ],
)
def test_spans_around_a_counted_one_are_not_counted(bench: Bench, outer: dict[str, str]) -> None:
    sums = {name: value for name, value in CHAT_SPAN.items() if "operation" not in name}
    with (
        Session() as session,
        bench.tracer.start_as_current_span("outer", attributes=sums | outer),
        bench.tracer.start_as_current_span("between"),
    ):
        for number in range(2):
            with bench.tracer.start_as_current_span(f"leaf {number}", attributes=CHAT_SPAN):
                pass
    energies = bench.energies
    assert energies["leaf 0"] == energies["leaf 1"] > 0
    assert (energies["between"], energies["outer"]) == (None, None)
    assert session.totals.calls == 2


AGENT = {name: value for name, value in CHAT_SPAN.items() if "operation" not in name}
AGENT["gen_ai.operation.name"] = "invoke_agent"


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        (AGENT, "of the kind 'invoke_agent' are sums of calls, and none inside was counted"),
        ({"gen_ai.operation.name": "chat"}, "of the kind 'chat' have no token counts"),
        (CHAT_SPAN | {"gen_ai.usage.input_tokens": "?"}, None),
        ({"openinference.span.kind": "LLM", "llm.tokens": 5}, "of the kind 'LLM' have no token"),
        ({"gen_ai.operation.name": "chat", "error.type": "TimeoutError"}, None),
        ({"gen_ai.operation.name": "invoke_agent"}, None),
        ({"http.request.method": "POST"}, None),
    ],
)
def test_what_is_of_calls_that_nobody_counts_is_logged_once(
    bench: Bench, caplog: pytest.LogCaptureFixture, attributes: dict[str, Any], said: str | None
) -> None:
    caplog.set_level(logging.WARNING, "energy_tracking")
    for _ in range(3):
        bench.tracer.start_span("theirs", attributes=attributes).end()
    lines = [message for message in caplog.messages if "somebody.else" in message]
    assert [said in line for line in lines] == ([True] if said else [])  # type: ignore[operator]


def test_a_call_that_has_failed_is_not_logged_as_one_without_tokens(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "energy_tracking")
    span = bench.tracer.start_span("theirs", attributes={"openinference.span.kind": "LLM"})
    span.set_status(StatusCode.ERROR)
    span.end()
    assert caplog.messages == []


@pytest.mark.parametrize("is_tracked", [True, False], ids=["tracked", "spans alone"])
@pytest.mark.parametrize("outer", [AGENT, {"gen_ai.operation.name": "chat"}])
def test_what_is_around_a_call_that_was_counted_is_not_logged(
    bench: Bench,
    loopback: Loopback,
    caplog: pytest.LogCaptureFixture,
    outer: dict[str, Any],
    is_tracked: bool,
) -> None:
    caplog.set_level(logging.WARNING, "energy_tracking")
    loopback.serve(json_reply(chat_completion()))
    client = openai.OpenAI(api_key="none", base_url=loopback.base_url)
    with client, bench.tracer.start_as_current_span("outer", attributes=outer):
        if is_tracked:
            # Its spans go nowhere.
            wrap_openai(client, spans="off", on_error=keep_error)
            client.chat.completions.create(**CHAT)
        else:
            bench.tracer.start_span("inner", attributes=CHAT_SPAN).end()
    assert caplog.messages == []


def test_a_response_is_counted_once_however_many_spans_report_it(bench: Bench) -> None:
    with Session() as session:
        for name in ("first", "second"):
            bench.tracer.start_span(
                name, attributes=CHAT_SPAN | {"gen_ai.response.id": f"{bench!r}-1"}
            ).end()
    assert session.totals.calls == 1
    assert bench.energies["second"] is None


@pytest.mark.parametrize(
    ("seconds", "response_id", "calls"),
    [(0, None, 1), (1.2, None, 2), (0, "7", 1), (1.2, "7", 1), (2.3, "7", 2)],
)
def test_a_report_of_a_call_comes_within_a_time(
    bench: Bench, seconds: float, response_id: str | None, calls: int
) -> None:
    output = 1000 + int(seconds * 10) + (response_id is None)
    attributes = CHAT_SPAN | {"gen_ai.usage.output_tokens": output}
    if response_id is not None:
        attributes["gen_ai.response.id"] = response_id
    with Session() as session:
        bench.tracer.start_span("first", attributes=attributes).end()
        time.sleep(seconds)
        another = bench.tracer_provider.get_tracer("another.instrumentation")
        another.start_span("second", attributes=attributes).end()
    assert session.totals.calls == calls


@pytest.mark.parametrize("response_id", [None, "chatcmpl-7", "0" * 36, "7"])
def test_a_call_inside_of_another_instrumentations_span_is_none_of_an_earlier_one(
    bench: Bench, response_id: str | None
) -> None:
    """Equal calls follow each other; each is on two spans, one within the other."""
    inner = bench.tracer_provider.get_tracer("inner")
    attributes = CHAT_SPAN | ({} if response_id is None else {"gen_ai.response.id": response_id})
    with Session() as session:
        bench.tracer.start_span("alone", attributes=attributes).end()
        for _ in range(4):
            with bench.tracer.start_as_current_span("outer") as outer:
                inner.start_span("inner", attributes=attributes).end()
                outer.set_attributes(attributes)
    assert session.totals.calls == 5


@pytest.mark.usefixtures("short_calls")
@pytest.mark.parametrize("seconds", [0, 0.03])
def test_steps_below_one_span_are_calls_of_their_own_whoever_reports_them(
    bench: Bench, seconds: float
) -> None:
    """A report that a call has ended has no length; it is below that call, or anywhere else."""
    other = bench.tracer_provider.get_tracer("other")
    with Session() as session, bench.tracer.start_as_current_span("work"):
        for tracer in (bench.tracer, other):
            span = tracer.start_span("step", attributes=CHAT_SPAN)
            time.sleep(seconds)
            span.end()
    assert session.totals.calls == 2


def test_a_report_inside_of_its_call_that_has_ended_is_none_of_another(bench: Bench) -> None:
    """As Logfire reports a stream: beside the span of another one, and after both."""
    other = bench.tracer_provider.get_tracer("other")
    with Session() as session:
        request = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o"}
        with bench.tracer.start_as_current_span("request", attributes=request):
            around = get_current()
            other.start_span("stream", attributes=CHAT_SPAN).end()
        bench.tracer.start_span("streamed", context=around, attributes=CHAT_SPAN).end()
    assert session.totals.calls == 1


@pytest.mark.parametrize("longest", [8, 12, 30])
@pytest.mark.parametrize("is_tracked", [True, False], ids=["tracked", "spans alone"])
def test_an_id_that_a_limit_has_cut_is_none(
    loopback: Loopback, short_calls: None, is_tracked: bool, longest: int
) -> None:
    limits = SpanLimits(max_span_attribute_length=longest)
    bench = Bench(provider=TracerProvider(span_limits=limits))
    with Session() as session, openai.OpenAI(api_key="none", base_url=loopback.base_url) as client:
        if is_tracked:
            wrap_openai(client, **bench.arguments)
        for number in range(3):
            response_id = f"chatcmpl-AbKZmFyJkzoNTnp9gQu1kLTwFlr{number:03}"
            if is_tracked:
                loopback.serve(json_reply(chat_completion(id=response_id, model="gpt-4o")))
                client.chat.completions.create(**CHAT)
            attributes = CHAT_SPAN | {"gen_ai.response.id": response_id}
            bench.tracer.start_span("theirs", attributes=attributes).end()
    assert session.totals.calls == 3


def test_an_id_that_came_with_other_tokens_is_a_constant(bench: Bench) -> None:
    attributes = CHAT_SPAN | {"gen_ai.response.id": "chatcmpl-5f2a9c1be07d4386"}
    with Session() as session:
        for output in (40, 41, 41, 41):
            more = {"gen_ai.usage.output_tokens": output}
            bench.tracer.start_span("chat", attributes=attributes | more).end()
    assert session.totals.calls == 4


@pytest.mark.parametrize(
    "other",
    [
        {"gen_ai.usage.input_tokens": 121},
        {"gen_ai.usage.output_tokens": 778},
        {"gen_ai.request.model": "gpt-4o-mini"},
    ],
)
def test_another_model_or_count_is_no_report(bench: Bench, other: dict[str, Any]) -> None:
    attributes = CHAT_SPAN | {"gen_ai.usage.output_tokens": 777}
    with Session() as session:
        bench.tracer.start_span("first", attributes=attributes).end()
        another = bench.tracer_provider.get_tracer("another.instrumentation")
        another.start_span("second", attributes=attributes | other).end()
    assert session.totals.calls == 2


def test_alike_calls_of_one_instrumentation_all_count(bench: Bench) -> None:
    with Session() as session:
        for _ in range(3):
            bench.tracer.start_span("theirs", attributes=CHAT_SPAN).end()
    assert session.totals.calls == 3


def test_a_call_of_a_tracked_client_is_not_counted_from_a_span(
    bench: Bench, loopback: Loopback
) -> None:
    loopback.serve(json_reply(chat_completion(id="chatcmpl-doors-1")))
    client = wrap_openai(Flavour("sync").client(loopback.base_url), **bench.arguments)
    with Session() as session, bench.tracer.start_as_current_span("agent", attributes=CHAT_SPAN):
        client.chat.completions.create(**CHAT)
        bench.tracer.start_span(
            "after the fact", attributes=CHAT_SPAN | {"gen_ai.response.id": "chatcmpl-doors-1"}
        ).end()
    assert session.totals.calls == 1
    client.close()


@pytest.mark.parametrize("spans", ["auto", "off"])
@pytest.mark.parametrize("below", [False, True])
def test_reports_without_an_id_that_follow_a_tracked_clients_call_are_none_of_their_own(
    bench: Bench, loopback: Loopback, spans: str, below: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a program's own span, made of the response, and that of a callback beside it."""
    # As in ``bench``.
    monkeypatch.setattr("energy_tracking.calls.counted.REPORT_SECONDS", 60.0)
    loopback.serve(json_reply({"usage": CHAT_USAGE, "model": "gpt-4o"}))
    client = wrap_openai(
        Flavour("sync").client(loopback.base_url), **bench.arguments | {"spans": spans}
    )
    work = bench.tracer.start_as_current_span("work") if below else nullcontext()
    with Session() as session, work:
        for _ in range(3):
            client.chat.completions.create(**CHAT)
            for reporter in ("one", "other"):
                tracer = bench.tracer_provider.get_tracer(reporter)
                tracer.start_span("after the fact", attributes=CHAT_SPAN).end()
    assert session.totals.calls == 3
    client.close()


@pytest.mark.parametrize("response_id", ["chatcmpl-doors-2", "7", None])
def test_a_stream_that_is_reported_before_it_has_ended_counts_once(
    bench: Bench, loopback: Loopback, response_id: str | None
) -> None:
    given = {} if response_id is None else {"id": response_id}
    chunks = [chunk | given for chunk in chat_chunks("Hello", "!", usage=CHAT_USAGE)]
    if response_id is None:
        for chunk in chunks:
            del chunk["id"]
    loopback.serve(sse(*chunks, DONE))
    client = wrap_openai(Flavour("sync").client(loopback.base_url), **bench.arguments)
    named = {} if response_id is None else {"gen_ai.response.id": response_id}
    report = CHAT_SPAN | {"gen_ai.response.model": "gpt-4o-2024-08-06"} | named
    with Session() as session:
        asked = client.chat.completions.create(
            **CHAT, stream=True, stream_options={"include_usage": True}
        )
        for chunk in asked:
            if chunk.usage is not None:
                bench.tracer.start_span("with the usage", attributes=report).end()
    assert session.totals.calls == 1
    client.close()


@pytest.mark.usefixtures("short_calls")
def test_a_span_that_lasts_is_of_a_call_of_its_own_beside_a_tracked_clients(
    bench: Bench, loopback: Loopback
) -> None:
    loopback.serve(json_reply({"usage": CHAT_USAGE, "model": "gpt-4o"}))
    client = wrap_openai(Flavour("sync").client(loopback.base_url), **bench.arguments)
    with Session() as session:
        client.chat.completions.create(**CHAT)
        span = bench.tracer.start_span("of a client that nobody tracks", attributes=CHAT_SPAN)
        time.sleep(0.03)
        span.end()
    assert session.totals.calls == 2
    client.close()


@pytest.mark.parametrize("settings", [{"disabled": True}, {"spans": "off"}])
def test_settings_hold_for_spans_of_others(settings: dict[str, Any]) -> None:
    bench = Bench(**settings)
    with Session() as session:
        bench.tracer.start_span("theirs", attributes=CHAT_SPAN).end()
    assert bench.energies == {"theirs": None}
    assert session.totals.calls == (0 if "disabled" in settings else 1)


@pytest.mark.parametrize("ask", ["force_flush", "shutdown"])
@pytest.mark.parametrize("order", ["ours first", "exporter first"])
async def test_a_flush_delivers_streams_that_were_dropped(
    loopback: Loopback, flavour: Flavour, ask: str, order: str
) -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    records: list[CallRecord] = []
    arguments: dict[str, Any] = {"tracer_provider": provider, "on_error": keep_error}
    arguments["on_record"] = records.append
    processors = [EnergySpanProcessor(**arguments), BatchSpanProcessor(exporter)]
    for processor in processors if order == "ours first" else reversed(processors):
        provider.add_span_processor(processor)
    client = flavour.client(loopback.base_url)
    wrap_openai(client, include_usage="always", **arguments)
    loopback.serve(sse(*chat_chunks("Hello", "!"), DONE))
    stream = await flavour.call(client.chat.completions.create, **CHAT, stream=True)
    await flavour.next(stream)
    del stream
    await collect()
    getattr(provider, ask)()
    assert len(records) == 1
    # A processor that is shut down before takes no span any more.
    if (ask, order) != ("shutdown", "exporter first"):
        assert len(exporter.get_finished_spans()) == 1


def test_an_error_of_ours_does_not_keep_a_span_open() -> None:
    errors: list[tuple[str, Exception]] = []
    bench = Bench(on_error=lambda where, error: errors.append((where, error)))
    span = bench.tracer.start_span("theirs", attributes=CHAT_SPAN)
    bench.processor._count_span = None  # type: ignore[method-assign, assignment]
    span.end()
    assert bench.energies == {"theirs": None}
    assert [where for where, _ in errors] == ["span_processor.end"]


def test_a_span_is_free_of_us_once_it_has_ended(bench: Bench) -> None:
    span = bench.tracer.start_span("theirs", attributes=CHAT_SPAN)
    end = span.end
    assert "end" in vars(span)
    end()
    assert "end" not in vars(span)
    end()
    assert len(bench.exporter.get_finished_spans()) == 1


def test_the_completion_hook_enriches_open_spans_only(bench: Bench) -> None:
    plain = TracerProvider()
    plain.add_span_processor(SimpleSpanProcessor(bench.exporter))
    hook = EnergyCompletionHook(**bench.arguments)
    # Other tokens than those just counted elsewhere, of which it would be a report.
    attributes = CHAT_SPAN | {"gen_ai.usage.output_tokens": 81}
    span = plain.get_tracer("genai").start_span("theirs", attributes=attributes)
    hook.on_completion(inputs=[], outputs=[], system_instruction=[], span=span, log_record=None)
    span.end()
    hook.on_completion(inputs=[], outputs=[], system_instruction=[], span=span)
    hook.on_completion(inputs=[], outputs=[], system_instruction=[])
    assert bench.energies["theirs"] > 0


FORK = """
import os, signal, threading
from opentelemetry.sdk.trace import TracerProvider
from energy_tracking import Tracker, process_session
from energy_tracking.calls.counted import counted_responses
from energy_tracking.otel import span_processor
from energy_tracking.profiles import files

provider = TracerProvider()
provider.add_span_processor(span_processor.EnergySpanProcessor())
spans = provider.get_tracer("somebody.else")
held, release = threading.Event(), threading.Event()

# Long enough to be of one call each, however long a busy machine takes from one to the next.
ONE, TWO = "chatcmpl-AbKZmFyJkzoNTnp9gQu1kLTwFlrWv", "chatcmpl-BcLYnGzIlypOUoq8hRv2lMUxGmsXw"

def count_two():
    usage = {"prompt_tokens": 10, "completion_tokens": 5}
    Tracker().record(model="gpt-4o", usage=usage, response_id=ONE)
    for response_id in (ONE, TWO):
        stated = {"gen_ai.usage.input_tokens": 10, "gen_ai.usage.output_tokens": 5}
        stated |= {"gen_ai.request.model": "gpt-4o", "gen_ai.response.id": response_id}
        spans.start_span("theirs", attributes=stated).end()
    return process_session().totals.calls

def hold():
    with counted_responses._lock, files._catalogue_lock:
        held.set()
        release.wait(20)

thread = threading.Thread(target=hold)
thread.start()
held.wait()
child = os.fork()
if not child:
    signal.alarm(10)
    os._exit(count_two())
ended = os.waitpid(child, 0)[1]
release.set()
thread.join()
print(os.waitstatus_to_exitcode(ended), count_two())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_waits_for_no_lock_and_remembers_its_own_calls() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORK],
        env={"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout.split(), done.stderr) == (["2", "2"], "")


@pytest.mark.parametrize("is_first", [True, False], ids=["before", "after"])
def test_a_flush_exports_a_dropped_stream_of_whichever_provider_the_processor_is_on(
    loopback: Loopback, is_first: bool
) -> None:
    exporter = InMemorySpanExporter()
    batches = BatchSpanProcessor(exporter, schedule_delay_millis=60_000)
    # Without a provider of its own: it is on another one than the global one.
    ours = EnergySpanProcessor(on_error=keep_error)
    provider = TracerProvider()
    for processor in (ours, batches) if is_first else (batches, ours):
        provider.add_span_processor(processor)
    loopback.serve(sse(*chat_chunks("Hello", "!"), DONE))
    with openai.OpenAI(api_key="none", base_url=loopback.base_url) as client:
        wrap_openai(client, tracer_provider=provider, on_error=keep_error)
        next(iter(client.chat.completions.create(stream=True, **CHAT)))
        gc.collect()
        assert provider.force_flush()
    assert [span.name for span in exporter.get_finished_spans()] == ["chat gpt-4o"]
