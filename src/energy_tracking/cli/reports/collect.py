"""Add logged calls up into a ``Report``: everything that the ways of showing one need.

Order of events: calls are read in batches (``logs.batches``), those outside of the time asked for
are left out, the rest is estimated (``energy`` there) and added up for every grouping that the
output needs (``grouping``). Parts of large tables may each be read into a report of their own,
which the whole takes in (``parts``). A further grouping is a field of ``Report`` and a line in
``Collector``.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from typing import Any

import numpy as np

from energy_tracking.calls.amounts import format_count
from energy_tracking.calls.carbon import Carbon, carbon
from energy_tracking.calls.report import CALIBRATED
from energy_tracking.calls.totals import MAX_GROUPS, OTHER, EnergyKind, Totals
from energy_tracking.estimation import Estimation
from energy_tracking.logs.batches.batch import BatchNames, CallBatch, shorten
from energy_tracking.logs.batches.dimensions import DIMENSIONS, LocalHours, find_unique
from energy_tracking.logs.batches.energy import BatchEnergy, BatchEstimator, cut_by_model
from energy_tracking.logs.batches.grouping import Grouping, GroupSums, Of, build_sums, sum_groups
from energy_tracking.logs.files.opening import STANDARD_INPUT
from energy_tracking.logs.read_report import ReadReport
from energy_tracking.settings import Settings
from energy_tracking.units import nanojoules_from_joules

Rows = Callable[[CallBatch, BatchEnergy], None]
"""Takes every batch that is in the report, with its energy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which calls a report has, and how they are grouped.

    Attributes:
        by: What the table groups by, names of ``DIMENSIONS``.
        since: Calls from then on.
        until: Calls before then.
        zone: The time zone of days, weeks and months.
        region: Where the electricity is said to come from.
        grams_per_kwh: Or how much CO2e it has [g/kWh].
    """

    by: tuple[str, ...] = ("model",)
    since: datetime | None = None
    until: datetime | None = None
    zone: tzinfo = UTC
    region: str | None = None
    grams_per_kwh: float | None = None

    @property
    def has_carbon(self) -> bool:
        """Whether emissions are asked for."""
        return self.region is not None or self.grams_per_kwh is not None


@dataclass(slots=True, kw_only=True)
class Report:
    """Logged calls, added up.

    Attributes:
        title: What they are called.
        settings: How they were estimated.
        selection: Which calls are in it.
        read: What reading found and left out.
        names: The names in the groups.
        table: Sums by what was asked for.
        models: Sums by model.
        hours: Sums by hour and model.
        sessions: Sums by session and model.
        reasons: Calls without energy by (model, reason).
        without_time: Calls left out of a time that was asked for, as they state none.
        outside: Calls left out as they lie outside of it.
        is_whole: Whether reading came to its end.
    """

    title: str
    settings: Settings
    selection: Selection
    read: ReadReport
    names: BatchNames = field(default_factory=BatchNames)
    table: Grouping
    models: Grouping = field(default_factory=lambda: Grouping(("model",)))
    hours: Grouping = field(default_factory=lambda: Grouping(("hour", "model")))
    sessions: Grouping = field(default_factory=lambda: Grouping(("session", "model")))
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)
    without_time: int = 0
    outside: int = 0
    is_whole: bool = True

    def __post_init__(self) -> None:
        """Add up once what is asked for twice."""
        if self.table.by == self.models.by:
            self.models = self.table

    def list_groupings(self, *, is_full: bool = True) -> list[Grouping]:
        """What is added up, each once.

        Args:
            is_full: Hours and sessions too, for a page.
        """
        listed = [self.table, self.models, *([self.hours, self.sessions] if is_full else [])]
        return list({id(one): one for one in listed}.values())

    def take_in(self, part: Report) -> None:
        """Add the calls of a part, which was read for itself with the same selection."""
        numbers = self.names.take_in(part.names)
        for own, other in zip(self.list_groupings(), part.list_groupings(), strict=True):
            own.take_in(other, numbers)
        self.add_reasons(part.reasons.items())
        self.without_time += part.without_time
        self.outside += part.outside
        self.read.add(part.read)

    def add_reasons(self, found: Iterable[tuple[tuple[str, str], int]]) -> None:
        """Count calls without energy by (model, reason)."""
        for (model, reason), count in found:
            is_full = (model, reason) not in self.reasons and len(self.reasons) >= MAX_GROUPS
            self.reasons[OTHER if is_full else model, reason] += count

    @property
    def ranked_reasons(self) -> list[tuple[tuple[str, str], int]]:
        """The reasons with their counts, from the most frequent on."""
        return sorted(self.reasons.items(), key=lambda item: (-item[1], item[0]))

    @property
    def first(self) -> float:
        """When the first call was [s since 1970], infinite where no call says."""
        return self.read.first

    @property
    def last(self) -> float:
        """When the last one was [s since 1970], likewise."""
        return self.read.last

    @property
    def kind(self) -> EnergyKind:
        """What the estimates are: method and scope."""
        return EnergyKind(self.settings.method, self.settings.scope)

    @property
    def total(self) -> GroupSums:
        """The sums over all calls, measured ones too."""
        return self.models.total()

    @property
    def sums(self) -> dict[Of, GroupSums]:
        """The sums of each kind of row, where there is any."""
        sums: dict[Of, GroupSums] = {}
        for key, group in sorted(self.models.groups.items()):
            sums.setdefault(Of(key[-1]), GroupSums()).add(group)
        return dict(sorted(sums.items()))

    @property
    def has_calibrated(self) -> bool:
        """Whether a calibrated number stands beside the method's own."""
        return self.kind != CALIBRATED and self.total.calibrated_calls > 0

    def carbon_of(self, sums: GroupSums, *, calibrated: bool = False) -> Carbon | None:
        """Emissions of an energy; None where nobody asked for them.

        Args:
            sums: The energy.
            calibrated: Take the calibrated one.
        """
        selection = self.selection
        if not selection.has_carbon:
            return None
        name = "calibrated_energy" if calibrated else "total_energy"
        ends = ("joules", "low_joules", "high_joules")
        mean, low, high = (nanojoules_from_joules(getattr(sums, f"{name}_{end}")) for end in ends)
        totals = Totals(
            total_energy_nanojoules=mean,
            total_energy_low_nanojoules=low,
            total_energy_high_nanojoules=high,
        )
        return carbon(totals, region=selection.region, grams_per_kwh=selection.grams_per_kwh)


class Collector:
    """Adds batches to a report.

    Attributes:
        report: The report.
        needs_times: Whether the time of each call is looked at, not the first and the last alone.
    """

    def __init__(
        self, report: Report, estimation: Estimation, *, is_full: bool, rows: Rows | None = None
    ) -> None:
        """Prepare.

        Args:
            report: Gets the sums.
            estimation: How calls are estimated.
            is_full: Add up hours and sessions too, for a page.
            rows: Takes every call.
        """
        self.report = report
        self._estimator = BatchEstimator(estimation)
        self._hours = LocalHours(report.selection.zone)
        self._groupings = report.list_groupings(is_full=is_full)
        self._needs_hours = any(one.needs_hours for one in self._groupings)
        self._rows = rows
        selection = report.selection
        self.needs_times = (
            self._needs_hours
            or rows is not None
            or selection.since is not None
            or selection.until is not None
        )

    @property
    def reasons(self) -> list[str]:
        """What the numbers of reasons in energies stand for."""
        return self._estimator.reasons.texts

    def add(self, batch: CallBatch) -> None:
        """Add a batch."""
        chosen = self._select(batch)
        if not len(chosen):
            return
        parts: Iterable[CallBatch] = (chosen,)
        if self._rows is None and chosen.is_plain:
            # What is only added up may come in any order.
            parts = cut_by_model(chosen)
        made = []
        for part in parts:
            energy = self._estimator.estimate(part)
            made.append((self._add_up(part, energy), self._find_reasons(part, energy)))
        # All are added up before any is changed: who interrupts this finds them alike.
        for groups, reasons in made:
            for grouping, added in zip(self._groupings, groups, strict=True):
                grouping.add(added)
            self.report.add_reasons(reasons)
        time = shorten(chosen.time)
        first, last = time.min(), time.max()
        if not np.isfinite(first):
            # NaN, which says that a time is not known, is passed over.
            first, last = np.fmin.reduce(time), np.fmax.reduce(time)
        if np.isfinite(first):
            self.report.read.add_span(first, last)
        if self._rows is not None:
            self._rows(chosen, energy)

    def _select(self, batch: CallBatch) -> CallBatch:
        selection, report = self.report.selection, self.report
        if selection.since is None and selection.until is None:
            return batch
        time = batch.time
        is_known = np.isfinite(time)
        is_inside = is_known.copy()
        if selection.since is not None:
            is_inside &= time >= selection.since.timestamp()
        if selection.until is not None:
            is_inside &= time < selection.until.timestamp()
        # A sum over an unknown number of requests is at least one.
        requests = np.maximum(batch.requests, 1)
        report.without_time += int(requests[~is_known].sum())
        report.outside += int(requests[is_known & ~is_inside].sum())
        return batch.select(np.flatnonzero(is_inside))

    def _add_up(self, part: CallBatch, energy: BatchEnergy) -> list[Mapping[tuple[int, ...], Any]]:
        """The sums over a part of a batch, by the groups of each grouping."""
        sums = build_sums(part, energy)
        hours = self._hours.of(part.time) if self._needs_hours else None
        return [grouping.add_up(part, hours, sums) for grouping in self._groupings]

    def _find_reasons(
        self, part: CallBatch, energy: BatchEnergy
    ) -> list[tuple[tuple[str, str], int]]:
        """Model and reason of the calls without energy, and how many they are."""
        if not (shorten(energy.reason) >= 0).any():
            return []
        is_without = energy.reason >= 0
        reasons, models = self._estimator.reasons.texts, part.names.model.texts
        pairs = part.model[is_without].astype(np.int64) * len(reasons) + energy.reason[is_without]
        unique, places = find_unique(pairs)
        # A sum over an unknown number of requests is at least one.
        counts = np.bincount(places, np.maximum(part.requests[is_without], 1)).astype(np.int64)
        found = []
        for pair, count in zip(unique.tolist(), counts.tolist(), strict=True):
            model, reason = divmod(pair, len(reasons))
            name = "a model not named" if model < 0 else models[model]
            found.append(((name, reasons[reason]), count))
        return found


Row = tuple[tuple[str, ...], Of, GroupSums]
"""Labels of a group, what it is the sum of, its sums."""


def rows_of(grouping: Grouping, names: BatchNames, top: int | None) -> list[Row]:
    """The groups of a grouping, in time or from the dearest on.

    Args:
        grouping: The grouping.
        names: The names in it.
        top: Groups to be kept, beyond which they join one of "others"; None: all.
    """

    def cost(item: tuple[Any, GroupSums]) -> tuple[float, float]:
        sums = item[1]
        return (-sums.total_energy_joules, -(sums.input_tokens + sums.output_tokens))

    groups = sorted(grouping.groups.items(), key=cost)
    kept, others = groups, groups[:0]
    if top is not None and len(groups) > top:
        kept, others = groups[:top], groups[top:]
    if grouping.by and DIMENSIONS[grouping.by[0]].is_time:
        # Calls without a time come last.
        kept = sorted(kept, key=lambda item: (item[0][0] < 0, item[0][0]))
    rows = [(grouping.labels(key, names), Of(key[-1]), sums) for key, sums in kept]
    for of in Of:
        rest = [sums for key, sums in others if key[-1] == of]
        if rest:
            label = (format_count(len(rest), "other"), *[""] * (len(grouping.by) - 1))
            rows.append((label, of, sum_groups(rest)))
    return rows


def mark_labels(row: Row) -> tuple[str, ...]:
    """The labels of a row, the first with what is peculiar to its kind."""
    labels, of, _ = row
    return labels if of is Of.ESTIMATES else (f"{labels[0]} ({of.label})", *labels[1:])


def shorten_title(paths: Sequence[str]) -> str:
    """What the calls of several files are called."""
    names = ["standard input" if path == STANDARD_INPUT else _name_folder(path) for path in paths]
    if len(names) <= 3:
        return ", ".join(names)
    return f"{names[0]} and {len(names) - 1} more"


def _name_folder(path: str) -> str:
    """A path, and the name of a folder that is written in dots, such as the current one."""
    if path.strip("./"):
        return path
    return os.path.basename(os.path.abspath(path)) or path
