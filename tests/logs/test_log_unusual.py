"""Files that people hand over by mistake, or that say less than they should: read, or explained."""

from __future__ import annotations

import base64
import io
import json
import os
import sqlite3
import sys
import zipfile
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from energy_tracking.logs.files.message_pack import unpack_message
from energy_tracking.logs.files.opening import find_files
from energy_tracking.logs.logged import LoggedCall, time_of
from energy_tracking.logs.read_report import ReadReport
from energy_tracking.logs.reading import read_logs
from log_samples.platforms import WRITTEN, checkpoint, message

USAGE = {"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30}
RESPONSE = {
    "id": "chatcmpl-000000000000000000000001",
    "object": "chat.completion",
    "created": 1_741_569_952,
    "model": "gpt-4o",
    "usage": USAGE,
}


def read(*paths: Path) -> tuple[list[LoggedCall], ReadReport]:
    report = ReadReport()
    return list(read_logs(paths, report=report)), report


def write(path: Path, content: bytes | str | dict[str, Any]) -> Path:
    if isinstance(content, dict):
        content = json.dumps(content)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize("form", ["object", "text", "printed by Python"])
@pytest.mark.parametrize("name", ["data", "response", "body", "result", "message", "api_response"])
def test_a_response_keeps_what_it_says_whatever_holds_it(
    name: str, form: str, tmp_path: Path
) -> None:
    texts = {"object": RESPONSE, "text": json.dumps(RESPONSE), "printed by Python": str(RESPONSE)}
    (call,), _ = read(write(tmp_path / "log.json", {name: texts[form], "x": 1}))
    assert (call.model, call.tokens, call.response_id) == ("gpt-4o", 30, RESPONSE["id"])
    assert call.time is not None
    assert call.time.year == 2025


@pytest.mark.parametrize("start", ["", "INFO starting\n", "2026-01-02 INFO response: "])
def test_objects_as_python_prints_them_are_read(start: str, tmp_path: Path) -> None:
    lines = f"{start}{RESPONSE | {'stream': False, 'user': None}}\n"
    (call,), _ = read(write(tmp_path / "app.log", lines))
    assert (call.model, call.tokens) == ("gpt-4o", 30)


ROWS: dict[str, Any] = {
    "names and rows": {"columns": ["model", "prompt_tokens", "completion_tokens"],
                       "data": [["gpt-4o", 10, 20], ["gpt-4o", 1, 2]]},
    "columns of rows": {"model": {"0": "gpt-4o", "1": "gpt-4o"}, "prompt_tokens": {"0": 10, "1": 1},
                        "completion_tokens": {"0": 20, "1": 2}},
    "columns": {"model": ["gpt-4o", "gpt-4o"], "prompt_tokens": [10, 1],
                "completion_tokens": [20, 2]},
    "MongoDB's types": [
        {"_id": {"$oid": "65"}, "model": "gpt-4o",
         "usage": {"prompt_tokens": {"$numberInt": "10"},
                   "completion_tokens": {"$numberLong": "20"}}},
        {"_id": {"$oid": "66"}, "model": "gpt-4o", "createdAt": {"$date": "2026-01-02T03:04:05Z"},
         "usage": {"prompt_tokens": 1, "completion_tokens": 2}}],
    "MongoDB's types of columns": [
        {"_id": {"$oid": "65"}, "model": "gpt-4o", "input_tokens": {"$numberInt": str(inputs)},
         "createdAt": {"$date": {"$numberLong": "1746093602000"}},
         "output_tokens": {"$numberLong": str(2 * inputs)}} for inputs in (10, 1)],
    "DynamoDB's types": {"Items": [
        {"Item": {"model": {"S": "gpt-4o"}, "input_tokens": {"N": str(inputs)},
                  "output_tokens": {"N": str(2 * inputs)}}} for inputs in (10, 1)]},
    "Zipkin's spans": [
        {"traceId": "t", "id": str(inputs), "name": "chat", "timestamp": 1_741_569_950_000_000,
         "tags": {"gen_ai.usage.input_tokens": str(inputs), "gen_ai.response.model": "gpt-4o",
                  "gen_ai.usage.output_tokens": str(2 * inputs)}} for inputs in (10, 1)],
}  # fmt: skip


@pytest.mark.parametrize("form", ROWS)
def test_rows_are_read_in_whatever_form_a_program_writes_them(form: str, tmp_path: Path) -> None:
    calls, report = read(write(tmp_path / "rows.json", json.dumps(ROWS[form])))
    assert [(call.model, call.tokens) for call in calls] == [("gpt-4o", 30), ("gpt-4o", 3)]
    assert not report.unread


@pytest.mark.parametrize("cell", [json.dumps(USAGE), str(USAGE)])
def test_a_usage_in_a_cell_is_read(cell: str, tmp_path: Path) -> None:
    quoted = cell.replace('"', '""')
    (call,), _ = read(write(tmp_path / "calls.csv", f'model,usage\ngpt-4o,"{quoted}"\n'))
    assert (call.model, call.tokens) == ("gpt-4o", 30)


@pytest.mark.parametrize("encoding", ["plain", "base64"])
@pytest.mark.parametrize("form", ["at once", "events"])
def test_a_response_that_a_browser_recorded_is_read(
    form: str, encoding: str, tmp_path: Path
) -> None:
    chunk = RESPONSE | {"object": "chat.completion.chunk", "choices": []}
    sent = json.dumps(RESPONSE)
    if form == "events":
        sent = f"data: {json.dumps(chunk | {'usage': None})}\n\ndata: {json.dumps(chunk)}\n\n"
        sent += "data: [DONE]\n\n"
    content = {"mimeType": "text/event-stream", "text": sent}
    if encoding == "base64":
        content |= {"encoding": "base64", "text": base64.b64encode(sent.encode()).decode()}
    entry = {"startedDateTime": "2026-01-02T03:04:05Z", "request": {"url": "https://x"},
             "response": {"status": 200, "content": content}}  # fmt: skip
    (call,), report = read(
        write(tmp_path / "x.har", {"log": {"version": "1.2", "entries": [entry]}})
    )
    assert (call.model, call.tokens, call.response_id) == ("gpt-4o", 30, RESPONSE["id"])
    assert not report.unread


@pytest.mark.parametrize("count", ["1e30", "1" + "0" * 30, "Infinity", "NaN", "-5", "true"])
def test_a_count_that_is_none_is_reported(count: str, tmp_path: Path) -> None:
    usage = f'{{"prompt_tokens": {count}, "completion_tokens": 20}}'
    path = write(tmp_path / "log.json", f'{{"id": "x", "model": "gpt-4o", "usage": {usage}}}')
    (call,), report = read(path)
    assert call.counts is not None
    assert (call.counts.input_tokens, call.counts.output_tokens) == (0, 20)
    assert len(report.assumed) == 1


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize(
    "content", [json.dumps(RESPONSE), "model,input_tokens,output_tokens\nx,10,20\n"]
)
def test_utf_16_without_its_mark_is_read(content: str, encoding: str, tmp_path: Path) -> None:
    (call,), _ = read(write(tmp_path / "log", content.encode(encoding)))
    assert call.tokens == 30


def workbook() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr("xl/workbook.xml", "<workbook/>")
    return buffer.getvalue()


THREAD = {
    "messages": [], "updated_at": "2026-01-02T03:04:05Z", "model": {"model": "gpt-4o"},
    "cumulative_token_usage": {"input_tokens": 10, "output_tokens": 20},
}  # fmt: skip
# Columns and a row of a table; requests, model and tokens.
DATABASES: dict[str, tuple[str, tuple[object, ...], tuple[int | None, str | None, int]]] = {
    "a cell with a response": ("logs (at TEXT, body TEXT)", ("x", json.dumps(RESPONSE)),
                               (1, "gpt-4o", 30)),
    "a blob with a response": ("logs (body BLOB)", (json.dumps(RESPONSE).encode(),),
                               (1, "gpt-4o", 30)),
    "metrics of AnythingLLM's": (
        "workspace_chats (id INT, response TEXT)",
        (1, json.dumps({"text": "x", "metrics": {"prompt_tokens": 10, "completion_tokens": 20}})),
        (1, None, 30)),
    "a message of AutoGen's": (
        "message (id INT, config TEXT)",
        (1, json.dumps({"source": "a", "content": "x", "models_usage": {
            "prompt_tokens": 10, "completion_tokens": 20}})), (1, None, 30)),
    "a span of MLflow's": (
        "spans (trace_id TEXT, experiment_id INT, span_id TEXT, content TEXT)",
        ("t", 0, "s", json.dumps({"name": "x", "context": {"span_id": "s"}, "attributes": {
            "mlflow.spanType": '"LLM"', "mlflow.llm.model": '"gpt-4o"',
            "mlflow.chat.tokenUsage": '{"input_tokens": 10, "output_tokens": 20}'}})),
        (1, "gpt-4o", 30)),
    "sums of sessions": (
        "sessions (id TEXT, message_count INT, prompt_tokens INT, completion_tokens INT)",
        ("s", 5, 10, 20), (None, None, 30)),
    "a write of LangGraph's": (
        "writes (thread_id TEXT, checkpoint_ns TEXT, checkpoint_id TEXT, type TEXT, value BLOB)",
        ("t", "", "c", "msgpack", bytes.fromhex(str(WRITTEN["blob"]).removeprefix("\\x"))),
        (1, "gpt-4o-2024-08-06", 110)),
    "threads of Zed": ("threads (id TEXT, data_type TEXT, data BLOB)",
                       ("t", "json", json.dumps(THREAD).encode()), (None, "gpt-4o", 30)),
}  # fmt: skip


@pytest.mark.parametrize("kind", DATABASES)
def test_a_database_is_read_by_what_its_cells_hold(kind: str, tmp_path: Path) -> None:
    table, row, right = DATABASES[kind]
    with closing(sqlite3.connect(tmp_path / "x.db")) as database:
        database.execute(f"CREATE TABLE {table}")
        name = table.partition(" ")[0]
        database.execute(f"INSERT INTO {name} VALUES ({', '.join('?' * len(row))})", row)
        database.commit()
    (call,), _ = read(tmp_path / "x.db")
    assert (call.requests, call.model, call.tokens) == right


def test_the_costs_of_phoenix_count_its_spans_no_second_time(tmp_path: Path) -> None:
    attributes = {"llm": {"model_name": "gpt-4o", "token_count": {"prompt": 10, "completion": 20}},
                  "openinference": {"span": {"kind": "LLM"}}}  # fmt: skip
    with closing(sqlite3.connect(tmp_path / "phoenix.db")) as database:
        for table, row in {
            "spans (id INT, span_id TEXT, span_kind TEXT, attributes TEXT, llm_token_count_prompt)":
                (1, "s", "LLM", json.dumps(attributes), 10),
            "span_costs (id INT, span_rowid INT, prompt_tokens REAL, completion_tokens REAL)":
                (1, 1, 10.0, 20.0),
            "span_cost_details (id INT, span_cost_id INT, token_type TEXT, tokens REAL)":
                (1, 1, "input", 10.0),
        }.items():  # fmt: skip
            database.execute(f"CREATE TABLE {table}")
            name, places = table.partition(" ")[0], ", ".join("?" * len(row))
            database.execute(f"INSERT INTO {name} VALUES ({places})", row)
        database.commit()
    (call,), report = read(tmp_path / "phoenix.db")
    assert (call.model, call.tokens) == ("gpt-4o", 30)
    assert not report.unread


def test_metrics_of_opentelemetry_are_no_calls(tmp_path: Path) -> None:
    calls, report = read(write(tmp_path / "metrics.json", {"resourceMetrics": [{}]}))
    assert not calls
    (said,) = report.omissions()
    assert "which add up calls: export spans or log records" in said


# Objects of Python have a module, a class, and what they were made from.
@pytest.mark.parametrize(
    ("message", "value"),
    [("c70b0594a16da16381a16b01a166", {"k": 1}), ("c7070093a16da163a176", "v"), ("d401c1", None)],
)
def test_an_object_in_messagepack_is_what_it_was_made_from(message: str, value: object) -> None:
    assert unpack_message(bytes.fromhex(message)) == value


@pytest.mark.parametrize("blob", ["\\xc1", "\\xdd7fffffff", str(WRITTEN["blob"])[:-20]])
def test_a_damaged_checkpoint_is_left_out(blob: str, tmp_path: Path) -> None:
    calls, report = read(write(tmp_path / "write.json", WRITTEN | {"blob": blob}))
    assert not calls
    assert report.unread


def test_a_checkpoint_says_which_package_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "msgpack", None)
    calls, report = read(write(tmp_path / "write.json", WRITTEN))
    assert not calls
    assert "needs the package 'msgpack'; install it with: pip install" in " ".join(
        report.omissions()
    )


def test_checkpoints_in_a_dump_of_postgresql_are_read(tmp_path: Path) -> None:
    begun = "--\n-- PostgreSQL database dump\n--\n\n"
    tables = {"checkpoints": checkpoint(2, message(1)), "checkpoint_writes": WRITTEN}
    for name, row in tables.items():
        cells = "\t".join(str(cell).replace("\\", "\\\\") for cell in row.values())
        begun += f"COPY public.{name} ({', '.join(row)}) FROM stdin;\n{cells}\n\\.\n\n"
    calls, report = read(write(tmp_path / "graph.sql", begun))
    assert sorted((call.tokens, call.session) for call in calls) == [(110, "a"), (120, "a")]
    assert all(call.time for call in calls)
    assert not report.unread


def test_a_message_without_counts_is_reported_once_whatever_its_copies(tmp_path: Path) -> None:
    bare = message(1, usage_metadata=None)
    content = "\n".join(json.dumps(checkpoint(number, bare)) for number in (1, 2, 3))
    calls, report = read(write(tmp_path / "log.jsonl", content))
    assert not calls
    (said,) = report.omissions()
    assert "1 entry left out: a message of a model without token counts" in said


def test_a_thread_of_zed_is_unpacked(tmp_path: Path) -> None:
    zstandard = pytest.importorskip("zstandard", reason="packs the thread")
    packed = zstandard.compress(json.dumps(THREAD).encode())
    with closing(sqlite3.connect(tmp_path / "threads.db")) as database:
        database.execute("CREATE TABLE threads (id TEXT, data_type TEXT, data BLOB)")
        database.executemany("INSERT INTO threads VALUES (?, 'zstd', ?)", [("t", packed)])
        database.commit()
        (call,), _ = read(tmp_path / "threads.db")
        assert (call.requests, call.session, call.tokens) == (None, "t", 30)
        database.execute("UPDATE threads SET data = x'00'")
        database.commit()
        calls, report = read(tmp_path / "threads.db")
    assert (calls, len(report.cut_off)) == ([], 1)


def test_a_cell_of_a_span_that_is_nan_is_empty(tmp_path: Path) -> None:
    spans = [
        {"context.span_id": "a", "parent_id": "b", "attributes.llm.token_count.prompt": 10,
         "attributes.llm.token_count.completion": 20},
        {"context.span_id": "b", "attributes.llm.token_count.prompt": float("nan"),
         "attributes.llm.token_count.completion": float("nan")},
    ]  # fmt: skip
    calls, report = read(write(tmp_path / "spans.jsonl", "\n".join(map(json.dumps, spans))))
    assert ([call.tokens for call in calls], report.unread) == ([30], {})


UNREAD = {
    "lz4": b"\x04\x22\x4d\x18" + bytes(range(50)),
    "7-Zip": b"7z\xbc\xaf\x27\x1c" + bytes(50),
    "Avro": b"Obj\x01" + bytes(50),
    "PDF": b"%PDF-1.7\n1 0 obj\n",
    "pickle": b"\x80\x04\x95" + bytes(50),
    "Excel": workbook(),
    "HTML": b"<!DOCTYPE html>\n<html><body></body></html>",
    "XML": b'<?xml version="1.0"?>\n<testsuites/>',
    "YAML": b"evalId: eval-1\nresults:\n  version: 3\n  results:\n    - id: a\n",
}


@pytest.mark.parametrize("kind", UNREAD)
def test_a_kind_of_file_that_is_not_read_is_named_with_the_remedy(
    kind: str, tmp_path: Path
) -> None:
    calls, report = read(write(tmp_path / "calls", UNREAD[kind]))
    (cut,) = report.cut_off.values()
    assert (calls, kind in cut.reason, "save it as" in cut.reason) == ([], True, True)
    assert report.found_nothing


@pytest.mark.parametrize(
    "start",
    ["INFO: started\nINFO: ended\n", "INFO: started\nDEBUG: ", "event: message\nid: 1\ndata: "],
)
def test_a_log_whose_lines_begin_with_a_name_is_read(start: str, tmp_path: Path) -> None:
    call = '{"model": "gpt-4o", "usage": {"prompt_tokens": 1, "completion_tokens": 2}}\n'
    (only,), report = read(write(tmp_path / "app.log", start + call))
    assert (only.tokens, report.cut_off) == (3, {})


def test_a_row_of_totals_is_no_call(tmp_path: Path) -> None:
    rows = "model,input_tokens,output_tokens\ngpt-4o,1,2\ngpt-4o,3,4\nTotal,4,6\n"
    calls, report = read(write(tmp_path / "calls.csv", rows))
    assert [call.tokens for call in calls] == [3, 7]
    assert list(report.assumed) == ["of totals over the rows above, left out"]


@pytest.mark.parametrize(
    ("written", "right"),
    [
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00+00:00"),
        ("2025-03-10T24:00:00Z", "2025-03-11T00:00:00+00:00"),
        # The night in which the clock goes forward, and that in which it goes back.
        ("2025-03-30T01:59:59+01:00", "2025-03-30T01:59:59+01:00"),
        ("2025-10-26 02:30:00 Europe/Berlin", "2025-10-26T02:30:00+02:00"),
        ("2025-02-30T00:00:00Z", None),
        ("2025-03-10T25:00:00Z", None),
        ("2025-03-10T23:60:00Z", None),
        ("2025-03-10T23:59:61Z", None),
    ],
)
def test_the_ends_of_days_and_minutes_are_read(written: str, right: str | None) -> None:
    time = time_of(written)
    assert (time and time.isoformat()) == right


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with a name here")
def test_links_and_pipes_in_a_folder_are_passed_over_and_reported(tmp_path: Path) -> None:
    write(tmp_path / "log.jsonl", RESPONSE)
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "gone.jsonl").symlink_to(tmp_path / "nowhere")
    (tmp_path / "link.json").symlink_to(tmp_path / "log.jsonl")
    os.mkfifo(tmp_path / "pipe.jsonl")
    report = ReadReport()
    found = list(find_files([tmp_path], report.skipped))
    assert [Path(path).name for path in found] == ["link.json", "log.jsonl"]
    assert report.skipped == {"linked folders": 1, "links to nothing": 1, "no files": 1}


def test_logs_that_were_rotated_are_found_in_a_folder(tmp_path: Path) -> None:
    names = ["0.log.20260304-050607", "app.log", "app.log-20260304", "app.log.1", "app.log.2.gz",
             "calls.jsonl.2026-03-04"]  # fmt: skip
    for name in [*names, "libc.so.6", "notes.v2"]:
        (tmp_path / name).write_bytes(b"")
    found = sorted(Path(path).name for path in find_files([tmp_path]))
    assert found == names


# Calls without an id.


@pytest.mark.parametrize("are_copies", [False, True])
def test_calls_without_id_and_time_are_copies_where_all_they_say_is_the_same(
    are_copies: bool, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        content = "…" if are_copies else name
        response = {"model": "gpt-4o", "choices": [{"text": content}], "usage": USAGE}
        write(tmp_path / f"{name}.json", response)
    calls, report = read(tmp_path)
    assert (len(calls), report.repeated, report.alike) == ((1, 1, 1) if are_copies else (2, 0, 0))
    said = "1 of them only because another file begins with the same"
    assert any(line.startswith(said) for line in report.remarks()) == are_copies


@pytest.mark.parametrize("has_times", [False, True])
def test_rows_of_two_days_are_other_calls(has_times: bool, tmp_path: Path) -> None:
    for day in (1, 2):
        rows = [f",2026-01-0{day}T10:00:0{second}Z" if has_times else "," for second in range(3)]
        table = "".join(f"10,20{time}\n" for time in rows) + f"{day},1,\n"
        write(tmp_path / f"{day}.csv", f"input_tokens,output_tokens,time\n{table}")
    calls, report = read(tmp_path)
    # Without times nothing distinguishes them from a copy that went on otherwise.
    assert (len(calls), report.alike) == ((8, 0) if has_times else (5, 3))
