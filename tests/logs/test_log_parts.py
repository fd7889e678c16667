"""Large tables are read in parts by several processes, and come to the same."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from energy_tracking.cli.main import main

np = pytest.importorskip("numpy", reason="reports are added up by numpy")
pytest.importorskip("duckdb", reason="large tables are read by DuckDB")
pytest.importorskip("pyarrow", reason="tables of the tests are written by it")

import pyarrow  # noqa: E402
import pyarrow.parquet  # noqa: E402

from energy_tracking.cli.reports import parts as parts_of_reports  # noqa: E402
from energy_tracking.logs.engine import finding, opening, reading  # noqa: E402
from energy_tracking.logs.engine import parts as parts_of_tables  # noqa: E402

ROWS = 20_000
MODELS = ("gpt-4o", "o3-mini", "nobody-knows-it", None, "deepseek-ai/DeepSeek-V3")


def write_calls(path: Path, rows: int = ROWS, **columns: Any) -> Path:
    """Calls of five models, some of whose counts only the line reader can judge."""
    random = np.random.default_rng(rows)
    inputs = random.integers(0, 30_000, rows)
    # Ten rows beyond any context, and ten without an input, all over the file.
    odd = random.choice(rows, 20, replace=False)
    inputs[odd[:10]] = 30_000_000
    table = {
        "model": pyarrow.array([MODELS[number] for number in random.integers(0, 5, rows)]),
        "input_tokens": pyarrow.array(inputs, mask=np.isin(np.arange(rows), odd[10:])),
        "cached_tokens": pyarrow.array(random.integers(0, np.minimum(inputs, 30_000) + 1)),
        "output_tokens": pyarrow.array(random.integers(0, 3_000, rows)),
        "time": pyarrow.array(
            1_760_000_000_000 + random.integers(0, 10**10, rows), pyarrow.timestamp("ms")
        ),
        "session": pyarrow.array([f"s{number}" for number in random.integers(0, 40, rows)]),
    }
    pyarrow.parquet.write_table(pyarrow.table(table | columns), path, row_group_size=1_000)
    return path


@pytest.fixture(autouse=True)
def _parts_are_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finding, "ENGINE_BYTES", 0)
    monkeypatch.setattr(parts_of_tables, "PART_ROWS", 1_500)


def read_by(monkeypatch: pytest.MonkeyPatch, processes: int) -> None:
    """Have that many processes read."""
    monkeypatch.setattr(parts_of_reports, "_count_processors", lambda: processes)


Output = tuple[str, str]


def report(capsys: pytest.CaptureFixture[str], *arguments: object) -> Output:
    """What the command prints on both streams."""
    assert main(["report", *map(str, arguments)]) == 0
    printed = capsys.readouterr()
    return printed.out, printed.err


def check_alike(found: object, expected: object) -> None:
    """Compare what JSON says, with numbers to the last digits but a few."""
    if isinstance(expected, dict):
        assert isinstance(found, dict)
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            check_alike(found[key], value)
    elif isinstance(expected, list):
        assert isinstance(found, list)
        for one, other in zip(found, expected, strict=True):
            check_alike(one, other)
    else:
        exact = not isinstance(expected, float)
        assert found == (expected if exact else pytest.approx(expected, rel=1e-12))


CHOICES = [
    (),
    ("--by", "session,model"),
    ("--by", "day,model", "--timezone", "Asia/Kathmandu", "--since", "2025-10-20"),
    ("--by", "file", "--method", "roofline", "--region", "DE"),
]


@pytest.mark.parametrize("choice", CHOICES, ids=" ".join)
def test_several_processes_come_to_what_one_does(
    choice: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    files = [write_calls(tmp_path / f"{rows}.parquet", rows) for rows in (ROWS, 4_000)]
    read_by(monkeypatch, 1)
    expected, expected_remarks = report(capsys, *files, *choice, "--json")
    read_by(monkeypatch, 2)
    found, remarks = report(capsys, *files, *choice, "--json")
    check_alike(json.loads(found), json.loads(expected))
    assert remarks == expected_remarks
    assert "20 entries without a count of input" in " ".join(remarks.split())


def test_the_number_of_processes_changes_no_digit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_calls(tmp_path / "calls.parquet")
    printed = set()
    for processes in (2, 3, 4):
        read_by(monkeypatch, processes)
        printed.add(report(capsys, path, "--json"))
    assert len(printed) == 1


def test_a_table_of_many_rows_has_larger_parts_and_not_ever_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts_of_tables, "PART_ROWS", 10)
    path = str(write_calls(tmp_path / "calls.parquet"))
    with opening.open_engine() as connection:
        recognised = finding.recognise_table(path, {})
        assert recognised is not None
        table = finding.find_table(path, recognised, connection)
        assert table is not None
        parts = list(parts_of_tables.cut_table(table, connection))
    assert len(parts) == parts_of_tables.MOST_PARTS
    assert [row for part in parts for row in part.rows] == list(range(ROWS))


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, list[str]]]:
    """What texts were found by this process, each time that it looked for them."""
    found: list[dict[str, list[str]]] = []
    list_texts = reading.list_texts

    def noted(*arguments: Any) -> Any:
        found.append(list_texts(*arguments))
        return found[-1]

    for module in (reading, parts_of_reports):
        monkeypatch.setattr(module, "list_texts", noted)
    return found


def test_the_texts_of_a_table_are_listed_once_for_all_parts(
    listed: list[dict[str, list[str]]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = write_calls(tmp_path / "calls.parquet")
    read_by(monkeypatch, 2)
    report(capsys, path, "--json")
    assert listed == [{"model": sorted(filter(None, MODELS))}]


@pytest.mark.parametrize("others", [1, 250, 400], ids="{} others".format)
def test_a_text_that_the_first_part_is_without_is_counted_too(
    others: int,
    listed: list[dict[str, list[str]]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    names = [None if row % 9 == 0 else "gpt-4o" for row in range(ROWS)]
    for number in range(5_000, 15_000):
        names[number] = f"gpt-4o-mini-{number % others}"
    path = write_calls(tmp_path / "calls.parquet", model=pyarrow.array(names))
    outputs = []
    for processes in (1, 2):
        read_by(monkeypatch, processes)
        listed.clear()
        out, _ = report(capsys, path, "--json")
        outputs.append(json.loads(out))
    assert listed[0] == {"model": ["gpt-4o"]}
    check_alike(outputs[1], outputs[0])
    assert outputs[1]["totals"]["calls"] + 10 == ROWS


def test_the_page_has_hours_and_sessions_of_all_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_calls(tmp_path / "calls.parquet")
    pages = []
    for processes in (1, 2):
        read_by(monkeypatch, processes)
        pages.append(report(capsys, path, "--html", "-"))
    assert pages[0] == pages[1]


@pytest.mark.parametrize("processes", [1, 2])
def test_a_damaged_table_counts_up_to_the_line_that_is_named(
    processes: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = write_calls(tmp_path / "calls.parquet", 400_000)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 200] = b"\xff" * 200
    path.write_bytes(content)
    monkeypatch.setattr(parts_of_tables, "PART_ROWS", 30_000)
    read_by(monkeypatch, processes)
    out, err = report(capsys, path, "--json")
    found = json.loads(out)
    (cut,) = found["left_out"]["cut_off"]
    assert "the file is damaged" in cut["reason"]
    total = found["totals"]
    counted = total["calls"] + total["aggregates"]
    # Odd rows beyond that line are not read; the others may be.
    assert 0 < cut["line"] <= counted < 400_000
    assert f"all after line {cut['line']:,} left out" in " ".join(err.split())


def test_what_a_killed_process_was_to_read_is_read_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_calls(tmp_path / "calls.parquet")
    read_by(monkeypatch, 2)
    expected, remarks = report(capsys, path, "--json")
    assert "another process" not in remarks
    killed = threading.Event()

    def kill_first() -> None:
        while not killed.is_set():
            for process in multiprocessing.active_children():
                process.kill()
                killed.set()

    thread = threading.Thread(target=kill_first, daemon=True)
    thread.start()
    found, remarks = report(capsys, path, "--json")
    assert killed.is_set()
    thread.join()
    assert found == expected
    assert "were read by this one" in " ".join(remarks.split())


def test_a_system_without_shared_semaphores_reads_in_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_calls(tmp_path / "calls.parquet")
    read_by(monkeypatch, 1)
    expected, _ = report(capsys, path, "--json")
    read_by(monkeypatch, 2)

    def refuse(*_: object) -> None:
        raise NotImplementedError  # as `multiprocessing` does there

    monkeypatch.setattr(parts_of_reports, "ProcessPoolExecutor", refuse)
    found, _ = report(capsys, path, "--json")
    check_alike(json.loads(found), json.loads(expected))


# Other processes, seen from outside.

COMMAND = """
import sys
from energy_tracking.cli.reports import parts
from energy_tracking.logs.engine import parts as tables

if __name__ == "__main__":
    from energy_tracking.cli.main import main

    parts._count_processors = lambda: 3
    tables.PART_ROWS = 10_000
    tables.MOST_PARTS = 300
    sys.exit(main(["report", *sys.argv[1:]]))
"""


def children_of(pid: int) -> list[int]:
    """The processes that a process has started and that read parts."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            status = (process / "status").read_text("utf-8")
            command = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if f"\nPPid:\t{pid}\n" in status and b"spawn_main" in command:
            found.append(int(process.name))
    return found


def wait_for(what: Any, seconds: float = 60) -> Any:
    """What a function returns, once it is true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := what():
            return found
        time.sleep(0.02)
    raise AssertionError("it has not come to be")


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """Where a running report puts its temporary files."""
    return tmp_path / "scratch"


@pytest.fixture
def before() -> str:
    """What a running report does first."""
    return ""


@pytest.fixture
def running(tmp_path: Path, scratch: Path, before: str) -> Iterator[subprocess.Popen[str]]:
    """A report that takes some seconds, in a session of its own as on a terminal."""
    if not Path("/proc/self/status").exists():
        pytest.skip("processes are listed by /proc")
    path = tmp_path / "calls.parquet"
    rows = 3_000_000
    table = {"input_tokens": np.full(rows, 1_000), "output_tokens": np.full(rows, 100)}
    # As many groups of rows as parts, so that many are read; and more than 4 MB.
    noise = {"time": np.random.default_rng(0).integers(1_760_000_000, 1_763_000_000, rows)}
    pyarrow.parquet.write_table(pyarrow.table(table | noise), path, row_group_size=10_000)
    script = tmp_path / "run.py"
    script.write_text(before + COMMAND, "utf-8")
    scratch.mkdir()
    process = subprocess.Popen(
        [sys.executable, str(script), str(path), "--by", "day"],
        env=os.environ | {"TMPDIR": str(scratch)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    yield process
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interruption_ends_all_processes_without_noise_or_files(
    running: subprocess.Popen[str], number: int, status: int, scratch: Path
) -> None:
    others = wait_for(lambda: children_of(running.pid))
    # Two engines of the report, what the others put aside, and their engines.
    wait_for(lambda: len([*scratch.rglob("energy_tracking-*")]) == 5)
    # Ctrl-C reaches all processes of a terminal.
    os.killpg(running.pid, number)
    out, err = running.communicate(timeout=60)
    assert (running.returncode, err) == (status, "")
    assert "Traceback" not in out
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in others))
    assert [*scratch.iterdir()] == []


# A signal that comes right where the main thread has taken the lock of a part that others read.
IN_A_LOCK = """
import os, signal, sys, threading

def interrupt(frame, event, argument):
    if event == "c_return" and frame.f_code is threading.Condition.__enter__.__code__:
        if frame.f_back.f_code.co_name == "done":
            sys.setprofile(None)
            os.kill(os.getpid(), signal.SIGTERM)

if __name__ == "__main__":
    sys.setprofile(interrupt)
"""


@pytest.mark.parametrize("before", [IN_A_LOCK])
def test_an_interruption_in_a_lock_leaves_nobody_waiting_for_it(
    running: subprocess.Popen[str],
) -> None:
    _, err = running.communicate(timeout=60)
    assert (running.returncode, err) == (143, "")


def test_other_processes_end_where_theirs_was_killed(
    running: subprocess.Popen[str], scratch: Path
) -> None:
    others = wait_for(lambda: children_of(running.pid))
    running.kill()
    running.wait()
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in others))
