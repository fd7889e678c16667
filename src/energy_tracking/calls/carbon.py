"""What an energy emits, where its electricity is said to come from.

Only for a region or an intensity that the user names: where a call ran is not known, and
nothing here tries to find out.
"""

from __future__ import annotations

from energy_tracking.bounds import Bound
from energy_tracking.calls.report import two_digits
from energy_tracking.calls.totals import Totals
from energy_tracking.errors import ConfigurationError, must_be, not_one_of, shown
from energy_tracking.frozen import frozen
from energy_tracking.units import kwh_from_joules

# Lifecycle emissions of the electricity generated in a country, mean of the year
# [g CO2e/kWh], as published for 2022 and 2023 (CC BY 4.0). Countries by ISO 3166-1.
# Source: Ember, "Yearly Electricity Data", https://ember-energy.org/data/yearly-electricity-data/
# as kept by The Green Web Foundation,
# https://github.com/thegreenwebfoundation/co2.js/blob/03b5e45f07962308079634d431e04878e7222fef/data/output/average-intensities.json
SOURCE = "Ember"
INTENSITIES: dict[str, tuple[int, int]] = {
    "AE": (561, 2022),
    "AT": (111, 2023),
    "AU": (570, 2022),
    "BE": (138, 2023),
    "BR": (106, 2022),
    "CA": (161, 2022),
    "CH": (35, 2023),
    "CL": (354, 2022),
    "CN": (586, 2022),
    "CZ": (450, 2023),
    "DE": (381, 2023),
    "DK": (152, 2023),
    "ES": (174, 2023),
    "EU": (244, 2023),
    "FI": (79, 2023),
    "FR": (56, 2023),
    "GB": (238, 2023),
    "ID": (676, 2022),
    "IE": (291, 2023),
    "IL": (583, 2022),
    "IN": (705, 2022),
    "IS": (28, 2022),
    "IT": (331, 2023),
    "JP": (513, 2022),
    "KR": (442, 2022),
    "MX": (475, 2022),
    "MY": (606, 2022),
    "NL": (268, 2023),
    "NO": (30, 2023),
    "NZ": (111, 2022),
    "PL": (662, 2023),
    "PT": (166, 2023),
    "SA": (707, 2022),
    "SE": (41, 2023),
    "SG": (474, 2022),
    "TH": (561, 2022),
    "TW": (640, 2022),
    "US": (386, 2022),
    "WORLD": (486, 2022),
    "ZA": (730, 2022),
}

INTENSITY = Bound(0, 1e4, "g CO2e/kWh")
"""What an intensity may be: burning peat emits a tenth of the most."""


@frozen()
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

    def __str__(self) -> str:
        """The emissions, their range, and where the intensity is from."""
        low, high = self.total_carbon_low_grams, self.total_carbon_high_grams
        return (
            f"{two_digits(self.total_carbon_grams)} g CO2e "
            f"({two_digits(low)} to {two_digits(high)}) "
            f"at {self.grams_per_kwh:g} g/kWh ({self.source})"
        )


def carbon(
    totals: Totals, *, region: str | None = None, grams_per_kwh: float | None = None
) -> Carbon:
    """Emissions of an energy.

    Args:
        totals: The energy.
        region: A country, by its two letters, ``"EU"`` or ``"WORLD"``.
        grams_per_kwh: In place of a region: the intensity of the electricity [g CO2e/kWh].

    Raises:
        ConfigurationError: Neither or both are given, the region is unknown, or the intensity
            is no number from 0 to 10,000.
    """
    source = "as given"
    if region is not None:
        if grams_per_kwh is not None:
            remedy = "give one of them"
            both = f"unset beside region, {shown(region)}"
            raise ConfigurationError(must_be("grams_per_kwh", both, grams_per_kwh, remedy))
        if not isinstance(region, str) or region.upper() not in INTENSITIES:
            what = "a country by its two letters, 'EU' or 'WORLD'"
            raise ConfigurationError(not_one_of("region", region, INTENSITIES, what))
        grams_per_kwh, year = INTENSITIES[region.upper()]
        source = f"{region.upper()} {year}, {SOURCE}"
    elif grams_per_kwh is None:
        remedy = "or give grams_per_kwh; nothing is guessed"
        what = "a country by its two letters, 'EU' or 'WORLD'"
        raise ConfigurationError(must_be("region", what, region, remedy))
    else:
        grams_per_kwh = INTENSITY.check("grams_per_kwh", grams_per_kwh)
    return Carbon(
        kwh_from_joules(totals.total_energy_joules) * grams_per_kwh,
        kwh_from_joules(totals.total_energy_low_joules) * grams_per_kwh,
        kwh_from_joules(totals.total_energy_high_joules) * grams_per_kwh,
        grams_per_kwh,
        source,
    )
