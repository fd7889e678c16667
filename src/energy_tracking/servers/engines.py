"""The table of engines: which metrics of a server's page say how much it runs, and of what.

A new engine is a row of ``ENGINES`` with its source, and a page of it in the tests. A metric is
read by the names that it has had, the newest first. Its samples stand for the copies of a model
that the page is of, one a replica, except where a label of ``Engine.ranks`` tells them apart:
those are the GPUs of one copy, each of which states the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field

from energy_tracking.bounds import Bound
from energy_tracking.frozen import frozen
from energy_tracking.servers.pages import PageError, Sample, read_samples
from energy_tracking.usage.names import text_of

RUNNING = Bound(0, 1e6)
"""What a number of running requests may be [1]."""

COUNTED = Bound(0, 1e18)
"""What a counter of tokens may be [tokens]."""


@frozen(kw_only=True)
class Engine:
    """How an engine names what it states.

    Attributes:
        name: What the engine is called.
        source: Where its metrics are documented.
        running: Gauge of the requests whose tokens are computed together, without those that wait.
        input_tokens: Counter of prompt tokens.
        cached_tokens: Counter of those of them that came out of the prefix cache.
        output_tokens: Counter of generated tokens.
        cache_outside: Whether the prompt tokens leave out those of the cache.
        model: Label of the model's name.
        only: Labels and the value that samples must have; of those without it, empty is it.
        ranks: Labels of the GPUs that hold one copy.
        counts_at_end: Whether it counts the tokens of a request when that ends, not when they are
            made.
    """

    name: str
    source: str
    running: tuple[str, ...]
    input_tokens: tuple[str, ...] = ()
    cached_tokens: tuple[str, ...] = ()
    output_tokens: tuple[str, ...] = ()
    cache_outside: bool = False
    model: str = "model_name"
    only: Mapping[str, str] = field(default_factory=dict[str, str])
    ranks: tuple[str, ...] = ()
    counts_at_end: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all samples that are read."""
        return (*self.running, *self.input_tokens, *self.cached_tokens, *self.output_tokens)


def _name_all(prefixes: Iterable[str], *names: str) -> tuple[str, ...]:
    """Every name with every prefix."""
    return tuple(prefix + name for prefix in prefixes for name in names)


_RAY = ("ray_vllm_", "ray_vllm:")
_TRTLLM = ("trtllm_", "trtllm:")

ENGINES: tuple[Engine, ...] = (
    Engine(
        name="vLLM",
        source="https://docs.vllm.ai/en/latest/design/metrics/",
        running=("vllm:num_requests_running",),
        input_tokens=("vllm:prompt_tokens_total",),
        cached_tokens=("vllm:prefix_cache_hits_total", "vllm:gpu_prefix_cache_hits_total"),
        output_tokens=("vllm:generation_tokens_total",),
    ),
    # Ray takes the colon out of a name; before 2.48 it did not. Counters are there with and
    # without `_total`.
    Engine(
        name="Ray Serve",
        source="https://docs.ray.io/en/latest/serve/llm/user-guides/observability.html",
        running=_name_all(_RAY, "num_requests_running"),
        input_tokens=_name_all(_RAY, "prompt_tokens_total"),
        cached_tokens=_name_all(_RAY, "prefix_cache_hits_total"),
        output_tokens=_name_all(_RAY, "generation_tokens_total"),
    ),
    # With priorities, the sum has an empty one.
    Engine(
        name="SGLang",
        source="https://docs.sglang.ai/references/production_metrics.html",
        running=("sglang:num_running_reqs",),
        input_tokens=("sglang:prompt_tokens_total",),
        cached_tokens=("sglang:cached_tokens_total",),
        output_tokens=("sglang:generation_tokens_total",),
        only={"priority": ""},
        ranks=("tp_rank", "pp_rank", "moe_ep_rank"),
        counts_at_end=True,
    ),
    Engine(
        name="TGI",
        source="https://huggingface.co/docs/text-generation-inference/reference/metrics",
        running=("tgi_batch_current_size",),
        input_tokens=("tgi_request_input_length_sum",),
        output_tokens=("tgi_request_generated_tokens_sum",),
        counts_at_end=True,
    ),
    # Of this backend's requests, "active" ones include those that wait.
    Engine(
        name="Triton with TensorRT-LLM",
        source="https://github.com/triton-inference-server/tensorrtllm_backend#triton-metrics",
        running=("nv_trt_llm_request_metrics",),
        model="model",
        only={"request_type": "scheduled"},
    ),
    # Its /metrics is of another format; this one is at /prometheus/metrics.
    Engine(
        name="TensorRT-LLM",
        source="https://nvidia.github.io/TensorRT-LLM/reference/api/tensorrt_llm.metrics.html",
        running=_name_all(_TRTLLM, "num_requests_running"),
        input_tokens=_name_all(_TRTLLM, "prompt_tokens_total"),
        output_tokens=_name_all(_TRTLLM, "generation_tokens_total"),
        counts_at_end=True,
    ),
    Engine(
        name="llama.cpp",
        source="https://github.com/ggml-org/llama.cpp/tree/master/tools/server#get-metrics-prometheus-compatible-metrics-exporter",
        running=("llamacpp:requests_processing",),
        input_tokens=("llamacpp:prompt_tokens_total",),
        cached_tokens=("llamacpp:prompt_tokens_cached_total",),
        output_tokens=("llamacpp:tokens_predicted_total",),
        cache_outside=True,
        counts_at_end=True,
        model="model",
    ),
)

_NAMES = frozenset(name for engine in ENGINES for name in engine.names)

NO_ENGINE = (
    "has none of the metrics known of an engine: of vLLM, SGLang, TGI, Ray Serve and llama.cpp "
    "(started with --metrics) they are at /metrics, of TensorRT-LLM at /prometheus/metrics"
)


@frozen(kw_only=True)
class ServerReading:
    """What a page says of one model at one moment.

    Attributes:
        engine: Name of the engine.
        model: Name of the model; empty where the page names none.
        running_requests: Requests whose tokens are computed now, on all replicas [1].
        busy_replicas: Copies of the model that run any [1].
        num_gpus: GPUs that hold one copy, where the page tells them apart [1].
        input_tokens: Prompt tokens so far [tokens]; None: not stated, as below.
        cached_input_tokens: Those of them that came out of the prefix cache.
        output_tokens: Generated tokens so far.
    """

    engine: str
    model: str
    running_requests: float
    busy_replicas: int
    num_gpus: int | None = None
    input_tokens: float | None = None
    cached_input_tokens: float | None = None
    output_tokens: float | None = None

    @property
    def batch(self) -> float:
        """Requests that share a step on a replica that runs any [1].

        The mean over such replicas: by whichever of them our request is among, a step costs
        about the same, so that its mean share is one over this.
        """
        return self.running_requests / max(self.busy_replicas, 1)


def read_page(page: str) -> tuple[ServerReading, ...]:
    """What a page says, by model.

    Args:
        page: Its text.

    Raises:
        PageError: It is of no engine known, or its running requests cannot be such a number.
    """
    samples = list(read_samples(page, _NAMES))
    stated = {sample.name for sample in samples}
    for engine in ENGINES:
        if not stated.isdisjoint(engine.running):
            return _read_engine(engine, samples)
    raise PageError(NO_ENGINE)


def _read_engine(engine: Engine, samples: list[Sample]) -> tuple[ServerReading, ...]:
    """What the samples of an engine say, by model.

    Raises:
        PageError: Its running requests cannot be such a number.
    """
    running = _by_model(engine, samples, engine.running)
    counted = {
        name: _by_model(engine, samples, getattr(engine, name))
        for name in ("input_tokens", "cached_tokens", "output_tokens")
    }
    readings = []
    for model, replicas in running.items():
        for value in replicas.values():
            if not RUNNING.holds(value):
                raise PageError(f"states {value:g} running requests")
        counts = {name: _add_up(by_model.get(model)) for name, by_model in counted.items()}
        if engine.cache_outside and counts["input_tokens"] is not None:
            counts["input_tokens"] += counts["cached_tokens"] or 0
        readings.append(
            ServerReading(
                engine=engine.name,
                model=text_of(model) or "",
                running_requests=sum(replicas.values()),
                busy_replicas=sum(value > 0 for value in replicas.values()),
                num_gpus=_count_ranks(engine, samples),
                input_tokens=counts["input_tokens"],
                cached_input_tokens=counts["cached_tokens"],
                output_tokens=counts["output_tokens"],
            )
        )
    if not readings:
        raise PageError("states no running requests")
    return tuple(readings)


_Replica = frozenset[tuple[str, str]]


def _by_model(
    engine: Engine, samples: list[Sample], names: tuple[str, ...]
) -> dict[str, dict[_Replica, float]]:
    """The values of a metric by model and replica, by the first of its names that is there."""
    for name in names:
        found: dict[str, dict[_Replica, float]] = {}
        for sample in samples:
            if sample.name != name or not _is_meant(engine, sample):
                continue
            shared = {engine.model, *engine.ranks}
            replica = frozenset(pair for pair in sample.labels.items() if pair[0] not in shared)
            values = found.setdefault(sample.labels.get(engine.model, ""), {})
            # Every rank states the same, though not at the same moment. NaN comes last.
            values[replica] = max(sample.value, values.get(replica, sample.value))
        if found:
            return found
    return {}


def _is_meant(engine: Engine, sample: Sample) -> bool:
    return all(sample.labels.get(label, "") == value for label, value in engine.only.items())


def _count_ranks(engine: Engine, samples: list[Sample]) -> int | None:
    """GPUs that hold one copy; None where the page shows one alone, as most do whatever there are.

    Engines show the first rank alone unless they are asked for all.
    """
    ranks = {
        tuple(sample.labels.get(label, "") for label in engine.ranks)
        for sample in samples
        if sample.name in engine.running
    }
    return len(ranks) if len(ranks) > 1 else None


def _add_up(replicas: Mapping[_Replica, float] | None) -> float | None:
    """A counter over all replicas; None where it is not stated, or none."""
    if not replicas or not all(map(COUNTED.holds, replicas.values())):
        return None
    return sum(replicas.values())
