"""One look at a stack or an engine: tables, counting, failures, alarms, versions, the last deployment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sessions.schema import ID, index_keys
from sessions_cli.dynamodb import scan
from sessions_cli.tables import INDEX_KEYS
from sessions_cli.target import Target

SAMPLE: Final = 100
"""Sessions that are looked at for a marker."""

METRIC_MINUTES: Final = 5
"""Lambda writes the age of its iterator once a minute, some minutes late ('Types of metrics for Lambda functions')."""

ALIAS: Final = "live"
FUNCTIONS: Final = {
    "list_sessions": "ListSessionsFunctionName",
    "authorize": "AuthorizeFunctionName",
    "count_sessions": "CountSessionsFunctionName",
}
"""Each function, by the stack's output that names it."""

COUNT_SESSIONS: Final = FUNCTIONS["count_sessions"]


def status(target: Target) -> dict[str, Any]:
    """What can be known without reading a whole table; what a stack alone has is left out without one.

    Raises:
        ConfigurationError: nothing says what to look at.
    """
    found: dict[str, Any] = {
        "target": target.stack or target.description,
        "tables": {
            "sessions": _table(target, target.sessions_table),
            "counts": _table(target, target.counts_table),
        },
        "counted": _sample(target),
    }
    if target.stack:
        found["tables"]["api_keys"] = _table(target, target.api_keys_table)
        found |= {
            "stack": _stack(target),
            "stream": _stream(target),
            "failure_queue": _queue(target),
            "alarms": _alarms(target),
            "functions": {name: _versions(target, target.outputs[output]) for name, output in FUNCTIONS.items()},
        }
    return found


def _table(target: Target, name: str) -> dict[str, Any]:
    described = target.dynamodb.describe_table(TableName=name)["Table"]
    return {
        "name": name,
        "status": described["TableStatus"],
        "approximate_items": described["ItemCount"],
        "approximate_bytes": described["TableSizeBytes"],
    }


def _sample(target: Target) -> dict[str, int]:
    """Of some sessions of the table, how many are counted: what can be said of an engine without metrics, too."""
    pages = scan(
        target.dynamodb,
        target.sessions_table,
        (ID, *INDEX_KEYS),
        PaginationConfig={"MaxItems": SAMPLE, "PageSize": SAMPLE},
    )
    sessions = {item[ID]["S"]: index_keys(item[ID]["S"], item) for page in pages for item in page}
    markers = target.tables.read_markers(list(sessions))
    return {
        "sample": len(sessions),
        "counted": sum(markers[session_id] == keys for session_id, keys in sessions.items()),
    }


def _stack(target: Target) -> dict[str, Any]:
    described = target.stack_description
    return {
        "status": described["StackStatus"],
        "deployed_at": _timestamp(described.get("LastUpdatedTime", described["CreationTime"])),
    }


def _stream(target: Target) -> dict[str, Any]:
    """How far counting is behind, and what its event source mapping says of itself."""
    function = target.outputs[COUNT_SESSIONS]
    mappings = target.client("lambda").list_event_source_mappings(FunctionName=f"{function}:{ALIAS}")
    now = datetime.now(UTC)
    metric = target.client("cloudwatch").get_metric_statistics(
        Namespace="AWS/Lambda",
        MetricName="IteratorAge",
        Dimensions=[{"Name": "FunctionName", "Value": function}, {"Name": "Resource", "Value": f"{function}:{ALIAS}"}],
        StartTime=now - timedelta(minutes=METRIC_MINUTES),
        EndTime=now + timedelta(minutes=1),
        Period=60,
        Statistics=["Maximum"],
    )
    newest = max(metric["Datapoints"], key=lambda point: point["Timestamp"], default=None)
    return {
        "states": [each["State"] for each in mappings["EventSourceMappings"]],
        "last_results": [each.get("LastProcessingResult", "") for each in mappings["EventSourceMappings"]],
        # Without a record there is no measurement.
        "behind_seconds": None if newest is None else round(newest["Maximum"] / 1000, 1),
    }


def _queue(target: Target) -> dict[str, int]:
    names: Any = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    attributes = target.sqs.get_queue_attributes(QueueUrl=target.failure_queue, AttributeNames=names)["Attributes"]
    return {"waiting": int(attributes[names[0]]), "in_flight": int(attributes[names[1]])}


def _alarms(target: Target) -> dict[str, Any]:
    pages = target.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=target.stack)
    resources = [each for page in pages for each in page["StackResourceSummaries"]]
    names = [each["PhysicalResourceId"] for each in resources if each["ResourceType"] == "AWS::CloudWatch::Alarm"]
    alarms = target.client("cloudwatch").describe_alarms(AlarmNames=names)["MetricAlarms"] if names else []
    return {
        "total": len(alarms),
        "in_alarm": {
            each["AlarmName"]: _timestamp(each["StateUpdatedTimestamp"])
            for each in alarms
            if each["StateValue"] == "ALARM"
        },
    }


def _versions(target: Target, function: str) -> dict[str, Any]:
    """The version behind the alias, and the one that a deployment shifts traffic to, with its share."""
    alias = target.client("lambda").get_alias(FunctionName=function, Name=ALIAS)
    shares = alias.get("RoutingConfig", {}).get("AdditionalVersionWeights", {})
    return {"version": alias["FunctionVersion"], "shifting_to": shares}


def _timestamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def problems(found: Mapping[str, Any]) -> list[str]:
    """What somebody should look at, a sentence each."""
    said = [
        f"The table {each['name']} is {each['status']}."
        for each in found["tables"].values()
        if each["status"] != "ACTIVE"
    ]
    if found["counted"]["counted"] < found["counted"]["sample"]:
        said.append("Not all sessions are counted; `sessions counts audit --wait` tells lag from what is wrong.")
    if "stack" not in found:
        return said
    said += [f"The event source mapping is {state}." for state in found["stream"]["states"] if state != "Enabled"]
    if not found["stream"]["states"]:
        said.append("There is no event source mapping: nothing is counted.")
    if found["failure_queue"]["waiting"]:
        said.append("The failure queue is not empty; see `sessions counts redrive`.")
    said += [f"Alarm {name} has been on since {since}." for name, since in found["alarms"]["in_alarm"].items()]
    if not found["stack"]["status"].endswith("_COMPLETE") or "ROLLBACK" in found["stack"]["status"]:
        said.append(f"The stack is {found['stack']['status']}.")
    return said


def rows(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The same for people, a line each."""
    yield "target", str(found["target"])
    for table in found["tables"].values():
        size = _size(table["approximate_bytes"])
        yield "table", f"{table['name']}: {table['status']}, about {table['approximate_items']:,} items, {size}"
    yield "counted", f"{found['counted']['counted']} of {found['counted']['sample']} sampled sessions"
    if "stack" in found:
        stream = found["stream"]
        behind = (
            "nothing delivered lately" if stream["behind_seconds"] is None else f"{stream['behind_seconds']} s behind"
        )
        yield "stream", ", ".join(filter(None, [*stream["states"], behind, *stream["last_results"]]))
        yield (
            "failure queue",
            f"{found['failure_queue']['waiting']} waiting, {found['failure_queue']['in_flight']} in flight",
        )
        yield "alarms", f"{len(found['alarms']['in_alarm'])} of {found['alarms']['total']} on"
        for name, function in found["functions"].items():
            shift = "".join(f", {share:.0%} to {version}" for version, share in function["shifting_to"].items())
            yield name, f"version {function['version']}{shift}"
        yield "deployed", f"{found['stack']['deployed_at']}, {found['stack']['status']}"
    for problem in problems(found):
        yield "!", problem


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:,.0f} {unit}" if unit == "B" else f"{count:,.1f} {unit}"
        count /= 1000
    return f"{count:,.1f} TB"
