"""The parts of README.md that are generated, and how: ``python tests/readme.py`` writes them."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from energy_tracking.settings import settings_rows
from energy_tracking.telemetry import attributes as tables
from energy_tracking.telemetry.attributes import Attribute
from energy_tracking.telemetry.metrics import METRICS

README = Path(__file__).parents[1] / "README.md"


def demo_output() -> str:
    """What the demo prints, without the port that changes from run to run."""
    code = "from energy_tracking.cli.main import main; main(['demo'])"
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    printed = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:8080", printed)
    printed = re.sub(r"(server\.port +)\d+", r"\g<1>8080", printed)
    return f"```text\n{printed}"


def attributes(*groups: tuple[Attribute[Any], ...]) -> str:
    """A table of span attributes."""
    rows = [
        f"| `{row.name}` | {f'`{row.unit}`' if row.unit else ''} | {row.description} |"
        for group in groups
        for row in group
    ]
    return "\n".join(["| attribute | unit | meaning |", "|---|---|---|", *rows])


def metrics() -> str:
    """The table of metrics."""
    rows = [f"| `{row.name}` | {row.kind} | `{row.unit}` | {row.description} |" for row in METRICS]
    return "\n".join(["| metric | kind | unit | meaning |", "|---|---|---|---|", *rows])


def settings() -> str:
    """The table of settings."""
    rows = [
        f"| `{argument}` | `{variable}` | {f'`{default}`' if default else ''} | {meaning} |"
        for argument, variable, default, meaning in settings_rows()
    ]
    head = ["| argument | environment variable | default | meaning |", "|---|---|---|---|"]
    return "\n".join([*head, *rows])


ACCURACY = Path(__file__).parents[2] / "shared" / "accuracy"
MEASURED = (ACCURACY / "measured.csv", ACCURACY / "measured_2026_public.csv")
SHOWN_METHODS = (
    "reference",
    "EcoLogits, as shipped",
    "roofline, batch unknown",
    "roofline, batch known",
)
SHOWN_DISCLOSURES = ("Google", "OpenAI", "Epoch AI", "MIT Technology Review")


def missing_for_accuracy() -> str:
    """What the table of errors needs and is not here; empty if it can be made."""
    if not ACCURACY.exists():
        return "needs the measurements in ../shared/accuracy"
    return "" if find_spec("scipy") else "the fits need scipy"


def accuracy() -> str:
    """A table of the methods' measured errors, on architectures left out of the fit."""
    sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))
    import numpy as np
    from accuracy import METHODS, evaluate, fit_without_each
    from measured import Measured, read_measured

    read = read_measured(*MEASURED)
    measured = Measured(tuple(point for point in read.points if not point.flag), {})
    constants = fit_without_each(measured)
    sources = measured.labels(lambda point: point.source)
    slices = {
        "2023 to 2025": sources != "InferenceX PowerX",
        "2026": sources == "InferenceX PowerX",
    }
    rows = ["| method | rows of | error | within a factor of 2 | inside its 90 % range |"]
    rows.append("|---|---|---|---|---|")
    for name in SHOWN_METHODS:
        result = evaluate(measured, METHODS[name], constants)
        for label, mask in slices.items():
            near = float(np.mean(np.abs(result.error[mask]) <= np.log(2)))
            covered = result.coverage(mask, 90)
            shown = "none stated" if covered == "-" else covered.replace("%", " %")
            rows.append(
                f"| {name} | {label} | {result.factor(mask):.2f} | {near * 100:.0f} % | {shown} |"
            )
    return "\n".join(rows)


def disclosures() -> dict[str, str]:
    """Our estimates beside what was disclosed or published of one query: a sentence, a table."""
    sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))
    from disclosures import DISCLOSURES, held_in_scope, markdown, read_disclosures

    rows = read_disclosures(DISCLOSURES)
    inside, scoped = held_in_scope(rows)
    shown = [row for row in rows if row.who.startswith(SHOWN_DISCLOSURES)]
    return {
        "disclosures held": (
            f"`python tests/benchmarks/disclosures.py` prints all {len(rows)} with their sources:\n"
            f"of the {scoped} that count the GPUs or a facility, {inside} lie inside the range of\n"
            "`roofline` at that scope. Below are the ones that people quote most:"
        ),
        "disclosures": "\n".join(markdown(shown)),
    }


def generated() -> dict[str, str]:
    """Marker in the README -> the text that belongs below it, the table of errors apart."""
    return {
        **disclosures(),
        "demo output": demo_output(),
        "attributes": attributes(
            tables.REQUEST_ATTRIBUTES,
            tables.RESPONSE_ATTRIBUTES,
            tables.TOKEN_ATTRIBUTES,
            tables.ENERGY_ATTRIBUTES,
            tables.SESSION_ATTRIBUTES,
        ),
        "rollup attributes": attributes(tables.ROLLUP_ATTRIBUTES),
        "metrics": metrics(),
        "settings": settings(),
    }


def filled(text: str, parts: Mapping[str, str]) -> str:
    """The README with these generated parts as they should be."""
    for marker, part in parts.items():
        # Up to the next blank line; a block of text may have some of its own.
        end = "```\n\n" if part.startswith("```") else "\n\n"
        pattern = rf"(<!-- {marker} -->\n?).*?(?={end})"
        found = re.search(pattern, text, flags=re.DOTALL)
        if found is None:
            raise ValueError(f"README.md has no mark for {marker!r}")
        text = text[: found.start()] + found[1] + part + text[found.end() :]
    return text


if __name__ == "__main__":
    parts = generated()
    if missing := missing_for_accuracy():
        print(f"the table of errors stays as it is: {missing}", file=sys.stderr)
    else:
        parts["accuracy"] = accuracy()
    README.write_text(filled(README.read_text("utf-8"), parts), "utf-8")
