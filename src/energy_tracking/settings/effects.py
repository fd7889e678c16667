"""Which settings have an effect: beside each other, and at which door.

One without effect is refused, not ignored. A further rule is a branch of ``check_together``; a door
names what it refuses to ``refuse_settings``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from energy_tracking.errors import ConfigurationError, must_be
from energy_tracking.estimator import CALIBRATED_METHOD
from energy_tracking.estimator.serving_bounds import CURRENT_ENGINE_YEAR, UNBALANCED_ENGINE_YEAR
from energy_tracking.settings.names import named

STREAM_SETTINGS = (
    *("include_usage", "include_usage_hosts", "timing_evidence", "server_metrics"),
    *("energy_meter", "calibration"),
)
"""Settings about calls while they are made, for clients that are tracked themselves."""

DELIVERY_SETTINGS = (
    *("spans", "detail", "metrics", "metric_tags", "region", "grams_per_kwh", "ledger", "summary"),
    "disabled",
)
"""Settings about where calls are delivered to, and with what beside their energy."""


def check_together(values: Mapping[str, Any]) -> None:
    """Check that every setting given has an effect beside the others.

    Raises:
        ConfigurationError: One has none.
    """
    if values.get("method") == CALIBRATED_METHOD and "attention_mode" in values:
        what = f"unset: it has no effect on method {CALIBRATED_METHOD!r}"
        remedy = "leave it unset, or use method 'reference'"
        raise ConfigurationError(
            must_be(named("attention_mode"), what, values["attention_mode"], remedy)
        )
    if values.get("spans") == "off" and "detail" in values:
        what = f"unset: it has no effect while {named('spans')} is 'off'"
        raise ConfigurationError(
            must_be(named("detail"), what, values["detail"], "leave it unset, or let spans be made")
        )
    if values.get("metrics") == "off" and values.get("metric_tags"):
        what = f"unset: it has no effect while {named('metrics')} is 'off'"
        remedy = "leave it unset, or use 'on'"
        raise ConfigurationError(must_be(named("metric_tags"), what, values["metric_tags"], remedy))
    include = values.get("include_usage", "auto")
    if include != "auto" and values.get("include_usage_hosts"):
        hosts = ",".join(values["include_usage_hosts"])
        what = f"unset: it has no effect while {named('include_usage')} is {include!r}"
        remedy = "leave it unset, or use 'auto'"
        raise ConfigurationError(must_be(named("include_usage_hosts"), what, hosts, remedy))
    if values.get("timing_evidence") and "gpu" not in values:
        what = f"False where {named('gpu')} is not set: on an assumed GPU, speed is no evidence"
        remedy = "name the GPU, or leave it unset"
        raise ConfigurationError(must_be(named("timing_evidence"), what, True, remedy))
    if "region" in values and "grams_per_kwh" in values:
        what = f"unset beside {named('region')}, {values['region']!r}"
        raise ConfigurationError(
            must_be(named("grams_per_kwh"), what, values["grams_per_kwh"], "give one of them")
        )
    for known in ("concurrency_per_gpu", "sequences"):
        if values.get("timing_evidence") and known in values:
            what = f"False where {named(known)} is set: speed is evidence of what is then known"
            remedy = "leave one of them unset"
            raise ConfigurationError(must_be(named("timing_evidence"), what, True, remedy))
        if values.get("server_metrics") and known in values:
            what = f"unset where {named('server_metrics')} is set, by which it is read"
            remedy = "leave one of them unset"
            raise ConfigurationError(must_be(named(known), what, values[known], remedy))
    if "expert_parallel" not in values:
        return
    experts, year = values["expert_parallel"], values.get("engine_year", CURRENT_ENGINE_YEAR)
    if year > UNBALANCED_ENGINE_YEAR:
        what = f"unset: it has no effect on an engine of {year}, which balances its experts"
        remedy = (
            f"leave it unset, or set {named('engine_year')} to {UNBALANCED_ENGINE_YEAR} or before"
        )
        raise ConfigurationError(must_be(named("expert_parallel"), what, experts, remedy))
    gpus = values.get("num_gpus", math.inf)
    if experts > gpus:
        what = f"at most {named('num_gpus')}, {gpus:g}"
        raise ConfigurationError(must_be(named("expert_parallel"), what, experts))


def refuse_settings(arguments: Mapping[str, Any], names: Iterable[str], door: str) -> None:
    """Refuse settings that have no effect where they are given.

    A variable of the environment is for all doors, and passes.

    Args:
        arguments: What a door was called with.
        names: The settings without effect there.
        door: What it is called.

    Raises:
        ConfigurationError: One is given.
    """
    for name in names:
        given = arguments.get(name)
        if given is not None:
            what = f"unset: it has no effect on {door}"
            raise ConfigurationError(must_be(name, what, given, "leave it out"))
