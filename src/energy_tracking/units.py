"""The only place where one unit becomes another.

Inside the library energy is in joules, power in watts, time in seconds; watt-hours
appear where a person reads.
"""

from __future__ import annotations

JOULES_PER_WATT_HOUR = 3600.0
WATT_HOURS_PER_KILOWATT_HOUR = 1000.0
NANOJOULES_PER_JOULE = 1_000_000_000


def wh_from_joules(energy_joules: float) -> float:
    """Watt-hours [Wh] from joules [J]; a float or an array of any shape."""
    return energy_joules / JOULES_PER_WATT_HOUR


def kwh_from_joules(energy_joules: float) -> float:
    """Kilowatt-hours [kWh] from joules [J]."""
    return wh_from_joules(energy_joules) / WATT_HOURS_PER_KILOWATT_HOUR


def joules_from_wh(energy_wh: float) -> float:
    """Joules [J] from watt-hours [Wh]; a float or an array of any shape."""
    return energy_wh * JOULES_PER_WATT_HOUR


def nanojoules_from_joules(energy_joules: float) -> int:
    """Whole nanojoules [nJ]: sums of them are exact in any order, of any length."""
    return round(energy_joules * NANOJOULES_PER_JOULE)


def joules_from_nanojoules(energy_nanojoules: int) -> float:
    """Joules [J] from nanojoules [nJ]."""
    return energy_nanojoules / NANOJOULES_PER_JOULE
