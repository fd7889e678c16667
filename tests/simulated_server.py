"""A server whose power and speed follow measured rows by its batch, in a time of its own.

Each request gets an equal part of the power while it runs: that is the truth that shares are held
against. Nothing here waits: time goes in steps of ``STEP_SECONDS``.

Run: PYTHONPATH=src:tests python tests/simulated_server.py
"""

from __future__ import annotations

import csv
import math
import random
from bisect import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from energy_tracking.calls.record import Alternative
from energy_tracking.estimation import Estimation
from energy_tracking.servers.counters import COUNTERS, EnergyReading
from energy_tracking.servers.sharing import Demand, TokenPrices, Window, share_call
from energy_tracking.servers.windows import Moment, WindowLog
from energy_tracking.settings import Settings
from energy_tracking.usage.token_usage import TokenUsage

ROWS = Path(__file__).parent / "servers" / "data" / "power_by_batch.csv"
STEP_SECONDS = 0.05
IDLE_WATTS = 80.0
"""Of one board [W]; ours, since the rows were measured at work."""
PREFILL_RATE = 20_000.0
"""Prompt tokens that a request has computed in a second [tokens/s]; ours."""
ENERGY = COUNTERS[0]
POWER = next(row for row in COUNTERS if row.is_power)
MODELS = {"Qwen/Qwen3-14B": "H100", "Qwen/Qwen3.5-397B-A17B": "B200"}
"""Model of the rows, and its GPU."""


@dataclass(eq=False)
class Request:
    """One request, and what became of it."""

    arrives_at: float
    input_tokens: int
    output_tokens: int
    first_token_at: float = math.nan
    ended_at: float = math.nan
    made: float = 0.0
    joules: float = 0.0

    @property
    def demand(self) -> Demand:
        """What it asked for, as its client sees it."""
        return Demand(
            started_at=self.arrives_at,
            first_token_at=self.first_token_at,
            ended_at=self.ended_at,
            prompt_tokens=self.input_tokens,
            output_tokens=self.output_tokens,
        )


@dataclass
class Batches:
    """Power and speed by batch, as measured; between the rows along a power law."""

    model: str
    gpus: int = 1
    batch: list[float] = field(default_factory=list)
    watts: list[float] = field(default_factory=list)
    tokens_per_second: list[float] = field(default_factory=list)
    input_tokens: int = 0
    output_tokens: int = 0

    @classmethod
    def load(cls, model: str) -> Batches:
        """The rows of a model."""
        loaded = cls(model)
        with open(ROWS, newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                if row["model"] == model:
                    loaded.gpus = int(row["n_gpus"])
                    loaded.batch.append(float(row["batch"]))
                    loaded.watts.append(float(row["watts"]))
                    loaded.tokens_per_second.append(float(row["tokens_per_second"]))
                    loaded.input_tokens = int(row["input_tokens"])
                    loaded.output_tokens = int(row["output_tokens"])
        return loaded

    def power(self, running: int) -> float:
        """Power with so many requests [W]."""
        return self._at(self.watts, running) if running else IDLE_WATTS * self.gpus

    def rate(self, running: int) -> float:
        """Tokens generated for all of them [tokens/s]."""
        # A step of few sequences takes no less time than the least that was measured.
        return self._at(self.tokens_per_second, running) * min(1.0, running / self.batch[0])

    def _at(self, values: Sequence[float], running: int) -> float:
        if running <= self.batch[0]:
            return values[0]
        if running >= self.batch[-1]:
            return values[-1]
        place = bisect(self.batch, running)
        low, high = self.batch[place - 1], self.batch[place]
        share = math.log(running / low) / math.log(high / low)
        return math.exp((1 - share) * math.log(values[place - 1]) + share * math.log(values[place]))


@dataclass
class Simulation:
    """A server at work.

    Attributes:
        batches: What it follows.
        requests: All requests.
        moments: What its meter and its page showed, every ``period``.
        counts_at_end: Whether it counts tokens when a request ends, as TGI does.
        counter: What the meter shows: energy, or power.
        lag: How much later than the meter its page is read [s].
    """

    batches: Batches
    requests: list[Request]
    period: float = 1.0
    counts_at_end: bool = False
    counter: object = ENERGY
    lag: float = 0.0
    moments: list[Moment] = field(default_factory=list)

    def run(self) -> Simulation:
        """Work until everything is done, and a while longer."""
        running: list[Request] = []
        waiting = sorted(self.requests, key=lambda one: one.arrives_at)
        joules = prompt = output = 0.0
        shown: list[tuple[float, float, int, float, float]] = []
        end = math.inf
        step = 0
        while step * STEP_SECONDS < end:
            now = step * STEP_SECONDS
            while waiting and waiting[0].arrives_at <= now:
                running.append(waiting.pop(0))
            watts = self.batches.power(len(running))
            shown.append((joules, watts, len(running), prompt, output))
            joules += watts * STEP_SECONDS
            each = self.batches.rate(len(running)) / len(running) if running else 0.0
            for one in running:
                one.joules += watts * STEP_SECONDS / len(running)
                done_prompt, done_output = self._advance(one, now + STEP_SECONDS, each)
                prompt, output = prompt + done_prompt, output + done_output
            running = [one for one in running if math.isnan(one.ended_at)]
            step += 1
            if not running and not waiting and end == math.inf:
                end = now + 12.0
        every, late = round(self.period / STEP_SECONDS), round(self.lag / STEP_SECONDS)
        for place in range(0, len(shown) - late, every):
            self.moments.append(self._show(place * STEP_SECONDS, shown[place], shown[place + late]))
        return self

    def _advance(self, one: Request, now: float, each: float) -> tuple[float, float]:
        """Work on a request; the tokens that the server counts for it meanwhile."""
        if math.isnan(one.first_token_at):
            if now - one.arrives_at < one.input_tokens / PREFILL_RATE:
                return 0.0, 0.0
            one.first_token_at = now
            return 0.0 if self.counts_at_end else one.input_tokens, 0.0
        made = min(each * STEP_SECONDS, one.output_tokens - one.made)
        one.made += made
        if one.made < one.output_tokens:
            return 0.0, 0.0 if self.counts_at_end else made
        one.ended_at = now
        return (one.input_tokens, one.output_tokens) if self.counts_at_end else (0.0, made)

    def _show(self, at: float, meter: tuple[float, ...], page: tuple[float, ...]) -> Moment:
        value = meter[1] if self.counter is POWER else meter[0]
        energy = EnergyReading(at, self.counter, {"gpu": value})  # type: ignore[arg-type]
        return Moment(
            energy=energy,
            running=page[2],
            prompt_tokens=page[3],
            output_tokens=page[4],
            counts_at_end=self.counts_at_end,
        )

    def log(self) -> WindowLog:
        """The windows that a meter makes of it."""
        log = WindowLog()
        for moment in self.moments:
            log.add(moment, lambda start, end: 0.0)
        return log


def make_requests(batches: Batches, number: int, most: float, seed: int) -> list[Request]:
    """Requests of the rows' sizes, coming in waves.

    Args:
        batches: The rows.
        number: How many.
        most: Requests that run at a time where the load is highest, about [1].
        seed: Of the random sizes and times.
    """
    chance = random.Random(seed)
    seconds = batches.output_tokens * most / batches.rate(round(most))
    requests, now = [], 2.0
    for place in range(number):
        load = 0.15 + 0.85 * math.sin(3 * math.pi * place / number) ** 2
        now += chance.expovariate(load * most / seconds)
        requests.append(
            Request(
                arrives_at=now,
                input_tokens=max(1, round(batches.input_tokens * chance.lognormvariate(0, 0.5))),
                output_tokens=max(2, round(batches.output_tokens * chance.lognormvariate(0, 0.5))),
            )
        )
    return requests


def price_tokens(model: str, sequences: float) -> TokenPrices:
    """What a model's tokens cost by the estimator, on the GPU of its rows.

    Args:
        model: The model.
        sequences: Sequences in a step [1].
    """
    batches = Batches.load(model)
    estimation = Estimation(Settings.load({"gpu": MODELS[model]}, {}))
    usage = TokenUsage(
        dialect="chat", input_tokens=batches.input_tokens, output_tokens=batches.output_tokens
    )
    other = Alternative(method="roofline", sequences=sequences)
    estimate = estimation.estimate_as(model, model, usage, other).estimate
    assert estimate is not None
    return TokenPrices(
        estimate.prefill_energy_joules / batches.input_tokens,
        estimate.decode_energy_joules / batches.output_tokens,
    )


def share_all(
    requests: Sequence[Request], windows: Sequence[Window], prices: TokenPrices, idle_watts: float
) -> Iterator[tuple[Request, float]]:
    """Each request that was measured, and its share [J]."""
    for one in requests:
        share = share_call(windows, one.demand, prices, idle_watts)
        if share is not None:
            yield one, share.joules


def spread(factors: Sequence[float]) -> tuple[float, float]:
    """Median, and what 90 % of the factors are within of 1, over or under."""
    sizes = sorted(max(factor, 1 / factor) for factor in factors)
    return median(factors), sizes[math.ceil(0.9 * len(sizes)) - 1]


CASES: dict[str, dict[str, object]] = {
    "energy, every second": {},
    "energy, every 5 seconds": {"period": 5.0},
    "power, every second": {"counter": POWER},
    "page read 0.5 s late": {"lag": 0.5},
    "tokens counted at the end": {"counts_at_end": True},
}


def simulate(model: str, case: str, number: int = 300, most: float = 48.0) -> Simulation:
    """A simulation of a case, done.

    Args:
        model: Of the rows.
        case: Name of the case.
        number: Requests.
        most: Those that run at a time at most, about.
    """
    batches = Batches.load(model)
    requests = make_requests(batches, number, most, seed=7)
    return Simulation(batches, requests, **CASES[case]).run()  # type: ignore[arg-type]


def main() -> None:
    """Print the table of attribution errors."""
    for model in MODELS:
        prices = price_tokens(model, 24.0)
        for case in CASES:
            simulation = simulate(model, case)
            log = simulation.log()
            idle_watts = log.idle_watts or 0.0
            shares = list(share_all(simulation.requests, log.windows, prices, idle_watts))
            middle, width = spread([joules / one.joules for one, joules in shares])
            total = sum(joules for _, joules in shares) / sum(one.joules for one, _ in shares)
            print(f"{model:24} {case:28} {len(shares):4} {middle:5.2f} {width:5.2f} {total:6.3f}")


if __name__ == "__main__":
    main()
