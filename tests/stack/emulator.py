"""Run MiniStack, an emulator of AWS, with IAM enforced, and prepare the built template for it.

Usage: python -m tests.stack.emulator [PORT]

It reads `.aws-sam/build/template.yaml` and writes `emulator.json` beside it: the same template without the parts that
the emulator does not support. Each workaround below has a test that fails once the emulator supports the part.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, Final

from samtranslator.yaml_helper import yaml_parse

ROOT: Final = Path(__file__).parents[2]
BUILT: Final = ROOT / ".aws-sam" / "build" / "template.yaml"
PREPARED: Final = BUILT.with_name("emulator.json")
HOME: Final = ROOT / "build" / "emulator"
"""Where the emulator keeps its files."""

BIN: Final = ROOT / ".venv-stack" / "bin"
PORT: Final = 4566
REGION: Final = "eu-west-1"
ACCOUNT: Final = "123456789012"
"""Also the access key of the account's root user."""

SECRET: Final = "test"

Template = dict[str, Any]


def without_deployment_preference(template: Template) -> None:
    """Remove CodeDeploy, which the emulator does not have.

    The hook calls it without retries, and the hook's role keeps the application's name.
    """
    for resource in template["Resources"].values():
        resource["Properties"].pop("DeploymentPreference", None)
    add(template, "ServerlessDeploymentApplication", "AWS::SSM::Parameter", {"Type": "String", "Value": "CodeDeploy"})
    hook = template["Resources"]["CheckReleaseFunction"]["Properties"]["Environment"]["Variables"]
    hook["AWS_MAX_ATTEMPTS"] = "1"


def without_metric_math(template: Template) -> None:
    """Remove the alarms on expressions, which the emulator refuses."""
    resources = template["Resources"]
    for name in [name for name, each in resources.items() if "Metrics" in each["Properties"]]:
        del resources[name]


def with_gateway_responses(template: Template) -> None:
    """Add the gateway responses as resources, since the emulator does not import them with the API's body."""
    for kind, response in template["Resources"]["Api"]["Properties"]["GatewayResponses"].items():
        headers = response["ResponseParameters"]["Headers"]
        properties = {
            "RestApiId": {"Ref": "Api"},
            "ResponseType": kind,
            "ResponseParameters": {f"gatewayresponse.header.{name}": value for name, value in headers.items()},
            "ResponseTemplates": response["ResponseTemplates"],
        }
        if "StatusCode" in response:
            properties["StatusCode"] = response["StatusCode"]
        add(template, f"Response{kind.replace('_', '')}", "AWS::ApiGateway::GatewayResponse", properties)


def with_any_methods(template: Template) -> None:
    """Add the ANY methods as resources, since the emulator does not import them with the API's body."""
    root = {"Fn::GetAtt": ["Api", "RootResourceId"]}
    proxy = {"RestApiId": {"Ref": "Api"}, "ParentId": root, "PathPart": "{proxy+}"}
    add(template, "ProxyResource", "AWS::ApiGateway::Resource", proxy)
    paths = template["Resources"]["Api"]["Properties"]["DefinitionBody"]["paths"]
    uri = paths["/v1/sessions"]["get"]["x-amazon-apigateway-integration"]["uri"]
    for name, resource in {"AnyRoot": root, "AnyProxy": {"Ref": "ProxyResource"}}.items():
        method = {
            "RestApiId": {"Ref": "Api"},
            "ResourceId": resource,
            "HttpMethod": "ANY",
            "AuthorizationType": "NONE",
            "Integration": {"Type": "AWS_PROXY", "IntegrationHttpMethod": "POST", "Uri": uri},
        }
        add(template, name, "AWS::ApiGateway::Method", method)


def with_last_deployment(template: Template) -> None:
    """Add a deployment of the API with the resources of the two workarounds above, which SAM's own does not contain."""
    names = [name for name in template["Resources"] if name.startswith(("Response", "Any"))]
    add(template, "LastDeployment", "AWS::ApiGateway::Deployment", {"RestApiId": {"Ref": "Api"}, "StageName": "live"})
    template["Resources"]["LastDeployment"]["DependsOn"] = names
    template["Resources"]["LastDeployment"]["Metadata"] = {"AfterTheStage": {"Ref": "Api.Stage"}}


def add(template: Template, name: str, kind: str, properties: dict[str, Any]) -> None:
    template["Resources"][name] = {"Type": kind, "Properties": properties}


def prepare() -> None:
    """Write the template for the emulator beside the one that `sam build` has made."""
    template = yaml_parse(BUILT.read_text(encoding="utf-8"))
    without_deployment_preference(template)
    without_metric_math(template)
    with_gateway_responses(template)
    with_any_methods(template)
    with_last_deployment(template)
    PREPARED.write_text(json.dumps(template, indent=1), encoding="utf-8")


def main() -> None:
    prepare()
    port = int(sys.argv[1]) if len(sys.argv) > 1 else PORT
    HOME.mkdir(parents=True, exist_ok=True)
    environment = dict.fromkeys(("HOME", "TMPDIR"), str(HOME)) | {
        "PATH": os.defpath,
        "AUTH": "true",
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "MINISTACK_HOST": "127.0.0.1",
        "MINISTACK_REGION": REGION,
        "MINISTACK_ACCOUNT_ID": ACCOUNT,
        "AWS_ACCESS_KEY_ID": ACCOUNT,
        "AWS_SECRET_ACCESS_KEY": SECRET,
    }
    print(f"MiniStack serves AWS at http://127.0.0.1:{port} until Ctrl-C.", flush=True)
    os.chdir(HOME)
    os.execve(BIN / "ministack", ["ministack"], environment)


if __name__ == "__main__":
    main()
