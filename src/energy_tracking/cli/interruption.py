"""Signals that end a long read, so that what was summed up until then is printed.

``SIGTERM`` (a container that is stopped) and ``SIGHUP`` (a terminal that is closed) would end the
process on the spot. Ctrl-C raises ``KeyboardInterrupt`` by itself, of which an engine may make an
error of its own.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")


class Stopped(KeyboardInterrupt):
    """A signal has asked the process to end.

    Attributes:
        status: The exit status that says so.
    """

    def __init__(self, number: int) -> None:
        """Take the signal's number."""
        super().__init__(signal.Signals(number).name)
        self.status = 128 + number


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Raise ``Stopped`` in the block where one of the signals comes, and nothing else after it.

    A signal that the process ignores, as under ``nohup``, stays ignored.

    Raises:
        Stopped: One has come.
    """
    usual = (signal.SIG_DFL, signal.default_int_handler)
    before = {number: found for number, found in _handlers().items() if found in usual}
    came: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        came.append(number)
        raise Stopped(number)

    for number in before:
        signal.signal(number, stop)
    try:
        yield
    except Exception as error:
        if came:  # what was raised then is what somebody else has made of it
            raise Stopped(came[0]) from error
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def signals_waiting() -> Iterator[Callable[[], None]]:
    """Let the signals that would raise in the block wait for a call of what it yields, or its end.

    Raised between any two steps, they may come where a lock of a library has just been taken, which
    is then never given back: whoever waits for it, as for threads of a pool, waits for ever.
    """
    before = {number: found for number, found in _handlers().items() if callable(found)}
    came: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        came.append(number)

    def raise_what_came() -> None:
        if came:
            number = came.pop(0)
            before[number](number, None)

    for number in before:
        signal.signal(number, note)
    try:
        yield raise_what_came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        raise_what_came()


def _handlers() -> dict[int, Any]:
    """What handles each of the signals; none where they are not this thread's to handle."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    numbers = [number for name in _NAMES if (number := getattr(signal, name, None)) is not None]
    return {number: signal.getsignal(number) for number in numbers}
