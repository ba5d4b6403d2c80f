"""The files in deploy/ that people copy: what they call is there."""

import re
from pathlib import Path

import pytest
import typer.main
import yaml

from scenarios.cli import app

DEPLOY = Path(__file__).parents[2] / "deploy"


def options_of(command):
    found = typer.main.get_command(app).commands[command]
    return {option for parameter in found.params for option in parameter.opts}


def texts_of(value):
    """All texts in a YAML document."""
    if isinstance(value, str):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from texts_of(inner)


@pytest.mark.parametrize(
    ("name", "commands"),
    [
        ("gitlab.yml", {"deploy", "rollback", "status", "sweep"}),
        ("github.yml", {"deploy", "rollback", "sweep"}),
    ],
)
def test_pipelines_call_commands_with_options_that_there_are(name, commands):
    document = yaml.safe_load((DEPLOY / "ci" / name).read_text())
    calls = [text.split() for text in texts_of(document) if text.startswith("drainbow ")]
    assert {words[1] for words in calls} == commands
    for _, command, *words in calls:
        used = set(re.findall(r"--[a-z][a-z-]*", " ".join(words)))
        assert "--service" in used
        assert used <= options_of(command)


@pytest.mark.parametrize("name", ["operate.yaml", "sweep-cronjob.yaml"])
def test_manifests_start_commands_that_there_are_under_the_account_that_has_the_role(name):
    (manifest,) = yaml.safe_load_all((DEPLOY / name).read_text())
    spec = manifest["spec"].get("jobTemplate", manifest)["spec"]["template"]["spec"]
    command, *words = spec["containers"][0]["args"]
    assert {word for word in words if word.startswith("-")} <= options_of(command)
    accounts = [
        each["metadata"]["name"]
        for each in yaml.safe_load_all((DEPLOY / "rbac.yaml").read_text())
        if each["kind"] == "ServiceAccount"
    ]
    assert spec["serviceAccountName"] in accounts


def test_the_role_lets_each_request_through_that_pods_are_asked_and_told_by():
    # GET for counts, POST for hooks, DELETE for the hook taken back: the API server's verbs of the pod proxy
    (role,) = (
        each for each in yaml.safe_load_all((DEPLOY / "rbac.yaml").read_text()) if each["kind"] == "Role"
    )
    (verbs,) = (rule["verbs"] for rule in role["rules"] if "pods/proxy" in rule["resources"])
    assert set(verbs) == {"get", "create", "delete"}
