"""The commands ``estimate``, for one request, and ``compare``, for the same request to several.

Every number is shown by each method side by side, with its 90 % range, what it counts, and what is
known of the model's size. A new kind of estimate is a row in ``_KINDS``; a new line about one, a
line in ``_sentences``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import click

from energy_tracking.bounds import Bound
from energy_tracking.calls.amounts import (
    add_up,
    choose_unit,
    energy_text,
    format_amount,
    format_range,
    two_digits,
)
from energy_tracking.calls.carbon import Carbon, carbon
from energy_tracking.calls.record import Alternative, Outcome
from energy_tracking.calls.report import (
    CALIBRATED,
    IN_BRACKETS,
    kind_label,
    kind_sentences,
    wrap_notes,
)
from energy_tracking.calls.totals import EnergyKind, Totals
from energy_tracking.cli.columns import fit_columns, wrap_head
from energy_tracking.cli.commands import NumberIn, command
from energy_tracking.cli.everyday import everyday_text
from energy_tracking.cli.listing import GRADES, describe_grade
from energy_tracking.cli.main import DONE
from energy_tracking.cli.options import CARBON_OPTIONS, read_power, with_options
from energy_tracking.cli.output import Output
from energy_tracking.errors import ConfigurationError, must_be
from energy_tracking.estimation import Estimation
from energy_tracking.estimator import EnergyEstimate
from energy_tracking.profiles.catalogue import ModelMatch
from energy_tracking.settings import Settings
from energy_tracking.terminal import one_line
from energy_tracking.units import nanojoules_from_joules, wh_from_joules
from energy_tracking.usage.token_usage import MAX_TOKENS, TokenUsage

REFERENCE, FACILITY = EnergyKind("reference", "gpu"), EnergyKind("roofline", "facility")
_KINDS = (REFERENCE, CALIBRATED, FACILITY)
"""What is shown of each request: method and scope."""

REQUESTS = 1000
"""Requests that are likened to something that everybody knows [1]: one is too little for it."""


@dataclass(frozen=True, slots=True)
class _Request:
    """One request to one model on one GPU, and its energy by each kind there is.

    Attributes:
        model: The model as it was named.
        gpu: The GPU as it was named.
        match: The profile that the name led to.
        usage: The tokens.
        outcomes: The estimates by kind.
    """

    model: str
    gpu: str
    match: ModelMatch
    usage: TokenUsage
    outcomes: dict[EnergyKind, Outcome]

    def energy(self, kind: EnergyKind) -> EnergyEstimate | None:
        """The estimate of a kind."""
        outcome = self.outcomes.get(kind)
        return None if outcome is None else outcome.estimate

    @property
    def best(self) -> EnergyEstimate | None:
        """The calibrated estimate; that of the seed's formula where there is none."""
        return self.energy(CALIBRATED) or self.energy(REFERENCE)


@dataclass(frozen=True, slots=True)
class _Power:
    """Where the electricity is said to come from, if anybody asks for emissions."""

    region: str | None
    grams_per_kwh: float | None

    def carbon(self, estimate: EnergyEstimate | None) -> Carbon | None:
        """Emissions of an estimate."""
        if estimate is None or (self.region is None and self.grams_per_kwh is None):
            return None
        totals = Totals(
            total_energy_nanojoules=nanojoules_from_joules(estimate.total_energy_joules),
            total_energy_low_nanojoules=nanojoules_from_joules(estimate.total_energy_low_joules),
            total_energy_high_nanojoules=nanojoules_from_joules(estimate.total_energy_high_joules),
        )
        return carbon(totals, region=self.region, grams_per_kwh=self.grams_per_kwh)


_TOKENS = NumberIn(Bound(0, MAX_TOKENS, "tokens", is_whole=True))


def _count(name: str, meaning: str, **settings: Any) -> Callable[..., Any]:
    return click.option(f"--{name}", f"{name}_tokens", type=_TOKENS, help=meaning, **settings)


def _token_options(input: int | None, output: int | None) -> tuple[Callable[..., Any], ...]:
    """The options that say how many tokens there are, with their defaults, if they have any."""
    defaults: list[dict[str, Any]] = [
        {"required": True} if tokens is None else {"default": tokens, "show_default": True}
        for tokens in (input, output)
    ]
    return (
        _count("input", "Tokens of the prompt, cached ones included.", metavar="N", **defaults[0]),
        _count("output", "Tokens generated, reasoning included.", metavar="N", **defaults[1]),
        _count("reasoning", "Part of the output that is reasoning.", metavar="N"),
        _count("cached", "Part of the input from a prompt cache.", metavar="N", default=0),
    )


_SHOWN = (
    *CARBON_OPTIONS,
    click.option("--json", "is_json", is_flag=True, help="Print JSON."),
)


@command("estimate")
@click.option("--model", required=True, metavar="NAME", help="The model, as a provider names it.")
@with_options(*_token_options(None, None))
@click.option("--gpu", metavar="NAME", help="GPU profile (default: ENERGY_TRACKING_GPU, or H100).")
@with_options(*_SHOWN)
@click.pass_obj
def estimate(output: Output, /, model: str, gpu: str | None, is_json: bool, **given: Any) -> int:
    """The energy of one request, by each method, with its range and its parts."""
    power, usage = _Power(*read_power(given["region"], given["grams_per_kwh"])), _read_usage(given)
    request = _estimate_request(model, gpu, usage)
    if is_json:
        output.write_document(_describe(request, power))
        return DONE
    tokens = f"{usage.input_tokens:,} input and {usage.output_tokens:,} output tokens"
    profile = request.match.profile.name
    of = "" if profile == model else f", taken for {profile}"
    lines = [wrap_head(f"{model}{of}: {tokens} on {request.gpu}")]
    lines.append(_one_table(request, power))
    lines += wrap_notes(map(one_line, _sentences([request], power, is_compared=False)))
    print("\n".join(lines), file=output)
    return DONE


@command("compare")
@click.option("--models", required=True, metavar="A,B,C", help="The models.")
@click.option("--gpus", metavar="X,Y", help="GPU profiles (default: ENERGY_TRACKING_GPU, or H100).")
@with_options(*_token_options(1000, 500), *_SHOWN)
@click.pass_obj
def compare(output: Output, /, models: str, gpus: str | None, is_json: bool, **given: Any) -> int:
    """The energy of the same request to several models, on several GPUs."""
    power, usage = _Power(*read_power(given["region"], given["grams_per_kwh"])), _read_usage(given)
    gpu_names = [None] if gpus is None else _read_list("--gpus", gpus)
    requests = [
        _estimate_request(model, gpu, usage)
        for model in _read_list("--models", models)
        for gpu in gpu_names
    ]
    if is_json:
        output.write_document([_describe(request, power) for request in requests])
        return DONE
    tokens = f"{usage.input_tokens:,} input and {usage.output_tokens:,} output tokens"
    lines = [wrap_head(f"{tokens}, as one request")]
    lines.append(_many_table(requests, power))
    lines += wrap_notes(map(one_line, _sentences(requests, power, is_compared=True)))
    print("\n".join(lines), file=output)
    return DONE


def _read_list(option: str, given: str) -> list[str]:
    """The names in a list; each once.

    Raises:
        ConfigurationError: There is none.
    """
    names = list(dict.fromkeys(name.strip() for name in given.split(",") if name.strip()))
    if not names:
        raise ConfigurationError(must_be(option, "names with commas between them", given))
    return names


def _read_usage(given: dict[str, Any]) -> TokenUsage:
    """The tokens that the options give.

    Raises:
        ConfigurationError: A part is greater than its whole.
    """
    parts = (("cached", "input"), ("reasoning", "output"))
    for part, whole in parts:
        count, limit = given[f"{part}_tokens"], given[f"{whole}_tokens"]
        if count is not None and count > limit:
            what = f"at most --{whole}, {limit}, of which it is a part"
            raise ConfigurationError(must_be(f"--{part}", what, count))
    return TokenUsage(
        input_tokens=given["input_tokens"],
        cached_input_tokens=given["cached_tokens"],
        output_tokens=given["output_tokens"],
        reasoning_tokens=given["reasoning_tokens"],
        dialect="command line",
    )


def _estimate_request(model: str, gpu: str | None, usage: TokenUsage) -> _Request:
    """Estimate a request in every way.

    Raises:
        ConfigurationError: The model or GPU is unknown, or a setting is wrong.
    """
    # Each method is shown, whatever the environment has as the default one.
    settings = Settings.load({"method": "reference", "scope": "gpu", "gpu": gpu})
    estimation = Estimation(settings)
    match = estimation.find_model(model)
    own = estimation.estimate_as(None, None, usage, Alternative(model=model))
    outcomes = {REFERENCE: own}
    if own.calibrated is not None:
        outcomes[CALIBRATED] = Outcome(own.calibrated, own.model_match)
        outcomes[FACILITY] = estimation.estimate_as(
            None, None, usage, Alternative(model=model, method="roofline", scope="facility")
        )
    return _Request(model, settings.gpu, match, usage, outcomes)


def _one_table(request: _Request, power: _Power) -> str:
    """A row for each kind of estimate, its parts in columns."""
    energies = [one for kind in _KINDS if (one := request.energy(kind)) is not None]
    unit, size = choose_unit(max(one.total_energy_wh for one in energies))
    has_reasoning = any(one.reasoning_energy_joules for one in energies)
    header = ["", f"energy {unit}", "prompt", "output", *["of it reasoning"] * has_reasoning]
    has_carbon = power.carbon(energies[0]) is not None
    header += ["g CO2e"] * has_carbon
    rows = []
    for kind in _KINDS:
        one = request.energy(kind)
        if one is None:
            continue
        parts = (one.prefill_energy_joules, one.decode_energy_joules)
        *amounts, total = add_up([wh_from_joules(part) / size for part in parts])
        cells = [f"{total} ({_format_ends(one, size)})", *amounts]
        if has_reasoning:
            cells.append(format_amount(wh_from_joules(one.reasoning_energy_joules or 0.0) / size))
        emitted = power.carbon(one)
        if emitted is not None:
            cells.append(_grams_cell(emitted))
        rows.append([kind_label(kind), *cells])
    return fit_columns(header, rows, 1)


def _many_table(requests: list[_Request], power: _Power) -> str:
    """A row for each request, the kinds of estimates in columns."""
    kinds = [kind for kind in (REFERENCE, CALIBRATED) if any(one.energy(kind) for one in requests)]
    largest = max(one.best.total_energy_wh for one in requests if one.best is not None)
    unit, size = choose_unit(largest)
    several = len({one.gpu for one in requests}) > 1
    header = ["model", *["gpu"] * several, "", *(f"{kind_label(kind)} {unit}" for kind in kinds)]
    has_carbon = power.carbon(requests[0].best) is not None
    header += ["times", *["g CO2e"] * has_carbon]
    first = requests[0].best
    rows = []
    for request in requests:
        best = request.best
        ratio = "-"
        if best is not None and first is not None and first.total_energy_joules:
            ratio = two_digits(best.total_energy_joules / first.total_energy_joules)
        energies = [request.energy(kind) for kind in kinds]
        row = [one_line(request.model), *[one_line(request.gpu)] * several]
        row += [request.match.profile.grade]
        row += ["-" if one is None else _range_cell(one, size) for one in energies]
        emitted = power.carbon(best)
        row += [ratio, *["-" if emitted is None else _grams_cell(emitted)] * has_carbon]
        rows.append(row)
    return fit_columns(header, rows, 2 if several else 1)


def _range_cell(estimate: EnergyEstimate, size: float) -> str:
    """An energy with its range, in units of ``size`` [Wh]."""
    shown = format_amount(estimate.total_energy_wh / size)
    return f"{shown} ({_format_ends(estimate, size)})"


def _format_ends(estimate: EnergyEstimate, size: float) -> str:
    """Both ends of the range of an energy, in units of ``size`` [Wh]."""
    ends = (estimate.total_energy_low_joules, estimate.total_energy_high_joules)
    return format_range(*(wh_from_joules(end) / size for end in ends))


def _grams_cell(emitted: Carbon) -> str:
    grams = (emitted.total_carbon_low_grams, emitted.total_carbon_high_grams)
    return f"{two_digits(emitted.total_carbon_grams)} ({'-'.join(map(two_digits, grams))})"


def _sentences(requests: list[_Request], power: _Power, *, is_compared: bool) -> Iterator[str]:
    """What the numbers are, how well the models are known, and what an energy is like."""
    kinds = (REFERENCE, CALIBRATED) if is_compared else _KINDS
    shown = [kind for kind in kinds if any(one.energy(kind) for one in requests)]
    yield from kind_sentences(shown)
    yield IN_BRACKETS + "; times: as much as the first row, calibrated" * is_compared
    for gpu in sorted({one.gpu for one in requests if one.energy(CALIBRATED) is None}):
        yield f"no calibrated number on {gpu}: its profile has no memory bandwidth"
    if not is_compared:
        yield from _sentences_on_one(requests[0])
    profiles = {one.match.profile.name: one.match.profile for one in requests}
    for profile in profiles.values():
        known = describe_grade(profile)
        source = known["source"]
        assert isinstance(source, dict)
        title = source.get("title", source["key"])
        yield f"{profile.name}: grade {profile.grade}, {GRADES[profile.grade]}: {title}"
    emitted = power.carbon(requests[0].best)
    if emitted is not None:
        yield f"CO2e at {emitted.grams_per_kwh:g} g/kWh ({emitted.source})"
    best = requests[0].best
    if best is not None and best.total_energy_joules:
        which = kind_label(EnergyKind(best.method, best.scope))
        energy = energy_text(REQUESTS * best.total_energy_wh)
        text = everyday_text(REQUESTS * best.total_energy_joules)
        yield f"{REQUESTS:,} such requests to {requests[0].model}, {which}: {energy}, {text}"


def _sentences_on_one(request: _Request) -> Iterator[str]:
    own, beside = request.outcomes[REFERENCE], request.energy(CALIBRATED)
    if own.estimate is not None and own.cache_avoided_energy_joules:
        share = own.cache_avoided_energy_joules / own.estimate.total_energy_joules
        yield f"reference: the prompt cache avoids {two_digits(100 * share)} % on top of it"
    if beside is not None and beside.assumed:
        named = ", ".join(f"{name} {_value(value)}" for name, value in beside.assumed.items())
        yield f"calibrated: assumed of the servers, which nobody publishes: {named}"


def _value(value: float | str) -> str:
    return value if isinstance(value, str) else two_digits(value)


def _describe(request: _Request, power: _Power) -> dict[str, Any]:
    """A request for programs, with all digits."""
    usage = request.usage
    return {
        "model": request.model,
        "profile": request.match.profile.name,
        "match": request.match.rule,
        **describe_grade(request.match.profile),
        "gpu": request.gpu,
        "input_tokens": usage.input_tokens,
        "cached_input_tokens": usage.cached_input_tokens,
        "output_tokens": usage.output_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
        "cache_avoided_energy_joules": request.outcomes[REFERENCE].cache_avoided_energy_joules,
        "estimates": [
            _describe_estimate(kind, one, power)
            for kind in _KINDS
            if (one := request.energy(kind)) is not None
        ],
    }


def _describe_estimate(kind: EnergyKind, estimate: EnergyEstimate, power: _Power) -> dict[str, Any]:
    fields = {
        "name": kind_label(kind),
        "method": kind.method,
        "scope": kind.scope,
        "gpu": estimate.gpu,
        "profile": estimate.model_profile,
        "total_energy_wh": estimate.total_energy_wh,
        "total_energy_joules": estimate.total_energy_joules,
        "total_energy_low_joules": estimate.total_energy_low_joules,
        "total_energy_high_joules": estimate.total_energy_high_joules,
        "prefill_energy_joules": estimate.prefill_energy_joules,
        "decode_energy_joules": estimate.decode_energy_joules,
        "reasoning_energy_joules": estimate.reasoning_energy_joules,
        "range_from": list(estimate.range_from),
        "assumed": dict(estimate.assumed),
    }
    emitted = power.carbon(estimate)
    if emitted is not None:
        fields |= {
            "total_carbon_grams": emitted.total_carbon_grams,
            "total_carbon_low_grams": emitted.total_carbon_low_grams,
            "total_carbon_high_grams": emitted.total_carbon_high_grams,
            "grams_per_kwh": emitted.grams_per_kwh,
            "intensity_source": emitted.source,
        }
    return fields
