"""``watch``: a ledger as it grows, in the terminal.

``Tail`` reads what is new in the file, also after it was replaced or cut; ``Watched`` adds the
calls up; ``_format_frame`` writes them in 80 columns, and rich puts one frame over the last one.
Where nobody watches, in a pipe or with ``--once``, one frame is all. A further line of the frame
is one of ``_format_frame``.
"""

from __future__ import annotations

import os
import sys
import textwrap
import time
from collections import deque
from collections.abc import Iterator
from contextlib import closing, suppress
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import BinaryIO

import click

from energy_tracking.calls.amounts import (
    choose_unit,
    count_text,
    energy_text,
    format_amount,
    format_count,
    two_digits,
)
from energy_tracking.calls.budget import read_energy_wh
from energy_tracking.calls.carbon import Emissions, carbon_notes, emissions_of, find_intensity
from energy_tracking.calls.one_line import sums_of_record
from energy_tracking.calls.record import CallRecord, Intensity
from energy_tracking.calls.report import cut_middle, energies_of, table
from energy_tracking.calls.totals import Groups, Totals, sum_of, sums_by
from energy_tracking.cli.commands import command
from energy_tracking.cli.interruption import stopped_by_signals
from energy_tracking.cli.main import DONE, NOTHING_FOUND
from energy_tracking.cli.options import CARBON_OPTIONS, read_power, with_options
from energy_tracking.cli.output import Output
from energy_tracking.errors import ConfigurationError, must_be
from energy_tracking.ledger import LedgerEntry, Replaced, find_replaced, parse_line
from energy_tracking.terminal import WIDTH, one_line, printable
from energy_tracking.units import wh_from_joules

POWER_WINDOW = timedelta(seconds=60)
"""What the power is the mean of."""
POLL_SECONDS = 0.5
"""How often the file is looked at [s]."""
READ_BYTES = 4 * 2**20
"""How much is read before the next frame is shown [byte]."""
MODELS_SHOWN, CALLS_SHOWN = 8, 8
"""Rows of each table [1]."""
NAME_WIDTH = 26
"""Characters of a name [1]."""


@command("watch")
@click.argument("path", metavar="LEDGER")
@click.option("--budget", metavar="ENERGY", help="Show what is left of it, e.g. of 5Wh.")
@with_options(*CARBON_OPTIONS)
@click.option("--once", is_flag=True, help="Print what there is now, and end.")
@click.pass_obj
def watch(
    output: Output,
    path: str,
    budget: str | None,
    region: str | None,
    grams_per_kwh: float | None,
    once: bool,
) -> int:
    """Watch a ledger grow: power now, by model, the last calls, the total, the budget left.

    LEDGER is the file that ENERGY_TRACKING_LEDGER names. Ctrl-C ends it.
    """
    path = os.path.expanduser(path)
    if os.path.isdir(path):
        raise ConfigurationError(must_be("LEDGER", "a file", path))
    intensity = find_intensity(*read_power(region, grams_per_kwh))
    budget_wh = None if budget is None else read_energy_wh("--budget", budget)
    watched = Watched(path, budget_wh, intensity)
    with closing(Tail(path)) as tail:
        if not once and sys.stdout is not None and sys.stdout.isatty():
            # Ctrl-C is how it ends.
            with suppress(KeyboardInterrupt), stopped_by_signals():
                _show_live(tail, watched)
            return DONE
        try:
            while tail.read_into(watched):
                pass
        except OSError as error:
            raise ConfigurationError(f"{path}: {error.strerror}") from None
    print("\n".join(_format_frame(watched, datetime.now(UTC))), file=output)
    return DONE if watched.sums.groups else NOTHING_FOUND


def _show_live(tail: Tail, watched: Watched) -> None:
    """Show one frame after the other, until somebody interrupts."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console()

    def frame() -> Text:
        lines = _format_frame(watched, datetime.now(UTC))
        # What does not fit would be scrolled away, and shown again with each frame.
        shown = "\n".join(lines[: max(1, console.height - 1)])
        return Text(printable(shown, sys.stdout), no_wrap=True, overflow="crop")

    with Live(frame(), console=console, auto_refresh=False, transient=False) as live:
        while True:
            try:
                has_more = tail.read_into(watched)
                watched.problem = None
            except OSError as error:
                has_more, watched.problem = False, f"waiting for the file: {error.strerror}"
            live.update(frame(), refresh=True)
            if not has_more:
                time.sleep(POLL_SECONDS)


class Tail:
    """Reads what is new in a file that grows, is cut, or is replaced by another one."""

    def __init__(self, path: str) -> None:
        """Start at the beginning.

        Args:
            path: The file.
        """
        self._path = path
        self._file: BinaryIO | None = None
        self._begun = b""
        self._replaced = Replaced()
        self._is_at_start = True

    def read_into(self, watched: Watched) -> bool:
        """Add the whole lines that are new, up to ``READ_BYTES``; whether there may be more.

        Raises:
            OSError: The file cannot be read.
        """
        if self._file is None:
            self._file = open(self._path, "rb")  # noqa: SIM115 until another one has its name
        if self._is_at_start:
            self._replaced, self._is_at_start = find_replaced(self._path), False
            watched.keep()
        piece = self._file.read(READ_BYTES)
        if not piece:
            return self._starts_anew(self._file)
        *lines, self._begun = (self._begun + piece).split(b"\n")
        for entry in chain.from_iterable(parse_line(line) for line in lines if line.strip()):
            if not self._add_entry(entry, watched):
                # It replaces one that was added up.
                watched.go_back()
                self._go_to_start(self._file)
                break
        return True

    def _go_to_start(self, file: BinaryIO) -> None:
        file.seek(0)
        self._begun, self._is_at_start = b"", True

    def _add_entry(self, entry: LedgerEntry | None, watched: Watched) -> bool:
        """Add a call, unless a later one replaces it; False where that is to be looked up."""
        if entry is None:
            watched.add(None)
            return True
        record = entry.record
        ids = record.response_id, record.log_identity
        if record.replaces and not self._replaced.expects(*ids):
            return False
        if self._replaced.admits(*ids, record.replaces):
            watched.add(entry)
        return True

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()

    def _starts_anew(self, file: BinaryIO) -> bool:
        """Go to the beginning where another file has the name by now, or this one was cut.

        Raises:
            OSError: There is no file of that name.
        """
        named, known = os.stat(self._path), os.fstat(file.fileno())
        if (named.st_dev, named.st_ino) != (known.st_dev, known.st_ino):
            # What was written to the old one meanwhile is read: it was at its end.
            file.close()
            self._file, self._begun, self._is_at_start = None, b"", True
        elif known.st_size < file.tell():
            self._go_to_start(file)
        else:
            return False
        return True


class Watched:
    """The calls of a ledger so far.

    Attributes:
        name: Name of the file.
        budget_wh: A budget that the total is held against [Wh], if there is one.
        sums: Totals by what calls have in common.
        emissions: What they emit, if the electricity of any is known.
        last: The last calls, the latest at the end; sums over several are none.
        unread: Lines that are no calls [1].
        problem: Why the file cannot be read just now.
    """

    def __init__(
        self, path: str, budget_wh: float | None, intensity: Intensity | None = None
    ) -> None:
        """Start at zero.

        Args:
            path: The file.
            budget_wh: The budget [Wh].
            intensity: Of the electricity, in place of what the calls were recorded with.
        """
        self.name = one_line(os.path.basename(path))
        self.budget_wh = budget_wh
        self.sums = Groups()
        self.emissions: Emissions | None = None
        self._intensity = intensity
        self.last: deque[LedgerEntry] = deque(maxlen=CALLS_SHOWN)
        self.unread = 0
        self.problem: str | None = None
        self._recent: list[LedgerEntry] = []
        self.keep()

    def keep(self) -> None:
        """Keep what there is, as a file begins of which a line may replace an earlier one."""
        self._kept = deepcopy((self.sums, self.emissions, self.unread))
        self._kept_entries = tuple(self.last), tuple(self._recent)

    def go_back(self) -> None:
        """Go back to what was kept."""
        self.sums, self.emissions, self.unread = deepcopy(self._kept)
        last, recent = self._kept_entries
        self.last.clear()
        self.last.extend(last)
        self._recent = list(recent)

    def add(self, entry: LedgerEntry | None) -> None:
        """Count a line, or that it could not be read."""
        if entry is None:
            self.unread += 1
            return
        self.sums.add(entry.record)
        intensity = self._intensity or entry.record.intensity
        if intensity is not None:
            one = emissions_of(sums_of_record(entry.record), intensity)
            self.emissions = one if self.emissions is None else self.emissions.plus(one)
        if entry.record.requests != 1:
            # A sum is none of the last calls, and its energy was not used just now.
            return
        self.last.append(entry)
        # Most of what is there at the beginning is of long ago.
        if _is_recent(entry, datetime.now(UTC)):
            self._recent.append(entry)

    def recent(self, now: datetime) -> Totals:
        """Sums over the calls that have ended within ``POWER_WINDOW``."""
        self._recent = [entry for entry in self._recent if _is_recent(entry, now)]
        totals = Totals()
        for entry in self._recent:
            totals.add(entry.record)
        return totals


def _is_recent(entry: LedgerEntry, now: datetime) -> bool:
    return now - entry.recorded_at <= POWER_WINDOW


def _format_frame(watched: Watched, now: datetime) -> list[str]:
    """The lines of a frame.

    Args:
        watched: The calls.
        now: The time.
    """
    total, recent = sum_of(watched.sums.groups.values()), watched.recent(now)
    calls = format_count(total.requests, "call")
    seconds = POWER_WINDOW.total_seconds()
    lines = [
        f"{_short(watched.name)}: {calls}, {_format_energies(total)}",
        f"power now: {_power_text(recent.total_energy_joules / seconds)}"
        f" ({_power_text(recent.calibrated_energy_joules / seconds)} calibrated), mean of"
        f" {format_count(recent.calls, 'call')} in {seconds:g} s",
    ]
    if watched.budget_wh is not None:
        left = watched.budget_wh - total.total_energy_wh
        state = f"{energy_text(left)} left" if left > 0 else f"used up, {energy_text(-left)} over"
        lines.append(f"budget of {energy_text(watched.budget_wh)}: {state}")
    for note in carbon_notes(watched.emissions):
        lines += textwrap.wrap(one_line(note), WIDTH)
    if total.aggregates:
        inside = f"{total.aggregate_requests:,} of the calls"
        lines.append(f"{format_count(total.aggregates, 'sum')} over several requests: {inside}")
    if watched.unread:
        lines.append(f"{format_count(watched.unread, 'line')} left out, which are no calls")
    if watched.problem is not None:
        lines.append(watched.problem)
    if watched.sums.groups:
        lines += ["", *_format_models(watched, total), "", *_format_last(watched)]
    return lines


def _format_energies(totals: Totals) -> str:
    text = energy_text(totals.total_energy_wh)
    if totals.calibrated_calls:
        text += f" ({energy_text(totals.calibrated_energy_wh)} calibrated)"
    if totals.unestimated_calls:
        text += f", {totals.unestimated_calls:,} unestimated"
    return text


def _power_text(watts: float) -> str:
    return f"{two_digits(watts)} W" if watts >= 1 or watts == 0 else f"{two_digits(watts * 1e3)} mW"


def _format_models(watched: Watched, total: Totals) -> list[str]:
    """A row for each model, those of the most energy first.

    Args:
        watched: The calls.
        total: The sum over them.
    """
    by_model = sums_by(watched.sums.groups, lambda key: key.model)
    ranked = sorted(by_model.items(), key=lambda row: (-row[1].total_energy_nanojoules, row[0]))
    unit, size = choose_unit(total.total_energy_wh)
    rows = [("model", "calls", "in", "out", unit, "calibrated", "share")]
    for name, totals in ranked[:MODELS_SHOWN]:
        share = totals.total_energy_wh / (total.total_energy_wh or 1.0)
        rows.append(
            (
                _short(name),
                f"{totals.requests:,}",
                count_text(totals.input_tokens),
                count_text(totals.output_tokens),
                _format_amount(totals, size),
                _format_amount(totals, size, calibrated=True),
                f"{share:.0%}",
            )
        )
    lines = table(rows[0], rows[1:]).splitlines()
    more = len(ranked) - MODELS_SHOWN
    return lines + [f"and {format_count(more, 'model')} more"] * (more > 0)


def _format_amount(totals: Totals, size: float, *, calibrated: bool = False) -> str:
    """An energy in units of ``size`` [Wh]; ``-`` where it is not known of any call."""
    energies = energies_of(totals, calibrated=calibrated)
    return "-" if energies is None else format_amount(energies[0] / size)


def _format_last(watched: Watched) -> Iterator[str]:
    """A row for each of the last calls, the latest first."""
    rows = [
        (
            f"{entry.recorded_at.astimezone():%H:%M:%S} {_short(entry.record.model)}",
            *_count_cells(entry.record),
            _call_energy(entry.record),
        )
        for entry in reversed(watched.last)
    ]
    yield from table(("last calls", "in", "out", "energy"), rows).splitlines()


def _count_cells(record: CallRecord) -> tuple[str, str]:
    usage = record.usage
    if usage is None:
        return "-", "-"
    return count_text(usage.input_tokens), count_text(usage.output_tokens)


def _call_energy(record: CallRecord) -> str:
    joules = record.total_energy_joules
    if joules is None:
        return _short(record.error_type) if record.error_type else record.status
    return energy_text(wh_from_joules(joules))


def _short(name: str) -> str:
    return cut_middle(one_line(name), NAME_WIDTH)
