"""What `sessions load` reads besides lines of Sessions: DynamoDB's exports to S3, packed files, folders."""

import gzip
import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from sessions_cli.items import item_of
from sessions_cli.sources import Source
from tests.cli.command import ndjson, sessions
from tests.cli.test_load import FULL, stored
from tests.service import Service, session

SUMMARY = {
    "version": "2020-06-30",
    "exportArn": "arn:aws:dynamodb:eu-west-1:123456789012:table/sessions/export/01693685827463-2d8752fd",
    "manifestFilesS3Key": "AWSDynamoDB/01693685827463-2d8752fd/manifest-files.json",
    "itemCount": 3,
    "outputFormat": "DYNAMODB_JSON",
    "exportType": "FULL_EXPORT",
}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of this test alone."""
    monkeypatch.chdir(tmp_path)


def exported(*items: dict[str, Any]) -> bytes:
    """Lines of a data file, as DynamoDB exports items."""
    return b"".join(json.dumps({"Item": item}).encode() + b"\n" for item in items)


def export(*entries: dict[str, Any], folder: str = "export", **summary: Any) -> Path:
    """An export of three sessions, as it is downloaded."""
    first, second, third = map(item_of, entries or (FULL, session(2), session(3)))
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


def fault(*arguments: str, given: bytes = b"") -> str:
    """The one line of a load that cannot begin."""
    ran = sessions("load", *arguments, given=given)
    assert (ran.exit_code, ran.stdout) == (1, "")
    assert ran.stderr.count("\n") == 1
    return ran.stderr.removeprefix("Error: ").rstrip("\n")


@pytest.mark.parametrize("path", ["export", "export/AWSDynamoDB/01693685827463-2d8752fd/manifest-summary.json"])
def test_an_export_to_s3_is_loaded_with_its_manifest(service: Service, path: str) -> None:
    export()
    ran = sessions("load", path)
    assert (ran.exit_code, ran.stderr) == (0, "")
    assert ran.stdout.startswith("loaded 3, rejected 0, ")
    assert stored(service) == {item["id"]["S"]: item for item in map(item_of, [FULL, session(2), session(3)])}


def test_an_exported_item_keeps_what_the_contract_does_not_have(service: Service) -> None:
    item = item_of(session(1)) | {
        "expires": {"N": "1795452106"},
        "tags": {"SS": ["a", "b"]},
        "signature": {"B": "AP8="},
        "parts": {"L": [{"BS": ["AP8="]}, {"M": {"one": {"B": "AA=="}}}]},
        "title": {"NULL": True},
    }
    assert sessions("load", "-", given=exported(item)).exit_code == 0
    assert stored(service)[session(1)["id"]] == item | {
        "signature": {"B": b"\x00\xff"},
        "parts": {"L": [{"BS": [b"\x00\xff"]}, {"M": {"one": {"B": b"\x00"}}}]},
    }


def test_an_exported_item_gets_the_keys_that_it_lacks(service: Service) -> None:
    item = item_of(session(1)) | {"created_at": {"S": "2026-11-01T00:00:01Z"}}
    del item["created_at_id"], item["organization_agent"]
    assert sessions("load", "-", given=exported(item)).exit_code == 0
    assert stored(service) == {session(1)["id"]: item_of(session(1))}


BAD_ITEMS: list[tuple[Any, str]] = [
    ({}, "id: Field required; organization_id: Field required; agent_id: Field required; status: Field required; "
         "created_at: Field required; updated_at: Field required"),
    ([], "not an item in DynamoDB's JSON, {\"id\": {\"S\": \"...\"}, ...}"),
    ({"id": "session_1"}, "not an item in DynamoDB's JSON, {\"id\": {\"S\": \"...\"}, ...}"),
    ({"id": {"X": "session_1"}}, "not an item in DynamoDB's JSON, {\"id\": {\"S\": \"...\"}, ...}"),
    (item_of(session(1)) | {"more": {"S": 5}}, "not an item in DynamoDB's JSON, {\"id\": {\"S\": \"...\"}, ...}"),
    (item_of(session(1)) | {"more": {"N": "many"}}, "not an item in DynamoDB's JSON, {\"id\": {\"S\": \"...\"}, ...}"),
    (item_of(session(1)) | {"more": {"B": "%"}}, "not an item in DynamoDB's JSON, {\"id\": {\"S\": \"...\"}, ...}"),
    (item_of(session(1)) | {"status": {"S": "running"}}, "status: Input should be 'started', 'active' or 'idle'"),
    (item_of(session(1)) | {"organization_agent": {"S": "org_1#agent_1"}},
     "organization_agent contradicts the fields that it is composed of"),
    (item_of(session(1)) | {"created_at": {"S": "2026-12-01T00:00:00.000000Z"}},
     "created_at_id contradicts the fields that it is composed of"),
]  # fmt: skip


@pytest.mark.parametrize(("item", "reason"), BAD_ITEMS, ids=[reason[:40] for _, reason in BAD_ITEMS])
def test_an_exported_item_that_is_not_a_session_is_set_aside(service: Service, item: Any, reason: str) -> None:
    ran = sessions("load", "-", given=exported(item, item_of(session(2))))
    assert (ran.exit_code, ran.stderr.splitlines()[0]) == (1, f"line 1: {reason}")
    assert stored(service).keys() == {session(2)["id"]}


def test_a_line_of_an_incremental_export_is_told_as_one(service: Service) -> None:
    change = {"Metadata": {"WriteTimestampMicros": {"N": "1"}}, "Keys": {}, "NewImage": item_of(session(1))}
    ran = sessions("load", "-", given=ndjson(change))
    assert ran.stderr.startswith("line 1: a change of an incremental export; a full export has the sessions\n")


@pytest.mark.parametrize("summary", [{"exportType": "INCREMENTAL_EXPORT"}, {"outputFormat": "ION"}])
def test_an_export_of_another_kind_is_told_as_one(service: Service, summary: dict[str, str]) -> None:
    at = export(**summary)
    assert fault("export") == f"{at}/manifest-summary.json is not of a full export in the format DYNAMODB_JSON."


def test_an_export_whose_data_file_is_missing_is_not_loaded_in_part(service: Service) -> None:
    at = export()
    (at / "data" / "b.json.gz").unlink()
    assert fault("export") == f"{at}/data/b.json.gz is missing: the export has 3 data files, all of which are needed."
    assert stored(service) == {}


def test_of_several_exports_one_must_be_chosen(service: Service) -> None:
    export(folder="exports/a")
    export(folder="exports/b")
    assert fault("exports").startswith("exports has 2 exports; choose one by its manifest-summary.json: exports/a/")


def test_a_manifest_of_something_else_is_told_as_one(service: Service) -> None:
    Path("manifest-summary.json").write_text('{"name": "site"}')
    assert fault("manifest-summary.json") == "manifest-summary.json is not the manifest of an export."


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
        "What was not loaded is in data.rejects.ndjson.",
    ]
    assert Path("data.rejects.ndjson").read_bytes() == ndjson(session(1)) + b"oops\n"


def test_a_folder_without_data_is_told_as_one(service: Service) -> None:
    Path("data").mkdir()
    assert fault("data").startswith("data has no file that ends in .json, ")


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


def test_lines_are_counted_only_where_that_takes_no_unpacking() -> None:
    Path("a.ndjson").write_bytes(b"1\n2\n")
    Path("a.gz").write_bytes(gzip.compress(b"1\n2\n"))
    assert [Source(path).total() for path in ("a.ndjson", "a.gz", "-")] == [2, None, None]
    export()
    assert Source("export").total() == 3


def test_a_packed_file_that_is_cut_off_is_told_as_one(service: Service) -> None:
    Path("a.gz").write_bytes(gzip.compress(ndjson(*map(session, range(100))))[:-200])
    ran = sessions("load", "a.gz")
    assert (ran.exit_code, ran.stderr.splitlines()[-1]) == (1, "Error: a.gz: not a whole gzip file.")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            b'[{"id": "session_1"}]',
            "is a JSON array, not one Session a line; `jq -c '.[]' a.json | sessions load -` loads it.",
        ),
        (
            b'\n  [\n{"id": 1}\n]\n',
            "is a JSON array, not one Session a line; `jq -c '.[]' a.json | sessions load -` loads it.",
        ),
        (
            b'{\n  "id": 1\n}\n',
            "has Sessions over several lines, not one a line; `jq -c '.' a.json | sessions load -` loads it.",
        ),
    ],
)
def test_json_that_is_not_made_of_lines_is_told_apart(service: Service, content: bytes, said: str) -> None:
    Path("a.json").write_bytes(content)
    assert fault("a.json") == f"a.json {said}"
    assert Path("a.rejects.ndjson").exists() is False


def test_rejects_go_where_they_can_be_written(service: Service, tmp_path: Path) -> None:
    Path("data").mkdir()
    Path("data/a.ndjson").write_bytes(b"oops\n")
    Path("data/a.rejects.ndjson").mkdir()  # in the way, for root too
    ran = sessions("load", "data/a.ndjson")
    assert ran.stderr.splitlines()[-1] == "What was not loaded is in a.rejects.ndjson."
    assert Path("a.rejects.ndjson").read_bytes() == b"oops\n"
