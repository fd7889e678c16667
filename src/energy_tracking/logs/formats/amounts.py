"""Sums that lie in several rows: one for each kind of token, with its amount.

The rows of one day, model and key are one sum, whose requests are a row of their own. A further
kind goes into ``KINDS``.
"""

from __future__ import annotations

from collections.abc import Iterator

from energy_tracking.logs.formats.base import Document, LogFile, LogFormat, keys, text
from energy_tracking.logs.formats.counts import check_wholes, sum_of_tokens, whole
from energy_tracking.logs.logged import LoggedCall, time_of

# What an amount is of -> the counts that it is a part of.
KINDS = {
    "output_tokens": ("output",),
    "input_tokens": ("input",),
    "input_cache_miss_tokens": ("input",),
    "input_cache_hit_tokens": ("input", "cached"),
    "request_count": ("requests",),
}
NOT_NAMES = frozenset({"type", "amount", "price", "cost"})
"""Columns that the rows of one sum differ in."""
OPEN = 100_000
"""How many sums are added up at a time [1]: far more than a year of days has."""

Key = tuple[object, ...]


def _read_amount(row: Document, file: LogFile) -> list[LoggedCall] | None:
    """A row of DeepSeek's export of amounts; the sum follows at the end of the file."""
    kind = row["type"]
    if not isinstance(kind, str) or kind not in KINDS:
        return None
    check_wholes({"amount": row["amount"]})
    amount = whole(row["amount"])
    if amount is None:
        file.leave_out(f"a row without an amount of {kind}")
        return []
    opened: dict[Key, tuple[Document, dict[str, int]]] = file.memory.setdefault("amounts", {})
    key = tuple((name, str(cell)) for name, cell in row.items() if name not in NOT_NAMES)
    _, counts = opened.setdefault(key, (row, {}))
    for count in KINDS[kind]:
        counts[count] = counts.get(count, 0) + amount
    if len(opened) <= OPEN:
        return []
    first = next(iter(opened))
    return [_close(first, *opened.pop(first))]


def _close(key: Key, row: Document, counts: dict[str, int]) -> LoggedCall:
    """The sum of the rows that begin with one.

    Args:
        key: What they have in common.
        row: The first of them.
        counts: What their amounts add up to.
    """
    return LoggedCall(
        provider="deepseek",
        model=text(row.get("model")),
        counts=sum_of_tokens(
            counts.get("input", 0), counts.get("output", 0), counts.get("cached", 0)
        ),
        time=time_of(_spell_day(row["utc_date"])),
        requests=counts.get("requests") or None,
        # An export of a later hour has more of the same day.
        identity=("amounts", key),
        grows=True,
    )


def _spell_day(day: object) -> object:
    """A day with its parts set apart; some exports have none."""
    digits = str(day)
    if len(digits) == 8 and digits.isdigit():
        return f"{digits[:4]}-{digits[4:6]}-{digits[6:]}"
    return day


def _close_all(file: LogFile) -> Iterator[LoggedCall]:
    for key, opened in file.memory.pop("amounts", {}).items():
        yield _close(key, *opened)


AMOUNTS: tuple[LogFormat, ...] = (
    # Source: https://platform.deepseek.com/usage (export, amount-*.csv)
    LogFormat(name="deepseek-amount", keys=keys("utc_date", "type", "amount"), read=_read_amount,
              finish=_close_all),
)  # fmt: skip
