"""Results of benchmarks: HELM's statistics, tau2-bench's simulations, terminal-bench's trials."""

from __future__ import annotations

import os
import re

from energy_tracking.logs.formats.base import Document, LogFile, LogFormat, at, keys, mappings, text
from energy_tracking.logs.formats.counts import counts_in, sum_of_tokens, usage_of, whole
from energy_tracking.logs.logged import LoggedCall, time_of

_MODEL_OF_RUN = re.compile(r"(?:^|[:,])model=([^,]+)")


def _read_helm(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """The statistics of an instance; the folder of a run has the name of its model."""
    named = {
        str(at(statistic, "name", "name")): statistic.get("sum")
        for statistic in mappings(document["stats"])
    }
    inputs, outputs = named.get("num_prompt_tokens"), named.get("num_output_tokens")
    if inputs is None:
        return None
    model = _MODEL_OF_RUN.search(os.path.basename(file.folder))
    return [
        LoggedCall(
            # A name may have no slash there.
            model=model and model[1].replace("_", "/", 1),
            counts=usage_of(whole(inputs), whole(outputs or named.get("num_completion_tokens"))),
        )
    ]


def _read_tau(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """Simulations, in which one model is the agent and another one the user."""
    info = document["info"]
    models = {
        role: text(at(info, name, "llm"))
        for role, name in (("assistant", "agent_info"), ("user", "user_info"))
    }
    if not any(models.values()):
        return None
    return [
        LoggedCall(
            model=models.get(str(message.get("role"))),
            counts=counts,
            time=time_of(message.get("timestamp") or simulation.get("end_time")),
            session=text(simulation.get("id")),
        )
        for simulation in mappings(document["simulations"])
        for message in mappings(simulation.get("messages"))
        if (counts := counts_in(message.get("usage"))) is not None
    ]


def _read_terminal_bench(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """The result of a trial, with the sum of what its agent took."""
    inputs, outputs = document["total_input_tokens"], document["total_output_tokens"]
    if not (whole(inputs) or whole(outputs)):
        file.leave_out("a trial without token counts")
        return []
    return [
        LoggedCall(
            counts=sum_of_tokens(inputs, outputs),
            time=time_of(document.get("trial_ended_at") or document.get("trial_started_at")),
            session=text(document["trial_name"]),
            requests=None,
        )
    ]


BENCHMARKS: tuple[LogFormat, ...] = (
    # Source: https://crfm-helm.readthedocs.io (per_instance_stats.json)
    LogFormat(name="helm", keys=keys("instance_id", "stats"), read=_read_helm),
    # Source: https://github.com/sierra-research/tau2-bench (data_model/simulation.py)
    LogFormat(name="tau2-bench", keys=keys("info", "simulations"), read=_read_tau),
    # Source: https://www.tbench.ai/docs (results.json)
    LogFormat(name="terminal-bench",
              keys=keys("trial_name", "total_input_tokens", "total_output_tokens"),
              read=_read_terminal_bench),
)  # fmt: skip
