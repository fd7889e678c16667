"""Constants of the ``roofline`` estimator: data, written by its fit.

Run: python tests/benchmarks/fit.py measured.csv measured_2026_public.csv --write
Data: 629 points of 29 architectures; 17 rows skipped
  49 InferenceX PowerX
  195 ML.ENERGY v2
  358 ML.ENERGY v3
  11 Splitwise
  16 TokenPowerBench
Error factors (geometric mean), energy per token / time per step:
  fitted                     1.1199 / 1.2153
  leave one architecture out 1.1276 / 1.2285
  leave one source out       1.1621
  leave one GPU out          1.1539
"""

from __future__ import annotations

FITTED: dict[str, float] = {
    "weights_time": 1.085,
    "cache_time": 1.287,
    "compute_time": 1.301,
    "prefill_time": 1.66,
    "layer_seconds": 8.202e-05,
    "sequence_seconds": 4.07e-05,
    "early_layer_seconds": 0.0003843,
    "early_sequence_layer_seconds": 1.043e-05,
    "idle_power": 0.2919,
    "weight_byte_joules": 9.209e-11,
    "weight_joules": 4.005e-11,
    "cache_byte_joules": 2.114e-10,
    "compute_power": 0.6022,
    "prefill_power": 1.224,
    "mixture_prefill": 3.348,
    "expert_imbalance": 0.7494,
    "quantised_overhead": 1.408,
    "link_time": 2.0,
    "speculative_decode": 0.7662,
    "speculative_decode_low": 0.6697,
    "speculative_decode_high": 0.8532,
    "error_factor": 1.315,
    "crowded_error_factor": 1.533,
    "rate_sigma": 0.2933,
}

ARCHITECTURES = (
    "Qwen/Qwen3-14B",
    "Qwen/Qwen3-30B-A3B",
    "Qwen/Qwen3-32B",
    "Qwen/Qwen3-Coder-480B-A35B",
    "Qwen/Qwen3.5-397B-A17B",
    "bigcode/starcoder2-15b",
    "bigcode/starcoder2-7b",
    "bigscience/bloom-176b",
    "codellama/CodeLlama-34b-hf",
    "codellama/CodeLlama-70b-hf",
    "deepseek-ai/DeepSeek-V3",
    "google/codegemma-1.1-2b",
    "google/gemma-2-27b-it",
    "google/gemma-2-2b-it",
    "google/gemma-3-12b-it",
    "google/gemma-3-27b-it",
    "meta-llama/Llama-3.1-405B",
    "meta-llama/Llama-3.1-70B",
    "meta-llama/Llama-3.2-1B",
    "meta-llama/Llama-3.2-3B",
    "meta-llama/Llama-4-Scout",
    "microsoft/Phi-3-medium",
    "microsoft/Phi-3-small",
    "mistralai/Mistral-7B",
    "mistralai/Mistral-Nemo",
    "mistralai/Mixtral-8x22B",
    "nvidia/Nemotron-Nano-12B-v2",
    "nvidia/Nemotron-Nano-9B-v2",
    "openai/gpt-oss-20b",
)
"""What the fit has seen: errors on these are not a test."""

GPUS = (
    "A100-40GB",
    "A100-80GB",
    "B200",
    "H100-NVL",
    "H100-SXM",
    "MI355X",
)
"""GPU profiles that the fit has seen."""
