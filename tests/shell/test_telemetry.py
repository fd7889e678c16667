"""Spans and metrics, seen through the real OpenTelemetry SDK."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import openai
import pytest
from opentelemetry import context as otel_context
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode

from calls import CHAT
from counts import the_only
from energy_tracking import (
    CallRecord,
    ConfigurationError,
    Session,
    Tracker,
    track_energy,
    wrap_openai,
)
from energy_tracking.estimator.roofline.request import estimate_request
from energy_tracking.profiles.files import get_catalogue
from energy_tracking.telemetry import attributes as tables
from energy_tracking.telemetry import metrics as names
from energy_tracking.telemetry.spans import ProviderArguments
from energy_tracking.telemetry.spans import Telemetry as Adapter
from loopback import (
    CHAT_USAGE,
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

ALL_ATTRIBUTES: tuple[tables.Attribute, ...] = (
    *tables.REQUEST_ATTRIBUTES,
    *tables.RESPONSE_ATTRIBUTES,
    *tables.TOKEN_ATTRIBUTES,
    *tables.ENERGY_ATTRIBUTES,
    *tables.SESSION_ATTRIBUTES,
    *tables.ROLLUP_ATTRIBUTES,
    *tables.ROLLUP_GRAMS_ATTRIBUTES,
)

SUMMED = [name for name, _ in names.SUMMED]


class Given(ProviderArguments, total=False):
    """What every tracker of these tests is given."""

    on_error: Callable[[str, Exception], object]


@dataclass
class Telemetry:
    """Providers of a test, and what they have received."""

    tracer_provider: TracerProvider
    meter_provider: MeterProvider
    exporter: InMemorySpanExporter
    reader: InMemoryMetricReader

    @property
    def arguments(self) -> Given:
        """Where a tracker under test sends its telemetry; its own errors fail the test."""
        return {
            "tracer_provider": self.tracer_provider,
            "meter_provider": self.meter_provider,
            "on_error": keep_error,
        }

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        return self.exporter.get_finished_spans()

    def metric(self, name: str) -> Any:
        data = self.reader.get_metrics_data()
        assert data is not None
        return next(
            metric
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
        )

    def metric_names(self) -> set[str]:
        data = self.reader.get_metrics_data()
        return (
            set()
            if data is None
            else {
                metric.name
                for resource in data.resource_metrics
                for scope in resource.scope_metrics
                for metric in scope.metrics
            }
        )


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
    tracer_provider, meter_provider = TracerProvider(), MeterProvider([reader])
    tracer_provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield Telemetry(tracer_provider, meter_provider, exporter, reader)
    tracer_provider.shutdown()
    meter_provider.shutdown()


async def test_a_call_is_one_client_span_with_tokens_and_energy(
    loopback: Loopback, flavour: Flavour, telemetry: Telemetry
) -> None:
    loopback.serve(json_reply(chat_completion(model="gpt-4o-2024-08-06", id="chatcmpl-7")))
    client = wrap_openai(flavour.client(loopback.base_url), **telemetry.arguments)
    with Session("evening") as session:
        await flavour.call(client.chat.completions.create, **CHAT)
    span = the_only(telemetry.spans)
    assert (span.name, span.kind, span.parent) == ("chat gpt-4o", SpanKind.CLIENT, None)
    assert span.status.status_code is StatusCode.UNSET
    attributes = dict(span.attributes or {})
    # CHAT_USAGE: 120 in, 64 of them cached; 80 out, 32 of them reasoning.
    k, dense, watts_per_flops = 4 * 57 * 150.1 * 77, 2 * 100e9, 700 / 989e12
    prefill = ((120 - 64) * dense + k * (120**2 - 64**2)) * watts_per_flops / 0.5
    avoided = (64 * dense + k * 64**2) * watts_per_flops / 0.5
    decode = (80 * dense + k * (120 * 80 + 80 * 79 / 2)) * 0.75 * watts_per_flops / 0.1
    reasoning = (32 * dense + k * (120 * 32 + 32 * 31 / 2)) * 0.75 * watts_per_flops / 0.1
    near = {
        "energy_tracking.prefill_energy_joules": prefill,
        "energy_tracking.decode_energy_joules": decode,
        "energy_tracking.reasoning_energy_joules": reasoning,
        "energy_tracking.cache_avoided_energy_joules": avoided,
        "energy_tracking.total_energy_joules": prefill + decode,
        "energy_tracking.total_energy_wh": (prefill + decode) / 3600,
        "energy_tracking.session.total_energy_wh": (prefill + decode) / 3600,
        "energy_tracking.total_flops": prefill / watts_per_flops * 0.5
        + decode / watts_per_flops * 0.1 / 0.75,
    }
    for name, expected in near.items():
        assert attributes.pop(name) == pytest.approx(expected, rel=1e-9), name
    # The calibrated number beside it, by its own module from the corrected rows.
    catalogue = get_catalogue()
    beside = estimate_request(
        catalogue.model("gpt-4o@registry"),
        catalogue.gpu("H100-SXM"),
        input_tokens=120,
        cached_input_tokens=64,
        output_tokens=80,
    )
    site = beside.deployment
    for name, expected in (
        ("energy_tracking.calibrated_energy_joules", beside.total_energy_joules),
        ("energy_tracking.calibrated_energy_low_joules", beside.total_energy_low_joules),
        ("energy_tracking.calibrated_energy_high_joules", beside.total_energy_high_joules),
        ("energy_tracking.assumed.sequences", beside.sequences),
        ("energy_tracking.assumed.num_gpus", site.gpus * site.stages),
        ("energy_tracking.assumed.weight_bytes", site.weight_bytes),
    ):
        assert attributes.pop(name) == expected, name
    assert attributes.pop("energy_tracking.assumed.weight_format") == "fp8"
    # The measured errors of the formula, each on its part, and a factor of 1.8 for grade C.
    total = prefill + decode
    low, high = (0.37 * prefill + 0.45 * decode) / total, (3.4 * prefill + 14.4 * decode) / total
    assert attributes.pop("energy_tracking.total_energy_low_joules") == pytest.approx(
        total / (1 + math.hypot(1 / low - 1, 0.8))
    )
    assert attributes.pop("energy_tracking.total_energy_high_joules") == pytest.approx(
        total * (1 + math.hypot(high - 1, 0.8))
    )
    assert attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.response.model": "gpt-4o-2024-08-06",
        "gen_ai.response.id": "chatcmpl-7",
        "gen_ai.usage.input_tokens": 120,
        "gen_ai.usage.output_tokens": 80,
        "gen_ai.usage.cache_read.input_tokens": 64,
        "gen_ai.usage.reasoning.output_tokens": 32,
        "server.address": "127.0.0.1",
        "server.port": int(loopback.base_url.split(":")[2].split("/")[0]),
        "energy_tracking.status": "estimated",
        "energy_tracking.reasoning_factor": 1.0,
        "energy_tracking.attention_mode": "quadratic",
        "energy_tracking.gpu": "H100",
        "energy_tracking.scope": "gpu",
        "energy_tracking.model_profile": "gpt-4o",
        "energy_tracking.model_match": "snapshot",
        "energy_tracking.grade": "C",
        "energy_tracking.range_from": "formula,parameters",
        "energy_tracking.method": "reference",
        "energy_tracking.method_version": "1",
        "energy_tracking.session.name": "evening",
    }
    assert session.total_energy_joules == pytest.approx(prefill + decode, abs=1e-8)


async def test_metrics_sum_up_to_the_session(
    loopback: Loopback, flavour: Flavour, telemetry: Telemetry
) -> None:
    loopback.serve(json_reply(chat_completion()))
    client = wrap_openai(flavour.client(loopback.base_url), **telemetry.arguments)
    with Session() as session:
        for _ in range(3):
            await flavour.call(client.chat.completions.create, **CHAT)
    energy = telemetry.metric(names.ENERGY_METRIC)
    assert (energy.unit, energy.data.is_monotonic) == ("J", True)
    point = the_only(energy.data.data_points)
    assert point.value == pytest.approx(session.total_energy_joules, abs=1e-8)
    assert set(point.attributes) == {
        "gen_ai.operation.name",
        "gen_ai.provider.name",
        "gen_ai.request.model",
        "gen_ai.response.model",
        "energy_tracking.gpu",
        "energy_tracking.method",
        "energy_tracking.status",
    }
    per_call = telemetry.metric(names.ENERGY_PER_CALL_METRIC)
    assert per_call.unit == "J"
    point = the_only(per_call.data.data_points)
    assert (point.count, point.explicit_bounds) == (3, names.ENERGY_BUCKETS)
    tokens = telemetry.metric(names.TOKEN_METRIC)
    assert tokens.unit == "{token}"
    by_type = {point.attributes["gen_ai.token.type"]: point for point in tokens.data.data_points}
    assert {kind: point.sum for kind, point in by_type.items()} == {"input": 360, "output": 240}
    duration = telemetry.metric(names.DURATION_METRIC)
    assert (duration.unit, duration.data.data_points[0].count) == ("s", 3)


@pytest.mark.parametrize("method", ["reference", "roofline"])
async def test_both_ends_of_the_range_and_the_calibrated_number_are_counted(
    loopback: Loopback, flavour: Flavour, telemetry: Telemetry, method: str
) -> None:
    loopback.serve(json_reply(chat_completion()))
    client = wrap_openai(flavour.client(loopback.base_url), method=method, **telemetry.arguments)
    with Session() as session:
        for _ in range(3):
            await flavour.call(client.chat.completions.create, **CHAT)
        Tracker(**telemetry.arguments).record(model="m", usage=None, measured_energy_joules=7.0)
        Tracker(**telemetry.arguments).record(model="m", usage=None)
    totals = session.totals
    sums = (
        totals.total_energy_joules,
        totals.total_energy_low_joules,
        totals.total_energy_high_joules,
        totals.calibrated_energy_joules,
    )
    for name, joules in zip(SUMMED, sums, strict=True):
        metric = telemetry.metric(name)
        points = {
            point.attributes["gen_ai.request.model"]: point for point in metric.data.data_points
        }
        assert (metric.unit, metric.data.is_monotonic) == ("J", True)
        assert sum(point.value for point in points.values()) == pytest.approx(joules, abs=1e-8)
        scope = None if name == names.ENERGY_METRIC else "gpu"
        assert points["gpt-4o"].attributes.get("energy_tracking.scope") == scope
        assert points["gpt-4o"].attributes["energy_tracking.method"] == method


def test_the_energy_is_one_series_whatever_the_scope_and_the_error(telemetry: Telemetry) -> None:
    usage = {"prompt_tokens": 100, "completion_tokens": 10}
    records = [
        Tracker(method="roofline", scope=scope, **telemetry.arguments).record(
            model="gpt-4o", usage=usage, error_type=error_type
        )
        for scope in ("gpu", "facility")
        for error_type in (None, "TimeoutError")
    ]
    energies = [record.total_energy_joules or 0.0 for record in records]
    point = the_only(telemetry.metric(names.ENERGY_METRIC).data.data_points)
    assert point.value == pytest.approx(sum(energies))
    low = telemetry.metric("energy_tracking.client.energy.low").data.data_points
    assert {point.attributes["energy_tracking.scope"] for point in low} == {"gpu", "facility"}


def test_quantiles_read_from_the_buckets_are_off_by_two_thirds_at_most() -> None:
    steps = zip(names.ENERGY_BUCKETS, names.ENERGY_BUCKETS[1:], strict=False)
    assert max(high / low for low, high in steps) == pytest.approx(5 / 3)
    assert all(len(str(bound)) < 9 for bound in names.ENERGY_BUCKETS)
    assert (names.ENERGY_BUCKETS[0], names.ENERGY_BUCKETS[-1]) == (0.1, 1e5)


async def test_a_failed_call_is_an_error_span_and_the_error_is_the_sdks_own(
    loopback: Loopback, flavour: Flavour, telemetry: Telemetry
) -> None:
    loopback.serve(error_reply(429))
    client = wrap_openai(flavour.client(loopback.base_url), **telemetry.arguments)
    with pytest.raises(openai.RateLimitError, match="refused"):
        await flavour.call(client.chat.completions.create, **CHAT)
    span = the_only(telemetry.spans)
    assert span.status.status_code is StatusCode.ERROR
    attributes = span.attributes or {}
    assert attributes["error.type"] == "RateLimitError"
    assert attributes["energy_tracking.status"] == "unestimated"
    assert attributes["energy_tracking.reason"] == "failed with RateLimitError"
    assert not {names.ENERGY_METRIC, names.UNESTIMATED_METRIC} & telemetry.metric_names()
    duration = telemetry.metric(names.DURATION_METRIC).data.data_points[0]
    assert duration.attributes["error.type"] == "RateLimitError"


async def test_an_unknown_model_is_counted_with_its_tokens_and_reason(
    loopback: Loopback, flavour: Flavour, telemetry: Telemetry, caplog: pytest.LogCaptureFixture
) -> None:
    loopback.serve(json_reply(chat_completion(model="house-model-7")))
    client = wrap_openai(flavour.client(loopback.base_url), **telemetry.arguments)
    for _ in range(2):
        await flavour.call(client.chat.completions.create, **(CHAT | {"model": "house-model-7"}))
    attributes = telemetry.spans[-1].attributes or {}
    assert attributes["gen_ai.usage.input_tokens"] == CHAT_USAGE["prompt_tokens"]
    assert attributes["energy_tracking.status"] == "unestimated"
    assert attributes["energy_tracking.reason"] == "no energy profile for this model"
    assert "energy_tracking.total_energy_joules" not in attributes
    point = the_only(telemetry.metric(names.UNESTIMATED_METRIC).data.data_points)
    assert point.value == 2
    assert [record.message.count("house-model-7") for record in caplog.records] == [1]


async def test_a_call_without_tokens_is_counted_as_one_without_energy(
    loopback: Loopback, flavour: Flavour, telemetry: Telemetry
) -> None:
    loopback.serve(json_reply(chat_completion("", usage=None)))
    client = wrap_openai(flavour.client(loopback.base_url), **telemetry.arguments)
    await flavour.call(client.chat.completions.create, **CHAT)
    point = the_only(telemetry.metric(names.UNESTIMATED_METRIC).data.data_points)
    assert point.value == 1
    assert not {names.ENERGY_METRIC, names.TOKEN_METRIC} & telemetry.metric_names()


async def test_http_spans_of_the_request_become_children(
    loopback: Loopback, flavour: Flavour, telemetry: Telemetry
) -> None:
    loopback.serve(json_reply(chat_completion()))
    current: list[trace.Span] = []

    def note(request: object) -> None:
        current.append(trace.get_current_span())

    async def note_async(request: object) -> None:
        note(request)

    hooks = {"request": [note_async if flavour.is_async else note]}
    http_client = (
        openai.DefaultAsyncHttpxClient(event_hooks=hooks)
        if flavour.is_async
        else openai.DefaultHttpxClient(event_hooks=hooks)
    )
    client = flavour.client(loopback.base_url, http_client=http_client)
    wrap_openai(client, **telemetry.arguments)
    await flavour.call(client.chat.completions.create, **CHAT)
    span = the_only(telemetry.spans)
    assert current[0].get_span_context() == span.context
    assert not trace.get_current_span().get_span_context().is_valid


@pytest.mark.parametrize(
    "theirs",
    [
        {"gen_ai.operation.name": "chat"},
        {"gen_ai.system": "openai"},
        {"openinference.span.kind": "LLM"},
    ],
)
async def test_another_instrumentations_span_is_added_to(
    loopback: Loopback, flavour: Flavour, telemetry: Telemetry, theirs: dict[str, str]
) -> None:
    loopback.serve(json_reply(chat_completion()))
    client = wrap_openai(flavour.client(loopback.base_url), **telemetry.arguments)
    tracer = telemetry.tracer_provider.get_tracer("somebody.else")
    with tracer.start_as_current_span("their span", attributes=theirs):
        await flavour.call(client.chat.completions.create, **CHAT)
    span = the_only(telemetry.spans)
    attributes = dict(span.attributes or {})
    assert attributes["energy_tracking.total_energy_joules"]
    assert not [name for name in attributes if name.startswith("gen_ai.") and name not in theirs]
    # Their instrumentation measures tokens and durations; ours adds the energy only.
    ours = {names.ENERGY_PER_CALL_METRIC, *SUMMED}
    assert telemetry.metric_names() == ours


@pytest.mark.parametrize("setting", ["auto", "annotate"])
@pytest.mark.parametrize("order", ["one after the other", "at once", "the first fails"])
async def test_each_call_inside_of_one_foreign_span_keeps_its_energy(
    loopback: Loopback, flavour: Flavour, telemetry: Telemetry, setting: str, order: str
) -> None:
    client = flavour.client(loopback.base_url)
    wrap_openai(client, spans=setting, include_usage="always", **telemetry.arguments)
    create = client.chat.completions.create
    chunks = sse(*chat_chunks("Hello", "!"), DONE)
    tracer = telemetry.tracer_provider.get_tracer("somebody.else")
    theirs = {"gen_ai.operation.name": "chat"}
    with tracer.start_as_current_span("theirs", attributes=theirs), Session() as session:
        if order == "at once":
            loopback.serve(chunks)
            streams = [await flavour.call(create, **CHAT, stream=True) for _ in range(2)]
            for stream in reversed(streams):
                _ = [chunk async for chunk in flavour.items(stream)]
        else:
            failed = error_reply(400) if order == "the first fails" else None
            whole = json_reply(chat_completion())
            loopback.serve(failed or whole, whole)
            with pytest.raises(openai.BadRequestError) if failed else nullcontext():
                await flavour.call(create, **CHAT)
            await flavour.call(create, **CHAT)
    ours, outer = telemetry.spans
    assert (ours.name, outer.name) == ("chat gpt-4o", "theirs")
    assert ours.parent == outer.context
    # A sum over the spans is the sum over the calls.
    attributes: list[dict[str, Any]] = [dict(span.attributes or {}) for span in (ours, outer)]
    joules = [one.get("energy_tracking.total_energy_joules", 0.0) for one in attributes]
    assert sum(joules) == pytest.approx(session.total_energy_joules)
    assert [one["energy_tracking.status"] for one in attributes] == [
        "estimated",
        "unestimated" if order == "the first fails" else "estimated",
    ]
    # Their span has the tokens of both.
    assert not {name for name in attributes[0] if name.startswith("gen_ai.usage")}


@pytest.mark.parametrize(
    ("setting", "attributes"),
    [
        ("own", {"gen_ai.operation.name": "chat"}),
        ("auto", {"gen_ai.operation.name": "invoke_agent"}),
        ("auto", {"http.request.method": "POST"}),
    ],
)
async def test_other_spans_get_a_child_instead(
    loopback: Loopback,
    flavour: Flavour,
    telemetry: Telemetry,
    setting: str,
    attributes: dict[str, str],
) -> None:
    loopback.serve(json_reply(chat_completion()))
    client = flavour.client(loopback.base_url)
    wrap_openai(client, spans=setting, **telemetry.arguments)
    tracer = telemetry.tracer_provider.get_tracer("somebody.else")
    with tracer.start_as_current_span("outer", attributes=attributes):
        await flavour.call(client.chat.completions.create, **CHAT)
    ours, outer = telemetry.spans
    assert (ours.name, outer.name) == ("chat gpt-4o", "outer")
    assert ours.parent is not None
    assert ours.parent.span_id == outer.context.span_id
    assert "energy_tracking.status" not in (outer.attributes or {})


@pytest.mark.parametrize("theirs", ["ended", "of another process"])
async def test_a_span_that_records_nothing_is_a_parent_like_any_other(
    loopback: Loopback, flavour: Flavour, telemetry: Telemetry, theirs: str
) -> None:
    loopback.serve(json_reply(chat_completion()))
    client = wrap_openai(flavour.client(loopback.base_url), **telemetry.arguments)
    tracer = telemetry.tracer_provider.get_tracer("somebody.else")
    span = tracer.start_span("theirs", attributes={"gen_ai.operation.name": "chat"})
    span.end()
    if theirs == "of another process":
        span = trace.NonRecordingSpan(span.get_span_context())
    with trace.use_span(span), Session() as session:
        await flavour.call(client.chat.completions.create, **CHAT)
    _, ours = telemetry.spans
    assert ours.parent == span.get_span_context()
    assert (ours.attributes or {})["energy_tracking.status"] == "estimated"
    assert session.totals.calls == 1


async def test_a_span_that_ended_before_its_stream_is_linked_to(
    loopback: Loopback, flavour: Flavour, telemetry: Telemetry
) -> None:
    client = flavour.client(loopback.base_url)
    wrap_openai(client, include_usage="always", **telemetry.arguments)
    tracer = telemetry.tracer_provider.get_tracer("somebody.else")
    with tracer.start_as_current_span("theirs", attributes={"gen_ai.operation.name": "chat"}):
        stream = await flavour.call(client.chat.completions.create, **CHAT, stream=True)
    async for _ in flavour.items(stream):
        pass
    theirs, ours = telemetry.spans
    assert ours.links[0].context == theirs.context
    assert (ours.attributes or {})["energy_tracking.total_energy_joules"]
    assert "energy_tracking.status" not in (theirs.attributes or {})


@pytest.mark.parametrize("key", ["suppress_instrumentation", "otel-key"])
async def test_suppressed_calls_count_in_sessions_only(
    loopback: Loopback, flavour: Flavour, telemetry: Telemetry, key: str
) -> None:
    if key == "otel-key":
        key = otel_context._SUPPRESS_INSTRUMENTATION_KEY
    loopback.serve(json_reply(chat_completion()))
    client = wrap_openai(flavour.client(loopback.base_url), **telemetry.arguments)
    token = otel_context.attach(otel_context.set_value(key, True))
    try:
        with Session() as session:
            await flavour.call(client.chat.completions.create, **CHAT)
    finally:
        otel_context.detach(token)
    assert session.totals.calls == 1
    assert (telemetry.spans, telemetry.metric_names()) == ((), set())


async def test_without_spans_there_are_still_metrics(
    loopback: Loopback, flavour: Flavour, telemetry: Telemetry
) -> None:
    loopback.serve(json_reply(chat_completion()))
    client = flavour.client(loopback.base_url)
    wrap_openai(client, spans="off", **telemetry.arguments)
    await flavour.call(client.chat.completions.create, **CHAT)
    assert telemetry.spans == ()
    assert names.ENERGY_METRIC in telemetry.metric_names()


async def test_unsampled_calls_are_measured_all_the_same(
    loopback: Loopback, flavour: Flavour, telemetry: Telemetry
) -> None:
    loopback.serve(json_reply(chat_completion()))
    arguments = telemetry.arguments | {"tracer_provider": TracerProvider(sampler=ALWAYS_OFF)}
    client = wrap_openai(flavour.client(loopback.base_url), **arguments)
    await flavour.call(client.chat.completions.create, **CHAT)
    assert names.ENERGY_METRIC in telemetry.metric_names()


async def test_without_an_sdk_sessions_still_work_and_no_provider_is_set(
    loopback: Loopback, flavour: Flavour
) -> None:
    before = trace.get_tracer_provider(), metrics.get_meter_provider()
    loopback.serve(json_reply(chat_completion()))
    client = wrap_openai(flavour.client(loopback.base_url), on_error=keep_error)
    with Session() as session:
        await flavour.call(client.chat.completions.create, **CHAT)
    assert session.total_energy_wh > 0
    assert (trace.get_tracer_provider(), metrics.get_meter_provider()) == before


@pytest.mark.parametrize("where", ["at the top", "in a parent", "read outside of it", "no span"])
async def test_exemplars_point_to_the_span_of_the_call(
    loopback: Loopback, flavour: Flavour, telemetry: Telemetry, where: str
) -> None:
    client = flavour.client(loopback.base_url)
    spans = "off" if where == "no span" else "auto"
    wrap_openai(client, include_usage="always", spans=spans, **telemetry.arguments)
    tracer = telemetry.tracer_provider.get_tracer("app")
    if where == "at the top":
        loopback.serve(json_reply(chat_completion()))
        await flavour.call(client.chat.completions.create, **CHAT)
    elif where == "read outside of it":
        loopback.serve(sse(*chat_chunks("Hello", "!"), DONE))
        with tracer.start_as_current_span("parent"):
            stream = await flavour.call(client.chat.completions.create, **CHAT, stream=True)
        _ = [chunk async for chunk in flavour.items(stream)]
    else:
        loopback.serve(json_reply(chat_completion()))
        with tracer.start_as_current_span("parent"):
            await flavour.call(client.chat.completions.create, **CHAT)
    # Where we have none, it is the one that the call was made in.
    name = "parent" if where == "no span" else "chat gpt-4o"
    span = the_only(span for span in telemetry.spans if span.name == name)
    assert span.context is not None
    expected = {(span.context.trace_id, span.context.span_id)}
    data = telemetry.reader.get_metrics_data()
    assert data is not None
    found = {
        metric.name: {
            (each.trace_id, each.span_id)
            for point in metric.data.data_points
            for each in point.exemplars
        }
        for metric in data.resource_metrics[0].scope_metrics[0].metrics
    }
    unasked = {names.UNESTIMATED_METRIC, names.CARBON_METRIC}
    measured = {metric.name for metric in names.METRICS} - unasked
    # What is added up here and read later belongs to no span.
    assert found == dict.fromkeys(measured, expected) | {name: set() for name in SUMMED}


async def test_an_exemplar_beside_another_instrumentation_points_to_its_span(
    loopback: Loopback, flavour: Flavour, telemetry: Telemetry
) -> None:
    loopback.serve(json_reply(chat_completion()))
    client = wrap_openai(flavour.client(loopback.base_url), **telemetry.arguments)
    tracer = telemetry.tracer_provider.get_tracer("somebody.else")
    theirs = {"gen_ai.operation.name": "chat"}
    with tracer.start_as_current_span("theirs", attributes=theirs) as span:
        await flavour.call(client.chat.completions.create, **CHAT)
    point = the_only(telemetry.metric(names.ENERGY_PER_CALL_METRIC).data.data_points)
    assert [each.span_id for each in point.exemplars] == [span.get_span_context().span_id]


@pytest.mark.parametrize("setting", ["argument", "environment"])
async def test_metrics_are_turned_off_alone(
    loopback: Loopback,
    flavour: Flavour,
    telemetry: Telemetry,
    setting: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loopback.serve(json_reply(chat_completion()))
    if setting == "environment":
        monkeypatch.setenv("ENERGY_TRACKING_METRICS", "off")
    given: Any = {"metrics": "off"} if setting == "argument" else {}
    client = wrap_openai(flavour.client(loopback.base_url), **telemetry.arguments, **given)
    with Session() as session:
        await flavour.call(client.chat.completions.create, **CHAT)
    assert telemetry.metric_names() == set()
    assert session.totals.calls == 1
    assert "energy_tracking.total_energy_joules" in (telemetry.spans[0].attributes or {})


def test_tags_of_metrics_that_are_off_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"metric_tags .* it has no effect while metrics "):
        Tracker(metrics="off", metric_tags=["team"])


MEASURED = CHAT_USAGE | {"energy_joules": 5.0}


@pytest.mark.parametrize("usage", [MEASURED, CHAT_USAGE], ids=["measured", "estimated"])
async def test_the_range_of_a_span_contains_its_total(
    loopback: Loopback, flavour: Flavour, telemetry: Telemetry, usage: dict[str, Any]
) -> None:
    loopback.serve(json_reply(chat_completion(usage=usage)))
    client = wrap_openai(flavour.client(loopback.base_url), **telemetry.arguments)

    @track_energy(name="function", **telemetry.arguments)
    async def answer() -> None:
        for _ in range(2):
            await flavour.call(client.chat.completions.create, **CHAT)

    with Session() as session:
        await answer()
    spans: list[dict[str, Any]] = [dict(span.attributes or {}) for span in telemetry.spans]
    call, _, function = spans
    for attributes, prefix in ((call, ""), (function, "rollup.")):
        low, total, high = (
            attributes[f"energy_tracking.{prefix}total_energy_{end}joules"]
            for end in ("low_", "", "high_")
        )
        assert low <= total <= high, prefix
        assert (low == total == high) is (usage is MEASURED)
    totals = session.totals
    assert (
        totals.total_energy_low_joules
        <= totals.total_energy_joules
        <= totals.total_energy_high_joules
    )
    if usage is MEASURED:
        # The range of the estimate beside it is kept.
        assert (
            call["energy_tracking.estimated_energy_low_joules"]
            < call["energy_tracking.estimated_energy_joules"]
            < call["energy_tracking.estimated_energy_high_joules"]
        )
        assert call["energy_tracking.total_energy_joules"] == 5.0


async def test_energy_that_is_no_number_reaches_no_backend(
    loopback: Loopback, flavour: Flavour, telemetry: Telemetry
) -> None:
    loopback.serve(json_reply(chat_completion()))
    records: list[CallRecord] = []
    client = wrap_openai(flavour.client(loopback.base_url), on_record=records.append)
    await flavour.call(client.chat.completions.create, **CHAT)
    record = the_only(records)
    assert record.estimate is not None
    broken = replace(record.estimate, decode_energy_joules=math.nan)
    adapter = Adapter("auto", telemetry.tracer_provider, telemetry.meter_provider)
    span = adapter.start(record.request)
    assert span is not None
    span.end(replace(record, estimate=broken))
    attributes = telemetry.spans[0].attributes or {}
    assert "energy_tracking.total_energy_joules" not in attributes
    assert names.ENERGY_METRIC not in telemetry.metric_names()


def test_no_attribute_name_is_a_prefix_of_another() -> None:
    attributes = [row.name for row in ALL_ATTRIBUTES]
    assert len(set(attributes)) == len(attributes)
    for name in attributes:
        assert not [other for other in attributes if other.startswith(f"{name}.")], name
