"""A file with a line of JSON for every call, appended to by any number of processes.

A line holds the tokens as they were read, so that the energy can be computed again when a
method or profile has changed; of what was asked and answered it holds nothing.

Each line is one write to a file opened for appending, which a local file system keeps
whole and apart from other processes' lines; no lock is taken that a stuck process could
hold against the others. What a crash or a full disk has cut off is ended by whoever writes
next, so that it costs its own line and no other.
"""

from __future__ import annotations

import errno
import json
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from datetime import UTC, datetime
from typing import Any, TypeVar

from energy_tracking.calls.record import CallRecord, CallRequest
from energy_tracking.errors import ConfigurationError, EnergyTrackingWarning
from energy_tracking.estimator import EnergyEstimate
from energy_tracking.usage.dialects import TokenUsage
from energy_tracking.usage.payloads import joules_from

FORMAT = 1
"""What the lines look like; a reader leaves out those of a later format."""

LINES_NAMED = 10

# Fields of a record that are records themselves.
_PARTS: dict[str, type] = {
    "usage": TokenUsage,
    "estimate": EnergyEstimate,
    "calibrated": EnergyEstimate,
}

# Read too, to see how the last line ends. O_BINARY: lines end alike everywhere.
_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)

T = TypeVar("T")


class Ledger:
    """Appends to one ledger file; opened anew for every line, so files may be rotated."""

    def __init__(self, path: str) -> None:
        """Make sure it can be appended to.

        Raises:
            ConfigurationError: It cannot.
        """
        # A program may change its directory.
        self._path = os.path.abspath(path)
        try:
            os.close(os.open(self._path, _FLAGS, 0o666))
        except OSError as error:
            raise ConfigurationError(f"cannot append to {path!r}: {error.strerror}") from None

    def write(self, record: CallRecord) -> None:
        """Append a call.

        Raises:
            OSError: The file cannot be written.
        """
        line = _line(record)
        file = os.open(self._path, _FLAGS, 0o666)
        try:
            if _ends_in_torn_line(file):
                line = b"\n" + line
            written = os.write(file, line)
        finally:
            os.close(file)
        if written < len(line):
            raise OSError(errno.ENOSPC, f"{written} of {len(line)} bytes written", self._path)


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One line of a ledger.

    Attributes:
        record: The call, as it was recorded.
        recorded_at: When it had ended.
        pid: Process that made it.
    """

    record: CallRecord
    recorded_at: datetime
    pid: int


def read_ledger(path: str | os.PathLike[str]) -> Iterator[LedgerEntry]:
    """Read a ledger, the oldest line first.

    Lines that cannot be read, such as one that a crash has cut off, are left out; a warning
    at the end says which.

    Raises:
        OSError: The file cannot be read.
    """
    return read_lines(path, _entry)


def read_lines(
    path: str | os.PathLike[str], read: Callable[[dict[str, Any]], T | None]
) -> Iterator[T]:
    """Read a file with an object of JSON in each line, one line at a time.

    Args:
        path: The file.
        read: What a line says; None, or one of the errors that come of taking it for what
            it is not, where that cannot be read.

    Raises:
        OSError: The file cannot be read.
    """
    skipped, named = 0, []
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                try:
                    told = json.loads(line)
                    found = read(told) if isinstance(told, dict) else None
                except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
                    found = None
                if found is not None:
                    yield found
                    continue
                skipped += 1
                if skipped <= LINES_NAMED:
                    named.append(str(number))
    if skipped:
        more = ", …" if skipped > LINES_NAMED else ""
        warnings.warn(
            f"{os.fspath(path)}: {skipped} unreadable line{'s' * (skipped > 1)} "
            f"left out ({', '.join(named)}{more})",
            EnergyTrackingWarning,
            stacklevel=2,
        )


def _ends_in_torn_line(file: int) -> bool:
    try:
        os.lseek(file, -1, os.SEEK_END)
        return os.read(file, 1) not in (b"\n", b"")
    except OSError:
        # It is empty, or no regular file.
        return False


def _line(record: CallRecord) -> bytes:
    told: dict[str, Any] = {
        "ledger": FORMAT,
        "timestamp": datetime.now(UTC).isoformat(timespec="microseconds"),
        "pid": os.getpid(),
        "session": record.session,
        "tags": dict(record.tags),
        # For whoever reads it without this library.
        "model": record.model,
        "total_energy_joules": record.total_energy_joules,
        "request": _told(record.request),
        **_told(record, without=("request", "session", "tags", *_PARTS)),
    }
    for name in _PARTS:
        part = getattr(record, name)
        if part is not None:
            told[name] = _told(part)
    return json.dumps(told, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def _told(source: Any, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """The fields of a record, less those that are as they are by default."""
    named = ((field, getattr(source, field.name)) for field in fields(source))
    return {
        field.name: dict(value) if isinstance(value, Mapping) else value
        for field, value in named
        if field.name not in without and (field.default is MISSING or value != field.default)
    }


def _entry(told: dict[str, Any]) -> LedgerEntry | None:
    """What a line says; None where it is of a later format."""
    if told["ledger"] > FORMAT:
        return None
    for numbers in (told, *(told.get(name) or {} for name in _PARTS)):
        _check_energies(numbers)
    parts = {name: told.pop(name, None) for name in _PARTS}
    record = _made(
        CallRecord,
        told,
        request=_made(CallRequest, told["request"]),
        **{name: part and _made(_PARTS[name], part) for name, part in parts.items()},
    )
    return LedgerEntry(record, datetime.fromisoformat(told["timestamp"]), told["pid"])


def _check_energies(numbers: Mapping[str, Any]) -> None:
    """Raise where an energy cannot be one of a call: it would spoil every sum."""
    for name, value in numbers.items():
        # What a cache avoids may be less than nothing, by how an estimate is rounded.
        is_energy = name.endswith("_joules") and "avoided" not in name and value is not None
        if is_energy and joules_from(value) is None:
            raise ValueError(f"{name} is {value!r}")


def _made(kind: type[T], told: Mapping[str, Any], **known: Any) -> T:
    """A record from its fields; those that a later version may have added are left out."""
    names = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: _frozen(told[name]) for name in told if name in names} | known)


def _frozen(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _frozen(part) for name, part in value.items()}
    return tuple(value) if isinstance(value, list) else value
