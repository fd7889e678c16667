"""Tables as dashboards, clouds and tools export them, by the line reader and by the engine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

np = pytest.importorskip("numpy", reason="batches are arrays of numpy")
pytest.importorskip("duckdb", reason="the engine is DuckDB")
pytest.importorskip("pyarrow", reason="DuckDB gives columns of Arrow")

from energy_tracking.logs.batch_reading import read_batches  # noqa: E402
from energy_tracking.logs.batches import BatchNames, CallBatch, batch_calls  # noqa: E402
from energy_tracking.logs.engine import finding  # noqa: E402
from energy_tracking.logs.logged import ReadReport  # noqa: E402
from energy_tracking.logs.reading import read_logs  # noqa: E402

Row = tuple[Any, ...]


class Found(NamedTuple):
    """What was read: calls and sums, and what was said.

    Attributes:
        calls: Model, input, output and cached tokens of each call.
        sums: Model, requests, input and output tokens of each sum.
        said: What was left out or guessed.
    """

    calls: list[Row]
    sums: list[Row]
    said: list[str]


def rows_of(batches: Any) -> list[str]:
    rows: list[str] = []
    for batch in batches:
        assert isinstance(batch, CallBatch)
        models = [
            None if number < 0 else batch.names.model.texts[number]
            for number in batch.model.tolist()
        ]
        names = ("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens")
        counts = [getattr(batch, name).tolist() for name in (*names, "requests")]
        rows += map(repr, zip(models, *counts, batch.time.tolist(), strict=True))
    return sorted(rows)


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Reads a table by the line reader, after making sure that the engine says the same."""

    def read(
        text: str | bytes, name: str = "table.csv", columns: Mapping[str, str] | None = None
    ) -> Found:
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        report, engine_report = ReadReport(), ReadReport()
        entries = list(read_logs([path], report=report, columns=columns))
        lines = rows_of(batch_calls((entry for entry in entries), BatchNames()))
        with monkeypatch.context() as changed:
            changed.setattr(finding, "ENGINE_BYTES", 0)
            batches = read_batches([path], BatchNames(), report=engine_report, columns=columns)
            assert rows_of(batches) == lines
        assert engine_report == report
        counted = [(entry, entry.counts) for entry in entries if entry.counts is not None]
        return Found(
            [
                (entry.model, counts.input_tokens, counts.output_tokens, counts.cached_input_tokens)
                for entry, counts in counted
                if entry.is_call
            ],
            [
                (entry.model, entry.requests, counts.input_tokens, counts.output_tokens)
                for entry, counts in counted
                if not entry.is_call
            ],
            [line.replace(str(path), "FILE") for line in report.omissions()],
        )

    return read


# Lines above the names.

NAMES = "model,input_tokens,output_tokens"
ROWS = "gpt-4o,10,20\no1,1,2\n"
TITLES = {
    "a title": "Usage of May\n\n",
    "titles of two cells": "Company,ACME Ltd\nDate range,05/10/26 to 06/10/26\n\n",
    "titles filled up by a spreadsheet": "Usage of May,,\n,,\nExported:,12.05.2026,\n",
    "titles in quotes": '"Usage, May"\n"Filter: model = ""gpt-4o"""\n\n',
    "sums of what follows": "Total Input Tokens,11\nTotal Output Tokens,22\nTotal Requests,2\n\n",
    "a heading": "# Usage\n\nAll models.\n\n",
    "what Excel writes": "sep=,\nUsage of May\n",
    "20 lines": "a note\n" * 20,
}


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("titles", TITLES)
def test_titles_may_stand_above_the_names(
    titles: str, encoding: str, ending: str, read: Any
) -> None:
    text = f"{TITLES[titles]}{NAMES}\n{ROWS}o1,x,2\n"
    found = read(text.replace("\n", ending).encode(encoding))
    assert found.calls == [("gpt-4o", 10, 20, 0), ("o1", 1, 2, 0)]
    line = text.count("\n")
    assert found.said == [
        f"FILE: 1 entry left out: input must be a whole number, got 'x' (first: line {line})"
    ]


def test_a_table_below_titles_has_the_columns_that_are_named(read: Any) -> None:
    columns = {"input": "input_tokens", "output": "output_tokens"}
    found = read(f"Usage of May\n\n{NAMES}\n{ROWS}", columns=columns)
    assert [call[1:3] for call in found.calls] == [(10, 20), (1, 2)]


def test_a_row_with_the_name_of_a_count_is_no_line_of_names(read: Any) -> None:
    text = "metric,value\ninput_tokens,10\noutput_tokens,20\n"
    assert read(text).calls == []


@pytest.mark.parametrize(
    "name", ["95th percentile [ms]", "Cost <USD>", "[a] b", "p(x) = 1", "2026 cost"]
)
def test_other_columns_may_have_any_name(name: str, read: Any) -> None:
    found = read(f"{NAMES},{name}\ngpt-4o,10,20,1\n")
    assert (found.calls, found.said) == ([("gpt-4o", 10, 20, 0)], [])


def test_a_cell_may_hold_json_in_lines(read: Any) -> None:
    found = read(f'{NAMES},answer\ngpt-4o,10,20,"see:\n{{\n""a"": 1\n}}"\no1,1,2,\n')
    assert (found.calls, found.said) == ([("gpt-4o", 10, 20, 0), ("o1", 1, 2, 0)], [])


PRINTED = {
    "mysql": "+--------+--------------+---------------+\n"
             "| model  | input_tokens | output_tokens |\n"
             "+--------+--------------+---------------+\n"
             "| gpt-4o |           10 |            20 |\n"
             "| o1     |            1 |             2 |\n"
             "+--------+--------------+---------------+\n2 rows in set (0.00 sec)\n",
    "psql": " model  | input_tokens | output_tokens \n--------+--------------+--------------\n"
            " gpt-4o |           10 |            20\n o1     |            1 |             2\n"
            "(2 rows)\n\n",
    "SQLite": "┌────────┬──────────────┬───────────────┐\n"
              "│ model  │ input_tokens │ output_tokens │\n"
              "├────────┼──────────────┼───────────────┤\n"
              "│ gpt-4o │ 10           │ 20            │\n"
              "│ o1     │ 1            │ 2             │\n"
              "└────────┴──────────────┴───────────────┘\n",
}  # fmt: skip


@pytest.mark.parametrize("client", PRINTED)
def test_what_a_client_of_a_database_prints_is_read_once(client: str, read: Any) -> None:
    found = read(PRINTED[client])
    assert (found.calls, found.said) == ([("gpt-4o", 10, 20, 0), ("o1", 1, 2, 0)], [])


# Rows that add others up.

CALLS = "user,model,input_tokens,output_tokens\nme,o1,1,2\nyou,o1,3,4\n"
READ = [("o1", 1, 2, 0), ("o1", 3, 4, 0)]
OF_TOTALS = "of totals over the rows above, left out (first: line {line})"
TOTAL_ROWS = (
    *("Total,,4,6", "TOTAL:,,4,6", ",Grand total,4,6", "Summe,,4,6", ",合计,4,6", "**Sum**,,4,6"),
    *("Gesamtergebnis,,4,6", "Total général,,4,6", "Итого,,4,6", "Overall,,4,6", ",All models,4,6"),
    # As Excel names subtotals, and a query its own; and one without any name.
    *("o1 Total,,4,6", ",o1 Total,4,6", "Total of May,,4,6", ",,4,6"),
)


@pytest.mark.parametrize("row", TOTAL_ROWS)
def test_a_row_of_totals_is_no_call(row: str, read: Any) -> None:
    found = read(f"{CALLS}{row}\n")
    assert (found.calls, found.sums) == (READ, [])
    assert found.said == ["FILE: 1 entry " + OF_TOTALS.format(line=4)]


@pytest.mark.parametrize("row", ["Total,,4000000,6", ",,4000000,6"])
def test_totals_beyond_the_largest_context_are_no_sum_of_further_requests(
    row: str, read: Any
) -> None:
    calls = "user,model,input_tokens,output_tokens\nme,o1,2000000,2\nyou,o1,2000000,4\n"
    found = read(f"{calls}{row}\n")
    assert (len(found.calls), found.sums) == (2, [])
    assert found.said == ["FILE: 1 entry " + OF_TOTALS.format(line=4)]


def test_totals_may_stand_above_and_among_the_rows(read: Any) -> None:
    header, first, second = CALLS.splitlines()
    rows = ("Total,,4,6", first, "me Total,,1,2", second, "you Total,,3,4", "Average,,2,3")
    found = read("\n".join([header, *rows]))
    assert found.calls == READ
    assert found.said == [
        "FILE: 3 entries " + OF_TOTALS.format(line=2),
        "FILE: 1 entry of means over the rows above, left out (first: line 7)",
    ]


def test_a_team_of_that_name_has_calls_which_have_a_model_and_a_time(read: Any) -> None:
    rows = "".join(f"Total,o1,{n},2,2026-01-0{n}T10:00:00Z\n" for n in range(1, 4))
    found = read(f"team,model,input_tokens,output_tokens,time\n{rows}")
    assert (len(found.calls), found.said) == (3, [])


@pytest.mark.parametrize("rows", ["me,o1,1,2\n,,1,2\n", "me,o1,1,2\nyou,o1,3,4\n,,4,7\n"])
def test_a_row_without_a_name_that_states_no_sum_is_a_call(rows: str, read: Any) -> None:
    found = read(f"user,model,input_tokens,output_tokens\n{rows}")
    assert (len(found.calls), found.said) == (rows.count("\n"), [])


def test_rows_without_names_or_tokens_are_no_totals(read: Any) -> None:
    rows = "me,o1,0,0\n" * 2 + ",,0,0\n" * 30
    assert len(read(f"user,model,input_tokens,output_tokens\n{rows}").calls) == 32


def test_totals_in_lines_of_json_are_no_call(read: Any) -> None:
    lines = [f'{{"model": "{one}", "input_tokens": 3, "output_tokens": 4}}' for one in ("a", "b")]
    total = '{"model": "TOTAL", "input_tokens": 6, "output_tokens": 8}'
    found = read("\n".join([*lines, total]) + "\n", "lines.jsonl")
    assert found.calls == [("a", 3, 4, 0), ("b", 3, 4, 0)]
    assert found.said == ["FILE: 1 entry " + OF_TOTALS.format(line=3)]


@pytest.mark.parametrize("many", [False, True])
def test_totals_in_parquet_are_no_call(many: bool, read: Any, tmp_path: Path) -> None:
    import pyarrow.parquet

    models = [f"m{number}" for number in range(300 if many else 2)]
    counts = [3] * len(models)
    columns = {
        "model": [*models, "Total"],
        "input_tokens": [*counts, sum(counts)],
        "output_tokens": [*counts, sum(counts)],
    }
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "made")
    found = read((tmp_path / "made").read_bytes(), "table.parquet")
    assert len(found.calls) == len(models)
    assert found.said == ["FILE: 1 entry " + OF_TOTALS.format(line=len(models) + 1)]


# Several tables in one file.


def test_a_table_below_another_may_add_up_the_same_calls(read: Any) -> None:
    found = read(
        "Usage\n\nBy model\nModel,Cost (USD),Calls,Input Tokens,Output Tokens\n"
        "gpt-4o,0.1,3,30,60\no1,0.1,2,20,40\n\n"
        "By provider\nProvider,Cost (USD),Calls,Input Tokens,Output Tokens\nopenai,0.2,5,50,100\n"
    )
    assert found.sums == [("gpt-4o", 3, 30, 60), ("o1", 2, 20, 40)]
    assert found.said == [
        "FILE: 1 entry left out: no token counts (first: line 8)",
        "FILE: 2 entries left out: of another table below the first, which may add up the same "
        "calls: put it in a file of its own (first: line 9)",
    ]


def test_calls_below_which_another_table_begins_are_read_alike(read: Any) -> None:
    found = read(f"{CALLS}\nuser,project,model,input_tokens,output_tokens\nme,x,o1,1,2\n")
    assert found.calls == READ
    (said,) = found.said
    assert said.startswith("FILE: 2 entries left out: of another table below the first")


def test_files_of_the_same_names_may_be_joined(read: Any) -> None:
    found = read(CALLS + CALLS.replace("o1", "o3"))
    assert (len(found.calls), found.said) == (4, [])
