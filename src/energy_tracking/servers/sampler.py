"""How busy the servers of calls are, sampled off their metrics pages while the calls are under way.

The order of events:

1. A call starts: ``Servers.begin`` finds the page of its host, wakes the page's sampler, or starts
   its thread, and returns what is asked when the call has ended. Nothing is waited for.
2. The thread takes a sample at once, and then one every ``PERIOD_SECONDS``, as long as a call
   is under way; then it ends. It is a daemon, stopped at exit, and none is left after a fork.
3. The call ends: each moment of it counts for the sample nearest in time, and the mean of these is
   its load. A call shorter than a period has one or two of them.

A page that cannot be read, or is not of the server that ran the call, costs the call nothing: its
batch stays assumed. That is said once for each page and kind of fault.
"""

from __future__ import annotations

import _thread
import math
import threading
from bisect import bisect
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from time import perf_counter, sleep
from typing import NamedTuple
from weakref import WeakSet

from energy_tracking.estimator.evidence import ServerLoad
from energy_tracking.hosts import MetricsPage, PageAddress, name_machine
from energy_tracking.lifecycle import call_after_fork, call_at_exit
from energy_tracking.notices import log_once
from energy_tracking.servers.engines import ServerReading, read_page
from energy_tracking.servers.pages import PageError, fetch_page, require_parser

PERIOD_SECONDS = 1.0
"""Time between two samples while calls are under way [s]."""

LEAST_SECONDS = 0.1
"""Time between two samples, however many calls start [s]."""

REACH_SECONDS = 5.0
"""How far in time a sample stands for a server [s]."""

KEPT = 4096
"""Samples of a page that are kept [1]; of a longer call the end is known."""

SETTING = "server_metrics (ENERGY_TRACKING_SERVER_METRICS)"


class Sample(NamedTuple):
    """A page, read at a moment.

    Attributes:
        at: When, on the clock of ``perf_counter`` [s].
        readings: What it says, by model.
    """

    at: float
    readings: tuple[ServerReading, ...]


class Servers:
    """The servers whose pages a setting names."""

    def __init__(self, pages: Sequence[MetricsPage]) -> None:
        """Prepare for calls; nothing is fetched before one starts.

        Args:
            pages: The setting.

        Raises:
            ConfigurationError: What reads pages is not installed.
        """
        require_parser(SETTING)
        self._pages = tuple(pages)
        self._has_matched = False

    def begin(
        self, host: str, port: int | None, model: str | None
    ) -> Callable[[], ServerLoad | None] | None:
        """Watch the server of a call from now on.

        Args:
            host: Host of the call.
            port: Its port.
            model: The model asked for.

        Returns:
            What reads, when the call has ended, how busy its server was; None where no page
            is that of its host.
        """
        address = find_page(self._pages, host, port)
        if address is None:
            if not self._has_matched:
                pages = ", ".join(str(page) for page in self._pages)
                log_once(
                    f"none of {pages}",
                    "%s: calls to %s go to none of %s: their batch is assumed. Where a page is of "
                    "a server behind another host, write HOST=ADDRESS. This is said once.",
                    SETTING,
                    f"{host}:{port}",
                    pages,
                )
            return None
        self._has_matched = True
        return _find_sampler(address).watch(model)


def find_page(pages: Sequence[MetricsPage], host: str, port: int | None) -> PageAddress | None:
    """The page of a host and port; else, if it has but one, that of the host.

    A page is often on another port than the API.

    Args:
        pages: The pages.
        host: The host of a call.
        port: Its port.
    """
    machine = name_machine(host)
    of_host = [page for page in pages if name_machine(page.host) == machine]
    for page in of_host:
        if page.port == port:
            return page.address
    return of_host[0].address if len(of_host) == 1 else None


class Watch:
    """A call whose server is watched; what reads its load."""

    __slots__ = ("__weakref__", "_model", "_sampler", "_started_at")

    def __init__(self, sampler: Sampler, model: str | None) -> None:
        """Start now.

        Args:
            sampler: Samples the server's page.
            model: The model asked for.
        """
        self._sampler = sampler
        self._model = model
        self._started_at = perf_counter()

    def __call__(self) -> ServerLoad | None:
        """How busy the server was from the start until now; None where that is not known."""
        return self._sampler.end(self, self._model, self._started_at)


class Sampler:
    """Samples one page while calls of its server are under way."""

    def __init__(self, address: PageAddress) -> None:
        self.address = address
        self.start_anew()

    def start_anew(self) -> None:
        """Know of no call and no sample, as the child of a fork does."""
        self._samples: list[Sample] = []
        self._watches: WeakSet[Watch] = WeakSet()
        # A signal handler may start a call while one is started: no lock that waits.
        self._wakes: SimpleQueue[None] = SimpleQueue()
        self._is_running = threading.Lock()
        self._is_stopped = False

    def stop(self) -> None:
        """Have the thread end."""
        self._is_stopped = True
        self._wakes.put(None)

    def watch(self, model: str | None) -> Watch:
        """Watch the server for a call that starts now."""
        watch = Watch(self, model)
        self._watches.add(watch)
        self._wakes.put(None)
        self._start_thread()
        return watch

    def end(self, watch: Watch, model: str | None, started_at: float) -> ServerLoad | None:
        """How busy the server was for a call that ends now.

        Args:
            watch: The call's.
            model: The model it asked for.
            started_at: When it started [s].
        """
        self._watches.discard(watch)
        ended_at = perf_counter()
        samples = _cut_out(self._samples, started_at, ended_at)
        chosen = [
            (sample.at, reading)
            for sample in samples
            if (reading := _choose_model(sample.readings, model)) is not None
        ]
        if samples and not chosen:
            models = ", ".join(repr(reading.model) for reading in samples[-1].readings)
            self._say("models", f"is of {models}, and names none as calls do, {model!r}")
        mean = compute_mean([(at, reading.batch) for at, reading in chosen], started_at, ended_at)
        if mean is None:
            return None
        if mean == 0 and sum(at > started_at for at, _ in chosen) > 1:
            self._say("idle", "states no running requests while a call ran")
            return None
        (began, first), (ended, last) = chosen[0], chosen[-1]
        tokens = _count_between(first.output_tokens, last.output_tokens)
        return ServerLoad(
            running_requests=mean,
            num_gpus=last.num_gpus,
            source=f"{last.engine} at {self.address}",
            model=last.model or None,
            output_tokens_per_second=None if tokens is None else tokens / (ended - began),
            cached_share=_share_cached(first, last),
        )

    def _start_thread(self) -> None:
        if self._is_running.acquire(blocking=False):
            call_at_exit(stop_samplers)
            try:
                # Not a ``threading.Thread``, whose start takes locks, and waits.
                _thread.start_new_thread(self._run, (self._is_running,))
            except RuntimeError:
                # No thread can be started, at the end of the process for one.
                self._is_running.release()

    def _run(self, running: threading.Lock) -> None:
        """Sample while calls are under way; the thread's own function."""
        while self._watches and not self._is_stopped:
            self._forget_wakes()
            self._take_sample()
            with suppress(Empty):
                self._wakes.get(timeout=PERIOD_SECONDS)
                # A call has started. Those that start with it share its sample.
                sleep(LEAST_SECONDS)
        # Nobody needs what was before the next call, but for the last.
        self._samples = self._samples[-1:]
        running.release()
        if self._watches and not self._is_stopped:
            # One has started just now, and found this thread still there.
            self._start_thread()

    def _forget_wakes(self) -> None:
        """Forget the calls that have started: the next sample is for all of them."""
        with suppress(Empty):
            while True:
                self._wakes.get_nowait()

    def _take_sample(self) -> None:
        """Fetch and read the page; what goes wrong is said once."""
        try:
            readings = read_page(fetch_page(self.address))
        except PageError as error:
            self._say(str(error).partition(" ")[0], str(error))
        except Exception as error:
            self._say(type(error).__name__, f"cannot be read: {type(error).__name__}: {error}")
        else:
            samples = self._samples
            samples.append(Sample(perf_counter(), readings))
            if len(samples) > 2 * KEPT:
                self._samples = samples[-KEPT:]

    def _say(self, kind: str, what: str) -> None:
        log_once(
            f"{self.address} {kind}",
            "the metrics page %s %s: the batch of calls to its server is assumed while that is so. "
            "Check the page and %s. This is said once.",
            self.address,
            what,
            SETTING,
            kind="metrics pages",
        )


def _cut_out(samples: list[Sample], started_at: float, ended_at: float) -> list[Sample]:
    """The samples in a span of time, and the one on either side of it."""
    first = bisect(samples, started_at, key=lambda sample: sample.at)
    last = bisect(samples, ended_at, key=lambda sample: sample.at)
    return samples[max(first - 1, 0) : last + 1]


def _count_between(first: float | None, last: float | None) -> float | None:
    """What a counter counted between two readings; None where it did not, or began anew."""
    return last - first if first is not None and last is not None and last > first else None


def _share_cached(first: ServerReading, last: ServerReading) -> float | None:
    """Part of the prompt tokens between two readings that was cached; else of all so far [1]."""
    tokens = _count_between(first.input_tokens, last.input_tokens)
    cached = last.cached_input_tokens
    if tokens is not None and cached is not None and first.cached_input_tokens is not None:
        cached -= first.cached_input_tokens
    else:
        tokens = last.input_tokens
    if not tokens or cached is None or not 0 <= cached <= tokens:
        return None
    return cached / tokens


def _choose_model(readings: tuple[ServerReading, ...], model: str | None) -> ServerReading | None:
    """What a page says of the model of a call; a page of one model alone is of that."""
    if len(readings) == 1:
        return readings[0]
    return next((reading for reading in readings if reading.model == model), None)


def compute_mean(
    samples: Sequence[tuple[float, float]], started_at: float, ended_at: float
) -> float | None:
    """The mean over a span of time, each moment of it counted for the sample nearest in time.

    Args:
        samples: When each was taken [s], and its value; in the order of time.
        started_at: When the span began [s].
        ended_at: When it ended [s].

    Returns:
        The mean; None where samples reach over less than half of it.
    """
    # So that of a moment, too, some share is of the nearest.
    ended_at = max(ended_at, math.nextafter(started_at, math.inf))
    covered = weighted = 0.0
    for place, (at, value) in enumerate(samples):
        low, high = at - REACH_SECONDS, at + REACH_SECONDS
        if place > 0:
            low = max(low, (samples[place - 1][0] + at) / 2)
        if place + 1 < len(samples):
            high = min(high, (at + samples[place + 1][0]) / 2)
        seconds = min(high, ended_at) - max(low, started_at)
        if seconds > 0:
            covered += seconds
            weighted += seconds * value
    if covered < (ended_at - started_at) / 2 or not covered:
        return None
    return weighted / covered


_samplers: dict[PageAddress, Sampler] = {}
"""Those of all trackers of the process, of which there may be one for every request."""


def _find_sampler(address: PageAddress) -> Sampler:
    sampler = _samplers.get(address)
    return sampler or _samplers.setdefault(address, Sampler(address))


def stop_samplers() -> None:
    """End all threads, at the end of the process."""
    for sampler in list(_samplers.values()):
        sampler.stop()


def _begin_child() -> None:
    """In the child of a fork the threads are gone, and locks may be held for ever."""
    for sampler in list(_samplers.values()):
        sampler.start_anew()


call_after_fork(_begin_child)
