"""Options that several commands have, and what to do where a model has no profile."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import click

from energy_tracking.calls.record import INTENSITY
from energy_tracking.cli.commands import NumberIn, read_pairs
from energy_tracking.profiles.model_names import fold_name
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


class MappedNames:
    """The names that ``--model-mapping`` gives a profile, of which no call has been seen."""

    def __init__(self, mapping: Mapping[str, str] | None) -> None:
        """Start with all of them.

        Args:
            mapping: What ``read_mapping`` has read.
        """
        self._unseen = {fold_name(name): name for name in mapping or ()}

    def see(self, *models: str | None) -> None:
        """Take off the names of models that were called."""
        for model in models if self._unseen else ():
            self._unseen.pop(fold_name(model or ""), None)

    def remark(self) -> str | None:
        """What is to be known of those left, which may be mistyped; None where there are none."""
        if not self._unseen:
            return None
        names = " or ".join(map(repr, self._unseen.values()))
        return f"--model-mapping: no call that was counted is to {names}"


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
