"""Joules of windows, shared: every nanojoule once, and to whom it belongs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_tracking.servers.sharing import (
    CallShare,
    Demand,
    TokenPrices,
    Window,
    share_call,
    share_exactly,
    share_window,
    split_idle,
)

PRICES = TokenPrices(prompt=0.01, output=1.0)
WEIGHTS = st.lists(st.floats(0, 1e12), max_size=8)


def window(start: float, end: float, joules: float, **facts: float | bool | None) -> Window:
    return Window(started_at=start, ended_at=end, joules=joules, **facts)  # type: ignore[arg-type]


def demand(start: float, first: float, end: float, prompt: float, output: float) -> Demand:
    return Demand(
        started_at=start,
        first_token_at=first,
        ended_at=end,
        prompt_tokens=prompt,
        output_tokens=output,
    )


@given(st.integers(0, 10**21), WEIGHTS)
def test_shares_add_up_to_the_amount_exactly(amount: int, weights: list[float]) -> None:
    parts = share_exactly(amount, weights)
    assert sum(parts) == (amount if sum(weights) > 0 else 0)
    assert all(part >= 0 for part in parts)
    assert len(parts) == len(weights)


@given(st.floats(0, 1e9), st.floats(1e-3, 1e5), st.floats(0, 1), st.floats(0, 1e4), WEIGHTS)
def test_shares_and_the_idle_part_add_up_to_the_meter_exactly(
    joules: float, seconds: float, idle: float, watts: float, weights: list[float]
) -> None:
    one = window(5, 5 + seconds, joules, idle_seconds=idle * seconds)
    shares = share_window(one, watts, weights)
    assert sum(shares.requests) + shares.idle == round(joules * 1e9)
    assert shares.idle >= 0


def test_tokens_weigh_what_the_estimator_says_that_they_cost() -> None:
    # 200 J: 100 prompt tokens of 0.01 J and 3 output tokens of 1 J are 1 : 3.
    weights = (PRICES.weigh(100, 0), PRICES.weigh(0, 3))
    assert share_window(window(0, 1, 200), 0.0, weights) == ((50 * 10**9, 150 * 10**9), 0)


def test_idle_energy_is_by_the_time_in_which_nothing_ran() -> None:
    # 100 J in 2 s, of which nothing ran for 0.5 s at 60 W.
    assert split_idle(window(0, 2, 100, idle_seconds=0.5), 60) == (70 * 10**9, 30 * 10**9)
    # Never more than there is; and all of it where nothing ran at all, whatever idle watts are.
    assert split_idle(window(0, 2, 10, idle_seconds=0.5), 60) == (0, 10 * 10**9)
    assert split_idle(window(0, 2, 100, idle_seconds=2), 0) == (0, 100 * 10**9)


def test_what_nobody_used_is_idle() -> None:
    assert share_window(window(0, 1, 30), 0.0, ()) == ((), 30 * 10**9)
    assert share_window(window(0, 1, 30), 0.0, (0.0, 0.0)) == ((0, 0), 30 * 10**9)


def test_a_call_gets_its_part_of_the_server_s_tokens() -> None:
    # Ours makes 20 of 80 tokens in each of two windows, of 100 and 300 J.
    windows = [
        window(0, 1, 100, prompt_tokens=0, output_tokens=80),
        window(1, 2, 300, prompt_tokens=0, output_tokens=80),
    ]
    share = share_call(windows, demand(0, 0, 2, 0, 40), PRICES, 0.0)
    assert share == CallShare(joules=100, window_seconds=2, window_joules=400, idle_joules=0)


def test_a_call_alone_gets_all_but_the_idle_part() -> None:
    windows = [window(0, 2, 100, idle_seconds=1.0), window(2, 3, 90)]
    share = share_call(windows, demand(1, 1.5, 3, 10, 10), PRICES, 40.0)
    assert share == CallShare(joules=150, window_seconds=3, window_joules=190, idle_joules=40)


def test_calls_of_ours_share_where_the_server_counts_nothing() -> None:
    one, two = demand(0, 0, 2, 0, 30), demand(1, 1, 2, 0, 5)
    windows = [window(0, 1, 100), window(1, 2, 100)]
    taken: dict[float, int] = {}
    first = share_call(windows, one, PRICES, 0.0, [two], taken)
    second = share_call(windows, two, PRICES, 0.0, [], taken)
    assert first is not None
    assert second is not None
    # 15 of 15 tokens in the first window, 15 of 20 in the second.
    assert (first.joules, second.joules) == (175, 25)
    assert sum(taken.values()) == 200 * 10**9


@given(
    st.lists(st.tuples(st.floats(0, 9), st.floats(0.01, 9), st.integers(1, 10**4)), min_size=1),
    st.booleans(),
)
def test_calls_settled_one_after_the_other_never_get_more_than_was_counted(
    calls: list[tuple[float, float, int]], is_counted: bool
) -> None:
    """Whatever is assumed of those that still run, and however little the server counts."""
    counts = {"prompt_tokens": 1.0, "output_tokens": 10.0} if is_counted else {}
    windows = [window(at, at + 1, 100, idle_seconds=0.25, **counts) for at in range(20)]
    demands = [demand(start, start, start + long, 5, output) for start, long, output in calls]
    taken: dict[float, int] = {}
    total = 0
    for place, one in enumerate(demands):
        share = share_call(windows, one, PRICES, 40.0, demands[place + 1 :][:1], taken)
        assert share is not None
        total += round(share.joules * 1e9)
    assert total == pytest.approx(sum(taken.values()), abs=len(calls))
    assert all(0 <= part <= 90 * 10**9 for part in taken.values())


def test_two_clients_of_one_server_get_all_of_its_joules_together() -> None:
    # Each knows its own tokens and the server's sum alone.
    ours, theirs = demand(0.2, 0.5, 3.1, 1000, 260), demand(0.9, 1.4, 3.9, 4000, 500)
    every = [(100.0, 0.0), (240.0, 0.0), (250.0, 0.0), (190.0, 0.0)]
    windows = []
    for at, (joules, _) in enumerate(every):
        prompt = output = 0.0
        for one in (ours, theirs):
            prefill = max(0, min(at + 1, one.first_token_at) - max(at, one.started_at))
            decode = max(0, min(at + 1, one.ended_at) - max(at, one.first_token_at))
            prompt += one.prompt_tokens * prefill / (one.first_token_at - one.started_at)
            output += one.output_tokens * decode / (one.ended_at - one.first_token_at)
        windows.append(window(at, at + 1, joules, prompt_tokens=prompt, output_tokens=output))
    shares = [share_call(windows, one, PRICES, 0.0) for one in (ours, theirs)]
    assert sum(share.joules for share in shares if share) == pytest.approx(780.0, abs=1e-8)


def test_tokens_that_a_server_counts_when_a_request_ends_are_spread_over_it() -> None:
    # 4 s of 100 J each; ours and another of the same size run all the time, counted at the end.
    windows = [
        window(at, at + 1, 100, prompt_tokens=0, output_tokens=80 if at == 3 else 0)
        for at in range(4)
    ]
    share = share_call(windows, demand(0, 0, 4, 0, 40), PRICES, 0.0)
    assert share is not None
    assert share.joules == 200


def test_a_server_that_counts_less_than_we_used_gives_all_to_us() -> None:
    windows = [window(0, 1, 100, prompt_tokens=0, output_tokens=1)]
    share = share_call(windows, demand(0, 0, 1, 0, 40), PRICES, 0.0)
    assert share is not None
    assert share.joules == 100


def test_only_what_the_server_counts_is_weighed() -> None:
    # A server that counts no prompt tokens: ours weigh nothing either.
    windows = [window(0, 1, 100, output_tokens=80)]
    share = share_call(windows, demand(0, 0.5, 1, 10**6, 40), PRICES, 0.0)
    assert share is not None
    assert share.joules == 50


@pytest.mark.parametrize(
    "windows",
    [
        [],
        [window(0, 1, 100)],
        [window(1, 4, 100)],
        [window(0, 1, 100), window(1, 4, 100, is_complete=False)],
        [window(7, 8, 100)],
    ],
    ids=["none", "its end is missing", "its start is missing", "a reset", "another time"],
)
def test_a_call_that_was_not_read_whole_has_no_share(windows: list[Window]) -> None:
    assert share_call(windows, demand(0, 1, 3, 10, 10), PRICES, 0.0) is None


def test_a_call_may_begin_a_little_before_the_first_reading() -> None:
    share = share_call([window(0.1, 4, 100)], demand(0, 0.05, 3.9, 10, 10), PRICES, 0.0)
    assert share is not None
    assert share.joules == 100
