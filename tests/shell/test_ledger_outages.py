"""A line that a ledger could not take is counted, and the number is said where people look."""

from __future__ import annotations

import json
import logging
import os
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from counts import the_only
from energy_tracking import (
    ConfigurationError,
    EnergyTrackingWarning,
    Session,
    Tracker,
    energy_session,
    process_session,
    read_ledger,
)
from energy_tracking.ledger import writer
from full_disk import files_limited_to

USAGE = {"prompt_tokens": 10, "completion_tokens": 100}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "energy.jsonl"


@pytest.fixture(autouse=True)
def _forget_losses() -> None:
    """Losses are those of the process, in which other tests ran."""
    writer._losses.clear()


def record(tracker: Tracker, calls: int = 1) -> None:
    for _ in range(calls):
        tracker.record(model="gpt-4o", usage=USAGE)


def begin_outage(path: Path) -> None:
    path.rename(path.with_suffix(".1"))
    path.mkdir()


def end_outage(path: Path) -> None:
    path.rmdir()


def test_an_outage_is_logged_when_it_begins_and_with_its_lines_when_it_ends(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tracker = Tracker(ledger=path)
    record(tracker)
    for lost in (3, 1):
        begin_outage(path)
        caplog.clear()
        record(tracker, lost)
        begun = the_only(caplog.messages)
        assert f"{str(path)!r} cannot be written: Is a directory" in begun
        end_outage(path)
        caplog.clear()
        record(tracker, 2)
        ended = the_only(caplog.messages)
        calls = "1 call is" if lost == 1 else f"{lost} calls are"
        assert f"can be written again; {calls} missing from it (Is a directory)" in ended
    assert len(list(read_ledger(path))) == 2


def test_sessions_count_the_lines_of_their_calls_that_were_lost(path: Path) -> None:
    tracker = Tracker(ledger=path)
    before = process_session().lost_ledger_lines
    with energy_session("outer") as outer:
        record(tracker)
        begin_outage(path)
        with energy_session("inner") as inner:
            record(tracker, 1200)
        record(tracker)
    with energy_session("later") as later:
        end_outage(path)
        record(tracker)
    assert (inner.lost_ledger_lines, outer.lost_ledger_lines) == (1200, 1201)
    assert process_session().lost_ledger_lines - before == 1201
    assert (later.lost_ledger_lines, Session("new").lost_ledger_lines) == (0, 0)
    for text in (str(outer), outer._repr_html_()):
        assert "1,201 calls missing from the ledger" in text
    assert json.loads(outer.to_json())["lost_ledger_lines"] == 1201
    assert "missing" not in str(later)
    assert outer.totals.calls == 1202


def test_a_disk_that_is_nearly_full_does_not_fill_the_log(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tracker = Tracker(ledger=path)
    for _ in range(300):
        with files_limited_to(0):
            record(tracker)
        record(tracker)
        path.write_bytes(b"")
    said = [message for message in caplog.messages if "can be written again; " in message]
    assert 10 < len(said) < 20
    assert len(caplog.messages) == 2 * len(said)
    counts = [int(message.partition("again; ")[2].split()[0]) for message in said]
    assert sum(counts) == 256


def test_the_handler_of_errors_is_called_for_every_line(path: Path) -> None:
    errors: list[tuple[str, Exception]] = []
    tracker = Tracker(ledger=path, on_error=lambda where, error: errors.append((where, error)))
    with files_limited_to(40):
        record(tracker, 3)
    assert [(where, type(error)) for where, error in errors] == [("ledger", OSError)] * 3


ENDING = """
import resource, sys
from energy_tracking import Tracker
tracker = Tracker(ledger=sys.argv[1], summary=sys.argv[2] == "summary")
def record(calls):
    for _ in range(calls):
        tracker.record(model="gpt-4o", usage={"prompt_tokens": 10, "completion_tokens": 5})
resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
record(5000)
if sys.argv[2] == "again":
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    record(1)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no limits of file size there")
@pytest.mark.parametrize("how", ["still out", "again", "summary"])
def test_the_lines_lost_are_reported_when_the_process_ends(path: Path, how: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ENDING, str(path), how],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"PYTHONPATH": ":".join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    assert f"5,000 calls of this process are missing from the ledger {str(path)!r}" in done.stderr
    assert ("again; 5,000 calls are missing" in done.stderr) == (how == "again")
    assert ("5,000 calls missing from the ledger" in done.stderr) == (how == "summary")
    assert "Traceback" not in done.stderr


FORKED = """
import os, sys
from energy_tracking import Tracker
tracker = Tracker(ledger=sys.argv[1])
def record():
    tracker.record(model="gpt-4o", usage={"prompt_tokens": 10, "completion_tokens": 5})
os.rename(sys.argv[1], sys.argv[1] + ".1")
os.mkdir(sys.argv[1])
record()
if os.fork() == 0:
    record(); record()
    sys.exit()
os.wait()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork there")
def test_a_forked_child_states_its_own_losses(path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORKED, str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"PYTHONPATH": ":".join(sys.path)},
    )
    said = [line.split()[0] for line in done.stderr.splitlines() if "of this process" in line]
    assert sorted(said) == ["1", "2"], done.stderr


def test_a_log_handler_that_raises_costs_no_call(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = Tracker(ledger=path)
    begin_outage(path)

    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise RuntimeError("no console")

    handler = Broken()
    logging.getLogger("energy_tracking").addHandler(handler)
    try:
        with energy_session() as session:
            record(tracker, 2)
    finally:
        logging.getLogger("energy_tracking").removeHandler(handler)
    assert (session.totals.calls, session.lost_ledger_lines) == (2, 2)


# Which files.


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))


def link_to_device(path: Path) -> None:
    path.symlink_to("/dev/null")


@pytest.mark.skipif(sys.platform == "win32", reason="other kinds of files there")
@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (make_fifo, "a pipe (FIFO)"),
        (make_socket, "a socket"),
        (link_to_device, "a device"),
        (Path.mkdir, "a directory"),
    ],
)
def test_only_a_regular_file_can_be_a_ledger(
    tmp_path: Path, make: Callable[[Path], None], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make(Path("ledger"))
    with pytest.raises(ConfigurationError) as refused:
        Tracker(ledger="ledger")
    assert str(refused.value) == (
        "ledger (ENERGY_TRACKING_LEDGER) must be a regular file that can be appended to, got "
        f"'ledger': it is {kind}"
    )


@pytest.mark.skipif(sys.platform == "win32", reason="no pipes with names there")
def test_a_ledger_that_became_a_pipe_blocks_no_call(path: Path) -> None:
    tracker = Tracker(ledger=path)
    path.unlink()
    os.mkfifo(path)
    with energy_session() as session:
        thread = threading.Thread(target=session.run, args=(record, tracker, 300), daemon=True)
        thread.start()
        thread.join(30)
    assert not thread.is_alive()
    assert (session.totals.calls, session.lost_ledger_lines) == (300, 300)


def test_windows_has_no_safe_way_to_append(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "win32")
    with pytest.raises(ConfigurationError, match="must be unset on Windows") as refused:
        Tracker(ledger=path)
    assert repr(str(path)) in str(refused.value)
    assert not path.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="no modes there")
def test_a_new_ledger_is_its_owners_alone_and_an_old_one_keeps_its_mode(path: Path) -> None:
    before = os.umask(0)
    try:
        tracker = Tracker(ledger=path)
        record(tracker)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        path.unlink()
        record(tracker)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        path.chmod(0o664)
        record(Tracker(ledger=path))
        assert stat.S_IMODE(path.stat().st_mode) == 0o664
    finally:
        os.umask(before)


# Lines cut off by a full disk.


@pytest.mark.parametrize("cut", [1, 5, 9, 40, -40, -2, -1])
def test_a_whole_line_behind_one_that_was_cut_off_is_read(path: Path, cut: int) -> None:
    """As where another process looked at the file before the first was cut off."""
    tracker = Tracker(ledger=path)
    record(tracker, 3)
    first, second, third = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + second[:cut] + third)
    if cut == -1:
        assert len(list(read_ledger(path))) == 3
        return
    with pytest.warns(EnergyTrackingWarning, match=r"1 unreadable line left out \(2\)"):
        assert len(list(read_ledger(path))) == 2
