"""What `sam build` makes: whole, small, with bytecode that Lambda uses, and running on Lambda's Python alone."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
import zipfile
from fnmatch import fnmatch
from io import BytesIO
from pathlib import Path

import pytest

from layers.build import KEPT, NOT_COPIED, runtime_python
from tests.service import ROOT, TEMPLATE

PYTHON = runtime_python()
FUNCTIONS = {
    "ListSessionsFunction": "functions/list_sessions",
    "AuthorizeFunction": "functions/authorize",
    "CountSessionsFunction": "functions/count_sessions",
    "CheckReleaseFunction": "functions/check_release",
}
LAYERS = {"SessionsLayer": "layers/sessions", "DependenciesLayer": "layers/dependencies"}
SOURCES = FUNCTIONS | LAYERS

SIZE_MAX = 12_000_000
"""Bytes, zipped, of a function with its layers."""

UNCHECKED = 0b01
"""Flags of bytecode that Python never compares with its source (PEP 552)."""

pytestmark = pytest.mark.skipif(PYTHON is None, reason="the build needs Python 3.13")


def build(logical_id: str, folder: Path, root: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run what SAM runs for a resource with BuildMethod makefile."""
    command = ["make", "--makefile", str(root / "layers" / "Makefile"), f"build-{logical_id}"]
    environment = os.environ | {"ARTIFACTS_DIR": str(folder), "PYTHON": str(PYTHON)}
    source = root / SOURCES[logical_id]
    return subprocess.run(command, cwd=source, env=environment, text=True, capture_output=True, timeout=300)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All artifacts; installing the packages for two processors takes 15 seconds."""
    home = tmp_path_factory.mktemp("built")
    for logical_id in SOURCES:
        ran = build(logical_id, home / logical_id)
        assert ran.returncode == 0, ran.stderr
    return home


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_every_module_has_unchecked_bytecode(built: Path) -> None:
    for source in (path for path in files(built) if path.suffix == ".py"):
        bytecode = source.parent / "__pycache__" / f"{source.stem}.cpython-313.pyc"
        (flags,) = struct.unpack("<I", bytecode.read_bytes()[4:8])
        assert flags == UNCHECKED, source


def test_of_botocore_one_service_is_shipped(built: Path) -> None:
    packages = built / "DependenciesLayer" / "python"
    names = [str(path.relative_to(packages)) for path in files(packages)]
    left_out = {name for name in names for pattern in NOT_COPIED if fnmatch(name, pattern)}
    assert left_out
    assert all(fnmatch(name, KEPT) for name in left_out)
    assert "botocore/data/endpoints.json" in names


def test_a_function_with_its_layers_is_small(built: Path) -> None:
    archive = BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for logical_id in ("ListSessionsFunction", *LAYERS):
            for path in files(built / logical_id):
                file.write(path, path.relative_to(built))
    assert len(archive.getvalue()) <= SIZE_MAX


@pytest.mark.parametrize("logical_id", [name for name in FUNCTIONS if name != "CheckReleaseFunction"])
def test_a_handler_starts_from_the_artifacts_alone(built: Path, logical_id: str) -> None:
    path = [str(built / logical_id), *(str(built / layer / "python") for layer in LAYERS)]
    program = f"""
import json, sys
sys.path[:0] = {path!r}
import app
print(json.dumps([sys.modules[name].__file__ for name in ("app", "sessions", "botocore", "pydantic_core")]))"""
    environment = dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"), "eu-west-1")
    environment |= TEMPLATE.function(FUNCTIONS[logical_id].removeprefix("functions/")).environment
    command = [str(PYTHON), "-I", "-B", "-c", program]
    ran = subprocess.run(command, env=environment, text=True, capture_output=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    assert all(Path(home).is_relative_to(built) for home in json.loads(ran.stdout))


def test_the_build_works_in_a_path_with_a_space(tmp_path: Path) -> None:
    root = tmp_path / "two words"
    shutil.copytree(ROOT / "layers", root / "layers", ignore=shutil.ignore_patterns("__pycache__"))
    ran = build("SessionsLayer", tmp_path / "its artifacts", root)
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "its artifacts" / "python" / "sessions" / "__init__.py").is_file()


def test_another_python_than_the_runtimes_is_refused(tmp_path: Path) -> None:
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import layers.build as b; b.RUNTIME = (3, 99); b.main()"
    command = [sys.executable, "-c", code, "SessionsLayer", str(tmp_path)]
    ran = subprocess.run(command, cwd=tmp_path, text=True, capture_output=True, timeout=60)
    assert ran.returncode == 1
    assert ran.stderr.startswith("The build needs Python 3.99, this is 3.")
    assert not list(tmp_path.iterdir())
