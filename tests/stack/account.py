"""The emulator as an AWS account, with the commands that people run on it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import boto3
import httpx
from samtranslator.yaml_helper import yaml_parse

from tests.running import free_port
from tests.stack.emulator import ACCOUNT, BIN, HOME, PREPARED, REGION, ROOT, SECRET

SAM = ROOT / os.environ.get("SAM", "sam")
CAPABILITIES = ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]
EVENTUALLY_SECONDS = 60.0

Environment = dict[str, str]


class Account:
    """An AWS account in an emulator, which runs until `close`."""

    def __init__(self) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "tests.stack.emulator", str(port)]
        self._emulator = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        eventually(self._is_ready)

    def _is_ready(self) -> bool:
        assert self._emulator.poll() is None, "the emulator has ended"
        try:
            return httpx.get(f"{self.url}/_ministack/health", trust_env=False).is_success
        except httpx.TransportError:
            return False

    def close(self) -> None:
        self._emulator.terminate()
        self._emulator.wait(30)

    def client(self, service: str) -> Any:
        """Return a client of the root user."""
        key = {"aws_access_key_id": ACCOUNT, "aws_secret_access_key": SECRET}
        return boto3.client(service, endpoint_url=self.url, region_name=REGION, **key)

    def environment(self, user: Environment | None = None) -> Environment:
        """Return the environment of a command that a user runs, root unless given."""
        folders = [SAM.parent, BIN, Path(sys.executable).parent]
        return {
            "PATH": os.pathsep.join([*map(str, folders), os.environ["PATH"]]),
            "HOME": str(HOME),
            "SAM_CLI_TELEMETRY": "0",
            "AWS_ENDPOINT_URL": self.url,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": ACCOUNT,
            "AWS_SECRET_ACCESS_KEY": SECRET,
        } | (user or {})

    def attempt(self, *words: str, user: Environment | None = None, text: str = "") -> tuple[int, str]:
        """Return the exit status of a command and what it prints."""
        options: dict[str, Any] = {"cwd": ROOT, "env": self.environment(user), "input": text, "text": True}
        ran = subprocess.run(words, **options, capture_output=True, timeout=300)
        return ran.returncode, ran.stdout + (ran.stderr if ran.returncode else "")

    def run(self, *words: str, user: Environment | None = None, text: str = "") -> str:
        """Return what a command prints; it must succeed."""
        code, printed = self.attempt(*words, user=user, text=text)
        assert code == 0, printed
        return printed.strip()

    def shell(self, commands: str) -> str:
        """Return what the commands of a document print; each must succeed."""
        return self.run("bash", "-euo", "pipefail", "-c", commands)

    def deploy(self, environment: str, *flags: str, user: Environment | None = None) -> None:
        """Deploy the build as docs/deployment.md says."""
        config = ["--config-file", str(ROOT / "samconfig.toml"), "--config-env", environment]
        self.run(
            "sam", "deploy", *config, "--template-file", str(PREPARED), "--no-confirm-changeset", *flags, user=user
        )

    def user(self, policy: str, stack: str, *, also: Sequence[str] = (), name: str = "") -> Environment:
        """Return the credentials of a new user with one policy of docs/policies, who may `also` do these actions."""
        iam, name = self.client("iam"), name or policy
        iam.create_user(UserName=name)
        iam.put_user_policy(UserName=name, PolicyName=policy, PolicyDocument=policy_document(policy, stack))
        if also:
            statement = {"Effect": "Allow", "Action": list(also), "Resource": "*"}
            document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
            iam.put_user_policy(UserName=name, PolicyName="emulator", PolicyDocument=document)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}

    def resources(self, stack: str) -> dict[str, str]:
        """Return the physical id of each resource of a stack."""
        pages = self.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=stack)
        found = [each for page in pages for each in page["StackResourceSummaries"]]
        return {each["LogicalResourceId"]: each["PhysicalResourceId"] for each in found}

    def status(self, stack: str) -> str:
        """Return the status of a stack once nothing is in progress."""
        cloudformation = self.client("cloudformation")

        def settled() -> str:
            [found] = cloudformation.describe_stacks(StackName=stack)["Stacks"]
            return "" if found["StackStatus"].endswith("IN_PROGRESS") else str(found["StackStatus"])

        return eventually(settled)

    def template(self, stack: str, change: Callable[[dict[str, Any]], None] = lambda _: None) -> str:
        """Return the address of a changed copy of a stack's template, beside its artifacts."""
        found = self.client("cloudformation").get_template(StackName=stack, TemplateStage="Original")["TemplateBody"]
        template = yaml_parse(found) if isinstance(found, str) else found  # boto3 parses JSON
        change(template)
        [bucket] = [each["Name"] for each in self.client("s3").list_buckets()["Buckets"]]
        self.client("s3").put_object(Bucket=bucket, Key="changed", Body=json.dumps(template))
        return f"{self.url}/{bucket}/changed"

    def create(self, stack: str, template: str, **options: Any) -> str:
        """Create a stack and return its status then."""
        arguments = {"StackName": stack, "TemplateURL": template, "Capabilities": CAPABILITIES}
        self.client("cloudformation").create_stack(**arguments, **options)
        return self.status(stack)

    def update(self, stack: str, template: str = "", **parameters: str) -> str:
        """Update a stack's template or parameters and return its status then."""
        cloudformation = self.client("cloudformation")
        [found] = cloudformation.describe_stacks(StackName=stack)["Stacks"]
        values = {each["ParameterKey"]: each["ParameterValue"] for each in found["Parameters"]} | parameters
        cloudformation.update_stack(
            StackName=stack,
            Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in values.items()],
            Capabilities=CAPABILITIES,
            **({"TemplateURL": template} if template else {"UsePreviousTemplate": True}),
        )
        return self.status(stack)

    def api(self, stack: str) -> str:
        """Return the address of a stack's API."""
        return f"{self.url}/_aws/execute-api/{self.resources(stack)['Api']}/live"

    def call(self, stack: str, path: str, key: str = "", method: str = "GET") -> httpx.Response:
        headers = {"Authorization": key} if key else {}
        return httpx.request(method, self.api(stack) + path, headers=headers, timeout=60, trust_env=False)


def policy_document(name: str, stack: str) -> str:
    """Return a policy of docs/policies with its placeholders filled in."""
    values = {"PARTITION": "aws", "REGION": REGION, "ACCOUNT": ACCOUNT, "STACK": stack}
    text = (ROOT / "docs" / "policies" / f"{name}.json").read_text(encoding="utf-8")
    return re.sub("|".join(values), lambda found: values[found[0]], text)


def guide(heading: str) -> list[str]:
    """Return the blocks of shell commands in a chapter of docs/deployment.md."""
    text = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
    return re.findall(r"```sh\n(.*?)```", text.partition(f"# {heading}\n")[2].partition("\n#")[0], re.DOTALL)


def eventually(probe: Callable[[], Any]) -> Any:
    """Return what a probe returns, as soon as that is true."""
    deadline = time.monotonic() + EVENTUALLY_SECONDS
    while not (found := probe()):
        assert time.monotonic() < deadline, f"not within {EVENTUALLY_SECONDS:.0f} s"
        time.sleep(0.1)
    return found
