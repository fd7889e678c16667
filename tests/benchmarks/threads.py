"""What tracking costs per call in many threads, beside one.

    python tests/benchmarks/threads.py [--threads 8] [--calls 400]

Calls go through the real SDK over a transport that answers in the process. Each thread has a client
of its own, all of them one tracer provider, one meter provider and one session. One and many
threads, with tracking and without, take turns, and the CPU time per call is compared, so that what
else the machine does falls on all of them alike. Where threads waited for one another's locks, or
undid one another's caches, a call would cost more in many of them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from time import process_time
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from overhead import CHUNKS, ask, make_client

from energy_tracking import Session, wrap_openai

ROUNDS = 15


def measure(clients: list[Any], calls: int, run: Callable[..., object]) -> float:
    """CPU time per call [s], the calls divided between clients with a thread each.

    Args:
        clients: The clients.
        calls: How many calls all of them make together [1].
        run: Runs a function in a thread that counts in the session.
    """

    def work(client: Any) -> None:
        for _ in range(calls // len(clients)):
            ask(client, "chat")

    with ThreadPoolExecutor(len(clients)) as pool:
        start = process_time()
        for done in [pool.submit(run, work, client) for client in clients]:
            done.result()
        return (process_time() - start) / calls


def main() -> None:
    """Print the time per call, and what tracking adds to it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--calls", type=int, default=400, help="per round")
    arguments = parser.parse_args()
    tracers, meters = TracerProvider(), MeterProvider([InMemoryMetricReader()])
    bare = [make_client(CHUNKS[0]) for _ in range(arguments.threads)]
    tracked = [
        wrap_openai(make_client(CHUNKS[0]), tracer_provider=tracers, meter_provider=meters)
        for _ in bare
    ]
    added: dict[int, list[float]] = {1: [], arguments.threads: []}
    with Session() as session:
        for _ in range(ROUNDS):
            for threads, differences in added.items():
                alone = measure(bare[:threads], arguments.calls, session.run)
                differences.append(measure(tracked[:threads], arguments.calls, session.run) - alone)
    per_round = sum(arguments.calls // threads * threads for threads in added)
    assert session.totals.calls == ROUNDS * per_round
    for threads, differences in added.items():
        print(f"{threads:3} threads: {median(differences) * 1e6:8.1f} us added to a call")


if __name__ == "__main__":
    main()
