"""A call that is there twice counts once: in a file, across files, and across runs."""

from __future__ import annotations

import gc
import gzip
import json
import os
import shutil
import sqlite3
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from energy_tracking import (
    ConfigurationError,
    EnergyTrackingWarning,
    Totals,
    Tracker,
    energy_session,
    read_ledger,
    record_log,
)
from energy_tracking.cli.main import main
from energy_tracking.logs import once
from energy_tracking.logs.logged import LoggedCall
from energy_tracking.logs.read_report import ReadReport
from energy_tracking.logs.reading import read_logs
from log_samples.common import COMPLETION, DATA, FILES, SAMPLES, chunk, exported, genai, span
from log_samples.further import FURTHER_SAMPLES
from log_samples.gateways import GATEWAY_SAMPLES
from log_samples.odd import ODD_SAMPLES

GROWING = [
    (row, documents)
    for row, documents, _ in (*SAMPLES, *ODD_SAMPLES, *FURTHER_SAMPLES, *GATEWAY_SAMPLES)
    # A manifest is written beside its records, when they are there.
    if row != "bedrock-manifest"
]


def write(path: Path, *documents: Any) -> Path:
    path.write_text("".join(json.dumps(document) + "\n" for document in documents), "utf-8")
    return path


def read(*paths: Path) -> tuple[list[LoggedCall], ReadReport]:
    report = ReadReport()
    return list(read_logs(paths, report=report)), report


def tokens(calls: list[LoggedCall]) -> tuple[int, int]:
    usages = [call.usage for call in calls if call.usage is not None]
    return (
        sum(usage.input_tokens for usage in usages),
        sum(usage.output_tokens for usage in usages),
    )


def claude(output: int, **more: Any) -> dict[str, Any]:
    return {
        "type": "assistant", "timestamp": "2026-01-02T03:04:05Z", "requestId": "req_1",
        "message": {"id": "msg_01XFDUDYJgAACzvnptvVoYEL", "model": "claude-opus-4-6",
                    "usage": {"input_tokens": 3, "cache_read_input_tokens": 7,
                              "output_tokens": output}},
    } | more  # fmt: skip


@pytest.mark.parametrize("outputs", [(2, 2, 310), (310, 2), (2, 310, 310)])
def test_of_growing_copies_the_one_with_most_tokens_counts(
    outputs: tuple[int, ...], tmp_path: Path
) -> None:
    calls, report = read(write(tmp_path / "a.jsonl", *map(claude, outputs)))
    assert (tokens(calls), report.calls) == ((10, 310), 1)
    assert report.repeated == len(outputs) - 1


def test_a_history_copied_into_a_resumed_session_counts_once(tmp_path: Path) -> None:
    first = write(tmp_path / "a.jsonl", claude(2, sessionId="a"))
    second = write(
        tmp_path / "b.jsonl",
        claude(310, sessionId="b"),
        claude(5, sessionId="b", message={
            "id": "msg_02", "model": "claude-opus-4-6",
            "usage": {"input_tokens": 1, "output_tokens": 5}}),
    )  # fmt: skip
    calls, _ = read(first, second)
    assert tokens(calls) == (11, 315)
    assert calls[0].session == "b"


def test_a_response_counts_once_whichever_logs_have_it(tmp_path: Path) -> None:
    files = [
        write(tmp_path / "response.jsonl", COMPLETION),
        write(tmp_path / "batch.jsonl", {"id": "batch_req_1", "custom_id": "1", "error": None,
              "response": {"status_code": 200, "body": COMPLETION}}),
        write(tmp_path / "stream.jsonl", chunk("", COMPLETION["usage"])),
        write(tmp_path / "spans.jsonl",
              exported(span("chat", "a", **genai(19, 10, **{
                  "gen_ai.response.id": COMPLETION["id"]})))),
        write(tmp_path / "gateway.jsonl", {
            "request_id": COMPLETION["id"], "call_type": "acompletion", "model": "gpt-4o",
            "startTime": "2025-01-24 09:20:46", "prompt_tokens": 19, "completion_tokens": 10}),
    ]  # fmt: skip
    calls, report = read(*files)
    assert (tokens(calls), report.repeated) == ((19, 10), 4)


def test_calls_of_one_request_to_an_application_are_apart(tmp_path: Path) -> None:
    request = {"request_id": "838276c0-e3dd-4111-8222-933344445555", "model": "gpt-5-mini"}
    rows = [
        request | {"timestamp": f"2026-09-02T12:40:{29 + n}Z", "step": step, "input_tokens": 866,
                   "output_tokens": 213 + n} for n, step in enumerate(["answer", "retry_answer"])
    ]  # fmt: skip
    paths = [tmp_path / "a.jsonl", tmp_path / "copy.jsonl"]
    for path in paths:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    assert [call.tokens for call in read_logs(paths)] == [866 + 213, 866 + 214]


def test_an_id_that_a_server_gives_again_is_of_another_call(tmp_path: Path) -> None:
    # Ollama draws its ids from 999.
    calls, _ = read(
        write(
            tmp_path / "a.jsonl",
            COMPLETION | {"id": "chatcmpl-7", "created": 1_741_569_952},
            COMPLETION | {"id": "chatcmpl-7", "created": 1_741_569_953},
        )
    )
    assert len(calls) == 2


def codex(session: str, root: str | None, *totals: int) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = [{"type": "session_meta", "payload": {"id": session}}]
    if root is not None:
        lines.append({"type": "session_meta", "payload": {"id": root}})
    before = 0
    for total in totals:
        counts = {"input_tokens": total, "output_tokens": 1}
        last = {"input_tokens": total - before, "output_tokens": 1}
        info = {"total_token_usage": counts, "last_token_usage": last}
        lines.append({"type": "event_msg", "timestamp": f"2026-01-02T03:04:{len(lines):02}Z",
                      "payload": {"type": "token_count", "info": info}})  # fmt: skip
        before = total
    return lines


def test_the_history_of_a_codex_fork_counts_once(tmp_path: Path) -> None:
    first = write(tmp_path / "a.jsonl", *codex("a", None, 100, 250))
    fork = write(tmp_path / "b.jsonl", *codex("b", "a", 100, 250, 600))
    other = write(tmp_path / "c.jsonl", *codex("c", None, 100))
    calls, report = read(first, fork, other)
    assert [call.counts and call.counts.input_tokens for call in calls] == [100, 150, 350, 100]
    assert report.repeated == 2


def test_the_history_of_a_codex_fork_of_a_fork_counts_once(tmp_path: Path) -> None:
    """Its first line names the fork before it alone, whose own file says where that began."""
    files = []
    for session, parent, totals in (
        ("a", None, (100, 250)),
        ("b", "a", (100, 250, 600)),
        ("c", "b", (100, 250, 600, 700)),
    ):
        start, *counts = codex(session, None, *totals)
        start["payload"] |= {} if parent is None else {"forked_from_id": parent}
        files.append(write(tmp_path / f"{session}.jsonl", start, *counts))
    calls, report = read(*files)
    assert [call.counts and call.counts.input_tokens for call in calls] == [100, 150, 350, 100]
    assert report.repeated == 5


@pytest.mark.parametrize("name", [name for name, like in FILES.items() if like.calls])
def test_a_copy_of_a_file_adds_nothing(name: str, tmp_path: Path) -> None:
    whole = read(DATA / name)[0]
    copies = [tmp_path / f"copy-{name}", tmp_path / f"{name}.gz"]
    shutil.copy(DATA / name, copies[0])
    content = (DATA / name).read_bytes()
    copies[1].write_bytes(content if name.endswith(".gz") else gzip.compress(content))
    calls, _ = read(DATA / name, *copies)
    assert tokens(calls) == tokens(whole)


def test_what_a_grown_copy_of_a_table_has_more_is_added(tmp_path: Path) -> None:
    rows = (DATA / "azure_trace.csv").read_text("utf-8").splitlines(keepends=True)
    early, late = tmp_path / "early.csv", tmp_path / "late.csv"
    early.write_text("".join(rows[:10]), "utf-8")
    late.write_text("".join(rows), "utf-8")
    assert len(read(early, late)[0]) == 20
    # Rows that look the same are calls of their own.
    early.write_text(rows[0] + rows[1] * 3, "utf-8")
    assert len(read(early)[0]) == 3


def test_identities_beyond_memory_are_known_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(once, "IN_MEMORY", 50)
    monkeypatch.setattr(once, "HELD", 10)
    many = [COMPLETION | {"id": f"chatcmpl-{number:024}"} for number in range(1000)]
    calls, report = read(write(tmp_path / "a.jsonl", *many, *many))
    assert (len(calls), report.repeated) == (1000, 1000)
    assert [call.response_id for call in calls] == [one["id"] for one in many]


def test_identities_are_told_apart_where_hashes_are_of_32_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(once, "_hash", once._digest)
    monkeypatch.setattr(once, "IN_MEMORY", 50)
    many = [COMPLETION | {"id": f"chatcmpl-{number:024}"} for number in range(1000)]
    calls, report = read(write(tmp_path / "a.jsonl", *many, *many))
    assert (len(calls), report.repeated) == (1000, 1000)
    numbers = {once._digest(one["id"]) >> 1 for one in many}
    assert len(numbers) == 1000
    # What SQLite takes, and the filter in front of it divides.
    assert all(-(1 << 62) <= number < 1 << 62 for number in numbers)
    assert max(map(int.bit_length, numbers)) > 60


def test_the_file_of_identities_is_closed_with_what_is_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(once, "IN_MEMORY", 5)
    seen = once.Seen()
    for number in range(20):
        seen.add(number)
    stored = seen._stored
    assert stored is not None
    assert 3 in seen
    del seen
    gc.collect()
    # Python 3.13 warns of each that is dropped open.
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        stored.execute("SELECT 1")


# With a ledger.


def grown(number: int, output: int) -> dict[str, Any]:
    usage = {"prompt_tokens": 10, "completion_tokens": output}
    return {"id": f"chatcmpl-{number:030}", "model": "gpt-4o", "usage": usage}


def test_a_copy_with_more_tokens_that_comes_too_late_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(once, "HELD", 10)
    log = write(tmp_path / "log.jsonl", *(grown(n, 1) for n in range(20)), grown(0, 500))
    calls, report = read(log)
    assert (len(calls), report.repeated) == (20, 1)
    assert any("1 copy with more tokens" in remark for remark in report.omissions())


def test_a_call_that_grows_while_it_is_held_is_known_by_its_last_tokens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its identity is in the file already when it grows, and let through, when it comes again.
    monkeypatch.setattr(once, "IN_MEMORY", 5)
    monkeypatch.setattr(once, "HELD", 10)
    early, late = ([grown(n, 1) for n in numbers] for numbers in (range(1, 7), range(7, 30)))
    again = [grown(0, 500), grown(0, 1), grown(3, 1)]
    log = write(tmp_path / "log.jsonl", grown(0, 1), *early, grown(0, 500), *late, *again)
    calls, report = read(log)
    assert (tokens(calls)[1], len(calls), report.repeated, report.outgrown) == (529, 30, 4, 0)


def test_a_call_that_has_grown_since_is_in_the_ledger_as_it_is_now(tmp_path: Path) -> None:
    ledger, log = tmp_path / "ledger.jsonl", tmp_path / "log.jsonl"
    for documents in (
        [grown(1, 1), grown(3, 7)],
        [grown(1, 1), grown(3, 7), grown(1, 500), grown(2, 5)],
        [grown(1, 1), grown(3, 7), grown(1, 500), grown(2, 5), grown(1, 900), grown(3, 8)],
        # An older copy adds nothing.
        [grown(1, 500)],
    ):
        record_log(write(log, *documents), ledger=ledger)
    right = Totals()
    for output in (900, 8, 5):
        right += record_log(write(log, grown(0, output)), ledger=tmp_path / f"{output}.jsonl")
    assert sums(ledger) == right
    assert len(ledger.read_text("utf-8").splitlines()) == 6
    packed = tmp_path / "ledger.jsonl.gz"
    packed.write_bytes(gzip.compress(ledger.read_bytes()))
    for copies in ([ledger], [packed], [packed, ledger]):
        assert record_log(*copies) == right


def test_a_call_that_was_tracked_stays_in_the_ledger_as_it_was(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.jsonl"
    Tracker(ledger=ledger).record(model="gpt-4o", usage=None, response_id=grown(1, 1)["id"])
    line = json.loads(ledger.read_text("utf-8"))
    ledger.write_text(json.dumps(line | {"duration_seconds": 1.5}) + "\n", "utf-8")
    before = ledger.read_bytes()
    with pytest.warns(EnergyTrackingWarning, match="1 call with more tokens than the ledger has"):
        record_log(write(tmp_path / "log.jsonl", grown(1, 500)), ledger=ledger)
    assert ledger.read_bytes() == before


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with a name here")
def test_a_pipe_with_a_line_that_replaces_another_is_reported(tmp_path: Path) -> None:
    ledger, log, pipe = (tmp_path / name for name in ("ledger.jsonl", "log.jsonl", "pipe"))
    for output in (1, 500):
        record_log(write(log, grown(1, output)), ledger=ledger)
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(ledger.read_bytes(),))
    writer.start()
    with pytest.warns(EnergyTrackingWarning, match="line 2: replaces a line that was counted"):
        assert sums(pipe).output_tokens == 1
    writer.join()


def test_lines_that_grow_further_apart_than_is_held_count_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(once, "HELD", 10)
    ledger, log = tmp_path / "ledger.jsonl", tmp_path / "log.jsonl"
    record_log(write(log, *(grown(n, 1) for n in range(30))), ledger=ledger)
    record_log(write(log, *(grown(n, 2) for n in range(30))), ledger=ledger)
    assert (sums(ledger).calls, sums(ledger).output_tokens) == (30, 60)
    calls, report = read(ledger)
    assert (tokens(calls)[1], report.calls, report.outgrown) == (60, 30, 0)


@pytest.mark.filterwarnings("ignore::energy_tracking.EnergyTrackingWarning")
@pytest.mark.parametrize(("row", "documents"), GROWING, ids=[row for row, _ in GROWING])
def test_a_log_that_grows_between_two_runs_has_the_totals_of_one(
    row: str, documents: list[Any], tmp_path: Path
) -> None:
    log = tmp_path / "log.jsonl"
    right = record_log(write(log, *documents), ledger=tmp_path / "right.jsonl")
    for number in range(1, len(documents)):
        ledger = tmp_path / f"ledger-{number}.jsonl"
        record_log(write(log, *documents[:number]), ledger=ledger)
        record_log(write(log, *documents), ledger=ledger)
        assert sums(ledger) == right, number


@pytest.mark.parametrize("first", ["ledger", "source"])
@pytest.mark.parametrize("has_ids", [False, True])
@pytest.mark.parametrize("reader", ["lines", "batches"])
def test_a_ledger_and_the_log_it_was_filled_from_are_the_same_calls(
    first: str, has_ids: bool, reader: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("id",) if has_ids else ()
    rows = [",".join((*names, "input_tokens", "output_tokens"))]
    rows += [",".join((*(f"r{n}" for _ in names), str(10 + n % 3), "5")) for n in range(30)]
    source, ledger = tmp_path / "source.csv", tmp_path / "ledger.jsonl"
    source.write_text("\n".join(rows), "utf-8")
    record_log(source, ledger=ledger)
    files = [ledger, source] if first == "ledger" else [source, ledger]
    if reader == "lines":
        calls, report = read(*files)
        count = len(calls)
    else:
        pytest.importorskip("numpy", reason="batches are arrays of numpy")
        from energy_tracking.logs.batch_reading import read_batches
        from energy_tracking.logs.batches.batch import BatchNames
        from energy_tracking.logs.engine import finding

        monkeypatch.setattr(finding, "ENGINE_BYTES", 0)
        report = ReadReport()
        batches = read_batches(files, BatchNames(), report=report)
        count = sum(len(batch.input_tokens) for batch in batches)
    assert (count, report.repeated) == (30, 30)


def test_every_call_keeps_its_own_time_in_the_ledger(tmp_path: Path) -> None:
    ledger = tmp_path / "energy.jsonl"
    record_log(DATA / "azure_trace.csv", ledger=ledger, default_model="gpt-4o")
    times = [entry.recorded_at for entry in read_ledger(ledger)]
    assert times[0] == datetime(2023, 11, 16, 18, 17, 3, 979960, tzinfo=UTC)
    assert times == sorted(times)
    assert {time.date().isoformat() for time in times} == {"2023-11-16"}
    # What was recorded as it ended has the time of its line.
    Tracker(ledger=ledger).record(
        model="gpt-4o", usage={"prompt_tokens": 1, "completion_tokens": 1}
    )
    *_, last = read_ledger(ledger)
    assert (last.record.ended_at, last.recorded_at.year >= 2025) == (None, True)


def test_the_end_of_a_call_is_past_and_has_its_zone() -> None:
    for time in (datetime(2026, 1, 2), datetime(2999, 1, 1, tzinfo=UTC)):
        with pytest.raises(ConfigurationError, match="ended_at must be a datetime with its zone"):
            Tracker().record(model="gpt-4o", usage=None, ended_at=time)


def sums(ledger: Path) -> Totals:
    totals = Totals()
    for entry in read_ledger(ledger):
        totals.add(entry.record)
    return totals


SOURCES = [name for name, like in FILES.items() if like.calls]


@pytest.mark.filterwarnings("ignore::energy_tracking.EnergyTrackingWarning")
@pytest.mark.parametrize("name", SOURCES)
def test_the_same_file_into_the_same_ledger_adds_nothing(name: str, tmp_path: Path) -> None:
    ledger = tmp_path / "energy.jsonl"
    first = record_log(DATA / name, ledger=ledger)
    before = ledger.read_bytes()
    assert record_log(DATA / name, ledger=ledger) == Totals()
    assert ledger.read_bytes() == before
    assert sums(ledger) == first
    in_sums = sum(inputs for _, inputs, _ in FILES[name].sums)
    assert (first.calls, first.aggregates) == (FILES[name].calls, len(FILES[name].sums))
    assert first.input_tokens == FILES[name].tokens[0] + in_sums


@pytest.mark.filterwarnings("ignore::energy_tracking.EnergyTrackingWarning")
def test_a_run_that_was_interrupted_ends_with_the_same_totals(tmp_path: Path) -> None:
    files = [DATA / name for name in SOURCES]
    whole, ledger = tmp_path / "whole.jsonl", tmp_path / "energy.jsonl"
    record_log(*files, ledger=whole)

    left = iter(range(17))

    def interrupt(record: object) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        record_log(*files, ledger=ledger, on_record=interrupt)
    assert 0 < sums(ledger).calls < sums(whole).calls
    record_log(*files, ledger=ledger)
    assert sums(ledger) == sums(whole)


@pytest.mark.filterwarnings("ignore::energy_tracking.EnergyTrackingWarning")
def test_live_tracking_back_fill_and_its_ledger_agree(tmp_path: Path) -> None:
    ledger = tmp_path / "energy.jsonl"
    # Sums over several calls are not what is tracked live.
    files = [DATA / name for name in SOURCES if not FILES[name].sums]
    totals = record_log(*files, ledger=ledger, default_model="gpt-4o")
    tracker = Tracker(default_model="gpt-4o")
    with energy_session() as session:
        for call in read_logs(files):
            tracker.record(model=call.model, usage=call.usage, error_type=call.error_type)
    assert session.totals == totals
    assert sums(ledger) == totals
    # The ledger is a log, too.
    assert record_log(ledger, default_model="gpt-4o") == totals


def test_a_ledger_of_live_calls_is_not_given_their_log(tmp_path: Path) -> None:
    ledger = tmp_path / "energy.jsonl"
    Tracker(ledger=ledger).record(
        model=COMPLETION["model"], usage=COMPLETION["usage"], response_id=COMPLETION["id"]
    )
    path = write(tmp_path / "log.jsonl", COMPLETION, COMPLETION | {"id": "chatcmpl-" + "0" * 24})
    assert record_log(path, ledger=ledger).calls == 1


# The command.


def test_the_command_states_what_was_counted_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway = next(documents for row, documents, _ in SAMPLES if row == "litellm")
    path = write(tmp_path / "log.jsonl", *gateway, COMPLETION, COMPLETION)
    assert main(["backfill", str(path), str(DATA / "openai_usage_page.json")]) == 0
    shown = capsys.readouterr()
    assert ": 472 calls, " in shown.out
    assert "1 sum over several requests" in shown.out
    assert shown.err.replace("\n  ", " ").splitlines() == [
        "energy-tracking: 1 answer from a cache: no model ran, 0 J",
        "energy-tracking: 1 copy of calls that were counted already left out",
    ]
    ledger = str(tmp_path / "energy.jsonl")
    assert main(["backfill", str(path), "--ledger", ledger]) == 0
    capsys.readouterr()
    assert main(["backfill", str(path), "--ledger", ledger]) == 0
    assert (
        "energy-tracking: 2 calls left out that the ledger has already" in capsys.readouterr().err
    )


def test_the_command_fails_where_nothing_was_recognised(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "log.jsonl", {"tok_in": 10, "tok_out": 20, "llm": "gpt-4o"})
    assert main(["backfill", str(path)]) == 1
    shown = capsys.readouterr()
    assert ": 0 calls, " in shown.out
    assert "nothing recognised; its first entry has 'tok_in', 'tok_out', 'llm'; " in shown.err
    columns = "input=tok_in,output=tok_out,model=llm"
    assert main(["backfill", str(path), "--columns", columns]) == 0
    shown = capsys.readouterr()
    assert (": 1 call, " in shown.out, shown.err) == (True, "")
    assert main(["backfill", str(path), "--columns", "tok_in"]) == 2
    assert "--columns must be pairs such as input=NAME,output=NAME" in capsys.readouterr().err
    assert main(["backfill", str(path), "--strict"]) == 2
    assert "log.jsonl, line 1: no token counts" in capsys.readouterr().err


def test_record_log_counts_sums_and_warns_of_what_it_cannot_read(tmp_path: Path) -> None:
    path = write(tmp_path / "log.jsonl", COMPLETION, {"x": 1})
    with pytest.warns(EnergyTrackingWarning) as caught:
        totals = record_log(path, DATA / "swe_agent.traj")
    assert (totals.calls, totals.aggregate_requests) == (1, 12)
    assert [str(warning.message) for warning in caught] == [
        f"{path}: 1 entry left out: no token counts (first: line 2)",
    ]


def test_a_logged_call_of_a_time_to_come_is_counted_and_read_back(tmp_path: Path) -> None:
    log, ledger = tmp_path / "log.jsonl", tmp_path / "ledger.jsonl"
    body = {"id": "r", "model": "gpt-4o", "object": "chat.completion", "created": 32_503_680_000}
    log.write_text(
        json.dumps(body | {"usage": {"prompt_tokens": 1, "completion_tokens": 1}}) + "\n", "utf-8"
    )
    with pytest.warns(EnergyTrackingWarning, match="ended at 3000-01-01"):
        assert record_log(log, ledger=ledger).calls == 1
    assert len(list(read_ledger(ledger))) == 1
