"""The tables, functions, routes, gateway responses and the stream of `template.yaml`, read as CloudFormation does.

The local API and the tests take all of these from here and repeat none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from sessions_local.intrinsics import PSEUDO_PARAMETERS, Intrinsics, load

ROOT: Final = Path(__file__).resolve().parents[2]
"""Where `template.yaml` is, and what its paths start from."""

REGION: Final = PSEUDO_PARAMETERS["AWS::Region"]
ACCOUNT: Final = PSEUDO_PARAMETERS["AWS::AccountId"]
"""Where the local API claims to run; the account is the one that moto puts into its ARNs."""

_OPEN_METHOD: Final = "x-amazon-apigateway-any-method"
_INTEGRATION: Final = "x-amazon-apigateway-integration"

GATEWAY_STATUS_DEFAULT: Final = 400
"""Status of the gateway's own response when the template does not say, which it does for all but DEFAULT_4XX."""

TIMEOUT_DEFAULT: Final = 3
"""Seconds that a function has when the template does not say ('Configure Lambda function timeout')."""


class Table(NamedTuple):
    """A DynamoDB table."""

    name: str  # `SessionsTable` is called `sessions` here
    arguments: dict[
        str, Any
    ]  # arguments of `create_table`, without encryption, backups and time-to-live, which change no response


class Function(NamedTuple):
    """A Lambda function."""

    name: str  # `ListSessionsFunction` is called `list_sessions` here
    folder: Path
    handler: str  # module and name, as in `app.handler`
    environment: dict[str, str]
    timeout: float  # seconds
    memory: int  # megabytes


class Authorizer(NamedTuple):
    """A Lambda authorizer of type REQUEST."""

    function: str
    headers: list[str]  # without one of these headers the gateway refuses a request by itself


class Route(NamedTuple):
    """A method of a resource, with its function."""

    resource: str
    method: str  # `ANY` stands for all that the gateway knows
    function: str
    authorizer: str | None


class GatewayResponse(NamedTuple):
    """A response that the gateway makes by itself."""

    status: int
    headers: dict[str, str]  # values as the gateway reads them: `'text'` or `context.requestId`
    template: str  # the body


class EventSource(NamedTuple):
    """The event source mapping from a table's stream to a function; defaults are CreateEventSourceMapping's."""

    table: str
    function: str
    starting_position: str
    batch_size: int = 100
    retries: int = -1  # attempts to repeat a batch that failed; -1 for no limit
    bisects: bool = False  # whether a batch is halved when the function raises
    patterns: Sequence[
        dict[str, Any]
    ] = ()  # filter patterns; a record is delivered if one of them matches, or if there is none


class Template(NamedTuple):
    """The parts of the template that exist on one machine."""

    stage: str
    tables: list[Table]
    functions: list[Function]
    authorizers: dict[str, Authorizer]
    routes: list[Route]
    gateway_responses: dict[str, GatewayResponse]
    event_source: EventSource

    @classmethod
    def read(cls, path: Path = ROOT / "template.yaml", parameters: Mapping[str, str] | None = None) -> Template:
        """Return the template of a file.

        Args:
            parameters: values that replace the defaults.

        Raises:
            ValueError: the template uses an intrinsic function or a name that is not known here.
        """
        resources = _Resources(load(path.read_text(encoding="utf-8")), parameters or {})
        functions = dict(resources.of_type("AWS::Serverless::Function"))
        ((_, api),) = resources.of_type("AWS::Serverless::Api")
        return cls(
            stage=api["StageName"],
            tables=[
                _table(local_name(each), properties) for each, properties in resources.of_type("AWS::DynamoDB::Table")
            ],
            functions=[_function(local_name(each), properties, path.parent) for each, properties in functions.items()],
            authorizers={
                name: Authorizer(_function_in(each["FunctionArn"]), each["Identity"]["Headers"])
                for name, each in api["Auth"]["Authorizers"].items()
            },
            routes=list(_routes(api["DefinitionBody"]["paths"])),
            gateway_responses={name: _gateway_response(each) for name, each in api["GatewayResponses"].items()},
            event_source=next(_event_sources(functions)),
        )

    def function(self, name: str) -> Function:
        """Return the function of this name, which is also its folder's."""
        return next(function for function in self.functions if function.name == name)

    @property
    def called_functions(self) -> list[Function]:
        """The functions that a route, an authorizer or the stream calls."""
        names = {route.function for route in self.routes} | {each.function for each in self.authorizers.values()}
        names.add(self.event_source.function)
        return [function for function in self.functions if function.name in names]


def local_name(logical_id: str) -> str:
    """Return the name of a resource on this machine: snake case, without its kind."""
    words = re.findall(r"[A-Z][a-z0-9]*", logical_id)
    return "_".join(words[:-1]).lower()


def _table(name: str, properties: dict[str, Any]) -> Table:
    kept = ("AttributeDefinitions", "KeySchema", "BillingMode", "GlobalSecondaryIndexes")
    arguments = {"TableName": name} | {key: properties[key] for key in kept if key in properties}
    if "StreamSpecification" in properties:
        arguments["StreamSpecification"] = {"StreamEnabled": True} | properties["StreamSpecification"]
    return Table(name, arguments)


def _function(name: str, properties: dict[str, Any], root: Path) -> Function:
    variables = properties.get("Environment", {}).get("Variables", {})
    return Function(
        name=name,
        folder=root / properties["CodeUri"],
        handler=properties["Handler"],
        environment={variable: str(value) for variable, value in variables.items()},
        timeout=float(properties.get("Timeout", TIMEOUT_DEFAULT)),
        memory=int(properties["MemorySize"]),
    )


def _routes(paths: dict[str, Any]) -> Iterator[Route]:
    for resource, methods in paths.items():
        for method, operation in methods.items():
            security = [name for each in operation.get("security", []) for name in each]
            yield Route(
                resource=resource,
                method="ANY" if method == _OPEN_METHOD else method.upper(),
                function=_function_in(operation[_INTEGRATION]["uri"]),
                authorizer=security[0] if security else None,
            )


def _gateway_response(properties: dict[str, Any]) -> GatewayResponse:
    return GatewayResponse(
        status=int(properties.get("StatusCode", GATEWAY_STATUS_DEFAULT)),
        headers=properties.get("ResponseParameters", {}).get("Headers", {}),
        template=properties["ResponseTemplates"]["application/json"],
    )


def _event_sources(functions: Mapping[str, dict[str, Any]]) -> Iterator[EventSource]:
    for logical_id, function in functions.items():
        for event in function.get("Events", {}).values():
            if event["Type"] == "DynamoDB":
                properties = event["Properties"]
                filters = properties.get("FilterCriteria", {}).get("Filters", [])
                given = {
                    "batch_size": properties.get("BatchSize"),
                    "retries": properties.get("MaximumRetryAttempts"),
                    "bisects": properties.get("BisectBatchOnFunctionError"),
                    "patterns": [json.loads(each["Pattern"]) for each in filters],
                }
                yield EventSource(
                    table=local_name(properties["Stream"].partition(".")[0]),
                    function=local_name(logical_id),
                    starting_position=properties["StartingPosition"],
                    **{name: value for name, value in given.items() if value is not None},
                )


def _function_in(arn: str) -> str:
    found = re.search(r"(\w+)\.Arn", arn)
    if found is None:
        raise ValueError(f"no function of this template: {arn}")
    return local_name(found[1])


class _Resources:
    """The resources of a template, with their intrinsic functions evaluated."""

    def __init__(self, document: dict[str, Any], parameters: Mapping[str, str]) -> None:
        self._resources = document["Resources"]
        self._globals = document.get("Globals", {}).get("Function", {})
        self._intrinsics = Intrinsics(document, parameters, self._reference)

    def of_type(self, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Return logical id and properties of every resource of a type; functions inherit the globals as in SAM."""
        for logical_id, resource in self._resources.items():
            is_created = "Condition" not in resource or self._intrinsics.holds(resource["Condition"])
            if resource["Type"] == kind and is_created:
                inherited = self._globals if kind == "AWS::Serverless::Function" else {}
                yield logical_id, self._intrinsics.resolve(_merged(inherited, resource["Properties"]))

    def _reference(self, logical_id: str) -> str:
        # Functions are given the names of tables; of other resources only the logical id is needed.
        is_table = self._resources.get(logical_id, {}).get("Type") == "AWS::DynamoDB::Table"
        return local_name(logical_id) if is_table else logical_id


def _merged(inherited: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Return properties with the globals they inherit: maps are merged, others replaced ('Globals' of SAM)."""
    merged = inherited | own
    for name in inherited.keys() & own.keys():
        if isinstance(inherited[name], dict) and isinstance(own[name], dict):
            merged[name] = _merged(inherited[name], own[name])
    return merged
