"""A control plane for the tests of this folder; others name `tests.cluster.fixtures` in their `pytest_plugins`."""

from tests.cluster.explaining_kit import told
from tests.cluster.fixtures import kubelet, kubelets, make_namespace, namespace, plane

__all__ = ["kubelet", "kubelets", "make_namespace", "namespace", "plane", "told"]
