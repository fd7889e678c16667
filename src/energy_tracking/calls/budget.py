"""How much energy a session may use, and what happens once it has.

A budget is asked before a call is sent. It holds against the energy credited by then, to
the nanojoule: no call is started once the sum has reached the budget. Nothing is reserved
for calls in progress, whose energy nobody knows before they have ended: they may finish, and
overshoot it.
"""

from __future__ import annotations

import inspect
import re
import threading
from collections.abc import Callable
from typing import Literal

from energy_tracking.bounds import Bound, is_choice
from energy_tracking.contexts import Activities, Activity
from energy_tracking.errors import (
    ConfigurationError,
    EnergyBudgetExceeded,
    must_be,
    not_one_of,
    with_sentence,
)
from energy_tracking.notices import log
from energy_tracking.units import (
    joules_from_nanojoules,
    joules_from_wh,
    nanojoules_from_joules,
    wh_from_joules,
)

OnExceed = Literal["warn", "raise"] | Callable[[EnergyBudgetExceeded], object]
ON_EXCEED = ("warn", "raise")

# Less than a nanojoule, in which energy is counted, is none.
BUDGET = Bound(1e-12, 1e12, "Wh", or_zero=True)

UNITS = {
    "kWh": 1e3,
    "Wh": 1.0,
    "mWh": 1e-3,
    "µWh": 1e-6,
    "uWh": 1e-6,
    "kJ": wh_from_joules(1e3),
    "J": wh_from_joules(1.0),
}
"""Units that a budget may be written in, and the size of each [Wh]. Without mega: a slip of the
shift key in ``mWh`` would allow a billion times as much."""

ENERGY_EXAMPLES = "an energy such as '5Wh', '200 mWh' or '18 kJ'"

_ENERGY = re.compile(rf"((?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)\s*({'|'.join(UNITS)})", re.ASCII)

# Calls that a user's function makes about a budget are not asked for that budget again.
_calling: Activities[Activity] = Activities("energy_tracking.budget")


def read_energy_wh(name: str, value: object) -> float:
    """An energy as people write it, e.g. ``5Wh``, or as a number of watt-hours [Wh].

    Args:
        name: The argument, for messages.
        value: What was given.

    Raises:
        ConfigurationError: It is neither a number with one of ``UNITS`` nor one without, or it
            is out of the bounds of a budget.
    """
    number = value
    if isinstance(value, str):
        found = _ENERGY.fullmatch(value.strip())
        number = float(found[1]) * UNITS[found[2]] if found else None
    if not BUDGET.holds(number):
        raise ConfigurationError(must_be(name, f"{BUDGET.text}, or {ENERGY_EXAMPLES}", value))
    return BUDGET.check(name, number)


class Budget:
    """The energy a session may use."""

    __slots__ = ("_limit_nanojoules", "_on_exceed", "_warned", "budget_wh")

    def __init__(self, budget_wh: float | str, on_exceed: OnExceed) -> None:
        """Set the limit and what happens at it.

        Args:
            budget_wh: The energy [Wh], or a text with its unit, e.g. ``"5kWh"``; 0 allows no call.
            on_exceed: ``"warn"`` logs once, ``"raise"`` raises ``EnergyBudgetExceeded``; a
                function is given that error before every further call, and may raise it.

        Raises:
            ConfigurationError: ``budget_wh`` is neither 0 nor an energy from a nanojoule to
                1e12 Wh, or ``on_exceed`` is neither one of the words nor a function that is
                not async.
        """
        self.budget_wh = read_energy_wh("budget_wh", budget_wh)
        if not callable(on_exceed) and not is_choice(on_exceed, ON_EXCEED):
            raise ConfigurationError(
                with_sentence(
                    not_one_of("on_exceed", on_exceed, ON_EXCEED),
                    "A function may be given too.",
                )
            )
        if inspect.iscoroutinefunction(on_exceed):
            what = "a function that is not async: nobody would await it"
            raise ConfigurationError(must_be("on_exceed", what, on_exceed))
        self._limit_nanojoules = nanojoules_from_joules(joules_from_wh(self.budget_wh))
        self._on_exceed = on_exceed
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forget that a warning was given: for the child of a fork."""
        self._warned = threading.Lock()

    def is_like(self, other: Budget) -> bool:
        """Whether another budget allows the same."""
        return (self.budget_wh, self._on_exceed) == (other.budget_wh, other._on_exceed)

    def check(self, session: str, energy_nanojoules: int) -> None:
        """Raise, warn or call the user's function if this much energy uses up the budget.

        Args:
            session: Name of the session, for the message.
            energy_nanojoules: What the session has used [nJ].

        Raises:
            EnergyBudgetExceeded: The budget is used up and ``on_exceed`` is ``"raise"``, or a
                function that raises it.
        """
        if energy_nanojoules < self._limit_nanojoules or _calling.current():
            return
        total_energy_wh = wh_from_joules(joules_from_nanojoules(energy_nanojoules))
        exceeded = EnergyBudgetExceeded(session, self.budget_wh, total_energy_wh)
        calling = Activity()
        try:
            if self._on_exceed == "raise":
                raise exceeded
            if self._on_exceed == "warn":
                if self._warned.acquire(blocking=False):
                    log("%s; its calls go on", exceeded)
                return
            _calling.enter(calling)
            self._on_exceed(exceeded)
        finally:
            calling.over = True
            # The frame would hold the error, and the error the frame.
            del exceeded
