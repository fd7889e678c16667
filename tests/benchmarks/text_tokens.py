"""How far tokens counted from text are from the tokens a server reports.

    python tests/benchmarks/text_tokens.py CASSETTES_FOLDER

Where a server reports no usage, the library counts the text of the request and of what came back.
Every recorded exchange that does report its usage shows what that is worth: printed are quantiles
of the energy of its reported tokens over that of the tokens counted from its text, and of input
and output tokens alone. Hidden reasoning and what hosted tools find are in the first, not in the
text, hence the slices. "Visible" leaves out every exchange in which the server reports hidden
reasoning, stores a part of the prompt, runs tools of its own, or is sent media.

The constants of ``usage.text`` and ``usage.prompt_text`` are OpenAI's own, published apart from
these exchanges, but for one, ``TOKENS_PER_TOOL_CALL``. The second table leaves out the exchanges
of one repository after the other, fits that one to the others, and shows what it is worth on the
one.

The ranges in ``energy_tracking.estimator.doubts`` are read off the first table.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).parents[1]))

from cassettes import cassette_exchanges
from energy_tracking import TokenUsage
from energy_tracking.calls.call import Call
from energy_tracking.calls.record import CallRequest
from energy_tracking.demo.server import Exchange
from energy_tracking.estimator import METHODS, estimate_usage
from energy_tracking.estimator.doubts import hides_reasoning
from energy_tracking.profiles.files import load_catalogue
from energy_tracking.usage import text
from energy_tracking.usage.dialects import read_usage
from energy_tracking.usage.prompt_text import count_prompt

Array = npt.NDArray[np.float64]

MODEL, GPU = "gpt-4o", "H100"
"""Whose energy is compared; the ratios depend little on it."""

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)

CUT = re.compile(r"\.\.\.\[(\d+) characters removed\]$")
"""How a long text of a recorded request ends."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One exchange, its tokens as reported and as counted from its text.

    Attributes:
        reported: As the server says, as if no cache had been read.
        from_text: As the library counts them where a server says nothing.
        has_tools: Whether the request offers tools.
        has_tool_calls: Whether the response calls any.
        hides_reasoning: Whether the model may reason without showing it.
        is_visible: Whether all that was read and generated is in the exchange, as text.
        repository: Where it was recorded.
    """

    reported: TokenUsage
    from_text: TokenUsage
    has_tools: bool
    has_tool_calls: bool
    hides_reasoning: bool
    is_visible: bool
    repository: str

    def energy_ratio(self, method: str) -> float:
        """Energy of the reported tokens over that of the counted ones [1]."""
        catalogue = load_catalogue()
        model, gpu = catalogue.model(MODEL), catalogue.gpu(GPU)
        if method != "reference":
            model, gpu = catalogue.corrected_model(model), catalogue.corrected_gpu(gpu)
        reported, counted = (
            estimate_usage(usage, model, gpu, method=method).total_energy_joules
            for usage in (self.reported, self.from_text)
        )
        return reported / counted

    def input_ratio(self) -> float:
        """Input tokens as reported over those counted [1]."""
        return self.reported.input_tokens / max(1, self.from_text.input_tokens)

    def output_ratio(self) -> float:
        """Output tokens as reported over those counted [1]."""
        return self.reported.output_tokens / self.from_text.output_tokens


def compare(exchange: Exchange, repository: str) -> Comparison | None:
    """Compare an exchange; None if it failed, generates no text or reports no usage.

    Args:
        exchange: The exchange.
        repository: Where it was recorded.
    """
    if exchange.status != 200:
        return None
    # As of a stream, whose text is counted also where its usage counts the output.
    request = CallRequest(operation="chat", provider="openai", model=None, stream=True)
    # The library's own reader of a call, which is never closed: nothing is recorded.
    call = Call(request, lambda call: None)
    for body in _bodies(exchange):
        call.observe(body)
    usage = read_usage(call.raw_usage)
    if usage is None or not call.text_tokens:
        return None
    prompt = count_prompt(_with_cut_text(exchange.request))
    return Comparison(
        reported=TokenUsage(input_tokens=usage.input_tokens, output_tokens=usage.output_tokens),
        from_text=TokenUsage(
            input_tokens=text.whole_tokens(prompt.text_tokens) + prompt.image_tokens,
            output_tokens=text.whole_tokens(call.text_tokens),
            estimated=("input_tokens", "output_tokens"),
        ),
        has_tools=bool(exchange.request.get("tools")),
        has_tool_calls='"arguments"' in exchange.body,
        hides_reasoning=hides_reasoning(str(exchange.request.get("model"))),
        is_visible=not (usage.reasoning_tokens or prompt.assumptions),
        repository=repository,
    )


def _with_cut_text(value: Any) -> Any:
    """A request with as much text as it had: long texts were cut, and say by how much."""
    if isinstance(value, str):
        cut = CUT.search(value)
        return value if cut is None else value[: cut.start()] + "x" * int(cut[1])
    if isinstance(value, dict):
        return {key: _with_cut_text(below) for key, below in value.items()}
    return [_with_cut_text(below) for below in value] if isinstance(value, list) else value


def _bodies(exchange: Exchange) -> Iterator[Any]:
    """The body, or the data of each event; what is no JSON is left out."""
    bodies = [exchange.body]
    if exchange.request.get("stream"):
        lines = exchange.body.splitlines()
        bodies = [line.removeprefix("data:") for line in lines if line.startswith("data:")]
    for body in bodies:
        try:
            yield json.loads(body)
        except ValueError:
            continue


Ratio = Callable[[Comparison], float]

RATIOS: dict[str, Ratio] = {
    **{f"energy, {method}": partial(Comparison.energy_ratio, method=method) for method in METHODS},
    "input tokens": Comparison.input_ratio,
    "output tokens": Comparison.output_ratio,
}

SLICES: dict[str, Callable[[Comparison], bool]] = {
    "all": lambda each: True,
    "without tools": lambda each: not each.has_tools,
    "with tools": lambda each: each.has_tools,
    "reasoning shown": lambda each: not each.hides_reasoning,
    "reasoning hidden": lambda each: each.hides_reasoning,
    "visible, no tools": lambda each: each.is_visible and not each.has_tools,
    "visible, tools": lambda each: each.is_visible and each.has_tools,
    "visible, tool calls": lambda each: each.is_visible and each.has_tool_calls,
}


def quantiles(comparisons: Sequence[Comparison], ratio: Ratio, label: str) -> Array:
    """Quantiles of a ratio over a slice [1], shape (quantiles,)."""
    inside = SLICES[label]
    return np.quantile([ratio(each) for each in comparisons if inside(each)], QUANTILES)


def read_comparisons(folder: Path) -> list[Comparison]:
    """Every exchange of a folder that can be compared."""
    with (folder / "index.jsonl").open(encoding="utf-8") as index:
        repositories = {row["id"]: row["source_repo"] for row in map(json.loads, index)}
    compared = (compare(each, repositories[each.name]) for each in cassette_exchanges(folder))
    return [each for each in compared if each is not None]


def fit_tool_call(folder: Path) -> tuple[dict[str, tuple[int, float]], int]:
    """Fit the tokens of a tool call without one repository at a time, and with all.

    Returns:
        For each repository with tool calls the constant fitted to the others [tokens] and the
        median of reported over counted output on itself [1]; the constant fitted to all.
    """
    shipped = text.TOKENS_PER_TOOL_CALL
    ratios: dict[int, list[tuple[str, float]]] = {}
    try:
        for constant in range(25):
            text.TOKENS_PER_TOOL_CALL = constant
            ratios[constant] = [
                (each.repository, each.output_ratio())
                for each in read_comparisons(folder)
                if each.is_visible and each.has_tool_calls
            ]
    finally:
        text.TOKENS_PER_TOOL_CALL = shipped

    def median(constant: int, keep: Callable[[str], bool]) -> float:
        return float(np.median([ratio for name, ratio in ratios[constant] if keep(name)]))

    def fit(keep: Callable[[str], bool]) -> int:
        return min(ratios, key=lambda constant: abs(np.log(median(constant, keep))))

    left_out: dict[str, tuple[int, float]] = {}
    for name in sorted({name for name, _ in ratios[shipped]}):
        constant = fit(lambda other, name=name: other != name)  # type: ignore[misc]
        left_out[name] = constant, median(constant, lambda other, name=name: other == name)  # type: ignore[misc]
    return left_out, fit(lambda name: True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="Compare tokens counted from text with reports.")
    parser.add_argument("folder", type=Path, help="folder of recorded exchanges")
    options = parser.parse_args(arguments)
    comparisons = read_comparisons(options.folder)
    if not comparisons:
        print("no exchange reports its usage")
        return 1
    print("reported over counted from text            n" + "".join(f"{q:8.0%}" for q in QUANTILES))
    for name, ratio in RATIOS.items():
        for label, inside in SLICES.items():
            count = sum(inside(each) for each in comparisons)
            if count:
                values = quantiles(comparisons, ratio, label)
                shown = "".join(f"{value:8.2f}" for value in values)
                print(f"{f'{name}, {label}':39s} {count:5d}{shown}")
    left_out, fitted = fit_tool_call(options.folder)
    print(f"\ntokens per tool call: {fitted} fitted to all, {text.TOKENS_PER_TOOL_CALL} shipped")
    for name, (constant, ratio_left_out) in left_out.items():
        print(f"without {name}: {constant}; reported over counted there {ratio_left_out:.2f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
