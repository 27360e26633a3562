"""Whether a cluster refuses what was not approved: off, recording (audit), refusing (enforce), in this order."""

from collections.abc import Mapping

from django.db import transaction

from audit.services import record
from endpoints.clusters.admission.terms import MODES
from endpoints.fleet.access import has_api
from endpoints.fleet.examining import want_test
from endpoints.fleet.registering import locked
from endpoints.fleet.rendering import found
from endpoints.models import Cluster, Phase
from endpoints.nudge import nudge
from portal.errors import Conflict, Invalid
from portal.http import clean_text
from projects.permissions import require
from projects.principal import Principal

STEPS: Mapping[str, tuple[str, ...]] = {"off": ("audit",), "audit": ("enforce", "off"), "enforce": ("audit",)}


def set_mode(by: Principal, cluster: Cluster, *, mode: str, reason: str) -> Cluster:
    """Choose what the cluster is to do with what was not approved; its administrator applies the manifest afterwards.

    Refusing begins only where the last test saw today's policies record, and nothing is switched off while they still
    refuse. Raises Forbidden, Invalid naming the field, and Conflict `admission_step`, `admission_not_seen`,
    `admission_refuses`, `no_admission`.
    """
    require(by, "change", cluster)
    if mode not in MODES:
        raise Invalid.field("mode", f"mode is {mode[:20]!r}; choose one of {', '.join(MODES)}.")
    why = clean_text(reason, field="reason", low=1, high=300)
    with transaction.atomic():
        cluster = locked(cluster)
        if not has_api(cluster):
            raise Conflict(f"{cluster.slug} runs on this machine and has no admission policies.", code="no_admission")
        before = cluster.admission
        if mode == before:
            return cluster
        _require_step(cluster, mode)
        cluster.admission = mode
        cluster.save(update_fields=["admission"])
        after = {"admission": mode}
        record("clusters.admission", by=by, obj=cluster, before={"admission": before}, after=after, reason=why)
        want_test(cluster)
        for endpoint_id in cluster.endpoints.exclude(phase=Phase.DELETED).values_list("pk", flat=True):
            nudge(endpoint_id)  # what runs gets its approval
    return cluster


def state(cluster: Cluster) -> str:
    """Return what the last test saw in the cluster: none, audit, enforce, with " stale" when it is not what would be
    rendered now; "" = not known.
    """
    seen = found(cluster, "admission")
    return seen.state if seen is not None else ""


def _require_step(cluster: Cluster, mode: str) -> None:
    if mode not in STEPS[cluster.admission]:
        way = "off, audit, enforce"
        raise Conflict(
            f"From {cluster.admission} to {mode} is no step; the way is {way} and back. Choose audit first.",
            code="admission_step",
        )
    seen = state(cluster)
    if mode == "enforce" and seen != "audit":
        raise Conflict(
            "The last test did not see today's policies record in the cluster. Download and apply the manifest, test"
            " the connection, look at what is recorded, and then enforce.",
            code="admission_not_seen",
        )
    if mode == "off" and seen.startswith("enforce"):
        raise Conflict(
            "The cluster still refuses, and would refuse everything once nothing is approved there. Apply the manifest"
            " of the mode audit, or take it away with kubectl delete -f, and test the connection first.",
            code="admission_refuses",
        )
