"""The house: who may use whom. Each file stands above what it uses, and nothing runs back up."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "layers" / "sessions" / "python" / "sessions"

# From the ground up: a module may import those of the floors below its own.
FLOORS = [
    {"errors", "buckets"},
    {"settings", "contract", "wire"},
    {"dynamodb"},
    {"keys", "counts", "table", "counting"},
    {"identity", "paging"},
    {"http", "observability"},
]
FLOOR = {name: number for number, names in enumerate(FLOORS) for name in names}


def imports(path: Path) -> set[str]:
    """Modules that a file imports when it runs, those for type checkers alone left out."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            node.body = []
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return names


def own(names: set[str]) -> set[str]:
    return {name.split(".")[1] for name in names if name.startswith("sessions.")} & set(FLOOR)


MODULES = sorted(path for path in PACKAGE.glob("*.py") if path.stem != "__init__")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_a_module_of_the_shared_package_uses_only_what_stands_below_it(path: Path) -> None:
    above = {name for name in own(imports(path)) if FLOOR[name] >= FLOOR[path.stem]}
    assert above == set()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_storage_knows_nothing_of_http_and_models_nothing_of_aws(path: Path) -> None:
    roots = {name.split(".")[0] for name in imports(path)}
    assert "boto3" not in roots
    assert "botocore" not in roots or path.stem in {"dynamodb", "counting", "wire"}
    assert "ops" not in roots


@pytest.mark.parametrize("name", ["list_sessions", "authorize", "count_sessions"])
def test_a_handler_reaches_no_client_library_and_no_environment_by_itself(name: str) -> None:
    path = ROOT / "functions" / name / "app.py"
    roots = {module.split(".")[0] for module in imports(path)}
    assert roots.isdisjoint({"boto3", "botocore", "os", "ops"})
    assert not any(isinstance(node, ast.Try) for node in ast.walk(ast.parse(path.read_text())))


def test_every_file_opens_with_a_sentence_of_purpose() -> None:
    files = [
        path for folder in ("layers/sessions", "functions", "ops", "tests") for path in (ROOT / folder).rglob("*.py")
    ]
    silent = [
        path.relative_to(ROOT)
        for path in files
        if path.stat().st_size and not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert silent == []
