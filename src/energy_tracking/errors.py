"""Every error and warning of the library, one tree."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class EnergyTrackingError(Exception):
    """Base of every error this library raises."""


class ConfigurationError(EnergyTrackingError, ValueError):
    """A setting, profile or argument is wrong; raised early, never inside a call."""


class UnknownModelError(ConfigurationError):
    """No profile is known for this model name."""


class UnknownGpuError(ConfigurationError):
    """No profile is known for this GPU name."""


class ProfileError(ConfigurationError):
    """A model or GPU profile has an impossible or missing value."""


class TokenCountError(EnergyTrackingError, ValueError):
    """A token count is negative, not finite, or not a number."""


class EnergyTrackingWarning(UserWarning):
    """Something is tracked less completely than it could be."""


def not_one_of(what: str, value: object, choices: Iterable[str]) -> str:
    """Say that a value is not one of the choices, the nearest ones first.

    Args:
        what: What the value was meant to name, e.g. ``"GPU"``.
        value: The value given.
        choices: All the names that would have been right.
    """
    names = list(choices)
    by_folded = {name.casefold(): name for name in names}
    near = get_close_matches(str(value).casefold(), by_folded, n=3, cutoff=0.5)
    if near:
        hint = "did you mean " + " or ".join(repr(by_folded[name]) for name in near) + "?"
    elif len(names) <= 12:
        hint = "known: " + ", ".join(repr(name) for name in names) + "."
    else:
        hint = f"known: {', '.join(repr(name) for name in names[:12])} and {len(names) - 12} more."
    return f"unknown {what} {value!r}; {hint}"
