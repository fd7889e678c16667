"""Formats that weights are stored in: how wide each is, and what it is multiplied as.

A new format is a row with its source.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from energy_tracking.frozen import frozen


@frozen()
class WeightFormat:
    """How the weights of a model are stored and multiplied.

    Attributes:
        weight_bytes: Bytes per weight, scales included [byte].
        activations: Precision they are multiplied with, where the GPU can: ``"bf16"``
            (formats of the weights alone are widened first), ``"fp8"`` or ``"fp4"``.
        block_scaled: Whether a scale belongs to a small block of weights, which only GPUs
            with FP4 units multiply; others widen the weights to BF16.
    """

    weight_bytes: float
    activations: str
    block_scaled: bool = False


# Mean over a whole file of Llama 3.1 8B, which keeps some tensors in more bits.
# Source: https://github.com/ggml-org/llama.cpp/blob/master/tools/quantize/README.md; those with
# two decimals from the sizes in GiB that tools/quantize/quantize.cpp lists for Llama 3 8B,
# by 8.03e9 weights.
LLAMA_CPP_BITS_PER_WEIGHT: Final = {
    "iq1_s": 2.0042,
    "iq1_m": 2.1460,
    "iq2_xxs": 2.3824,
    "iq2_xs": 2.5882,
    "iq2_s": 2.7403,
    "iq2_m": 2.9294,
    "iq3_xxs": 3.2548,
    "iq3_xs": 3.4977,
    "iq3_s": 3.6606,
    "iq3_m": 3.7628,
    "iq4_xs": 4.4597,
    "iq4_nl": 4.6818,
    "q2_k_s": 2.9697,
    "q2_k": 3.1593,
    "q3_k_s": 3.6429,
    "q3_k_m": 4.00,
    "q3_k_l": 4.2979,
    "q4_0": 4.64,
    "q4_1": 5.11,
    "q4_k_s": 4.6672,
    "q4_k_m": 4.8944,
    "q5_0": 5.57,
    "q5_1": 6.04,
    "q5_k_s": 5.5704,
    "q5_k_m": 5.7036,
    "q6_k": 6.5633,
    "q8_0": 8.5008,
}

WEIGHT_FORMATS: Final[Mapping[str, WeightFormat]] = MappingProxyType(
    {
        "fp32": WeightFormat(4.0, "bf16"),
        "bf16": WeightFormat(2.0, "bf16"),
        "fp16": WeightFormat(2.0, "bf16"),
        "fp8": WeightFormat(1.0, "fp8"),
        "int8": WeightFormat(1.0, "bf16"),
        # Four bits, and a scale of 8 bits per 32 weights (MX), per 16 (NVFP4), or one of 16
        # bits and a zero point of four per 128 (AWQ, GPTQ).
        "mxfp4": WeightFormat(4.25 / 8, "fp8", block_scaled=True),
        "nvfp4": WeightFormat(4.5 / 8, "fp4", block_scaled=True),
        "nvfp4a16": WeightFormat(4.5 / 8, "bf16"),
        "w4a8": WeightFormat(4.25 / 8, "fp8"),
        "int4": WeightFormat(4.15625 / 8, "bf16"),
        # Weights and activations of eight bits; where a GPU has both, INT8 and FP8 peak alike.
        "w8a8": WeightFormat(1.0, "fp8"),
        **{
            name: WeightFormat(bits / 8, "bf16") for name, bits in LLAMA_CPP_BITS_PER_WEIGHT.items()
        },
    }
)
"""Formats of weights, by name."""
