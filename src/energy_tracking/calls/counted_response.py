"""A response that was counted, and what tells it from another one: see the law in ``counted``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from time import perf_counter

from energy_tracking.calls.record import CallRecord
from energy_tracking.calls.response_times import is_believed
from energy_tracking.calls.span_places import SpanPlace
from energy_tracking.usage.names import UNIQUE_ID_LENGTH, is_unique_id
from energy_tracking.usage.token_usage import TokenUsage

UNIQUE_ID_SYMBOLS = 6
"""Different characters at the end of an id that is one of a kind, at least [1]: of 20 drawn
hexadecimal digits it has fewer once in two million times, a UUID of zeros has one."""

# As in gpt-4o-2024-08-06, gpt-4-0613, claude-sonnet-4@20250514, mistral-small-latest.
_DATE = re.compile(r"[-@](\d{4}-?\d{2}-?\d{2}|\d{4}|latest)$")


NOBODY: frozenset[str] = frozenset()


class CountedResponse:
    """A response that was counted, or that needs none since it was only fetched.

    Attributes:
        response_id: Its id, clipped; None where it has none.
        models: What its model may be called.
        tokens: Its input and output; None where they are not known exactly.
        created: When it was made, by its own account [s since the epoch], if it says so.
        is_of_a_client: Whether a tracked client was answered with it.
        at: When it was counted, by ``perf_counter`` [s].
        reporters: The instrumentations that have reported the call, each once.
        record: The call; None of a response that was only fetched.
        place: Where the span is that it was counted from; None where it was from none.
        is_id_used_again: Whether the id came with other tokens before.
    """

    __slots__ = (
        "at",
        "created",
        "is_id_used_again",
        "is_of_a_client",
        "models",
        "place",
        "record",
        "reporters",
        "response_id",
        "tokens",
    )

    def __init__(
        self,
        response_id: str | None,
        models: frozenset[str],
        tokens: tuple[int, int] | None,
        created: float | None,
        is_of_a_client: bool = False,
        at: float | None = None,
        reporters: frozenset[str] = NOBODY,
        record: CallRecord | None = None,
        place: SpanPlace | None = None,
    ) -> None:
        self.response_id = response_id
        self.models = models
        self.tokens = tokens
        self.created = created
        self.is_of_a_client = is_of_a_client
        self.at = perf_counter() if at is None else at
        self.reporters = reporters
        self.record = record
        self.place = place
        self.is_id_used_again = False

    def is_found_by_id(self) -> bool:
        """Whether its id is enough to find it, as far as is known: it came with no other tokens."""
        return is_unique_id(self.response_id) and not self.is_id_used_again

    def has_unique_id(self) -> bool:
        """Whether its id is of this response alone."""
        drawn = (self.response_id or "")[-UNIQUE_ID_LENGTH:]
        return self.is_found_by_id() and len(set(drawn)) >= UNIQUE_ID_SYMBOLS

    def may_be_reported_from(self, place: SpanPlace, *, has_its_id: bool) -> bool:
        """Whether a span may report this call, as far as this one's place is known.

        Args:
            place: Where the span is.
            has_its_id: Whether it has this call's id.
        """
        if self.place is None:
            return place.may_follow(self.at)
        return place.may_report(self.place, self.at, has_its_id=has_its_id)

    def agrees_with(self, models: Iterable[str | None], tokens: tuple[int, int]) -> bool:
        """Whether nothing that both sides know speaks against their being one response.

        Args:
            models: Names of the model that the other side knows.
            tokens: Input and output tokens that the other side knows [1].
        """
        named = {model for model in models if model is not None}
        same_model = not (named and self.models) or not named.isdisjoint(self.models)
        return same_model and self.tokens in (None, tokens)

    def is_of_the_time(self, created: float | None) -> bool:
        """Whether it was made at this time [s since the epoch], as far as both are known."""
        return None in (self.created, created) or self.created == created

    def says_its_time(self, created: float | None) -> bool:
        """Whether both sides say when it was made, and are believed.

        Args:
            created: What the other side says [s since the epoch].
        """
        return is_believed(self.created) and is_believed(created)

    def is_surely(self, other: CountedResponse) -> bool:
        """Whether two responses with one id are the same one, though such an id is used again.

        Args:
            other: What is known of the other.
        """
        if self.is_found_by_id() and self.response_id == other.response_id:
            return True
        says_its_time = None not in (self.created, other.created)
        return (
            self.is_of_the_time(other.created)
            and (other.tokens is None or self.agrees_with(other.models, other.tokens))
            and (says_its_time or None not in (self.tokens, other.tokens))
        )

    def may_be(self, models: Iterable[str | None], tokens: tuple[int, int]) -> bool:
        """Whether a report with this one's id may be one of it.

        A report may name the model that was asked for or the one that answered, and may lack a
        count, which is then zero.

        Args:
            models: Names of the model in the report.
            tokens: Input and output tokens in the report [1].
        """
        named = {_family_of(model) for model in models if model is not None}
        known = {_family_of(model) for model in self.models}
        same_model = not (named and known) or not named.isdisjoint(known)
        counts = zip(self.tokens or (0, 0), tokens, strict=True)
        return same_model and all(one == other or 0 in (one, other) for one, other in counts)


def exact_tokens(usage: TokenUsage | None) -> tuple[int, int] | None:
    """Input and output as the server reported them."""
    if usage is None or usage.estimated:
        return None
    return usage.input_tokens, usage.output_tokens


def _family_of(model: str) -> str:
    """A model's name without the provider in front of it and the date behind it."""
    return _DATE.sub("", model.lower().rpartition("/")[2])
