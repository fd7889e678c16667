"""The engine gives the same batches of large tables as the line reader does."""

from __future__ import annotations

import csv
import glob
import gzip
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from energy_tracking.logs.logged import LARGEST_INPUT
from energy_tracking.logs.read_report import ReadReport
from energy_tracking.logs.reading import read_logs
from energy_tracking.usage.names import UNIQUE_ID_LENGTH

np = pytest.importorskip("numpy", reason="batches are arrays of numpy")
duckdb = pytest.importorskip("duckdb", reason="the engine is DuckDB")
pyarrow = pytest.importorskip("pyarrow", reason="DuckDB gives columns of Arrow")

from pyarrow import parquet  # noqa: E402

from energy_tracking.logs import batch_reading  # noqa: E402
from energy_tracking.logs.batch_reading import read_batches  # noqa: E402
from energy_tracking.logs.batches.batch import BatchNames, CallBatch, batch_calls  # noqa: E402
from energy_tracking.logs.engine import finding, opening, reading  # noqa: E402
from energy_tracking.logs.engine.queries import Table  # noqa: E402

Row = tuple[Any, ...]


@pytest.fixture(autouse=True)
def _engine_reads_small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finding, "ENGINE_BYTES", 0)


def rows_of(batches: Any) -> list[Row]:
    """Every row of batches, names in place of their numbers."""
    rows: list[Row] = []
    for batch in batches:
        assert isinstance(batch, CallBatch)
        texts = [
            [None if number < 0 else getattr(batch.names, name).texts[number]
             for number in getattr(batch, name).tolist()]
            for name in ("model", "provider", "session", "file")
        ]  # fmt: skip
        counts = [
            getattr(batch, name).tolist()
            for name in (
                *("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens"),
                *("requests", "has_usage", "has_failed"),
            )
        ]
        times = [None if np.isnan(time) else round(time, 3) for time in batch.time.tolist()]
        rows += zip(*texts, *counts, times, strict=True)
    return rows


def read_both(
    *paths: Path, columns: Mapping[str, str] | None = None
) -> tuple[list[Row], ReadReport, list[Row], ReadReport]:
    files = [str(path) for path in paths]
    report, line_report = ReadReport(), ReadReport()
    found = rows_of(read_batches(files, BatchNames(), columns=columns, report=report))
    lines = read_logs(files, columns=columns, report=line_report)
    return found, report, rows_of(batch_calls(lines, BatchNames())), line_report


def check_same(
    *paths: Path, columns: Mapping[str, str] | None = None
) -> tuple[list[Row], ReadReport]:
    found, report, expected, line_report = read_both(*paths, columns=columns)
    key = repr
    assert sorted(found, key=key) == sorted(expected, key=key)
    assert report == line_report
    return found, report


@pytest.fixture
def read_by_engine(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that the engine has read, or begun to."""
    paths: list[str] = []
    read_table = reading.read_table

    def noted(table: Table, *rest: Any) -> Any:
        paths.append(table.path)
        return read_table(table, *rest)

    monkeypatch.setattr(batch_reading, "read_table", noted)
    return paths


HEADER = ("model", "input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens", "time")
ROWS: tuple[tuple[Any, ...], ...] = (
    ("gpt-4o", 100, 10, 0, "", "2025-01-01T00:00:00Z"),
    ("o1", 200, 20, 150, 5, "2025-01-01 01:00:00.1234567"),
    ("gpt-4o", 300, 30, "", "", "2025-01-01T03:00:00+02:00"),
    ("", 1, 0, "", "", "1735689600"),
    ("7", 1, 1, 1, 1, "1735689600123"),
    ('a, "b"', 5, 5, 0, 0, ""),
    ("o3-mini", 12.0, "8.0", 0, 0, "0.25"),
    ("NULL", 1, 2, "\\N", "null", "NULL"),
    (" o1 ", " 1", "2 ", 0, 0, ""),
)
ODD_ROWS: tuple[tuple[Any, ...], ...] = (
    ("gpt-4o", "", 10, 0, "", ""),
    ("gpt-4o", 10, "", 0, "", ""),
    ("gpt-4o", "", "", 0, "", ""),
    ("gpt-4o", "many", 10, 0, "", ""),
    ("gpt-4o", -5, 10, 0, "", ""),
    ("gpt-4o", 10.5, 10, 0, "", ""),
    ("gpt-4o", 10, 10, 11, "", ""),
    ("gpt-4o", 10, 10, "x", "", ""),
    ("gpt-4o", 10, 10, 0, 11, ""),
    ("gpt-4o", LARGEST_INPUT + 1, 10, 0, "", ""),
    ("gpt-4o", LARGEST_INPUT - 1, 10, 0, "", ""),
    ("Llama-4-Scout-17B", LARGEST_INPUT - 1, 10, 0, "", ""),
    ("gpt-4o", 10**20, 10, 0, "", ""),
    ("gpt-4o", 10, 10, 0, "", "yesterday"),
    ("gpt-4o", 10, 10, 0, "", "20250101"),
)


def write_csv(path: Path, rows: Sequence[Sequence[Any]], header: Sequence[str] = HEADER) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return path


@pytest.mark.parametrize("rows", [ROWS, (*ROWS, *ODD_ROWS, *ROWS)], ids=["even", "odd"])
@pytest.mark.parametrize("packed", [False, True])
def test_a_table_of_text_is_read_alike(
    rows: Sequence[Any], packed: bool, tmp_path: Path, read_by_engine: list[str]
) -> None:
    path = write_csv(tmp_path / "calls.csv", rows)
    if packed:
        path = tmp_path / "calls.csv.gz"
        path.write_bytes(gzip.compress((tmp_path / "calls.csv").read_bytes()))
    found, _ = check_same(path)
    assert read_by_engine == [str(path)]
    assert len(found) >= len(ROWS)


@pytest.mark.parametrize("column", ["session", "date", "metrics", "results", "type"])
def test_a_table_with_a_mark_of_another_format_is_read_by_the_engine(
    column: str, tmp_path: Path, read_by_engine: list[str]
) -> None:
    rows = [(*row, f"2025-01-0{number + 1}") for number, row in enumerate(ROWS)]
    path = write_csv(tmp_path / "calls.csv", rows, (*HEADER[:-1], "timestamp", column))
    check_same(path)
    assert read_by_engine == [str(path)]


@pytest.mark.parametrize("name", ["a[1]", "a?", "a*", "it's {x}"])
def test_a_name_with_signs_of_a_pattern_is_that_of_one_file(
    name: str, tmp_path: Path, read_by_engine: list[str]
) -> None:
    write_csv(tmp_path / "a1.csv", ROWS * 2)
    path = write_csv(tmp_path / f"{name}.csv", ROWS)
    escaped = Path(glob.escape(str(path)))
    found = rows_of(read_batches([str(escaped)], BatchNames()))
    assert (len(found), read_by_engine) == (len(ROWS), [str(path)])


def test_a_table_of_parquet_is_found_under_a_name_with_signs_of_a_pattern(
    tmp_path: Path, read_by_engine: list[str]
) -> None:
    for name, rows in (("a1", 3), ("a[1]", 5)):
        write_parquet(
            tmp_path / f"{name}.parquet", input_tokens=[10] * rows, output_tokens=[1] * rows
        )
    path = tmp_path / "a[1].parquet"
    found = rows_of(read_batches([glob.escape(str(path))], BatchNames()))
    assert (len(found), read_by_engine) == (5, [str(path)])


@pytest.mark.parametrize("place", range(len(ODD_ROWS)))
def test_each_odd_row_is_read_as_the_line_reader_reads_it(place: int, tmp_path: Path) -> None:
    check_same(write_csv(tmp_path / "calls.csv", [*ROWS, ODD_ROWS[place], *ROWS]))


def test_what_is_left_out_is_counted_with_its_line(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "calls.csv", [*ROWS, ODD_ROWS[2], ODD_ROWS[3], *ROWS])
    report = check_same(path)[1]
    assert {(reason, one.example, one.file, one.line) for reason, one in report.unread.items()} == {
        ("no token counts", "", str(path), 2 + len(ROWS)),
        ("input must be a whole number", ", got 'many'", str(path), 3 + len(ROWS)),
    }


@pytest.mark.parametrize(
    "damage",
    [
        b"gpt-4o,1,1,0,0,,too,many,cells\n",
        b"gpt-4o,1\n",
        b"\n\n  \n",
        b"gpt-\xff4o,1,1,0,0,\n",
        b'gpt-4o,1,1,0,0,"never closed\n',
        b'"gpt\n4o",1,1,0,0,\r\n',
    ],
    ids=["long row", "short row", "blank rows", "not UTF-8", "open quote", "row of two lines"],
)
def test_a_damaged_table_is_read_on_by_the_line_reader(damage: bytes, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "calls.csv", ROWS * 20)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:90], damage, *lines[90:]]))
    check_same(path)


JSON_COLUMNS = {"input": "in", "output": "out", "model": "name", "time": "at"}


def test_lines_of_json_whose_columns_are_given_are_read_alike(
    tmp_path: Path, read_by_engine: list[str]
) -> None:
    path = tmp_path / "calls.jsonl"
    lines: list[Any] = [
        {"in": 10 + n, "out": n, "name": "gpt-4o", "at": 1735689600 + n} for n in range(50)
    ]
    lines += [
        {"in": "7", "out": 2.0, "name": None, "at": "2025-01-01"},
        {"in": {"x": 1}, "out": 2},
        {"in": None, "out": None},
        {"model": "o1", "usage": {"prompt_tokens": 10, "completion_tokens": 5}},
        [1, 2],
        5,
    ]
    text = [json.dumps(line) for line in lines]
    text[20:20] = ["{damaged", "", "   ", '{"in": 1, "out": 2, "name": "tail"']
    path.write_text("\n".join(text), "utf-8")
    found, report = check_same(path, columns=JSON_COLUMNS)
    assert read_by_engine == [str(path)]
    assert sum(unread.count for unread in report.unread.values()) >= 4
    assert ("o1", 10, 5) in {(row[0], row[4], row[6]) for row in found}


def write_parquet(path: Path, **columns: Any) -> Path:
    with duckdb.connect() as connection:
        connection.register("columns", pyarrow.table(columns))
        connection.execute(f"COPY columns TO '{path}' (FORMAT parquet)")
    return path


COUNTS = {"input_tokens": 10, "output_tokens": 5}
ANTHROPICS = {"cache_read_tokens": 3, "cache_creation_tokens": 2}


@pytest.mark.parametrize(
    ("lines", "by_engine"),
    [
        ([COUNTS, COUNTS | {"model": "o1", "cached_tokens": 4, "time": 1_760_000_000}], True),
        ([COUNTS | {"model": 4}, COUNTS | {"model": "o1"}, COUNTS | {"model": "7"}], True),
        ([COUNTS | {"model": {"name": "o1"}}, COUNTS | {"model": "o1"}], True),
        ([COUNTS | {"model": None, "settings": {"model": "o1"}}, COUNTS | {"model": "o3"}], True),
        ([COUNTS | {"settings": {"model": "o1"}}], False),
        ([COUNTS | {"cache_read_tokens": 3}, COUNTS | ANTHROPICS], False),
        ([COUNTS, COUNTS | {"num_requests": 3}], False),
        ([{"user": "me"} | COUNTS, {"user": "Total"} | COUNTS], True),
        ([COUNTS, {"error": "none"}, {"prompt_tokens": 3, "completion_tokens": 4}], True),
    ],
    ids=[
        "more columns",
        "numbers",
        "objects",
        "in objects",
        "no column",
        "others",
        "sums",
        "totals",
        "rest",
    ],
)
def test_lines_of_json_may_differ_in_what_they_have(
    lines: Sequence[Any], by_engine: bool, tmp_path: Path, read_by_engine: list[str]
) -> None:
    text = "".join(json.dumps(line) + "\n" for line in [*lines, *lines]).encode()
    for name, content in (("plain", text), ("packed", gzip.compress(text))):
        path = tmp_path / name  # which does not say how it is packed
        path.write_bytes(content)
        check_same(path)
    assert len(read_by_engine) == 2 * by_engine


def test_parquet_of_any_types_is_read_alike(tmp_path: Path, read_by_engine: list[str]) -> None:
    start = datetime(2025, 1, 1, tzinfo=UTC)
    many = 300
    models = [("gpt-4o", "o1", None, "")[n % 4] for n in range(many)]
    path = write_parquet(
        tmp_path / "calls.parquet",
        model=pyarrow.array(models).dictionary_encode(),
        provider=pyarrow.array([("OpenAI", "azure", None)[n % 3] for n in range(many)]),
        prompt_tokens=pyarrow.array(range(many), pyarrow.uint16()),
        completion_tokens=pyarrow.array([None if n == 7 else float(n) for n in range(many)]),
        cached_tokens=pyarrow.array([n // 2 if n % 5 else None for n in range(many)]),
        session_id=pyarrow.array([n % 9 for n in range(many)]),
        timestamp=pyarrow.array([start + timedelta(minutes=n) for n in range(many)]),
    )
    found, _ = check_same(path)
    assert len(found) == many
    assert read_by_engine == [str(path)]


@pytest.mark.parametrize(
    "times",
    [
        pyarrow.array([datetime(2025, 1, 1, 1), datetime(2025, 1, 2)]),
        pyarrow.array([date(2025, 1, 1), date(2025, 1, 2)]),
        pyarrow.array([1735689600, 5]),
        pyarrow.array([1735689600123.0, None]),
        pyarrow.array(["2025-01-01", "2025-01-01T00:00:00+05:30"]),
        pyarrow.array(["2025-01-01 10:00:00 +0000 UTC", "2025-07-01 10:00:00.5 +0200 CEST"]),
    ],
    ids=["naive", "days", "seconds", "milliseconds", "text", "text of Go"],
)
def test_times_of_parquet_are_read_alike(times: Any, tmp_path: Path) -> None:
    path = write_parquet(
        tmp_path / "calls.parquet", input_tokens=[1, 2], output_tokens=[3, 4], time=times
    )
    found, _ = check_same(path)
    assert found[0][-1] is not None


@pytest.mark.parametrize("many", [3, 300], ids=["few", "many"])
def test_names_in_parquet_are_read_alike_whether_few_or_many(many: int, tmp_path: Path) -> None:
    names = [f'it\'s {n} "quoted" [{n}]' for n in range(many - 2)]
    rows = [*names, None, "", "gpt-4o", *names]
    path = write_parquet(
        tmp_path / "calls.parquet",
        model=pyarrow.array(rows),
        session_id=pyarrow.array(rows[::-1]),
        input_tokens=list(range(len(rows))),
        output_tokens=list(range(len(rows))),
    )
    found, _ = check_same(path)
    assert len({row[0] for row in found}) == many


@pytest.mark.parametrize("reasoning", [None, -1, 20])
@pytest.mark.parametrize("cached", [None, -1, 10, 11, 2**40])
@pytest.mark.parametrize("inputs", [-1, 10, 2**40])
def test_each_odd_row_of_parquet_is_read_as_the_line_reader_reads_it(
    inputs: int | None, cached: int | None, reasoning: int | None, tmp_path: Path
) -> None:
    path = write_parquet(
        tmp_path / "calls.parquet",
        input_tokens=pyarrow.array([5, inputs, 7], pyarrow.int64()),
        output_tokens=pyarrow.array([5, 10, 7], pyarrow.int32()),
        cached_tokens=pyarrow.array([5, cached, 7], pyarrow.int64()),
        reasoning_tokens=pyarrow.array([5, reasoning, None], pyarrow.int8()),
    )
    check_same(path)


def test_tables_with_ids_are_read_together_though_only_one_has_cached_tokens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    once: list[bool] = []
    read_once = reading.read_once

    def noted(*arguments: Any) -> Any:
        batches = read_once(*arguments)
        once.append(batches is not None)
        return batches

    monkeypatch.setattr(batch_reading, "read_once", noted)
    counts: dict[str, Any] = {"input_tokens": [10, 20], "output_tokens": [1, 2]}
    ids = [[f"{file}{row}{'0' * UNIQUE_ID_LENGTH}" for row in range(2)] for file in "ab"]
    first = write_parquet(tmp_path / "a.parquet", id=ids[0], cached_tokens=[5, None], **counts)
    second = write_parquet(tmp_path / "b.parquet", id=ids[1], **counts)
    found, _ = check_same(first, second)
    assert sorted(row[5] for row in found) == [0, 0, 0, 5]
    assert once == [True]


def test_anthropics_counts_are_added_to_the_cached_ones(
    tmp_path: Path, read_by_engine: list[str]
) -> None:
    path = write_parquet(
        tmp_path / "calls.parquet",
        model=["claude-sonnet-4"] * 4,
        input_tokens=[10, 10, 10, 10],
        output_tokens=[1, 2, 3, 4],
        cache_read_input_tokens=[100, 0, None, 7],
        cache_creation_input_tokens=[5, None, None, 3],
    )
    found, _ = check_same(path)
    assert [row[4] for row in found] == [115, 10, 10, 20]
    assert read_by_engine


@pytest.mark.parametrize(
    "type", [pyarrow.decimal128(38, 0), pyarrow.decimal128(30, 2), pyarrow.float64()], ids=str
)
@pytest.mark.parametrize("columns", [None, {"input": "input_tokens", "output": "output_tokens"}])
def test_whole_values_of_any_numeric_type_are_counts(
    type: Any, columns: Mapping[str, str] | None, tmp_path: Path, read_by_engine: list[str]
) -> None:
    path = write_parquet(
        tmp_path / "calls.parquet",
        input_tokens=pyarrow.array([10, 11, 12], pyarrow.int64()).cast(type),
        output_tokens=pyarrow.array([1, 2, 3], pyarrow.int64()).cast(type),
    )
    found, _ = check_same(path, columns=columns)
    assert [(row[4], row[6]) for row in found] == [(10, 1), (11, 2), (12, 3)]
    assert read_by_engine == [str(path)]


@pytest.mark.parametrize("model", [None, [None, "o1", " "], [{"name": "gpt-4o"}] * 3], ids=str)
def test_a_model_is_found_in_objects_where_its_column_has_none(model: Any, tmp_path: Path) -> None:
    path = write_parquet(
        tmp_path / "calls.parquet",
        input_tokens=[1, 2, 3],
        output_tokens=[3, 4, 5],
        settings=[{"model": "gpt-4o", "temperature": 1}] * 3,
        **({} if model is None else {"model": pyarrow.array(model)}),
    )
    found, _ = check_same(path)
    assert [row[0] for row in found].count("gpt-4o") == (1 if "o1" in (model or []) else 3)


def test_the_span_has_no_time_of_rows_that_nobody_could_read(tmp_path: Path) -> None:
    path = write_parquet(
        tmp_path / "calls.parquet",
        input_tokens=[1, 2],
        output_tokens=[3, 4],
        reasoning_tokens=[{"low": 1}, {"low": 2}],  # which only the line reader judges
        time=[datetime(2025, 1, 1), datetime(2025, 1, 2)],
    )
    report = ReadReport()
    assert not [*read_batches([str(path)], BatchNames(), report=report, wanted=("span",))]
    assert report.first > report.last


@pytest.mark.parametrize("names", [{"model": ["gpt-4o", "o1", None]}, {"user": ["a", "b", None]}])
def test_a_last_row_with_the_sums_of_those_above_is_no_call(
    names: Mapping[str, Any], tmp_path: Path
) -> None:
    path = write_parquet(
        tmp_path / "calls.parquet", **names, input_tokens=[1, 2, 3], output_tokens=[3, 4, 7]
    )
    found, report = check_same(path)
    assert (len(found), len([*report.omissions()])) == (2, 1)


def test_a_name_of_totals_counts_behind_a_column_without_a_count(tmp_path: Path) -> None:
    path = write_parquet(
        tmp_path / "calls.parquet",
        cached_tokens=[1, None],
        user=["a", "Total"],
        model=["gpt-4o", None],
        input_tokens=[1, 5],
        output_tokens=[3, 4],
    )
    assert len(check_same(path)[0]) == 1


def test_answers_from_a_cache_ran_no_model(tmp_path: Path, read_by_engine: list[str]) -> None:
    path = write_parquet(
        tmp_path / "calls.parquet",
        input_tokens=[1, 2, 3],
        output_tokens=[3, 4, 5],
        cache_hit=[True, False, None],
    )
    report = check_same(path)[1]
    assert (report.cache_hits, report.calls) == (1, 2)
    assert read_by_engine


def test_blanks_around_the_word_for_a_cache_hit_do_not_count(tmp_path: Path) -> None:
    header = ("input_tokens", "output_tokens", "cache_hit")
    path = write_csv(tmp_path / "calls.csv", [(1, 2, " true"), (3, 4, "Yes ")], header)
    assert check_same(path)[1].cache_hits == 2


def test_rows_keep_their_order_where_a_column_tells_answers_from_a_cache(tmp_path: Path) -> None:
    # Only the line reader can judge some, which it finds by their number.
    counts: list[Any] = [None if row % 7 == 3 else row for row in range(2_000)]
    columns = {"input_tokens": counts, "output_tokens": [*range(2_000)]}
    path = tmp_path / "calls.parquet"
    table = pyarrow.table({**columns, "cache_hit": [row % 3 == 0 for row in range(2_000)]})
    parquet.write_table(table, path, row_group_size=100)
    check_same(path)


@pytest.mark.parametrize("long_ids", [True, False])
def test_a_call_with_an_id_counts_once_across_tables(long_ids: bool, tmp_path: Path) -> None:
    prefix = "chatcmpl-0123456789abcdef" if long_ids else "c"
    paths = []
    for part in range(3):
        numbers = range(part * 50, part * 50 + 100)
        paths.append(
            write_parquet(
                tmp_path / f"part{part}.parquet",
                id=[f"{prefix}{n}" for n in numbers],
                model=["gpt-4o" if n % 2 else None for n in numbers],
                input_tokens=[100 + n for n in numbers],
                # The later copy of a call has more.
                output_tokens=[10 + (part if long_ids else 0) for _ in numbers],
            )
        )
    found, report = check_same(*paths)
    assert (len(found), report.repeated) == (200, 100)


def test_a_copy_of_a_table_counts_once(tmp_path: Path) -> None:
    whole = write_csv(tmp_path / "whole.csv", ROWS * 3)
    part = write_csv(tmp_path / "part.csv", ROWS * 2)
    other = write_csv(tmp_path / "other.csv", ROWS[::-1])
    found, report = check_same(whole, part, other)
    assert (len(found), report.repeated) == (4 * len(ROWS), 2 * len(ROWS))
    twice, report, _, _ = read_both(other, other)
    assert (len(twice), report.repeated) == (len(ROWS), len(ROWS))


def test_what_is_no_table_of_calls_goes_to_the_line_reader(
    tmp_path: Path, read_by_engine: list[str]
) -> None:
    sums = write_csv(
        tmp_path / "sums.csv",
        [("gpt-4o", 1000, 100, 10)],
        ("model", "input_tokens", "output_tokens", "n_requests"),
    )
    response = tmp_path / "response.jsonl"
    usage = {"prompt_tokens": 10, "completion_tokens": 5}
    response.write_text(json.dumps({"model": "gpt-4o", "usage": usage}) + "\n", "utf-8")
    check_same(sums, response)
    assert not read_by_engine


def test_strict_reading_stops_at_the_first_entry_that_cannot_be_read(
    tmp_path: Path, read_by_engine: list[str]
) -> None:
    from energy_tracking.errors import UnreadableLogError

    path = write_csv(tmp_path / "calls.csv", [*ROWS, ODD_ROWS[2]])
    with pytest.raises(UnreadableLogError, match=f"line {2 + len(ROWS)}"):
        list(read_batches([path], BatchNames(), strict=True))
    assert not read_by_engine


CELLS: st.SearchStrategy[Any] = st.one_of(
    st.integers(-2, 50),
    st.sampled_from(
        ["", " 5", "5 ", "1e3", "1_000", "+5", "5.0", ".5", "nan", "inf", "-0", "0x1f"],
    ),
    st.sampled_from(["true", "None", "null", "NaN", "٣", "1,5", '"', "a\nb", "x" * 50, 10**19]),
)
TIMES = st.one_of(
    st.datetimes(datetime(1971, 1, 1), datetime(2100, 1, 1)).map(str),
    st.sampled_from(["", "2025-01-01", "2025-01-01 UTC", "1e9", "1735689600000", "-5", "now", "0"]),
)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(rows=st.lists(st.tuples(st.sampled_from(["o1", ""]), *[CELLS] * 4, TIMES), max_size=12))
def test_cells_of_any_content_are_read_alike(rows: list[Any], tmp_path: Path) -> None:
    check_same(write_csv(tmp_path / "calls.csv", [ROWS[0], *rows]))


def test_files_without_a_large_table_load_no_engine(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    usage = {"prompt_tokens": 10, "completion_tokens": 20}
    path.write_text(json.dumps({"model": "gpt-4o", "usage": usage}) + "\n")
    code = (
        "import sys\n"
        "from energy_tracking.logs.batch_reading import read_batches\n"
        "from energy_tracking.logs.batches.batch import BatchNames\n"
        "print(sum(map(len, read_batches(sys.argv[1:], BatchNames()))))\n"
        "print(sys.modules.keys() & {'duckdb', 'pyarrow'})\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["1", "set()"]


def test_a_file_that_has_changed_since_it_was_read_is_read_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "calls.parquet"
    with opening.open_engine() as connection:
        for rows in (10, 20, 5, 3000, 20):
            write_parquet(path, input_tokens=list(range(rows)))
            query = f"SELECT count(*), sum(input_tokens) FROM read_parquet('{path}')"
            assert connection.execute(query).fetchone() == (rows, sum(range(rows)))


def test_duckdb_draws_no_bar_of_its_own() -> None:
    with opening.open_engine() as connection:
        found = connection.execute("SELECT current_setting('enable_progress_bar')").fetchone()
    assert found == (False,)


def test_without_duckdb_the_line_reader_reads_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read_by_engine: list[str]
) -> None:
    path = write_csv(tmp_path / "calls.csv", ROWS)
    for name in ("duckdb", "pyarrow"):
        with monkeypatch.context() as changed:
            changed.setitem(sys.modules, name, None)
            check_same(path)
    assert not read_by_engine
