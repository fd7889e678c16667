"""Our span repeats no tokens that another instrumentation reports to the same backend."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import ModuleType
from typing import Any

import openai
import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from energy_tracking import Session, wrap_openai
from energy_tracking.openai_client.other_instrumentations import METHODS, wrappers_around
from energy_tracking.telemetry.metrics import TOKEN_METRIC
from energy_tracking.telemetry.pipelines import UNREPORTED, Pipeline, Reported
from energy_tracking.usage.endpoints import ENDPOINTS
from loopback import Flavour, Loopback, chat_completion, json_reply
from own_errors import keep_error

REQUEST: dict[str, Any] = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}]}
INPUT = "gen_ai.usage.input_tokens"
ENERGY = "energy_tracking.total_energy_joules"
LLM_SPANS: dict[str, dict[str, Any]] = {
    "semantic conventions": {"gen_ai.operation.name": "chat"},
    "their old form": {"gen_ai.system": "openai"},
    "OpenInference": {"openinference.span.kind": "LLM"},
    "Langfuse": {"langfuse.observation.type": "generation"},
    "MLflow": {"mlflow.spanType": '"CHAT_MODEL"'},
}
PIPELINES = {"one provider": True, "one exporter": True, "their own": False}
"""How another instrumentation's pipeline may relate to ours, and whether it is ours."""


class Bench:
    """Our pipeline, and one of another instrumentation."""

    def __init__(self, relation: str = "one provider", **provider: Any) -> None:
        self.exporter, self.their_exporter = InMemorySpanExporter(), InMemorySpanExporter()
        self.ours = self.theirs = TracerProvider(**provider)
        self.ours.add_span_processor(SimpleSpanProcessor(self.exporter))
        if relation != "one provider":
            self.theirs = TracerProvider(**provider)
            shared = relation == "one exporter"
            exporter = self.exporter if shared else self.their_exporter
            self.theirs.add_span_processor(SimpleSpanProcessor(exporter))
        self.tracer = self.theirs.get_tracer("acme")
        self.reader = InMemoryMetricReader()
        self.arguments: dict[str, Any] = {
            "tracer_provider": self.ours,
            "meter_provider": MeterProvider([self.reader]),
            "on_error": keep_error,
        }

    def named(self, name: str) -> dict[str, Any]:
        """Attributes of the only span of that name."""
        spans = self.exporter.get_finished_spans() + self.their_exporter.get_finished_spans()
        (attributes,) = [span.attributes or {} for span in spans if span.name == name]
        return dict(attributes)

    @property
    def metric_names(self) -> set[str]:
        data = self.reader.get_metrics_data()
        resources = data.resource_metrics if data else ()
        return {
            metric.name
            for resource in resources
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }


async def ask(loopback: Loopback, flavour: Flavour, client: Any) -> None:
    loopback.serve(json_reply(chat_completion()))
    with Session() as session:
        await flavour.call(client.chat.completions.create, **REQUEST)
    assert session.totals.calls == 1


Wrap = Callable[[Bench, Callable[..., Any]], Callable[..., Any]]


def closes_over_tracer(bench: Bench, original: Callable[..., Any]) -> Callable[..., Any]:
    tracer = bench.tracer

    @functools.wraps(original)
    def create(*args: Any, **kwargs: Any) -> Any:
        span = tracer.start_span("peer")
        result = original(*args, **kwargs)
        span.end()
        return result

    return create


def names_no_original(bench: Bench, original: Callable[..., Any]) -> Callable[..., Any]:
    def create(*args: Any, **kwargs: Any) -> Any:
        with bench.tracer.start_as_current_span("peer"):
            return original(*args, **kwargs)

    return create


def is_an_object(bench: Bench, original: Callable[..., Any]) -> Callable[..., Any]:
    class Create:
        def __init__(self) -> None:
            self.handler = Handler()

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            with self.handler.tracer.start_as_current_span("peer"):
                return original(*args, **kwargs)

    class Handler:
        def __init__(self) -> None:
            self.tracer = bench.tracer

    return Create()


def is_partial(bench: Bench, original: Callable[..., Any]) -> Callable[..., Any]:
    def create(tracer: trace.Tracer, *args: Any, **kwargs: Any) -> Any:
        with tracer.start_as_current_span("peer"):
            return original(*args, **kwargs)

    return functools.partial(create, bench.tracer)


def names_a_global(bench: Bench, original: Callable[..., Any]) -> Callable[..., Any]:
    module: dict[str, Any] = {"__name__": "acme", "tracer": bench.tracer, "original": original}
    code = """
def create(*args, **kwargs):
    with tracer.start_as_current_span("peer"):
        return original(*args, **kwargs)
"""
    exec(code, module)
    return module["create"]  # type: ignore[no-any-return]


PEERS: list[Wrap] = [
    closes_over_tracer,
    names_no_original,
    is_an_object,
    is_partial,
    names_a_global,
]


@pytest.mark.parametrize("relation", PIPELINES)
@pytest.mark.parametrize("wrap", PEERS)
async def test_a_wrapper_reports_where_its_tracer_does(
    loopback: Loopback, flavour: Flavour, wrap: Wrap, relation: str
) -> None:
    bench = Bench(relation)
    client = wrap_openai(flavour.client(loopback.base_url), **bench.arguments)
    completions: Any = client.chat.completions
    completions.create = wrap(bench, completions.create)
    await ask(loopback, flavour, client)
    ours = bench.named("chat gpt-4o")
    assert (INPUT not in ours) is PIPELINES[relation]
    assert (TOKEN_METRIC not in bench.metric_names) is PIPELINES[relation]
    assert ours[ENERGY] > 0


async def test_a_wrapper_whose_spans_are_not_sampled_reports_all_the_same(
    loopback: Loopback, flavour: Flavour
) -> None:
    bench = Bench(sampler=ALWAYS_OFF)
    client = wrap_openai(flavour.client(loopback.base_url), **bench.arguments)
    completions: Any = client.chat.completions
    completions.create = names_no_original(bench, completions.create)
    await ask(loopback, flavour, client)
    assert TOKEN_METRIC not in bench.metric_names


def retries(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def create(*args: Any, **kwargs: Any) -> Any:
        return original(*args, **kwargs)

    return create


@pytest.mark.parametrize("level", ["client", "class"])
async def test_a_wrapper_that_opens_no_spans_reports_nothing(
    loopback: Loopback, flavour: Flavour, level: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench()
    client = wrap_openai(flavour.client(loopback.base_url), **bench.arguments)
    holder: Any = client.chat.completions if level == "client" else type(client.chat.completions)
    monkeypatch.setattr(holder, "create", retries(holder.create))
    await ask(loopback, flavour, client)
    assert bench.named("chat gpt-4o")[INPUT] == 120
    assert TOKEN_METRIC in bench.metric_names


@pytest.mark.parametrize("is_shared", [True, False])
async def test_a_wrapper_of_a_package_that_has_a_processor_in_our_pipeline_reports(
    loopback: Loopback, flavour: Flavour, is_shared: bool
) -> None:
    """As Langfuse and MLflow, whose wrappers find their tracer when they are called."""
    package = ModuleType("acme_observability")

    class Processor(SpanProcessor):
        """Sends spans to the package's own backend."""

    Processor.__module__ = f"{package.__name__}.processor"
    exec(
        "def wrap(original): return lambda *args, **kwargs: original(*args, **kwargs)",
        vars(package),
    )
    bench = Bench()
    if is_shared:
        bench.ours.add_span_processor(Processor())
    client = wrap_openai(flavour.client(loopback.base_url), **bench.arguments)
    completions: Any = client.chat.completions
    completions.create = package.wrap(completions.create)
    await ask(loopback, flavour, client)
    assert (INPUT in bench.named("chat gpt-4o")) is not is_shared


@pytest.mark.parametrize("relation", PIPELINES)
@pytest.mark.parametrize("spans", ["auto", "own", "annotate"])
@pytest.mark.parametrize("theirs", LLM_SPANS.values(), ids=LLM_SPANS.keys())
async def test_an_open_span_of_a_call_reports_where_it_goes(
    loopback: Loopback, flavour: Flavour, theirs: dict[str, Any], spans: str, relation: str
) -> None:
    bench = Bench(relation)
    client = flavour.client(loopback.base_url)
    wrap_openai(client, spans=spans, **bench.arguments)
    with bench.tracer.start_as_current_span("peer", attributes=theirs):
        await ask(loopback, flavour, client)
    names = [span.name for span in bench.exporter.get_finished_spans()]
    if spans == "own":
        assert ENERGY not in bench.named("peer")
    else:
        assert bench.named("peer")[ENERGY] > 0
    # One span with the energy in each pipeline, and the tokens once in each.
    has_own = spans == "own" or (spans == "auto" and not PIPELINES[relation])
    assert ("chat gpt-4o" in names) is has_own
    if has_own:
        ours = bench.named("chat gpt-4o")
        assert ours[ENERGY] > 0
        assert (INPUT in ours) is not PIPELINES[relation]


class AroundTracer:
    """A tracer that passes everything on, with a name of its own for the one inside."""

    def __init__(self, inside: Any) -> None:
        self._acme_inside = inside
        self._acme_self = self

    def start_span(self, *args: Any, **kwargs: Any) -> Any:
        return self._acme_inside.start_span(*args, **kwargs)


class AroundProvider:
    """A provider of such tracers, which has no more than it must."""

    def __init__(self, inside: TracerProvider) -> None:
        self._inside = inside

    def get_tracer(self, *args: Any, **kwargs: Any) -> AroundTracer:
        return AroundTracer(AroundTracer(self._inside.get_tracer(*args, **kwargs)))


@pytest.mark.parametrize("relation", PIPELINES)
async def test_a_tracer_that_is_wrapped_leads_where_the_one_inside_does(
    loopback: Loopback, flavour: Flavour, relation: str
) -> None:
    bench = Bench(relation)
    client = flavour.client(loopback.base_url)
    wrap_openai(client, **bench.arguments | {"tracer_provider": AroundProvider(bench.ours)})
    with bench.tracer.start_as_current_span("peer", attributes=LLM_SPANS["their old form"]):
        await ask(loopback, flavour, client)
    assert bench.named("peer")[ENERGY] > 0
    names = [span.name for span in bench.exporter.get_finished_spans()]
    assert ("chat gpt-4o" in names) is not PIPELINES[relation]


@pytest.mark.parametrize(
    "attributes",
    [{"langfuse.observation.type": "span"}, {"mlflow.spanType": '"AGENT"'}, {"app.user": "x"}],
)
async def test_spans_that_stand_for_no_call_report_none(
    loopback: Loopback, flavour: Flavour, attributes: dict[str, Any]
) -> None:
    bench = Bench()
    client = wrap_openai(flavour.client(loopback.base_url), **bench.arguments)
    with bench.tracer.start_as_current_span("outer", attributes=attributes):
        await ask(loopback, flavour, client)
    assert bench.named("chat gpt-4o")[INPUT] == 120
    assert ENERGY not in bench.named("outer")


async def test_where_we_have_no_provider_theirs_gets_the_energy(
    loopback: Loopback, flavour: Flavour
) -> None:
    bench = Bench("their own")
    client = wrap_openai(flavour.client(loopback.base_url), on_error=keep_error)
    with bench.tracer.start_as_current_span("peer", attributes=LLM_SPANS["Langfuse"]):
        await ask(loopback, flavour, client)
    assert bench.named("peer")[ENERGY] > 0


def test_methods_belong_to_endpoints() -> None:
    assert set(METHODS) <= {endpoint.path for endpoint in ENDPOINTS}


@pytest.mark.parametrize("path", METHODS)
def test_a_wrapper_is_seen_around_the_method_of_each_endpoint(
    loopback: Loopback, path: str
) -> None:
    bench = Bench()
    pipeline = Pipeline(bench.ours.get_tracer("ours"))
    client = wrap_openai(Flavour("sync").client(loopback.base_url), **bench.arguments)
    assert pipeline.reported_by(wrappers_around(client, path)) == UNREPORTED
    resource: Any = client
    *parts, method = METHODS[path].split(".")
    for part in parts:
        resource = getattr(resource, part)
    setattr(resource, method, closes_over_tracer(bench, getattr(resource, method)))
    assert pipeline.reported_by(wrappers_around(client, path)) == Reported(anywhere=True, here=True)
    assert pipeline.reported_by(wrappers_around(client, "/moderations")) == UNREPORTED
    client.close()


def test_an_instrumentation_whose_tracer_is_not_seen_is_known_by_its_package() -> None:
    theirs: dict[str, Any] = {"__name__": "openlit.instrumentation.openai"}
    exec("def wrapper(*args, **kwargs): ...", theirs)
    pipeline = Pipeline(Bench().ours.get_tracer("ours"))
    assert pipeline.reported_by([theirs["wrapper"]]) == Reported(anywhere=True, here=True)


def test_a_subclass_of_the_client_reports_nothing(loopback: Loopback) -> None:
    class HouseClient(openai.OpenAI):
        def request(self, *args: Any, **kwargs: Any) -> Any:
            return super().request(*args, **kwargs)

    bench = Bench()
    pipeline = Pipeline(bench.ours.get_tracer("ours"))
    client = HouseClient(api_key="none", base_url=loopback.base_url)
    wrap_openai(client, **bench.arguments)
    assert pipeline.reported_by(wrappers_around(client, "/chat/completions")) == UNREPORTED
    client.close()


def test_a_span_processor_of_ours_is_no_sign_of_a_shared_pipeline() -> None:
    from energy_tracking import EnergySpanProcessor

    bench = Bench("their own")
    processor = EnergySpanProcessor(**bench.arguments)
    for provider in (bench.ours, bench.theirs):
        provider.add_span_processor(processor)
    assert not Pipeline(bench.ours.get_tracer("ours")).is_shared_with(bench.tracer)
    assert isinstance(bench.tracer.start_span("any"), ReadableSpan)
