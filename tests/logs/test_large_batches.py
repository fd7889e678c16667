"""Batches that several threads estimate, and the columns that an engine gives."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from energy_tracking.cli.reports.collect import WORTH_A_THREAD, Collector, Report, Selection
from energy_tracking.estimation import Estimation
from energy_tracking.logs.batches import BatchNames, CallBatch, repeat
from energy_tracking.logs.engine.queries import as_array
from energy_tracking.logs.grouping import Grouping
from energy_tracking.logs.logged import ReadReport
from energy_tracking.settings import Settings
from energy_tracking.tables import TableEstimator

pyarrow = pytest.importorskip("pyarrow")

MODELS = ("gpt-4o", "o1", "nobody-knows-it", "deepseek-ai/DeepSeek-V3", "gpt-4o-mini")
SETTINGS = Settings.load({}, {})


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


def collect(sizes: tuple[int, ...], *, waits: bool) -> Report:
    """Collect batches, each once the one before is in the report, or as they come."""
    report = Report(
        title="calls",
        settings=SETTINGS,
        selection=Selection(),
        read=ReadReport(),
        table=Grouping(("model", "day")),
    )
    collector = Collector(report, Estimation(SETTINGS), is_full=True)
    for seed, rows in enumerate(sizes):
        collector.add(build_batch(report.names, rows, seed))
        if waits:
            collector.finish()
    collector.finish()
    return report


def test_batches_estimated_at_a_time_add_up_as_one_after_the_other_does() -> None:
    sizes = (WORTH_A_THREAD, WORTH_A_THREAD + 7, 100, WORTH_A_THREAD, WORTH_A_THREAD)
    at_once, in_turn = (collect(sizes, waits=waits) for waits in (False, True))
    assert at_once.total.calls == sum(sizes)
    assert at_once.total.unestimated_calls == sum(at_once.reasons.values()) > 0
    assert at_once.reasons == in_turn.reasons
    for name in ("table", "models", "hours", "sessions"):
        one, other = getattr(at_once, name).groups, getattr(in_turn, name).groups
        assert list(one) == list(other)
        for key, sums in one.items():
            assert sums.as_dict() == other[key].as_dict()


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
