"""What a log says of one call, in counts, times and names, of whatever format it is.

A reader of a format gives a ``LoggedCall`` for each entry; what is no call, or cannot be read, it
counts in the ``ReadReport``. A new fact about logged calls is a field here. Points in time are read
by ``time_of``, however a log writes them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from hashlib import blake2b
from types import MappingProxyType
from typing import NamedTuple

from energy_tracking.bounds import is_number
from energy_tracking.usage.token_usage import TokenUsage

NO_TAGS: Mapping[str, str] = MappingProxyType({})

LARGEST_INPUT = 10_000_000
"""No model reads more in one request [tokens]: Llama 4 Scout's context, the largest there is.

Source: https://ai.meta.com/blog/llama-4-multimodal-intelligence/
"""
LARGEST_USUAL_INPUT = 2_097_152
"""No other model reads more in one request [tokens]: Gemini 1.5 Pro's context.

Source: https://ai.google.dev/gemini-api/docs/long-context
"""
LARGEST_OUTPUT = 1_000_000
"""No model writes more in one request [tokens]; the largest documented limits are near 400,000."""

EARLIEST = 1e8
"""A smaller number of seconds since 1970 counts from the start of a trace instead [s]."""
_LAST_OF_SECONDS = 1e11
_LAST_EPOCH = 1e20
_EPOCH = datetime(1970, 1, 1)
_EPOCH_IN_UTC = datetime(1970, 1, 1, tzinfo=UTC)


class PlainCounts(NamedTuple):
    """Token counts without anything odd; the names are those of ``TokenUsage``."""

    input_tokens: int
    cached_input_tokens: int
    cache_write_input_tokens: int
    output_tokens: int
    reasoning_tokens: int | None
    total_tokens: int | None
    dialect: str


Counts = TokenUsage | PlainCounts


@dataclass(slots=True)
class LoggedCall:
    """One call, or a sum over several, as a log has it.

    Fields are given by name. That this is not enforced halves what making one takes.

    Attributes:
        provider: ``gen_ai.provider.name``.
        operation: ``gen_ai.operation.name``.
        model: The model that answered, or was asked for.
        response_id: The server's id of the response.
        counts: Token counts; None where there are none. Of a sum, the sums.
        measured_energy_joules: The energy as the server measured it [J], if it did.
        error_type: What failed; None where nothing did.
        time: When the call ended or, where the log has only that, started.
        session: What the log calls the session, conversation or trace of the call.
        tags: What the log says of it beside, by name.
        requests: 1: a call. More: a sum over that many. None: over an unknown number.
        identity: What every other copy of this call says too; None where the log has nothing
            that would distinguish one call from the next.
        grows: Copies may be of an unfinished call: the one with most tokens stands.
        assumed: What is taken for granted about it, which is said where no copy knows better: the
            end of a sentence, the same words for each of the same kind.
        sum_of: What the calls that this one repeats or sums up have in common; where one of
            them is found, this one is left out.
        log_key: What a ledger has the call's copy in another log known by.
        replaces: The ledger has it with fewer tokens.
        cache_hit: A gateway or evaluation answered from its own cache: no model ran.
        format: Name of the row of the table of formats that read it.
        file: The file.
        line: Line, row or number of the document in it, from 1.
    """

    provider: str = "unknown"
    operation: str = "chat"
    model: str | None = None
    response_id: str | None = None
    counts: Counts | None = None
    measured_energy_joules: float | None = None
    error_type: str | None = None
    time: datetime | None = None
    session: str | None = None
    # Python 3.11 takes a mapping proxy, which has no hash there, for a mutable default.
    tags: Mapping[str, str] = field(default_factory=lambda: NO_TAGS)
    requests: int | None = 1
    identity: tuple[object, ...] | None = None
    grows: bool = False
    assumed: str | None = None
    sum_of: tuple[object, ...] | None = None
    log_key: str | None = None
    replaces: bool = False
    cache_hit: bool = False
    format: str = ""
    file: str = ""
    line: int = 0

    @property
    def is_call(self) -> bool:
        """Whether it is one call, and no sum."""
        return self.requests == 1

    @property
    def is_too_large(self) -> bool:
        """Whether it has more tokens than its model takes, or any, where a server gave it an id."""
        counts = self.counts
        if counts is None or (
            counts.input_tokens <= LARGEST_USUAL_INPUT and counts.output_tokens <= LARGEST_OUTPUT
        ):
            return False
        model = "".join(filter(str.isalnum, (self.model or "").lower()))
        may_be_long = self.response_id is not None or "llama4scout" in model
        limit = LARGEST_INPUT if may_be_long else LARGEST_USUAL_INPUT
        return counts.input_tokens > limit or counts.output_tokens > LARGEST_OUTPUT

    @property
    def usage(self) -> TokenUsage | None:
        """The token counts as records have them."""
        counts = self.counts
        return TokenUsage(**counts._asdict()) if isinstance(counts, PlainCounts) else counts

    @property
    def key(self) -> str:
        """What the call is known by in a ledger: its response's id, or a hash of its identity."""
        if self.log_key is not None:
            return self.log_key
        if self.response_id is not None and self.identity == (self.response_id,):
            return self.response_id
        return blake2b(repr(self.identity).encode("utf-8", "replace"), digest_size=12).hexdigest()

    @property
    def tokens(self) -> int:
        """Input and output [tokens]."""
        counts = self.counts
        return 0 if counts is None else counts.input_tokens + counts.output_tokens


def time_of(value: object) -> datetime | None:
    """A point in time as logs write it; None where it is none.

    ISO 8601 with a blank or a ``T``, and what is near it, in UTC where no zone is named; seconds,
    milliseconds, microseconds or nanoseconds since 1970. A number too small for either counts
    from the start of a trace, which nobody can place.
    """
    if value is None:
        return None
    if type(value) is int and EARLIEST <= value < _LAST_EPOCH:
        # Nearly always, of servers.
        seconds = value if value < _LAST_OF_SECONDS else value / _epoch_unit(value)
        return datetime.fromtimestamp(seconds, UTC)
    if isinstance(value, str):
        try:
            time = datetime.fromisoformat(value)
        except ValueError:
            return _parse_other_text(value)
        # Putting a zone into a time by `replace` takes eight times as long.
        return time if time.tzinfo else _EPOCH_IN_UTC + (time - _EPOCH)
    if isinstance(value, Decimal):
        value = float(value)
    if isinstance(value, dict) and "$date" in value:
        return time_of(value["$date"])  # MongoDB's
    if not is_number(value):
        return value if isinstance(value, datetime) and value.tzinfo else _in_utc(value)
    if not EARLIEST <= value < _LAST_EPOCH:
        return None
    try:
        return datetime.fromtimestamp(value / _epoch_unit(value), UTC)
    except (OverflowError, OSError, ValueError):
        return None


def _parse_other_text(text: str) -> datetime | None:
    """A point in time that is no ISO 8601 as it stands; None where it is none."""
    trimmed = text.removesuffix(" UTC").strip()
    with suppress(ValueError):
        return time_of(datetime.fromisoformat(trimmed) if trimmed != text else float(text))
    with suppress(ValueError):
        return time_of(float(text))
    from energy_tracking.logs.odd_times import parse_odd_time  # rare, and not light

    return parse_odd_time(text.strip())


def time_of_period(value: object) -> datetime | None:
    """The same, or the start of a month that is written without a day."""
    time = time_of(value)
    if time is not None or not isinstance(value, str | int):
        return time
    from energy_tracking.logs.odd_times import parse_month  # as above

    return parse_month(str(value))


def first_time(values: Iterable[object]) -> datetime | None:
    """The first of several values that is a point in time, as ``time_of`` reads it; else None."""
    return next(filter(None, map(time_of, values)), None)


def _epoch_unit(value: float) -> float:
    """How many units of a time since 1970 a second has, by its size [1]."""
    if value < _LAST_OF_SECONDS:
        return 1.0
    if value < 1e14:
        return 1e3
    return 1e6 if value < 1e17 else 1e9


def _in_utc(value: object) -> datetime | None:
    """A time without a zone, or a day, as Parquet has them."""
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC)
    return (
        datetime(value.year, value.month, value.day, tzinfo=UTC)
        if isinstance(value, date)
        else None
    )
