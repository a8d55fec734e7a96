"""The DynamoDB in memory answers as moto does, call by call, while the real code makes the calls."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError
from hypothesis import strategies as st

from sessions.counting import Keys

AGENT = "agent_1"
TIMES = ["2026-10-31T23:59:59.999999Z", "2026-11-01T00:00:00.000000Z", "2026-11-01T00:00:59.000000Z"]
IDS = ["session_1", "session_2", "session_3"]
sessions = st.builds(
    lambda number, organization, time: Keys(organization, f"{organization}#{AGENT}", f"{time}#{number}"),
    st.sampled_from(IDS),
    st.sampled_from(["org_1", "org_2"]),
    st.sampled_from(TIMES),
)


class Both:
    """Makes every call of both engines, and compares the answers."""

    def __init__(self, *clients: Any) -> None:
        self._clients = clients

    def __getattr__(self, operation: str) -> Any:
        def call(**parameters: Any) -> Any:
            (answer, told), (_, also_told) = (outcome(getattr(each, operation), parameters) for each in self._clients)
            assert told == also_told
            if isinstance(answer, ClientError):
                raise answer
            return answer

        return call


def outcome(operation: Any, parameters: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """What an engine answers, and the part of it that both must agree on."""
    try:
        answer = operation(**parameters)
    except ClientError as error:
        reasons = [reason["Code"] for reason in error.response.get("CancellationReasons", [])]
        return error, {"refused": error.response["Error"]["Code"], "reasons": reasons}
    told = {name: answer.get(name) for name in ("Count", "LastEvaluatedKey", "UnprocessedKeys", "UnprocessedItems")}
    told["Items"] = sorted(answer.get("Items", []), key=str) if "ScannedCount" not in answer else answer.get("Items")
    told["Responses"] = {name: sorted(items, key=str) for name, items in answer.get("Responses", {}).items()}
    return answer, told
