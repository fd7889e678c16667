"""The parts of the READMEs that are generated, and how: ``python tests/readme.py`` writes them."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
README_OF_TESTS = ROOT / "tests" / "README.md"
READMES = (README, ROOT / "examples" / "README.md", README_OF_TESTS)


def demo_output() -> str:
    """What the demo prints."""
    code = "from energy_tracking.cli.main import main; main(['demo'])"
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    return f"```text\n{printed}"


ACCURACY = Path(__file__).parents[2] / "shared" / "accuracy"
MEASURED = (ACCURACY / "measured.csv", ACCURACY / "measured_2026_public.csv")
REFERENCE, ECOLOGITS = "reference", "EcoLogits, as shipped"
UNKNOWN_BATCH, KNOWN_BATCH = "roofline, batch unknown", "roofline, batch known"
TIMED = ("roofline, batch from timing", "roofline, server's clock")
SHOWN_METHODS = (REFERENCE, ECOLOGITS, UNKNOWN_BATCH, *TIMED, KNOWN_BATCH)
SHOWN_DISCLOSURES = ("Google", "OpenAI", "Epoch AI", "MIT Technology Review")


def missing_for_accuracy() -> str:
    """What the table of errors needs and is not here; empty if it can be made."""
    if not ACCURACY.exists():
        return "needs the measurements in ../shared/accuracy"
    return "" if find_spec("scipy") else "the fits need scipy"


def accuracy() -> dict[Path, dict[str, str]]:
    """The methods' measured errors, on architectures left out of the fit: a table, a sentence."""
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
    factors = [row.split(" | ")[2] for row in rows[2:]]
    short = {name: factors[2 * place : 2 * place + 2] for place, name in enumerate(SHOWN_METHODS)}
    sentence = (
        f"On {len(measured.points)} published measurements, each architecture predicted by "
        "constants fitted to the\n"
        "others, the error of 2023 to 2025 and of 2026 was a factor of "
        "{} and {} by `reference`,\n{} and {} by `roofline` with the batch unknown, and {} and {} "
        "where it is known;\nEcoLogits {} and {} ([how](tests/README.md#accuracy))."
    ).format(*short[REFERENCE], *short[UNKNOWN_BATCH], *short[KNOWN_BATCH], *short[ECOLOGITS])
    table = "\n".join(rows)
    return {README: {"accuracy in short": sentence}, README_OF_TESTS: {"accuracy": table}}


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


def generated() -> dict[Path, dict[str, str]]:
    """README -> mark in it -> the text that belongs below, the table of errors apart."""
    return {README: {"demo output": demo_output()}, README_OF_TESTS: disclosures()}


def filled(path: Path, parts: Mapping[str, str]) -> str:
    """A README with these generated parts as they should be."""
    text = path.read_text("utf-8")
    for marker, part in parts.items():
        # Up to the next blank line; a block of text may have some of its own.
        end = "```\n\n" if part.startswith("```") else "\n\n"
        pattern = rf"(<!-- {marker} -->\n?).*?(?={end})"
        found = re.search(pattern, text, flags=re.DOTALL)
        if found is None:
            raise ValueError(f"{path.relative_to(ROOT)} has no mark for {marker!r}")
        text = text[: found.start()] + found[1] + part + text[found.end() :]
    return text


if __name__ == "__main__":
    parts = generated()
    if missing := missing_for_accuracy():
        print(f"the table of errors stays as it is: {missing}", file=sys.stderr)
    else:
        for path, more in accuracy().items():
            parts[path] |= more
    for path, parts_of_one in parts.items():
        path.write_text(filled(path, parts_of_one), "utf-8")
