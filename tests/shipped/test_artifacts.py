"""What is shipped: built as `sam build` builds it, complete, trimmed, and with bytecode that Lambda will use."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import botocore.session
import pytest

from layers.build import PROCESSORS, runtime_python
from layers.trim import LEFT_OUT, SERVICE, LeftOut
from tests.running import Running
from tests.service import ROOT, TEMPLATE

PYTHON = runtime_python()
FUNCTIONS = {
    "ListSessionsFunction": "list_sessions",
    "AuthorizeFunction": "authorize",
    "CountSessionsFunction": "count_sessions",
    "CheckReleaseFunction": "check_release",
}
LAYERS = {"SessionsLayer": "sessions", "DependenciesLayer": "dependencies"}
SOURCES = {name: f"functions/{folder}" for name, folder in FUNCTIONS.items()} | {
    name: f"layers/{folder}" for name, folder in LAYERS.items()
}
SIZE_MAX = 12_000_000
"""Bytes, zipped, of a function and its layers."""

UNCHECKED = 0b01
"""Flags of bytecode that is never compared with its source (PEP 552)."""

pytestmark = pytest.mark.skipif(PYTHON is None, reason="the build needs Python 3.13")


def build(logical_id: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """What SAM runs for a resource with BuildMethod makefile."""
    command = ["make", "--makefile", str(ROOT / "layers" / "Makefile"), f"build-{logical_id}"]
    environment = os.environ | {"ARTIFACTS_DIR": str(folder), "PYTHON": str(PYTHON)}
    return subprocess.run(
        command, cwd=ROOT / SOURCES[logical_id], env=environment, text=True, capture_output=True, timeout=300
    )


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All artifacts."""
    home = tmp_path_factory.mktemp("built")
    for logical_id in SOURCES:
        ran = build(logical_id, home / logical_id)
        assert ran.returncode == 0, ran.stderr
    return home


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_the_template_builds_functions_and_layers_by_make() -> None:
    text = (ROOT / "template.yaml").read_text()
    assert text.count("BuildMethod: makefile") == 2  # functions and layers; both are anchors
    assert text.count("&function_metadata") + text.count("*function_metadata") == text.count(
        "Type: AWS::Serverless::Function"
    )
    assert text.count("&layer_metadata") + text.count("*layer_metadata") == len(LAYERS)


def test_every_module_has_bytecode_that_is_never_checked(built: Path) -> None:
    for logical_id in SOURCES:
        sources = [path for path in files(built / logical_id) if path.suffix == ".py"]
        assert sources
        for source in sources:
            bytecode = source.parent / "__pycache__" / f"{source.stem}.cpython-313.pyc"
            (flags,) = struct.unpack("<I", bytecode.read_bytes()[4:8])
            assert flags == UNCHECKED, source
    home = {name: "/opt/python/" if name in LAYERS else "/var/task/" for name in SOURCES}
    code = "import marshal, sys; print(marshal.loads(open(sys.argv[1], 'rb').read()[16:]).co_filename)"
    for logical_id, inside in {"SessionsLayer": "python/sessions", "ListSessionsFunction": "."}.items():
        (bytecode, *_) = (built / logical_id / inside / "__pycache__").glob("*.pyc")
        ran = subprocess.run([str(PYTHON), "-c", code, str(bytecode)], text=True, capture_output=True, check=True)
        assert ran.stdout.startswith(home[logical_id])


@pytest.mark.parametrize("left_out", LEFT_OUT, ids=lambda left_out: left_out.pattern)
def test_what_is_left_out_is_not_shipped(built: Path, left_out: LeftOut) -> None:
    packages = built / "DependenciesLayer" / "python"
    assert set(packages.glob(left_out.pattern)) <= {packages / "botocore" / "data" / SERVICE}


def test_of_the_services_one_model_is_shipped(built: Path) -> None:
    (version,) = (built / "DependenciesLayer" / "python" / "botocore" / "data" / SERVICE).iterdir()
    assert {path.name for path in version.iterdir()} == {"service-2.json", "endpoint-rule-set-1.json"}


def test_every_extension_is_shipped_for_both_processors(built: Path) -> None:
    names = {path.name for path in files(built) if path.suffix == ".so"}
    assert names
    for processor in PROCESSORS:
        assert {name.replace(other, processor) for name in names for other in PROCESSORS} == names


def test_a_function_with_its_layers_is_small(built: Path) -> None:
    archive = BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for logical_id in ("ListSessionsFunction", *LAYERS):
            for path in files(built / logical_id):
                file.write(path, path.relative_to(built))
    assert len(archive.getvalue()) <= SIZE_MAX


def in_lambda(built: Path, logical_id: str, program: str) -> Any:
    """What a program prints as JSON in an interpreter that has nothing but a function and its layers."""
    path = [built / logical_id, *(built / layer / "python" for layer in LAYERS)]
    environment = {
        "AWS_REGION": "eu-west-1",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "LAMBDA_TASK_ROOT": "/var/task",
        "PATH": os.environ["PATH"],
    } | TEMPLATE.function(FUNCTIONS[logical_id]).environment
    command = [str(PYTHON), "-I", "-B", "-c", f"import sys; sys.path[:0] = {list(map(str, path))!r}\n{program}"]
    ran = subprocess.run(command, env=environment, text=True, capture_output=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout.splitlines()[-1])


@pytest.mark.parametrize("logical_id", [name for name in FUNCTIONS if name != "CheckReleaseFunction"])
def test_a_handler_starts_from_the_artifacts_alone(built: Path, logical_id: str) -> None:
    program = """
import app, json
print(json.dumps({name: module.__file__ for name, module in sys.modules.items()
                  if name in ("app", "sessions", "botocore", "pydantic_core")}))"""
    homes = in_lambda(built, logical_id, program)
    assert {"app", "sessions", "botocore"} <= set(homes)
    assert all(Path(home).is_relative_to(built) for home in homes.values())


def test_a_page_is_listed_by_the_artifacts_alone(built: Path, running: Running) -> None:
    event = json.loads((ROOT / "events" / "list_first_page.json").read_text())
    event["requestContext"]["authorizer"] = {"organization_id": f"org_{1:032x}"}
    program = f"""
import json, os
os.environ["AWS_ENDPOINT_URL_DYNAMODB"] = {running.dynamodb_url!r}
import app
answer = app.handler(json.loads({json.dumps(event)!r}), None)
print(json.dumps([answer["statusCode"], len(json.loads(answer["body"])["data"])]))"""
    assert in_lambda(built, "ListSessionsFunction", program) == [200, 20]


def test_a_key_is_looked_up_by_the_artifacts_alone(built: Path, running: Running) -> None:
    event = json.loads((ROOT / "events" / "authorize.json").read_text())
    program = f"""
import json, os
os.environ["AWS_ENDPOINT_URL_DYNAMODB"] = {running.dynamodb_url!r}
import app
print(json.dumps(app.handler(json.loads({json.dumps(event)!r}), None)["policyDocument"]["Statement"][0]["Effect"]))"""
    assert in_lambda(built, "AuthorizeFunction", program) == "Allow"


def test_a_session_is_counted_by_the_artifacts_alone(built: Path, running: Running) -> None:
    event = json.loads((ROOT / "events" / "count_insert.json").read_text())
    program = f"""
import json, os
os.environ["AWS_ENDPOINT_URL_DYNAMODB"] = {running.dynamodb_url!r}
import app
print(json.dumps(app.handler(json.loads({json.dumps(event)!r}), None)))"""
    assert in_lambda(built, "CountSessionsFunction", program) == {"batchItemFailures": []}


def test_every_region_of_every_partition_still_has_its_endpoint(built: Path) -> None:
    session = botocore.session.get_session()
    expected = {}
    for partition in session.get_available_partitions():
        for region in session.get_available_regions("dynamodb", partition):
            expected[region] = session.create_client(
                "dynamodb", region_name=region, aws_access_key_id="a", aws_secret_access_key="b"
            ).meta.endpoint_url
    program = f"""
import botocore.session, json
session = botocore.session.get_session()
print(json.dumps({{region: session.create_client("dynamodb", region_name=region).meta.endpoint_url
                  for region in {sorted(expected)!r}}}))"""
    assert in_lambda(built, "AuthorizeFunction", program) == expected


def test_the_operations_of_the_functions_are_left_in_the_model(built: Path) -> None:
    program = """
import botocore.session, json
client = botocore.session.get_session().create_client("dynamodb")
print(json.dumps(client.meta.service_model.operation_names))"""
    left = in_lambda(built, "CountSessionsFunction", program)
    assert {"Query", "GetItem", "BatchGetItem", "TransactWriteItems"} <= set(left)
    assert "CreateTable" not in left


def test_another_python_than_the_runtimes_is_refused(tmp_path: Path) -> None:
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import layers.build as b; b.RUNTIME = (3, 99); b.main()"
    command = [sys.executable, "-c", code, "SessionsLayer", str(tmp_path)]
    ran = subprocess.run(command, cwd=tmp_path, text=True, capture_output=True, timeout=60)
    assert ran.returncode == 1
    assert ran.stderr.startswith("The build needs Python 3.99, this is 3.")
    assert not list(tmp_path.iterdir())
