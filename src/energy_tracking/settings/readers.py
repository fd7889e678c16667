"""What settings may hold: a reader for each kind of value.

Each reads what an argument or a variable gives. The message of what it raises begins with
"must be", or with the setting and "must be"; ``settings`` puts the setting and its variable there
(``naming``). A new kind of value is a reader here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from energy_tracking.bounds import Bound, read_number, read_path
from energy_tracking.calls.tags import TAG_NAME
from energy_tracking.errors import ConfigurationError, must_be

if TYPE_CHECKING:
    from energy_tracking.hosts import MetricsPage


def read_text(given: object) -> str:
    """A string.

    Raises:
        ConfigurationError: It is none.
    """
    if not isinstance(given, str):
        raise ConfigurationError(must_be("", "a string", given))
    return given


def read_user_path(given: object) -> str:
    """A path, that of the home folder included.

    Raises:
        ConfigurationError: It is none.
    """
    return os.path.expanduser(read_path("", given))


_FLAGS = {"1": True, "true": True, "yes": True, "on": True}
_FLAGS |= {"0": False, "false": False, "no": False, "off": False}


def read_flag(given: object) -> bool:
    """A flag, or a word for one.

    Raises:
        ConfigurationError: It is none.
    """
    if isinstance(given, bool):
        return given
    if not isinstance(given, str) or given.lower() not in _FLAGS:
        words = ", ".join(map(repr, _FLAGS))
        raise ConfigurationError(must_be("", f"True, False or one of {words}", given))
    return _FLAGS[given.lower()]


def make_number_reader(bound: Bound) -> Callable[[object], float]:
    """A reader of a number within a bound."""

    def read(given: object) -> float:
        number = read_number(given)
        if not bound.holds(number):
            raise ConfigurationError(must_be("", bound.text, given))
        return bound.check("", number)

    return read


def read_names(given: object) -> tuple[str, ...]:
    """Names, in a list or separated by commas.

    Raises:
        ConfigurationError: It is none.
    """
    names = given.split(",") if isinstance(given, str) else given
    listed: tuple[Any, ...] = (None,)
    if isinstance(names, Iterable):
        with suppress(Exception):  # what is iterable by its type may not be, as an array of none
            listed = tuple(names)
    if not all(isinstance(name, str) for name in listed):
        raise ConfigurationError(must_be("", "a list of names", given, "write name,name"))
    return tuple(name.strip() for name in listed if name.strip())


def read_hosts(given: object) -> tuple[str, ...]:
    """Hosts, in a list or separated by commas."""
    from energy_tracking.hosts import read_host  # most programs name none

    return tuple(map(read_host, read_names(given)))


def read_meters(given: object) -> tuple[str, ...]:
    """Meters of joules, in a list or separated by commas.

    Raises:
        ConfigurationError: One is no address and not ``nvml``.
    """
    from energy_tracking.servers.meters import read_meter_address  # most programs have none

    # A comma in `#gpu=0,1` separates GPUs.
    text = re.sub(r",(?=\d)", ";", given) if isinstance(given, str) else given
    names = [name.replace(";", ",") for name in read_names(text)]
    return tuple(str(read_meter_address(name)) for name in names)


def read_metrics_pages(given: object) -> tuple[MetricsPage, ...]:
    """Metrics pages, in a list or separated by commas."""
    from energy_tracking.hosts import read_metrics_page  # most programs name none

    return tuple(map(read_metrics_page, read_names(given)))


def read_tags(given: object) -> tuple[str, ...]:
    """Names of tags.

    Raises:
        ConfigurationError: It is none.
    """
    names = read_names(given)
    for name in names:
        if not re.fullmatch(TAG_NAME, name):
            what = "names of tags, of letters, digits, '_' and '-', a letter first"
            raise ConfigurationError(must_be("", what, name))
    return names


def read_pairs(given: object) -> dict[str, str]:
    """Models, each with its profile.

    Raises:
        ConfigurationError: It is none.
    """
    pairs = given
    if isinstance(given, str):
        parted = [pair.partition("=") for pair in read_names(given)]
        pairs = {name.strip(): profile.strip() for name, _, profile in parted}
    if not isinstance(pairs, Mapping) or not all(
        part and isinstance(part, str) for pair in pairs.items() for part in pair
    ):
        remedy = "write model=profile,model=profile"
        raise ConfigurationError(must_be("", "pairs of model and profile", given, remedy))
    return dict(pairs)


def read_region(given: object) -> str:
    """A zone whose electricity is known, by its code."""
    from energy_tracking.calls.carbon import find_zone  # most programs name none

    return find_zone(given).code
