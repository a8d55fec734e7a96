"""Alarms that can fire and widgets that can show: each compared with what is really emitted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from sessions.errors import ApiError
from tests.service import CONTEXT, Service, session
from tests.template.stack import ROOT, stack

FUNCTIONS = ("ListSessionsFunction", "AuthorizeFunction", "CountSessionsFunction")
ALWAYS = {"ServerErrorsAlarm", "AuthorizerErrorsAlarm", "CountingErrorsAlarm"}
STATISTICS = {"Sum", "Average", "Minimum", "Maximum", "SampleCount"}
PERCENTILES = {"p50", "p95", "p99"}
CODES = {error.code for error in ApiError.__subclasses__()} | {"ok"}


class Emitted(NamedTuple):
    """What a service sends to CloudWatch under one name."""

    dimensions: tuple[frozenset[str], ...]
    statistics: frozenset[str]
    """Those that mean something for it."""


def emitted(*dimensions: str, statistics: set[str]) -> Emitted:
    return Emitted(tuple(frozenset(each.split()) for each in dimensions), frozenset(statistics))


API = ("ApiName", "ApiName Stage", "ApiName Method Resource Stage")
LAMBDA = ("FunctionName", "FunctionName Resource", "ExecutedVersion FunctionName Resource")
TABLE = ("TableName", "GlobalSecondaryIndexName TableName")

OF_AWS = {
    # 'Amazon API Gateway dimensions and metrics': the Average of an error is its rate, Count is a SampleCount.
    ("AWS/ApiGateway", "Count"): emitted(*API, statistics={"SampleCount"}),
    ("AWS/ApiGateway", "4XXError"): emitted(*API, statistics={"Sum", "Average"}),
    ("AWS/ApiGateway", "5XXError"): emitted(*API, statistics={"Sum", "Average"}),
    ("AWS/ApiGateway", "Latency"): emitted(*API, statistics={"Average", "Maximum", "PR(:1000)"} | PERCENTILES),
    # 'Types of metrics for Lambda functions' and 'Viewing metrics': Resource is `function:alias`.
    ("AWS/Lambda", "Errors"): emitted(*LAMBDA, statistics={"Sum"}),
    ("AWS/Lambda", "Throttles"): emitted(*LAMBDA, statistics={"Sum"}),
    ("AWS/Lambda", "Duration"): emitted(*LAMBDA, statistics={"Average", "Maximum"} | PERCENTILES),
    ("AWS/Lambda", "IteratorAge"): emitted(*LAMBDA, statistics={"Average", "Maximum"}),
    # 'DynamoDB metrics and dimensions': the figures of a table leave out those of its indexes.
    ("AWS/DynamoDB", "ReadThrottleEvents"): emitted(*TABLE, statistics={"Sum"}),
    ("AWS/DynamoDB", "WriteThrottleEvents"): emitted(*TABLE, statistics={"Sum"}),
    ("AWS/DynamoDB", "ConsumedReadCapacityUnits"): emitted(*TABLE, statistics={"Sum", "Average"}),
    ("AWS/DynamoDB", "ConsumedWriteCapacityUnits"): emitted(*TABLE, statistics={"Sum", "Average"}),
    # 'Available CloudWatch metrics for Amazon SQS'.
    ("AWS/SQS", "ApproximateNumberOfMessagesVisible"): emitted("QueueName", statistics={"Average", "Maximum"}),
}
VALUES = {
    "ApiName": {"sessions-test"},  # the title of the API, which is its name
    "Stage": {"live"},
    "FunctionName": set(FUNCTIONS),
    "Resource": {f"{name}:live" for name in FUNCTIONS},
    "TableName": {"SessionsTable", "CountsTable", "ApiKeysTable"},
    "GlobalSecondaryIndexName": {"by_organization", "by_organization_agent"},
    "QueueName": {"FailureQueue.QueueName"},
}


OF_OURS = {
    "list_sessions": {f"Responses.{code}" for code in CODES}
    | {"Duration", "RoundTrips", "ReadUnits", "ItemsRead", "InvalidItems", "NegativeBins", "ColdStart"},
    "authorize": {"Allowed", "ColdStart"}
    | {f"Denied.{reason}" for reason in ("no_key", "malformed", "unknown", "expired")},
    "count_sessions": {
        *("SessionsCounted", "Transactions", "Retries", "FailedRecords", "InvalidRecords", "ColdStart"),
    },
}
"""What each function prints, by its service name."""
FUNCTION_OF = {
    "list_sessions": "ListSessionsFunction",
    "authorize": "AuthorizeFunction",
    "count_sessions": "CountSessionsFunction",
}
NOT_SHOWN = {("count_sessions", "ColdStart")}
"""Nobody waits for it."""


class Metric(NamedTuple):
    """What an alarm or a widget looks at."""

    namespace: str
    name: str
    dimensions: dict[str, str]
    statistic: str


def metrics_of(alarm: dict[str, Any]) -> Iterator[Metric]:
    """What an alarm looks at, by itself or in an expression."""
    for query in alarm.get("Metrics", []):
        if "MetricStat" in query:
            yield metric(query["MetricStat"]["Metric"], query["MetricStat"]["Stat"])
    if "MetricName" in alarm:
        yield metric(alarm, alarm.get("Statistic") or alarm["ExtendedStatistic"])


def metric(properties: dict[str, Any], statistic: str) -> Metric:
    dimensions = {each["Name"]: each["Value"] for each in properties["Dimensions"]}
    return Metric(properties["Namespace"], properties["MetricName"], dimensions, statistic)


def widgets() -> list[dict[str, Any]]:
    dashboard = json.loads(stack().properties("Dashboard")["DashboardBody"])
    return [widget["properties"] for widget in dashboard["widgets"]]


def shown(widget: dict[str, Any]) -> Iterator[Metric]:
    """The metrics of a widget, its shorthand written out: '.' repeats a field above, '...' all of them."""
    above: list[str] = []
    for row in widget["metrics"]:
        options = row[-1] if isinstance(row[-1], dict) else {}
        fields = [field for field in row if not isinstance(field, dict)]
        if fields == ["..."]:
            fields = above
        above = [above[number] if field == "." else field for number, field in enumerate(fields)]
        namespace, name, *pairs = above
        dimensions = dict(zip(pairs[::2], pairs[1::2], strict=True))
        yield Metric(namespace, name, dimensions, options.get("stat", widget.get("stat")))


ALARMS = stack().of_type("AWS::CloudWatch::Alarm")
LOOKED_AT = [(name, each) for name, alarm in ALARMS.items() for each in metrics_of(alarm)]
SHOWN = [(widget["title"], each) for widget in widgets() for each in shown(widget)]
EVERYWHERE = LOOKED_AT + SHOWN


@pytest.fixture
def of_ours(
    service: Service, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> set[tuple[str, str, frozenset[str]]]:
    """Metric, service and names of the dimensions, as the functions print them in the embedded metric format."""
    for name in FUNCTION_OF:
        monkeypatch.setattr(service.function(name).observability, "_is_cold", True)
    service.put(*(session(number) for number in range(3)))
    service.drain()
    service.get()
    service.get("limit=x")
    service.get(organization=None)
    service.function("authorize").handler(json.loads((ROOT / "events" / "authorize.json").read_text()), CONTEXT)
    found = set()
    for line in map(json.loads, capsys.readouterr().out.splitlines()):
        for directive in line.get("_aws", {}).get("CloudWatchMetrics", []):
            assert directive["Namespace"] == "Sessions"
            [dimensions] = directive["Dimensions"]
            assert all(line[name] for name in dimensions)
            for each in directive["Metrics"]:
                assert each["Unit"] == ("Milliseconds" if each["Name"] == "Duration" else "Count")
                assert isinstance(line[each["Name"]], int | float | list)
                found.add((each["Name"], line["service"], frozenset(dimensions)))
    return found


@pytest.mark.parametrize(("where", "looked_at"), EVERYWHERE, ids=lambda value: getattr(value, "name", value))
def test_a_metric_of_aws_exists_with_these_dimensions_and_this_statistic(where: str, looked_at: Metric) -> None:
    if looked_at.namespace == "Sessions":
        return  # the next test
    known = OF_AWS[looked_at.namespace, looked_at.name]
    assert frozenset(looked_at.dimensions) in known.dimensions, where
    assert looked_at.statistic in known.statistics, where
    assert all(value in VALUES[name] for name, value in looked_at.dimensions.items()), where
    if "Resource" in looked_at.dimensions:
        assert looked_at.dimensions["Resource"] == looked_at.dimensions["FunctionName"] + ":live"


@pytest.mark.parametrize(("where", "looked_at"), EVERYWHERE, ids=lambda value: getattr(value, "name", value))
def test_a_metric_of_ours_is_asked_for_with_its_own_dimensions(where: str, looked_at: Metric) -> None:
    if looked_at.namespace != "Sessions":
        return  # the test before
    service = looked_at.dimensions["service"]
    assert looked_at.name in OF_OURS[service], where
    expected = {"service": service, "stack": "sessions-test"}
    if looked_at.name == "ColdStart":  # Powertools' own metric (`Metrics.add_cold_start_metric`)
        expected = {"service": service, "function_name": FUNCTION_OF[service]}
    assert looked_at.dimensions == expected, where
    assert looked_at.statistic in STATISTICS | PERCENTILES, where


def test_the_functions_print_the_metrics_that_are_looked_at(of_ours: set[tuple[str, str, frozenset[str]]]) -> None:
    assert {"Responses.ok", "Responses.invalid_parameter", "Responses.unauthorized"} <= {name for name, _, _ in of_ours}
    assert {service for name, service, _ in of_ours if name == "ColdStart"} == set(OF_OURS)
    assert {name for name, service, _ in of_ours if service == "authorize"} >= {"Denied.unknown"}
    assert {name for name, service, _ in of_ours if service == "count_sessions"} >= {"SessionsCounted", "Transactions"}
    for name, service, dimensions in of_ours:
        assert name in OF_OURS[service]
        assert dimensions == ({"function_name", "service"} if name == "ColdStart" else {"service", "stack"})


def test_every_metric_that_the_functions_print_is_on_the_dashboard() -> None:
    shown_ = {(each.dimensions["service"], each.name) for _, each in SHOWN if each.namespace == "Sessions"}
    assert shown_ == {(service, name) for service, names in OF_OURS.items() for name in names} - NOT_SHOWN


def test_the_cost_table_counts_the_alarms_and_metrics_that_there_are() -> None:
    watched = {name: len(list(metrics_of(alarm))) for name, alarm in ALARMS.items()}
    guards = sum(watched[name] for name in ALWAYS)
    others = sum(count for name, count in watched.items() if name not in ALWAYS)
    assert (len(ALWAYS), guards, len(ALARMS) - len(ALWAYS), others) == (3, 4, 9, 20)
    text = (ROOT / "docs" / "deployment.md").read_text()
    assert f"three alarms that roll deployments back (0.10 for each metric that one looks at) | 0.{guards}0 |" in text
    assert f"dashboard 3.00, nine alarms on {others} metrics {others / 10:.2f} | {3 + others / 10:.2f} |" in text
    assert f"up to {sum(map(len, OF_OURS.values()))} metrics of our own" in text


def test_without_monitoring_only_the_alarms_that_roll_deployments_back_are_left() -> None:
    bare = stack(Monitoring="no")
    assert set(bare.of_type("AWS::CloudWatch::Alarm")) == ALWAYS
    assert bare.of_type("AWS::CloudWatch::Dashboard") == {}
    assert "DashboardUrl" not in bare.resources


@pytest.mark.parametrize("name", sorted(ALARMS))
def test_an_alarm_says_why_and_what_to_do_and_tells_the_topic(name: str) -> None:
    alarm = stack(AlarmTopicArn="arn:aws:sns:eu-west-1:123456789012:alarms").properties(name)
    assert alarm["AlarmName"].startswith("sessions-test-")
    assert alarm["AlarmDescription"].count(".") >= 2 or ";" in alarm["AlarmDescription"]
    assert alarm["AlarmActions"] == alarm["OKActions"] == ["arn:aws:sns:eu-west-1:123456789012:alarms"]
    assert stack().properties(name)["AlarmActions"] == []
    assert alarm["TreatMissingData"] == ("ignore" if name == "FailureQueueAlarm" else "notBreaching")


@pytest.mark.parametrize("name", sorted(ALARMS))
def test_an_alarm_has_a_chapter_in_the_operators_guide(name: str) -> None:
    suffix = ALARMS[name]["AlarmName"].removeprefix("sessions-test-")
    assert f"### {suffix}\n" in (ROOT / "docs" / "operations.md").read_text()


def test_an_alarm_watches_its_expression_alone_over_metrics_of_one_period() -> None:
    for name, alarm in ALARMS.items():
        queries = alarm.get("Metrics", [])
        assert [query["ReturnData"] for query in queries if "Expression" not in query] == [False] * (len(queries) - 1)
        assert sum("Expression" in query and "ReturnData" not in query for query in queries) == bool(queries), name
        # CloudWatch refuses an alarm whose metrics differ in it.
        assert len({query["MetricStat"]["Period"] for query in queries if "MetricStat" in query}) <= 1, name


@pytest.mark.parametrize("name", ["CountingErrorsAlarm", "ThrottlingAlarm"])
def test_failures_are_added_up_and_gaps_count_as_zero(name: str) -> None:
    [expression] = [query["Expression"] for query in ALARMS[name]["Metrics"] if "Expression" in query]
    assert expression == "SUM(FILL(METRICS(), 0))"


# Objectives over 30 days, as docs/operations.md states them, and how many times faster than allowed an alarm
# lets the budget be used up ('The Site Reliability Workbook', 'Alerting on SLOs').
DAYS = 30
BURNING = {"Fast": (14.4, 3600), "Slow": (6.0, 6 * 3600)}
USED = {"Fast": 0.02, "Slow": 0.05}
"""Share of the budget that is gone when the alarm goes off."""


def expression_of(name: str, **metrics: float) -> float:
    """What the alarm's expression comes to; it is Python, but for IF."""
    alarm = ALARMS[name]
    [expression] = [query["Expression"] for query in alarm["Metrics"] if "Expression" in query]
    assert {query["Id"] for query in alarm["Metrics"] if "Expression" not in query} == set(metrics)
    chosen = {"IF": lambda condition, yes, no: yes if condition else no}
    return float(eval(expression, chosen, dict(metrics)))


def goes_off(name: str, **metrics: float) -> bool:
    assert ALARMS[name]["ComparisonOperator"] == "GreaterThanThreshold"
    return expression_of(name, **metrics) > ALARMS[name]["Threshold"]


@pytest.mark.parametrize("speed", sorted(BURNING))
def test_an_alarm_of_availability_goes_off_when_its_share_of_the_budget_is_gone(speed: str) -> None:
    rate, window = BURNING[speed]
    assert "| availability | 99.9 % of requests" in (ROOT / "docs" / "operations.md").read_text()
    assert rate * window / (DAYS * 24 * 3600) == pytest.approx(USED[speed])
    name, requests = f"Availability{speed}Alarm", 100_000
    allowed = 0.001 * requests
    assert {query["MetricStat"]["Period"] for query in ALARMS[name]["Metrics"] if "MetricStat" in query} == {window}
    assert goes_off(name, failed=allowed * rate + 1, requests=requests)
    assert not goes_off(name, failed=allowed * rate - 1, requests=requests)
    assert goes_off(name, failed=3, requests=3)
    assert not goes_off(name, failed=2, requests=2)  # nobody is woken for two


@pytest.mark.parametrize("speed", sorted(BURNING))
def test_an_alarm_of_latency_goes_off_when_its_share_of_the_budget_is_gone(speed: str) -> None:
    rate, window = BURNING[speed]
    assert "| latency | 99 % of requests within a second" in (ROOT / "docs" / "operations.md").read_text()
    name = f"Latency{speed}Alarm"
    assert {query["MetricStat"]["Period"] for query in ALARMS[name]["Metrics"] if "MetricStat" in query} == {window}
    assert goes_off(name, within=100 - rate - 0.1, requests=100)
    assert not goes_off(name, within=100 - rate + 0.1, requests=100)
    assert not goes_off(name, within=0, requests=99)  # a handful of cold starts


def test_throttling_is_watched_on_every_table_and_index_that_the_functions_use() -> None:
    watched = {(each.name, *each.dimensions.values()) for alarm, each in LOOKED_AT if alarm == "ThrottlingAlarm"}
    assert watched == {
        ("WriteThrottleEvents", "SessionsTable"),
        ("WriteThrottleEvents", "SessionsTable", "by_organization"),
        ("ReadThrottleEvents", "SessionsTable", "by_organization"),
        ("WriteThrottleEvents", "SessionsTable", "by_organization_agent"),
        ("ReadThrottleEvents", "SessionsTable", "by_organization_agent"),
        ("WriteThrottleEvents", "CountsTable"),
        ("ReadThrottleEvents", "CountsTable"),
        ("ReadThrottleEvents", "ApiKeysTable"),
    }


def test_the_name_of_the_api_is_the_one_that_alarms_ask_for() -> None:
    api = stack().properties("Api")
    assert api["Body"]["info"]["title"] == "sessions-test"
    assert "Name" not in api
