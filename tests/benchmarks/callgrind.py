"""Instructions and allocations of Python code, counted by callgrind in a process of their own.

A benchmark starts itself once more with ``run_counted``; there it has each thing that it measures
done by ``count``. Memory has a fixed layout and hashes a fixed seed, so that two runs agree to
0.1 %. Nothing but the standard library is imported: what importing costs is counted too.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

ALLOCATORS = {"_PyObject_Malloc", "_PyObject_Calloc", "_PyMem_RawMalloc", "_PyMem_RawCalloc"}
"""Functions of Python, each call of which allocates a piece of memory. What comes from a list of
pieces that were given back, as most floats and tuples do, goes past them."""

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


class Counts(NamedTuple):
    """What all rounds of a thing take.

    Attributes:
        instructions: Instructions [1].
        allocations: Pieces of memory allocated [1]; 0 where Python's functions have no names.
    """

    instructions: float
    allocations: float


def run_counted(command: list[str], environment: Mapping[str, str]) -> dict[str, Counts]:
    """Run a command that counts; what all rounds of each thing take, by its name.

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
        counts: dict[str, Counts] = {}
        for dump in Path(folder).glob("out.*"):
            lines = dump.read_text().splitlines()
            facts = dict(line.split(": ", 1) for line in lines if ": " in line)
            trigger = next(line for line in lines if line.startswith(_TRIGGER))
            counts[trigger.removeprefix(_TRIGGER)] = Counts(
                float(facts["totals"]), _count_allocations(lines)
            )
        return counts


_NAME = re.compile(r"c?fn=(\(\d+\)) (\S+)")


def _count_allocations(lines: list[str]) -> float:
    """Calls of the allocators in a dump [1].

    A function's name stands at its first use, and its number alone from then on.
    """
    named = (found for found in map(_NAME.match, lines) if found)
    allocators = {
        f"cfn={number}"
        for number, name in (found.groups() for found in named)
        if name in ALLOCATORS
    }
    return sum(
        float(after.split()[0].removeprefix("calls="))
        for line, after in pairwise(lines)
        if line.partition(" ")[0] in allocators
    )
