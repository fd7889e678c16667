"""What happens around calls and not in them, for the whole process and in one place.

Everything that outlives a call, or comes after it, is here: work that finalisers leave behind,
calls that are still open, the end of the process and its forks.

The law:

1. A finaliser only calls ``defer``. Whoever comes next runs what was deferred: a call that
   starts, a look at a session, the end of the process; where nobody comes, a thread that the
   first ``defer`` starts does so after ``SETTLE_SECONDS``, and ends.
2. A call is in ``open_calls`` as long as its response is read, and in ``held_calls`` while it
   is generated on, after its request was answered. What is left there when the process ends is
   closed as far as it got.
3. At exit, open calls are closed first, then come the functions of ``call_at_exit``. The hook is
   registered with the first call, hence run before the shutdown of any telemetry provider that
   was set up before it.
4. Workers that run no exit functions have an end of their own, see ``_WORKER_ENDS``. A process
   that a signal kills runs nothing: a handler that raises ``SystemExit`` is the program's to set.
5. In the child of a fork nothing of the parent's is delivered: open calls are abandoned, deferred
   work is forgotten, then come the functions of ``call_after_fork``, which make locks anew.

State that a new part of the library keeps for the process belongs here, or registers here.
"""

from __future__ import annotations

import _thread
import atexit
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from threading import get_ident
from typing import Any, TypeVar, TypeVarTuple

Arguments = TypeVarTuple("Arguments")
T = TypeVar("T")

# A call is whatever has ``close()``, which ends it as far as it got, and ``abandon()``, which ends
# it without delivering it. It is not typed closer, since this floor lies below that of calls.
open_calls: set[Any] = set()
"""Calls whose responses are being read."""

held_calls: dict[Any, None] = {}
"""Calls whose responses are generated on by a server, to be fetched later; the oldest first."""

client_checks: list[Callable[[], bool]] = []
"""Each says whether clients of one SDK are tracked now; a module that tracks clients adds one."""

request_counts: list[Callable[[], int | None]] = []
"""Each says how many requests the clients of one SDK have sent so far, tracked or not [1]; None
where that is not known. A module that tracks clients adds one."""


def are_clients_tracked() -> bool:
    """Whether the clients of any SDK are tracked now."""
    return any(is_tracking() for is_tracking in client_checks)


def count_untracked_requests() -> list[int | None]:
    """The requests sent so far by the clients of each SDK, None where that is not known [1].

    Empty where clients are tracked.
    """
    return [] if are_clients_tracked() else [count() for count in request_counts]


SETTLE_SECONDS = 1.0
"""How long something deferred waits for a call, or a look, before a thread does it [s]."""
END_SECONDS = 5.0
"""How long the end of the process waits for that thread [s]."""

# Appending to it and taking from it take no lock.
_deferred: deque[Callable[[], None]] = deque()
# Threads that run nothing of it now.
_holding: set[int] = set()
# Held while a thread waits to settle, and while one does.
_is_armed = threading.Lock()
_is_settling = threading.RLock()
_has_ending = False
_at_exit: dict[Callable[[], object], None] = {}
_after_fork: list[Callable[[], object]] = []
_before_looks: list[Callable[[], object]] = []


def defer(action: Callable[[], None]) -> None:
    """Leave something to be done to the next call, look at a session, or exit, or to a thread.

    For finalisers, which must take no lock: garbage collection can run while this very
    thread holds the lock of a session or of a metrics SDK.
    """
    _deferred.append(action)
    if _is_armed.acquire(blocking=False):
        try:
            # Not a ``threading.Thread``, whose start takes locks, and waits.
            _thread.start_new_thread(_settle_soon, (_is_armed,))
        except RuntimeError:
            # No thread can be started, at the end of the process for one.
            _is_armed.release()


def _settle_soon(armed: threading.Lock) -> None:
    """Do what was deferred if nobody else has by then: a service may idle for hours."""
    time.sleep(SETTLE_SECONDS)
    armed.release()
    with _is_settling:
        run_deferred()


def run_deferred() -> None:
    """Do what finalisers have left behind; a no-op from inside of itself."""
    # A sink that reads a total while it is given a record would come back here.
    if _deferred and get_ident() not in _holding:
        hold_deferred(_run_all)


def settle() -> None:
    """Do what was deferred, and wait for what is held back: before a look at what was counted."""
    run_deferred()
    if get_ident() not in _holding:
        for function in _before_looks:
            hold_deferred(function)


def call_before_looks(function: Callable[[], object]) -> None:
    """Call a function before each look at what was counted; it waits a bounded time at most."""
    _before_looks.append(function)


def hold_deferred(function: Callable[[*Arguments], T], *arguments: *Arguments) -> T:
    """Call a function during which this thread runs nothing that is deferred.

    For everything that takes the locks of others, of a metrics SDK or a user's sink: a signal
    handler that looks at a session in the middle of it would close a call, and wait for ever
    for a lock that its own thread holds.

    Args:
        function: The function.
        arguments: Its arguments.
    """
    thread = get_ident()
    if thread in _holding:
        return function(*arguments)
    try:
        _holding.add(thread)
        return function(*arguments)
    finally:
        _holding.discard(thread)


def _run_all() -> None:
    while True:
        try:
            action = _deferred.popleft()
        except IndexError:
            return
        action()


def close_open_calls() -> None:
    """Close every call that is still open, as far as it got."""
    run_deferred()
    for call in [*open_calls, *held_calls]:
        call.close()


def prepare_for_call() -> None:
    """Do what was deferred before a call starts, which is not to be lost when the process ends."""
    if not _has_ending or run_deferred not in _at_exit:
        close_open_calls_at_exit()
    if _deferred:
        run_deferred()


def close_open_calls_at_exit() -> None:
    """See to it that nothing open is lost when the process ends."""
    call_at_exit(run_deferred)


def call_at_exit(function: Callable[[], object]) -> None:
    """Call a function when the process ends and its open calls are closed; each only once."""
    global _has_ending
    _at_exit.setdefault(function)
    if not _has_ending:
        _has_ending = True
        atexit.register(_end_process)
        for module, register in _WORKER_ENDS:
            # Only where it is in use. In the worker that it has started, it is.
            if module in sys.modules:
                with suppress(Exception):
                    register(sys.modules[module])


def forget_at_exit(function: Callable[[], object]) -> None:
    """Do not call a function at the end that ``call_at_exit`` was given."""
    _at_exit.pop(function, None)


def _register_finaliser(util: Any) -> None:
    """At the end of a worker of multiprocessing, which runs no exit functions."""
    if sys.modules["multiprocessing.process"].parent_process() is not None:
        util.Finalize(None, _end_process, exitpriority=0)


def _register_receiver(signals: Any) -> None:
    """At the end of a worker that Celery has forked."""
    signals.worker_process_shutdown.connect(_end_celery_worker, weak=False)


def _end_celery_worker(**signal: object) -> None:
    _end_process()


# Module whose workers skip exit functions, and how to be called at their end.
_WORKER_ENDS: tuple[tuple[str, Callable[[Any], None]], ...] = (
    ("multiprocessing.util", _register_finaliser),
    ("celery.signals", _register_receiver),
)


def call_after_fork(function: Callable[[], object]) -> None:
    """Call a function in the child of every fork, before any other code there."""
    _after_fork.append(function)


def _end_process() -> None:
    """Close what is open and run the functions of ``call_at_exit``, each once."""
    # No thread settles from now on: it would be stopped in the middle of a delivery.
    _is_settling.acquire(timeout=END_SECONDS)
    close_open_calls()
    # One may be forgotten by one before it.
    while _at_exit:
        function = next(iter(_at_exit))
        del _at_exit[function]
        function()


def _begin_child() -> None:
    """Leave open calls and deferred work to the parent, and have an end of its own."""
    global _deferred, _is_armed, _is_settling, _has_ending
    _deferred = deque()
    _is_armed, _is_settling = threading.Lock(), threading.RLock()
    if _has_ending:
        # Inherited. In a worker it is run by nobody, and registered anew with its first call.
        atexit.unregister(_end_process)
        _has_ending = False
    for call in [*open_calls, *held_calls]:
        call.abandon()
    open_calls.clear()
    held_calls.clear()
    # A thread of the parent's may have been one, whose number another one will have here.
    _holding.intersection_update({get_ident()})
    for function in _after_fork:
        function()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_child)
