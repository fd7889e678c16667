"""The ``energy-tracking`` command: where it starts, and how it ends.

======  =======================================================================================
status  what happened
======  =======================================================================================
0       all was done
1       the output could not be written, the demo could not send its telemetry, or nothing was
        found: no call (``report``, ``ledger``, ``watch``), no known format (``backfill``), no token
        (``meter``), no model, GPU, source or setting with the words
2       a mistake in the command or a setting, or a file that cannot be read or written
130     Ctrl-C
141     the reader of the output has gone, as of ``energy-tracking models | head -1``
other   ``run``: the status of the program; a signal that ends a process: 128 and its number
======  =======================================================================================

What was summed up before an interruption is printed. This module imports nothing before it is
ready for an interruption, so that even a command that is stopped while it starts ends quietly.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

DONE, NOT_WRITTEN, NOTHING_FOUND, MISTAKE, INTERRUPTED, READER_GONE = 0, 1, 1, 2, 130, 141


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: What is typed behind its name; that of this process if None.

    Returns:
        The exit status, see above.
    """
    try:
        return _run(arguments)
    except KeyboardInterrupt as interruption:
        return getattr(interruption, "status", INTERRUPTED)
    except RuntimeError as error:
        # Python 3.11 makes this of whatever is raised while a class is made.
        if not isinstance(error.__cause__, KeyboardInterrupt):
            raise
        return INTERRUPTED


def _run(arguments: Sequence[str] | None) -> int:
    from energy_tracking.cli.output import Output, OutputError, discard_output, print_error
    from energy_tracking.errors import ConfigurationError, UnreadableLogError, say_install

    try:
        import click  # noqa: F401
    except ModuleNotFoundError as error:
        print_error(f"the command needs the package {error.name!r}; {say_install('cli')}")
        return MISTAKE
    from energy_tracking.cli.commands import run_command

    try:
        return run_command(arguments, Output())
    except (ConfigurationError, UnreadableLogError) as error:
        print_error(error)
        return MISTAKE
    except OutputError as error:
        discard_output()
        if error.is_reader_gone:
            return READER_GONE
        print_error(f"cannot write to standard output: {error}")
        return NOT_WRITTEN
