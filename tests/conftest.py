"""Fixtures and the way async tests run."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from loopback import Flavour, Loopback


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run an async test in a loop of its own, where its clients are closed too."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}

    async def run() -> None:
        try:
            await pyfuncitem.obj(**arguments)
        finally:
            for argument in arguments.values():
                if hasattr(argument, "aclose"):
                    await argument.aclose()

    asyncio.run(run())
    return True


# The SDK is loaded only for the tests that call it.


@pytest.fixture(params=["sync", "async"])
def flavour(request: pytest.FixtureRequest) -> Flavour:
    """The SDK's sync, then its async client."""
    from loopback import Flavour

    return Flavour(request.param)


@pytest.fixture
def loopback() -> Iterator[Loopback]:
    """A server that answers with recorded exchanges, or as the test says."""
    from loopback import Loopback

    with Loopback() as server:
        yield server
