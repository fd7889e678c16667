"""The energy of many calls at once: columns of token counts in, columns of energy out.

The same formulas as for one call run on arrays; there is no second one. Order of events:

1. each model name is looked up once, by the rules of ``Estimation``: a name is a row of what the
   formulas take of its model (``models``);
2. the rows are taken in parts, whose counts become floats and are checked once, whichever methods
   estimate them, and in blocks of these that fit in a processor's cache, so that memory grows by
   the columns returned and no more;
3. ``reference`` takes the numbers of each row's model by index; ``roofline``, which takes many
   more, has the rows of a block ordered by model first;
4. a row without energy has NaN and a status that says why.

The rooms, from the ground up: ``columns`` (what is given, checked), ``models``, ``table`` (what
is returned), ``by_method``, ``estimating`` (the door). A new method is a function in
``by_method``; a new reason for no energy is a name in ``STATUSES``.
"""

from __future__ import annotations

from importlib.util import find_spec

from energy_tracking.errors import say_install

if find_spec("numpy") is None:  # pragma: no cover
    raise ImportError(f"tables need the package 'numpy'; {say_install('report')}")

from energy_tracking.tables.estimating import TableEstimator, estimate_table
from energy_tracking.tables.table import (
    ESTIMATED,
    NO_COUNT,
    NO_PROFILE,
    NOT_NAMED,
    STATUSES,
    EnergyTable,
)

__all__ = [
    "ESTIMATED",
    "NOT_NAMED",
    "NO_COUNT",
    "NO_PROFILE",
    "STATUSES",
    "EnergyTable",
    "TableEstimator",
    "estimate_table",
]
