"""Entries that a later one may complete: which never were is said at the end of all files."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import replace

from energy_tracking.logs.formats.base import LogFile

MOST_WAITING = 10_000
"""How many entries wait at a time [1]."""

IsSettled = Callable[[Hashable], bool]
_Waiting = dict[Hashable, tuple[str, int, str, IsSettled | None]]


def wait(file: LogFile, own: Hashable, reason: str, is_settled: IsSettled | None = None) -> None:
    """Remember an entry that cannot be counted yet.

    Args:
        file: Where it is.
        own: What a later entry of the same says, too.
        reason: Why it is left out where none comes, the same words for each.
        is_settled: Says of ``own`` whether others make it superfluous; None: ``settle`` does.
    """
    waiting: _Waiting = file.shared.setdefault("waiting", {})
    waiting.setdefault(own, (file.path, file.line, reason, is_settled))
    if len(waiting) > MOST_WAITING:
        _leave_out(file, next(iter(waiting)))


def settle(file: LogFile, own: Hashable) -> None:
    """Forget an entry that was completed.

    Args:
        file: Where it was.
        own: What it is known by.
    """
    waiting: _Waiting = file.shared.get("waiting", {})
    waiting.pop(own, None)


def leave_out_waiting(file: LogFile) -> None:
    """Count the entries that nothing has completed.

    Args:
        file: Any file, after the last.
    """
    for own in list(file.shared.get("waiting", ())):
        _leave_out(file, own)


def _leave_out(file: LogFile, own: Hashable) -> None:
    waiting: _Waiting = file.shared["waiting"]
    path, line, reason, is_settled = waiting.pop(own)
    if is_settled is None or not is_settled(own):
        replace(file, path=path, line=line).leave_out(reason)
