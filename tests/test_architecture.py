"""The house: floors, imports and what importing the library loads."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import energy_tracking
from energy_tracking.openai_client.sdk import PRIVATE_NAMES

PACKAGE = Path(energy_tracking.__file__).parent


def test_importing_the_library_loads_nothing_heavy() -> None:
    code = (
        "import sys, energy_tracking; "
        "print(*sorted({name.partition('.')[0] for name in sys.modules}), "
        "*[name for name in sys.modules if name in ('opentelemetry.sdk', 'energy_tracking.logs')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "energy_tracking" in loaded
    assert not loaded & {"openai", "numpy", "httpx", "httpx2", "opentelemetry.sdk"}
    assert not loaded & {"orjson", "duckdb", "zstandard", "energy_tracking.logs"}
    assert not loaded & {"click", "rich", "matplotlib"}


LOADED_WHERE_NEEDED = {
    *("decimal", "difflib", "html", "tomllib", "sqlite3", "csv", "statistics", "asyncio"),
    *("openai", "numpy", "httpx", "httpx2", "opentelemetry.sdk", "click", "rich", "matplotlib"),
    *("energy_tracking.ledger", "energy_tracking.calls.html", "energy_tracking.logs"),
    *("energy_tracking.cli", "energy_tracking.tables", "energy_tracking.demo"),
    *("energy_tracking.hosts", "energy_tracking.calls.receivers"),
    *("energy_tracking.calls.past", "energy_tracking.calls.aggregates"),
    *("energy_tracking.openai_client.stream_usage", "energy_tracking.openai_client.usage_hosts"),
}
"""What no tracked process loads with the library, but where something needs it."""

LOADED_BY_OTHERS = {"asyncio", "csv"}
"""Those of them that opentelemetry-api and wrapt load."""

NOT_FOR_HELP = {
    *("openai", "opentelemetry", "wrapt", "numpy", "rich", "tomllib", "sqlite3", "asyncio"),
    *("energy_tracking.tracker", "energy_tracking.estimator", "energy_tracking.profiles"),
    *("energy_tracking.calls.session", "energy_tracking.logs", "energy_tracking.telemetry"),
}


@pytest.mark.parametrize(
    ("door", "unwanted", "most"),
    [
        ("import energy_tracking", LOADED_WHERE_NEEDED | NOT_FOR_HELP, 3),
        (
            "from energy_tracking import wrap_openai, energy_session",
            LOADED_WHERE_NEEDED - LOADED_BY_OTHERS,
            120,
        ),
        ("from energy_tracking.cli.main import main; main(['--help'])", NOT_FOR_HELP, 30),
    ],
    ids=["package", "client", "help"],
)
def test_a_door_loads_no_more_than_it_needs(door: str, unwanted: set[str], most: int) -> None:
    """Modules are counted, not seconds, so that the test is no matter of the machine."""
    if "cli" in door:
        pytest.importorskip("click", reason="the command is an extra")
    code = f"""
import os, sys
before = set(sys.modules)
try:
    {door}
finally:
    print("loaded", *sorted(set(sys.modules) - before))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("loaded ")]
    loaded = set(line.split()[1:])
    assert loaded & unwanted == set()
    ours = {name for name in loaded if name.startswith("energy_tracking")}
    assert 1 <= len(ours) <= most, sorted(ours)


def test_a_main_door_that_needs_the_sdk_loads_it_when_it_is_opened() -> None:
    code = (
        "import sys, energy_tracking\n"
        "assert 'EnergySpanProcessor' in energy_tracking.__all__\n"
        "assert 'opentelemetry.sdk' not in sys.modules\n"
        "from energy_tracking import EnergyCompletionHook, EnergySpanProcessor\n"
        "from opentelemetry.sdk.trace import SpanProcessor\n"
        "assert issubclass(EnergySpanProcessor, SpanProcessor)\n"
        "print(hasattr(energy_tracking, 'EnergySpanProcesor'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("False\n", "")


MAY_IMPORT = {
    # What runs inside other people's processes stays light: who else may load what.
    "openai": {"openai_client", "demo"},
    "opentelemetry": {"contexts", "telemetry", "otel", "demo"},
    "wrapt": {"openai_client", "functions"},
    "tomllib": {"profiles", "servers"},
    "numpy": {"spark", "cli", "logs", "tables"},
    "matplotlib": {"cli"},
    "rich": {"cli"},
    "litellm": {"litellm"},
    "prometheus_client": {"servers"},
    "pytest": {"pytest_plugin"},
    "click": {"cli"},
    "orjson": {"logs"},
    "msgpack": {"logs"},
    "compression": {"logs"},
    "duckdb": {"cli", "logs"},
    "pyarrow": {"logs", "spark"},
    "pyspark": {"spark"},
    "pynvml": {"servers"},
    "zstandard": {"logs"},
}
"""Packages and modules of ours that may import a library; all others may not."""


def imported_by(path: Path) -> Iterator[str]:
    """Top names of everything a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def test_libraries_are_imported_where_they_belong_and_by_nobody_else() -> None:
    importers: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        home = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for name in imported_by(path):
            if name not in sys.stdlib_module_names or name in MAY_IMPORT:
                importers.setdefault(name, set()).add(home)
    importers.pop("energy_tracking")
    assert importers == MAY_IMPORT


def test_packages_import_from_floors_below_their_own() -> None:
    pytest.importorskip("importlinter", reason="the floors are held by import-linter")
    root = PACKAGE.parents[1]
    if not (root / "pyproject.toml").exists():
        pytest.skip("the floors are listed in pyproject.toml, which is not installed")
    command = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    done = subprocess.run(
        [sys.executable, "-c", command], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


PROCESS_STATE: dict[str, set[str]] = {
    # What happens around calls, and at the end and the forks of the process.
    "lifecycle.py": {"open_calls", "held_calls", "client_checks", "request_counts"}
    | {"_deferred", "_holding", "_is_armed", "_is_settling", "_has_ending", "_at_exit"}
    | {"_after_fork", "_before_looks"},
    "notices.py": {"logger", "_said"},
    "error_boundary.py": {"_last_resort"},
    # What is counted.
    "calls/accounts.py": {
        *("_here", "_accounts", "process_account", "open_accounts", "accounts_with_budget")
    },
    "calls/budget.py": {"_calling"},
    "calls/counted.py": {"counted_responses"},
    "ledger/writer.py": {"_losses", "_lock"},
    "telemetry/metrics.py": {"_instruments", "_made"},
    "servers/sampler.py": {"_samplers"},
    "otel/span_processor.py": {"_watched"},
    "litellm.py": {"energy_logger"},
    "estimation.py": {"_shared"},
    # Which meters are read.
    "servers/metering.py": {"_meters"},
    # Which clients are tracked, and how the SDK is hooked for them.
    "openai_client/targets.py": {"_known"},
    "openai_client/tracked.py": {"_marks", "_tracker_of_all"},
    "openai_client/hooks.py": {"changing", "_hooked", "_seen_classes"},
    "openai_client/request.py": {"_in_flight"},
    "openai_client/socket_modules.py": {"_followed"},
    "openai_client/usage_hosts.py": {"_engines"},
    # Profiles, which an application may add to.
    "profiles/catalogue.py": {"_registering"},
    "profiles/files.py": {"_catalogue", "_catalogue_lock"},
    # In a process that reads parts of tables, and does nothing else.
    "cli/reports/parts.py": {"_worker"},
}
"""Names of modules that change while the process runs. Each is in the room that owns it, and
registers with ``lifecycle`` what is to be done at a fork or at the end."""

NO_STATE = {
    *("__all__", "_sums_of", "_read_response"),
    *("as_json", "search"),  # options of commands
}


def test_what_a_module_keeps_for_the_process_is_listed() -> None:
    kept: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text("utf-8"))
        names = {
            name for node in ast.walk(tree) if isinstance(node, ast.Global) for name in node.names
        }
        for node in tree.body:
            if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(
                node.value, ast.Dict | ast.List | ast.Set | ast.Call
            ):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                names |= {each.id for each in targets if isinstance(each, ast.Name)}
        # Constants, types and their aliases begin with a capital.
        if states := {name for name in names - NO_STATE if name.lstrip("_")[:1].islower()}:
            kept[path.relative_to(PACKAGE).as_posix()] = states
    assert kept == PROCESS_STATE


def test_the_log_is_written_in_one_place_that_survives_its_handlers() -> None:
    holders = {path.name for path in PACKAGE.rglob("*.py") if "getLogger" in path.read_text()}
    assert holders == {"notices.py"}


def test_the_only_3600_is_in_units() -> None:
    holders = {path.name for path in PACKAGE.rglob("*.py") if "3600" in path.read_text("utf-8")}
    assert holders == {"units.py"}


@pytest.mark.parametrize("name", energy_tracking.__all__)
def test_public_names_are_documented(name: str) -> None:
    if name != "__version__":
        assert getattr(energy_tracking, name).__doc__


SDK_FACTS = "openai_client/sdk.py"
"""The only file that names what is private to openai."""

NOT_OF_OPENAI = {
    "_self_wrapper",  # wrapt
    "_energy_tracking",  # the mark that we put on clients
}


def test_private_names_of_openai_are_named_in_one_file() -> None:
    """Elsewhere, a name that begins with an underscore is one that we define ourselves."""
    trees = {
        path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text("utf-8"))
        for path in PACKAGE.rglob("*.py")
    }
    nodes = [(path, node) for path, tree in trees.items() for node in ast.walk(tree)]
    ours = {name for _, node in nodes for name in names_defined_by(node) if is_private(name)}
    assert len(ours) > 100
    used = {
        (path, name)
        for path, node in nodes
        for name in names_used_by(node, path)
        if is_private(name)
    }
    # Only these touch the SDK's objects.
    touching = ("openai_client/", "demo/")
    foreign = {
        (path, name)
        for path, name in used
        if path.startswith(touching) and name not in ours | NOT_OF_OPENAI
    }
    assert {path for path, _ in foreign} == {SDK_FACTS}
    sdk_names = {row.name for row in PRIVATE_NAMES if is_private(row.name)}
    assert {name for _, name in foreign} == sdk_names
    assert not {path for path, name in used if name in sdk_names} - {SDK_FACTS}


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


def names_defined_by(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        yield node.id
    elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
        if isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"):
            yield node.attr
    elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__slots__":
        yield from ast.literal_eval(node.value)


def names_used_by(node: ast.AST, path: str) -> Iterator[str]:
    if isinstance(node, ast.Attribute):
        yield node.attr
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        # Elsewhere, a text like "_low" is the end of a name of ours.
        yield node.value if path.startswith("openai_client/") else ""
    elif isinstance(node, ast.Import):
        yield from (part for alias in node.names for part in alias.name.split("."))
    elif isinstance(node, ast.ImportFrom):
        yield from (alias.name for alias in node.names)
        yield from (node.module or "").split(".")
