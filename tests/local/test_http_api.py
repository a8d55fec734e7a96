"""The local API over HTTP, as its clients see it."""

import json
import re
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import pytest

from sessions_cli.items import item_of
from tests.local.calls import KEY, client, get, put, total, within_two_seconds
from tests.running import Running
from tests.service import newest_first, session


def organization(digits: str) -> tuple[str, str]:
    """An organization of one test, and its demo key."""
    return f"org_{digits * 16}", f"evr_local_{digits * 16}"


def test_the_screen_names_everything_to_start_with(running: Running) -> None:
    text = "\n".join(running.screen)
    assert running.screen[-1] == f"ready: {running.url}"
    assert "_aws" not in text
    for expected in (f"{running.url}/\n", f"{running.url}/docs", running.dynamodb_url, "sessions, counts, api_keys"):
        assert expected in text
    organizations = re.findall(r"(org_[0-9a-f]+) +(\d+) +(evr_local_[0-9a-f]+)", text)
    assert len(organizations) >= 3
    for organization_id, count, key in organizations:
        assert key == "evr_local_" + organization_id.removeprefix("org_")
        assert total(running, key) == int(count)
    assert f"curl -s -H 'Authorization: {KEY}' '{running.url}/v1/sessions?limit=2'" in text


def test_a_page_has_the_headers_of_the_contract(running: Running) -> None:
    status, headers, _ = answer = get(running, "/v1/sessions?offset=20&limit=10")
    assert status == 200
    assert (len(answer.body["data"]), answer.body["offset"], answer.body["limit"]) == (10, 20, 10)
    assert re.findall(r'rel="(\w+)"', headers["Link"]) == ["first", "prev", "next", "last"]
    assert (headers["Cache-Control"], headers["Content-Type"]) == ("no-store", "application/json")
    assert headers["X-Request-Id"]
    measured = dict(re.findall(r'(\w+);(?:dur|desc)="?([0-9.]+)', headers["Server-Timing"]))
    assert measured.keys() == {"function", "round_trips", "read_units"}
    assert float(measured["round_trips"]) >= 1


METHODS = ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD")
PATHS = ("/", "/v1/sessions/x", "/favicon.ico", "/docs/", "/site/x", "/%2e%2e/etc")
BAD_KEYS = (None, "", "nonsense", "evr_local_" + "f" * 32, f"Basic {KEY}", "evr_" + "x" * 9000)
BAD_QUERIES = ("limit=0", "limit=1&limit=2", "lim=1", "offset=%zz", "agent_id=%ff", "=", "limit=+5")


@pytest.mark.parametrize(
    ("method", "target", "key", "status", "code"),
    [
        *(("GET", "/v1/sessions?limit=0", key, 401, "unauthorized") for key in BAD_KEYS),
        *(("GET", f"/v1/sessions?{query}", KEY, 400, "invalid_parameter") for query in BAD_QUERIES),
        *((method, path, None, 404, "not_found") for path in PATHS for method in ("GET", "POST")),
        *((method, "/v1/sessions", None, 405, "method_not_allowed") for method in METHODS),
    ],
)
def test_a_refusal_has_the_form_of_the_contract(
    running: Running, method: str, target: str, key: str | None, status: int, code: str
) -> None:
    answer = get(running, target, key, method)
    assert (answer.status, answer.headers["Content-Type"]) == (status, "application/json")
    assert answer.headers["X-Request-Id"]
    assert answer.headers["Allow"] == ("GET" if status == 405 else None)
    if method != "HEAD":
        assert answer.body.keys() == {"error"}
        assert (answer.body["error"].keys(), answer.body["error"]["code"]) == ({"code", "message"}, code)


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /" + b"a" * 60_000 + b" HTTP/1.1\r\n\r\n", 404),
        (b"GET /\xff\xfe?\xff=\xc3\xa9 HTTP/1.1\r\n\r\n", 404),
        (b"GET /v1/sessions HTTP/1.1\r\nAuthorization: \xff\xc3\xa9\r\n\r\n", 401),
        (b"GET /%00%0a%0d HTTP/1.0\r\n\r\n", 404),
        (b"GET http://elsewhere/v1/sessions?limit=1 HTTP/1.1\r\n\r\n", 401),
        (b"POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\nshort", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", 404),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
    ],
    ids=lambda value: repr(value[:40]) if isinstance(value, bytes) else None,
)
def test_odd_http_gets_an_error_of_the_contract(running: Running, request_bytes: bytes, status: int) -> None:
    received, head, body = send(running, request_bytes)
    assert received == status
    assert "\r\nContent-Type: application/json\r\n" in head
    assert json.loads(body)["error"].keys() == {"code", "message"}


@pytest.mark.parametrize("line", [b"nonsense", b"GET / HTTP/2.0", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"])
def test_bytes_that_are_not_http_are_refused(running: Running, line: bytes) -> None:
    assert b"Error code: " in b"".join(map(str.encode, map(str, send(running, line + b"\r\n\r\n"))))
    assert get(running).status == 200


def send(running: Running, request: bytes) -> tuple[int, str, bytes]:
    """Status, head and body of the response to bytes that no well-behaved client would send."""
    address = urlsplit(running.url)
    with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        response = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = response.partition(b"\r\n\r\n")
    found = re.match(rb"HTTP/\S+ (\d+)", head)
    return int(found[1]) if found else 0, head.decode(), body


def test_twenty_concurrent_requests_succeed(running: Running) -> None:
    def page(number: int) -> tuple[int, list[str]]:
        answer = get(running, f"/v1/sessions?offset={number % 5 * 50}&limit=5")
        return answer.status, [each["id"] for each in answer.body["data"]]

    expected = [page(number) for number in range(5)]
    with ThreadPoolExecutor(20) as pool:
        assert list(pool.map(page, range(20))) == expected * 4


def test_writes_of_another_client_are_in_list_and_total(running: Running) -> None:
    organization_id, key = organization("77")
    table: Any = client(running)
    assert total(running, key) is None
    entries = newest_first(session(number, organization_id=organization_id) for number in range(30))
    items = [{"PutRequest": {"Item": item_of(entry)}} for entry in entries]
    for start in (0, 15):
        table.batch_write_item(RequestItems={"sessions": items[start : start + 15]})
    within_two_seconds(lambda: total(running, key) == 30)
    assert get(running, "/v1/sessions?offset=10&limit=10", key).body["data"] == entries[10:20]

    for entry in entries[:10]:
        table.delete_item(TableName="sessions", Key={"id": {"S": entry["id"]}})
    within_two_seconds(lambda: total(running, key) == 20)
    table.update_item(
        TableName="sessions",
        Key={"id": {"S": entries[10]["id"]}},
        UpdateExpression="SET title = :title",
        ExpressionAttributeValues={":title": {"S": "renamed"}},
    )
    listed = get(running, "/v1/sessions?limit=100", key).body
    assert listed["data"] == [entries[10] | {"title": "renamed"}, *entries[11:]]
    assert listed["total"] == 20


def test_a_session_made_by_an_update_is_counted_once(running: Running) -> None:
    organization_id, key = organization("88")
    item = item_of(session(1, organization_id=organization_id))
    item_id = item.pop("id")
    client(running).update_item(
        TableName="sessions",
        Key={"id": item_id},
        UpdateExpression="SET " + ", ".join(f"#{name} = :{name}" for name in item),
        ExpressionAttributeNames={f"#{name}": name for name in item},
        ExpressionAttributeValues={f":{name}": value for name, value in item.items()},
    )
    within_two_seconds(lambda: total(running, key) == 1)


def test_a_revoked_key_ends_at_once(running: Running) -> None:
    organization_id, key = organization("99")
    table: Any = client(running)
    put(running, session(1, organization_id=organization_id))
    within_two_seconds(lambda: total(running, key) == 1)
    found = [
        each for each in table.scan(TableName="api_keys")["Items"] if each["organization_id"]["S"] == organization_id
    ]
    assert [item["name"] for item in found] == [{"S": "local"}]
    table.delete_item(TableName="api_keys", Key={"key_hash": found[0]["key_hash"]})
    assert get(running, key=key).status == 401


def test_binary_attributes_do_not_stop_pages_and_totals(running: Running) -> None:
    organization_id, key = organization("b1")
    table: Any = client(running)
    items = [item_of(session(number, organization_id=organization_id)) for number in (1, 2, 3)]
    items[0]["capabilities"] = {"L": [{"M": {"ref": {"S": "x"}, "config": {"L": [{"B": b"\0\xff"}]}}}]}
    items[1] |= {"title": {"B": b"\0\xff"}, "extra": {"BS": [b"\1", b"\2"]}}
    for item in items:
        table.put_item(TableName="sessions", Item=item)
    within_two_seconds(lambda: total(running, key) == 3)
    assert items[2]["id"]["S"] in [entry["id"] for entry in get(running, key=key).body["data"]]
    assert table.get_item(TableName="sessions", Key={"id": items[1]["id"]})["Item"] == items[1]
    for item in items:
        table.delete_item(TableName="sessions", Key={"id": item["id"]})
    within_two_seconds(lambda: total(running, key) == 0)
