"""The boundary between the library and its user: no error of ours gets across it.

What happens inside of it must never change the caller's call. Errors go to one handler, the
user's ``on_error`` or a log line per kind; what the handler raises goes to the log in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from types import TracebackType

from energy_tracking.notices import log

ErrorHandler = Callable[[str, Exception], object]
"""Called with where in the library an error happened, and the error."""


class ErrorBoundaries:
    """The boundaries of one tracker, by the name of what happens inside."""

    def __init__(self, on_error: ErrorHandler | None = None) -> None:
        """Hand errors to this handler, else log each kind once."""
        self.report: ErrorHandler = partial(_report, on_error or _LogOnce())
        self._boundaries: dict[str, ErrorBoundary] = {}

    def __call__(self, name: str) -> ErrorBoundary:
        """A ``with`` block that catches and reports the library's own errors."""
        boundary = self._boundaries.get(name)
        if boundary is None:
            boundary = self._boundaries[name] = ErrorBoundary(name, self.report)
        return boundary


class ErrorBoundary:
    """A ``with`` block that hands our own errors to a handler instead of the caller."""

    __slots__ = ("_handler", "_name")

    def __init__(self, name: str, handler: ErrorHandler) -> None:
        """Hand errors to this handler.

        Args:
            name: What happens inside.
            handler: Called with the name and the error.
        """
        self._name = name
        self._handler = handler

    def __enter__(self) -> None:
        """Nothing to set up."""

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        """Swallow errors; interrupts and exits of the process pass."""
        if isinstance(exc, Exception):
            _report(self._handler, self._name, exc)
            return True
        return False


def _report(handler: ErrorHandler, where: str, error: Exception) -> None:
    """Hand an error of our own to a handler, and survive that.

    Args:
        handler: The handler.
        where: Where in the library it happened.
        error: The error. What it was raised over is taken off: that may be the caller's own
            error, with a provider's text and a key in it.
    """
    try:
        error.__cause__ = error.__context__ = None
        handler(where, error)
    except Exception as failed:
        _last_resort("on_error", failed)


class _LogOnce:
    """Logs each kind of error the first time that it happens to a tracker."""

    def __init__(self) -> None:
        self._seen: set[tuple[str, type[Exception]]] = set()

    def __call__(self, where: str, error: Exception) -> None:
        if (where, type(error)) not in self._seen:
            self._seen.add((where, type(error)))
            log(
                "energy tracking failed in %s; the call itself is not affected. "
                "Further errors of this kind are not logged.",
                where,
                error=error,
            )


_last_resort = _LogOnce()
"""Handles the error of a handler."""


def run_every(steps: Iterable[Callable[[], object]]) -> None:
    """Run every step, also those after one that raises.

    An interrupt, or what a signal handler raises, comes where it comes: it is passed on, once
    the rest is done.

    Args:
        steps: What is to be done, in order.

    Raises:
        BaseException: What was raised first.
    """
    raised: BaseException | None = None
    rest = iter(steps)
    while True:
        try:
            for step in rest:
                step()
            break
        except BaseException as error:
            raised = raised or error
    if raised is not None:
        try:
            raise raised
        finally:
            # The frame would hold the error, and the error the frame.
            raised = None
