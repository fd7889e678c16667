"""A ledger keeps every call, whatever happens to the processes that write it."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import redirect_stdout, suppress
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import openai
import pytest

from counts import the_only
from energy_tracking import (
    CallRecord,
    ConfigurationError,
    EnergyTrackingWarning,
    LedgerEntry,
    Session,
    TokenUsage,
    Totals,
    Tracker,
    energy_session,
    read_ledger,
)
from energy_tracking.cli.main import main
from full_disk import files_limited_to
from loopback import (
    CHAT_USAGE,
    DONE,
    Body,
    Flavour,
    Loopback,
    chat_chunks,
    chat_completion,
    error_reply,
    json_reply,
    sse,
)
from observed_calls import Watch

CHAT: Body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Where is my umbrella?"}]}
USAGE = {"prompt_tokens": 10, "completion_tokens": 100}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "energy.jsonl"


@pytest.fixture
def tracker(watch: Watch, path: Path) -> Tracker:
    return Tracker(**watch.arguments, ledger=path)


def entries(path: Path) -> list[LedgerEntry]:
    return list(read_ledger(path))


def added_up(records: Iterator[CallRecord] | list[CallRecord]) -> Totals:
    totals = Totals()
    for record in records:
        totals.add(record)
    return totals


async def test_what_is_read_is_what_was_recorded(
    flavour: Flavour, loopback: Loopback, watch: Watch, path: Path
) -> None:
    measured = chat_completion() | {"energy": {"total_joules": 5.5}}
    loopback.serve(
        json_reply(chat_completion()),
        json_reply(measured),
        sse(*chat_chunks("Under", " the", " piano"), DONE),
        json_reply(chat_completion(usage=None)),
        json_reply(chat_completion(model="nobody-knows-it")),
        error_reply(400),
    )
    client = watch.wrap(flavour.client(loopback.base_url), ledger=path)
    before = datetime.now(UTC)
    with energy_session("nightly", tags={"team": "🔎"}):
        for request in (CHAT, CHAT, CHAT | {"stream": True}, CHAT, CHAT | {"model": "x"}, CHAT):
            with suppress(openai.BadRequestError):
                result = await flavour.call(client.chat.completions.create, **request)
                if "stream" in request:
                    assert [chunk async for chunk in flavour.items(result)]
    read = entries(path)
    assert len(read) == len(watch.records) == 6
    for entry, record in zip(read, watch.records, strict=True):
        assert entry.record == record
        assert entry.pid == os.getpid()
        assert (record.session, record.tags) == ("nightly", {"team": "🔎"})
        assert before - timedelta(seconds=1) < entry.recorded_at < datetime.now(UTC)
    statuses = [entry.record.status for entry in read]
    assert set(statuses) == {"measured", "estimated", "partial", "unestimated"}
    assert [entry.record.error_type for entry in read][-1] == "BadRequestError"
    text = path.read_text("utf-8")
    assert not [word for word in ("umbrella", "piano") if word in text]


@pytest.mark.parametrize("method", ["reference", "roofline"])
@pytest.mark.parametrize(
    "assumed",
    [
        {"speculative": True},
        {"speculative": False},
        {"engine_year": 2024},
        {"weight_format": "int4"},
        {"weight_bytes": 0.5},
        {"num_gpus": 8, "expert_parallel": 8, "engine_year": 2025},
        {"sequences": 3.5},
        {"timing_evidence": True, "gpu": "H100"},
    ],
    ids=",".join,
)
def test_what_was_assumed_is_read_as_it_was_recorded(
    watch: Watch, path: Path, method: str, assumed: dict[str, Any]
) -> None:
    tracker = Tracker(**watch.arguments, ledger=path, method=method, **assumed)
    tracker.record(model="llama-3.1-70b", usage=CHAT_USAGE)
    (entry,) = entries(path)
    assert entry.record == watch.record


def test_every_token_count_is_kept(tracker: Tracker, path: Path, watch: Watch) -> None:
    tracker.record(model="gpt-4o", usage=CHAT_USAGE)
    entry = the_only(entries(path))
    assert entry.record.usage == watch.record.usage
    assert entry.record.usage is not None
    assert entry.record.usage.cached_input_tokens == 64
    assert entry.record.usage.reasoning_tokens == 32
    line = the_only(map(json.loads, path.read_text().splitlines()))
    assert line["usage"].keys() <= {field.name for field in fields(TokenUsage)}
    assert (line["model"], line["estimate"]["gpu"]) == ("gpt-4o", "H100")
    assert line["total_energy_joules"] == watch.record.total_energy_joules


def test_totals_survive_a_restart(tracker: Tracker, path: Path, watch: Watch) -> None:
    with energy_session("first") as first:
        tracker.record(model="gpt-4o", usage=USAGE)
        tracker.record(model="o1", usage=CHAT_USAGE)
    again = Tracker(**watch.arguments, ledger=str(path))
    with energy_session("second") as second:
        again.record(model="gpt-4o", usage=USAGE)
    totals = added_up([entry.record for entry in read_ledger(path)])
    expected = first.totals
    expected += second.totals
    assert totals == expected
    assert totals.calls == 3


# Crashes and full disks.


@pytest.mark.parametrize("kept", [1, 40, 0.5, -3, -2])
def test_a_torn_last_line_is_left_out_reported_and_ended_by_the_next_writer(
    tracker: Tracker, path: Path, kept: float
) -> None:
    for _ in range(3):
        tracker.record(model="gpt-4o", usage=USAGE)
    lines = path.read_bytes().splitlines(keepends=True)
    last = lines[-1]
    cut = last[: int(len(last) * kept) if isinstance(kept, float) else kept]
    path.write_bytes(b"".join(lines[:-1]) + cut)
    with pytest.warns(EnergyTrackingWarning, match=r"1 unreadable line left out \(3\)"):
        assert len(entries(path)) == 2
    tracker.record(model="o1", usage=USAGE)
    with pytest.warns(EnergyTrackingWarning, match=r"1 unreadable line left out \(3\)"):
        assert [entry.record.model for entry in entries(path)] == ["gpt-4o", "gpt-4o", "o1"]


def test_a_line_that_lost_its_end_alone_is_read(tracker: Tracker, path: Path) -> None:
    tracker.record(model="gpt-4o", usage=USAGE)
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    assert len(entries(path)) == 1
    tracker.record(model="gpt-4o", usage=USAGE)
    assert len(entries(path)) == 2


@pytest.mark.parametrize(
    "line",
    [
        b"\0" * 400,
        b"[1, 2]",
        b"7",
        b"{}",
        b'{"ledger": 1}',
        b'{"ledger": 2, "pid": 1}',
        b"\xff\xfe",
        b"[" * 100_000,
    ],
)
def test_foreign_lines_are_left_out_and_reported(tracker: Tracker, path: Path, line: bytes) -> None:
    tracker.record(model="gpt-4o", usage=USAGE)
    with path.open("ab") as file:
        file.write(line + b"\n\n")
    tracker.record(model="gpt-4o", usage=USAGE)
    with pytest.warns(EnergyTrackingWarning, match=r"left out \(2\)"):
        assert len(entries(path)) == 2


@pytest.mark.parametrize("joules", ["-5", "NaN", "Infinity", "1e13", '"5"', "true"])
@pytest.mark.parametrize("name", ["measured_energy_joules", "decode_energy_joules"])
def test_a_line_with_an_energy_that_cannot_be_is_left_out_and_reported(
    tracker: Tracker, path: Path, name: str, joules: str
) -> None:
    for _ in range(2):
        tracker.record(model="gpt-4o", usage=USAGE, measured_energy_joules=5.0)
    first, second = path.read_text().splitlines()
    second = re.sub(rf'"{name}":[^,}}]*', f'"{name}":{joules}', second)
    path.write_text(f"{first}\n{second}\n")
    with pytest.warns(EnergyTrackingWarning, match=r"1 unreadable line left out \(2\)"):
        assert [entry.record.total_energy_joules for entry in entries(path)] == [5.0]


def test_fields_of_a_later_version_are_no_hindrance(tracker: Tracker, path: Path) -> None:
    tracker.record(model="gpt-4o", usage=CHAT_USAGE)
    line = json.loads(path.read_text())
    for part in (line, line["usage"], line["estimate"], line["request"]):
        part["moon_phase"] = "full"
    with path.open("a") as file:
        file.write(json.dumps(line) + "\n")
    first, second = entries(path)
    assert first == second


async def test_a_full_disk_touches_no_call(
    flavour: Flavour, loopback: Loopback, watch: Watch, path: Path
) -> None:
    loopback.serve(json_reply(chat_completion()))
    client = watch.wrap(flavour.client(loopback.base_url), ledger=path)
    for _ in range(2):
        with files_limited_to(0):
            answer = await flavour.call(client.chat.completions.create, **CHAT)
        assert answer.choices[0].message.content == "Hello!"
    assert len(watch.records) == 2
    assert [(where, type(error)) for where, error in watch.errors] == [("ledger", OSError)] * 2
    watch.errors.clear()


LIMITED = """
import resource, signal, sys
from energy_tracking import Tracker, read_ledger
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
errors = []
tracker = Tracker(ledger=sys.argv[1], on_error=lambda where, error: errors.append(where))
def count_one():
    tracker.record(model="gpt-4o", usage={"prompt_tokens": 10, "completion_tokens": 5})
count_one()
size = len(open(sys.argv[1]).read())
resource.setrlimit(resource.RLIMIT_FSIZE, (3 * size + 99, resource.RLIM_INFINITY))
for _ in range(5):
    count_one()
assert errors == ["ledger"] * 3, errors
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
count_one()
assert errors == ["ledger"] * 3, errors
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no limits of file size there")
def test_a_line_cut_off_by_a_full_disk_costs_no_other(path: Path) -> None:
    subprocess.run([sys.executable, "-c", LIMITED, str(path)], check=True, timeout=30)
    with pytest.warns(EnergyTrackingWarning, match=r"1 unreadable line left out \(4\)"):
        assert len(entries(path)) == 4


@pytest.mark.parametrize("where", ["missing/energy.jsonl", "."])
def test_a_ledger_that_cannot_be_written_is_refused_at_once(
    tmp_path: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigurationError, match=r"ledger \(ENERGY_TRACKING_LEDGER\) must be"):
        Tracker(ledger=tmp_path / where)
    monkeypatch.setenv("ENERGY_TRACKING_LEDGER", str(tmp_path / where))
    with pytest.raises(ConfigurationError, match=r"ledger \(ENERGY_TRACKING_LEDGER\) must be"):
        Tracker()
    Tracker(disabled=True)


def test_a_program_may_change_its_directory(
    tmp_path: Path, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    tracker = Tracker(**watch.arguments, ledger="energy.jsonl")
    monkeypatch.chdir(tmp_path / "elsewhere")
    tracker.record(model="gpt-4o", usage=USAGE)
    assert len(entries(tmp_path / "energy.jsonl")) == 1


def test_a_ledger_may_be_rotated(tracker: Tracker, path: Path) -> None:
    tracker.record(model="gpt-4o", usage=USAGE)
    path.rename(path.with_suffix(".1"))
    tracker.record(model="o1", usage=USAGE)
    assert [entry.record.model for entry in entries(path)] == ["o1"]
    assert [entry.record.model for entry in entries(path.with_suffix(".1"))] == ["gpt-4o"]


# Many processes.

WRITER = """
import os, sys
from concurrent.futures import ThreadPoolExecutor
from energy_tracking import Tracker, energy_session
tracker = Tracker(ledger=sys.argv[1])
def count(_):
    tracker.record(model="gpt-4o", usage={"prompt_tokens": 10, "completion_tokens": 5})
print("ready", flush=True)
sys.stdin.readline()
with energy_session(sys.argv[2]) as session:
    if sys.argv[2] == "killed":
        while True:
            count(0)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(session.run, [count] * 200, range(200)))
print(session.totals.calls, session.totals.total_energy_nanojoules)
"""


def test_processes_and_threads_write_one_ledger_and_one_is_killed(path: Path) -> None:
    names = ["a", "b", "c", "killed"]
    processes = {
        name: subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in names
    }
    for process in processes.values():
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes.values():
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    printed = {name: processes[name].communicate(timeout=60)[0].split() for name in names[:-1]}
    while b'"killed"' not in path.read_bytes():
        pass
    os.kill(processes["killed"].pid, signal.SIGKILL)
    processes["killed"].communicate(timeout=10)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        read = entries(path)
    # At most the line that the kill came in the middle of.
    assert len(caught) <= 1
    for name, (calls, nanojoules) in printed.items():
        own = [entry for entry in read if entry.record.session == name]
        assert {entry.pid for entry in own} == {processes[name].pid}
        totals = added_up([entry.record for entry in own])
        assert (totals.calls, totals.total_energy_nanojoules) == (int(calls), int(nanojoules))
        assert totals.calls == 200
    assert len(read) > 600


# Computing again.


def printed(*arguments: str) -> str:
    out = io.StringIO()
    with redirect_stdout(out):
        assert main(["ledger", *arguments]) == 0
    return out.getvalue()


def test_another_method_or_gpu_gives_what_it_would_have_given(
    tracker: Tracker, watch: Watch, path: Path
) -> None:
    usages = [USAGE, CHAT_USAGE, {"prompt_tokens": 9000, "completion_tokens": 1}]
    with energy_session("by reference") as by_reference:
        for usage in usages:
            tracker.record(model="gpt-4o", usage=usage)
        tracker.record(model="nobody-knows-it", usage=USAGE)
    other = Tracker(**watch.arguments, method="roofline", gpu="A100")
    with energy_session("by roofline") as by_roofline:
        for usage in usages:
            other.record(model="gpt-4o", usage=usage)
        other.record(model="nobody-knows-it", usage=USAGE)
    again = added_up([other.estimation.estimate_again(entry.record) for entry in read_ledger(path)])
    assert again == by_roofline.totals != by_reference.totals
    assert json.loads(printed(str(path), "--format", "json"))["totals"] == (
        by_reference.totals.as_dict()
    )
    printed_sums = json.loads(
        printed(str(path), "--format", "json", "--method", "roofline", "--gpu", "A100")
    )
    assert printed_sums["totals"] == by_roofline.totals.as_dict()
    assert printed_sums["reasons"][0]["model"] == "nobody-knows-it"


def test_a_call_without_a_profile_gets_its_energy_once_there_is_one(
    tracker: Tracker, watch: Watch, path: Path
) -> None:
    tracker.record(model="house-7b", usage=USAGE)
    assert (watch.record.status, watch.record.estimate) == ("unestimated", None)
    entry = the_only(entries(path))
    known = Tracker(**watch.arguments | {"model_mapping": {"house-7b": "gpt-4o-mini"}})
    again = known.estimation.estimate_again(entry.record)
    assert (again.status, again.reason, again.model_match) == ("estimated", None, "mapping")
    unknown = tracker.estimation.estimate_again(again)
    assert (unknown.status, unknown.total_energy_joules) == ("unestimated", None)
    assert unknown.reason == watch.record.reason


def test_measured_and_partial_calls_stay_so(tracker: Tracker) -> None:
    record = tracker.record(model="gpt-4o", usage=USAGE)
    assert record.usage is not None
    measured = replace(record, measured_energy_joules=5.5, status="measured")
    seen = replace(record.usage, estimated=("input_tokens", "output_tokens"))
    partial = replace(record, usage=seen, status="partial", reason="no usage in the stream")
    other = Tracker(method="roofline")
    again = other.estimation.estimate_again(measured)
    assert (again.status, again.total_energy_joules) == ("measured", 5.5)
    assert again.estimate is not None
    assert again.estimate.method == "roofline"
    assert (
        other.estimation.estimate_again(partial).status,
        other.estimation.estimate_again(partial).reason,
    ) == (
        "partial",
        "no usage in the stream",
    )
    failed = replace(record, usage=None, estimate=None, status="unestimated", reason="failed")
    assert other.estimation.estimate_again(failed) == failed


def test_the_command_prints_a_table(tracker: Tracker, path: Path) -> None:
    with energy_session("nightly"):
        tracker.record(model="gpt-4o", usage=USAGE)
    tracker.record(model="o1", usage=USAGE)
    assert printed(str(path)).startswith(f"{path}: 2 calls, ")
    assert printed(str(path), "--session", "nightly").startswith("nightly: 1 call, ")
    header, *rows = printed(str(path), "--format", "csv").splitlines()
    assert header.startswith("model,gpu,method,scope,grade,calls,")
    assert [row.split(",")[:6] for row in rows] == [
        ["gpt-4o", "H100", "reference", "gpu", "C", "1"],
        ["o1", "H100", "reference", "gpu", "D", "1"],
    ]


def test_the_command_states_what_it_could_not_read(
    tracker: Tracker, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tracker.record(model="gpt-4o", usage=USAGE)
    with path.open("a") as file:
        file.write("{")
    assert main(["ledger", str(path)]) == 0
    shown = capsys.readouterr()
    assert "1 call, " in shown.out
    assert "1 unreadable line left out (2)" in " ".join(shown.err.split())
    # A path alone may be longer.
    assert all(len(line) <= 80 for line in shown.err.splitlines() if " " in line.strip())
    assert main(["ledger", str(path.with_name("none.jsonl"))]) == 2
    assert "No such file" in capsys.readouterr().err


def test_the_command_states_that_a_session_is_not_there(
    tracker: Tracker, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Session("nightly"):
        tracker.record(model="gpt-4o", usage=USAGE)
    assert main(["ledger", str(path), "--session", "nightli"]) == 1
    said = "--session must be one of 'nightly', got 'nightli'; did you mean 'nightly'?"
    assert said in capsys.readouterr().err
    path.write_text("{\n")
    assert main(["ledger", str(path)]) == 1
    assert "1 unreadable line left out" in " ".join(capsys.readouterr().err.split())


def test_a_ledger_may_be_named_from_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    Tracker(ledger="~/energy.jsonl").record(model="gpt-4o", usage=USAGE)
    assert (tmp_path / "energy.jsonl").exists()
    assert main(["ledger", "~/energy.jsonl"]) == 0


@pytest.mark.parametrize("lines", [0, 1])
def test_the_command_never_replaces_a_model_that_was_named(
    tracker: Tracker,
    path: Path,
    lines: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for _ in range(lines):
        tracker.record(model="gpt-4o", usage=USAGE)
    monkeypatch.setenv("ENERGY_TRACKING_DEFAULT_MODEL", "gpt-4o")
    assert main(["ledger", str(path), "--model", "gpt-4o-minii"]) == 2
    shown = capsys.readouterr()
    assert "got 'gpt-4o-minii'; did you mean 'gpt-4o-mini'" in shown.err
    assert shown.out == ""


def test_the_command_adds_up_no_two_methods(tracker: Tracker, watch: Watch, path: Path) -> None:
    tracker.record(model="gpt-4o", usage=USAGE)
    Tracker(**watch.arguments, ledger=path, method="roofline", scope="facility").record(
        model="gpt-4o", usage=USAGE
    )
    printed_sums = json.loads(printed(str(path), "--format", "json"))
    assert [(one["method"], one["scope"], one["calls"]) for one in printed_sums["sums"]] == [
        ("reference", "gpu", 1),
        ("roofline", "facility", 1),
    ]
    assert [(row["method"], row["scope"], row["grade"]) for row in printed_sums["groups"]] == [
        ("reference", "gpu", "C"),
        ("roofline", "facility", "C"),
    ]
    assert printed(str(path)).count("\nmodel") == 2


def test_the_command_opens_no_ledger_of_its_own(
    tracker: Tracker, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker.record(model="gpt-4o", usage=USAGE)
    monkeypatch.setenv("ENERGY_TRACKING_LEDGER", str(tmp_path / "other.jsonl"))
    printed(str(path), "--method", "roofline")
    assert not (tmp_path / "other.jsonl").exists()


def test_nothing_is_written_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Tracker().record(model="gpt-4o", usage=USAGE)
    assert list(tmp_path.iterdir()) == []
