"""Alarms that can fire and widgets that can show: each metric is one that AWS or a function really emits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from tests.service import CONTEXT, Service, session
from tests.template.stack import ROOT, stack

OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
GUARDS = {"ServerErrorsAlarm", "AuthorizerErrorsAlarm", "CountingErrorsAlarm"}
FUNCTIONS = {
    "list_sessions": "ListSessionsFunction",
    "authorize": "AuthorizeFunction",
    "count_sessions": "CountSessionsFunction",
}

API, LAMBDA, TABLE = {"ApiName", "Stage"}, {"FunctionName", "Resource"}, {"TableName"}
INDEX = TABLE | {"GlobalSecondaryIndexName"}  # the metrics of a table leave its indexes out
OF_AWS: dict[tuple[str, str], tuple[list[set[str]], set[str]]] = {
    # 'Amazon API Gateway dimensions and metrics': the Average of an error is its rate, Count is a SampleCount.
    ("AWS/ApiGateway", "Count"): ([API], {"SampleCount"}),
    ("AWS/ApiGateway", "4XXError"): ([API], {"Sum", "Average"}),
    ("AWS/ApiGateway", "5XXError"): ([API], {"Sum", "Average"}),
    ("AWS/ApiGateway", "Latency"): ([API], {"p50", "p95", "p99", "PR(:1000)"}),
    # 'Types of metrics for Lambda functions': Resource is function:alias.
    ("AWS/Lambda", "Errors"): ([LAMBDA], {"Sum"}),
    ("AWS/Lambda", "Throttles"): ([LAMBDA], {"Sum"}),
    ("AWS/Lambda", "Duration"): ([LAMBDA], {"p50", "p95", "p99"}),
    ("AWS/Lambda", "IteratorAge"): ([LAMBDA], {"Maximum"}),
    # 'DynamoDB metrics and dimensions', 'Available CloudWatch metrics for Amazon SQS'.
    ("AWS/DynamoDB", "ReadThrottleEvents"): ([TABLE, INDEX], {"Sum"}),
    ("AWS/DynamoDB", "WriteThrottleEvents"): ([TABLE, INDEX], {"Sum"}),
    ("AWS/DynamoDB", "ConsumedReadCapacityUnits"): ([TABLE, INDEX], {"Sum"}),
    ("AWS/DynamoDB", "ConsumedWriteCapacityUnits"): ([TABLE, INDEX], {"Sum"}),
    ("AWS/SQS", "ApproximateNumberOfMessagesVisible"): ([{"QueueName"}], {"Maximum"}),
}
"""Dimensions and useful statistics of AWS's own metrics."""

VALUES = {
    "ApiName": {"sessions-test"},
    "Stage": {"live"},
    "FunctionName": set(FUNCTIONS.values()),
    "Resource": {f"{name}:live" for name in FUNCTIONS.values()},
    "TableName": {"SessionsTable", "CountsTable", "ApiKeysTable"},
    "GlobalSecondaryIndexName": {"by_organization", "by_organization_agent"},
    "QueueName": {"FailureQueue.QueueName"},
}


class Metric(NamedTuple):
    """A metric that an alarm or a widget reads."""

    namespace: str
    name: str
    dimensions: dict[str, str]
    statistic: str


def of_alarm(alarm: dict[str, Any]) -> Iterator[Metric]:
    queries = [(query["MetricStat"]["Metric"], query["MetricStat"]["Stat"]) for query in stats(alarm)]
    for each, statistic in queries or [(alarm, alarm.get("Statistic", ""))]:
        dimensions = {dimension["Name"]: dimension["Value"] for dimension in each["Dimensions"]}
        yield Metric(each["Namespace"], each["MetricName"], dimensions, statistic)


def stats(alarm: dict[str, Any]) -> list[dict[str, Any]]:
    return [query for query in alarm.get("Metrics", []) if "MetricStat" in query]


def of_widget(widget: dict[str, Any]) -> Iterator[Metric]:
    """Yield the metrics of a widget; in a row '.' repeats the field above and '...' all of them."""
    above: list[str] = []
    for row in widget["metrics"]:
        options = row[-1] if isinstance(row[-1], dict) else {}
        fields = [field for field in row if not isinstance(field, dict)]
        above = above if fields == ["..."] else [above[at] if each == "." else each for at, each in enumerate(fields)]
        namespace, name, *pairs = above
        dimensions = dict(zip(pairs[::2], pairs[1::2], strict=True))
        yield Metric(namespace, name, dimensions, options.get("stat", widget.get("stat")))


ALARMS = stack().of_type("AWS::CloudWatch::Alarm")
WIDGETS = json.loads(stack().properties("Dashboard")["DashboardBody"])["widgets"]
SHOWN = [each for widget in WIDGETS for each in of_widget(widget["properties"])]
READ = [each for alarm in ALARMS.values() for each in of_alarm(alarm)] + SHOWN


@pytest.fixture
def emitted(service: Service, capsys: pytest.CaptureFixture[str]) -> set[tuple[str, str]]:
    """Service and name of the metrics that the functions print for a few calls, with dimensions as alarms read them."""
    service.put(*(session(number) for number in range(3)))
    service.drain()
    for query in ("", "limit=x"):
        service.get(query)
    service.function("authorize").handler(json.loads((ROOT / "events" / "authorize.json").read_text()), CONTEXT)
    found = set()
    for line in map(json.loads, capsys.readouterr().out.splitlines()):
        for directive in line.get("_aws", {}).get("CloudWatchMetrics", []):
            for each in directive["Metrics"]:
                cold = {"function_name", "service"} if each["Name"] == "ColdStart" else {"service", "stack"}
                assert (directive["Namespace"], set(directive["Dimensions"][0])) == ("Sessions", cold)
                found.add((line["service"], each["Name"]))
    return found


@pytest.mark.parametrize("read", READ, ids=lambda read: read.name)
def test_a_metric_exists_with_its_dimensions_and_statistic(read: Metric) -> None:
    if read.namespace == "Sessions":
        service = read.dimensions["service"]
        cold = {"service": service, "function_name": FUNCTIONS[service]}  # Powertools' own metric
        assert read.dimensions == (cold if read.name == "ColdStart" else {"service": service, "stack": "sessions-test"})
    else:
        dimensions, statistics = OF_AWS[read.namespace, read.name]
        assert set(read.dimensions) in dimensions
        assert read.statistic in statistics
        assert all(value in VALUES[name] for name, value in read.dimensions.items())
        assert read.dimensions.get("Resource", "") in ("", f"{read.dimensions.get('FunctionName')}:live")


def test_every_metric_of_the_functions_is_shown(emitted: set[tuple[str, str]]) -> None:
    shown = {(each.dimensions["service"], each.name) for each in SHOWN if each.namespace == "Sessions"}
    assert {service for service, _ in emitted} == set(FUNCTIONS)
    assert emitted - shown <= {("count_sessions", "ColdStart")}  # nobody waits for it


def test_every_metric_that_is_read_is_written_by_its_function() -> None:
    sources = "\n".join(
        path.read_text() for folder in ("functions", "layers") for path in (ROOT / folder).rglob("*.py")
    )
    for read in READ:
        if read.namespace == "Sessions" and read.name != "ColdStart":  # Powertools writes that one
            assert f'"{read.name.split(".")[-1]}"' in sources, read.name


def test_the_guide_counts_the_alarms_and_metrics() -> None:
    watched = {name: len(list(of_alarm(alarm))) for name, alarm in ALARMS.items()}
    guards = sum(watched.pop(name) for name in GUARDS)
    ours = {(each.dimensions["service"], each.name) for each in SHOWN if each.namespace == "Sessions"}
    others, text = sum(watched.values()), (ROOT / "docs" / "deployment.md").read_text()
    assert f"0.10 for each of {guards} metrics | 0.{guards}0 a month" in text
    assert f"nine alarms on {others} metrics {others / 10:.2f} | {3 + others / 10:.2f} a month" in text
    assert f"up to {len(ours) + 1} at 0.30 a month" in text  # with the cold starts that nobody waits for


@pytest.mark.parametrize("name", sorted(ALARMS))
def test_an_alarm_has_a_chapter_and_tells_the_topic(name: str) -> None:
    topic = "arn:aws:sns:eu-west-1:123456789012:alarms"
    alarm = stack(AlarmTopicArn=topic).properties(name)
    assert f"### {alarm['AlarmName'].removeprefix('sessions-test-')}\n" in OPERATIONS
    assert alarm["AlarmActions"] == alarm["OKActions"] == [topic]
    assert stack().properties(name)["AlarmActions"] == []


@pytest.mark.parametrize("name", sorted(name for name, alarm in ALARMS.items() if "Metrics" in alarm))
def test_an_expression_alone_is_watched_over_one_period(name: str) -> None:
    # CloudWatch refuses an alarm on several results or periods.
    assert len({query["MetricStat"]["Period"] for query in stats(ALARMS[name])}) == 1
    assert [query["ReturnData"] for query in stats(ALARMS[name])] == [False] * len(stats(ALARMS[name]))
    assert len(ALARMS[name]["Metrics"]) == len(stats(ALARMS[name])) + 1


@pytest.mark.parametrize(
    ("name", "hours", "quiet", "loud"),
    [
        # Budgets of 0.1 % and 1 %, used up 14.4 times too fast for an hour, or 6 times for six hours.
        ("AvailabilityFastAlarm", 1, {"failed": 1439, "requests": 100_000}, {"failed": 1441, "requests": 100_000}),
        ("AvailabilitySlowAlarm", 6, {"failed": 599, "requests": 100_000}, {"failed": 601, "requests": 100_000}),
        ("AvailabilityFastAlarm", 1, {"failed": 2, "requests": 2}, {"failed": 3, "requests": 3}),
        ("LatencyFastAlarm", 1, {"within": 85.7, "requests": 100}, {"within": 85.5, "requests": 100}),
        ("LatencySlowAlarm", 6, {"within": 94.1, "requests": 100}, {"within": 93.9, "requests": 100}),
    ],
)
def test_an_objectives_alarm_fires_past_its_burn_rate(
    name: str, hours: int, quiet: dict[str, float], loud: dict[str, float]
) -> None:
    alarm = ALARMS[name]
    [expression] = [query["Expression"] for query in alarm["Metrics"] if "Expression" in query]
    assert {query["MetricStat"]["Period"] for query in stats(alarm)} == {hours * 3600}
    for metrics, fires in ((quiet, False), (loud, True)):
        choose = {"IF": lambda condition, yes, no: yes if condition else no}
        assert (eval(expression, choose, dict(metrics)) > alarm["Threshold"]) is fires
