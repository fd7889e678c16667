"""What it costs to get from a usage to a record, and to import the library.

    python tests/benchmarks/estimate_cost.py [--times]

No call is made: ``overhead.py`` has those. Where valgrind is installed, instructions are counted
(``callgrind``). Elsewhere, or with ``--times``, the best of many rounds is printed [us].

``usage to estimate`` begins with a usage as a server sends it, with cached and reasoning tokens,
and ends with an estimate by one method; ``usage to outcome`` is what a tracker makes of it, where
the calibrated number stands beside the one of ``reference``; ``usage to record`` ends with the
record of the call. Imports are those of the package alone, and of the doors of a client, each over
what opentelemetry-api and wrapt load; and of the doors with a first client wrapped and its first
call in a session, without a provider, over what the SDK loads and does for a call of its own. What
each keeps in memory is printed as well.

A further row is an entry of what ``make_rows`` returns, or of ``IMPORTS``.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import os
import platform
import subprocess
import sys
import tempfile
import timeit
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from time import process_time
from typing import Any

import callgrind

ROOT = Path(__file__).parents[2]
USAGE = {
    "prompt_tokens": 120,
    "completion_tokens": 300,
    "total_tokens": 420,
    "prompt_tokens_details": {"cached_tokens": 64},
    "completion_tokens_details": {"reasoning_tokens": 128},
}
ASKED, ANSWERED = "gpt-4o", "gpt-4o-2024-08-06"
DOORS = ("wrap_openai", "energy_session")
FIRST_CALL = "import, first call"
IMPORTS: dict[str, tuple[str, ...]] = {
    "import, package": (),
    "import, client": DOORS,
    FIRST_CALL: DOORS,
}
"""Row, and the names that are taken from the package."""
WARM_UP = 50
ROUNDS = 100


def make_rows() -> dict[str, Callable[[], object]]:
    """Name of each row, and what it does once."""
    from energy_tracking.calls.call import Call
    from energy_tracking.calls.record import CallRequest
    from energy_tracking.estimation import Estimation
    from energy_tracking.estimator import estimate_usage
    from energy_tracking.settings import Settings
    from energy_tracking.usage.dialects import read_usage
    from energy_tracking.usage.token_usage import TokenUsage

    def read() -> TokenUsage:
        usage = read_usage(USAGE)
        assert usage is not None
        return usage

    def make_estimating(method: str) -> dict[str, Callable[[], object]]:
        estimation = Estimation(Settings.load({"method": method}, {}))
        match = estimation.match_model(ASKED, ANSWERED)
        assert match is not None
        basis = estimation.current_basis()
        profile = estimation.select_profile(basis, match)
        request = CallRequest(operation="chat", provider="openai", model=ASKED)
        call = Call(request, lambda call: None)
        call.raw_usage, call.response_model, call.ended_at = USAGE, ANSWERED, call.started_at
        return {
            f"usage to estimate, {method}": lambda: estimate_usage(
                read(), profile, basis.gpu, method=method
            ),
            f"usage to outcome, {method}": lambda: estimation.estimate(ASKED, ANSWERED, read()),
            f"usage to record, {method}": lambda: call.record(estimation.estimate_safely),
        }

    rows: dict[str, Callable[[], object]] = {"nothing": lambda: None, "read usage": read}
    for method in ("reference", "roofline"):
        rows |= make_estimating(method)
    return rows


# Instructions, counted by callgrind in a process of their own.


def work(row: str) -> None:
    """In that process: count one row, an import or all of the others."""
    if row in IMPORTS:
        client = _load_what_others_load(row)
        callgrind.count("nothing", 1, lambda: None)
        callgrind.count(row, 1, lambda: load(row, client))
        return
    for name, do in make_rows().items():
        for _ in range(WARM_UP):
            do()
        callgrind.count(name, ROUNDS, do)


def load(row: str, client: Any) -> None:
    """Import the library, take names from it, and make the first call where that is counted too.

    Args:
        row: A key of ``IMPORTS``.
        client: One that has made a call; None where none is made.
    """
    package = importlib.import_module("energy_tracking")
    for name in IMPORTS[row]:
        getattr(package, name)
    if client is not None:
        with package.energy_session("first"):
            _ask(package.wrap_openai(client))


def _load_what_others_load(row: str) -> Any:
    """Load it, and return a client that has made a call, where one is to be tracked."""
    for name in ("opentelemetry.trace", "opentelemetry.metrics", "wrapt"):
        importlib.import_module(name)
    if row != FIRST_CALL:
        return None
    from overhead import make_client

    client = make_client(0)
    _ask(client)
    return client


def _ask(client: Any) -> None:
    from overhead import ask

    ask(client, "chat")


def measure_import(row: str) -> tuple[float, float]:
    """CPU time of an import in a process of its own [us], and what it keeps in memory [byte].

    Args:
        row: A key of ``IMPORTS``.
    """
    with tempfile.TemporaryDirectory() as folder:
        time, kept = (
            subprocess.run(
                [sys.executable, __file__, way, row],
                check=True,
                capture_output=True,
                text=True,
                env=_compile_into(folder),
            ).stdout
            for way in ("--load", "--keep")
        )
    return float(time), float(kept)


def _time_loading(row: str) -> float:
    """In that process: CPU time [us]."""
    client = _load_what_others_load(row)
    start = process_time()
    load(row, client)
    return (process_time() - start) * 1e6


def _trace_loading(row: str) -> float:
    """In that process: memory that is kept [byte]."""
    client = _load_what_others_load(row)
    gc.collect()
    tracemalloc.start()
    load(row, client)
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def _compile_into(folder: str) -> dict[str, str]:
    """An environment in which imports read compiled modules, which are made in this folder."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONPYCACHEPREFIX": folder}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    for row in IMPORTS:
        command = [sys.executable, __file__, "--load", row]
        subprocess.run(command, check=True, capture_output=True, env=environment)
    return environment


def count_instructions(row: str) -> dict[str, float]:
    """Instructions of each row that a process counts [1].

    Args:
        row: An import, or empty for all other rows.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--work", row]
        counts = callgrind.run_counted(command, _compile_into(folder))
    rounds = 1 if row in IMPORTS else ROUNDS
    nothing = counts.pop("nothing")
    return {
        name: (count.instructions - nothing.instructions) / rounds for name, count in counts.items()
    }


def print_instructions() -> None:
    """Count, and print the table [thousand instructions]."""
    print(f"[1,000 instructions], Python {platform.python_version()}")
    for row in ("", *IMPORTS):
        for name, count in sorted(count_instructions(row).items()):
            print(f"{name:32}{count / 1e3:12,.1f}", flush=True)
    print("kept in memory [1,000 byte]")
    for row in IMPORTS:
        print(f"{row:32}{measure_import(row)[1] / 1e3:12,.1f}", flush=True)


# Times, where instructions cannot be counted.


def print_times() -> None:
    """Print the CPU time of each import, and the best of many rounds of each other row [us]."""
    print(f"[us] (kept in memory [1,000 byte]), Python {platform.python_version()}")
    for row in IMPORTS:
        time, kept = measure_import(row)
        print(f"{row:32}{time:12,.1f} ({kept / 1e3:,.1f})", flush=True)
    for row, do in make_rows().items():
        best = min(timeit.repeat(do, number=WARM_UP, repeat=ROUNDS)) / WARM_UP
        print(f"{row:32}{best * 1e6:12,.1f}")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--times", action="store_true", help="times [us]")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    parser.add_argument("--load", help=argparse.SUPPRESS)
    parser.add_argument("--keep", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.load is not None:
        print(_time_loading(arguments.load))
    elif arguments.keep is not None:
        print(_trace_loading(arguments.keep))
    elif arguments.work is not None:
        work(arguments.work)
    elif arguments.times or not callgrind.is_installed():
        print_times()
    else:
        print_instructions()


if __name__ == "__main__":
    main()
