"""The READMEs are true: their tables, their output, their code, their commands."""

from __future__ import annotations

import ast
import json
import re
import shlex
import tomllib
from pathlib import Path

import pytest

import energy_tracking
from energy_tracking import Tracker
from energy_tracking.calls.carbon_intensities import ZONES
from energy_tracking.cli.main import main
from energy_tracking.profiles.files import load_catalogue, read_profiles
from readme import README, READMES, accuracy, filled, generated, missing_for_accuracy

TEXTS = {path: path.read_text("utf-8") for path in READMES}
TEXT = "\n".join(TEXTS.values())


def test_the_front_door_has_at_most_250_lines() -> None:
    assert len(TEXTS[README].splitlines()) <= 250


@pytest.mark.parametrize("path", READMES, ids=lambda path: path.parent.name)
def test_lines_but_those_of_tables_are_short(path: Path) -> None:
    lines = [line for line in TEXTS[path].splitlines() if not line.startswith("|")]
    assert [line for line in lines if len(line) > 110] == []


def test_generated_parts_are_up_to_date() -> None:
    for path, parts in generated().items():
        assert filled(path, parts) == TEXTS[path], "run: python tests/readme.py"


@pytest.mark.no_cover  # thousands of rounds of what other tests do once
def test_the_table_of_errors_is_up_to_date() -> None:
    if missing := missing_for_accuracy():
        pytest.skip(missing)
    for path, parts in accuracy().items():
        assert filled(path, parts) == TEXTS[path], "run: python tests/readme.py"


def test_the_zones_and_profiles_are_as_many_as_stated() -> None:
    text = " ".join(TEXT.split())
    assert f"yearly means of {len(ZONES)} zones" in text
    models = re.search(r"about (\d+) models", text)
    assert models is not None
    assert len(load_catalogue().models) == pytest.approx(int(models[1]), abs=5)


def anchors_of(text: str) -> set[str]:
    """Names that links may have for the headings of a text, as GitHub makes them."""
    without_code = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", without_code, flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", READMES, ids=lambda path: path.parent.name)
def test_every_link_to_the_repository_leads_to_a_file_and_a_heading(path: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]+))?\)", TEXTS[path])
    assert links
    for file, heading in links:
        target = (path.parent / file).resolve() if file else path
        assert target.exists(), file
        assert not heading or heading in anchors_of(target.read_text("utf-8")), (file, heading)


@pytest.mark.parametrize("path", READMES[:2], ids=lambda path: path.parent.name)
def test_the_contents_name_every_section(path: Path) -> None:
    named = re.findall(r"\]\(#([^)]+)\)", TEXTS[path].partition("\n## ")[0])
    assert anchors_of(TEXTS[path].partition("\n")[2]) <= {*named, "licence"}


def test_python_blocks_are_python() -> None:
    blocks = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
    assert blocks
    for block in blocks:
        ast.parse(block)


def test_names_the_readme_uses_exist() -> None:
    imported = re.findall(r"from energy_tracking import (.+)", TEXT)
    names = {name.strip() for line in imported for name in line.split(",")}
    called = set(re.findall(r"`(\w+)\(", TEXT)) & {
        name for name in dir(energy_tracking) if not name.startswith("_")
    }
    assert names | called <= set(energy_tracking.__all__)
    assert {"wrap_openai", "energy_session", "track_energy"} <= names | called | set(
        re.findall(r"@(\w+)", TEXT)
    )


def test_the_profile_file_can_be_read(tmp_path: Path) -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", TEXT, flags=re.DOTALL)
    path = tmp_path / "profiles.toml"
    path.write_text(block, "utf-8")
    models, gpus = read_profiles(path)
    assert [model.name for model in models] == ["house-7b"]
    assert [gpu.name for gpu in gpus] == ["house-gpu"]


COMMANDS = dict.fromkeys(
    re.findall(r"^energy-tracking (?!demo|run)(.+)$", TEXT, flags=re.MULTILINE)
)


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_of_the_readme_run(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("numpy")
    answer = {
        "id": "chatcmpl-1",
        "model": "gpt-4o",
        "created": 1764547200,
        "usage": {"prompt_tokens": 1000, "completion_tokens": 500},
    }
    projects = tmp_path / ".claude" / "projects"
    projects.mkdir(parents=True)
    for path in (tmp_path / "output.jsonl", tmp_path / "errors.jsonl", projects / "a.jsonl"):
        path.write_text(json.dumps(answer) + "\n", "utf-8")
    Tracker(ledger=tmp_path / "energy.jsonl").record(model="gpt-4o", usage=answer["usage"])
    monkeypatch.chdir(tmp_path)
    arguments = [word.replace("~", str(tmp_path)) for word in shlex.split(command)]
    assert main(arguments) == 0


@pytest.mark.parametrize(
    ("name", "stated"),
    [("openai", "openai"), ("opentelemetry-api", "OpenTelemetry"), ("wrapt", "wrapt")],
)
def test_the_versions_stated_are_those_that_are_allowed(name: str, stated: str) -> None:
    project = tomllib.loads((README.parent / "pyproject.toml").read_text("utf-8"))["project"]
    needed = (*project["dependencies"], *project["optional-dependencies"]["openai"])
    (bounds,) = [one.removeprefix(name) for one in needed if re.match(rf"{name}[>=]", one)]
    found = re.fullmatch(r">=([\d.]+),<(\d+)", bounds)
    assert found is not None
    below = int(found[2]) - 1
    assert f"{stated} {found[1]} to {below}" in TEXTS[README]


def test_the_pythons_stated_are_those_that_are_allowed() -> None:
    project = tomllib.loads((README.parent / "pyproject.toml").read_text("utf-8"))["project"]
    versions = re.findall(r"Python :: (3\.\d+)", "\n".join(project["classifiers"]))
    assert f"Python {versions[0]} to {versions[-1]}" in TEXTS[README]
    assert project["requires-python"] == f">={versions[0]}"
