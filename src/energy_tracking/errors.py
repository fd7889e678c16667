"""Every error and warning of the library, one tree.

    EnergyTrackingError
    +-- ConfigurationError (ValueError)     raised early, never inside a tracked call
    |   +-- UnknownModelError
    |   +-- UnknownGpuError
    |   +-- ProfileError
    +-- TokenCountError (ValueError)
    +-- UnreadableLogError (ValueError)     raised where a log is read strictly
    +-- EnergyBudgetExceeded                the only one that a tracked call can raise
    EnergyTrackingWarning (UserWarning)

A message names the setting, the value and what would be right.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

VALUE_LENGTH = 120
"""Characters of a value that messages show [1]."""


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


class UnreadableLogError(EnergyTrackingError, ValueError):
    """A file of calls has an entry that cannot be read, and reading was to be strict."""


class EnergyBudgetExceeded(EnergyTrackingError):
    """A session has used up its budget; the call that would have been next was not sent.

    The only error of this library that a tracked call can raise, and only where a session
    was given a budget and ``on_exceed="raise"``, or a function that raises it.

    Attributes:
        session: Name of the session.
        budget_wh: What it may use [Wh].
        total_energy_wh: What it has used [Wh].
    """

    def __init__(self, session: str, budget_wh: float, total_energy_wh: float) -> None:
        """Say whose budget it is and what has become of it."""
        # All of them, so that a process pool can send it back.
        super().__init__(session, budget_wh, total_energy_wh)
        self.session = session
        self.budget_wh = budget_wh
        self.total_energy_wh = total_energy_wh

    def __str__(self) -> str:
        """For people."""
        return (
            f"session {self.session!r} has used {self.total_energy_wh:.2g} Wh of its budget of "
            f"{self.budget_wh:g} Wh"
        )


class EnergyTrackingWarning(UserWarning):
    """Something is tracked less completely than it could be."""


def shown(value: object) -> str:
    """A value as messages show it: as Python writes it, cut to what a line holds."""
    try:
        text = repr(value)
    except Exception:  # of somebody else's class, or a number of more digits than Python writes
        text = f"a {type(value).__name__}"
    return text if len(text) <= VALUE_LENGTH else f"{text[: VALUE_LENGTH - 3]}..."


def must_be(name: str, what: str, value: object, remedy: str = "") -> str:
    """The one grammar of messages: *name* must be *what*, got *value*; *remedy*.

    Args:
        name: The argument or setting.
        what: What it must be.
        value: The value given.
        remedy: What to do.
    """
    return f"{name} must be {what}, got {shown(value)}" + (f"; {remedy}" if remedy else "")


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
