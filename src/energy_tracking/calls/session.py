"""Sessions: running totals of everything inside a ``with`` block, and of the whole process.

Sessions nest: a call counts in every session that is current where its request starts, once in
each, and in the process-wide one. They follow async tasks by themselves, and OpenTelemetry's
context wherever that is brought; into bare threads they are carried with ``attach`` or ``run``.

A ``Session`` is the public face of an account. Below it, ``accounts`` holds what is counted and
where it is current, ``comparison`` estimates it in another way, ``function_totals`` sums up a
decorated function, ``report`` writes tables. A further way to look at the sums belongs into one
of those, and is offered here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, ParamSpec, Protocol, Self, TypeVar

from energy_tracking.calls.accounts import (
    PROCESS_ALONE,
    Account,
    Entrance,
    accounts_of,
    accounts_with_budget,
    check_can_be_added,
    current_accounts,
    entered,
    entrances_here,
    open_accounts,
    own_entrances,
)
from energy_tracking.calls.record import Alternative, CallRecord, EstimateAs
from energy_tracking.calls.record_sums import energy_nanojoules_of
from energy_tracking.calls.tags import check_tags
from energy_tracking.calls.totals import EnergyKind, Totals, sum_of, sums_by, sums_by_kind
from energy_tracking.calls.untracked import warn_of_untracked_requests
from energy_tracking.error_boundary import run_every
from energy_tracking.errors import ConfigurationError, must_be
from energy_tracking.lifecycle import count_untracked_requests, run_deferred, settle
from energy_tracking.terminal import with_known_signs
from energy_tracking.units import joules_from_nanojoules
from energy_tracking.usage.measured_energy import MEASURED
from energy_tracking.usage.names import text_of

P = ParamSpec("P")
T = TypeVar("T")

if TYPE_CHECKING:
    from energy_tracking.calls.budget import Budget, OnExceed
    from energy_tracking.calls.carbon import Carbon
    from energy_tracking.calls.comparison import Comparison

    class Runner(Protocol):
        """Calls a function inside a session."""

        def __call__(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
            """Call it with these arguments; returns what it returns."""


def _run_inside(
    session: Session,
    accounts: tuple[Account, ...],
    function: Callable[P, T],
    /,
    *args: P.args,
    **kwargs: P.kwargs,
) -> T:
    if not callable(function):
        raise TypeError(must_be("the argument of run", "a function", function))
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

    __slots__ = ("_account", "_left", "_place")

    def __init__(
        self,
        name: str = "session",
        *,
        budget_wh: float | str | None = None,
        on_exceed: OnExceed = "warn",
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Make a session; it counts from when it is entered.

        Args:
            name: Its name.
            budget_wh: Energy it may use [Wh], or a text with its unit, e.g. ``"5kWh"``. Once the
                energy of the calls that have ended reaches it, no further call is started
                without ``on_exceed``; calls in progress may finish.
            on_exceed: ``"warn"`` logs once and lets calls go on. ``"raise"`` raises
                ``EnergyBudgetExceeded`` in place of sending a call. A function is given that
                error before every further call; the call is sent unless it raises it.
            tags: Put on the spans of the calls inside; those of an inner session win.

        Raises:
            ConfigurationError: The name is no string, the budget is neither 0 nor an energy from a
                nanojoule to 1e12 Wh, or a tag is no name of letters, digits, "_" and "-" with a
                string.
        """
        if not isinstance(name, str):
            raise ConfigurationError(must_be("name", "a string", name))
        budget: Budget | None = None
        if budget_wh is not None:
            from energy_tracking.calls.budget import Budget  # most sessions have none

            budget = Budget(budget_wh, on_exceed)
        self._account = Account(text_of(name) or "session", budget, check_tags(tags))
        # Of ``current_session()``: what was current there, wherever it is used.
        self._place: tuple[Account, ...] | None = None
        self._left: Entrance | None = None

    def __enter__(self) -> Self:
        """Make this the innermost session, inside those that are current here."""
        entrance = Entrance(self._account)
        try:
            entrance.enter()
            entrance.around = current_accounts()
            entrance.requests_before = count_untracked_requests()
            self._account.entrances.append(entrance)
            open_accounts.add(self._account)
        except BaseException:
            entrance.abandoned = True
            self._forget(entrance)
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
        here, entrances = own_entrances(), self._account.entrances
        left = next((one for one in tuple(entrances) if one.is_of_this_context()), None)
        if left is None and entrances:
            # Left in another context than it was entered in: a generator closed by the event
            # loop, say. The context that still holds it cannot be reached from here.
            left = next((one for one in here if one in entrances), entrances[0])
            left.abandoned = True
        if left is not None:
            self._forget(left)
            left.leave(here)
            self._left = left
        # The garbage collector may be closing a generator: take no locks then.
        if exc_type is not GeneratorExit:
            run_deferred()
            if left is not None and not entrances:
                warn_of_untracked_requests(
                    f"session {self.name!r}", left.requests_before, lambda: self.totals.calls
                )

    def _forget(self, entrance: Entrance) -> None:
        """Leave the session open only where it is still entered."""
        with suppress(ValueError):
            self._account.entrances.remove(entrance)
        if not self._account.entrances:
            open_accounts.discard(self._account)

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
    def _attached(self, accounts: tuple[Account, ...]) -> Iterator[Self]:
        with entered(tuple(map(Entrance, accounts))):
            yield self

    @property
    def run(self) -> Runner:
        """Call a function inside this session, e.g. ``pool.submit(session.run, work)``.

        Those around it are those where ``session.run`` is written: it is looked up there,
        and called in another thread, where a session shared by several has nobody around.
        """
        return partial(_run_inside, self, self._accounts())

    def _accounts(self) -> tuple[Account, ...]:
        """Every account that a call started inside of this session counts in, once.

        Where it is not current, those around it are those around it in every place where it is
        entered at the moment; where it is entered nowhere, those around the block that this thread
        left last, and else those that are current here.
        """
        if self._place is not None:
            return self._place
        here = entrances_here()
        for depth, entrance in enumerate(here):
            if entrance.account is self._account and not entrance.abandoned:
                return accounts_of(here[depth:])
        places = [entrance.around for entrance in tuple(self._account.entrances)]
        if not places and self._left is not None and self._left.thread == threading.get_ident():
            return self._left.around
        first = places[0] if places else (self._account, *current_accounts())
        return tuple(one for one in first if all(one in place for place in places))

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
        from energy_tracking.calls.comparison import compare_calls  # few ask

        return compare_calls(self._account.comparable(), other)

    def carbon(self, *, region: str | None = None, grams_per_kwh: float | None = None) -> Carbon:
        """What the energy so far emits, with its range.

        Without arguments that of the calls whose electricity the settings name.

        Args:
            region: A country, by its name or letters, ``"EU"`` or ``"WORLD"``.
            grams_per_kwh: In place of a region: the electricity's intensity [g CO2e/kWh].

        Raises:
            ConfigurationError: Both are given, or neither and the settings name none; the region
                is unknown, or the intensity is no number from 0 to 10,000.
        """
        from energy_tracking.calls.carbon import carbon, carbon_of_emissions  # few ask

        emissions = self._account.find_emissions()
        if region is None and grams_per_kwh is None and emissions is not None:
            return carbon_of_emissions(emissions)
        return carbon(self.totals, region=region, grams_per_kwh=grams_per_kwh)

    def add(self, record: CallRecord, estimate_as: EstimateAs | None = None) -> None:
        """Count a call here and in every session around this one.

        Args:
            record: The call.
            estimate_as: Estimates its tokens in another way, for ``compare``.

        Raises:
            ConfigurationError: It is no record, or its measured energy is no number from 0 to
                1e12 J.
        """
        check_can_be_added(record)
        self.credit(record, estimate_as)

    def credit(self, record: CallRecord, estimate_as: EstimateAs | None) -> None:
        """Count a call likewise, which is known to be one that can be added up.

        Args:
            record: The call.
            estimate_as: Estimates its tokens in another way.

        Raises:
            ConfigurationError: Its measured energy is no number from 0 to 1e12 J.
        """
        if record.measured_energy_joules is not None:
            MEASURED.check("measured_energy_joules", record.measured_energy_joules)
        energy = energy_nanojoules_of(record)
        accounts = self._place or self._accounts()
        if len(accounts) == 1:
            accounts[0].credit(record, energy, estimate_as)
        else:  # also where a signal handler raises in the middle
            credit = record, energy, estimate_as
            run_every([partial(account.credit, *credit) for account in accounts])

    def counts_in(self, account: Account) -> bool:
        """Whether a call credited to this session counts in this account."""
        return account in self._accounts()

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
        with_budget = [account for account in self._accounts() if account.budget is not None]
        if with_budget:
            run_deferred()
            for account in with_budget:
                account.check_budget()

    @property
    def name(self) -> str:
        """Name of the session."""
        return self._account.name

    @property
    def tags(self) -> dict[str, str]:
        """Its tags and those of the sessions around it; the innermost win."""
        tags: dict[str, str] = {}
        for account in reversed(self._place or self._accounts()):
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
        return sums_by(self._account.groups(), lambda key: key.model)

    @property
    def by_gpu(self) -> dict[str, Totals]:
        """Sums per GPU profile; calls without an estimate stand under ``"-"``."""
        return sums_by(self._account.groups(), lambda key: key.gpu)

    @property
    def by_kind(self) -> dict[EnergyKind, Totals]:
        """Sums per method and scope: each is of one kind of energy."""
        return sums_by_kind(self._account.groups())

    @property
    def lost_ledger_lines(self) -> int:
        """Calls so far that are missing from a ledger, which could not be written [1]."""
        settle()
        return self._account.lost_ledger_lines

    @property
    def reasons(self) -> dict[tuple[str, str], int]:
        """Calls per (model, reason) that are less than fully estimated."""
        return self._account.reasons()

    def __str__(self) -> str:
        """The session as a table, for people."""
        from energy_tracking.calls.carbon import carbon_notes  # not with every tracked process
        from energy_tracking.calls.report import session_table

        groups, reasons = self._account.groups(), self.reasons
        lost, notes = self.lost_ledger_lines, carbon_notes(self._account.find_emissions())
        return with_known_signs(session_table(self.name, groups, reasons, lost, notes))

    def to_json(self) -> str:
        """The session as one JSON object: name, tags, totals, sums, groups and reasons."""
        from energy_tracking.calls.report import session_json  # not with every tracked process

        groups, reasons = self._account.groups(), self.reasons
        emissions, lost = self._account.emissions(), self.lost_ledger_lines
        return session_json(self.name, self.tags, groups, reasons, lost, emissions)

    def to_csv(self) -> str:
        """The session as CSV: a header, and a row per model, GPU, method, scope and grade."""
        from energy_tracking.calls.report import session_csv  # not with every tracked process

        return session_csv(self._account.groups(), self._account.emissions())

    def _repr_html_(self) -> str:
        """The session as a table, for notebooks."""
        from energy_tracking.calls.carbon import carbon_notes
        from energy_tracking.calls.html import session_html

        groups, reasons = self._account.groups(), self.reasons
        notes = carbon_notes(self._account.find_emissions())
        return session_html(self.name, groups, reasons, self.lost_ledger_lines, notes)

    def __repr__(self) -> str:
        """The session in a line."""
        from energy_tracking.calls.amounts import energy_text, format_count

        totals = self.totals
        calls, energy = format_count(totals.requests, "call"), energy_text(totals.total_energy_wh)
        return with_known_signs(f"<Session {self.name!r}: {calls}, {energy}>")

    def __eq__(self, other: object) -> bool:
        """Whether both count into the same totals."""
        return isinstance(other, Session) and other._account is self._account

    def __hash__(self) -> int:
        """By the totals."""
        return hash(self._account)


def _inside(accounts: tuple[Account, ...]) -> Session:
    """The place inside these accounts, shown as the innermost that a user has made."""
    session = object.__new__(Session)
    session._place = accounts
    session._left = None
    session._account = next(one for one in accounts if one.is_session)
    return session


_PROCESS_SESSION = _inside(PROCESS_ALONE)


def process_session() -> Session:
    """The session around everything: the totals of this process."""
    return _PROCESS_SESSION


def check_budgets() -> None:
    """Ask whether another call may be sent here.

    Raises:
        EnergyBudgetExceeded: A session here has used up its budget, and is to raise.
    """
    if accounts_with_budget:
        current_session().check_budget()


def current_session() -> Session:
    """The innermost session here; the process-wide one outside of any other."""
    entrances = entrances_here()
    return _inside(accounts_of(entrances)) if entrances else _PROCESS_SESSION
