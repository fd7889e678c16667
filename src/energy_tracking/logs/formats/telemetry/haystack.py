"""Spans of Haystack's own, which have the tokens of a call only in what its component put out.

Source: https://docs.haystack.deepset.ai/docs/tracing (with HAYSTACK_CONTENT_TRACING_ENABLED)
Source: https://github.com/deepset-ai/haystack (core/pipeline, components/agents/agent.py)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from energy_tracking.logs.formats.base import at, mappings, text, unpacked
from energy_tracking.logs.formats.counts import counts_in
from energy_tracking.logs.logged import LoggedCall

_COMPONENT, _TYPE = "haystack.component.output", "haystack.component.type"
_STEPS = ("haystack.agent.step.llm.output", "haystack.agent.step.llm_output")
"""What a model answered to an agent, as it is called now, and was before."""
HAYSTACK_ATTRIBUTES = frozenset({_COMPONENT, _TYPE, *_STEPS})
"""Attributes that ``call_in_haystack_span`` looks at."""
_OPERATIONS = {"Generator": "chat", "Embedder": "embeddings"}
"""What the types of components end with that call a model -> the operation."""


def call_in_haystack_span(attributes: Mapping[str, Any]) -> LoggedCall | None:
    """The call of a component's span or an agent's; None where it is no call.

    Args:
        attributes: The span's.
    """
    operation: str | None = "chat"
    name = next((step for step in _STEPS if step in attributes), None)
    if name is None and _COMPONENT in attributes:
        # Others hand on what a model answered.
        kind = str(attributes.get(_TYPE))
        operation = next((_OPERATIONS[end] for end in _OPERATIONS if kind.endswith(end)), None)
        name = None if operation is None else _COMPONENT
    if name is None or operation is None:
        return None
    output = unpacked(attributes[name])
    replies = output if isinstance(output, list) else at(output, "replies")
    beside = at(output, "meta")
    # Of several replies, each has the usage of the request; the first versions wrote "_meta".
    metas = [reply.get("meta") or reply.get("_meta") for reply in mappings(replies)]
    for meta in (*metas, *(beside if isinstance(beside, list) else [beside])):
        if (counts := counts_in(at(meta, "usage"))) is not None:
            return LoggedCall(operation=operation, model=text(at(meta, "model")), counts=counts)
    return None
