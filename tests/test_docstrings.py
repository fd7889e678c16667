"""The docstrings of the package: complete where a caller needs them, and long where a file is."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import energy_tracking

PACKAGE = Path(energy_tracking.__file__).parent
LONG_LINES = 200
"""A module longer than this opens with its purpose, its law or order, and the next row's place."""

MOST_LINES = 500
"""No module is longer, tables of data apart: a longer one does two jobs."""

TABLES = {"profiles/model_names.py", "telemetry/attributes.py"}
"""Modules that are tables of data, which may be longer."""

FILES = sorted(PACKAGE.rglob("*.py"))


class Function(NamedTuple):
    """A public function or method, and where it stands."""

    where: str
    node: ast.FunctionDef | ast.AsyncFunctionDef
    docs: str
    """Its docstring, and for a constructor that of its class."""

    @property
    def arguments(self) -> list[str]:
        """Names of its arguments, but for the object it is a method of."""
        named = self.node.args
        every = [*named.posonlyargs, *named.args, *named.kwonlyargs, named.vararg, named.kwarg]
        names = [argument.arg for argument in every if argument is not None]
        return [name for name in names if name not in ("self", "cls") and name[0] != "_"]


def public_functions(path: Path) -> Iterator[Function]:
    """Every public function of a module, and every public method of its public classes."""
    name = path.relative_to(PACKAGE).as_posix()

    def walk(body: list[ast.stmt], owner: str, docs: str) -> Iterator[Function]:
        for node in body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                yield from walk(node.body, f"{owner}{node.name}.", ast.get_docstring(node) or "")
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                marks = {ast.unparse(mark).rpartition(".")[2] for mark in node.decorator_list}
                if (node.name.startswith("_") and node.name != "__init__") or "overload" in marks:
                    continue
                # The docstring of a command is its help, and so is that of each of its options.
                if any(ast.unparse(mark).startswith("command(") for mark in node.decorator_list):
                    continue
                own = ast.get_docstring(node) or ""
                more = docs if node.name == "__init__" else ""
                yield Function(f"{name}:{node.lineno} {owner}{node.name}", node, own + more)

    yield from walk(ast.parse(path.read_text("utf-8")).body, "", "")


def raises(function: ast.AST) -> bool:
    """Whether a function raises an error itself: not what it caught, nor inside another one."""
    for node in ast.iter_child_nodes(function):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            continue
        if isinstance(node, ast.Raise) and node.exc is not None:
            return True
        if raises(node):
            return True
    return False


FUNCTIONS = [function for path in FILES for function in public_functions(path)]


def test_public_functions_are_found() -> None:
    names = {function.where.rpartition(" ")[2] for function in FUNCTIONS}
    assert names >= {
        "estimate_usage",
        "Totals.add",
        "Estimation.estimate",
        "ServingProfile.of_size",
    }


def test_every_public_function_of_two_arguments_states_what_each_is() -> None:
    missing = [
        f"{function.where}: {', '.join(unsaid)}"
        for function in FUNCTIONS
        if len(function.arguments) > 1
        and (unsaid := [name for name in function.arguments if f"{name}:" not in function.docs])
    ]
    assert missing == []


def test_every_public_function_that_raises_states_what_and_when() -> None:
    assert [f.where for f in FUNCTIONS if raises(f.node) and "Raises:" not in f.docs] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_a_module_is_no_longer_than_one_job_and_opens_with_its_order_where_it_is_long(
    path: Path,
) -> None:
    text = path.read_text("utf-8")
    lines, name = text.count("\n"), path.relative_to(PACKAGE).as_posix()
    assert lines <= MOST_LINES or name in TABLES
    docs = ast.get_docstring(ast.parse(text)) or ""
    assert docs
    assert lines <= LONG_LINES or docs.count("\n") >= 4, f"{name}: {docs}"
