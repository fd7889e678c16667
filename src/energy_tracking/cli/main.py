"""The ``energy-tracking`` command.

How it ends:

======  =======================================================================================
status  what happened
======  =======================================================================================
0       all was done
1       the output could not be written, the demo could not send its telemetry, or the ledger, its
        session or the files of ``backfill`` hold no call
2       a mistake in the command or a setting, or a file that cannot be read or written
130     Ctrl-C
141     the reader of the output has gone, as of ``energy-tracking models | head -1``
other   ``run``: the status of the program
======  =======================================================================================

What was summed up before an interruption is printed. A command is a row of ``_COMMANDS`` and a
function that prints to an ``Output`` and returns a status.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple

from energy_tracking.calls.record import CallRecord
from energy_tracking.calls.report import (
    session_csv,
    session_json,
    session_table,
    table,
    two_digits,
)
from energy_tracking.calls.session import Session
from energy_tracking.calls.totals import Groups
from energy_tracking.cli.output import Output, OutputError, discard_output, print_error, write_error
from energy_tracking.cli.run import run_program
from energy_tracking.errors import ConfigurationError, UnreadableLogError, not_one_of
from energy_tracking.estimation import Estimation
from energy_tracking.ledger import read_ledger
from energy_tracking.logs.backfill import Backfill, check_files
from energy_tracking.profiles.catalogue import Catalogue
from energy_tracking.profiles.files import extend_catalogue, get_catalogue
from energy_tracking.settings import Settings, naming, settings_rows
from energy_tracking.tracker import Tracker
from energy_tracking.version import VERSION

DONE, NOT_WRITTEN, NOTHING_FOUND, MISTAKE, INTERRUPTED, READER_GONE = 0, 1, 1, 2, 130, 141


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        The exit status, see above.
    """
    try:
        return _run_command(arguments, Output())
    except (ConfigurationError, UnreadableLogError) as error:
        print_error(error)
        return MISTAKE
    except KeyboardInterrupt:
        return INTERRUPTED
    except OutputError as error:
        discard_output()
        if error.is_reader_gone:
            return READER_GONE
        print_error(f"cannot write to standard output: {error}")
        return NOT_WRITTEN


def _run_command(arguments: Sequence[str] | None, output: Output) -> int:
    try:
        options = _build_parser().parse_args(arguments)
        status: int = options.run(options, output)
    finally:
        # Also where the parser exits, having printed its help.
        output.flush()
    return status


class _Parser(argparse.ArgumentParser):
    """A parser whose help and mistakes are printed as everything else is."""

    def _print_message(self, message: str, file: Any = None) -> None:
        if file is not None and file is sys.stderr:
            write_error(message)
        else:
            Output().write(message)


def _build_parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="energy-tracking",
        description="How much energy your LLM calls use.",
    )
    parser.add_argument("--version", action="version", version=f"energy-tracking {VERSION}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in _COMMANDS:
        own = commands.add_parser(command.name, help=command.help)
        own.set_defaults(run=command.run)
        command.add_arguments(own)
    return parser


def _add_demo_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--gpu", help="GPU profile (default: ENERGY_TRACKING_GPU, else H100)")
    parser.add_argument(
        "--method", help="estimator (default: ENERGY_TRACKING_METHOD, else reference)"
    )
    parser.add_argument(
        "--otlp", metavar="URL", help="also send it here, e.g. http://localhost:4318"
    )


def _add_run_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-m", action="store_true", dest="as_module", help="PROGRAM is a module")
    parser.add_argument("program", nargs=argparse.REMAINDER, help="PROGRAM [ARGUMENT ...]")


def _add_ledger_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="PATH", help="the file named by ENERGY_TRACKING_LEDGER")
    parser.add_argument("--session", metavar="NAME", help="only the calls of this session")
    _add_sum_arguments(parser)


def _add_backfill_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "paths",
        metavar="PATH",
        nargs="+",
        help="a file, a folder, a quoted pattern, or - for standard input",
    )
    parser.add_argument("--ledger", metavar="PATH", help="append every call to this ledger")
    parser.add_argument(
        "--columns",
        metavar="input=NAME,output=NAME",
        help="the columns of a table that is not recognised; also cached, reasoning, model, time, "
        "id, session, requests, provider",
    )
    parser.add_argument(
        "--strict", action="store_true", help="stop at the first entry that cannot be read"
    )
    _add_sum_arguments(parser)


def _add_sum_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--method", help="estimate every call by this method")
    parser.add_argument("--gpu", help="estimate every call on this GPU")
    parser.add_argument("--model", help="estimate every call as if this model had answered")
    parser.add_argument("--format", choices=("table", "json", "csv"), default="table")


def _add_no_arguments(parser: argparse.ArgumentParser) -> None:
    pass


def _run_demo(options: argparse.Namespace, output: Output) -> int:
    try:
        from energy_tracking.demo.run import run_demo
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"the demo needs the package {error.name!r}; install it with: "
            "pip install 'energy-tracking[demo]'"
        ) from None
    is_sent = run_demo(output, gpu=options.gpu, method=options.method, otlp_endpoint=options.otlp)
    return DONE if is_sent else NOT_WRITTEN


def _run_program(options: argparse.Namespace, output: Output) -> int:
    return run_program(options.program, as_module=options.as_module)


def _sum_ledger(options: argparse.Namespace, output: Output) -> int:
    again = (options.method, options.gpu, options.model) != (None, None, None)
    estimation = None
    if again:
        estimation = Estimation(Settings.load({"method": options.method, "gpu": options.gpu}))
        if options.model is not None:
            estimation.find_model(options.model)
    sessions: set[str] = set()

    def read_records() -> Iterator[CallRecord]:
        for entry in read_ledger(os.path.expanduser(options.path)):
            sessions.add(entry.record.session)
            if options.session in (None, entry.record.session):
                yield (
                    estimation.estimate_again(entry.record, options.model)
                    if estimation is not None
                    else entry.record
                )

    status = _print_sum(options.session or options.path, read_records(), options, output)
    if not sessions:
        return NOTHING_FOUND
    if options.session is not None and options.session not in sessions:
        names = sorted(sessions)
        print_error(not_one_of("--session", options.session, names, "a session of the ledger"))
        return NOTHING_FOUND
    return status


def _sum_files(options: argparse.Namespace, output: Output) -> int:
    errors: list[Exception] = []
    # As for a ledger: without one named here, none is opened.
    tracker = Tracker(
        method=options.method,
        gpu=options.gpu,
        ledger=options.ledger,
        disabled=options.ledger is None,
        summary=False,
        spans="off",
        on_error=lambda where, error: errors.append(error),
    )
    backfill = Backfill(tracker, columns=_read_columns(options.columns), strict=options.strict)

    def read_records() -> Iterator[CallRecord]:
        # Validate first: a retry would write the same calls to the ledger twice.
        if options.model is not None:
            tracker.estimation.find_model(options.model)
        check_files(options.paths)
        for file, calls in groupby(backfill.calls(options.paths), key=attrgetter("file")):
            with Session(file):
                for call in calls:
                    record = backfill.record(call)
                    # Stop at the first: a ledger that takes no line takes no later one either.
                    if errors:
                        raise errors[0]
                    yield record

    records = read_records()
    if options.model is not None:
        # To be shown only: the ledger keeps what has been.
        records = (tracker.estimation.estimate_again(record, options.model) for record in records)
    try:
        status = _print_sum(", ".join(options.paths), records, options, output)
    finally:
        for remark in backfill.report.remarks():
            print_error(remark)
    return NOTHING_FOUND if backfill.report.found_nothing else status


def _read_columns(given: str | None) -> dict[str, str]:
    """The columns that ``--columns input=NAME,output=NAME`` names.

    Raises:
        ConfigurationError: It is written in another way.
    """
    columns = {}
    for pair in filter(None, (given or "").split(",")):
        what, separator, name = pair.partition("=")
        if not (separator and what.strip() and name.strip()):
            raise ConfigurationError(
                f"--columns must be pairs such as input=NAME,output=NAME, got {given!r}"
            )
        columns[what.strip()] = name.strip()
    return columns


def _print_sum(
    name: str, records: Iterable[CallRecord], options: argparse.Namespace, output: Output
) -> int:
    """Print the totals of calls, and on standard error what could not be read.

    Args:
        name: What they are called.
        records: The calls.
        options: The command's.
        output: Where to print.

    Raises:
        ConfigurationError: A file cannot be read or written; what was summed up is printed.
        UnreadableLogError: Reading is strict, and an entry cannot be read; likewise.
        KeyboardInterrupt: Somebody interrupts; likewise.
    """
    sums = Groups()
    failure: OSError | UnreadableLogError | KeyboardInterrupt | None = None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            for record in records:
                sums.add(record)
        except (OSError, UnreadableLogError, KeyboardInterrupt) as error:
            failure = error
    for warning in caught:
        print_error(warning.message)
    if options.model is not None:
        name += f", as {options.model}"
    if failure is None or sums.groups:
        _print_groups(name if failure is None else f"{name}, not to the end", sums, options, output)
    if isinstance(failure, OSError):
        raise ConfigurationError(f"{failure.filename or name}: {failure.strerror}")
    if failure is not None:
        raise failure
    return DONE


def _print_groups(name: str, sums: Groups, options: argparse.Namespace, output: Output) -> None:
    if options.format == "csv":
        output.write(session_csv(sums.groups))
    elif options.format == "json":
        output.write_json(session_json(name, {}, sums.groups, sums.reasons))
    else:
        print(session_table(name, sums.groups, sums.reasons), file=output)


def _load_profiles() -> Catalogue:
    """The profiles shipped, and those of the user's file, where a setting names one.

    Raises:
        ConfigurationError: A setting is wrong, or the file cannot be read.
    """
    path = Settings.load({}).profiles
    if path is None:
        return get_catalogue()
    with naming("profiles"):
        return extend_catalogue(get_catalogue(), path)


def _list_models(options: argparse.Namespace, output: Output) -> int:
    rows = [
        (
            model.name,
            two_digits(model.num_active_params / 1e9),
            "-" if model.num_total_params is None else two_digits(model.num_total_params / 1e9),
            model.grade,
            model.source,
        )
        for model in _load_profiles().models
    ]
    print(table(("model", "active 1e9", "total 1e9", "grade", "source"), rows), file=output)
    return DONE


def _list_gpus(options: argparse.Namespace, output: Output) -> int:
    rows = [
        (gpu.name, f"{gpu.peak_flops / 1e12:g}", f"{gpu.power_rating:g}", gpu.grade, gpu.source)
        for gpu in _load_profiles().gpus
    ]
    print(table(("gpu", "peak TFLOP/s", "power W", "grade", "source"), rows), file=output)
    return DONE


def _list_settings(options: argparse.Namespace, output: Output) -> int:
    for argument, variable, default, meaning in settings_rows():
        print(f"{argument}, {variable}" + (f" [{default}]" if default else ""), file=output)
        print(f"    {meaning}", file=output)
    return DONE


class _Command(NamedTuple):
    """One command.

    Attributes:
        name: What is typed.
        help: What it does, in the list of commands.
        run: Does it, and returns the exit status.
        add_arguments: Adds its arguments to its parser.
    """

    name: str
    help: str
    run: Callable[[argparse.Namespace, Output], int]
    add_arguments: Callable[[argparse.ArgumentParser], None] = _add_no_arguments


_COMMANDS = (
    _Command(
        "demo",
        "track recorded calls: no API key, no network, real token counts",
        _run_demo,
        _add_demo_arguments,
    ),
    _Command(
        "run",
        "run a Python program with every OpenAI client tracked, then print the totals",
        _run_program,
        _add_run_arguments,
    ),
    _Command(
        "ledger",
        "sum up a ledger, also by another method or GPU",
        _sum_ledger,
        _add_ledger_arguments,
    ),
    _Command(
        "backfill",
        "sum up the calls in files: batches, transcripts, traces, exports, tables",
        _sum_files,
        _add_backfill_arguments,
    ),
    _Command("models", "list the model profiles, with grade and source", _list_models),
    _Command("gpus", "list the GPU profiles, with grade and source", _list_gpus),
    _Command("settings", "list the settings and their environment variables", _list_settings),
)
