"""Builds what `sam build` asks for: a layer or a function as it lies in Lambda, with its bytecode.

Usage: build.py LOGICAL_ID ARTIFACTS_FOLDER ARCHITECTURE, in the source folder. SAM's own builder for Python ships
no bytecode, and in Lambda's read-only file system every cold start would compile every module anew.
"""

from __future__ import annotations

import compileall
import gzip
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from py_compile import PycInvalidationMode
from typing import Any, Final

RUNTIME: Final = (3, 13)
"""Bytecode runs on the very version that made it."""

DEPENDENCIES: Final = "DependenciesLayer"
LAYER_HOME: Final = "/opt"
FUNCTION_HOME: Final = "/var/task"
"""Where Lambda lays them out ('Packaging your layer content', 'Lambda runtimes')."""

PLATFORMS: Final = {
    # Amazon Linux 2023, which the runtime stands on, has glibc 2.34.
    "x86_64": ("manylinux2014_x86_64", "manylinux_2_17_x86_64", "manylinux_2_28_x86_64", "manylinux_2_34_x86_64"),
    "arm64": ("manylinux2014_aarch64", "manylinux_2_17_aarch64", "manylinux_2_28_aarch64", "manylinux_2_34_aarch64"),
}

SERVICE: Final = "dynamodb"
OPERATIONS: Final = (
    "BatchGetItem",
    "BatchWriteItem",
    "DeleteItem",
    "GetItem",
    "PutItem",
    "Query",
    "Scan",
    "TransactGetItems",
    "TransactWriteItems",
    "UpdateItem",
)
"""Operations on items; tables are made by the template."""


NO_DOCSTRINGS: Final = '''"""In the place of botocore's docstrings, which nobody reads in Lambda."""


class NoDocstring(str):
    def __new__(cls, *_, **__):
        return super().__new__(cls)


ClientMethodDocstring = PaginatorDocstring = WaiterDocstring = NoDocstring
'''
METADATA: Final = "from importlib.metadata import version\n"
USE_OF_METADATA: Final = '    h2_version = version("h2")\n'


def main() -> None:
    _, logical_id, artifacts, architecture = sys.argv
    python = runtime_python()
    if python is None:
        version = ".".join(map(str, RUNTIME))
        sys.exit(f"The build needs Python {version}, this is {sys.version.split()[0]}; PYTHON=... says where it is.")
    if python != sys.executable:
        os.execv(python, [python, *sys.argv])  # noqa: S606
    if architecture not in PLATFORMS:
        sys.exit(f"ARCHITECTURE is one of {', '.join(PLATFORMS)}, not {architecture!r}.")
    folder = Path(artifacts)
    if logical_id == DEPENDENCIES:
        install(folder / "python", PLATFORMS[architecture])
        trim(folder / "python")
        lighten(folder / "python")
    else:
        copy_sources(Path(), folder)
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


def install(folder: Path, platforms: tuple[str, ...]) -> None:
    """The locked wheels, whatever machine this is."""
    version = ".".join(map(str, RUNTIME))
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--target", str(folder)]
    wheels = ["--no-deps", "--only-binary=:all:", "--implementation=cp", f"--python-version={version}"]
    wheels += [f"--platform={platform}" for platform in platforms]
    lock = ["--no-compile", "--require-hashes", "--requirement", "requirements.txt"]
    subprocess.run([*pip, *wheels, *lock], check=True)  # noqa: S603  (every word is from this file)


def copy_sources(source: Path, folder: Path) -> None:
    """Python files, each where it was."""
    for path in source.rglob("*.py"):
        target = folder / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def trim(folder: Path) -> None:
    """Removes what no function reads."""
    for pattern in ("bin", "**/*.pyi", "**/py.typed", "**/tests"):
        for found in list(folder.glob(pattern)):
            remove(found)
    for info in folder.glob("*.dist-info"):
        for entry in info.iterdir():
            if not entry.name.startswith(("METADATA", "LICENSE", "licenses", "NOTICE")):
                remove(entry)
    trim_botocore(folder / "botocore" / "data")


def lighten(folder: Path) -> None:
    """Takes away what is imported at every start and never used: a tenth of a cold start.

    botocore's clients import what writes botocore's reference, to have docstrings; urllib3 imports the readers of
    package metadata, to ask for the version of HTTP/2 if anybody turned that on.
    """
    docs = folder / "botocore" / "docs"
    for entry in list(docs.iterdir()):
        if entry.name != "utils.py":
            remove(entry)
    (docs / "__init__.py").touch()
    (docs / "docstring.py").write_text(NO_DOCSTRINGS, encoding="utf-8")
    http2 = folder / "urllib3" / "http2" / "__init__.py"
    text = http2.read_text(encoding="utf-8")
    if text.count(METADATA) != 1 or text.count(USE_OF_METADATA) != 1:
        sys.exit(f"{http2.name} of urllib3 has changed; look at `lighten` anew.")
    text = text.replace(METADATA, "").replace(USE_OF_METADATA, f"    {METADATA}{USE_OF_METADATA}")
    http2.write_text(text, encoding="utf-8")


def remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def trim_botocore(data: Path) -> None:
    """Leaves the model of one service, without its documentation, and the regions of all partitions."""
    for entry in list(data.iterdir()):
        if entry.is_dir() and entry.name != SERVICE:
            shutil.rmtree(entry)
    newest = max(path for path in (data / SERVICE).iterdir())
    for version in (data / SERVICE).iterdir():
        if version != newest:
            shutil.rmtree(version)
    model = load(newest / "service-2.json.gz")
    rules = load(newest / "endpoint-rule-set-1.json.gz")
    endpoints = load(data / "endpoints.json")
    shutil.rmtree(newest)
    newest.mkdir()
    dump(newest / "service-2.json", trimmed_model(model))
    dump(newest / "endpoint-rule-set-1.json", undocumented(rules))
    for partition in endpoints["partitions"]:
        partition["services"] = {name: s for name, s in partition["services"].items() if name == SERVICE}
    dump(data / "endpoints.json", endpoints)


def trimmed_model(model: dict[str, Any]) -> dict[str, Any]:
    """The model of the operations on items and of the shapes that they reach."""
    operations = {name: model["operations"][name] for name in OPERATIONS}
    reached: set[str] = set()
    pending = [json.dumps(operations)]
    while pending:
        text = json.loads(pending.pop())
        for name in references(text) - reached:
            reached.add(name)
            pending.append(json.dumps(model["shapes"][name]))
    shapes = {name: shape for name, shape in model["shapes"].items() if name in reached}
    trimmed: dict[str, Any] = undocumented(model | {"operations": operations, "shapes": shapes})
    return trimmed


def references(part: Any) -> set[str]:
    """The names of the shapes that a part of a model refers to."""
    if isinstance(part, list):
        return set().union(*map(references, part))
    if not isinstance(part, dict):
        return set()
    here = {part["shape"]} if isinstance(part.get("shape"), str) else set()
    return here.union(*map(references, part.values()))


def undocumented(part: Any) -> Any:
    """Without the texts of `documentation`; a member of that name would be a dict."""
    if isinstance(part, list):
        return [undocumented(inner) for inner in part]
    if not isinstance(part, dict):
        return part
    return {
        name: undocumented(inner)
        for name, inner in part.items()
        if not (name == "documentation" and isinstance(inner, str))
    }


def load(path: Path) -> Any:
    data = path.read_bytes()
    return json.loads(gzip.decompress(data) if path.suffix == ".gz" else data)


def dump(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, separators=(",", ":")), encoding="utf-8")


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
