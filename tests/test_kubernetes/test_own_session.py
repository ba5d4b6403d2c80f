"""Deploys of one's own service against an API server in memory that goes, hangs, refuses and is changed by others."""

import threading
import time

import pytest

from deployer.actions import DeleteDeployment
from deployer.clusters import ClusterUnreachable
from deployer.clusters.controlplane.objects import RejectedError
from deployer.clusters.kubernetes import Variant
from deployer.clusters.kubernetes import view as view_module
from deployer.clusters.kubernetes.app import HASH_LABEL, Counting
from deployer.fleet import RELEASE_LABEL, Kind, Outcome
from deployer.journal import MemoryJournal
from deployer.own import session as session_module
from deployer.own.opening import Where, deploy_to, open_service
from deployer.own.settings import OwnError
from deployer.requests import returns_to
from deployer.strategies import StrategyError
from tests.test_kubernetes.own import COUNT, deploy, deploying, stand_in
from tests.test_kubernetes.server import (
    DEPLOYMENTS,
    PODS,
    SERVICES,
    Server,
    deployment,
    eventually,
    service,
    with_service,
)


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(view_module, "BLIP_S", 0.2)
    found = with_service()
    stand_in(monkeypatch, found)
    return found


def selector(server):
    return server.get(SERVICES, "web")["spec"]["selector"]


class TestOutages:
    def test_a_deploy_says_once_that_the_cluster_is_away_and_once_that_it_is_back(self, server):
        deploy("aaaaaa")
        told = []

        def goes(method, path):
            if method == "POST" and path == DEPLOYMENTS:
                server.before = lambda *_: None
                server.goes("no route to host")
                threading.Timer(0.5, server.comes_back).start()

        server.before = goes
        assert deploy("bbbbbb", tell=told.append).outcome is Outcome.DONE
        assert len(told) == 2, told
        assert "no route to host; trying again until it answers" in told[0]
        assert told[1].startswith("the cluster answers again, after ")

    def test_a_loop_ends_at_once_while_the_cluster_is_away(self, server, monkeypatch):
        monkeypatch.setattr(session_module, "FIRST_BACKOFF_S", 30.0)
        deploy("aaaaaa")
        told, stop = [], threading.Event()
        with open_service(Where("web")) as session:
            loop = threading.Thread(target=session.operate, args=(MemoryJournal(), stop, told.append))
            loop.start()
            eventually(lambda: "running the loop" in told)
            server.goes()
            eventually(lambda: len(told) == 2)
            began_s = time.monotonic()
            stop.set()
            loop.join(10.0)
            assert not loop.is_alive()
            assert time.monotonic() - began_s < 1.0

    def test_writes_that_do_not_arrive_are_said_though_reads_are_answered(self, server):
        deploy("aaaaaa")
        told, tries = [], []

        def webhook(method, path):
            if method == "POST" and path == DEPLOYMENTS:
                tries.append(path)
                if len(tries) == 1:
                    raise ClusterUnreachable("failed calling webhook")

        server.before = webhook
        assert deploy("bbbbbb", tell=told.append).outcome is Outcome.DONE
        assert "failed calling webhook; trying again until it answers" in told[0]
        assert told[1].startswith("the cluster answers again")


class TestOthers:
    def test_two_first_deploys_at_once_adopt_once_and_lose_no_request(self, server):
        """The second adoption would have written over the requests of the first."""
        rest = []

        def other(method, path):
            if method == "PATCH" and path == f"{SERVICES}/web":
                server.before = lambda *_: None
                with deploying() as session:
                    rest.append(session.request("bbbbbb", Kind.DEPLOY, Variant(image="reg/web:b")))

        server.before = other
        assert deploy("cccccc").outcome is Outcome.DONE
        with open_service(Where("web")) as session:
            requests = session.cluster.observe().requests
        assert [(r.deploy, r.kind) for r in requests] == [(0, "initial"), (1, "deploy"), (2, "deploy")]
        assert [r.release for r in requests[1:]] == [rest[0].release, "cccccc"]

    def test_a_template_changed_during_the_adoption_is_not_paused_half_rolled(self, server):
        def other(method, path):
            if method == "PATCH" and path == f"{DEPLOYMENTS}/web":
                server.before = lambda *_: None
                server.add(
                    DEPLOYMENTS,
                    {**server.get(DEPLOYMENTS, "web"), "spec": deployment(image="reg/web:v2")["spec"]},
                )

        server.before = other
        with deploying():
            pass
        hashes = {p["metadata"]["labels"][HASH_LABEL] for p in server.objects[PODS].values()}
        assert {selector(server)[HASH_LABEL]} == hashes

    def test_a_pod_that_was_evicted_long_ago_is_no_roll_out(self, server):
        old = {**server.get(PODS, next(iter(server.objects[PODS]))), "status": {"phase": "Failed"}}
        labels = {**old["metadata"]["labels"], HASH_LABEL: "old"}
        owner = [{**old["metadata"]["ownerReferences"][0], "name": "web-old"}]
        server.add(
            PODS, {**old, "metadata": {"name": "web-old-1", "labels": labels, "ownerReferences": owner}}
        )
        assert deploy("aaaaaa").outcome is Outcome.DONE

    def test_what_someone_selects_by_hand_is_not_deleted_though_the_watch_has_not_told(self, server):
        """The release is drained, and the Service is pointed back at it a moment before it is to go."""
        deploy("aaaaaa")
        deploy("bbbbbb")
        with open_service(Where("web")) as session:
            session.cluster.observe()
            events, server.events = server.events, []  # the watches hear nothing from now on
            found = server.get(SERVICES, "web")
            back = {**found["spec"]["selector"], RELEASE_LABEL: "aaaaaa"}
            server.add(SERVICES, {**found, "spec": {**found["spec"], "selector": back}})
            server.events = [*events]
            with pytest.raises(ClusterUnreachable, match="Service web selects it by now"):
                session.cluster.act(DeleteDeployment("web-aaaaaa"))
            assert session.cluster.observe().selected == "aaaaaa"
        assert "web-aaaaaa" in server.objects[DEPLOYMENTS]

    def test_what_is_asked_for_again_is_not_deleted_either(self, server):
        deploy("aaaaaa")
        deploy("bbbbbb")
        with open_service(Where("web")) as session, open_service(Where("web")) as other:
            session.cluster.observe()
            other.request("aaaaaa", Kind.ROLLBACK, None)
            with pytest.raises(ClusterUnreachable, match="release aaaaaa is wanted by now"):
                session.cluster.act(DeleteDeployment("web-aaaaaa"))
        assert "web-aaaaaa" in server.objects[DEPLOYMENTS]

    def test_a_release_that_someone_deselected_is_selected_again_and_not_called_done(self, server):
        deploy("aaaaaa")
        found = server.get(SERVICES, "web")
        server.add(
            SERVICES, {**found, "spec": {**found["spec"], "selector": {"app": "web"}}}
        )  # kubectl replace
        assert deploy("aaaaaa").outcome is Outcome.DONE
        assert selector(server)[RELEASE_LABEL] == "aaaaaa"

    def test_a_second_service_does_not_take_the_deployment_from_the_first(self, server):
        deploy("aaaaaa")
        server.add(SERVICES, {**service(), "metadata": {"name": "internal"}})
        with pytest.raises(OwnError, match="Deployment web is behind Service web too"):
            deploy_to(Where("internal"), "web", COUNT, None, {})
        assert server.get(DEPLOYMENTS, "web")["metadata"]["labels"]["drainbow.dev/service"] == "web"


class TestRefusals:
    def test_another_deployment_than_the_adopted_one_is_not_passed_over_in_silence(self, server):
        deploy("aaaaaa")
        before = len(server.writes)
        with pytest.raises(OwnError, match=r"--deployment other: .* adopted with Deployment web"):
            deploy_to(Where("web"), "other", None, None, {})
        assert len(server.writes) == before
        deploy_to(Where("web"), "web", None, None, {}).cluster.close()

    def test_an_old_release_that_may_not_be_deleted_refuses_no_new_one(self, server):
        deploy("aaaaaa")
        deploy("bbbbbb")
        told = []

        def forbidden(method, path):
            if method == "DELETE":
                raise RejectedError("cluster memory: may not delete")

        server.before = forbidden
        with open_service(Where("web")) as session:
            session.tell = told.append
            for later_s in (0.0, 2.1, 4.2):
                session.look(MemoryJournal(), time.time() + later_s)
        assert told == ["DeleteDeployment: cluster memory: may not delete"]  # once, and not at each look
        assert deploy("cccccc").outcome is Outcome.DONE

    def test_a_release_that_may_not_be_made_is_refused_with_the_servers_words(self, server):
        deploy("aaaaaa")

        def forbidden(method, path):
            if method == "POST" and path == DEPLOYMENTS:
                raise RejectedError("cluster memory: image not signed")

        server.before = forbidden
        ended = deploy("bbbbbb")
        assert (ended.outcome, ended.reason) == (Outcome.REFUSED, "cluster memory: image not signed")
        assert selector(server)[RELEASE_LABEL] == "aaaaaa"


def test_a_rollback_takes_back_a_deploy_that_has_not_switched_yet(server):
    """And does not go on to the release before the one that serves."""
    deploy("aaaaaa")
    deploy("bbbbbb")
    server.starting.add("reg/web:cccccc")
    with deploying() as session:
        session.request("cccccc", Kind.DEPLOY, Variant(image="reg/web:cccccc"))
        session.look(MemoryJournal(), time.time())
        fleet = session.cluster.observe()
        assert (fleet.selected, fleet.wanted) == ("bbbbbb", "cccccc")
        assert returns_to(fleet) == "bbbbbb"
        request = session.request("bbbbbb", Kind.ROLLBACK, None)
        session.see_through(request.deploy, MemoryJournal(), lambda line: None)
        fleet = session.cluster.observe()
        assert (fleet.selected, fleet.wanted) == ("bbbbbb", "bbbbbb")
        assert returns_to(fleet) == "aaaaaa"


class TestCounting:
    def test_of_several_ports_those_with_users_must_be_named(self, monkeypatch):
        """Who is on one that is not looked at would not count, and be cut off with the release."""
        server = with_service(
            {"name": "ws", "port": 80, "targetPort": "http"}, {"name": "metrics", "port": 9090}
        )
        stand_in(monkeypatch, server)
        with pytest.raises(
            OwnError, match=r"the ports 8080,9090 of its pods; .* --count tcp:8080,9090 for all"
        ):
            deploy("aaaaaa", count=None)
        assert server.writes == []
        with deploying("tcp:8080,9090") as session:
            assert session.settings.counting == Counting("tcp", port=8080, more_ports=(9090,))

    @pytest.mark.parametrize(
        ("ports", "counts"),
        [
            (({"port": 80, "targetPort": "http"}, {"port": 443, "targetPort": 8080}), 8080),
            (({"port": 53, "protocol": "UDP"}, {"port": 80}), 80),
        ],
    )
    def test_one_port_of_the_pods_is_found_by_itself(self, monkeypatch, ports, counts):
        server = with_service(*ports)
        stand_in(monkeypatch, server)
        with deploying(None) as session:
            assert session.settings.counting == Counting("tcp", port=counts)

    def test_a_headless_service_without_ports_says_what_it_lacks(self, monkeypatch):
        server = Server()
        server.add(DEPLOYMENTS, deployment())
        bare = service()
        server.add(SERVICES, {**bare, "spec": {"selector": bare["spec"]["selector"], "clusterIP": "None"}})
        stand_in(monkeypatch, server)
        with pytest.raises(OwnError, match="--count tcp:PORT"):
            deploy("aaaaaa", count=None)
        assert deploy("aaaaaa").outcome is Outcome.DONE

    def test_a_port_that_no_container_bears_is_not_guessed(self, monkeypatch):
        stand_in(monkeypatch, with_service({"port": 80, "targetPort": "web"}))
        with pytest.raises(OwnError, match="the port 'web', and no container has one of that name"):
            deploy("aaaaaa", count=None)

    def test_tcp_after_another_way_to_count_means_the_services_port(self, server):
        deploy("aaaaaa", count="metric:open:9090")
        with deploying("tcp") as session:
            assert session.settings.counting == Counting("tcp", port=8080)


class TestManifest:
    def test_the_manifests_own_times_count_where_nothing_was_set(self, monkeypatch):
        server = with_service(minReadySeconds=5, progressDeadlineSeconds=1800)
        stand_in(monkeypatch, server)
        with deploying() as session:
            assert (session.strategy.min_ready_s, session.strategy.progress_deadline_s) == (5.0, 1800.0)
        with deploying(strategy_settings={"min_ready": 1.0, "progress_deadline_s": 60.0}) as session:
            assert (session.strategy.min_ready_s, session.strategy.progress_deadline_s) == (1.0, 60.0)

    def test_a_deadline_below_them_is_refused_before_anything_is_changed(self, monkeypatch):
        server = with_service(minReadySeconds=5, progressDeadlineSeconds=1800)
        stand_in(monkeypatch, server)
        with pytest.raises(StrategyError, match=r"progress_deadline=3 s must be above min_ready=5 s"):
            deploy("aaaaaa", strategy_settings={"progress_deadline": 3.0})
        assert server.writes == []

    def test_a_release_serves_no_sooner_than_its_pods_have_been_ready_for_long_enough(self, monkeypatch):
        server = with_service(minReadySeconds=3600)
        stand_in(monkeypatch, server)
        with deploying(strategy_settings={"progress_deadline": 7200.0}) as session:
            session.request("aaaaaa", Kind.DEPLOY, Variant(image="reg/web:a"))
            ready_s = 1_767_225_601.0
            look = lambda: session.look(MemoryJournal(), ready_s + 3599.0).look_again_s  # noqa: E731
            eventually(lambda: look() == ready_s + 3600.0)
            assert RELEASE_LABEL not in selector(server)
            session.look(MemoryJournal(), ready_s + 3600.0)
            assert selector(server)[RELEASE_LABEL] == "aaaaaa"


class TestAutoscalers:
    def test_two_who_decide_on_the_size_are_refused(self, server):
        with pytest.raises(OwnError, match=r"--replicas 5: under --hpa follow .* say --hpa ignore"):
            deploy("aaaaaa", replicas=5, hpa="follow")
        assert server.writes == []
        deploy("aaaaaa", replicas=3)
        with deploying(hpa="follow") as session:  # the newest word counts
            assert session.settings.replicas is None
        with deploying() as session:
            assert (session.settings.replicas, session.settings.hpa) == (None, "follow")

    @pytest.mark.parametrize("method", ["GET", "PATCH"])
    def test_a_right_to_autoscalers_that_is_lacking_is_told_once_and_holds_up_no_release(
        self, server, method
    ):
        server.add(
            "/apis/autoscaling/v2/namespaces/ns/horizontalpodautoscalers",
            {"metadata": {"name": "web"}, "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "web"}}},
        )
        with deploying(hpa="follow") as session:
            told = []
            request = session.request("aaaaaa", Kind.DEPLOY, Variant(image="reg/web:a"))

            def denied(asked, path):
                if asked == method and "horizontalpodautoscalers" in path:
                    raise RejectedError('User "ci" cannot do that to horizontalpodautoscalers')

            server.before = denied
            assert session.see_through(request.deploy, MemoryJournal(), told.append).outcome is Outcome.DONE
            session.look(MemoryJournal(), time.time())
        assert len([line for line in told if "horizontalpodautoscalers" in line]) == 1


def test_a_loop_that_runs_for_years_remembers_no_pod_that_is_gone(server):
    for release in ("aaaaaa", "bbbbbb"):
        deploy(release)
    with open_service(Where("web")) as session:
        session.look(MemoryJournal(), time.time())
        session.look(MemoryJournal(), time.time() + 2.1)
        eventually(lambda: len(session.cluster.pods()) == 2)
        session.look(MemoryJournal(), time.time() + 2.2)
        assert len(session.cluster.pod_log.rows()) == 2


def test_a_command_gives_up_where_only_the_lease_is_answered(server, monkeypatch):
    """What answers must be the cluster and not a part of it, or the command would wait for ever."""
    deploy("aaaaaa")
    monkeypatch.setattr(session_module, "UNREACHABLE_S", 0.5)
    told = []
    with deploying() as session:
        request = session.request("bbbbbb", Kind.DEPLOY, Variant(image="reg/web:b"))

        def overloaded(method, path):
            if "leases" not in path:
                raise ClusterUnreachable("etcd has no leader")

        server.before = overloaded
        with pytest.raises(ClusterUnreachable, match="etcd has no leader"):
            session.see_through(request.deploy, MemoryJournal(), told.append)
    assert len(told) == 1
