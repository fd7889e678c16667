"""Sums over calls are exact and leave no call out."""

from __future__ import annotations

import random
from dataclasses import fields, replace
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_tracking.calls.record import CallRecord, CallRequest
from energy_tracking.calls.totals import Totals, group_of, grouped, sum_of, sums_by_kind
from energy_tracking.estimator import EnergyEstimate
from energy_tracking.usage.token_usage import TokenUsage

REQUEST = CallRequest(operation="chat", provider="openai", model="gpt-4o")
USAGE = TokenUsage(input_tokens=120, cached_input_tokens=64, output_tokens=80, reasoning_tokens=32)
ESTIMATE = EnergyEstimate(
    model_profile="gpt-4o",
    gpu="H100",
    method="reference",
    method_version="1",
    scope="gpu",
    grade="D",
    attention_mode="quadratic",
    reasoning_factor=1.0,
    prefill_energy_joules=30.0,
    decode_energy_joules=90.5,
    reasoning_energy_joules=36.25,
    total_flops=1e15,
    total_energy_low_joules=60.0,
    total_energy_high_joules=240.0,
    range_parts={},
)
ESTIMATED = CallRecord(request=REQUEST, status="estimated", usage=USAGE, estimate=ESTIMATE)
PARTIAL = replace(
    ESTIMATED, status="partial", usage=replace(USAGE, estimated=("output_tokens",)), reason="cut"
)
UNKNOWN_MODEL = replace(ESTIMATED, status="unestimated", estimate=None, reason="no profile")
UNREAD = CallRecord(request=REQUEST, status="unestimated", reason="nothing was read")
REFUSED = CallRecord(
    request=REQUEST, status="unestimated", reason="failed", error_type="RateLimitError"
)
MEASURED = replace(ESTIMATED, status="measured", measured_energy_joules=100.0)
CUT_OFF = replace(PARTIAL, error_type="APIConnectionError")
CUT_OFF_UNKNOWN = replace(UNKNOWN_MODEL, error_type="APIConnectionError")


def counted(*records: CallRecord) -> Totals:
    totals = Totals()
    for record in records:
        totals.add(record)
    return totals


def costing(prefill_energy_joules: float, decode_energy_joules: float = 0.0) -> CallRecord:
    estimate = replace(
        ESTIMATE,
        prefill_energy_joules=prefill_energy_joules,
        decode_energy_joules=decode_energy_joules,
    )
    return replace(ESTIMATED, estimate=estimate)


@pytest.mark.parametrize(
    ("record", "kind"),
    [
        (ESTIMATED, None),
        (MEASURED, "measured_calls"),
        (PARTIAL, "partial_calls"),
        (CUT_OFF, "partial_calls"),
        (UNKNOWN_MODEL, "unestimated_calls"),
        (CUT_OFF_UNKNOWN, "unestimated_calls"),
        (UNREAD, "unestimated_calls"),
        (REFUSED, "failed_calls"),
    ],
)
def test_every_call_is_of_one_kind(record: CallRecord, kind: str | None) -> None:
    totals = counted(record)
    kinds = ("measured_calls", "partial_calls", "unestimated_calls", "failed_calls")
    assert totals.calls == 1
    assert {name: getattr(totals, name) for name in kinds if getattr(totals, name)} == (
        {kind: 1} if kind else {}
    )


def test_tokens_and_energy_are_split() -> None:
    totals = counted(ESTIMATED, ESTIMATED)
    assert (totals.input_tokens, totals.cached_input_tokens) == (240, 128)
    assert (totals.output_tokens, totals.reasoning_tokens) == (160, 64)
    assert totals.prefill_energy_joules == 60.0
    assert totals.decode_energy_joules == 181.0
    assert totals.reasoning_energy_joules == 72.5
    assert totals.total_energy_joules == 241.0
    assert totals.prefill_energy_wh == pytest.approx(60 / 3600, rel=1e-15)
    assert totals.decode_energy_wh == pytest.approx(181 / 3600, rel=1e-15)
    assert totals.total_energy_wh == pytest.approx(241 / 3600, rel=1e-15)


def test_ends_of_ranges_add_up_because_their_errors_go_together() -> None:
    totals = counted(ESTIMATED, ESTIMATED, UNKNOWN_MODEL)
    assert (totals.total_energy_low_joules, totals.total_energy_high_joules) == (120.0, 480.0)
    assert totals.total_energy_low_wh == pytest.approx(120 / 3600, rel=1e-15)
    assert totals.total_energy_high_wh == pytest.approx(480 / 3600, rel=1e-15)
    # As uncertain as one call: nothing averages out.
    one = counted(ESTIMATED)
    assert totals.total_energy_high_joules / totals.total_energy_joules == (
        one.total_energy_high_joules / one.total_energy_joules
    )


def test_measured_energy_takes_the_estimates_place_and_has_no_range() -> None:
    totals = counted(ESTIMATED, MEASURED)
    assert totals.total_energy_joules == 120.5 + 100.0
    assert totals.total_energy_low_joules == 60.0 + 100.0
    assert totals.total_energy_high_joules == 240.0 + 100.0
    # The split stays that of the estimates.
    assert totals.decode_energy_joules == 181.0


CALIBRATED = replace(
    ESTIMATE,
    method="roofline",
    prefill_energy_joules=3.0,
    decode_energy_joules=9.0,
    total_energy_low_joules=6.0,
    total_energy_high_joules=24.0,
)


def test_the_calibrated_number_is_summed_beside_with_its_range_and_its_calls() -> None:
    beside = replace(ESTIMATED, calibrated=CALIBRATED)
    totals = counted(beside, beside, ESTIMATED, replace(MEASURED, calibrated=CALIBRATED))
    assert (totals.calls, totals.calibrated_calls) == (4, 3)
    assert totals.calibrated_energy_joules == 36.0
    assert (totals.calibrated_energy_low_joules, totals.calibrated_energy_high_joules) == (18, 72)
    assert totals.calibrated_energy_wh == pytest.approx(36 / 3600, rel=1e-15)
    assert totals.calibrated_energy_low_wh == pytest.approx(18 / 3600, rel=1e-15)
    assert totals.calibrated_energy_high_wh == pytest.approx(72 / 3600, rel=1e-15)
    assert totals.total_energy_joules == 3 * 120.5 + 100
    assert totals.as_dict()["calibrated_energy_joules"] == 36.0


@pytest.mark.parametrize(("scope", "calls"), [("gpu", 1), ("facility", 0)])
def test_an_estimate_by_roofline_of_the_boards_is_its_own_calibrated_number(
    scope: str, calls: int
) -> None:
    totals = counted(replace(ESTIMATED, estimate=replace(CALIBRATED, scope=scope)))
    assert (totals.calibrated_calls, totals.calibrated_energy_joules) == (calls, 12.0 * calls)


@pytest.mark.parametrize(
    ("record", "key"),
    [
        (ESTIMATED, ("gpt-4o", "H100", "reference", "gpu", "D")),
        (PARTIAL, ("gpt-4o", "H100", "reference", "gpu", "D")),
        (MEASURED, ("gpt-4o", "H100", "measured", "-", "-")),
        (replace(MEASURED, estimate=None), ("gpt-4o", "-", "measured", "-", "-")),
        (UNKNOWN_MODEL, ("gpt-4o", "-", "-", "-", "-")),
        (
            replace(ESTIMATED, estimate=replace(CALIBRATED, scope="facility", grade="A")),
            ("gpt-4o", "H100", "roofline", "facility", "A"),
        ),
    ],
)
def test_a_row_is_of_one_model_gpu_method_scope_and_grade(
    record: CallRecord, key: tuple[str, ...]
) -> None:
    assert group_of(record) == key


def test_sums_of_different_kinds_stay_apart() -> None:
    facility = replace(ESTIMATED, estimate=replace(CALIBRATED, scope="facility"))
    groups = grouped([ESTIMATED, replace(ESTIMATED, response_model="o1"), facility, MEASURED])
    sums = sums_by_kind(groups)
    assert {kind: totals.total_energy_joules for kind, totals in sums.items()} == {
        ("reference", "gpu"): 241.0,
        ("roofline", "facility"): 12.0,
        ("measured", "-"): 100.0,
    }
    assert sums_by_kind({}) == {}


def test_tokens_of_an_unestimated_call_are_counted() -> None:
    totals = counted(UNKNOWN_MODEL)
    assert (totals.input_tokens, totals.output_tokens) == (120, 80)
    assert totals.total_energy_nanojoules == 0


def test_unknown_reasoning_counts_as_none() -> None:
    record = replace(
        ESTIMATED,
        usage=replace(USAGE, reasoning_tokens=None),
        estimate=replace(ESTIMATE, reasoning_energy_joules=None),
    )
    totals = counted(record)
    assert (totals.reasoning_tokens, totals.reasoning_energy_joules) == (0, 0.0)


def test_a_million_small_calls_add_up_exactly() -> None:
    tenth_of_a_millijoule = counted(costing(1e-4))
    totals, drifting = Totals(), 0.0
    for _ in range(1_000_000):
        totals.total_energy_nanojoules += tenth_of_a_millijoule.total_energy_nanojoules
        drifting += 1e-4
    assert totals.total_energy_joules == 100.0
    assert drifting != 100.0


energies = st.floats(min_value=0, max_value=1e5)


@given(st.lists(st.tuples(energies, energies), max_size=30), st.randoms(use_true_random=False))
def test_sums_depend_on_no_order(costs: list[tuple[float, float]], shuffler: random.Random) -> None:
    records = [costing(*cost) for cost in costs]
    forth = counted(*records)
    shuffler.shuffle(records)
    half = len(records) // 2
    assert counted(*records) == forth
    assert sum_of([counted(*records[:half]), counted(*records[half:])]) == forth
    exact = sum((Fraction(part) for cost in costs for part in cost), Fraction())
    # Each part is rounded to the nanojoule once, after a float product good to 0.02 nJ.
    assert abs(Fraction(forth.total_energy_nanojoules) - exact * 10**9) <= 1.04 * len(costs)


def test_adding_groups_adds_every_field() -> None:
    numbers: dict[str, Any] = {field.name: 10 + i for i, field in enumerate(fields(Totals))}
    totals = Totals(**numbers)
    totals += Totals(**numbers)
    assert totals == Totals(**{name: 2 * number for name, number in numbers.items()})


def test_the_sum_of_nothing_is_zero() -> None:
    assert sum_of([]) == Totals()
    assert Totals().total_energy_wh == 0.0
