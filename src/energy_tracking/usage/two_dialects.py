"""A usage that counts its input or output by the names of two dialects, as of some gateways."""

from __future__ import annotations

from collections.abc import Mapping

from energy_tracking.frozen import fill_fields
from energy_tracking.usage.reconciling import Convention, reconcile_counts
from energy_tracking.usage.token_usage import COUNTED_TWICE, WHOLE_OF, TokenUsage

WHOLE_BY_NAME = {
    "prompt_tokens": "input_tokens",
    "input_tokens": "input_tokens",
    "completion_tokens": "output_tokens",
    "output_tokens": "output_tokens",
}
"""By which names one usage may have its input or output twice."""


def reconcile_beside(
    dialect: str,
    convention: Convention,
    found: dict[str, int],
    repairs: list[str],
    named: Mapping[str, int],
) -> TokenUsage | None:
    """The same of a usage that counts input or output by the names of two dialects.

    A count by the other name may leave out parts that stand inside. Any other difference is said;
    of two counts above 0 the dialect's own stands.

    Args:
        dialect: As in ``reconcile_counts``, and so are the next three.
        convention: What its counts mean.
        found: The counts by name, as reported [tokens].
        repairs: What is said of them already.
        named: What the usage has of ``WHOLE_BY_NAME``, by these names [tokens].

    Returns:
        The counts; None where this dialect's own names have none, or only 0.
    """
    others = {}
    for name, whole in WHOLE_BY_NAME.items():
        if named.get(name) and named[name] != found.get(whole):
            others[whole] = named[name]
    own = found.get("input_tokens"), found.get("output_tokens")
    if own == (None, None) or (others and not any(own)):
        return None
    for whole, other in others.items():
        found[whole] = found.get(whole) or other
    counts = reconcile_counts(dialect, convention, found, repairs)
    said = []
    for whole, other in others.items():
        count = getattr(counts, whole)
        parts = [getattr(counts, part) or 0 for part, of in WHOLE_OF.items() if of == whole]
        if abs(count - other) not in (0, *parts, sum(parts)):
            said.append(f"{whole} {COUNTED_TWICE}, as {count} and {other}; first kept.")
    if not said:
        return counts
    return fill_fields(TokenUsage, vars(counts) | {"repairs": (*counts.repairs, *said)})
