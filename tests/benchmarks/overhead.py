"""What tracking costs per call, side by side with the SDK alone.

    python tests/benchmarks/overhead.py [--calls 2000]

Calls go through the real SDK over a transport that answers in the process, so the
differences are those of Python code alone. Variants take turns, so that a machine that
slows down slows all of them; quote the ratios.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Any

import openai
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider

from energy_tracking import wrap_openai
from loopback import chat_chunks, chat_completion

try:
    import httpx2 as httpx  # the transport of openai 3
except ModuleNotFoundError:
    import httpx  # type: ignore[import-not-found, no-redef]

REQUEST: dict[str, Any] = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}]}
PLAIN = json.dumps(chat_completion()).encode()
STREAM = b"".join(
    b"data: %b\n\n" % json.dumps(chunk).encode() for chunk in chat_chunks(*["word "] * 200)
)


def answer(request: httpx.Request) -> httpx.Response:
    """The transport: a plain answer, or 200 chunks."""
    if json.loads(request.content).get("stream"):
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, content=STREAM)
    return httpx.Response(200, headers={"content-type": "application/json"}, content=PLAIN)


def client() -> openai.OpenAI:
    """A client of that transport."""
    http_client = httpx.Client(transport=httpx.MockTransport(answer))
    return openai.OpenAI(api_key="none", http_client=http_client)


def plain(sdk: openai.OpenAI) -> None:
    """One call."""
    sdk.chat.completions.create(**REQUEST)


def streamed(sdk: openai.OpenAI) -> None:
    """One stream, read to its end."""
    for _ in sdk.chat.completions.create(**REQUEST, stream=True):
        pass


def seconds_per_call(call: Callable[[openai.OpenAI], None], sdk: openai.OpenAI, n: int) -> float:
    """Seconds per call over n calls [s]."""
    start = perf_counter()
    for _ in range(n):
        call(sdk)
    return (perf_counter() - start) / n


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--calls", type=int, default=2000)
    calls = parser.parse_args().calls
    tracers, meters = TracerProvider(), MeterProvider([InMemoryMetricReader()])
    variants = {
        "SDK alone": client(),
        "tracked, no OpenTelemetry SDK": wrap_openai(client()),
        "tracked, spans and metrics": wrap_openai(
            client(), tracer_provider=tracers, meter_provider=meters
        ),
    }
    for name, call, share in (("plain call", plain, 1.0), ("200-chunk stream", streamed, 0.03)):
        times: dict[str, list[float]] = {variant: [] for variant in variants}
        rounds = 20
        for sdk in variants.values():
            seconds_per_call(call, sdk, 20)
        for _ in range(rounds):
            for variant, sdk in variants.items():
                n = max(1, round(calls * share / rounds))
                times[variant].append(seconds_per_call(call, sdk, n))
        alone = times["SDK alone"]
        print(name)
        for variant, measured in times.items():
            ratio = median(m / a for m, a in zip(measured, alone, strict=True))
            added = median(m - a for m, a in zip(measured, alone, strict=True))
            print(f"  {variant:32} {ratio:6.3f} x   {added * 1e6:+8.1f} us")
    tracers.shutdown()
    meters.shutdown()


if __name__ == "__main__":
    main()
