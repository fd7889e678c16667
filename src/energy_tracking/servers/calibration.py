"""Factors between what a meter measured and what the estimator says, kept in a file for a host.

``energy-tracking meter --write`` measures one, and the setting ``calibration`` names the file:
where no meter is at hand, the estimate of ``roofline`` is multiplied by the factor of its host,
model and GPU. What was not known of the deployment is in the factor then, and leaves the range;
the formula's own error stays, since requests of other shapes are estimated by it, and the factor's
comes in.

The file is TOML, a ``[[servers]]`` table for each; a new field is one of ``Calibration``.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from functools import partial
from typing import Any

from energy_tracking.bounds import Bound, read_path
from energy_tracking.calls.record import CallRecord
from energy_tracking.errors import ConfigurationError, must_be
from energy_tracking.estimator import CALIBRATED_METHOD, EnergyEstimate
from energy_tracking.estimator.estimate import combine_parts, complete_values
from energy_tracking.frozen import fill_fields, frozen
from energy_tracking.hosts import is_among_hosts, read_host

FACTOR = Bound(1e-3, 1e3)
"""What a factor may be [1]: beyond, another model or GPU was estimated than was measured."""

FACTOR_ERROR = Bound(1.0, 1e3)
"""What its error may be, over and under it [1]."""

METER_ERROR = 1.05
"""What a board's own meter may be off by, 90 % [1].

Source: NVML's documentation of nvmlDeviceGetPowerUsage: "accurate to within +/- 5% of current power
draw", https://docs.nvidia.com/deploy/nvml-api/group__nvmlDeviceQueries.html
"""

KEPT_PARTS = ("formula", "prefill")
"""Parts of a range that a factor leaves: it was measured on requests of other shapes."""

MAX_FILE_BYTES = 2**20
"""Longer files are refused [byte]."""


@frozen(kw_only=True)
class Calibration:
    """What a meter measured over what was estimated, for one server.

    Attributes:
        host: Its host, or host and port.
        model: Its model, as the server names it.
        gpu: The GPU profile of the estimate, as `roofline` names it.
        engine: Its engine.
        date: The day on which it was measured.
        factor: Measured over estimated energy [1].
        factor_error: What that may be off by either way, 90 % [1].
    """

    host: str
    model: str
    gpu: str
    engine: str
    date: str
    factor: float
    factor_error: float


def measure_factor(pairs: Sequence[tuple[float, float]]) -> tuple[float, float] | None:
    """The factor of a measurement and its error [1]; None where nothing was measured.

    The factor is that of the sums. Its error is that of their mean, from how much windows differ,
    and the meter's own: f = exp(sqrt((1.645 s / sqrt(n))^2 + ln(1.05)^2)), with s the standard
    deviation of the logarithms of the n windows' factors.

    Args:
        pairs: For each window, what was measured and what is estimated [J].
    """
    seen = [(measured, estimated) for measured, estimated in pairs if measured > 0 < estimated]
    if not seen:
        return None
    factor = math.fsum(one for one, _ in seen) / math.fsum(one for _, one in seen)
    logs = [math.log(measured / estimated) for measured, estimated in seen]
    mean = math.fsum(logs) / len(logs)
    # One window alone says nothing of how much they differ.
    spread = math.log(2.0)
    if len(logs) > 1:
        variance = math.fsum((one - mean) ** 2 for one in logs) / (len(logs) - 1)
        spread = math.sqrt(variance)
    error = math.hypot(1.645 * spread / math.sqrt(len(logs)), math.log(METER_ERROR))
    return factor, math.exp(error)


def write_calibration(path: str, calibration: Calibration) -> None:
    """Put a server into a calibration file, in place of what is there of it.

    Args:
        path: The file; made where there is none.
        calibration: The server.

    Raises:
        ConfigurationError: The file is another one, or cannot be written.
    """
    known = load_calibrations(path) if os.path.exists(path) else ()
    same = (calibration.host, calibration.model, calibration.gpu)
    kept = [one for one in known if (one.host, one.model, one.gpu) != same]
    text = "".join(map(_format_table, (*kept, calibration)))
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise ConfigurationError(
            f"{must_be('', 'a file that can be written', path)}: {error.strerror}"
        ) from None


def load_calibrations(path: str | os.PathLike[str]) -> tuple[Calibration, ...]:
    """The servers of a calibration file.

    Raises:
        ConfigurationError: It cannot be read, or is no such file.
    """
    import tomllib  # most programs have none

    path = read_path("", path)
    try:
        with open(path, "rb") as file:
            text = file.read(MAX_FILE_BYTES + 1)
        if len(text) > MAX_FILE_BYTES:
            raise ValueError(f"it is longer than {MAX_FILE_BYTES:,} bytes")
        document = tomllib.loads(text.decode("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        message = must_be("", "a calibration file, as `energy-tracking meter --write` makes", path)
        raise ConfigurationError(f"{message}: {reason}") from None
    tables = document.get("servers")
    if not isinstance(tables, list) or not all(isinstance(one, dict) for one in tables):
        raise ConfigurationError(must_be("", "a file with tables [[servers]]", path))
    return tuple(_read_table(table, f"{path}: [[servers]]") for table in tables)


def make_calibration(path: str) -> Callable[[CallRecord], CallRecord]:
    """What gives records the factors of a calibration file.

    Raises:
        ConfigurationError: It cannot be read, or is no such file.
    """
    return partial(apply_calibration, calibrations=load_calibrations(path))


def apply_calibration(record: CallRecord, calibrations: Iterable[Calibration]) -> CallRecord:
    """A record whose estimate by ``roofline`` has the factor of its server, where there is one.

    Args:
        record: The record, as it is estimated.
        calibrations: The servers.
    """
    estimate = record.calibrated or record.estimate
    host, port = record.request.server_address, record.request.server_port
    if estimate is None or estimate.method != CALIBRATED_METHOD or host is None:
        return record
    models = {record.request.model, record.response_model}
    for one in calibrations:
        is_host = is_among_hosts((one.host,), host, port or 0)
        if is_host and one.model in models and one.gpu == estimate.gpu:
            name = "estimate" if record.calibrated is None else "calibrated"
            return fill_fields(CallRecord, vars(record) | {name: _scale(estimate, one)})
    return record


def _scale(estimate: EnergyEstimate, calibration: Calibration) -> EnergyEstimate:
    """An estimate with a factor, and the range that is left."""
    factor, error = calibration.factor, calibration.factor_error
    parts = {name: ends for name, ends in estimate.range_parts.items() if name in KEPT_PARTS}
    parts["calibration"] = (1 / error, error)
    low, high = combine_parts(parts)
    total = factor * estimate.total_energy_joules
    reasoning = estimate.reasoning_energy_joules
    changed = {
        "prefill_energy_joules": factor * estimate.prefill_energy_joules,
        "decode_energy_joules": factor * estimate.decode_energy_joules,
        "reasoning_energy_joules": None if reasoning is None else factor * reasoning,
        "total_energy_low_joules": total * low,
        "total_energy_high_joules": total * high,
        "range_parts": parts,
        "assumed": {
            **estimate.assumed,
            "calibration": f"x {factor:.3g} as measured on {calibration.date}",
        },
    }
    return fill_fields(EnergyEstimate, complete_values(estimate) | changed)


def _read_table(table: dict[str, Any], where: str) -> Calibration:
    """The server of a table.

    Raises:
        ConfigurationError: A field is missing, of another type or out of its bounds.
    """
    values: dict[str, Any] = {}
    bounds = {"factor": FACTOR, "factor_error": FACTOR_ERROR}
    for field in fields(Calibration):
        name, value = field.name, table.get(field.name)
        if name in bounds:
            values[name] = bounds[name].check(f"{where} {name}", value)
        elif isinstance(value, str) and value:
            values[name] = value
        else:
            raise ConfigurationError(must_be(f"{where} {name}", "a string", value))
    values["host"] = read_host(values["host"])
    return Calibration(**values)


def _format_table(calibration: Calibration) -> str:
    lines = [f"{name} = {_format_value(value)}" for name, value in vars(calibration).items()]
    return "\n".join(["[[servers]]", *lines, "", ""])


def _format_value(value: str | float) -> str:
    """A value as TOML has it."""
    if not isinstance(value, str):
        return repr(float(value))
    # Printable, so that no other sign needs an escape.
    shown = "".join(sign if sign.isprintable() else " " for sign in value)
    return '"' + shown.replace("\\", "\\\\").replace('"', '\\"') + '"'
