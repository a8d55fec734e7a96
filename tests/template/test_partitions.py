"""Every partition of AWS: no ARN, host or console of another one."""

import json
import re

import pytest

from tests.template.stack import ANOTHER, WHOLE, Stack, expand

# Region, domain of service endpoints, and console ('AWS service endpoints', 'AWS GovCloud (US) endpoints').
PARTITIONS = {
    "aws": ("eu-west-1", "amazonaws.com", "console.aws.amazon.com"),
    "aws-us-gov": ("us-gov-west-1", "amazonaws.com", "console.amazonaws-us-gov.com"),
    "aws-cn": ("cn-north-1", "amazonaws.com.cn", "console.amazonaws.cn"),
}


def stack_in(partition: str, **parameters: str) -> Stack:
    region, suffix, _ = PARTITIONS[partition]
    # What the operator says is of the partition too.
    given = {name: value.replace("arn:aws:", f"arn:{partition}:") for name, value in parameters.items()}
    expanded, values = expand(parameters=json.dumps(given), region=region)
    pseudo = {"AWS::Partition": partition, "AWS::Region": region, "AWS::URLSuffix": suffix}
    return Stack(expanded, values | pseudo)


@pytest.mark.parametrize("partition", sorted(PARTITIONS))
def test_every_arn_is_of_the_partition(partition: str) -> None:
    found = stack_in(partition, **WHOLE, AlarmTopicArn=ANOTHER["AlarmTopicArn"])
    arns = re.findall(r"arn:([a-z-]+):", json.dumps(found.resources))
    assert len(arns) > 20
    assert set(arns) == {partition}


@pytest.mark.parametrize("partition", sorted(PARTITIONS))
def test_the_addresses_are_of_the_partition(partition: str) -> None:
    region, suffix, console = PARTITIONS[partition]
    outputs = {name: each["Value"] for name, each in stack_in(partition).outputs.items()}
    assert outputs["Url"] == f"https://Api.execute-api.{region}.{suffix}/live"
    assert outputs["DashboardUrl"].startswith(f"https://{region}.{console}/cloudwatch/home?region={region}#")
