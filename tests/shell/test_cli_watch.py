"""``energy-tracking watch``: a ledger as it grows, in a terminal and in a pipe."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from energy_tracking import Tracker, record_log
from energy_tracking.calls.totals import sum_of
from energy_tracking.cli.main import main
from energy_tracking.cli.watch import Tail, Watched
from loopback import CHAT_USAGE

MAIN = "from energy_tracking.cli.main import main; raise SystemExit(main())"


def fill(path: Path, *models: str, **more: Any) -> float:
    """Record calls; gives their energy [J]."""
    tracker = Tracker(ledger=path)
    records = [tracker.record(model=model, usage=CHAT_USAGE, **more) for model in models]
    return sum(record.total_energy_joules or 0.0 for record in records)


def printed(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    assert main(["watch", *map(str, arguments)]) == 0
    return capsys.readouterr().out


def test_a_pipe_gets_one_frame(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "energy.jsonl"
    joules = fill(path, "gpt-4o", "gpt-4o", "o1", "nobody-knows-this-model-whose-name-is-long")
    fill(path, "gpt-4o", ended_at=datetime.now(UTC) - timedelta(hours=1))
    text = printed(capsys, path, "--budget", "1Wh")
    assert max(map(len, text.splitlines())) <= 80
    assert text.startswith("energy.jsonl: 5 calls, ")
    assert "1 unestimated" in text
    assert re.search(r"budget of 1.0 Wh: \d+ mWh left", text)
    power = re.search(r"power now: ([\d.]+) W .* mean of 4 calls in 60 s", text)
    assert power is not None
    assert float(power[1]) == pytest.approx(joules / 60, rel=0.05)
    assert re.search(r"^gpt-4o +3 +360 +240 ", text, re.MULTILINE)
    assert re.search(r"^nobody-knows\.\.\.ame-is-long +1 +120 +80 +- +- +0%$", text, re.MULTILINE)
    last = text.partition("last calls")[2].splitlines()[1:]
    assert [line.split()[1] for line in last] == ["gpt-4o", "nobody-knows...ame-is-long", "o1"] + [
        "gpt-4o"
    ] * 2
    assert "used up" in printed(capsys, path, "--once", "--budget", "1mWh")


@pytest.mark.parametrize(
    ("name", "status", "words"), [("none", 2, "No such file"), (".", 2, "must be a file")]
)
def test_what_is_no_ledger_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, status: int, words: str
) -> None:
    assert main(["watch", "--once", str(tmp_path / name)]) == status
    assert words in capsys.readouterr().err


def test_a_file_that_grows_is_cut_or_replaced_is_read_on(tmp_path: Path) -> None:
    path = tmp_path / "energy.jsonl"
    watched, tail = Watched(str(path), None), Tail(str(path))

    def calls() -> int:
        while tail.read_into(watched):
            pass
        return sum(totals.calls for totals in watched.sums.groups.values())

    fill(path, "gpt-4o", "o1")
    assert calls() == 2
    whole = path.read_bytes()
    with path.open("ab") as file:
        file.write(whole[:100])  # a line that is being written
        file.flush()
        assert calls() == 2
        file.write(whole[100:])
    assert calls() == 4
    path.write_bytes(whole)  # cut, and written anew
    assert calls() == 6
    path.rename(tmp_path / "energy.jsonl.1")
    with (tmp_path / "energy.jsonl.1").open("ab") as file:
        file.write(whole)  # by a process that has it open yet
    fill(path, "o1")
    assert calls() == 9
    with path.open("a") as log:
        log.write("no call\n")
    assert (calls(), watched.unread) == (9, 1)
    tail.close()


def test_a_call_that_has_grown_since_is_added_up_as_it_is_now(tmp_path: Path) -> None:
    def log_calls(**outputs: int) -> None:
        log.write_text(
            "".join(
                f'{{"id": "chatcmpl-{name:0>24}", "model": "gpt-4o", '
                f'"usage": {{"prompt_tokens": 10, "completion_tokens": {output}}}}}\n'
                for name, output in outputs.items()
            ),
            "utf-8",
        )
        record_log(log, ledger=path)

    def shown() -> tuple[int, int, int]:
        while tail.read_into(watched):
            pass
        total = sum_of(watched.sums.groups.values())
        return total.calls, total.output_tokens, len(watched.last)

    log, path = tmp_path / "log.jsonl", tmp_path / "energy.jsonl"
    log_calls(a=1, b=2)
    log_calls(a=1, b=3)
    watched, tail = Watched(str(path), None), Tail(str(path))
    assert shown() == (2, 4, 2)
    log_calls(a=50, b=30, c=7)
    assert shown() == (3, 87, 3)
    # What was in an earlier file stays.
    path.unlink()
    log_calls(d=1)
    assert shown() == (4, 88, 4)
    log_calls(d=2)
    assert shown() == (4, 89, 4)
    tail.close()


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A process that watches in a terminal of 80 columns, and what shows its screen."""
    pty = pytest.importorskip("pty", reason="there are no pseudo-terminals here")
    import fcntl
    import struct
    import termios

    shown, its_end = pty.openpty()
    fcntl.ioctl(its_end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-c", MAIN, "watch", str(tmp_path / "energy.jsonl")],
        stdin=its_end,
        stdout=its_end,
        stderr=its_end,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "80", "LINES": "24"},
        start_new_session=True,
    )
    os.close(its_end)
    yield process, shown
    process.kill()
    process.wait()
    os.close(shown)


def read_until(shown: int, words: str) -> str:
    """What a terminal shows, until these words are among it."""
    text, deadline = "", time.monotonic() + 30
    while words not in text:
        assert time.monotonic() < deadline, text
        if select.select([shown], [], [], 0.1)[0]:
            text += os.read(shown, 65536).decode()
    return text


def test_a_terminal_shows_the_calls_as_they_come_and_ends_quietly(
    terminal: tuple[subprocess.Popen[bytes], int], tmp_path: Path
) -> None:
    process, shown = terminal
    read_until(shown, "waiting for the file")
    fill(tmp_path / "energy.jsonl", "gpt-4o")
    read_until(shown, "1 call,")
    fill(tmp_path / "energy.jsonl", "o1")
    frame = read_until(shown, "2 calls,")
    assert "Traceback" not in frame
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    rest = b""
    while select.select([shown], [], [], 0.2)[0]:
        try:
            rest += os.read(shown, 65536)
        except OSError:  # nobody has the other end any more
            break
    assert b"Traceback" not in rest
    assert b"Aborted" not in rest
