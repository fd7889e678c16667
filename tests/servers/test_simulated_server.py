"""Shares held against the truth of a simulated server, whose power follows measured rows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from energy_tracking.servers.counters import EnergyReading
from energy_tracking.servers.sharing import Window, share_window
from energy_tracking.servers.windows import Moment, WindowLog
from simulated_server import (
    CASES,
    IDLE_WATTS,
    MODELS,
    Simulation,
    price_tokens,
    share_all,
    simulate,
    spread,
)

QWEN = "Qwen/Qwen3-14B"


def windows_of(simulation: Simulation, moments: list[Moment]) -> tuple[list[Window], float]:
    log = WindowLog()
    for moment in moments:
        log.add(moment, lambda start, end: 0.0)
    return list(log.windows), log.idle_watts or 0.0


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("model", MODELS)
def test_shares_are_what_requests_took_in_truth(model: str, case: str) -> None:
    simulation = simulate(model, case)
    log = simulation.log()
    idle_watts = log.idle_watts or 0.0
    assert idle_watts == pytest.approx(IDLE_WATTS * simulation.batches.gpus)
    shares = list(
        share_all(simulation.requests, log.windows, price_tokens(model, 24.0), idle_watts)
    )
    assert len(shares) == len(simulation.requests)
    middle, width = spread([joules / one.joules for one, joules in shares])
    # Prompts of 7,400 tokens are where the estimator's weights and equal time differ most.
    assert middle == pytest.approx(1.0, abs=0.03)
    assert width < (1.15 if model == QWEN else 1.35)
    # Together they took what the meter counted while anything ran.
    total = sum(joules for _, joules in shares)
    assert total == pytest.approx(sum(one.joules for one, _ in shares), rel=0.02)


@pytest.mark.parametrize("case", CASES)
def test_no_nanojoule_is_lost_or_counted_twice(case: str) -> None:
    simulation = simulate(QWEN, case, number=60)
    log = simulation.log()
    prices = price_tokens(QWEN, 24.0)
    weights = [prices.weigh(one.input_tokens, one.output_tokens) for one in simulation.requests]
    counted = 0
    for window in log.windows:
        shares = share_window(window, log.idle_watts or 0.0, weights)
        assert sum(shares.requests) + shares.idle == round(window.joules * 1e9)
        counted += round(window.joules * 1e9)
    first, last = simulation.moments[0].energy, simulation.moments[-1].energy
    if not first.counter.is_power:
        rise = last.devices["gpu"] - first.devices["gpu"]
        assert counted == pytest.approx(rise * 1e9, rel=1e-9)


def test_two_clients_of_one_server_each_pay_for_their_own() -> None:
    """Each knows its own calls and the server's sums alone."""
    simulation = simulate(QWEN, "energy, every second")
    log, prices = simulation.log(), price_tokens(QWEN, 24.0)
    for ours in (simulation.requests[::3], simulation.requests[1::3]):
        shares = list(share_all(ours, log.windows, prices, log.idle_watts or 0.0))
        total = sum(joules for _, joules in shares)
        assert total == pytest.approx(sum(one.joules for one in ours), rel=0.02)


def test_readings_that_stall_cost_accuracy_and_no_joule() -> None:
    simulation = simulate(QWEN, "energy, every second")
    stalled = [one for one in simulation.moments if one.at % 20 < 12]
    windows, idle_watts = windows_of(simulation, stalled)
    whole, _ = windows_of(simulation, simulation.moments)
    first, last = stalled[0].at, stalled[-1].at
    expected = sum(one.joules for one in whole if first <= one.started_at < last)
    assert sum(one.joules for one in windows) == pytest.approx(expected)
    shares = list(share_all(simulation.requests, windows, price_tokens(QWEN, 24.0), idle_watts))
    assert len(shares) > 0.9 * len(simulation.requests)
    _, width = spread([joules / one.joules for one, joules in shares])
    assert width < 1.25


def test_calls_over_a_counter_that_starts_anew_have_no_share_and_others_have() -> None:
    simulation = simulate(QWEN, "energy, every second")
    at = simulation.moments[len(simulation.moments) // 2].at
    base = next(one for one in simulation.moments if one.at == at).energy.devices["gpu"]

    def restart(moment: Moment) -> Moment:
        energy = moment.energy
        if moment.at < at:
            return moment
        devices = {"gpu": energy.devices["gpu"] - base}
        return replace(moment, energy=EnergyReading(energy.at, energy.counter, devices))

    windows, idle_watts = windows_of(simulation, [restart(one) for one in simulation.moments])
    assert [one.is_complete for one in windows].count(False) == 1
    prices = price_tokens(QWEN, 24.0)
    measured = {one for one, _ in share_all(simulation.requests, windows, prices, idle_watts)}
    (broken,) = [one for one in windows if not one.is_complete]
    over = {
        one
        for one in simulation.requests
        if one.arrives_at < broken.ended_at and one.ended_at > broken.started_at
    }
    assert over
    assert measured == set(simulation.requests) - over


def test_a_clock_of_the_server_s_own_changes_nothing() -> None:
    """All times are the reader's: it may have any beginning."""
    simulation = simulate(QWEN, "energy, every second", number=60)
    prices = price_tokens(QWEN, 24.0)
    log = simulation.log()
    here = [joules for _, joules in share_all(simulation.requests, log.windows, prices, 80.0)]
    hours = 4096.0 * 16
    moved = [
        replace(one, energy=EnergyReading(one.at + hours, one.energy.counter, one.energy.devices))
        for one in simulation.moments
    ]
    windows, _ = windows_of(simulation, moved)
    for request in simulation.requests:
        request.arrives_at += hours
        request.first_token_at += hours
        request.ended_at += hours
    there = [joules for _, joules in share_all(simulation.requests, windows, prices, 80.0)]
    assert there == pytest.approx(here, rel=1e-6)
