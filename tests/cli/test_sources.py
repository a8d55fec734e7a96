"""What `sessions load` reads besides lines of Sessions: DynamoDB's exports to S3, packed files, folders."""

import gzip
import json
import os
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from sessions_cli.sources import CONVERSION, Source
from tests.cli.command import fault, ndjson, sessions, shell, stored
from tests.cli.test_load_command import FULL
from tests.service import Service, item_of, session

SUMMARY = {
    "version": "2020-06-30",
    "exportArn": "arn:aws:dynamodb:eu-west-1:123456789012:table/sessions/export/01693685827463-2d8752fd",
    "manifestFilesS3Key": "AWSDynamoDB/01693685827463-2d8752fd/manifest-files.json",
    "itemCount": 3,
    "outputFormat": "DYNAMODB_JSON",
    "exportType": "FULL_EXPORT",
}


def exported(*items: dict[str, Any]) -> bytes:
    """Lines of a data file, as DynamoDB exports items."""
    return ndjson(*({"Item": each} for each in items))


def export(*loaded: dict[str, Any], folder: str = "export", **summary: Any) -> Path:
    """An export of three sessions, as it is downloaded."""
    first, second, third = map(item_of, loaded or (FULL, session(2), session(3)))
    at = Path(folder) / "AWSDynamoDB" / "01693685827463-2d8752fd"
    (at / "data").mkdir(parents=True)
    files = {"a": exported(first, second), "b": exported(third), "c": b""}
    for name, content in files.items():
        (at / "data" / f"{name}.json.gz").write_bytes(gzip.compress(content))
    keys = [
        {"itemCount": 1, "dataFileS3Key": f"AWSDynamoDB/01693685827463-2d8752fd/data/{name}.json.gz"} for name in files
    ]
    (at / "manifest-files.json").write_bytes(ndjson(*keys))
    (at / "manifest-summary.json").write_text(json.dumps(SUMMARY | summary))
    (at / "_started").touch()
    return at


@pytest.mark.parametrize("path", ["export", "export/AWSDynamoDB/01693685827463-2d8752fd/manifest-summary.json"])
def test_an_export_to_s3_is_loaded_with_its_manifest(service: Service, path: str) -> None:
    export()
    ran = sessions("load", path)
    assert (ran.exit_code, ran.stderr) == (0, "")
    assert ran.stdout.startswith("loaded 3, rejected 0, ")
    assert stored(service) == {each["id"]["S"]: each for each in map(item_of, [FULL, session(2), session(3)])}


def test_an_exported_item_keeps_what_the_contract_does_not_have(service: Service) -> None:
    kept = item_of(session(1)) | {
        "expires": {"N": "1795452106"},
        "tags": {"SS": ["a", "b"]},
        "signature": {"B": "AP8="},
        "parts": {"L": [{"BS": ["AP8="]}, {"M": {"one": {"B": "AA=="}}}]},
        "title": {"NULL": True},
    }
    assert sessions("load", "-", given=exported(kept)).exit_code == 0
    assert stored(service)[session(1)["id"]] == kept | {
        "signature": {"B": b"\x00\xff"},
        "parts": {"L": [{"BS": [b"\x00\xff"]}, {"M": {"one": {"B": b"\x00"}}}]},
    }


def test_an_exported_item_gets_the_keys_that_it_lacks(service: Service) -> None:
    kept = item_of(session(1)) | {"created_at": {"S": "2026-11-01T00:00:01Z"}}
    del kept["created_at_id"], kept["organization_agent"]
    assert sessions("load", "-", given=exported(kept)).exit_code == 0
    assert stored(service) == {session(1)["id"]: item_of(session(1))}


BAD_ITEMS: list[tuple[Any, str]] = [
    ({}, "id: Field required; organization_id: Field required; agent_id: Field required; status: Field required; "
         "created_at: Field required; updated_at: Field required"),
    ([], "not an item in DynamoDB's JSON, {\"id\": {\"S\": \"...\"}, ...}"),
    ({"id": "session_1"}, "not an item in DynamoDB's JSON, {\"id\": {\"S\": \"...\"}, ...}"),
    ({"id": {"X": "session_1"}}, "not an item in DynamoDB's JSON, {\"id\": {\"S\": \"...\"}, ...}"),
    (item_of(session(1)) | {"more": {"N": "many"}}, "not an item in DynamoDB's JSON, {\"id\": {\"S\": \"...\"}, ...}"),
    (item_of(session(1)) | {"more": {"B": "%"}}, "not an item in DynamoDB's JSON, {\"id\": {\"S\": \"...\"}, ...}"),
    (item_of(session(1)) | {"status": {"S": "running"}}, "status: Input should be 'started', 'active' or 'idle'"),
    (item_of(session(1)) | {"organization_agent": {"S": "org_1#agent_1"}},
     "organization_agent contradicts the fields that it is composed of"),
    (item_of(session(1)) | {"created_at": {"S": "2026-12-01T00:00:00.000000Z"}},
     "created_at_id contradicts the fields that it is composed of"),
]  # fmt: skip


@pytest.mark.parametrize(("bad", "reason"), BAD_ITEMS, ids=[reason[:40] for _, reason in BAD_ITEMS])
def test_an_exported_item_that_is_not_a_session_is_set_aside(service: Service, bad: Any, reason: str) -> None:
    ran = sessions("load", "-", given=exported(bad, item_of(session(2))))
    assert (ran.exit_code, ran.stderr.splitlines()[0]) == (1, f"line 1: {reason}")
    assert stored(service).keys() == {session(2)["id"]}


def test_a_line_of_an_incremental_export_is_reported_as_one(service: Service) -> None:
    change = {"Metadata": {"WriteTimestampMicros": {"N": "1"}}, "Keys": {}, "NewImage": item_of(session(1))}
    ran = sessions("load", "-", given=ndjson(change))
    assert ran.stderr.startswith("line 1: a change of an incremental export; a full export has the sessions\n")


@pytest.mark.parametrize("summary", [{"exportType": "INCREMENTAL_EXPORT"}, {"outputFormat": "ION"}])
def test_an_export_of_another_kind_is_reported_as_one(service: Service, summary: dict[str, str]) -> None:
    at = export(**summary)
    assert fault("load", "export") == f"{at}/manifest-summary.json is not of a full export in the format DYNAMODB_JSON."


def test_an_export_without_a_data_file_is_not_loaded(service: Service) -> None:
    at = export()
    (at / "data" / "b.json.gz").unlink()
    assert (
        fault("load", "export")
        == f"{at}/data/b.json.gz is missing: the export has 3 data files, all of which are needed."
    )
    assert stored(service) == {}


def test_of_several_exports_one_must_be_chosen(service: Service) -> None:
    export(folder="exports/a")
    export(folder="exports/b")
    assert fault("load", "exports").startswith(
        "exports has 2 exports; choose one by its manifest-summary.json: exports/a/"
    )


def test_a_manifest_of_something_else_is_reported_as_one(service: Service) -> None:
    Path("manifest-summary.json").write_text('{"name": "site"}')
    assert fault("load", "manifest-summary.json") == "manifest-summary.json is not the manifest of an export."


def test_a_bad_line_of_several_files_is_named_with_its_file(service: Service) -> None:
    folder = Path("data")
    folder.mkdir()
    (folder / "1.ndjson").write_bytes(ndjson(session(1)))
    (folder / "2.json.gz").write_bytes(gzip.compress(b"\n" + ndjson(session(1)) + b"oops\n"))
    (folder / "notes.txt").write_text("not data")
    ran = sessions("load", "data")
    assert ran.stderr.splitlines() == [
        f"2.json.gz line 2: id: {session(1)['id']} is already in 1.ndjson line 1",
        "2.json.gz line 3: not JSON: Expecting value at character 1",
        "The rejected lines are in data.rejects.ndjson.",
    ]
    assert Path("data.rejects.ndjson").read_bytes() == ndjson(session(1)) + b"oops\n"


def test_a_folder_without_data_is_reported_as_one(service: Service) -> None:
    Path("data").mkdir()
    assert fault("load", "data").startswith("data has no file that ends in .json, ")


def test_standard_input_may_be_packed(service: Service) -> None:
    assert sessions("load", "-", given=gzip.compress(ndjson(session(1)))).exit_code == 0
    assert stored(service).keys() == {session(1)["id"]}


def test_a_pipe_is_read_once(service: Service) -> None:
    os.mkfifo("pipe")
    writing = threading.Thread(target=lambda: Path("pipe").write_bytes(ndjson(session(1))))
    writing.start()
    assert Source("pipe").total() is None
    assert sessions("load", "pipe").exit_code == 0
    writing.join()
    assert stored(service).keys() == {session(1)["id"]}


def test_a_packed_file_that_is_cut_off_is_reported_as_one(service: Service) -> None:
    Path("a.gz").write_bytes(gzip.compress(ndjson(*map(session, range(100))))[:-200])
    ran = sessions("load", "a.gz")
    assert (ran.exit_code, ran.stderr.splitlines()[-1]) == (1, "Error: a.gz: not a whole gzip file.")


ITEMS = {"Items": [item_of(session(1)), item_of(session(2))], "Count": 2, "ScannedCount": 2}


@pytest.mark.parametrize(
    "content",
    [
        json.dumps([session(1), session(2)]),
        json.dumps([session(1), session(2)], indent=2),
        json.dumps(session(1), indent=2) + "\n" + json.dumps(session(2), indent=2),
        json.dumps(ITEMS, indent=4),
        json.dumps(ITEMS),
    ],
    ids=["array", "array of lines", "objects of lines", "scan", "compact scan"],
)
def test_other_layouts_are_loaded_by_the_advised_command(service: Service, content: str) -> None:
    Path("a.json").write_text(content)
    assert fault("load", "a.json") == f"a.json has no session on each line; `{CONVERSION}` makes lines."
    assert os.listdir() == ["a.json"]
    if shutil.which("jq"):
        ran = shell(f"{CONVERSION} a.json", dict(os.environ))
        assert sessions("load", "-", given=ran.stdout).exit_code == 0
        assert stored(service).keys() == {session(1)["id"], session(2)["id"]}
