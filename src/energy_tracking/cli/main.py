"""The ``energy-tracking`` command."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import attrgetter

from energy_tracking.calls.record import CallRecord
from energy_tracking.calls.report import (
    session_csv,
    session_json,
    session_table,
    table,
    two_digits,
)
from energy_tracking.calls.session import Session
from energy_tracking.calls.totals import grouped
from energy_tracking.cli.run import run_program
from energy_tracking.errors import ConfigurationError, UnreadableLogError
from energy_tracking.estimation import Estimation
from energy_tracking.ledger import read_ledger
from energy_tracking.logs.backfill import Backfill, check_files
from energy_tracking.profiles.files import get_catalogue
from energy_tracking.settings import Settings, settings_rows
from energy_tracking.tracker import Tracker
from energy_tracking.version import VERSION


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        status: int = options.run(options)
    except (ConfigurationError, UnreadableLogError) as error:
        print(f"energy-tracking: {error}", file=sys.stderr)
        return 2
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="energy-tracking",
        description="How much energy your LLM calls use.",
    )
    parser.add_argument("--version", action="version", version=f"energy-tracking {VERSION}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    demo = commands.add_parser(
        "demo", help="track recorded calls: no API key, no network, real token counts"
    )
    demo.add_argument("--gpu", help="GPU profile (default: ENERGY_TRACKING_GPU, else H100)")
    demo.add_argument(
        "--method", help="estimator (default: ENERGY_TRACKING_METHOD, else reference)"
    )
    demo.add_argument("--otlp", metavar="URL", help="also send it here, e.g. http://localhost:4318")
    demo.set_defaults(run=_demo)

    run_it = commands.add_parser(
        "run", help="run a Python program with every OpenAI client tracked, then print the totals"
    )
    run_it.add_argument("-m", action="store_true", dest="as_module", help="PROGRAM is a module")
    run_it.add_argument("program", nargs=argparse.REMAINDER, help="PROGRAM [ARGUMENT ...]")
    run_it.set_defaults(
        run=lambda options: run_program(options.program, as_module=options.as_module)
    )

    ledger = commands.add_parser("ledger", help="sum up a ledger, also by another method or GPU")
    ledger.add_argument("path", metavar="PATH", help="the file named by ENERGY_TRACKING_LEDGER")
    ledger.add_argument("--session", metavar="NAME", help="only the calls of this session")
    ledger.set_defaults(run=_ledger)

    backfill = commands.add_parser(
        "backfill", help="sum up the calls in files: batches, transcripts, traces, exports, tables"
    )
    backfill.add_argument(
        "paths",
        metavar="PATH",
        nargs="+",
        help="a file, a folder, a quoted pattern, or - for standard input",
    )
    backfill.add_argument("--ledger", metavar="PATH", help="append every call to this ledger")
    backfill.add_argument(
        "--columns",
        metavar="input=NAME,output=NAME",
        help="the columns of a table that is not recognised; also cached, reasoning, model, time, "
        "id, session, requests, provider",
    )
    backfill.add_argument(
        "--strict", action="store_true", help="stop at the first entry that cannot be read"
    )
    backfill.set_defaults(run=_backfill)

    for command in (ledger, backfill):
        command.add_argument("--method", help="estimate every call by this method")
        command.add_argument("--gpu", help="estimate every call on this GPU")
        command.add_argument("--model", help="estimate every call as if this model had answered")
        command.add_argument("--format", choices=("table", "json", "csv"), default="table")

    for name, run, text in (
        ("models", _models, "list the model profiles, with grade and source"),
        ("gpus", _gpus, "list the GPU profiles, with grade and source"),
        ("settings", _settings, "list the settings and their environment variables"),
    ):
        commands.add_parser(name, help=text).set_defaults(run=run)
    return parser


def _demo(options: argparse.Namespace) -> int:
    try:
        from energy_tracking.demo.run import run_demo
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"the demo needs the package {error.name!r}; install it with: "
            "pip install 'energy-tracking[demo]'"
        ) from None
    return run_demo(sys.stdout, gpu=options.gpu, method=options.method, otlp_endpoint=options.otlp)


def _ledger(options: argparse.Namespace) -> int:
    again = (options.method, options.gpu, options.model) != (None, None, None)
    estimation = None
    if again:
        estimation = Estimation(Settings.load({"method": options.method, "gpu": options.gpu}))
        if options.model is not None:
            estimation.find_model(options.model)
    records = (
        estimation.estimate_again(entry.record, options.model) if estimation else entry.record
        for entry in read_ledger(options.path)
        if options.session in (None, entry.record.session)
    )
    return _print_sum(options.session or options.path, records, options)


def _backfill(options: argparse.Namespace) -> int:
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
    backfill = Backfill(tracker, columns=_columns(options.columns), strict=options.strict)

    def records() -> Iterator[CallRecord]:
        # What is wrong is said before any is in the ledger, where it would be twice next time.
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

    told = records()
    if options.model is not None:
        # To be shown only: the ledger keeps what has been.
        told = (tracker.estimation.estimate_again(record, options.model) for record in told)
    status = _print_sum(", ".join(options.paths), told, options)
    for remark in backfill.report.remarks():
        print(f"energy-tracking: {remark}", file=sys.stderr)
    return status or int(backfill.report.found_nothing)


def _columns(given: str | None) -> dict[str, str]:
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


def _print_sum(name: str, records: Iterable[CallRecord], options: argparse.Namespace) -> int:
    """Print the totals of these calls, and on stderr what could not be read."""
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            groups, reasons = grouped(records)
    except OSError as error:
        raise ConfigurationError(f"{error.filename or name}: {error.strerror}") from None
    for warning in caught:
        print(f"energy-tracking: {warning.message}", file=sys.stderr)
    if options.model is not None:
        name += f", as {options.model}"
    if options.format == "csv":
        print(session_csv(groups), end="")
    elif options.format == "json":
        print(session_json(name, {}, groups, reasons))
    else:
        print(session_table(name, groups, reasons))
    return 0


def _models(options: argparse.Namespace) -> int:
    rows = [
        (
            model.name,
            two_digits(model.num_active_params / 1e9),
            "-" if model.num_total_params is None else two_digits(model.num_total_params / 1e9),
            model.grade,
            model.source,
        )
        for model in get_catalogue().models
    ]
    print(table(("model", "active 1e9", "total 1e9", "grade", "source"), rows))
    return 0


def _gpus(options: argparse.Namespace) -> int:
    rows = [
        (gpu.name, f"{gpu.peak_flops / 1e12:g}", f"{gpu.power_rating:g}", gpu.grade, gpu.source)
        for gpu in get_catalogue().gpus
    ]
    print(table(("gpu", "peak TFLOP/s", "power W", "grade", "source"), rows))
    return 0


def _settings(options: argparse.Namespace) -> int:
    for argument, variable, default, meaning in settings_rows():
        print(f"{argument}, {variable}" + (f" [{default}]" if default else ""))
        print(f"    {meaning}")
    return 0
