"""What `template.yaml` says of tables, functions, routes, gateway responses and the stream.

Read as CloudFormation would deploy it with the parameters' defaults, so that the local API, and the
tests, repeat nothing of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

ROOT: Final = Path(__file__).resolve().parents[2]
"""Where `template.yaml` is, and what its paths start from."""

REGION: Final = "eu-west-1"
ACCOUNT: Final = "123456789012"
"""Where the local API says it is; the account is the one that moto puts into its ARNs."""

_PSEUDO: Final = {
    "AWS::AccountId": ACCOUNT,
    "AWS::Partition": "aws",
    "AWS::Region": REGION,
    "AWS::StackName": "local",
    "AWS::URLSuffix": "amazonaws.com",
}

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
    """What `create_table` takes. Encryption, backups and time-to-live are left out: they change no answer."""


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
    """Headers that must be there and not empty, or nobody is asked."""


class Route(NamedTuple):
    """A method of a resource, and what it leads to."""

    resource: str
    method: str
    """`ANY` stands for all that the gateway knows."""
    function: str
    authorizer: str | None


class GatewayResponse(NamedTuple):
    """What the gateway answers by itself in one kind of case."""

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
    """All of it."""

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
        document = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506 - a SafeLoader with more tags
        return _read(_Resolver(document, parameters or {}), path.parent)

    def function(self, name: str) -> Function:
        """The function of this name, as in its folder's."""
        return next(function for function in self.functions if function.name == name)


def _read(resolve: _Resolver, root: Path) -> Template:
    functions = []
    for logical_id, properties in resolve.resources("AWS::Serverless::Function"):
        functions.append(
            Function(
                name=local_name(logical_id),
                folder=root / properties["CodeUri"],
                handler=properties["Handler"],
                environment=properties.get("Environment", {}).get("Variables", {}),
                timeout=float(properties.get("Timeout", TIMEOUT_DEFAULT)),
                memory=int(properties["MemorySize"]),
            )
        )
    ((_, api),) = resolve.resources("AWS::Serverless::Api")
    return Template(
        stage=api["StageName"],
        tables=[
            Table(local_name(logical_id), _table_arguments(local_name(logical_id), properties))
            for logical_id, properties in resolve.resources("AWS::DynamoDB::Table")
        ],
        functions=functions,
        authorizers={
            name: Authorizer(_function_in(each["FunctionArn"]), each["Identity"]["Headers"])
            for name, each in api["Auth"]["Authorizers"].items()
        },
        routes=list(_routes(api["DefinitionBody"]["paths"])),
        gateway_responses={name: _gateway_response(each) for name, each in api["GatewayResponses"].items()},
        stream=next(_streams(resolve)),
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


def _streams(resolve: _Resolver) -> Iterator[Stream]:
    for logical_id, function in resolve.resources("AWS::Serverless::Function"):
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


def _merged(inherited: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """A function's properties over the globals: maps are merged, all else is replaced ('Globals section of SAM')."""
    both = {
        name: _merged(inherited[name], value)
        for name, value in own.items()
        if isinstance(value, dict) and isinstance(inherited.get(name), dict)
    }
    return {**inherited, **own, **both}


class _Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short forms, which become the long ones."""


def _short_form(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)  # type: ignore[arg-type]
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _short_form)

_NO_VALUE: Final = object()


class _Resolver:
    """Values of the template with its functions carried out; an attribute of a resource is `Name.Attribute`."""

    def __init__(self, document: dict[str, Any], parameters: Mapping[str, str]) -> None:
        self._document = document
        self._parameters = {name: each["Default"] for name, each in document.get("Parameters", {}).items()}
        self._parameters |= parameters
        self._globals = document.get("Globals", {}).get("Function", {})

    def resources(self, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """The properties of every resource of a type, by its logical id, with the globals of functions.

        What stands under a condition that does not hold is left out.
        """
        for logical_id, resource in self._document["Resources"].items():
            holds = "Condition" not in resource or self._holds({"Condition": resource["Condition"]})
            if resource["Type"] == kind and holds:
                inherited = self._globals if kind == "AWS::Serverless::Function" else {}
                yield logical_id, self(_merged(inherited, resource["Properties"]))

    def __call__(self, value: Any) -> Any:
        if isinstance(value, list):
            return [each for each in map(self, value) if each is not _NO_VALUE]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((name, argument),) = value.items()
            if name == "Ref":
                return self._ref(argument)
            if name.startswith("Fn::"):
                return self._function(name, argument)
        resolved = {key: self(each) for key, each in value.items()}
        return {key: each for key, each in resolved.items() if each is not _NO_VALUE}

    def _ref(self, name: str) -> Any:
        if name == "AWS::NoValue":
            return _NO_VALUE
        if name in _PSEUDO:
            return _PSEUDO[name]
        if name in self._parameters:
            return self._parameters[name]
        # Lambda's environment holds the names of tables; other resources are only told apart.
        is_table = self._document["Resources"].get(name, {}).get("Type") == "AWS::DynamoDB::Table"
        return local_name(name) if is_table else name

    def _function(self, name: str, argument: Any) -> Any:
        functions: dict[str, Callable[[Any], Any]] = {
            "Fn::GetAtt": lambda each: each if isinstance(each, str) else ".".join(each),
            "Fn::Sub": self._sub,
            "Fn::Join": lambda each: each[0].join(map(str, self(each[1]))),
            "Fn::If": lambda each: self(each[1] if self._holds({"Condition": each[0]}) else each[2]),
        }
        if name not in functions:
            raise ValueError(f"{name} is not known to the local API")
        return functions[name](argument)

    def _sub(self, argument: Any) -> str:
        text, given = (argument, {}) if isinstance(argument, str) else argument

        def value(match: re.Match[str]) -> str:
            name = match[1]
            if name.startswith("!"):
                return f"${{{name[1:]}}}"
            if name in given:
                return str(self(given[name]))
            return name if "." in name else str(self._ref(name))

        return re.sub(r"\$\{([^}]+)\}", value, text)

    def _holds(self, condition: dict[str, Any]) -> bool:
        ((name, argument),) = condition.items()
        match name:
            case "Condition":
                return self._holds(self._document["Conditions"][argument])
            case "Fn::Equals":
                one, other = map(self, argument)
                return str(one) == str(other)
            case "Fn::Not":
                return not self._holds(argument[0])
            case "Fn::And":
                return all(map(self._holds, argument))
            case "Fn::Or":
                return any(map(self._holds, argument))
        raise ValueError(f"{name} is not known to the local API")
