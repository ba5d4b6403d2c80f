"""From actions to what is sent to the API."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.actions import CreateDeployment
from deployer.clusters.controlplane.api import Shape
from deployer.clusters.controlplane.objects import RejectedError, UpdateStrategy, UpdateType
from deployer.clusters.kubernetes import writing
from deployer.clusters.kubernetes.app import SELECTED_SINCE, VARIANTS, App, Variant
from deployer.fleet import RELEASE_LABEL, SLOT_LABEL, Limits

TEMPLATE = {
    "metadata": {
        "name": "server",
        "uid": "u1",
        "resourceVersion": "7",
        "labels": {"app": "chat", "app.kubernetes.io/instance": "argo", "team": "x"},
        "annotations": {
            "kubectl.kubernetes.io/last-applied-configuration": "{}",
            "deployment.kubernetes.io/revision": "3",
            "meta.helm.sh/release-name": "chat",
            "drainbow.dev/adopted": "f00f00",
            "owner": "me",
        },
    },
    "spec": {
        "replicas": 3,
        "revisionHistoryLimit": 4,
        "selector": {
            "matchLabels": {"app": "chat"},
            "matchExpressions": [{"key": "app", "operator": "Exists"}],
        },
        "template": {
            "metadata": {"labels": {"app": "chat", "tier": "edge"}, "annotations": {"scrape": "yes"}},
            "spec": {
                "terminationGracePeriodSeconds": 90,
                "volumes": [{"name": "v", "emptyDir": {}}],
                "containers": [
                    {"name": "chat", "image": "chat:1", "env": [{"name": "A", "value": "1"}]},
                    {"name": "side", "image": "side:1"},
                ],
            },
        },
    },
    "status": {"replicas": 3},
}
APP = App("chat", "ns", "chat", {"app": "chat"}, TEMPLATE, Limits(2))


def made(app=APP, variant=None, **given):
    action = CreateDeployment("chat-012345", "012345", 2, **given)
    return writing.manifest_of(app, action, variant or Variant())


def test_all_of_the_template_is_kept_and_nothing_of_its_owners():
    before = copy.deepcopy(TEMPLATE)
    found = made()
    assert before == TEMPLATE
    assert found["spec"]["template"]["spec"] == TEMPLATE["spec"]["template"]["spec"]
    assert found["spec"]["template"]["metadata"]["annotations"] == {"scrape": "yes"}
    assert found["spec"]["revisionHistoryLimit"] == 4
    assert found["metadata"]["annotations"] == {"owner": "me"}
    assert found["metadata"]["labels"] == {
        "app": "chat",
        "team": "x",
        RELEASE_LABEL: "012345",
        "app.kubernetes.io/managed-by": "drainbow",
        "drainbow.dev/service": "chat",
    }
    assert "status" not in found
    assert "uid" not in found["metadata"]


def test_match_labels_hold_the_app_and_the_deployments_own_identity():
    match = made()["spec"]["selector"]
    assert match["matchLabels"] == {"app": "chat", RELEASE_LABEL: "012345"}
    assert match["matchExpressions"] == TEMPLATE["spec"]["selector"]["matchExpressions"]
    slot = made(own_release=False, slot="slot-1")
    assert slot["spec"]["selector"]["matchLabels"] == {"app": "chat", SLOT_LABEL: "slot-1"}
    assert made(own_release=False)["spec"]["selector"]["matchLabels"] == {"app": "chat"}


@given(own=st.booleans(), slot=st.none() | st.sampled_from(["slot-0", "slot-1"]))
def test_every_pod_has_its_release_and_whatever_its_deployment_matches(own, slot):
    found = made(own_release=own, slot=slot)
    labels = found["spec"]["template"]["metadata"]["labels"]
    assert labels[RELEASE_LABEL] == "012345"
    assert labels["tier"] == "edge"
    assert found["spec"]["selector"]["matchLabels"].items() <= labels.items()


def test_a_variant_changes_one_container():
    variant = Variant("chat:2", "chat", ("--fast",), {"A": "2", "B": "3"})
    chat, side = made(variant=variant)["spec"]["template"]["spec"]["containers"]
    assert (chat["image"], chat["args"]) == ("chat:2", ["--fast"])
    assert {e["name"]: e["value"] for e in chat["env"]} == {"A": "2", "B": "3"}
    assert side == {"name": "side", "image": "side:1"}
    with pytest.raises(RejectedError, match="no container 'other'; it has chat, side"):
        made(variant=Variant("chat:2", "other"))


def test_a_shape_overrides_roll_out_and_grace_in_whole_seconds():
    shape = Shape(UpdateStrategy(UpdateType.ROLLING, 1, "25%"), 0.5, 2.5, 3.0)
    spec = made(App("chat", "ns", "chat", {"app": "chat"}, TEMPLATE, Limits(2), shape=shape))["spec"]
    assert spec["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": 1, "maxUnavailable": "25%"},
    }
    assert spec["template"]["spec"]["terminationGracePeriodSeconds"] == 1
    assert (spec["minReadySeconds"], spec["progressDeadlineSeconds"]) == (3, 4)


def test_another_release_of_one_deployment_starts_from_the_template_not_from_what_runs():
    running = copy.deepcopy(TEMPLATE)
    running["spec"]["template"]["spec"]["containers"][0]["args"] = ["--bad"]
    patch = writing.template_patch(APP, running, "bbbbbb", Variant(image="chat:9"))
    chat = patch["spec"]["template"]["spec"]["containers"][0]
    assert chat["image"] == "chat:9"
    assert "args" not in chat
    assert patch["spec"]["template"]["metadata"]["labels"] == {RELEASE_LABEL: "bbbbbb"}
    running["spec"]["selector"]["matchLabels"][RELEASE_LABEL] = "aaaaaa"
    with pytest.raises(RejectedError, match="selects release aaaaaa for good"):
        writing.template_patch(APP, running, "bbbbbb", Variant())


def test_select_writes_selector_and_moment_in_one_patch_and_removes_what_it_no_longer_selects():
    service = {"metadata": {}, "spec": {"selector": {"app": "chat", "pod-template-hash": "h"}}}
    wanted = {"app": "chat", RELEASE_LABEL: "aaaaaa"}
    patch = writing.selector_patch(service, wanted, 5.0)
    assert patch == {
        "metadata": {"annotations": {SELECTED_SINCE: "5.0"}},
        "spec": {"selector": {"app": "chat", "pod-template-hash": None, RELEASE_LABEL: "aaaaaa"}},
    }
    assert writing.selector_patch({"metadata": {}, "spec": {"selector": wanted}}, wanted, 5.0) is None


def test_variants_survive_the_annotation_and_those_of_nobody_do_not():
    variants = {"aaaaaa": Variant("chat:1", args=("x",), env={"A": "1"}), "bbbbbb": Variant("chat:2")}
    text = writing.variants_text(variants, {"aaaaaa"})
    service = {"metadata": {"annotations": {VARIANTS: text}}}
    assert writing.variants_of(service) == {"aaaaaa": variants["aaaaaa"]}
    assert writing.variants_of({"metadata": {}}) == {}
