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
from sessions_local.sam_template import local_name
from tests.service import ROOT, TEMPLATE

PYTHON = runtime_python()
BUILT = ROOT / ".aws-sam" / "build"
LAYERS = ("SessionsLayer", "DependenciesLayer")

SIZE_MAX = 12_000_000
"""Bytes, zipped, of a function with its layers."""

UNCHECKED = 0b01
"""Flags of bytecode that Python never compares with its source (PEP 552)."""


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_every_module_has_unchecked_bytecode() -> None:
    for source in (path for path in files(BUILT) if path.suffix == ".py"):
        bytecode = source.parent / "__pycache__" / f"{source.stem}.cpython-313.pyc"
        (flags,) = struct.unpack("<I", bytecode.read_bytes()[4:8])
        assert flags == UNCHECKED, source


def test_of_botocore_one_service_is_shipped() -> None:
    packages = BUILT / "DependenciesLayer" / "python"
    names = [str(path.relative_to(packages)) for path in files(packages)]
    left_out = {name for name in names for pattern in NOT_COPIED if fnmatch(name, pattern)}
    assert left_out
    assert all(fnmatch(name, KEPT) for name in left_out)
    assert "botocore/data/endpoints.json" in names


def test_a_function_with_its_layers_is_small() -> None:
    archive = BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for logical_id in ("ListSessionsFunction", *LAYERS):
            for path in files(BUILT / logical_id):
                file.write(path, path.relative_to(BUILT))
    assert len(archive.getvalue()) <= SIZE_MAX


@pytest.mark.parametrize("function", ["ListSessions", "Authorize", "CountSessions"])
def test_a_handler_starts_from_the_artifacts_alone(function: str) -> None:
    path = [str(BUILT / f"{function}Function"), *(str(BUILT / layer / "python") for layer in LAYERS)]
    program = f"""
import json, sys
sys.path[:0] = {path!r}
import app
print(json.dumps([sys.modules[name].__file__ for name in ("app", "sessions", "botocore", "pydantic_core")]))"""
    environment = dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"), "eu-west-1")
    environment |= TEMPLATE.function(local_name(f"{function}Function")).environment
    command = [str(PYTHON), "-I", "-B", "-c", program]
    ran = subprocess.run(command, env=environment, text=True, capture_output=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    assert all(Path(home).is_relative_to(BUILT) for home in json.loads(ran.stdout))


def test_the_build_works_in_a_path_with_a_space(tmp_path: Path) -> None:
    root = tmp_path / "two words"
    shutil.copytree(ROOT / "layers", root / "layers", ignore=shutil.ignore_patterns("__pycache__"))
    command = ["make", "--makefile", str(root / "layers" / "Makefile"), "build-SessionsLayer"]
    environment = os.environ | {"ARTIFACTS_DIR": str(tmp_path / "its artifacts"), "PYTHON": str(PYTHON)}
    ran = subprocess.run(command, cwd=root / "layers" / "sessions", env=environment, text=True, capture_output=True)
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "its artifacts" / "python" / "sessions" / "__init__.py").is_file()


def test_another_python_than_the_runtimes_is_refused(tmp_path: Path) -> None:
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import layers.build as b; b.RUNTIME = (3, 99); b.main()"
    command = [sys.executable, "-c", code, "SessionsLayer", str(tmp_path)]
    ran = subprocess.run(command, cwd=tmp_path, text=True, capture_output=True, timeout=60)
    assert ran.returncode == 1
    assert ran.stderr.startswith("The build needs Python 3.99, this is 3.")
    assert not list(tmp_path.iterdir())
