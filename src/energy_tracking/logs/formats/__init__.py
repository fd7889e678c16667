"""The table of formats, and which of its rows a document is of.

``FORMATS`` is walked from the top for each document: the first row that has its keys, and whose
reader takes it, reads it. So a row that says more stands before one that says less, and the last
ones take anything with token counts. A new format is a row in the module of its family, with the
source of what it says, and a sample in the tests.
"""

from __future__ import annotations

import re
from typing import Any

from energy_tracking.logs.formats.agents.aider import AIDER
from energy_tracking.logs.formats.agents.claude_code import CLAUDE_CODE
from energy_tracking.logs.formats.agents.cline import CLINE_TASKS
from energy_tracking.logs.formats.agents.codex import CODEX
from energy_tracking.logs.formats.agents.gemini_cli import GEMINI_CLI
from energy_tracking.logs.formats.agents.opencode import OPENCODE
from energy_tracking.logs.formats.agents.session_sums import SESSION_SUMS
from energy_tracking.logs.formats.agents.transcripts import AGENTS
from energy_tracking.logs.formats.agents.vs_code import VS_CODE
from energy_tracking.logs.formats.amounts import AMOUNTS
from energy_tracking.logs.formats.base import Document, LogFile, LogFormat
from energy_tracking.logs.formats.evaluations.benchmarks import BENCHMARKS
from energy_tracking.logs.formats.evaluations.inspect import INSPECT
from energy_tracking.logs.formats.evaluations.promptfoo import PROMPTFOO
from energy_tracking.logs.formats.evaluations.trajectories import TRAJECTORIES
from energy_tracking.logs.formats.inside import documents_inside
from energy_tracking.logs.formats.ledgers import LEDGER
from energy_tracking.logs.formats.platforms.checkpoints import CHECKPOINTS
from energy_tracking.logs.formats.platforms.clouds import CLOUDS
from energy_tracking.logs.formats.platforms.gateways import GATEWAYS
from energy_tracking.logs.formats.platforms.langfuse import LANGFUSE
from energy_tracking.logs.formats.platforms.libraries import LIBRARIES
from energy_tracking.logs.formats.platforms.librechat import LIBRECHAT
from energy_tracking.logs.formats.platforms.observability import OBSERVABILITY
from energy_tracking.logs.formats.platforms.tracers import TRACERS
from energy_tracking.logs.formats.platforms.workflows import WORKFLOWS
from energy_tracking.logs.formats.responses import BATCHES, RESPONSE, RESPONSES
from energy_tracking.logs.formats.servers import SERVERS
from energy_tracking.logs.formats.streams import STREAMS
from energy_tracking.logs.formats.sums import SUMS
from energy_tracking.logs.formats.tables import GIVEN_COLUMNS, KNOWN_COLUMNS
from energy_tracking.logs.formats.telemetry.log_records import LOG_RECORDS
from energy_tracking.logs.formats.telemetry.printed import PRINTED
from energy_tracking.logs.formats.telemetry.spans import SPANS
from energy_tracking.logs.formats.traces import TRACES

FORMATS: tuple[LogFormat, ...] = (
    GIVEN_COLUMNS,
    *LEDGER,
    *SPANS,
    *LOG_RECORDS,
    *TRACES,
    *SUMS,
    *AMOUNTS,
    *LANGFUSE,
    *GATEWAYS,
    *OBSERVABILITY,
    *TRACERS,
    *WORKFLOWS,
    *CHECKPOINTS,
    *CLOUDS,
    *LIBRECHAT,
    *PRINTED,
    *SERVERS,
    *INSPECT,
    *PROMPTFOO,
    *TRAJECTORIES,
    *BENCHMARKS,
    *BATCHES,
    *STREAMS,
    *CODEX,
    *CLAUDE_CODE,
    *GEMINI_CLI,
    *CLINE_TASKS,
    *VS_CODE,
    *AGENTS,
    *SESSION_SUMS,
    *OPENCODE,
    *LIBRARIES,
    *AIDER,
    *RESPONSES,
    RESPONSE,
    KNOWN_COLUMNS,
)

_Rows = tuple[LogFormat, ...]

REMEMBERED_SHAPES = 10_000
NAMED_NEAREST = 2
_MONEY = re.compile(r"(?i)cost|spend|price|amount_value|currency|billing")
"""What the name of a column has that is of money."""
NAMED_KEYS = 8


class Recogniser:
    """Finds the rows that may read a document, by its keys."""

    def __init__(self, *, has_columns: bool = False) -> None:
        """Start with no shape known.

        Args:
            has_columns: Whether the caller has named columns.
        """
        self._formats = tuple(row for row in FORMATS if has_columns or row is not GIVEN_COLUMNS)
        # By the keys; or by the type, where a row asks for it.
        self._rows: dict[tuple[str, ...], _Rows | dict[str, _Rows]] = {}
        self._remembered = 0

    def rows_for(self, document: Document) -> _Rows:
        """List the rows whose keys a document has."""
        rows = self._rows.get(tuple(document))
        if isinstance(rows, dict):
            rows = rows.get(str(document.get("type")))
        return self._find_rows(document) if rows is None else rows

    def _find_rows(self, document: Document) -> _Rows:
        """Find those rows, and remember them."""
        self._remembered += 1
        if self._remembered > REMEMBERED_SHAPES:
            self._remembered = 1
            self._rows.clear()
        shape, kind = tuple(document), str(document.get("type"))
        with_keys = tuple(row for row in self._formats if row.has_keys(document))
        rows = tuple(row for row in with_keys if row.is_of_type(kind))
        if any(row.types for row in with_keys):
            by_type = self._rows.setdefault(shape, {})
            by_type[kind] = rows  # type: ignore[index]
        else:
            self._rows[shape] = rows
        return rows


def describe_missing(document: Any) -> str:
    """Say which formats come nearest to a document, and what they lack.

    Args:
        document: What could not be read.
    """
    if not isinstance(document, dict):
        return (
            "it holds neither JSON nor a table with names in its first line; "
            "see the formats in examples/README.md"
        )
    shape = set(map(str, document))
    near = sorted(
        (row for row in FORMATS if row.is_said and row.keys & shape),
        key=lambda row: (len(row.keys - shape), -len(row.keys & shape)),
    )[:NAMED_NEAREST]
    lacking = ", ".join(
        f"{row.name!r} (no {' or '.join(sorted(row.keys - shape or row.any_of))})"
        if row.keys - shape or row.any_of
        else f"{row.name!r} (no token counts)"
        for row in near
    )
    is_row = not any(isinstance(cell, dict | list) for cell in document.values())
    if is_row and any(map(_MONEY.search, shape)) and not any("tok" in n.lower() for n in shape):
        return "it has costs and no token counts: export the usage, which has them"
    names = [str(name)[:40] for name in document]
    more = f" and {len(names) - NAMED_KEYS} more" if len(names) > NAMED_KEYS else ""
    return (
        f"its first entry has {', '.join(map(repr, names[:NAMED_KEYS])) or 'no keys'}{more}; "
        f"{f'nearest: {lacking}; ' if lacking else ''}"
        "name its columns: --columns input=NAME,output=NAME,model=NAME,time=NAME"
    )


__all__ = [
    "FORMATS",
    "LogFile",
    "LogFormat",
    "Recogniser",
    "describe_missing",
    "documents_inside",
]
