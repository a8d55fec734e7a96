"""The pipelines: nothing unpinned, no standing rights, no secret that lives long."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.template.stack import PARAMETERS, ROOT

FOLDER = ROOT / ".github" / "workflows"
WORKFLOWS = sorted(FOLDER.glob("*.yml"))
PINNED = re.compile(r"uses: (?:\./\.github/workflows/\w+\.yml|[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+)")


def jobs(path: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.safe_load(path.read_text())["jobs"]
    return found


def commands(job: dict[str, Any]) -> str:
    return "\n".join(step["run"] for step in job.get("steps", []) if "run" in step)


def test_there_is_one_pipeline_for_changes_and_one_for_releases() -> None:
    assert [path.name for path in WORKFLOWS] == ["check.yml", "deploy.yml"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_an_action_is_pinned_by_its_commit_with_the_version_beside_it(path: Path) -> None:
    lines = [line.strip().removeprefix("- ") for line in path.read_text().splitlines() if "uses:" in line]
    assert lines
    assert [line for line in lines if not PINNED.fullmatch(line)] == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_tool_is_installed_in_one_version(path: Path) -> None:
    for tool in re.findall(r"(?:pipx install|--spec) (\S+)", path.read_text()):
        assert re.fullmatch(r"[\w-]+==\d+\.\d+\.\d+", tool)


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
    assert "checkov" in commands(check["scan"])
    assert "pip-audit" in commands(check["scan"])
    assert "make build" in commands(check["build"])


def test_a_release_is_checked_then_seen_in_development_before_production() -> None:
    deploy = jobs(FOLDER / "deploy.yml")
    assert list(deploy) == ["check", "development", "production"]
    assert deploy["check"]["uses"] == "./.github/workflows/check.yml"
    assert deploy["development"]["needs"] == "check"
    assert deploy["production"]["needs"] == "development"
    for name in ("development", "production"):
        assert deploy[name]["environment"] == deploy[name]["env"]["CONFIG"] == name
        assert commands(deploy[name]).index("sam deploy") < commands(deploy[name]).index("sessions smoke")


def test_both_environments_are_configured_with_parameters_that_exist() -> None:
    configured = tomllib.loads((ROOT / "samconfig.toml").read_text())
    deploy = jobs(FOLDER / "deploy.yml")
    for name in ("development", "production"):
        parameters = configured[name]["deploy"]["parameters"]
        values = dict(each.split("=", 1) for each in parameters["parameter_overrides"])
        assert values["Environment"] == name
        assert set(values) <= set(PARAMETERS)
        assert all(value in map(str, PARAMETERS[each].get("AllowedValues", [value])) for each, value in values.items())
        assert parameters["stack_name"] == deploy[name]["env"]["STACK"]
        assert parameters["capabilities"] == "CAPABILITY_IAM"
