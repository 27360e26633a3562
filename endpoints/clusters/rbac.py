"""What the portal's account must be allowed in a cluster: one table, from which the manifest is written and by which
the connection test asks, verb by verb, so that both cannot differ.

Pure data: nothing here needs Django or the Kubernetes client.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from endpoints.clusters.admission import terms
from endpoints.clusters.kubernetes import owned
from endpoints.clusters.manifest_text import manifest_text

ACCOUNT = NAMESPACE = "gatehouse"  # name of the ServiceAccount, and the namespace that it lives in
# Server-side apply is `patch`, and `create` where the object is not there yet.
APPLY = ("get", "create", "patch")
KEEP = ("create", "patch", "delete")
USER = f"system:serviceaccount:{NAMESPACE}:{ACCOUNT}"  # as the cluster calls the account of the manifest


@dataclass(frozen=True)
class Grant:
    """Some verbs on one resource ("pods/log" is a resource of its own), in all namespaces; `why` is a sentence.
    `names`: only of these objects; none: of all.
    """

    group: str  # "" is the core group
    resource: str
    verbs: tuple[str, ...]
    why: str
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ask:
    """One verb on one resource, of all objects or of one: what the connection test asks for."""

    group: str
    resource: str
    verb: str
    why: str
    name: str = ""

    @property
    def words(self) -> str:
        """What stands on the page: "patch deployments.apps"."""
        return f"{self.verb} {self.resource}{'.' + self.group if self.group else ''}{' ' + self.name}".strip()


_SPACE = (
    Grant("", "namespaces", ("list", *APPLY), "Each project has a namespace for each environment."),
    Grant("", "resourcequotas", ("list", *APPLY), "The namespace gets the project's share of accelerators."),
    Grant("", "limitranges", ("list", *APPLY), "Containers without limits get some."),
    Grant("networking.k8s.io", "networkpolicies", ("list", *APPLY), "Engines talk to nobody who is not allowed to."),
    Grant("", "serviceaccounts", ("list", *APPLY), "Engines run under an account that may do nothing."),
)
_SEE = (
    Grant("", "pods/log", ("get",), "The last lines of an engine's output."),
    Grant("", "events", ("list",), "Why something does not start."),
    Grant("", "nodes", ("list",), "How many accelerators the nodes report."),
    Grant("apps", "replicasets", ("list",), "Why a deployment has no pods: quota, admission."),
)
# Reading alone, by the scan for what runs without approval (endpoints/rogue/), which changes nothing.
_SCAN = (
    Grant("apps", "statefulsets", ("list",), "Which workload a pod with accelerators belongs to."),
    Grant("resource.k8s.io", "resourceclaims", ("list",), "Which accelerators pods have claimed."),
    Grant("infrastructure.opendatahub.io", "hardwareprofiles", ("list",), "Profiles of OpenShift AI, as proposals."),
)
_SCAN_KSERVE = (
    Grant("serving.kserve.io", "inferenceservices", ("list",), "What KServe serves without approval,"),
    Grant("serving.kserve.io", "llminferenceservices", ("list",), "of either kind."),
)
_KUBERNETES = (
    *_SPACE,
    *_SEE,
    *_SCAN,
    *_SCAN_KSERVE,
    Grant("", "pods", ("list", "watch", "patch", "delete"), "The state of each engine; which go first; starting anew."),
    Grant("", "secrets", ("create", "patch", "delete"), "The key that an engine asks for. Reading it is not needed."),
    Grant("apps", "deployments", ("get", "list", "watch", *KEEP), "Each revision is a deployment."),
    Grant("", "services", ("get", "list", *KEEP), "The address of an endpoint inside the cluster."),
    Grant("policy", "poddisruptionbudgets", ("get", "list", *KEEP), "Maintenance of nodes leaves engines running."),
    Grant("autoscaling", "horizontalpodautoscalers", ("get", "list", *KEEP), "Replicas by load."),
)
_KSERVE = (
    *_SPACE,
    *_SEE,
    *_SCAN,
    Grant("", "pods", ("list", "watch", "patch", "delete"), "The state of each engine; which go first; starting anew."),
    Grant("", "secrets", ("create", "patch", "delete"), "The key that an engine asks for. Reading it is not needed."),
    Grant("apps", "deployments", ("list", "watch"), "KServe makes it, and hides its troubles."),
    Grant("serving.kserve.io", "inferenceservices", ("get", "list", "watch", *KEEP), "A revision is one of these,"),
    Grant("serving.kserve.io", "llminferenceservices", ("get", "list", "watch", *KEEP), "or one of these."),
)
# Whoever applies the repository writes everything else.
_GITOPS = (
    Grant("", "namespaces", ("get", "list", "create"), "It has to be there before key and approval; others keep it."),
    Grant("", "resourcequotas", ("list",), "Why something does not start: the project's share is used up."),
    *_SEE,
    *_SCAN,
    *_SCAN_KSERVE,
    Grant("", "pods", ("list", "watch", "delete"), "The state of each engine; starting anew."),
    Grant("", "secrets", ("create", "patch", "delete"), "The key that an engine asks for never stands in Git."),
    Grant("", "services", ("list",), "Whether what was taken out of Git is gone,"),
    Grant("policy", "poddisruptionbudgets", ("list",), "with all that belonged to it,"),
    Grant("autoscaling", "horizontalpodautoscalers", ("list",), "and what scales it."),
)
_DEPLOYMENTS = ("apps", "deployments")
_ARGO = Grant("argoproj.io", "applications", ("get",), "What Argo CD says of what it applies.")
_FLUX = Grant("kustomize.toolkit.fluxcd.io", "kustomizations", ("get",), "What Flux says of what it applies.")
_KEDA = Grant("keda.sh", "scaledobjects", ("get", "list", *KEEP), "Replicas by load, through KEDA.")
GRANTS: Mapping[str, tuple[Grant, ...]] = {"kubernetes": _KUBERNETES, "kserve": _KSERVE, "gitops": _GITOPS}
# The options on which the table depends.
SETTINGS = ("autoscaler", "admission", "namespace_prefix", "applier", "queue_name")


def grants(driver: str, settings: Mapping[str, Any]) -> tuple[Grant, ...]:
    """Return the table of `driver` under the options of a registration."""
    if driver == "gitops":
        return (*GRANTS[driver], *_of_gitops(settings), *_kueue(settings), *_admission(settings))
    keda = driver == "kubernetes" and settings.get("autoscaler") == "keda"  # KServe makes such objects itself
    return (*GRANTS[driver], *((_KEDA,) if keda else ()), *_kueue(settings), *_admission(settings))


def _kueue(settings: Mapping[str, Any]) -> tuple[Grant, ...]:
    """Return what it takes to say why Kueue holds an engine back, where engines have a queue."""
    if not settings.get("queue_name"):
        return ()
    return (Grant("kueue.x-k8s.io", "workloads", ("list",), "What an engine waits for in the queue of Kueue."),)


def _of_gitops(settings: Mapping[str, Any]) -> tuple[Grant, ...]:
    """Return what it takes beside the rest: an approval is compared with what the API server would make of a
    Deployment, which it tells only to who may create one.
    """
    approves = settings.get("admission") in ("audit", "enforce")
    why = "Each revision is one, written by others; asked as a dry run for the approval." if approves else ""
    verbs = ("list", "watch", *(("create",) if approves else ()))
    found = [Grant(*_DEPLOYMENTS, verbs, why or "Each revision is one.")]
    if settings.get("autoscaler") == "keda":
        found.append(Grant("keda.sh", "scaledobjects", ("list",), "Whether KEDA's objects are gone."))
    return (*found, *{"argocd": (_ARGO,), "flux": (_FLUX,)}.get(str(settings.get("applier") or ""), ()))


def _admission(settings: Mapping[str, Any]) -> tuple[Grant, ...]:
    """Return what it takes to say what was approved, and to see whether the cluster's policies are those of here."""
    if settings.get("admission") not in ("audit", "enforce"):
        return ()
    prefix, group = owned.prefix(settings), "admissionregistration.k8s.io"
    policies, bindings = (
        tuple(terms.name(prefix, part) for part in parts) for parts in (terms.POLICIES, terms.BINDINGS)
    )
    return (
        Grant(terms.GROUP, terms.PLURAL, ("get", "list", "create", "patch"), "What was approved, for its policies."),
        Grant(group, "validatingadmissionpolicies", ("get",), "Whether the policies are those of here,", policies),
        Grant(group, "validatingadmissionpolicybindings", ("get",), "and what they do.", bindings),
    )


def asks(driver: str, settings: Mapping[str, Any]) -> Iterator[Ask]:
    """Yield every single thing that `driver` must be allowed, in the order of its manifest."""
    for grant in grants(driver, settings):
        for verb in grant.verbs:
            for name in grant.names or ("",):
                yield Ask(grant.group, grant.resource, verb, grant.why, name)


def objects(
    driver: str, settings: Mapping[str, Any], *, namespace: str = NAMESPACE, account: str = ACCOUNT
) -> list[dict[str, Any]]:
    """Return namespace, ServiceAccount, ClusterRole and binding for exactly `driver`, as objects of the API.

    The role is named after prefix and driver: a cluster that is registered twice has two, and neither takes rights away
    from the other. With an account of its own it has the name of that.
    """
    labels = {"app.kubernetes.io/name": "gatehouse", "app.kubernetes.io/component": "cluster-access"}
    named = "-".join(dict.fromkeys([ACCOUNT, owned.prefix(settings), driver])) if account == ACCOUNT else account
    whole, own = {"name": named, "labels": labels}, {"name": account, "namespace": namespace, "labels": labels}
    rules = [
        {"apiGroups": [grant.group], "resources": [grant.resource], "verbs": list(grant.verbs)}
        | ({"resourceNames": list(grant.names)} if grant.names else {})
        for grant in grants(driver, settings)
    ]
    role = "rbac.authorization.k8s.io"
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": own, "automountServiceAccountToken": False},
        {"apiVersion": f"{role}/v1", "kind": "ClusterRole", "metadata": whole, "rules": rules},
        {
            "apiVersion": f"{role}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": whole,
            "roleRef": {"apiGroup": role, "kind": "ClusterRole", "name": named},
            "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}],
        },
    ]


def manifest(driver: str, settings: Mapping[str, Any], *, namespace: str = NAMESPACE, account: str = ACCOUNT) -> str:
    """Return what `kubectl apply -f` takes, with the reason of each rule as a comment."""
    head = (
        f"# What Gatehouse needs in a cluster that it steers by the driver {driver}, and no more. Nothing here lets\n"
        "# it read secrets, run commands in pods, or change roles.\n"
    )
    made = objects(driver, settings, namespace=namespace, account=account)
    return head + "---\n".join(_text(one, grants(driver, settings)) for one in made)


def _text(one: Mapping[str, Any], table: Iterable[Grant]) -> str:
    rest = {name: value for name, value in one.items() if name != "rules"}
    text = manifest_text(rest)
    return text + "rules:\n" + "".join(map(_rule, table)) if "rules" in one else text


def _rule(grant: Grant) -> str:
    values = (f'["{grant.group}"]', f'["{grant.resource}"]', f"[{', '.join(grant.verbs)}]")
    text = "  # {}\n  - apiGroups: {}\n    resources: {}\n    verbs: {}\n".format(grant.why, *values)
    return text + (f"    resourceNames: [{', '.join(grant.names)}]\n" if grant.names else "")
