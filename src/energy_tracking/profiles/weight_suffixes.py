"""How the end of a model's name says in what its weights are stored.

A new suffix is a row, of a format in ``weight_formats``.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from energy_tracking.profiles.weight_formats import LLAMA_CPP_BITS_PER_WEIGHT

WEIGHT_SUFFIXES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "fp32": "fp32",
        "f32": "fp32",
        "bf16": "bf16",
        "fp16": "fp16",
        "f16": "fp16",
        "fp8": "fp8",
        "fp8-dynamic": "fp8",  # vLLM's llm-compressor: scales of activations found at run time
        "fp8-block": "fp8",
        "fp8-kv": "fp8",  # AMD: the cache in FP8, too
        "fp8-fast": "fp8",  # Cloudflare
        "nvfp4": "nvfp4",
        "fp4": "nvfp4",  # NVIDIA's first name for it
        "nvfp4a16": "nvfp4a16",
        "mxfp4": "mxfp4",
        "mxfp4_moe": "mxfp4",  # llama.cpp
        "w4a8": "w4a8",
        "w8a8": "w8a8",
        "quantized.w8a8": "w8a8",
        # Eight bits per weight, multiplied in BF16.
        "int8": "int8",
        "8bit": "int8",
        "mlx-8bit": "int8",
        "bnb-8bit": "int8",
        "gptq-int8": "int8",
        "gptq-8bit": "int8",
        "w8a16": "int8",
        "quantized.w8a16": "int8",
        "quant": "int8",  # Gemma's checkpoints for PyTorch
        "sfp": "int8",  # gemma.cpp: floats of eight bits, widened before use
        # Four bits per weight and the scale of a group, multiplied in BF16.
        "int4": "int4",
        "4bit": "int4",
        "mlx-4bit": "int4",
        "4bit-mlx": "int4",
        "4bit-dwq": "int4",
        "bnb-4bit": "int4",
        "unsloth-bnb-4bit": "int4",
        "awq": "int4",
        "awq-int4": "int4",
        "awq-4bit": "int4",
        "gptq": "int4",  # its makers write the bits where they are not four
        "gptq-int4": "int4",
        "gptq-4bit": "int4",
        "gptq-4bit-128g": "int4",
        "w4a16": "int4",
        "quantized.w4a16": "int4",
        "int4-autoround": "int4",
        "qat": "q4_0",  # Gemma: trained for this format
        "qat-q4_0": "q4_0",
        # llama.cpp's own names of its formats are their suffixes, too.
        **{name: name for name in LLAMA_CPP_BITS_PER_WEIGHT},
        # Aliases in llama.cpp itself.
        "q3_k": "q3_k_m",
        "q4_k": "q4_k_m",
        "q5_k": "q5_k_m",
        # Mixtures with more bits for some layers; no mean is published, the nearest format's is
        # a few percent low.
        "q4_k_l": "q4_k_m",
        "q5_k_l": "q5_k_m",
        "q6_k_l": "q6_k",
        "ud-q2_k_xl": "q2_k",
        "ud-q3_k_xl": "q3_k_m",
        "ud-q4_k_xl": "q4_k_m",
        "ud-q5_k_xl": "q5_k_m",
        "ud-q6_k_xl": "q6_k",
        "ud-q8_k_xl": "q8_0",
    }
)
"""Suffix -> format of weights."""
