"""Which servers take ``stream_options.include_usage``, as far as their documentation says.

A server that does not know the option may refuse the request, so that nobody else is asked. A
service is known by its host, an engine that people run themselves by how it has answered before.
A new service is a row of ``USAGE_HOSTS``, with the page, SDK or maintained client that shows it;
a new engine is a row of ``CHOICE_KEYS``, if it marks its choices.

Not listed, on purpose:
- Mistral refuses the option and sends the usage unasked
  (https://github.com/TabbyML/tabby/pull/4082).
- The models of Azure's inference API refuse it (https://github.com/BerriAI/litellm/issues/9800).
- NVIDIA's host takes it for some models; those for images refuse it (``_stream`` of
  https://github.com/langchain-ai/langchain-nvidia/tree/main/libs/ai-endpoints), and requests
  have hung (https://github.com/HKUDS/DeepTutor/pull/420).
- Databricks refuses it for models of Bedrock (https://github.com/anomalyco/opencode/issues/4698).
- Cohere refuses it
  (https://strandsagents.com/docs/user-guide/concepts/model-providers/cohere).
- llama.cpp's server needs no question: its ``timings`` are read as the usage.
- Gemini's host sends the usage unasked, as its users find
  (https://discuss.ai.google.dev/t/gemini-openai-compatibility-does-it-support-the-stream-options-parameter/92785).
- LM Studio takes it since 0.3.18 (https://lmstudio.ai/docs/app/api-changelog), but neither it nor
  its version shows in its answers.
- Hyperbolic's list of parameters is without it (https://docs.hyperbolic.xyz/docs/rest-api).
- Bedrock's hosts, bigmodel.cn, SiliconFlow, MiniMax, Hugging Face's router and Perplexity: no page
  that says so was found. Nor is TGI known by how it answers.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from energy_tracking.calls.call import Call
from energy_tracking.notices import is_first, log
from energy_tracking.openai_client import sdk
from energy_tracking.openai_client.targets import UNKNOWN_HOST, Target
from energy_tracking.settings import Settings
from energy_tracking.usage.endpoints import AZURE_HOST_ENDS, AZURE_PATH

DASHSCOPE_SDK = "dashscope 2.0.2: v2/protocols/openai.py, v2/_config.py"

NEBIUS_PAGE = "https://docs.tokenfactory.nebius.com/api-reference/inference/create-chat-completion"

# Host, or the end of one that begins with a dot -> its source.
USAGE_HOSTS = {
    "api.openai.com": "https://github.com/openai/openai-node/pull/829",
    # The regions, such as eu and us.
    ".api.openai.com": "https://developers.openai.com/api/docs/guides/data-residency",
    # It has no effect there: the usage always comes.
    "openrouter.ai": "https://openrouter.ai/docs/client-sdks/python/components/chatstreamoptions",
    # Refused until 2024 (https://github.com/vercel/ai/pull/1578), then taken.
    "api.groq.com": "https://github.com/withceleste/celeste-python/pull/351",
    "api.deepseek.com": "https://github.com/vercel/ai/tree/main/packages/deepseek/src/chat",
    "api.x.ai": "https://github.com/langchain-ai/langchain/pull/34531",
    # The regions, such as us-east-1.
    ".api.x.ai": "https://docs.x.ai/developers/regions",
    "api.cerebras.ai": "https://github.com/Cerebras/cerebras-cloud-sdk-python",
    "api.sambanova.ai": "https://github.com/sambanova/sambanova-python",
    "api.friendli.ai": "https://github.com/friendliai/friendli-python/tree/main/docs/models",
    "api.together.ai": "https://github.com/vercel/ai/pull/17986",
    "api.together.xyz": "https://github.com/vercel/ai/pull/17986",
    "api.fireworks.ai": "https://github.com/langchain-ai/langchain/pull/36977",
    "api.moonshot.ai": "https://github.com/vercel/ai/tree/main/packages/moonshotai/src",
    "api.moonshot.cn": "https://github.com/earendil-works/pi/tree/main/packages/ai/src/providers",
    "api.z.ai": "https://github.com/BerriAI/litellm/tree/main/litellm/llms/zai/chat",
    "inference.baseten.co": "https://github.com/BerriAI/litellm/tree/main/litellm/llms/baseten",
    # DashScope, and the gateways of its workspaces. Its SDK asks on every one of them.
    "dashscope.aliyuncs.com": DASHSCOPE_SDK,
    "dashscope-intl.aliyuncs.com": DASHSCOPE_SDK,
    "cn-hongkong.dashscope.aliyuncs.com": DASHSCOPE_SDK,
    ".maas.aliyuncs.com": DASHSCOPE_SDK,
    "models.github.ai": "https://docs.github.com/en/rest/models/inference",
    "api.tokenfactory.nebius.com": NEBIUS_PAGE,
    "api.studio.nebius.com": NEBIUS_PAGE,
    "api.novita.ai": "https://docs.litellm.ai/docs/providers/novita",
    # A recorded exchange: providertests/testdata/TestVercelCommon.
    "ai-gateway.vercel.sh": "https://github.com/charmbracelet/fantasy",
    "ark.cn-beijing.volces.com": "https://github.com/QuantumNous/new-api/pull/759",
    "api.deepinfra.com": "https://docs.deepinfra.com/api-reference/openai-chat-completions-1",
    "api.scaleway.ai": "https://www.scaleway.com/en/docs/generative-apis/api-cli/using-chat-api",
    "ollama.com": "https://docs.ollama.com/api/openai-compatibility",
}
USAGE_HOST_ENDS = tuple(end for end in USAGE_HOSTS if end.startswith("."))
OLLAMA_PORT = 11434
"""Where Ollama listens [1], see https://docs.ollama.com/api/openai-compatibility."""

# Azure's hosts take the option from this version of their API on: 2024-08-01 names it without
# taking it (https://github.com/Azure/azure-rest-api-specs/issues/30810), 2024-09-01 takes it
# (https://github.com/openai/openai-python/issues/2296), and so does 2024-10-21
# (https://github.com/griptape-ai/griptape/issues/1640). Their v1 API has the request of OpenAI's,
# `stream_options` included, see "Create chat completion" in
# https://learn.microsoft.com/azure/ai-foundry/openai/latest.
AZURE_USAGE_VERSION = "2024-09-01"

MAX_ENGINES = 256
"""Servers whose engine is remembered at most [1]."""

MIXED_HOSTS = (
    "api.mistral.ai",
    "integrate.api.nvidia.com",
    "router.huggingface.co",
    ".databricks.com",
    ".azuredatabricks.net",
)
"""Ends of hosts with servers of several kinds behind them: the answer of one says nothing of the
next, see above."""

_engines: dict[tuple[str, int], str] = {}


def takes_usage_option(client: Any, target: Target, settings: Settings) -> bool:
    """Whether a server is known to take the option.

    Args:
        client: The client.
        target: Where it sends the request.
        settings: What the user says.
    """
    host, port, path = target.host, target.port, target.path
    if settings.include_usage_hosts:
        from energy_tracking.hosts import is_among_hosts  # most programs name none

        if is_among_hosts(settings.include_usage_hosts, host, port):
            return True
    if host in USAGE_HOSTS or host.endswith(USAGE_HOST_ENDS):
        return True
    if host.endswith(AZURE_HOST_ENDS) or sdk.is_azure_client(client):
        version, path = str(client.default_query.get("api-version", "")), path.lower()
        return AZURE_PATH in path and (f"{AZURE_PATH}/v1" in path or version >= AZURE_USAGE_VERSION)
    return port == OLLAMA_PORT or (host, port) in _engines


# --- engines that are known by how they answer --------------------------------------------


def learn_engine(call: Call, data: Any = None, headers: Any = ()) -> None:
    """Remember that a server runs an engine that takes the option, if it shows.

    Args:
        call: A call to the server.
        data: A body or event of its response.
        headers: The names of the response's headers.
    """
    if (call.request.server_address or "").endswith(MIXED_HOSTS):
        return
    engine = _engine_in(data) or next(
        ("LiteLLM" for name in headers if name.lower().startswith(LITELLM_HEADERS)), None
    )
    host, port = call.request.server_address, call.request.server_port
    if engine is not None and host and port and len(_engines) < MAX_ENGINES:
        _engines.setdefault((host, port), engine)


def forget_engine(call: Call, error: BaseException) -> None:
    """Forget the engine of a server that refuses the option: another one answers there now.

    Args:
        call: A call that was asked for its usage.
        error: What it failed with.
    """
    server = call.request.server_address or "", call.request.server_port or 0
    if server in _engines and "stream_options" in str(error):
        engine = _engines.pop(server)
        said = "%s:%s, where %s answered, refuses stream_options: its streams are not asked now"
        log(said, *server, engine)


# Source: https://docs.litellm.ai/docs/proxy/response_headers
# It takes the option for all its models (https://docs.litellm.ai/docs/completion/usage). An older
# one hands it on to Azure's inference API, see above.
LITELLM_HEADERS = "x-litellm-"

# Source: https://github.com/ollama/ollama/blob/main/openai/openai.go
OLLAMA_FINGERPRINT = "fp_ollama"

# Of a choice, beside OpenAI's `finish_reason` -> the engine. Sources:
# ChatCompletionResponseStreamChoice and ChatCompletionRequest in
# https://github.com/vllm-project/vllm/blob/main/vllm/entrypoints/openai/chat_completion/protocol.py
# https://github.com/sgl-project/sglang/blob/main/python/sglang/srt/entrypoints/openai/protocol.py
CHOICE_KEYS = {"stop_reason": "vLLM", "matched_stop": "SGLang"}


def _engine_in(data: Any) -> str | None:
    if not isinstance(data, Mapping):
        return None
    if data.get("system_fingerprint") == OLLAMA_FINGERPRINT:
        return "Ollama"
    choices = data.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(first, Mapping):
        return None
    return next((engine for key, engine in CHOICE_KEYS.items() if key in first), None)


def report_unasked(call: Call) -> None:
    """Log once per server that its streams are not asked for their usage."""
    host, port = call.request.server_address or "", call.request.server_port
    if call.raw_usage is not None or not is_first(f"{host}:{port}", "hosts"):
        return
    engine = _engines.get((host, port or 0))
    if engine is not None:
        said = "%s answers at %s:%s: its streams are asked for usage now"
        log(said, engine, host, port, level=logging.INFO)
        return
    log(
        "the stream of %s reported no usage: its tokens are estimated from its text, and %s. "
        "This is logged once per server.",
        f"{host}:{port}",
        UNKNOWN_HOST,
    )
