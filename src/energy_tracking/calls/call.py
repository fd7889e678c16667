"""One call's life: started, fed with what the server sends, closed once.

A call is told of every body and stream event and keeps only what cannot be found out
later. Closing it, by whichever of the many ways a call can end comes first, hands it to
its tracker exactly once; every other close is a no-op.

The clock here only measures durations. Nothing else of the outside world is touched, and
sync and async clients share every line.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields, replace
from time import perf_counter
from typing import Any, Literal, ParamSpec, Protocol, TypeVar

from energy_tracking.errors import ConfigurationError, not_one_of
from energy_tracking.estimator import METHODS, SCOPES, EnergyEstimate
from energy_tracking.lifecycle import defer
from energy_tracking.usage.dialects import TokenUsage, read_usage
from energy_tracking.usage.payloads import (
    CHARACTERS_PER_TOKEN,
    UNFINISHED,
    ToolUsage,
    error_code_in,
    generated_characters,
    identity_in,
    measured_energy_in,
    prompt_characters,
    refused_energy_in,
    tells_energy,
    tool_usage_in,
    usage_in,
)

P = ParamSpec("P")
T = TypeVar("T")

Status = Literal["measured", "estimated", "partial", "unestimated"]


class CreditedSession(Protocol):
    """What a call knows of the session it is credited to."""

    def add(self, record: CallRecord, estimate_as: EstimateAs | None = None) -> None:
        """Count a call.

        Args:
            record: The call.
            estimate_as: Estimates its tokens in another way.
        """

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

    def current(self) -> AbstractContextManager[None]:
        """Make it current while the request is sent."""

    def part(self, request: CallRequest) -> CallSpan:
        """Open one below it, for what another model did for the call."""

    def end(self, record: CallRecord) -> None:
        """Tell it how the call ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRequest:
    """What is known when a call starts.

    Attributes:
        operation: ``gen_ai.operation.name``, e.g. ``"chat"``.
        provider: ``gen_ai.provider.name``, e.g. ``"openai"``.
        model: The model asked for; None where the request names none.
        session: The innermost session when the request started; it is credited however
            late, and wherever, the call ends.
        stream: Whether a stream was asked for.
        server_address: Host the request goes to.
        server_port: Its port.
        told_elsewhere: Whether another instrumentation reports the call's tokens.
    """

    operation: str
    provider: str
    model: str | None
    session: CreditedSession
    stream: bool = False
    server_address: str | None = None
    server_port: int | None = None
    told_elsewhere: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRecord:
    """What is known when a call has ended.

    Attributes:
        request: What was known at the start.
        status: ``"measured"`` by the server; ``"estimated"`` from reported tokens;
            ``"partial"`` from tokens that were themselves estimated; ``"unestimated"``:
            counted, its energy unknown.
        reason: Why less is known than could be.
        response_model: The model the server says it ran.
        response_id: The server's id of the response.
        response_status: How the server says that the response ended: ``"completed"``,
            ``"incomplete"``, ``"failed"``, ``"cancelled"``, or what it was when last seen;
            None where it does not say.
        usage: Token counts; None where nothing is known.
        estimate: The energy, also beside a measured one; None where it could not be
            estimated.
        calibrated: The estimate of ``roofline``, scope ``gpu``, beside one of ``reference``;
            None under ``roofline``, and where the GPU profile has no memory bandwidth.
        cache_avoided_energy_joules: What the estimate would be more by [J], had no token been
            read from a prompt cache; None where none was.
        measured_energy_joules: The energy as the server measured it [J], whatever its
            scope; None where it reports none.
        model_match: How the model's name led to a profile, e.g. ``"exact"``.
        duration_seconds: From the start of the request to its end [s]; 0 where nobody timed it.
        first_chunk_seconds: From the start to the first stream event [s], or None.
        error_type: What failed, as a class name; None where nothing did.
        retries: Times the SDK sent the request again.
    """

    request: CallRequest
    status: Status
    reason: str | None = None
    response_model: str | None = None
    response_id: str | None = None
    response_status: str | None = None
    usage: TokenUsage | None = None
    estimate: EnergyEstimate | None = None
    calibrated: EnergyEstimate | None = None
    cache_avoided_energy_joules: float | None = None
    measured_energy_joules: float | None = None
    model_match: str | None = None
    duration_seconds: float = 0.0
    first_chunk_seconds: float | None = None
    error_type: str | None = None
    retries: int = 0

    @property
    def model(self) -> str:
        """The model that ran, as well as it is known."""
        return self.response_model or self.request.model or "unknown"

    @property
    def total_energy_joules(self) -> float | None:
        """The energy as well as it is known [J]: measured, else estimated, else None."""
        if self.measured_energy_joules is not None:
            return self.measured_energy_joules
        return None if self.estimate is None else self.estimate.total_energy_joules


@dataclass(frozen=True, slots=True)
class Outcome:
    """An estimate and how its model was matched, or the reason there is none."""

    estimate: EnergyEstimate | None = None
    model_match: str | None = None
    reason: str | None = None
    cache_avoided_energy_joules: float | None = None
    calibrated: EnergyEstimate | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Alternative:
    """Another way to estimate the same tokens; what is None stays as the call was estimated.

    Attributes:
        model: The other model.
        gpu: The other GPU profile.
        method: The other method.
        scope: The other scope.
        concurrency_per_gpu: Another number of sequences decoded together per GPU [1].
        sequences: Another number of sequences decoded together on all GPUs [1].

    Raises:
        ConfigurationError: The method or scope is unknown, a number is not above 0, or both
            numbers are given.
    """

    model: str | None = None
    gpu: str | None = None
    method: str | None = None
    scope: str | None = None
    concurrency_per_gpu: float | None = None
    sequences: float | None = None

    def __post_init__(self) -> None:
        """Check what needs no profiles."""
        for what, value, choices in (
            ("method", self.method, METHODS),
            ("scope", self.scope, SCOPES),
        ):
            if value is not None and value not in choices:
                raise ConfigurationError(not_one_of(what, value, choices))
        for name in ("concurrency_per_gpu", "sequences"):
            number = getattr(self, name)
            is_number = isinstance(number, int | float) and not isinstance(number, bool)
            if number is not None and not (is_number and 0 < number < math.inf):
                raise ConfigurationError(f"{name} must be finite and above 0, got {number!r}")
        if self.concurrency_per_gpu is not None and self.sequences is not None:
            raise ConfigurationError(
                "concurrency_per_gpu and sequences say the same in two ways; give one of them, "
                f"got {self.concurrency_per_gpu!r} and {self.sequences!r}"
            )

    @property
    def changes(self) -> dict[str, str | float]:
        """What is other, by name, in the order above."""
        named = ((field.name, getattr(self, field.name)) for field in fields(self))
        return {name: value for name, value in named if value is not None}


Estimate = Callable[["str | None", "str | None", TokenUsage, "float | None"], Outcome]
"""Requested model, model that answered, tokens, tokens per second of a stream -> outcome."""


EstimateAs = Callable[["str | None", "str | None", TokenUsage, Alternative], Outcome]
"""Requested model, model that answered, tokens, the other way -> outcome."""


class Call:
    """A call that is still going on. ``observe`` and ``close`` may come from any thread."""

    __slots__ = (
        "_latch",
        "_settle",
        "asks_for_usage",
        "characters",
        "ended_at",
        "error_type",
        "first_chunk_at",
        "measured_energy_joules",
        "prompt",
        "raw_usage",
        "refused_energy",
        "request",
        "response_id",
        "response_model",
        "retries",
        "span",
        "started_at",
        "status",
        "tools",
    )

    def __init__(
        self, request: CallRequest, settle: Callable[[Call], None], prompt: object = None
    ) -> None:
        """Start the call now.

        Args:
            request: What is known of it.
            settle: Told once, when the call has ended.
            prompt: The request's body, looked at only if the server reports no usage.
        """
        self.request = request
        self.prompt = prompt
        self.span: CallSpan | None = None
        self.raw_usage: object = None
        self.measured_energy_joules: float | None = None
        self.refused_energy: str | None = None
        self.characters = 0
        self.tools: tuple[ToolUsage, ...] = ()
        self.response_id: str | None = None
        self.response_model: str | None = None
        self.status: str | None = None
        self.error_type: str | None = None
        self.retries = 0
        self.asks_for_usage = False
        self.first_chunk_at: float | None = None
        self.ended_at: float | None = None
        self._settle = settle
        self._latch = threading.Lock()
        self.started_at = perf_counter()

    @property
    def observed(self) -> bool:
        """Whether any body or event has been seen."""
        return self.first_chunk_at is not None

    @property
    def closed(self) -> bool:
        """Whether the call has ended and was handed over."""
        return self._latch.locked()

    def observe(self, data: object) -> None:
        """Take in one decoded body or stream event."""
        if self.first_chunk_at is None:
            self.first_chunk_at = perf_counter()
        if not isinstance(data, Mapping):
            return
        usage = usage_in(data)
        if usage is not None:
            # The last one stands: servers that report continuously report sums so far.
            self.raw_usage = usage
        if usage is not None or "svg_usage" in data:
            self.tools = tool_usage_in(data) or self.tools
        if usage is not None or tells_energy(data):
            self.observe_energy(data)
        if data.get("object") == "response":
            # A whole body, which polling shows again with more text in it.
            self.characters = max(self.characters, generated_characters(data))
        else:
            self.characters += generated_characters(data)
        is_error = data.get("type") == "error"
        if is_error:
            self.error_type = error_code_in(data)
        # Only the first and the last events of a response carry it.
        if (
            self.response_model is None
            or usage is not None
            or "status" in data
            or "response" in data
            or is_error
        ):
            response_id, model, status = identity_in(data)
            self.response_id = response_id or self.response_id
            self.response_model = model or self.response_model
            self.status = status or self.status

    def observe_energy(self, data: Mapping[str, Any]) -> None:
        """Take in the energy that the server has measured, if this tells of it."""
        measured = measured_energy_in(data)
        if measured is not None:
            self.measured_energy_joules = measured
        elif (refused := refused_energy_in(data)) is not None:
            self.refused_energy = refused

    def close(self, error: BaseException | None = None) -> None:
        """End the call, once; a later close changes nothing."""
        if isinstance(error, GeneratorExit):
            # A coroutine is closed, perhaps by the garbage collector: no locks here.
            self.ended_at = self.ended_at or perf_counter()
            defer(self._close_cancelled)
            return
        if not self._latch.acquire(blocking=False):
            return
        if error is not None:
            self.error_type = type(error).__qualname__
        if self.ended_at is None:
            self.ended_at = perf_counter()
        self._settle(self)

    def _close_cancelled(self) -> None:
        if not self.closed:
            # As where a task is cancelled: it is how the coroutine is closed that differs.
            self.error_type = "CancelledError"
        self.close()

    def abandon(self) -> None:
        """End the call without telling anybody: it is another process's."""
        self._latch.acquire(blocking=False)

    def record(self, estimate: Estimate) -> CallRecord:
        """Everything the call has shown, with its energy."""
        usage, reason = self._usage()
        outcome = Outcome(reason=reason)
        if usage is not None:
            rate = self._tokens_per_second(usage)
            outcome = estimate(self.request.model, self.response_model, usage, rate)
        ended_at = self.ended_at or perf_counter()
        streamed = self.request.stream and self.first_chunk_at is not None
        return CallRecord(
            request=self.request,
            status=status_of(usage, outcome.estimate, self.measured_energy_joules),
            reason=outcome.reason or reason or self._energy_reason(),
            response_model=self.response_model,
            response_id=self.response_id,
            response_status=self.status,
            usage=usage,
            estimate=outcome.estimate,
            calibrated=outcome.calibrated,
            cache_avoided_energy_joules=outcome.cache_avoided_energy_joules,
            measured_energy_joules=self.measured_energy_joules,
            model_match=outcome.model_match,
            duration_seconds=ended_at - self.started_at,
            first_chunk_seconds=self.first_chunk_at - self.started_at  # type: ignore[operator]
            if streamed
            else None,
            error_type=self.error_type,
            retries=self.retries,
        )

    def _energy_reason(self) -> str | None:
        """Why the energy is an estimate although the server tells of one."""
        if self.refused_energy is None or self.measured_energy_joules is not None:
            return None
        return f"the server's {self.refused_energy} is not an energy"

    def _tokens_per_second(self, usage: TokenUsage) -> float | None:
        """Rate of the visible output [tokens/s]; None if it was not streamed, or too short."""
        if not self.request.stream or self.first_chunk_at is None or self.ended_at is None:
            return None
        visible = usage.output_tokens - (usage.reasoning_tokens or 0)
        seconds = self.ended_at - self.first_chunk_at
        return (visible - 1) / seconds if visible > 1 and seconds > 0 else None

    def _usage(self) -> tuple[TokenUsage | None, str | None]:
        """The tokens, and what is less than reported about them."""
        usage = None if self.raw_usage is None else read_usage(self.raw_usage)
        if usage is not None:
            if usage.output_tokens or not self.characters:
                return usage, None
            seen = replace(
                usage, output_tokens=tokens_in(self.characters), estimated=("output_tokens",)
            )
            return seen, "usage reports no output although text was generated"
        if self.characters:
            seen = TokenUsage(
                input_tokens=tokens_in(prompt_characters(self.prompt)),
                output_tokens=tokens_in(self.characters),
                dialect="text",
                estimated=("input_tokens", "output_tokens"),
            )
            return seen, f"no usage in the {'stream' if self.request.stream else 'response'}"
        if self.error_type is not None:
            return None, f"failed with {self.error_type}"
        if self.status in UNFINISHED:
            return None, f"still {self.status} when last seen"
        if self.raw_usage is not None:
            return None, "no token counts in the usage"
        return None, "no usage in the response" if self.observed else "nothing was read"


def status_of(
    usage: TokenUsage | None, estimate: EnergyEstimate | None, measured_energy_joules: float | None
) -> Status:
    """How well the energy of a call is known."""
    if measured_energy_joules is not None:
        return "measured"
    if estimate is None:
        return "unestimated"
    return "partial" if usage is not None and usage.estimated else "estimated"


def tokens_in(characters: int) -> int:
    """About how many tokens a text has; at least one where there is any text."""
    return max(1, round(characters / CHARACTERS_PER_TOKEN)) if characters else 0
