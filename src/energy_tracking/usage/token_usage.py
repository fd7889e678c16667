"""Tokens of one call, whoever reported them: the one meaning that every dialect is brought to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import attrgetter

from energy_tracking.frozen import frozen

MAX_TOKENS = 1_000_000_000
"""Above this a count is a mistake [tokens]; no model takes or gives as much in one call."""

MISSING = "count is missing"
"""What the repair of an absent input or output count says."""

COUNTED_TWICE = "are counted twice"
"""What is said of tokens with two counts that differ."""


@frozen()
class TokenUsage:
    """Tokens of one call, each count a whole number >= 0 inside its whole.

    Attributes:
        input_tokens: The whole prompt: cached and cache-written tokens, audio, images
            and the prompts of server-side tools included.
        cached_input_tokens: Part of ``input_tokens``, read from a prompt cache.
        cache_write_input_tokens: Part of ``input_tokens``, written to a prompt cache;
            no token is both cached and cache-written.
        output_tokens: Everything generated: reasoning, audio, images, and predicted
            tokens whether accepted or rejected included.
        reasoning_tokens: Part of ``output_tokens``; None if the server did not say.
        input_audio_tokens: Part of ``input_tokens``.
        input_image_tokens: Part of ``input_tokens``.
        output_audio_tokens: Part of ``output_tokens``.
        output_image_tokens: Part of ``output_tokens``.
        accepted_prediction_tokens: Part of ``output_tokens``.
        rejected_prediction_tokens: Part of ``output_tokens``.
        total_tokens: As reported, right or wrong; None if the server did not say.
        dialect: Name of the row of ``DIALECTS`` that read the counts.
        repairs: What was wrong and what was done about it, one sentence each.
        estimated: Names of the counts that were estimated from text, not reported.
    """

    input_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_input_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int | None = None
    input_audio_tokens: int = 0
    input_image_tokens: int = 0
    output_audio_tokens: int = 0
    output_image_tokens: int = 0
    accepted_prediction_tokens: int = 0
    rejected_prediction_tokens: int = 0
    total_tokens: int | None = None
    dialect: str = ""
    repairs: tuple[str, ...] = ()
    estimated: tuple[str, ...] = ()

    @property
    def uncached_input_tokens(self) -> int:
        """Tokens of the prompt that had to be computed [tokens]."""
        return self.input_tokens - self.cached_input_tokens

    @property
    def holds_together(self) -> bool:
        """Whether each count is a whole number inside its whole, as all that are read are."""
        reasoning = 0 if self.reasoning_tokens is None else self.reasoning_tokens
        total = 0 if self.total_tokens is None else self.total_tokens
        for whole, *parts in (_INPUTS(self), (*_OUTPUTS(self), reasoning), (total,)):
            if type(whole) is not int or not 0 <= whole <= MAX_TOKENS:
                return False
            for part in parts:
                if type(part) is not int or not 0 <= part <= whole:
                    return False
        return True

    @property
    def fault(self) -> str | None:
        """Why input or output may be wrong: what was repaired, where one of them was missing."""
        repairs = self.repairs
        if not repairs or not any(MISSING in repair for repair in repairs):
            return None
        return "usage: " + " ".join(repairs)


WHOLE_OF: Mapping[str, str] = {
    "cached_input_tokens": "input_tokens",
    "cache_write_input_tokens": "input_tokens",
    "input_audio_tokens": "input_tokens",
    "input_image_tokens": "input_tokens",
    "reasoning_tokens": "output_tokens",
    "output_audio_tokens": "output_tokens",
    "output_image_tokens": "output_tokens",
    "accepted_prediction_tokens": "output_tokens",
    "rejected_prediction_tokens": "output_tokens",
}
"""Each part in a ``TokenUsage`` and the count that contains it."""


def _read_whole_and_parts(whole: str) -> Callable[[TokenUsage], tuple[int, ...]]:
    """Reads a count, and the parts of it that every server is taken to have stated."""
    parts = [part for part, of in WHOLE_OF.items() if of == whole and part != "reasoning_tokens"]
    return attrgetter(whole, *parts)


_INPUTS = _read_whole_and_parts("input_tokens")
_OUTPUTS = _read_whole_and_parts("output_tokens")


# What a usage is that holds no counts by name, whatever its server means by it.
_WRONG_KINDS: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (bool, "a boolean"),
    ((int, float), "a number"),
    ((str, bytes), "a string"),
    ((list, tuple, set, frozenset), "a list"),
)


def wrong_kind_of(usage: object) -> str | None:
    """What a usage is that cannot hold counts, as in "a list"; None where it could."""
    return next((what for kind, what in _WRONG_KINDS if isinstance(usage, kind)), None)


def explain_no_counts(usage: object) -> str:
    """Why no counts can be read out of a usage."""
    what = wrong_kind_of(usage)
    return "no token counts in the usage" if what is None else f"usage is {what}, not an object"
