"""Options that several commands have, and what to do where a model has no profile."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import click

from energy_tracking.calls.record import INTENSITY
from energy_tracking.cli.commands import NumberIn, read_pairs
from energy_tracking.settings import Settings

MAPPING_OPTIONS = (
    click.option(
        "--model-mapping",
        metavar="NAME=PROFILE",
        multiple=True,
        help="The profile of a deployment or model that has another name.",
    ),
    click.option("--default-model", metavar="PROFILE", help="The profile of all other models."),
)
COLUMNS_OPTION = click.option(
    "--columns",
    metavar="input=NAME,output=NAME",
    multiple=True,
    help="The columns of a table that is not recognised; also cached, reasoning, model, time, id, "
    "session, requests, provider.",
)
STRICT_OPTION = click.option(
    "--strict", is_flag=True, help="Stop at the first entry that cannot be read."
)
CARBON_OPTIONS = (
    click.option(
        "--region",
        metavar="NAME",
        help="CO2e by the power of a country, such as DE or Germany (default: "
        "ENERGY_TRACKING_REGION).",
    ),
    click.option(
        "--grams-per-kwh",
        type=NumberIn(INTENSITY),
        metavar="NUMBER",
        help="CO2e of the power used.",
    ),
)

_WITHOUT_PROFILE = ("not named", "no energy profile")
_REMEDY = (
    "to estimate these too, say which profile they have: --model-mapping NAME=PROFILE, or "
    "--default-model PROFILE for all (profiles: energy-tracking models)"
)


def with_options(*options: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command several options, in this order."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def read_mapping(given: Iterable[str]) -> dict[str, str] | None:
    """The profiles that ``--model-mapping`` names; None where it is not given.

    Raises:
        ConfigurationError: It is written in another way.
    """
    return read_pairs("--model-mapping", given, "my-deployment=gpt-4o") or None


def read_power(region: str | None, grams_per_kwh: float | None) -> tuple[str | None, float | None]:
    """Whose electricity is used, or what it emits [g CO2e/kWh]: the options, else the settings.

    Args:
        region: What ``--region`` names.
        grams_per_kwh: What ``--grams-per-kwh`` gives.

    Raises:
        ConfigurationError: A setting is wrong.
    """
    if region is not None or grams_per_kwh is not None:
        return region, grams_per_kwh
    settings = Settings.load({})
    return settings.region, settings.grams_per_kwh


def read_columns(given: Iterable[str]) -> dict[str, str]:
    """The columns that ``--columns`` names.

    Raises:
        ConfigurationError: It is written in another way.
    """
    return read_pairs("--columns", given, "input=NAME,output=NAME")


def find_remedy(reasons: Iterable[str]) -> str | None:
    """What to do, where calls have no energy for want of a profile; else None."""
    lacking = any(words in reason for reason in reasons for words in _WITHOUT_PROFILE)
    return _REMEDY if lacking else None
