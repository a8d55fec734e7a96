"""Build a layer or a function for `sam build`: the files that Lambda gets, with their bytecode.

Usage: python -m layers.build LOGICAL_ID ARTIFACTS_FOLDER, in the source folder. SAM's own builder for Python ships no
bytecode, and since Lambda's file system is read-only, every cold start would compile every module again. The layer of
packages has the extensions of both processors, because SAM does not tell a makefile which one the stack is for.
"""

from __future__ import annotations

import compileall
import os
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path
from py_compile import PycInvalidationMode
from tempfile import TemporaryDirectory
from typing import Final

RUNTIME: Final = (3, 13)
"""Lambda's Python; bytecode runs on the version that compiled it, and on no other."""

DEPENDENCIES: Final = "DependenciesLayer"
SESSIONS: Final = "SessionsLayer"

LAYER_HOME: Final = "/opt"
FUNCTION_HOME: Final = "/var/task"
"""Where Lambda unpacks them ('Packaging your layer content', 'Lambda runtimes')."""

PROCESSORS: Final = ("x86_64", "aarch64")
"""Lambda's two architectures, by their names in wheels."""

PLATFORMS: Final = ("manylinux2014", "manylinux_2_17", "manylinux_2_28", "manylinux_2_34")
"""Wheels that run on Amazon Linux 2023, the runtime's system, which has glibc 2.34 (PEP 600)."""

KEPT: Final = "botocore/data/dynamodb/*"
"""The one service that the functions call."""

NOT_COPIED: Final = {
    "botocore/data/*/*": "data of four hundred services",
    "boto3/data/*": "resources; the functions use the client",
    "aws_lambda_powertools/event_handler/openapi/swagger_ui/*.min.*": "Swagger UI, which only `make run` serves",
    "pydantic/v1/*": "pydantic's first API",
    "dateutil/zoneinfo/*.tar.gz": "time zones; all times here are UTC",
    "*.dist-info/RECORD": "lists of files, for pip",
    "bin/*": "commands",
}
"""Files of the packages that no function reads, each with the reason. Every other file is copied unchanged."""


def main() -> None:
    _, logical_id, artifacts = sys.argv
    python = runtime_python()
    if python is None:
        version = ".".join(map(str, RUNTIME))
        sys.exit(f"The build needs Python {version}, this is {sys.version.split()[0]}; PYTHON=... says where it is.")
    if python != sys.executable:
        os.execv(python, [python, "-m", "layers.build", *sys.argv[1:]])  # noqa: S606
    folder = Path(artifacts)
    if logical_id == DEPENDENCIES:
        copy_packages(folder / "python")
    else:
        copy_sources(Path(), folder / "python" / "sessions" if logical_id == SESSIONS else folder)
    compile_all(folder, LAYER_HOME if logical_id.endswith("Layer") else FUNCTION_HOME)


def runtime_python() -> str | None:
    """Return an interpreter of the runtime's version: this one, $PYTHON, one on the path or one of pyenv's."""
    if sys.version_info[:2] == RUNTIME:
        return sys.executable
    version = ".".join(map(str, RUNTIME))
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    names = [os.environ.get("PYTHON"), f"python{version}", *map(str, pyenv.glob(f"{version}.*/bin/python{version}"))]
    for python in filter(None, map(shutil.which, filter(None, names))):
        answer = subprocess.run([python, "--version"], capture_output=True, text=True, check=False)  # noqa: S603
        if answer.stdout.startswith(f"Python {version}."):
            return python
    return None


def copy_packages(folder: Path) -> None:
    """Copy the locked packages with the extensions of both processors side by side; Python loads the one that fits."""
    extensions = []
    for processor in PROCESSORS:
        with TemporaryDirectory() as home:
            install(Path(home), processor)
            files = {str(path.relative_to(home)) for path in Path(home).rglob("*") if path.is_file()}
            extensions.append({name.replace(processor, "") for name in files if name.endswith(".so")})
            for pattern in NOT_COPIED:
                left_out = {name for name in files if fnmatch(name, pattern) and not fnmatch(name, KEPT)}
                if not left_out:
                    sys.exit(f"layers/build.py: no file matches {pattern!r} any more.")
                files -= left_out
            for name in files:
                copy(Path(home) / name, folder / name)
    if extensions[0] != extensions[1]:
        sys.exit(f"The two processors need different extensions: {extensions[0] ^ extensions[1]}.")


def install(folder: Path, processor: str) -> None:
    """Install the locked wheels for a processor, whatever machine this is."""
    version = ".".join(map(str, RUNTIME))
    pip = [sys.executable, "-I", "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    pip += ["--target", str(folder)]
    wheels = ["--no-deps", "--only-binary=:all:", "--implementation=cp", f"--python-version={version}"]
    wheels += [f"--platform={platform}_{processor}" for platform in PLATFORMS]
    lock = ["--no-compile", "--require-hashes", "--requirement", "requirements.txt"]
    subprocess.run([*pip, *wheels, *lock], check=True)  # noqa: S603  (every word is from this file)


def copy_sources(source: Path, folder: Path) -> None:
    """Copy the Python files of a folder."""
    for path in source.rglob("*.py"):
        copy(path, folder / path.relative_to(source))


def copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def compile_all(folder: Path, home: str) -> None:
    """Compile every module to bytecode that Python never checks against the source, which cannot change in Lambda."""
    compiled = compileall.compile_dir(
        folder,
        quiet=1,
        stripdir=str(folder),
        prependdir=home,
        invalidation_mode=PycInvalidationMode.UNCHECKED_HASH,
    )
    if not compiled:
        sys.exit("Some modules do not compile.")


if __name__ == "__main__":
    main()
