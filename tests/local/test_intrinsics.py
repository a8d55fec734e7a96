"""CloudFormation's intrinsic functions, as the local API and the tests of the template evaluate them."""

from typing import Any

import pytest

from sessions_local.intrinsics import Intrinsics, load

TEMPLATE = load("""
Parameters:
  Stage: {Type: String, Default: live}
  Size: {Type: Number, Default: 3}
  Name: {Type: String}
Conditions:
  IsLive: !Equals [!Ref Stage, live]
  IsLarge: !Not [!Equals [!Ref Size, "3"]]
  IsBoth: !And [!Condition IsLive, !Condition IsLarge]
  IsEither: !Or [!Condition IsLive, !Condition IsLarge]
Resources:
  Table: {Type: "AWS::DynamoDB::Table"}
""")


def resolve(text: str, **parameters: str) -> Any:
    return Intrinsics(TEMPLATE, {"Name": "given"} | parameters).resolve(load(f"value: {text}")["value"])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("!Ref Stage", "live"),
        ("!Ref Size", 3),
        ("!Ref Name", "given"),
        ("!Ref AWS::Region", "eu-west-1"),
        ("!Ref Table", "Table"),
        ("!GetAtt Table.Arn", "Table.Arn"),
        ("{Fn::GetAtt: [Table, Arn]}", "Table.Arn"),
        ('!Sub "${Table}/${Table.Arn}/${AWS::Partition}/${Stage}"', "Table/Table.Arn/aws/live"),
        ('!Sub ["${own}-${Stage}", {own: !Ref Size}]', "3-live"),
        ('!Join ["-", [a, !Ref Stage, !Ref AWS::NoValue]]', "a-live"),
        ("!If [IsLive, 1, 2]", 1),
        ("!If [IsLarge, 1, !Ref Stage]", "live"),
        ("[1, !If [IsLarge, 2, !Ref AWS::NoValue]]", [1]),
        ("{a: 1, b: !Ref AWS::NoValue}", {"a": 1}),
        ("!Ref AWS::NoValue", None),
        ("plain", "plain"),
    ],
)
def test_a_value_is_resolved(text: str, value: Any) -> None:
    assert resolve(text) == value


@pytest.mark.parametrize(
    ("parameters", "held"),
    [
        ({}, {"IsLive", "IsEither"}),
        ({"Size": "4"}, {"IsLive", "IsLarge", "IsBoth", "IsEither"}),
        ({"Stage": "test"}, set()),
    ],
)
def test_conditions_follow_the_parameters(parameters: dict[str, str], held: set[str]) -> None:
    intrinsics = Intrinsics(TEMPLATE, parameters)
    assert {name for name in TEMPLATE["Conditions"] if intrinsics.holds(name)} == held


@pytest.mark.parametrize("text", ["!Ref Nothing", "!Base64 x", '!Sub "${Nothing}"'])
def test_an_unknown_function_or_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not supported|neither a parameter nor a resource"):
        resolve(text)
