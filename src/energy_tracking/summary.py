"""The totals of the process as a table, printed when it ends."""

from __future__ import annotations

import sys
from contextlib import suppress

from energy_tracking.calls.session import process_session
from energy_tracking.lifecycle import call_at_exit, forget_at_exit
from energy_tracking.terminal import printable

NO_CALLS = (
    "process: 0 calls were counted. Clients are tracked from instrument_openai(), or from "
    "wrap_openai(client) for one, on; other calls are counted with Tracker().record()."
)
"""Printed at the end of a process in place of a table without rows."""


def print_summary_at_exit() -> None:
    """See to it that the totals of the process are printed when it ends, once."""
    call_at_exit(print_summary)


def print_summary(no_calls: str = NO_CALLS) -> None:
    """Print the totals of the process, and not again at its end.

    Args:
        no_calls: Printed in place of a table without rows.
    """
    forget_at_exit(print_summary)
    session = process_session()
    totals = session.totals
    has_calls = totals.calls + totals.aggregates > 0
    # A program without a console has no stderr.
    if sys.stderr is None or (not has_calls and _is_worker_process()):
        return
    with suppress(OSError, ValueError):
        text = str(session) if has_calls else no_calls
        sys.stderr.write(printable(f"{text}\n", sys.stderr))


def _is_worker_process() -> bool:
    """Whether this is a process of a pool, of which many make no call."""
    multiprocessing = sys.modules.get("multiprocessing")
    return multiprocessing is not None and multiprocessing.parent_process() is not None
