"""A call that ran somewhere else, as a user, a log or a batch states it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from energy_tracking.calls.aggregates import SumCall
from energy_tracking.calls.call import Call
from energy_tracking.calls.record import CallRequest, is_past
from energy_tracking.calls.tags import choose_tags
from energy_tracking.errors import ConfigurationError, must_be
from energy_tracking.frozen import frozen
from energy_tracking.usage.measured_energy import MEASURED
from energy_tracking.usage.names import text_of
from energy_tracking.usage.server_timing import read_timing

if TYPE_CHECKING:
    from energy_tracking.calls.receivers import CreditedSession


@frozen(kw_only=True)
class PastCall:
    """What is stated of a call, checked.

    Attributes:
        model: Name of the model.
        usage: A usage in any dialect this library reads: a dict or an SDK's object.
        operation: ``gen_ai.operation.name``.
        provider: ``gen_ai.provider.name``.
        response_id: The server's id of the response.
        measured_energy_joules: The energy as the server measured it [J], if it did.
        error_type: What failed, if anything did.
        ended_at: When the call ended, with its zone. None: now.
        log_identity: What the call is known again by where its log is read again.
        replaces: Whether the ledger has the call with fewer tokens, in an earlier line.
        requests: As in ``CallRecord``; the usage of a sum is a ``TokenUsage``.
        tags: What its log says of it beside. Names that no tag can have are left out.
    """

    model: str | None
    usage: object
    operation: str = "chat"
    provider: str = "unknown"
    response_id: str | None = None
    measured_energy_joules: float | None = None
    error_type: str | None = None
    ended_at: datetime | None = None
    log_identity: str | None = None
    replaces: bool = False
    requests: int | None = 1
    tags: Mapping[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        """Check what is stated.

        Raises:
            ConfigurationError: The measured energy is not a number from 0 to 1e12 J, or the end
                is not past, or has no zone.
        """
        if self.ended_at is not None and not (
            isinstance(self.ended_at, datetime) and is_past(self.ended_at)
        ):
            what = "a datetime with its zone, in the past"
            raise ConfigurationError(must_be("ended_at", what, self.ended_at))
        if self.measured_energy_joules is not None:
            MEASURED.check("measured_energy_joules", self.measured_energy_joules)

    @property
    def request(self) -> CallRequest:
        """How it was asked for."""
        return CallRequest(
            operation=text_of(self.operation) or "chat",
            provider=text_of(self.provider) or "unknown",
            model=text_of(self.model),
        )

    def build_call(self, deliver: Callable[[Call], None], session: CreditedSession | None) -> Call:
        """A call or a sum that is over, with everything stated.

        Args:
            deliver: As of a ``Call``.
            session: Likewise.
        """
        if self.requests == 1:
            call = Call(self.request, deliver, session=session)
        else:
            call = SumCall(self.request, deliver, session=session)
            call.requests = self.requests
        self.state_in(call)
        return call

    def state_in(self, call: Call) -> None:
        """State everything in a call that was started for it, and is over."""
        # There was a response, if only one that states nothing. Nobody timed it.
        call.observe(None)
        call.ended_at = call.started_at
        call.raw_usage = self.usage
        call.server_timing = read_timing({}, self.usage)
        call.response_id = text_of(self.response_id)
        if self.measured_energy_joules is not None:
            call.measured_energy_joules = float(self.measured_energy_joules)
        call.error_type = self.error_type
        if self.ended_at is not None:
            call.logged_end = self.ended_at.astimezone(UTC).isoformat()
        call.logged_tags = choose_tags(self.tags)
        call.log_identity = self.log_identity
        call.replaces = self.replaces
