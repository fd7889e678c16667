"""Lines of a ledger back into calls, every field checked against its type and its bounds.

A file is not trusted: one text in the place of a number would spoil every sum, or fill the
memory. What a field may hold follows from the annotations of the dataclasses, so that a
new field is checked without a line here; `_BOUNDS` has the bounds that
follow from its name. What fields may hold beside each other are the rows of `_RULES`: each holds
of every line that the library writes, so a line that breaks one was written or changed by
something else.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import MISSING, fields, is_dataclass, replace
from datetime import datetime
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from energy_tracking.bounds import Bound, checked, read_path
from energy_tracking.calls.record import (
    INTENSITY,
    CallRecord,
    Intensity,
    Measurement,
    is_past,
    status_of,
)
from energy_tracking.calls.tags import TAG_NAME
from energy_tracking.errors import shown
from energy_tracking.estimator import CALIBRATED_METHOD, METHOD_NAMES, SCOPES, EnergyEstimate
from energy_tracking.estimator.estimate import GRADE_FACTORS
from energy_tracking.estimator.evidence import ServerLoad
from energy_tracking.frozen import frozen
from energy_tracking.ledger.lines import LineError, read_lines, read_object, split_glued
from energy_tracking.ledger.replaced import Replaced, find_replacing_lines
from energy_tracking.usage.measured_energy import MEASURED
from energy_tracking.usage.names import MAX_CHARACTERS, MAX_SENTENCE, text_of
from energy_tracking.usage.server_timing import ServerTiming
from energy_tracking.usage.token_usage import MAX_TOKENS, WHOLE_OF, TokenUsage

FORMAT = 1
"""What the lines of calls look like; a reader leaves out those of a later format."""

AGGREGATE_FORMAT = 2
"""The same of lines of sums over several requests. Those who know calls alone read none."""

AGGREGATE = "aggregate"
"""Where such a line has what a call's line has beside its head: a reader that knows calls alone,
and looks at no format, finds neither a request nor a usage."""

MAX_LINE_BYTES = 2**20
"""No line of a ledger is longer [byte]."""

_ROUNDING = 1e-9
"""What a sum may be off by, relative to it [1]."""

LINE_START = b'{"ledger":'

PARTS: dict[str, type] = {
    "usage": TokenUsage,
    "estimate": EnergyEstimate,
    "calibrated": EnergyEstimate,
    "intensity": Intensity,
    "server_timing": ServerTiming,
    "server_load": ServerLoad,
    "measurement": Measurement,
}
"""Fields of a record that are dataclasses themselves."""

T = TypeVar("T")


@frozen()
@checked
class LedgerEntry:
    """One line of a ledger.

    Attributes:
        record: The call, as it was recorded; or a sum over several, whose ``requests`` says so.
        recorded_at: When it had ended; of a sum, when its time began.
        pid: Process that made it.
    """

    record: CallRecord
    recorded_at: datetime
    pid: int


def read_ledger(path: str | os.PathLike[str]) -> Iterator[LedgerEntry]:
    """Read a ledger, the oldest line first.

    Of a call with several lines, as one that had grown when its log was read again, the last
    stands. Lines that cannot be read, such as one that a crash has cut off, are left out; a warning
    at the end says how many, which, and why.

    Raises:
        OSError: The file cannot be read.
        ConfigurationError: It is named by something else than a path.
    """
    path = read_path("path", path)
    return read_lines(
        path,
        _read_entry,
        max_bytes=MAX_LINE_BYTES,
        start=LINE_START,
        keeps=_LastOfEachCall(path),
    )


class _LastOfEachCall:
    """Keeps the lines of a ledger that no later one replaces."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._is_file = os.path.isfile(path)
        self._replaced: Replaced | None = None

    def __call__(self, entry: LedgerEntry) -> bool:
        record = entry.record
        if not self._is_file:
            if record.replaces:
                raise LineError("replaces a line that was counted: read the ledger from a file")
            return True
        if self._replaced is None:
            self._replaced = find_replaced(self._path)
        return self._replaced.admits(record.response_id, record.log_identity, record.replaces)


def find_replaced(path: str) -> Replaced:
    """Look up which calls of a ledger have several lines; none of a pipe, which is read once.

    Raises:
        OSError: The file cannot be read.
    """
    replaced = Replaced()
    if not os.path.isfile(path):
        return replaced
    with open(path, "rb") as file:
        for line in find_replacing_lines(file, MAX_LINE_BYTES):
            for entry in parse_line(line):
                if entry is not None and entry.record.replaces:
                    replaced.expect(entry.record.response_id, entry.record.log_identity)
    return replaced


def parse_line(line: bytes) -> list[LedgerEntry | None]:
    """The calls of one line of a ledger, which may be glued together; None for what is none."""
    if len(line) > MAX_LINE_BYTES:
        return [None]
    return [_parse_entry(piece) for piece in split_glued(line.strip(), LINE_START)]


def _parse_entry(line: bytes) -> LedgerEntry | None:
    try:
        return read_object(line, _read_entry)
    except LineError:
        return None


def _read_entry(line: dict[str, Any]) -> LedgerEntry:
    """The call that a line holds.

    Raises:
        LineError: A field is missing or wrong, or the line is of a later format.
    """
    version = _read_field(line, "ledger", int)
    is_sum = AGGREGATE in line
    known = AGGREGATE_FORMAT if is_sum else FORMAT
    if version > known:
        raise LineError(f"ledger must be {known}: a later version wrote the line", str(version))
    for name in ("session", "tags"):
        if name not in line:
            raise LineError(f"{name} must be given")
    if is_sum and not isinstance(line[AGGREGATE], dict):
        raise LineError(f"{AGGREGATE} must be an object", shown(line[AGGREGATE]))
    record = _build_record(CallRecord, join_aggregate(line), f"{AGGREGATE}." if is_sum else "")
    if is_sum is (record.requests == 1):
        what = "another number than 1, or null" if is_sum else "1"
        raise LineError(f"requests must be {what}", shown(record.requests))
    stated = line.get("total_energy_joules")
    if "total_energy_joules" in line and not _is_total(stated, record.total_energy_joules):
        what = "the measured energy, or the sum of the estimate's prefill and decode"
        raise LineError(f"total_energy_joules must be {what}", shown(stated))
    if "model" in line:
        _read_field(line, "model", str)
    recorded_at = _read_time(_read_field(line, "timestamp", str))
    if record.ended_at not in (None, line["timestamp"]):
        raise LineError("ended_at must be the timestamp", shown(record.ended_at))
    return LedgerEntry(record, recorded_at, _read_field(line, "pid", int))


def join_aggregate(line: dict[str, Any]) -> dict[str, Any]:
    """The fields of a line as those of a call's, where a sum's stand one level deeper."""
    inner = line.get(AGGREGATE)
    return line | inner if isinstance(inner, dict) else line


def _is_total(stated: object, total: float | None) -> bool:
    """Whether what a line states as the energy of its call is that [J]."""
    if stated is None or total is None:
        return stated is total
    return (
        type(stated) in (int, float) and _is_at_most(stated, total) and _is_at_most(total, stated)
    )


def _is_at_most(one: Any, other: Any) -> bool:
    """Whether a sum is at most another one, but for rounding."""
    return bool(one <= other + _ROUNDING * abs(other))


def _read_time(text: str) -> datetime:
    """A point in time that has been.

    Raises:
        LineError: The text is no ISO 8601 time, has no zone, or is not past.
    """
    with suppress(ValueError):
        time = datetime.fromisoformat(text)
        if is_past(time):
            return time
    raise LineError("timestamp must be a past time in ISO 8601 with its zone", shown(text))


def _build_record(kind: type[T], given: Mapping[str, Any], where: str = "") -> T:
    """A dataclass from its fields; those that a later version may have added are left out.

    Args:
        kind: The dataclass.
        given: Its fields, as JSON has them.
        where: What stands before a field's name in messages.

    Raises:
        LineError: A field is missing or wrong.
    """
    values: dict[str, Any] = {}
    for name, (hint, is_required) in _fields_of(kind).items():  # type: ignore[arg-type]
        if is_required or name in given:
            values[name] = _read_field(given, name, hint, where)
    record = kind(**values)
    for name, what, holds in _RULES.get(kind, ()):
        if not holds(record):
            raise LineError(f"{where}{name} must be {what}", shown(getattr(record, name)))
    return record


@cache
def _fields_of(kind: type) -> dict[str, tuple[Any, bool]]:
    """The type of every field of a dataclass, and whether it must be given."""
    hints = get_type_hints(kind)
    return {
        field.name: (
            hints[field.name],
            field.default is MISSING and field.default_factory is MISSING,
        )
        for field in fields(kind)
    }


def _read_field(given: Mapping[str, Any], name: str, hint: Any, where: str = "") -> Any:
    """A field of an object of JSON, checked.

    Args:
        given: The object.
        name: Name of the field.
        hint: Its type.
        where: What stands before its name in messages.

    Raises:
        LineError: It is missing or wrong.
    """
    if name not in given:
        raise LineError(f"{where}{name} must be given")
    value = given[name]
    try:
        return _convert_value(value, hint, name, f"{where}{name}.")
    except _WrongValue as wrong:
        raise LineError(f"{where}{name} must be {wrong}", shown(value)) from None


class _WrongValue(Exception):
    """A value is not what its type asks for; the message is what it must be."""


def _convert_value(value: Any, hint: Any, name: str, where: str) -> Any:
    """A value of JSON as one of a type.

    Args:
        value: The value.
        hint: The type, as a field is annotated.
        name: Name of the field, which its bounds follow from.
        where: What stands before the names of fields inside it in messages.

    Raises:
        _WrongValue: It is none of that type, or out of bounds.
    """
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        if value is None and NoneType in arguments:
            return None
        # Of several kinds it is that of the value: `float | bool | str` holds numbers and names.
        kinds = [kind for kind in arguments if kind is not NoneType]
        kind = type(value) if type(value) in kinds else kinds[0]
        return _convert_value(value, kind, name, where)
    if hint is Any:
        return value
    if origin is Literal:
        if value not in [choice for choice in arguments if type(choice) is type(value)]:
            raise _WrongValue(f"one of {', '.join(map(repr, arguments))}")
        return value
    if origin is tuple:
        return _convert_list(value, arguments, name, where)
    if is_dataclass(hint) or origin is Mapping:
        if not isinstance(value, dict):
            raise _WrongValue("an object")
        if origin is Mapping:
            return {
                text_of(key) or "": _convert_value(one, arguments[1], name, where)
                for key, one in value.items()
            }
        return _build_record(hint, value, where)
    if hint in (int, float):
        return _convert_number(value, hint, where)
    if type(value) is not hint:
        raise _WrongValue(_TYPE_NAMES[hint])
    if hint is not str:
        return value
    return text_of(value, MAX_SENTENCE if name in _SENTENCES else MAX_CHARACTERS) or ""


_SENTENCES = ("reason", "repairs")
"""Fields of text that are longer than names."""

_TYPE_NAMES = {str: "a string", bool: "true or false"}


def _convert_list(value: Any, kinds: tuple[Any, ...], name: str, where: str) -> tuple[Any, ...]:
    is_open = kinds[-1] is Ellipsis
    if not isinstance(value, list) or not (is_open or len(value) == len(kinds)):
        raise _WrongValue("a list" if is_open else f"a list of {len(kinds)}")
    every = kinds[:1] * len(value) if is_open else kinds
    return tuple(
        _convert_value(one, kind, name, where) for one, kind in zip(value, every, strict=True)
    )


def _convert_number(value: Any, kind: type, where: str) -> int | float:
    bounds = _ALL_BOUNDS[where.startswith(AGGREGATE), kind is int]
    bound = next(bound for end, bound in bounds.items() if where.endswith(f"{end}."))
    if not bound.holds(value) or (kind is int and type(value) is not int):
        raise _WrongValue(bound.text)
    return value  # type: ignore[no-any-return]


def _make_part_rule(part: str, whole: str) -> _Rule:
    """The row of a count that is within another one."""
    return (
        part,
        f"at most {whole}",
        lambda usage: (getattr(usage, part) or 0) <= getattr(usage, whole),
    )


def _make_choice_rule(name: str, choices: Iterable[str]) -> _Rule:
    """The row of a field that has one of a few names."""
    names = tuple(choices)
    what = f"one of {', '.join(map(repr, names))}"
    return name, what, lambda record: getattr(record, name) in names


_Rule = tuple[str, str, Callable[[Any], bool]]
_RULES: dict[type, tuple[_Rule, ...]] = {
    TokenUsage: (
        *(_make_part_rule(part, whole) for part, whole in WHOLE_OF.items()),
        (
            "estimated",
            "names of counts",
            lambda usage: {*usage.estimated} <= {"input_tokens", "output_tokens"},
        ),
    ),
    EnergyEstimate: (
        _make_choice_rule("method", METHOD_NAMES),
        _make_choice_rule("scope", SCOPES),
        _make_choice_rule("grade", GRADE_FACTORS),
        (
            "reasoning_energy_joules",
            "at most decode_energy_joules",
            lambda estimate: _is_at_most(
                estimate.reasoning_energy_joules or 0, estimate.decode_energy_joules
            ),
        ),
        (
            "total_energy_low_joules",
            "at most the sum of prefill and decode",
            lambda estimate: _is_at_most(
                estimate.total_energy_low_joules, estimate.total_energy_joules
            ),
        ),
        (
            "total_energy_high_joules",
            "at least the sum of prefill and decode",
            lambda estimate: _is_at_most(
                estimate.total_energy_joules, estimate.total_energy_high_joules
            ),
        ),
        (
            "range_parts",
            "pairs of a low and a high factor",
            lambda estimate: all(low <= high for low, high in estimate.range_parts.values()),
        ),
        (
            "assumed",
            "numbers and names, and speculative true or false",
            lambda estimate: all(
                isinstance(value, bool) == (name == "speculative")
                for name, value in estimate.assumed.items()
            ),
        ),
    ),
    Measurement: (("share", "at most 1", lambda measurement: measurement.share <= 1 + _ROUNDING),),
    CallRecord: (
        (
            "measurement",
            "unset where no energy was measured",
            lambda record: record.measurement is None or record.measured_energy_joules is not None,
        ),
        (
            "status",
            "'measured' where an energy was measured, else 'unestimated' without an estimate, else "
            "'partial' where tokens were estimated, else 'estimated'",
            lambda record: (
                record.status
                == status_of(record.usage, record.estimate, record.measured_energy_joules)
            ),
        ),
        (
            "calibrated",
            f"an estimate of method {CALIBRATED_METHOD!r} beside another",
            lambda record: (
                record.calibrated is None
                or (record.estimate is not None and record.calibrated.method == CALIBRATED_METHOD)
            ),
        ),
        (
            "tags",
            "names of letters, digits, '_' and '-', to strings",
            lambda record: all(re.fullmatch(TAG_NAME, name) for name in record.tags),
        ),
    ),
}
"""What fields must be beside each other: field, what it must be, whether it is that."""

_BOUNDS: dict[str, Bound] = {
    # What a cache avoids may be less than nothing, by how an estimate is rounded.
    "avoided_energy_joules": Bound(-MEASURED.high, MEASURED.high, "J"),
    "grams_per_kwh": INTENSITY,
    "_joules": MEASURED,
    "_tokens": Bound(0, MAX_TOKENS),
    "_seconds": Bound(0, 1e9),
    "_flops": Bound(0, 1e40),
    # Factors, of which none is nothing.
    "range_parts": Bound(1e-9, 1e9),
    "server_port": Bound(0, 65_535),
    "pid": Bound(0, 2**32),
    "retries": Bound(0, 1e6),
    "requests": Bound(1, 1e18),
    "ledger": Bound(1, 1e15),
    "": Bound(0, 1e15),
}
"""What a number may be, by the end of its field's name; the first row that fits holds."""

_SUM_BOUNDS = _BOUNDS | {"_joules": Bound(0, 1e21, "J"), "_tokens": Bound(0, 1e18)}
"""The same in a line of a sum, with the most that a log is believed [tokens], and more energy than
mankind uses in a year."""

_ALL_BOUNDS = {
    (is_sum, is_whole): {end: replace(bound, is_whole=is_whole) for end, bound in bounds.items()}
    for is_sum, bounds in ((False, _BOUNDS), (True, _SUM_BOUNDS))
    for is_whole in (False, True)
}
"""The bounds by whether the line is that of a sum, and the field one of whole numbers."""
