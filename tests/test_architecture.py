"""Which module may import which: only those of the layers below its own."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "layers" / "sessions" / "python" / "sessions"

# From the bottom up: a module may import those of the layers below its own.
LAYERS = [
    {"cold_start", "errors", "events", "schema", "request_sender", "response_checks", "response_parser"},
    {"settings", "contract", "items", "histograms"},
    {"dynamodb", "observability"},
    {"api_keys", "responses", "pages.index", "pages.counts", "pages.locate", "counting.transitions"},
    {"pages.page", "counting.transactions"},
]
LAYER = {name: number for number, names in enumerate(LAYERS) for name in names}

OPS_LAYERS = [
    {"errors", "progress", "items", "openapi"},
    {"dynamodb", "sources", "rollback"},
    {"tables"},
    {"target", "load", "export", "reconcile", "audit", "keys", "smoke"},
    {"redrive", "status"},
    {"cli"},
]
OPS_LAYER = {name: number for number, names in enumerate(OPS_LAYERS) for name in names}

# What each third-party package is for: the only modules that may import it.
USERS = {
    "boto3": {"dynamodb"},
    "botocore": {"dynamodb", "request_sender", "response_checks", "response_parser"},
    "aws_lambda_powertools": {"observability", "responses"},
    "pydantic": {"contract", "pages.page"},
    "pydantic_core": {"observability", "responses", "response_parser"},
}


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
    """The modules of the shared package among these names."""
    return {name.removeprefix("sessions.") for name in names} & set(LAYER)


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.stem != "__init__")


def test_every_module_of_the_shared_package_has_a_layer() -> None:
    assert {name_of(path) for path in MODULES} <= set(LAYER)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_of_the_shared_package_imports_only_lower_layers(path: Path) -> None:
    above = {name for name in own(imports(path)) if LAYER[name] >= LAYER[name_of(path)]}
    assert above == set()


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_third_party_package_is_used_only_where_it_belongs(path: Path) -> None:
    roots = {name.split(".")[0] for name in imports(path)}
    assert {package for package in USERS if package in roots and name_of(path) not in USERS[package]} == set()
    assert "ops" not in roots


@pytest.mark.parametrize("name", ["list_sessions", "authorize", "count_sessions"])
def test_a_handler_reaches_no_client_library_and_no_environment_by_itself(name: str) -> None:
    path = ROOT / "functions" / name / "app.py"
    roots = {module.split(".")[0] for module in imports(path)}
    assert roots.isdisjoint({"boto3", "botocore", "os", "ops"})
    assert not any(isinstance(node, ast.Try) for node in ast.walk(ast.parse(path.read_text())))


ATTRIBUTES = {"organization_agent", "created_at_id", "key_hash", "scope", "bucket", "by_organization", "session#"}
"""Names that stand in the data model alone; those that are fields of the contract, too, stand there as well."""


@pytest.mark.parametrize("path", [each for each in MODULES if name_of(each) != "schema"], ids=name_of)
def test_an_attribute_is_spelt_in_the_schema_alone(path: Path) -> None:
    tree = ast.parse(path.read_text())
    strings = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    assert strings & ATTRIBUTES == set()


OPS_MODULES = sorted(path for path in (ROOT / "ops").glob("*.py") if path.stem != "__init__")


@pytest.mark.parametrize("path", OPS_MODULES, ids=lambda path: path.stem)
def test_a_module_of_ops_imports_only_lower_layers(path: Path) -> None:
    used = {name.removeprefix("ops.") for name in imports(path)} & set(OPS_LAYER)
    assert {name for name in used if OPS_LAYER[name] >= OPS_LAYER[path.stem]} == set()


def test_ops_does_not_import_ops_local() -> None:
    users = [
        path.name for path in (ROOT / "ops").glob("*.py") if any("sessions_local" in name for name in imports(path))
    ]
    assert users == []


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
