"""Columns of numbers add up as they are shown."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from energy_tracking.calls.amounts import add_up

AMOUNTS = st.lists(st.floats(1e-9, 1e9), min_size=1, max_size=30)


@given(AMOUNTS, st.integers(1, 6))
def test_rounded_numbers_add_up_to_their_rounded_sum(amounts: list[float], digits: int) -> None:
    shown = add_up(amounts, digits)
    *parts, total = (Decimal(0 if "<" in text else text.replace(",", "")) for text in shown)
    step = Decimal(10) ** Decimal(str(total)).as_tuple().exponent  # type: ignore[operator]
    assert sum(parts) == total
    assert abs(float(total) - sum(amounts)) <= float(step)
    for part, amount in zip(parts, amounts, strict=True):
        assert abs(float(part) - amount) <= 1.5 * float(step) * (1 + 1e-9)


def test_what_does_not_add_up_is_put_on_the_largest() -> None:
    assert add_up([14.6, 14.6, 0.26], 2) == ["14", "15", "<1", "29"]
    assert add_up([0.36, 30.04, 30.04], 3) == ["0.4", "30.0", "30.0", "60.4"]
    assert add_up([0.0, 0.0]) == ["0", "0", "0"]
    assert add_up([613.7, 0.29]) == ["614", "<1", "614"]
    assert add_up([5.4, 0.74, 0.0006]) == ["5.40", "0.74", "<0.01", "6.14"]
