"""Calls in archives and databases, and in log records of OpenTelemetry."""

from __future__ import annotations

import gzip
import json
import os
import sqlite3
import sys
import tarfile
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from energy_tracking.logs.files.databases import read_database
from energy_tracking.logs.logged import LoggedCall
from energy_tracking.logs.read_report import ReadReport
from energy_tracking.logs.reading import read_logs
from log_samples.common import DATA


def read(*paths: Path) -> tuple[list[LoggedCall], ReadReport]:
    report = ReadReport()
    return list(read_logs(paths, report=report)), report


def tokens(calls: list[LoggedCall]) -> list[tuple[int, int, int, int | None]]:
    usages = [call.usage for call in calls]
    return [
        (one.input_tokens, one.cached_input_tokens, one.output_tokens, one.reasoning_tokens)
        for one in usages
        if one is not None
    ]


# Archives.


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_an_archive_is_read_as_the_folder_it_was_made_of(mode: str, tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    for name in ("simple.jsonl", "pretty.json", "responses.jsonl.gz", "azure_trace.csv"):
        (folder / name).write_bytes((DATA / name).read_bytes())
    (folder / "picture.png").write_bytes(b"\x89PNG")
    (folder / "._simple.jsonl").write_bytes(b"\0\5\x16\7")
    path = tmp_path / "logs.tar"
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        archive.add(folder, "logs")
    calls, report = read(path)
    expected = [call for name in sorted(folder.iterdir()) if name.suffix != ".png"
                and not name.name.startswith(".") for call in read(name)[0]]  # fmt: skip
    assert sorted(tokens(calls), key=str) == sorted(tokens(expected), key=str)
    assert len(calls) == 1 + 1 + 3 + 20
    assert report.unread == {}


def test_an_archive_that_is_cut_off_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "logs.tar"
    with tarfile.open(path, "w") as archive:
        archive.add(DATA / "azure_trace.csv", "a.csv")
        archive.add(DATA / "swe_agent.traj", "b.traj")
    path.write_bytes(path.read_bytes()[:2500])
    calls, report = read(path)
    assert len(calls) == 20
    assert any("damaged" in cut.reason for cut in report.cut_off.values())


def test_parquet_in_an_archive_is_read(tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    parquet = tmp_path / "calls.parquet"
    duckdb.sql(
        "COPY (SELECT 'gpt-4o' AS model, 10 AS input_tokens, 20 AS output_tokens) "
        f"TO '{parquet}' (FORMAT parquet)"
    )
    path = tmp_path / "logs.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(parquet, "calls.parquet")
    assert tokens(read(path)[0]) == [(10, 0, 20, None)]


# Databases.


def opencode(path: Path, *messages: dict[str, Any], parts: list[dict[str, Any]]) -> Path:
    """A database as opencode has it."""
    with closing(sqlite3.connect(path)) as database:
        database.executescript(
            "CREATE TABLE session (id TEXT PRIMARY KEY, title TEXT);"
            "CREATE TABLE message (id TEXT PRIMARY KEY, session_id TEXT, time_created INTEGER,"
            " time_updated INTEGER, data TEXT);"
            "CREATE TABLE part (id TEXT PRIMARY KEY, message_id TEXT, session_id TEXT,"
            " time_created INTEGER, time_updated INTEGER, data TEXT);"
        )
        for number, message in enumerate(messages):
            row = (f"msg_{number}", "ses_1", 0, 0, json.dumps(message))
            database.execute("INSERT INTO message VALUES (?, ?, ?, ?, ?)", row)
        for number, part in enumerate(parts):
            values = (f"prt_{number}", part.pop("messageID"), "ses_1", 0, 0, json.dumps(part))
            database.execute("INSERT INTO part VALUES (?, ?, ?, ?, ?, ?)", values)
        database.commit()
    return path


COUNTS = {"input": 1000, "output": 500, "reasoning": 50, "cache": {"read": 200, "write": 100}}
ASSISTANT = {
    "role": "assistant",
    "time": {"created": 1733011200000, "completed": 1733011260000},
    "modelID": "gpt-5",
    "providerID": "openai",
    "tokens": COUNTS,
}


def test_the_database_of_opencode_has_a_call_for_each_message(tmp_path: Path) -> None:
    text = {"type": "text", "text": '"step-finish"', "messageID": "msg_1"}
    path = opencode(tmp_path / "opencode.db", {"role": "user"}, ASSISTANT, parts=[text])
    calls, report = read(path)
    assert tokens(calls) == [(1300, 200, 550, 50)]
    assert (calls[0].model, calls[0].provider, calls[0].session) == ("gpt-5", "openai", "ses_1")
    assert calls[0].time is not None
    assert calls[0].time.isoformat() == "2024-12-01T00:01:00+00:00"
    assert report.unread == {}


def test_a_message_of_several_requests_has_a_call_for_each_step(tmp_path: Path) -> None:
    steps = [
        {"type": "step-finish", "messageID": "msg_0", "tokens": {"input": n, "output": 2 * n}}
        for n in (10, 20)
    ]
    path = opencode(tmp_path / "opencode.db", ASSISTANT, parts=steps)
    assert tokens(read(path)[0]) == [(10, 0, 20, None), (20, 0, 40, None)]


def test_a_message_in_the_database_and_in_a_file_counts_once(tmp_path: Path) -> None:
    path = opencode(tmp_path / "opencode.db", ASSISTANT, parts=[])
    stored = ASSISTANT | {"id": "msg_0", "sessionID": "ses_1"}
    (tmp_path / "msg_0.json").write_text(json.dumps(stored), "utf-8")
    calls, report = read(path, tmp_path / "msg_0.json")
    assert (len(calls), report.repeated) == (1, 1)


def test_a_database_is_read_while_it_is_written_to_and_packed(tmp_path: Path) -> None:
    path = opencode(tmp_path / "opencode.db", ASSISTANT, parts=[])
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        row = ("msg_9", "ses_1", 0, 0, json.dumps(ASSISTANT))
        database.execute("INSERT INTO message VALUES (?, ?, ?, ?, ?)", row)
        database.commit()
        assert len(read(path)[0]) == 2
    packed = tmp_path / "opencode.db.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert len(read(packed)[0]) == 2


def test_the_second_database_of_opencode_has_a_call_for_each_request(tmp_path: Path) -> None:
    path = opencode(tmp_path / "opencode.db", ASSISTANT, parts=[])
    model = {"model": {"id": "claude-opus-5", "providerID": "anthropic"}}
    second = [
        ("msg_0", "ses_1", "assistant", ASSISTANT),  # of the first version, too
        ("msg_7", "ses_2", "user", {"text": "…", "time": {"created": 1733011200000}}),
        ("msg_8", "ses_2", "assistant", {"tokens": COUNTS, "time": ASSISTANT["time"]} | model),
        ("msg_9", "ses_2", "compaction", {"status": "completed", "tokens": COUNTS}),
    ]
    with closing(sqlite3.connect(path)) as database:
        database.executescript(
            "CREATE TABLE session_message (id TEXT PRIMARY KEY, session_id TEXT, type TEXT,"
            " data TEXT);"
            "CREATE TABLE session_v2 (id TEXT, tokens_input INTEGER, tokens_output INTEGER);"
            "INSERT INTO session_v2 VALUES ('ses_2', 2600, 1100);"
        )
        for *row, message in second:
            values = (*row, json.dumps(message))
            database.execute("INSERT INTO session_message VALUES (?, ?, ?, ?)", values)
        database.commit()
        calls, report = read(path)
        assert tokens(calls) == [(1300, 200, 550, 50)] * 3
        assert [call.model for call in calls] == ["gpt-5", "claude-opus-5", "claude-opus-5"]
        assert [call.session for call in calls] == ["ses_1", "ses_2", "ses_2"]
        assert calls[1].provider == "anthropic"
        assert not report.unread
        # Without messages, the row of a session is a sum.
        database.executescript("DROP TABLE message; DROP TABLE session_message")
        database.commit()
        (total,), _ = read(path)
        assert (total.requests, tokens([total])) == (None, [(2600, 0, 1100, None)])


def test_tables_of_other_databases_are_read_by_their_columns(tmp_path: Path) -> None:
    path = tmp_path / "logs.db"
    with closing(sqlite3.connect(path)) as database:
        database.executescript(
            'CREATE TABLE "my responses" (id TEXT, model TEXT, input_tokens INTEGER,'
            " output_tokens INTEGER, prompt TEXT);"
            'INSERT INTO "my responses" VALUES ("a", "gpt-4o", 10, 20, "?");'
            "CREATE TABLE notes (id TEXT, text TEXT); INSERT INTO notes VALUES (1, 2);"
        )
    calls, report = read(path)
    assert tokens(calls) == [(10, 0, 20, None)]
    assert report.unread == {}


@pytest.mark.parametrize("content", [b"SQLite format 3\0" + b"\1" * 5000, None])
def test_a_database_without_calls_is_reported(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    if content is None:
        with closing(sqlite3.connect(path)) as database:
            database.execute("CREATE TABLE notes (text TEXT)")
    else:
        path.write_bytes(content)
    calls, report = read(path)
    assert (calls, report.found_nothing) == ([], True)
    assert any("database" in cut.reason for cut in report.cut_off.values())


@pytest.mark.skipif(sys.platform != "linux", reason="open files are looked up as Linux has them")
def test_a_damaged_database_is_closed_again(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    path.write_bytes(b"SQLite format 3\0" + b"\1" * 5000)
    # The error holds what its frames hold.
    with pytest.raises(ValueError, match="cannot be read") as _error:
        next(read_database(str(path)))
    opened = [Path("/proc/self/fd") / number for number in os.listdir("/proc/self/fd")]
    assert path not in [each.readlink() for each in opened if each.is_symlink()]


# Log records.


def attributes(**named: Any) -> list[dict[str, Any]]:
    """Attributes as OTLP has them in JSON."""
    return [
        {
            "key": name.replace("__", "."),
            "value": {"intValue": str(value)} if isinstance(value, int) else {"stringValue": value},
        }
        for name, value in named.items()
    ]


def otlp(*records: dict[str, Any], service: str = "app") -> dict[str, Any]:
    resource = {"attributes": attributes(service__name=service)}
    scopes = [{"scope": {"name": "s"}, "logRecords": list(records)}]
    return {"resourceLogs": [{"resource": resource, "scopeLogs": scopes}]}


TIME = "1700000000000000000"
GENAI = "gen_ai.client.inference.operation.details"
DETAILS = {
    "gen_ai__operation__name": "chat",
    "gen_ai__request__model": "gpt-4o",
    "gen_ai__response__model": "gpt-4o-2024-08-06",
    "gen_ai__usage__input_tokens": 100,
    "gen_ai__usage__output_tokens": 7,
}
GEMINI = {
    "model": "gemini-2.5-flash", "input_token_count": 12000, "output_token_count": 350,
    "cached_content_token_count": 8000, "thoughts_token_count": 420, "tool_token_count": 2,
    "event__name": "gemini_cli.api_response", "session__id": "s",
}  # fmt: skip
CODEX = {
    "event__name": "codex.sse_event", "event__kind": "response.completed", "model": "gpt-5",
    "input_token_count": "1000", "cached_token_count": "600", "output_token_count": "90",
    "reasoning_token_count": "64", "tool_token_count": "1090", "conversation__id": "c",
}  # fmt: skip
CLAUDE = {
    "event__name": "api_request", "model": "claude-sonnet-4-5", "input_tokens": 5,
    "output_tokens": 60, "cache_read_tokens": 900, "cache_creation_tokens": 95, "session__id": "s",
    "event__timestamp": "2023-11-14T22:13:20Z",
}  # fmt: skip


@pytest.mark.parametrize(
    ("named", "expected", "model"),
    [
        ({"event__name": GENAI, **DETAILS}, (100, 0, 7, None), "gpt-4o-2024-08-06"),
        (GEMINI, (12002, 8000, 770, 420), "gemini-2.5-flash"),
        (GEMINI | {"event__name": "qwen-code.api_response"}, (12002, 8000, 770, 420),
         "gemini-2.5-flash"),
        (CODEX, (1000, 600, 90, 64), "gpt-5"),
        (CLAUDE, (1000, 900, 60, None), "claude-sonnet-4-5"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("form", ["otlp", "alone"])
def test_a_log_record_of_a_request_is_a_call(
    named: dict[str, Any],
    expected: tuple[int, int, int, int | None],
    model: str,
    form: str,
    tmp_path: Path,
) -> None:
    if form == "otlp":
        record = {"timeUnixNano": TIME, "attributes": attributes(**named)}
        document = otlp({"attributes": attributes(event__name="other")}, record)
    else:
        plain = {name.replace("__", "."): value for name, value in named.items()}
        document = {"timestamp": "2023-11-14T22:13:20Z", "attributes": plain}
    path = tmp_path / "logs.jsonl"
    path.write_text(f"{json.dumps(document)}\n{json.dumps(document)}\n", "utf-8")
    calls, report = read(path)
    assert tokens(calls[:1]) == [expected]
    assert calls[0].model == model
    assert calls[0].time is not None
    assert calls[0].time.isoformat() == "2023-11-14T22:13:20+00:00"
    if "session__id" in named or "conversation__id" in named:
        # The same record again is the same call.
        assert (len(calls), report.repeated) == (1, 1)
    assert report.unread == {}


def test_an_event_and_its_span_are_one_call(tmp_path: Path) -> None:
    span = {"traceId": "t", "spanId": "s", "endTimeUnixNano": TIME,
            "attributes": attributes(**DETAILS)}  # fmt: skip
    record = {"traceId": "t", "spanId": "s", "timeUnixNano": TIME, "eventName": GENAI,
              "attributes": attributes(**DETAILS)}  # fmt: skip
    spans = {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}
    path = tmp_path / "all.jsonl"
    path.write_text(f"{json.dumps(spans)}\n{json.dumps(otlp(record))}\n", "utf-8")
    calls, report = read(path)
    assert (len(calls), report.repeated) == (1, 1)


def test_a_response_that_gemini_sends_in_two_events_is_one_call(tmp_path: Path) -> None:
    own = {"timeUnixNano": TIME, "attributes": attributes(**GEMINI)}
    again = {"timeUnixNano": TIME, "attributes": attributes(event__name=GENAI, **DETAILS)}
    path = tmp_path / "telemetry.log"
    path.write_text(json.dumps(otlp(own, again, service="gemini-cli")), "utf-8")
    assert tokens(read(path)[0]) == [(12002, 8000, 770, 420)]


def test_log_records_without_calls_are_recognised_and_have_none(tmp_path: Path) -> None:
    path = tmp_path / "logs.json"
    path.write_text(json.dumps(otlp({"body": {"stringValue": "started"}})), "utf-8")
    calls, report = read(path)
    assert (calls, report.found_nothing, report.unread) == ([], False, {})


# Responses.


@pytest.mark.parametrize("empty", [{}, None, []])
def test_an_empty_usage_at_the_top_does_not_hide_a_filled_one(empty: Any, tmp_path: Path) -> None:
    body = {
        "id": "1",
        "model": "gpt-4o",
        "usage": empty,
        "response": {"usage": {"input_tokens": 10, "output_tokens": 20}},
    }
    path = tmp_path / "log.json"
    path.write_text(json.dumps(body), "utf-8")
    assert tokens(read(path)[0]) == [(10, 0, 20, None)]
