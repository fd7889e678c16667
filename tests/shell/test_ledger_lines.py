"""A ledger's lines are not trusted: each bad one is left out, and said with place and reason."""

from __future__ import annotations

import json
import re
import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from counts import the_only
from energy_tracking import EnergyTrackingWarning, Totals, Tracker, read_ledger, record_log
from energy_tracking.calls.totals import grouped
from energy_tracking.cli.main import main

USAGE = {
    "prompt_tokens": 10,
    "completion_tokens": 100,
    "prompt_tokens_details": {"cached_tokens": 4},
}
DEEP = "[" * 500 + "]" * 500


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "energy.jsonl"


@pytest.fixture
def line(path: Path) -> Callable[..., str]:
    """A line as it is written, with one field in place of another, by its path."""
    Tracker(ledger=path, concurrency_per_gpu=8).record(
        model="gpt-4o", usage=USAGE, measured_energy_joules=5.0
    )
    good = json.loads(path.read_text())

    def line(where: str = "", value: str = "") -> str:
        document = json.loads(json.dumps(good))
        if not where:
            return json.dumps(document)
        *parents, name = where.split(".")
        holder = document
        for parent in parents:
            holder = holder[parent]
        holder[name] = "\0"
        return json.dumps(document).replace('"\\u0000"', value)

    return line


# Field, and values that it cannot have, as JSON writes them.
WRONG: list[tuple[str, list[str]]] = [
    ("ledger", ['"1"', "true", "2", "1.0", "null", "-1", "0", "[]"]),
    (
        "timestamp",
        [
            *("5", "null", '"yesterday"', '"2026-01-01T00:00:00"', "{}", '"2999-01-01T00:00:00Z"'),
            *('"1960-01-01T00:00:00Z"', '"0001-01-01T00:00:00+14:00"', "[]", "true", '""'),
            '"9999-12-31T23:59:59-14:00"',
        ],
    ),
    ("ended_at", ["5", '"yesterday"', '"2026-01-01T00:00:00Z"']),
    ("pid", ['"5"', "-1", "1.5", "true", "1e400", "1" + "0" * 400, "1e15"]),
    ("session", ["5", "null", "{}"]),
    ("tags", ["5", "null", '["team"]', '{"team": 5}', '{"team": {}}', '{"": "a"}', '{"a b": "a"}']),
    ("request", ["5", "null", "[]", '"chat"']),
    ("request.operation", ["5", "null", "[]"]),
    ("request.provider", ["{}"]),
    ("request.model", ["5", "{}"]),
    ("request.stream", ["1", '"true"', "null"]),
    ("request.server_port", ['"443"', "-1", "true", "0.5", "65536"]),
    ("status", ['"great"', "5", "null", "[]", "{}", '"estimated"', '"partial"', '"unestimated"']),
    ("total_energy_joules", ['"5"', "6", "-5", "null", "true", "NaN", "1e400"]),
    ("reason", ["5", "[]"]),
    ("response_model", ["5", "{}"]),
    ("measured_energy_joules", ['"aaaa"', "-1", "NaN", "Infinity", "1e400", "1e13", "true", "{}"]),
    ("cache_avoided_energy_joules", ['"aaaa"', "NaN", "-1e13", "1e400", "false", "[1]"]),
    ("duration_seconds", ['"1"', "-1", "NaN", "1e400", "null"]),
    ("retries", ["1.5", "-1", '"1"', "null", "1" + "0" * 12]),
    ("usage", ["5", '"aaaa"', "[]"]),
    ("usage.input_tokens", ['"aaaa"', "-1", "1.5", "NaN", "true", "1e400", "1" + "0" * 30, "3"]),
    ("usage.cached_input_tokens", ['"4"', "11", "null"]),
    ("usage.reasoning_tokens", ["101", '"1"', "{}"]),
    ("usage.estimated", ['"input_tokens"', "[5]", "{}", '["tokens"]']),
    ("estimate", ["5", "[]", "{}"]),
    ("estimate.gpu", ["5", "null"]),
    ("estimate.method", ['"guess"', '"Reference"', '""', "5"]),
    ("estimate.scope", ['"rack"', '"GPU"', "null"]),
    ("estimate.grade", ['"F"', '"a"', '""', "1"]),
    ("estimate.reasoning_energy_joules", ["1e9", "-1"]),
    ("estimate.total_flops", ['"aaaa"', "NaN", "-1", "1e300", "true"]),
    ("estimate.decode_energy_joules", ['"aaaa"', "NaN", "-1", "1e13", "null"]),
    ("estimate.total_energy_low_joules", ['"aaaa"', "{}", "1e400", "1e9", "-1"]),
    ("estimate.total_energy_high_joules", ['"aaaa"', "0", "1e-9", "null"]),
    (
        "estimate.range_parts",
        ["5", '{"a": 1}', '{"a": [1]}', '{"a": [0, 1]}', '{"a": [1, "2"]}', '{"a": [2, 1]}'],
    ),
    ("calibrated.assumed", ["5", '{"num_gpus": []}', '{"num_gpus": NaN}', '{"num_gpus": true}']),
    ("calibrated.total_energy_high_joules", ['"aaaa"', "true", "0"]),
    ("calibrated.method", ['"reference"', '"guess"']),
]


@pytest.mark.parametrize(("where", "value"), [(w, v) for w, values in WRONG for v in values])
def test_a_line_with_a_field_of_another_type_or_size_is_left_out_and_reported(
    path: Path, line: Callable[..., str], where: str, value: str
) -> None:
    path.write_text(f"{line()}\n{line(where, value)}\n{line()}\n")
    with pytest.warns(EnergyTrackingWarning) as caught:
        records = [entry.record for entry in read_ledger(path)]
    assert [record.total_energy_joules for record in records] == [5.0, 5.0]
    warning = the_only(caught)
    said = str(warning.message)
    assert said.startswith(f"{path}: 1 unreadable line left out (2): line 2")
    if value != "1" + "0" * 400:
        assert where.rpartition(".")[2] in said, said


# What was recorded, and a status that the line then contradicts.
CONTRADICTED: list[tuple[dict[str, Any], str]] = [
    ({"model": "gpt-4o", "usage": USAGE}, "partial"),
    ({"model": "gpt-4o", "usage": USAGE}, "unestimated"),
    ({"model": "gpt-4o", "usage": USAGE}, "measured"),
    ({"model": "no-such-model", "usage": USAGE}, "estimated"),
    ({"model": "gpt-4o", "usage": None}, "partial"),
    ({"model": "gpt-4o", "usage": None, "error_type": "TimeoutError"}, "measured"),
]


@pytest.mark.parametrize(("arguments", "status"), CONTRADICTED)
def test_a_status_that_the_line_contradicts_is_left_out_and_reported(
    path: Path, arguments: dict[str, Any], status: str
) -> None:
    Tracker(ledger=path).record(**arguments)
    document = json.loads(path.read_text())
    with path.open("a") as file:
        file.write(json.dumps(document | {"status": status}) + "\n")
    with pytest.warns(EnergyTrackingWarning, match=rf"left out \(2\).*status.*got '{status}'"):
        assert the_only(read_ledger(path)).record.status == document["status"]


@pytest.mark.parametrize(
    "where",
    ["ledger", "timestamp", "pid", "session", "tags", "request", "request.operation", "status",
     "estimate.gpu", "estimate.total_flops", "measured_energy_joules"],
)  # fmt: skip
def test_a_line_that_lacks_a_field_is_left_out_and_reported(
    path: Path, line: Callable[..., str], where: str
) -> None:
    document = json.loads(line())
    holder = document
    *parents, name = where.split(".")
    for parent in parents:
        holder = holder[parent]
    del holder[name]
    path.write_text(f"{json.dumps(document)}\n{line()}\n")
    with pytest.warns(EnergyTrackingWarning, match=rf"left out \(1\): line 1.*\b{name}\b|measured"):
        assert len(list(read_ledger(path))) == 1


def test_the_warning_has_file_numbers_reasons_and_counts(
    path: Path, line: Callable[..., str]
) -> None:
    bad = line("usage.input_tokens", '"aaaa"')
    lines = [line(), bad, "{", line(), *[bad] * 1000, "[1]", DEEP, line("ledger", "2")]
    path.write_text("\n".join(lines))
    with pytest.warns(EnergyTrackingWarning) as caught:
        assert len(list(read_ledger(path))) == 2
    assert str(caught[0].message) == (
        f"{path}: 1,005 unreadable lines left out (2, 3, 5, 6, 7, 8, 9, 10, 11, 12, ...): "
        "line 2: usage.input_tokens must be a whole number from 0 to 1e+09, got 'aaaa' (1,001 such "
        "lines); line 3 is cut off, or not JSON; line 1005 is not an object (2 such lines); "
        "line 1007: ledger must be 1: a later version wrote the line, got 2"
    )


@pytest.mark.parametrize(
    ("read", "reason"),
    [
        (lambda path: list(read_ledger(path)), "line 1 is longer than"),
        (record_log, r"1 entry left out: not JSON \(first: line 1\)"),
    ],
)
def test_a_line_without_an_end_fills_no_memory(
    path: Path, read: Callable[[Path], Any], reason: str
) -> None:
    with path.open("wb") as file:
        file.truncate(400 * 2**20)
    tracemalloc.start()
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            read(path)
        assert re.search(reason, str(caught[0].message)), caught
        assert tracemalloc.get_traced_memory()[1] < 150 * 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.no_cover  # thousands of rounds of what other tests do once
def test_a_long_ledger_is_read_in_the_memory_of_a_short_one(
    path: Path, line: Callable[..., str]
) -> None:
    def peak(lines: int) -> int:
        path.write_text(f"{line()}\n" * lines)
        tracemalloc.start()
        try:
            groups = grouped(entry.record for entry in read_ledger(path))
            assert sum(totals.calls for totals in groups.values()) == lines
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(10)
    assert peak(1500) < peak(30) + 1_000_000


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)
FIELDS = [where for where, _ in WRONG]


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(FIELDS), VALUES)
def test_no_value_in_any_field_raises_or_spoils_a_sum(
    path: Path, line: Callable[..., str], where: str, value: Any
) -> None:
    path.write_text(f"{line(where, json.dumps(value))}\n{line()}\n")
    totals = Totals()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for entry in read_ledger(path):
            totals.add(entry.record)
            assert hash(entry.record.model)
    assert totals.calls in (1, 2)
    assert 5.0 <= totals.total_energy_joules <= 1e12
    assert all(isinstance(one, int | float) for one in totals.as_dict().values())


def test_the_command_sums_up_what_is_left_and_states_the_rest(
    path: Path, line: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    path.write_text(f"{line()}\n{line('measured_energy_joules', chr(34) + 'a' * 9 + chr(34))}\n")
    assert main(["ledger", str(path)]) == 0
    shown = capsys.readouterr()
    assert ": 1 call (1 measured), " in shown.out
    said = "measured_energy_joules must be a number from 0 to 1e+12 J, got 'aaaaaaaaa'"
    assert said in " ".join(shown.err.split())
