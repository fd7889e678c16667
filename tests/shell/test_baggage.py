"""A service adds to the session of who called it, if both say so."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.request import Request, urlopen

import pytest
from opentelemetry import baggage, context, propagate

from energy_tracking import (
    Session,
    Tracker,
    current_session,
    energy_session,
    process_session,
    session_from_baggage,
    session_to_baggage,
)
from observed_calls import Watch

USAGE = {"prompt_tokens": 10, "completion_tokens": 100}


class Service(HTTPServer):
    """A service downstream, which makes one call per request."""

    tracker: Tracker
    sessions: list[Session]


class Handler(BaseHTTPRequestHandler):
    server: Service

    def do_GET(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        token = context.attach(propagate.extract(headers))
        with session_from_baggage() as session:
            self.server.tracker.record(model="gpt-4o", usage=USAGE)
            self.server.sessions.append(session)
        context.detach(token)
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None: ...


@pytest.fixture
def service(watch: Watch) -> Iterator[Service]:
    server = Service(("127.0.0.1", 0), Handler)
    server.tracker, server.sessions = Tracker(**watch.arguments), []
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def ask(service: Service) -> dict[str, str]:
    headers: dict[str, str] = {}
    propagate.inject(headers)
    with urlopen(Request(f"http://127.0.0.1:{service.server_port}/", headers=headers), timeout=10):
        return headers


def test_a_service_downstream_counts_under_the_callers_name(service: Service, watch: Watch) -> None:
    with energy_session("nightly, ö=1;x") as session, session_to_baggage():
        ask(service)
        ask(service)
    assert [one.name for one in service.sessions] == ["nightly, ö=1;x"] * 2
    names = [dict(span.attributes or {})["energy_tracking.session.name"] for span in watch.spans]
    assert names == ["nightly, ö=1;x"] * 2
    # It is the other process's call; each sums up its own.
    assert session.totals.calls == 0
    assert [one.totals.calls for one in service.sessions] == [1, 1]


def test_nothing_is_sent_unasked_and_only_the_name_if_asked(service: Service) -> None:
    with energy_session("nightly", tags={"team": "search"}):
        assert ask(service) == {}
        with session_to_baggage():
            assert ask(service) == {"baggage": "energy_tracking.session=nightly"}
        assert ask(service) == {}
    assert [one.name for one in service.sessions] == ["process", "nightly", "process"]


def test_without_baggage_the_session_goes_on() -> None:
    with energy_session("here") as here, session_from_baggage() as session:
        assert session == here == current_session()
    token = context.attach(baggage.set_baggage("energy_tracking.session", 5))
    with session_from_baggage() as session:
        assert session == process_session()
    context.detach(token)


def test_other_baggage_goes_on() -> None:
    token = context.attach(baggage.set_baggage("customer", "c-1"))
    with session_to_baggage():
        assert baggage.get_all() == {"customer": "c-1", "energy_tracking.session": "process"}
    assert baggage.get_all() == {"customer": "c-1"}
    context.detach(token)
