"""The walks through the code in docs/development.md follow its imports."""

import re
from pathlib import Path

import pytest

from tests.service import ROOT

FOLDERS = {"sessions": "layers/sessions", "sessions_cli": "ops/sessions_cli", "sessions_local": "ops/sessions_local"}
IMPORT = re.compile(r"^ *from (sessions\w*)([\w.]*) import (.*)$", re.MULTILINE)
ENTRIES = {f"functions/{name}/app.py" for name in ("list_sessions", "authorize", "count_sessions")}
ENTRIES |= {"ops/sessions_cli/cli.py", "ops/sessions_local/__main__.py"}


def walk(name: str) -> list[str]:
    """The files of a walk, in order."""
    text = (ROOT / "docs" / "development.md").read_text()
    found = re.search(rf"^\*\*{name}\*\*.*?(?=^\*\*|^## )", text, re.DOTALL | re.MULTILINE)
    assert found is not None
    return re.findall(r"`((?:functions|layers|ops)/[a-z_/]+\.py)`", found[0])


def imported(path: str) -> set[str]:
    """The files of the project that a file imports."""
    found = set()
    for package, module, names in IMPORT.findall((ROOT / path).read_text()):
        folder = FOLDERS[package] + module.replace(".", "/")
        found |= {f"{folder}.py", *(f"{folder}/{name}.py" for name in re.findall(r"\w+", names))}
    return {each for each in found if Path(ROOT, each).exists()}


def closure(path: str) -> set[str]:
    """A file and all that it imports, directly or not."""
    found: set[str] = set()
    added = {path}
    while added:
        found |= added
        added = set().union(*map(imported, added)) - found
    return found


def test_the_walk_of_a_request_lists_every_file() -> None:
    passed = closure("functions/list_sessions/app.py")
    assert len(passed) <= 14
    assert set(walk("A list request")) == passed | closure("functions/authorize/app.py")


@pytest.mark.parametrize("name", ["A list request", "A stream record", "`sessions load`", "`make run`"])
def test_a_file_of_a_walk_is_imported_by_an_earlier_one(name: str) -> None:
    files = walk(name)
    for place, path in enumerate(files):
        assert path in ENTRIES.union(*map(imported, files[:place])), path
