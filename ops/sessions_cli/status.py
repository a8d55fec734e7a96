"""The status of a stack or an engine: tables, counting, failures, alarms, versions, the last deployment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from rich.filesize import decimal

from sessions.schema import ID, KEY_HASH, index_keys
from sessions_cli.bulk import describe, scan
from sessions_cli.tables import COUNTS_KEY, INDEX_KEYS, SESSIONS_KEY
from sessions_cli.target import API_KEYS, COUNTS, FAILURE_QUEUE, SESSIONS, Target

SAMPLE: Final = 100
"""Sessions whose markers are read."""

METRIC_MINUTES: Final = 5
"""Lambda reports the iterator's age once a minute, some minutes late ('Types of metrics for Lambda functions')."""

ALIAS: Final = "live"
FUNCTIONS: Final = {
    "list_sessions": "ListSessionsFunctionName",
    "authorize": "AuthorizeFunctionName",
    "count_sessions": "CountSessionsFunctionName",
}
"""Each function and the stack's output that names it."""


def status(target: Target) -> dict[str, Any]:
    """Return the status, without reading a whole table; some parts need a stack."""
    found: dict[str, Any] = {
        "target": target.stack or target.description,
        "tables": {
            "sessions": _table(target, target.name(SESSIONS), SESSIONS_KEY),
            "counts": _table(target, target.name(COUNTS), COUNTS_KEY),
        },
        "counted": _sample(target),
    }
    if target.stack:
        found["tables"]["api_keys"] = _table(target, target.name(API_KEYS), (KEY_HASH,))
        found |= {
            "stack": _stack(target),
            "stream": _stream(target),
            "failure_queue": _queue(target),
            "alarms": _alarms(target),
            "functions": {name: _versions(target, target.outputs[output]) for name, output in FUNCTIONS.items()},
        }
    return found


def _table(target: Target, name: str, key: Sequence[str]) -> dict[str, Any]:
    described = describe(target.dynamodb, name, key)
    return {
        "name": name,
        "status": described["TableStatus"],
        "approximate_items": described["ItemCount"],
        "approximate_bytes": described["TableSizeBytes"],
    }


def _sample(target: Target) -> dict[str, int]:
    """Return how many sessions of a sample are counted, which needs no metrics and works on every engine."""
    page = next(scan(target.dynamodb, target.name(SESSIONS), (ID, *INDEX_KEYS), Limit=SAMPLE))
    sessions = {item[ID]["S"]: index_keys(item[ID]["S"], item) for item in page}
    markers = target.tables.read_markers(list(sessions))
    counted = sum(markers[session_id] == keys for session_id, keys in sessions.items())
    return {"sample": len(sessions), "counted": counted}


def _stack(target: Target) -> dict[str, Any]:
    described = target.stack_description
    return {
        "status": described["StackStatus"],
        "deployed_at": _timestamp(described.get("LastUpdatedTime", described["CreationTime"])),
    }


def _stream(target: Target) -> dict[str, Any]:
    """Return how far counting is behind, and the state of its event source mapping."""
    function = target.outputs[FUNCTIONS["count_sessions"]]
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
        "behind_seconds": None if newest is None else round(newest["Maximum"] / 1000, 1),
    }


def _queue(target: Target) -> dict[str, int]:
    names: Any = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    attributes = target.sqs.get_queue_attributes(QueueUrl=target.name(FAILURE_QUEUE), AttributeNames=names)[
        "Attributes"
    ]
    return {"waiting": int(attributes[names[0]]), "in_flight": int(attributes[names[1]])}


def _alarms(target: Target) -> dict[str, Any]:
    pages = target.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=target.stack)
    resources = [each for page in pages for each in page["StackResourceSummaries"]]
    names = [each["PhysicalResourceId"] for each in resources if each["ResourceType"] == "AWS::CloudWatch::Alarm"]
    alarms = target.client("cloudwatch").describe_alarms(AlarmNames=names)["MetricAlarms"] if names else []
    in_alarm = {each["AlarmName"]: each["StateUpdatedTimestamp"] for each in alarms if each["StateValue"] == "ALARM"}
    return {"total": len(alarms), "in_alarm": {name: _timestamp(since) for name, since in in_alarm.items()}}


def _versions(target: Target, function: str) -> dict[str, Any]:
    """Return the version behind the alias, and the share of a version that a deployment shifts traffic to."""
    alias = target.client("lambda").get_alias(FunctionName=function, Name=ALIAS)
    shares = alias.get("RoutingConfig", {}).get("AdditionalVersionWeights", {})
    return {"version": alias["FunctionVersion"], "shifting_to": shares}


def _timestamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def problems(found: Mapping[str, Any]) -> list[str]:
    """Return what needs attention, one sentence each."""
    tables = found["tables"].values()
    sentences = [f"The table {each['name']} is {each['status']}." for each in tables if each["status"] != "ACTIVE"]
    if found["counted"]["counted"] < found["counted"]["sample"]:
        sentences.append("Not all sessions are counted; `sessions counts audit --wait` tells lag from what is wrong.")
    if "stack" not in found:
        return sentences
    states = found["stream"]["states"]
    sentences += [f"The event source mapping is {state}." for state in states if state != "Enabled"]
    if not states:
        sentences.append("There is no event source mapping: nothing is counted.")
    if found["failure_queue"]["waiting"]:
        sentences.append("The failure queue is not empty; see `sessions counts redrive`.")
    sentences += [f"Alarm {name} has been on since {since}." for name, since in found["alarms"]["in_alarm"].items()]
    if not found["stack"]["status"].endswith("_COMPLETE") or "ROLLBACK" in found["stack"]["status"]:
        sentences.append(f"The stack is {found['stack']['status']}.")
    return sentences


def rows(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the status for people, as titles and texts."""
    yield "target", str(found["target"])
    for table in found["tables"].values():
        size = decimal(table["approximate_bytes"])
        yield "table", f"{table['name']}: {table['status']}, about {table['approximate_items']:,} items, {size}"
    yield "counted", f"{found['counted']['counted']} of {found['counted']['sample']} sampled sessions"
    if "stack" in found:
        stream, queue, alarms = found["stream"], found["failure_queue"], found["alarms"]
        seconds = stream["behind_seconds"]
        behind = "nothing delivered lately" if seconds is None else f"{seconds} s behind"
        yield "stream", ", ".join(filter(None, [*stream["states"], behind, *stream["last_results"]]))
        yield "failure queue", f"{queue['waiting']} waiting, {queue['in_flight']} in flight"
        yield "alarms", f"{len(alarms['in_alarm'])} of {alarms['total']} on"
        for name, function in found["functions"].items():
            shift = "".join(f", {share:.0%} to {version}" for version, share in function["shifting_to"].items())
            yield name, f"version {function['version']}{shift}"
        yield "deployed", f"{found['stack']['deployed_at']}, {found['stack']['status']}"
    for problem in problems(found):
        yield "!", problem
