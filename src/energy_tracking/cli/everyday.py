"""An energy as something that everybody knows."""

from __future__ import annotations

from energy_tracking.calls.amounts import two_digits
from energy_tracking.units import joules_from_wh

LAMP_WATTS = 10.0
"""A light-emitting lamp as bright as an old 60 W bulb (800 lumen) takes about 10 W [W].

Source: https://www.energy.gov/energysaver/lumens-and-lightbulb
"""
KETTLE_JOULES = 1.0 * 4186 * 80
"""A litre of water from 20 to 100 degrees Celsius [J]: 1 kg x 4,186 J/(kg K) x 80 K.

Source: specific heat of water, https://webbook.nist.gov/chemistry/fluid/
"""


def everyday_text(joules: float) -> str:
    """An energy as something that everybody knows, with where that is from.

    Args:
        joules: The energy [J].
    """
    if joules >= KETTLE_JOULES:
        litres = two_digits(joules / KETTLE_JOULES)
        return (
            f"as much as heats {litres} litres of water from 20 to 100 degrees Celsius "
            "(4,186 J per kg and K, NIST Chemistry WebBook)"
        )
    seconds = joules / LAMP_WATTS
    hour = joules_from_wh(1)
    if seconds >= hour:
        amount = f"{two_digits(seconds / hour)} hours"
    elif seconds >= 60:
        amount = f"{two_digits(seconds / 60)} minutes"
    else:
        amount = f"{two_digits(seconds)} seconds"
    return (
        f"as much as a {LAMP_WATTS:g} W LED lamp takes in {amount} "
        "(800 lumen: US Department of Energy, energy.gov/energysaver)"
    )
