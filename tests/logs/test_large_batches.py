"""Large batches, names that come in several threads, and the columns that an engine gives."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from energy_tracking.cli.reports.collect import Collector, Report, Selection
from energy_tracking.estimation import Estimation
from energy_tracking.logs.batches.batch import BatchNames, CallBatch, find_only, repeat
from energy_tracking.logs.batches.energy import FEW, cut_by_model
from energy_tracking.logs.batches.grouping import Grouping
from energy_tracking.logs.engine.queries import as_array
from energy_tracking.logs.read_report import ReadReport
from energy_tracking.settings import Settings
from energy_tracking.tables import TableEstimator

pyarrow = pytest.importorskip("pyarrow")

MODELS = ("gpt-4o", "o1", "nobody-knows-it", "deepseek-ai/DeepSeek-V3", "gpt-4o-mini")
SETTINGS = Settings.load({}, {})
SIZES = (40_000, 30_007, 100, 35_000, 35_000)


def build_batch(names: BatchNames, rows: int, seed: int) -> CallBatch:
    """Rows of a table, whose models are named for the first time in batches of their own."""
    random = np.random.default_rng(seed)
    numbers = names.model.numbers(list(MODELS[: seed + 1]))
    inputs = random.integers(0, 30_000, rows)
    return CallBatch(
        names=names,
        model=random.choice(numbers, rows),
        provider=repeat(-1, rows, np.int32),
        session=repeat(-1, rows, np.int32),
        tag=repeat(-1, rows, np.int32),
        file=repeat(-1, rows, np.int32),
        time=random.uniform(1.7e9, 1.71e9, rows),
        input_tokens=inputs,
        cached_input_tokens=random.integers(0, inputs + 1),
        output_tokens=random.integers(0, 3_000, rows),
        reasoning_tokens=repeat(-1, rows, np.int64),
        has_usage=repeat(True, rows, np.bool_),
        is_partial=repeat(False, rows, np.bool_),
        has_failed=repeat(False, rows, np.bool_),
        measured_energy_joules=repeat(np.nan, rows, np.float64),
        requests=repeat(1, rows, np.int64),
    )


def collect(rows: int) -> Report:
    """Collect large batches, so many rows of them at a time."""
    report = Report(
        title="calls",
        settings=SETTINGS,
        selection=Selection(),
        read=ReadReport(),
        table=Grouping(("model", "day")),
    )
    collector = Collector(report, Estimation(SETTINGS), is_full=True)
    for seed, size in enumerate(SIZES):
        batch = build_batch(report.names, size, seed)
        for start in range(0, size, rows):
            collector.add(batch.select(np.arange(start, min(start + rows, size))))
    return report


def test_large_batches_add_up_as_small_ones_do() -> None:
    large, small = collect(max(SIZES)), collect(1000)
    assert large.total.calls == sum(SIZES)
    assert large.total.unestimated_calls == sum(large.reasons.values()) > 0
    assert large.reasons == small.reasons
    for name in ("table", "models", "hours", "sessions"):
        one, other = getattr(large, name).groups, getattr(small, name).groups
        assert one.keys() == other.keys()
        for key, sums in one.items():
            assert sums.as_dict() == pytest.approx(other[key].as_dict(), rel=1e-12)


def test_each_row_of_a_batch_is_in_one_part_under_its_model() -> None:
    def list_rows(batches: list[CallBatch]) -> list[tuple[float, ...]]:
        columns = ("model", "time", "input_tokens", "cached_input_tokens", "output_tokens")
        rows = (
            zip(*(getattr(one, name).tolist() for name in columns), strict=True) for one in batches
        )
        return sorted(row for batch in rows for row in batch)

    batch = build_batch(BatchNames(), 40_000, 4)
    # One model has few rows, and some rows name none.
    batch.model = np.where((batch.model == 2) & (batch.time % 10 > 1), -1, batch.model)
    parts = list(cut_by_model(batch))
    assert list_rows(parts) == list_rows([batch])
    *alone, mixed = parts
    assert [find_only(part.model) for part in alone] == [-1, 0, 1, 3, 4]
    assert set(mixed.model.tolist()) == {2}
    assert len(mixed) < FEW
    alone[1].model = repeat(0, len(alone[1]), np.int32)
    assert list_rows(list(cut_by_model(alone[1]))) == list_rows([alone[1]])


def test_names_that_come_in_several_threads_at_a_time_are_looked_up_as_in_one() -> None:
    estimator = TableEstimator(Estimation(SETTINGS), calibrated=True)
    orders = [[MODELS[(first + step) % len(MODELS)] for step in range(3)] for first in range(40)]
    inputs, outputs = np.array([100, 2_000, 50_000]), np.array([10, 200, 3_000])

    def estimate(models: list[str]) -> Any:
        return estimator.estimate(inputs, outputs, model=np.arange(3), models=models)

    with ThreadPoolExecutor(4) as threads:
        tables = list(threads.map(estimate, orders))
    for order, table in zip(orders, tables, strict=True):
        alone = TableEstimator(Estimation(SETTINGS), calibrated=True)
        expected = alone.estimate(inputs, outputs, model=np.arange(3), models=order)
        np.testing.assert_array_equal(table.total_energy_joules, expected.total_energy_joules)
        assert [table.profiles[place] for place in table.profile if place >= 0] == [
            expected.profiles[place] for place in expected.profile if place >= 0
        ]


@pytest.mark.parametrize(
    "values", [[1, 2, 3, 4, 5], [True, False, True, True, False], [0.5, 1.5, 2.5, 3.5, 4.5]]
)
@pytest.mark.parametrize("part", [slice(0, 5), slice(1, 4), slice(2, 2)])
def test_a_part_of_a_column_is_read_as_it_is(values: list[Any], part: slice) -> None:
    column = pyarrow.array(values).slice(part.start, part.stop - part.start)
    assert as_array(column).tolist() == values[part]
