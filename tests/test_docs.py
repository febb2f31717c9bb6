"""What README.md and docs/ say: examples run, links lead somewhere, tests and modules that are named exist."""

from __future__ import annotations

import ast
import doctest
import re
from pathlib import Path

import pytest

import nbsmce

ROOT = Path(__file__).parent.parent
PAGES = [
    p
    for p in (
        ROOT / "README.md",
        ROOT / "CHANGELOG.md",
        ROOT / "CONTRIBUTING.md",
        *sorted((ROOT / "docs").glob("*.md")),
    )
]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_examples(page):
    failed, tried = doctest.testfile(str(page), module_relative=False)
    assert failed == 0
    assert tried > 5 or page.name != "README.md"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links(page):
    prose = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(), flags=re.S)
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", prose):
        assert target.startswith("https://") or (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_tests_that_are_named(page):
    for path, name in re.findall(r"`(tests/\w+\.py)(?:::(\w+))?`", page.read_text()):
        tree = ast.parse((ROOT / path).read_text())
        functions = {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}
        assert not name or name in functions, f"{path}::{name}"


def test_every_numerical_choice_has_a_guard():
    sections = re.split(r"^## ", (ROOT / "docs" / "numerics.md").read_text(), flags=re.M)[1:]
    assert len(sections) >= 10
    for section in sections:
        assert "Guard: `tests/" in section, section.splitlines()[0]


def test_every_module_is_in_the_architecture():
    text = (ROOT / "docs" / "architecture.md").read_text()
    rows = " ".join(line.split("|")[1] for line in text.splitlines() if line.startswith("| `"))
    named = set(re.findall(r"`([\w.]+)`", rows))
    package = Path(nbsmce.__file__).parent
    for path in package.rglob("*.py"):
        parts = path.relative_to(package).with_suffix("").parts
        module = ".".join(p for p in parts if p != "__init__")
        known = {module, module.removeprefix("_cpu."), module.removeprefix("_cuda.")}
        known |= {module.rpartition(".")[0]} - {"_cpu", "_cuda"}
        assert module == "" or known & named, module


def test_the_readmes_commands_are_those_of_the_ci():
    readme = (ROOT / "README.md").read_text()
    assert "python -m pip install '.[demo]' && python -m nbsmce demo  # demo" in readme
    assert "python -m pip install '.[test]' && python -m pytest  # test" in readme
