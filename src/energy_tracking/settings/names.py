"""What a setting is called: as an argument, in the environment, and in messages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from energy_tracking.errors import ConfigurationError

PREFIX = "ENERGY_TRACKING_"


def variable(setting: str) -> str:
    """The environment variable of a setting."""
    return PREFIX + setting.upper()


def named(setting: str) -> str:
    """A setting and its variable, as messages name it."""
    return f"{setting} ({variable(setting)})"


@contextmanager
def naming(setting: str) -> Iterator[None]:
    """Name a setting, and its variable, as what must be otherwise.

    Raises:
        ConfigurationError: The block raises one; of its kind, about the setting.
    """
    try:
        yield
    except ConfigurationError as error:
        subject, verb, rule = str(error).partition("must be ")
        # The place in a file stays: `profile file a.toml: [gpus."x"]: power_rating`.
        if not verb or ":" in subject:
            raise type(error)(f"{named(setting)}: {error}") from None
        # One item of a setting keeps its place: `model_mapping['ours']`.
        item = subject.strip().removeprefix(setting) if subject.startswith(setting) else ""
        raise type(error)(f"{named(setting)}{item} {verb}{rule}") from None
