"""What the tests of the admission policy share: the policy on a real API server, the portal's account, a stranger."""

import copy
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from endpoints.clusters import Place, Workload, rbac
from endpoints.clusters.admission import objects, terms
from endpoints.clusters.kubernetes import owned
from tests.cluster.api import Api, Object, Refused
from tests.cluster.plane import Plane
from tests.stack.conftest import wait_for

SECONDS = 120
ADMISSION = "/apis/admissionregistration.k8s.io/v1"
# KServe's controllers of the tests run as the administrator (tests/cluster/kserve.py).
KSERVE = ("admin",)
RULE = terms.Rule(
    "wrk-900", "No host ports", "deny",
    "object.spec.template.spec.containers.all(c, !has(c.ports) || c.ports.all(p, !has(p.hostPort)))",
    "A container takes a port of its node.", "Remove hostPort.",
)  # fmt: skip
ADVICE = terms.Rule("wrk-901", "Named", "warn", "object.metadata.name.startsWith('never')", "Its name is odd.")


@dataclass
class Guarded:
    """A cluster in which the policy is installed for the namespaces of one prefix."""

    plane: Plane
    place: Place
    account: str
    plan: terms.Plan

    def space(self, wanted: Workload) -> str:
        """Return the namespace of a workload."""
        return owned.namespace(self.place, wanted.project, wanted.environment_name)

    def entries(self, wanted: Workload) -> dict[str, Any]:
        """Return what is approved in its namespace, by name."""
        found = self.plane.api.get(f"{approvals(self.space(wanted))}/{terms.NAME}")
        return dict(found["spec"]["approved"])

    def stranger(self, space: str) -> Api:
        """The API as somebody sees it who may edit all workloads of the namespace."""
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "somebody"}}
        subjects = [{"kind": "ServiceAccount", "name": "somebody", "namespace": space}]
        group = "rbac.authorization.k8s.io"
        more = [
            {"apiGroups": ["serving.kserve.io"], "resources": ["*"], "verbs": ["*"]},
            {"apiGroups": [""], "resources": ["pods/ephemeralcontainers", "pods/resize"], "verbs": ["*"]},
        ]
        role = {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": {"name": "more"}, "rules": more}
        bindings = [
            {
                "apiVersion": f"{group}/v1", "kind": "RoleBinding", "metadata": {"name": name}, "subjects": subjects,
                "roleRef": {"apiGroup": group, "kind": kind, "name": name},
            }
            for kind, name in (("ClusterRole", "edit"), ("Role", "more"))
        ]  # fmt: skip
        return self.plane.as_token(self.plane.token_for(space, "somebody", [account, role, *bindings]))


def approvals(space: str) -> str:
    """Return where the approvals of a namespace are."""
    return f"/apis/{terms.GROUP}/{terms.VERSION}/namespaces/{space}/{terms.PLURAL}"


@contextmanager
def guarded(plane: Plane, directory: Path, driver: str, mode: terms.Mode, **options: str) -> Iterator[Guarded]:
    """The policy in `mode` for a prefix and an account of its own, active; it is gone afterwards."""
    mark = secrets.token_hex(3)
    settings = {"namespace_prefix": f"t{mark}", "admission": mode, **options}
    account = f"portal-{mark}"
    token = plane.token_for(rbac.NAMESPACE, account, rbac.objects(driver, settings, account=account))
    place = Place(
        slug=f"plane-{mark}", state_dir=directory, server=plane.server, ca=plane.ca, token=token, settings=settings
    )
    user = f"system:serviceaccount:{rbac.NAMESPACE}:{account}"
    plan = terms.Plan(f"t{mark}", f"t{mark}", mode, user, controllers=KSERVE, rules=(RULE, ADVICE), version="tests")
    made = objects.render(plan)
    plane.api.apply([dict(one) for one in made.objects])
    try:
        _wait_active(plane, plan.prefix)
        yield Guarded(plane, place, user, plan)
    finally:
        label = f"{owned.INSTALLATION}={plan.prefix}"
        left = plane.api.items("/api/v1/namespaces", labelSelector=label)
        plane.remove_namespaces(one["metadata"]["name"] for one in left)  # of a test that failed
        for one in reversed(made.objects):
            if one["kind"] != "CustomResourceDefinition":
                plane.api.delete(plane.api.path(dict(one)))


def _wait_active(plane: Plane, prefix: str) -> None:
    """Wait until the API server asks the policy, by the part of it that always refuses."""
    name = f"{prefix}-probe"
    labels = {owned.MANAGED_BY: owned.MANAGER, owned.INSTALLATION: prefix}
    plane.api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
    forged = {
        "apiVersion": f"{terms.GROUP}/{terms.VERSION}", "kind": terms.KIND, "metadata": {"name": terms.NAME},
        "spec": {"approved": {}},
    }  # fmt: skip

    def active() -> bool:
        said = refusal(plane.api, "POST", approvals(name), forged, dryRun="All")
        pod = refusal(plane.api, "POST", f"/api/v1/namespaces/{name}/pods", BARE["pods"], dryRun="All")
        return "Only Gatehouse" in said and (f"{prefix}-approved" in pod or not _refuses(plane, prefix))

    wait_for(active, SECONDS, "the policy to be active")
    plane.api.delete(f"/api/v1/namespaces/{name}")


def _refuses(plane: Plane, prefix: str) -> bool:
    binding = plane.api.get(f"{ADMISSION}/validatingadmissionpolicybindings/{prefix}-approved")
    return "Deny" in binding["spec"]["validationActions"]


def refusal(api: Api, method: str, path: str, body: Any = None, **options: Any) -> str:
    """Return why a call is refused, "" when it is not."""
    try:
        api.call(method, path, body, **options)
    except Refused as error:
        return str(error.body.get("message") or error)
    return ""


def copied(live: Object, name: str = "", **changes: Any) -> Object:
    """Return a copy of what runs as somebody would write it, under another name and with changes of its pod."""
    made = copy.deepcopy(live)
    meta = made["metadata"]
    made["metadata"] = {key: meta[key] for key in ("labels", "annotations") if key in meta}
    made["metadata"]["name"] = name or meta["name"]
    made.pop("status", None)
    made["spec"]["template"]["spec"].update(changes)
    return made


CONTAINER = {
    "name": "c", "image": "registry.example.com/miner", "resources": {"limits": {"memory": "64Mi"}},
    "securityContext": {
        "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "runAsNonRoot": True, "runAsUser": 1000,
        "seccompProfile": {"type": "RuntimeDefault"},
    },
}  # fmt: skip
_POD: Mapping[str, Any] = {"containers": [CONTAINER]}
_JOB = {"template": {"spec": {**_POD, "restartPolicy": "Never"}}}
_SET = {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": _POD}}
# Ways to run something beside Deployments: resource → object.
BARE: dict[str, Object] = {
    "pods": {"apiVersion": "v1", "kind": "Pod", "spec": _POD},
    "replicationcontrollers": {
        "apiVersion": "v1", "kind": "ReplicationController",
        "spec": {"selector": {"a": "b"}, "template": _SET["template"]},
    },
    "jobs": {"apiVersion": "batch/v1", "kind": "Job", "spec": _JOB},
    "cronjobs": {"apiVersion": "batch/v1", "kind": "CronJob",
                 "spec": {"schedule": "* * * * *", "jobTemplate": {"spec": _JOB}}},
    "deployments": {"apiVersion": "apps/v1", "kind": "Deployment", "spec": _SET},
    "replicasets": {"apiVersion": "apps/v1", "kind": "ReplicaSet", "spec": _SET},
    "daemonsets": {"apiVersion": "apps/v1", "kind": "DaemonSet", "spec": _SET},
    "statefulsets": {"apiVersion": "apps/v1", "kind": "StatefulSet", "spec": _SET | {"serviceName": "x"}},
}  # fmt: skip
for _one in BARE.values():
    _one["metadata"] = {"name": "beside"}


def listed(thing: Object, resource: str, space: str) -> str:
    """Return where the objects of a resource are in a namespace."""
    base = f"/api/{thing['apiVersion']}" if "/" not in thing["apiVersion"] else f"/apis/{thing['apiVersion']}"
    return f"{base}/namespaces/{space}/{resource}"
