"""The shipped profiles in one file of JSON, which is quicker to read than the files of TOML.

``python tests/profiles_json.py`` makes it anew, after a change in ``profiles/data``.
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

DATA = Path(__file__).parents[1] / "src" / "energy_tracking" / "profiles" / "data"
PROFILES = DATA / "profiles.json"


def read_tables() -> dict[str, Any]:
    """All files of models as one: families, models and names without a basis; and the GPUs."""
    models: dict[str, Any] = {"families": {}, "models": {}, "no_basis": []}
    for file in sorted((DATA / "models").glob("*.toml")):
        part = tomllib.loads(file.read_text(encoding="utf-8"))
        models["families"] |= part.get("families", {})
        models["models"] |= part.get("models", {})
        models["no_basis"] += part.get("no_basis", [])
    # A model may be like one of a later file, so those that are like another come last.
    tables = models["models"].items()
    models["models"] = dict(sorted(tables, key=lambda item: "like" in item[1]))
    gpus = tomllib.loads((DATA / "gpus.toml").read_text(encoding="utf-8"))
    return {"models": models, "gpus": gpus}


def make_json() -> str:
    """The file as it is to be."""
    return json.dumps(read_tables(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    PROFILES.write_text(make_json(), encoding="utf-8")
