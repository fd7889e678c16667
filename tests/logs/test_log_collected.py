"""What a program wrote is read whatever a runtime, a journal or a collector has put around it."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from energy_tracking.logs.files.opening import kind_of
from energy_tracking.logs.logged import LoggedCall
from log_samples.common import COMPLETION
from log_samples.reading import ALL_SAMPLES, read, shown
from log_samples.wrappings import SHORT_TIME, TIME, WRAPPINGS, as_lines, behind, docker, journal

LONG = json.dumps(COMPLETION | {"padding": "x" * 40_000, "created": None})
WRITTEN = datetime.fromisoformat("2026-03-04T05:06:07+00:00")


def write(path: Path, content: str) -> Path:
    path.write_text(content, "utf-8")
    return path


def tokens(calls: list[LoggedCall]) -> list[int]:
    return [call.tokens for call in calls]


@pytest.mark.parametrize("around", WRAPPINGS)
def test_every_format_is_read_in_the_lines_of_a_log(around: str, tmp_path: Path) -> None:
    wrong = []
    for row, documents, like in ALL_SAMPLES:
        content = WRAPPINGS[around](list(map(json.dumps, documents)))
        entries, report = read(write(tmp_path / "app.log", content))
        expected = replace(like, first=None)
        found = shown(entries, report, expected)
        if found != expected or any(entry.time is None for entry in entries):
            wrong.append((row, expected, found))
    assert not wrong


@pytest.mark.parametrize("around", WRAPPINGS)
@pytest.mark.parametrize(
    "started",
    ["Starting server, listening on port 8000; ready", "loading | model", "[1/2] a, b", "# a, b"],
)
def test_lines_of_text_before_them_change_nothing(
    around: str, started: str, tmp_path: Path
) -> None:
    try:
        content = WRAPPINGS[around]([started, json.dumps(COMPLETION)])
    except ValueError:
        pytest.skip("holds objects alone")
    calls, _ = read(write(tmp_path / "app.log", content))
    assert tokens(calls) == [29]


def cut(text: str, size: int) -> list[str]:
    return [text[start : start + size] for start in range(0, len(text), size)]


def of_docker(parts: list[str]) -> str:
    return as_lines(docker(part) | {"log": part} for part in [*parts[:-1], f"{parts[-1]}\n"])


def of_kubernetes(parts: list[str]) -> str:
    tags = ["P"] * (len(parts) - 1) + ["F"]
    return "\n".join(f"{TIME} stdout {tag} {part}" for tag, part in zip(tags, parts, strict=True))


def of_fluentd(parts: list[str]) -> str:
    """Source: https://docs.docker.com/engine/logging/drivers/fluentd"""
    return as_lines(
        {"log": part, "container_id": "c", "source": "stdout", "partial_message": "true",
         "partial_last": str(part is parts[-1]).lower(), "time": TIME}
        for part in parts
    )  # fmt: skip


def of_journal(parts: list[str]) -> str:
    marks = [{"_LINE_BREAK": "line-max"}] * (len(parts) - 1) + [{}]
    return as_lines(journal(part, **mark) for part, mark in zip(parts, marks, strict=True))


PARTS = {"Docker": of_docker, "Kubernetes": of_kubernetes, "fluentd": of_fluentd,
         "the journal": of_journal}  # fmt: skip


@pytest.mark.parametrize("around", PARTS)
def test_parts_of_a_long_line_are_put_together(around: str, tmp_path: Path) -> None:
    content = PARTS[around](cut(LONG, 16_384))
    calls, report = read(write(tmp_path / "app.log", f"{content}\n{PARTS[around]([LONG])}"))
    assert tokens(calls) == [29]
    assert report.repeated == 1
    assert not report.unread
    assert calls[0].time is not None
    assert calls[0].time.replace(microsecond=0) == WRITTEN


@pytest.mark.parametrize("around", PARTS)
def test_a_line_whose_end_is_missing_is_reported(around: str, tmp_path: Path) -> None:
    lines = PARTS[around](cut(LONG, 16_384)).splitlines()[:-1]
    calls, report = read(write(tmp_path / "app.log", "\n".join(lines)))
    assert calls == []
    assert {why: each.count for why, each in report.unread.items()} == {"a line that is cut off": 1}


def test_parts_of_two_programs_are_kept_apart(tmp_path: Path) -> None:
    parts = [cut(json.dumps(COMPLETION | {"id": c * 30}), 100) for c in "ab"]
    lines = [
        {"time": SHORT_TIME, "stream": stream, "logtag": "F" if part is own[-1] else "P",
         "log": part}
        for pair in zip(*parts, strict=True)
        for stream, part, own in zip(("stdout", "stderr"), pair, parts, strict=True)
    ]  # fmt: skip
    assert tokens(read(write(tmp_path / "app.log", as_lines(lines)))[0]) == [29, 29]


WRAPPINGS_OF_TEXT = {**WRAPPINGS, "docker compose logs": behind("web-1  | ")}


@pytest.mark.parametrize(
    "wrap", ["Docker", "Kubernetes", "journalctl -o json", "docker compose logs"]
)
def test_an_object_printed_over_several_lines_is_put_together(wrap: str, tmp_path: Path) -> None:
    lines = json.dumps(COMPLETION, indent=2).splitlines()
    other = json.dumps([COMPLETION | {"id": "x" * 30}], indent=2).splitlines()
    content = WRAPPINGS_OF_TEXT[wrap](["ready", *lines, *lines, "{", "no object", *other, "done"])
    calls, report = read(write(tmp_path / "app.log", content))
    assert tokens(calls) == [29, 29]
    assert report.repeated == 1
    assert report.unread["a line that is cut off"].count == 1


def test_a_line_that_the_journal_left_out_is_reported_with_the_remedy(tmp_path: Path) -> None:
    calls, report = read(write(tmp_path / "a.json", as_lines([journal(None)])))
    assert calls == []
    assert any("journalctl --all" in reason for reason in report.unread)


def test_a_line_of_the_journal_with_colours_is_read(tmp_path: Path) -> None:
    line = list(f"\x1b[32mINFO\x1b[0m {json.dumps(COMPLETION)}".encode())
    assert tokens(read(write(tmp_path / "a.json", as_lines([journal(line)])))[0]) == [29]


@pytest.mark.parametrize(
    "line",
    [
        'INFO request={"model": "gpt-4o", "messages": []} response=RESPONSE',
        'RESPONSE {"took": 1}',
        'INFO {"model": "gpt-4o"} -> RESPONSE',
        "INFO RESPONSE, RESPONSE",
        'INFO {"broken": "x RESPONSE\nINFO RESPONSE',
    ],
)
def test_each_object_in_a_line_of_text_is_read(line: str, tmp_path: Path) -> None:
    content = line.replace("RESPONSE", json.dumps(COMPLETION))
    assert tokens(read(write(tmp_path / "app.log", content))[0]) == [29]


@pytest.mark.parametrize(
    "document",
    [
        {"message": f"Please explain {json.dumps(COMPLETION)} to me"},
        {"log": json.dumps(COMPLETION)[:-1], "stream": "stdout", "time": TIME},
        {"role": "assistant", "content": json.dumps(COMPLETION)},
        {"turns": [{"role": "user", "content": json.dumps(COMPLETION)}]},
    ],
)
def test_what_a_line_quotes_or_has_begun_is_no_call(
    document: dict[str, Any], tmp_path: Path
) -> None:
    calls, report = read(write(tmp_path / "a.json", json.dumps(document)))
    assert (calls, len(report.unread)) == ([], 1)


def test_a_call_that_the_end_of_a_log_settles_has_the_time_of_its_line(tmp_path: Path) -> None:
    message = {"id": "msg_" + "a" * 24, "model": "claude-opus-4-5",
               "usage": {"input_tokens": 10, "output_tokens": 1}}  # fmt: skip
    line = json.dumps({"type": "message_start", "message": message})
    (call,), _ = read(write(tmp_path / "a.json", as_lines([docker(line)])))
    assert call.time is not None
    assert call.time.replace(microsecond=0) == WRITTEN


def test_blank_lines_cost_no_time_when_a_file_is_recognised() -> None:
    start = time.process_time()
    assert kind_of(b"ready\n" + b"\n" * 65_000) == "json lines"
    assert time.process_time() - start < 1
