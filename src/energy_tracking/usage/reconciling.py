"""Counts that disagree are made to agree, and every repair is said.

Providers count the same tokens differently: a prompt's cached tokens and a model's reasoning
stand inside the count of the whole, or beside it. The law, in this order:

1. Where the total is input plus output as the dialect means them, the dialect is right.
2. Else, where some other placement of the parts makes the total add up, that one is right.
3. Else the dialect is right, except that a part greater than its whole stands beside it.
4. A total that is still too high is right only in dialects whose output may be too low; what
   it has more is output, unless the input is zero, or leaves out parts of the prompt.
5. At last, parts are cut to their wholes. A token that is said to be both read from a cache
   and written to it was read.

A further repair is a step here, with the sentence that says it.
"""

from __future__ import annotations

from typing import Any

from energy_tracking.frozen import fill_fields, frozen
from energy_tracking.usage.token_usage import MISSING, WHOLE_OF, TokenUsage

BESIDE_INPUT = "beside_input"
"""Name among the counts: prompt tokens that a server keeps out of its input count."""

PARTLY_COUNTED = "partly_counted"
"""Name among the counts: above zero where a prompt has parts that its input count leaves out."""

ALSO_COUNTED = "also_counted"
"""Name among the counts: above zero where input or output are counted by other names, too."""


@frozen(kw_only=True)
class Convention:
    """What the counts of a dialect mean.

    Attributes:
        cache_outside: The input count leaves out cached and cache-written tokens.
        reasoning_outside: The output count leaves out the reasoning.
        needs_input: An absent input count is a fault; else the total is the input.
        needs_output: An absent output count is a fault; else nothing was generated.
        total_rules: A total above input plus output is right, and the output too low:
            servers that copy OpenAI's names may leave the reasoning out of the output.
    """

    cache_outside: bool = False
    reasoning_outside: bool = False
    needs_input: bool = True
    needs_output: bool = True
    total_rules: bool = False


@frozen()
class _Placement:
    """Which parts stand beside the count of their whole, and not inside."""

    cached: bool = False
    written: bool = False
    reasoning: bool = False
    same: bool = False
    """Outside, the tokens written to the cache and those read from it are the same."""


_PLACEMENTS = (
    _Placement(),
    _Placement(reasoning=True),
    _Placement(cached=True, written=True),
    _Placement(cached=True, written=True, reasoning=True),
    _Placement(cached=True),
    _Placement(written=True),
    _Placement(cached=True, reasoning=True),
    _Placement(written=True, reasoning=True),
    _Placement(cached=True, written=True, same=True),
    _Placement(cached=True, written=True, reasoning=True, same=True),
)
"""Every way to place the parts, the likelier of two with the same total first."""


def reconcile_counts(
    dialect: str, convention: Convention, found: dict[str, int], repairs: list[str]
) -> TokenUsage:
    """Bring one dialect's counts to the meaning of ``TokenUsage``, and make them agree.

    Args:
        dialect: Name of the dialect.
        convention: What its counts mean.
        found: The counts by name, as reported [tokens]; changed in place.
        repairs: What is said of them already; sentences are added.
    """
    if not repairs and _agree_as_they_are(convention, found):
        values: dict[str, Any] = _NO_COUNTS | found
        values["dialect"] = dialect
        return fill_fields(TokenUsage, values)
    beside_input = found.pop(BESIDE_INPUT, 0)
    cache_outside, reasoning_outside = convention.cache_outside, convention.reasoning_outside
    # Two counts that are equal to the token are one, reported twice.
    same = found.get("cached_input_tokens") == found.get("cache_write_input_tokens")
    usual = _Placement(cache_outside, cache_outside, reasoning_outside, same)
    _fill_missing(found, convention, beside_input, usual, repairs)
    found["input_tokens"] += beside_input
    placement = _place_parts(found, usual)
    beside = _outside(found, placement)
    found["input_tokens"] += beside[0]
    found["output_tokens"] += beside[1]
    repairs += _describe_moves(found, usual, placement)
    _check_total(found, convention, repairs)
    _cut_parts(found, repairs)
    return TokenUsage(**found, dialect=dialect, repairs=tuple(repairs), estimated=())


_NO_COUNTS = vars(TokenUsage())


def _agree_as_they_are(convention: Convention, found: dict[str, int]) -> bool:
    """Whether there is nothing to fill in, to place or to cut, as nearly always."""
    get = found.get
    inputs, outputs = get("input_tokens"), get("output_tokens")
    if inputs is None or outputs is None:
        return False
    total = get("total_tokens")
    if total is not None and total != inputs + outputs:
        return False
    cache = get("cached_input_tokens", 0) + get("cache_write_input_tokens", 0)
    if cache and (cache > inputs or convention.cache_outside):
        return False
    reasoning = get("reasoning_tokens")
    if reasoning and (reasoning > outputs or convention.reasoning_outside):
        return False
    if _OTHERS.isdisjoint(found):
        return True
    if BESIDE_INPUT in found or PARTLY_COUNTED in found:
        return False
    for part, whole in _OTHER_PARTS.items():  # noqa: SIM110  a generator takes twice as long
        if get(part, 0) > found[whole]:
            return False
    return True


_OTHER_PARTS = {
    part: whole
    for part, whole in WHOLE_OF.items()
    if part not in ("cached_input_tokens", "cache_write_input_tokens", "reasoning_tokens")
}
_OTHERS = frozenset({*_OTHER_PARTS, BESIDE_INPUT, PARTLY_COUNTED})


def _fill_missing(
    found: dict[str, int],
    convention: Convention,
    beside_input: int,
    usual: _Placement,
    repairs: list[str],
) -> None:
    """Give input and output a count: the rest of the total, or 0."""
    outputs = found.get("output_tokens")
    if outputs is not None and found.get("reasoning_tokens", 0) > outputs:
        usual = fill_fields(_Placement, vars(usual) | {"reasoning": True})
    unassigned = found.get("total_tokens", 0) - beside_input - sum(_outside(found, usual))
    if found.get("input_tokens") == 0 and unassigned > (outputs or 0):
        # No call is without a prompt: the rest of the total is that, and not more output.
        del found["input_tokens"]
    for name, other, is_needed in (
        ("input", "output", convention.needs_input),
        ("output", "input", convention.needs_output),
    ):
        key = f"{name}_tokens"
        if key not in found:
            rest = max(0, unassigned - found.get(f"{other}_tokens", 0))
            is_fault = is_needed or (convention.total_rules and name == "output" and rest > 0)
            found[key] = rest if is_fault or name == "input" else 0
            if is_fault:
                repairs.append(f"The {name} {MISSING}; read as {found[key]}.")


def _outside(found: dict[str, int], placement: _Placement) -> tuple[int, int]:
    """Tokens that stand beside input and output."""
    cached = found.get("cached_input_tokens", 0) if placement.cached else 0
    written = found.get("cache_write_input_tokens", 0) if placement.written else 0
    beside_input = max(cached, written) if placement.same else cached + written
    return beside_input, found.get("reasoning_tokens", 0) if placement.reasoning else 0


def _place_parts(found: dict[str, int], usual: _Placement) -> _Placement:
    """Decide which parts stand outside: by the sums, by the dialect, by their sizes."""
    cached = found.get("cached_input_tokens", 0)
    written = found.get("cache_write_input_tokens", 0)
    reasoning = found.get("reasoning_tokens", 0)
    if not cached and not written and not reasoning:
        return usual
    inputs, outputs = found["input_tokens"], found["output_tokens"]
    # Tokens generated cost energy, so reasoning is never cut.
    if reasoning > outputs:
        usual = fill_fields(_Placement, vars(usual) | {"reasoning": True})
    total = found.get("total_tokens")

    def adds_up(placement: _Placement) -> bool:
        return total == inputs + outputs + sum(_outside(found, placement))

    if total is not None:
        if adds_up(usual):
            return usual
        for placement in _PLACEMENTS:
            fits = (
                (placement.cached or cached <= inputs)
                and (placement.written or written <= inputs)
                and (placement.reasoning or reasoning <= outputs)
            )
            if fits and adds_up(placement):
                return placement
    if max(cached, written) > inputs:
        return fill_fields(_Placement, vars(usual) | {"cached": True, "written": True})
    return usual


def _describe_moves(found: dict[str, int], usual: _Placement, placement: _Placement) -> list[str]:
    """What to say of parts that are not where the dialect has them."""
    said = []
    for part, whole, was, now in (
        ("cached_input_tokens", "input_tokens", usual.cached, placement.cached),
        ("cache_write_input_tokens", "input_tokens", usual.written, placement.written),
        ("reasoning_tokens", "output_tokens", usual.reasoning, placement.reasoning),
    ):
        if was != now and found.get(part):
            side = "beside" if now else "inside"
            said.append(f"{found[part]} {part} are {side} the rest; {whole} are {found[whole]}.")
    return said


def _check_total(found: dict[str, int], convention: Convention, repairs: list[str]) -> None:
    total = found.get("total_tokens")
    counted = found["input_tokens"] + found["output_tokens"]
    raised = "input" if found.pop(PARTLY_COUNTED, 0) else "output"
    if total is None or total == counted:
        return
    if total > counted and convention.total_rules:
        found[f"{raised}_tokens"] += total - counted
        repairs.append(
            f"The total has {total - counted} tokens beside input and output; "
            f"{raised} raised to {found[f'{raised}_tokens']}."
        )
    else:
        repairs.append(f"The total is {total}, input and output are {counted}; kept.")


def _cut_parts(found: dict[str, int], repairs: list[str]) -> None:
    """Leave no part above its whole, and no token both cached and cache-written."""
    for part, whole in WHOLE_OF.items():
        if found.get(part, 0) > found[whole]:
            repairs.append(f"{found[part]} {part} exceed their whole; cut to {found[whole]}.")
            found[part] = found[whole]
    not_cached = found["input_tokens"] - found.get("cached_input_tokens", 0)
    if found.get("cache_write_input_tokens", 0) > not_cached:
        repairs.append(
            f"{found['cache_write_input_tokens']} cache_write_input_tokens are cached ones, too; "
            f"cut to {not_cached}."
        )
        found["cache_write_input_tokens"] = not_cached
