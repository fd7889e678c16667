"""Which requests run inference, and whom they go to; each a table."""

from __future__ import annotations

from fnmatch import fnmatchcase
from functools import lru_cache

from energy_tracking.frozen import frozen


@frozen()
class Endpoint:
    """One way to ask for inference.

    Attributes:
        path: How the request's path ends.
        operation: ``gen_ai.operation.name`` of the GenAI semantic conventions.
        stream_options: Whether the endpoint knows ``stream_options.include_usage``.
    """

    path: str
    operation: str
    stream_options: bool = False


# A POST to one of these runs inference and is counted. Everything else fetches, lists or
# manages what already ran, and is not. Nor is what a server runs by itself: agents'
# sessions, assistants' threads, evals, graders, batches and training. None of their requests
# is a call; an agent's session reports a usage, but a running sum, which OpenAI calls best-effort.
# A longer path stands before the one it ends in.
ENDPOINTS = (
    Endpoint("/chat/completions", "chat", stream_options=True),
    Endpoint("/completions", "text_completion", stream_options=True),
    Endpoint("/responses/compact", "chat"),
    Endpoint("/responses", "chat"),
    Endpoint("/decisions", "chat"),
    Endpoint("/embeddings", "embeddings"),
    Endpoint("/images/generations", "image_generation"),
    Endpoint("/images/edits", "image_generation"),
    Endpoint("/images/variations", "image_generation"),
    Endpoint("/videos", "video_generation"),
    Endpoint("/videos/edits", "video_generation"),
    Endpoint("/videos/extensions", "video_generation"),
    Endpoint("/remix", "video_generation"),  # of /videos/{id}
    Endpoint("/audio/transcriptions", "transcription"),
    Endpoint("/audio/translations", "transcription"),
    Endpoint("/audio/speech", "speech"),
    Endpoint("/moderations", "moderation"),
)

# The public cloud, that of the US government and that of China. Sources:
# https://learn.microsoft.com/azure/foundry/concepts/foundry-azure-government#endpoints
# https://learn.microsoft.com/azure/azure-government/compare-azure-government-global-azure
# https://docs.azure.cn/en-us/articles/guidance/developerdifferences
AZURE_CLOUDS = ("com", "us", "cn")
AZURE_HOSTS = tuple(
    f"{service}.azure.{cloud}"
    for service in ("openai", "cognitiveservices", "services.ai")
    for cloud in AZURE_CLOUDS
)
"""What hosts of Azure's AI services end in."""

AZURE_HOST_ENDS = tuple(f".{host}" for host in AZURE_HOSTS)
"""The same, after the name of the customer's resource."""

AZURE_PATH = "/openai"
"""Where a host of Azure's serves the API of Azure OpenAI, and not that of Azure AI Inference."""

AZURE_DEPLOYMENTS = f"{AZURE_PATH}/deployments/"
"""In the path of a request to one model of Azure OpenAI, and of nobody else."""

# Host, the end of it, or a pattern of it, perhaps with a part of the path, to
# `gen_ai.provider.name`. The convention names the provider the client believes to talk to, so an
# unlisted host stays with the library's own. A row with a path stands before the one without.
PROVIDERS = {
    **{f"{host}{AZURE_PATH}": "azure.ai.openai" for host in AZURE_HOSTS},
    **{
        host: "azure.ai.inference" if host.startswith("services.ai") else "azure.ai.openai"
        for host in AZURE_HOSTS
    },
    "api.x.ai": "x_ai",
    "api.groq.com": "groq",
    "api.deepseek.com": "deepseek",
    "api.mistral.ai": "mistral_ai",
    "api.perplexity.ai": "perplexity",
    "api.cohere.com": "cohere",
    "api.anthropic.com": "anthropic",
    "generativelanguage.googleapis.com": "gcp.gemini",
    "aiplatform.googleapis.com": "gcp.vertex_ai",
    # The region stands in the middle; other services of Amazon's may serve a user's own model.
    "bedrock-runtime.*.amazonaws.com": "aws.bedrock",
    "bedrock-mantle.*.api.aws": "aws.bedrock",
}


def endpoint_of(method: str, path: str) -> Endpoint | None:
    """The inference endpoint a request goes to; None if it runs no inference.

    Args:
        method: HTTP method.
        path: Path of the request, or its URL.
    """
    if method.lower() != "post":
        return None
    # Azure takes its paths in any case.
    path = "/" + path.partition("?")[0].strip("/").lower()
    return next((endpoint for endpoint in ENDPOINTS if path.endswith(endpoint.path)), None)


@lru_cache(maxsize=256)
def provider_of(host: str, default: str, path: str = "") -> str:
    """``gen_ai.provider.name`` of a host.

    Args:
        host: Host name.
        default: The name where the host is not listed.
        path: Path of the request.
    """
    for row, provider in PROVIDERS.items():
        known, slash, part = row.partition("/")
        is_known = fnmatchcase(host, known) or host.endswith(("." + known, "-" + known))
        if is_known and f"{slash}{part}" in path.lower():
            return provider
    return default
