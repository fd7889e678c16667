"""Counts calls whose responses lie in a file: the output of a batch, or a log.

A batch outlives the process that created it, and its summed usage cannot be estimated call
by call. Its output file holds every response with a usage of its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Unpack

from energy_tracking.calls.record import CallRecord
from energy_tracking.calls.totals import Totals
from energy_tracking.ledger import read_lines
from energy_tracking.logs.formats import LoggedResponse, logged_response
from energy_tracking.tracker import Tracker, TrackerArguments


def record_log(
    path: str | os.PathLike[str],
    *,
    provider: str | None = None,
    **arguments: Unpack[TrackerArguments],
) -> Totals:
    """Count the calls whose responses lie in a file; returns their totals.

    The file has an object of JSON in each line: the output or error file of a batch, of
    OpenAI and who writes the same, Anthropic, Gemini, Vertex AI or Bedrock, or responses as
    they came. A response that is there twice counts once. A request that failed is a failed
    call.

    The current session, the metrics, the ledger and ``on_record`` are told as by
    ``Tracker.record``: now, and again each time the file is. No spans are made, as nobody
    knows when the calls ran. Lines that cannot be read are left out; a warning at the end
    says which.

    Args:
        path: The file.
        provider: ``gen_ai.provider.name``, in place of the format's own: batches of Azure
            and of Mistral look like OpenAI's.
        **arguments: As for ``Tracker``; ``spans`` changes nothing.

    Raises:
        OSError: The file cannot be read.
        ConfigurationError: A setting is wrong, or names an unknown profile.
    """
    tracker = Tracker(**arguments | {"spans": "off"})
    totals = Totals()
    if not tracker.settings.disabled:
        for record in record_responses(path, tracker, provider):
            totals.add(record)
    return totals


def record_responses(
    path: str | os.PathLike[str], tracker: Tracker, provider: str | None = None
) -> Iterator[CallRecord]:
    """Count the responses in a file, each when it is asked for.

    Args:
        path: The file.
        tracker: Told of them.
        provider: ``gen_ai.provider.name``, in place of the format's own.

    Raises:
        OSError: The file cannot be read.
    """
    for response in read_responses(path):
        yield tracker.record(
            model=response.model,
            usage=response.usage,
            operation=response.operation,
            provider=provider or response.provider,
            response_id=response.response_id,
            measured_energy_joules=response.measured_energy_joules,
            error_type=response.error_type,
        )


def read_responses(path: str | os.PathLike[str]) -> Iterator[LoggedResponse]:
    """Read the responses in a file, each once; of each only a number stays in memory.

    Raises:
        OSError: The file cannot be read.
    """
    seen: set[int] = set()
    for response in read_lines(path, logged_response):
        if response.identity is not None:
            identity = hash(response.identity)
            if identity in seen:
                continue
            seen.add(identity)
        yield response
