"""Running totals of everything inside a ``with`` block, and of the whole process.

Sessions nest: a call counts in every session that is current where its request starts,
once in each, and in the process-wide one. They follow async tasks by themselves; into
threads they are carried with ``attach`` or ``run``.
"""

from __future__ import annotations

import os
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar, Token
from copy import copy
from types import TracebackType
from typing import ParamSpec, Self, TypeVar
from weakref import WeakSet

from energy_tracking.call import CallRecord, CreditedSession, settle_deferred
from energy_tracking.report import session_table
from energy_tracking.totals import Totals, sum_of
from energy_tracking.units import joules_from_nanojoules
from energy_tracking.usage import TokenUsage

P = ParamSpec("P")
T = TypeVar("T")

UNKNOWN_GPU = "-"
RESPONSES_REMEMBERED = 1000
"""How many responses back one that a function returns is looked for."""


class _Ledger:
    """What was counted for a session, wherever it is entered."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.entrances: list[_Entrance] = []
        self.start_empty()
        _ledgers.add(self)

    def start_empty(self) -> None:
        self._lock = threading.Lock()
        self._groups: dict[tuple[str, str], Totals] = {}
        self._reasons: Counter[tuple[str, str]] = Counter()
        self.energy_nanojoules = 0

    def credit(self, record: CallRecord, key: tuple[str, str], one: Totals) -> None:
        """Add one call's totals."""
        with self._lock:
            group = self._groups.get(key)
            if group is None:
                group = self._groups[key] = Totals()
            group += one
            self.energy_nanojoules += one.total_energy_nanojoules
            if record.reason is not None:
                self._reasons[record.model, record.reason] += 1

    def groups(self) -> dict[tuple[str, str], Totals]:
        """A copy of the totals, by model and GPU."""
        settle_deferred()
        with self._lock:
            return {key: copy(totals) for key, totals in self._groups.items()}

    def reasons(self) -> dict[tuple[str, str], int]:
        """A copy of the reasons, by model and reason."""
        settle_deferred()
        with self._lock:
            return dict(self._reasons)


class _FunctionLedger(_Ledger):
    """What was counted in one run of a decorated function."""

    def start_empty(self) -> None:
        super().start_empty()
        self.after_each_call: Callable[[], object] | None = None
        self._responses: deque[tuple[str | None, TokenUsage]] = deque(maxlen=RESPONSES_REMEMBERED)

    def credit(self, record: CallRecord, key: tuple[str, str], one: Totals) -> None:
        super().credit(record, key, one)
        if record.usage is not None:
            self._responses.append((record.response_id, record.usage))
        if (after := self.after_each_call) is not None:
            after()

    def responses(self) -> list[tuple[str | None, TokenUsage]]:
        settle_deferred()
        return list(self._responses)


class _Entrance:
    """A ledger current in one context, and in those copied from it."""

    __slots__ = ("abandoned", "ledger", "token")

    def __init__(self, ledger: _Ledger) -> None:
        self.ledger = ledger
        self.token: Token[tuple[_Entrance, ...]] | None = None
        self.abandoned = False

    def is_of_this_context(self) -> bool:
        try:
            _here.reset(self.token)  # type: ignore[arg-type]
        except (ValueError, RuntimeError):
            # Of another context; or used by another thread just now.
            return False
        return True


# Innermost first.
_here: ContextVar[tuple[_Entrance, ...]] = ContextVar("energy_tracking.session", default=())
_ledgers: WeakSet[_Ledger] = WeakSet()
_process_ledger = _Ledger("process")


def _current_ledgers() -> tuple[_Ledger, ...]:
    """Every ledger that a call started here counts in, once."""
    entered = (entrance.ledger for entrance in _here.get() if not entrance.abandoned)
    return tuple(dict.fromkeys((*entered, _process_ledger)))


class Session:
    """Running totals; safe to share between threads and tasks.

    Two sessions are equal if their totals are the same ones.

    Example:
        >>> with Session("nightly-eval") as session:
        ...     pass  # calls here are counted
        >>> session.totals.calls
        0
    """

    __slots__ = ("_credited", "_ledger")

    def __init__(self, name: str = "session") -> None:
        """Make a session; it counts from when it is entered."""
        self._ledger = _Ledger(name)
        self._credited = (self._ledger, *_current_ledgers())

    def __enter__(self) -> Self:
        """Make this the innermost session, inside those that are current here."""
        entrance = _Entrance(self._ledger)
        entrance.token = _here.set((entrance, *_here.get()))
        self._ledger.entrances.append(entrance)
        self._credited = _current_ledgers()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave it; calls started inside are still credited when they end."""
        here, entrances = _here.get(), self._ledger.entrances
        left = next((one for one in tuple(entrances) if one.is_of_this_context()), None)
        if left is None and entrances:
            # Left in another context than it was entered in: a generator closed by the event
            # loop, say. The context that still holds it cannot be reached from here.
            left = next((one for one in here if one in entrances), entrances[0])
            left.abandoned = True
        with suppress(ValueError):
            entrances.remove(left)  # type: ignore[arg-type]
        # Only itself is taken out: generators are not left in the order they were entered.
        _here.set(tuple(one for one in here if one is not left))
        # A generator that is closed may be so by the garbage collector: no locks then.
        if exc_type is not GeneratorExit:
            settle_deferred()

    async def __aenter__(self) -> Self:
        """As ``with``."""
        return self.__enter__()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """As ``with``."""
        self.__exit__(exc_type, exc, traceback)

    @contextmanager
    def attach(self) -> Iterator[Self]:
        """Carry this session, and those around it, into another thread or context."""
        token = _here.set((*map(_Entrance, self._credited), *_here.get()))
        try:
            yield self
        finally:
            with suppress(ValueError):
                _here.reset(token)

    def run(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function inside this session, e.g. ``pool.submit(session.run, work)``."""
        with self.attach():
            return function(*args, **kwargs)

    def add(self, record: CallRecord) -> None:
        """Count a call here and in every session around this one."""
        key = (record.model, record.estimate.gpu if record.estimate else UNKNOWN_GPU)
        one = Totals()
        one.add(record)
        for ledger in self._credited:
            ledger.credit(record, key, one)

    @property
    def name(self) -> str:
        """Name of the session."""
        return self._ledger.name

    @property
    def running_total_energy_joules(self) -> float:
        """Energy credited so far [J]; cheap, for use while calls settle."""
        return joules_from_nanojoules(self._ledger.energy_nanojoules)

    @property
    def totals(self) -> Totals:
        """Sums over all calls so far."""
        return sum_of(self._ledger.groups().values())

    @property
    def total_energy_joules(self) -> float:
        """Energy of all calls so far [J]."""
        return self.totals.total_energy_joules

    @property
    def total_energy_wh(self) -> float:
        """Energy of all calls so far [Wh]."""
        return self.totals.total_energy_wh

    @property
    def by_model(self) -> dict[str, Totals]:
        """Sums per model, as the servers named it."""
        return self._grouped(0)

    @property
    def by_gpu(self) -> dict[str, Totals]:
        """Sums per GPU profile; calls without an estimate stand under ``"-"``."""
        return self._grouped(1)

    @property
    def reasons(self) -> dict[tuple[str, str], int]:
        """Calls per (model, reason) that are less than fully estimated."""
        return self._ledger.reasons()

    def __str__(self) -> str:
        """The session as a table, for people."""
        return session_table(self.name, self._ledger.groups(), self.reasons)

    def __repr__(self) -> str:
        """The session in a line."""
        totals = self.totals
        return f"<Session {self.name!r}: {totals.calls} calls, {totals.total_energy_wh:.2g} Wh>"

    def __eq__(self, other: object) -> bool:
        """Whether both count into the same totals."""
        return isinstance(other, Session) and other._ledger is self._ledger

    def __hash__(self) -> int:
        """By the totals."""
        return hash(self._ledger)

    def _grouped(self, part: int) -> dict[str, Totals]:
        grouped: dict[str, Totals] = {}
        for key, totals in self._ledger.groups().items():
            grouped.setdefault(key[part], Totals()).__iadd__(totals)
        return grouped


def _inside(ledgers: tuple[_Ledger, ...]) -> Session:
    """The place inside these ledgers, shown as the innermost that a user has made."""
    session = object.__new__(Session)
    session._credited = ledgers
    session._ledger = next(one for one in ledgers if not isinstance(one, _FunctionLedger))
    return session


def process_session() -> Session:
    """The session around everything: the totals of this process."""
    return _inside((_process_ledger,))


def current_session() -> Session:
    """The innermost session here; the process-wide one outside of any other."""
    return _inside(_current_ledgers())


class FunctionTotals:
    """Totals over one run of a decorated function, which is no session of its own."""

    __slots__ = ("_inside", "_ledger")

    def __init__(self) -> None:
        """Start at zero."""
        self._ledger = _FunctionLedger("")
        self._inside: tuple[_Entrance, ...] = (_Entrance(self._ledger),)

    @contextmanager
    def current(self) -> Iterator[None]:
        """Count the calls inside, which belong to the sessions that are current here too.

        Sessions that a generator holds open across a ``yield`` are current again in its
        next step, and not in between.
        """
        around = _here.get()
        token = _here.set((*self._inside, *around))
        try:
            yield
        finally:
            self._inside = tuple(one for one in _here.get() if one not in around)
            with suppress(ValueError):
                _here.reset(token)

    @property
    def totals(self) -> Totals:
        """Sums over all calls so far."""
        return sum_of(self._ledger.groups().values())

    def tell(self, after_each_call: Callable[[], object] | None) -> None:
        """From now on, call this after every call that is counted."""
        self._ledger.after_each_call = after_each_call

    def cover(self, session: CreditedSession) -> bool:
        """Whether a call credited to this session is one of the run."""
        return isinstance(session, Session) and self._ledger in session._credited

    def has_counted(self, response_id: str | None, usage: TokenUsage) -> bool:
        """Whether a response was counted, by its id, or else by its tokens.

        Frameworks give ids of their own to what they make of a response, and add up the
        tokens of several.
        """
        responses = self._ledger.responses()
        if response_id is not None and response_id in (seen_id for seen_id, _ in responses):
            return True
        seen = [(counted.input_tokens, counted.output_tokens) for _, counted in responses]
        added_up = tuple(map(sum, zip(*seen, strict=True)))
        return (usage.input_tokens, usage.output_tokens) in (*seen, added_up)


def _begin_anew_in_child() -> None:
    """A forked child counts its own calls only, with locks nobody holds."""
    for ledger in list(_ledgers):
        ledger.start_empty()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew_in_child)
