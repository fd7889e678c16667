"""Fixtures for tests that go through the SDK."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from energy_tracking import uninstrument_openai
from energy_tracking.call import settle_deferred
from energy_tracking.tracker import open_streams
from watch import Watch


@pytest.fixture
def watch() -> Iterator[Watch]:
    """Watches what is tracked; afterwards nothing is tracked or left open any more."""
    watch = Watch()
    yield watch
    uninstrument_openai()
    if open_streams:
        gc.collect()
        settle_deferred()
    left_open = list(open_streams)
    open_streams.clear()
    assert left_open == []
    assert watch.errors == []
    assert len(watch.spans) == len(watch.records) or not watch.every_call_has_a_span
