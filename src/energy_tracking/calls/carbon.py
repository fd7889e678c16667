"""What an energy emits, where its electricity is said to come from.

Only for a region or an intensity that the user names: where a call ran is not known, and
nothing here tries to find out. An argument of ``carbon`` is for one look at a sum; the settings
``region`` and ``grams_per_kwh`` put an ``Intensity`` on every record, and ``Emissions`` adds up
what those emit.

The order: ``find_intensity`` reads a region or a number; the records carry it; accounts add
``emissions_of`` each; ``carbon_of_emissions`` shows the sum. A further zone is a row of
``carbon_intensities``.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from functools import cache, reduce
from operator import add
from typing import NamedTuple

from energy_tracking.bounds import checked
from energy_tracking.calls.amounts import two_digits
from energy_tracking.calls.carbon_intensities import ALIASES, SOURCE, ZONES, Zone
from energy_tracking.calls.record import INTENSITY, Intensity
from energy_tracking.calls.totals import Totals
from energy_tracking.errors import ConfigurationError, must_be, not_one_of, shown
from energy_tracking.frozen import frozen
from energy_tracking.units import joules_from_nanojoules, kwh_from_joules

A_REGION = "a country by its name or letters, 'EU' or 'WORLD'"
NANOGRAMS_PER_GRAM = 1_000_000_000


@frozen()
@checked
class Carbon:
    """Emissions, with the range of the energy they are made from.

    Attributes:
        total_carbon_grams: Emissions [g CO2e].
        total_carbon_low_grams: The same at the low end of the energy's 90 % range.
        total_carbon_high_grams: The same at its high end.
        grams_per_kwh: Intensity of the electricity [g CO2e/kWh].
        source: Where that is from.

    The intensity is a yearly mean; by the hour it differs, in either direction, and no range
    is stated for it.
    """

    total_carbon_grams: float
    total_carbon_low_grams: float
    total_carbon_high_grams: float
    grams_per_kwh: float
    source: str

    def _repr_html_(self) -> str:
        """The emissions as a table, for notebooks."""
        from energy_tracking.calls.html import carbon_html

        return carbon_html(self)

    def __repr__(self) -> str:
        """The same as ``str``, where emissions stand among other things."""
        return f"<Carbon: {self}>"

    def __str__(self) -> str:
        """The emissions, their range, and where the intensity is from."""
        low, high = self.total_carbon_low_grams, self.total_carbon_high_grams
        return (
            f"{two_digits(self.total_carbon_grams)} g CO2e "
            f"({two_digits(low)} to {two_digits(high)}) "
            f"at {float(self.grams_per_kwh):g} g/kWh ({self.source})"
        )


def carbon(
    totals: Totals, *, region: str | None = None, grams_per_kwh: float | None = None
) -> Carbon:
    """Emissions of an energy.

    Args:
        totals: The energy.
        region: A country, by its name, its two or its three letters, ``"EU"`` or ``"WORLD"``.
        grams_per_kwh: In place of a region: the intensity of the electricity [g CO2e/kWh].

    Raises:
        ConfigurationError: Neither or both are given, the region is unknown, or the intensity
            is no number from 0 to 10,000.
    """
    intensity = find_intensity(region, grams_per_kwh)
    if intensity is None:
        remedy = "or give grams_per_kwh; nothing is guessed"
        raise ConfigurationError(must_be("region", A_REGION, region, remedy))
    return Carbon(
        kwh_from_joules(totals.total_energy_joules) * intensity.grams_per_kwh,
        kwh_from_joules(totals.total_energy_low_joules) * intensity.grams_per_kwh,
        kwh_from_joules(totals.total_energy_high_joules) * intensity.grams_per_kwh,
        intensity.grams_per_kwh,
        intensity.source,
    )


def find_intensity(region: str | None, grams_per_kwh: float | None) -> Intensity | None:
    """The intensity of the electricity that a user names; None where they name none.

    Args:
        region: A country, by its name or letters.
        grams_per_kwh: In place of a region: the intensity [g CO2e/kWh].

    Raises:
        ConfigurationError: Both are given, the region is unknown, or the intensity is no number
            from 0 to 10,000.
    """
    if region is None:
        if grams_per_kwh is None:
            return None
        return Intensity(INTENSITY.check("grams_per_kwh", grams_per_kwh), "as given")
    if grams_per_kwh is not None:
        both = f"unset beside region, {shown(region)}"
        raise ConfigurationError(must_be("grams_per_kwh", both, grams_per_kwh, "give one of them"))
    zone = find_zone(region)
    return Intensity(zone.grams_per_kwh, f"{zone.code} {zone.year}, {SOURCE}")


def find_zone(region: object) -> Zone:
    """The zone of a name, such as ``GB``, ``UK``, ``GBR`` or ``United Kingdom``.

    Raises:
        ConfigurationError: There is none of that name.
    """
    found = _zones_by_name().get(_fold_name(region)) if isinstance(region, str) else None
    if found is None:
        names = (name for zone in ZONES for name in (zone.code, zone.name))
        raise ConfigurationError(not_one_of("region", region, names, A_REGION))
    return found


@cache
def _zones_by_name() -> dict[str, Zone]:
    by_code = {zone.code: zone for zone in ZONES}
    by_name = {_fold_name(name): by_code[code] for name, code in ALIASES.items()}
    for zone in ZONES:
        by_name |= {_fold_name(name): zone for name in (zone.letters, zone.name)}
    return by_name | {_fold_name(code): zone for code, zone in by_code.items()}


def _fold_name(name: str) -> str:
    """A name without accents, marks and capitals: ``Côte d'Ivoire`` -> ``cote d ivoire``."""
    plain = unicodedata.normalize("NFKD", name.casefold()).replace(".", "")
    letters = "".join(
        each if each.isalnum() else " " for each in plain if not unicodedata.combining(each)
    )
    return " ".join(letters.split())


class Emissions(NamedTuple):
    """Sums over the calls whose electricity is known, in whole numbers, so that they are exact.

    Attributes:
        nanograms: What they emit, at the low and the high end of the energy's range, and the
            same three by the calibrated estimate, of the calls that have one [ng CO2e].
        energy_nanojoules: Their energy [nJ].
        intensities: Of their electricity; of many, the first few.
    """

    nanograms: tuple[int, ...]
    energy_nanojoules: int
    intensities: tuple[Intensity, ...]

    def plus(self, other: Emissions) -> Emissions:
        """The sums of both."""
        either = tuple(dict.fromkeys((*self.intensities, *other.intensities)))
        return Emissions(
            tuple(map(add, self.nanograms, other.nanograms)),
            self.energy_nanojoules + other.energy_nanojoules,
            either[:INTENSITIES_KEPT],
        )

    @property
    def grams(self) -> dict[str, float]:
        """What they emit [g CO2e], under the names that exports have."""
        return {
            name: one / NANOGRAMS_PER_GRAM for name, one in zip(GRAMS, self.nanograms, strict=True)
        }


INTENSITIES_KEPT = 4
"""Intensities that a sum names at most."""

GRAMS = (
    *("total_carbon_grams", "total_carbon_low_grams", "total_carbon_high_grams"),
    *("calibrated_carbon_grams", "calibrated_carbon_low_grams", "calibrated_carbon_high_grams"),
)
"""What the sums of ``Emissions`` are called, in their order."""


def sum_emissions(parts: Iterable[Emissions]) -> Emissions | None:
    """The sum of emissions; None of none."""
    return reduce(Emissions.plus, parts) if (parts := list(parts)) else None


def emissions_of(totals: Totals, intensity: Intensity) -> Emissions:
    """What the energy of a call emits.

    Args:
        totals: The sums over that one call.
        intensity: Of its electricity.
    """
    nanojoules = (
        totals.total_energy_nanojoules,
        totals.total_energy_low_nanojoules,
        totals.total_energy_high_nanojoules,
        totals.calibrated_energy_nanojoules,
        totals.calibrated_energy_low_nanojoules,
        totals.calibrated_energy_high_nanojoules,
    )
    per_joule = kwh_from_joules(1.0) * intensity.grams_per_kwh
    nanograms = tuple(round(one * per_joule) for one in nanojoules)
    return Emissions(nanograms, totals.total_energy_nanojoules, (intensity,))


def carbon_of_emissions(emissions: Emissions, *, calibrated: bool = False) -> Carbon:
    """A sum of emissions to be shown.

    Args:
        emissions: The sum.
        calibrated: Whether that of the calibrated numbers.
    """
    start = 3 if calibrated else 0
    total, low, high = (one / NANOGRAMS_PER_GRAM for one in emissions.nanograms[start : start + 3])
    first, *others = emissions.intensities
    mean = first.grams_per_kwh
    kwh = kwh_from_joules(joules_from_nanojoules(emissions.energy_nanojoules))
    if others and kwh:
        mean = emissions.nanograms[0] / NANOGRAMS_PER_GRAM / kwh
    sources = "; ".join(dict.fromkeys(one.source for one in emissions.intensities))
    return Carbon(total, low, high, mean, sources)


def describe_emissions(emissions: Emissions | None) -> dict[str, object] | None:
    """A sum of emissions as an object of JSON, the fields of ``Carbon``; None of none."""
    return None if emissions is None else asdict(carbon_of_emissions(emissions))


def carbon_notes(emissions: Emissions | None) -> Iterator[str]:
    """What is said of emissions below a table of energies."""
    if emissions is None or not emissions.energy_nanojoules:
        return
    yield f"CO2e: {carbon_of_emissions(emissions)}"
    total, _, _, calibrated, *_ = emissions.nanograms
    if calibrated not in (0, total):
        yield f"CO2e, calibrated: {carbon_of_emissions(emissions, calibrated=True)}"
