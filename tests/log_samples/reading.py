"""Samples of logs read, and what was read in the words of what is right."""

from __future__ import annotations

from pathlib import Path

from energy_tracking.logs.logged import LoggedCall
from energy_tracking.logs.read_report import ReadReport
from energy_tracking.logs.reading import read_logs
from log_samples.common import SAMPLES, Right
from log_samples.further import FURTHER_SAMPLES
from log_samples.gateways import GATEWAY_SAMPLES
from log_samples.odd import ODD_SAMPLES
from log_samples.platforms import PLATFORM_SAMPLES
from log_samples.public import PUBLIC_SAMPLES
from log_samples.workflows import WORKFLOW_SAMPLES

ALL_SAMPLES = [
    *SAMPLES,
    *ODD_SAMPLES,
    *FURTHER_SAMPLES,
    *GATEWAY_SAMPLES,
    *WORKFLOW_SAMPLES,
    *PLATFORM_SAMPLES,
    *PUBLIC_SAMPLES,
]


def read(*paths: Path | str) -> tuple[list[LoggedCall], ReadReport]:
    report = ReadReport()
    return list(read_logs(paths, report=report)), report


def shown(entries: list[LoggedCall], report: ReadReport, like: Right) -> Right:
    """What was read, in the words of what is right."""
    calls = [entry for entry in entries if entry.is_call]
    sums = [entry for entry in entries if not entry.is_call]
    usages = [call.usage for call in calls if call.usage is not None]
    first = next((call.time for call in calls), None)
    return Right(
        calls=len(calls),
        tokens=(
            sum(usage.input_tokens for usage in usages),
            sum(usage.output_tokens for usage in usages),
        ),
        cached=sum(usage.cached_input_tokens for usage in usages),
        models=frozenset(call.model for call in calls),
        sums=tuple(
            (entry.requests, entry.usage.input_tokens, entry.usage.output_tokens)
            for entry in sums
            if entry.usage is not None
        ),
        hits=report.cache_hits,
        reasoning=sum(usage.reasoning_tokens or 0 for usage in usages),
        # Not every sample says these.
        first=first.isoformat() if first and like.first else like.first and "none",
        provider=calls[0].provider if calls and like.provider else like.provider,
    )
