"""Request traces of inference services: token counts and times, no texts, seldom a model."""

from __future__ import annotations

from typing import Any

from energy_tracking.logs.formats.base import Document, LogFile, LogFormat, keys, text
from energy_tracking.logs.formats.counts import check_wholes, usage_of, whole
from energy_tracking.logs.logged import Counts, LoggedCall, time_of

MOONCAKE_BLOCK = 512
"""Tokens in a block of a Mooncake trace [tokens]."""
QWEN_BLOCK = 16
"""Tokens in a block of a Qwen-Bailian trace [tokens]."""
LARGEST_BLOCK_ID = 1 << 31


_MODELS = keys("model", "Model", "MODEL")
AZURE_PROVIDER = "azure.ai.openai"
AZURE_COLUMNS = {"input": "ContextTokens", "output": "GeneratedTokens", "time": "TIMESTAMP"}
"""What a column is -> its name."""


def _read_counts(inputs: object, outputs: object) -> Counts | None:
    check_wholes({"input": inputs, "output": outputs})
    return usage_of(whole(inputs), whole(outputs))


def _read_azure(row: Document, file: LogFile) -> list[LoggedCall] | None:
    if len(row) > len(AZURE_COLUMNS) and not _MODELS.isdisjoint(row):
        return None  # somebody has added to the trace what it lacks
    usage = _read_counts(row["ContextTokens"], row["GeneratedTokens"])
    if usage is None:
        return None
    time = time_of(row.get("TIMESTAMP") or row.get("Timestamp"))
    return [LoggedCall(provider=AZURE_PROVIDER, counts=usage, time=time)]


class _Blocks:
    """Blocks of prompts that were seen, as bits: their ids count up from 0."""

    def __init__(self) -> None:
        self._bits = bytearray()

    def count_leading_seen(self, ids: list[Any]) -> int:
        """Count the leading blocks that were seen, and remember all [1]."""
        leading, is_leading = 0, True
        for block in ids:
            if type(block) is not int or not 0 <= block < LARGEST_BLOCK_ID:
                break
            place, bit = divmod(block, 8)
            if place >= len(self._bits):
                self._bits.extend(bytes(place + 1 - len(self._bits) + len(self._bits) // 2))
            is_leading = is_leading and bool(self._bits[place] & 1 << bit)
            leading += is_leading
            self._bits[place] |= 1 << bit
        return leading


def _read_mooncake(row: Document, file: LogFile) -> list[LoggedCall] | None:
    ids, inputs, outputs = row["hash_ids"], whole(row["input_length"]), row.get("output_length")
    if not isinstance(ids, list) or row["input_length"] is None:
        return None
    check_wholes({"input": row["input_length"], "output": outputs})
    if inputs is None:
        return None
    blocks = file.memory.setdefault("blocks", _Blocks())
    size = QWEN_BLOCK if "chat_id" in row else MOONCAKE_BLOCK
    # The last block may be shorter than the others.
    cached = min(blocks.count_leading_seen(ids) * size, inputs)
    usage = usage_of(inputs, whole(outputs), cached=cached)
    return [LoggedCall(counts=usage, time=time_of(row.get("timestamp")))]


def _read_burst_gpt(row: Document, file: LogFile) -> list[LoggedCall] | None:
    # Times count from the start of the trace.
    usage = _read_counts(row["Request tokens"], row["Response tokens"])
    if usage is None:
        return None
    session = row.get("Session ID")
    return [
        LoggedCall(
            provider=AZURE_PROVIDER,
            model=text(row.get("Model")),
            counts=usage,
            session=None if session is None else str(session),
            # Failed requests have no response.
            error_type=None if row["Response tokens"] else "failed",
        )
    ]


# Source: https://github.com/Azure/AzurePublicDataset/blob/master/AzureLLMInferenceDataset2023.md
AZURE_TRACE = LogFormat(
    name="azure-trace", keys=keys("ContextTokens", "GeneratedTokens"), read=_read_azure
)

TRACES: tuple[LogFormat, ...] = (
    AZURE_TRACE,
    # Source: https://github.com/kvcache-ai/Mooncake
    # Source: https://github.com/alibaba-edu/qwen-bailian-usagetraces-anon
    LogFormat(name="mooncake-trace", keys=keys("hash_ids", "input_length"), read=_read_mooncake),
    # Source: https://github.com/HPMLL/BurstGPT
    LogFormat(name="burst-gpt", keys=keys("Request tokens", "Response tokens"),
              read=_read_burst_gpt),
)  # fmt: skip
