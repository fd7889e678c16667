"""Fixtures and the way async tests run."""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
import signal
import warnings
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

from own_errors import raise_kept

if TYPE_CHECKING:
    from decorated_functions import Traced
    from loopback import Flavour, Loopback
    from observed_calls import Watch


# Each client of the SDK, of which most tests make two, reads the certificates of all authorities,
# which takes 40 ms. No test meets a server that has one: one certificate, of nobody, will do.
os.environ["SSL_CERT_FILE"] = str(Path(__file__).with_name("nobody.pem"))

# A slow machine is not a fault of the code.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")


def pytest_configure() -> None:
    """Take the signals that whatever began this ignores.

    A shell without job control ignores Ctrl-C behind it, ``nohup`` the end of a terminal; the
    programs that tests interrupt would ignore them too.
    """
    for number, handler in (
        (signal.SIGINT, signal.default_int_handler),
        (signal.SIGHUP, signal.SIG_DFL),
    ):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


MOST_CASES = 200
"""Of a test that coverage is measured of [1]; of one with more, the first and the last."""

_with_coverage: set[pytest.Item] = set()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Choose the tests whose coverage is measured, for which they take two to five times as long.

    Not those with hundreds of cases of the same lines, nor of examples that Hypothesis makes up.
    """
    cases: dict[str, list[pytest.Item]] = {}
    for item in session.items:
        if not hasattr(getattr(item, "obj", None), "hypothesis"):
            cases.setdefault(item.nodeid.partition("[")[0], []).append(item)
    for items in cases.values():
        _with_coverage.update(items if len(items) <= MOST_CASES else (items[0], items[-1]))
    # Leave the modules and the thousands of tests out of every collection that tests ask for.
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    """Measure the coverage of the chosen tests alone, where it is measured at all."""
    plugin: Any = item.config.pluginmanager.get_plugin("_cov")
    coverage = plugin and plugin.cov_controller
    # A test that is marked is left to pytest-cov itself.
    if not coverage or item in _with_coverage or item.get_closest_marker("no_cover"):
        return (yield)
    coverage.pause()
    try:
        return (yield)
    finally:
        coverage.resume()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run an async test in a loop of its own, where its clients are closed too.

    Of a connection that is left open asyncio would warn when it is collected, in another test.
    """
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
        transports = getattr(asyncio.get_running_loop(), "_transports", {})
        if left_open := [each for each in transports.values() if not each.is_closing()]:
            warnings.warn(f"left open: {left_open}", ResourceWarning, stacklevel=1)

    asyncio.run(run())
    return True


@pytest.fixture(autouse=True)
def _nothing_of_another_test_is_remembered() -> None:
    from energy_tracking.calls.accounts import open_accounts
    from energy_tracking.calls.counted import counted_responses
    from energy_tracking.notices import forget_said

    counted_responses.begin_anew()
    open_accounts.clear()
    forget_said()


@pytest.fixture(autouse=True)
def _nothing_of_ours_goes_wrong_unseen() -> Iterator[None]:
    yield
    raise_kept()


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


@pytest.fixture
def watch() -> Iterator[Watch]:
    """Watches what is tracked; afterwards nothing is tracked or left open any more."""
    from energy_tracking import uninstrument_openai
    from energy_tracking.lifecycle import open_calls, run_deferred
    from observed_calls import Watch

    watch = Watch()
    yield watch
    uninstrument_openai()
    if open_calls:
        gc.collect()
        run_deferred()
    left_open = list(open_calls)
    open_calls.clear()
    assert left_open == []
    assert watch.errors == []
    assert len(watch.spans) == len(watch.records) or not watch.every_call_has_a_span


@pytest.fixture(params=["wrapped", "instrumented"])
def tracked(request: pytest.FixtureRequest, watch: Watch) -> Callable[[Any], Any]:
    """Tracks one client, or all."""
    from energy_tracking import instrument_openai

    if request.param == "wrapped":
        return watch.wrap
    instrument_openai(**watch.arguments)
    return lambda client: client


@pytest.fixture
def traced() -> Iterator[Traced]:
    """Decorates functions; afterwards no session of theirs is current."""
    from decorated_functions import Traced
    from energy_tracking import current_session, process_session
    from energy_tracking.lifecycle import run_deferred
    from observed_calls import Watch

    watch = Watch()
    yield Traced(watch)
    gc.collect()
    run_deferred()
    assert watch.errors == []
    assert current_session() == process_session()
