"""Manifests with a scenario's settings put in."""

from pathlib import Path

import pytest
import yaml

from deployer.clusters.kubernetes.app import MANAGED_BY, OURS
from scenarios.spec import spec_of
from scenarios.worlds import objects

FILES = sorted(objects.MANIFESTS.glob("*.yaml"))
SERVER = {
    "login_cpu": "3ms",
    "backlog": 16,
    "handshake_timeout": "7s",
    "ping_interval": "45s",
    "linger": "500ms",
    "backend_logins_per_s": 50,
}
SPEC = spec_of(
    {
        "name": "x",
        "duration": "10s",
        "users": {"count": 1, "session": "forever"},
        "server": SERVER,
        "fleet": {"probe": {"period": "2s"}},
        "kubernetes": {"requests": {"cpu": "15m", "memory": "96Mi"}},
    }
)


def documents():
    return [document for path in FILES for document in yaml.safe_load_all(path.read_text())]


def deployments():
    return [d for d in documents() if d["kind"] == "Deployment"]


def workloads():
    """Whatever has pods: the service's Deployments, and the Jobs of a load within the cluster."""
    return [d for d in documents() if "template" in d.get("spec", {})]


def environment(deployment):
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    return {each["name"]: each.get("value") for each in container["env"]}


def test_everything_in_the_manifests_is_labelled_as_ours():
    made = [d["metadata"] for d in documents()] + [d["spec"]["template"]["metadata"] for d in workloads()]
    assert {metadata["labels"][MANAGED_BY] for metadata in made} == {OURS}


@pytest.mark.parametrize("workload", workloads(), ids=lambda d: d["metadata"]["name"])
def test_pods_keep_to_the_restricted_level_and_to_a_read_only_root(workload):
    pod = workload["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["runAsUser"] == 10001
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not pod["automountServiceAccountToken"]
    for container in pod["containers"]:
        own = container["securityContext"]
        assert own["readOnlyRootFilesystem"]
        assert not own["allowPrivilegeEscalation"]
        assert own["capabilities"] == {"drop": ["ALL"]}


def test_variables_are_ones_that_the_chat_server_has():
    options = (Path(objects.__file__).parents[2] / "chatserver" / "options.py").read_text()
    for deployment in deployments():
        for name in environment(deployment):
            assert f'"{name.removeprefix("CHAT_").lower().replace("_", "-")}"' in options


def test_the_gateway_gets_the_scenarios_settings():
    made = objects.gateway_of(SPEC, "chat:1", "hold", 90.0)
    pod = made["spec"]["template"]["spec"]
    container = pod["containers"][0]
    found = environment(made)
    assert container["image"] == "chat:1"
    assert pod["terminationGracePeriodSeconds"] == 90
    assert container["resources"]["requests"] == {"cpu": "15m", "memory": str(96 * 2**20)}
    assert container["readinessProbe"]["periodSeconds"] == 2
    assert (found["CHAT_ON_SIGTERM"], found["CHAT_BACKLOG"]) == ("hold", "16")
    assert float(found["CHAT_GRACE"].removesuffix("s")) == 90.0
    assert float(found["CHAT_LINGER"].removesuffix("s")) == 0.5
    assert float(found["CHAT_LOGIN_CPU"].removesuffix("ms")) == 3.0


def test_a_probe_period_below_what_kubernetes_has_becomes_a_second():
    quick = spec_of({**SPEC.data(), "fleet": {"probe": {"period": "200ms"}}})
    made = objects.gateway_of(quick, "chat", "close", 30.0)
    probe = made["spec"]["template"]["spec"]["containers"][0]["readinessProbe"]
    assert probe["periodSeconds"] == 1


@pytest.mark.parametrize("ours", [True, False])
def test_the_backend_is_on_the_control_plane_only_of_a_cluster_that_is_ours(ours):
    service, deployment = objects.backend_of(SPEC, "chat:1", on_control_plane=ours)
    pod = deployment["spec"]["template"]["spec"]
    assert ("nodeSelector" in pod) == ("tolerations" in pod) == ours
    assert float(environment(deployment)["CHAT_LOGINS_PER_S"]) == 50.0
    assert service["spec"]["selector"] == deployment["spec"]["selector"]["matchLabels"]


def test_a_service_that_selects_releases_selects_nothing_at_first():
    assert "selector" not in objects.front_of(None, 30080)["spec"]
    front = objects.front_of({"app": "chat"}, None)
    assert front["spec"]["selector"] == {"app": "chat"}
    assert "nodePort" not in front["spec"]["ports"][0]


def test_a_namespace_says_whose_run_it_is_of():
    made = objects.namespace_of("drainbow-x", "/runs/x", "here")
    assert made["metadata"]["name"] == "drainbow-x"
    assert made["metadata"]["annotations"] == {objects.RUN: "/runs/x", objects.HOST: "here"}
