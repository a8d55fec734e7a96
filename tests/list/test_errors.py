"""Refusals and faults, each in the contract's one form."""

import json
from typing import Any
from unittest.mock import Mock

import botocore.exceptions
import pytest

from sessions.responses import ENVELOPE_BYTES, RESPONSE_BYTES_MAX, fits_response
from tests.conftest import Lines
from tests.service import OTHER_ORGANIZATION, TEMPLATE, Response, Service, load, session, small_limits

URL = "https://dynamodb.eu-west-1.amazonaws.com"
BUSY = "The service is busy or cannot be reached; try again shortly."
NOT_FOUND = "There is nothing here; the list of sessions is at /v1/sessions."


def refusal(code: str, status: int) -> botocore.exceptions.ClientError:
    response: Any = {"Error": {"Code": code, "Message": "secret"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return botocore.exceptions.ClientError(response, "Query")


def fail_with(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    small_limits(monkeypatch, Mock(query=Mock(side_effect=error)))


def assert_error(response: Response, status: int, code: str, message: str) -> None:
    assert (response.status, response.body) == (status, {"error": {"code": code, "message": message}})
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["X-Request-Id"] == "5f0c2f9a-6f0e-4d35-9a68-3d1c4be5a701"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"])
def test_another_method_is_a_405(memory_service: Service, method: str) -> None:
    response = memory_service.get(httpMethod=method, organization=None)
    assert_error(response, 405, "method_not_allowed", "/v1/sessions supports only GET.")
    assert response.headers["Allow"] == "GET"


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v1/sessions/", "/v1/sessions/session_1", "/v2/sessions", "/x/v1/sessions"]
)
def test_another_path_is_a_404(memory_service: Service, path: str, method: str) -> None:
    resource = "/" if path == "/" else "/{proxy+}"
    response = memory_service.get(path=path, resource=resource, httpMethod=method, organization=None)
    assert_error(response, 404, "not_found", NOT_FOUND)


def test_a_base_path_of_a_custom_domain_is_ignored(memory_service: Service) -> None:
    response = memory_service.get(path="/platform/api/v1/sessions")
    assert (response.status, response.headers["Content-Type"]) == (200, "application/json")
    assert response.headers["Cache-Control"] == "no-store"


def test_identity_is_checked_before_parameters(memory_service: Service) -> None:
    assert memory_service.get("limit=0", organization=None).status == 401
    assert memory_service.get("limit=0", multiValueHeaders={"X-Org-Id": [OTHER_ORGANIZATION]}).status == 403


@pytest.mark.parametrize("query", ["", "offset=1000"])
@pytest.mark.parametrize(
    "error",
    [
        refusal("ProvisionedThroughputExceededException", 400),
        refusal("ThrottlingException", 400),
        refusal("RequestLimitExceeded", 400),
        refusal("InternalServerError", 500),
        refusal("SomethingNew", 503),
        botocore.exceptions.EndpointConnectionError(endpoint_url=URL),
        botocore.exceptions.ConnectTimeoutError(endpoint_url=URL),
        botocore.exceptions.ReadTimeoutError(endpoint_url=URL),
        botocore.exceptions.ConnectionClosedError(endpoint_url=URL),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_fault_of_dynamodb_is_a_503(
    memory_service: Service, error: Exception, query: str, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_with(error, monkeypatch)
    response = memory_service.get(query)
    assert_error(response, 503, "unavailable", BUSY)
    assert response.headers["Retry-After"] == "1"
    (line,) = lines()
    assert (line["message"], line["code"]) == ("failed", "unavailable")


@pytest.mark.parametrize(
    "error", [refusal("AccessDeniedException", 400), refusal("ResourceNotFoundException", 400), KeyError("internals")]
)
def test_an_internal_fault_tells_the_log_and_not_the_caller(
    memory_service: Service, error: Exception, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_with(error, monkeypatch)
    response = memory_service.get()
    assert_error(response, 500, "internal_error", "Internal server error")
    (line,) = lines()
    assert (line["level"], line["message"]) == ("ERROR", "failed")
    assert line["correlation_id"] == response.headers["X-Request-Id"]
    assert type(error).__name__ in line["exception"]


FUNCTIONS = ["list_sessions", "authorize", "count_sessions"]
DEFAULTED = {"STACK_NAME", "POWERTOOLS_SERVICE_NAME", "POWERTOOLS_LOG_LEVEL"}
NEEDED = [(name, each) for name in FUNCTIONS for each in TEMPLATE.function(name).environment if each not in DEFAULTED]


@pytest.mark.parametrize(("name", "missing"), NEEDED)
def test_a_missing_variable_fails_the_start_with_its_name(name: str, missing: str) -> None:
    with pytest.raises(KeyError, match=missing):
        load(name, **{missing: None})


# --------------------------------------------------------------------------------------------- 6 MB


def test_a_page_too_large_says_to_lower_the_limit(service: Service) -> None:
    service.put(*(session(number, title='"' * 190_000, preview="é" * 90_000) for number in range(20)))
    message = "The page would exceed the largest possible response (6 MB); ask again with a lower limit."
    assert_error(service.get("limit=20"), 500, "page_too_large", message)
    assert service.get("limit=6").status == 200


@pytest.mark.parametrize("text", ["x", "é", '"', "\\", "\u2028", "\u2029"])
@pytest.mark.parametrize("plain", [0, 3_200_000])
def test_a_body_fits_with_what_lambda_escapes(text: str, plain: int) -> None:
    room = RESPONSE_BYTES_MAX - ENVELOPE_BYTES - plain
    escaped = len(json.dumps(text, ensure_ascii=text > "\u2000").encode()) - 2
    body = b"x" * plain + text.encode() * (room // escaped)
    assert fits_response(body)
    assert not fits_response(body + text.encode())
