"""What `template.yaml` says of tables, functions, routes, gateway responses and the stream.

Read as CloudFormation would deploy it with the parameters' defaults, so that the local API, and the
tests, repeat nothing of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
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

TIMEOUT_DEFAULT: Final = 3
"""Seconds that a function has when the template does not say ('Configure Lambda function timeout')."""

STREAM_BATCH_DEFAULT: Final = 100
"""Records in a batch from a stream when the template does not say ('CreateEventSourceMapping')."""


class Table(NamedTuple):
    """A DynamoDB table."""

    name: str
    """`SessionsTable` is called `sessions` here."""
    arguments: dict[str, Any]
    """What `create_table` takes. Encryption, backups and time-to-live are left out: they change no response."""


class Function(NamedTuple):
    """A Lambda function."""

    name: str
    """`ListSessionsFunction` is called `list_sessions` here."""
    folder: Path
    handler: str
    """Module and name, as in `app.handler`."""
    environment: dict[str, str]
    timeout: float
    """Seconds."""
    memory: int
    """Megabytes."""


class Authorizer(NamedTuple):
    """A Lambda authorizer of type REQUEST."""

    function: str
    headers: list[str]
    """Headers that must be present and not empty; otherwise the authorizer is not called."""


class Route(NamedTuple):
    """A method of a resource, and what it leads to."""

    resource: str
    method: str
    """`ANY` stands for all that the gateway knows."""
    function: str
    authorizer: str | None


class GatewayResponse(NamedTuple):
    """What the gateway responds by itself in one kind of case."""

    status: int | None
    """None keeps the status of the case."""
    headers: dict[str, str]
    """Values as the gateway reads them: `'text'` or `context.requestId`."""
    templates: dict[str, str]
    """Bodies by content type."""


class Stream(NamedTuple):
    """The event source mapping from a table's stream to a function."""

    table: str
    function: str
    starting_position: str
    batch_size: int
    patterns: list[dict[str, Any]]
    """Event filters, any of which lets a record through; none lets all through."""


class Template(NamedTuple):
    """What the local API takes from the template."""

    stage: str
    tables: list[Table]
    functions: list[Function]
    authorizers: dict[str, Authorizer]
    routes: list[Route]
    gateway_responses: dict[str, GatewayResponse]
    stream: Stream

    @classmethod
    def read(cls, path: Path = ROOT / "template.yaml", parameters: Mapping[str, str] | None = None) -> Template:
        """The template in a file.

        Args:
            parameters: values that take the place of the defaults.

        Raises:
            ValueError: it uses something of CloudFormation that is not known here.
        """
        return _read(_Resources(load(path.read_text(encoding="utf-8")), parameters or {}), path.parent)

    def function(self, name: str) -> Function:
        """The function of this name, which is also its folder's."""
        return next(function for function in self.functions if function.name == name)

    @property
    def called_functions(self) -> list[Function]:
        """The functions that a route, an authorizer or the stream leads to."""
        names = {route.function for route in self.routes} | {each.function for each in self.authorizers.values()}
        return [function for function in self.functions if function.name in names | {self.stream.function}]


def _read(resources: _Resources, root: Path) -> Template:
    functions = []
    for logical_id, properties in resources.of_type("AWS::Serverless::Function"):
        functions.append(
            Function(
                name=local_name(logical_id),
                folder=root / properties["CodeUri"],
                handler=properties["Handler"],
                environment={
                    name: str(value) for name, value in properties.get("Environment", {}).get("Variables", {}).items()
                },
                timeout=float(properties.get("Timeout", TIMEOUT_DEFAULT)),
                memory=int(properties["MemorySize"]),
            )
        )
    ((_, api),) = resources.of_type("AWS::Serverless::Api")
    return Template(
        stage=api["StageName"],
        tables=[
            Table(local_name(logical_id), _table_arguments(local_name(logical_id), properties))
            for logical_id, properties in resources.of_type("AWS::DynamoDB::Table")
        ],
        functions=functions,
        authorizers={
            name: Authorizer(_function_in(each["FunctionArn"]), each["Identity"]["Headers"])
            for name, each in api["Auth"]["Authorizers"].items()
        },
        routes=list(_routes(api["DefinitionBody"]["paths"])),
        gateway_responses={name: _gateway_response(each) for name, each in api["GatewayResponses"].items()},
        stream=next(_streams(resources)),
    )


def local_name(logical_id: str) -> str:
    """The name of a resource on this machine: snake case, and without its kind."""
    words = re.findall(r"[A-Z][a-z0-9]*", logical_id)
    return "_".join(words[:-1]).lower()


def _table_arguments(name: str, properties: dict[str, Any]) -> dict[str, Any]:
    kept = ("AttributeDefinitions", "KeySchema", "BillingMode", "GlobalSecondaryIndexes")
    arguments = {"TableName": name} | {key: properties[key] for key in kept if key in properties}
    if "StreamSpecification" in properties:
        arguments["StreamSpecification"] = {"StreamEnabled": True} | properties["StreamSpecification"]
    return arguments


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
        status=int(properties["StatusCode"]) if "StatusCode" in properties else None,
        headers=properties.get("ResponseParameters", {}).get("Headers", {}),
        templates=properties.get("ResponseTemplates", {}),
    )


def _streams(resources: _Resources) -> Iterator[Stream]:
    for logical_id, function in resources.of_type("AWS::Serverless::Function"):
        for event in function.get("Events", {}).values():
            if event["Type"] == "DynamoDB":
                properties = event["Properties"]
                filters = properties.get("FilterCriteria", {}).get("Filters", [])
                yield Stream(
                    table=local_name(properties["Stream"].partition(".")[0]),
                    function=local_name(logical_id),
                    starting_position=properties["StartingPosition"],
                    batch_size=int(properties.get("BatchSize", STREAM_BATCH_DEFAULT)),
                    patterns=[json.loads(each["Pattern"]) for each in filters],
                )


def _function_in(arn: str) -> str:
    found = re.search(r"(\w+)\.Arn", arn)
    if found is None:
        raise ValueError(f"no function of this template: {arn}")
    return local_name(found[1])


class _Resources:
    """The resources of a template with their intrinsic functions evaluated."""

    def __init__(self, document: dict[str, Any], parameters: Mapping[str, str]) -> None:
        self._resources = document["Resources"]
        self._globals = document.get("Globals", {}).get("Function", {})
        self._intrinsics = Intrinsics(document, parameters, self._reference)

    def of_type(self, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Logical id and properties of every resource of a type; functions inherit the globals as in SAM."""
        for logical_id, resource in self._resources.items():
            is_created = "Condition" not in resource or self._intrinsics.holds(resource["Condition"])
            if resource["Type"] == kind and is_created:
                inherited = self._globals if kind == "AWS::Serverless::Function" else {}
                yield logical_id, self._intrinsics.resolve(_merged(inherited, resource["Properties"]))

    def _reference(self, logical_id: str) -> str:
        # The functions are given names of tables; other resources only have to be told apart.
        is_table = self._resources.get(logical_id, {}).get("Type") == "AWS::DynamoDB::Table"
        return local_name(logical_id) if is_table else logical_id


def _merged(inherited: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Properties with the globals that they inherit: maps are merged, anything else is replaced ('Globals' of SAM)."""
    merged = inherited | own
    for name in inherited.keys() & own.keys():
        if isinstance(inherited[name], dict) and isinstance(own[name], dict):
            merged[name] = _merged(inherited[name], own[name])
    return merged
