"""An app on a Kubernetes cluster as a deployer's configuration names it: plain data, and how to get there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from deployer.clusters.kubernetes.api import Api
from deployer.clusters.kubernetes.app import App
from deployer.clusters.kubernetes.cluster import KubernetesCluster


@dataclass(frozen=True, slots=True)
class Target:
    """Where an app is, and what it is."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    app: App
    context: str | None = None  # of the kubeconfig; None: its current one, or in-cluster
    kubeconfig: str | None = None  # a file; None: $KUBECONFIG or ~/.kube/config

    def data(self) -> dict[str, Any]:
        """Plain values for JSON; `read` reads them back."""
        written: dict[str, Any] = _ADAPTER.dump_python(self, mode="json")
        return written

    def connect(self) -> KubernetesCluster:
        """The cluster, not asked yet. Raises RejectedError for a kubeconfig or context that is not there."""
        return KubernetesCluster(Api.connect(self.context, self.kubeconfig), self.app)


_ADAPTER: TypeAdapter[Target] = TypeAdapter(Target)


def read(data: Mapping[str, Any]) -> Target:
    """The target that these values tell of. Raises ValueError with one line."""
    try:
        return _ADAPTER.validate_python(data)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
