"""The commands that list what is known: ``models``, ``gpus``, ``sources``, ``settings``.

Each takes words to search for, and prints JSON where asked to. A list of profiles has a line for
each, or two where a name is long, and below it what its grades and sources are, spelt out. A new
list is a function with ``command``, and a row in ``commands``.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import click

from energy_tracking.calls.amounts import two_digits
from energy_tracking.calls.report import table
from energy_tracking.cli.commands import command
from energy_tracking.cli.main import DONE, NOTHING_FOUND
from energy_tracking.cli.output import Output, print_error
from energy_tracking.errors import not_one_of
from energy_tracking.profiles.catalogue import Catalogue
from energy_tracking.profiles.files import extend_catalogue, get_catalogue, load_sources
from energy_tracking.profiles.profile import GpuProfile, ModelProfile
from energy_tracking.settings import Settings, all_settings_rows, name_setting
from energy_tracking.settings.names import naming
from energy_tracking.terminal import WIDTH, one_line

GRADES: Mapping[str, str] = {
    "A": "published configuration or datasheet",
    "B": "reports that agree",
    "C": "a third party's estimate",
    "D": "a proxy or a rule",
    "E": "no public basis",
}
"""What each grade of a profile means."""

LONGEST_NAME = 34
"""A longer name has a line of its own [characters], so that the rest fits."""

as_json = click.option("--json", "is_json", is_flag=True, help="Print JSON.")
search = click.argument("words", metavar="[WORD]...", nargs=-1)


@command("models")
@search
@as_json
@click.pass_obj
def models(output: Output, words: tuple[str, ...], is_json: bool) -> int:
    """List the model profiles, or those whose name, alias or source has every WORD.

    A name as a provider writes it, such as gpt-4o-2024-08-06, finds the profile it leads to.
    """
    catalogue = load_profiles()
    found = [
        model
        for model in catalogue.models
        if _has_words(words, model.name, *model.aliases, model.source)
    ]
    # Behind those that are named so, those whose source is, such as LitGPT's for gpt.
    found.sort(key=lambda model: not _has_words(words, model.name, *model.aliases))
    if not found and len(words) == 1 and (match := catalogue.match(words[0])) is not None:
        found = [match.profile]
    if not found:
        names = [name for model in catalogue.models for name in (model.name, *model.aliases)]
        print_error(not_one_of("WORD", " ".join(words), names, "part of a model's name"))
        return NOTHING_FOUND
    header = ("model", "active", "total", "grade")
    rows = [_Row(model.name, _model_cells(model), model.source, model.grade) for model in found]
    if is_json:
        output.write_document([_profile_fields(model, _MODEL_FIELDS) for model in found])
    else:
        _print_rows(output, header, rows, "parameters in billions (1e9)")
    return DONE


@command("gpus")
@search
@as_json
@click.pass_obj
def gpus(output: Output, words: tuple[str, ...], is_json: bool) -> int:
    """List the GPU profiles, or those whose name, alias or source has every WORD."""
    catalogue = load_profiles()
    found = [gpu for gpu in catalogue.gpus if _has_words(words, gpu.name, *gpu.aliases, gpu.source)]
    if not found:
        names = [name for gpu in catalogue.gpus for name in (gpu.name, *gpu.aliases)]
        print_error(not_one_of("WORD", " ".join(words), names, "part of a GPU's name"))
        return NOTHING_FOUND
    if is_json:
        output.write_document([_profile_fields(gpu, _GPU_FIELDS) for gpu in found])
        return DONE
    rows = [
        _Row(
            gpu.name,
            (f"{gpu.peak_flops / 1e12:g}", f"{gpu.power_rating:g}", gpu.grade),
            gpu.source,
            gpu.grade,
        )
        for gpu in found
    ]
    header = ("gpu", "TFLOP/s", "power W", "grade")
    _print_rows(output, header, rows, "TFLOP/s: dense peak as the profile has it")
    return DONE


@command("settings")
@search
@as_json
@click.pass_obj
def settings(output: Output, words: tuple[str, ...], is_json: bool) -> int:
    """List the settings with their environment variables, or those that have every WORD."""
    rows = all_settings_rows()
    found = [row for row in rows if _has_words(words, *row)]
    if not found:
        names = [name for row in rows for name in row[:2] if name]
        print_error(not_one_of("WORD", " ".join(words), names, "part of a setting"))
        return NOTHING_FOUND
    if is_json:
        names = ["argument", "variable", "default", "meaning"]
        output.write_document([dict(zip(names, row, strict=True)) for row in found])
        return DONE
    for argument, variable, default, meaning in found:
        print(name_setting(argument, variable, default), file=output)
        for line in textwrap.wrap(meaning.replace("`", ""), WIDTH - 4):
            print(f"    {line}", file=output)
    return DONE


@command("sources")
@search
@as_json
@click.pass_obj
def sources(output: Output, words: tuple[str, ...], is_json: bool) -> int:
    """List where the numbers of the profiles are from, or the sources that have every WORD.

    The key of a source, such as minions-2025, finds it.
    """
    listed = load_sources()
    found = {
        key: source
        for key, source in listed.items()
        if _has_words(words, key, source.title, source.where, source.notes)
    }
    if not found:
        print_error(not_one_of("WORD", " ".join(words), listed, "part of a source"))
        return NOTHING_FOUND
    if is_json:
        output.write_document(
            [
                {
                    "key": key,
                    "title": source.title,
                    "where": source.where,
                    "read": source.read.isoformat(),
                    "notes": source.notes,
                }
                for key, source in found.items()
            ],
        )
        return DONE
    for key, source in found.items():
        print(key, file=output)
        for text in (source.title, source.where, f"read {source.read:%Y-%m-%d}", source.notes):
            if text:
                _print_note(output, text)
    return DONE


def load_profiles() -> Catalogue:
    """The profiles shipped, and those of the user's file, where a setting names one.

    Raises:
        ConfigurationError: A setting is wrong, or the file cannot be read.
    """
    path = Settings.load({}).profiles
    if path is None:
        return get_catalogue()
    with naming("profiles"):
        return extend_catalogue(get_catalogue(), path)


_SIZES = ("num_active_params", "num_active_params_low", "num_active_params_high")
_MODEL_FIELDS = ("name", *_SIZES, "num_total_params", "weight_format", "family", "aliases", "notes")
_GPU_FIELDS = ("name", "peak_flops", "power_rating", "memory_bytes", "memory_bandwidth", "aliases")


@dataclass(frozen=True, slots=True)
class _Row:
    """A profile in a list: its name, its numbers, its source and its grade."""

    name: str
    cells: Sequence[str]
    source: str
    grade: str


def _has_words(words: Sequence[str], *texts: str) -> bool:
    whole = "\n".join(texts).casefold()
    return all(word.casefold() in whole for word in words)


def _model_cells(model: ModelProfile) -> tuple[str, ...]:
    total = model.num_total_params
    return (
        two_digits(model.num_active_params / 1e9),
        "-" if total is None else two_digits(total / 1e9),
        model.grade,
    )


def _profile_fields(profile: ModelProfile | GpuProfile, names: Sequence[str]) -> dict[str, object]:
    """A profile for programs, its grade and source spelt out."""
    return {**{name: getattr(profile, name) for name in names}, **describe_grade(profile)}


def describe_grade(profile: ModelProfile | GpuProfile) -> dict[str, object]:
    """How well a profile is known, and where from, for programs."""
    listed = load_sources().get(profile.source)
    source = {"key": profile.source}
    if listed is not None:
        source |= {"title": listed.title, "where": listed.where}
    return {"grade": profile.grade, "grade_meaning": GRADES[profile.grade], "source": source}


def _print_rows(output: Output, header: Sequence[str], rows: Sequence[_Row], unit: str) -> None:
    """Print profiles in 80 columns, and below what their grades and sources are."""
    lines: list[tuple[str, ...]] = []
    for row in rows:
        name = one_line(row.name)
        if len(name) > LONGEST_NAME:
            lines.append((name, *[""] * len(row.cells), ""))
            name = ""
        lines.append((name, *row.cells, one_line(row.source)))
    _print_table(output, (*header, "source"), lines)
    grades = sorted({row.grade for row in rows})
    meanings = "; ".join(f"{grade}: {GRADES[grade]}" for grade in grades)
    _print_note(output, f"{unit}; grade {meanings}")
    sources = load_sources()
    for key in sorted({row.source for row in rows}):
        listed = sources.get(key)
        if listed is not None:
            _print_note(output, f"{key}: {listed.title}. {listed.where}")


def _print_table(output: Output, header: Sequence[str], rows: Sequence[tuple[str, ...]]) -> None:
    """Print columns, the first and the last to the left; a long name sticks out of its own."""
    short = [row for row in rows if any(row[1:])]
    first = max((len(row[0]) for row in (header, *short)), default=0)
    middle = table(("", *header[1:-1]), [("", *row[1:-1]) for row in short]).splitlines()
    width = max(map(len, middle))
    numbers = iter(middle)
    print(f"{header[0]:<{first}}{next(numbers):<{width}}  {header[-1]}", file=output)
    for row in rows:
        if any(row[1:]):
            print(f"{row[0]:<{first}}{next(numbers):<{width}}  {row[-1]}".rstrip(), file=output)
        else:
            print(row[0], file=output)


def _print_note(output: Output, note: str) -> None:
    lines = textwrap.wrap(
        one_line(note), WIDTH, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False
    )
    print("\n".join(lines), file=output)
