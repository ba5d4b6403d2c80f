"""No cluster to go to: a kubeconfig that is missing, broken or names nothing ends in one line and exit code 5."""

import pytest

from deployer.clusters.kubernetes import Api
from deployer.clusters.kubernetes.api import NoClusterError
from scenarios import cli
from scenarios.errors import Exit

NOTHING_IN_IT = "apiVersion: v1\nkind: Config\nclusters: []\ncontexts: []\nusers: []\n"
NO_SUCH_USER = (
    "apiVersion: v1\nkind: Config\ncurrent-context: here\n"
    "clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}]\n"
    "contexts: [{name: here, context: {cluster: gone, user: u}}]\nusers: []\n"
)
KUBECONFIGS = {
    "missing": None,
    "empty": b"",
    "of nothing": NOTHING_IN_IT.encode(),
    "with a context of nothing": NO_SUCH_USER.encode(),
    "not YAML": b"a: [1\nb: }",
    "a list": b"- 1\n- 2\n",
    "a text": b"hello\n",
    "binary": b"\x89PNG\x00\xff\xfe",
}


@pytest.fixture(params=KUBECONFIGS.values(), ids=KUBECONFIGS.keys())
def kubeconfig(request, tmp_path, monkeypatch):
    path = tmp_path / "config"
    if request.param is not None:
        path.write_bytes(request.param)
    monkeypatch.setenv("KUBECONFIG", str(path))
    # the client has read the variable when it was imported
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(path))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    return path


@pytest.mark.parametrize("context", [None, "elsewhere"])
def test_whatever_is_wrong_with_a_kubeconfig_there_is_no_cluster(kubeconfig, context):
    for given in (None, str(kubeconfig)):
        with pytest.raises(NoClusterError) as error:
            Api.connect(context, given)
        assert "\n" not in str(error.value)
        assert len(str(error.value)) < 700
        assert not any(
            word in str(error.value) for word in ("codec", "indices", "object does not", "parsing")
        )


@pytest.mark.parametrize(
    "words",
    [
        ("status",),
        ("sweep", "--context", "elsewhere"),
        ("rollback",),
        ("operate",),
        ("deploy", "--image", "i", "--release", "aaaaaa"),
    ],
    ids=lambda words: words[0],
)
def test_a_command_without_a_cluster_ends_with_the_documented_code(kubeconfig, words, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main([*words, "--service", "web"])
    told = capsys.readouterr()
    assert ended.value.code == Exit.WORLD_OUT_OF_REACH
    assert told.out == ""
    assert len(told.err.strip().splitlines()) == 1
