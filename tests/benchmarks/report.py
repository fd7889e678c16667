"""How many rows a second a report reads, estimates and adds up, and in how much memory.

Rows are made from real request traces (their token counts, five models, a day per ten thousand
calls) and written to Parquet. For each size one process each measures:

aggregate   DuckDB's own sum of the tokens by model: what reading the file costs at least
reference   the report by that method, by model, with its range and the calibrated number beside
roofline    the report by the calibrated method
loop        a plain loop over rows of Python that estimates one call at a time

Run: python tests/benchmarks/report.py ../shared/traces --rows 1000000 10000000
     python tests/benchmarks/report.py ../shared/traces --rows --tables
The second measures ``estimate_table`` alone, in CPU time of one core.

Found on two idle cores (AMD EPYC, 1 MiB of L2 each), in three to five runs, of which the medians
give the ratios; of 20 million rows and more, one other process reads with this one, of 145 to 190
MiB beside the memory given here. What else runs on the host moves rows that are estimated by more
than those that are only added up:

1,000 M rows  reference 28 to 31 s and 55 to 60 s of CPU time (235 to 266 MiB), roofline 23 and 43,
              the bare aggregate 3.7 to 3.9 and 7.3 to 7.7 (468 MiB): 7.4 and 5.9 times as long
100 M rows    reference 3.3 to 3.7 s and 6.2 to 6.8 (172 MiB), roofline 2.7 to 2.9 and 5.1 to 5.6
              (166 MiB), the aggregate 0.43 to 0.59 and 0.84 to 1.10: 7.6 and 6.4 times
10 M rows     reference 0.62 to 0.65 s and 0.82 to 0.86 (178 MiB), roofline 0.52 to 0.57 and 0.71 to
              0.77 (177 MiB), the aggregate 0.09 and 0.17: 7.3 and 6.3 times, in CPU time 4.9 and
              4.4
tables        reference 218 M rows/s for the totals of one model, 116 M of five; all columns 85 M,
              36 M
              roofline 70 M rows/s for the totals of one model, 48 M of five; all columns 25 M, 22 M
"""

from __future__ import annotations

import argparse
import csv
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

MODELS = ("gpt-4o", "gpt-4o-mini", "o3-mini", "claude-sonnet-4", "deepseek-ai/DeepSeek-V3")
LOOP_ROWS = 20_000
"""Rows of the plain loop [1]; its rate does not depend on their number."""


def read_traces(folder: Path) -> list[tuple[int, int, int]]:
    """Input, cached and output tokens of every request of the traces."""
    rows: list[tuple[int, int, int]] = []
    for path in sorted(folder.glob("*.csv")):
        with path.open(encoding="utf-8") as file:
            rows.extend(
                (int(row["ContextTokens"]), 0, int(row["GeneratedTokens"]))
                for row in csv.DictReader(file)
            )
    for path in sorted(folder.glob("*.jsonl")):
        seen: set[int] = set()
        for line in path.read_text("utf-8").splitlines():
            request = json.loads(line)
            leading = 0
            for block in request["hash_ids"]:
                if block not in seen:
                    break
                leading += 1
            seen.update(request["hash_ids"])
            inputs = request["input_length"]
            rows.append((inputs, min(leading * 512, inputs), request["output_length"]))
    return rows


def write_calls(folder: Path, rows: int, path: Path) -> None:
    """Write so many calls: those of the traces over and over, each time a little longer."""
    import duckdb

    with duckdb.connect() as connection, tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
        csv.writer(file).writerows([("i", "c", "o"), *read_traces(folder)])
        file.flush()
        connection.execute("SET preserve_insertion_order = false")
        connection.execute(f"CREATE TABLE t AS SELECT *, row_number() OVER () - 1 AS r "
                           f"FROM read_csv('{file.name}', header=true)")  # fmt: skip
        (many,) = connection.execute("SELECT count(*) FROM t").fetchone() or (0,)
        models = "[" + ", ".join(f"'{model}'" for model in MODELS) + "]"
        connection.execute(
            f"COPY (SELECT {models}[1 + (r * 7 + k) % {len(MODELS)}] AS model, "
            f"(i + k % 101)::BIGINT AS input_tokens, c::BIGINT AS cached_tokens, "
            f"(o + k % 13)::BIGINT AS output_tokens, "
            f"TIMESTAMP '2025-01-01' + to_seconds((k * {many} + r) * 9) AS time "
            f"FROM range({-(-rows // many)}) AS copies(k), t LIMIT {rows}) "
            f"TO '{path}' (FORMAT parquet)"
        )


def aggregate(path: Path) -> int:
    import duckdb

    with duckdb.connect() as connection:
        sums = "count(*), sum(input_tokens), sum(cached_tokens), sum(output_tokens)"
        query = f"SELECT model, {sums} FROM read_parquet('{path}') GROUP BY model"
        return sum(row[1] for row in connection.execute(query).fetchall())


def report(path: Path, method: str) -> int:
    from energy_tracking.cli.threads import without_idle_threads

    with without_idle_threads():
        return _report(path, method)


def _report(path: Path, method: str) -> int:
    from energy_tracking.cli.garbage import collected_rarely
    from energy_tracking.cli.reports.collect import Collector, Report, Selection
    from energy_tracking.cli.reports.parts import Job, PartReader
    from energy_tracking.estimation import Estimation
    from energy_tracking.logs.batch_reading import read_batches
    from energy_tracking.logs.batches.grouping import Grouping
    from energy_tracking.logs.read_report import ReadReport
    from energy_tracking.settings import Settings

    settings = Settings.load({"method": method})
    made = Report(
        title=path.name,
        settings=settings,
        selection=Selection(),
        read=ReadReport(),
        table=Grouping(("model",)),
    )
    collector = Collector(made, Estimation(settings), is_full=False)
    wanted = ("model", "span")
    job = Job(settings=settings, selection=made.selection, is_full=False, wanted=wanted)
    with collected_rarely():
        for batch in read_batches(
            [path],
            made.names,
            report=made.read,
            wanted=wanted,
            read_tables=PartReader(made, job).read,
        ):
            collector.add(batch)
    return int(made.total.calls)


def loop(path: Path) -> int:
    from energy_tracking.estimation import Estimation
    from energy_tracking.logs.files.opening import read_documents
    from energy_tracking.settings import Settings
    from energy_tracking.usage.token_usage import TokenUsage

    estimation = Estimation(Settings.load({}))
    total, rows = 0.0, 0
    for _, row in read_documents(str(path)):
        usage = TokenUsage(
            input_tokens=row["input_tokens"],
            cached_input_tokens=row["cached_tokens"],
            output_tokens=row["output_tokens"],
        )
        estimate = estimation.estimate(row["model"], None, usage).estimate
        total += estimate.total_energy_joules if estimate is not None else 0.0
        rows += 1
        if rows == LOOP_ROWS:
            break
    return rows


WAYS: dict[str, Callable[[Path], int]] = {
    "aggregate": aggregate,
    "reference": lambda path: report(path, "reference"),
    "roofline": lambda path: report(path, "roofline"),
    "loop": loop,
}


def time_tables() -> None:
    """Print how many rows a second of one core's CPU time ``estimate_table`` estimates."""
    import numpy as np

    from energy_tracking.estimation import Estimation
    from energy_tracking.settings import Settings
    from energy_tracking.tables import TableEstimator

    random, rows = np.random.default_rng(0), 1_000_000
    inputs, outputs = random.integers(1, 20_000, rows), random.integers(1, 2_000, rows)
    mixed: dict[str, Any] = {"model": random.integers(0, len(MODELS), rows), "models": MODELS}
    named: dict[str, Any] = {"model": MODELS[0]}
    print(f"{'method':<10} {'models':>6} {'columns':<7} {'M rows/s':>9}")
    for method in ("reference", "roofline"):
        estimator = TableEstimator(Estimation(Settings.load({"method": method})))
        for many, model in ((1, named), (len(MODELS), mixed)):
            for only_totals in (True, False):
                taken = []
                for _ in range(7):
                    start = time.thread_time()
                    estimator.estimate(inputs, outputs, only_totals=only_totals, **model)
                    taken.append(time.thread_time() - start)
                columns = "totals" if only_totals else "all"
                print(f"{method:<10} {many:>6} {columns:<7} {rows / min(taken) / 1e6:>9.1f}")


def measure(way: str, path: Path) -> dict[str, Any]:
    """Time one way in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, "--way", way, str(path)],
        capture_output=True,
        text=True,
        check=True,
    )
    measured: dict[str, Any] = json.loads(done.stdout)
    return measured


def time_way(way: str, path: Path) -> None:
    """Print what one way took, as JSON."""
    import duckdb  # noqa: F401  loaded before the clock starts
    import numpy  # noqa: F401

    start, start_cpu = time.perf_counter(), time.process_time()
    rows = WAYS[way](path)
    taken = {"rows": rows, "seconds": time.perf_counter() - start}
    # Of the processes that it has started, too.
    others = resource.getrusage(resource.RUSAGE_CHILDREN)
    taken["cpu_seconds"] = time.process_time() - start_cpu + others.ru_utime + others.ru_stime
    taken["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    taken["other_peak_mib"] = others.ru_maxrss / 1024
    print(json.dumps(taken))


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure reports of large tables.")
    parser.add_argument("path", type=Path, help="folder of traces")
    parser.add_argument("--rows", type=int, nargs="*", default=[1_000_000])
    parser.add_argument("--folder", type=Path, help="where the tables are written, and kept")
    parser.add_argument("--tables", action="store_true", help="measure estimate_table alone")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.way is not None:
        time_way(given.way, given.path)
        return
    if given.tables:
        time_tables()
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.folder or Path(scratch)
        print(f"{'rows':>13} {'way':<10} {'s':>8} {'CPU s':>8} {'M rows/s':>9} "
              f"{'peak MiB':>9} {'x aggregate':>12} {'of CPU s':>9}")  # fmt: skip
        for rows in given.rows:
            path = folder / f"calls-{rows}.parquet"
            if not path.exists():
                write_calls(given.path, rows, path)
            measure("aggregate", path)  # so that each finds the file in memory
            least = least_cpu = 0.0
            for way in WAYS:
                taken = measure(way, path)
                each, each_cpu = (
                    taken[name] / taken["rows"] for name in ("seconds", "cpu_seconds")
                )
                least, least_cpu = least or each, least_cpu or each_cpu
                print(f"{taken['rows']:>13,} {way:<10} {taken['seconds']:>8.2f} "
                      f"{taken['cpu_seconds']:>8.2f} {1e-6 / each:>9.3f} "
                      f"{taken['peak_mib']:>9.0f} {each / least:>12.1f} "
                      f"{each_cpu / least_cpu:>9.1f}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
