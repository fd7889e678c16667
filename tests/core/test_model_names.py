"""How names of models are read: gateways, snapshots, files of weights, and none by guess."""

from __future__ import annotations

import itertools
import string
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_tracking.profiles.catalogue import Catalogue, NoProfile
from energy_tracking.profiles.model_names import (
    MAX_NAME_LENGTH,
    RULES,
    NameRule,
    find_readings,
    fold_name,
    unify_spelling,
)
from energy_tracking.profiles.profile import Quantity
from energy_tracking.profiles.weight_formats import LLAMA_CPP_BITS_PER_WEIGHT, WEIGHT_FORMATS
from energy_tracking.profiles.weight_suffixes import WEIGHT_SUFFIXES
from small_profiles import build_model

CLOSED = [
    "gpt-4o",
    "gpt-4o-mini",
    "gpt-3.5-turbo",
    "gpt-5",
    "gpt-5.1",
    "gpt-5.6-sol",
    "o3-mini",
    "claude-sonnet-4-5",
    "claude-sonnet-4-6",
    "claude-opus-4-6",
    "claude-opus-4-7",
    "claude-haiku-4-5",
    "claude-3-5-sonnet",
    "claude-3-5-haiku",
    "claude-3-7-sonnet",
    "claude-3-sonnet",
    "gemini-2.5-flash",
    "gemini-2.5-pro",
    "gemini-2.0-flash",
    "gemini-1.5-pro",
    "gemini-1.5-flash-8b",
    "nova-lite",
    "command-r",
    "command-r-plus",
    "grok-2",
    "mistral-large",
]
OPEN = [
    "meta-llama/Llama-2-7b",
    "meta-llama/Llama-2-70b",
    "meta-llama/Llama-3.1-8B",
    "meta-llama/Llama-3.1-70B",
    "meta-llama/Llama-3.1-405B",
    "meta-llama/Llama-3.2-1B",
    "meta-llama/Llama-3.2-3B",
    "meta-llama/Llama-3.3-70B",
    "meta-llama/Llama-4-Scout-17B-16E",
    "Qwen/Qwen2.5-7B",
    "Qwen/Qwen2.5-72B",
    "Qwen/Qwen2.5-Coder-7B",
    "Qwen/Qwen3-8B",
    "Qwen/Qwen3-32B",
    "Qwen/Qwen3-30B-A3B",
    "Qwen/Qwen3-235B-A22B",
    "Qwen/Qwen3-Coder-480B-A35B",
    "google/gemma-7b",
    "google/gemma-2-9b",
    "google/gemma-2-27b",
    "google/gemma-3-27b",
    "mistralai/Mistral-Small-3.2-24B",
    "mistralai/Mixtral-8x22B-v0.1",
    "deepseek-ai/DeepSeek-V3.1",
    "microsoft/Phi-3-mini-4k",
    "nvidia/NVIDIA-Nemotron-Nano-9B-v2",
    "zai-org/GLM-4.7",
    "moonshotai/Kimi-K2",
]
CATALOGUE = Catalogue(
    [
        *(build_model(name, family="closed") for name in CLOSED),
        *(build_model(name, family="open") for name in OPEN),
        build_model(
            "mistralai/Mistral-7B-v0.1", family="open", aliases=("mistral-7b-instruct-v0.1",)
        ),
        build_model(
            "mistralai/Mistral-7B-v0.2", family="open", aliases=("mistral-7b-instruct-v0.2",)
        ),
        build_model(
            "mistralai/Mixtral-8x7B-v0.1", family="open", aliases=("mixtral-8x7b-instruct-v0.1",)
        ),
        build_model("mistralai/Mistral-Large-2407", family="open"),
        build_model("codellama/CodeLlama-34b-hf", family="open", aliases=("codellama-34b",)),
        build_model(
            "gpt-oss-20b",
            family="open",
            weight_format="mxfp4",
            weight_bytes=0.6,
            provenance={"weight_bytes": Quantity(0.6), "num_layers": Quantity(32)},
        ),
        build_model(
            "deepseek-ai/DeepSeek-R1",
            family="open",
            weight_format="fp8",
            aliases=("deepseek-r1-awq",),
        ),
    ],
    without_profile={
        "text-embedding-3-small": NoProfile("an embedding model"),
        "gpt-secret": NoProfile("nothing is public", is_text_model=True),
    },
)

# Names as they stand in the documentation of the providers, in the price lists of litellm 1.110
# and genai-prices 0.2, and on Hugging Face. A rule that comes last of several was applied last.
NAMES = [
    # OpenRouter
    ("openai/gpt-4o:extended", "gpt-4o", "provider_prefix+variant", ""),
    ("openai/gpt-4o:nitro", "gpt-4o", "provider_prefix+variant", ""),
    ("openai/gpt-4o-mini:online", "gpt-4o-mini", "provider_prefix+variant", ""),
    (
        "anthropic/claude-3.5-sonnet:beta",
        "claude-3-5-sonnet",
        "provider_prefix+variant+spelling",
        "",
    ),
    (
        "anthropic/claude-3.7-sonnet:thinking",
        "claude-3-7-sonnet",
        "provider_prefix+variant+spelling",
        "",
    ),
    (
        "anthropic/claude-sonnet-4.6:floor",
        "claude-sonnet-4-6",
        "provider_prefix+variant+spelling",
        "",
    ),
    ("google/gemini-2.5-pro:batch", "gemini-2.5-pro", "provider_prefix+variant", ""),
    ("google/gemini-2.0-flash-001", "gemini-2.0-flash", "provider_prefix+snapshot", ""),
    ("meta-llama/llama-3.3-70b-instruct:free", "meta-llama/Llama-3.3-70B", "variant+tuned", ""),
    (
        "deepseek/deepseek-r1-0528:free",
        "deepseek-ai/DeepSeek-R1",
        "provider_prefix+variant+snapshot+spelling",
        "fp8",
    ),
    ("openai/o3-mini-high", "o3-mini", "provider_prefix+effort", ""),
    ("openrouter/openai/gpt-4o-mini", "gpt-4o-mini", "provider_prefix", ""),
    # promptfoo, pydantic-ai, LangChain, Claude Code
    ("openai:chat:gpt-4o-mini", "gpt-4o-mini", "provider_scheme", ""),
    (
        "anthropic:messages:claude-sonnet-4-5-20250929",
        "claude-sonnet-4-5",
        "provider_scheme+snapshot",
        "",
    ),
    (
        "bedrock:us.anthropic.claude-3-5-sonnet-20241022-v2:0",
        "claude-3-5-sonnet",
        "provider_scheme+region+maker_prefix+model_version+snapshot",
        "",
    ),
    ("openai:gpt-4o", "gpt-4o", "provider_scheme", ""),
    ("google-gla:gemini-2.5-flash", "gemini-2.5-flash", "provider_scheme", ""),
    ("gateway/openai:gpt-5", "gpt-5", "provider_prefix+provider_scheme", ""),
    ("google_vertexai:gemini-2.5-flash", "gemini-2.5-flash", "provider_scheme", ""),
    ("ollama:chat:llama3.2:3b", "meta-llama/Llama-3.2-3B", "provider_scheme+spelling", ""),
    ("claude-sonnet-4-6[1m]", "claude-sonnet-4-6", "variant", ""),
    ("claude-opus-4.6-1m", "claude-opus-4-6", "variant+spelling", ""),
    # Cursor, GitHub Copilot
    ("claude-4.5-sonnet", "claude-sonnet-4-5", "spelling", ""),
    ("claude-4.7-opus", "claude-opus-4-7", "spelling", ""),
    ("claude-4.6-opus-high-thinking", "claude-opus-4-6", "effort+spelling", ""),
    ("claude-3.7-sonnet-thought", "claude-3-7-sonnet", "effort+spelling", ""),
    ("gpt-5-fast", "gpt-5", "priority", ""),
    ("gpt-5-high-fast", "gpt-5", "priority+effort", ""),
    # Azure
    ("azure/gpt-4o-2024-08-06", "gpt-4o", "provider_prefix+snapshot", ""),
    ("azure/eu/gpt-4o-mini-2024-07-18", "gpt-4o-mini", "provider_prefix+snapshot", ""),
    (
        "azure_ai/Llama-3.3-70B-Instruct",
        "meta-llama/Llama-3.3-70B",
        "provider_prefix+tuned+spelling",
        "",
    ),
    (
        "gpt-4o-mini-2024-07-18.ft-0e208cf33a6a466994aff31a08aba678",
        "gpt-4o-mini",
        "fine_tuned+snapshot",
        "",
    ),
    (
        "gpt-4o-mini-2024-07-18-ft-0e208cf33a6a466994aff31a08aba678",
        "gpt-4o-mini",
        "fine_tuned+snapshot",
        "",
    ),
    # OpenAI
    ("ft:gpt-4o-mini-2024-07-18:my-org:my-name:id", "gpt-4o-mini", "fine_tuned+snapshot", ""),
    ("gpt-4o-20240806", "gpt-4o", "snapshot", ""),
    ("gpt-3.5-turbo-0125", "gpt-3.5-turbo", "snapshot", ""),
    # Bedrock
    (
        "anthropic.claude-3-5-sonnet-20240620-v1:0",
        "claude-3-5-sonnet",
        "maker_prefix+model_version+snapshot",
        "",
    ),
    (
        "anthropic.claude-3-sonnet-20240229-v1:0:200k",
        "claude-3-sonnet",
        "maker_prefix+model_version+snapshot",
        "",
    ),
    (
        "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        "claude-sonnet-4-5",
        "region+maker_prefix+model_version+snapshot",
        "",
    ),
    (
        "bedrock/us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        "claude-sonnet-4-5",
        "provider_prefix+region+maker_prefix+model_version+snapshot",
        "",
    ),
    (
        "bedrock/converse/us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        "claude-sonnet-4-5",
        "provider_prefix+region+maker_prefix+model_version+snapshot",
        "",
    ),
    (
        "bedrock/us-gov-west-1/anthropic.claude-3-7-sonnet-20250219-v1:0",
        "claude-3-7-sonnet",
        "provider_prefix+maker_prefix+model_version+snapshot",
        "",
    ),
    (
        "apac.anthropic.claude-haiku-4-5-20251001-v1:0",
        "claude-haiku-4-5",
        "region+maker_prefix+model_version+snapshot",
        "",
    ),
    ("jp.anthropic.claude-opus-4-7", "claude-opus-4-7", "region+maker_prefix", ""),
    ("global.anthropic.claude-opus-4-6-v1", "claude-opus-4-6", "region+maker_prefix", ""),
    ("us.openai.gpt-5.6-sol", "gpt-5.6-sol", "region+maker_prefix", ""),
    ("openai.gpt-oss-20b-1:0", "gpt-oss-20b", "maker_prefix+model_version", "mxfp4"),
    (
        "meta.llama3-1-70b-instruct-v1:0",
        "meta-llama/Llama-3.1-70B",
        "maker_prefix+model_version+tuned+spelling",
        "",
    ),
    (
        "us.meta.llama3-3-70b-instruct-v1:0",
        "meta-llama/Llama-3.3-70B",
        "region+maker_prefix+model_version+tuned+spelling",
        "",
    ),
    ("amazon.nova-lite-v1:0", "nova-lite", "maker_prefix+model_version", ""),
    ("mistral.mistral-7b-instruct-v0:2", "mistralai/Mistral-7B-v0.2", "maker_prefix+spelling", ""),
    (
        "mistral.mixtral-8x7b-instruct-v0:1",
        "mistralai/Mixtral-8x7B-v0.1",
        "maker_prefix+spelling",
        "",
    ),
    ("cohere.command-r-plus-v1:0", "command-r-plus", "maker_prefix+model_version", ""),
    ("qwen.qwen3-32b-v1:0", "Qwen/Qwen3-32B", "maker_prefix+model_version+spelling", ""),
    (
        "nvidia.nemotron-nano-9b-v2:0",
        "nvidia/NVIDIA-Nemotron-Nano-9B-v2",
        "model_version+spelling",
        "",
    ),
    ("us.deepseek.r1-v1:0", "deepseek-ai/DeepSeek-R1", "region+model_version+spelling", "fp8"),
    ("deepseek.v3.1", "deepseek-ai/DeepSeek-V3.1", "spelling", ""),
    ("zai.glm-4.7", "zai-org/GLM-4.7", "maker_prefix+spelling", ""),
    (
        "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        "claude-sonnet-4-5",
        "provider_prefix+region+maker_prefix+model_version+snapshot",
        "",
    ),
    (
        "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-3-5-sonnet-20240620-v1:0",
        "claude-3-5-sonnet",
        "provider_prefix+maker_prefix+model_version+snapshot",
        "",
    ),
    # Vertex AI, Gemini
    ("vertex_ai/claude-3-5-sonnet@20240620", "claude-3-5-sonnet", "provider_prefix+snapshot", ""),
    ("vertex_ai/claude-opus-4-7@default", "claude-opus-4-7", "provider_prefix+latest", ""),
    (
        "vertex_ai/mistral-large@2407",
        "mistralai/Mistral-Large-2407",
        "provider_prefix+spelling",
        "",
    ),
    (
        "vertex_ai/meta/llama-3.1-405b-instruct-maas",
        "meta-llama/Llama-3.1-405B",
        "provider_prefix+host_suffix+tuned+spelling",
        "",
    ),
    ("publishers/google/models/gemini-2.5-flash", "gemini-2.5-flash", "provider_prefix", ""),
    (
        "projects/my-project/locations/us-east5/publishers/anthropic/models/claude-3-5-haiku@20241022",
        "claude-3-5-haiku",
        "provider_prefix+snapshot",
        "",
    ),
    ("models/gemini-2.5-flash", "gemini-2.5-flash", "provider_prefix", ""),
    ("gemini-2.5-flash-preview-05-20", "gemini-2.5-flash", "preview", ""),
    ("gemini-2.5-flash-preview-09-2025", "gemini-2.5-flash", "preview", ""),
    ("gemini-1.5-flash-8b-exp-0827", "gemini-1.5-flash-8b", "preview", ""),
    ("gemini-1.5-pro-002", "gemini-1.5-pro", "snapshot", ""),
    ("gemini-1.5-pro-latest", "gemini-1.5-pro", "latest", ""),
    ("gemini-2.5-pro-exp-03-25", "gemini-2.5-pro", "preview", ""),
    # Anthropic, Cohere, xAI, Mistral
    ("claude-3-5-haiku-latest", "claude-3-5-haiku", "latest", ""),
    ("command-r-plus-08-2024", "command-r-plus", "snapshot", ""),
    ("grok-2-1212", "grok-2", "snapshot", ""),
    ("mistral-large-latest", "mistral-large", "latest", ""),
    (
        "mistral-small-3.2-24b-instruct-2506",
        "mistralai/Mistral-Small-3.2-24B",
        "snapshot+tuned+spelling",
        "",
    ),
    # hosts of open models
    (
        "accounts/fireworks/models/llama-v3p1-70b-instruct",
        "meta-llama/Llama-3.1-70B",
        "provider_prefix+tuned+spelling",
        "",
    ),
    (
        "fireworks_ai/accounts/fireworks/models/qwen2p5-72b-instruct",
        "Qwen/Qwen2.5-72B",
        "provider_prefix+tuned+spelling",
        "",
    ),
    ("fireworks_ai/glm-4p7", "zai-org/GLM-4.7", "provider_prefix+spelling", ""),
    (
        "together_ai/meta-llama/Llama-3.3-70B-Instruct-Turbo",
        "meta-llama/Llama-3.3-70B",
        "provider_prefix+quantized+tuned+spelling",
        "fp8",
    ),
    ("groq/openai/gpt-oss-20b", "gpt-oss-20b", "provider_prefix", "mxfp4"),
    ("cerebras/qwen-3-32b", "Qwen/Qwen3-32B", "provider_prefix+spelling", ""),
    ("@cf/google/gemma-7b-it-lora", "google/gemma-7b", "provider_prefix+tuned+spelling", ""),
    (
        "@cf/meta/llama-3.1-8b-instruct",
        "meta-llama/Llama-3.1-8B",
        "provider_prefix+tuned+spelling",
        "",
    ),
    (
        "@cf/meta/llama-3.1-70b-instruct-fp8-fast",
        "meta-llama/Llama-3.1-70B",
        "provider_prefix+quantized+tuned+spelling",
        "fp8",
    ),
    (
        "@hf/thebloke/mistral-7b-instruct-v0.1-awq",
        "mistralai/Mistral-7B-v0.1",
        "provider_prefix+quantized+alias",
        "int4",
    ),
    (
        "databricks-meta-llama-3-3-70b-instruct",
        "meta-llama/Llama-3.3-70B",
        "host_prefix+maker_prefix+tuned+spelling",
        "",
    ),
    ("databricks-claude-sonnet-4-6", "claude-sonnet-4-6", "host_prefix", ""),
    ("databricks/databricks-gpt-5-1", "gpt-5.1", "provider_prefix+host_prefix+spelling", ""),
    ("snowflake/llama3.1-405b", "meta-llama/Llama-3.1-405B", "provider_prefix+spelling", ""),
    ("snowflake/openai-gpt-5", "gpt-5", "provider_prefix+maker_prefix", ""),
    (
        "watsonx/meta-llama/llama-3-2-1b-instruct",
        "meta-llama/Llama-3.2-1B",
        "provider_prefix+tuned+spelling",
        "",
    ),
    (
        "ovhcloud/Meta-Llama-3_3-70B-Instruct",
        "meta-llama/Llama-3.3-70B",
        "provider_prefix+maker_prefix+tuned+spelling",
        "",
    ),
    (
        "sagemaker/meta-textgeneration-llama-2-70b-b-f",
        "meta-llama/Llama-2-70b",
        "provider_prefix+host_prefix+spelling",
        "",
    ),
    (
        "replicate/meta/llama-2-70b-chat:02e509c789964a7ea8736978a43525956ef40397be9033abf9fd2badfe68c9e3",
        "meta-llama/Llama-2-70b",
        "provider_prefix+snapshot+tuned+spelling",
        "",
    ),
    (
        "volcengine/deepseek-v3-1-250821",
        "deepseek-ai/DeepSeek-V3.1",
        "provider_prefix+snapshot+spelling",
        "",
    ),
    # vLLM and repositories
    (
        "hosted_vllm/meta-llama/Llama-3.1-8B-Instruct",
        "meta-llama/Llama-3.1-8B",
        "provider_prefix+tuned+spelling",
        "",
    ),
    ("Meta-Llama-3.1-8B-Instruct", "meta-llama/Llama-3.1-8B", "maker_prefix+tuned+spelling", ""),
    ("QWEN/QWEN3-30B-A3B-INSTRUCT-2507", "Qwen/Qwen3-30B-A3B", "snapshot+tuned", ""),
    ("google/gemma-2-27b-it-pytorch", "google/gemma-2-27b", "file_format+tuned", ""),
    ("google/gemma-7b-it-sfp-cpp", "google/gemma-7b", "file_format+quantized+tuned", "int8"),
    (
        "meta-llama/CodeLlama-34b-Python-hf",
        "codellama/CodeLlama-34b-hf",
        "provider_prefix+tuned+alias",
        "",
    ),
    (
        "microsoft/Phi-3-mini-4k-instruct-onnx-web",
        "microsoft/Phi-3-mini-4k",
        "file_format+tuned",
        "",
    ),
    (
        "mistral-community/Mixtral-8x22B-v0.1-original",
        "mistralai/Mixtral-8x22B-v0.1",
        "provider_prefix+file_format+spelling",
        "",
    ),
    ("meta-llama/Llama-2-7b-chat-hf", "meta-llama/Llama-2-7b", "tuned", ""),
    ("Qwen/Qwen3-32B-FP8", "Qwen/Qwen3-32B", "quantized", "fp8"),
    (
        "Qwen/Qwen3-Coder-480B-A35B-Instruct-FP8",
        "Qwen/Qwen3-Coder-480B-A35B",
        "quantized+tuned",
        "fp8",
    ),
    ("Qwen/Qwen2.5-7B-Instruct-AWQ", "Qwen/Qwen2.5-7B", "quantized+tuned", "int4"),
    ("Qwen/Qwen2.5-72B-Instruct-GPTQ-Int4", "Qwen/Qwen2.5-72B", "quantized+tuned", "int4"),
    ("Qwen/Qwen2.5-72B-Instruct-GPTQ-Int8", "Qwen/Qwen2.5-72B", "quantized+tuned", "int8"),
    (
        "hugging-quants/Meta-Llama-3.1-8B-Instruct-AWQ-INT4",
        "meta-llama/Llama-3.1-8B",
        "provider_prefix+maker_prefix+quantized+tuned+spelling",
        "int4",
    ),
    (
        "RedHatAI/Meta-Llama-3.1-8B-Instruct-FP8-dynamic",
        "meta-llama/Llama-3.1-8B",
        "provider_prefix+maker_prefix+quantized+tuned+spelling",
        "fp8",
    ),
    (
        "neuralmagic/Meta-Llama-3.1-70B-Instruct-quantized.w4a16",
        "meta-llama/Llama-3.1-70B",
        "provider_prefix+maker_prefix+quantized+tuned+spelling",
        "int4",
    ),
    (
        "neuralmagic/Meta-Llama-3.1-70B-Instruct-quantized.w8a8",
        "meta-llama/Llama-3.1-70B",
        "provider_prefix+maker_prefix+quantized+tuned+spelling",
        "w8a8",
    ),
    (
        "nvidia/Llama-3.3-70B-Instruct-NVFP4",
        "meta-llama/Llama-3.3-70B",
        "provider_prefix+quantized+tuned+spelling",
        "nvfp4",
    ),
    (
        "nvidia/DeepSeek-R1-FP4",
        "deepseek-ai/DeepSeek-R1",
        "provider_prefix+quantized+spelling",
        "nvfp4",
    ),
    (
        "unsloth/Meta-Llama-3.1-8B-Instruct-bnb-4bit",
        "meta-llama/Llama-3.1-8B",
        "provider_prefix+maker_prefix+quantized+tuned+spelling",
        "int4",
    ),
    (
        "unsloth/Qwen3-8B-unsloth-bnb-4bit",
        "Qwen/Qwen3-8B",
        "provider_prefix+quantized+spelling",
        "int4",
    ),
    (
        "mlx-community/Llama-3.2-3B-Instruct-4bit",
        "meta-llama/Llama-3.2-3B",
        "provider_prefix+quantized+tuned+spelling",
        "int4",
    ),
    ("mlx-community/Qwen3-8B-8bit", "Qwen/Qwen3-8B", "provider_prefix+quantized+spelling", "int8"),
    ("unsloth/gpt-oss-20b-BF16", "gpt-oss-20b", "provider_prefix+quantized", "bf16"),
    ("deepseek-ai/DeepSeek-R1", "deepseek-ai/DeepSeek-R1", "exact", "fp8"),
    # Ollama and llama.cpp
    ("ollama/llama3.1:8b", "meta-llama/Llama-3.1-8B", "provider_prefix+spelling", ""),
    (
        "llama3.1:8b-instruct-q4_K_M",
        "meta-llama/Llama-3.1-8B",
        "quantized+tuned+spelling",
        "q4_k_m",
    ),
    ("qwen2.5-coder:7b-instruct-fp16", "Qwen/Qwen2.5-Coder-7B", "quantized+tuned+spelling", "fp16"),
    ("codellama:34b-code", "codellama/CodeLlama-34b-hf", "tuned+spelling", ""),
    ("gpt-oss:20b-cloud", "gpt-oss-20b", "host_suffix+spelling", "mxfp4"),
    (
        "hf.co/bartowski/Llama-3.2-3B-Instruct-GGUF:Q4_K_M",
        "meta-llama/Llama-3.2-3B",
        "provider_prefix+quantized+file_format+tuned+spelling",
        "q4_k_m",
    ),
    (
        "/models/Meta-Llama-3.1-8B-Instruct-Q4_K_M.gguf",
        "meta-llama/Llama-3.1-8B",
        "provider_prefix+maker_prefix+file_format+quantized+tuned+spelling",
        "q4_k_m",
    ),
    (
        "models/qwen2.5-7b-instruct-q4_0.gguf",
        "Qwen/Qwen2.5-7B",
        "provider_prefix+file_format+quantized+tuned+spelling",
        "q4_0",
    ),
    (
        "C:\\models\\Qwen3-8B-Q6_K.gguf",
        "Qwen/Qwen3-8B",
        "provider_prefix+file_format+quantized+spelling",
        "q6_k",
    ),
    (
        "llama-2-7b-chat.Q5_K_M.gguf",
        "meta-llama/Llama-2-7b",
        "file_format+quantized+tuned+spelling",
        "q5_k_m",
    ),
    (
        "Meta-Llama-3.1-405B-Instruct-Q8_0-00001-of-00009.gguf",
        "meta-llama/Llama-3.1-405B",
        "maker_prefix+file_format+quantized+tuned+spelling",
        "q8_0",
    ),
    (
        "bartowski/Qwen_Qwen3-8B-GGUF",
        "Qwen/Qwen3-8B",
        "provider_prefix+maker_prefix+file_format+spelling",
        "",
    ),
    (
        "bartowski/google_gemma-3-27b-it-GGUF:IQ4_XS",
        "google/gemma-3-27b",
        "provider_prefix+maker_prefix+quantized+file_format+tuned+spelling",
        "iq4_xs",
    ),
    (
        "unsloth/Qwen3-8B-GGUF:UD-Q4_K_XL",
        "Qwen/Qwen3-8B",
        "provider_prefix+quantized+file_format+spelling",
        "q4_k_m",
    ),
    (
        "ggml-org/gpt-oss-20b-mxfp4-GGUF",
        "gpt-oss-20b",
        "provider_prefix+file_format+quantized",
        "mxfp4",
    ),
]


@pytest.mark.parametrize(("name", "profile", "rule", "weight_format"), NAMES)
def test_a_name_is_read_by_the_rules(
    name: str, profile: str, rule: str, weight_format: str
) -> None:
    match = CATALOGUE.match(name)
    assert match is not None
    assert (match.profile.name, match.rule, match.profile.weight_format) == (
        profile,
        rule,
        weight_format,
    )


@pytest.mark.parametrize(
    "name",
    [
        # Words that no row explains.
        "gpt-4o-banana",
        "llama-3.1-9b",
        "my-gpt-4o",
        "gpt-4o-",
        "gpt-4o--mini",
        "banana:gpt-4o",
        "banana.gpt-4o",
        "llama3.1:8b:banana",
        "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/a1b2c3d4e5f6",
        # Words that name another model.
        "gpt-5-mini",
        "gemini-2.0-flash-thinking",
        "gemini-2.5-flash-lite",
        "gemini-2.5-flash-preview-tts",
        "claude-opus-4-6-fast",
        "llama-3.3-70b-vision-instruct",
        "qwen3-8b-thinking",
        "deepseek-r1:8b",
        "deepseek-r1-distill-qwen-32b",
        "gpt-5-turbo",
        # The month is the version: another may have another size.
        "mistral-large-2402",
        "mistral-large-2512",
        # Nobody stores or tunes the weights of a closed model.
        "gpt-4o-fp8",
        "gpt-4o-8bit",
        "claude-3-5-sonnet.gguf",
        "gpt-5-base",
        # Twice the same.
        "gpt-4o:free:nitro",
        "openai:openai:gpt-4o",
        "us.eu.openai.gpt-4o",
        "Qwen3-8B-AWQ-FP8",
        "claude-3-5-haiku-20241022-20241022",
    ],
)
def test_a_name_that_no_rows_explain_has_no_profile(name: str) -> None:
    assert CATALOGUE.match(name) is None
    assert CATALOGUE.explain_no_profile(name) is None


@pytest.mark.parametrize(
    "name",
    [
        "azure/text-embedding-3-small",
        "openai:text-embedding-3-small",
        "us.openai.text-embedding-3-small",
        "text-embedding-3-small:free",
        "Text_Embedding_3_Small",
        "text-embedding-3-small-2024-01-25",
        "databricks-text-embedding-3-small",
    ],
)
def test_a_model_without_a_basis_stays_without_a_profile_however_it_is_written(name: str) -> None:
    assert CATALOGUE.match(name, default="gpt-4o") is None
    assert CATALOGUE.explain_no_profile(name) == "an embedding model"


# ---------- the rows --------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.name}-{rule.example}")
def test_a_row_takes_something_off_its_own_example(rule: NameRule) -> None:
    found = rule.pattern.fullmatch(fold_name(rule.example))
    assert found is not None
    assert 0 < len(found["base"]) < len(rule.example)
    assert rule.reason
    assert rule.name.isidentifier()


def test_every_row_is_used_by_a_name_above() -> None:
    used = {step for _, _, rule, _ in NAMES for step in rule.split("+")}
    assert used == {rule.name for rule in RULES} | {"exact", "alias", "spelling"}


def test_every_suffix_means_a_known_format_of_weights() -> None:
    assert set(WEIGHT_SUFFIXES.values()) <= set(WEIGHT_FORMATS)
    assert {rule.weight_format for rule in RULES} <= {"", *WEIGHT_FORMATS}
    assert all(fold_name(suffix) == suffix for suffix in WEIGHT_SUFFIXES)


@pytest.mark.parametrize("suffix", WEIGHT_SUFFIXES)
def test_a_suffix_of_weights_is_taken_off_whole(suffix: str) -> None:
    match = CATALOGUE.match(f"Qwen/Qwen3-8B-{suffix.upper()}")
    assert match is not None
    assert (match.profile.name, match.rule) == ("Qwen/Qwen3-8B", "quantized")
    assert match.profile.weight_format == WEIGHT_SUFFIXES[suffix]


# Sizes of files of Llama 3.1 8B [GiB], as llama.cpp's README of its tool to quantize lists them,
# and of Llama 3 8B, as the tool itself does.
FILE_SIZES = {
    "iq1_s": 1.87,
    "iq1_m": 2.01,
    "iq2_xxs": 2.23,
    "iq2_xs": 2.42,
    "iq2_s": 2.56,
    "iq2_m": 2.74,
    "iq3_xxs": 3.04,
    "iq3_xs": 3.27,
    "iq3_s": 3.42,
    "iq3_m": 3.52,
    "iq4_xs": 4.17,
    "iq4_nl": 4.38,
    "q2_k_s": 2.78,
    "q2_k": 2.95,
    "q3_k_s": 3.41,
    "q3_k_m": 3.74,
    "q3_k_l": 4.02,
    "q4_0": 4.34,
    "q4_1": 4.78,
    "q4_k_s": 4.36,
    "q4_k_m": 4.58,
    "q5_0": 5.21,
    "q5_1": 5.65,
    "q5_k_s": 5.21,
    "q5_k_m": 5.33,
    "q6_k": 6.14,
    "q8_0": 7.95,
}


@pytest.mark.parametrize("name", LLAMA_CPP_BITS_PER_WEIGHT)
def test_a_format_of_llama_cpp_gives_the_size_of_its_files(name: str) -> None:
    weights = 8.03e9
    size = weights * WEIGHT_FORMATS[name].weight_bytes / 2**30
    assert size == pytest.approx(FILE_SIZES[name], rel=0.005)
    # They are widened before they are multiplied.
    assert WEIGHT_FORMATS[name].activations == "bf16"


# ---------- the weights -----------------------------------------------------------------


def test_the_format_a_name_states_takes_the_place_of_the_shipped_one() -> None:
    match = CATALOGUE.match("unsloth/gpt-oss-20b-BF16")
    assert match is not None
    assert (match.profile.weight_format, match.profile.weight_bytes) == ("bf16", None)
    assert set(match.profile.provenance) == {"num_layers"}


def test_the_format_a_model_is_shipped_in_keeps_its_bytes() -> None:
    match = CATALOGUE.match("gpt-oss-20b-mxfp4")
    assert match is not None
    assert match.profile is CATALOGUE.model("gpt-oss-20b")


def test_an_alias_that_states_a_format_means_it() -> None:
    match = CATALOGUE.match("DeepSeek-R1-AWQ")
    assert match is not None
    assert (match.rule, match.profile.weight_format) == ("alias", "int4")


def test_a_profile_of_the_users_may_be_stored_in_any_format() -> None:
    catalogue = CATALOGUE.copy()
    catalogue.register_model(build_model("acme/lm-7b", family="user"))
    match = catalogue.match("lm-7b-it-w4a16")
    assert match is not None
    assert (match.profile.name, match.profile.weight_format) == ("acme/lm-7b", "int4")
    assert CATALOGUE.match("lm-7b-it-w4a16") is None


# ---------- spelling --------------------------------------------------------------------


@pytest.mark.parametrize(
    "names",
    [
        ("llama-3.1-8b", "llama3.1:8b", "llama_3_1_8b", "llama-v3p1-8b", "llama3-1-8b"),
        ("qwen2.5-72b", "qwen-2.5-72b", "qwen2p5-72b", "qwen-v2p5-72b"),
        ("codellama-13b", "code-llama-13b"),
        ("mistral-large-2407", "mistral-large@2407"),
        ("phi-1_5", "phi-1.5"),
    ],
)
def test_names_joined_otherwise_are_spelled_alike(names: tuple[str, ...]) -> None:
    assert len({unify_spelling(name) for name in names}) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("gpt-4o", "gpt-4"),
        ("llama-3.1-8b", "llama-31-8b"),
        ("gpt-4o-", "gpt-4o"),
        (" gpt-4o", "gpt-4o"),
        ("gpt-4o@registry", "gpt-4o-registry"),
        ("qwen3-30b-a3b", "qwen3-30ba3b"),
    ],
)
def test_other_names_are_spelled_otherwise(one: str, other: str) -> None:
    assert unify_spelling(one) != unify_spelling(other)


# ---------- hostile names ---------------------------------------------------------------

PIECES = [
    *(rule.example for rule in RULES),
    *("a/", "us.", "openai:", "anthropic.", "meta-", "databricks-", "ft:", "-ft-00000000"),
    *("-instruct", ":free", ":latest", "-v1:0", "-q4_k_m", "-2024-08-06", "-preview", ".gguf"),
    *("-", ":", ".", "/", "@", "0", "gpt-4o"),
]


@pytest.mark.parametrize("piece", PIECES)
@pytest.mark.parametrize("length", [MAX_NAME_LENGTH, 10_000, 1_000_000])
def test_a_long_name_is_answered_at_once(piece: str, length: int) -> None:
    name = (piece * (length // len(piece) + 1))[:length]
    start = time.process_time()
    CATALOGUE.copy().match(name)
    assert time.process_time() - start < 0.5


def test_a_name_has_few_readings() -> None:
    prefixes = ["ft:", "a/", "openai:chat:", "us.", "anthropic.", "meta-", "databricks-"]
    suffixes = [
        *("-instruct", "-awq-int4", "-gguf", "-preview", "-20240806", "-latest", "-v1:0"),
        *("-high", ":free", "-maas", ".ft-0123456789abcdef"),
    ]
    for order in (prefixes, prefixes[::-1]):
        for tail in (suffixes, suffixes[::-1]):
            assert len(list(find_readings("".join((*order, "gpt-5", *tail))))) < 1000


def test_a_name_beyond_the_longest_has_no_readings() -> None:
    assert list(find_readings("x" * (MAX_NAME_LENGTH + 1))) == list(find_readings("")) == []
    assert CATALOGUE.match("a/" * 300 + "gpt-4o") is None


@given(st.lists(st.sampled_from(PIECES) | st.text(string.printable, max_size=3), max_size=20))
def test_any_pieces_are_read_without_an_error(pieces: list[str]) -> None:
    read = list(itertools.islice(find_readings("".join(pieces)), 10_000))
    assert len(read) < 10_000
    assert len({reading.name for reading in read}) == len(read)
    for reading in read:
        names = [rule.name for rule in reading.rules]
        assert len(set(names)) == len(names)
