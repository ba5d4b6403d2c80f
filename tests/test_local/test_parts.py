"""The parts that need no cluster: configuration, the API's words, counts, addresses."""

import json
import random
from dataclasses import fields
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.actions import Action, Annotate, CloseConnections, LookAgain, MarkForDeletion, Select
from deployer.clusters.local import admin, codec
from deployer.clusters.local.config import Backoff, ConfigError, PodSpec, Startup, parse
from deployer.clusters.local.network import Network
from deployer.clusters.local.nodes import least_loaded, named
from deployer.fleet import Count, Decision, Deployment, Fleet, Kind, Limits, Pod, PodState, Request, Verdict

NUMBERS = st.floats(allow_nan=False)
MADE_BY_HAND = {
    MarkForDeletion: st.builds(MarkForDeletion, st.dictionaries(st.text(), st.integers()), st.text()),
    CloseConnections: st.builds(CloseConnections, st.from_type(tuple[str, ...]), NUMBERS, st.text()),
    LookAgain: st.builds(LookAgain, NUMBERS, st.text()),
}
ACTIONS = st.one_of(*(MADE_BY_HAND.get(kind, st.from_type(kind)) for kind in get_args(Action)))


@given(ACTIONS)
def test_every_action_survives_the_wire(action):
    wire = json.loads(json.dumps(codec.action_to_json(action)))
    assert codec.action_from_json(wire) == action


def test_actions_of_like_fields_are_told_apart():
    assert codec.action_from_json(codec.action_to_json(Select("aaaaaa"))) == Select("aaaaaa")
    assert codec.action_from_json(codec.action_to_json(MarkForDeletion({"a": -1}))) == MarkForDeletion(
        {"a": -1}
    )
    assert codec.action_from_json(codec.action_to_json(Annotate("d", "k", None))) == Annotate("d", "k", None)


def test_what_is_no_action_is_refused():
    with pytest.raises(ValueError, match="'Explode' is no action"):
        codec.action_from_json({"kind": "Explode"})


def test_a_full_fleet_survives_the_wire():
    fleet = Fleet(
        app="chat",
        limits=Limits(4, 3, None),
        requests=(Request(0, "1e5000", Kind.INITIAL, 1.5), Request(1, "012345", Kind.ROLLBACK, 2.5)),
        deployments={"d": Deployment("d", "1e5000", 4, 4, 4, 3, 3, 1.0, 2.0, "slot-1", {"k": "1e5"})},
        pods=(Pod("p", "d", "1e5000", PodState.UNREADY, 1.0, None, 3.0, 2, "node-1", -5, Count(3, 1)),),
        selected="1e5000",
        selected_slot="slot-1",
        selected_since_s=9.0,
        verdicts=(Verdict("012345", "e", Decision.KEEP, "open", {"open": 3, "share": 0.5, "no": None}),),
    )
    assert {f.name for f in fields(Fleet)} == set(codec.fleet_to_json(fleet))
    assert codec.fleet_from_json(codec.fleet_to_json(fleet)) == fleet


def test_a_configuration_survives_its_file(lab):
    config = lab.config_for(Path("/tmp/run"), pod=PodSpec(("a", "{pod}"), {"K": "V"}, {"bbbbbb": ("--bad",)}))
    assert parse(config.to_json()) == config


@pytest.mark.parametrize(
    ("was", "becomes", "says"),
    [
        (b'"nodes": 3', b'"nodes": 0', "nodes=0 must be at least 1"),
        (b'"nodes": 3', b'"nodez": 3', "nodez: Unexpected keyword argument"),
        (b'"sync_period_s": 0.0', b'"sync_period_s": -1', "sync_period_s=-1.0 must be at least 0"),
        (b'"front_port": 0', b'"front_port": 70000', "front_port=70000 must be between 0 and 65535"),
        (b'"admin_port": 19090', b'"admin_port": 15280', "gateway_port and admin_port are both 15280"),
        (b'"sigma": 0.0', b'"sigma": -1', "startup sigma=-1.0 must be at least 0"),
    ],
)
def test_a_bad_value_is_named_with_its_bound(lab, was, becomes, says):
    text = lab.config_for(Path("/tmp/run")).to_json()
    assert was in text
    with pytest.raises(ConfigError, match=says):
        parse(text.replace(was, becomes))


def test_placeholders_are_filled_and_other_braces_left():
    spec = PodSpec(
        ("serve", "--name={pod}", '{"a": {release}}', "{address}:{gateway_port}", "{grace_s}"),
        {"RELEASE": "{release}"},
        {"1e5000": ("--bad", "{admin_port}")},
    )
    assert spec.argv("p", "1e5000", "127.1.2.3", 30.0) == [
        "serve",
        "--name=p",
        '{"a": 1e5000}',
        "127.1.2.3:5280",
        "30",
        "--bad",
        "9090",
    ]
    assert spec.argv("p", "aaaaaa", "127.1.2.3", 0.5)[-1] == "0.5"
    assert spec.environment("p", "1e5000", "127.1.2.3", 30.0)["RELEASE"] == "1e5000"


def test_startup_draws_are_lognormal_and_fixed_without_a_sigma():
    rng = random.Random("1/startup")
    assert {Startup(2.0).draw(rng) for _ in range(5)} == {2.0}
    draws = sorted(Startup(2.0, 0.5).draw(rng) for _ in range(4001))
    assert draws[2000] == pytest.approx(2.0, rel=0.05)
    assert draws[int(4001 * 0.8413)] == pytest.approx(2.0 * 2.71828**0.5, rel=0.08)


def test_restarts_back_off_as_the_kubelet_does():
    assert [Backoff().delay_s(deaths) for deaths in (1, 2, 3, 4, 7, 8, 99)] == [
        0.6,
        10,
        20,
        40,
        300,
        300,
        300,
    ]


@pytest.mark.parametrize(
    ("metrics", "count"),
    [
        (b"chat_open_connections 3\nchat_silent_connections 1\n", Count(3, 1)),
        (
            b"# TYPE chat_open_connections gauge\nchat_open_connections 3.0\nchat_silent_connections 0.0\n",
            Count(3),
        ),
        (b"chat_open_connections 3\n", None),
        (b"chat_open_connections NaN\nchat_silent_connections 0\n", None),
        (b"chat_open_connections -1\nchat_silent_connections 0\n", None),
        (b"chat_open_connections 1.5\nchat_silent_connections 0\n", None),
        (b"<html>", None),
        (b"\xff\xfe", None),
        (b"", None),
    ],
)
def test_only_whole_counts_of_both_kinds_count(metrics, count):
    assert admin.count_of(metrics) == count


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reading_of_counts(metrics):
    assert admin.count_of(metrics) is None


def test_an_address_is_used_again_only_after_all_others():
    network = Network("127.9.9", ())
    taken = [network.take() for _ in range(254)]
    assert len(set(taken)) == 254
    assert network.take() is None
    network.give_back(taken[7])
    network.give_back(taken[3])
    assert [network.take(), network.take(), network.take()] == [taken[7], taken[3], None]


def test_pods_spread_over_the_nodes_and_avoid_lost_ones():
    nodes = named(3)
    for _ in range(7):
        least_loaded(nodes).pods += 1
    assert [node.pods for node in nodes] == [3, 2, 2]
    nodes[1].lost = nodes[2].lost = True
    assert least_loaded(nodes) is nodes[0]
