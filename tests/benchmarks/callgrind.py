"""Instructions of Python code, counted by callgrind in a process of their own.

A benchmark starts itself once more with ``run_counted``; there it has each thing that it measures
done by ``count``. Memory has a fixed layout and hashes a fixed seed, so that two runs agree to
0.1 %. Nothing but the standard library is imported: what importing costs is counted too.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

_TRIGGER = "desc: Trigger: dump "


def is_installed() -> bool:
    """Whether instructions can be counted here."""
    return all(map(shutil.which, ("valgrind", "callgrind_control", "setarch")))


def count(name: str, rounds: int, do: Callable[[], object]) -> None:
    """In that process: count the instructions of something.

    Args:
        name: What it is called in what ``run_counted`` returns.
        rounds: How often it is done [1].
        do: Does it once.
    """
    _control("-i", "on")
    for _ in range(rounds):
        do()
    _control("-i", "off")
    _control(f"--dump={name}")


def _control(*arguments: str) -> None:
    command = ["callgrind_control", *arguments, str(os.getpid())]
    subprocess.run(command, check=True, capture_output=True)


def run_counted(command: list[str], environment: Mapping[str, str]) -> dict[str, float]:
    """Run a command that counts; the instructions of all rounds of each thing, by its name [1].

    Args:
        command: The interpreter, the script and its arguments.
        environment: Environment variables.
    """
    with tempfile.TemporaryDirectory() as folder:
        valgrind = ["setarch", "-R", "valgrind", "--tool=callgrind", "--instr-atstart=no"]
        subprocess.run(
            [*valgrind, f"--callgrind-out-file={folder}/out", *command],
            check=True,
            capture_output=True,
            env={**environment, "PYTHONHASHSEED": "0"},
        )
        counts: dict[str, float] = {}
        for dump in Path(folder).glob("out.*"):
            lines = dump.read_text().splitlines()
            facts = dict(line.split(": ", 1) for line in lines if ": " in line)
            trigger = next(line for line in lines if line.startswith(_TRIGGER))
            counts[trigger.removeprefix(_TRIGGER)] = float(facts["totals"])
        return counts
