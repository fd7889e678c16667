"""Reads a meter beside the calls, and settles each call once its last window has been read.

The law:

1. A call only leaves a message: when it starts, and when it has ended. It waits for no reading,
   and takes no lock of ours.
2. One thread a meter takes the messages, reads, and delivers. It starts with a call, reads at
   once, then every ``READ_SECONDS``, at once again when a call ends, and ends with the last call.
   Everything but the messages belongs to it alone.
3. A call is settled by the first reading behind its end at which the meter had counted anew. Where
   there is none within ``SETTLE_SECONDS``, where reading fails ``FAILURES`` times in a row, or
   where a joule is missing, the call keeps its estimate, with the reason; the log has it once.
4. Whoever looks at totals, and the end of the process, waits for calls that have ended, up to
   ``LOOK_SECONDS``. What is not settled by then keeps its estimate.
5. The child of a fork begins anew: what was under way is its parent's.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Hashable
from queue import Empty, SimpleQueue
from time import perf_counter, sleep
from typing import NamedTuple

from energy_tracking.calls.call import Call
from energy_tracking.calls.record import CallRecord
from energy_tracking.error_boundary import ErrorHandler
from energy_tracking.lifecycle import call_after_fork, call_at_exit, call_before_looks
from energy_tracking.notices import log_once
from energy_tracking.servers.demand import describe_demand
from energy_tracking.servers.pages import PageError
from energy_tracking.servers.sharing import CallShare, Demand, TokenPrices, share_call
from energy_tracking.servers.windows import MAX_WINDOWS, Moment, WindowLog

READ_SECONDS = 1.0
"""How often a meter is read while calls are under way [s]."""

PAUSE_SECONDS = 0.25
"""The least time between two readings [s]."""

FIRST_SECONDS = 0.25
"""How long the first reading is waited for, when a tracker is made [s]."""

SETTLE_SECONDS = 5.0
"""How long a call that has ended waits for the meter to count on [s]."""

LOOK_SECONDS = 2.0
"""How long a look at totals waits for calls to be settled [s]; then they keep their estimates."""

LOOK_GRACE_SECONDS = 0.5
"""How much longer it waits for the thread to say so [s]."""

END_GRACE_SECONDS = 6.0
"""The same at the end of the process [s]: two pages that stall take 4."""

FAILURES = 2
"""Readings that fail in a row until calls are settled without them [1]."""

Deliver = Callable[[Call, CallRecord, "CallShare | None", "str | None"], None]
"""Call, its record as it is estimated, its share, and why it has none."""


class _Started(NamedTuple):
    call: Call


class _Ended(NamedTuple):
    call: Call
    record: CallRecord
    deliver: Deliver


class _Waiting(NamedTuple):
    """A call that has ended, to be settled."""

    ended: _Ended
    demand: Demand
    prices: TokenPrices


class _Look(NamedTuple):
    until: float
    is_done: threading.Event


class EnergyMeter:
    """One meter, and the calls that it measures.

    Attributes:
        name: What it is called on records: its address.
        report: Called with errors of the library's own.
    """

    def __init__(
        self,
        name: str,
        read: Callable[[], Moment],
        report: ErrorHandler,
    ) -> None:
        """Read it once, in the background, so that the first call has a reading before it.

        Args:
            name: What it is called on records.
            read: Reads it, and the page of its server.
            report: Called with errors of the library's own.
        """
        self.name = name
        self.report = report
        self._read = read
        self._begin_anew()
        is_read = threading.Event()
        self._messages.put(_Look(0.0, is_read))
        self._wake()
        is_read.wait(FIRST_SECONDS)

    def _begin_anew(self) -> None:
        self._messages: SimpleQueue[_Started | _Ended | _Look | None] = SimpleQueue()
        self._is_running = threading.Lock()
        self._thread: int | None = None
        self._log = WindowLog()
        # Ended, and not delivered yet: of those who end calls and those who look.
        self._pending: dict[Call, None] = {}
        self._under_way: dict[Call, None] = {}
        self._waiting: list[_Waiting] = []
        self._settled: list[Demand] = []
        self._taken: dict[float, int] = {}
        self._looks: list[_Look] = []
        self._failures = 0
        self._problem = ""

    def describe(self) -> str:
        """The meter by its address, and what it counts, once that was read."""
        counter = self._log.counter
        return self.name if counter is None else f"{counter.exporter}: {self.name}"

    def start(self, call: Call) -> None:
        """Note that a call has started."""
        call_at_exit(finish_meters)
        self._messages.put(_Started(call))
        self._wake()

    def end(self, call: Call, record: CallRecord, deliver: Deliver) -> None:
        """Note that a call has ended.

        Args:
            call: The call.
            record: Its record, as it is estimated.
            deliver: Called once, from the meter's thread, with both, its share, and the reason
                where it has none.
        """
        self._pending[call] = None
        self._messages.put(_Ended(call, record, deliver))
        self._wake()

    def wait(self, until: float, grace: float) -> None:
        """Wait until every call that has ended is settled.

        Args:
            until: From when on calls are settled without the meter, by ``perf_counter`` [s].
            grace: How much longer this waits for that [s].
        """
        if not self._pending or self._thread == threading.get_ident():
            return
        look = _Look(until, threading.Event())
        self._messages.put(look)
        self._wake()
        look.is_done.wait(max(0.0, until - perf_counter()) + grace)
        if self._pending and self._is_running.acquire(blocking=False):
            # No thread could be started, at the end of the process for one.
            try:
                self._run_once()
            finally:
                self._is_running.release()

    def _wake(self) -> None:
        """Have the thread running."""
        if self._is_running.acquire(blocking=False):
            try:
                # Python keeps a trace for ever of a thread that is none of these, if it logs.
                threading.Thread(target=self._run, name="energy meter", daemon=True).start()
            except RuntimeError:
                self._is_running.release()

    def _run(self) -> None:
        """Take messages, read and settle, until no call is left."""
        messages, running = self._messages, self._is_running
        while True:
            self._thread = threading.get_ident()
            try:
                self._run_once()
            except Exception as error:
                self.report("meter", error)
            if not (self._under_way or self._waiting or self._looks):
                self._thread = None
                running.release()
                # A message may have come in between, whose sender saw the thread running.
                if messages.empty() or not running.acquire(blocking=False):
                    return
                continue
            self._pause()

    def _pause(self) -> None:
        """Wait for the next reading: of a call that has ended, or starts, as soon as may be."""
        until = min((look.until for look in self._looks), default=math.inf)
        sleep(min(PAUSE_SECONDS, max(0.0, until - perf_counter())))
        if not (self._waiting or self._looks):
            try:
                message = self._messages.get(timeout=READ_SECONDS - PAUSE_SECONDS)
            except Empty:
                return
            self._take(message)

    def _run_once(self) -> None:
        while True:
            try:
                message = self._messages.get_nowait()
            except Empty:
                break
            self._take(message)
        try:
            moment = self._read()
            self._log.add(moment, self._count_busy_seconds)
            self._failures = 0
        except Exception as error:
            self._failures += 1
            self._problem = str(error)
            if not isinstance(error, PageError):
                self.report("meter", error)
        self._settle()

    def _take(self, message: _Started | _Ended | _Look | None) -> None:
        if isinstance(message, _Started):
            self._under_way[message.call] = None
        elif isinstance(message, _Look):
            self._looks.append(message)
        elif message is not None:
            self._take_ended(message)

    def _take_ended(self, ended: _Ended) -> None:
        """Hold a call until it can be settled; deliver at once what can never be."""
        call, described = ended.call, None
        if self._under_way.pop(call, ended) is ended:
            return  # an interrupted close that came again
        try:
            described = describe_demand(call, ended.record)
        except Exception as error:
            self.report("meter", error)
        if described is None:
            self._deliver(ended, None, None)
            return
        self._waiting.append(_Waiting(ended, *described))

    def _settle(self) -> None:
        """Settle every call that can be, or that has waited long enough."""
        now = perf_counter()
        is_looked_at = any(look.until <= now for look in self._looks)
        for waiting in list(self._waiting):
            read_until = self._log.read_until
            is_read = read_until is not None and read_until >= waiting.demand.ended_at
            if is_read:
                share, why = self._share(waiting)
            elif self._failures >= FAILURES:
                share, why = None, self._problem
            elif is_looked_at or now - waiting.demand.ended_at > SETTLE_SECONDS:
                share, why = None, "its counter stood still: have it updated every second"
            else:
                continue
            self._waiting.remove(waiting)
            self._settled.append(waiting.demand)
            self._deliver(waiting.ended, share, why)
        if not self._waiting:
            for look in self._looks:
                look.is_done.set()
            self._looks.clear()
        self._forget_settled()

    def _share(self, waiting: _Waiting) -> tuple[CallShare | None, str | None]:
        demand = waiting.demand
        others = [
            *(one.demand for one in self._waiting if one is not waiting),
            *(_assume_alike(call, demand) for call in self._under_way),
        ]
        idle_watts, windows = self._log.idle_watts or 0.0, self._log.windows
        share = share_call(windows, demand, waiting.prices, idle_watts, others, self._taken)
        if len(self._taken) > 2 * MAX_WINDOWS:
            kept = {window.started_at for window in windows}
            self._taken = {at: part for at, part in self._taken.items() if at in kept}
        if share is not None and share.joules > 0:
            return share, None
        return None, "what it counted during the call is not whole"

    def _deliver(self, ended: _Ended, share: CallShare | None, why: str | None) -> None:
        if why is not None:
            log_once(
                f"{self.name}: {why}",
                "the energy meter %s: %s. Such calls keep their estimates; this is logged once.",
                self.name,
                why,
                kind="meters",
            )
        try:
            ended.deliver(ended.call, ended.record, share, why)
        except Exception as error:
            self.report("meter", error)
        self._pending.pop(ended.call, None)

    def _forget_settled(self) -> None:
        """Let go of what ended before the last reading."""
        self._settled = [one for one in self._settled if one.ended_at > self._log.read_at]

    def _count_busy_seconds(self, start: float, end: float) -> float:
        """Time in which a call of ours was under way [s]."""
        spans = [(call.started_at, end) for call in self._under_way]
        spans += [(one.demand.started_at, one.demand.ended_at) for one in self._waiting]
        spans += [(one.started_at, one.ended_at) for one in self._settled]
        busy, reached = 0.0, start
        for started_at, ended_at in sorted(spans):
            until = min(ended_at, end)
            busy += max(0.0, until - max(started_at, reached))
            reached = max(reached, until)
        return busy


def _assume_alike(call: Call, demand: Demand) -> Demand:
    """What a call that still runs asks for, as if it were like another one, second for second."""
    now = perf_counter()
    scale = (now - call.started_at) / max(demand.seconds, 1e-9)
    return Demand(
        started_at=call.started_at,
        first_token_at=call.started_at,
        ended_at=now,
        prompt_tokens=demand.prompt_tokens * scale,
        output_tokens=demand.output_tokens * scale,
    )


_meters: dict[Hashable, EnergyMeter] = {}
"""Those of all trackers of the process, of which there may be one for every request."""


def find_energy_meter(
    key: Hashable, name: str, read: Callable[[], Moment], report: ErrorHandler
) -> EnergyMeter:
    """The meter of a key, made where there is none yet.

    Args:
        key: What is read.
        name: What it is called on records.
        read: Reads it, and the page of its server.
        report: Called with errors of the library's own.
    """
    meter = _meters.get(key)
    if meter is None:
        # Of two made at once, one is.
        meter = _meters.setdefault(key, EnergyMeter(name, read, report))
    meter.report = report
    return meter


def wait_for_meters(grace: float = LOOK_GRACE_SECONDS) -> None:
    """Wait until every call that has ended is settled, for ``LOOK_SECONDS`` and a little more.

    Args:
        grace: How much more [s].
    """
    until = perf_counter() + LOOK_SECONDS
    for meter in list(_meters.values()):
        meter.wait(until, grace)


def finish_meters() -> None:
    """The same at the end of the process, after which nothing is delivered."""
    wait_for_meters(END_GRACE_SECONDS)


def _forget_parents_calls() -> None:
    for meter in list(_meters.values()):
        meter._begin_anew()


call_before_looks(wait_for_meters)
call_after_fork(_forget_parents_calls)
