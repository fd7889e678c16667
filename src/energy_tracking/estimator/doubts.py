"""What makes one call less certain than its model and GPU: its tokens and its model's name.

Each doubt is a part of the range, by name. A new one is a row in ``list_doubts``, and a condition
of ``may_be_doubtful``.
"""

from __future__ import annotations

import re

from energy_tracking.estimator.estimate import GRADE_FACTORS
from energy_tracking.profiles.profile import ModelProfile
from energy_tracking.usage.token_usage import TokenUsage

Part = tuple[float, float]

ALL_TOKENS_FROM_TEXT = (0.73, 5.5)
"""Energy by the reported tokens over that by tokens counted from text, 5 and 95 % [1].

Of the recorded calls that report both, to models that show what they generate, by the method with
the wider range. This and the three below are what ``python tests/benchmarks/text_tokens.py
CASSETTES_FOLDER`` prints, rounded outwards to two digits.
"""

ALL_TOKENS_FROM_TEXT_WITHOUT_REASONING = (0.88, 49.0)
"""The same of the calls to models that may reason and not show it [1]."""

OUTPUT_TOKENS_FROM_TEXT = (0.70, 3.2)
"""Output tokens as reported over those counted from text, 5 and 95 %, of the first [1]."""

OUTPUT_TOKENS_FROM_TEXT_WITHOUT_REASONING = (1.0, 55.0)
"""The same of the second [1]."""

HIDES_REASONING = re.compile(
    r"o\d|gpt-[5-9]|codex|gemini-(?!1|2\.0)|grok-(?!1|2|3$|code)|sonar-reasoning|claude-(?!v|\d|i)"
)
"""How the names of the models begin whose servers may count reasoning that a stream leaves out."""

MEDIA_INPUT = (0.9, 1.5)
"""Energy with images or audio among the input over that of as many tokens of text [1]: their
encoder is a model of its own. Images were measured at 1.14, and 1.46 in the 90th percentile.

Source: ML.ENERGY leaderboard v3, image chat against text chat of the same models.
"""

GRADE_OF_RULE = {"mapping": "C", "default": "E"}
"""Grade of a match that rests on what the user said, at best: that a name stands for a model, or
that every unknown name does."""


def may_be_doubtful(usage: TokenUsage, rule: str) -> bool:
    """Whether ``list_doubts`` may name any, of whichever model; of nearly no call it does.

    Args:
        usage: Its tokens.
        rule: How its model's name led to a profile, as in ``ModelMatch.rule``.
    """
    return bool(
        usage.estimated
        or usage.input_image_tokens
        or usage.input_audio_tokens
        or rule in GRADE_OF_RULE
    )


def list_doubts(usage: TokenUsage, model: ModelProfile, rule: str) -> dict[str, Part]:
    """The parts of the range [1] that come from the call itself.

    Args:
        usage: Its tokens.
        model: The profile its model's name led to.
        rule: The rule that led there, as in ``ModelMatch.rule``.
    """
    parts: dict[str, Part] = {}
    if usage.estimated:
        parts["tokens"] = _doubt_tokens(usage, hides_reasoning(model.name))
    if usage.input_image_tokens or usage.input_audio_tokens:
        parts["media"] = MEDIA_INPUT
    if rule in GRADE_OF_RULE and not _is_users_word(model, rule):
        # Whether the name means this model is another question than how well its size is known.
        spread = GRADE_FACTORS[GRADE_OF_RULE[rule]]
        parts["model name"] = (1 / spread, spread)
    return parts


def hides_reasoning(model: str) -> bool:
    """Whether a model of this name may generate reasoning that its text does not show."""
    return HIDES_REASONING.match(model.rpartition("/")[2]) is not None


def _doubt_tokens(usage: TokenUsage, is_hidden: bool) -> Part:
    """How far off tokens counted from text may be.

    Args:
        usage: The tokens.
        is_hidden: Whether reasoning may be missing in the text.
    """
    if "output_tokens" not in usage.estimated:
        # Of the input alone: what is generated costs more than what is read.
        return ALL_TOKENS_FROM_TEXT
    if "input_tokens" in usage.estimated:
        return ALL_TOKENS_FROM_TEXT_WITHOUT_REASONING if is_hidden else ALL_TOKENS_FROM_TEXT
    return OUTPUT_TOKENS_FROM_TEXT_WITHOUT_REASONING if is_hidden else OUTPUT_TOKENS_FROM_TEXT


def grade_match(model: ModelProfile, rule: str) -> str:
    """Grade of a profile for a name that led to it.

    Args:
        model: The profile.
        rule: The rule that led there, as in ``ModelMatch.rule``.
    """
    if rule not in GRADE_OF_RULE or _is_users_word(model, rule):
        return model.grade
    return max(model.grade, GRADE_OF_RULE[rule])


def _is_users_word(model: ModelProfile, rule: str) -> bool:
    """Whether the user mapped a name to a profile of the user's own, which is as the user says."""
    return rule == "mapping" and model.family == "user"
