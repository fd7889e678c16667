"""A ledger: a file with a line of JSON for every call, appended to by any number of processes.

A line holds the tokens as they were read, so that the energy can be computed again when a
method or profile has changed; it never contains prompts or answers. A sum over several calls, out
of a log, has a line of another format, so that no reader takes it for a call.

``writer`` appends calls and counts those that could not be written, ``entries`` turns a line
back into the call, every field checked, ``replaced`` finds the lines that a later one stands for,
and ``lines`` reads any file of JSON lines.
"""

from energy_tracking.ledger.entries import LedgerEntry, find_replaced, parse_line, read_ledger
from energy_tracking.ledger.lines import read_lines
from energy_tracking.ledger.replaced import Replaced
from energy_tracking.ledger.writer import Ledger

__all__ = [
    "Ledger",
    "LedgerEntry",
    "Replaced",
    "find_replaced",
    "parse_line",
    "read_ledger",
    "read_lines",
]
