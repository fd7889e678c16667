"""How much energy your LLM calls use: on your traces, in your metrics, in your terminal.

>>> from energy_tracking import energy_session, track_energy, wrap_openai

``wrap_openai(client)`` tracks one OpenAI client, ``instrument_openai()`` all of them,
``@track_energy`` a function, ``energy_session(name)`` sums up. ``EnergySpanProcessor()`` puts
energy on the spans of other instrumentations.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from energy_tracking.calls.carbon import Carbon
from energy_tracking.calls.comparison import Comparison
from energy_tracking.calls.record import CallRecord, CallRequest
from energy_tracking.calls.session import Session, current_session, process_session
from energy_tracking.calls.session import Session as energy_session
from energy_tracking.calls.totals import Totals
from energy_tracking.decorator import track_energy
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
from energy_tracking.ledger import LedgerEntry, read_ledger
from energy_tracking.openai_client.client import (
    instrument_openai,
    uninstrument_openai,
    unwrap_openai,
    wrap_openai,
)
from energy_tracking.otel.baggage import session_from_baggage, session_to_baggage
from energy_tracking.profiles.files import register_gpu_profile, register_model_profile
from energy_tracking.profiles.profile import GpuProfile, ModelProfile
from energy_tracking.seed import cloud_inference_energy_estimate_w_model_attributes
from energy_tracking.tracker import Tracker
from energy_tracking.usage.dialects import read_usage
from energy_tracking.usage.token_usage import TokenUsage
from energy_tracking.version import VERSION as __version__

if TYPE_CHECKING:
    from energy_tracking.logs.backfill import record_log
    from energy_tracking.logs.logged import LoggedCall, ReadReport
    from energy_tracking.logs.reading import read_logs
    from energy_tracking.otel.span_processor import EnergyCompletionHook, EnergySpanProcessor

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
    "energy_session",
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

# What loads the SDK of OpenTelemetry, or reads files, waits until it is wanted.
_LOADED_WHEN_WANTED = {
    "EnergyCompletionHook": "energy_tracking.otel.span_processor",
    "EnergySpanProcessor": "energy_tracking.otel.span_processor",
    "LoggedCall": "energy_tracking.logs.logged",
    "ReadReport": "energy_tracking.logs.logged",
    "read_logs": "energy_tracking.logs.reading",
    "record_log": "energy_tracking.logs.backfill",
}


def __getattr__(name: str) -> Any:
    """Load what ``import energy_tracking`` has not."""
    if name not in _LOADED_WHEN_WANTED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LOADED_WHEN_WANTED[name]), name)
