"""Builds what `sam build` asks for: a layer or a function as it lies in Lambda, with its bytecode.

Usage: python -m layers.build LOGICAL_ID ARTIFACTS_FOLDER, in the source folder. SAM's own builder for Python ships no
bytecode, and in Lambda's read-only file system every cold start would compile every module anew. What is built runs on
both processors: SAM does not tell a makefile which one the stack is for, and a layer with the extensions of the other
one would fail in production only.
"""

from __future__ import annotations

import compileall
import os
import shutil
import subprocess
import sys
from pathlib import Path
from py_compile import PycInvalidationMode
from tempfile import TemporaryDirectory
from typing import Final

from layers.trim import trim

RUNTIME: Final = (3, 13)
"""Bytecode runs on the very version that made it."""

DEPENDENCIES: Final = "DependenciesLayer"
SESSIONS: Final = "SessionsLayer"
LAYER_HOME: Final = "/opt"
FUNCTION_HOME: Final = "/var/task"
"""Where Lambda lays them out ('Packaging your layer content', 'Lambda runtimes')."""

PROCESSORS: Final = ("x86_64", "aarch64")
"""As Python calls those of Lambda."""

PLATFORMS: Final = ("manylinux2014", "manylinux_2_17", "manylinux_2_28", "manylinux_2_34")
"""Wheels that run on Amazon Linux 2023, which the runtime stands on and which has glibc 2.34 (PEP 600)."""


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
        install_for_both(folder / "python")
        trim(folder / "python")
    else:
        copy_sources(Path(), folder / "python" / "sessions" if logical_id == SESSIONS else folder)
    compile_all(folder, LAYER_HOME if logical_id.endswith("Layer") else FUNCTION_HOME)


def runtime_python() -> str | None:
    """An interpreter of the runtime's version: this one, $PYTHON, one on the path or one of pyenv's."""
    if sys.version_info[:2] == RUNTIME:
        return sys.executable
    version = ".".join(map(str, RUNTIME))
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    names = [os.environ.get("PYTHON"), f"python{version}", *map(str, pyenv.glob(f"{version}.*/bin/python{version}"))]
    for python in filter(None, map(shutil.which, filter(None, names))):
        asked = subprocess.run([python, "--version"], capture_output=True, text=True, check=False)  # noqa: S603
        if asked.stdout.startswith(f"Python {version}."):
            return python
    return None


def install_for_both(folder: Path) -> None:
    """The locked packages, with the extensions of both processors side by side: Python loads the one that fits."""
    first, second = PROCESSORS
    install(folder, first)
    with TemporaryDirectory() as other:
        install(Path(other), second)
        extensions = {path.relative_to(other) for path in Path(other).rglob("*.so")}
        expected = {Path(str(path.relative_to(folder)).replace(first, second)) for path in folder.rglob("*.so")}
        if extensions != expected:
            sys.exit(f"The extensions for {second} are not those for {first}: {extensions ^ expected}.")
        for extension in extensions:
            shutil.copyfile(Path(other) / extension, folder / extension)


def install(folder: Path, processor: str) -> None:
    """The locked wheels for a processor, whatever machine this is."""
    version = ".".join(map(str, RUNTIME))
    pip = [sys.executable, "-I", "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    pip += ["--target", str(folder)]
    wheels = ["--no-deps", "--only-binary=:all:", "--implementation=cp", f"--python-version={version}"]
    wheels += [f"--platform={platform}_{processor}" for platform in PLATFORMS]
    lock = ["--no-compile", "--require-hashes", "--requirement", "requirements.txt"]
    subprocess.run([*pip, *wheels, *lock], check=True)  # noqa: S603  (every word is from this file)


def copy_sources(source: Path, folder: Path) -> None:
    """Python files, each where it was."""
    for path in source.rglob("*.py"):
        target = folder / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def compile_all(folder: Path, home: str) -> None:
    """Bytecode that is never checked against its source, which nobody can change in Lambda."""
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
