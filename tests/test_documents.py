"""The documents tell the truth: what they show as a session at a terminal is run, and compared."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.running import ROOT, Running

DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
MAKE = re.compile(r"make (run|test|check|bench|build)\b")


def exchanges(document: Path) -> list[tuple[str, str]]:
    """Commands of the ```console blocks of a document with what they print; continued lines are joined."""
    found = []
    for block in re.findall(r"^```console\n(.*?)^```", document.read_text(), re.DOTALL | re.MULTILINE):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.replace("\\\n", " ").partition("\n")
            found.append((command, output.strip()))
    return found


ALL = [(document.name, *exchange) for document in DOCUMENTS for exchange in exchanges(document)]


@pytest.mark.parametrize(("name", "command", "output"), [each for each in ALL if not MAKE.match(each[1])])
def test_a_command_of_a_document_prints_what_it_shows(
    running: Running, name: str, command: str, output: str, tmp_path: Path
) -> None:
    here = command.replace("http://127.0.0.1:8080", running.url).replace("http://127.0.0.1:8001", running.dynamodb_url)
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    ran = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", here], cwd=ROOT, env=environment, text=True, capture_output=True, timeout=60
    )
    assert ran.returncode == 0, ran.stderr
    printed = ran.stdout.strip().replace(running.url, "http://127.0.0.1:8080")
    # `...` stands for anything, and a line may be broken behind it.
    pattern = r".*?".join(re.escape(part) for part in re.split(r"\.\.\.(?:,\n)?", output))
    assert re.fullmatch(pattern, printed, re.DOTALL), f"{name}: {command}\nprinted:\n{printed}\nexpected:\n{output}"


def test_the_make_targets_of_the_documents_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    used = {target for document in DOCUMENTS for target in re.findall(r"`make ([a-z-]+)", document.read_text())}
    assert used <= targets


def anchors(document: Path) -> set[str]:
    """The anchors that GitHub makes of the headings of a document."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_the_links_of_a_document_lead_somewhere(document: Path) -> None:
    for name, anchor in re.findall(r"\]\((?!https?://)([^)#]*)#?([^)]*)\)", document.read_text()):
        target = document.parent / name if name else document
        assert target.exists(), name
        assert not anchor or anchor in anchors(target), f"{name}#{anchor}"


def test_the_readme_stays_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


def test_the_documents_stay_short() -> None:
    lines = [line for document in (ROOT / "docs").glob("*.md") for line in document.read_text().splitlines()]
    assert sum(not line.startswith("|") for line in lines) <= 1100
