"""Appends calls to a ledger file, whatever other processes, threads and the disk do.

The law:

1. Each line is one write to a file opened for appending, which a local file system keeps whole
   and apart from other processes' lines. No lock is taken that a stuck process could hold
   against the others.
2. A crash or a full disk can cut a line off. The next writer ends it, so that it costs itself
   alone; where the writer could not see it, the reader finds the line behind it.
3. A line that was not written whole is lost and counted. The log says that an outage begins,
   how many lines it has cost when it ends, and the number of all when the process ends. After
   the first outages only some are logged, each with all the lines lost since the one before.
4. Only a regular file can be a ledger: writing to anything else can block for ever, or keeps
   nothing.

What stands in a line is the business of ``entries``; a further thing that may go wrong with a file
is a branch of ``Ledger.write``, and counted as a loss.
"""

from __future__ import annotations

import errno
import json
import os
import stat
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import MISSING, dataclass, fields
from datetime import UTC, datetime
from typing import Any

from energy_tracking.calls.record import CallRecord
from energy_tracking.errors import ConfigurationError, must_be
from energy_tracking.ledger.entries import AGGREGATE, AGGREGATE_FORMAT, FORMAT, PARTS
from energy_tracking.lifecycle import call_after_fork, call_at_exit
from energy_tracking.notices import log

OUTAGES_LOGGED = 10
"""Outages of one ledger that are all logged [1]; later ones only at powers of two."""

# The file is read too, to see how its last line ends. Opening a pipe must not wait for a reader.
_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_NONBLOCK", 0)
# A new file is its owner's alone: the calls show what a program does, and when.
_MODE = 0o600

_KINDS = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a pipe (FIFO)"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class Ledger:
    """Appends to one ledger file; opened anew for every line, so files may be rotated."""

    def __init__(self, path: str) -> None:
        """Make sure that the file can be appended to.

        Raises:
            ConfigurationError: It is no regular file, cannot be opened for writing, or the
                platform has no safe way to append.
        """
        if sys.platform == "win32":
            raise ConfigurationError(
                f"must be unset on Windows, where several processes cannot append to one file "
                f"safely, got {path!r}; write calls to a file of your own with on_record"
            )
        # A program may change its directory.
        self._path = os.path.abspath(path)
        try:
            with suppress(FileNotFoundError):
                _check_kind(os.stat(self._path).st_mode)
            os.close(_open_file(self._path))
        except OSError as error:
            raise ConfigurationError(
                f"{must_be('', 'a regular file that can be appended to', path)}: {error.strerror}"
            ) from None

    def write(self, record: CallRecord) -> None:
        """Append a call, or count its line as lost.

        Raises:
            OSError: The line was not written whole; the log has it.
            ValueError: The record cannot be written as JSON.
        """
        try:
            self._append(_format_line(record))
        except Exception as error:
            _count_loss(self._path, error)
            raise
        if self._path in _losses:
            _note_success(self._path)

    def _append(self, line: bytes) -> None:
        file = _open_file(self._path)
        try:
            if _ends_in_torn_line(file):
                line = b"\n" + line
            written = os.write(file, line)
        finally:
            os.close(file)
        if written < len(line):
            raise OSError(
                errno.ENOSPC, f"only {written} of {len(line)} bytes could be written", self._path
            )


@dataclass(slots=True)
class _Loss:
    """Lines that this process could not write to one file.

    Attributes:
        lines: All of them [1].
        unsaid: Those that no message about the end of an outage has counted yet [1].
        outages: Times that writing began to fail [1].
        is_out: Whether the last line was lost.
        reason: Why the last one was.
    """

    lines: int = 0
    unsaid: int = 0
    outages: int = 0
    is_out: bool = False
    reason: str = ""

    @property
    def is_logged(self) -> bool:
        """Whether this outage is: a disk that is nearly full may fail every other line."""
        outages = self.outages
        return outages <= OUTAGES_LOGGED or outages & (outages - 1) == 0


_losses: dict[str, _Loss] = {}
# A signal handler may make a call in the middle of one that is being counted.
_lock = threading.RLock()


def _count_loss(path: str, error: Exception) -> None:
    """Count a lost line, and log the beginning of an outage.

    Args:
        path: The ledger.
        error: Why the line was not written.
    """
    reason = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
    with _lock:
        loss = _losses.setdefault(path, _Loss())
        begins, loss.is_out, loss.reason = not loss.is_out, True, reason
        loss.lines += 1
        loss.unsaid += 1
        loss.outages += begins
        is_logged = begins and loss.is_logged
    call_at_exit(_say_losses)
    if is_logged:
        log(
            "the ledger %r cannot be written: %s. Calls go on and are counted in sessions; how "
            "many lines are lost is logged when it can be written again, and at exit.",
            path,
            reason,
        )


def _note_success(path: str) -> None:
    """Log the end of an outage, with the number of lines it has cost."""
    with _lock:
        loss = _losses[path]
        if not loss.is_out:
            return
        loss.is_out = False
        if not loss.is_logged:
            return
        lost, loss.unsaid = loss.unsaid, 0
    log(
        "the ledger %r can be written again; %s missing from it (%s).",
        path,
        _count_calls(lost),
        loss.reason,
    )


def _say_losses() -> None:
    """Log at the end of the process what its ledgers lack."""
    for path, loss in list(_losses.items()):
        log(
            "%s of this process %s missing from the ledger %r (%s).",
            f"{loss.lines:,} call{'s' * (loss.lines != 1)}",
            "is" if loss.lines == 1 else "are",
            path,
            loss.reason,
        )


def _count_calls(number: int) -> str:
    return "1 call is" if number == 1 else f"{number:,} calls are"


def _forget_losses() -> None:
    """In the child of a fork: the lines are the parent's, and nobody holds the lock."""
    global _lock
    _lock = threading.RLock()
    _losses.clear()


call_after_fork(_forget_losses)


def _open_file(path: str) -> int:
    """The descriptor of a regular file, made if there is none.

    Raises:
        OSError: It cannot be opened, or is no regular file.
    """
    file = os.open(path, _FLAGS, _MODE)
    try:
        _check_kind(os.fstat(file).st_mode)
    except OSError:
        os.close(file)
        raise
    return file


def _check_kind(mode: int) -> None:
    """Check that a mode is that of a regular file.

    Raises:
        OSError: It is of another kind; says which.
    """
    if not stat.S_ISREG(mode):
        kind = next((name for is_kind, name in _KINDS if is_kind(mode)), "no regular file")
        raise OSError(errno.EINVAL, f"it is {kind}")


def _ends_in_torn_line(file: int) -> bool:
    try:
        os.lseek(file, -1, os.SEEK_END)
        return os.read(file, 1) not in (b"\n", b"")
    except OSError:
        # The file is empty.
        return False


def _format_line(record: CallRecord) -> bytes:
    is_sum = record.requests != 1
    line: dict[str, Any] = {
        "ledger": AGGREGATE_FORMAT if is_sum else FORMAT,
        "timestamp": record.ended_at or datetime.now(UTC).isoformat(timespec="microseconds"),
        "pid": os.getpid(),
        "session": record.session,
        "tags": dict(record.tags),
        # For readers without this library.
        "model": record.model,
        "total_energy_joules": record.total_energy_joules,
    }
    rest: dict[str, Any] = {
        "request": _fields_as_json(record.request),
        **_fields_as_json(record, without=("request", "requests", "session", "tags", *PARTS)),
    }
    for name in PARTS:
        part = getattr(record, name)
        if part is not None:
            rest[name] = _fields_as_json(part)
    line |= {"requests": record.requests, AGGREGATE: rest} if is_sum else rest
    return json.dumps(line, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def _fields_as_json(source: Any, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """The fields of a dataclass that differ from their defaults.

    Args:
        source: The dataclass.
        without: Names of fields to leave out.
    """
    named = ((field, getattr(source, field.name)) for field in fields(source))
    return {
        field.name: dict(value) if isinstance(value, Mapping) else value
        for field, value in named
        if field.name not in without and (field.default is MISSING or value != field.default)
    }
