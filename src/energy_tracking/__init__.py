"""How much energy your LLM calls use: on your traces, in your metrics, in your terminal.

>>> from energy_tracking import energy_session, track_energy, wrap_openai

``wrap_openai(client)`` tracks one OpenAI client, ``instrument_openai()`` all of them,
``@track_energy`` a function, ``energy_session(name)`` sums up, ``energy_of(response)`` is one
call's record. ``EnergySpanProcessor()`` puts energy on the spans of other instrumentations.

The names are loaded when they are wanted, so that a command or a test plugin that needs few of
them starts at once. A new name is a line of ``__all__``, of the imports below and of ``_HOMES``.
"""

from __future__ import annotations

from importlib import import_module

from energy_tracking.version import VERSION as __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from energy_tracking.calls.carbon import Carbon
    from energy_tracking.calls.comparison import Comparison
    from energy_tracking.calls.energy_of import energy_of
    from energy_tracking.calls.record import CallRecord, CallRequest
    from energy_tracking.calls.session import Session, current_session, process_session
    from energy_tracking.calls.session import Session as energy_session
    from energy_tracking.calls.totals import Totals
    from energy_tracking.errors import (
        ConfigurationError,
        EnergyBudgetExceeded,
        EnergyTrackingError,
        EnergyTrackingWarning,
        ProfileError,
        TokenCountError,
        UnknownGpuError,
        UnknownModelError,
        UnreadableLogError,
    )
    from energy_tracking.estimator import EnergyEstimate
    from energy_tracking.functions.decorator import track_energy
    from energy_tracking.ledger import LedgerEntry, read_ledger
    from energy_tracking.logs.backfill import record_log
    from energy_tracking.logs.logged import LoggedCall
    from energy_tracking.logs.read_report import ReadReport
    from energy_tracking.logs.reading import read_logs
    from energy_tracking.openai_client.client import (
        instrument_openai,
        uninstrument_openai,
        unwrap_openai,
        wrap_openai,
    )
    from energy_tracking.otel.baggage import session_from_baggage, session_to_baggage
    from energy_tracking.otel.span_processor import EnergyCompletionHook, EnergySpanProcessor
    from energy_tracking.profiles.files import register_gpu_profile, register_model_profile
    from energy_tracking.profiles.profile import GpuProfile, ModelProfile
    from energy_tracking.seed import cloud_inference_energy_estimate_w_model_attributes
    from energy_tracking.tables import EnergyTable, estimate_table
    from energy_tracking.tracker import Tracker
    from energy_tracking.usage.dialects import read_usage
    from energy_tracking.usage.token_usage import TokenUsage

__all__ = [
    "CallRecord",
    "CallRequest",
    "Carbon",
    "Comparison",
    "ConfigurationError",
    "EnergyBudgetExceeded",
    "EnergyCompletionHook",
    "EnergyEstimate",
    "EnergySpanProcessor",
    "EnergyTable",
    "EnergyTrackingError",
    "EnergyTrackingWarning",
    "GpuProfile",
    "LedgerEntry",
    "LoggedCall",
    "ModelProfile",
    "ProfileError",
    "ReadReport",
    "Session",
    "TokenCountError",
    "TokenUsage",
    "Totals",
    "Tracker",
    "UnknownGpuError",
    "UnknownModelError",
    "UnreadableLogError",
    "__version__",
    "cloud_inference_energy_estimate_w_model_attributes",
    "current_session",
    "energy_of",
    "energy_session",
    "estimate_table",
    "instrument_openai",
    "process_session",
    "read_ledger",
    "read_logs",
    "read_usage",
    "record_log",
    "register_gpu_profile",
    "register_model_profile",
    "session_from_baggage",
    "session_to_baggage",
    "track_energy",
    "uninstrument_openai",
    "unwrap_openai",
    "wrap_openai",
]

_HOMES = {
    "CallRecord": "energy_tracking.calls.record",
    "CallRequest": "energy_tracking.calls.record",
    "Carbon": "energy_tracking.calls.carbon",
    "Comparison": "energy_tracking.calls.comparison",
    "ConfigurationError": "energy_tracking.errors",
    "EnergyBudgetExceeded": "energy_tracking.errors",
    "EnergyCompletionHook": "energy_tracking.otel.span_processor",
    "EnergyEstimate": "energy_tracking.estimator",
    "EnergySpanProcessor": "energy_tracking.otel.span_processor",
    "EnergyTable": "energy_tracking.tables.table",
    "EnergyTrackingError": "energy_tracking.errors",
    "EnergyTrackingWarning": "energy_tracking.errors",
    "GpuProfile": "energy_tracking.profiles.profile",
    "LedgerEntry": "energy_tracking.ledger",
    "LoggedCall": "energy_tracking.logs.logged",
    "ModelProfile": "energy_tracking.profiles.profile",
    "ProfileError": "energy_tracking.errors",
    "ReadReport": "energy_tracking.logs.read_report",
    "Session": "energy_tracking.calls.session",
    "TokenCountError": "energy_tracking.errors",
    "TokenUsage": "energy_tracking.usage.token_usage",
    "Totals": "energy_tracking.calls.totals",
    "Tracker": "energy_tracking.tracker",
    "UnknownGpuError": "energy_tracking.errors",
    "UnknownModelError": "energy_tracking.errors",
    "UnreadableLogError": "energy_tracking.errors",
    "cloud_inference_energy_estimate_w_model_attributes": "energy_tracking.seed",
    "current_session": "energy_tracking.calls.session",
    "energy_of": "energy_tracking.calls.energy_of",
    "energy_session": "energy_tracking.calls.session:Session",
    "estimate_table": "energy_tracking.tables.estimating",
    "instrument_openai": "energy_tracking.openai_client.client",
    "process_session": "energy_tracking.calls.session",
    "read_ledger": "energy_tracking.ledger",
    "read_logs": "energy_tracking.logs.reading",
    "read_usage": "energy_tracking.usage.dialects",
    "record_log": "energy_tracking.logs.backfill",
    "register_gpu_profile": "energy_tracking.profiles.files",
    "register_model_profile": "energy_tracking.profiles.files",
    "session_from_baggage": "energy_tracking.otel.baggage",
    "session_to_baggage": "energy_tracking.otel.baggage",
    "track_energy": "energy_tracking.functions.decorator",
    "uninstrument_openai": "energy_tracking.openai_client.client",
    "unwrap_openai": "energy_tracking.openai_client.client",
    "wrap_openai": "energy_tracking.openai_client.client",
}
"""Each public name and the module that has it, with its name there where that is another."""

_PACKAGES = {home.partition(":")[0].split(".")[1] for home in _HOMES.values()}


def __getattr__(name: str) -> Any:
    """Load a public name, or the package of one, when it is wanted."""
    value: Any
    if name in _HOMES:
        module, _, other_name = _HOMES[name].partition(":")
        value = getattr(import_module(module), other_name or name)
    elif name in _PACKAGES:
        value = import_module(f"{__name__}.{name}")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names, loaded or not."""
    return sorted({*globals(), *_HOMES})
