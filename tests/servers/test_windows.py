"""Readings as windows, by times that the tests choose."""

from __future__ import annotations

import pytest

from energy_tracking.servers.counters import COUNTERS, EnergyReading
from energy_tracking.servers.sharing import Window
from energy_tracking.servers.windows import Moment, WindowLog

DCGM = COUNTERS[0]
WATTS = next(row for row in COUNTERS if row.is_power)


def moment(at: float, joules: float, counter: object = DCGM, **server: float) -> Moment:
    energy = EnergyReading(at, counter, {"a": joules})  # type: ignore[arg-type]
    return Moment(energy=energy, **server)  # type: ignore[arg-type]


def never_busy(start: float, end: float) -> float:
    return 0.0


def always_busy(start: float, end: float) -> float:
    return end - start


def windows_of(*moments: Moment, busy: object = always_busy) -> list[Window]:
    log = WindowLog()
    return [window for one in moments if (window := log.add(one, busy))]  # type: ignore[arg-type]


def test_windows_follow_each_other_and_lose_no_joule() -> None:
    windows = windows_of(moment(0, 100), moment(1, 300), moment(5, 310), moment(5.5, 900))
    assert [(one.started_at, one.ended_at, one.joules) for one in windows] == [
        (0, 1, 200),
        (1, 5, 10),
        (5, 5.5, 590),
    ]
    assert all(one.is_complete for one in windows)


def test_a_window_goes_on_until_the_counter_does() -> None:
    """An exporter that updates every 30 seconds shows the same 29 times."""
    shown = [moment(at, 100 if at < 30 else 9100, output_tokens=10.0 * at) for at in range(31)]
    (window,) = windows_of(*shown)
    assert (window.started_at, window.ended_at, window.joules) == (0, 30, 9000)
    assert window.output_tokens == 300


def test_a_reading_that_failed_makes_a_longer_window_with_the_same_joules() -> None:
    shown = [moment(at, 100.0 * at * at, output_tokens=7.0 * at) for at in range(10)]
    stalled = [one for one in shown if not 3 <= one.at <= 6]
    for readings in (shown, stalled):
        windows = windows_of(*readings)
        assert sum(one.joules for one in windows) == 8100
        assert sum(one.output_tokens or 0 for one in windows) == 63


def test_tokens_that_came_out_of_a_cache_were_not_computed() -> None:
    before = moment(0, 0, prompt_tokens=1000, cached_tokens=100, output_tokens=0)
    (window,) = windows_of(
        before, moment(1, 50, prompt_tokens=1600, cached_tokens=500, output_tokens=20)
    )
    assert (window.prompt_tokens, window.output_tokens) == (200, 20)
    # Engines count what is cached before the prompt that it is of.
    (window,) = windows_of(before, moment(1, 50, prompt_tokens=1000, cached_tokens=500))
    assert window.prompt_tokens == 0
    assert not window.is_complete  # its output counter went away


@pytest.mark.parametrize(
    ("after", "joules", "tokens"),
    [
        (moment(1, 4, output_tokens=600.0), 4, 100),
        (moment(1, 200, output_tokens=30.0), 100, 30),
    ],
    ids=["the meter", "the server"],
)
def test_a_counter_that_starts_anew_makes_an_incomplete_window(
    after: Moment, joules: float, tokens: float
) -> None:
    (window,) = windows_of(moment(0, 100, output_tokens=500), after)
    assert (window.joules, window.output_tokens, window.is_complete) == (joules, tokens, False)


def test_idle_time_is_that_in_which_the_server_runs_nothing() -> None:
    steps = [(0, 0.0), (2, 0.0), (3, 4.0), (5, 4.0), (6, 0.0), (9, 0.0)]
    shown = [moment(at, 100.0 * at, running=running) for at, running in steps]
    windows = windows_of(*shown, busy=never_busy)
    # Half of a window in which it begins or ends.
    assert [one.idle_seconds for one in windows] == [2, 0.5, 0, 0.5, 3]


def test_a_server_that_counted_tokens_between_two_idle_readings_was_not_idle() -> None:
    shown = [moment(0, 0, running=0, output_tokens=5), moment(1, 60, running=0, output_tokens=9)]
    assert windows_of(*shown, busy=never_busy)[0].idle_seconds == 0


def test_no_time_is_idle_in_which_a_call_of_ours_ran() -> None:
    shown = [moment(0, 0), moment(4, 100)]
    assert windows_of(*shown, busy=lambda start, end: 3.0)[0].idle_seconds == 1
    assert windows_of(*shown)[0].idle_seconds == 0
    assert windows_of(*shown, busy=never_busy)[0].idle_seconds == 4


def test_the_idle_power_is_the_least_of_windows_in_which_nothing_ran() -> None:
    log = WindowLog()
    assert log.idle_watts is None
    shown = [(0, 0, 0), (10, 800, 0), (11, 1200, 3), (12, 1600, 3), (20, 2300, 0), (30, 3000, 0)]
    for at, joules, running in shown:
        log.add(moment(at, joules, running=running), never_busy)
    assert log.idle_watts == 70


def test_steps_of_an_idle_window_add_up_to_the_whole_of_it() -> None:
    steps = [0.1 * step for step in range(40)]
    shown = [*(moment(at, 0, running=0.0) for at in steps), moment(4.7, 470, running=0.0)]
    (window,) = windows_of(*shown, busy=never_busy)
    assert window.idle_seconds == window.seconds == 4.7


def test_power_is_integrated_over_each_window() -> None:
    windows = windows_of(moment(0, 100, WATTS), moment(1, 300, WATTS), moment(3, 300, WATTS))
    assert [one.joules for one in windows] == [200, 600]


def test_a_clock_that_goes_back_begins_anew() -> None:
    assert windows_of(moment(9, 100), moment(3, 900)) == []
    assert [one.joules for one in windows_of(moment(9, 1), moment(3, 9), moment(4, 12))] == [3]
