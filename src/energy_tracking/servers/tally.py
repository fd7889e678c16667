"""What a server took over a time: joules per token, idle watts, measured over estimated.

Everything but the reading of pages, for ``energy-tracking meter`` and for benchmarks.
"""

from __future__ import annotations

from collections.abc import Callable

from energy_tracking.servers.calibration import measure_factor
from energy_tracking.servers.sharing import TokenPrices, Window, split_idle
from energy_tracking.servers.windows import Moment, WindowLog
from energy_tracking.units import joules_from_nanojoules

PriceTokens = Callable[[float], "TokenPrices | None"]
"""Sequences decoded together [1] -> what tokens cost by the estimator; None: it does not know."""


class Tally:
    """A server's windows so far, added up.

    Attributes:
        windows: Those in which every joule was counted [1].
        incomplete: Those in which one is missing; their joules are left out [1].
        seconds: Length of the former [s].
        idle_joules: What was counted while nothing ran [J].
        measured_joules: What the tokens took [J].
        estimated_joules: What they cost by the estimator [J].
        prompt_tokens: Prompt tokens computed [tokens].
        output_tokens: Tokens generated [tokens].
        watts: Power in the last window [W].
        running: Requests in it [1]; None where the server does not say.
    """

    def __init__(self, price: PriceTokens) -> None:
        """Start with nothing.

        Args:
            price: What tokens cost by the estimator.
        """
        self.windows = self.incomplete = 0
        self.seconds = self.idle_joules = self.measured_joules = self.estimated_joules = 0.0
        self.prompt_tokens = self.output_tokens = self.watts = 0.0
        self.running: float | None = None
        self._price = price
        self._log = WindowLog()
        self._running: list[float] = []
        self._pairs: list[tuple[float, float]] = []
        self._prompt_estimate = self._output_estimate = 0.0

    @property
    def idle_watts(self) -> float | None:
        """What the boards draw when nothing runs [W]; None until that was seen."""
        return self._log.idle_watts

    @property
    def factor(self) -> tuple[float, float] | None:
        """Measured over estimated, and what that may be off by [1]; None: nothing to compare."""
        return measure_factor(self._pairs)

    @property
    def joules_per_token(self) -> TokenPrices | None:
        """What a prompt and an output token took [J]; None where no tokens were counted.

        What was measured for both is divided as the estimator has it.
        """
        if not self.estimated_joules:
            return None
        scale = self.measured_joules / self.estimated_joules
        return TokenPrices(
            scale * self._prompt_estimate / self.prompt_tokens if self.prompt_tokens else 0.0,
            scale * self._output_estimate / self.output_tokens if self.output_tokens else 0.0,
        )

    def add(self, moment: Moment) -> Window | None:
        """Take in a reading; returns the window that it ends, if it does."""
        if moment.running is not None:
            self._running.append(moment.running)
        window = self._log.add(moment, lambda start, end: 0.0)
        if window is None:
            return None
        running = self._running
        self.running = sum(running) / len(running) if running else None
        # The reading that ends a window begins the next.
        self._running = running[-1:]
        if not window.is_complete:
            self.incomplete += 1
            return window
        self.windows += 1
        self.seconds += window.seconds
        self.watts = window.joules / window.seconds
        self._add_energy(window)
        return window

    def _add_energy(self, window: Window) -> None:
        active, idle = map(joules_from_nanojoules, split_idle(window, self.idle_watts or 0.0))
        prompt, output = window.prompt_tokens or 0.0, window.output_tokens or 0.0
        self.prompt_tokens += prompt
        self.output_tokens += output
        prices = self._price(max(1.0, self.running or 1.0))
        estimated = 0.0 if prices is None else prices.weigh(prompt, output)
        self.idle_joules += idle
        self.measured_joules += active
        if prices is not None:
            self._prompt_estimate += prices.prompt * prompt
            self._output_estimate += prices.output * output
            self.estimated_joules += estimated
            self._pairs.append((active, estimated))
