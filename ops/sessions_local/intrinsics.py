"""CloudFormation's intrinsic functions, evaluated with known parameters, for the local API and for tests."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import yaml

PSEUDO_PARAMETERS: Final = {
    "AWS::AccountId": "123456789012",
    "AWS::Partition": "aws",
    "AWS::Region": "eu-west-1",
    "AWS::StackName": "local",
    "AWS::URLSuffix": "amazonaws.com",
}

_NO_VALUE: Final = object()
"""The value of `!Ref AWS::NoValue`, until its property is dropped."""


def load(text: str) -> dict[str, Any]:
    """Return a template's YAML with the short forms (`!Ref x`) as the long ones (`{"Ref": "x"}`)."""
    document: dict[str, Any] = yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader with more tags
    return document


class Intrinsics:
    """The intrinsic functions of one template."""

    def __init__(
        self,
        document: Mapping[str, Any],
        parameters: Mapping[str, str] | None = None,
        reference: Callable[[str], str] = lambda logical_id: logical_id,
    ) -> None:
        """Use these parameters instead of defaults, and `reference` for the `Ref` of a resource."""
        defaults = {name: each["Default"] for name, each in document.get("Parameters", {}).items() if "Default" in each}
        self._values = PSEUDO_PARAMETERS | defaults | dict(parameters or {})
        self._conditions = document.get("Conditions", {})
        self._resources = document.get("Resources", {})
        self._reference = reference
        self._functions: dict[str, Callable[[Any], Any]] = {
            "Fn::And": lambda each: all(map(self._truth, each)),
            "Fn::Equals": lambda each: str(self.resolve(each[0])) == str(self.resolve(each[1])),
            "Fn::GetAtt": lambda each: each if isinstance(each, str) else ".".join(each),
            "Fn::If": lambda each: self._resolve(each[1] if self.holds(each[0]) else each[2]),
            "Fn::Join": lambda each: each[0].join(map(str, self.resolve(each[1]))),
            "Fn::Not": lambda each: not self._truth(each[0]),
            "Fn::Or": lambda each: any(map(self._truth, each)),
            "Fn::Sub": self._sub,
            "Ref": self._ref,
        }

    def resolve(self, value: Any) -> Any:
        """Return the value with every function in it evaluated; `GetAtt` gives the text `LogicalId.Attribute`.

        Raises:
            ValueError: a function or a name is unknown.
        """
        resolved = self._resolve(value)
        return None if resolved is _NO_VALUE else resolved

    def holds(self, condition: str) -> bool:
        return self._truth(self._conditions[condition])

    def _resolve(self, value: Any) -> Any:
        if isinstance(value, list):
            return [each for each in map(self._resolve, value) if each is not _NO_VALUE]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((name, argument),) = value.items()
            if name in self._functions:
                return self._functions[name](argument)
            if name.startswith("Fn::"):
                raise ValueError(f"{name} is not supported")
        resolved = {key: self._resolve(each) for key, each in value.items()}
        return {key: each for key, each in resolved.items() if each is not _NO_VALUE}

    def _truth(self, condition: Mapping[str, Any]) -> bool:
        ((name, argument),) = condition.items()
        return self.holds(argument) if name == "Condition" else bool(self._resolve(condition))

    def _ref(self, name: str) -> Any:
        if name == "AWS::NoValue":
            return _NO_VALUE
        if name in self._values:
            return self._values[name]
        if name.partition(".")[0] not in self._resources:  # SAM adds `Function.Alias` and the like
            raise ValueError(f"{name} is neither a parameter nor a resource")
        return self._reference(name)

    def _sub(self, argument: Any) -> str:
        text, variables = (argument, {}) if isinstance(argument, str) else argument

        def value(match: re.Match[str]) -> str:
            name = match[1]
            if name in variables:
                return str(self.resolve(variables[name]))
            return name if "." in name else str(self._ref(name))

        return re.sub(r"\$\{([^}!]+)\}", value, text)


class _Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short forms."""


def _long_form(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)  # type: ignore[arg-type]
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _long_form)
