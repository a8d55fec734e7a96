"""The hook before traffic: what it accepts, what it refuses, and that CodeDeploy hears of either."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from io import BytesIO
from types import ModuleType
from typing import Any
from urllib.parse import unquote

import pytest
from botocore.awsrequest import AWSRequest, AWSResponse
from botocore.exceptions import ClientError, ReadTimeoutError
from botocore.stub import Stubber
from urllib3 import HTTPResponse

from tests.service import CONTEXT, ORGANIZATION, Service, load, session
from tests.template.stack import stack

LIST_SESSIONS = "arn:aws:lambda:eu-west-1:123456789012:function:list:7"
AUTHORIZE = "arn:aws:lambda:eu-west-1:123456789012:function:authorize:4"
NAMES = {LIST_SESSIONS: "list_sessions", AUTHORIZE: "authorize"}
EVENT = {"DeploymentId": "d-ABCDEF123", "LifecycleEventHookExecutionId": "execution"}

Change = Callable[[Any], Any]


class Hook:
    """The hook, over functions of this process and a CodeDeploy that expects a status."""

    def __init__(self, module: ModuleType, service: Service) -> None:
        self.module = module
        self.codedeploy = Stubber(module.codedeploy)
        self.states = {LIST_SESSIONS: ["Active"], AUTHORIZE: ["Active"]}
        self.changes: dict[str, Change] = {}
        self._service = service
        module.lambda_.meta.events.register("before-send.lambda", self._respond)

    def run(self, status: str) -> None:
        told = EVENT | {"status": status}
        parameters = {name[0].lower() + name[1:]: value for name, value in told.items()}
        self.codedeploy.add_response("put_lifecycle_event_hook_execution_status", {}, parameters)
        with self.codedeploy:
            self.module.handler(EVENT, CONTEXT)
        self.codedeploy.assert_no_pending_responses()

    def _respond(self, request: AWSRequest, **_: Any) -> AWSResponse:
        [version, operation] = unquote(str(request.url)).rsplit("/functions/")[1].rsplit("/", 1)
        if operation == "configuration":
            states = self.states[version]
            return response(request, {"State": states.pop(0) if len(states) > 1 else states[0]})
        event = json.loads(request.body or b"{}")
        try:
            returned = self._service.function(NAMES[version]).handler(event, CONTEXT)
            return response(request, self.changes.get(version, lambda same: same)(returned))
        except (KeyError, TimeoutError) as error:
            crash = {"errorMessage": str(error), "errorType": type(error).__name__}
            return response(request, crash, {"x-amz-function-error": "Unhandled"})


def response(request: AWSRequest, body: Any, headers: dict[str, str] | None = None) -> AWSResponse:
    raw = HTTPResponse(BytesIO(json.dumps(body).encode()), preload_content=False)
    return AWSResponse(request.url, 200, headers or {}, raw)


@pytest.fixture
def hook(service: Service, monkeypatch: pytest.MonkeyPatch) -> Hook:
    monkeypatch.setenv("LIST_SESSIONS_VERSION", LIST_SESSIONS)
    monkeypatch.setenv("AUTHORIZE_VERSION", AUTHORIZE)
    monkeypatch.setenv("ORGANIZATION", ORGANIZATION)
    module = load("check_release")
    monkeypatch.setattr(module, "PENDING", {"Delay": 0, "MaxAttempts": 3})
    return Hook(module, service)


@pytest.mark.parametrize("sessions", [0, 1, 7])
def test_working_versions_are_accepted(sessions: int, hook: Hook, service: Service) -> None:
    service.put(*(session(number) for number in range(sessions)))
    service.drain()
    hook.run("Succeeded")


@pytest.mark.parametrize(
    ("states", "status"),
    [(["Pending", "Pending", "Active"], "Succeeded"), (["Failed"], "Failed"), (["Pending"], "Failed")],
)
def test_a_version_is_called_once_it_is_active(states: list[str], status: str, hook: Hook) -> None:
    hook.states[LIST_SESSIONS] = states
    hook.run(status)


def body(**fields: Any) -> Change:
    """Change the body of a page; None removes a field."""

    def change(returned: dict[str, Any]) -> dict[str, Any]:
        page = json.loads(returned["body"])
        if "data" in page:
            page = {name: value for name, value in (page | fields).items() if value is not None}
        return returned | {"body": json.dumps(page)}

    return change


def crash(error: Exception) -> Change:
    def change(_: Any) -> Any:
        raise error

    return change


def allow(policy: dict[str, Any]) -> dict[str, Any]:
    [statement] = policy["policyDocument"]["Statement"]
    return policy | {"policyDocument": {"Statement": [statement | {"Effect": "Allow"}]}}


ANOTHERS = dict.fromkeys(("id", "agent_id", "status", "created_at", "updated_at", "organization_id"), "x")
BROKEN = {
    "list_sessions crashes": (LIST_SESSIONS, crash(KeyError("SESSIONS_TABLE")), "KeyError"),
    "list_sessions times out": (LIST_SESSIONS, crash(TimeoutError("Task timed out")), "Task timed out"),
    "authorize crashes": (AUTHORIZE, crash(KeyError("API_KEYS_TABLE")), "KeyError"),
    "authorize allows everybody": (AUTHORIZE, allow, r"returned \['Allow'\]"),
    "authorize cannot be called": (AUTHORIZE, crash(ReadTimeoutError(endpoint_url="https://lambda")), "timeout"),
    "a page is an error": (LIST_SESSIONS, lambda each: each | {"statusCode": 500}, "returned 500"),
    "a page is not JSON": (LIST_SESSIONS, lambda each: each | {"body": "<html>"}, "JSONDecodeError"),
    "the total is missing": (LIST_SESSIONS, body(total=None), "a page has"),
    "the total is text": (LIST_SESSIONS, body(total="2"), "'2'"),
    "the total is too low": (LIST_SESSIONS, body(total=1), "a page of 2 sessions has the total 1"),
    "the total is negative": (LIST_SESSIONS, body(total=-1, data=[]), "the total -1"),
    "the limit is another": (LIST_SESSIONS, body(limit=20), "another offset or limit"),
    "a session lacks a field": (LIST_SESSIONS, body(data=[{"id": "session_1"}]), "lacks one of"),
    "a session is another organization's": (LIST_SESSIONS, body(data=[ANOTHERS]), "another organization"),
    "an invalid limit is a page": (LIST_SESSIONS, lambda each: each | {"statusCode": 200}, "for an invalid limit"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_version_is_refused_with_its_reason(
    case: str, hook: Hook, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    service.put(session(1), session(2))
    service.drain()
    version, change, reason = BROKEN[case]
    hook.changes[version] = change
    hook.run("Failed")
    [record] = [each for each in caplog.records if each.getMessage() == "release refused"]
    assert record.levelname == "ERROR"
    assert re.search(reason, caplog.text)


def test_the_hook_fails_when_codedeploy_cannot_be_told(hook: Hook) -> None:
    hook.codedeploy.add_client_error("put_lifecycle_event_hook_execution_status", "AccessDeniedException")
    with hook.codedeploy, pytest.raises(ClientError, match="AccessDeniedException"):
        hook.module.handler(EVENT, CONTEXT)


def test_the_hook_outlasts_snapshots_and_calls() -> None:
    functions = stack(PreTrafficHook="yes").of_type("AWS::Lambda::Function")
    versions = [functions[name]["Timeout"] for name in ("AuthorizeFunction", "ListSessionsFunction")]
    # Two snapshots of 60 tries, 5 seconds apart, one call of authorize and two of list_sessions.
    assert functions["CheckReleaseFunction"]["Timeout"] > 2 * 60 * 5 + versions[0] + 2 * versions[1]
