"""Keeping the listings: what the lists show of an asset, worked out when it changes and not when it is read."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import Prefetch

from catalog import fit
from catalog.models import STATE_ORDER, Access, Asset, Audience, Evidence, Listing, Version, VersionState

NO_EVIDENCE = "none"
_WORST = ("fail", "warn", "pass")


@dataclass(frozen=True)
class _Anything:
    """Hardware for a question that is only about need."""

    memory_bytes: int = 1
    accelerator_count: int = 0


def refresh(asset: Asset) -> None:
    """Write the listings of `asset` anew from its rows; two writers of one asset wait for each other."""
    with transaction.atomic():
        locked = Asset.objects.select_for_update().get(pk=asset.pk)
        findings = Prefetch("evidence", queryset=Evidence.objects.defer("report"))  # reports may take megabytes
        versions = list(Version.objects.filter(asset=locked).prefetch_related(findings))
        Listing.objects.filter(asset=locked).delete()
        Listing.objects.bulk_create(Listing(**row) for row in rows_of(locked, versions))


def rows_of(asset: Asset, versions: Sequence[Version]) -> list[dict[str, Any]]:
    """Return the listings of `asset` as columns; pure. `versions` are all of its, with `evidence` prefetched."""
    public = [version for version in versions if version.approved_at is not None]
    rows = [_row(asset, versions, audience=Audience.REVIEWERS)]
    if public:
        rows.append(_row(asset, public, audience=Audience.PUBLIC))
    approved = {version.pk for version in public}
    proposers = {asset.proposed_by_id, *(version.proposed_by_id for version in versions)} - {None}
    for person in sorted(proposers, key=str):
        own = [version for version in versions if version.pk in approved or version.proposed_by_id == person]
        if (own and len(own) > len(public)) or (not public and person == asset.proposed_by_id):
            rows.append(_row(asset, own, audience=Audience.OWN) | {"person_id": person})
    return rows


def _row(asset: Asset, versions: Iterable[Version], audience: str) -> dict[str, Any]:
    best = min(versions, key=_place, default=None)
    words = [asset.name, asset.slug, asset.publisher, asset.summary, *asset.tasks]
    state = VersionState(best.state) if best else VersionState.DRAFT
    return {
        "asset_id": asset.pk,
        "audience": str(audience),
        "version_id": best.pk if best else None,
        "kind": asset.kind,
        "name": asset.name.lower(),
        "state": str(state),
        "rank": STATE_ORDER.index(state),
        "licence": best.licence if best else "",
        "listed": getattr(asset, "access", Access.EVERYONE) == Access.LISTED,  # a migration is older than the column
        "evidence": _worst(best.evidence.all()) if best else NO_EVIDENCE,
        "tasks": f"|{'|'.join(asset.tasks)}|" if asset.tasks else "",
        "text": " ".join(words).lower(),
        "created_at": asset.created_at,
        **_size(best.needs if best else {}),
    }


def _place(version: Version) -> tuple[int, float, int]:
    return STATE_ORDER.index(VersionState(version.state)), -version.created_at.timestamp(), -version.pk


def _size(needs: dict[str, Any]) -> dict[str, int | None]:
    if not needs:
        return {"parameters": None, "context_tokens": None, "needed_bytes": None}
    most = int(needs["max_context_tokens"])
    plan = fit.memory(needs, _Anything(), min(fit.DEFAULT_CONTEXT, most), fit.DEFAULT_CONCURRENCY, 1)
    return {"parameters": int(needs["parameters"]), "context_tokens": most, "needed_bytes": plan.needed}


def _worst(found: Iterable[Evidence]) -> str:
    latest = {item.kind: item.verdict for item in sorted(found, key=lambda row: (row.collected_at, row.pk))}
    return next((verdict for verdict in _WORST if verdict in latest.values()), NO_EVIDENCE)
