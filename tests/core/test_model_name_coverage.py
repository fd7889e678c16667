"""How many of the model names that people's calls have are known."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from energy_tracking.profiles.files import load_catalogue

HERE = Path(__file__).parent
SHARED = HERE.parents[2] / "shared"
CATALOGUE = load_catalogue()

# Bedrock and Gemini name the model in the path alone.
MODEL_IN_PATH = re.compile(r"/models?/(?P<model>[^/:]+)(?:[/:]|$)")
MODEL_KEY = re.compile(
    r"(?:gen_ai\.(?:request|response)\.)?(?:ls_|provided_)?model(?:_?name|_?id)?", re.IGNORECASE
)

# Names that only their owners can explain, with a mapping.
OWN_NAMES = {
    "/opt/ml/model",  # where SageMaker's containers keep the weights
    "openllmetry-testing",  # a deployment on Azure whose response names no model
}


def known_share(names: set[str]) -> tuple[float, list[str]]:
    """The share of the names of generative models that have a profile, and those that have none.

    Names of models that generate no text are left out: embeddings, speech, images.
    """
    generative = [name for name in sorted(names) if not is_other_than_text(name)]
    unknown = [name for name in generative if CATALOGUE.match(name) is None]
    return 1 - len(unknown) / len(generative), unknown


def is_other_than_text(name: str) -> bool:
    """Whether the name is a known one of a model that no default may stand in for."""
    known = CATALOGUE.explain_no_profile(name) is not None
    return known and CATALOGUE.match(name, default="gpt-4o") is None


def shared(name: str) -> Path:
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"needs ../shared/{name}, which is not part of the repository")
    return path


def usage_names() -> set[str]:
    """Models of the recorded usage objects, embeddings left out."""
    rows = map(json.loads, shared("usage/usage_objects.jsonl").read_text("utf-8").splitlines())
    names = set()
    for row in rows:
        path = unquote(row["path"])
        in_path = MODEL_IN_PATH.search(unquote(path)) if not row["model"] else None
        # Of a quoted ARN or an id with a version, the path keeps every part.
        quoted = re.search(r"/model/([^/]+)/", row["path"])
        name = row["model"] or (unquote(quoted[1]) if quoted else in_path and in_path["model"])
        if name and not re.search("embed", path, re.IGNORECASE) and "voyage" not in row["host"]:
            names.add(name)
    return names


def cassette_names() -> set[str]:
    """Models that answered in the recorded exchanges; those asked for, where unnamed."""
    rows = map(json.loads, shared("cassettes/index.jsonl").read_text("utf-8").splitlines())
    return {
        name
        for row in rows
        if row["status"] == 200 and row["endpoint"] != "embeddings"
        if (name := row["response_model"] or row["model"])
    }


def log_names() -> set[str]:
    """Models of the logs and exports, wherever a field or a line of text names one."""
    names: set[str] = set()
    for path in sorted(shared("logs").iterdir()):
        raw = path.read_bytes()
        text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode("utf-8")
        if path.name == "INDEX.md":
            continue
        if path.suffix == ".md":
            names.update(re.findall(r"^> Model: (\S+)", text, re.MULTILINE))
        elif path.suffix == ".csv":
            rows = csv.DictReader(io.StringIO(text))
            names.update(row["model"] for row in rows if row.get("model"))
        else:
            for document in json_documents(text):
                names.update(names_in(document))
    return names


def json_documents(text: str) -> Iterator[Any]:
    """All JSON documents of a text, one after the other."""
    decoder = json.JSONDecoder()
    position = 0
    while position < len(text):
        if text[position].isspace():
            position += 1
            continue
        document, position = decoder.raw_decode(text, position)
        yield document


def names_in(document: Any) -> Iterator[str]:
    """Every model name in a JSON document."""
    if isinstance(document, list):
        for item in document:
            yield from names_in(item)
    elif isinstance(document, dict):
        # An attribute of OTLP, and the provider of promptfoo.
        if MODEL_KEY.fullmatch(str(document.get("key", ""))):
            yield document["value"]["stringValue"]
        if isinstance(provider := document.get("provider"), dict) and "id" in provider:
            yield provider["id"]
        for key, value in document.items():
            if isinstance(value, str) and value and MODEL_KEY.fullmatch(key):
                yield value
            yield from names_in(value)


def test_the_names_are_found_where_they_stand() -> None:
    assert {"us.amazon.nova-micro-v1:0", "gemini-2.5-flash", "claude-opus-4-8"} <= usage_names()
    assert {"gpt-4o-2024-08-06", "groq/compound"} <= cassette_names()
    assert {
        "openrouter/openai/gpt-4o-mini",
        "openai:chat:gpt-4o-mini",
        "claude-3-5-sonnet-20241022",
        "gpt-5.2-codex",
        "llama-3.1-8b-instant",
    } <= log_names()


def test_nearly_all_names_of_recorded_calls_are_known() -> None:
    names = (usage_names() | cassette_names() | log_names()) - OWN_NAMES
    share, unknown = known_share(names)
    print(f"{share:.1%} of {len(names)} names; unknown: {unknown}")
    assert share >= 0.95, unknown


def test_most_open_models_that_others_list_are_known() -> None:
    listed = json.loads((HERE / "data" / "open_model_names.json").read_text("utf-8"))["names"]
    assert len(set(listed)) == 176
    unknown = [name for name in listed if CATALOGUE.match(name) is None]
    print(f"{len(listed) - len(unknown)} of {len(listed)}; unknown: {unknown}")
    assert len(listed) - len(unknown) >= 150, unknown
