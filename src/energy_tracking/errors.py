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

Every message has one grammar, that of ``must_be``: *name* must be *what*, got *value*; *remedy*.
"""

from __future__ import annotations

from collections.abc import Iterable

VALUE_LENGTH = 120
"""Characters of a value that messages show [1]."""

LIMIT_DIGITS = 6
"""Significant digits of a limit that messages show [1]."""

NAMES_LISTED = 12
"""Names that a message lists [1]; of more it has the nearest."""


def say_install(extra: str) -> str:
    """What to type for the packages of an extra, wherever this one was installed from.

    Args:
        extra: Its name.
    """
    return f"install it with: pip install 'energy-tracking[{extra}]' (in a checkout: '.[{extra}]')"


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
        """The session, what it has used, and its budget."""
        used, budget = amounts_apart(self.total_energy_wh, self.budget_wh)
        if used == budget:
            return f"session {self.session!r} has used up its budget of {budget} Wh"
        return f"session {self.session!r} has used {used} Wh of its budget of {budget} Wh"


class EnergyTrackingWarning(UserWarning):
    """Something is tracked less completely than it could be."""


def shown(value: object) -> str:
    """A value as messages show it: as Python writes it, cut to what a line holds."""
    try:
        text = repr(value)
    except Exception:  # of somebody else's class, or a number of more digits than Python writes
        text = f"a {type(value).__name__}"
    return text if len(text) <= VALUE_LENGTH else f"{text[: VALUE_LENGTH - 3]}..."


def amounts_apart(amount: float, limit: float) -> tuple[str, str]:
    """An amount and its limit, with the digits that it takes to see which is larger.

    Args:
        amount: The amount, in two digits or more.
        limit: The limit, in six digits at most.

    Returns:
        Both without exponents; the same text twice where nobody would see the difference.
    """
    limit_text = _plain(limit, LIMIT_DIGITS)
    shown_limit = float(limit_text.replace(",", ""))
    for digits in range(2, LIMIT_DIGITS + 3):
        text = _plain(amount, digits)
        shown_amount = float(text.replace(",", ""))
        if (shown_amount > shown_limit, shown_amount < shown_limit) == (
            amount > limit,
            amount < limit,
        ):
            return text, limit_text
    return limit_text, limit_text


def _plain(value: float, digits: int) -> str:
    from decimal import Decimal  # not light

    return f"{Decimal(f'{value:.{digits}g}'):,f}"


def must_be(name: str, what: str, value: object, remedy: str = "") -> str:
    """The one grammar of messages: *name* must be *what*, got *value*; *remedy*.

    Args:
        name: The argument or setting; empty where the caller puts it before the message.
        what: What it must be.
        value: The value given.
        remedy: What to do.
    """
    message = f"{name} must be {what}, got {shown(value)}".lstrip()
    return f"{message}; {remedy}" if remedy else message


def with_sentence(message: str, sentence: str) -> str:
    """A message, ended, and a further sentence.

    Args:
        message: The message.
        sentence: What comes behind it.
    """
    return f"{message}{'' if message.endswith(('?', '.')) else '.'} {sentence}"


def not_one_of(name: str, value: object, choices: Iterable[str], what: str = "a known name") -> str:
    """Say that a value is not one of the choices, and which are nearest.

    Args:
        name: The argument or setting, as in ``must_be``.
        value: The value given.
        choices: All the names that would have been right.
        what: What they are, where they are too many to be listed.
    """
    names = list(choices)
    by_folded = {name.casefold(): name for name in names}
    given = (value if isinstance(value, str) else shown(value)).casefold()[:VALUE_LENGTH]
    from difflib import get_close_matches  # needed where something is wrong alone

    near = [by_folded[one] for one in get_close_matches(given, by_folded, n=3, cutoff=0.5)]
    if len(names) <= NAMES_LISTED:
        what = f"one of {', '.join(map(repr, names))}"
    if near:
        remedy = f"did you mean {' or '.join(map(repr, near))}?"
    elif len(names) <= NAMES_LISTED:
        remedy = ""
    else:
        first = ", ".join(map(repr, names[:NAMES_LISTED]))
        remedy = f"known are {first} and {len(names) - NAMES_LISTED} more"
    return must_be(name, what, value, remedy)
