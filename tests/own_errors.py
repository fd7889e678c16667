"""Errors of the library itself, kept: a handler that raises would not be heard."""

from __future__ import annotations

_kept: list[Exception] = []


def keep_error(where: str, error: Exception) -> None:
    """An ``on_error`` after which the test fails."""
    _kept.append(error)


def raise_kept() -> None:
    """Raise what was kept, all of it at once."""
    errors = _kept.copy()
    _kept.clear()
    if errors:
        raise ExceptionGroup("errors of the library itself", errors)
