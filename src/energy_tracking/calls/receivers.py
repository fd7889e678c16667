"""What a call knows of its session and its span, which receive its record."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Protocol

from energy_tracking.calls.record import CallRecord, CallRequest, EstimateAs


class CreditedSession(Protocol):
    """What a call knows of the session it is credited to."""

    def credit(self, record: CallRecord, estimate_as: EstimateAs | None) -> None:
        """Count a call.

        Args:
            record: The call.
            estimate_as: Estimates its tokens in another way.
        """

    def add_lost_ledger_line(self) -> None:
        """Count a call whose line could not be written to a ledger."""

    @property
    def name(self) -> str:
        """Name of the session."""

    @property
    def tags(self) -> Mapping[str, str]:
        """Its tags and those of the sessions around it."""

    @property
    def running_total_energy_joules(self) -> float:
        """Energy credited so far [J]."""


class CallSpan(Protocol):
    """What telemetry opened for a call."""

    @property
    def reporter(self) -> str | None:
        """The instrumentation whose span has the energy; None if no other reports the call."""

    def current(self) -> AbstractContextManager[None] | None:
        """Makes it current while the request is sent; None where there is none to be."""

    def part(self, request: CallRequest) -> CallSpan:
        """Open one below it, for what another model did for the call."""

    def end(self, record: CallRecord, session: CreditedSession | None = None) -> None:
        """Deliver the record to it.

        Args:
            record: The call.
            session: Its session, which has been credited; None where there is none.
        """
