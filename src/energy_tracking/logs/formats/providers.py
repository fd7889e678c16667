"""Providers by the names that gateways and tools have for them."""

from __future__ import annotations

# A gateway's name of a provider -> ``gen_ai.provider.name``, where they differ.
_PROVIDERS = {
    "azure": "azure.ai.openai",
    "azure_ai": "azure.ai.inference",
    "bedrock": "aws.bedrock",
    "bedrock_converse": "aws.bedrock",
    "aws": "aws.bedrock",
    "amazon_bedrock": "aws.bedrock",
    "vertex_ai": "gcp.vertex_ai",
    "google_vertexai": "gcp.vertex_ai",
    "gemini": "gcp.gemini",
    "google": "gcp.gemini",
    "google_genai": "gcp.gemini",
    "mistral": "mistral_ai",
    "mistralai": "mistral_ai",
    "xai": "x_ai",
}


def provider_named(name: object) -> str:
    """``gen_ai.provider.name`` of a provider as a gateway calls it."""
    lower = name.lower() if isinstance(name, str) and name else "unknown"
    return _PROVIDERS.get(lower, lower)
