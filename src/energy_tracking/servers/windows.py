"""Readings of a meter, one after the other, as windows of joules and tokens.

The law:

1. A window ends at a reading at which the meter had counted anew. Exporters show the same for
   seconds: until they show more, the window goes on, and so no joule falls between two.
2. All times are our clock's, and what a page says of time is not looked at: another clock may be
   hours away. A reading that took long, or failed, makes a longer window and loses nothing.
3. Time in which nothing ran is idle: where the server says how many requests run, by that; else
   where it counted no token; and never time in which a call of ours was under way.
4. The idle power is the least of any window in which nothing ran.

Nothing here waits, reads or asks for the time.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

from energy_tracking.frozen import frozen
from energy_tracking.servers.counters import (
    EnergyCounter,
    EnergyReading,
    count_between,
    has_advanced,
)
from energy_tracking.servers.sharing import Window

MAX_WINDOWS = 7200
"""Windows kept [1]: two hours of one a second; a longer call has no share."""

IDLE_WINDOW_SECONDS = 1.0
"""The least window that says what the boards draw when nothing runs [s]: exporters update their
counters at times of their own."""


@frozen(kw_only=True)
class Moment:
    """What a meter and a server showed at one time.

    Attributes:
        energy: What the meter showed.
        running: Requests that the server ran [1]; None where it does not say.
        prompt_tokens: Prompt tokens so far, cached ones included [tokens]; None likewise.
        cached_tokens: Those of them that came out of a cache [tokens].
        output_tokens: Tokens that it has generated so far [tokens]; None likewise.
        counts_at_end: Whether it counts those of a request when that ends.
    """

    energy: EnergyReading
    running: float | None = None
    prompt_tokens: float | None = None
    cached_tokens: float = 0.0
    output_tokens: float | None = None
    counts_at_end: bool = False

    @property
    def at(self) -> float:
        """When it was read, by our clock [s]."""
        return self.energy.at

    @property
    def counts_tokens(self) -> bool:
        """Whether the server counts any tokens."""
        return self.prompt_tokens is not None or self.output_tokens is not None


BusySeconds = Callable[[float, float], float]
"""Start and end [s] -> time between them in which a call of ours was under way [s]."""


class WindowLog:
    """The windows of one meter.

    Attributes:
        windows: The last ones, each beginning where the one before ended.
        idle_watts: What the boards draw when nothing runs [W]; None until that was seen.
    """

    def __init__(self) -> None:
        """Start with none."""
        self.windows: deque[Window] = deque(maxlen=MAX_WINDOWS)
        self.idle_watts: float | None = None
        self._first: Moment | None = None
        self._last: Moment | None = None
        self._idle_seconds = 0.0
        self._running_seconds = 0.0

    @property
    def counter(self) -> EnergyCounter | None:
        """What is read; None where nothing was yet."""
        return None if self._last is None else self._last.energy.counter

    @property
    def read_at(self) -> float:
        """When it was read last [s]; long ago where it was not yet."""
        return -math.inf if self._last is None else self._last.at

    @property
    def read_until(self) -> float | None:
        """End of the last window [s]; None where nothing was read yet."""
        return None if self._first is None else self._first.at

    def add(self, moment: Moment, busy_seconds: BusySeconds) -> Window | None:
        """Take in a reading; returns the window that it ends, if it does.

        Args:
            moment: The reading.
            busy_seconds: How long calls of ours were under way.
        """
        first, last = self._first, self._last
        if first is None or last is None or moment.at < last.at:
            self._first = self._last = moment
            return None
        self._idle_seconds += _find_idle_seconds(last, moment, busy_seconds)
        if last.running is not None and moment.running is not None:
            self._running_seconds += (last.running + moment.running) / 2 * (moment.at - last.at)
        self._last = moment
        if not has_advanced(first.energy, moment.energy) or moment.at == first.at:
            return None
        window = _build_window(first, moment, self._idle_seconds, self._running_seconds)
        self._first, self._idle_seconds, self._running_seconds = moment, 0.0, 0.0
        self.windows.append(window)
        self._learn_idle_watts(window)
        return window

    def _learn_idle_watts(self, window: Window) -> None:
        seconds = window.seconds
        if window.is_complete and window.idle_seconds >= seconds >= IDLE_WINDOW_SECONDS:
            watts = window.joules / seconds
            self.idle_watts = watts if self.idle_watts is None else min(watts, self.idle_watts)


def _build_window(
    first: Moment, last: Moment, idle_seconds: float, running_seconds: float
) -> Window:
    counted, seconds = count_between(first.energy, last.energy), last.at - first.at
    # A sum of floats may miss the whole by its last digit.
    is_idle = idle_seconds > seconds * (1 - 1e-9)
    prompt, has_prompt = _count_tokens(first.prompt_tokens, last.prompt_tokens)
    cached, has_cached = _count_tokens(first.cached_tokens, last.cached_tokens)
    if prompt is not None and cached is not None:
        # Engines count one when a request is scheduled, the other when its prompt is done.
        prompt = max(0.0, prompt - cached)
    output, has_output = _count_tokens(first.output_tokens, last.output_tokens)
    return Window(
        started_at=first.at,
        ended_at=last.at,
        joules=counted.joules,
        idle_seconds=seconds if is_idle else idle_seconds,
        prompt_tokens=prompt,
        output_tokens=output,
        running=running_seconds / seconds if last.counts_at_end else None,
        is_complete=counted.is_complete and has_prompt and has_cached and has_output,
    )


def _count_tokens(before: float | None, after: float | None) -> tuple[float | None, bool]:
    """What a counter of tokens rose by [tokens], and whether that is all there was."""
    if before is None or after is None:
        # One that comes or goes is another server's.
        return None, before is after
    return (after - before, True) if after >= before else (after, False)


def _find_idle_seconds(last: Moment, moment: Moment, busy_seconds: BusySeconds) -> float:
    """Time between two readings in which nothing ran [s]."""
    seconds = moment.at - last.at
    has_moved = moment.counts_tokens and (
        last.prompt_tokens != moment.prompt_tokens or last.output_tokens != moment.output_tokens
    )
    if last.running is not None and moment.running is not None:
        still = (last.running == 0) + (moment.running == 0)
        idle = seconds * still / 2 if still < 2 or not has_moved else 0.0
    else:
        idle = 0.0 if has_moved else seconds
    return max(0.0, min(idle, seconds - busy_seconds(last.at, moment.at)))
