"""Proposals: what a scan saw that could become part of the portal's catalog and projects. An engineer decides."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db import transaction

from endpoints.adopting.profiles import slug
from endpoints.clusters.kubernetes import kinds, owned
from endpoints.models import Cluster
from endpoints.rogue.listing import Seen
from endpoints.rogue.models import Proposal, ProposalKind, ProposalState
from endpoints.rogue.reading import Space
from portal.states import move

DASHBOARD = "opendatahub.io/dashboard"
DISPLAY = "openshift.io/display-name"
BATCH = 500
LISTED = {ProposalKind.HARDWARE_PROFILE: kinds.HARDWARE_PROFILE.name, ProposalKind.PROJECT: kinds.NAMESPACE.name}


@dataclass(frozen=True)
class _Wanted:
    kind: str
    namespace: str
    name: str
    uid: str
    content: Mapping[str, Any]


def keep(cluster: Cluster, seen: Seen) -> None:
    """Make the proposals of a cluster what was seen there."""
    wanted = [
        _Wanted(ProposalKind.HARDWARE_PROFILE, one.namespace, one.name, one.uid, one.content) for one in seen.profiles
    ]
    wanted += [
        _Wanted(ProposalKind.PROJECT, "", one.name, one.uid, _project(one))
        for one in seen.spaces.values()
        if one.labels.get(DASHBOARD) == "true" and owned.PROJECT not in one.labels
    ]
    with transaction.atomic():
        rows = {(row.kind, row.uid): row for row in Proposal.objects.select_for_update().filter(cluster=cluster)}
        fresh, changed = list[Proposal](), list[Proposal]()
        for one in wanted:
            row = rows.pop((one.kind, one.uid), None)
            known = row is not None
            row = row or Proposal(cluster=cluster, kind=one.kind, uid=one.uid)
            row.namespace, row.name, row.content, row.seen_at = one.namespace, one.name, dict(one.content), seen.now
            (changed if known else fresh).append(row)
        Proposal.objects.bulk_create(fresh, batch_size=BATCH)
        Proposal.objects.bulk_update(changed, ["namespace", "name", "content", "seen_at"], batch_size=BATCH)
        for row in changed:
            if row.state == ProposalState.GONE:
                move(Proposal.objects.filter(pk=row.pk), ProposalState.GONE, ProposalState.PROPOSED)
        blind = {kind for kind, name in LISTED.items() if name in seen.unseen}
        for row in rows.values():
            if row.kind not in blind and row.state in (ProposalState.PROPOSED, ProposalState.DISMISSED):
                move(Proposal.objects.filter(pk=row.pk), row.state, ProposalState.GONE)


def _project(one: Space) -> dict[str, Any]:
    name = one.annotations.get(DISPLAY) or one.name
    said = one.annotations.get("openshift.io/description", "")
    return {"slug": slug(one.name), "name": name[:80], "description": said[:200],
            "requester": one.annotations.get("openshift.io/requester", "")}  # fmt: skip
