"""How the value of a span's attribute is read from the record of a call."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from operator import attrgetter
from typing import Any

from energy_tracking.calls.carbon import read_carbon
from energy_tracking.calls.record import CallRecord
from energy_tracking.estimator import EnergyEstimate
from energy_tracking.estimator.estimate import widest_first
from energy_tracking.frozen import frozen
from energy_tracking.units import wh_from_joules

Read = Callable[[CallRecord], Any]
"""Reads the value of an attribute from a call."""


def read_grams(read_joules: Callable[[CallRecord], Any]) -> Read:
    """Reads what an energy emits, where the settings name the electricity."""
    return lambda record: read_carbon(record, read_joules(record))


@frozen()
class Field:
    """Reads a field of what a record holds: rows of one holder are read at once.

    Attributes:
        holder: Selects what has the field; None where there is none.
        name: The field.
    """

    holder: Callable[[Any], Any]
    name: str

    def __call__(self, source: Any) -> Any:
        """The field's value, None where nothing has it."""
        holder = self.holder(source)
        return None if holder is None else getattr(holder, self.name)


def itself(source: Any) -> Any:
    return source


ESTIMATE = attrgetter("estimate")
CALIBRATED = attrgetter("calibrated")
INTENSITY = attrgetter("intensity")


def estimate_beside_measured(record: CallRecord) -> EnergyEstimate | None:
    """The estimate where the total is a measured energy."""
    return None if record.measured_energy_joules is None else record.estimate


def read_count(name: str) -> Read:
    """Reads a reported count; one estimated from text is left out."""

    def read(record: CallRecord) -> Any:
        usage = record.usage
        return None if usage is None or name in usage.estimated else getattr(usage, name)

    return read


def read_assumed(name: str) -> Read:
    """Reads what the calibrated number assumed, be it beside another or the estimate itself."""

    def read(record: CallRecord) -> Any:
        estimate = record.calibrated or record.estimate
        return None if estimate is None else estimate.assumed.get(name)

    return read


def read_total_wh(record: CallRecord) -> float | None:
    """Reads the energy of a call [Wh]; None where it is not known."""
    joules = record.total_energy_joules
    return None if joules is None else wh_from_joules(joules)


def read_range_end(name: str) -> Read:
    """Reads an end of the range of the total: that of a measured energy is the energy itself."""

    def read(record: CallRecord) -> Any:
        if record.measured_energy_joules is not None:
            return record.measured_energy_joules
        return record.estimate and getattr(record.estimate, name)

    return read


def read_range_from(record: CallRecord) -> str | None:
    """Reads what made the range, which is the same for all calls of a profile and a method."""
    if record.estimate is None:
        return None
    return _name_parts(tuple(record.estimate.range_parts.items()))


@lru_cache(maxsize=256)
def _name_parts(parts: tuple[tuple[str, tuple[float, float]], ...]) -> str:
    return ",".join(widest_first(dict(parts)))
