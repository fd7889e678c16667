"""Sessions across services: the name of one, carried in OpenTelemetry's baggage.

Each process sums up its own calls; under one name a backend adds them up. Only the name
travels, and only where these are used: baggage goes to every host that is called with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import baggage

from energy_tracking.calls.session import Session, current_session
from energy_tracking.contexts import PlacedContext

KEY = "energy_tracking.session"


@contextmanager
def session_to_baggage() -> Iterator[None]:
    """Send the name of the current session to the services called inside.

    For requests to services of your own: an instrumented HTTP client sends baggage to
    whatever host it calls, a model's provider included.
    """
    with PlacedContext(baggage.set_baggage(KEY, current_session().name)):
        yield


@contextmanager
def session_from_baggage() -> Iterator[Session]:
    """A session named as the caller's, where the current context has its baggage.

    Without one, the current session goes on.
    """
    name = baggage.get_baggage(KEY)
    if not isinstance(name, str) or not name:
        yield current_session()
        return
    with Session(name) as session:
        yield session
