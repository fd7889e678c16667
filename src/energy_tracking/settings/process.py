"""Settings of the session around everything, for programs that nobody edits.

They have no argument: in a program, ``energy_session`` takes the same, for a block of it. Every
tracker that is made reads them, so that they hold from the first tracked call on, in each process
for itself: a budget of 5 Wh lets each of four workers use 5 Wh.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from energy_tracking.bounds import read_number
from energy_tracking.calls.accounts import process_account
from energy_tracking.calls.tags import check_tags
from energy_tracking.errors import ConfigurationError, must_be, not_one_of
from energy_tracking.settings.names import variable
from energy_tracking.settings.settings import PROCESS_SETTINGS

if TYPE_CHECKING:
    from energy_tracking.calls.budget import Budget


def read_process_settings() -> None:
    """Give the session around everything its tags and its budget.

    Raises:
        ConfigurationError: A variable is of another form than its setting.
    """
    given = {name: os.environ.get(variable(name), "").strip() for name in PROCESS_SETTINGS}
    tags = _read_tags(given["tags"])
    budget = _read_budget(given["budget_wh"], given["on_exceed"])
    process_account.tags = tags
    known = process_account.budget
    if budget is None or known is None or not budget.is_like(known):
        # The one that is there remembers that it has warned.
        process_account.budget = budget


def _read_tags(given: str) -> dict[str, str]:
    pairs = [pair.partition("=") for pair in given.split(",") if pair.strip()]
    try:
        if not all(separator for _, separator, _ in pairs):
            raise ConfigurationError("no pair")
        return check_tags({name.strip(): value.strip() for name, _, value in pairs})
    except ConfigurationError:
        what = "tags as name=value,name=value, a name of letters, digits, '_' and '-'"
        raise ConfigurationError(must_be(variable("tags"), what, given)) from None


def _read_budget(given: str, on_exceed: str) -> Budget | None:
    if not (given or on_exceed):
        return None
    from energy_tracking.calls.budget import ON_EXCEED, Budget  # most programs have none

    if on_exceed and on_exceed not in ON_EXCEED:
        raise ConfigurationError(not_one_of(variable("on_exceed"), on_exceed, ON_EXCEED))
    if not given:
        return None
    try:
        # A number is one of the unit that the variable's name ends in.
        number: Any = read_number(given)
        return Budget(number, "raise" if on_exceed == "raise" else "warn")
    except ConfigurationError as error:
        rule = str(error).partition(" must be ")[2]
        raise ConfigurationError(f"{variable('budget_wh')} must be {rule}") from None
