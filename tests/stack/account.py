"""The emulator as an AWS account, with the commands that people use on it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import boto3
from samtranslator.yaml_helper import yaml_parse

from tests.running import free_port
from tests.stack.emulator import ACCOUNT, BIN, PREPARED, REGION, ROOT, SECRET

POLICIES = ROOT / "docs" / "policies"
START_SECONDS = 60.0
EVENTUALLY_SECONDS = 20.0

Environment = dict[str, str]


class Answer(NamedTuple):
    """What a client gets over HTTP."""

    status: int
    headers: dict[str, str]
    body: Any


class Account:
    """An AWS account in an emulator of its own, which runs until `close`."""

    def __init__(self) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "tests.stack.emulator", str(port)]
        self._emulator = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        eventually(self._is_ready, START_SECONDS)

    def _is_ready(self) -> bool:
        assert self._emulator.poll() is None, "the emulator has ended"
        try:
            urllib.request.urlopen(f"{self.url}/_ministack/health", timeout=5).close()
        except OSError:
            return False
        return True

    def close(self) -> None:
        self._emulator.terminate()
        self._emulator.wait(30)

    def client(self, service: str) -> Any:
        """Return a client of the account's root user."""
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id=ACCOUNT,
            aws_secret_access_key=SECRET,
        )

    def environment(self, **variables: str) -> Environment:
        """Return the environment of a command, of the root user unless the variables hold other credentials."""
        names = {"sam": os.environ.get("SAM", "sam"), "aws": str(BIN / "aws"), "sessions": str(Path(sys.executable))}
        folders = [str((ROOT / path).parent) for path in names.values() if "/" in path]
        return {
            "PATH": os.pathsep.join([*folders, os.environ["PATH"]]),
            "HOME": str(ROOT / "build" / "emulator"),
            "SAM_CLI_TELEMETRY": "0",
            "AWS_ENDPOINT_URL": self.url,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": ACCOUNT,
            "AWS_SECRET_ACCESS_KEY": SECRET,
        } | variables

    def run(self, *words: str, as_user: Environment | None = None, text: str = "") -> str:
        """Return what a command prints; it must succeed."""
        ran = self.attempt(*words, as_user=as_user, text=text)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    def attempt(
        self, *words: str, as_user: Environment | None = None, text: str = ""
    ) -> subprocess.CompletedProcess[str]:
        environment = self.environment(**as_user or {})
        return subprocess.run(words, cwd=ROOT, env=environment, input=text, capture_output=True, text=True, timeout=300)

    def deploy(self, environment: str, *flags: str, as_user: Environment | None = None) -> str:
        """Deploy what `sam build` has made, as docs/deployment.md says."""
        config = ["--config-file", str(ROOT / "samconfig.toml"), "--config-env", environment]
        template = ["--template-file", str(PREPARED), "--no-confirm-changeset"]
        return self.run("sam", "deploy", *config, *template, *flags, as_user=as_user)

    def user(self, policy: str, stack: str, *, also: Sequence[str] = (), name: str = "") -> Environment:
        """Return the credentials of a new user who has one policy of docs/policies and no other.

        Args:
            also: actions allowed on everything.
            name: of the user; otherwise the names of the policy and the stack.
        """
        iam, name = self.client("iam"), name or f"{policy}-{stack}"
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
        found = self.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=stack)
        return {
            each["LogicalResourceId"]: each["PhysicalResourceId"]
            for page in found
            for each in page["StackResourceSummaries"]
            if each["ResourceStatus"] != "DELETE_COMPLETE"
        }

    def status(self, stack: str) -> str:
        """Return the status of a stack once nothing is in progress."""
        cloudformation = self.client("cloudformation")

        def settled() -> str:
            [found] = cloudformation.describe_stacks(StackName=stack)["Stacks"]
            return "" if found["StackStatus"].endswith("IN_PROGRESS") else str(found["StackStatus"])

        return eventually(settled)

    def upload(self, stack: str, key: str, change: Callable[[dict[str, Any]], None] = lambda _: None) -> str:
        """Return the address of a changed copy of the template that a stack was deployed with."""
        found = self.client("cloudformation").get_template(StackName=stack, TemplateStage="Original")
        body = found["TemplateBody"]
        template = yaml_parse(body) if isinstance(body, str) else body  # boto3 parses JSON
        change(template)
        bucket = artifact(template, "SessionsLayer", "ContentUri")[0]
        self.client("s3").put_object(Bucket=bucket, Key=key, Body=json.dumps(template))
        return f"{self.url}/{bucket}/{key}"

    def update(self, stack: str, template: str | None = None, **parameters: str) -> str:
        """Update a stack's template or parameters, and return its status then."""
        cloudformation = self.client("cloudformation")
        [found] = cloudformation.describe_stacks(StackName=stack)["Stacks"]
        values = {each["ParameterKey"]: each["ParameterValue"] for each in found["Parameters"]} | parameters
        cloudformation.update_stack(
            StackName=stack,
            Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in values.items()],
            Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
            **({"TemplateURL": template} if template else {"UsePreviousTemplate": True}),
        )
        return self.status(stack)

    def get(self, stack: str, path: str, key: str = "", method: str = "GET") -> Answer:
        """Call the API of a stack."""
        url = f"{self.base(stack)}{path}"
        headers = {"Authorization": key} if key else {}
        request = urllib.request.Request(url, method=method, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return Answer(response.status, dict(response.headers), json.load(response))
        except urllib.error.HTTPError as error:
            return Answer(error.code, dict(error.headers), json.load(error))

    def base(self, stack: str) -> str:
        """Return the address of a stack's API."""
        return f"{self.url}/_aws/execute-api/{self.resources(stack)['Api']}/live"


def artifact(template: dict[str, Any], name: str, key: str) -> tuple[str, str]:
    """Return bucket and key of a resource's archive."""
    bucket, _, rest = template["Resources"][name]["Properties"][key].removeprefix("s3://").partition("/")
    return bucket, rest


def policy_document(name: str, stack: str) -> str:
    """Return a policy of docs/policies with its placeholders filled in."""
    values = {"PARTITION": "aws", "REGION": REGION, "ACCOUNT": ACCOUNT, "STACK": stack}
    text = (POLICIES / f"{name}.json").read_text(encoding="utf-8")
    return re.sub("|".join(values), lambda found: values[found[0]], text)


def eventually(probe: Callable[[], Any], seconds: float = EVENTUALLY_SECONDS) -> Any:
    """Return what a probe returns, as soon as that is true."""
    deadline = time.monotonic() + seconds
    while True:
        found = probe()
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s"
        time.sleep(0.1)
