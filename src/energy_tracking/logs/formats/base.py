"""What a row of the table of formats is, and what its reader gets and gives.

A reader gets a document and its ``LogFile``, which remembers what one document says for the next,
and gives the calls in it. What it cannot read it leaves out there, with the reason. What several
readers do with documents stands below: follow a path, unpack a text, identify a call.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from energy_tracking.errors import UnreadableLogError
from energy_tracking.logs.files.decoding import NOT_JSON, decode, decode_printed
from energy_tracking.logs.logged import LoggedCall
from energy_tracking.logs.once import Seen
from energy_tracking.logs.read_report import CutOff, ReadReport
from energy_tracking.usage.names import is_unique_id
from energy_tracking.usage.text import whole_tokens

Document = dict[str, Any]

LONGEST_EXAMPLE = 60
"""How much of a value is shown where it cannot be read [1]."""


UNFINISHED = "of messages that had not ended, counted with the output so far"
"""What is said of a call whose log ends, or was written, before its output did."""
ESTIMATED = "of messages that had not ended, whose output is estimated from the text so far"
"""What is said where that is more than the log counts."""


class UnreadableEntryError(Exception):
    """A document is of the format, and cannot be read: why, and the value that is to blame."""

    def __init__(self, reason: str, value: object) -> None:
        """Take what is the matter.

        Args:
            reason: Why, the same words for each of the same kind.
            value: What was found.
        """
        super().__init__(reason)
        self.reason = reason
        self.example = f", got {repr(value)[:LONGEST_EXAMPLE]}"


@dataclass(slots=True)
class LogFile:
    """A file while it is read.

    Attributes:
        path: The file.
        report: What reading finds and leaves out.
        strict: Whether to raise at the first entry that cannot be read.
        columns: The names that the caller gave to the columns of a table.
        line: Where the document that is being read starts.
        memory: What a format remembers from one document of the file for the next.
        shared: What it remembers from one file for the next; its size must have a bound.
        noted: The session of which calls were noted last.
        inside: Documents in the one that is read, which are read after it.
        folder: Where the file lies.
    """

    path: str
    report: ReadReport
    strict: bool = False
    columns: Mapping[str, str] = field(default_factory=dict)
    line: int = 0
    memory: dict[str, Any] = field(default_factory=dict)
    shared: dict[str, Any] = field(default_factory=dict)
    noted: tuple[object, ...] = ()
    inside: list[Document] = field(default_factory=list)
    folder: str = field(init=False)

    def __post_init__(self) -> None:
        """Look once at where the file lies."""
        self.folder = os.path.dirname(self.path)

    def note_call_of(self, *session: object) -> None:
        """Remember that there are calls of a session, or of what else may be summed up.

        Args:
            *session: What the ``sum_of`` of the sum says.
        """
        if session != self.noted:
            self.noted = session
            if "summed" not in self.shared:
                self.shared["summed"] = Seen()
            self.shared["summed"].add(session)

    def leave_out(self, reason: str, example: str = "") -> None:
        """Count an entry that cannot be read.

        Args:
            reason: Why, the same words for each of the same kind.
            example: What follows for this one, which is shown where it is the first.

        Raises:
            UnreadableLogError: Reading is strict.
        """
        self._refuse(reason + example)
        self.report.leave_out(reason, self.path, self.line, example)

    def leave_out_rest(self, reason: str) -> None:
        """Note that the file cannot be read on.

        Args:
            reason: Why.

        Raises:
            UnreadableLogError: Reading is strict.
        """
        self._refuse(reason)
        self.report.cut_off[self.path] = CutOff(reason, self.line)

    def assume(self, reason: str) -> None:
        """Count an entry that is counted although something about it is not known.

        Args:
            reason: What is missing and what is taken for it, the same words for each.

        Raises:
            UnreadableLogError: Reading is strict.
        """
        self._refuse(reason)
        self.note_assumption(reason)

    def note_assumption(self, reason: str) -> None:
        """Count such an entry, reading being strict or not."""
        self.report.assume(reason, self.path, self.line)

    def _refuse(self, reason: str) -> None:
        """Raise where reading is strict."""
        if self.strict:
            raise UnreadableLogError(f"{self.path}, line {self.line}: {reason}")


Reader = Callable[[Document, LogFile], "list[LoggedCall] | None"]
"""A document and its file -> the calls in it; an empty list where it is of the format and has
none; None where it is not of the format after all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFormat:
    """One way of keeping calls.

    Attributes:
        name: What the row is called.
        keys: All of these at the top of a document mark the format.
        any_of: And one of these, where there are some.
        within: And all of its keys, which are several, are in one of these, where there are some.
        types: And its ``type`` begins with one of these, where there are some.
        read: Its reader.
        finish: The calls that the end of the file settles.
        is_said: Whether to name the format where a file is of none.
        is_table: Its columns alone say when a call ran; others have the time of their document,
            where they name none of their own.
    """

    name: str
    keys: frozenset[str] = frozenset()
    any_of: frozenset[str] = frozenset()
    within: tuple[frozenset[str], ...] = ()
    types: tuple[str, ...] = ()
    read: Reader
    finish: Callable[[LogFile], Iterable[LoggedCall]] | None = None
    is_said: bool = True
    is_table: bool = False

    def has_keys(self, document: Document) -> bool:
        """Whether a document has the keys that mark the format."""
        names = document.keys()
        return (
            self.keys <= names
            and (not self.any_of or not self.any_of.isdisjoint(names))
            and (not self.within or (len(names) > 1 and any(names <= one for one in self.within)))
        )

    def is_of_type(self, type: str) -> bool:
        """Whether what a document says of its type may be that of the format."""
        return not self.types or type.startswith(self.types)


def leaves_out(reason: str) -> Reader:
    """A reader of what is no call, which counts each with its reason.

    Args:
        reason: Why it is none, and what to read in its place.
    """

    def read(document: Document, file: LogFile) -> list[LoggedCall]:
        file.leave_out(reason)
        return []

    return read


K = TypeVar("K")
V = TypeVar("V")


def remember(entries: dict[K, V], key: K, value: V, most: int) -> None:
    """Set an entry, and forget the oldest one where there are more than so many.

    Args:
        entries: What is remembered, the oldest first.
        key: Where it is set.
        value: What is set.
        most: How many are remembered [1].
    """
    entries[key] = value
    if len(entries) > most:
        del entries[next(iter(entries))]


def keys(*names: str) -> frozenset[str]:
    """The keys that mark a format."""
    return frozenset(names)


def at(document: object, *path: str | int) -> Any:
    """What lies at the end of a path; None where the path breaks off.

    Args:
        document: Decoded JSON.
        path: Keys of objects and indices of lists.
    """
    for key in path:
        if type(document) is dict:
            document = document.get(key)
        elif document is None:
            return None
        elif isinstance(document, list) and isinstance(key, int) and -1 <= key < len(document):
            document = document[key] if document else None
        else:
            return None
    return document


def mappings(value: object) -> list[Document]:
    """The objects in a list; none where it is no list."""
    if not isinstance(value, list):
        return []
    if len(value) == 1 and type(value[0]) is dict:
        return value
    return [entry for entry in value if type(entry) is dict]


def text(value: object) -> str | None:
    """A text that is not empty; else None."""
    return value if isinstance(value, str) and value else None


def first_text(values: Iterable[object]) -> str | None:
    """The first of several values that is a text and not empty; None where none is."""
    return next((value for value in values if isinstance(value, str) and value), None)


def first_of(document: Mapping[str, Any], names: Iterable[str]) -> Any:
    """What an object has under the first of several names, but for nothing; None where none has it.

    Args:
        document: The object.
        names: The names, best first.
    """
    return next((document[name] for name in names if document.get(name) is not None), None)


def known_by(*parts: object) -> tuple[object, ...] | None:
    """What a call or a sum is known by; None where a part of that is missing."""
    return None if None in parts else parts


def unpacked(value: object) -> Any:
    """The value, out of JSON where it is a text of it, as in cells of tables and lines of logs."""
    if isinstance(value, bytes):
        # A cell of a database.
        value = value.decode("utf-8", "replace")
    if isinstance(value, str) and value[:1] in ("{", "["):
        found = decode(value)
        if found is NOT_JSON:
            found = decode_printed(value)
        return None if found is NOT_JSON else found
    return value


def estimate_output(call: LoggedCall, tokens: float) -> None:
    """Count the text of a message that had not ended, where its log counts less.

    Args:
        call: The message.
        tokens: About how many its text has [tokens].
    """
    counts, outputs = call.counts, whole_tokens(tokens)
    if counts is not None and outputs > counts.output_tokens and (usage := call.usage) is not None:
        call.counts = replace(
            usage, output_tokens=outputs, total_tokens=None, estimated=("output_tokens",)
        )
        call.assumed = ESTIMATED


def identify(call: LoggedCall, *ids: object, created: object = None) -> LoggedCall:
    """Give a call what every copy of it has in common.

    Args:
        call: The call; its response's id is enough where it is long enough to be unique.
        *ids: Other ids of the request.
        created: When the response was made, as the server wrote it.
    """
    response_id, counts = call.response_id, call.counts
    if response_id is not None:
        if is_unique_id(response_id):
            call.identity, call.grows = (response_id,), True
            return call
        ids = (response_id, *ids)
    named: list[object] = [one for one in ids if isinstance(one, (str, int))]
    if named:
        named.append("None" if created is None else str(created))
        named.append(None if counts is None else (counts.input_tokens, counts.output_tokens))
        call.identity = tuple(named)
    return call
