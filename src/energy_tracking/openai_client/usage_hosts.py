"""Which servers take ``stream_options.include_usage``, as far as their documentation says.

A server that does not know the option may refuse the request, so that nobody else is asked. A
service is known by its host, an engine that people run themselves by how it has answered before.
A new service is a row of ``USAGE_HOSTS``, with the page that says so.

Not listed, on purpose: Mistral, which refuses the option and sends the usage unasked
(https://github.com/TabbyML/tabby/pull/4082), and the models of Azure's inference API, which refuse
it (https://github.com/BerriAI/litellm/issues/9800).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from energy_tracking.calls.call import Call
from energy_tracking.lifecycle import is_first
from energy_tracking.openai_client import sdk
from energy_tracking.settings import Settings, is_among_hosts

logger = logging.getLogger("energy_tracking")

# Host, or the end of one that begins with a dot -> its source.
USAGE_HOSTS = {
    "api.openai.com": "https://platform.openai.com/docs/api-reference/chat/create",
    # The regions, such as eu and us: https://platform.openai.com/docs/guides/your-data
    ".api.openai.com": "https://platform.openai.com/docs/api-reference/chat/create",
    "openrouter.ai": "https://openrouter.ai/docs/client-sdks/python/components/chatstreamoptions",
    "api.groq.com": "https://console.groq.com/docs/api-reference#chat-create",
    "api.deepseek.com": "https://api-docs.deepseek.com/api/create-chat-completion",
    "api.x.ai": "https://docs.x.ai/docs/api-reference#chat-completions",
    "api.cerebras.ai": "https://inference-docs.cerebras.ai/api-reference/chat-completions",
    "api.sambanova.ai": "https://docs.sambanova.ai/cloud/api-reference/endpoints/chat",
    "api.friendli.ai": "https://github.com/friendliai/friendli-python/tree/main/docs/models",
    "integrate.api.nvidia.com": "https://docs.nvidia.com/nim/large-language-models/latest/",
    "dashscope.aliyuncs.com": "https://help.aliyun.com/zh/model-studio/qwen-api-reference",
    "dashscope-intl.aliyuncs.com": "https://www.alibabacloud.com/help/en/model-studio/",
    "ollama.com": "https://docs.ollama.com/api/openai-compatibility",
}
OLLAMA_PORT = 11434
"""Where Ollama listens [1], see https://docs.ollama.com/api/openai-compatibility."""

# The end of an Azure host. They take the option from this version of their API on.
# Source: https://learn.microsoft.com/azure/ai-services/openai/api-version-deprecation
AZURE_HOSTS = (".openai.azure.com", ".cognitiveservices.azure.com", ".services.ai.azure.com")
AZURE_PATH = "/openai"
AZURE_USAGE_VERSION = "2024-09-01"

UNKNOWN_HOST = (
    "hidden reasoning is not counted; name the host in include_usage_hosts if it takes"
    " stream_options.include_usage"
)
"""What a partial call's reason says where its server is none of these."""

MAX_ENGINES = 256
"""Servers whose engine is remembered at most [1]."""

_engines: dict[tuple[str, int], str] = {}


def takes_usage_option(client: Any, settings: Settings) -> bool:
    """Whether a client's server is known to take the option.

    Args:
        client: The client.
        settings: What the user says.
    """
    url = client.base_url
    host, port = url.host, port_of(url)
    if is_among_hosts(settings.include_usage_hosts, host, port):
        return True
    if host in USAGE_HOSTS or host.endswith(tuple(end for end in USAGE_HOSTS if end[0] == ".")):
        return True
    if host.endswith(AZURE_HOSTS) or sdk.is_azure_client(client):
        version = str(client.default_query.get("api-version", ""))
        return AZURE_PATH in url.path and (
            f"{AZURE_PATH}/v1" in url.path or version >= AZURE_USAGE_VERSION
        )
    return port == OLLAMA_PORT or (host, port) in _engines


def port_of(url: Any) -> int:
    """The port of a client's URL, that of its scheme where it names none."""
    return url.port or (443 if url.scheme == "https" else 80)


# --- engines that are known by how they answer --------------------------------------------


def learn_engine(call: Call, data: Any = None, headers: Any = ()) -> None:
    """Remember that a server runs an engine that takes the option, if it shows.

    Args:
        call: A call to the server.
        data: A body or event of its response.
        headers: The names of the response's headers.
    """
    engine = _engine_in(data) or next(
        ("LiteLLM" for name in headers if name.lower().startswith(LITELLM_HEADERS)), None
    )
    host, port = call.request.server_address, call.request.server_port
    if engine is not None and host and port and len(_engines) < MAX_ENGINES:
        _engines.setdefault((host, port), engine)


# Source: https://docs.litellm.ai/docs/proxy/response_headers
LITELLM_HEADERS = "x-litellm-"

# Source: https://github.com/ollama/ollama/blob/main/openai/openai.go
OLLAMA_FINGERPRINT = "fp_ollama"

# Of a choice, beside OpenAI's `finish_reason`. Source: ChatCompletionResponseStreamChoice in
# https://github.com/vllm-project/vllm/tree/main/vllm/entrypoints/openai
VLLM_KEY = "stop_reason"


def _engine_in(data: Any) -> str | None:
    if not isinstance(data, Mapping):
        return None
    if data.get("system_fingerprint") == OLLAMA_FINGERPRINT:
        return "Ollama"
    choices = data.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    return "vLLM" if isinstance(first, Mapping) and VLLM_KEY in first else None


def report_unasked(call: Call) -> None:
    """Log once per server that its streams are not asked for their usage."""
    host, port = call.request.server_address or "", call.request.server_port
    if call.raw_usage is not None or not is_first(f"usage of {host}:{port}"):
        return
    engine = _engines.get((host, port or 0))
    if engine is not None:
        logger.info("%s answers at %s:%s: its streams are asked for usage now", engine, host, port)
        return
    logger.warning(
        "the stream of %s reported no usage: its tokens are estimated from its text, and %s. "
        "This is logged once per server.",
        f"{host}:{port}",
        UNKNOWN_HOST,
    )
