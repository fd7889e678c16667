"""``energy-tracking run script.py``: a program as it is, its OpenAI calls tracked.

The program finds everything as if Python had been started with it; afterwards the session
of the process is printed to stderr. ``OTEL_SDK_DISABLED`` stops spans and metrics here as
anywhere, and not the printing, which needs no OpenTelemetry.
"""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import SourceFileLoader
from types import ModuleType, TracebackType

from energy_tracking.cli.output import OutputError, is_reader_gone, print_error
from energy_tracking.errors import ConfigurationError
from energy_tracking.lifecycle import call_at_exit, forget_at_exit
from energy_tracking.openai_client.client import instrument_openai
from energy_tracking.summary import print_summary

NO_CALLS = "process: 0 calls were counted: this program made no call through openai."
"""Printed where the program has ended without one."""

# The modules between the command and the program's first line.
_STARTERS = (__name__, "runpy", "importlib._bootstrap", "importlib._bootstrap_external")


def run_program(program: Sequence[str], *, as_module: bool = False) -> int:
    """Run a script or a module, with every OpenAI client tracked.

    Args:
        program: The script, or the module, and its arguments.
        as_module: Whether it is a module, as after ``python -m``.

    Returns:
        The exit status, where the program does not itself exit or is interrupted.

    Raises:
        ConfigurationError: There is nothing to run, it cannot be read, or a setting is wrong.
        KeyboardInterrupt: The program was interrupted.
        OutputError: The reader of its output has gone.
    """
    if not program:
        raise ConfigurationError(
            "nothing to run; write: energy-tracking run [-m] PROGRAM [ARG ...]"
        )
    if not as_module and not os.path.exists(program[0]):
        raise ConfigurationError(f"there is no script {program[0]!r}")
    try:
        instrument_openai()
    except ModuleNotFoundError as error:
        print_error(f"no OpenAI call is tracked: {error}")
    # Also where the setting asks for the summary: it is printed once.
    forget_at_exit(print_summary)
    call_at_exit(_print_sum)
    sys.argv = list(program)
    start = _run_module if as_module else _run_script
    try:
        start(program[0])
    except (SystemExit, KeyboardInterrupt):
        raise
    except BaseException as error:
        # As Python itself prints it: without the frames of the command.
        traceback = _traceback_of_program(error)
        if traceback is None:  # it never started
            forget_at_exit(_print_sum)
        if traceback is None and isinstance(error, OSError | ImportError):
            raise ConfigurationError(f"cannot run {program[0]!r}: {error}") from None
        if isinstance(error, BrokenPipeError) and is_reader_gone():
            raise OutputError(error) from None
        error = error.with_traceback(traceback)
        sys.excepthook(type(error), error, error.__traceback__)
        return 1
    return 0


def _print_sum() -> None:
    print_summary(NO_CALLS)


def _run_script(path: str) -> None:
    sys.path[0] = os.path.dirname(os.path.realpath(path))
    if os.path.isdir(path) or not path.endswith((".py", ".pyw")):
        # A directory, an archive, compiled code; and scripts without an ending.
        runpy.run_path(path, run_name="__main__")
        return
    # Unlike runpy's, this __main__ stays: threads and exit handlers come back to it, and
    # what they pickle is looked up there.
    module = ModuleType("__main__")
    module.__file__ = path
    module.__builtins__ = __builtins__  # type: ignore[attr-defined]
    loader = SourceFileLoader("__main__", path)
    module.__loader__ = loader
    sys.modules["__main__"] = module
    code: Callable[..., object] = loader.source_to_code(loader.get_data(path), path)  # type: ignore[assignment]
    exec(code, vars(module))  # type: ignore[arg-type]


def _run_module(name: str) -> None:
    sys.path[0] = os.getcwd()
    runpy.run_module(name, run_name="__main__", alter_sys=True)


def _traceback_of_program(error: BaseException) -> TracebackType | None:
    """The traceback from the program's first line on."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_frame.f_globals.get("__name__") in _STARTERS:
        traceback = traceback.tb_next
    return traceback
