"""What a response of Anthropic's took beside what its own counts say.

One request may take several passes of a model, which ``usage.iterations`` lists. The counts at the
top are the sum of those of type ``message``. Left out of them are a compaction before the answer,
an advisor, which is another model, and each model that declined before another one answered, whose
counts alone are at the top then. Each of these is a call here.
"""

from __future__ import annotations

from energy_tracking.logs.formats.base import Document, mappings, text
from energy_tracking.logs.formats.counts import counts_in
from energy_tracking.logs.logged import Counts, LoggedCall

# Source: https://platform.claude.com/docs/en/build-with-claude/compaction
# Source: https://platform.claude.com/docs/en/agents-and-tools/tool-use/advisor-tool
BESIDE = frozenset({"advisor_message", "compaction"})
"""Types of iterations that are never in the counts at the top."""
FALLBACK = "fallback_message"
"""The answer of a model in the place of one that declined.

Source: https://github.com/anthropics/anthropic-sdk-python (BetaUsage.iterations)
"""


def calls_beside(call: LoggedCall, usage: Document) -> list[LoggedCall]:
    """The calls that a response took beside the one that its counts are of.

    Args:
        call: What its counts are of.
        usage: Its usage.
    """
    iterations = mappings(usage.get("iterations"))
    if not iterations or call.counts is None:
        return []
    own = [one for one in iterations if text(one.get("type")) not in BESIDE]
    declined: list[Document] = []
    types = [one.get("type") for one in own]
    if FALLBACK in types and _tokens_of(own) != _tokens(call.counts):
        declined = own[: types.index(FALLBACK)]
        answered = own[types.index(FALLBACK) :]
        # Of those that answered in the place of another, one may have declined, too.
        declined += [one for one in answered if one.get("model") not in (None, call.model)]
    return [
        LoggedCall(
            provider=call.provider,
            model=text(one.get("model")) or call.model,
            counts=counts,
            time=call.time,
            session=call.session,
            grows=True,
            identity=None if call.identity is None else (*call.identity, "iteration", number),
        )
        for number, one in enumerate(iterations)
        if (text(one.get("type")) in BESIDE or any(one is each for each in declined))
        and (counts := counts_in(one)) is not None
        and any(_tokens(counts))
    ]


def _tokens(counts: Counts) -> tuple[int, int]:
    return counts.input_tokens, counts.output_tokens


def _tokens_of(iterations: list[Document]) -> tuple[int, int]:
    found = [_tokens(counts) for one in iterations if (counts := counts_in(one)) is not None]
    return sum(inputs for inputs, _ in found), sum(outputs for _, outputs in found)
