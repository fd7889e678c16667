"""What threads numpy starts for linear algebra, of which reports have none."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

_SETTING = "OPENBLAS_NUM_THREADS"


@contextmanager
def without_idle_threads() -> Iterator[None]:
    """Have numpy start no threads, where the block or a process that it starts is first to load it.

    To start and end them takes as much CPU time as all else of numpy's import. Whoever has set how
    many there are gets as many.
    """
    if _SETTING in os.environ:
        yield
        return
    os.environ[_SETTING] = "1"
    try:
        yield
    finally:
        os.environ.pop(_SETTING, None)
