"""Tables as databases, spreadsheets and people write them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from energy_tracking.logs.logged import LoggedCall
from energy_tracking.logs.read_report import ReadReport
from energy_tracking.logs.reading import read_logs


def read(path: Path, text: str) -> tuple[list[LoggedCall], ReadReport]:
    path.write_bytes(text.encode())
    report = ReadReport()
    return list(read_logs([path], report=report)), report


PLAIN = "model,input_tokens,output_tokens\ngpt-4o,1234,20\no1,5,6\n"
TABLES = {
    "lines that end as on an old Mac": PLAIN.replace("\n", "\r"),
    "a space before quotes": '"model", "input_tokens", "output_tokens"\n'
                             '"gpt-4o", "1,234", "20"\n"o1", "5", "6"\n',
    "spaces around cells": "model , input_tokens , output_tokens\ngpt-4o , \"1234\" , 20\n"
                           " o1,5 , 6\n",
    "decimals without a fraction": "model;input_tokens;output_tokens\ngpt-4o;1.234,0;20,00\n"
                                   "o1;5;6\n",
    "what psql prints": " model  | input_tokens | output_tokens\n--------+--------------+-----\n"
                        " gpt-4o |         1234 |            20\n o1     |            5 |    6\n",
    "Markdown": "| model | input_tokens | output_tokens |\n|:---|---:|---:|\n"
                "| gpt-4o | 1,234 | 20 |\n| o1 | 5 | 6 |\n",
    "two columns of one name": "model,input_tokens,output_tokens,input_tokens\n"
                               "gpt-4o,1234,20,7\no1,5,6,7\n",
    "rows under their names": json.dumps({
        "0": {"model": "gpt-4o", "input_tokens": 1234, "output_tokens": 20},
        "1": {"model": "o1", "input_tokens": 5, "output_tokens": 6}}),
    "responses under their names": json.dumps({
        "a": {"model": "gpt-4o", "usage": {"prompt_tokens": 1234, "completion_tokens": 20}},
        "b": {"model": "o1", "usage": {"prompt_tokens": 5, "completion_tokens": 6}}}),
}  # fmt: skip


@pytest.mark.parametrize("form", TABLES)
def test_a_table_is_read_as_programs_write_it(form: str, tmp_path: Path) -> None:
    calls, report = read(tmp_path / "calls", TABLES[form])
    assert [(call.model, call.tokens) for call in calls] == [("gpt-4o", 1254), ("o1", 11)]
    said = list(report.omissions())
    assert len(said) == (form == "two columns of one name"), said


@pytest.mark.parametrize("empty", ["", "NULL", "null", "None", "\\N"])
def test_a_word_for_nothing_is_an_empty_cell(empty: str, tmp_path: Path) -> None:
    text = f"model,input_tokens,output_tokens,cached_tokens\n{empty},10,20,{empty}\n"
    ((call,), report) = read(tmp_path / "calls.csv", text)
    assert (call.model, call.tokens) == (None, 30)
    assert not list(report.omissions())


@pytest.mark.parametrize(
    "row", ["Total,,4,6", "TOTAL:,,4,6", ",Grand total,4,6", "Summe,,4,6", ",合计,4,6"]
)
def test_a_row_of_totals_is_known_by_its_first_cell(row: str, tmp_path: Path) -> None:
    text = f"user,model,input_tokens,output_tokens\nme,o1,1,2\nyou,o1,3,4\n{row}\n"
    calls, report = read(tmp_path / "calls.csv", text)
    assert [call.tokens for call in calls] == [3, 7]
    assert list(report.assumed) == ["of totals over the rows above, left out"]


# Source: https://www.postgresql.org/docs/current/app-pgdump.html
DUMP = r"""--
-- PostgreSQL database dump
--

SET statement_timeout = 0;
CREATE TABLE public."LiteLLM_SpendLogs" (request_id text NOT NULL);

COPY public."LiteLLM_SpendLogs" (request_id, call_type, prompt_tokens, completion_tokens, "startTime", "endTime", model, metadata, cache_hit, session_id) FROM stdin;
chatcmpl-AAAAAAAAAAAAAAAAAAAAAAAA	acompletion	10	20	2026-03-04 05:06:07	2026-03-04 05:06:09	gpt-4o	{"usage_object": {"prompt_tokens": 10, "completion_tokens": 20, "prompt_tokens_details": {"cached_tokens": 4}}, "note": "a\\tb\\n\\\\"}	False	\N
\.

COPY public.other (id, name) FROM stdin;
1	x
\.
"""  # noqa: E501


@pytest.mark.parametrize("start", ["--\n-- PostgreSQL", "COPY"])
def test_the_tables_in_a_dump_of_postgresql_are_read(start: str, tmp_path: Path) -> None:
    calls, report = read(tmp_path / "dump.sql", DUMP[DUMP.index(start) :])
    assert [(call.model, call.tokens, call.session) for call in calls] == [("gpt-4o", 30, None)]
    usage = calls[0].usage
    assert usage is not None
    assert usage.cached_input_tokens == 4
    assert calls[0].time is not None
    assert report.unread["no token counts"].count == 1


def test_rows_that_a_dump_inserts_one_by_one_are_reported(tmp_path: Path) -> None:
    dump = "--\n-- PostgreSQL database dump\n--\n\nINSERT INTO public.calls VALUES (1, 10, 20);\n"
    calls, report = read(tmp_path / "dump.sql", dump)
    assert calls == []
    assert report.unread["not JSON"].count == 1
