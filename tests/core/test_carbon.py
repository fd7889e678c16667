"""Emissions follow from the energy and a region or intensity that the user names."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from energy_tracking import ConfigurationError, Session, Totals
from energy_tracking.calls.carbon import Carbon, carbon, find_zone
from energy_tracking.calls.carbon_intensities import ZONES

INTENSITIES = {zone.code: (zone.grams_per_kwh, zone.year) for zone in ZONES}
NANOJOULES_PER_WH = 3_600_000_000_000
TOTALS = Totals(
    calls=1,
    total_energy_nanojoules=2000 * NANOJOULES_PER_WH,
    total_energy_low_nanojoules=1000 * NANOJOULES_PER_WH,
    total_energy_high_nanojoules=10_000 * NANOJOULES_PER_WH,
)


def test_the_range_of_the_energy_is_carried_through() -> None:
    assert carbon(TOTALS, grams_per_kwh=250) == Carbon(500.0, 250.0, 2500.0, 250, "as given")
    assert carbon(TOTALS, grams_per_kwh=0).total_carbon_high_grams == 0


def test_a_region_states_its_year_and_source() -> None:
    found = carbon(TOTALS, region="de")
    assert str(found) == "760 g CO2e (380 to 3,800) at 381 g/kWh (DE 2023, Ember)"


def test_a_session_states_its_emissions() -> None:
    assert Session().carbon(region="FR") == Carbon(0, 0, 0, 56, "FR 2023, Ember")


# As Our World in Data shows them of the same source for 2023:
# https://ourworldindata.org/grapher/carbon-intensity-electricity?tab=table
@pytest.mark.parametrize(
    ("region", "grams_per_kwh"),
    [("AT", 111), ("BE", 138), ("CZ", 450), ("DE", 381), ("DK", 152), ("FI", 79), ("FR", 56)],
)
def test_regions_are_as_published_elsewhere(region: str, grams_per_kwh: int) -> None:
    assert INTENSITIES[region] == (grams_per_kwh, 2023)


def test_intensities_are_possible_ones() -> None:
    for region, (grams_per_kwh, year) in INTENSITIES.items():
        assert region.isupper()
        # From hydropower to old gas.
        assert 20 <= grams_per_kwh < 1400
        assert 2021 <= year <= 2023
    assert len(INTENSITIES) >= 200


@pytest.mark.parametrize(
    ("name", "code"),
    [
        *(("UK", "GB"), ("gb", "GB"), ("United Kingdom", "GB"), ("GBR", "GB"), ("U.K.", "GB")),
        *(("Germany", "DE"), ("germany", "DE"), ("DEU", "DE"), (" de ", "DE")),
        *(("USA", "US"), ("U.S.A.", "US"), ("United States", "US"), ("united-states", "US")),
        *(("Côte d'Ivoire", "CI"), ("Cote d Ivoire", "CI"), ("Türkiye", "TR"), ("Holland", "NL")),
        *(("European Union", "EU"), ("world", "WORLD"), ("south korea", "KR"), ("NA", "NA")),
    ],
)
def test_a_zone_is_found_by_its_names_and_letters(name: str, code: str) -> None:
    assert find_zone(name).code == code


def test_no_name_of_a_zone_is_anothers() -> None:
    for zone in ZONES:
        assert {find_zone(name) for name in (zone.code, zone.letters, zone.name)} == {zone}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "nothing is guessed"),
        (
            {"region": "DE", "grams_per_kwh": 1},
            "grams_per_kwh must be unset beside region",
        ),
        ({"region": "Mars"}, "region must be a country .* got 'Mars'"),
        ({"region": "Germny"}, "did you mean 'Germany'"),
        ({"grams_per_kwh": -1}, "from 0 to 10000 g CO2e/kWh, got -1"),
        ({"grams_per_kwh": float("nan")}, "from 0 to 10000 .*, got nan"),
        ({"grams_per_kwh": 10**400}, "grams_per_kwh must be a number"),
        ({"grams_per_kwh": "5"}, "got '5'"),
        ({"region": 5}, "region must be a country .* got 5"),
    ],
)
def test_what_cannot_be_is_refused(arguments: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        carbon(TOTALS, **arguments)


@pytest.mark.parametrize("number", [Fraction(801, 2), np.float32(400.5)])
def test_an_intensity_of_any_kind_of_number_is_a_plain_float(number: Any) -> None:
    found = carbon(Totals(), grams_per_kwh=number)
    assert type(found.grams_per_kwh) is float
    assert "at 400.5 g/kWh" in str(found)


def test_a_long_region_beside_an_intensity_makes_no_long_message() -> None:
    with pytest.raises(ConfigurationError, match="must be unset beside region") as caught:
        carbon(Totals(), region="x" * 100_000, grams_per_kwh=1.0)
    assert len(str(caught.value)) < 1_000
