"""What the command prints reaches any terminal, and it ends quietly where nothing can."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from counts import the_only
from energy_tracking import Tracker, energy_session
from energy_tracking.terminal import printable, with_known_signs

USAGE = {"prompt_tokens": 1, "completion_tokens": 0}
ENTRY = "import sys; from energy_tracking.cli.main import main; sys.exit(main())"
COMMAND = [sys.executable, "-c", ENTRY]
LIMITED = ["ascii", "cp932", "gbk", "cp437", "latin-1"]

posix = pytest.mark.skipif(sys.platform == "win32", reason="no such shell there")


def environment(**more: str) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": ":".join(sys.path)} | more


def run(*arguments: str, **more: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*COMMAND, *arguments], env=environment(**more), capture_output=True, timeout=60
    )


def in_shell(command: str, *arguments: str) -> tuple[int, str]:
    """The status and the standard error of a shell's command, in which $E is ours."""
    ours = shlex.join(COMMAND)
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command.replace("$E", ours), "bash", *arguments],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stderr


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """A ledger whose table needs micro-watt-hours, with a name that few encodings have."""
    path = tmp_path / "energy.jsonl"
    tracker = Tracker(ledger=path, model_mapping={"größe-🔎": "gpt-4o-mini"})
    with energy_session("größe"):
        tracker.record(model="größe-🔎", usage=USAGE)
    return path


@pytest.mark.parametrize("encoding", LIMITED)
@pytest.mark.parametrize("format", ["table", "csv", "json"])
def test_a_ledger_is_shown_in_any_encoding(ledger: Path, encoding: str, format: str) -> None:
    shown = run("ledger", str(ledger), "--format", format, PYTHONIOENCODING=encoding)
    assert (shown.returncode, shown.stderr) == (0, b"")
    text = shown.stdout.decode(encoding)
    if format == "json":
        group = the_only(json.loads(text)["groups"])
        assert group["model"] == "größe-🔎"
    else:
        assert r"\U0001f50e" in text
    if format == "table":
        assert ("µWh" if encoding in ("latin-1", "cp437") else "uWh") in text


@pytest.mark.parametrize("command", [["demo"], ["models"], ["gpus"], ["settings"], ["--help"]])
def test_every_command_prints_in_ascii(command: list[str]) -> None:
    shown = run(*command, PYTHONIOENCODING="ascii")
    assert (shown.returncode, shown.stderr) == (0, b"")
    assert shown.stdout.isascii()
    assert len(shown.stdout) > 200


@posix
def test_the_c_locale_without_utf8_is_enough(ledger: Path) -> None:
    shown = run(
        "ledger", str(ledger), LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0", LANG="C"
    )
    assert (shown.returncode, shown.stderr) == (0, b"")
    assert b"uWh" in shown.stdout


PRINTS = """
from energy_tracking import Tracker, energy_session, process_session
with energy_session("small") as session:
    Tracker(summary=True).record(model="gpt-4o-mini", usage={"prompt_tokens": 1})
print(session)
print(session.compare(model="gpt-4o-mini"))
print(session.carbon(region="FR"))
"""


@pytest.mark.parametrize("encoding", LIMITED)
def test_a_session_its_comparison_and_the_summary_can_be_printed(encoding: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PRINTS],
        env=environment(PYTHONIOENCODING=encoding),
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    sign = "µ" if encoding in ("latin-1", "cp437") else "u"
    assert done.stdout.decode(encoding).count(f"{sign}Wh") >= 2
    assert f"{sign}Wh" in done.stderr.decode(encoding)


def test_text_is_left_alone_where_the_encoding_has_it() -> None:
    class Stream:
        encoding = "utf-8"

    text = "42 µWh größe 🔎 …"
    assert printable(text, Stream()) == with_known_signs(text, Stream()) == text  # type: ignore[arg-type]
    Stream.encoding = "cp1252"
    assert printable(text, Stream()) == r"42 µWh größe \U0001f50e …"  # type: ignore[arg-type]
    Stream.encoding = "utf-8"
    assert printable("\ud800", Stream()) == r"\ud800"  # type: ignore[arg-type]
    Stream.encoding = "no such encoding"
    assert printable(text, Stream()) == text  # type: ignore[arg-type]


# Output that nobody takes.


@posix
@pytest.mark.parametrize("command", ["models", "demo", "--help", "settings", "ledger {ledger}"])
def test_a_reader_that_has_gone_ends_the_command_quietly(command: str, ledger: Path) -> None:
    command = command.format(ledger=ledger)
    # The reader goes at once, so that the very first line meets a broken pipe.
    assert in_shell(f"(sleep 1; exec $E {command}) | true") == (141, "")


@posix
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full there")
@pytest.mark.parametrize("command", ["models", "demo", "--help", "--version", "ledger {ledger}"])
@pytest.mark.parametrize(
    ("target", "reason"),
    [(">/dev/full", "No space left on device"), (">&-", "Bad file descriptor")],
)
def test_output_that_cannot_be_written_is_said_in_one_line(
    command: str, target: str, reason: str, ledger: Path
) -> None:
    command = command.format(ledger=ledger)
    message = f"energy-tracking: cannot write to standard output: {reason}\n"
    assert in_shell(f"$E {command} {target}") == (1, message)


@posix
def test_errors_that_nobody_reads_change_no_status() -> None:
    assert in_shell("$E ledger absent 2>&-")[0] == 2
    assert in_shell("$E ledger absent 2>/dev/full")[0] == 2
    assert in_shell("$E gpus 2>&- >/dev/null") == (0, "")


# Ctrl-C.


def interrupted(process: subprocess.Popen[bytes], until: Path) -> tuple[int, str, str]:
    """How a process ends that is interrupted once it has made a file."""
    started = time.monotonic()
    while not until.exists() and time.monotonic() < started + 30:
        time.sleep(0.02)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    return process.returncode, out.decode(), err.decode()


@posix
@pytest.mark.parametrize("command", ["ledger", "backfill"])
def test_ctrl_c_shows_what_was_summed_up(command: str, ledger: Path, tmp_path: Path) -> None:
    pipe, ready = tmp_path / "pipe", tmp_path / "ready"
    os.mkfifo(pipe)
    line = ledger.read_bytes()
    if command == "backfill":
        # It looks at the first part of a file before it reads it.
        answers = [{"id": f"{n}", "model": "gpt-4o", "usage": USAGE} for n in range(30_000)]
        line = "".join(json.dumps(answer) + "\n" for answer in answers).encode()
    process = subprocess.Popen(
        [*COMMAND, command, str(pipe)],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with pipe.open("wb") as written:
        written.write(line + b"{\n")
        written.flush()
        time.sleep(0.3)
        ready.touch()
        status, out, err = interrupted(process, ready)
    assert status == 130, err
    assert re.match(rf"{pipe}, not to the end: [\d,]+ calls?, ", out)
    assert "Traceback" not in err
    if command == "ledger":
        assert err.startswith(f"energy-tracking: {pipe}: 1 unreadable line left out (2): line 2 is")


PROGRAM = """
import pathlib, sys, time
from energy_tracking import Tracker
Tracker().record(model="gpt-4o", usage={"prompt_tokens": 10, "completion_tokens": 5})
pathlib.Path(sys.argv[1]).touch()
time.sleep(30)
"""


@posix
def test_ctrl_c_in_a_program_prints_its_totals_and_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    ready = tmp_path / "ready"
    process = subprocess.Popen(
        [*COMMAND, "run", str(tmp_path / "program.py"), str(ready)],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    status, out, err = interrupted(process, ready)
    assert (status, out) == (130, "")
    assert err.startswith("process: 1 call, ")
    assert "Traceback" not in err


@posix
def test_a_program_whose_reader_has_gone_ends_quietly(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text("for n in range(100_000): print(n)")
    no_call = "process: 0 calls were counted: this program made no call through openai.\n"
    assert in_shell(f"$E run {tmp_path}/program.py | head -1") == (141, no_call)


# Mistakes.


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["ledger", "."], ".: Is a directory"),
        (["ledger", ""], "No such file or directory"),
        (["backfill", "."], "No file that ends in one of"),
        (["backfill", "x", "--ledger", "."], "must be a regular file"),
        (["ledger", "x", "--gpu", "H1000"], "did you mean 'H100'"),
        (["ledger", "x", "--method", "rooflin"], "did you mean 'roofline'"),
        (["run", "-m", "absent_module"], "absent_module"),
        (["run", "."], "__main__"),
        (["run", "absent.py"], "there is no script"),
        (["run"], "nothing to run"),
        (["demo", "--gpu", "H1000"], "did you mean 'H100'"),
        (["nothing"], "invalid choice"),
        ([], "required: COMMAND"),
    ],
)
def test_a_mistake_is_explained_without_a_traceback(
    arguments: list[str], words: str, tmp_path: Path
) -> None:
    done = subprocess.run(
        [*COMMAND, *arguments], env=environment(), capture_output=True, cwd=tmp_path, timeout=60
    )
    assert (done.returncode, done.stdout) == (2, b"")
    assert words in done.stderr.decode()
    assert b"Traceback" not in done.stderr
