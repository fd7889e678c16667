"""Signals that end a long read, so that what was summed up until then is printed.

Ctrl-C raises ``KeyboardInterrupt`` by itself. ``SIGTERM`` (a container that is stopped) and
``SIGHUP`` (a terminal that is closed) would end the process on the spot.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_NAMES = ("SIGTERM", "SIGHUP")


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
    """Raise ``Stopped`` in the block where one of the signals comes.

    A signal that the process ignores, as under ``nohup``, stays ignored.
    """
    numbers = [number for name in _NAMES if (number := getattr(signal, name, None)) is not None]
    if threading.current_thread() is not threading.main_thread():
        numbers = []
    caught = [number for number in numbers if signal.getsignal(number) is signal.SIG_DFL]
    for number in caught:
        signal.signal(number, _raise_stopped)
    try:
        yield
    finally:
        for number in caught:
            signal.signal(number, signal.SIG_DFL)


def _raise_stopped(number: int, frame: FrameType | None) -> None:
    raise Stopped(number)
