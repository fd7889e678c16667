"""What is known of how one call was served, beside its tokens: the server's clock, its batch.

Most calls have nothing of it, and carry None in place of a value here. A further fact is a field.
"""

from __future__ import annotations

from typing import NamedTuple


class ServingEvidence(NamedTuple):
    """What was seen of the server while it served one call; None: nothing was.

    Attributes:
        tokens_per_second: Rate at which the visible output of a stream arrived here [tokens/s].
    """

    tokens_per_second: float | None = None
