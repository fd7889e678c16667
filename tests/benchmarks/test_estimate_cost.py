"""The rows whose cost is counted do what they are named after."""

from __future__ import annotations

import estimate_cost
import pytest

from energy_tracking import CallRecord, EnergyEstimate, TokenUsage
from energy_tracking.calls.record import Outcome

KINDS = {
    "read usage": TokenUsage,
    "usage to estimate": EnergyEstimate,
    "usage to outcome": Outcome,
    "usage to record": CallRecord,
}


@pytest.mark.parametrize("row", [row for row in estimate_cost.make_rows() if row != "nothing"])
def test_a_row_makes_what_it_is_named_after(row: str) -> None:
    what, _, method = row.partition(", ")
    made = estimate_cost.make_rows()[row]()
    assert isinstance(made, KINDS[what])
    if isinstance(made, CallRecord | Outcome):
        made = made.estimate
    if isinstance(made, EnergyEstimate):
        assert made.method == method
        assert made.reasoning_energy_joules
