"""Columns of calls are estimated as each call is estimated alone."""

from __future__ import annotations

import gc
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import energy_tracking
from energy_tracking.errors import ConfigurationError
from energy_tracking.estimation import Estimation
from energy_tracking.estimator import METHODS
from energy_tracking.profiles.files import get_catalogue
from energy_tracking.settings import SettingArguments, Settings
from energy_tracking.tables import (
    ESTIMATED,
    NO_COUNT,
    NO_PROFILE,
    NOT_NAMED,
    EnergyTable,
    TableEstimator,
    estimate_table,
)
from energy_tracking.tables.by_method import TABLE_METHODS
from energy_tracking.usage.token_usage import MAX_TOKENS, TokenUsage

MODELS = tuple(profile.name for profile in get_catalogue().models)

# Input, cached, output, reasoning (None: not known).
EDGES: tuple[tuple[int, int, int, int | None], ...] = (
    (0, 0, 0, None),
    (0, 0, 0, 0),
    (1, 0, 0, None),
    (0, 0, 1, None),
    (1, 1, 1, 1),
    (1000, 0, 500, None),
    (1000, 0, 500, 0),
    (1000, 600, 500, 300),
    (1000, 1000, 500, 500),
    (4095, 0, 2, None),
    (200_000, 150_000, 30_000, 20_000),
    (5_000_000, 1, 100_000, None),
    (MAX_TOKENS, 0, MAX_TOKENS, MAX_TOKENS),
)
SETTINGS: tuple[SettingArguments, ...] = (
    {"method": "reference"},
    {"method": "roofline"},
    {"method": "roofline", "scope": "facility"},
    {"method": "roofline", "gpu": "B200", "sequences": 40, "speculative": True},
    {"method": "reference", "gpu": "A100", "attention_mode": "linear"},
)


def columns_of(calls: Sequence[tuple[int, int, int, int | None]]) -> dict[str, Any]:
    inputs, cached, outputs, reasoning = zip(*calls, strict=True)
    return {
        "input_tokens": np.array(inputs),
        "output_tokens": np.array(outputs),
        "cached_input_tokens": np.array(cached),
        "reasoning_tokens": np.array([-1 if count is None else count for count in reasoning]),
    }


def check_rows(
    table: EnergyTable,
    estimation: Estimation,
    names: Sequence[str | None],
    calls: Sequence[tuple[int, int, int, int | None]],
) -> None:
    """Compare each row with the estimate of one call."""
    pairs: dict[str, list[tuple[float, float]]] = {}
    for row, (name, (inputs, cached, outputs, reasoning)) in enumerate(
        zip(names, calls, strict=True)
    ):
        usage = TokenUsage(
            input_tokens=inputs,
            cached_input_tokens=cached,
            output_tokens=outputs,
            reasoning_tokens=reasoning,
        )
        outcome = estimation.estimate(name, None, usage)
        estimate = outcome.estimate
        assert (table.status[row] == ESTIMATED) == (estimate is not None), (name, outcome.reason)
        if estimate is None:
            assert math.isnan(table.total_energy_joules[row])
            assert table.reasons[name] == outcome.reason
            continue
        assert table.profiles[table.profile[row]] == estimate.model_profile
        assert table.grades[table.profile[row]] == estimate.grade
        assert (table.method, table.gpu, table.scope) == (
            estimate.method,
            estimate.gpu,
            estimate.scope,
        )
        nan = math.nan
        for column, expected in (
            ("total_energy_joules", estimate.total_energy_joules),
            ("total_energy_low_joules", estimate.total_energy_low_joules),
            ("total_energy_high_joules", estimate.total_energy_high_joules),
            ("total_energy_wh", estimate.total_energy_wh),
            ("reasoning_energy_joules", estimate.reasoning_energy_joules),
        ):
            found = getattr(table, column)[row]
            pairs.setdefault(column, []).append((found, nan if expected is None else expected))
        # It is a difference of two totals, and as exact as they are.
        avoided = outcome.cache_avoided_energy_joules or 0.0
        assert table.cache_avoided_energy_joules is not None
        slack = 1e-12 * (estimate.total_energy_joules + avoided)
        assert abs(table.cache_avoided_energy_joules[row] - avoided) <= slack
    for column, both in pairs.items():
        found, wanted = np.array(both).T
        np.testing.assert_allclose(found, wanted, rtol=1e-12, err_msg=column)


@pytest.mark.parametrize("model", [0, np.array(0), np.zeros((1, 1), int), np.array([0.0])])
def test_places_of_models_that_are_no_array_of_integers_are_refused(model: Any) -> None:
    with pytest.raises(ConfigurationError, match="model must be an array of integers beside"):
        estimate_table(np.array([1000]), np.array([100]), model=model, models=["gpt-4o"])


@pytest.mark.parametrize(
    "arguments", SETTINGS, ids=lambda given: "-".join(map(str, given.values()))
)
def test_every_shipped_profile_has_the_energy_of_one_call_in_each_row(
    arguments: SettingArguments,
) -> None:
    estimation = Estimation(Settings.load(arguments))
    names = [name for name in MODELS for _ in EDGES]
    calls = list(EDGES) * len(MODELS)
    table = estimate_table(**columns_of(calls), model=np.array(names, dtype=object), **arguments)
    check_rows(table, estimation, names, calls)


NAMES = (
    *("gpt-4o", "o1", "azure/gpt-4o-2024-08-06", "my-deployment", "o3-mini"),
    *("deepseek-ai/DeepSeek-V3", "meta-llama/Llama-3.1-70B", "text-embedding-3-small"),
    *("no-such-model", "", None),
)
COUNTS = st.one_of(st.integers(0, 300_000), st.sampled_from([0, 1, 2, MAX_TOKENS]))


@st.composite
def calls(draw: st.DrawFn) -> tuple[int, int, int, int | None]:
    inputs, outputs = draw(COUNTS), draw(COUNTS)
    cached = draw(st.integers(0, inputs))
    return inputs, cached, outputs, draw(st.none() | st.integers(0, outputs))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("default", [None, "o1"])
@settings(max_examples=25, deadline=None)
@given(rows=st.lists(st.tuples(st.sampled_from(NAMES), calls()), min_size=1, max_size=40))
def test_rows_of_any_models_are_estimated_as_calls_are(
    method: str, default: str | None, rows: list[tuple[str | None, Any]]
) -> None:
    arguments: SettingArguments = {
        "method": method,
        "default_model": default,
        "model_mapping": {"my-deployment": "o3-mini"},
    }
    names, counts = zip(*rows, strict=True)
    table = estimate_table(**columns_of(counts), model=list(names), **arguments)
    check_rows(table, Estimation(Settings.load(arguments)), names, counts)


@pytest.mark.parametrize("method", METHODS)
def test_blocks_and_columns_of_any_form_give_the_same(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("energy_tracking.tables.by_method.BLOCK", 64)
    monkeypatch.setattr("energy_tracking.tables.estimating.ORDERED", 256)
    random = np.random.default_rng(0)
    codes = random.integers(-1, 4, 1000)
    models = ("gpt-4o", "o1", "unknown", "deepseek-ai/DeepSeek-V3")
    inputs, outputs = random.integers(0, 30_000, 1000), random.integers(0, 3_000, 1000)
    whole = estimate_table(inputs, outputs, model=codes, models=models, method=method)
    names = [None if code < 0 else models[code] for code in codes]
    check_rows_without_parts = estimate_table(
        inputs.astype(np.float64),
        outputs.astype(np.uint16),
        model=names,
        method=method,
        only_totals=True,
    )
    np.testing.assert_array_equal(
        whole.total_energy_joules, check_rows_without_parts.total_energy_joules
    )
    assert check_rows_without_parts.total_energy_low_joules is None
    assert set(whole.status.tolist()) == {ESTIMATED, NOT_NAMED, NO_PROFILE}
    for model in models:
        some = np.array([name == model for name in names])
        alone = estimate_table(inputs[some], outputs[some], model=model, method=method)
        for column in ("total_energy_joules", "total_energy_low_joules", "status"):
            np.testing.assert_allclose(
                getattr(whole, column)[some], getattr(alone, column), rtol=1e-13
            )


@pytest.mark.parametrize("method", METHODS)
def test_rows_that_stand_together_by_model_have_the_energy_of_rows_that_do_not(
    method: str,
) -> None:
    random = np.random.default_rng(1)
    codes, rows = np.repeat([2, -1, 0, 1, 2], 1000), 5000
    inputs, outputs = random.integers(0, 300_000, rows), random.integers(0, 3_000, rows)
    columns = {
        "input_tokens": inputs,
        "output_tokens": outputs,
        "cached_input_tokens": inputs // 3 * (codes == 0),
        "reasoning_tokens": np.where(codes == 2, outputs // 2, -1),
        "model": codes,
    }
    models = ("gpt-4o", "unknown", "o1")
    order = random.permutation(rows)
    together = estimate_table(**columns, models=models, method=method)
    mixed = {name: column[order] for name, column in columns.items()}
    apart = estimate_table(**mixed, models=models, method=method)
    for column in (
        *("total_energy_joules", "total_energy_low_joules", "total_energy_high_joules"),
        *("reasoning_energy_joules", "cache_avoided_energy_joules", "status", "profile"),
    ):
        found, expected = getattr(together, column)[order], getattr(apart, column)
        # What is avoided is a difference, as exact as the totals are.
        slack = 1e-13 * np.nan_to_num(apart.total_energy_joules)
        np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
        assert (np.abs(np.nan_to_num(found - expected)) <= slack).all(), column


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("inputs", "cached", "written", "outputs", "reasoning"),
    [
        (-1, 0, 0, 5, -1),
        (np.nan, 0, 0, 5, -1),
        (np.inf, 0, 0, 5, -1),
        (MAX_TOKENS + 1, 0, 0, 5, -1),
        (10, 11, 0, 5, -1),
        (10, -1, 0, 5, -1),
        (10, 6, 5, 5, -1),
        (10, 0, -5, 5, -1),
        (10, 0, 0, -5, -1),
        (10, 0, 0, 5, 6),
    ],
)
def test_a_row_whose_counts_are_none_has_no_energy_and_costs_no_other_row(
    method: str, inputs: float, cached: float, written: float, outputs: float, reasoning: float
) -> None:
    table = estimate_table(
        np.array([10, inputs, 10]),
        np.array([5, outputs, 5]),
        model=["gpt-4o", "gpt-4o", "gpt-4o"],
        cached_input_tokens=np.array([0, cached, 0]),
        cache_write_input_tokens=np.array([0, written, 0]),
        reasoning_tokens=np.array([-1, reasoning, -1]),
        method=method,
    )
    assert table.status.tolist() == [ESTIMATED, NO_COUNT, ESTIMATED]
    assert np.isnan(table.total_energy_joules).tolist() == [False, True, False]
    assert table.total_energy_joules[0] == table.total_energy_joules[2] > 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"output_tokens": np.zeros(2)}, "output_tokens must be of 3 rows"),
        ({"output_tokens": np.array(["5"] * 3)}, "output_tokens must be a number or"),
        ({"output_tokens": np.zeros((3, 1))}, "output_tokens must be a number or"),
        ({"model": np.array([0, 1, 2]), "models": ("gpt-4o",)}, "model must be below"),
        ({"model": np.zeros(3), "models": ("gpt-4o",)}, "model must be an array of integers"),
        ({"gpu": "H1000"}, "H1000"),
    ],
)
def test_wrong_columns_are_named(change: dict[str, Any], words: str) -> None:
    right: dict[str, Any] = {
        "input_tokens": np.arange(3),
        "output_tokens": np.arange(3),
        "model": "gpt-4o",
    }
    with pytest.raises(energy_tracking.EnergyTrackingError, match=words):
        estimate_table(**right | change)


@pytest.mark.parametrize("kept", [1, 2, 64])
def test_a_table_has_the_energy_of_its_own_names_whichever_tables_came_before(
    kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("energy_tracking.tables.models.KEPT_TABLES", kept)
    estimator = TableEstimator(Estimation(Settings.load({})))
    inputs, tables = np.array([1000, 2000]), [("gpt-4o",), ("o1", "gpt-4o"), ("gpt-4o", "o1")]
    for names in tables * 2 + tables[::-1]:
        codes = np.array([0, len(names) - 1])
        found = estimator.estimate(inputs, 100, model=codes, models=names)
        for row, code in enumerate(codes):
            alone = estimate_table(inputs[row], 100, model=names[code])
            assert found.total_energy_joules[row] == alone.total_energy_joules[0]


def test_a_table_without_rows_has_none() -> None:
    models: tuple[Any, ...] = ("gpt-4o", [])
    for model in models:
        table = estimate_table(np.zeros(0), np.zeros(0), model=model, method="roofline")
        assert len(table) == len(table.total_energy_joules) == 0


def test_counts_may_be_one_number_for_all_rows() -> None:
    table = energy_tracking.estimate_table(100, np.array([10, 20]), model="gpt-4o")
    alone = [estimate_table(100, count, model="gpt-4o").total_energy_wh[0] for count in (10, 20)]
    assert table.total_energy_wh.tolist() == alone


def test_every_method_has_a_form_for_tables() -> None:
    assert TABLE_METHODS.keys() == METHODS.keys()


def test_what_stands_beside_a_method_can_be_estimated_too() -> None:
    estimation = Estimation(Settings.load({}))
    usage = TokenUsage(input_tokens=1000, output_tokens=100)
    beside = estimation.estimate("gpt-4o", None, usage).calibrated
    assert beside is not None
    table = TableEstimator(estimation, calibrated=True).estimate(1000, 100, model="gpt-4o")
    assert table.method == beside.method
    assert table.total_energy_joules[0] == pytest.approx(beside.total_energy_joules, rel=1e-12)
    with pytest.raises(ConfigurationError, match="calibrated"):
        TableEstimator(Estimation(Settings.load({"method": "roofline"})), calibrated=True)


@pytest.mark.parametrize("method", METHODS)
def test_the_arrays_of_a_table_do_not_wait_for_the_garbage_collector(method: str) -> None:
    contexts = np.geomspace(1, 1e6, 1000)
    for only_totals in (True, False):
        estimator = TableEstimator(Estimation(Settings.load({"method": method})))
        estimator.estimate(contexts, contexts, model="gpt-4o")
        gc.collect()
        gc.disable()
        try:
            estimator.estimate(contexts, contexts, model="gpt-4o", only_totals=only_totals)
            gc.set_debug(gc.DEBUG_SAVEALL)
            gc.collect()
            kept = [one for one in gc.garbage if callable(one) or isinstance(one, np.ndarray)]
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()
        assert kept == []
