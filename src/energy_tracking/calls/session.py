"""Running totals of everything inside a ``with`` block, and of the whole process.

Sessions nest: a call counts in every session that is current where its request starts,
once in each, and in the process-wide one. They follow async tasks by themselves; into
threads they are carried with ``attach`` or ``run``.
"""

from __future__ import annotations

import math
import re
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from contextvars import ContextVar, Token
from copy import copy
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import ParamSpec, Protocol, Self, TypeVar
from weakref import WeakSet

from energy_tracking.calls.budget import Budget, OnExceed
from energy_tracking.calls.call import CreditedSession
from energy_tracking.calls.carbon import Carbon, carbon
from energy_tracking.calls.record import (
    PROCESS,
    Alternative,
    CallRecord,
    CallRequest,
    EstimateAs,
    status_of,
)
from energy_tracking.calls.report import (
    comparison_text,
    session_csv,
    session_html,
    session_json,
    session_table,
)
from energy_tracking.calls.totals import (
    EnergyKind,
    GroupKey,
    Totals,
    group_of,
    grouped,
    sum_of,
    sums_by_kind,
)
from energy_tracking.contexts import restore
from energy_tracking.errors import ConfigurationError
from energy_tracking.lifecycle import call_after_fork, run_deferred
from energy_tracking.profiles.files import get_catalogue
from energy_tracking.units import joules_from_nanojoules
from energy_tracking.usage.dialects import TokenUsage
from energy_tracking.usage.names import text_of

P = ParamSpec("P")
T = TypeVar("T")

# Without dots: no attribute's name may begin with the whole name of another.
TAG_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
CALLS_COMPARED = 1000
"""How many calls back a session can be compared."""

RESPONSES_REMEMBERED = 1000
"""How many responses back one that a function returns is looked for."""


# Models asked for and answering, tokens, and who can estimate them otherwise.
_Comparable = tuple[str | None, str | None, TokenUsage, EstimateAs]


@dataclass(frozen=True, slots=True)
class Comparison:
    """The same tokens, as they were estimated and in another way; ``str`` shows both.

    Attributes:
        calls: Calls compared: the last 1,000 with an estimate [1].
        changes: What is other, by the argument's name.
        actual_by_kind: Totals per method and scope as estimated, also where the server measured.
        other_by_kind: The same in the other way.
    """

    calls: int
    changes: Mapping[str, str | float]
    actual_by_kind: Mapping[EnergyKind, Totals]
    other_by_kind: Mapping[EnergyKind, Totals]

    @property
    def actual(self) -> Totals:
        """Totals as estimated, whatever the method and scope of each call."""
        return sum_of(self.actual_by_kind.values())

    @property
    def other(self) -> Totals:
        """Totals in the other way, likewise."""
        return sum_of(self.other_by_kind.values())

    @property
    def factor(self) -> float:
        """Energy of the other over the actual one [1]; NaN where there is none."""
        actual = self.actual.total_energy_nanojoules
        return self.other.total_energy_nanojoules / actual if actual else math.nan

    def __str__(self) -> str:
        """Both sides with their methods, scopes and ranges, for people."""
        return comparison_text(self.calls, self.changes, self.actual_by_kind, self.other_by_kind)


class _Account:
    """What was counted for a session, wherever it is entered."""

    def __init__(
        self, name: str, budget: Budget | None = None, tags: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.budget = budget
        self.tags = tags or {}
        self.entrances: list[_Entrance] = []
        self.start_empty()
        _accounts.add(self)

    def start_empty(self) -> None:
        # A signal handler may look at the session, or make a call, in the middle of one that
        # this very thread adds up.
        self._lock = threading.RLock()
        self._waiting: deque[Callable[[], None]] = deque()
        self._is_adding = False
        self._groups: dict[GroupKey, Totals] = {}
        self._reasons: Counter[tuple[str, str]] = Counter()
        self._comparable: deque[_Comparable] = deque(maxlen=CALLS_COMPARED)
        self.energy_nanojoules = 0
        self.lost_ledger_lines = 0
        if self.budget is not None:
            self.budget.begin_anew()

    def credit(
        self,
        record: CallRecord,
        key: GroupKey,
        one: Totals,
        comparable: _Comparable | None,
    ) -> None:
        """Add one call's totals, or leave them to whom a signal handler has interrupted."""
        with self._lock:
            self._waiting.append(partial(self._add, record, key, one, comparable))
            if self._is_adding:
                return
            self._is_adding = True
            try:
                while self._waiting:
                    self._waiting.popleft()()
            finally:
                self._is_adding = False

    def _add(
        self,
        record: CallRecord,
        key: GroupKey,
        one: Totals,
        comparable: _Comparable | None,
    ) -> None:
        if comparable is not None:
            self._comparable.append(comparable)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = Totals()
        group += one
        self.energy_nanojoules += one.total_energy_nanojoules
        if record.reason is not None:
            self._reasons[record.model, record.reason] += 1

    def add_lost_ledger_line(self) -> None:
        """Count a call that is missing from its ledger."""
        with self._lock:
            self.lost_ledger_lines += 1

    def groups(self) -> dict[GroupKey, Totals]:
        """A copy of the totals, by what calls have in common."""
        run_deferred()
        with self._lock:
            return {key: copy(totals) for key, totals in self._groups.items()}

    def reasons(self) -> dict[tuple[str, str], int]:
        """A copy of the reasons, by model and reason."""
        run_deferred()
        with self._lock:
            return dict(self._reasons)

    def comparable(self) -> list[_Comparable]:
        """The last calls that could be estimated."""
        run_deferred()
        with self._lock:
            return list(self._comparable)


class _FunctionAccount(_Account):
    """What was counted in one run of a decorated function."""

    def start_empty(self) -> None:
        super().start_empty()
        self.after_each_call: Callable[[], object] | None = None
        self._responses: deque[tuple[str | None, TokenUsage]] = deque(maxlen=RESPONSES_REMEMBERED)
        self.fetched: deque[str] = deque(maxlen=RESPONSES_REMEMBERED)

    def credit(
        self,
        record: CallRecord,
        key: GroupKey,
        one: Totals,
        comparable: _Comparable | None,
    ) -> None:
        super().credit(record, key, one, comparable)
        if record.usage is not None:
            self._responses.append((record.response_id, record.usage))
        if (after := self.after_each_call) is not None:
            after()

    def responses(self) -> list[tuple[str | None, TokenUsage]]:
        run_deferred()
        return list(self._responses)


class _Entrance:
    """An account current in one context, and in those copied from it."""

    __slots__ = ("abandoned", "account", "token")

    def __init__(self, account: _Account) -> None:
        self.account = account
        self.token: Token[tuple[_Entrance, ...]] | None = None
        self.abandoned = False

    def is_of_this_context(self) -> bool:
        # Not of another context, nor left by another thread just now.
        return self.token is not None and restore(self.token)


# Innermost first.
_here: ContextVar[tuple[_Entrance, ...]] = ContextVar("energy_tracking.session", default=())
_accounts: WeakSet[_Account] = WeakSet()
_process_account = _Account(PROCESS)


@contextmanager
def _entered(entrances: tuple[_Entrance, ...]) -> Iterator[None]:
    """A ``with`` block inside these entrances, the innermost first."""
    token = None
    try:
        token = _here.set((*entrances, *_here.get()))
        yield
    finally:
        if token is None or not restore(token):
            # Interrupted, or left in another context: where they stand, they count no more.
            for entrance in entrances:
                entrance.abandoned = True
            _here.set(tuple(one for one in _here.get() if one not in entrances))


def _current_accounts() -> tuple[_Account, ...]:
    """Every account that a call started here counts in, once."""
    return _accounts_of(_here.get())


def _accounts_of(entrances: tuple[_Entrance, ...]) -> tuple[_Account, ...]:
    entered = (entrance.account for entrance in entrances if not entrance.abandoned)
    return tuple(dict.fromkeys((*entered, _process_account)))


class Runner(Protocol):
    """Calls a function inside a session."""

    def __call__(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call it with these arguments; returns what it returns."""


def _run_inside(
    session: Session,
    accounts: tuple[_Account, ...],
    function: Callable[P, T],
    /,
    *args: P.args,
    **kwargs: P.kwargs,
) -> T:
    with session._attached(accounts):
        return function(*args, **kwargs)


class Session:
    """Running totals; safe to share between threads and tasks.

    Two sessions are equal if their totals are the same ones.

    Example:
        >>> with Session("nightly-eval") as session:
        ...     pass  # calls here are counted
        >>> session.totals.calls
        0
    """

    __slots__ = ("_account", "_credited", "_is_place")

    def __init__(
        self,
        name: str = "session",
        *,
        budget_wh: float | None = None,
        on_exceed: OnExceed = "warn",
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Make a session; it counts from when it is entered.

        Args:
            name: Its name.
            budget_wh: Energy it may use [Wh]. Once the energy of the calls that have ended
                reaches it, no further call is started without ``on_exceed``; those under
                way are let finish.
            on_exceed: ``"warn"`` logs once and lets calls go on. ``"raise"`` raises
                ``EnergyBudgetExceeded`` in place of sending a call. A function is given that
                error before every further call; the call is sent unless it raises it.
            tags: Put on the spans of the calls inside; those of an inner session win.

        Raises:
            ConfigurationError: A budget or tag that cannot be.
        """
        budget = None if budget_wh is None else Budget(budget_wh, on_exceed)
        self._account = _Account(text_of(name) or "session", budget, _checked_tags(tags))
        self._is_place = False
        # Who is credited where this session is not current: those around it there, as far as
        # it is the same ones in every place where it is entered at the moment.
        self._credited = (self._account, *_current_accounts())

    def __enter__(self) -> Self:
        """Make this the innermost session, inside those that are current here."""
        entrance = _Entrance(self._account)
        try:
            entrance.token = _here.set((entrance, *_here.get()))
            here, accounts = _here.get(), _current_accounts()
            with self._account._lock:
                elsewhere = any(one not in here for one in self._account.entrances)
                self._account.entrances.append(entrance)
                if elsewhere:
                    accounts = tuple(one for one in accounts if one in self._credited)
                self._credited = accounts
        except BaseException:
            entrance.abandoned = True
            raise
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave it; calls started inside are still credited when they end.

        A stream that was dropped unread ends when it is collected, at the latest when the
        process does: use ``with`` on a stream you may not read to its end.
        """
        here, entrances = _here.get(), self._account.entrances
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
            run_deferred()

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

    def attach(self) -> AbstractContextManager[Self]:
        """Carry this session, and those around it, into another thread or context.

        Those around it are those where this is called, not where the block is entered.
        """
        return self._attached(self._accounts())

    @contextmanager
    def _attached(self, accounts: tuple[_Account, ...]) -> Iterator[Self]:
        with _entered(tuple(map(_Entrance, accounts))):
            yield self

    @property
    def run(self) -> Runner:
        """Call a function inside this session, e.g. ``pool.submit(session.run, work)``.

        Those around it are those where ``session.run`` is written: it is looked up there,
        and called in another thread, where a session shared by several has nobody around.
        """
        return partial(_run_inside, self, self._accounts())

    def _accounts(self) -> tuple[_Account, ...]:
        """Every account that a call started inside of this session counts in, once."""
        if not self._is_place:
            here = _here.get()
            for depth, entrance in enumerate(here):
                if entrance.account is self._account and not entrance.abandoned:
                    return _accounts_of(here[depth:])
        return self._credited

    def compare(
        self,
        *,
        model: str | None = None,
        gpu: str | None = None,
        method: str | None = None,
        scope: str | None = None,
        concurrency_per_gpu: float | None = None,
        sequences: float | None = None,
    ) -> Comparison:
        """What the tokens of the last 1,000 calls would cost in another way.

        All else is as each call was estimated. Another model would use other tokens for the
        same task; here they are the same.

        Args:
            model: The other model.
            gpu: The other GPU profile.
            method: The other method, ``"reference"`` or ``"roofline"``.
            scope: The other scope, ``"gpu"`` or ``"facility"``.
            concurrency_per_gpu: Another number of sequences decoded together per GPU [1].
            sequences: Another number of sequences decoded together on all GPUs that hold the
                model [1].

        Raises:
            UnknownModelError: There is no such model.
            UnknownGpuError: There is no such GPU.
            ConfigurationError: There is no such method or scope, or an argument has no effect
                on the method.
        """
        other = Alternative(
            model=model,
            gpu=gpu,
            method=method,
            scope=scope,
            concurrency_per_gpu=concurrency_per_gpu,
            sequences=sequences,
        )
        comparable = self._account.comparable()
        if not comparable:
            _check_names(other)
        sides = []
        for way in (Alternative(), other):
            records = (_compared(one, way) for one in comparable)
            sides.append(sums_by_kind(grouped(records)[0]))
        return Comparison(len(comparable), other.changes, *sides)

    def carbon(self, *, region: str | None = None, grams_per_kwh: float | None = None) -> Carbon:
        """What the energy so far emits, with its range.

        Args:
            region: A country, by its two letters, ``"EU"`` or ``"WORLD"``.
            grams_per_kwh: In place of a region: the intensity of the electricity
                [g CO2e/kWh].

        Raises:
            ConfigurationError: Neither or both are given, or one that cannot be.
        """
        return carbon(self.totals, region=region, grams_per_kwh=grams_per_kwh)

    def add(self, record: CallRecord, estimate_as: EstimateAs | None = None) -> None:
        """Count a call here and in every session around this one.

        Args:
            record: The call.
            estimate_as: Estimates its tokens in another way, for ``compare``.
        """
        key = group_of(record)
        one = Totals()
        one.add(record)
        comparable = None
        if estimate_as is not None and record.usage is not None and record.estimate is not None:
            comparable = record.request.model, record.response_model, record.usage, estimate_as
        for account in self._accounts():
            account.credit(record, key, one, comparable)

    def add_lost_ledger_line(self) -> None:
        """Count a call whose line could not be written to a ledger, here and around."""
        for account in self._accounts():
            account.add_lost_ledger_line()

    def check_budget(self) -> None:
        """Ask whether another call may be sent, as tracked clients do by themselves.

        Raises:
            EnergyBudgetExceeded: This session, or one around it, has used up its budget, and
                is to raise.
        """
        accounts = self._accounts()
        if any(account.budget is not None for account in accounts):
            run_deferred()
            for account in accounts:
                if account.budget is not None:
                    account.budget.check(account.name, account.energy_nanojoules)

    @property
    def name(self) -> str:
        """Name of the session."""
        return self._account.name

    @property
    def tags(self) -> dict[str, str]:
        """Its tags and those of the sessions around it; the innermost win."""
        tags: dict[str, str] = {}
        for account in reversed(self._accounts()):
            if account.tags:
                tags |= account.tags
        return tags

    @property
    def running_total_energy_joules(self) -> float:
        """Energy credited so far [J]; cheap, for use while calls settle."""
        return joules_from_nanojoules(self._account.energy_nanojoules)

    @property
    def totals(self) -> Totals:
        """Sums over all calls so far."""
        return sum_of(self._account.groups().values())

    @property
    def total_energy_joules(self) -> float:
        """Energy of all calls so far [J], each as it was estimated or measured."""
        return self.totals.total_energy_joules

    @property
    def total_energy_wh(self) -> float:
        """Energy of all calls so far [Wh], each as it was estimated or measured."""
        return self.totals.total_energy_wh

    @property
    def calibrated_energy_joules(self) -> float:
        """The calibrated number of the calls that have one [J]; ``totals`` counts them."""
        return self.totals.calibrated_energy_joules

    @property
    def calibrated_energy_wh(self) -> float:
        """The calibrated number of the calls that have one [Wh]; ``totals`` counts them."""
        return self.totals.calibrated_energy_wh

    @property
    def by_model(self) -> dict[str, Totals]:
        """Sums per model, as the servers named it, each call as it was estimated."""
        return self._summed_by("model")

    @property
    def by_gpu(self) -> dict[str, Totals]:
        """Sums per GPU profile; calls without an estimate stand under ``"-"``."""
        return self._summed_by("gpu")

    @property
    def by_kind(self) -> dict[EnergyKind, Totals]:
        """Sums per method and scope: each is of one kind of energy."""
        return sums_by_kind(self._account.groups())

    @property
    def lost_ledger_lines(self) -> int:
        """Calls so far that are missing from a ledger, which could not be written [1]."""
        run_deferred()
        return self._account.lost_ledger_lines

    @property
    def reasons(self) -> dict[tuple[str, str], int]:
        """Calls per (model, reason) that are less than fully estimated."""
        return self._account.reasons()

    def __str__(self) -> str:
        """The session as a table, for people."""
        groups, reasons = self._account.groups(), self.reasons
        return session_table(self.name, groups, reasons, self.lost_ledger_lines)

    def to_json(self) -> str:
        """The session as one JSON object: name, tags, totals, sums, groups and reasons."""
        groups, reasons = self._account.groups(), self.reasons
        return session_json(self.name, self.tags, groups, reasons, self.lost_ledger_lines)

    def to_csv(self) -> str:
        """The session as CSV: a header, and a row per model, GPU, method, scope and grade."""
        return session_csv(self._account.groups())

    def _repr_html_(self) -> str:
        """The session as a table, for notebooks."""
        groups, reasons = self._account.groups(), self.reasons
        return session_html(self.name, groups, reasons, self.lost_ledger_lines)

    def __repr__(self) -> str:
        """The session in a line."""
        totals = self.totals
        return f"<Session {self.name!r}: {totals.calls} calls, {totals.total_energy_wh:.2g} Wh>"

    def __eq__(self, other: object) -> bool:
        """Whether both count into the same totals."""
        return isinstance(other, Session) and other._account is self._account

    def __hash__(self) -> int:
        """By the totals."""
        return hash(self._account)

    def _summed_by(self, part: str) -> dict[str, Totals]:
        sums: dict[str, Totals] = {}
        for key, totals in self._account.groups().items():
            sums.setdefault(getattr(key, part), Totals()).__iadd__(totals)
        return sums


def _compared(comparable: _Comparable, way: Alternative) -> CallRecord:
    """A record of a call as if it had been estimated in this way."""
    request_model, response_model, usage, estimate_as = comparable
    outcome = estimate_as(request_model, response_model, usage, way)
    return CallRecord(
        request=CallRequest(operation="", provider="", model=request_model),
        status=status_of(usage, outcome.estimate, None),
        usage=usage,
        estimate=outcome.estimate,
        calibrated=outcome.calibrated,
        cache_avoided_energy_joules=outcome.cache_avoided_energy_joules,
    )


def _check_names(other: Alternative) -> None:
    """Check names by the process-wide profiles, where there is no call whose tracker could.

    Raises:
        UnknownModelError: There is no such model.
        UnknownGpuError: There is no such GPU.
    """
    catalogue = get_catalogue()
    if other.model is not None and catalogue.match(other.model) is None:
        catalogue.model(other.model)
    if other.gpu is not None:
        catalogue.gpu(other.gpu)


def _checked_tags(tags: Mapping[str, str] | None) -> dict[str, str]:
    for name, value in (tags or {}).items():
        if not (isinstance(name, str) and TAG_NAME.fullmatch(name) and isinstance(value, str)):
            raise ConfigurationError(
                f"tags: {name!r}: {value!r}; a name is letters, digits, '_' and '-', a value text"
            )
    return {name: text_of(value) or "" for name, value in (tags or {}).items()}


def _inside(accounts: tuple[_Account, ...]) -> Session:
    """The place inside these accounts, shown as the innermost that a user has made."""
    session = object.__new__(Session)
    session._credited = accounts
    session._is_place = True
    session._account = next(one for one in accounts if not isinstance(one, _FunctionAccount))
    return session


def process_session() -> Session:
    """The session around everything: the totals of this process."""
    return _inside((_process_account,))


def current_session() -> Session:
    """The innermost session here; the process-wide one outside of any other."""
    return _inside(_current_accounts())


def note_fetched(names: Iterable[str]) -> None:
    """Tell the functions running here of responses they fetch, which they do not generate.

    Args:
        names: Names among which those of the responses are.
    """
    for account in _current_accounts():
        if isinstance(account, _FunctionAccount):
            account.fetched.extend(names)


class FunctionTotals:
    """Totals over one run of a decorated function, which is no session of its own."""

    __slots__ = ("_account", "_inside")

    def __init__(self) -> None:
        """Start at zero."""
        self._account = _FunctionAccount("")
        self._inside: tuple[_Entrance, ...] = (_Entrance(self._account),)

    @contextmanager
    def current(self) -> Iterator[None]:
        """Count the calls inside, which belong to the sessions that are current here too.

        Sessions that a generator holds open across a ``yield`` are current again in its
        next step, and not in between.
        """
        around = _here.get()
        with _entered(self._inside):
            try:
                yield
            finally:
                self._inside = tuple(one for one in _here.get() if one not in around)

    @property
    def totals(self) -> Totals:
        """Sums over all calls so far."""
        return sum_of(self._account.groups().values())

    def tell(self, after_each_call: Callable[[], object] | None) -> None:
        """From now on, call this after every call that is counted."""
        self._account.after_each_call = after_each_call

    def cover(self, session: CreditedSession | None) -> bool:
        """Whether a call credited to this session is one of the run."""
        return isinstance(session, Session) and self._account in session._credited

    def has_counted(self, response_id: str | None, usage: TokenUsage) -> bool:
        """Whether a response was counted, by its id, or else by its tokens.

        One that was only fetched was counted where it was generated, or not at all.
        Frameworks give ids of their own to what they make of a response, and add up the
        tokens of several.
        """
        if response_id is not None and response_id in self._account.fetched:
            return True
        responses = self._account.responses()
        if response_id is not None and response_id in (seen_id for seen_id, _ in responses):
            return True
        seen = [(counted.input_tokens, counted.output_tokens) for _, counted in responses]
        added_up = tuple(map(sum, zip(*seen, strict=True)))
        return (usage.input_tokens, usage.output_tokens) in (*seen, added_up)


def _begin_anew_in_child() -> None:
    """A forked child counts its own calls only, with locks nobody holds."""
    for account in list(_accounts):
        account.start_empty()


call_after_fork(_begin_anew_in_child)
