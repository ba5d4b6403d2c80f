"""Why pods were ended, told from the deployer's actions."""

from scenarios.worlds.reasons import with_reasons


def pod(ended_s, deployment="chat", release="aaaaaa"):
    return {"pod": "p", "deployment": deployment, "release": release, "t_terminating_s": ended_s}


def line(t_s, action, **fields):
    return {"t_s": t_s, "action": action, "fields": fields}


ACTIONS = [
    line(10.0, "Scale", deployment="chat-a", replicas=1),
    line(20.0, "SetRelease", deployment="chat", release="bbbbbb"),
    line(25.0, "Select", release="cccccc"),
    line(30.0, "DeleteDeployment", deployment="chat-a"),
]


def why(row):
    return with_reasons([row], ACTIONS)[0]["why"]


def test_the_last_action_on_the_deployment_before_the_end_is_the_reason():
    assert why(pod(12.0, "chat-a")) == "scale-down"
    assert why(pod(31.0, "chat-a")) == "deployment deleted"
    assert why(pod(22.0)) == "rollout to bbbbbb"


def test_an_end_that_no_action_explains_has_no_reason():
    assert why(pod(5.0, "chat-a")) == ""
    assert why(pod(40.0, "other")) == ""
    assert why(pod(22.0, release="bbbbbb")) == ""


def test_a_pod_that_was_not_ended_has_no_reason():
    assert why(pod(None, "chat-a")) == ""


def test_a_pod_that_ended_while_the_action_was_still_written_down_has_its_reason():
    assert why(pod(29.8, "chat-a")) == "deployment deleted"
