"""Points in time that are no ISO 8601: as databases, spreadsheets and servers write them.

A day whose numbers may be of a month too, as 01/02/2025, is none. One without a year is of
``NO_YEAR`` until whoever knows about its file says which is meant (``place_in_year``).
"""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta, tzinfo
from email.utils import parsedate_to_datetime
from zoneinfo import ZoneInfo

_TIME = re.compile(
    r"(?P<year>\d{4})[-/](?P<month>\d{1,2})[-/](?P<day>\d{1,2})"
    r"(?:[Tt ] ?(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?P<fraction>[.,]\d+)?)?)?"
    r" ?(?P<zone>[Zz]|[+-]\d{2}:?\d{2}|[A-Z][A-Za-z_]+(?:/[A-Za-z_]+)*)?"
    # As Java writes the zone beside its offset, or Go.
    r"(?:\[[A-Za-z_/]+\]| [A-Z]{3,4})?"
)

_DAY_FIRST = re.compile(r"\A(\d{1,2})\.(\d{1,2})\.(\d{4})(?:,? |T|\Z)")
"""A day as it is written with points, in which it comes before the month."""

_SLASHED_DAY = re.compile(r"\A(\d{1,2})/(\d{1,2})/(\d{4})(?: |\Z)")
"""A day as spreadsheets write it, in which the month or the day comes first."""

_HEADER_TIME = re.compile(
    r"[A-Z][a-z]{2}, \d{1,2} [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d (?:GMT|[+-]\d{4})"
)
"""As in the header of a response."""

_PRINTED_TIME = re.compile(
    r"[A-Z][a-z]{2} (?P<month>[A-Z][a-z]{2})  ?(?P<day>\d{1,2}) "
    r"(?:(?P<time>\d\d:\d\d:\d\d) (?P<year>\d{4})"
    r"|(?P<its_year>\d{4}) (?P<its_time>\d\d:\d\d:\d\d) GMT(?P<zone>[+-]\d{4})(?: \(.*\))?)"
)
"""As C and JavaScript print it."""

_PORTAL_TIME = re.compile(r"\d{1,2}/\d{1,2}/\d{4}, \d{1,2}:\d\d:\d\d(?:\.\d{1,6})? [AP]M")
"""As Azure's portal writes it: the month comes first."""

_SERVER_TIME = re.compile(r"\d{1,2}/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}")
"""As Apache and nginx write it into their logs of requests."""

_YEARLESS_TIME = re.compile(
    r"(?P<month>[A-Z][a-z]{2}) {1,2}(?P<day>\d{1,2}),? "
    r"(?P<clock>\d{1,2}:\d\d(?::\d\d)?)(?P<fraction>\.\d{1,9})?(?: ?(?P<half>[AP]M))?"
)
"""As syslog writes it and, with half a day, dashboards."""

_MONTH = re.compile(
    r"(?:(?P<name>Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)(?:uary|ruary|ch|il|e|y|ust"
    r"|tember|ober|ember)?[ -]|(?P<month>\d{1,2})[/.-])(?P<after>(?:19|20)\d\d)"
    r"|(?P<before>(?:19|20)\d\d)[/.-]?(?P<second>\d\d)"
)
"""As tables of sums name it."""

NO_YEAR = 1904
"""The year of a time that says none, in which February has all its days."""

_KIBANA_TIME = re.compile(r"([A-Z][a-z]{2}) (\d{1,2}), (\d{4}) @ (\d\d:\d\d:\d\d)(?:\.(\d{3}))?")
"""As Kibana writes it into its tables."""


def parse_odd_time(text: str) -> datetime | None:
    """A point in time that ``datetime.fromisoformat`` does not take; None where it is none."""
    text = _DAY_FIRST.sub(r"\3-\2-\1 ", text, count=1).strip()
    text = _SLASHED_DAY.sub(_order_day, text, count=1).strip()
    try:
        found = _TIME.fullmatch(text)
        if found is None:
            return _parse_printed_time(text)
        numbers = (found[name] for name in ("year", "month", "day", "hour", "minute", "second"))
        year, month, day, hour, minute, second = (int(number or 0) for number in numbers)
        fraction = float((found["fraction"] or "0").replace(",", "."))
        if hour > 24 or minute > 59 or second > 60:
            return None
        day_starts = datetime(year, month, day, tzinfo=_zone_of(found["zone"]))
        # A day may end at 24:00, and a minute with a second more.
        return day_starts + timedelta(hours=hour, minutes=minute, seconds=second + fraction)
    except (ValueError, OSError, OverflowError):  # no day, or no zone, of that name
        return None


def parse_month(text: str) -> datetime | None:
    """The start of a month, as tables of sums name one; None where it is none."""
    found = _MONTH.fullmatch(text.strip())
    if found is None:
        return None
    year = found["after"] or found["before"]
    if found["name"] is not None:
        return parsedate_to_datetime(f"1 {found['name']} {year} 00:00:00 +0000")
    with suppress(ValueError):
        return datetime(int(year), int(found["month"] or found["second"]), 1, tzinfo=UTC)
    return None


def _order_day(found: re.Match[str]) -> str:
    """A day with the year first; as it was where either number may be that of the month."""
    first, second, year = found.groups()
    if int(first) > 12 or int(first) == int(second):
        return f"{year}-{second}-{first} "
    return f"{year}-{first}-{second} " if int(second) > 12 else found[0]


def _parse_printed_time(text: str) -> datetime | None:
    """A point in time as programs print it; None where it is none.

    Raises:
        ValueError: There is no such day.
    """
    if _HEADER_TIME.fullmatch(text):
        return parsedate_to_datetime(text)
    if (of_kibana := _KIBANA_TIME.fullmatch(text)) is not None:
        month, day, year, clock, fraction = of_kibana.groups()
        time_of_day = parsedate_to_datetime(f"{day} {month} {year} {clock} +0000")
        return time_of_day + timedelta(milliseconds=int(fraction or 0))
    if _SERVER_TIME.fullmatch(text):
        day, _, clock = text.partition(":")
        return parsedate_to_datetime(f"{day.replace('/', ' ')} {clock}")
    if _PORTAL_TIME.fullmatch(text):
        form = "%m/%d/%Y, %I:%M:%S.%f %p" if "." in text else "%m/%d/%Y, %I:%M:%S %p"
        return datetime.strptime(text, form).replace(tzinfo=UTC)
    if (yearless := _YEARLESS_TIME.fullmatch(text)) is not None:
        return _parse_yearless_time(yearless)
    found = _PRINTED_TIME.fullmatch(text)
    if found is None:
        return None
    year, time = found["year"] or found["its_year"], found["time"] or found["its_time"]
    zone = found["zone"] or "+0000"
    return parsedate_to_datetime(f"{found['day']} {found['month']} {year} {time} {zone}")


def _parse_yearless_time(found: re.Match[str]) -> datetime:
    """A point in time of ``NO_YEAR``.

    Raises:
        ValueError: There is no such day.
    """
    month, day, clock, fraction, half = found.groups()
    hour, minute, *second = (int(part) for part in clock.split(":"))
    if half is not None:
        hour = hour % 12 + 12 * (half == "PM")
    day_starts = parsedate_to_datetime(f"{day} {month} {NO_YEAR} 00:00:00 +0000")
    seconds = sum(second) + float(fraction or 0)
    if hour > 23 or minute > 59 or seconds >= 61:
        raise ValueError(clock)
    return day_starts + timedelta(hours=hour, minutes=minute, seconds=seconds)


def place_in_year(time: datetime, latest: datetime) -> datetime:
    """A time without a year, as the last such one before another.

    Args:
        time: A time of ``NO_YEAR``.
        latest: That other, give or take a day, as zones may differ.
    """
    for year in range(latest.year + 1, latest.year - 8, -1):
        with suppress(ValueError):  # no such day in this year
            placed = time.replace(year=year)
            if placed <= latest + timedelta(days=1):
                return placed
    return latest


def _zone_of(name: str | None) -> tzinfo:
    """A zone.

    Raises:
        ValueError: There is none of that name.
        OSError: Likewise.
    """
    if name is None or name in ("Z", "z", "UTC"):
        return UTC
    if name[0] in "+-":
        zone = datetime.strptime(name, "%z").tzinfo
        return UTC if zone is None else zone
    try:
        return ZoneInfo(name)
    except KeyError as error:
        raise ValueError(name) from error
