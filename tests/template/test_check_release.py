"""The hook before traffic: what it lets through, what it refuses, and that CodeDeploy hears of either."""

import io
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError
from botocore.stub import Stubber

from tests.service import CONTEXT, ORGANIZATION, Service, load, session
from tests.template.stack import stack

ROOT = Path(__file__).parent.parent.parent
LIST_SESSIONS = "arn:aws:lambda:eu-west-1:123456789012:function:list:7"
AUTHORIZE = "arn:aws:lambda:eu-west-1:123456789012:function:authorize:4"
EVENT = {"DeploymentId": "d-ABCDEF123", "LifecycleEventHookExecutionId": "execution"}

Invoke = Callable[[str, dict[str, Any]], dict[str, Any]]


class FakeLambda:
    """Lambda's `Invoke` over functions of this process."""

    def __init__(self, invoke: Invoke) -> None:
        self._invoke = invoke

    def invoke(self, *, FunctionName: str, Payload: str) -> dict[str, Any]:  # noqa: N803
        try:
            payload = self._invoke(FunctionName, json.loads(Payload))
        except (ClientError, ReadTimeoutError):
            raise
        except Exception as error:
            # What Lambda makes of an exception ('Invoke', FunctionError).
            crash = {"errorMessage": str(error), "errorType": type(error).__name__}
            return {"StatusCode": 200, "FunctionError": "Unhandled", "Payload": io.BytesIO(json.dumps(crash).encode())}
        return {"StatusCode": 200, "Payload": io.BytesIO(json.dumps(payload).encode())}


@pytest.fixture
def hook(service: Service, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setenv("LIST_SESSIONS_VERSION", LIST_SESSIONS)
    monkeypatch.setenv("AUTHORIZE_VERSION", AUTHORIZE)
    monkeypatch.setenv("ORGANIZATION", ORGANIZATION)
    return load("check_release")


@pytest.fixture
def told(hook: ModuleType) -> Iterator[Stubber]:
    with Stubber(hook.codedeploy) as stubber:
        yield stubber


def real(service: Service) -> Invoke:
    """The functions of this repository."""
    names = {LIST_SESSIONS: "list_sessions", AUTHORIZE: "authorize"}
    return lambda version, event: service.function(names[version]).handler(event, CONTEXT)  # type: ignore[no-any-return]


def changed(invoke: Invoke, version: str, change: Callable[[dict[str, Any]], Any]) -> Invoke:
    """The same functions, one of which returns something else."""
    return lambda called, event: change(invoke(called, event)) if called == version else invoke(called, event)


def body(**fields: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Changes the body of a page; None removes a field."""

    def change(response: dict[str, Any]) -> dict[str, Any]:
        if response["statusCode"] != 200:
            return response
        page = json.loads(response["body"]) | fields
        return response | {"body": json.dumps({name: value for name, value in page.items() if value is not None})}

    return change


def expect_status(told: Stubber, status: str) -> None:
    told.add_response(
        "put_lifecycle_event_hook_execution_status",
        {"lifecycleEventHookExecutionId": "execution"},
        {"deploymentId": "d-ABCDEF123", "lifecycleEventHookExecutionId": "execution", "status": status},
    )


def run(hook: ModuleType, told: Stubber, monkeypatch: pytest.MonkeyPatch, invoke: Invoke) -> None:
    monkeypatch.setattr(hook, "lambda_", FakeLambda(invoke))
    hook.handler(EVENT, CONTEXT)
    told.assert_no_pending_responses()


@pytest.mark.parametrize("sessions", [0, 1, 7])
def test_working_functions_are_let_through(
    sessions: int, hook: ModuleType, told: Stubber, monkeypatch: pytest.MonkeyPatch, service: Service
) -> None:
    service.put(*(session(number) for number in range(sessions)))
    service.drain()
    expect_status(told, "Succeeded")
    run(hook, told, monkeypatch, real(service))


def crash(_: Any) -> Any:
    raise KeyError("SESSIONS_TABLE")


def allow(policy: dict[str, Any]) -> dict[str, Any]:
    [statement] = policy["policyDocument"]["Statement"]
    return policy | {"policyDocument": {"Statement": [statement | {"Effect": "Allow"}]}}


BROKEN = {
    "list_sessions crashes": (LIST_SESSIONS, crash, "KeyError"),
    "authorize crashes": (AUTHORIZE, crash, "KeyError"),
    "authorize lets everybody in": (AUTHORIZE, allow, r"returned \['Allow'\]"),
    "a page is an error": (LIST_SESSIONS, lambda each: each | {"statusCode": 500}, "returned 500"),
    "a page is not JSON": (LIST_SESSIONS, lambda each: each | {"body": "<html>"}, "JSONDecodeError"),
    "the total is missing": (LIST_SESSIONS, body(total=None), "a page has"),
    "the total is text": (LIST_SESSIONS, body(total="2"), "'2'"),
    "the total is too low": (LIST_SESSIONS, body(total=1), "a page of 2 entries has the total 1"),
    "the total is negative": (LIST_SESSIONS, body(total=-1, data=[]), "the total -1"),
    "the limit is forgotten": (LIST_SESSIONS, body(limit=20), "another one"),
    "a session lacks a field": (LIST_SESSIONS, body(data=[{"id": "session_1"}]), "lacks one of"),
    "a session is another organization's": (
        LIST_SESSIONS,
        body(data=[dict.fromkeys(("id", "agent_id", "status", "created_at", "updated_at", "organization_id"), "x")]),
        "another organization",
    ),
    "a wrong limit is not refused": (
        LIST_SESSIONS,
        lambda each: each if each["statusCode"] == 200 else each | {"statusCode": 200},
        "for an invalid limit",
    ),
}


@pytest.mark.parametrize("case", sorted(BROKEN))
def test_broken_code_is_refused_with_its_reason(
    case: str,
    hook: ModuleType,
    told: Stubber,
    monkeypatch: pytest.MonkeyPatch,
    service: Service,
    caplog: pytest.LogCaptureFixture,
) -> None:
    service.put(session(1), session(2))
    service.drain()
    version, change, reason = BROKEN[case]
    expect_status(told, "Failed")
    run(hook, told, monkeypatch, changed(real(service), version, change))
    [record] = [each for each in caplog.records if each.getMessage() == "release refused"]
    assert record.levelname == "ERROR"
    assert re.search(reason, caplog.text)


def denied(operation: str) -> ClientError:
    return ClientError({"Error": {"Code": "AccessDeniedException", "Message": "not authorized"}}, operation)


@pytest.mark.parametrize(
    "error",
    [denied("Invoke"), ReadTimeoutError(endpoint_url="https://lambda.eu-west-1.amazonaws.com")],
    ids=["no permission to call", "no response"],
)
def test_a_version_that_cannot_be_called_is_refused(
    error: Exception, hook: ModuleType, told: Stubber, monkeypatch: pytest.MonkeyPatch
) -> None:
    def invoke(_version: str, _event: dict[str, Any]) -> dict[str, Any]:
        raise error

    expect_status(told, "Failed")
    run(hook, told, monkeypatch, invoke)


def test_a_version_that_times_out_is_refused(
    hook: ModuleType,
    told: Stubber,
    monkeypatch: pytest.MonkeyPatch,
    service: Service,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def time_out(_: Any) -> Any:
        raise TimeoutError("Task timed out after 20.00 seconds")

    expect_status(told, "Failed")
    run(hook, told, monkeypatch, changed(real(service), LIST_SESSIONS, time_out))
    assert "Task timed out after 20.00 seconds" in caplog.text


def test_the_hook_fails_itself_when_codedeploy_cannot_be_told(
    hook: ModuleType, told: Stubber, monkeypatch: pytest.MonkeyPatch, service: Service
) -> None:
    told.add_client_error("put_lifecycle_event_hook_execution_status", "AccessDeniedException")
    with pytest.raises(ClientError, match="AccessDeniedException"):
        run(hook, told, monkeypatch, real(service))


@pytest.mark.parametrize("name", ["list_first_page", "authorize"])
def test_the_events_have_what_the_gateway_sends(name: str, hook: ModuleType) -> None:
    sent = json.loads((ROOT / "events" / f"{name}.json").read_text())
    made = hook.request({"limit": "5"})
    assert set(sent) - set(made) <= {"type", "methodArn"}
    left_out = {"authorizer", "deploymentId"}
    assert set(sent["requestContext"]) - set(made["requestContext"]) <= left_out
    assert made["multiValueQueryStringParameters"] == {"limit": ["5"]}


def test_the_hook_waits_longer_than_a_version_may_run(hook: ModuleType) -> None:
    found = stack(PreTrafficHook="yes")
    timeouts = [found.properties(name)["Timeout"] for name in ("ListSessionsFunction", "AuthorizeFunction")]
    assert hook.once.read_timeout > max(timeouts)
    # One call of authorize and two of list_sessions, each stopped in time, and the first that is stopped ends it.
    assert found.properties("CheckReleaseFunction")["Timeout"] > hook.once.read_timeout + sum(timeouts)
