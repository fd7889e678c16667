"""Tables as dashboards, clouds and tools export them, by the line reader and by the engine."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import pytest

np = pytest.importorskip("numpy", reason="batches are arrays of numpy")
pytest.importorskip("duckdb", reason="the engine is DuckDB")
pytest.importorskip("pyarrow", reason="DuckDB gives columns of Arrow")

from energy_tracking.logs.batch_reading import read_batches  # noqa: E402
from energy_tracking.logs.batches.batch import BatchNames, CallBatch, batch_calls  # noqa: E402
from energy_tracking.logs.engine import finding  # noqa: E402
from energy_tracking.logs.formats import breakdowns  # noqa: E402
from energy_tracking.logs.formats.breakdowns import COUNTED_TOO, LEFT_OUT  # noqa: E402
from energy_tracking.logs.formats.tables import MORE_CELLS, RIGHT_COLUMNS  # noqa: E402
from energy_tracking.logs.logged import time_of  # noqa: E402
from energy_tracking.logs.read_report import ReadReport  # noqa: E402
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
        named = [
            [None if number < 0 else getattr(batch.names, name).texts[number]
             for number in getattr(batch, name).tolist()]
            for name in ("model", "provider", "session")
        ]  # fmt: skip
        names = ("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens")
        counts = [getattr(batch, name).tolist() for name in (*names, "requests")]
        rows += map(repr, zip(*named, *counts, batch.time.tolist(), strict=True))
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


def test_titles_may_end_otherwise_than_rows(read: Any) -> None:
    found = read("Usage of May\n\n" + f"{NAMES}\n{ROWS}".replace("\n", "\r\n"))
    assert len(found.calls) == 2


def test_a_first_row_that_is_short_has_the_columns_of_the_others(read: Any) -> None:
    found = read("output_tokens,prompt_tokens,model,input_tokens\n20,10\n2,9,o1,1\n")
    assert found.calls == [(None, 0, 20, 0), ("o1", 1, 2, 0)]
    assert len(found.said) == 1


def test_answers_from_a_cache_are_counted_where_calls_have_ids(read: Any) -> None:
    rows = "".join(f"{one * 30},o1,10,20,{hit}\n" for one, hit in (("a", "no"), ("b", "yes")))
    assert len(read(f"id,model,input_tokens,output_tokens,cache_hit\n{rows}").calls) == 1


def test_a_provider_that_is_a_number_is_none(read: Any) -> None:
    assert len(read("provider,model,input_tokens,output_tokens\n1,o1,10,20\n").calls) == 1


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
    *("o1 Total,,4,6", ",o1 Total,4,6", "Total of May,,4,6", ",,4,6", "both,,4,6"),
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


def test_totals_with_an_id_are_no_call(read: Any) -> None:
    rows = "a1,o1,1,2\nb2,o1,3,4\nc3,Total,4,6\nTotal,,4,6\n"
    found = read(f"id,model,input_tokens,output_tokens\n{rows}")
    assert (len(found.calls), len(found.said)) == (2, 1)


def test_totals_in_lines_of_json_are_known_by_their_first_name(read: Any) -> None:
    lines = [f'{{"session_id": "{one}", "input_tokens": 3, "output_tokens": 4}}' for one in "ab"]
    total = '{"session_id": "Total", "input_tokens": 6, "output_tokens": 8}'
    found = read("\n".join([*lines, total]) + "\n", "lines.jsonl")
    assert (len(found.calls), len(found.said)) == (2, 1)


def test_a_time_that_is_empty_is_not_said_to_be_unread(read: Any) -> None:
    line = '{"time": "", "model": "o1", "input_tokens": 3, "output_tokens": 4}\n'
    assert read(line * 2, "lines.jsonl").said == []


@pytest.mark.parametrize("named", ["model", "team"])
@pytest.mark.parametrize("many", [False, True])
def test_totals_in_parquet_are_no_call(many: bool, named: str, read: Any, tmp_path: Path) -> None:
    import pyarrow.parquet

    models = [f"m{number}" for number in range(300 if many else 2)]
    counts = [3] * len(models)
    columns = {
        named: [*models, "Total"],
        "model": [*models, "Total" if named == "model" else None],
        "input_tokens": [*counts, sum(counts)],
        "output_tokens": [*counts, sum(counts)],
    }
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "made")
    found = read((tmp_path / "made").read_bytes(), "table.parquet")
    assert len(found.calls) == len(models)
    assert found.said == ["FILE: 1 entry " + OF_TOTALS.format(line=len(models) + 1)]


@pytest.mark.parametrize(("many", "names"), [(4, 4), (600, 300), (3000, 3000)])
@pytest.mark.parametrize("beside", [(), ("model",), ("model", "time")])
def test_totals_among_the_rows_of_parquet_are_no_call(
    beside: tuple[str, ...], many: int, names: int, read: Any, tmp_path: Path
) -> None:
    import pyarrow.parquet

    teams = [f"t{number % names}" for number in range(many)]
    place = len(teams) // 2
    named = [*teams[:place], "Total", *teams[place:]]
    columns: dict[str, list[Any]] = {"team": named}
    columns |= {what: [None if one == "Total" else "2026-05-01T10:00:00Z"
                                        for one in named] for what in beside}  # fmt: skip
    counts = [3 * place if one == "Total" else 3 for one in named]
    columns |= dict.fromkeys(("input_tokens", "output_tokens"), counts)
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "made")
    found = read((tmp_path / "made").read_bytes(), "table.parquet")
    assert len(found.calls) == len(teams)
    assert found.said == ["FILE: 1 entry " + OF_TOTALS.format(line=place + 1)]


@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_row_with_more_cells_than_names_is_said(at: int, read: Any) -> None:
    rows = ["o1,1,2"] * 2
    rows.insert(at, "o1,1,234,5,678")
    found = read("model,input_tokens,output_tokens\n" + "\n".join(rows) + "\n")
    assert len(found.calls) == 3
    assert found.said == [f"FILE: 1 entry {MORE_CELLS} (first: line {at + 2})"]


def test_a_delimiter_behind_the_last_cell_is_not_said(read: Any) -> None:
    found = read("model,input_tokens,output_tokens\n" + "o1,1,2,,\n" * 2)
    assert (len(found.calls), found.said) == (2, [])


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


@pytest.mark.parametrize("names", ["time,user,model,input_tokens,output_tokens",
                                   "model,time,output_tokens,input_tokens"])  # fmt: skip
def test_another_table_may_have_any_name_in_the_place_of_a_count(names: str, read: Any) -> None:
    found = read(f"{CALLS}{names}\nx,y,5,6\n")
    assert found.calls == READ
    assert found.said[0].startswith("FILE: 2 entries left out: of another table")


def test_files_of_the_same_names_may_be_joined(read: Any) -> None:
    found = read(CALLS + CALLS.replace("o1", "o3"))
    assert (len(found.calls), found.said) == (4, [])


# Usage that one table breaks down in several ways: the right answer, and how many rows repeat it.

MODELS = [("gpt-4o", 20, 200, 20), ("gpt-4o-mini", 10, 100, 10)]
DAYS = [(None, 10, 150, 5), (None, 20, 150, 25)]
COUNTS = "requests,input_tokens,output_tokens"
BY_MODEL = "gpt-4o,20,200,20\n{0}gpt-4o-mini,10,100,10\n"
BY_USER = "ann,10,150,5\n{0}bo,20,150,25\n"
BREAKDOWNS = {
    "a section for each": (
        f"Section,Name,{COUNTS}\nBy model,{BY_MODEL.format('By model,')}"
        f"By user,{BY_USER.format('By user,')}", MODELS, 2,
    ),
    "the better one below": (
        f"Group by,Key,{COUNTS}\nuser,{BY_USER.format('user,')}key,k,30,300,30\n"
        f"model,{BY_MODEL.format('model,')}", MODELS, 3,
    ),
    "columns that others leave empty": (
        f"report_type,date,model,{COUNTS}\ndaily,2026-05-01,,10,150,5\n"
        f"daily,2026-05-02,,20,150,25\nmodel,,{BY_MODEL.format('model,,')}", MODELS, 2,
    ),
    "no number of requests": (
        "breakdown,name,input_tokens,output_tokens\nmodel,gpt-4o,200,20\nmodel,o1,100,10\n"
        "team,a,150,5\nteam,b,150,25\n", [("gpt-4o", None, 200, 20), ("o1", None, 100, 10)], 2,
    ),
    "titles between": (
        f"Name,{COUNTS}\nBy model,,,\n{BY_MODEL.format('')}By user,,,\n{BY_USER.format('')}",
        MODELS, 2,
    ),
    "hours and their day": (
        f"time,granularity,{COUNTS}\n2026-05-01,day,30,300,30\n"
        "2026-05-01T10:00Z,hour,10,150,5\n2026-05-01T11:00Z,hour,20,150,25\n", DAYS, 1,
    ),
    "a quarter and its months": (
        f"Period,{COUNTS}\n2026-Q1,30,300,30\n2026-01,10,150,5\n2026-02,20,150,25\n", DAYS, 1,
    ),
    "SQL's ROLLUP": (
        f"model,day,{COUNTS}\ngpt-4o,2026-05-01,20,200,20\ngpt-4o,2026-05-02,60,600,60\n"
        "gpt-4o,,80,800,80\no1,2026-05-01,10,100,10\no1,,10,100,10\n,,90,900,90\n",
        [("gpt-4o", 20, 200, 20), ("gpt-4o", 60, 600, 60), ("o1", 10, 100, 10)], 3,
    ),
    "SQL's CUBE": (
        f"model,team,{COUNTS}\ngpt-4o,a,20,200,20\ngpt-4o,b,60,600,60\ngpt-4o,ALL,80,800,80\n"
        "ALL,a,20,200,20\nALL,b,60,600,60\nALL,ALL,80,800,80\n",
        [("gpt-4o", 20, 200, 20), ("gpt-4o", 60, 600, 60)], 4,
    ),
    # As Excel exports a pivot table in its compact form: each day above its models.
    "a pivot table": (
        "Row Labels,Sum of input_tokens,Sum of output_tokens,Count of id\n2026-05-01,300,30,30\n"
        "gpt-4o,200,20,20\ngpt-4o-mini,100,10,10\n2026-05-02,600,60,60\ngpt-4o,600,60,60\n",
        [*MODELS, ("gpt-4o", 60, 600, 60)], 2,
    ),
    "days and their month": (
        f"Period,{COUNTS}\n2026-05,30,300,30\n2026-05-01,10,150,5\n2026-05-02,20,150,25\n",
        DAYS, 1,
    ),
    "hours and their day, without a word": (
        f"time,{COUNTS}\n2026-05-01,30,300,30\n2026-05-01 00:00,10,150,5\n"
        "2026-05-01 01:00,20,150,25\n", DAYS, 1,
    ),
    "a total of any name": (f"Team,{COUNTS}\na,10,150,5\nb,20,150,25\n(all),30,300,30\n", DAYS, 1),
    "one row and all": (f"Model,{COUNTS}\nAll,20,200,20\ngpt-4o,20,200,20\n", MODELS[:1], 1),
    "a tree": (
        f"Name,{COUNTS}\nTeam a,30,300,30\n  ann,10,150,5\n  bo,20,150,25\nTeam b,5,50,5\n"
        "  cy,5,50,5\n", [*DAYS, (None, 5, 50, 5)], 2,
    ),
    "lines of JSON": (
        '{"dimension": "model", "value": "gpt-4o", "requests": 20, "input_tokens": 200}\n'
        '{"dimension": "user", "value": "ann", "requests": 20, "input_tokens": 200}\n',
        [("gpt-4o", 20, 200, 0)], 1,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BREAKDOWNS)
def test_usage_that_is_broken_down_several_times_counts_once(name: str, read: Any) -> None:
    text, sums, repeated = BREAKDOWNS[name]
    found = read(text, "lines.jsonl" if text.startswith("{") else "table.csv")
    assert (found.calls, found.sums) == ([], sums)
    (said,) = [one for one in found.said if LEFT_OUT in one]
    assert said.startswith(f"FILE: {repeated} entr")


def test_sections_with_other_totals_all_count(read: Any) -> None:
    rows = f"Section,Model,{COUNTS}\nlive,gpt-4o,20,200,20\ntest,gpt-4o-mini,10,100,10\n"
    assert read(rows) == Found([], MODELS, [])


def test_a_breakdown_with_other_totals_counts_which_is_said(read: Any) -> None:
    rows = f"breakdown,name,{COUNTS}\nmodel,{BY_MODEL.format('model,')}user,ann,10,150,5\n"
    found = read(rows)
    assert found.sums == [*MODELS, (None, 10, 150, 5)]
    assert found.said == [f"FILE: 1 entry {COUNTED_TOO} (first: line 4)"]


@pytest.mark.parametrize(
    "rows",
    [
        f"level,model,{COUNTS}\n1,o1,100,1000,500\n2,o1,100,1000,500\n",
        f"Section,model,{COUNTS}\nlive,o1,100,1000,500\ntest,o1,100,1000,500\n",
        f"Name,{COUNTS}\nRun 1,,,\no1,100,1000,500\nRun 2,,,\no1,100,1000,500\n",
        f"model,note,{COUNTS}\no1,,100,1000,500\no1,long,100,1000,501\n",
    ],
)
def test_runs_of_equal_length_all_count(rows: str, read: Any) -> None:
    found = read(rows)
    assert (len(found.sums), found.said) == (2, [])


def test_the_same_usage_in_tables_of_two_files_counts_once(tmp_path: Path) -> None:
    texts = [f"User,{COUNTS}\n{BY_USER.format('')}", f"Model,{COUNTS}\n{BY_MODEL.format('')}"]
    paths = [tmp_path / name for name in ("a.csv", "b.csv")]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text, "utf-8")
    report = ReadReport()
    calls = list(read_logs(paths, report=report))
    assert [(call.model, call.requests) for call in calls] == [("gpt-4o", 20), ("gpt-4o-mini", 10)]
    (said,) = report.omissions()
    assert said == f"{paths[0]}: 2 entries {LEFT_OUT} (first: line 2)"


def test_an_export_in_another_order_is_a_copy(tmp_path: Path) -> None:
    header, *rows = f"Model,{COUNTS}\n{BY_MODEL.format('')}".splitlines()
    for name, ordered in (("a.csv", rows), ("b.csv", rows[::-1])):
        (tmp_path / name).write_text("\n".join([header, *ordered]), "utf-8")
    assert len(list(read_logs([tmp_path]))) == 2


def test_of_many_files_some_are_compared_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(breakdowns, "HELD", 5)
    for number in range(9):
        rows = f"Model,{COUNTS}\nAll,{number + 2},9,9\ngpt-4o,{number + 2},9,9\n"
        (tmp_path / f"{number}.csv").write_text(rows, "utf-8")
    calls = list(read_logs([tmp_path]))
    assert [(call.model, call.requests) for call in calls] == [
        ("gpt-4o", number + 2) for number in range(9)
    ]


def test_points_set_thousands_apart_where_semicolons_separate_cells(read: Any) -> None:
    rows = "o1;1.000;2;2.500\no1;12.5;2;\no1;1.0;2;\no1;1.234.567;2;\n"
    found = read(f"model;input_tokens;output_tokens;cached_tokens\n{rows}".replace("2.500", "500"))
    assert [call[1] for call in found.calls] == [1000, 1, 1_234_567]


def test_a_service_of_logs_says_the_types_of_columns(read: Any) -> None:
    columns = [{"name": name, "type": "x"} for name in ("model", *COUNTS.split(","))]
    table = {"name": "PrimaryResult", "columns": columns, "rows": [["o1", 20, 200, 20]]}
    found = read(json.dumps({"tables": [table]}), "log.json")
    assert found == Found([], [("o1", 20, 200, 20)], [])


def test_columns_of_the_same_name_are_said(read: Any) -> None:
    found = read(f"{COUNTS},{COUNTS}\n20,200,20,10,100,10\n")
    assert found.sums == [(None, 20, 200, 20)]
    assert [said.split(" was taken from ")[0] for said in found.said] == [
        "FILE: each row's input",
        "FILE: each row's output",
    ]


RIVALS = [
    ("input_tokens,prompt_tokens,output_tokens", "10,20,5",
     ("input", "input_tokens", "prompt_tokens")),
    ("id,input_tokens,output_tokens,completion_tokens", "a,10,5,6",
     ("output", "output_tokens", "completion_tokens")),
    ("output_tokens,input_tokens,output_tokens", "5,10,6",
     ("output", "output_tokens", "output_tokens.4")),
]  # fmt: skip


@pytest.mark.parametrize(("names", "row", "right"), RIVALS)
def test_of_two_numbers_for_one_count_it_is_said_which_was_taken(
    names: str, row: str, right: tuple[str, str, str], read: Any, tmp_path: Path
) -> None:
    found = read(f"model,{names}\n" + f"o1,{row}\n" * 3)
    assert {call[1:3] for call in found.calls} == {(10, 5)}
    what, taken, other = right
    assert found.said == [
        f"FILE: each row's {what} was taken from the column {taken!r}, and not from {other!r}, "
        f"which has another number; {RIGHT_COLUMNS}"
    ]
    # What it says to do can be done.
    named = {"input": "input_tokens", "output": "output_tokens", what: other, "model": "model"}
    path = tmp_path / "again.csv"
    path.write_text(f"model,{names}\no1,{row}\n", "utf-8")
    (call,) = read_logs([path], columns=named)
    assert call.counts is not None
    counts = {"input": call.counts.input_tokens, "output": call.counts.output_tokens}
    assert counts[what] == {"input": 20, "output": 6}[what]


@pytest.mark.parametrize(
    ("names", "row"),
    [
        ("input_tokens,prompt_tokens,output_tokens", "10,10,5"),
        ("input_tokens,cache_read_input_tokens,total_input_tokens,output_tokens", "10,90,100,5"),
        ("tokens_prompt,native_tokens_prompt,native_tokens_completion", "9,10,5"),
        ("input_tokens,output_tokens,input_length,output_length", "10,5,40,20"),
        ("input_tokens,output_tokens,prompt_tokens", "10,5,"),
    ],
)  # fmt: skip
def test_numbers_that_say_the_same_or_something_else_are_not_said(
    names: str, row: str, read: Any
) -> None:
    assert read(f"model,{names}\n" + f"o1,{row}\n" * 3).said == []


def test_a_row_for_a_part_of_the_row_above_does_not_count(read: Any) -> None:
    found = read(f"Model,{COUNTS}\ngpt-4o,20,200,20\nof which batch,5,50,5\n")
    assert (found.sums, len(found.said)) == ([("gpt-4o", 20, 200, 20)], 1)


@pytest.mark.parametrize("end", ["2026-05-01T10:00:09Z,run_end,,4,6", ",run_end,,4,6"])
def test_the_end_of_a_run_that_states_the_sums_of_its_calls_is_no_call(end: str, read: Any) -> None:
    calls = "2026-05-01T10:00:00Z,call,o1,1,2\n2026-05-01T10:00:05Z,call,o1,3,4\n"
    found = read(f"time,event,model,input_tokens,output_tokens\n{calls}{end}\n")
    assert (found.calls, len(found.said)) == (READ, 1)
    lines = [
        '{"ts": "2026-05-01T10:00:00Z", "model": "o1", "input_tokens": 1, "output_tokens": 2}',
        '{"ts": "2026-05-01T10:00:05Z", "model": "o1", "input_tokens": 3, "output_tokens": 4}',
        '{"ts": "2026-05-01T10:00:09Z", "total_input_tokens": 4, "total_output_tokens": 6}',
    ]
    assert read("\n".join(lines) + "\n", "lines.jsonl").calls == READ


@pytest.mark.parametrize(
    "month", ["2026-05", "May 2026", "May-2026", "05/2026", "202605", "2026/05", "5.2026"]
)
def test_a_month_is_read_as_tables_of_sums_name_it(month: str, tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text(f"Month,Model,{COUNTS}\n{month},gpt-4o,20,200,20\n", "utf-8")
    (call,) = read_logs([path])
    assert call.time is not None
    assert call.time.isoformat() == "2026-05-01T00:00:00+00:00"


def test_of_a_long_table_no_breakdowns_are_compared(
    read: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(breakdowns, "HELD", 3)
    found = read(BREAKDOWNS["a section for each"][0])
    assert (len(found.sums), found.said) == (4, [])


def test_what_describes_a_table_is_none(read: Any) -> None:
    names = ("count", "mean", "std", "min", "25%", "50%", "75%", "max")
    rows = "".join(f"{name},{number},9\n" for number, name in enumerate(names))
    found = read(f",input_tokens,output_tokens\n{rows}")
    assert (found.calls, len(found.said)) == ([], 2)


def test_totals_of_two_rows_may_be_equal_by_chance(read: Any) -> None:
    rows = f"model,team,{COUNTS}\no1,a,1,10,5\no1,,1,10,5\n"
    assert len(read(rows).calls) == 2


# Exports of services and tools, and the right answer for each.

BUCKETS = "start_time,end_time,start_time_iso,end_time_iso"
MINUTE = "1761523800,1761523860,2025-10-27T00:10:00+00:00,2025-10-27T00:11:00+00:00"
ANTHROPIC = "usage_date_utc,model_version,usage_input_tokens_no_cache"
CLAUDE = "claude-opus-4-6"
EXPORTS: dict[str, tuple[str, list[Row], list[Row]]] = {
    # Source: https://platform.openai.com/usage (export of completions); most minutes are empty.
    "OpenAI's usage": (
        f"{BUCKETS},num_model_requests,model,input_tokens,output_tokens,input_cached_tokens\n"
        f"{MINUTE},,,,,\n{MINUTE},3.0,gpt-4o,4212,1673,0\n{MINUTE},1.0,gpt-4o,7162,1419,1280\n",
        [("gpt-4o", 7162, 1419, 1280)],
        [("gpt-4o", 3, 4212, 1673)],
    ),
    "OpenAI's usage without requests": (
        f"{BUCKETS},model,input_tokens,output_tokens\n{MINUTE},gpt-4o,3608,564\n",
        [],
        [("gpt-4o", None, 3608, 564)],
    ),
    # Source: https://platform.claude.com/usage (export), of 2026 and of the first months of 2025.
    "Anthropic's usage": (
        f"{ANTHROPIC},usage_input_tokens_cache_write_5m,usage_input_tokens_cache_write_1h,"
        "usage_input_tokens_cache_read,usage_output_tokens,web_search_count\n"
        "2026-08-05,claude-opus-5,1000,20,500,8000,10,0\n",
        [],
        [("claude-opus-5", None, 9520, 10)],
    ),
    "Anthropic's usage with one kind of cache": (
        f"{ANTHROPIC},usage_input_tokens_cache_write,usage_input_tokens_cache_read,"
        "usage_output_tokens\n2025-06-05,claude-sonnet-4,100,50,30,20\n",
        [],
        [("claude-sonnet-4", None, 180, 20)],
    ),
    # Source: https://docs.claude.com/en/api/admin-api/usage-cost (as a warehouse keeps it)
    "Anthropic's usage report as a table": (
        "uncached_input_tokens,cache_creation_ephemeral_1h_input_tokens,"
        "cache_creation_ephemeral_5m_input_tokens,cache_read_input_tokens,output_tokens,model,"
        "starting_at,ending_at\n"
        "100,5,10,200,50,claude-opus-5,2026-08-04T00:00:00Z,2026-08-05T00:00:00Z\n",
        [],
        [("claude-opus-5", None, 315, 50)],
    ),
    # Source: https://openrouter.ai/activity (export by day)
    "OpenRouter's activity": (
        "Date,Slug,Usage,BYOK Usage,Requests,Prompt Tokens,Completion Tokens,Reasoning Tokens\n"
        '"2026-05-12 00:00:00","anthropic/claude-opus-4.7","430.07","0","41","70965","3009","0"\n',
        [],
        [("anthropic/claude-opus-4.7", 41, 70965, 3009)],
    ),
    # Source: https://cursor.com/dashboard (usage events); input with thousands set apart.
    "Cursor's events": (
        "Date,Kind,Model,Max Mode,Input (w/ Cache Write),Input (w/o Cache Write),Cache Read,"
        "Output Tokens,Total Tokens,Cost\n"
        '"2026-08-05T06:44:42.863Z","Included","gpt-5.6","No","1,000","2000","500","100","3600","-"\n',
        [("gpt-5.6", 3500, 100, 500)],
        [],
    ),
    # Source: https://ccusage.com (CSV of ``daily``); a line is of all models of a day.
    "ccusage's days": (
        "Date,Models,InputTokens,OutputTokens,CacheCreationTokens,CacheReadTokens,TotalCost\n"
        "2024-01-15,claude-sonnet-4,100,50,10,5,0.01\n",
        [],
        [("claude-sonnet-4", None, 115, 50)],
    ),
    "ccusage's days as they are printed": (
        "date,models,input,output,cache_creation,cache_read,total_tokens,cost_usd\n"
        "2024-01-15,claude-sonnet-4,100,50,10,5,165,0.01\n",
        [],
        [("claude-sonnet-4", None, 115, 50)],
    ),
    # Source: https://github.com/getagentseal/codeburn (daily.csv)
    "codeburn's days": (
        "Date,Cost,API Calls,Input Tokens,Output Tokens,Cache Read Tokens,Cache Write Tokens\n"
        "2026-07-01,0.42,10,100,50,2000,30\n2026-07-02,0.42,10,3000,50,2000,30\n",
        [],
        [(None, 10, 2130, 50), (None, 10, 5030, 50)],
    ),
    "costs of an agent": (
        "Model,Input Tokens,Output Tokens,Cache Read,Cache Write,Cost (USD)\n"
        f"{CLAUDE},45,11,900,26,1\n",
        [(CLAUDE, 971, 11, 900)],
        [],
    ),
    "days of an agent, by the life of a cache": (
        "Day,Model,Input Tokens,Output Tokens,Cache Read,Cache Write 5m,Cache Write 1h,Cost\n"
        f"2025-07-14,{CLAUDE},10,20,300,40,5,0.1\n",
        [],
        [(CLAUDE, None, 355, 20)],
    ),
    # Source: https://github.com/geekan/MetaGPT and others (token_usage_log)
    "steps beside running totals": (
        "step_name,prompt_tokens_in_step,completion_tokens_in_step,total_tokens_in_step,"
        "total_prompt_tokens,total_completion_tokens,total_tokens\n"
        "a,10,5,15,10,5,15\nb,20,6,26,30,11,41\n",
        [(None, 10, 5, 0), (None, 20, 6, 0)],
        [],
    ),
    # Source: https://cloud.google.com/vertex-ai/generative-ai/docs/multimodal/request-response-logging
    "an object as columns of BigQuery": (
        "logging_time,model,usage_metadata_prompt_token_count,"
        "usage_metadata_candidates_token_count,usage_metadata_thoughts_token_count\n"
        "2026-01-01 10:00:00 UTC,gemini-2.5-flash,100,20,15\n",
        [("gemini-2.5-flash", 100, 35, 0)],
        [],
    ),
    "a total says that reasoning lies beside": (
        "model,input_tokens,output_tokens,reasoning_tokens,total_tokens\n"
        "a,100,50,30,150\nb,100,20,15,135\n",
        [("a", 100, 50, 0), ("b", 100, 35, 0)],
        [],
    ),
    "a total says that what was cached lies beside": (
        "model,input_tokens,output_tokens,cached_tokens,total_tokens\n"
        "a,100,20,60,120\nb,100,20,60,180\nc,100,20,60,\n",
        [("a", 100, 20, 60), ("b", 160, 20, 60), ("c", 100, 20, 60)],
        [],
    ),
    # Source: https://platform.deepseek.com/usage (export, amount-2026-6.csv)
    "DeepSeek's amounts": (
        "user_id,utc_date,model,api_key_name,api_key,type,price,amount\n"
        "u,2026-06-03,deepseek-v4-pro,k,sk-x,output_tokens,0.00000087,23547\n"
        "u,2026-06-03,deepseek-v4-pro,k,sk-x,request_count,,5\n"
        "u,2026-06-03,deepseek-v4-pro,k,sk-x,input_cache_hit_tokens,0.000000003625,54400\n"
        "u,2026-06-03,deepseek-v4-pro,k,sk-x,input_cache_miss_tokens,0.000000435,1000\n"
        "u,20260604,deepseek-v4-pro,k,sk-x,output_tokens,0.00000087,7\n",
        [],
        [("deepseek-v4-pro", 5, 55400, 23547), ("deepseek-v4-pro", None, 0, 7)],
    ),
    # Source: https://pandas.pydata.org/docs/reference/api/pandas.json_normalize.html
    "responses that pandas has made flat": (
        ",id,object,created,model,usage.prompt_tokens,usage.completion_tokens,"
        "usage.prompt_tokens_details.cached_tokens\n"
        "0,chatcmpl-AAAAAAAAAAAAAAAAAAAAAAAAAAAAA,chat.completion,1767261600,gpt-4o,10,20,4\n"
        "1,chatcmpl-BBBBBBBBBBBBBBBBBBBBBBBBBBBBB,chat.completion,1767261600,gpt-4o,1,2,\n",
        [("gpt-4o", 10, 20, 4), ("gpt-4o", 1, 2, 0)],
        [],
    ),
    # Source: https://docs.fireworks.ai/accounts/exporting-billing-metrics
    "Fireworks's requests": (
        "email,start_time,end_time,usage_type,accelerator_type,accelerator_seconds,"
        "base_model_name,model_bucket,parameter_count,prompt_tokens,completion_tokens,"
        "cached_prompt_tokens,uncached_prompt_tokens\n"
        "a@b.c,2025-10-20 17:16:48 UTC,2025-10-20 17:16:48 UTC,TEXT_COMPLETION_INFERENCE_USAGE,,,"
        "accounts/fireworks/models/llama4,Llama 4,401583781376,803,109,200,603\n",
        [("accounts/fireworks/models/llama4", 803, 109, 200)],
        [],
    ),
    "hours with their start and end": (
        "start_time,end_time,model,input_tokens,output_tokens\n"
        "2026-05-01T00:00:00Z,2026-05-01T01:00:00Z,gpt-4o,1000,200\n"
        "2026-05-01T01:00:00Z,2026-05-01T02:00:00Z,gpt-4o,10,20\n",
        [],
        [("gpt-4o", None, 1000, 200), ("gpt-4o", None, 10, 20)],
    ),
    "calls with their start and end": (
        "start_time,end_time,model,input_tokens,output_tokens\n"
        "2026-05-01T00:00:00Z,2026-05-01T00:00:07Z,gpt-4o,1000,200\n"
        "2026-05-01T00:01:00Z,2026-05-01T00:02:00Z,gpt-4o,10,20\n",
        [("gpt-4o", 1000, 200, 0), ("gpt-4o", 10, 20, 0)],
        [],
    ),
    # Source: https://learn.microsoft.com/azure/azure-monitor/metrics (as a table of sums)
    "metrics of Azure": (
        "Timestamp,Processed Prompt Tokens (Sum),Generated Completion Tokens (Sum)\n"
        "2026-01-01T10:00:00Z,1000,200\n",
        [],
        [(None, None, 1000, 200)],
    ),
    "names of people": (
        "Model,Number of Input Tokens,No. of Output Tokens\no1,10,20\n",
        [("o1", 10, 20, 0)],
        [],
    ),
    "names that are short": ("ts,model,in_tok,out_tok\n,o1,10,20\n", [("o1", 10, 20, 0)], []),
    "names with a line break": (
        '"model","input\ntokens","output\ntokens"\no1,10,20\n', [("o1", 10, 20, 0)], [],
    ),
    "a flag for what was cached": (
        "model,input_tokens,output_tokens,cached\no1,10,20,false\no1,10,20,true\n",
        [("o1", 10, 20, 0)],
        [],
    ),
    "months": (
        "month,model,input_tokens,output_tokens\n2026-01,gpt-4o,1000,200\n",
        [],
        [("gpt-4o", None, 1000, 200)],
    ),
    "cells without a number": (
        "model,input_tokens,output_tokens,cached_tokens\n"
        "gpt-4o,10,20,nan\ngpt-4o,10,20,NaN\nN/A,10,20,#N/A\n<NA>,10,20,-\n",
        [("gpt-4o", 10, 20, 0)] * 2 + [(None, 10, 20, 0)] * 2,
        [],
    ),
    "thousands as in India": (
        'model,input_tokens,output_tokens\ngpt-4o,"12,34,567",20\n',
        [("gpt-4o", 1_234_567, 20, 0)],
        [],
    ),
    "words for an answer from a cache": (
        "model,input_tokens,output_tokens,cache_hit\no1,10,20,no\no1,10,20,Yes\no1,10,20,HIT\n",
        [("o1", 10, 20, 0)],
        [],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", EXPORTS)
def test_an_export_is_read_rightly(name: str, read: Any) -> None:
    text, calls, sums = EXPORTS[name]
    assert read(text) == Found(calls, sums, [])


def test_a_list_of_models_has_no_calls(read: Any) -> None:
    found = read("model,input_price,output_price,context_tokens\no1,2.5,10,128000\n")
    assert (found.calls, found.sums) == ([], [])


def test_a_day_with_a_short_year_is_not_one_of_the_first_years(read: Any) -> None:
    found = read("time,model,input_tokens,output_tokens\n5/12/26 10:00,o1,10,20\n")
    assert (len(found.calls), len(found.said)) == (1, 1)


OF_DAYS = "FILE: each row was counted as a call; its time is a day, whose sum it may be"


@pytest.mark.parametrize("day", ["2026-08-05", "05.08.2026", "2026/8/5"])
def test_rows_whose_time_is_a_day_are_calls_which_is_said(day: str, read: Any) -> None:
    found = read(f"Date,Model,Input Tokens,Output Tokens,Cost\n{day},o1,5100,620,4.8\n" * 2)
    assert (len(found.calls), found.sums, found.said) == (2, [], [OF_DAYS])


def test_the_first_row_says_whether_times_are_days(read: Any) -> None:
    rows = "o1,1,2,2026-08-05T10:00:00Z\no1,1,2,2026-08-05\no1,1,2,2026-08-05 UTC\n"
    found = read(f"model,input_tokens,output_tokens,time\n{rows}")
    assert (len(found.calls), found.said) == (3, [])


@pytest.mark.parametrize("column", ["id", "session_id"])
def test_rows_with_an_id_are_calls_whatever_their_time(column: str, read: Any) -> None:
    found = read(f"date,{column},model,input_tokens,output_tokens\n2026-08-05,a1,o1,5100,620\n")
    assert (len(found.calls), found.said) == (1, [])


def test_rows_of_parquet_may_have_days(read: Any, tmp_path: Path) -> None:
    import pyarrow.parquet

    days = [date(2026, 8, 5)] * 2
    columns = {"date": days, "input_tokens": [1, 2], "output_tokens": [3, 4]}
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "made")
    found = read((tmp_path / "made").read_bytes(), "table.parquet")
    assert (len(found.calls), found.said) == (2, [OF_DAYS])


COSTS = {
    # Source: https://platform.openai.com/usage (export of costs)
    "OpenAI": f"{BUCKETS},amount_value,amount_currency,line_item\n"
              f'{MINUTE},0.895,usd,"gpt-5-mini-2025-08-07, input"\n',
    # Source: https://platform.claude.com/usage (export of costs)
    "Anthropic": "usage_date_utc,model,workspace,usage_type,cost_usd,cost_type\n"
                 "2026-08-04,Claude Haiku 4.5,Default,message,0.05,token\n",
    # Source: https://learn.microsoft.com/azure/cost-management-billing (export of actual costs)
    "Azure": "Date,MeterCategory,MeterName,UnitOfMeasure,Quantity,CostInBillingCurrency\n"
             "04/01/2026,Foundry Models,gpt 4o 1120 Inp glbl Tokens,1K,1234.5,3.08\n",
}  # fmt: skip


@pytest.mark.parametrize("service", COSTS)
def test_costs_are_said_to_have_no_counts(service: str, read: Any) -> None:
    assert read(COSTS[service]).said[-1] == (
        "FILE: nothing recognised; it has costs and no token counts: export the usage, "
        "which has them"
    )


def test_an_object_that_has_a_cost_is_no_table_of_costs(read: Any) -> None:
    # What Azure Monitor says of the tokens of a deployment.
    metrics = {
        "cost": 0,
        "interval": "PT1H",
        "timespan": "2026-05-01T00:00:00Z/2026-05-02",
        "value": [{"name": {"value": "ProcessedPromptTokens"}, "timeseries": []}],
    }
    assert "its first entry has 'cost', 'interval'" in read(json.dumps(metrics)).said[-1]


OF_PROMPTFOO = ",Reasoning,Status,Score,Named Scores,Grader Reason,Comment"
PROMPTFOO = {
    # Source: https://www.promptfoo.dev/docs/configuration/outputs/ (CSV), newer and older
    "with variables": f"question,[openai:gpt-4o] Answer: {{{{question}}}}{OF_PROMPTFOO}\n"
                      "2+2?,4,,PASS,1.00,,ok,\n",
    "without variables": f"[echo] Answer{OF_PROMPTFOO}\n4,,PASS,1.00,,ok,\n",
    "of several lines": f'q,"[openai:chat:gpt-4o] Be short.\n[Now]: {{{{q}}}}"{OF_PROMPTFOO}\n'
                        "2+2?,4,,PASS,1.00,,ok,\n",
    "in one cell": "question,[openai:gpt-4o] Answer\n2+2?,[PASS] 4\n",
}  # fmt: skip


@pytest.mark.parametrize("form", PROMPTFOO)
def test_a_table_of_promptfoos_has_no_counts_and_its_json_has(form: str, read: Any) -> None:
    assert read(PROMPTFOO[form]).said == [
        "FILE: all of it left out: promptfoo's table has no token counts: save its results as "
        "JSON, as by -o x.json"
    ]


@pytest.mark.parametrize(
    ("written", "right"),
    [("5/13/2026 10:00", "2026-05-13"), ("13/5/2026", "2026-05-13"), ("5/5/2026", "2026-05-05"),
     ("5/6/2026", None)],
)  # fmt: skip
def test_a_day_is_read_where_only_one_of_its_numbers_may_be_of_a_month(
    written: str, right: str | None
) -> None:
    time = time_of(written)
    assert (time and time.date().isoformat()) == right
