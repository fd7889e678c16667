"""What logged calls are grouped by: models, days, sessions.

Each is a number per row, of a name or of an hour. A further one is a row in ``DIMENSIONS``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, tzinfo
from typing import Any

import numpy as np

from energy_tracking.logs.batches.batch import BatchNames, CallBatch

Column = Any

SPARSE = 4
"""More numbers of groups than so many times the rows are looked up, not counted through [1]."""
NOT_KNOWN = -1
"""Number of a group where a call does not say what it is grouped by."""

HOURS = 24
_SPAN_SECONDS = 900
"""Every zone's offset from UTC is a multiple of a quarter of an hour [s]."""


def local_time(moment: float, zone: tzinfo) -> datetime:
    """A point in time in a zone, or in UTC where the zone's calendar does not have it.

    Args:
        moment: The point in time [s since 1970].
        zone: The zone.

    Raises:
        OverflowError: The calendar of UTC does not have it either; likewise ``ValueError`` and
            ``OSError``.
    """
    try:
        return datetime.fromtimestamp(moment, zone)
    except (OverflowError, ValueError):
        return datetime.fromtimestamp(moment, UTC)


class LocalHours:
    """The local hour of points in time."""

    def __init__(self, zone: tzinfo) -> None:
        """Take a time zone.

        Args:
            zone: The zone.
        """
        self._zone = zone
        self._hours: dict[int, int] = {}

    def of(self, time: Column) -> Column:
        """The hours: 24 times the ordinal of the ``date``, and the hour; -1 where not known."""
        is_known = np.isfinite(time)
        if not is_known.any():
            return np.full(len(time), NOT_KNOWN)
        spans = np.floor(time[is_known] / _SPAN_SECONDS).astype("i8")
        hours = np.full(len(time), NOT_KNOWN)
        hours[is_known] = map_unique(self._find_hour, spans)
        return hours

    def _find_hour(self, span: int) -> int:
        hour = self._hours.get(span)
        if hour is None:
            try:
                moment = local_time(span * _SPAN_SECONDS, self._zone)
                hour = moment.date().toordinal() * HOURS + moment.hour
            except (OverflowError, OSError, ValueError):
                hour = NOT_KNOWN
            self._hours[span] = hour
        return hour


def map_unique(function: Callable[[int], int], numbers: Column) -> Column:
    """What a function makes of whole numbers, each of them looked at once.

    Args:
        function: Makes a whole number of one.
        numbers: The numbers, shape (rows,); at least one.
    """
    unique, inverse = find_unique(numbers)
    return np.array([function(one) for one in unique.tolist()], "i8")[inverse]


def find_unique(numbers: Column) -> tuple[Column, Column]:
    """The different numbers among some, in order, and the place of each of these among them.

    Args:
        numbers: Whole numbers, shape (rows,); at least one.
    """
    least, most = int(numbers.min()), int(numbers.max())
    if most - least >= max(SPARSE * len(numbers), 1 << 16):
        unique, inverse = np.unique(numbers, return_inverse=True)
        return unique, inverse
    # Those that lie close are counted, not sorted.
    places = numbers - least
    present = np.flatnonzero(np.bincount(places))
    numbered = np.zeros(most - least + 1, np.intp)
    numbered[present] = np.arange(len(present))
    return present + least, numbered[places]


def _day_of(hours: Column) -> Column:
    return np.where(hours < 0, hours, hours // HOURS)


def _week_of(hours: Column) -> Column:
    days = _day_of(hours)
    # Ordinal 1 is a Monday.
    return np.where(days < 0, days, days - (days - 1) % 7)


def _month_of(hours: Column) -> Column:
    days = _day_of(hours)
    return map_unique(
        lambda day: day if day < 1 else date.fromordinal(day).replace(day=1).toordinal(), days
    )


def _label_hour(number: int, names: BatchNames) -> str:
    return f"{date.fromordinal(number // HOURS).isoformat()} {number % HOURS:02}:00"


def _label_day(number: int, names: BatchNames) -> str:
    return date.fromordinal(number).isoformat()


def _label_week(number: int, names: BatchNames) -> str:
    year, week, _ = date.fromordinal(number).isocalendar()
    return f"{year}-W{week:02}"


def _label_month(number: int, names: BatchNames) -> str:
    return date.fromordinal(number).isoformat()[:7]


@dataclass(frozen=True, slots=True)
class Dimension:
    """Something that calls are grouped by.

    Attributes:
        numbers: A batch and the local hours of its rows -> the group of each row, a number.
        label: The name of a group.
        missing: Its name where a call does not say.
        is_time: Whether groups follow each other in time.
    """

    numbers: Callable[[CallBatch, Column], Column]
    label: Callable[[int, BatchNames], str]
    missing: str
    is_time: bool = False


def _named(name: str, missing: str) -> Dimension:
    return Dimension(
        lambda batch, hours: getattr(batch, name),
        lambda number, names: getattr(names, name).texts[number],
        missing,
    )


def _timed(
    numbers: Callable[[Column], Column], label: Callable[[int, BatchNames], str]
) -> Dimension:
    return Dimension(lambda batch, hours: numbers(hours), label, "no time", is_time=True)


DIMENSIONS: Mapping[str, Dimension] = {
    "model": _named("model", "model not named"),
    "hour": _timed(lambda hours: hours, _label_hour),
    "day": _timed(_day_of, _label_day),
    "week": _timed(_week_of, _label_week),
    "month": _timed(_month_of, _label_month),
    "provider": _named("provider", "provider not named"),
    "tag": _named("tag", "no tag"),
    "file": _named("file", "no file"),
    "session": _named("session", "no session"),
}
