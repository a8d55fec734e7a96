"""The walks through the code in docs/development.md follow its imports."""

import ast
import re
from pathlib import Path

import pytest

from tests.service import ROOT

PACKAGES = {"sessions": "layers/sessions", "sessions_cli": "ops/sessions_cli", "sessions_local": "ops/sessions_local"}
ENTRIES = {"functions/list_sessions/app.py", "functions/authorize/app.py", "functions/count_sessions/app.py"}
ENTRIES |= {"ops/sessions_cli/cli.py", "ops/sessions_local/__main__.py"}


def walk(name: str) -> list[str]:
    """The files of a walk, in order."""
    text = (ROOT / "docs" / "development.md").read_text()
    found = re.search(rf"^\*\*{name}\*\*.*?(?=^\*\*|^## )", text, re.DOTALL | re.MULTILINE)
    assert found is not None
    return re.findall(r"`((?:functions|layers|ops)/[a-z_/]+\.py)`", found[0])


def imported(path: str) -> set[str]:
    """The files of the project that a file imports for more than its types."""
    tree = ast.parse((ROOT / path).read_text())
    for_types = [node for node in tree.body if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)]
    skipped = {inner for node in for_types for inner in ast.walk(node)}
    modules = []
    for node in set(ast.walk(tree)) - skipped:
        if isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    paths = set()
    for module in modules:
        package, _, rest = module.partition(".")
        if package in PACKAGES and rest:
            paths.add(f"{PACKAGES[package]}/{rest.replace('.', '/')}.py")
    return {each for each in paths if Path(ROOT, each).exists()}


def closure(path: str) -> set[str]:
    """A file and all that it imports, directly or not."""
    found: set[str] = set()
    open_ends = {path}
    while open_ends:
        found |= open_ends
        open_ends = {each for end in open_ends for each in imported(end)} - found
    return found


def test_the_walk_of_a_request_lists_every_file() -> None:
    passed = closure("functions/list_sessions/app.py")
    assert len(passed) <= 14
    assert set(walk("A list request")) == passed | closure("functions/authorize/app.py")


@pytest.mark.parametrize("name", ["A list request", "A stream record", "`sessions load`", "`make run`"])
def test_a_file_of_a_walk_is_imported_by_an_earlier_one(name: str) -> None:
    files = walk(name)
    for place, path in enumerate(files):
        before = set().union(*map(imported, files[:place]))
        assert path in ENTRIES | before, path
