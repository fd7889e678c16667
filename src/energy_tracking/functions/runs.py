"""One run of a decorated function, and that run as one of several things that last on sees it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol


class Run(Protocol):
    """One run of a decorated function."""

    def current(self) -> AbstractContextManager[None]:
        """A ``with`` block in which calls belong to this run."""

    def boundary(self, name: str) -> AbstractContextManager[bool | None]:
        """A ``with`` block that catches and reports the library's own errors."""

    def count_response(self, response: object) -> None:
        """Count a returned response that no tracked client produced."""

    def warn_of_later_calls(self, result: object, held: object = None) -> None:
        """Say once that calls made through this object are not in the run.

        Args:
            result: The object.
            held: What it holds and they are made through; None: the object itself.
        """

    def start_another(self) -> Run:
        """Start another run of the same function."""

    def end(self, error: BaseException | None = None) -> None:
        """End the run, as soon as the streams begun inside have ended."""

    def end_later(self) -> None:
        """End the run, perhaps inside the garbage collector."""


Start = Callable[[], Run]
"""Starts a run."""


class Part:
    """A run, as one of several things sees it that were returned together: it ends with the last.

    Ends may come at once from several threads; to end a run twice is to end it once.
    """

    def __init__(self, run: Run, pending: set[Part]) -> None:
        """See the run as one more of several things.

        Args:
            run: The run.
            pending: Those that have not ended, of which this is one from now on.
        """
        self._run = run
        self._pending = pending
        pending.add(self)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._run, name)

    def itself(self) -> Part:
        """Start the run that this is."""
        return self

    def end(self, error: BaseException | None = None) -> None:
        """End the run if this is the last of them."""
        self._pending.discard(self)
        if not self._pending:
            self._run.end(error)

    def end_later(self) -> None:
        """The same, perhaps inside the garbage collector."""
        self._pending.discard(self)
        if not self._pending:
            self._run.end_later()


def end_failed(run: Run, error: BaseException) -> None:
    """End a run with what was raised, later where the coroutine or generator was closed.

    Args:
        run: The run.
        error: What was raised.
    """
    if isinstance(error, GeneratorExit):
        run.end_later()
    else:
        run.end(error)
