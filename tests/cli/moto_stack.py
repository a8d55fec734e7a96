"""The template as moto's CloudFormation can deploy it."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import boto3

NOT_MADE = {
    "AWS::ApiGateway::Account",
    "AWS::ApiGateway::BasePathMapping",
    "AWS::ApiGateway::DomainName",
    "AWS::CloudWatch::Alarm",
    "AWS::CodeDeploy::Application",
    "AWS::CodeDeploy::DeploymentGroup",
    "AWS::Lambda::Alias",
    "AWS::WAFv2::WebACLAssociation",
}
"""Types that moto passes over."""

REFUSED = {"AWS::ApiGateway::Deployment", "AWS::ApiGateway::Stage"}
"""Types that moto would make of methods, and it makes none of the API's Body."""


def upload(template: dict[str, Any]) -> None:
    """Puts an archive where every function and layer looks for its code."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("app.py", "def handler(event, context): ...")
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket="bucket", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    for resource in template["Resources"].values():
        code = resource["Properties"].get("Code") or resource["Properties"].get("Content") or {}
        if "S3Key" in code:
            s3.put_object(Bucket=code["S3Bucket"], Key=code["S3Key"], Body=archive.getvalue())


def for_moto(template: dict[str, Any]) -> dict[str, Any]:
    """The template without what moto does not make; functions stand in for their aliases."""
    text = json.dumps(template)
    for name, resource in template["Resources"].items():
        if resource["Type"] == "AWS::Lambda::Alias":
            text = text.replace(json.dumps({"Ref": name}), json.dumps(resource["Properties"]["FunctionName"]))
    short: dict[str, Any] = json.loads(text)
    gone = {name for name, each in short["Resources"].items() if each["Type"] in NOT_MADE | REFUSED}
    short["Resources"] = {name: each for name, each in short["Resources"].items() if each["Type"] not in REFUSED}
    short["Resources"]["Api"]["Properties"]["Name"] = {"Ref": "AWS::StackName"}  # CloudFormation takes the title
    short["Outputs"] = {
        name: each
        for name, each in short["Outputs"].items()
        if not any(json.dumps(word) in json.dumps(each["Value"]) for word in gone)
    }
    return short
