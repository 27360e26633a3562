"""Files that an administrator of a cluster applies: the account of the portal, and what the cluster is to be told to
refuse: its mode, its names and the policy bundle that counts, rendered.
"""

from collections.abc import Callable

from django.conf import settings
from django.utils.module_loading import import_string

from endpoints.clusters import rbac
from endpoints.clusters.admission import objects, terms
from endpoints.clusters.checks import Check
from endpoints.clusters.kubernetes import owned
from endpoints.fleet.access import has_api
from endpoints.models import Cluster
from portal.errors import Conflict

FILE, ACCESS_FILE = "gatehouse-admission.yaml", "gatehouse-access.yaml"


def access(cluster: Cluster) -> str:
    """Return the file with the account, the role and the binding that `cluster` needs, for its driver, options and
    mode; raises Conflict for a cluster without an API.
    """
    if not has_api(cluster):
        raise Conflict(f"{cluster.slug} runs on this machine and needs no account.", code="no_rbac")
    return rbac.manifest(cluster.driver, {**cluster.options, "admission": cluster.admission})


def plan(cluster: Cluster) -> terms.Plan:
    """Return for what is rendered (one query); raises Conflict for a cluster without an API."""
    if not has_api(cluster):
        raise Conflict(f"{cluster.slug} runs on this machine and has no admission policies.", code="no_admission")
    # The bundle belongs to a layer above: named in the settings, as drivers are.
    known: Callable[[], tuple[str, tuple[terms.Rule, ...]]] = import_string(settings.WORKLOAD_RULES)
    version, rules = known()
    return terms.Plan(
        prefix=owned.prefix(cluster.options),
        installation=owned.installation(cluster.options),
        mode=_mode(cluster),
        account=_account(cluster),
        controllers=terms.controllers(str(cluster.options.get("kserve_namespace") or terms.KSERVE_NAMESPACE)),
        rules=rules,
        version=version,
    )


def rendered(cluster: Cluster) -> terms.Rendered:
    """Return the objects for `cluster` with their digest (one query); raises Conflict."""
    return objects.render(plan(cluster))


def manifest(cluster: Cluster) -> str:
    """Return the file that an administrator of the cluster applies (one query); raises Conflict."""
    wanted = plan(cluster)
    return objects.text(objects.render(wanted), wanted, cluster.slug)


def found(cluster: Cluster, name: str) -> Check | None:
    """Return what the last test found under a name of `checks.TITLES`."""
    return next((Check(**one) for one in cluster.checks if one["name"] == name), None)


def _mode(cluster: Cluster) -> terms.Mode:
    return next((mode for mode in terms.MODES if mode == cluster.admission), "off")


def _account(cluster: Cluster) -> str:
    """Return the user name of the portal in the cluster: as the last test heard it, or that of the manifest."""
    seen = found(cluster, "credential")
    return seen.state if seen is not None and seen.state else rbac.USER
