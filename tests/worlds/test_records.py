"""What is written on the cluster is read back as it was, in every world."""

import pytest

from deployer.actions import Annotate, Block, CreateDeployment, Refuse, Scale, Select, SetRelease, Settle
from deployer.clusters.controlplane.objects import RejectedError
from deployer.fleet import PREFIX, Kind, Outcome
from tests.worlds.stage import APP, A, B, C


def test_requests_are_numbered_and_keep_their_outcomes(staged):
    stage = staged()
    numbers = [stage.request(release, kind) for release, kind in ((A, Kind.INITIAL), (B, Kind.DEPLOY))]
    numbers += [stage.request(C, Kind.DEPLOY), stage.request(A, Kind.ROLLBACK)]
    assert numbers == [0, 1, 2, 3]
    stage.act(Settle(0, Outcome.DONE, because="it serves"))
    stage.act(Settle(0, Outcome.FAILED, because="too late"))
    stage.act(Block(1, because="no room", drop=False))
    stage.act(Refuse(2, because="too many"))
    stage.act(Block(3, because="busy"))
    found = stage.observe().requests
    assert [(r.deploy, r.release, r.kind, r.outcome, r.reason) for r in found] == [
        (0, A, Kind.INITIAL, Outcome.DONE, "it serves"),
        (1, B, Kind.DEPLOY, None, "no room"),
        (2, C, Kind.DEPLOY, Outcome.REFUSED, "too many"),
        (3, A, Kind.ROLLBACK, Outcome.BLOCKED, "busy"),
    ]


def test_annotations_are_written_read_and_removed(staged):
    stage = staged()
    key = f"{PREFIX}quiet-since"
    stage.act(CreateDeployment(APP, A, 0, own_release=False))
    stage.act(Annotate(APP, key, "1.5"))
    stage.act(Annotate(APP, key, "1.5"))
    assert stage.observe().deployments[APP].annotations[key] == "1.5"
    stage.act(Annotate(APP, key, None))
    assert key not in stage.observe().deployments[APP].annotations


def test_nothing_happens_to_what_is_not_there(staged):
    stage = staged()
    stage.act(Scale("nobody", 3))
    stage.act(SetRelease("nobody", B))
    stage.act(Annotate("nobody", f"{PREFIX}x", "y"))
    assert stage.observe().deployments == {}


def test_a_deployment_that_is_there_is_not_made_again(staged):
    stage = staged(selects_release=True)
    for replicas in (0, 3):
        stage.act(CreateDeployment(f"{APP}-{A}", A, replicas))
    assert stage.observe().deployments[f"{APP}-{A}"].desired == 0


def test_a_deployment_that_selects_its_release_takes_no_other(staged):
    stage = staged(selects_release=True)
    stage.act(CreateDeployment(f"{APP}-{A}", A, 0))
    with pytest.raises(RejectedError, match="for good"):
        stage.act(SetRelease(f"{APP}-{A}", B))


def test_a_slot_is_selected_with_its_release(staged):
    stage = staged(selects_release=True)
    stage.act(CreateDeployment(f"{APP}-1", A, 0, own_release=False, slot="1"))
    stage.act(Select(A, "1"))
    fleet = stage.observe()
    assert (fleet.selected, fleet.selected_slot) == (A, "1")
    assert fleet.deployments[f"{APP}-1"].slot == "1"
    stage.act(SetRelease(f"{APP}-1", B))
    assert stage.observe().deployments[f"{APP}-1"].release == B


def test_a_size_below_zero_is_refused(staged):
    stage = staged()
    stage.act(CreateDeployment(APP, A, 0, own_release=False))
    with pytest.raises(RejectedError, match=">= 0"):
        stage.act(Scale(APP, -1))
