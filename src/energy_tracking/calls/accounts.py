"""What is counted, and where it is current: below sessions and decorated functions.

An **account** holds the sums of one session, or of one run of a decorated function. An
**entrance** is an account that is current in one context, and in those copied from it.

The law:

1. A call counts once in every account that is current where its request starts, and in that of
   the process.
2. Current are the entrances of the context variable, the innermost first, then those that
   OpenTelemetry's context carries here: what brings that into a thread brings the sessions.
3. Contexts that were copied keep an entrance when its block ends: a task that outlives a session
   still counts in it. An entrance that was left in an unreachable context is abandoned, and
   counts nowhere.
4. An account takes a call in one step: it waits in a list. What waits is added up where there are
   ``MOST_WAITING``, and at every look, and exchanged for its sum in one step, too: between the two
   halves of a step no signal handler and no interrupt can come.
5. The child of a fork starts at zero, with locks that nobody holds.

A further thing to be summed up is a field of ``Totals``; a further place that carries entrances is
one of those that ``entrances_here`` joins.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, Token
from operator import add
from typing import TYPE_CHECKING
from weakref import WeakSet, ref

from energy_tracking.calls.record import PROCESS, CallRecord, Comparable, EstimateAs, Intensity
from energy_tracking.calls.record_sums import sum_calls
from energy_tracking.calls.totals import (
    SUMS,
    GroupKey,
    Totals,
    bounded_group,
    bounded_reason,
    row_of,
)
from energy_tracking.contexts import Carried, restore
from energy_tracking.errors import ConfigurationError, must_be
from energy_tracking.frozen import fill_fields, frozen
from energy_tracking.lifecycle import call_after_fork, settle

if TYPE_CHECKING:
    from energy_tracking.calls.budget import Budget
    from energy_tracking.calls.carbon import Emissions

CALLS_COMPARED = 1000
"""How many calls back a session can be compared."""


@frozen()
class _Sums:
    """What an account has added up; another one takes its place, and none is changed.

    Attributes:
        groups: The sums of each group, in the order of ``Totals``.
        reasons: Calls by model and why less is known [1].
        emissions: What the calls of each group emit, where that is known.
    """

    groups: Mapping[GroupKey, tuple[int, ...]]
    reasons: Mapping[tuple[str, str], int]
    emissions: Mapping[GroupKey, Emissions]

    def plus(self, records: Collection[CallRecord]) -> _Sums:
        """The sums with these calls added."""
        groups, reasons, emissions = dict(self.groups), dict(self.reasons), dict(self.emissions)
        rows: dict[tuple[str, str, str, str, str], list[CallRecord]] = {}
        for record in records:
            rows.setdefault(row_of(record), []).append(record)
            if record.reason is not None:
                reason = bounded_reason(reasons, (record.model, record.reason))
                reasons[reason] = reasons.get(reason, 0) + (record.requests or 1)
        for row, calls in rows.items():
            key = bounded_group(groups, GroupKey(*row))
            groups[key] = tuple(map(add, groups.get(key, _ZEROS), sum_calls(calls)))
            for record in calls:
                if record.intensity is not None:
                    emitted = _emissions_of(record, record.intensity)
                    emissions[key] = emissions[key].plus(emitted) if key in emissions else emitted
        return fill_fields(_Sums, {"groups": groups, "reasons": reasons, "emissions": emissions})


def _emissions_of(record: CallRecord, intensity: Intensity) -> Emissions:
    from energy_tracking.calls.carbon import emissions_of  # most programs name none

    return emissions_of(Totals(*sum_calls((record,))), intensity)


_ZEROS = (0,) * len(SUMS)
_NOTHING = _Sums({}, {}, {})


def check_can_be_added(record: CallRecord) -> None:
    """Add a call to nothing, which raises whatever would be raised at a look at its account.

    Raises:
        ConfigurationError: It is no record.
    """
    try:
        _NOTHING.plus((record,))
    except (AttributeError, TypeError) as error:
        what = "a CallRecord, as Tracker().record(model=..., usage=...) returns"
        raise ConfigurationError(must_be("record", what, record)) from error


MOST_WAITING = 16
"""Calls that an account adds up at once [1], which takes less than to add them one by one. It keeps
their records until then, of 4 kB each."""


class Account:
    """What was counted for a session, wherever it is entered.

    Attributes:
        is_session: Whether it is one that a user has made, and is shown.
        energy_nanojoules: Energy so far [nJ].
        lost_ledger_lines: Calls that are missing from a ledger [1].
    """

    is_session = True

    def __init__(
        self, name: str, budget: Budget | None = None, tags: Mapping[str, str] | None = None
    ) -> None:
        """Start at zero.

        Args:
            name: Name of the session.
            budget: Energy it may use.
            tags: Tags of the calls inside.
        """
        self.name = name
        self.budget = budget
        self.tags = tags or {}
        self.entrances: list[Entrance] = []
        self.start_empty()
        _accounts.add(self)
        if budget is not None:
            accounts_with_budget.add(ref(self, accounts_with_budget.discard))

    def start_empty(self) -> None:
        """Forget everything that was counted, with a lock that nobody holds."""
        # A signal handler may look at the session in the middle of a look of this very thread.
        self._lock = threading.RLock()
        self._waiting: list[CallRecord] = []
        self._sums = _NOTHING
        self.energy_nanojoules = 0
        self._comparable: deque[Comparable] = deque(maxlen=CALLS_COMPARED)
        self.lost_ledger_lines = 0
        if self.budget is not None:
            self.budget.begin_anew()

    def credit(
        self, record: CallRecord, energy_nanojoules: int, estimate_as: EstimateAs | None = None
    ) -> None:
        """Take one call, to be added up soon.

        Args:
            record: The call, which can be added up.
            energy_nanojoules: Its energy, as far as it is known [nJ].
            estimate_as: Estimates its tokens in another way.
        """
        with self._lock:
            # One step: no function is called before the one that ends it.
            self.energy_nanojoules += energy_nanojoules
            self._waiting.append(record)
        usage = record.usage
        # A sum is no request that another model could be sent.
        if (
            estimate_as is not None
            and usage is not None
            and record.estimate is not None
            and record.requests == 1
        ):
            asked, answered = record.request.model, record.response_model
            self._comparable.append((asked, answered, usage, estimate_as))
        if len(self._waiting) >= MOST_WAITING:
            self._add_up()

    def _add_up(self) -> _Sums:
        """Everything counted so far, what waits included."""
        with self._lock:
            while True:
                sums, waiting = self._sums, self._waiting
                count = len(waiting)
                if not count:
                    return sums
                added = sums.plus(waiting[:count])
                # A signal handler may have added up in the middle. From here on no function is
                # called before these wait no more: signals are handled between calls.
                if self._sums is sums:
                    self._sums = added
                    del waiting[:count]

    def check_budget(self) -> None:
        """Ask whether the budget, if there is one, allows another call.

        Raises:
            EnergyBudgetExceeded: It is used up, and is to raise.
        """
        if self.budget is not None:
            self.budget.check(self.name, self.energy_nanojoules)

    def add_lost_ledger_line(self) -> None:
        """Count a call that is missing from its ledger."""
        with self._lock:
            self.lost_ledger_lines += 1

    def groups(self) -> dict[GroupKey, Totals]:
        """The totals so far, by what calls have in common."""
        settle()
        return {key: Totals(*sums) for key, sums in self._add_up().groups.items()}

    def emissions(self) -> dict[GroupKey, Emissions]:
        """What the calls so far emit, by group, where the electricity of any is known."""
        settle()
        return dict(self._add_up().emissions)

    def find_emissions(self) -> Emissions | None:
        """The sum of these; None where no call's electricity is known."""
        emissions = self.emissions()
        if not emissions:
            return None
        from energy_tracking.calls.carbon import sum_emissions  # most programs name none

        return sum_emissions(emissions.values())

    def reasons(self) -> dict[tuple[str, str], int]:
        """A copy of the reasons, by model and reason."""
        settle()
        return dict(self._add_up().reasons)

    def comparable(self) -> list[Comparable]:
        """The last calls that could be estimated."""
        settle()
        return list(self._comparable)


class Entrance:
    """An account current in one context, and in those copied from it.

    Attributes:
        account: The account.
        around: The accounts that a call inside of a session's block counts in.
        token: Takes the context variable back, where this was put there alone.
        abandoned: Whether it counts nowhere any more.
        left: Whether its block has ended.
        requests_before: What the SDKs had sent when it was entered, where nobody was tracked.
        thread: The thread of that block.
        is_of_program: Whether that is the main thread, outside of an event loop.
        carried: It in OpenTelemetry's context.
    """

    __slots__ = (
        "abandoned",
        "account",
        "around",
        "carried",
        "is_of_program",
        "left",
        "requests_before",
        "thread",
        "token",
    )

    def __init__(self, account: Account) -> None:
        """An entrance to an account, not yet gone through."""
        self.account = account
        self.around: tuple[Account, ...] = ()
        self.requests_before: list[int | None] = []
        self.token: Token[tuple[Entrance, ...]] | None = None
        self.carried: Carried | None = None
        self.abandoned = False
        self.left = False
        self.thread = 0
        self.is_of_program = False

    def note_thread(self) -> None:
        """Note where its block begins."""
        self.thread = threading.get_ident()
        self.is_of_program = (
            self.thread == threading.main_thread().ident and not _is_in_event_loop()
        )

    def enter(self) -> None:
        """Make it the innermost one here."""
        self.note_thread()
        self.carried = Carried((self, *entrances_here()))
        self.token = _here.set((self, *_here.get()))
        self.carried.__enter__()

    def leave(self, here: tuple[Entrance, ...]) -> None:
        """Take it, and nothing else, out of this context.

        Args:
            here: The entrances of this context's own, from before ``is_of_this_context`` was
                asked. Generators are not left in the order they were entered.
        """
        self.left = True
        _here.set(tuple(one for one in here if one is not self))
        if self.carried is not None:
            self.carried.leave_out(self)
            # The context that it put there holds this.
            self.carried = None

    def is_of_this_context(self) -> bool:
        """Whether it was entered in this context; asked once, since it takes it back."""
        # Not of another context, nor left by another thread just now.
        return self.token is not None and restore(self.token)


def _is_in_event_loop() -> bool:
    """Whether this thread runs an event loop, of which asyncio knows."""
    asyncio = sys.modules.get("asyncio")
    return asyncio is not None and asyncio._get_running_loop() is not None


# Innermost first.
_here: ContextVar[tuple[Entrance, ...]] = ContextVar("energy_tracking.session", default=())
_accounts: WeakSet[Account] = WeakSet()
process_account = Account(PROCESS)
"""The account around all others."""

PROCESS_ALONE = (process_account,)
"""What a call counts in outside of every session and function."""

accounts_with_budget: set[ref[Account]] = set()
"""Where none is, no budget needs to be asked before a call."""

open_accounts: set[Account] = set()
"""Accounts of sessions that are entered, and of functions that run, somewhere in the process."""


def entrances_here() -> tuple[Entrance, ...]:
    """The entrances that are current here, the innermost first."""
    here = _here.get()
    carried: tuple[Entrance, ...] = Carried.objects()
    return _join(here, carried) if carried and carried is not here else here


def _join(here: tuple[Entrance, ...], carried: tuple[Entrance, ...]) -> tuple[Entrance, ...]:
    """The entrances of this context's own, then those that were carried here."""
    thread = threading.get_ident()
    # One that was left stays in contexts of OpenTelemetry that are restored later on: it counts
    # in the threads it was carried into, and no more where its block was.
    brought = (one for one in carried if not (one.left and one.thread == thread))
    return (*here, *(one for one in brought if one not in here))


@contextmanager
def entered(entrances: tuple[Entrance, ...]) -> Iterator[None]:
    """A ``with`` block inside these entrances, the innermost first."""
    token, carried = None, None
    try:
        for one in entrances:
            one.left = False
            one.note_thread()
        carried = Carried((*entrances, *entrances_here()))
        token = _here.set((*entrances, *_here.get()))
        carried.__enter__()
        yield
    finally:
        for one in entrances:
            one.left = True
        if token is not None and restore(token):
            if carried is not None:
                carried.put_back()
        else:
            # Interrupted, or left in another context: where they stand, they count no more.
            for one in entrances:
                one.abandoned = True
            _here.set(tuple(one for one in _here.get() if one not in entrances))


def accounts_of(entrances: tuple[Entrance, ...]) -> tuple[Account, ...]:
    """Every account that a call started inside of these counts in, once."""
    if not entrances:
        return PROCESS_ALONE
    accounts = (entrance.account for entrance in entrances if not entrance.abandoned)
    return tuple(dict.fromkeys((*accounts, process_account)))


def current_accounts() -> tuple[Account, ...]:
    """Every account that a call started here counts in, once."""
    return accounts_of(entrances_here())


def own_entrances() -> tuple[Entrance, ...]:
    """The entrances of this context's own, without those that were carried here."""
    return _here.get()


def new_inside(around: tuple[Entrance, ...]) -> tuple[Entrance, ...]:
    """The entrances of this context's own that are not among those around it."""
    return tuple(one for one in _here.get() if one not in around)


def _begin_anew_in_child() -> None:
    """A forked child counts its own calls only, with locks nobody holds."""
    for account in list(_accounts):
        account.start_empty()


call_after_fork(_begin_anew_in_child)
