"""Logs of evaluations beside each other, and in the database of their program."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from energy_tracking.logs.logged import LoggedCall
from energy_tracking.logs.read_report import ReadReport
from energy_tracking.logs.reading import read_logs


def read(*paths: Path) -> tuple[list[LoggedCall], ReadReport]:
    report = ReadReport()
    return list(read_logs(paths, report=report)), report


def test_a_log_of_inspect_that_goes_on_with_another_repeats_no_call(tmp_path: Path) -> None:
    def log(name: str, *ids: str) -> Path:
        events = [
            {"event": "model", "model": "openai/gpt-4o", "call": {"response": {"id": each}},
             "output": {"usage": {"input_tokens": 10, "output_tokens": 1, "total_tokens": 11}}}
            for each in ids
        ]  # fmt: skip
        sample = {"id": 1, "epoch": 1, "events": events}
        whole = {"eval": {"task": "t"}, "status": "success", "samples": [sample]}
        (tmp_path / name).write_text(json.dumps(whole, indent=2), "utf-8")
        return tmp_path / name

    first, second = (f"chatcmpl-{letter * 28}" for letter in "ab")
    calls, report = read(log("a.json", first), log("b.json", first, second))
    assert (len(calls), report.repeated) == (2, 1)
    # An id that a server draws from a few says nothing.
    assert len(read(log("c.json", "chatcmpl-7", "chatcmpl-7"))[0]) == 2


def test_the_database_of_promptfoo_has_a_call_for_each_result(tmp_path: Path) -> None:
    def result(name: str, response: Any, graded: Any = None) -> tuple[object, ...]:
        provider = json.dumps({"id": "openai:chat:gpt-4o-mini"})
        cells = (json.dumps(response), json.dumps({"tokensUsed": graded}))
        return (name, 1_754_000_000_000, "eval-1", 0, provider, *cells)

    rows = [
        result("a", {"tokenUsage": {"total": 44, "prompt": 43, "completion": 1}},
               {"total": 300, "prompt": 200, "completion": 100, "numRequests": 2}),
        result("b", {"tokenUsage": {"total": 44, "cached": 44}, "cached": True}),
    ]  # fmt: skip
    path = tmp_path / "promptfoo.db"
    with closing(sqlite3.connect(path)) as database:
        database.executescript(
            "CREATE TABLE evals (id TEXT, created_at INTEGER, config TEXT);"
            "CREATE TABLE eval_results (id TEXT, created_at INTEGER, eval_id TEXT,"
            " prompt_idx INTEGER, provider TEXT, response TEXT, grading_result TEXT);"
        )
        for row in rows:
            database.execute("INSERT INTO eval_results VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        database.commit()
    (call, graded), report = read(path)
    assert (call.model, call.session, call.tokens) == ("gpt-4o-mini", "eval-1", 44)
    assert call.time is not None
    assert call.time.isoformat() == "2025-07-31T22:13:20+00:00"
    assert (graded.requests, graded.tokens, report.cache_hits) == (2, 300, 1)
