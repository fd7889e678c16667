"""Entries that a later one may complete: which never were is said at the end of all files."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace

from energy_tracking.logs.formats.base import LogFile

MOST_WAITING = 10_000
"""How many entries wait at a time."""

_Waiting = dict[Hashable, tuple[str, int, str]]


def wait(file: LogFile, own: Hashable, reason: str) -> None:
    """Remember an entry that cannot be counted yet.

    Args:
        file: Where it is.
        own: What a later entry of the same says, too.
        reason: Why it is left out where none comes, the same words for each.
    """
    waiting: _Waiting = file.shared.setdefault("waiting", {})
    waiting.setdefault(own, (file.path, file.line, reason))
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
    path, line, reason = file.shared["waiting"].pop(own)
    replace(file, path=path, line=line).leave_out(reason)
