"""After every fault, nothing may be left open or behind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from energy_tracking.lifecycle import held_calls


@pytest.fixture(autouse=True)
def _no_call_is_held(watch: object) -> Iterator[None]:
    """On top of what ``watch`` sees to."""
    yield
    assert not held_calls
