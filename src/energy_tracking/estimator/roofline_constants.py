"""Constants of the ``roofline`` estimator: data, written by its fit.

Run: python tests/benchmarks/fit.py measured.csv --write
Data: 580 points of 28 architectures; 16 rows skipped
  195 ML.ENERGY v2
  358 ML.ENERGY v3
  11 Splitwise
  16 TokenPowerBench
Error factors (geometric mean), energy per token / time per step:
  fitted                     1.1356 / 1.2199
  leave one architecture out 1.1478 / 1.2348
  leave one source out       1.1808
"""

from __future__ import annotations

FITTED: dict[str, float] = {
    "weights_time": 1.046,
    "cache_time": 1.246,
    "compute_time": 1.302,
    "prefill_time": 1.634,
    "layer_seconds": 8.96e-05,
    "sequence_seconds": 4.694e-05,
    "early_layer_seconds": 0.0004099,
    "early_sequence_layer_seconds": 9.517e-06,
    "idle_power": 0.2833,
    "weight_byte_joules": 6.579e-11,
    "weight_joules": 9.757e-11,
    "cache_byte_joules": 2.164e-10,
    "compute_power": 0.6476,
    "prefill_power": 1.279,
    "mixture_prefill": 3.785,
    "link_time": 2.0,
    "expert_imbalance": 0.9,
    "error_factor": 1.351,
    "rate_sigma": 0.2958,
}

ARCHITECTURES = (
    "Qwen/Qwen3-14B",
    "Qwen/Qwen3-30B-A3B",
    "Qwen/Qwen3-32B",
    "Qwen/Qwen3-Coder-480B-A35B",
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
