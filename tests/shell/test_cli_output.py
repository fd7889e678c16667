"""What the command prints reaches any terminal, and it ends quietly where nothing can."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from counts import the_only
from energy_tracking import Tracker, energy_session
from energy_tracking.cli.commands import COMMANDS
from energy_tracking.cli.main import main
from energy_tracking.cli.reference import TOPICS
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


def run_here(
    monkeypatch: pytest.MonkeyPatch, *arguments: str, encoding: str = "utf-8", **more: str
) -> subprocess.CompletedProcess[bytes]:
    """The same in this process, which takes a tenth of the time."""
    for name, value in more.items():
        monkeypatch.setenv(name, value)
    printed = {name: io.TextIOWrapper(io.BytesIO(), encoding) for name in ("stdout", "stderr")}
    for name, stream in printed.items():
        monkeypatch.setattr(sys, name, stream)
    status = main(list(arguments))
    for stream in printed.values():
        stream.flush()
    out, err = (stream.buffer.getvalue() for stream in printed.values())
    return subprocess.CompletedProcess(arguments, status, out, err)


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
def test_a_ledger_is_shown_in_any_encoding(
    ledger: Path, encoding: str, format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = run_here(monkeypatch, "ledger", str(ledger), "--format", format, encoding=encoding)
    assert (shown.returncode, shown.stderr) == (0, b"")
    text = shown.stdout.decode(encoding)
    if format == "json":
        group = the_only(json.loads(text)["groups"])
        assert group["model"] == "größe-🔎"
    else:
        assert r"\U0001f50e" in text
    if format == "table":
        assert ("µWh" if encoding in ("latin-1", "cp437") else "uWh") in text


@pytest.mark.parametrize(
    "command",
    [
        *(["models"], ["gpus"], ["settings"], ["sources"], ["--help"]),
        ["estimate", "--model", "o1", "--input", "9", "--output", "9"],
        ["compare", "--models", "o1,gpt-4o"],
    ],
)
def test_every_command_prints_in_ascii(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    shown = run_here(monkeypatch, *command, encoding="ascii")
    assert (shown.returncode, shown.stderr) == (0, b"")
    assert shown.stdout.isascii()
    assert len(shown.stdout) > 200


def test_the_demo_prints_in_ascii() -> None:
    shown = run("demo", PYTHONIOENCODING="ascii")
    assert (shown.returncode, shown.stderr) == (0, b"")
    assert len(shown.stdout.decode("ascii")) > 200


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
@pytest.mark.parametrize(
    "command",
    ["models", "demo", "--help", "settings", "ledger {ledger}", "report {ledger} --html -"],
)
def test_a_reader_that_has_gone_ends_the_command_quietly(command: str, ledger: Path) -> None:
    command = command.format(ledger=ledger)
    # The reader goes at once, so that the very first line meets a broken pipe.
    assert in_shell(f"(sleep 1; exec $E {command}) | true") == (141, "")


@posix
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full there")
@pytest.mark.parametrize(
    ("command", "target"),
    [
        *(("models", ">/dev/full"), ("demo", ">/dev/full"), ("--help", ">/dev/full")),
        *(("ledger {ledger}", ">/dev/full"), ("models", ">&-"), ("--version", ">&-")),
    ],
)
def test_output_that_cannot_be_written_is_reported_in_one_line(
    command: str, target: str, ledger: Path
) -> None:
    command = command.format(ledger=ledger)
    reason = "Bad file descriptor" if target == ">&-" else "No space left on device"
    message = f"energy-tracking: cannot write to standard output: {reason}\n"
    assert in_shell(f"$E {command} {target}") == (1, message)


@posix
def test_errors_that_nobody_reads_change_no_status() -> None:
    assert in_shell("$E ledger absent 2>&-")[0] == 2
    assert in_shell("$E ledger absent 2>/dev/full")[0] == 2
    assert in_shell("$E gpus 2>&- >/dev/null") == (0, "")


# Ctrl-C.


def interrupted(
    process: subprocess.Popen[bytes], until: Path, number: int = signal.SIGINT
) -> tuple[int, str, str]:
    """How a process ends that gets a signal once it has made a file."""
    started = time.monotonic()
    while not until.exists() and time.monotonic() < started + 30:
        time.sleep(0.02)
    time.sleep(0.5)
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    return process.returncode, out.decode(), err.decode()


SIGNALS = [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)]


@posix
@pytest.mark.parametrize(("name", "expected"), SIGNALS)
@pytest.mark.parametrize("command", ["ledger", "backfill"])
def test_a_signal_that_ends_a_read_shows_what_was_summed_up(
    command: str, name: str, expected: int, ledger: Path, tmp_path: Path
) -> None:
    pipe, ready = tmp_path / "pipe", tmp_path / "ready"
    os.mkfifo(pipe)
    line = ledger.read_bytes()
    if command == "backfill":
        # It looks at the first part of a file before it reads it.
        answers = [
            {"id": f"{n}", "model": "gpt-4o", "usage": USAGE, "said": "." * 1000}
            for n in range(2_000)
        ]
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
        status, out, err = interrupted(process, ready, getattr(signal, name))
    assert status == expected, err
    assert re.match(rf"{pipe}, not to the end: [\d,]+ calls?, ", " ".join(out.split()))
    assert "Traceback" not in err
    if command == "ledger":
        said = f"energy-tracking: {pipe}: 1 unreadable line left out (2): line 2 is"
        assert " ".join(err.split()).startswith(said)


@posix
@pytest.mark.parametrize("milliseconds", [60, 120, 250, 400])
def test_ctrl_c_while_the_command_starts_is_quiet(milliseconds: int, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    # From its first line on: before that Python itself is starting.
    code = f"import os; os.write(1, b'!'); {ENTRY}"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "ledger", str(pipe)],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.read(1) == b"!"
    time.sleep(milliseconds / 1000)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, b"")


def test_ctrl_c_while_a_class_is_made_is_quiet() -> None:
    code = """
        import sys

        def interrupt(frame, event, argument):
            if event == "call" and frame.f_code.co_name == "__set_name__":
                if getattr(frame.f_locals.get("owner"), "__name__", "") == "CallRecord":
                    sys.setprofile(None)
                    raise KeyboardInterrupt

        sys.setprofile(interrupt)
        from energy_tracking.cli.main import main
        sys.exit(main(["ledger", "absent"]))
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, env=environment(), capture_output=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")


@posix
def test_a_signal_that_is_ignored_stays_ignored(ledger: Path) -> None:
    code = f"import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN); {ENTRY}"
    code = code.replace(
        "sys.exit(main())",
        "s = main(); assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN; sys.exit(s)",
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "ledger", str(ledger)],
        env=environment(),
        capture_output=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, b"")


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


# What others have named.

HOSTILE = "\x1b[31mred\x1b[0m\x07\u202egnp"
CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


@posix
@pytest.mark.parametrize("format", ["table", "csv", "json"])
@pytest.mark.parametrize("command", ["ledger", "backfill"])
def test_no_name_of_a_file_or_model_reaches_the_terminal_as_a_command(
    command: str, format: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"{HOSTILE}\nsum 9 calls"
    answer = {"id": "1", "model": HOSTILE, "usage": USAGE}
    if command == "backfill":
        path.write_text(json.dumps(answer) + "\n{\n{}\n", "utf-8")
    else:
        Tracker(ledger=path).record(model=HOSTILE, usage=USAGE)
        with path.open("a", encoding="utf-8") as lines:
            lines.write("{\n")
    shown = run_here(monkeypatch, command, str(path), "--format", format)
    for text in (shown.stdout.decode(), shown.stderr.decode()):
        assert not CONTROLS.search(text), text
        assert not [line for line in text.splitlines() if line.startswith("sum 9 calls")]
    assert b"left out" in shown.stderr
    if format == "json":
        json.loads(shown.stdout)


@posix
@pytest.mark.parametrize("command", ["models", "gpus", "ledger /dev/null --gpu H100"])
@pytest.mark.parametrize(
    "text",
    [
        '[models."\\u001b[31mred"]\nlike = "gpt-4o"\n',
        '[gpus."\\u001b[31mred"]\nlike = "H100"\npower_rating = -1\n',
        '[gpus."\\u001b[31mred"]\nlike = "H100"\nsource = "\\u001b[31mred"\n',
        '[models.a]\nlike = "gpt-4o"\n"\\u001b[31mred" = 1\n',
        '["\\u001b[31mred"]\n',
    ],
)
def test_no_name_in_a_profile_file_reaches_the_terminal_as_a_command(
    text: str, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "profiles.toml"
    path.write_text(text, "utf-8")
    shown = run_here(monkeypatch, *command.split(), ENERGY_TRACKING_PROFILES=str(path))
    assert b"\x1b" not in shown.stdout + shown.stderr
    assert b"Traceback" not in shown.stderr


@pytest.mark.parametrize(
    "command", [["models"], ["gpus"], ["settings"], ["--help"], ["ledger", "--help"]]
)
def test_lists_and_help_fit_80_columns(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    shown = run_here(monkeypatch, *command, COLUMNS="200")
    assert shown.returncode == 0
    assert [line for line in shown.stdout.decode().splitlines() if len(line) > 80] == []


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "ascii"])
def test_all_help_fits_80_columns_in_any_encoding(
    encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    topics = [["help", topic] for topic in TOPICS]
    for arguments in [["--help"], *topics, *([row.name, "--help"] for row in COMMANDS)]:
        printed = io.BytesIO()
        monkeypatch.setattr("sys.stdout", io.TextIOWrapper(printed, encoding))
        assert main(arguments) == 0
        lines = printed.getvalue().decode(encoding).splitlines()
        assert lines, arguments
        assert [line for line in lines if len(line) > 80] == [], arguments


# Mistakes.


def test_a_variable_that_is_no_setting_is_reported_on_one_line_with_the_nearest(
    ledger: Path,
) -> None:
    done = run("ledger", str(ledger), "--gpu", "H100", ENERGY_TRACKING_GUP="H200")
    assert done.returncode == 0
    err = done.stderr.decode()
    assert err.startswith("energy-tracking: environment variable must be that of a setting, got")
    assert "did you mean 'ENERGY_TRACKING_GPU'" in err.splitlines()[0]


def test_without_the_extra_the_report_states_in_a_line_what_to_install(
    ledger: Path, tmp_path: Path
) -> None:
    (tmp_path / "numpy.py").write_text("raise ModuleNotFoundError('no', name='numpy')")
    done = run("report", str(ledger), PYTHONPATH=":".join([str(tmp_path), *sys.path]))
    message = "the report needs the package 'numpy'; install it with: pip install"
    assert (
        done.stderr.decode()
        == f"energy-tracking: {message} 'energy-tracking[report]' (in a checkout: '.[report]')\n"
    )
    assert (done.returncode, done.stdout) == (2, b"")


def test_without_the_extra_the_command_states_in_a_line_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text("raise ModuleNotFoundError('no', name='click')")
    path = ":".join([str(tmp_path), *sys.path])
    done = run("models", PYTHONPATH=path)
    message = "the command needs the package 'click'; install it with: pip install"
    assert (
        done.stderr.decode()
        == f"energy-tracking: {message} 'energy-tracking[cli]' (in a checkout: '.[cli]')\n"
    )
    assert (done.returncode, done.stdout) == (2, b"")


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
        (["nothing"], "COMMAND must be one of"),
        (["modles"], "got 'modles'; did you mean 'models'"),
        (["demo", "--gup", "H100"], "got '--gup'; did you mean '--gpu'"),
        (["ledger", "x", "--format", "tabel"], "got 'tabel'; did you mean 'table'"),
        (["ledger"], "PATH must be given; see: energy-tracking ledger --help"),
        (["backfill"], "PATH... must be given"),
        (["demo", "--gpu"], "requires an argument"),
        (["demo", "--otlp", "localhost:4318"], "--otlp must be an address by http or https"),
        ([], "COMMAND must be given"),
    ],
)
def test_a_mistake_is_explained_without_a_traceback(
    arguments: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    # What becomes the program that is run has a process of its own.
    done = run(*arguments) if "run" in arguments else run_here(monkeypatch, *arguments)
    assert (done.returncode, done.stdout) == (2, b"")
    assert words in done.stderr.decode()
    assert b"Traceback" not in done.stderr
