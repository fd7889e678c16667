"""The calls in a document, by the first row of the table of formats that takes it.

A document of no row may hold others; what no row takes is counted with its reason. When calls ran,
and which model answered, is said by what is around them where they do not say it themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from itertools import chain
from typing import Any

from energy_tracking.errors import UnreadableLogError
from energy_tracking.logs.files.decoding import NOT_JSON
from energy_tracking.logs.files.text_lines import LINE
from energy_tracking.logs.formats import LogFile, Recogniser, documents_inside
from energy_tracking.logs.formats.base import UnreadableEntryError, first_text
from energy_tracking.logs.formats.scattered import OUTER_MODELS, OUTER_TIMES
from energy_tracking.logs.logged import LoggedCall, first_time

DEEPEST = 8
"""How far documents may lie inside of one another."""

_WRONG_VALUES = (
    *(ValueError, TypeError, KeyError, AttributeError, IndexError, OverflowError),
    RecursionError,
)
_SAY_TIMES = frozenset({*OUTER_TIMES, "timestamps"})
"""What a document has that says when it was written."""


class Entries:
    """The calls in the documents of one file.

    Attributes:
        recognised: Whether any document was of a format.
        first_unknown: The first one that was of none, or what lies around it.
        last_time: When what is around the last call was written.
    """

    def __init__(self, file: LogFile, recogniser: Recogniser) -> None:
        """Start with none.

        Args:
            file: The file.
            recogniser: Finds the rows of the table of formats.
        """
        self._file = file
        self._recogniser = recogniser
        self.recognised = False
        self.first_unknown: Any = NOT_JSON
        self.last_time: datetime | None = None
        self._around: Mapping[str, Any] = {}

    def calls_in(self, document: Any, depth: int = 0) -> Iterable[LoggedCall]:
        """Read a document, or those in it.

        Args:
            document: The document.
            depth: How far it lies in others.

        Raises:
            UnreadableLogError: Reading is strict, and it cannot be read.
        """
        if not isinstance(document, dict):
            if isinstance(document, list) and depth < DEEPEST:
                return self._calls_in_all(document, depth)
            reason = "not JSON" if document is NOT_JSON else "no object of JSON"
            self._file.leave_out(reason)
            return ()
        file = self._file
        for row in self._recogniser.rows_for(document):
            try:
                found = row.read(document, file)
            except UnreadableLogError:
                raise
            except _WRONG_VALUES:
                found = None
            except UnreadableEntryError as error:
                self.recognised = True
                file.leave_out(error.reason, error.example)
                return ()
            if found is not None:
                file.report.formats[row.name] += len(found)
                is_dated = True
                for call in found:
                    call.format = row.name
                    if call.time is None:
                        is_dated = False
                if file.inside:
                    return self._calls_around(found, document, depth)
                self.recognised = True
                if is_dated or row.is_table or _SAY_TIMES.isdisjoint(document):
                    return found
                return self._date_calls(found, document)
        inner = documents_inside(document, file) if depth < DEEPEST else ()
        if inner is None:
            return ()  # what it is a part of is read with its end
        if inner:
            if (not depth or len(document) > len(self._around)) and LINE not in document:
                self._around = document
            return self._name_models(
                self._date_calls(self._calls_in_all(inner, depth), document), document
            )
        if self.first_unknown is NOT_JSON:
            # Of what is inside of an entry, as its empty answer, less can be said than of that.
            is_less = depth and len(document) < len(self._around)
            self.first_unknown = self._around if is_less else document
        self._file.leave_out("no token counts")
        return ()

    def _calls_around(
        self, calls: list[LoggedCall], document: dict[str, Any], depth: int
    ) -> Iterable[LoggedCall]:
        """The calls of a document, and those in what lies in it.

        Args:
            calls: Its own.
            document: The document.
            depth: How far it lies in others itself.
        """
        inside, self._file.inside = self._file.inside, []
        self.recognised = self.recognised or bool(calls)
        within = self._calls_in_all(inside, depth) if depth < DEEPEST else ()
        return self._date_calls(chain(calls, within), document)

    def _calls_in_all(self, documents: Iterable[Any], depth: int) -> Iterator[LoggedCall]:
        for document in documents:
            yield from self.calls_in(document, depth + 1)

    def _date_calls(
        self, calls: Iterable[LoggedCall], document: dict[str, Any]
    ) -> Iterator[LoggedCall]:
        """Give calls that do not say when they ran the time of their document, or of that around.

        Args:
            calls: What lies in the document.
            document: The document.
        """
        if isinstance(times := document.get("timestamps"), dict):
            document = times | document  # LangWatch has them apart
        time = first_time(document[name] for name in OUTER_TIMES if name in document)
        self.last_time = time or self.last_time
        for call in calls:
            call.time = call.time or time
            yield call

    def _name_models(
        self, calls: Iterable[LoggedCall], document: dict[str, Any]
    ) -> Iterator[LoggedCall]:
        """Give calls that do not name their model the one of the document around them.

        Args:
            calls: What lies in the document.
            document: What is around them.
        """
        model = first_text(document[name] for name in OUTER_MODELS & document.keys())
        for call in calls:
            call.model = call.model or model
            yield call
