"""How far tokens counted from text are from the tokens a server reports.

    python tests/benchmarks/text_tokens.py CASSETTES_FOLDER

Where a server reports no usage, the library counts the characters of the request and of what
came back. Every recorded exchange that does report its usage shows what that is worth: printed
are quantiles of the energy of its reported tokens over that of the tokens counted from its text,
and of the output tokens alone. Schemas of tools and hidden reasoning are in the first, not in
the text, hence the slices.

The ranges in ``energy_tracking.estimator.doubts`` are read off this table.
"""

from __future__ import annotations

import argparse
import json
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
from energy_tracking.calls.call import Call, tokens_in
from energy_tracking.calls.record import CallRequest
from energy_tracking.demo.server import Exchange
from energy_tracking.estimator import METHODS, estimate_usage
from energy_tracking.profiles.files import load_catalogue
from energy_tracking.usage.dialects import read_usage
from energy_tracking.usage.payloads import prompt_characters

Array = npt.NDArray[np.float64]

MODEL, GPU = "gpt-4o", "H100"
"""Whose energy is compared; the ratios depend little on it."""

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True, slots=True)
class Comparison:
    """One exchange, its tokens as reported and as counted from its text.

    Attributes:
        reported: As the server says, as if no cache had been read.
        from_text: As the library counts them where a server says nothing.
        has_tools: Whether the request offers tools.
    """

    reported: TokenUsage
    from_text: TokenUsage
    has_tools: bool

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

    def output_ratio(self) -> float:
        """Output tokens as reported over those counted [1]."""
        return self.reported.output_tokens / self.from_text.output_tokens


def compare(exchange: Exchange) -> Comparison | None:
    """Compare an exchange; None if it failed, generates no text or reports no usage."""
    if exchange.status != 200:
        return None
    request = CallRequest(operation="chat", provider="openai", model=None)
    # The library's own reader of a call, which is never closed: nothing is recorded.
    call = Call(request, lambda call: None)
    for body in _bodies(exchange):
        call.observe(body)
    usage = read_usage(call.raw_usage)
    if usage is None or not call.characters:
        return None
    return Comparison(
        reported=TokenUsage(input_tokens=usage.input_tokens, output_tokens=usage.output_tokens),
        from_text=TokenUsage(
            input_tokens=tokens_in(prompt_characters(exchange.request)),
            output_tokens=tokens_in(call.characters),
            estimated=("input_tokens", "output_tokens"),
        ),
        has_tools=bool(exchange.request.get("tools")),
    )


def _bodies(exchange: Exchange) -> Iterator[Any]:
    """The body, or the data of each event; what is no JSON is left out."""
    texts = [exchange.body]
    if exchange.request.get("stream"):
        lines = exchange.body.splitlines()
        texts = [line.removeprefix("data:") for line in lines if line.startswith("data:")]
    for text in texts:
        try:
            yield json.loads(text)
        except ValueError:
            continue


Ratio = Callable[[Comparison], float]

RATIOS: dict[str, Ratio] = {
    **{f"energy, {method}": partial(Comparison.energy_ratio, method=method) for method in METHODS},
    "output tokens": Comparison.output_ratio,
}

SLICES: dict[str, Callable[[Comparison], bool]] = {
    "all": lambda each: True,
    "without tools": lambda each: not each.has_tools,
    "with tools": lambda each: each.has_tools,
}


def quantiles(comparisons: Sequence[Comparison], ratio: Ratio, label: str) -> Array:
    """Quantiles of a ratio over a slice [1], shape (quantiles,)."""
    inside = SLICES[label]
    return np.quantile([ratio(each) for each in comparisons if inside(each)], QUANTILES)


def read_comparisons(folder: Path) -> list[Comparison]:
    """Every exchange of a folder that can be compared."""
    return [found for each in cassette_exchanges(folder) if (found := compare(each)) is not None]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Compare tokens counted from text with reports.")
    parser.add_argument("folder", type=Path, help="folder of recorded exchanges")
    options = parser.parse_args(arguments)
    comparisons = read_comparisons(options.folder)
    if not comparisons:
        print("no exchange reports its usage")
        return 1
    print("reported over counted from text       n" + "".join(f"{q:8.0%}" for q in QUANTILES))
    for name, ratio in RATIOS.items():
        for label, inside in SLICES.items():
            count = sum(inside(each) for each in comparisons)
            if count:
                values = quantiles(comparisons, ratio, label)
                shown = "".join(f"{value:8.2f}" for value in values)
                print(f"{f'{name}, {label}':34s} {count:5d}{shown}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
