"""Sums over the engine's columns are those over single calls, whatever they are grouped by."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

np = pytest.importorskip("numpy", reason="batches are arrays of numpy")
pytest.importorskip("duckdb", reason="the engine is DuckDB")
pyarrow = pytest.importorskip("pyarrow", reason="DuckDB gives columns of Arrow")

from energy_tracking.cli.main import main  # noqa: E402
from energy_tracking.logs.batches.dimensions import find_unique  # noqa: E402

MODELS = ("gpt-4o", "o3-mini", "deepseek-ai/DeepSeek-V3", "no-such-model", "")
HEADER = ("model", "input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens")
CALLS = 1500


def write_calls(path: Path, *, models: Sequence[str], has_parts: bool) -> Path:
    """Write a table of calls in the order of their time, with cached and reasoning tokens."""
    source = random.Random(3)
    start = datetime(2025, 1, 30, 20, tzinfo=UTC)
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow((*HEADER, "time", "session_id", "provider"))
        for number in range(CALLS):
            inputs, outputs = source.randint(1, 200_000), source.randint(0, 4_000)
            parts = (source.randint(0, inputs), source.randint(0, outputs))
            rows.writerow(
                (
                    *(source.choice(models), inputs, outputs, *(parts if has_parts else ("", ""))),
                    "" if number % 50 == 7 else start + timedelta(minutes=5 * number),
                    f"s{source.randint(0, 40)}",
                    source.choice(("openai", "azure", "")),
                )
            )
    return path


def report(path: Path, capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, Any]:
    assert main(["report", str(path), "--json", *options]) == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def split_groups(document: dict[str, Any]) -> tuple[list[list[Any]], list[dict[str, float]]]:
    """The names of every group, in order, and its numbers."""
    groups = sorted(
        document["groups"], key=lambda group: repr([group[by] for by in document["by"]])
    )
    names = [[value for value in group.values() if isinstance(value, str)] for group in groups]
    numbers = [
        {name: value for name, value in group.items() if not isinstance(value, str)}
        for group in groups
    ]
    return names, numbers


@pytest.mark.parametrize("models", [MODELS, MODELS[:1]], ids=["many models", "one model"])
@pytest.mark.parametrize("has_parts", [False, True], ids=["plain", "cached and reasoning"])
@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--method", "roofline", "--by", "day,model"),
        ("--by", "month", "--timezone", "America/New_York"),
        ("--by", "week,provider", "--method", "roofline", "--scope", "facility"),
        ("--by", "session", "--since", "2025-01-31", "--until", "2025-02-02"),
    ],
    ids=" ".join,
)
def test_sums_over_columns_are_those_over_calls(
    options: tuple[str, ...],
    has_parts: bool,
    models: Sequence[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = write_calls(tmp_path / "calls.csv", models=models, has_parts=has_parts)
    calls = report(path, capsys, *options)
    monkeypatch.setattr("energy_tracking.logs.engine.finding.ENGINE_BYTES", 0)
    columns = report(path, capsys, *options)
    assert columns["totals"] == pytest.approx(calls["totals"], rel=1e-11)
    assert columns["totals"]["calls"] > 0
    (names, sums), (expected_names, expected_sums) = split_groups(columns), split_groups(calls)
    assert names == expected_names
    for found, expected in zip(sums, expected_sums, strict=True):
        assert found == pytest.approx(expected, rel=1e-11)
    for name in ("first", "last", "reasons", "left_out"):
        assert columns[name] == calls[name]


@pytest.mark.parametrize("odd", [False, True])
def test_the_first_and_last_time_of_parquet_are_those_of_its_calls(
    odd: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import pyarrow.parquet

    start = datetime(2025, 1, 1, tzinfo=UTC)
    # Rows without counts are no calls, whenever they were.
    inputs = [None if odd and number in (0, 99) else 10 for number in range(100)]
    columns = {
        "input_tokens": pyarrow.array(inputs, pyarrow.int64()),
        "output_tokens": pyarrow.array([None if one is None else 5 for one in inputs]),
        "time": pyarrow.array([start + timedelta(hours=number) for number in range(100)]),
    }
    path = tmp_path / "calls.parquet"
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    calls = report(path, capsys, "--default-model", "gpt-4o")
    monkeypatch.setattr("energy_tracking.logs.engine.finding.ENGINE_BYTES", 0)
    columns_read = report(path, capsys, "--default-model", "gpt-4o")
    for one in (calls, columns_read):
        assert one["first"] == (start + timedelta(hours=int(odd))).isoformat()
        assert one["last"] == (start + timedelta(hours=99 - int(odd))).isoformat()
    assert columns_read["left_out"] == calls["left_out"]


@pytest.mark.parametrize(
    "numbers",
    [[5], [3, 3, 3], [4, -1, 4, 7, -1], [0, 10**12, 5, 10**12], list(range(50, 0, -1))],
    ids=str,
)
def test_different_numbers_are_found_in_order_wherever_they_lie(numbers: list[int]) -> None:
    unique, places = find_unique(np.array(numbers))
    assert unique.tolist() == sorted(set(numbers))
    assert unique[places].tolist() == numbers
