"""The commands that add calls up: ``ledger``, and ``backfill`` from files into one.

Both make records, one after the other, and ``_print_sum`` adds them up: it prints what it has
where a file cannot be read to its end or somebody interrupts, and what was left out. An option of
both is a line in ``_SUM_OPTIONS``.
"""

from __future__ import annotations

import errno
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter

import click

from energy_tracking.calls.carbon import (
    Emissions,
    carbon_notes,
    emissions_of,
    find_intensity,
    sum_emissions,
)
from energy_tracking.calls.one_line import sums_of_record
from energy_tracking.calls.record import CallRecord, Intensity
from energy_tracking.calls.report import session_csv, session_json, session_table
from energy_tracking.calls.session import Session
from energy_tracking.calls.totals import GroupKey, Groups
from energy_tracking.cli.commands import OneOf, command
from energy_tracking.cli.garbage import collected_rarely
from energy_tracking.cli.interruption import stopped_by_signals
from energy_tracking.cli.main import DONE, NOTHING_FOUND
from energy_tracking.cli.options import (
    CARBON_OPTIONS,
    COLUMNS_OPTION,
    MAPPING_OPTIONS,
    STRICT_OPTION,
    MappedNames,
    find_remedy,
    read_columns,
    read_mapping,
    read_power,
    with_options,
)
from energy_tracking.cli.output import Output, print_error, print_remark
from energy_tracking.error_boundary import ErrorBoundaries
from energy_tracking.errors import ConfigurationError, UnreadableLogError, not_one_of
from energy_tracking.estimation import Estimation
from energy_tracking.ledger import read_ledger
from energy_tracking.logs.backfill import Backfill, find_readable_files
from energy_tracking.notices import without_log_lines
from energy_tracking.settings import SettingArguments, Settings
from energy_tracking.terminal import one_line
from energy_tracking.tracker import Tracker


@dataclass(frozen=True, slots=True)
class _Shown:
    """How a sum is shown: options of both commands."""

    output: Output
    model: str | None
    mapped: MappedNames
    format: str
    intensity: Intensity | None


_SUM_OPTIONS = (
    *MAPPING_OPTIONS,
    click.option("--method", metavar="NAME", help="Estimate every call by this method."),
    click.option("--gpu", metavar="NAME", help="Estimate every call on this GPU."),
    click.option("--model", metavar="NAME", help="Estimate as if this model had answered."),
    click.option(
        "--format",
        type=OneOf(("table", "json", "csv")),
        default="table",
        metavar="table|json|csv",
        help="Print a table (the default), JSON or CSV.",
    ),
    *CARBON_OPTIONS,
)


@command("ledger")
@click.argument("path", metavar="PATH")
@click.option("--session", metavar="NAME", help="Only the calls of this session.")
@with_options(*_SUM_OPTIONS)
@click.pass_obj
def ledger(
    output: Output,
    path: str,
    session: str | None,
    model_mapping: tuple[str, ...],
    default_model: str | None,
    method: str | None,
    gpu: str | None,
    model: str | None,
    format: str,
    region: str | None,
    grams_per_kwh: float | None,
) -> int:
    """Sum up a ledger, the file that ENERGY_TRACKING_LEDGER names."""
    if not path:  # an unset variable in a script, mostly
        raise ConfigurationError(f"{path!r}: {os.strerror(errno.ENOENT)}")
    intensity = find_intensity(*read_power(region, grams_per_kwh))
    estimation = None
    mapping = read_mapping(model_mapping)
    if any(given is not None for given in (method, gpu, model, mapping, default_model)):
        settings: SettingArguments = {
            "method": method,
            "gpu": gpu,
            "model_mapping": mapping,
            "default_model": default_model,
        }
        estimation = Estimation(Settings.load(settings))
        if model is not None:
            estimation.find_model(model)
    sessions: set[str] = set()

    def read_records() -> Iterator[CallRecord]:
        for entry in read_ledger(os.path.expanduser(path)):
            sessions.add(entry.record.session)
            if session in (None, entry.record.session):
                yield (
                    estimation.estimate_again(entry.record, model)
                    if estimation is not None
                    else entry.record
                )

    shown = _Shown(output, model, MappedNames(mapping), format, intensity)
    status = _print_sum(session or path, read_records(), shown)
    if not sessions:
        other = "logs other than ledgers: energy-tracking report"
        print_remark(f"no call was found in {path}; {other}")
        return NOTHING_FOUND
    if session is not None and session not in sessions:
        names = sorted(sessions)
        print_error(not_one_of("--session", session, names, "a session of the ledger"))
        return NOTHING_FOUND
    return status


@command("backfill")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@click.option("--ledger", metavar="PATH", help="Append every call and every sum to this ledger.")
@with_options(COLUMNS_OPTION, STRICT_OPTION)
@with_options(*_SUM_OPTIONS)
@click.pass_obj
def backfill(
    output: Output,
    paths: tuple[str, ...],
    ledger: str | None,
    columns: tuple[str, ...],
    strict: bool,
    model_mapping: tuple[str, ...],
    default_model: str | None,
    method: str | None,
    gpu: str | None,
    model: str | None,
    format: str,
    region: str | None,
    grams_per_kwh: float | None,
) -> int:
    """Sum up the calls in files, and append each to a ledger once.

    PATH is a file, a folder, a quoted pattern, or - for standard input: batches, transcripts,
    traces, exports, tables, usage pages.
    """
    intensity = find_intensity(*read_power(region, grams_per_kwh))
    errors: list[Exception] = []
    mapping = read_mapping(model_mapping)
    settings: SettingArguments = {
        "method": method,
        "gpu": gpu,
        "model_mapping": mapping,
        "default_model": default_model,
        "region": region,
        "grams_per_kwh": grams_per_kwh,
    }

    def keep_error(where: str, error: Exception) -> None:
        errors.append(error)

    if ledger is None:
        # Nobody receives the calls, whatever the environment names.
        estimation = Estimation(Settings.load(settings), None, ErrorBoundaries(keep_error))
        count = estimation.record
    else:
        settings |= {"ledger": ledger, "disabled": False, "summary": False, "spans": "off"}
        tracker = Tracker(**settings, on_error=keep_error)
        estimation, count = tracker.estimation, tracker.count
    filled = Backfill(count, ledger, columns=read_columns(columns), strict=strict)

    def read_records() -> Iterator[CallRecord]:
        # Validate first: a retry would write the same calls to the ledger twice.
        if model is not None:
            estimation.find_model(model)
        files = find_readable_files(paths, filled.report.skipped)
        for file, calls in groupby(filled.calls(files), key=attrgetter("file")):
            with Session(file):
                for call in calls:
                    record = filled.record(call)
                    # Stop at the first: a ledger that takes no line takes no later one either.
                    if errors:
                        raise errors[0]
                    yield record

    records: Iterable[CallRecord] = read_records()
    if model is not None:
        # To be shown only: the ledger keeps what has been.
        records = (estimation.estimate_again(record, model) for record in records)
    try:
        shown = _Shown(output, model, MappedNames(mapping), format, intensity)
        status = _print_sum(", ".join(paths), records, shown)
    finally:
        for remark in filled.report.remarks():
            print_remark(remark)
    return NOTHING_FOUND if filled.report.found_nothing else status


def _print_sum(name: str, records: Iterable[CallRecord], shown: _Shown) -> int:
    """Print the totals of calls, and on standard error what could not be read.

    Args:
        name: What they are called.
        records: The calls.
        shown: How to print them.

    Raises:
        ConfigurationError: A file cannot be read or written; what was summed up is printed.
        UnreadableLogError: Reading is strict, and an entry cannot be read; likewise.
        KeyboardInterrupt: Somebody interrupts, or a signal asks for the end; likewise.
    """
    sums, emissions = Groups(), dict[GroupKey, Emissions]()
    failure: OSError | UnreadableLogError | KeyboardInterrupt | None = None
    with (
        warnings.catch_warnings(record=True) as caught,
        stopped_by_signals(),
        without_log_lines(),
        collected_rarely(),
    ):
        warnings.simplefilter("always")
        try:
            for record in records:
                key, intensity = sums.add(record), shown.intensity or record.intensity
                shown.mapped.see(record.request.model, record.response_model)
                if intensity is not None:
                    one = emissions_of(sums_of_record(record), intensity)
                    emissions[key] = emissions[key].plus(one) if key in emissions else one
        except (OSError, UnreadableLogError, KeyboardInterrupt) as error:
            failure = error
    for warning in caught:
        print_remark(warning.message)
    if shown.model is not None:
        name += f", as {shown.model}"
        shown.mapped.see(shown.model)
    if failure is None or sums.groups:
        title = name if failure is None else f"{name}, not to the end"
        _print_groups(title, sums, emissions, shown)
        shown.output.flush()
        remedy = find_remedy(reason for _, reason in sums.reasons)
        for remark in (remedy, shown.mapped.remark()):
            if remark is not None:
                print_remark(remark)
    if isinstance(failure, OSError):
        raise ConfigurationError(f"{failure.filename or name}: {failure.strerror or failure}")
    if failure is not None:
        raise failure
    return DONE


def _print_groups(
    name: str, sums: Groups, emissions: Mapping[GroupKey, Emissions], shown: _Shown
) -> None:
    if shown.format == "csv":
        shown.output.write(session_csv(sums.groups, emissions))
    elif shown.format == "json":
        document = session_json(name, {}, sums.groups, sums.reasons, emissions=emissions)
        shown.output.write_json(document)
    else:
        notes = map(one_line, carbon_notes(sum_emissions(emissions.values())))
        text = session_table(one_line(name), sums.groups, sums.reasons, more_notes=notes)
        print(text, file=shown.output)
