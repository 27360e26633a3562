"""Reading what runs where, for the matrix of environments: a few queries, however many endpoints there are."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Count, IntegerField, Min, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce

from approvals.environments.strands import Spot
from approvals.models import Request, RequestKind, RequestState
from endpoints.away import fault
from endpoints.differences.models import LiveDifference
from endpoints.engines import COMMANDS
from endpoints.models import Cluster, Desired, Endpoint, Phase
from projects.models import Project
from projects.permissions import can, visible
from projects.principal import Principal
from quotas.models import Quota, QuotaKind, QuotaTarget

BATCH = 500  # ids in one query
COLUMNS = (
    "pk", "name", "project_id", "project__slug", "environment", "phase", "promoted_from_id", "cluster__slug",
    "cluster__removed_at", "cluster__problem_code", "cluster__problem_sentence", "cluster__authentication",
    "revision__number",
    "revision__version__asset_id", "revision__version__version", "revision__version__pin__revision",
    "revision__runtime", "revision__replicas", "revision__concurrency", "revision__context_tokens",
    "revision__authorization_reference",
)  # fmt: skip


@dataclass(frozen=True)
class ClusterLine:
    """One cluster as the page shows it."""

    row: Cluster
    looked_at: datetime | None
    problem: str
    endpoints: int
    drift: int


def spots(reader: Principal, project: Project | None = None) -> list[Spot]:
    """Return every endpoint that the reader may look into, of all projects or of one (three queries)."""
    rows = visible(reader, Endpoint.objects.all(), "inspect").exclude(phase=Phase.DELETED)
    rows = rows.exclude(desired=Desired.DELETED).filter(revision__isnull=False)
    if project is not None:
        rows = rows.filter(project=project)
    found = list(_counted(rows).order_by().values(*COLUMNS, "drift", "drift_since", "planned"))
    bundles = _bundles({row["revision__authorization_reference"] for row in found})
    quotas = _quotas({row["project_id"] for row in found})
    looks = can(reader, "inspect", Cluster())
    return [_spot(row, bundles, quotas, looks) for row in found]


def cluster_lines(reader: Principal, found: Sequence[Spot]) -> list[ClusterLine]:
    """Return the clusters for who may look at them (one query)."""
    if not can(reader, "inspect", Cluster()):
        return []
    rows = visible(reader, Cluster.objects.all()).select_related("drift_look")
    return [_line(row, [spot for spot in found if spot.cluster == row.slug]) for row in rows]


def _line(row: Cluster, here: Sequence[Spot]) -> ClusterLine:
    look = getattr(row, "drift_look", None)
    problem = (look.problem if look is not None and look.failures else "") or row.problem_sentence
    at = look.finished_at if look is not None else None
    return ClusterLine(row, at, problem, len(here), sum(spot.drift for spot in here))


def _counted(rows: QuerySet[Endpoint]) -> QuerySet[Any]:
    """Return endpoints with how much of each was changed in its cluster, since when, and which request waits for it."""
    open_ones = LiveDifference.objects.filter(endpoint=OuterRef("pk"), resolved_at=None, own=False)
    grouped = open_ones.order_by().values("endpoint")
    asked = Request.objects.filter(
        endpoint=OuterRef("pk"), kind=RequestKind.REVISION, state=RequestState.SUBMITTED
    ).order_by("-pk")
    return rows.annotate(
        drift=Coalesce(Subquery(grouped.annotate(n=Count("pk")).values("n"), output_field=IntegerField()), 0),
        drift_since=Subquery(grouped.annotate(first=Min("first_seen")).values("first")),
        planned=Coalesce(Subquery(asked.values("pk")[:1], output_field=IntegerField()), 0),
    )


def _bundles(references: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Return digest and version of the policies under which requests were approved, by the number of the request."""
    ids = sorted({int(one[2:]) for one in references if one.startswith("R-") and one[2:].isdecimal()})
    found: dict[str, tuple[str, str]] = {}
    for start in range(0, len(ids), BATCH * 20):
        rows = Request.objects.filter(pk__in=ids[start : start + BATCH * 20]).order_by()
        for pk, digest, version in rows.values_list("pk", "plan__bundle__digest", "plan__bundle__version"):
            found[f"R-{pk}"] = (str(digest or ""), str(version or ""))
    return found


def _quotas(projects: Iterable[int]) -> dict[tuple[str, str], list[tuple[str, int | None, int | None]]]:
    """Return the token quotas of projects and of their endpoints: window, soft and hard, by target (one query)."""
    rows = Quota.objects.filter(
        project__in=list(projects), kind=QuotaKind.TOKENS, target_kind=QuotaTarget.ENDPOINT
    ).order_by("window")
    found: dict[tuple[str, str], list[tuple[str, int | None, int | None]]] = {}
    for kind, target, window, soft, hard in rows.values_list("target_kind", "target_id", "window", "soft", "hard"):
        found.setdefault((kind, target), []).append((window, soft, hard))
    return found


def _spot(
    row: Mapping[str, Any], bundles: Mapping[str, tuple[str, str]], quotas: Mapping[Any, Any], looks: bool
) -> Spot:
    runtime = row["revision__runtime"] if isinstance(row["revision__runtime"], dict) else {}
    pin, version = row["revision__version__pin__revision"] or "", row["revision__version__version"]
    image, quota = str(runtime.get("image") or ""), quotas.get((QuotaTarget.ENDPOINT, str(row["pk"])), [])
    digest, policies = bundles.get(row["revision__authorization_reference"], ("", ""))
    command = runtime.get("command") or COMMANDS.get(str(runtime.get("engine", ""))) or ()
    context, calls = row["revision__context_tokens"], row["revision__concurrency"]
    facets = {
        "revision": (version, pin), "image": image, "quota": tuple(quota), "bundle": digest,
        "arguments": (tuple(str(part) for part in command), context, calls),
    }  # fmt: skip
    words = {
        "revision": f"{version} @ {pin[:10]}" if pin else version,
        "image": _short_image(image), "arguments": f"context {context:,}, {calls:,} parallel calls",
        "quota": _quota_words(quota), "bundle": f"{policies} · {digest.removeprefix('sha256:')[:10]}" if digest else "",
    }  # fmt: skip
    return Spot(
        pk=row["pk"], name=row["name"], project=row["project__slug"], asset=row["revision__version__asset_id"],
        environment=row["environment"], cluster=row["cluster__slug"], phase=row["phase"],
        number=row["revision__number"], version=version, facets=facets, words=words, replicas=row["revision__replicas"],
        source=row["promoted_from_id"], drift=row["drift"], drift_since=row["drift_since"], planned=row["planned"],
        away=_away(row, looks),
    )  # fmt: skip


def _away(row: Mapping[str, Any], looks: bool) -> str:
    """Return why a cluster is not to be seen now; what its test said names addresses: that is for who `looks` at it."""
    if row["cluster__removed_at"] is not None:
        return "Its cluster was removed."
    if not row["cluster__authentication"]:  # it runs on this machine
        return ""
    if looks:
        return str(row["cluster__problem_sentence"] or "")
    does = fault(row["cluster__problem_code"])
    return f"The cluster {row['cluster__slug']} {does}." if does else ""


def _short_image(image: str) -> str:
    name, _, digest = image.partition("@sha256:")
    return f"{name.rsplit('/', 1)[-1]} @ {digest[:10]}" if digest else name.rsplit("/", 1)[-1]


def _quota_words(quota: Sequence[tuple[str, int | None, int | None]]) -> str:
    said = [f"{hard if hard is not None else soft:,} tokens a {window}" for window, soft, hard in quota]
    return ", ".join(said) or "no quota of its own"
