"""What is said of calls that nobody tracks, or that are made outside of what they seem to be in."""

from __future__ import annotations

import threading
from collections.abc import Callable

from energy_tracking.calls.accounts import PROCESS_ALONE, current_accounts, open_accounts
from energy_tracking.lifecycle import count_untracked_requests
from energy_tracking.notices import log_once, was_said

TRACK = (
    "Call instrument_openai() at the start of the program, or wrap_openai(client) for one client; "
    "calls of other SDKs are counted with Tracker().record()."
)
"""What to do where calls are made that nobody tracks."""

MISSED = "open elsewhere"
"""Kind of what is said of sessions and functions that a call is made outside of."""


def warn_of_untracked_requests(
    what: str, before: list[int | None], count_calls: Callable[[], int]
) -> None:
    """Say once that calls seem to be tracked by nobody.

    That is so where no client is tracked, the SDK has sent requests meanwhile, and no call was
    counted in any way.

    Args:
        what: What the calls were made in, as messages name it.
        before: ``count_untracked_requests()`` when that began.
        count_calls: Says how many calls were counted in it [1].
    """
    sent = count_untracked_requests()
    if sent and (None in sent or sent != before) and not count_calls():
        said = "No call of %s was counted, and no OpenAI client is tracked. %s"
        log_once(TRACK, said, what, TRACK)


def warn_outside_of_sessions() -> None:
    """Log that a call does not count in what is open elsewhere, where it seems to belong to it.

    Once for each name of a session or function, of which a bounded number is said. The rule:

    ================================  ====================================================
    the call is in                    it is said of
    ================================  ====================================================
    no session and no function        any session that is open, any function that runs in
                                      another thread: in its own, tasks follow it
    sessions or functions of its own  a session or function of the main thread, outside of
                                      event loops: it is around all that the program does.
                                      Others, of the requests of a server, are no business
                                      of one another
    ================================  ====================================================
    """
    if not open_accounts:
        return
    inside, thread = current_accounts(), threading.get_ident()
    is_outside = inside == PROCESS_ALONE
    for account in tuple(open_accounts):
        what = f"{'session' if account.is_session else 'function'} {account.name!r}"
        if account in inside or was_said(what, MISSED):
            continue
        places = tuple(account.entrances)
        if not places:  # it is being left just now
            continue
        if is_outside:
            is_missed = account.is_session or all(one.thread != thread for one in places)
        else:
            is_missed = any(one.is_of_program and one.thread != thread for one in places)
        if is_missed:
            session = "session" if account.is_session else "current_session()"
            log_once(
                what,
                "a call is made outside of %s, which is open elsewhere in this process, and does "
                "not count in it. If it belongs to it, carry that into its thread: start the work "
                "with %s.run, looked up inside of it, as in pool.submit(%s.run, function, ...), or "
                "make the calls inside `with session.attach():`. This is said once for each name.",
                what,
                session,
                session,
                kind=MISSED,
            )
            return
