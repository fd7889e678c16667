"""What makes one call less certain than its model and GPU: its tokens and its model's name.

Each doubt is a part of the range, by name. A new one is a row in ``list_doubts``.
"""

from __future__ import annotations

from energy_tracking.estimator.estimate import GRADE_FACTORS
from energy_tracking.profiles.profile import ModelProfile
from energy_tracking.usage.dialects import TokenUsage

Part = tuple[float, float]

ALL_TOKENS_FROM_TEXT = (0.9, 40.0)
"""Energy by the reported tokens over that by tokens counted from text, 5 and 95 % [1].

Of 643 recorded calls that report both (``tests/benchmarks/text_tokens.py`` prints it). Schemas of
tools and hidden reasoning are not in the text.
"""

OUTPUT_TOKENS_FROM_TEXT = (0.8, 5.0)
"""The same where the output alone was counted from text, of calls without tools [1]."""

MEDIA_INPUT = (0.9, 1.5)
"""Energy with images or audio among the input over that of as many tokens of text [1]: their
encoder is a model of its own. Images were measured at 1.14, and 1.46 in the 90th percentile.

Source: ML.ENERGY leaderboard v3, image chat against text chat of the same models.
"""

GRADE_OF_RULE = {"mapping": "C", "default": "E"}
"""Grade of a match that rests on what the user said, at best: that a name stands for a model, or
that every unknown name does."""


def list_doubts(usage: TokenUsage, model: ModelProfile, rule: str) -> dict[str, Part]:
    """The parts of the range [1] that come from the call itself.

    Args:
        usage: Its tokens.
        model: The profile its model's name led to.
        rule: The rule that led there, as in ``ModelMatch.rule``.
    """
    parts: dict[str, Part] = {}
    if "input_tokens" in usage.estimated:
        parts["tokens"] = ALL_TOKENS_FROM_TEXT
    elif "output_tokens" in usage.estimated:
        parts["tokens"] = OUTPUT_TOKENS_FROM_TEXT
    if usage.input_image_tokens or usage.input_audio_tokens:
        parts["media"] = MEDIA_INPUT
    if rule in GRADE_OF_RULE and not _is_users_word(model, rule):
        # Whether the name means this model is another question than how well its size is known.
        spread = GRADE_FACTORS[GRADE_OF_RULE[rule]]
        parts["model name"] = (1 / spread, spread)
    return parts


def grade_match(model: ModelProfile, rule: str) -> str:
    """Grade of a profile for a name that led to it.

    Args:
        model: The profile.
        rule: The rule that led there, as in ``ModelMatch.rule``.
    """
    if _is_users_word(model, rule):
        return model.grade
    return max(model.grade, GRADE_OF_RULE.get(rule, "A"))


def _is_users_word(model: ModelProfile, rule: str) -> bool:
    """Whether the user mapped a name to a profile of the user's own, which is as the user says."""
    return rule == "mapping" and model.family == "user"
