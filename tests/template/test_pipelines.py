"""The pipelines: nothing unpinned, no standing rights, no secret that lives long."""

import json
import os
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.template.stack import PARAMETERS, ROOT, stack

FOLDER = ROOT / ".github" / "workflows"
WORKFLOWS = sorted(FOLDER.glob("*.yml"))
PINNED = re.compile(
    r"uses: (?:\./\.github/workflows/\w+\.yml(?: # zizmor: ignore.*)?|[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+)"
)


def jobs(path: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.safe_load(path.read_text())["jobs"]
    return found


def commands(job: dict[str, Any]) -> str:
    return "\n".join(step["run"] for step in job.get("steps", []) if "run" in step)


SHIP = jobs(FOLDER / "ship.yml")["ship"]


def test_there_is_a_pipeline_for_changes_one_for_releases_and_a_weekly_audit() -> None:
    # ship.yml is the part of a release that both environments share.
    assert [path.name for path in WORKFLOWS] == ["audit.yml", "check.yml", "deploy.yml", "ship.yml"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_an_action_is_pinned_by_its_commit_with_the_version_beside_it(path: Path) -> None:
    lines = [line.strip().removeprefix("- ") for line in path.read_text().splitlines() if "uses:" in line]
    assert lines
    assert [line for line in lines if not PINNED.fullmatch(line)] == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_tool_is_installed_in_one_version(path: Path) -> None:
    for tool in re.findall(r"(?:pipx install|--spec) (\S+)", path.read_text()):
        assert re.fullmatch(r"[\w-]+==\d+\.\d+\.\d+(\.\d+)?", tool)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_pipeline_reads_the_code_and_a_job_adds_only_the_token_for_its_role(path: Path) -> None:
    assert yaml.safe_load(path.read_text())["permissions"] == {"contents": "read"}
    for job in jobs(path).values():
        assert job.get("permissions", {"contents": "read"}) in (
            {"contents": "read"},
            {"contents": "read", "id-token": "write"},
        )
        for step in job.get("steps", []):
            if "checkout" in step.get("uses", ""):
                assert step["with"] == {"persist-credentials": False}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_no_secret_is_stored_and_no_text_of_a_stranger_is_run(path: Path) -> None:
    text = path.read_text()
    assert "secrets." not in text
    assert "pull_request_target" not in text
    for job in jobs(path).values():
        assert "${{" not in commands(job)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_job_ends_by_itself_on_a_named_system(path: Path) -> None:
    for job in jobs(path).values():
        if "uses" not in job:
            assert job["runs-on"] == "ubuntu-24.04"
            assert job["timeout-minutes"] <= 60


def test_a_change_is_checked_and_tested_on_both_pythons_scanned_and_built() -> None:
    check = jobs(FOLDER / "check.yml")
    assert check["test"]["strategy"]["matrix"]["python"] == ["3.11", "3.13"]
    assert commands(check["test"]).splitlines() == ["make check", "make test"]
    assert all(word in commands(check["scan"]) for word in ("checkov", "actionlint", "make audit"))
    assert "make build" in commands(check["build"])


def test_a_release_is_checked_built_once_and_seen_in_development_before_production() -> None:
    deploy = jobs(FOLDER / "deploy.yml")
    assert list(deploy) == ["check", "build", "development", "production"]
    assert deploy["check"]["uses"] == "./.github/workflows/check.yml"
    assert deploy["build"]["needs"] == "check"
    assert deploy["development"]["needs"] == "build"
    assert deploy["production"]["needs"] == ["build", "development"]
    for name in ("development", "production"):
        assert deploy[name]["uses"] == "./.github/workflows/ship.yml"
        assert deploy[name]["with"] == {"environment": name, "sha256": "${{ needs.build.outputs.sha256 }}"}


def test_both_environments_get_the_one_archive_that_was_built() -> None:
    build = jobs(FOLDER / "deploy.yml")["build"]
    assert commands(build).index("make build") < commands(build).index("sha256sum")
    assert "GITHUB_STEP_SUMMARY" in commands(build)  # where the hash is printed
    ship = commands(SHIP)
    assert ship.index("sha256sum --check --strict") < ship.index("tar --extract") < ship.index("sam deploy")
    assert "make build" not in ship
    assert "sam build" not in ship


def pack(folder: Path, archive: Path) -> str:
    """Runs the step that packs, and returns the hash that it prints."""
    [step] = [step for step in jobs(FOLDER / "deploy.yml")["build"]["steps"] if step.get("id") == "pack"]
    files = {name: folder / name for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
    environment = os.environ | {name: str(path) for name, path in files.items()} | {"GITHUB_REF_NAME": "v1.0.0"}
    subprocess.run(["bash", "-euo", "pipefail", "-c", step["run"]], cwd=folder, env=environment, check=True)
    (folder / "build.tar").rename(archive)
    printed = files["GITHUB_OUTPUT"].read_text().strip().removeprefix("sha256=")
    assert printed in files["GITHUB_STEP_SUMMARY"].read_text()
    return printed


def unpack(folder: Path, sha256: str) -> subprocess.CompletedProcess[str]:
    """Runs the step that unpacks, with the hash that it is told."""
    [step] = [step for step in SHIP["steps"] if "SHA256" in step.get("env", {})]
    command = ["bash", "-euo", "pipefail", "-c", step["run"]]
    return subprocess.run(command, cwd=folder, env=os.environ | {"SHA256": sha256}, capture_output=True, text=True)


def test_the_same_files_make_the_same_hash_and_another_archive_is_refused(tmp_path: Path) -> None:
    hashes = []
    for name in ("first", "second"):
        built = tmp_path / name / ".aws-sam" / "build"
        built.mkdir(parents=True)
        (built / "template.yaml").write_text("Resources: {}")
        os.utime(built / "template.yaml", (len(hashes), len(hashes)))
        hashes.append(pack(tmp_path / name, tmp_path / f"{name}.tar"))
    assert hashes[0] == hashes[1]
    ship = tmp_path / "ship"
    ship.mkdir()
    shutil.copy(tmp_path / "first.tar", ship / "build.tar")
    assert unpack(ship, "0" * 64).returncode != 0
    assert not (ship / ".aws-sam").exists()
    assert unpack(ship, hashes[0]).returncode == 0
    assert (ship / ".aws-sam" / "build" / "template.yaml").read_text() == "Resources: {}"


def test_a_release_that_fails_the_look_from_outside_is_taken_back() -> None:
    names = [step.get("name", "") for step in SHIP["steps"]]
    before, deploy, look, back = (
        names.index(name) for name in ("What is live now", "Deploy", "Look at it from outside", "Take it back")
    )
    assert before < deploy < look < back
    assert "sessions smoke" in SHIP["steps"][look]["run"]
    assert SHIP["steps"][look]["id"] == "look"
    assert SHIP["steps"][back]["if"] == "failure() && steps.look.outcome == 'failure'"
    for step, action in ((before, "save"), (back, "restore")):
        words = shlex.split(SHIP["steps"][step]["run"])
        assert words == [".venv/bin/sessions", "rollback", action, "before.json", "--stack", "$STACK"]


def test_both_environments_are_configured_with_parameters_that_exist() -> None:
    configured = tomllib.loads((ROOT / "samconfig.toml").read_text())
    for name in ("development", "production"):
        parameters = configured[name]["deploy"]["parameters"]
        values = dict(each.split("=", 1) for each in parameters["parameter_overrides"])
        assert values["Environment"] == name
        assert set(values) <= set(PARAMETERS)
        assert all(value in map(str, PARAMETERS[each].get("AllowedValues", [value])) for each, value in values.items())
        assert SHIP["env"]["STACK"] == "sessions-${{ inputs.environment }}"
        assert parameters["stack_name"] == parameters["s3_prefix"] == f"sessions-{name}"
        # SAM keeps the value of a parameter that is not named, and a rollback leaves another one behind.
        assert values["Rollout"] == "guarded"
        assert parameters["capabilities"] == "CAPABILITY_IAM"


def test_production_is_checked_by_the_hook_and_protected() -> None:
    configured = tomllib.loads((ROOT / "samconfig.toml").read_text())
    values = configured["production"]["deploy"]["parameters"]["parameter_overrides"]
    assert {"PreTrafficHook=yes", "DeletionProtection=yes", "SnapStart=yes"} <= set(values)


def test_sam_local_reaches_the_host_with_the_values_of_the_events_folder() -> None:
    configured = tomllib.loads((ROOT / "samconfig.toml").read_text())["default"]
    for command in ("local_invoke", "local_start_api"):
        parameters = configured[command]["parameters"]
        assert parameters["env_vars"] == "events/env.json"
        assert parameters["add_host"] == "host.docker.internal:host-gateway"
    declared = stack().of_type("AWS::Lambda::Function")
    for name, variables in json.loads((ROOT / "events" / "env.json").read_text()).items():
        assert variables["AWS_ENDPOINT_URL_DYNAMODB"] == "http://host.docker.internal:8001"
        # SAM passes on only what the template declares.
        known = set(declared[name]["Environment"]["Variables"]) | {"AWS_ENDPOINT_URL_DYNAMODB"}
        assert set(variables) <= known


@pytest.mark.parametrize("ecosystem", ["github-actions", "pip"])
def test_new_versions_are_proposed_once_they_are_a_week_old(ecosystem: str) -> None:
    updates = yaml.safe_load((ROOT / ".github" / "dependabot.yml").read_text())["updates"]
    found = [each for each in updates if each["package-ecosystem"] == ecosystem]
    assert found
    assert all(each["cooldown"]["default-days"] >= 7 for each in found)
    assert all(list((ROOT / each["directory"].strip("/")).glob("*.txt")) for each in found if ecosystem == "pip")
