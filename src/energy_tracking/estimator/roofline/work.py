"""What one request asks of a deployment: tokens, pairs of tokens, FLOPs and experts read.

A pair is a token and one token it attends to. Numbers may be floats or arrays of floats. First
``Work`` and what counts it, which is linear in the tokens and pairs; then the share of experts that
a step reads; then what is done to numbers element by element, whichever library they are arrays
of: a new such operation asks ``find_library``.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol

from energy_tracking.estimator.deployment import Deployment


class Work:
    """What one request asks for; all of its cost is linear in these.

    Attributes:
        input_tokens: Prompt tokens that no cache held [tokens].
        input_pairs: Their pairs [tokens**2].
        output_tokens: Generated tokens [tokens].
        output_pairs: Their pairs [tokens**2].
    """

    __slots__ = ("input_pairs", "input_tokens", "output_pairs", "output_tokens")

    def __init__(
        self, input_tokens: float, input_pairs: float, output_tokens: float, output_pairs: float
    ) -> None:
        self.input_tokens = input_tokens
        self.input_pairs = input_pairs
        self.output_tokens = output_tokens
        self.output_pairs = output_pairs


if TYPE_CHECKING:

    class Counted(Protocol):
        """What counts the tokens and pairs of a request, as ``Work`` does."""

        input_tokens: float
        input_pairs: float
        output_tokens: float
        output_pairs: float


def count_work(
    site: Deployment, input_tokens: float, cached_tokens: float, output_tokens: float
) -> Work:
    """Count the tokens and pairs of a request.

    Args:
        site: The deployment, whose layers say which tokens are attended to.
        input_tokens: Prompt tokens, cached ones included [tokens].
        cached_tokens: Part of the prompt read from a cache [tokens].
        output_tokens: Generated tokens [tokens].
    """
    return Work(
        input_tokens - cached_tokens,
        count_pairs(site, cached_tokens, input_tokens),
        output_tokens,
        count_pairs(site, input_tokens, input_tokens + output_tokens),
    )


def count_pairs(site: Deployment, start: float, stop: float) -> float:
    """Pairs of the tokens at positions ``start`` to ``stop`` [tokens**2].

    The integral of x over full-attention layers, and of min(x, window) over the others,
    each by its share of the layers.

    Args:
        site: The deployment.
        start: Position of the first token [tokens].
        stop: Position after the last token [tokens].
    """
    if type(start) is float and start == 0.0:
        full = stop * stop * 0.5
    else:
        # A difference of squares would lose the small one of two.
        full = (stop - start) * (stop + start) * 0.5
    share = site.windowed_share
    if type(share) is float and share == 0.0:
        return full
    a, b = take_smaller(start, site.window), take_smaller(stop, site.window)
    windowed = (b - a) * (b + a) / 2 + site.window * ((stop - b) - (start - a))
    return full + share * (windowed - full)


def compute_mean_context(work: Work, input_tokens: float) -> float:
    """Tokens that a generated token attends to on average [tokens].

    Args:
        work: The request; where it generates nothing, the prompt is the context.
        input_tokens: Prompt tokens, cached ones included [tokens].
    """
    none = work.output_tokens == 0
    return (work.output_pairs + none * input_tokens) / (work.output_tokens + none)


def count_flops(site: Deployment, work: Counted) -> float:
    """Floating-point operations of one request [FLOP].

    Args:
        site: The deployment.
        work: The request.
    """
    tokens = work.input_tokens + site.samples * work.output_tokens
    pairs = work.input_pairs + site.samples * work.output_pairs
    return site.flops_per_weight * site.active_params * tokens + site.attention_flops * pairs


def compute_experts_read(expert_share: float, sequences: float) -> float:
    """Share of the experts that a step reads for one token of each sequence [1].

    Each token picks its experts independently, so an expert stays unread with
    probability (1 - k/E) per token.

    Args:
        expert_share: Share of the experts that one token uses, k/E [1].
        sequences: Sequences that share the step [1].
    """
    library: Any = None
    if type(expert_share) is float:
        if expert_share == 1.0:
            return 1.0
        if type(sequences) is not float:
            library = find_library(expert_share, sequences)
    unread: float
    if library is None:
        unread = (1.0 - expert_share) ** sequences
    else:
        # The same power, at a third of the cost for an array.
        unread = library.exp(sequences * math.log(1.0 - expert_share))
    return 1.0 - unread


def take_smaller(a: float, b: float) -> float:
    """The smaller of two numbers, element by element.

    Args:
        a: A float or an array of floats.
        b: Another.
    """
    if type(a) is float:
        return take_between(b, -math.inf, a)
    if type(b) is float:
        return take_between(a, -math.inf, b)
    library = find_library(a)
    if library is None:
        return a * (a <= b) + b * (b < a)
    taken: float = library.minimum(a, b)
    return taken


def take_larger(a: float, b: float) -> float:
    """The larger of two numbers, element by element.

    Args:
        a: A float or an array of floats.
        b: Another.
    """
    if type(a) is float:
        return take_between(b, a, math.inf)
    if type(b) is float:
        return take_between(a, b, math.inf)
    library = find_library(a)
    if library is None:
        return a * (a >= b) + b * (b > a)
    taken: float = library.maximum(a, b)
    return taken


def take_between(a: float, least: float, most: float) -> float:
    """A number, or the end of a range that it lies beyond, element by element.

    Args:
        a: A float or an array of floats.
        least: A float; minus infinity: there is no such end.
        most: A float, infinity likewise; where it is less than the other, it counts.
    """
    if type(a) is float:
        if a < least:
            a = least
        return most if a > most else a
    library = find_library(a)
    if library is not None:
        # In a third of the time that numpy takes for the larger of an array and one number.
        taken: float = library.clip(a, least, most)
        return taken
    if least > -math.inf:
        a = a * (a >= least) + least * (a < least)
    return a if most == math.inf else a * (a <= most) + most * (a > most)


def find_library(a: object, b: object = None) -> Any:
    """The library that one or two numbers are arrays of; None where none is, or it does not say.

    numpy says since version 2.

    Args:
        a: A number or an array.
        b: Another.
    """
    find = getattr(a, "__array_namespace__", None) or getattr(b, "__array_namespace__", None)
    return None if find is None else find()
