"""Keys for endpoints: names become ids here, because `projects`, which keeps the keys, cannot interpret a target."""

import datetime as dt
from collections.abc import Iterable, Sequence
from uuid import UUID

from django.db import transaction
from django.db.models import Q

from catalog import terms
from endpoints.models import Desired, Endpoint, Phase
from endpoints.sharing import living_shares
from portal.errors import Conflict, Forbidden, Invalid
from projects import keys
from projects.models import ApiKey, Project, is_slug
from projects.permissions import allows, require
from projects.principal import Principal

TARGET_KIND = "endpoint"
INVOKE = "inference:invoke"
PLAYGROUND = "playground"
PLAYGROUND_LIFE = dt.timedelta(minutes=15)
MAX_ENDPOINTS = 50


def issue_key(
    by: Principal,
    project: Project,
    name: str,
    endpoints: list[str],
    scopes: list[str] | None = None,
    days: int = keys.DEFAULT_DAYS,
    *,
    acknowledge: Iterable[str] = (),
) -> tuple[ApiKey, str]:
    """Create a key for endpoints of `project`, given by name, or by project/name where shared with it, and return it
    with its secret, which exists nowhere else.

    No name at all means every endpoint of the project and all that are shared with it, also later ones. `days` 1 to
    365. `acknowledge` names the licences whose terms `by` has read, for the project. Raises Invalid naming an unknown
    endpoint, Invalid `licence_not_acknowledged` with the words, and what `projects.keys.issue` raises.
    """
    require(by, "create", project, model=ApiKey)
    wanted = list(dict.fromkeys(endpoints))
    if len(wanted) > MAX_ENDPOINTS:
        raise Invalid.field(
            "endpoints",
            f"endpoints names {len(wanted)}; the limit is {MAX_ENDPOINTS}. Name none for the whole project.",
        )
    ids = _ids(project, wanted)
    unknown = [one for one in wanted if one not in ids]
    if unknown:
        raise Invalid.field(
            "endpoints",
            f"endpoints names {unknown[0][:60]!r}, which {project.slug} does not have. Use names of its endpoints, or "
            "project/name of one that is shared with it.",
        )
    targets = [(TARGET_KIND, str(ids[one])) for one in wanted]
    with transaction.atomic():
        terms.acknowledge(by, project, licences_of(project, ids.values() if wanted else None), acknowledge)
        return keys.issue(by, project=project, name=name, scopes=scopes or [INVOKE], targets=targets, days=days)


def licences_of(project: Project, endpoints: Iterable[UUID] | None = None) -> list[str]:
    """Return the licences under which the endpoints run, or are about to: those of all that `project` may call, or of
    `endpoints` (one query).
    """
    rows = Endpoint.objects.exclude(phase=Phase.DELETED).exclude(desired=Desired.DELETED)
    if endpoints is None:
        shared = living_shares().filter(project=project).values("endpoint")
        rows = rows.filter(Q(project=project) | Q(pk__in=shared))
    else:
        rows = rows.filter(pk__in=list(endpoints))
    pairs = rows.values_list("revision__version__licence", "next_revision__version__licence").order_by().distinct()
    return sorted({licence for pair in pairs for licence in pair if licence})


def _ids(project: Project, wanted: Sequence[str]) -> dict[str, UUID]:
    """Return the ids of the endpoints by the names that `project` calls them by (two queries at most)."""
    living = Endpoint.objects.exclude(phase=Phase.DELETED).exclude(desired=Desired.DELETED)
    own = living.filter(project=project, name__in=[one for one in wanted if is_slug(one)])
    ids = dict(own.values_list("name", "pk"))
    if any("/" in one for one in wanted):
        given = living_shares().filter(project=project, endpoint__in=living)
        rows = given.values_list("endpoint__project__slug", "endpoint__name", "endpoint_id")
        ids |= {f"{slug}/{name}": pk for slug, name, pk in rows}
    return ids


def rotate_key(by: Principal, key: ApiKey) -> tuple[ApiKey, str]:
    """Replace an active key; the old one works on for up to seven days. Raises Forbidden for another person's key
    unless `by` owns the project, and Invalid `licence_not_acknowledged`: the new key is one, whatever the old one saw.
    """
    require(by, "rotate", key)
    _own(by, key, "rotate")
    ids = key.targets.filter(kind=TARGET_KIND).values_list("target_id", flat=True)
    named = [UUID(target) for target in ids] or None
    terms.require_acknowledged(key.project, licences_of(key.project, named))
    return keys.rotate(by, key)


def revoke_key(by: Principal, key: ApiKey, *, reason: str = "") -> ApiKey:
    """End a key at once. Developers end their own, owners and platform engineers any. Raises Forbidden, NotFound and
    Conflict.
    """
    require(by, "revoke", key)
    _own(by, key, "revoke")
    return keys.revoke(by, key, reason=reason)


def may_change(by: Principal, key: ApiKey, verb: str) -> bool:
    """Whether `by` may rotate or revoke `key`, given a role that allows it at all: for templates, the same rule as
    the services.
    """
    return key.person_id == by.person.pk or allows(by, f"{verb}_any", ApiKey, key.project_id)


def playground_key(by: Principal, endpoint: Endpoint) -> tuple[ApiKey, str]:
    """Create a key of 15 minutes, bound to the person and this endpoint, for the page's playground; it is never shown.

    Raises Forbidden without the right to create keys in the project, Conflict while the endpoint answers no calls, and
    Invalid `licence_not_acknowledged`.
    """
    require(by, "create", endpoint.project, model=ApiKey)
    if not answers(endpoint):
        raise Conflict(f"{endpoint.name} answers no calls now: {endpoint.reason_sentence}", code="endpoint_not_ready")
    terms.require_acknowledged(endpoint.project, licences_of(endpoint.project, [endpoint.pk]))
    return keys.issue(
        by,
        project=endpoint.project,
        name=f"Playground of {endpoint.name}",
        scopes=[INVOKE],
        targets=[(TARGET_KIND, str(endpoint.pk))],
        ttl=PLAYGROUND_LIFE,
        purpose=PLAYGROUND,
    )


def answers(endpoint: Endpoint) -> bool:
    """Whether calls can be forwarded now."""
    return (
        endpoint.desired == Desired.RUNNING
        and endpoint.phase in {Phase.READY, Phase.DEGRADED}
        and bool(endpoint.upstreams)
    )


def _own(by: Principal, key: ApiKey, verb: str) -> None:
    if not may_change(by, key, verb):
        raise Forbidden(
            f"Developers {verb} only their own keys. Ask {key.person.username}, whose key this is, or a project owner."
        )
