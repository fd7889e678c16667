"""``energy-tracking run`` runs a program and prints the sum of its calls."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from energy_tracking import read_ledger
from loopback import Loopback, chat_completion, json_reply

PROGRAM = """
import atexit, os, sys
from openai import OpenAI
def ask():
    OpenAI().chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "Hi"}])
ask()
print(repr(sys.argv[1:]), __name__, sys.path[0] == os.path.dirname(os.path.realpath(__file__)))
print(sys.modules["__main__"].ask is ask)
atexit.register(ask)
"""


def run(
    loopback: Loopback, folder: Path, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run ``energy-tracking run`` in a folder."""
    code = "import sys; from energy_tracking.cli.main import main; sys.exit(main())"
    environment |= {"OPENAI_API_KEY": "none", "OPENAI_BASE_URL": loopback.base_url}
    source = Path(__file__).parents[2] / "src"
    return subprocess.run(
        [sys.executable, "-c", code, "run", *arguments],
        env=os.environ | {"PYTHONPATH": str(source)} | environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("how", [["program.py"], ["-m", "program"]])
def test_a_program_runs_as_it_would_and_its_calls_are_summed_up(
    loopback: Loopback, tmp_path: Path, how: list[str]
) -> None:
    loopback.serve(json_reply(chat_completion()))
    (tmp_path / "program.py").write_text(PROGRAM)
    done = run(loopback, tmp_path, *how, "--flag", "-m", OTEL_SDK_DISABLED="true")
    assert done.stdout.splitlines() == ["['--flag', '-m'] __main__ True", "True"]
    assert done.returncode == 0
    # The call of its own exit handler is among them.
    assert re.match(r"process: 2 calls, \d+ mWh reference, \d+ mWh calibrated\nmodel", done.stderr)


@pytest.mark.parametrize(
    ("ending", "status", "words"),
    [
        ("sys.exit(7)", 7, []),
        ("sys.exit('no more')", 1, ["no more"]),
        ("raise ValueError('broken')", 1, ["ValueError: broken", 'program.py", line 9']),
        ("raise __import__('energy_tracking').ConfigurationError('theirs')", 1, ["Traceback"]),
    ],
)
def test_the_sum_is_printed_and_the_exit_kept_however_it_ends(
    loopback: Loopback, tmp_path: Path, ending: str, status: int, words: list[str]
) -> None:
    loopback.serve(json_reply(chat_completion()))
    (tmp_path / "program.py").write_text(PROGRAM.strip("\n") + f"\n{ending}\n")
    done = run(loopback, tmp_path, "program.py")
    assert done.returncode == status
    assert not [word for word in words if word not in done.stderr]
    assert "process: 2 calls" in done.stderr
    assert "energy_tracking/run.py" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "environment", "words"),
    [
        ([], {}, "nothing to run"),
        (["absent.py"], {}, "there is no script 'absent.py'"),
        (["-c"], {"ENERGY_TRACKING_GPU": "H1000"}, "option of energy-tracking run must be"),
    ],
)
def test_wrong_commands_are_explained(
    loopback: Loopback,
    tmp_path: Path,
    arguments: list[str],
    environment: dict[str, str],
    words: str,
) -> None:
    done = run(loopback, tmp_path, *arguments, **environment)
    assert done.returncode == 2
    assert words in done.stderr


def test_a_program_without_a_call_is_not_reported_to_lack_tracking(
    loopback: Loopback, tmp_path: Path
) -> None:
    (tmp_path / "program.py").write_text("print('hi')")
    done = run(loopback, tmp_path, "program.py", ENERGY_TRACKING_SUMMARY="1")
    assert (done.returncode, done.stdout) == (0, "hi\n")
    assert done.stderr == (
        "process: 0 calls were counted: this program made no call through openai.\n"
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["-m", "absent_module"], "cannot run 'absent_module'"), (["bad.py"], "SyntaxError")],
)
def test_of_a_program_that_never_started_no_calls_are_counted(
    loopback: Loopback, tmp_path: Path, arguments: list[str], words: str
) -> None:
    (tmp_path / "bad.py").write_text("(")
    done = run(loopback, tmp_path, *arguments)
    assert words in done.stderr
    assert "calls" not in done.stderr


def test_settings_of_the_environment_hold(loopback: Loopback, tmp_path: Path) -> None:
    loopback.serve(json_reply(chat_completion()))
    (tmp_path / "program.py").write_text(PROGRAM)
    assert "GB200" in run(loopback, tmp_path, "program.py", ENERGY_TRACKING_GPU="GB200").stderr
    wrong = run(loopback, tmp_path, "program.py", ENERGY_TRACKING_GPU="H1000")
    assert (wrong.returncode, wrong.stdout) == (2, "")


POOL = """
import sys
from multiprocessing import get_context
from energy_tracking import instrument_openai
from program import ask
if __name__ == "__main__":
    with get_context(sys.argv[1]).Pool(2, instrument_openai) as pool:
        pool.starmap(ask, [()] * 4)
        pool.close()
        pool.join()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no fork there")
@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_workers_that_begin_with_instrumenting_are_tracked_however_they_start(
    loopback: Loopback, tmp_path: Path, method: str
) -> None:
    loopback.serve(json_reply(chat_completion()))
    (tmp_path / "program.py").write_text(PROGRAM.partition("\nask()")[0])
    (tmp_path / "pool.py").write_text(POOL)
    ledger = tmp_path / "calls.jsonl"
    done = run(loopback, tmp_path, "pool.py", method, ENERGY_TRACKING_LEDGER=str(ledger))
    assert done.returncode == 0, done.stderr
    assert len(list(read_ledger(ledger))) == 4
