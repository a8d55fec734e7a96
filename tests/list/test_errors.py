"""Every refusal and every fault in the contract's one shape, through the handler."""

import json
import logging
from typing import Any
from unittest.mock import Mock

import botocore.exceptions
import pytest

from sessions.responses import ENVELOPE_BYTES, RESPONSE_BYTES_MAX, fits_response
from tests.conftest import Lines
from tests.service import (
    CONTEXT,
    ORGANIZATION,
    OTHER_ORGANIZATION,
    TEMPLATE,
    Response,
    Service,
    event,
    load,
    response_of,
    session,
    small_limits,
)

RUNNING = "https://dynamodb.eu-west-1.amazonaws.com"


def fault(code: str, status: int) -> botocore.exceptions.ClientError:
    response: Any = {"Error": {"Code": code, "Message": "secret"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return botocore.exceptions.ClientError(response, "Query")


def fail_with(raised: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    small_limits(monkeypatch, Mock(query=Mock(side_effect=raised)))


def assert_error(response: Response, status: int, code: str, message: str) -> None:
    assert (response.status, response.body) == (status, {"error": {"code": code, "message": message}})
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["X-Request-Id"]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"])
def test_another_method_is_a_405(service: Service, method: str) -> None:
    response = service.get(httpMethod=method, organization=None)
    assert_error(response, 405, "method_not_allowed", "/v1/sessions supports only GET.")
    assert response.headers["Allow"] == "GET"


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v1/sessions/", "/v1/sessions/session_1", "/v2/sessions", "/x/v1/sessions"]
)
def test_another_path_is_a_404_whoever_calls(service: Service, path: str) -> None:
    resource = "/" if path == "/" else "/{proxy+}"
    for method in ("GET", "POST"):
        response = service.get(path=path, resource=resource, httpMethod=method, organization=None)
        assert_error(response, 404, "not_found", "There is nothing here; the list of sessions is at /v1/sessions.")


def test_a_base_path_of_a_custom_domain_is_not_part_of_the_route(service: Service) -> None:
    assert service.get(path="/platform/api/v1/sessions").status == 200


def test_identity_is_checked_before_parameters(service: Service) -> None:
    assert service.get("limit=0", organization=None).status == 401
    headers = {"X-Org-Id": [OTHER_ORGANIZATION]}
    assert service.get("limit=0", multiValueHeaders=headers).status == 403


@pytest.mark.parametrize(
    "raised",
    [
        fault("ProvisionedThroughputExceededException", 400),
        fault("ThrottlingException", 400),
        fault("RequestLimitExceeded", 400),
        fault("InternalServerError", 500),
        fault("SomethingNew", 503),
        botocore.exceptions.EndpointConnectionError(endpoint_url=RUNNING),
        botocore.exceptions.ConnectTimeoutError(endpoint_url=RUNNING),
        botocore.exceptions.ReadTimeoutError(endpoint_url=RUNNING),
        botocore.exceptions.ConnectionClosedError(endpoint_url=RUNNING),
    ],
    ids=lambda raised: type(raised).__name__,
)
@pytest.mark.parametrize("query", ["", "offset=1000"])
def test_trouble_of_dynamodb_is_a_503(
    service: Service, raised: Exception, query: str, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_with(raised, monkeypatch)
    response = service.get(query)
    assert_error(response, 503, "unavailable", "The service is busy or cannot be reached; try again shortly.")
    assert response.headers["Retry-After"] == "1"
    (line,) = logged(lines, "failed")
    assert line["code"] == "unavailable"


@pytest.mark.parametrize(
    "raised", [fault("AccessDeniedException", 400), fault("ResourceNotFoundException", 400), KeyError("internals")]
)
def test_a_fault_of_ours_says_nothing_of_our_internals(
    service: Service, raised: Exception, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_with(raised, monkeypatch)
    response = service.get()
    assert_error(response, 500, "internal_error", "Internal server error")
    (line,) = logged(lines, "failed")
    assert line["correlation_id"] == response.headers["X-Request-Id"]
    assert type(raised).__name__ in line["exception"]
    assert line["level"] == "ERROR"


def test_past_the_deadline_no_further_read_begins(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    dynamodb = Mock()
    small_limits(monkeypatch, dynamodb, deadline=-1.0)
    assert_error(service.get(), 503, "unavailable", "The response took too long; try again shortly.")
    dynamodb.query.assert_not_called()


def test_a_page_that_lambda_cannot_return_says_to_lower_the_limit(service: Service) -> None:
    large = [session(number, title='"' * 190_000, preview="é" * 90_000) for number in range(20)]
    service.put(*large)
    service.drain()
    response = service.get("limit=20")
    message = "The page would exceed the largest possible response (6 MB); ask again with a lower limit."
    assert_error(response, 500, "page_too_large", message)
    assert service.get("limit=6").status == 200


def test_a_page_far_too_large_is_refused_before_all_of_it_is_read(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_limits(monkeypatch, responses_max=2)
    service.put(*(session(number, title="x" * 380_000) for number in range(12)))
    service.drain()
    assert service.get("limit=12").body["error"]["code"] == "page_too_large"
    assert service.get("limit=2&offset=9").status == 200


def test_a_short_list_that_was_never_counted_is_counted_for_the_request(service: Service) -> None:
    service.put(*(session(number) for number in range(130)))
    assert service.get("offset=0").body["total"] == 130
    assert service.get("offset=120&limit=100").ids == [session(number)["id"] for number in range(9, -1, -1)]


def test_a_long_list_that_was_never_counted_is_unavailable(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    service.put(*(session(number, title="x" * 300_000) for number in range(15)))
    small_limits(monkeypatch, count_responses_max=3)
    message = "The sessions of this organization are still being counted; try again later."
    assert_error(service.get("offset=101"), 503, "unavailable", message)


@pytest.mark.parametrize("missing", ["SESSIONS_TABLE", "COUNTS_TABLE", "CORS_ORIGINS", "POWERTOOLS_METRICS_NAMESPACE"])
def test_a_missing_setting_fails_the_cold_start_with_its_name(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in TEMPLATE.function("list_sessions").environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv(missing)
    with pytest.raises(KeyError, match=missing):
        load("list_sessions")


def test_a_refusal_is_logged_with_the_message_of_a_parameter_or_the_code(service: Service, lines: Lines) -> None:
    service.get("limit=0")
    service.get(organization=None)
    parameter, identity = lines()
    assert parameter["reason"] == "limit must be a whole number from 1 to 100."
    assert identity["reason"] == identity["code"] == "unauthorized"


def test_one_line_is_logged_for_a_page(service: Service, lines: Lines) -> None:
    service.put(session(1, title="private title"))
    service.drain()
    lines()
    response = service.get("limit=5")
    (line,) = lines()
    assert "private title" not in str(line)
    assert {name: line[name] for name in ("message", "organization_id", "offset", "limit", "total", "entries")} == {
        "message": "listed",
        "organization_id": ORGANIZATION,
        "offset": 0,
        "limit": 5,
        "total": 1,
        "entries": 1,
    }
    assert (line["RoundTrips"], line["requests"], line["correlation_id"]) == ([1], 2, response.headers["X-Request-Id"])
    (directive,) = line["_aws"]["CloudWatchMetrics"]
    assert (directive["Namespace"], directive["Dimensions"]) == ("Sessions", [["stack", "service"]])
    assert {"Name": "Duration", "Unit": "Milliseconds"} in directive["Metrics"]
    assert line["Responses.ok"] == [1]


def test_mistakes_of_callers_are_logged_as_information(service: Service, lines: Lines) -> None:
    service.get("limit=0")
    (line,) = logged(lines, "refused")
    assert (line["level"], line["code"]) == ("INFO", "invalid_parameter")


def test_a_key_that_was_sent_as_a_parameter_is_in_no_log(service: Service, lines: Lines) -> None:
    response = service.get("evr_0123456789abcdefXYZ=1&limit=1")
    assert response.body["error"]["code"] == "invalid_parameter"
    (line,) = lines()
    assert "0123456789abcdef" not in str(line)
    assert "evr_..." in line["reason"]


def logged(lines: Lines, message: str) -> list[dict[str, Any]]:
    return [line for line in lines() if line.get("message") == message]


def test_metrics_are_written_whatever_the_log_level_is(
    service: Service, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    level = logging.getLogger("list_sessions").level
    logging.getLogger("list_sessions").setLevel("ERROR")
    try:
        service.get("limit=0")
    finally:
        logging.getLogger("list_sessions").setLevel(level)
    (line,) = lines()
    assert "message" not in line
    assert line["Responses.invalid_parameter"] == [1]
    assert line["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["stack", "service"]]


@pytest.mark.parametrize("escaped", ['"', "\\", "\u2028", "\u2029"])
def test_what_lambda_escapes_counts_towards_the_response(escaped: str) -> None:
    body = b"{" + b"x" * 3_200_000
    room = RESPONSE_BYTES_MAX - ENVELOPE_BYTES - len(body)
    added = len(json.dumps(escaped, ensure_ascii=escaped > "~")) - 2
    assert fits_response(body + escaped.encode() * (room // added))
    assert not fits_response(body + escaped.encode() * (room // added + 1))
