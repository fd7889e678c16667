"""What the command prints, in any encoding, and how it ends when that fails.

Whoever reads the output may go away, its device may be full, and it may be closed from the
start. None of these is an error of the program, so that none ends in a traceback.
"""

from __future__ import annotations

import errno
import json
import os
import select
import sys
import textwrap
from contextlib import suppress
from typing import TextIO

from energy_tracking.terminal import WIDTH, is_encodable, one_line, printable, without_controls


class OutputError(Exception):
    """The output could not be written.

    Attributes:
        is_reader_gone: Whether that is because nobody reads it any more.
    """

    def __init__(self, error: OSError | ValueError) -> None:
        """Take what is to be said from the error of the write."""
        super().__init__(getattr(error, "strerror", None) or str(error))
        self.is_reader_gone = isinstance(error, BrokenPipeError)


class Output:
    """Standard output for ``print(..., file=...)``; every failure is an ``OutputError``."""

    def __init__(self) -> None:
        """Write to what is standard output now."""
        self._stream: TextIO | None = sys.stdout
        self.encoding: str | None = getattr(self._stream, "encoding", None)

    def write(self, text: str) -> int:
        """Write a text, with escapes for what the encoding lacks and what a terminal obeys.

        Raises:
            OutputError: It cannot be written.
        """
        if self._stream is None:
            raise OutputError(OSError(errno.EBADF, os.strerror(errno.EBADF)))
        try:
            return self._stream.write(printable(without_controls(text), self._stream))
        except (OSError, ValueError) as error:
            raise OutputError(error) from None

    def write_document(self, document: object) -> None:
        """Write a document as JSON.

        Raises:
            OutputError: It cannot be written.
        """
        self.write_json(json.dumps(document, indent=2, ensure_ascii=False))

    def write_json(self, text: str) -> None:
        """Write a document of JSON, in its own escapes for what the encoding lacks.

        Raises:
            OutputError: It cannot be written.
        """
        is_plain = self.encoding is None or is_encodable(text, self.encoding)
        if not is_plain or without_controls(text) != text:
            text = json.dumps(json.loads(text), indent=2).replace("\x7f", "\\u007f")
        self.write(f"{text}\n")

    def flush(self) -> None:
        """Hand over what is buffered.

        Raises:
            OutputError: It cannot be written.
        """
        if self._stream is not None:
            try:
                self._stream.flush()
            except (OSError, ValueError) as error:
                raise OutputError(error) from None


def discard_output() -> None:
    """Let what is still buffered go nowhere, so that Python does not fail over it at its end."""
    with suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def is_reader_gone() -> bool:
    """Whether standard output is a pipe that nobody reads any more."""
    with suppress(OSError, ValueError, AttributeError):
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
        return any(events & select.POLLERR for _, events in poll.poll(0))
    return False


def print_error(message: object) -> None:
    """Print a message to standard error, on one line."""
    write_error(f"energy-tracking: {one_line(str(message))}\n")


def print_remark(message: object) -> None:
    """Print what is to be known beside a result to standard error, in lines of a terminal."""
    for line in textwrap.wrap(
        f"energy-tracking: {one_line(str(message))}",
        WIDTH,
        subsequent_indent="  ",
        break_long_words=False,
        break_on_hyphens=False,
    ):
        write_error(f"{line}\n")


def write_error(text: str) -> None:
    """Write a text to standard error, if there is one that takes it."""
    if sys.stderr is not None:
        with suppress(OSError, ValueError):
            sys.stderr.write(printable(without_controls(text), sys.stderr))
            sys.stderr.flush()
