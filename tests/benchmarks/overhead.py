"""What tracking costs per call, beside the SDK alone, two floors, and other instrumentations.

    python tests/benchmarks/overhead.py [--stacks "ours;same floor"] [--peers FOLDER] [--json FILE]

Calls go through the real SDK over a transport that answers in the process, so the differences
are those of Python code alone. Where valgrind is installed, instructions are counted
(``callgrind``), one process per row. Elsewhere, or with ``--times``, the rows take turns in one
process and ratios of times are printed, which a noisy machine moves by some per cent.

What a chunk costs is counted where the SDK makes no models of the chunks, of which each takes a
hundred times as long as its tracking: how that falls into memory and the interpreter's caches would
move the difference by more than a tenth. Others than ours may work on the models: of their rows, it
is the difference of whole streams.

The floors are what anybody pays who puts energy on a span by hand: ``floor`` is one span with 8
attributes and 3 metric calls, ``same floor`` one span with the attributes and metric calls that
tracking makes of the same call, ``same floor, essential`` those of ``detail="essential"``. Four
sums of energies tracking adds up itself, and they are read when metrics are collected: ``same
floor, sums by hand`` has a call of a counter for each of them, as they cost elsewhere.
``--peers`` makes an environment for each other instrumentation in a folder, where it is not there
yet.

A further row is a line of ``STACKS`` (or of ``PEERS``, for one that needs packages of its own).
"""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import os
import platform
import subprocess
import sys
import venv
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from importlib.metadata import version
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple

import callgrind
import openai
from estimate_cost import USAGE
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

ROOT = Path(__file__).parents[2]
REQUEST: dict[str, Any] = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}]}
ANSWER: dict[str, Any] = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-4o-2024-08-06",
}
CHUNKS = (50, 200, 800)
ROUNDS = {
    "chat": 32,
    "stream 200": 2,
    **{f"{kind} {chunks}": 1 for kind in ("events", "stream") for chunks in (50, 800)},
}
"""What is counted in each process, and how often [1]. A session adds up 32 calls at once: that is
counted with the chats, and not with the few streams. Events are a stream without models."""
COLUMNS = {
    "chat": ("chat", 9),
    "stream 200": ("stream", 10),
    "per chunk": ("chunk", 8),
    "allocated": ("pieces", 7),
}
"""What is printed -> its heading and width, with the names of rows no more than 80 characters."""
KINDS = ("chat", "stream", "events")
WARM_UP = 6

Ask = Callable[[Any, str], None]
"""Makes one call with a client: a chat, a stream, or a stream of events that stay as they came."""


class Providers(NamedTuple):
    """Where a row's telemetry goes; None: nowhere."""

    tracer: TracerProvider | None
    meter: MeterProvider | None

    @property
    def arguments(self) -> dict[str, Any]:
        """Both, as arguments of our own and of most others' doors."""
        named = {"tracer_provider": self.tracer, "meter_provider": self.meter}
        return {name: provider for name, provider in named.items() if provider is not None}


TELEMETRY: dict[str, Callable[[], Providers]] = {
    "nowhere": lambda: Providers(None, None),
    "traces": lambda: Providers(TracerProvider(), None),
    "traces and metrics": lambda: Providers(
        TracerProvider(), MeterProvider([InMemoryMetricReader()])
    ),
}


# The SDK, answered in the process.


def _plain_body() -> bytes:
    message = {"role": "assistant", "content": "word " * 20}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return json.dumps({**ANSWER, "choices": [choice], "usage": USAGE}).encode()


def _stream_body(chunks: int) -> bytes:
    head = {**ANSWER, "object": "chat.completion.chunk", "usage": None}
    deltas = [{"index": 0, "delta": {"content": "word "}, "finish_reason": None}] * chunks
    events = [{**head, "choices": [delta]} for delta in deltas]
    events.append({**head, "choices": [], "usage": USAGE})
    lines = [b"data: %b\n\n" % json.dumps(event).encode() for event in events]
    return b"".join(lines) + b"data: [DONE]\n\n"


def make_client(chunks: int) -> openai.OpenAI:
    """A client whose calls are answered at once.

    Args:
        chunks: How many a stream has [1].
    """
    httpx = importlib.import_module("httpx2" if openai.VERSION >= "3" else "httpx")
    plain, events = _plain_body(), _stream_body(chunks).splitlines(keepends=True)

    class Pieces(httpx.SyncByteStream):  # type: ignore[misc, name-defined]
        """As from a network, piece by piece."""

        def __iter__(self) -> Iterator[bytes]:
            return iter(events)

    def answer(request: Any) -> Any:
        is_stream = b'"stream":true' in request.content.replace(b" ", b"")
        kind = "text/event-stream" if is_stream else "application/json"
        body = {"stream": Pieces()} if is_stream else {"content": plain}
        return httpx.Response(200, headers={"content-type": kind}, **body)

    transport = httpx.MockTransport(answer)
    return openai.OpenAI(api_key="none", http_client=httpx.Client(transport=transport))


def ask(client: Any, kind: str) -> None:
    """One call, read to its end."""
    if kind == "chat":
        client.chat.completions.create(**REQUEST)
        return
    request = {**REQUEST, "stream": True, "stream_options": {"include_usage": True}}
    if kind == "stream":
        stream = client.chat.completions.create(**request)
    else:
        stream = client.post(
            "/chat/completions",
            body=request,
            cast_to=object,
            stream=True,
            stream_cls=openai.Stream[object],
        )
    for _ in stream:
        pass


# The rows: each makes ready what its calls go through.


def _bare(providers: Providers) -> Ask:
    return ask


def _wrapped(**settings: Any) -> Callable[[Providers], Ask]:
    def set_up(providers: Providers) -> Ask:
        from energy_tracking import wrap_openai

        wrapped: set[int] = set()

        def ask_wrapped(client: Any, kind: str) -> None:
            if id(client) not in wrapped:
                wrap_openai(client, **providers.arguments, **settings)
                wrapped.add(id(client))
            ask(client, kind)

        return ask_wrapped

    return set_up


def _instrumented(providers: Providers) -> Ask:
    from energy_tracking import instrument_openai

    instrument_openai(**providers.arguments)
    return ask


def _uninstrumented(providers: Providers) -> Ask:
    from energy_tracking import instrument_openai, uninstrument_openai

    instrument_openai(**providers.arguments)
    uninstrument_openai()
    return ask


def _in_a_span(providers: Providers, ask_inside: Ask) -> Ask:
    """Calls inside a span that another instrumentation might have made."""
    tracer = (providers.tracer or TracerProvider()).get_tracer("other")
    attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o",
    }

    def ask_in_a_span(client: Any, kind: str) -> None:
        with tracer.start_as_current_span(
            "chat gpt-4o", kind=SpanKind.CLIENT, attributes=attributes
        ) as span:
            ask_inside(client, kind)
            span.set_attribute("gen_ai.usage.input_tokens", 120)
            span.set_attribute("gen_ai.usage.output_tokens", 300)

    return ask_in_a_span


def _other_span(providers: Providers) -> Ask:
    return _in_a_span(providers, ask)


def _annotating(providers: Providers) -> Ask:
    return _in_a_span(providers, _wrapped()(providers))


def _span_processor(providers: Providers) -> Ask:
    from energy_tracking import EnergySpanProcessor

    if providers.tracer is not None:
        providers.tracer.add_span_processor(EnergySpanProcessor(meter_provider=providers.meter))
    return _in_a_span(providers, ask)


class _Made(NamedTuple):
    """What tracking makes of a call: attributes of its span, and calls of metrics."""

    attributes: dict[str, Any]
    metrics: list[tuple[str, bool, float, dict[str, Any]]]


def _made_by_tracking(kind: str, settings: dict[str, Any], *, sums: bool) -> _Made:
    from energy_tracking.telemetry.metrics import SUMMED

    reader, exporter = InMemoryMetricReader(), InMemorySpanExporter()
    tracers = TracerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    tracked = _wrapped(**settings)(Providers(tracers, MeterProvider([reader])))
    tracked(make_client(CHUNKS[0]), kind)
    (span,) = exporter.get_finished_spans()
    data = reader.get_metrics_data()
    # These are read when metrics are collected: no call of a metric is made for them.
    left_out = set() if sums else {name for name, _ in SUMMED}
    metrics = []
    for resource in data.resource_metrics if data is not None else ():
        for metric in (each for scope in resource.scope_metrics for each in scope.metrics):
            if metric.name in left_out:
                continue
            for point in metric.data.data_points:
                value = getattr(point, "sum", getattr(point, "value", 0.0))
                labels = dict(point.attributes or {})
                metrics.append((metric.name, hasattr(point, "sum"), value, labels))
    return _Made(dict(span.attributes or {}), metrics)


def _floor_of(
    attributes: int | None, metrics: int | None, *, sums: bool = False, **settings: Any
) -> Callable[[Providers], Ask]:
    """One span by hand, with some of what tracking makes of a call.

    Args:
        attributes: How many attributes [1]; None: all.
        metrics: How many calls of metrics [1]; None: all.
        sums: Whether what tracking adds up itself has calls of metrics, too.
        settings: Those of the tracking.
    """

    def set_up(providers: Providers) -> Ask:
        made = {kind: _made_by_tracking(kind, settings, sums=sums) for kind in KINDS}
        named = {
            kind: (dict(list(each.attributes.items())[:attributes]), each.metrics[:metrics])
            for kind, each in made.items()
        }
        tracer = None if providers.tracer is None else providers.tracer.get_tracer("floor")
        meter = None if providers.meter is None else providers.meter.get_meter("floor")
        instruments: dict[str, Any] = {}
        if meter is not None:
            for name, is_histogram, *_ in [metric for _, all_ in named.values() for metric in all_]:
                instruments[name] = (
                    meter.create_histogram(name).record
                    if is_histogram
                    else meter.create_counter(name).add
                )

        def ask_and_note(client: Any, kind: str) -> None:
            facts, records = named[kind]
            if tracer is None:
                ask(client, kind)
                return
            with tracer.start_as_current_span("chat gpt-4o", kind=SpanKind.CLIENT) as span:
                ask(client, kind)
                span.set_attributes(facts)
                if instruments:
                    for name, _, value, labels in records:
                        instruments[name](value, labels)

        return ask_and_note

    return set_up


def _peer(module: str, **more: Any) -> Callable[[Providers], Ask]:
    def set_up(providers: Providers) -> Ask:
        instrumentor = importlib.import_module(module).OpenAIInstrumentor()
        instrumentor.instrument(**providers.arguments, **more)
        return ask

    return set_up


def _ecologits(providers: Providers) -> Ask:
    importlib.import_module("ecologits").EcoLogits.init(providers=["openai"])
    return ask


STACKS: dict[str, Callable[[Providers], Ask]] = {
    "bare": _bare,
    "floor": _floor_of(8, 3),
    "same floor": _floor_of(None, None),
    "same floor, sums by hand": _floor_of(None, None, sums=True),
    "same floor, essential": _floor_of(None, None, detail="essential"),
    "ours": _wrapped(),
    "ours, essential": _wrapped(detail="essential"),
    "ours, instrumented": _instrumented,
    "ours, uninstrumented": _uninstrumented,
    "ours, disabled": _wrapped(disabled=True),
    "another's span": _other_span,
    "ours, annotating it": _annotating,
    "ours, span processor": _span_processor,
}
PEERS: dict[str, tuple[str, Callable[[Providers], Ask]]] = {
    "OpenTelemetry openai-v2": (
        # It imports httpx, which openai 3 does without, and takes no later utilities than these.
        "opentelemetry-instrumentation-openai-v2 httpx opentelemetry-util-genai==0.4b0",
        _peer("opentelemetry.instrumentation.openai_v2"),
    ),
    "OpenTelemetry genai-openai": (
        "opentelemetry-instrumentation-genai-openai",
        _peer("opentelemetry.instrumentation.genai.openai"),
    ),
    "OpenInference": (
        "openinference-instrumentation-openai",
        _peer("openinference.instrumentation.openai"),
    ),
    "OpenLLMetry": (
        "opentelemetry-instrumentation-openai",
        _peer("opentelemetry.instrumentation.openai"),
    ),
    "EcoLogits": ("ecologits[openai]", _ecologits),
}
ROWS = STACKS | {name: set_up for name, (_, set_up) in PEERS.items()}


# Instructions, counted by callgrind in a process of their own.


def work(row: str, telemetry: str) -> None:
    """In that process: make the calls, and have the instructions of each kind dumped."""
    ask_row = ROWS[row](TELEMETRY[telemetry]())
    clients = {chunks: make_client(chunks) for chunks in CHUNKS}
    # The SDK makes its resources and models when first asked for.
    for client in clients.values():
        for _ in range(WARM_UP):
            for kind in KINDS:
                ask_row(client, kind)

    # A full collection goes through everything that was imported, in whichever row it falls.
    gc.collect()
    gc.freeze()

    for name, rounds in {"nothing": 0, **rounds_of(row)}.items():
        kind, _, chunks = name.partition(" ")
        client = clients[int(chunks or CHUNKS[0])]
        callgrind.count(name, rounds, partial(ask_row, client, kind))


def rounds_of(row: str) -> dict[str, int]:
    """What is counted of a row, and how often [1]: of ours, no chunk with its model.

    Args:
        row: Name of a row.
    """
    of_chunks = "stream" if row in PEERS else "events"
    return {
        name: rounds
        for name, rounds in ROUNDS.items()
        if name in ("chat", "stream 200") or row == "bare" or name.startswith(of_chunks)
    }


def count_instructions(python: str, row: str, telemetry: str) -> dict[str, callgrind.Counts]:
    """Instructions and allocations per call of each kind [1].

    Args:
        python: The interpreter, in whose environment the row's packages are.
        row: Name of a row.
        telemetry: A key of ``TELEMETRY``.
    """
    command = [python, __file__, "--work", row, telemetry]
    counts = callgrind.run_counted(command, {**os.environ, "PYTHONPATH": str(ROOT / "src")})
    nothing = counts["nothing"]
    return {
        kind: callgrind.Counts(
            *((count - none) / rounds for count, none in zip(counts[kind], nothing, strict=True))
        )
        for kind, rounds in rounds_of(row).items()
    }


def environment_of(peer: str, folder: Path) -> str:
    """The interpreter of a peer's environment, which is made where it is missing.

    Args:
        peer: A key of ``PEERS``.
        folder: Where such environments are.
    """
    home = folder / peer.replace(" ", "-")
    python = home / "bin" / "python"
    if not python.exists():
        venv.create(home, with_pip=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "wrapt", "opentelemetry-sdk"]
        # Not every one takes the version of openai that we have here.
        for sdk in (f"openai=={version('openai')}", "openai"):
            with suppress(subprocess.CalledProcessError):
                subprocess.run([*install, sdk, *PEERS[peer][0].split()], check=True)
                break
    return str(python)


def print_instructions(rows: list[str], peers: Path | None, result: Path | None) -> None:
    """Count, and print the table: what each row adds to the bare SDK.

    Args:
        rows: Names of rows.
        peers: Where the environments of others are; None: without them.
        result: A file for the counts, as JSON.
    """
    print(f"openai {openai.__version__}, ", end="")
    print(f"OpenTelemetry {version('opentelemetry-sdk')}, Python {platform.python_version()}")
    print("added to the SDK alone by a chat, a stream of 200 chunks and a chunk")
    print("[1,000 instructions], and pieces of memory that a chunk allocates [1]")
    heads = "".join(f"{head:>{width}}" for head, width in COLUMNS.values())
    print(f"{'':27}{'telemetry':19}{heads}")
    bare: dict[str, dict[str, callgrind.Counts]] = {}
    found: dict[str, dict[str, dict[str, float]]] = {}
    for row in ["bare", *(each for each in rows if each != "bare")]:
        python = sys.executable
        if row in PEERS:
            assert peers is not None
            python = environment_of(row, peers)
        if python not in bare:
            # Each environment has an SDK, and so a zero, of its own.
            bare[python] = count_instructions(python, "bare", "nowhere")
        for telemetry in ["nowhere"] if row == "bare" else TELEMETRY:
            if telemetry == "nowhere" and "floor" in row:
                continue
            try:
                counts = bare[python]
                if row != "bare":
                    counts = count_instructions(python, row, telemetry)
            except subprocess.CalledProcessError as error:
                print(f"{row:27}{telemetry:19} failed: {error.stderr.decode()[-300:]}")
                continue
            added = _add_up(counts, None if row == "bare" else bare[python])
            found.setdefault(row, {})[telemetry] = added
            cells = "".join(
                f"{added[name] / (1 if name == 'allocated' else 1e3):{width},.1f}"
                for name, (_, width) in COLUMNS.items()
            )
            print(f"{row:27}{'' if row == 'bare' else telemetry:19}{cells}", flush=True)
    if result is not None:
        result.write_text(json.dumps(found, indent=2) + "\n")


def _add_up(
    counts: dict[str, callgrind.Counts], bare: dict[str, callgrind.Counts] | None
) -> dict[str, float]:
    """The instructions of each kind and chunk, and the allocations of a call and a chunk [1].

    Args:
        counts: Those of the row.
        bare: Those of the SDK alone, which are taken off.
    """
    over = {
        kind: callgrind.Counts(
            *(one - (0 if bare is None else bare[kind][at]) for at, one in enumerate(count))
        )
        for kind, count in counts.items()
    }
    first, *_, last = CHUNKS
    of_chunks = "events" if f"events {first}" in over else "stream"
    of_first, of_last = over[f"{of_chunks} {first}"], over[f"{of_chunks} {last}"]
    return {
        **{kind: count.instructions for kind, count in over.items()},
        "per chunk": (of_last.instructions - of_first.instructions) / (last - first),
        "allocated": (of_last.allocations - of_first.allocations) / (last - first),
        "allocated, chat": over["chat"].allocations,
    }


# Times, where instructions cannot be counted.

TAKE_TURNS = ("ours", "ours, essential", "floor", "same floor", "same floor, essential")
"""Rows that leave the SDK as it is for the others in the process."""


def print_times(rows: list[str], calls: int) -> None:
    """Let the rows take turns, and print their times beside the SDK's alone.

    Args:
        rows: Names of rows of ``STACKS``.
        calls: How many calls of each [1].
    """
    variants = {"bare": ask} | {
        f"{row}, {name}": STACKS[row](make())
        for row in rows
        if row in TAKE_TURNS
        for name, make in TELEMETRY.items()
    }
    left_out = [row for row in rows if row not in (*TAKE_TURNS, "bare")]
    if left_out:
        print(f"counted with valgrind alone: {'; '.join(left_out)}")
    clients = {variant: make_client(200) for variant in variants}
    for stream, share in ((False, 1.0), (True, 0.03)):
        rounds = 20
        times: dict[str, list[float]] = {variant: [] for variant in variants}
        for again in range(rounds + 1):
            for variant, ask_row in variants.items():
                count = max(1, round(calls * share / rounds))
                start = perf_counter()
                for _ in range(count):
                    ask_row(clients[variant], "stream" if stream else "chat")
                if again:  # the first round is to warm up
                    times[variant].append((perf_counter() - start) / count)
        print("200-chunk stream" if stream else "plain call")
        for variant, measured in times.items():
            pairs = list(zip(measured, times["bare"], strict=True))
            ratio = median(each / alone for each, alone in pairs)
            added = median(each - alone for each, alone in pairs)
            print(f"  {variant:36} {ratio:6.3f} x   {added * 1e6:+8.1f} us")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--stacks", help=f"separated by semicolons, of: {'; '.join(STACKS)}")
    parser.add_argument("--peers", type=Path, metavar="FOLDER", help="environments of others")
    parser.add_argument("--json", type=Path, metavar="FILE", help="for the counts")
    parser.add_argument("--times", action="store_true", help="ratios of times")
    parser.add_argument("--calls", type=int, default=2000, help="of each row, for times")
    parser.add_argument("--work", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        work(*arguments.work)
        return
    rows = arguments.stacks.split(";") if arguments.stacks else list(STACKS)
    for row in rows:
        if row not in STACKS:
            parser.error(f"--stacks: {row!r} is none of {'; '.join(STACKS)}")
    if arguments.calls < 1:
        parser.error(f"--calls: must be at least 1, got {arguments.calls}")
    if arguments.json and not arguments.json.parent.is_dir():
        parser.error(f"--json: there is no folder {str(arguments.json.parent)!r}")
    if arguments.times or not callgrind.is_installed():
        if arguments.json or arguments.peers:
            parser.error("--json and --peers are for counts: with valgrind, and without --times")
        print_times(rows, arguments.calls)
    else:
        peers = list(PEERS) if arguments.peers else []
        print_instructions([*rows, *peers], arguments.peers, arguments.json)


if __name__ == "__main__":
    main()
