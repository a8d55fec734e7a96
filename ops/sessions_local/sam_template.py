"""The tables, functions, routes, gateway responses and the stream of `template.yaml`, read as CloudFormation does.

The local API and the tests take all of these from here and repeat none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from sessions_local.intrinsics import PSEUDO_PARAMETERS, Intrinsics, load

ROOT: Final = Path(__file__).resolve().parents[2]
"""The folder of `template.yaml`, from which its paths start."""

REGION: Final = PSEUDO_PARAMETERS["AWS::Region"]
ACCOUNT: Final = PSEUDO_PARAMETERS["AWS::AccountId"]
"""The region and the account of the local API; the account is the one that moto puts into its ARNs."""

_OPEN_METHOD: Final = "x-amazon-apigateway-any-method"
_INTEGRATION: Final = "x-amazon-apigateway-integration"


class Table(NamedTuple):
    """A DynamoDB table."""

    name: str  # `SessionsTable` is called `sessions` here
    arguments: dict[str, Any]  # of `create_table`, without what changes no response: encryption, backups, time-to-live


class Function(NamedTuple):
    """A Lambda function."""

    name: str  # `ListSessionsFunction` is called `list_sessions` here
    folder: Path
    handler: str
    environment: dict[str, str]
    timeout: float
    memory: int


class Route(NamedTuple):
    """A method of a resource, with its function."""

    resource: str
    method: str  # `ANY` stands for all that the gateway knows
    function: str
    authorizer: str | None


class EventSource(NamedTuple):
    """The event source mapping from a table's stream to a function."""

    table: str
    function: str
    starting_position: str
    batch_size: int
    retries: int


class Template(NamedTuple):
    """The parts of the template that exist on one machine."""

    stage: str
    tables: list[Table]
    functions: list[Function]
    routes: list[Route]
    authorizers: dict[str, Any]  # properties, as SAM has them
    gateway_responses: dict[str, Any]
    event_source: EventSource

    @classmethod
    def read(cls, path: Path = ROOT / "template.yaml", parameters: Mapping[str, str] | None = None) -> Template:
        """Return the template of a file, with these parameters in place of their defaults.

        Raises:
            ValueError: CloudFormation would refuse a parameter; the text says what the parameter accepts.
        """
        document = load(path.read_text(encoding="utf-8"))
        for name, value in (parameters or {}).items():
            declared = document["Parameters"][name]
            if re.fullmatch(declared.get("AllowedPattern", ".*"), value) is None:
                raise ValueError(declared["ConstraintDescription"])
        resources = _Resources(document, parameters or {})
        functions = dict(resources.of_type("AWS::Serverless::Function"))
        ((_, api),) = resources.of_type("AWS::Serverless::Api")
        return cls(
            stage=api["StageName"],
            tables=[_table(*each) for each in resources.of_type("AWS::DynamoDB::Table")],
            functions=[_function(*each, path.parent) for each in functions.items()],
            routes=list(_routes(api["DefinitionBody"]["paths"])),
            authorizers=api["Auth"]["Authorizers"],
            gateway_responses=api["GatewayResponses"],
            event_source=next(_event_sources(functions)),
        )

    def function(self, name: str) -> Function:
        return next(function for function in self.functions if function.name == name)

    @property
    def called_functions(self) -> list[Function]:
        """The functions that a route, an authorizer or the stream calls."""
        names = {route.function for route in self.routes} | {self.event_source.function}
        names |= {function_in(each["FunctionArn"]) for each in self.authorizers.values()}
        return [function for function in self.functions if function.name in names]


def local_name(logical_id: str) -> str:
    """Return the name of a resource on this machine: snake case, without its kind."""
    words = re.findall(r"[A-Z][a-z0-9]*", logical_id)
    return "_".join(words[:-1]).lower()


def _table(logical_id: str, properties: dict[str, Any]) -> Table:
    name = local_name(logical_id)
    kept = ("AttributeDefinitions", "KeySchema", "BillingMode", "GlobalSecondaryIndexes")
    arguments = {"TableName": name} | {key: properties[key] for key in kept if key in properties}
    if "StreamSpecification" in properties:
        arguments["StreamSpecification"] = {"StreamEnabled": True} | properties["StreamSpecification"]
    return Table(name, arguments)


def _function(logical_id: str, properties: dict[str, Any], root: Path) -> Function:
    variables = properties.get("Environment", {}).get("Variables", {})
    return Function(
        name=local_name(logical_id),
        folder=root / properties["CodeUri"],
        handler=properties["Handler"],
        environment={variable: str(value) for variable, value in variables.items()},
        timeout=float(properties["Timeout"]),
        memory=int(properties["MemorySize"]),
    )


def _routes(paths: dict[str, Any]) -> Iterator[Route]:
    for resource, methods in paths.items():
        for method, operation in methods.items():
            security = [name for each in operation.get("security", []) for name in each]
            yield Route(
                resource=resource,
                method="ANY" if method == _OPEN_METHOD else method.upper(),
                function=function_in(operation[_INTEGRATION]["uri"]),
                authorizer=security[0] if security else None,
            )


def _event_sources(functions: Mapping[str, dict[str, Any]]) -> Iterator[EventSource]:
    for logical_id, function in functions.items():
        for event in function.get("Events", {}).values():
            if event["Type"] == "DynamoDB":
                properties = event["Properties"]
                yield EventSource(
                    table=local_name(properties["Stream"].partition(".")[0]),
                    function=local_name(logical_id),
                    starting_position=properties["StartingPosition"],
                    batch_size=properties["BatchSize"],
                    retries=properties["MaximumRetryAttempts"],
                )


def function_in(arn: str) -> str:
    """Return the function that an ARN of the template names."""
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
