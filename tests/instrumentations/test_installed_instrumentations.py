"""Other libraries' instrumentations, installed for real, with energy on their spans.

Each runs where it is installed; they do not all fit into one environment.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import openai
import pytest
from openai._base_client import BaseClient
from openai._resource import AsyncAPIResource, SyncAPIResource
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from energy_tracking import (
    EnergyBudgetExceeded,
    Session,
    TokenUsage,
    Tracker,
    instrument_openai,
    uninstrument_openai,
    unwrap_openai,
    wrap_openai,
)
from energy_tracking.otel.span_processor import EnergyCompletionHook, EnergySpanProcessor
from energy_tracking.telemetry.metrics import ENERGY_METRIC, TOKEN_METRIC
from energy_tracking.telemetry.names import SCOPE
from energy_tracking.usage.span_dialects import COUNTS
from loopback import (
    CHAT_USAGE,
    DONE,
    RESPONSE_USAGE,
    Flavour,
    Loopback,
    chat_chunks,
    chat_completion,
    json_reply,
    response_events,
    response_object,
    sse,
)

pytestmark = [
    pytest.mark.instrumentations,
    # Theirs, not ours.
    pytest.mark.filterwarnings("default"),
]

ENERGY = "energy_tracking.total_energy_joules"
CALLS = ("chat", "chat stream", "response", "response stream")
QUESTION = [{"role": "user", "content": "Hi"}]


# The same in all tests: some of them keep hold of the first they see.
TRACER_PROVIDER = TracerProvider()
EXPORTER = InMemorySpanExporter()
TRACER_PROVIDER.add_span_processor(SimpleSpanProcessor(EXPORTER))


@dataclass
class Bench:
    """Providers, and what they received."""

    reader: InMemoryMetricReader = field(default_factory=InMemoryMetricReader)
    errors: list[tuple[str, Exception]] = field(default_factory=list)
    processor: EnergySpanProcessor = field(default_factory=EnergySpanProcessor)
    enriches: bool = False

    def __post_init__(self) -> None:
        EXPORTER.clear()
        self.meter_provider = MeterProvider([self.reader])

    def enrich(self, **settings: Any) -> None:
        """Add a processor of ours, for this test."""
        self.enriches = True
        self.processor = EnergySpanProcessor(**self.arguments, **settings)
        TRACER_PROVIDER.add_span_processor(self.processor)

    @property
    def arguments(self) -> dict[str, Any]:
        return {
            "tracer_provider": TRACER_PROVIDER,
            "meter_provider": self.meter_provider,
            "on_error": lambda where, error: self.errors.append((where, error)),
        }

    @property
    def spans(self) -> list[ReadableSpan]:
        """The GenAI spans, ended."""
        return [span for span in EXPORTER.get_finished_spans() if span.attributes]

    @property
    def energies(self) -> list[Any]:
        attributes = [span.attributes or {} for span in self.spans]
        return [each[ENERGY] for each in attributes if ENERGY in each]

    def metric_sum(self, name: str) -> float:
        data = self.reader.get_metrics_data()
        points: list[Any] = [
            point
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            if scope.scope.name == SCOPE
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]
        return float(sum(point.value if hasattr(point, "value") else point.sum for point in points))


def _instrumentor(module: str) -> Callable[[Bench, ExitStack], None]:
    def start(bench: Bench, stack: ExitStack) -> None:
        instrumentor = importlib.import_module(module).OpenAIInstrumentor()
        instrumentor.instrument(tracer_provider=TRACER_PROVIDER, skip_dep_check=True)
        stack.callback(_stop, instrumentor)

    return start


def _stop(instrumentor: Any) -> None:
    with suppress(Exception):  # not all of them can
        instrumentor.uninstrument()
    instrumentor._is_instrumented_by_opentelemetry = False


def _openlit(bench: Bench, stack: ExitStack) -> None:
    instrumentor = importlib.import_module("openlit.instrumentation.openai").OpenAIInstrumentor()
    instrumentor.instrument(
        skip_dep_check=True,
        tracer=TRACER_PROVIDER.get_tracer("openlit.otel.tracing"),
        application_name="tests",
        environment="tests",
        pricing_info={},
        trace_content=False,
        metrics_dict={},
        disable_metrics=True,
    )
    stack.callback(_stop, instrumentor)


def _logfire(bench: Bench, stack: ExitStack) -> None:
    logfire = importlib.import_module("logfire")
    local = logfire.configure(
        local=True,
        send_to_logfire=False,
        console=False,
        additional_span_processors=[
            SimpleSpanProcessor(EXPORTER),
            *([bench.processor] if bench.enriches else []),
        ],
    )
    stack.enter_context(local.instrument_openai())


@dataclass(frozen=True)
class Peer:
    """Another instrumentation.

    Attributes:
        module: What has to be installed.
        start: Starts it.
        calls: The calls it has spans with tokens for.
        claims: The calls it has spans for, where these are more.
        cached: Whether it reports cached tokens.
    """

    module: str
    start: Callable[[Bench, ExitStack], None]
    calls: tuple[str, ...] = CALLS
    claims: tuple[str, ...] = ()
    cached: bool = True


PEERS = {
    "openllmetry": Peer(
        "opentelemetry.instrumentation.openai",
        _instrumentor("opentelemetry.instrumentation.openai"),
    ),
    "otel genai": Peer(
        "opentelemetry.instrumentation.genai.openai",
        _instrumentor("opentelemetry.instrumentation.genai.openai"),
    ),
    "otel v2": Peer(
        "opentelemetry.instrumentation.openai_v2",
        _instrumentor("opentelemetry.instrumentation.openai_v2"),
        calls=("chat", "chat stream"),
        cached=False,
    ),
    "openinference": Peer(
        "openinference.instrumentation.openai",
        _instrumentor("openinference.instrumentation.openai"),
    ),
    "logfire": Peer("logfire", _logfire),
    # It loads a tokeniser from the network to count those of streams.
    "openlit": Peer(
        "openlit.instrumentation.openai",
        _openlit,
        calls=("chat",),
        claims=("chat", "chat stream"),
        cached=False,
    ),
}


@pytest.fixture(params=PEERS)
def peer(request: pytest.FixtureRequest) -> Peer:
    peer = PEERS[request.param]
    try:
        importlib.import_module(peer.module)
    except ImportError as error:
        pytest.skip(f"{request.param} is not installed: {error}")
    return peer


def _sdk_classes() -> set[type]:
    for client in (openai.OpenAI(api_key="none"), openai.AsyncOpenAI(api_key="none")):
        # Loaded at first use.
        assert client.chat.completions
        assert client.responses
        assert client.embeddings
        assert client.images
    bases = (BaseClient, SyncAPIResource, AsyncAPIResource)
    return {
        value
        for name, module in list(sys.modules.items())
        if name.startswith(("openai._client", "openai._base_client", "openai.resources"))
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, bases)
    }


@pytest.fixture
def bench() -> Iterator[Bench]:
    # Not all of them can take back what they did to the SDK.
    untouched = {owner: dict(vars(owner)) for owner in _sdk_classes()}
    bench = Bench()
    yield bench
    uninstrument_openai()
    bench.processor.shutdown()
    for owner, methods in untouched.items():
        for name in set(vars(owner)) - set(methods):
            delattr(owner, name)
        for name, method in methods.items():
            if vars(owner)[name] is not method:
                setattr(owner, name, method)
    assert bench.errors == []


_ids = count(1)


async def ask(flavour: Flavour, loopback: Loopback, client: Any, call: str) -> int:
    """Make one call, answered under an id of its own; returns its output tokens."""
    number = next(_ids)
    output = 80 + number
    chat_usage = CHAT_USAGE | {"completion_tokens": output, "total_tokens": 120 + output}
    usage = RESPONSE_USAGE | {"output_tokens": output, "total_tokens": 120 + output}
    chat, response = f"chatcmpl-{number}", f"resp_{number}"
    answers = {
        "chat": json_reply(chat_completion(id=chat, usage=chat_usage)),
        "chat stream": sse(*chat_chunks(id=chat, usage=chat_usage), DONE),
        "response": json_reply(response_object(id=response, usage=usage)),
        "response stream": sse(*response_events(id=response, usage=usage)),
    }
    loopback.serve(answers[call])
    stream = {"stream": True} if "stream" in call else {}
    if call.startswith("chat"):
        if stream:
            stream["stream_options"] = {"include_usage": True}  # type: ignore[assignment]
        function, question = client.chat.completions.create, {"messages": QUESTION}
    else:
        function, question = client.responses.create, {"input": "Hi"}  # type: ignore[dict-item]
    result = await flavour.call(function, model="gpt-4o", **question, **stream)
    # Some streams of theirs look sync and async at once.
    if stream and flavour.is_async:
        async for _ in result:
            pass
    elif stream:
        for _ in result:
            pass
    return output


def joules(output_tokens: int, cached: bool = True) -> float:
    """The energy of such an answer [J]."""
    usage = TokenUsage(
        input_tokens=120, cached_input_tokens=64 if cached else 0, output_tokens=output_tokens
    )
    estimate = Tracker().estimation.estimate("gpt-4o", None, usage).estimate
    assert estimate is not None
    return estimate.total_energy_joules


async def test_their_spans_get_the_energy_once(
    peer: Peer, bench: Bench, loopback: Loopback, flavour: Flavour
) -> None:
    with ExitStack() as stack, Session() as session:
        bench.enrich()
        peer.start(bench, stack)
        client = flavour.client(loopback.base_url)
        outputs = [await ask(flavour, loopback, client, call) for call in peer.calls]
    assert bench.energies == pytest.approx([joules(output, peer.cached) for output in outputs])
    assert session.totals.calls == len(peer.calls)
    assert session.total_energy_joules == pytest.approx(sum(bench.energies), abs=1e-7)
    assert bench.metric_sum(ENERGY_METRIC) == pytest.approx(sum(bench.energies))
    # Theirs to report.
    assert bench.metric_sum(TOKEN_METRIC) == 0


@pytest.mark.parametrize("spans", ["auto", "own", "annotate", "off"])
@pytest.mark.parametrize("order", ["ours first", "theirs first", "wrapped"])
async def test_beside_a_tracked_client_every_call_is_counted_once(
    peer: Peer, bench: Bench, loopback: Loopback, flavour: Flavour, order: str, spans: str
) -> None:
    ours: dict[str, Any] = bench.arguments | {"spans": spans}
    with ExitStack() as stack, Session() as session:
        bench.enrich(spans=spans)
        if order == "ours first":
            instrument_openai(**ours)
        peer.start(bench, stack)
        if order == "theirs first":
            instrument_openai(**ours)
        client = flavour.client(loopback.base_url)
        if order == "wrapped":
            wrap_openai(client, **ours)
        outputs = []
        for call in CALLS:
            before = session.totals.calls, len(bench.energies), len(bench.spans)
            outputs.append(await ask(flavour, loopback, client, call))
            assert session.totals.calls == before[0] + 1, call
            if spans in ("auto", "own"):
                assert len(bench.energies) == before[1] + 1, call
            with_tokens = [
                span
                for span in bench.spans[before[2] :]
                if set(COUNTS) & set(span.attributes or {})
            ]
            scopes = {span.instrumentation_scope.name for span in with_tokens}  # type: ignore[union-attr]
            # Our own span has the tokens where nobody else reports them.
            assert scopes != {SCOPE} if call in peer.claims + peer.calls else scopes <= {SCOPE}, (
                call
            )
            assert len(scopes) <= 1, call
            assert len(with_tokens) <= 1, call
    expected = sum(map(joules, outputs))
    assert session.total_energy_joules == pytest.approx(expected, abs=1e-7)
    assert bench.metric_sum(ENERGY_METRIC) == pytest.approx(expected)
    # Where they report the tokens, ours do not.
    reported = [
        output
        for call, output in zip(CALLS, outputs, strict=True)
        if call not in peer.claims + peer.calls
    ]
    assert bench.metric_sum(TOKEN_METRIC) == sum(120 + output for output in reported)


@pytest.mark.parametrize("names", [("openllmetry", "openinference"), ("logfire", "openllmetry")])
@pytest.mark.parametrize("tracked", [False, True])
async def test_of_two_instrumentations_one_span_gets_the_energy(
    bench: Bench, loopback: Loopback, flavour: Flavour, names: tuple[str, str], tracked: bool
) -> None:
    peers = [PEERS[name] for name in names]
    for peer in peers:
        pytest.importorskip(peer.module, reason=f"{peer.module} is not installed")
    with ExitStack() as stack, Session() as session:
        bench.enrich()
        for peer in peers:
            peer.start(bench, stack)
        if tracked:
            instrument_openai(**bench.arguments)
        client = flavour.client(loopback.base_url)
        outputs = []
        for call in CALLS:
            # A chat stream of OpenLLMetry does not take an async one of Logfire's.
            if names[0] == "logfire" and call == "chat stream":
                continue
            outputs.append(await ask(flavour, loopback, client, call))
    assert session.totals.calls == len(outputs)
    assert bench.energies == pytest.approx([joules(output) for output in outputs])


async def test_a_completion_hook_puts_the_energy_on_the_span(
    bench: Bench, loopback: Loopback, flavour: Flavour, monkeypatch: pytest.MonkeyPatch
) -> None:
    genai = pytest.importorskip(
        "opentelemetry.instrumentation.genai.openai", reason="needs the GenAI instrumentation"
    )
    hook = EnergyCompletionHook(**bench.arguments)
    instrumentor = genai.OpenAIInstrumentor()
    with Session() as session:
        instrumentor.instrument(tracer_provider=TRACER_PROVIDER, completion_hook=hook)
        try:
            client = flavour.client(loopback.base_url)
            outputs = [await ask(flavour, loopback, client, call) for call in CALLS]
        finally:
            instrumentor.uninstrument()
    assert bench.energies == pytest.approx([joules(output) for output in outputs])
    assert session.totals.calls == 4


async def test_another_providers_spans_get_energy_too(
    bench: Bench, loopback: Loopback, flavour: Flavour
) -> None:
    anthropic = pytest.importorskip("anthropic", reason="anthropic is not installed")
    theirs = pytest.importorskip(
        "opentelemetry.instrumentation.anthropic",
        reason="the OpenLLMetry instrumentation of anthropic is not installed",
    )
    usage = {
        "input_tokens": 56,
        "cache_read_input_tokens": 64,
        "cache_creation_input_tokens": 0,
        "output_tokens": 4321,
    }
    message = {
        "id": f"msg_{next(_ids)}",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-5-20250929",
        "content": [{"type": "text", "text": "Hello!"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": usage,
    }
    loopback.serve(json_reply(message))
    bench.enrich(model_mapping={"claude-sonnet-4-5-20250929": "gpt-4o"})
    instrumentor = theirs.AnthropicInstrumentor()
    instrumentor.instrument(tracer_provider=TRACER_PROVIDER, skip_dep_check=True)
    client_class = anthropic.AsyncAnthropic if flavour.is_async else anthropic.Anthropic
    client = client_class(api_key="none", base_url=loopback.base_url.removesuffix("/v1"))
    with Session() as session:
        await flavour.call(
            client.messages.create,
            model="claude-sonnet-4-5",
            max_tokens=10,
            messages=QUESTION,
        )
    instrumentor.uninstrument()
    await flavour.call(client.close)
    assert (session.totals.calls, session.totals.input_tokens) == (1, 120)
    assert session.totals.cached_input_tokens == 64
    assert bench.energies == pytest.approx([joules(4321)])


# On and off, in any order ---------------------------------------------------------------

ORDERS = [
    "theirs, ours",
    "ours, theirs",
    "theirs, ours, theirs off",
    "ours, theirs, theirs off",
    "theirs, theirs off, ours",
    "theirs, ours, ours off, ours",
    "ours, theirs, ours off, ours",
    "theirs, ours, ours off, theirs off, ours",
    "ours, theirs, ours off, theirs off, ours",
    "ours, theirs, theirs off, ours off, ours",
    "wrapped, theirs",
    "theirs, wrapped",
    "theirs, wrapped, theirs off",
    "wrapped, theirs, ours, theirs off",
]


class Switches:
    """Turns ours and theirs on and off, for a client that was made before."""

    def __init__(self, peer: Peer, bench: Bench, client: Any) -> None:
        self._theirs = ExitStack()
        self._peer = peer
        self._bench = bench
        self._client = client

    def turn(self, steps: str) -> None:
        for step in steps.split(", "):
            if step == "theirs":
                self._peer.start(self._bench, self._theirs)
            elif step == "ours":
                instrument_openai(**self._bench.arguments)
            elif step == "wrapped":
                wrap_openai(self._client, **self._bench.arguments)
            elif step == "ours off":
                uninstrument_openai()
            else:
                self._theirs.close()

    def close(self) -> None:
        self._theirs.close()


@pytest.mark.parametrize("processor", [True, False], ids=["with processor", "without"])
@pytest.mark.parametrize("order", ORDERS)
async def test_every_call_is_counted_once_and_held_to_its_budget_in_any_order(
    peer: Peer, bench: Bench, loopback: Loopback, flavour: Flavour, order: str, processor: bool
) -> None:
    base: Any = openai.AsyncOpenAI if flavour.is_async else openai.OpenAI

    class Mine(base):  # type: ignore[misc]
        def request(self, *args: Any, **kwargs: Any) -> Any:
            return super().request(*args, **kwargs)

    client = Mine(api_key="none", base_url=loopback.base_url)
    flavour._clients.append(client)
    clients = [client]
    if processor:
        bench.enrich()
    switches = Switches(peer, bench, client)
    try:
        switches.turn(order)
        if "wrapped" not in order:
            clients.append(flavour.client(loopback.base_url))
        # What they have left in place after their end may still open spans of theirs.
        calls = ("chat",) if "off" in order else ("chat", "chat stream")
        for one in clients:
            for call in calls:
                with Session() as session:
                    await ask(flavour, loopback, one, call)
                assert session.totals.calls == 1, call
            sent = len(loopback.requests)
            with Session(budget_wh=0, on_exceed="raise"), pytest.raises(EnergyBudgetExceeded):
                await ask(flavour, loopback, one, "chat")
            assert len(loopback.requests) == sent
        assert bench.metric_sum(ENERGY_METRIC) > 0
        uninstrument_openai()
        unwrap_openai(client)
        if not processor:
            with Session() as session:
                await ask(flavour, loopback, clients[0], "chat")
            assert session.totals.calls == 0
    finally:
        switches.close()


async def test_an_instrumentation_that_comes_later_sees_a_wrapped_client(
    peer: Peer, bench: Bench, loopback: Loopback, flavour: Flavour
) -> None:
    client = wrap_openai(flavour.client(loopback.base_url), **bench.arguments)
    with ExitStack() as stack, Session() as session:
        peer.start(bench, stack)
        await ask(flavour, loopback, client, "chat")
    scopes = {span.instrumentation_scope.name for span in bench.spans if span.instrumentation_scope}
    assert scopes - {SCOPE}
    assert session.totals.calls == 1
