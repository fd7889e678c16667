"""``meter``: a server's joules and tokens side by side, and what the estimator says of them.

The pages of the server and of its meter are read once a second; rich puts one table over the last
one, and the last one stays. In a pipe, it is all there is. A further line of the table is one of
``_format_frame``; a further fact of the file is a field of ``Calibration``.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import Any

import click

from energy_tracking.bounds import Bound
from energy_tracking.calls.amounts import format_count, two_digits
from energy_tracking.calls.record import Alternative
from energy_tracking.calls.report import table
from energy_tracking.cli.commands import NumberIn, command
from energy_tracking.cli.interruption import stopped_by_signals
from energy_tracking.cli.main import DONE, NOTHING_FOUND
from energy_tracking.cli.output import Output
from energy_tracking.errors import ConfigurationError
from energy_tracking.estimation import Estimation
from energy_tracking.estimator import CALIBRATED_METHOD, EnergyEstimate
from energy_tracking.hosts import PageAddress, read_host, read_page_address
from energy_tracking.servers.calibration import Calibration, write_calibration
from energy_tracking.servers.engines import ServerReading, read_page
from energy_tracking.servers.meters import MeterAddress, read_meter_address, read_moment
from energy_tracking.servers.pages import PageError, fetch_page, require_parser
from energy_tracking.servers.sharing import TokenPrices
from energy_tracking.servers.tally import Tally
from energy_tracking.settings import Settings
from energy_tracking.terminal import one_line, printable
from energy_tracking.usage.token_usage import TokenUsage

ANSWER_TOKENS = 500
"""Length of the answers that the estimate is made for [tokens]: pages count tokens, not their
contexts."""

MAX_PROMPT_TOKENS = 1e6
"""Longest prompt that it is made for [tokens]."""


@command("meter")
@click.option("--metrics", metavar="URL", required=True, help="The server's metrics page.")
@click.option(
    "--energy",
    metavar="URL|nvml",
    required=True,
    help="Its meter: the page of the DCGM exporter, AMD's exporter, Kepler or TensorRT-LLM's "
    "/energy_metrics, or nvml; #gpu=0,1 behind it for these GPUs alone.",
)
@click.option("--model", metavar="NAME", help="The model, where the page names none.")
@click.option("--gpu", metavar="NAME", help="GPU profile (default: ENERGY_TRACKING_GPU, or H100).")
@click.option(
    "--seconds",
    type=NumberIn(Bound(0, 1e7, "s")),
    help="End after so many seconds (default: Ctrl-C).",
)
@click.option(
    "--every",
    type=NumberIn(Bound(0.01, 1e4, "s")),
    default=1.0,
    help="Seconds between readings (default: 1).",
)
@click.option("--write", metavar="FILE", help="Put the factor into a calibration file.")
@click.option(
    "--host", metavar="HOST", help="Host of the calls that it is for (default: the page's)."
)
@click.pass_obj
def meter(output: Output, /, **given: Any) -> int:
    """Measure a server that you run: joules per token, idle watts, measured over estimated.

    Reads both pages until Ctrl-C. Let the server work meanwhile, as it usually does: what tokens
    take depends on how many requests share a step.
    """
    run = _prepare(**{name: given[name] for name in ("metrics", "energy", "model", "gpu")})
    with _naming_option("--host"):
        host = read_host(given["host"] or run.server.host)
    is_shown = sys.stdout is not None and sys.stdout.isatty()
    with suppress(KeyboardInterrupt), stopped_by_signals():
        seconds, every = given["seconds"], given["every"]
        readings = None if seconds is None else max(1, round(seconds / every))
        _read_on(run, readings, every, is_shown)
    if not is_shown:
        print("\n".join(_format_frame(run)), file=output)
    if given["write"] is not None:
        _write(output, run, given["write"], host)
    return DONE if run.tally.output_tokens else NOTHING_FOUND


@dataclass
class _Run:
    """One measurement.

    Attributes:
        server: The server's page.
        address: The meter.
        engine: Name of the engine.
        model: Name of the model.
        estimation: What estimates its tokens.
        tally: What was read so far.
        estimate: The last estimate, for its GPU.
        problem: Why the last reading failed.
        reason: Why nothing is estimated.
        exporter: What is read of the meter.
    """

    server: PageAddress
    address: MeterAddress
    engine: str
    model: str
    estimation: Estimation
    tally: Tally = field(init=False)
    estimate: EnergyEstimate | None = None
    problem: str = ""
    reason: str = ""
    exporter: str = ""

    def __post_init__(self) -> None:
        self.tally = Tally(self.price)

    def price(self, sequences: float) -> TokenPrices | None:
        """What tokens cost by the estimator, with so many sequences in a step.

        Args:
            sequences: Sequences [1].
        """
        # Of this ratio, as far as it is known.
        tally = self.tally
        ratio = tally.prompt_tokens / tally.output_tokens if tally.output_tokens else 1.0
        prompt = max(1, round(min(MAX_PROMPT_TOKENS, ratio * ANSWER_TOKENS)))
        usage = TokenUsage(dialect="chat", input_tokens=prompt, output_tokens=ANSWER_TOKENS)
        other = Alternative(method=CALIBRATED_METHOD, sequences=sequences)
        outcome = self.estimation.estimate_as(self.model, self.model, usage, other)
        estimate = outcome.estimate
        if estimate is None:
            self.reason = outcome.reason or ""
            return None
        self.estimate = estimate
        return TokenPrices(
            estimate.prefill_energy_joules / prompt,
            estimate.decode_energy_joules / ANSWER_TOKENS,
        )


@contextmanager
def _naming_option(option: str) -> Iterator[None]:
    """Name an option in the message of what is wrong with it.

    Raises:
        ConfigurationError: The block raises one.
    """
    try:
        yield
    except ConfigurationError as error:
        raise ConfigurationError(f"{option} {str(error).strip()}") from None


def _prepare(metrics: str, energy: str, model: str | None, gpu: str | None) -> _Run:
    """Read both pages once, so that what is wrong is said at once.

    Raises:
        ConfigurationError: An address is none, a page cannot be read, or it has several models.
    """
    with _naming_option("--metrics"):
        server = read_page_address(metrics)
    with _naming_option("--energy"):
        address = read_meter_address(energy)
    require_parser("energy-tracking meter")
    estimation = Estimation(Settings.load({"gpu": gpu} if gpu is not None else {}))
    try:
        readings = read_page(fetch_page(server))
    except PageError as error:
        raise ConfigurationError(f"--metrics: {server} {error}") from None
    reading = _require_one_model(readings)
    run = _Run(server, address, reading.engine, model or reading.model, estimation)
    try:
        moment = read_moment(address, server)
    except PageError as error:
        raise ConfigurationError(f"--energy: {address} {error}") from None
    run.exporter = moment.energy.counter.exporter
    run.tally.add(moment)
    return run


def _require_one_model(readings: tuple[ServerReading, ...]) -> ServerReading:
    """What the page says of its one model.

    Raises:
        ConfigurationError: The page has several, whose joules cannot be told apart.
    """
    if len(readings) == 1:
        return readings[0]
    names = ", ".join(repr(one.model) for one in readings)
    raise ConfigurationError(
        f"--metrics must be the page of one model, got one of {names}: their joules cannot be told "
        "apart"
    )


def _read_on(run: _Run, readings: int | None, every: float, is_shown: bool) -> None:
    """Read so many times, or until somebody interrupts."""
    live: Any = nullcontext(lambda: None)
    if is_shown:
        live = _Live(run)
    with live as show:
        for _ in count() if readings is None else range(readings):
            time.sleep(every)
            try:
                run.tally.add(read_moment(run.address, run.server))
                run.problem = ""
            except PageError as error:
                run.problem = f"the last reading failed: {run.address} {error}"
            show()


class _Live:
    """Shows the table in place of the last one, and leaves the last one there."""

    def __init__(self, run: _Run) -> None:
        self._run = run

    def __enter__(self) -> Callable[[], None]:
        from rich.live import Live

        self._live = Live(self._text(), auto_refresh=False)
        self._live.__enter__()
        return lambda: self._live.update(self._text(), refresh=True)

    def __exit__(self, *error: Any) -> None:
        self._live.__exit__(*error)

    def _text(self) -> Any:
        from rich.text import Text

        frame = printable("\n".join(_format_frame(self._run)), sys.stdout)
        return Text(frame, no_wrap=True, overflow="crop")


def _format_frame(run: _Run) -> list[str]:
    """The lines of the table."""
    tally = run.tally
    idle = "not seen yet" if tally.idle_watts is None else f"{two_digits(tally.idle_watts)} W"
    running = "" if tally.running is None else f", {two_digits(tally.running)} requests at a time"
    lines = [
        f"{run.engine}, {one_line(run.model) or 'a model without a name'}: {run.server}",
        f"{run.exporter}: {run.address}",
        f"{tally.seconds:.0f} s in {format_count(tally.windows, 'window')}"
        + _format_incomplete(tally.incomplete),
        f"power now {two_digits(tally.watts)} W{running}; idle {idle}",
        "",
        *_format_tokens(tally).splitlines(),
        "",
        f"measured {two_digits(tally.measured_joules)} J for tokens, "
        f"{two_digits(tally.idle_joules)} J while nothing ran",
        *_format_factor(run),
    ]
    return lines + [run.problem] * bool(run.problem)


def _format_incomplete(number: int) -> str:
    return f"; {number:,} more left out, whose counters began anew" if number else ""


def _format_tokens(tally: Tally) -> str:
    each = tally.joules_per_token
    prompt, output = (None, None) if each is None else each
    rows = [
        ("input", f"{tally.prompt_tokens:,.0f}", _format_small(prompt)),
        ("output", f"{tally.output_tokens:,.0f}", _format_small(output)),
    ]
    return table(("", "tokens", "J per token"), rows)


def _format_factor(run: _Run) -> list[str]:
    found = run.tally.factor
    if found is None:
        reason = run.reason or "no tokens were counted"
        return [f"no factor between measured and estimated: {reason}"]
    factor, error = found
    gpu = "" if run.estimate is None else f" on {run.estimate.gpu}"
    return [
        f"estimated {two_digits(run.tally.estimated_joules)} J by {CALIBRATED_METHOD}{gpu}, for "
        f"answers of {ANSWER_TOKENS} tokens",
        f"measured / estimated {_format_small(factor)} ({_format_small(factor / error)}-"
        f"{_format_small(factor * error)})",
    ]


def _format_small(number: float | None) -> str:
    return "-" if number is None else f"{number:.3g}"


def _write(output: Output, run: _Run, path: str, host: str) -> None:
    """Put the factor into a file.

    Raises:
        ConfigurationError: There is none, or the file cannot be written.
    """
    found = run.tally.factor
    if found is None or run.estimate is None:
        raise ConfigurationError("--write: nothing is written, since there is no factor")
    calibration = Calibration(
        host=host,
        model=run.model,
        gpu=run.estimate.gpu,
        engine=run.engine,
        date=datetime.now(UTC).date().isoformat(),
        factor=found[0],
        factor_error=found[1],
    )
    with _naming_option("--write"):
        write_calibration(path, calibration)
    print(f"written to {path}: use it with ENERGY_TRACKING_CALIBRATION={path}", file=output)
