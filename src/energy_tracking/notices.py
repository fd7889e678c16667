"""What the library says of itself while calls go on: a line of its log, said once.

The law:

1. A line never costs a call anything: what a logging handler raises ends here.
2. What would come with every call is said the first time. What was said is remembered for the
   process, since there may be a tracker for every request, and up to ``MAX_SAID`` of a kind, since
   servers name models as they like.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

logger = logging.getLogger("energy_tracking")

MAX_SAID = 1000
"""Things of one kind that are said at most [1]; beyond, nothing more of that kind is."""

_said: dict[str, set[str]] = {}


def is_first(what: str, kind: str = "") -> bool:
    """Whether this is said for the first time in this process.

    Args:
        what: What is to be said, or what it is said of.
        kind: What is counted together, where programs or servers decide how many there are.
    """
    said = _said.setdefault(kind, set())
    if what in said or len(said) >= MAX_SAID:
        return False
    said.add(what)
    return True


def was_said(what: str, kind: str = "") -> bool:
    """Whether this was said before.

    Args:
        what: What was to be said, or what it was said of.
        kind: As ``is_first`` has it.
    """
    return what in _said.get(kind, ())


def log(
    message: str,
    *arguments: object,
    level: int = logging.WARNING,
    error: BaseException | None = None,
) -> None:
    """Log a line, and survive what handlers raise over it.

    Args:
        message: The line.
        arguments: What stands in it for each ``%``.
        level: Its level.
        error: What happened, to be logged with its traceback.
    """
    try:
        logger.log(level, message, *arguments, exc_info=error)
    except Exception:
        # There is nowhere left to say so.
        return


def log_once(what: str, message: str, *arguments: object, kind: str = "") -> None:
    """Log a line the first time.

    Args:
        what: What it is remembered by.
        message: The line.
        arguments: What stands in it for each ``%``.
        kind: As ``is_first`` has it.
    """
    if is_first(what, kind):
        log(message, *arguments)


@contextmanager
def without_log_lines() -> Iterator[None]:
    """Leave warnings out of the log, where a command says the same in its own words."""
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


@contextmanager
def keep_faults(library: str, faults: list[str]) -> Iterator[None]:
    """Keep what a library logs as errors, for a command to say, and leave its lines out of the log.

    Args:
        library: Name of its logger.
        faults: Where its errors are kept.
    """
    theirs = logging.getLogger(library)
    keeper = logging.Handler(logging.ERROR)
    keeper.emit = lambda record: faults.append(record.getMessage())  # type: ignore[method-assign]
    propagate = theirs.propagate
    theirs.addHandler(keeper)
    theirs.propagate = False
    try:
        yield
    finally:
        theirs.removeHandler(keeper)
        theirs.propagate = propagate


def forget_said() -> None:
    """Say everything anew, as a new process would: for tests."""
    _said.clear()
