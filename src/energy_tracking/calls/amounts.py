"""Numbers as people see them: two digits, a unit that suits, columns that add up.

People see two significant digits. An estimate from public knowledge of a closed model is
good to a factor, not to a percent, and digits we do not have would claim otherwise. Only above a
sum, numbers have as many decimals as it takes to add up to three digits of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

# Watt-hours per unit, largest first.
_UNITS = (("kWh", 1e3), ("Wh", 1.0), ("mWh", 1e-3), ("µWh", 1e-6))
_COUNT_UNITS = (("G", 1e9), ("M", 1e6), ("k", 1e3))

Range = tuple[float, float, float]
"""An energy or an emission, and both ends of its range."""


def two_digits(value: float) -> str:
    """A number with two significant digits and no exponent, e.g. ``0.20``, ``1,200``."""
    from decimal import Decimal  # not light

    # Before Python 3.12 a fraction knows no format.
    return f"{Decimal(f'{float(value):#.2g}' if value else '0'):,f}"


def energy_text(energy_wh: float) -> str:
    """Energy [Wh] with the unit that suits it, e.g. ``12 mWh``."""
    unit, size = choose_unit(energy_wh)
    return f"{two_digits(energy_wh / size)} {unit}"


def count_text(count: int) -> str:
    """A count in five characters at most, e.g. ``999``, ``1.3k``, ``12M``."""
    if count < 1000:
        return str(count)
    unit, size = next(unit for unit in _COUNT_UNITS if float(f"{count:.2g}") >= unit[1])
    return f"{two_digits(count / size)}{unit}"


def choose_unit(energy_wh: float) -> tuple[str, float]:
    """The unit that suits an energy [Wh], and its size [Wh]."""
    if energy_wh <= 0:
        return "Wh", 1.0
    shown = float(f"{energy_wh:.2g}")
    return next((unit for unit in _UNITS if shown >= unit[1]), _UNITS[-1])


def format_amount(value: float) -> str:
    """A number beside others of its column; what is far below them needs no digits."""
    return "<0.01" if 0 < value < 0.00995 else two_digits(value)


def format_range(low: float, high: float) -> str:
    """Both ends of a range, e.g. ``0.42-34``.

    Args:
        low: The low end.
        high: The high end.
    """
    return f"{format_amount(low)}-{format_amount(high)}"


def format_with_range(one: Range | None, size: float) -> str:
    """An energy with its range, e.g. ``1.9 (0.69-27)``; ``-`` where there is none.

    Args:
        one: The energy.
        size: The unit it is shown in.
    """
    return "-" if one is None else _add_range(format_amount(one[0] / size), one, size)


def format_column(parts: Sequence[Range | None], total: Range | None, size: float) -> list[str]:
    """The same for a column of energies that add up, as they are shown, to the last, their sum.

    Args:
        parts: The energies; None: not known.
        total: Their sum.
        size: The unit they are shown in.
    """
    amounts = add_up([0.0 if one is None else one[0] / size for one in parts])
    every = zip(amounts, (*parts, total), strict=True)
    return ["-" if one is None else _add_range(amount, one, size) for amount, one in every]


def _add_range(shown: str, one: Range, size: float) -> str:
    _, low, high = one
    ends = format_range(low / size, high / size)
    # Of what is too small for digits, the range mostly is too.
    is_alone = low == high or (shown.startswith("<") and "-<" in ends)
    return shown if is_alone else f"{shown} ({ends})"


def add_up(values: Sequence[float], digits: int = 3) -> list[str]:
    """Numbers as texts that add up to the last one, their sum, as they are shown.

    All have as many decimals as the sum has with so many digits. Where the rounded numbers do not
    add up, the largest take a step each, which matters least to them.

    Args:
        values: The numbers, none below 0.
        digits: Significant digits of the sum [1].

    Returns:
        A text for each number, and one for the sum; ``<0.1`` for what is less than a step.
    """
    total = sum(values)
    decimals = max(0, digits - 1 - math.floor(math.log10(total))) if total > 0 else 0
    steps = [round(value * 10**decimals) for value in values]
    missing = round(total * 10**decimals) - sum(steps)
    by_size = sorted(range(len(steps)), key=lambda place: -steps[place])
    for place in by_size[: abs(missing)]:
        steps[place] += 1 if missing > 0 else -1
    shown = [f"{step / 10**decimals:,.{decimals}f}" for step in (*steps, sum(steps))]
    for place, value in enumerate(values):
        if value > 0 and not steps[place]:
            shown[place] = f"<{10**-decimals:.{decimals}f}"
    return shown


def format_count(number: int, noun: str, nouns: str | None = None) -> str:
    """A number of things, e.g. ``1 call``, ``1,200 calls``.

    Args:
        number: How many [1].
        noun: What they are, as of one.
        nouns: The same as of several; None: with an ``s``.
    """
    return f"{number:,} {noun if number == 1 else nouns or noun + 's'}"
