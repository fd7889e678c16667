"""Divide the joules of a window: pure arithmetic, whose parts add up to what was counted.

The order of a share:

1. ``split_idle`` takes out what the boards draw for the time in which no request ran. It belongs
   to no request.
2. ``share_exactly`` divides the rest among all tokens that the server produced, each weighted by
   what the estimator says that its prefill or decode costs. In whole nanojoules, so that the
   shares and the idle part add up to what was counted, to the last one.
3. ``share_call`` adds up one call's shares of the windows that it overlaps. Windows in which the
   server has counted less than this call alone used are joined with their neighbours.

Many servers count the tokens of a request when it ends, long after they were made: by these, a
call would pay for others. There, the requests that run share a window by time: each step of theirs
makes one token for each.

A board's own draw while it works is a part of what its tokens cost, here as in the estimate: only
so can a measured and an estimated energy be compared.
"""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from energy_tracking.frozen import frozen
from energy_tracking.units import joules_from_nanojoules, nanojoules_from_joules

UNREAD_SHARE = 0.05
"""Part of a call's time that may lie outside of what was read [1]: its start, before the first
reading."""


@frozen(kw_only=True)
class Window:
    """What was counted between two readings.

    Attributes:
        started_at: When the first was made, by our clock [s].
        ended_at: When the second was made [s].
        joules: What the meter counted [J].
        idle_seconds: Time in it in which no request ran [s].
        prompt_tokens: Prompt tokens that the server has computed in it [tokens]; None where it
            counts none.
        output_tokens: Tokens that it has generated [tokens]; None likewise.
        running: Requests that it ran, where it counts tokens when a request ends alone [1]; else
            None.
        is_complete: Whether no joule of it is missing.
    """

    started_at: float
    ended_at: float
    joules: float
    idle_seconds: float = 0.0
    prompt_tokens: float | None = None
    output_tokens: float | None = None
    running: float | None = None
    is_complete: bool = True

    @property
    def seconds(self) -> float:
        """Its length [s]."""
        return self.ended_at - self.started_at


@frozen(kw_only=True)
class Demand:
    """What one call asked of the server, and when, by our clock.

    Attributes:
        started_at: When its request was sent [s].
        first_token_at: When its first token came [s]; where nobody saw it, its start.
        ended_at: When it ended [s].
        prompt_tokens: Prompt tokens that had to be computed [tokens].
        output_tokens: Tokens generated for it [tokens].
    """

    started_at: float
    first_token_at: float
    ended_at: float
    prompt_tokens: float
    output_tokens: float

    @property
    def seconds(self) -> float:
        """Its length [s]."""
        return self.ended_at - self.started_at


class TokenPrices(NamedTuple):
    """What the estimator says that a token costs.

    Attributes:
        prompt: A prompt token [J].
        output: A generated token [J].
    """

    prompt: float
    output: float

    def weigh(self, prompt_tokens: float, output_tokens: float) -> float:
        """What these tokens cost by the estimator [J].

        Args:
            prompt_tokens: Prompt tokens [tokens].
            output_tokens: Generated tokens [tokens].
        """
        return self.prompt * prompt_tokens + self.output * output_tokens


class Shares(NamedTuple):
    """A window's nanojoules, divided.

    Attributes:
        requests: The share of each request [nJ].
        idle: What belongs to none [nJ].
    """

    requests: tuple[int, ...]
    idle: int


@frozen(kw_only=True)
class CallShare:
    """One call's part of what a meter counted.

    Attributes:
        joules: The call's [J].
        window_seconds: Length of the windows that it overlaps [s].
        window_joules: What the meter counted in them [J].
        idle_joules: Of these, what belongs to no request [J].
    """

    joules: float
    window_seconds: float
    window_joules: float
    idle_joules: float


def split_idle(window: Window, idle_watts: float) -> tuple[int, int]:
    """The nanojoules of a window that requests have used, and those that none has [nJ].

    Args:
        window: The window.
        idle_watts: What the boards draw when nothing runs, 0 where it is not known [W].
    """
    counted = nanojoules_from_joules(window.joules)
    if window.idle_seconds >= window.seconds:
        return 0, counted
    idle = min(counted, nanojoules_from_joules(idle_watts * window.idle_seconds))
    return counted - idle, idle


def share_exactly(amount: int, weights: Sequence[float]) -> tuple[int, ...]:
    """An amount divided by weights, in whole parts that add up to it.

    Where nothing weighs anything, nothing is divided, and every part is 0.

    Args:
        amount: What is divided [nJ].
        weights: Weight of each part [any unit, 1 for all].
    """
    total = sum(weights)
    if not total > 0:
        return (0,) * len(weights)
    parts, cut, weighed = [], 0, 0.0
    for place, weight in enumerate(weights, start=1):
        weighed += weight
        # The last cut is at the end, whatever floats have added up to.
        is_last = place == len(weights)
        reached = amount if is_last else min(amount, round(amount * (weighed / total)))
        parts.append(reached - cut)
        cut = reached
    return tuple(parts)


def share_window(window: Window, idle_watts: float, weights: Sequence[float]) -> Shares:
    """A window divided among requests, and what belongs to none.

    Args:
        window: The window.
        idle_watts: What the boards draw when nothing runs, 0 where it is not known [W].
        weights: What the tokens of each request cost by the estimator [J].
    """
    active, idle = split_idle(window, idle_watts)
    requests = share_exactly(active, weights)
    return Shares(requests, idle + active - sum(requests))


def share_call(
    windows: Sequence[Window],
    demand: Demand,
    prices: TokenPrices,
    idle_watts: float,
    others: Sequence[Demand] = (),
    taken: MutableMapping[float, int] | None = None,
) -> CallShare | None:
    """One call's part of the windows that it overlaps; None where they do not cover it whole.

    Args:
        windows: Windows one after the other, each beginning where the one before ended.
        demand: The call.
        prices: What its model's tokens cost by the estimator.
        idle_watts: What the boards draw when nothing runs, 0 where it is not known [W].
        others: Further calls of ours to that server that have no share yet, which count where the
            server itself counts no tokens.
        taken: Start of a window -> what calls have as their shares of it [nJ]; this one's is added.
            No call gets what another one has.
    """
    over = [one for one in windows if _overlaps(one, demand)]
    if not over or not all(one.is_complete for one in over) or not _are_enough(over, demand):
        return None
    read_from = max(demand.started_at, over[0].started_at)
    seen = replace(
        demand, started_at=read_from, first_token_at=max(demand.first_token_at, read_from)
    )
    groups = _join_windows([_weigh_window(one, seen, prices, others) for one in over])
    taken = {} if taken is None else taken
    joules = sum(_take_share(group, idle_watts, taken) for group in groups)
    idle = sum(split_idle(one, idle_watts)[1] for one in over)
    return CallShare(
        joules=joules_from_nanojoules(joules),
        window_seconds=over[-1].ended_at - over[0].started_at,
        window_joules=joules_from_nanojoules(sum(nanojoules_from_joules(w.joules) for w in over)),
        idle_joules=joules_from_nanojoules(idle),
    )


class _Group(NamedTuple):
    """Windows that are shared together: what weighs in them, ours and all there is.

    By what tokens cost [J], or by time [s].
    """

    windows: tuple[Window, ...]
    ours: float
    all: float
    is_ours_alone: bool = False

    def join(self, later: _Group) -> _Group:
        return _Group(
            self.windows + later.windows,
            self.ours + later.ours,
            self.all + later.all,
            self.is_ours_alone and later.is_ours_alone,
        )


def _take_share(group: _Group, idle_watts: float, taken: MutableMapping[float, int]) -> int:
    """A call's share of windows [nJ], which nobody else gets from now on."""
    left = {
        one.started_at: split_idle(one, idle_watts)[0] - taken.get(one.started_at, 0)
        for one in group.windows
    }
    weights = group.ours, max(0.0, group.all - group.ours)
    if group.is_ours_alone:
        # Those that have their shares have them; what is left is for the others.
        amount = sum(left.values())
    else:
        amount = sum(split_idle(one, idle_watts)[0] for one in group.windows)
    share = min(share_exactly(max(0, amount), weights)[0], max(0, sum(left.values())))
    rest = share
    for started_at, room in left.items():
        part = min(rest, max(0, room))
        taken[started_at] = taken.get(started_at, 0) + part
        rest -= part
    return share


def _weigh_window(
    window: Window, demand: Demand, prices: TokenPrices, others: Sequence[Demand]
) -> _Group:
    """A window, with what this call and all calls used in it by the estimator."""
    prompt, output = window.prompt_tokens, window.output_tokens
    if window.running is not None:
        seconds = min(demand.ended_at, window.ended_at)
        seconds -= max(demand.started_at, window.started_at)
        # Of a window in which nothing ran for a time, that is idle already.
        return _Group((window,), seconds, max(seconds, window.running * window.seconds))
    if prompt is None and output is None:
        ours = _weigh_demand(window, demand, prices)
        theirs = sum(_weigh_demand(window, other, prices) for other in others)
        return _Group((window,), ours, ours + theirs, is_ours_alone=True)
    # By what the server counts alone, so that both weigh the same.
    known = TokenPrices(
        0.0 if prompt is None else prices.prompt, 0.0 if output is None else prices.output
    )
    ours = _weigh_demand(window, demand, known)
    return _Group((window,), ours, known.weigh(prompt or 0.0, output or 0.0))


def _weigh_demand(window: Window, demand: Demand, prices: TokenPrices) -> float:
    """What a call used in a window by the estimator, its phases spread evenly over their time."""
    prefill = _share_of(window, demand.started_at, demand.first_token_at)
    if demand.first_token_at <= demand.started_at:
        prefill = _share_of(window, demand.started_at, demand.ended_at)
    decode = _share_of(window, demand.first_token_at, demand.ended_at)
    return prices.weigh(demand.prompt_tokens * prefill, demand.output_tokens * decode)


def _share_of(window: Window, start: float, end: float) -> float:
    """The part of a phase that lies in a window [1]."""
    if end <= start:
        return 1.0 * (window.started_at <= start < window.ended_at)
    inside = min(end, window.ended_at) - max(start, window.started_at)
    return max(0.0, inside) / (end - start)


def _join_windows(groups: Sequence[_Group]) -> list[_Group]:
    """The same, where the server has counted at least what this call used."""
    joined: list[_Group] = []
    for group in groups:
        if joined and joined[-1].all < joined[-1].ours:
            joined[-1] = joined[-1].join(group)
        else:
            joined.append(group)
    while len(joined) > 1 and joined[-1].all < joined[-1].ours:
        last = joined.pop()
        joined[-1] = joined[-1].join(last)
    return joined


def _overlaps(window: Window, demand: Demand) -> bool:
    return window.started_at < demand.ended_at and demand.started_at < window.ended_at


def _are_enough(windows: Sequence[Window], demand: Demand) -> bool:
    """Whether windows cover a call but for a small part at its start."""
    unread = max(0.0, windows[0].started_at - demand.started_at)
    return windows[-1].ended_at >= demand.ended_at and unread <= UNREAD_SHARE * demand.seconds
