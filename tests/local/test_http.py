"""The local API over HTTP, as its clients see it."""

import json
import re
import socket
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest

from sessions_cli.items import item_of
from tests.running import Running
from tests.service import session

KEY = "evr_local_00000000000000000000000000000001"
NOT_FOUND = {
    "error": {"code": "not_found", "message": "There is nothing here; the list of sessions is at /v1/sessions."}
}


def get(running: Running, target: str = "/v1/sessions", key: str | None = KEY, method: str = "GET") -> Any:
    """Status, headers and body of a request."""
    headers = {} if key is None else {"Authorization": key}
    request = urllib.request.Request(running.url + target, headers=headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, response.headers, json.loads(response.read() or b"null")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, json.loads(error.read() or b"null")


def send(running: Running, request: bytes) -> tuple[int, str, bytes]:
    """Status, head and body of the response to bytes that no well-behaved client would send."""
    address = urlsplit(running.url)
    with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        response = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = response.partition(b"\r\n\r\n")
    return int(head.split()[1]), head.decode(), body


def client(running: Running, service: str = "dynamodb", region: str = "ap-southeast-2") -> Any:
    """A client of somebody else: another region, other credentials."""
    return boto3.client(
        service,  # type: ignore[call-overload]
        endpoint_url=running.dynamodb_url,
        region_name=region,
        aws_access_key_id="somebody",
        aws_secret_access_key="else",
    )


def within_two_seconds(condition: Any) -> None:
    end = time.monotonic() + 2
    while not condition():
        assert time.monotonic() < end, "still not so after two seconds"
        time.sleep(0.05)


def test_the_screen_names_url_tables_organizations_keys_and_a_command(running: Running) -> None:
    text = "\n".join(running.screen)
    assert running.screen[-1] == f"ready: {running.url}"
    for expected in (f"{running.url}/\n", f"{running.url}/docs", running.dynamodb_url, "sessions, counts, api_keys"):
        assert expected in text
    organizations = re.findall(r"(org_[0-9a-f]+) +(\d+) +(evr_local_[0-9a-f]+)", text)
    assert len(organizations) >= 3
    for organization_id, total, key in organizations:
        assert key == "evr_local_" + organization_id.removeprefix("org_")
        assert get(running, key=key)[2]["total"] == int(total)
    assert f"curl -s -H 'Authorization: {KEY}' '{running.url}/v1/sessions?limit=2'" in text


def test_a_page_has_the_headers_of_the_contract(running: Running) -> None:
    status, headers, body = get(running, "/v1/sessions?offset=20&limit=10")
    assert status == 200
    assert (len(body["data"]), body["offset"], body["limit"]) == (10, 20, 10)
    assert body["total"] >= 400
    assert re.findall(r'rel="(\w+)"', headers["Link"]) == ["first", "prev", "next", "last"]
    assert headers["Cache-Control"] == "no-store"
    assert headers["Content-Type"] == "application/json"
    assert headers["X-Request-Id"]


def test_pages_joined_are_the_whole_list(running: Running) -> None:
    ids: list[str] = []
    total = get(running)[2]["total"]
    for offset in range(0, total, 100):
        ids += [each["id"] for each in get(running, f"/v1/sessions?offset={offset}&limit=100")[2]["data"]]
    assert len(ids) == len(set(ids)) == total


@pytest.mark.parametrize("key", [None, "", "nonsense", "evr_local_" + "f" * 32, f"Basic {KEY}", "evr_" + "x" * 9000])
def test_without_a_live_key_there_is_a_401(running: Running, key: str | None) -> None:
    status, headers, body = get(running, "/v1/sessions?limit=0", key)
    assert status == 401
    assert body == {
        "error": {"code": "unauthorized", "message": "The API key is missing, unknown, expired or revoked."}
    }
    assert headers["Content-Type"] == "application/json"
    assert headers["X-Request-Id"]


@pytest.mark.parametrize("form", ["{}", "Bearer {}", "bearer {}", "ApiKey {}"])
def test_a_key_stands_alone_or_after_a_scheme(running: Running, form: str) -> None:
    assert get(running, key=form.format(KEY))[0] == 200


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1&limit=2", "lim=1", "offset=%zz", "agent_id=%ff", "=", "limit=+5"]
)
def test_a_bad_parameter_is_a_400(running: Running, query: str) -> None:
    status, _, body = get(running, f"/v1/sessions?{query}")
    assert (status, body["error"]["code"]) == (400, "invalid_parameter")


@pytest.mark.parametrize("key", [None, KEY, "Basic nonsense"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize("path", ["/", "/v1", "/v1/sessions/x", "/favicon.ico", "/docs/", "/site/x", "/%2e%2e/etc"])
def test_another_path_is_a_404(running: Running, path: str, method: str, key: str | None) -> None:
    status, headers, body = get(running, path, key, method)
    assert (status, body) == (404, NOT_FOUND)
    assert headers["X-Request-Id"]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"])
def test_another_method_is_a_405(running: Running, method: str) -> None:
    status, headers, body = get(running, "/v1/sessions", None, method)
    assert (status, headers["Allow"]) == (405, "GET")
    error = {"code": "method_not_allowed", "message": "/v1/sessions supports only GET."}
    assert body == (None if method == "HEAD" else {"error": error})


def test_another_organization_is_a_403(running: Running) -> None:
    headers = {"Authorization": KEY, "X-Org-Id": "org_00000000000000000000000000000002"}
    request = urllib.request.Request(f"{running.url}/v1/sessions", headers=headers)
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(request, timeout=30)
    with raised.value as error:
        assert (error.code, json.loads(error.read())["error"]["code"]) == (403, "forbidden")


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET /v1/sessions nonsense\r\n\r\n", 400),
        (b"GET /v1/sessions HTTP/2.0\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"GET /v1/sessions\r\n\r\n", 401),
        (b"GET * HTTP/1.1\r\n\r\n", 400),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET /" + b"a" * 60_000 + b" HTTP/1.1\r\n\r\n", 404),
        (b"GET / HTTP/1.1\r\n" + b"".join(b"H%d: 1\r\n" % each for each in range(200)) + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nLong: " + b"a" * 70_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"GET /\xff\xfe?\xff=\xc3\xa9 HTTP/1.1\r\n\r\n", 404),
        (b"GET /v1/sessions HTTP/1.1\r\nAuthorization: \xff\xc3\xa9\r\n\r\n", 401),
        (b"GET /%00%0a%0d HTTP/1.0\r\n\r\n", 404),
        (b"GET http://elsewhere/v1/sessions?limit=1 HTTP/1.1\r\n\r\n", 401),
        (b"POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\nshort", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", 404),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", 400),
        (b"FOO /v1/sessions HTTP/1.1\r\n\r\n", 404),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    ],
    ids=lambda value: repr(value[:40]) if isinstance(value, bytes) else None,
)
def test_what_is_hardly_http_gets_an_error_of_the_contract(running: Running, request_bytes: bytes, status: int) -> None:
    received, head, body = send(running, request_bytes)
    assert received == status
    assert "\r\nContent-Type: application/json\r\n" in head
    assert re.search(r"\r\nX-Request-Id: [0-9a-f-]{36}\r\n", head)
    error = json.loads(body)["error"]
    assert error.keys() == {"code", "message"}


@pytest.mark.parametrize("method", ["TRACE", "PROPFIND", "get"])
def test_a_method_that_the_gateway_does_not_know_is_a_404(running: Running, method: str) -> None:
    status, _, body = get(running, "/v1/sessions", None, method)
    assert (status, body) == (404, NOT_FOUND)


def test_a_slash_at_the_end_makes_no_difference(running: Running) -> None:
    assert get(running, "/v1/sessions/?limit=2")[2] == get(running, "/v1/sessions?limit=2")[2]


def test_a_response_says_what_it_cost(running: Running) -> None:
    timing = get(running, "/v1/sessions?limit=5")[1]["Server-Timing"]
    measured = dict(re.findall(r'(\w+);(?:dur|desc)="?([0-9.]+)', timing))
    assert measured.keys() == {"function", "round_trips", "read_units"}
    assert float(measured["round_trips"]) >= 1


def test_a_response_without_a_read_of_sessions_has_no_cost(running: Running) -> None:
    assert get(running, key=None)[1]["Server-Timing"] is None


def test_twenty_concurrent_requests_succeed(running: Running) -> None:
    def page(number: int) -> tuple[int, list[str]]:
        status, _, body = get(running, f"/v1/sessions?offset={number % 5 * 50}&limit=5")
        return status, [each["id"] for each in body["data"]]

    expected = [page(number) for number in range(5)]
    with ThreadPoolExecutor(20) as pool:
        assert list(pool.map(page, range(40))) == expected * 8


def test_what_another_client_writes_and_deletes_is_in_the_list_and_the_total(running: Running) -> None:
    organization_id = "org_" + "7" * 32
    key = "evr_local_" + "7" * 32
    table: Any = client(running)
    assert get(running, key=key)[0] == 401

    def listed() -> tuple[Any, ...]:
        status, _, body = get(running, key=key)
        return (status, body["total"], [each["id"] for each in body["data"]]) if status == 200 else (status,)

    entries = [session(number, organization_id=organization_id) for number in (1, 2, 3)]
    ids = [entry["id"] for entry in entries]
    for entry in entries:
        table.put_item(TableName="sessions", Item=item_of(entry))
    within_two_seconds(lambda: listed() == (200, 3, ids[::-1]))

    table.delete_item(TableName="sessions", Key={"id": {"S": ids[1]}})
    within_two_seconds(lambda: listed() == (200, 2, [ids[2], ids[0]]))

    table.update_item(
        TableName="sessions",
        Key={"id": {"S": ids[0]}},
        UpdateExpression="SET title = :title",
        ExpressionAttributeValues={":title": {"S": "renamed"}},
    )
    assert [each["title"] for each in get(running, key=key)[2]["data"]] == [None, "renamed"]
    assert listed()[1] == 2


def test_a_session_that_is_made_by_an_update_is_counted_once(running: Running) -> None:
    entry = session(1, organization_id="org_" + "8" * 32)
    item = item_of(entry)
    item_id = item.pop("id")
    names = {f"#{name}": name for name in item}
    client(running).update_item(
        TableName="sessions",
        Key={"id": item_id},
        UpdateExpression="SET " + ", ".join(f"#{name} = :{name}" for name in item),
        ExpressionAttributeNames=names,
        ExpressionAttributeValues={f":{name}": value for name, value in item.items()},
    )
    key = "evr_local_" + "8" * 32
    within_two_seconds(lambda: get(running, key=key)[0] == 200 and get(running, key=key)[2]["total"] == 1)


def test_a_revoked_key_ends_at_once(running: Running) -> None:
    table: Any = client(running)
    table.put_item(TableName="sessions", Item=item_of(session(1, organization_id="org_" + "9" * 32)))
    key = "evr_local_" + "9" * 32
    within_two_seconds(lambda: get(running, key=key)[0] == 200)
    found = table.scan(
        TableName="api_keys",
        FilterExpression="organization_id = :organization",
        ExpressionAttributeValues={":organization": {"S": "org_" + "9" * 32}},
    )["Items"]
    assert [item["name"] for item in found] == [{"S": "local"}]
    table.delete_item(TableName="api_keys", Key={"key_hash": found[0]["key_hash"]})
    assert get(running, key=key)[0] == 401


def test_binary_attributes_anywhere_do_not_stop_pages_and_totals(running: Running) -> None:
    """One item has binary values inside a capability, another in its title; a third is sound."""
    table: Any = client(running)
    organization_id, key = "org_" + "b1" * 16, "evr_local_" + "b1" * 16
    items = [item_of(session(number, organization_id=organization_id)) for number in (1, 2, 3)]
    items[0]["capabilities"] = {"L": [{"M": {"ref": {"S": "x"}, "config": {"L": [{"B": b"\0\xff"}]}}}]}
    items[1]["title"] = {"B": b"\0\xff"}
    items[1]["extra"] = {"BS": [b"\1", b"\2"]}
    for item in items:
        table.put_item(TableName="sessions", Item=item)

    def total() -> Any:
        status, _, body = get(running, key=key)
        return body["total"] if status == 200 else status

    within_two_seconds(lambda: total() == 3)
    assert items[2]["id"]["S"] in [entry["id"] for entry in get(running, key=key)[2]["data"]]
    assert table.get_item(TableName="sessions", Key={"id": items[1]["id"]})["Item"] == items[1]
    for number, item in enumerate(items):
        table.delete_item(TableName="sessions", Key={"id": item["id"]})
        within_two_seconds(lambda number=number: total() == 2 - number)  # type: ignore[misc]
