"""What is known of a call, as values: how it was asked for, how it ended, other ways to count it.

A record holds no live object: it can be compared, copied, pickled, turned into a dict by
``dataclasses.asdict``, and written to a ledger. ``call`` builds it when a call has ended.

A new fact about calls is a field of ``CallRecord``; one about how a call was asked for, of
``CallRequest``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Literal

from energy_tracking.bounds import Bound, checked, is_choice
from energy_tracking.errors import ConfigurationError, must_be, not_one_of
from energy_tracking.estimator import CALIBRATED_METHOD, METHOD_NAMES, SCOPES, EnergyEstimate
from energy_tracking.estimator.evidence import ServerLoad, ServingEvidence
from energy_tracking.estimator.serving_bounds import SERVING_BOUNDS, check_one_batch
from energy_tracking.frozen import declared_defaults, frozen
from energy_tracking.terminal import with_known_signs
from energy_tracking.units import kwh_from_joules, wh_from_joules
from energy_tracking.usage.names import text_of
from energy_tracking.usage.server_timing import ServerTiming
from energy_tracking.usage.token_usage import TokenUsage

Status = Literal["measured", "estimated", "partial", "unestimated"]

PROCESS = "process"
"""Name of the session around every other one: the process's own."""

OBSERVATION_EXTENSION = "energy_tracking.observation"
"""Where an HTTP response of a tracked client carries its call."""

INTENSITY = Bound(0, 1e4, "g CO2e/kWh")
"""What an intensity may be: burning peat emits a tenth of the most."""


@frozen(kw_only=True)
@checked
class CallRequest:
    """What is known when a call starts.

    Attributes:
        operation: ``gen_ai.operation.name``, e.g. ``"chat"``.
        provider: ``gen_ai.provider.name``, e.g. ``"openai"``.
        model: The model asked for; None where the request names none.
        stream: Whether a stream was asked for.
        server_address: Host the request goes to.
        server_port: Its port.
        reported_elsewhere: Whether another instrumentation reports the call's tokens.

    Raises:
        ConfigurationError: A value is of another type than its field.
    """

    operation: str
    provider: str
    model: str | None
    stream: bool = False
    server_address: str | None = None
    server_port: int | None = None
    reported_elsewhere: bool = False


@lru_cache(maxsize=512)
def build_request(
    operation: str,
    provider: str,
    model: str | None,
    stream: bool,
    server_address: str | None,
    server_port: int | None,
    reported_elsewhere: bool,
) -> CallRequest:
    """The request of these facts, a value that all calls of their kind share.

    Args:
        operation: As in ``CallRequest``; like all these names a plain string, or cleaned already.
        provider: Likewise.
        model: Likewise.
        stream: Whether a stream was asked for.
        server_address: As the names.
        server_port: Its port.
        reported_elsewhere: Whether another instrumentation reports the call's tokens.
    """
    return CallRequest(
        operation=text_of(operation) or "chat",
        provider=text_of(provider) or "unknown",
        model=text_of(model),
        stream=stream,
        server_address=text_of(server_address),
        server_port=server_port,
        reported_elsewhere=reported_elsewhere,
    )


@frozen()
@checked
class Intensity:
    """What the electricity of a call is said to emit.

    Attributes:
        grams_per_kwh: The intensity [g CO2e/kWh].
        source: Where that is from.
    """

    grams_per_kwh: float
    source: str

    def grams_of(self, joules: float) -> float:
        """What an energy [J] emits [g CO2e]."""
        return kwh_from_joules(joules) * self.grams_per_kwh


@frozen(kw_only=True)
@checked
class Measurement:
    """How the user's own meter measured a call.

    Attributes:
        measured_by: The meter: its address, and what it counts.
        window_seconds: Time between the readings around the call [s].
        share: The call's part of what was counted in that time [1].
        idle_joules: What was counted in it while nothing ran, of no call [J].

    Raises:
        ConfigurationError: A value is of another type than its field.
    """

    measured_by: str
    window_seconds: float
    share: float
    idle_joules: float


@frozen(kw_only=True)
@checked
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
            scope, or the call's share of what the user's meter counted; None where neither is.
        model_match: How the model's name led to a profile, e.g. ``"exact"``.
        duration_seconds: From the start of the request to its end [s]; 0 where nobody timed it.
        first_chunk_seconds: From the start to the first stream event [s], or None.
        error_type: What failed, as a class name; None where nothing did.
        retries: Times the SDK sent the request again.
        session: Name of the innermost session when the request started.
        tags: Tags of that session and of those around it.
        ended_at: When the call ended, in ISO 8601, where a log says it; None where it was
            recorded as it ended.
        log_identity: What a call out of a log is known again by, where its response's id is not
            enough.
        replaces: Whether it stands for an earlier line of the ledger about the same call, of
            which a log had fewer tokens then; ``read_ledger`` leaves that one out.
        intensity: What its electricity is said to emit; None unless the settings say so.
        server_timing: The time that it took by its server's clock, as far as that is stated.
        server_load: How busy its server was, by the metrics page that `server_metrics` names.
        measurement: How the user's own meter measured it; None where it did not.
        requests: 1: a call. More: no call, but a sum over that many, as a usage page has them, with
            their tokens and their energy at the mean of their lengths. None: a sum over an unknown
            number, of which the tokens alone are known.

    Raises:
        ConfigurationError: A value is of another type than its field.
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
    session: str = PROCESS
    tags: Mapping[str, str] = field(default_factory=dict[str, str])
    ended_at: str | None = None
    log_identity: str | None = None
    replaces: bool = False
    intensity: Intensity | None = None
    server_timing: ServerTiming | None = None
    server_load: ServerLoad | None = None
    measurement: Measurement | None = None
    requests: int | None = 1

    @property
    def model(self) -> str:
        """The model that ran, as well as it is known."""
        return self.response_model or self.request.model or "unknown"

    def __str__(self) -> str:
        """The call in a line, for people."""
        from energy_tracking.calls.one_line import describe_record

        return with_known_signs(describe_record(self))

    def __repr__(self) -> str:
        """The same, where records stand among other things; ``asdict`` has every field."""
        return f"<CallRecord {self}>"

    def _repr_html_(self) -> str:
        """The call as a table, for notebooks."""
        from energy_tracking.calls.html import record_html

        return record_html(self)

    @property
    def total_energy_joules(self) -> float | None:
        """The energy as well as it is known [J]: measured, else estimated, else None."""
        if self.measured_energy_joules is not None:
            return self.measured_energy_joules
        return None if self.estimate is None else self.estimate.total_energy_joules

    @property
    def total_energy_wh(self) -> float | None:
        """The same [Wh]."""
        joules = self.total_energy_joules
        return None if joules is None else wh_from_joules(joules)


class Outcome:
    """An estimate and how its model was matched, or the reason there is none.

    Attributes:
        estimate: The estimate.
        model_match: How the model's name led to a profile.
        reason: Why there is no estimate.
        cache_avoided_energy_joules: As in ``CallRecord``.
        calibrated: Likewise.
    """

    __slots__ = (
        "cache_avoided_energy_joules",
        "calibrated",
        "estimate",
        "model_match",
        "reason",
    )

    def __init__(
        self,
        estimate: EnergyEstimate | None = None,
        model_match: str | None = None,
        reason: str | None = None,
        cache_avoided_energy_joules: float | None = None,
        calibrated: EnergyEstimate | None = None,
    ) -> None:
        self.estimate = estimate
        self.model_match = model_match
        self.reason = reason
        self.cache_avoided_energy_joules = cache_avoided_energy_joules
        self.calibrated = calibrated

    def __eq__(self, other: object) -> bool:
        """Whether all of it is the same."""
        names = self.__slots__
        return isinstance(other, Outcome) and all(
            getattr(self, name) == getattr(other, name) for name in names
        )

    __hash__ = None  # type: ignore[assignment]


@frozen(kw_only=True)
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
        ConfigurationError: A name is no string, the method or scope is unknown, a number is out
            of bounds, both numbers are given, or the method named does not know one of them.
    """

    model: str | None = None
    gpu: str | None = None
    method: str | None = None
    scope: str | None = None
    concurrency_per_gpu: float | None = None
    sequences: float | None = None

    def __post_init__(self) -> None:
        """Check what needs no profiles."""
        for name, text in (("model", self.model), ("gpu", self.gpu)):
            if text is not None and not isinstance(text, str):
                raise ConfigurationError(must_be(name, "a string", text))
        for name, value, choices in (
            ("method", self.method, METHOD_NAMES),
            ("scope", self.scope, SCOPES),
        ):
            if value is not None and not is_choice(value, choices):
                raise ConfigurationError(not_one_of(name, value, choices))
        for name in ("concurrency_per_gpu", "sequences"):
            number = getattr(self, name)
            if number is not None:
                checked = SERVING_BOUNDS[name].check(name, number)
                if type(number) not in (int, float):
                    object.__setattr__(self, name, checked)
        check_one_batch(self.concurrency_per_gpu, self.sequences)
        if self.method is not None:
            self.check_effect(self.method)

    def check_effect(self, method: str) -> None:
        """Check that what is other is known to the method.

        Args:
            method: The method of the estimate.

        Raises:
            ConfigurationError: It knows no batch, or no other scope than the GPU boards.
        """
        if method == CALIBRATED_METHOD:
            return
        remedy = f"compare with method={CALIBRATED_METHOD!r}"
        for name in ("concurrency_per_gpu", "sequences"):
            if (number := getattr(self, name)) is not None:
                what = f"unset: it has no effect on method {method!r}, which knows no batch"
                raise ConfigurationError(must_be(name, what, number, remedy))
        if self.scope not in (None, "gpu"):
            what = f"'gpu' with method {method!r}, which knows the GPU boards alone"
            raise ConfigurationError(must_be("scope", what, self.scope, remedy))

    @property
    def changes(self) -> dict[str, str | float]:
        """What is other, by name, in the order above."""
        named = ((name, getattr(self, name)) for name in declared_defaults(type(self)))
        return {name: value for name, value in named if value is not None}


Estimate = Callable[[str | None, str | None, TokenUsage, ServingEvidence | None], Outcome]
"""Requested model, model that answered, tokens, what was seen of the server -> outcome."""


EstimateAs = Callable[[str | None, str | None, TokenUsage, Alternative], Outcome]
"""Requested model, model that answered, tokens, the other way -> outcome."""

Comparable = tuple[str | None, str | None, TokenUsage, EstimateAs]
"""Models asked for and answering, tokens, and a function that estimates them otherwise."""


_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
_CLOCKS_DIFFER = timedelta(days=1)


def is_past(time: datetime) -> bool:
    """Whether a call may have ended at a time, give or take what two clocks differ by."""
    return time.tzinfo is not None and _EARLIEST <= time <= datetime.now(UTC) + _CLOCKS_DIFFER


def status_of(
    usage: TokenUsage | None, estimate: EnergyEstimate | None, measured_energy_joules: float | None
) -> Status:
    """How well the energy of a call is known.

    Args:
        usage: Its tokens, if they are known.
        estimate: Its estimate, if it has one.
        measured_energy_joules: The energy that its server measured, if it did [J].
    """
    if measured_energy_joules is not None:
        return "measured"
    if estimate is None:
        return "unestimated"
    return "partial" if usage is not None and usage.estimated else "estimated"
