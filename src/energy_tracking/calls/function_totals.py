"""What a decorated function's run has counted: sums, and which responses are in them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import accumulate
from time import perf_counter, time
from typing import TYPE_CHECKING

from energy_tracking.calls.accounts import (
    PROCESS_ALONE,
    Account,
    Entrance,
    current_accounts,
    entered,
    new_inside,
    open_accounts,
    own_entrances,
)
from energy_tracking.calls.counted import counted_responses
from energy_tracking.calls.record import CallRecord, EstimateAs
from energy_tracking.calls.response_times import was_made_before
from energy_tracking.calls.session import Session
from energy_tracking.calls.totals import Totals, sum_of
from energy_tracking.calls.untracked import TRACK
from energy_tracking.lifecycle import run_deferred
from energy_tracking.notices import log_once, was_said
from energy_tracking.usage.payloads import ResponseFacts
from energy_tracking.usage.token_usage import TokenUsage

if TYPE_CHECKING:
    from energy_tracking.calls.carbon import Emissions
    from energy_tracking.calls.receivers import CreditedSession

CALLS_REMEMBERED = 1000
"""How many calls back the tokens of a run are known, one call's each."""


class FunctionAccount(Account):
    """What was counted in one run of a decorated function, which is no session."""

    is_session = False

    def start_empty(self) -> None:
        """As for every account."""
        super().start_empty()
        self.after_each_call: Callable[[], object] | None = None
        self.untracked_calls = 0
        self.responses_counted = 0
        self.tokens: deque[tuple[int, int]] = deque(maxlen=CALLS_REMEMBERED)

    def credit(
        self, record: CallRecord, energy_nanojoules: int, estimate_as: EstimateAs | None = None
    ) -> None:
        """Take one call, then do what is to be done after each.

        Args:
            record: The call, which can be added up.
            energy_nanojoules: Its energy, as far as it is known [nJ].
            estimate_as: Estimates its tokens in another way.
        """
        super().credit(record, energy_nanojoules, estimate_as)
        if record.usage is not None:
            self.tokens.append((record.usage.input_tokens, record.usage.output_tokens))
        if (after := self.after_each_call) is not None:
            after()


def note_untracked_call() -> None:
    """Note for the functions running here that a client makes a call which nobody tracks.

    Elsewhere, in a thread that no session or function was carried into, it is said at once, if
    there is one that it may belong to.
    """
    inside = current_accounts()
    for account in inside:
        if isinstance(account, FunctionAccount):
            account.untracked_calls += 1
    said = "an untracked call elsewhere"
    if inside == PROCESS_ALONE and open_accounts and not was_said(said):
        log_once(
            said,
            "A call is made with an OpenAI client that is not tracked, in a thread outside of %s. "
            "If it belongs to it: %s This is said once.",
            " and ".join(sorted({repr(account.name) for account in tuple(open_accounts)})[:3]),
            TRACK,
        )


def note_counted_response() -> None:
    """Note for the functions running here that the response of such a call was counted."""
    for account in current_accounts():
        if isinstance(account, FunctionAccount):
            account.responses_counted += 1


class FunctionTotals:
    """Totals over one run of a decorated function."""

    __slots__ = ("_account", "_began_at", "_inside", "_started_at")

    def __init__(self, name: str) -> None:
        """Start at zero.

        Args:
            name: Name of the function, for messages.
        """
        self._account = FunctionAccount(name)
        self._inside: tuple[Entrance, ...] = (Entrance(self._account),)
        self._started_at = perf_counter()
        self._began_at = time()

    @contextmanager
    def current(self) -> Iterator[None]:
        """Count the calls inside, which belong to the sessions that are current here too.

        Sessions that a generator holds open across a ``yield`` are current again in its
        next step, and not in between.
        """
        around = own_entrances()
        with entered(self._inside):
            self._account.entrances = list(self._inside)
            open_accounts.add(self._account)
            try:
                yield
            finally:
                open_accounts.discard(self._account)
                # They hold the account.
                self._account.entrances = []
                self._inside = new_inside(around)

    @property
    def totals(self) -> Totals:
        """Sums over all calls so far."""
        return sum_of(self._account.groups().values())

    @property
    def emissions(self) -> Emissions | None:
        """What they emit; None where no call's electricity is known."""
        return self._account.find_emissions()

    def has_untracked_call(self) -> bool:
        """Whether a call was seen that nobody tracks, and whose response was not counted yet."""
        return self._account.untracked_calls > self._account.responses_counted

    def call_after_each(self, function: Callable[[], object] | None) -> None:
        """From now on, call this after every call that is counted."""
        self._account.after_each_call = function

    def cover(self, session: CreditedSession | None) -> bool:
        """Whether a call credited to this session is one of the run."""
        return isinstance(session, Session) and session.counts_in(self._account)

    def is_older(self, facts: ResponseFacts) -> bool:
        """Whether a returned response was made before the run, by its own account."""
        return was_made_before(facts.created, self._began_at)

    def has_counted(self, response: object, facts: ResponseFacts, usage: TokenUsage) -> bool:
        """Whether a returned response is in the totals, or was counted or made elsewhere.

        ================================  ================================================
        the same object, or its id        was counted: by a tracked client, in whatever
                                          thread, or when it was returned before
        a response that was only fetched  was counted where it was made, or not at all
        tokens of one call of the run,    is a framework's form of it, which may have an id
        or of several in a row            of its own, or the sum of an agent's calls; also of
                                          tracked clients in other threads meanwhile
        no id, and calls in the run       is a framework's own result, whatever it adds up
        ================================  ================================================

        Args:
            response: What the function returned.
            facts: What it says of itself.
            usage: Its tokens.
        """
        run_deferred()
        if counted_responses.has(response, facts, usage, since=self._started_at):
            return True
        counted = list(self._account.tokens)
        if counted and facts.response_id is None:
            return True
        tokens = usage.input_tokens, usage.output_tokens
        # Of threads that the run is not carried into, too.
        anywhere = counted_responses.tokens_since(self._started_at, facts.model)
        return _is_sum_in_a_row(tokens, counted) or _is_sum_in_a_row(tokens, anywhere)


def _is_sum_in_a_row(tokens: tuple[int, int], counted: list[tuple[int, int]]) -> bool:
    """Whether tokens are those of one call or of several, one after the other."""
    sums = [(0, 0), *accumulate(counted, lambda one, other: (one[0] + other[0], one[1] + other[1]))]
    seen: set[tuple[int, int]] = set()
    for inputs, outputs in sums:
        if (inputs - tokens[0], outputs - tokens[1]) in seen:
            return True
        seen.add((inputs, outputs))
    return False
