"""What a million calls leave behind.

    python tests/benchmarks/memory.py [--records 1000000] [--calls 20000]

Records are given to a tracker directly; calls, plain and streamed, go through the real SDK
over a transport that answers in the process. Both with spans and metrics of the
OpenTelemetry SDK, which keeps none of the spans. Printed is the memory before and after
each, once the first tenth has warmed every cache up.
"""

from __future__ import annotations

import argparse
import gc
import tracemalloc
from collections.abc import Callable
from pathlib import Path

from estimate_cost import USAGE
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from overhead import ask, make_client

from energy_tracking import Session, Tracker, wrap_openai
from energy_tracking.calls.counted import RESPONSES_REMEMBERED


def resident_bytes() -> int:
    """Memory of this process that is in RAM [bytes]; 0 where the system does not say."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmRSS")), 0)


def growth(
    name: str, work: Callable[[int], None], times: int, record: Callable[[int], None]
) -> None:
    """Print how memory grows while something is done so many times.

    Args:
        name: What is done.
        work: Does it once.
        times: How often.
        record: Fills up what is remembered of the last calls.
    """
    for number in range(times // 10):
        work(number)
    gc.collect()
    before = resident_bytes()
    for number in range(times):
        work(number)
    gc.collect()
    after = resident_bytes()
    # Traced memory is exact and slow: little of the work is enough to see what each leaves.
    tracemalloc.start()
    traced = max(1, min(times // 10, 10_000))
    for number in range(RESPONSES_REMEMBERED):
        record(number)
    for number in range(traced // 10):
        work(number)
    gc.collect()
    start = tracemalloc.get_traced_memory()[0]
    for number in range(traced):
        work(number)
    gc.collect()
    left = tracemalloc.get_traced_memory()[0] - start
    tracemalloc.stop()
    print(
        f"{name:22} {times:>9,}   RSS {before / 2**20:7.1f} -> {after / 2**20:7.1f} MiB"
        f"   left by each of {traced:,}: {left / traced:.2f} bytes"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--calls", type=int, default=20_000)
    arguments = parser.parse_args()
    telemetry = {
        "tracer_provider": TracerProvider(),
        "meter_provider": MeterProvider([InMemoryMetricReader()]),
    }
    tracker = Tracker(**telemetry)  # type: ignore[arg-type]
    sdk = wrap_openai(make_client(200), **telemetry)  # type: ignore[arg-type]

    def record(number: int) -> None:
        tracker.record(model="gpt-4o", usage=USAGE, response_id=f"chatcmpl-{number}")

    with Session("all") as session:
        growth("records", record, arguments.records, record)
        growth("plain calls", lambda number: ask(sdk, "chat"), arguments.calls, record)
        growth(
            "200-chunk streams",
            lambda number: ask(sdk, "stream"),
            arguments.calls // 100,
            record,
        )
    print(f"{session.totals.calls:,} calls counted")


if __name__ == "__main__":
    main()
