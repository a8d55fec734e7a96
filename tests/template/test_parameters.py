"""The parameters: described, bounded, and with defaults that deploy."""

import pytest

from tests.template.stack import ANOTHER, PARAMETERS, Rejected, change, stack

BOUNDS = {"AllowedValues", "AllowedPattern", "MinValue"}


def test_every_parameter_is_tried_with_another_value() -> None:
    assert set(ANOTHER) == set(PARAMETERS)
    assert all(str(PARAMETERS[name]["Default"]) != value for name, value in ANOTHER.items())


@pytest.mark.parametrize("name", sorted(PARAMETERS))
def test_a_parameter_is_described_and_bounded_and_has_a_default(name: str) -> None:
    parameter = PARAMETERS[name]
    assert parameter["Description"].endswith(".")
    assert "Default" in parameter
    assert BOUNDS & set(parameter)
    assert parameter.get("Default") in parameter.get("AllowedValues", [parameter["Default"]])


@pytest.mark.parametrize("name", sorted(PARAMETERS))
def test_a_parameter_changes_what_is_created(name: str) -> None:
    before, after = change(name)
    assert before.resources != after.resources


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"DomainName": "api.example.com"}, "DomainName needs the CertificateArn"),
        ({"DefaultEndpoint": "no"}, "Without the default endpoint the API needs a DomainName"),
    ],
)
def test_parameters_that_contradict_each_other_are_rejected(parameters: dict[str, str], sentence: str) -> None:
    with pytest.raises(Rejected, match=sentence):
        stack(**parameters)
