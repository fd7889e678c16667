"""How the name of a model may be written, and what may stand around it.

Gateways, clouds and files add to a model's name: who serves it, which snapshot it is, how its
weights are stored. ``RULES`` has one row per addition. A rule takes its addition off one end of
the name, and what is left must be a known name, perhaps after other rules, each at most once.
A name that no rows explain has no reading: nothing is guessed from how alike two names look.

A new kind of name is a new row, with the reason why what it takes off does not change the size
of the model. A word that may change it (``-mini``, ``-thinking``, ``-fast``) is never taken off,
but where it is known to be a setting: OpenRouter's ``:thinking``, Cursor's names of Claude and
GPT-5.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from functools import cache
from typing import Final

from energy_tracking.frozen import frozen
from energy_tracking.profiles.weight_suffixes import WEIGHT_SUFFIXES

MAX_NAME_LENGTH: Final = 512
"""Longest name that is looked up [1]: longer ones are no model's, and would only cost time."""

# Colons also stand before tags (llama3.1:8b): a scheme is one of those that clients know.
# Sources: the provider tables of pydantic-ai 2.68 and langchain 1.5, promptfoo's documentation.
_SCHEMES: Final = (
    "(?:openai|openai-chat|openai-responses|azure|azure-responses|azure_openai|azureopenai"
    "|azure_ai|anthropic|anthropic_bedrock|google|google-cloud|google-gla|google-vertex"
    "|google_genai|google_vertexai|google-genai|google-vertexai|google_anthropic_vertex|vertex"
    "|bedrock|bedrock_converse|bedrock-mantle|bedrock_mantle_openai|bedrock_mantle_anthropic"
    "|sagemaker|groq|mistral|mistralai|cohere|deepseek|xai|grok|meta|moonshotai|zai|alibaba"
    "|openrouter|github|github-copilot|vercel|together|togetherai|fireworks|huggingface|hf|ollama"
    "|vllm|litellm|cerebras|sambanova|nebius|ovhcloud|heroku|snowflake|databricks|watsonx|ibm"
    "|nvidia|perplexity|replicate|cloudflare-ai|baseten|crusoe|ai21|localai)"
)
_APIS: Final = "(?:chat|completion|completions|responses|messages|text-generation)"

# Source: the model ids of Amazon Bedrock.
_REGIONS: Final = "(?:us|eu|apac|jp|au|ca|in|us-gov|global)"
_BEDROCK_MAKERS: Final = (
    "(?:ai21|amazon|anthropic|cohere|deepseek|google|meta|minimax|mistral|moonshot|moonshotai"
    "|nvidia|openai|qwen|writer|xai|zai)"
)
_MAKERS: Final = (
    "(?:alibaba|amazon|anthropic|c4ai|cohere|deepseek-ai|google|ibm|ibm-granite|meta|meta-llama"
    "|microsoft|minimaxai|mistralai|moonshotai|nvidia|openai|qwen|xai|zai|zai-org)"
)
_HOSTS: Final = r"(?:databricks-|fw-|huggingface-llm-|system\.ai\.)"

_MONTH: Final = "(?:0[1-9]|1[0-2])"
_DAY: Final = "(?:0[1-9]|[12][0-9]|3[01])"
_YEAR: Final = "20[0-9]{2}"
_SHORT_YEAR: Final = "2[3-9]"
_STORED: Final = "|".join(map(re.escape, WEIGHT_SUFFIXES))


@frozen()
class NameRule:
    """Something that may be taken off a model's name.

    Attributes:
        name: What the span says of it; rows with one name count as one rule.
        expression: Matches the whole folded name. Its group ``base`` is what stays; a group
            ``stored`` is a key of ``WEIGHT_SUFFIXES``.
        reason: Why it is no part of what the model is.
        example: A name it applies to.
        open_weights: It says something about files of weights, so it holds only for
            models whose weights are published.
        weight_format: The format of weights it stands for.
    """

    name: str
    expression: str
    reason: str
    example: str
    open_weights: bool = False
    weight_format: str = ""

    @property
    def pattern(self) -> re.Pattern[str]:
        """The expression, compiled."""
        return _compile(self.expression)


@cache
def _compile(expression: str) -> re.Pattern[str]:
    """An expression, compiled when a name first needs it: most are known as they are."""
    return re.compile(expression, re.DOTALL)


RULES: Final = (
    # ---------- who tuned it ----------
    NameRule(
        "fine_tuned",
        r"ft:(?P<base>[^:]+)(?::.*)?",
        "OpenAI and Mistral: a fine-tuned model has the size of its base",
        "ft:gpt-4o-2024-08-06:my-org:my-name:id",
    ),
    NameRule(
        "fine_tuned",
        r"(?P<base>.+)[.-]ft-[0-9a-f]{8,}(?:-.+)?",
        "Azure: a fine-tuned model has the size of its base",
        "gpt-35-turbo-1106.ft-b044a9d3cf9c4228b5d393567f693b83",
    ),
    # ---------- who serves it ----------
    NameRule(
        "provider_prefix",
        r".*[/\\](?P<base>[^/\\]+)",
        "what stands before the slash says who serves it, who made it or where the file is",
        "openrouter/openai/gpt-4o-mini",
    ),
    NameRule(
        "provider_scheme",
        rf"{_SCHEMES}:(?:{_APIS}:)?(?P<base>.+)",
        "pydantic-ai, LangChain, promptfoo: the client to call it with, perhaps its endpoint",
        "openai:chat:gpt-4o-mini",
    ),
    NameRule(
        "region",
        rf"{_REGIONS}\.(?P<base>.+)",
        "Bedrock: where a cross-region inference profile may run it",
        "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
    ),
    NameRule(
        "maker_prefix",
        rf"{_BEDROCK_MAKERS}\.(?P<base>.+)",
        "Bedrock: who made it",
        "meta.llama3-1-70b-instruct-v1:0",
    ),
    NameRule(
        "maker_prefix",
        rf"{_BEDROCK_MAKERS}\.(?P<base>.+)-v[0-9]",
        "Bedrock: who made it, and the version of its id, with no revision",
        "anthropic.claude-opus-4-6-v1",
    ),
    NameRule(
        "maker_prefix",
        rf"{_MAKERS}[-_](?P<base>.+)",
        "who made it, joined to the name",
        "openai-gpt-4.1",
    ),
    NameRule(
        "host_prefix",
        rf"{_HOSTS}(?P<base>.+)",
        "who serves it, joined to the name",
        "databricks-claude-sonnet-4-6",
    ),
    NameRule(
        "host_prefix",
        r"meta-textgeneration-(?P<base>.+?)(?:-b)?(?:-f)?",
        "SageMaker JumpStart: its task; f: tuned for chats; b: another build",
        "meta-textgeneration-llama-2-70b-b-f",
    ),
    NameRule(
        "host_suffix",
        r"(?P<base>.+)-maas",
        "Vertex AI: served by it",
        "llama-3.1-70b-instruct-maas",
        open_weights=True,
    ),
    NameRule(
        "host_suffix",
        r"(?P<base>.+:.+)-cloud",
        "Ollama: a tag of a model that it serves",
        "gpt-oss:120b-cloud",
        open_weights=True,
    ),
    NameRule(
        "host_suffix",
        r"(?P<base>.+):cloud",
        "Ollama: a model that it serves",
        "glm-4.6:cloud",
        open_weights=True,
    ),
    NameRule(
        "variant",
        r"(?P<base>.+)(?::(?:free|nitro|floor|online|beta|extended|thinking|exacto|batch)|\[1m\])",
        "OpenRouter: how it is routed, priced or prompted; Claude Code: a longer context",
        "meta-llama/llama-3.3-70b-instruct:free",
    ),
    NameRule(
        "variant",
        r"(?P<base>(?:.*/)?claude-.+)-1m",
        "GitHub Copilot: a longer context",
        "claude-opus-4.6-1m",
    ),
    NameRule(
        "effort",
        r"(?P<base>(?:.*/)?(?:o[134]|gpt-[56]).*)-(?:minimal|low|medium|high|xhigh)",
        "OpenAI's reasoning models: how long to think, which the count of tokens shows",
        "openai/o3-mini-high",
    ),
    NameRule(
        "effort",
        r"(?P<base>(?:.*/)?claude-.+?)(?:-(?:low|medium|high|max|xhigh))?-(?:thinking|thought)",
        "Cursor, GitHub Copilot: Claude's extended thinking, which the count of tokens shows",
        "claude-4.5-opus-high-thinking",
    ),
    NameRule(
        "priority",
        r"(?P<base>(?:.*/)?gpt-5.*)-(?:fast|priority)",
        "Cursor: OpenAI's priority processing, the same model with a shorter queue",
        "gpt-5-high-fast",
    ),
    # ---------- which snapshot it is ----------
    NameRule(
        "model_version",
        r"(?P<base>.+):[0-9](?::[0-9]+k)?",
        "Bedrock: the revision of an id, perhaps the length of its context",
        "nvidia.nemotron-nano-9b-v2:0",
    ),
    NameRule(
        "model_version",
        r"(?P<base>.+)-v?[0-9]:[0-9](?::[0-9]+k)?",
        "Bedrock: the version and revision of an id",
        "anthropic.claude-3-sonnet-20240229-v1:0:200k",
    ),
    NameRule(
        "latest",
        r"(?P<base>.+)[-:@](?:latest|default)",
        "whichever snapshot is current",
        "claude-3-5-haiku-latest",
    ),
    NameRule(
        "snapshot",
        rf"(?P<base>.+)-{_YEAR}-{_MONTH}-{_DAY}",
        "OpenAI: the day it was frozen",
        "gpt-4o-2024-08-06",
    ),
    NameRule(
        "snapshot",
        rf"(?P<base>.+)[-@](?:{_YEAR})?{_MONTH}{_DAY}",
        "OpenAI, Anthropic, Vertex AI, DeepSeek: the day it was frozen",
        "claude-3-5-sonnet@20240620",
    ),
    NameRule(
        "snapshot",
        rf"(?P<base>.+)-{_SHORT_YEAR}{_MONTH}{_DAY}",
        "Volcengine and Zhipu: the day it was frozen",
        "deepseek-v3-2-251201",
    ),
    NameRule(
        "snapshot",
        rf"(?P<base>.+)-{_MONTH}-{_YEAR}",
        "Cohere: the month it was frozen",
        "command-r-plus-08-2024",
    ),
    NameRule(
        "snapshot",
        rf"(?P<base>.*[0-9]b(?:-.+)?)-{_SHORT_YEAR}{_MONTH}",
        "Mistral and Qwen: the month it was frozen, where the name says the size; elsewhere the"
        " month may mean another size (mistral-large-2407 and -2512)",
        "mistral-small-3.2-24b-instruct-2506",
    ),
    NameRule(
        "snapshot",
        r"(?P<base>.+)[-@]00[1-9]",
        "Gemini and Vertex AI: the number of the stable version",
        "gemini-2.0-flash-001",
    ),
    NameRule(
        "snapshot",
        r"(?P<base>.+):20[0-9]{2}-?[0-9]{2}-?[0-9]{2}-v[0-9]+",
        "OpenAI's completions: the day it was frozen",
        "gpt-3.5-turbo-instruct:20230824-v2",
    ),
    NameRule(
        "snapshot",
        r"(?P<base>.+):[0-9a-f]{64}",
        "Replicate: the hash of the version",
        "meta/llama-2-70b-chat:02e509c789964a7ea8736978a43525956ef40397be9033abf9fd2badfe68c9e3",
    ),
    NameRule(
        "preview",
        rf"(?P<base>.+)-(?:preview|exp)(?:-{_MONTH}-{_DAY}|-{_MONTH}-{_YEAR}|-{_MONTH}{_DAY})?",
        "Gemini and others: a version before the stable one",
        "gemini-2.5-flash-preview-05-20",
    ),
    # ---------- which file it is ----------
    NameRule(
        "file_format",
        r"(?P<base>.+?)(?:-[0-9]{5}-of-[0-9]{5})?\.(?:gguf|safetensors)",
        "a file of weights, perhaps the first of several",
        "Meta-Llama-3.1-405B-Instruct-Q4_K_M-00001-of-00006.gguf",
        open_weights=True,
    ),
    NameRule(
        "file_format",
        r"(?P<base>.+)-(?:gguf|pytorch|keras|flax|jax|cpp|tflite|mlx|original"
        r"|onnx(?:-(?:web|cpu|cuda|directml))?)",
        "the program a repository's files are for",
        "google/gemma-7b-it-pytorch",
        open_weights=True,
    ),
    NameRule(
        "quantized",
        rf"(?P<base>.+?)[-.:_](?P<stored>{_STORED})",
        "how the weights are stored: fewer bytes, the same shape",
        "Meta-Llama-3.1-8B-Instruct-AWQ-INT4",
        open_weights=True,
    ),
    NameRule(
        "quantized",
        r"(?P<base>.+-instruct)-turbo",
        "Together and DeepInfra: the open model in FP8",
        "meta-llama/Llama-3.3-70B-Instruct-Turbo",
        open_weights=True,
        weight_format="fp8",
    ),
    # ---------- how it was trained on ----------
    NameRule(
        "tuned",
        r"(?P<base>.+?)[-:](?:(?:(?:instruct|chat)(?:-hf)?|it|base|pt|hf|text)(?:-lora)?|lora)",
        "a model tuned for chats or instructions has the shape of its base",
        "google/gemma-2-27b-it",
        open_weights=True,
    ),
    NameRule(
        "tuned",
        r"(?P<base>(?:.*/)?code-?llama[-:][0-9]+b)-(?:python|code)(?:-hf)?",
        "Code Llama's editions differ in training only",
        "meta-llama/CodeLlama-34b-Python-hf",
        open_weights=True,
    ),
)
"""What may be taken off a model's name, in the order tried."""

# One spelling of each name. Rows: pattern, replacement, whose names need it.
_SPELLINGS: Final = (
    # llama3.1:8b, Llama-3_3-70B, meta.llama3-1-8b, claude-3.5-sonnet, mistral-large@2407
    (re.compile(r"[._:]|@(?=[0-9])"), "-"),
    # Cursor: claude-4.5-sonnet
    (re.compile(r"^claude-([0-9]+(?:-[0-9]+)?)-(haiku|opus|sonnet)(?![a-z])"), r"claude-\2-\1"),
    # Fireworks: qwen2p5-72b, glm-4p7
    (re.compile(r"(?<=[0-9])p(?=[0-9])"), "-"),
    # Fireworks: llama-v3p1-8b, qwen-v2p5-14b, code-llama-13b
    (re.compile(r"^(llama|qwen)-v(?=[0-9])"), r"\1-"),
    (re.compile(r"^code-llama(?=-)"), "codellama"),
    # Cerebras: qwen-3-32b; Ollama and Bedrock: llama3
    (re.compile(r"(?<=[a-z])-(?=[0-9])"), ""),
)


def fold_name(name: str) -> str:
    """The name with its case ignored."""
    return name.casefold()


def unify_spelling(folded: str) -> str:
    """One spelling for names that differ only in how their parts are joined.

    Args:
        folded: A name, case folded.

    Returns:
        The name with one separator for all, and none before a number.
    """
    for pattern, replacement in _SPELLINGS:
        folded = pattern.sub(replacement, folded)
    return folded


@frozen()
class Reading:
    """What a name may mean.

    Attributes:
        name: What the rules left of it, case folded.
        rules: The rules that took something off, in order.
        weight_format: The format of weights that the name states; empty: none.
    """

    name: str
    rules: tuple[NameRule, ...] = ()
    weight_format: str = ""


def find_readings(name: str) -> Iterator[Reading]:
    """The name itself, then all that the rules leave of it, fewest rules first.

    Args:
        name: Any text.
    """
    if not 0 < len(name) <= MAX_NAME_LENGTH:
        return
    waiting = deque([Reading(fold_name(name))])
    seen = {waiting[0].name}
    yield waiting[0]
    while waiting:
        reading = waiting.popleft()
        taken = {rule.name for rule in reading.rules}
        for rule in RULES:
            if rule.name in taken or not (found := rule.pattern.fullmatch(reading.name)):
                continue
            base = found["base"]
            # What is reached again was reached by fewer rules, or by earlier ones.
            if base in seen:
                continue
            seen.add(base)
            stated = _find_stated_format(rule, found) or reading.weight_format
            waiting.append(Reading(base, (*reading.rules, rule), stated))
            # At once: of most names no further rule has to be compiled.
            yield waiting[-1]


def find_stored_format(folded: str) -> str:
    """The format of weights that the end of a folded name states; empty: none."""
    for rule in RULES:
        if rule.name == "quantized" and (found := rule.pattern.fullmatch(folded)):
            return _find_stated_format(rule, found)
    return ""


def _find_stated_format(rule: NameRule, found: re.Match[str]) -> str:
    """The format of weights that a rule read from a name; empty: none."""
    stored = found.groupdict().get("stored")
    return WEIGHT_SUFFIXES[stored] if stored else rule.weight_format
