"""Measure an NVIDIA GPU at work: joules per token by shape and batch, prefill and decode apart.

**Not yet run on hardware**: there was no GPU where it was written. Its parts are tested against a
server and a meter on the loopback. Whoever has a GPU runs, beside a vLLM server of their own::

    pip install '.[openai,servers,nvml]'
    vllm serve Qwen/Qwen3-8B --no-enable-prefix-caching
    PYTHONPATH=src python tests/benchmarks/gpu_measure.py --model Qwen/Qwen3-8B --gpu H100

For each shape (prompt x answer) and each number of requests at a time it sends ``--rounds``
requests for each of these, and reads the board's counter before and behind them. Answers of one
token are prefill alone, prompts of 16 tokens nearly decode alone. Beside each number is the
estimate with the batch known. The rows, written with ``--csv``, have the names of the columns that
``fit.py`` reads.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from openai import AsyncOpenAI

from energy_tracking.calls.record import Alternative
from energy_tracking.estimation import Estimation
from energy_tracking.servers.counters import EnergyReading, count_between
from energy_tracking.servers.meters import read_energy, read_meter_address
from energy_tracking.settings import Settings
from energy_tracking.usage.token_usage import TokenUsage

SHAPES = ((1000, 1), (4000, 1), (16_000, 1), (16, 500), (1000, 500), (4000, 500), (16_000, 500))
"""Prompt and answer [tokens]."""
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128)
"""Requests at a time [1]."""
SETTLE_SECONDS = 1.0
"""How long the board rests before a reading [s]: its counter is updated every 0.1 s or so."""


@dataclass
class Row:
    """One point of the grid."""

    model: str
    gpu: str
    n_gpus: int
    batch: int
    mean_input_tokens: float
    mean_output_tokens: float
    energy_J_per_request: float
    energy_J_per_output_token: float
    avg_power_W: float
    throughput: float
    estimated_J_per_request: float
    measured_over_estimated: float
    is_complete: bool


Ask = Callable[[str, int], Any]
"""Prompt, tokens of the answer -> awaitable usage: prompt and completion tokens."""


def make_prompt(tokens: int, chance: random.Random) -> str:
    """A prompt of about so many tokens, which no cache of prefixes has.

    Args:
        tokens: Its length [tokens].
        chance: Of its words.
    """
    words = ("red", "blue", "one", "two", "cat", "dog", "sun", "sea", "old", "new")
    return " ".join(chance.choice(words) for _ in range(max(1, tokens)))


async def send_all(
    ask: Ask, shape: tuple[int, int], batch: int, rounds: int, chance: random.Random
) -> list[tuple[int, int]]:
    """Send requests of one shape, so many at a time; returns the tokens of each.

    Args:
        ask: Sends one.
        shape: Prompt and answer [tokens].
        batch: Requests at a time [1].
        rounds: Requests for each of these [1].
        chance: Of the prompts.
    """

    async def worker() -> list[tuple[int, int]]:
        return [await ask(make_prompt(shape[0], chance), shape[1]) for _ in range(rounds)]

    found = await asyncio.gather(*[worker() for _ in range(batch)])
    return [one for each in found for one in each]


async def measure_point(
    ask: Ask,
    read: Callable[[], EnergyReading],
    estimation: Estimation,
    model: str,
    shape: tuple[int, int],
    batch: int,
    rounds: int,
    rest: float = SETTLE_SECONDS,
) -> Row:
    """Measure one point of the grid.

    Args:
        ask: Sends one request.
        read: Reads the meter.
        estimation: What estimates.
        model: The model.
        shape: Prompt and answer [tokens].
        batch: Requests at a time [1].
        rounds: Requests for each of these [1].
        rest: How long the board rests before [s].
    """
    chance = random.Random(hash((shape, batch)))
    await send_all(ask, shape, batch, 1, chance)  # graphs are captured, caches are filled
    await asyncio.sleep(rest)
    before, began = read(), time.perf_counter()
    usages = await send_all(ask, shape, batch, rounds, chance)
    seconds = time.perf_counter() - began
    after = read()
    counted = count_between(before, after)
    requests = len(usages)
    prompt = sum(one for one, _ in usages) / requests
    answer = sum(one for _, one in usages) / requests
    usage = TokenUsage(dialect="chat", input_tokens=round(prompt), output_tokens=round(answer))
    other = Alternative(method="roofline", sequences=batch)
    estimate = estimation.estimate_as(model, model, usage, other).estimate
    estimated = float("nan") if estimate is None else estimate.total_energy_joules
    each = counted.joules / requests
    return Row(
        model=model,
        gpu=estimation.settings.gpu,
        n_gpus=len(after.devices),
        batch=batch,
        mean_input_tokens=prompt,
        mean_output_tokens=answer,
        energy_J_per_request=each,
        energy_J_per_output_token=each / answer if answer else float("nan"),
        avg_power_W=counted.joules / (after.at - before.at),
        throughput=answer * requests / seconds,
        estimated_J_per_request=estimated,
        measured_over_estimated=each / estimated,
        is_complete=counted.is_complete,
    )


def make_ask(client: AsyncOpenAI, model: str) -> Ask:
    """What sends requests to an OpenAI-compatible server, answers of a length that is kept.

    Args:
        client: Of the server.
        model: The model.
    """

    async def ask(prompt: str, tokens: int) -> tuple[int, int]:
        answer = await client.chat.completions.create(
            model=model,
            messages=[{"role": "user", "content": prompt}],
            max_tokens=tokens,
            extra_body={"ignore_eos": True},
        )
        if answer.usage is None:
            raise SystemExit("the server reports no usage")
        return answer.usage.prompt_tokens, answer.usage.completion_tokens

    return ask


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the grid, and print a row for each point."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--base-url", default="http://127.0.0.1:8000/v1")
    parser.add_argument("--energy", default="nvml", help="the meter, as energy_meter has it")
    parser.add_argument("--model", required=True)
    parser.add_argument("--gpu", default="H100")
    parser.add_argument("--batches", type=int, nargs="*", default=BATCHES)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--rest", type=float, default=SETTLE_SECONDS)
    parser.add_argument("--csv", help="file for the rows")
    given = parser.parse_args(arguments)
    estimation = Estimation(Settings.load({"gpu": given.gpu}))
    address = read_meter_address(given.energy)

    async def measure_all() -> list[Row]:
        async with AsyncOpenAI(
            base_url=given.base_url, api_key="none", timeout=600, max_retries=0
        ) as client:
            return await measure_grid(make_ask(client, given.model))

    async def measure_grid(ask: Ask) -> list[Row]:
        rows = []
        for shape in SHAPES:
            for batch in given.batches:
                row = await measure_point(
                    ask,
                    lambda: read_energy(address),
                    estimation,
                    given.model,
                    shape,
                    batch,
                    given.rounds,
                    given.rest,
                )
                rows.append(row)
                print(
                    f"{row.mean_input_tokens:7.0f} x {row.mean_output_tokens:4.0f}  batch {batch:4}"
                    f"  {row.energy_J_per_request:9.3g} J  {row.avg_power_W:6.0f} W"
                    f"  measured / estimated {row.measured_over_estimated:.2f}"
                )
        return rows

    rows = asyncio.run(measure_all())
    if given.csv:
        with open(given.csv, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, [one.name for one in fields(Row)])
            writer.writeheader()
            writer.writerows(map(asdict, rows))
    if not all(row.is_complete for row in rows):
        sys.exit("some rows are not whole: the meter's counter began anew")


if __name__ == "__main__":
    main()
