"""What the layer of third-party packages leaves out, each with its reason: data and parts that no function reads.

No source file is changed. Of botocore's data one service is left, without its documentation.
"""

from __future__ import annotations

import gzip
import json
import shutil
import sys
from pathlib import Path
from typing import Any, Final, NamedTuple

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


class LeftOut(NamedTuple):
    """Files that are not shipped."""

    pattern: str
    reason: str
    kilobytes: int
    """Zipped, with bytecode."""


LEFT_OUT: Final = (
    LeftOut("botocore/data/*/", f"models of four hundred services; only {SERVICE}'s is kept", 15_880),
    LeftOut("aws_lambda_powertools/event_handler/openapi/swagger_ui/*.min.*", "Swagger UI, served by `make run`", 450),
    LeftOut("pydantic/v1", "pydantic's first API, for those who still use it", 390),
    LeftOut("dateutil/zoneinfo/*.tar.gz", "time zones; all times here are UTC", 150),
    LeftOut("boto3/data", "resources; the functions use the client", 40),
    LeftOut("*.dist-info/RECORD", "lists of the files of a package, which pip needs", 60),
    LeftOut("bin", "commands", 2),
)


def trim(folder: Path) -> None:
    """Removes from installed packages what is left out, and makes the one model that is left smaller."""
    models = folder / "botocore" / "data" / SERVICE
    for left_out in LEFT_OUT:
        found = [path for path in folder.glob(left_out.pattern) if path != models]
        if not found:
            sys.exit(f"layers/trim.py: nothing matches {left_out.pattern!r} any more.")
        for path in found:
            _remove(path)
    _trim_models(models)
    _trim_endpoints(folder / "botocore" / "data" / "endpoints.json")


def _trim_models(models: Path) -> None:
    """Leaves the newest version: operations on items and endpoint rules, uncompressed; no waiters, no paginators."""
    newest = max(models.iterdir())
    service = _load(newest / "service-2.json.gz")
    rules = _load(newest / "endpoint-rule-set-1.json.gz")
    _remove(models)
    newest.mkdir(parents=True)
    _dump(newest / "service-2.json", trimmed_model(service))
    _dump(newest / "endpoint-rule-set-1.json", _without_documentation(rules))


def trimmed_model(model: dict[str, Any]) -> dict[str, Any]:
    """The model of the operations on items and of the shapes that they reach."""
    operations = {name: model["operations"][name] for name in OPERATIONS}
    reached: set[str] = set()
    pending: list[Any] = [operations]
    while pending:
        for name in _references(pending.pop()) - reached:
            reached.add(name)
            pending.append(model["shapes"][name])
    shapes = {name: shape for name, shape in model["shapes"].items() if name in reached}
    trimmed: dict[str, Any] = _without_documentation(model | {"operations": operations, "shapes": shapes})
    return trimmed


def _references(part: Any) -> set[str]:
    """The names of the shapes that a part of a model refers to."""
    if isinstance(part, list):
        return set().union(*map(_references, part))
    if not isinstance(part, dict):
        return set()
    here = {part["shape"]} if isinstance(part.get("shape"), str) else set()
    return here.union(*map(_references, part.values()))


def _without_documentation(part: Any) -> Any:
    """A model without the texts of `documentation`; a member of that name would be a dict."""
    if isinstance(part, list):
        return [_without_documentation(inner) for inner in part]
    if not isinstance(part, dict):
        return part
    return {
        name: _without_documentation(inner)
        for name, inner in part.items()
        if not (name == "documentation" and isinstance(inner, str))
    }


def _trim_endpoints(path: Path) -> None:
    """Leaves the regions of all partitions, with the endpoints of one service."""
    endpoints = _load(path)
    for partition in endpoints["partitions"]:
        partition["services"] = {name: each for name, each in partition["services"].items() if name == SERVICE}
    _dump(path, endpoints)


def _load(path: Path) -> Any:
    data = path.read_bytes()
    return json.loads(gzip.decompress(data) if path.suffix == ".gz" else data)


def _dump(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, separators=(",", ":")), encoding="utf-8")


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
