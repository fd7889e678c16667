"""The command ``report``: the energy of everything already logged.

Order of events: the options are checked, and every file that is to be written is refused where it
would write over one that is read; the calls are read, estimated and added up (``reports.collect``)
with a bar on a terminal where it takes long; then the report is written in each form asked for,
what could be read of it too where somebody interrupts. A new form is an option and a line in
``_write`` or ``_print``.
"""

from __future__ import annotations

import errno
import os
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

import click

from energy_tracking.bounds import Bound
from energy_tracking.calls.amounts import format_count
from energy_tracking.calls.carbon import find_intensity
from energy_tracking.cli.commands import NumberIn, command
from energy_tracking.cli.garbage import collected_rarely
from energy_tracking.cli.interruption import stopped_by_signals
from energy_tracking.cli.main import DONE, MISTAKE, NOTHING_FOUND
from energy_tracking.cli.options import (
    CARBON_OPTIONS,
    COLUMNS_OPTION,
    MAPPING_OPTIONS,
    STRICT_OPTION,
    MappedNames,
    read_columns,
    read_mapping,
    read_power,
    with_options,
)
from energy_tracking.cli.output import Output, print_error, print_remark
from energy_tracking.cli.progress import shown_progress
from energy_tracking.cli.threads import without_idle_threads
from energy_tracking.errors import (
    ConfigurationError,
    UnreadableLogError,
    must_be,
    not_one_of,
    say_install,
)
from energy_tracking.estimation import Estimation
from energy_tracking.notices import without_log_lines
from energy_tracking.settings import Settings

BY = ("model", "day", "week", "month", "provider", "tag", "file", "session")
_ENDINGS = {
    "html": (".html", ".htm"),
    "parquet": (".parquet",),
    "plot": (".png", ".svg", ".pdf"),
}
"""What the name of each written file ends in, so that none is written over a log by mistake."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Options:
    """The options of the command, by their names."""

    paths: tuple[str, ...]
    by: tuple[str, ...]
    since: str | None
    until: str | None
    timezone: str
    columns: tuple[str, ...]
    model_mapping: tuple[str, ...]
    default_model: str | None
    method: str | None
    gpu: str | None
    scope: str | None
    region: str | None
    grams_per_kwh: float | None
    top: int | None
    strict: bool
    is_json: bool
    is_csv: bool
    is_markdown: bool
    html: str | None
    parquet: str | None
    plot: str | None


_GROUPS = NumberIn(Bound(1, 1e9, is_whole=True))
_OPTIONS: tuple[Callable[..., Any], ...] = (
    click.option(
        "--by",
        multiple=True,
        metavar="WHAT",
        help=f"Group by one or two of {', '.join(BY)} (default: model).",
    ),
    click.option("--since", metavar="DATE", help="Calls from this day, week, month or time on."),
    click.option(
        "--until", metavar="DATE", help="Calls up to this time, or this whole day, week or month."
    ),
    click.option("--timezone", metavar="ZONE", default="UTC", help="Of days (default: UTC)."),
    COLUMNS_OPTION,
    *MAPPING_OPTIONS,
    click.option("--method", metavar="NAME", help="Estimator: reference or roofline."),
    click.option("--gpu", metavar="NAME", help="GPU profile (see: energy-tracking gpus)."),
    click.option("--scope", metavar="NAME", help="gpu, or with roofline facility."),
    *CARBON_OPTIONS,
    click.option(
        "--top",
        type=_GROUPS,
        metavar="N",
        help="The N dearest groups.",
    ),
    STRICT_OPTION,
    click.option("--json", "is_json", is_flag=True, help="Print JSON."),
    click.option("--csv", "is_csv", is_flag=True, help="Print CSV, a row per group."),
    click.option("--markdown", "is_markdown", is_flag=True, help="Print Markdown."),
    click.option("--html", metavar="FILE", help="Write a page to send on, with charts; - prints."),
    click.option("--parquet", metavar="FILE", help="Write every call, a row each."),
    click.option("--plot", metavar="FILE.png", help="Write the chart (needs matplotlib)."),
)


@command("report")
@click.argument("paths", metavar="FILE...", nargs=-1, required=True)
@with_options(*_OPTIONS)
@click.pass_obj
@without_idle_threads()
def report(output: Output, /, **given: Any) -> int:
    """The energy of calls that are logged already, in any file that has them.

    FILE is a file, a folder, a quoted pattern, or - for standard input: batches, transcripts,
    traces, gateway and observability exports, usage pages, tables. What it holds is recognised
    by its content; a call that is there twice counts once.
    """
    options = _Options(**given)
    shown = [name for name in ("is_json", "is_csv", "is_markdown") if getattr(options, name)]
    if len(shown) + (options.html == "-") > 1:
        given_forms = [f"--{name.removeprefix('is_')}" for name in shown]
        given_forms += ["--html -"] if options.html == "-" else []
        forms = "one of --json, --csv, --markdown and --html -"
        raise ConfigurationError(must_be("what is printed", forms, ", ".join(given_forms)))
    try:
        from energy_tracking.cli.reports.collect import Report  # noqa: F401
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"the report needs the package {error.name!r}; {say_install('report')}"
        ) from None
    with without_log_lines():
        return _Run(options, output).run()


class _Run:
    """One run of the command."""

    def __init__(self, options: _Options, output: Output) -> None:
        from energy_tracking.cli.reports.collect import Collector, Report, Selection, shorten_title
        from energy_tracking.logs.batches.grouping import Grouping
        from energy_tracking.logs.read_report import ReadReport

        self._options = options
        self._output = output
        mapping = read_mapping(options.model_mapping)
        self._mapped = MappedNames(mapping)
        self._settings = Settings.load(
            {
                "method": options.method,
                "gpu": options.gpu,
                "scope": options.scope,
                "default_model": options.default_model,
                "model_mapping": mapping,
            }
        )
        estimation = Estimation(self._settings)
        zone = _read_zone(options.timezone)
        by = _read_by(options.by)
        since = None if options.since is None else _read_time("--since", options.since, zone)[0]
        until = None if options.until is None else _read_time("--until", options.until, zone)[1]
        if since is not None and until is not None and until <= since:
            raise ConfigurationError(must_be("--until", "after --since", options.until))
        # Checked before anything is read.
        region, grams_per_kwh = read_power(options.region, options.grams_per_kwh)
        find_intensity(region, grams_per_kwh)
        read = ReadReport()
        self._files = _find_files(options.paths, read.skipped)
        for name, endings in _ENDINGS.items():
            _check_target(f"--{name}", getattr(options, name), endings, self._files)
        self._report = Report(
            title=shorten_title(options.paths),
            settings=self._settings,
            selection=Selection(
                by=by,
                since=since,
                until=until,
                zone=zone,
                region=region,
                grams_per_kwh=grams_per_kwh,
            ),
            read=read,
            table=Grouping(by),
        )
        self._columns = read_columns(options.columns)
        self._is_full = is_full = options.html is not None or options.plot is not None
        self._collector = Collector(
            self._report, estimation, is_full=is_full, rows=self._open_parquet()
        )
        times = "time" if self._collector.needs_times else "span"
        self._wanted: tuple[str, ...] = ("model", times, "session", "provider")
        if not is_full and options.parquet is None:
            self._wanted = ("model", times, *by)

    def _open_parquet(self) -> Any:
        self._parquet = None
        if self._options.parquet is None:
            return None
        from energy_tracking.cli.reports.data import ParquetWriter

        settings = self._settings
        writer = ParquetWriter(self._options.parquet, settings.method, settings.scope, settings.gpu)
        self._parquet = writer
        return lambda batch, energy: writer.add(batch, energy, self._collector.reasons)

    def run(self) -> int:
        """Read, add up and write; returns the exit status."""
        failure: OSError | UnreadableLogError | KeyboardInterrupt | None = None
        try:
            with stopped_by_signals(), collected_rarely():
                self._read()
        except (OSError, UnreadableLogError, KeyboardInterrupt) as error:
            failure = error
        report = self._report
        report.is_whole = failure is None
        status = DONE
        if report.models.groups or failure is None:
            status = self._write()
            self._output.flush()
        remarks = [*report.read.omissions()]
        if self._options.is_json or self._options.is_csv:
            # A table has these below it.
            remarks += report.read.counted_apart()
        self._mapped.see(*report.names.model.texts)
        for remark in (*remarks, self._mapped.remark()):
            if remark is not None:
                print_remark(remark)
        if isinstance(failure, OSError):
            raise ConfigurationError(
                f"{failure.filename or report.title}: {failure.strerror or failure}"
            )
        if failure is not None:
            raise failure
        read = report.read
        if read.calls + read.sums + read.cache_hits == 0:
            files = format_count(read.files, "file")
            read_as = f", read as {', '.join(sorted(read.formats))}" if read.formats else ""
            print_remark(
                f"no call was found in {files}{read_as}; see the formats in examples/README.md"
            )
            return status or NOTHING_FOUND
        return status

    def _read(self) -> None:
        from energy_tracking.cli.reports.parts import Job, PartReader
        from energy_tracking.logs.batch_reading import read_batches
        from energy_tracking.logs.batches.batch import finish

        read = self._report.read
        job = Job(
            settings=self._settings,
            selection=self._report.selection,
            is_full=self._is_full,
            wanted=self._wanted,
        )
        parts = PartReader(self._report, job)
        with shown_progress(read, len(self._files)), warnings.catch_warnings():
            warnings.simplefilter("always")
            batches = read_batches(
                self._files,
                self._report.names,
                columns=self._columns,
                strict=self._options.strict,
                report=read,
                wanted=self._wanted,
                # Every call is written by one process.
                read_tables=parts.read if self._parquet is None else None,
            )
            try:
                for batch in batches:
                    self._collector.add(batch)
            except (OSError, UnreadableLogError, KeyboardInterrupt) as error:
                for batch in finish(batches, error):
                    self._collector.add(batch)
                raise
        if parts.failure is not None:
            print_remark(
                f"parts of tables that another process was to read were read by this one, which "
                f"takes longer: {type(parts.failure).__name__}: {parts.failure}"
            )

    def _write(self) -> int:
        """Write each form that was asked for; returns the exit status."""
        status = DONE
        for write in (self._write_parquet, self._write_plot, self._write_page):
            try:
                write()
            except ConfigurationError as error:
                # What was read, which may have taken long, is printed all the same.
                print_error(error)
                status = MISTAKE
        self._print()
        return status

    def _write_parquet(self) -> None:
        if self._parquet is not None and not self._parquet.finish():
            path = self._options.parquet
            print_remark(f"--parquet: there was no call to write, so {path} was not made")

    def _write_plot(self) -> None:
        if self._options.plot is not None:
            from energy_tracking.cli.reports.plot import write_plot

            write_plot(self._report, self._options.plot)

    def _write_page(self) -> None:
        if self._options.html not in (None, "-"):
            from energy_tracking.cli.reports.page import report_html

            _write_file(self._options.html, report_html(self._report, self._options.top))

    def _print(self) -> None:
        options, report, output = self._options, self._report, self._output
        if options.html == "-":
            from energy_tracking.cli.reports.page import report_html

            # In ASCII, since what standard output is encoded in is not what a page says.
            page = report_html(report, options.top)
            output.write(page.encode("ascii", "xmlcharrefreplace").decode("ascii"))
        elif options.is_json:
            from energy_tracking.cli.reports.data import report_json

            output.write_json(report_json(report, options.top))
        elif options.is_csv:
            from energy_tracking.cli.reports.data import report_csv

            output.write(report_csv(report, options.top))
        elif options.is_markdown:
            from energy_tracking.cli.reports.text import report_markdown

            print(report_markdown(report, options.top), file=output)
        else:
            from energy_tracking.cli.reports.text import report_text

            print(report_text(report, options.top), file=output)


def _find_files(paths: Sequence[str], skipped: Counter[str]) -> list[str]:
    """The files that are read.

    Args:
        paths: What was given.
        skipped: Counts what is skipped in folders.

    Raises:
        ConfigurationError: A path leads to none, or one cannot be opened.
    """
    from energy_tracking.logs.backfill import find_readable_files

    return find_readable_files(paths, skipped)


def _read_by(given: Sequence[str]) -> tuple[str, ...]:
    """What to group by.

    Raises:
        ConfigurationError: It is not one or two of ``BY``.
    """
    by = tuple(name.strip() for text in given for name in text.split(",")) or ("model",)
    for name in by:
        if name not in BY:
            raise ConfigurationError(not_one_of("--by", name, BY))
    if len(by) > 2 or len(set(by)) < len(by):
        raise ConfigurationError(must_be("--by", "one or two different names", ",".join(by)))
    return by


def _read_zone(name: str) -> tzinfo:
    """A time zone.

    Raises:
        ConfigurationError: There is none of that name.
    """
    if name.upper() == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        zones = available_timezones()
        message = not_one_of("--timezone", name, sorted(zones), "a zone such as Europe/Berlin")
        raise ConfigurationError(message) from None


def _read_time(option: str, given: str, zone: tzinfo) -> tuple[datetime, datetime]:
    """The start of a time, and its end: of a day, week or month the midnight after it.

    Raises:
        ConfigurationError: It is neither a day nor a week nor a month nor a time.
    """
    try:
        if len(given) <= 10:
            is_month = len(given) == len("2025-11")
            is_week = len(given) == len("2025-W48") and "-W" in given
            day = date.fromisoformat(f"{given}-01" if is_month else given)
            length = timedelta(days=31 if is_month else 7 if is_week else 1)
            # The last day that there is stands for no end.
            after = day + min(length, date.max - day)
            after = after.replace(day=1) if is_month else after
            start, end = (
                datetime(each.year, each.month, each.day, tzinfo=zone) for each in (day, after)
            )
            return start, end
        moment = datetime.fromisoformat(given)
    except (ValueError, OverflowError):
        what = "a day or time such as 2025-11-30, 2025-W48, 2025-11 or 2025-11-30T12:00"
        raise ConfigurationError(must_be(option, what, given)) from None
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)
    return moment, moment


def _check_target(
    option: str, path: str | None, endings: Sequence[str], files: Sequence[str]
) -> None:
    """Refuse to write over a file that is read, under a name that may be meant as one, or nowhere.

    Raises:
        ConfigurationError: It is so.
    """
    if path is None or (path == "-" and option == "--html"):
        return
    if not path.lower().endswith(tuple(endings)):
        what = f"a file whose name ends in {' or '.join(endings)}"
        raise ConfigurationError(must_be(option, what, path))
    if not os.path.isdir(os.path.dirname(path) or "."):
        raise ConfigurationError(f"{path}: {os.strerror(errno.ENOENT)}")
    for file in files:
        if os.path.exists(path) and os.path.exists(file) and os.path.samefile(path, file):
            raise ConfigurationError(must_be(option, "another file than those read", path))


def _write_file(path: str, text: str) -> None:
    """Write a file.

    Raises:
        ConfigurationError: It cannot be written.
    """
    try:
        with open(path, "w", encoding="utf-8", errors="replace", newline="\n") as file:
            file.write(text)
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from None
