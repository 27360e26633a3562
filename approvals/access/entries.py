"""What an access review looks at: memberships, platform-wide groups, grants of assets and of MCP servers, shares, keys,
applications. One collector, one finder and one way to take it away for each kind.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from django.db.models import Model, Q, QuerySet
from django.utils import timezone

from approvals.models import AccessReview, AccessReviewItem
from catalog import audience
from catalog.mcp import grants
from catalog.mcp.granted import living_grants
from catalog.models import AssetGroupGrant, AssetProjectGrant, AssetUserGrant, ServerGrant, living
from endpoints.models import Share
from endpoints.sharing import end_share, living_shares
from projects import keys, people, services
from projects.models import ApiKey, Application, KeyState, Membership, Project, Role, User
from projects.oauth import applications
from projects.principal import Principal

LIVING_KEYS = (KeyState.ACTIVE, KeyState.ROTATING)
MOST_HOLDER, MOST_WORDS = 150, 300


def collect(review: AccessReview) -> Iterator[AccessReviewItem]:
    """Return an entry for everything that is held now, in the review's project or everywhere (one query a kind)."""
    project = review.project
    owners = _owners(project)
    for kind, rows in _sources(project).items():
        for row in rows.iterator(chunk_size=2000):
            holder, words, where = _WORDS[kind](row)
            yield AccessReviewItem(
                review=review,
                kind=kind,
                target_id=_target(kind, row),
                project=where,
                holder=holder[:MOST_HOLDER],
                words=words[:MOST_WORDS],
                reviewer_id=_reviewer(owners.get(where.pk, []) if where else [], holder),
            )


def find(item: AccessReviewItem) -> Any:
    """Return what an entry is about as it stands now, None when it has ended meanwhile."""
    if item.kind == "group":
        person, _, group = item.target_id.partition(":")
        rows = User.groups.through.objects.select_related("user", "group")
        return rows.filter(user_id=int(person), group_id=int(group)).first()
    source = _sources(None).get(item.kind)
    return source.filter(pk=item.target_id).first() if source is not None else None


def revoke(by: Principal, held: Model, reason: str) -> None:
    """Take away what `find` returned, through the service that everybody uses. Raises what that service raises."""
    if isinstance(held, Membership):
        services.remove_member(by, held.project, username=held.user.username)
    elif isinstance(held, User.groups.through):
        left = held.user.groups.exclude(pk=held.group_id).values_list("name", flat=True)
        people.set_groups(by, held.user, list(left), reason=reason)
    elif isinstance(held, Share):
        end_share(by, held, reason)
    elif isinstance(held, ApiKey):
        keys.revoke(by, held, reason=reason)
    elif isinstance(held, Application):
        applications.end(by, held, reason=reason)
    elif isinstance(held, ServerGrant):
        grants.end(by, held, reason)
    elif isinstance(held, AssetUserGrant | AssetGroupGrant | AssetProjectGrant):
        audience.revoke(by, held)
    else:  # pragma: no cover - `find` returns nothing else
        raise TypeError(f"no review knows {type(held).__name__}")


def _sources(project: Project | None) -> Mapping[str, QuerySet[Any]]:
    members = Membership.objects.select_related("project", "user").filter(user__is_active=True)
    shares = living_shares().select_related("endpoint__project", "project")
    held = ApiKey.objects.select_related("project", "person").filter(
        state__in=LIVING_KEYS, purpose="api", expires_at__gt=timezone.now()
    )
    apps = Application.objects.select_related("client", "project", "owner").filter(
        ended_at__isnull=True, ends_at__gt=timezone.now()
    )
    given = living(AssetProjectGrant.objects.select_related("content_object", "project"))
    servers = living_grants().select_related("asset", "version", "project")
    if project is not None:
        return {
            "membership": members.filter(project=project),
            "share": shares.filter(endpoint__project=project),
            "key": held.filter(project=project),
            "application": apps.filter(project=project),
            "asset-project": given.filter(project=project),
            "server": servers.filter(project=project),
        }
    return {
        "membership": members,
        "group": User.groups.through.objects.select_related("user", "group").filter(user__is_active=True),
        "asset-user": living(AssetUserGrant.objects.select_related("content_object", "user")),
        "asset-group": living(AssetGroupGrant.objects.select_related("content_object", "group")),
        "asset-project": given,
        "server": servers,
        "share": shares,
        "key": held,
        "application": apps,
    }


def _reviewer(owners: Sequence[tuple[int, str]], holder: str) -> int | None:
    """Return the longest-standing owner other than the holder; none leaves the entry to governance."""
    return next((pk for pk, name in owners if name != holder), None)


def _target(kind: str, row: Any) -> str:
    # The rows behind a group come and go with every change of somebody's groups; person and group stay.
    return f"{row.user_id}:{row.group_id}" if kind == "group" else str(row.pk)


def _owners(project: Project | None) -> dict[int, list[tuple[int, str]]]:
    """Return the active owners of each project as (id, name), longest first."""
    rows = Membership.objects.filter(Q(project=project) if project else Q(), role=Role.OWNER, user__is_active=True)
    found: dict[int, list[tuple[int, str]]] = {}
    for where, pk, name in rows.order_by("pk").values_list("project_id", "user_id", "user__username"):
        found.setdefault(where, []).append((pk, name))
    return found


Words = tuple[str, str, Project | None]


def _membership(row: Membership) -> Words:
    by = " by a group of the identity provider" if row.source == "sso" else ""
    return row.user.username, f"{row.role} of {row.project.slug}{by}", row.project


def _group(row: Any) -> Words:
    return row.user.username, f"member of {row.group.name}, on the whole platform", None


def _asset_user(row: AssetUserGrant) -> Words:
    until = f" until {row.ends_at:%Y-%m-%d}" if row.ends_at else ""
    return row.user.username, f"may ask for {row.content_object.slug}{until}: {row.reason}", None


def _asset_group(row: AssetGroupGrant) -> Words:
    return row.group.name, f"the group may ask for {row.content_object.slug}: {row.reason}", None


def _asset_project(row: AssetProjectGrant) -> Words:
    # Not the project's own owners: nobody says of themselves that they need it.
    return row.project.slug, f"the project may ask for {row.content_object.slug}: {row.reason}", None


def _server(row: ServerGrant) -> Words:
    # Nor these: the project asked for it, and somebody else said yes.
    count = len(row.tools)
    until = f" until {row.ends_on}" if row.ends_on else ", without an end"
    why = f": {row.reason}" if row.reason else f" ({row.reference})" if row.reference else ""
    words = f"{count} tool{'' if count == 1 else 's'} of {row.asset.slug} {row.version.version}{until}{why}"
    return row.project.slug, f"the project may use {words}", None


def _share(row: Share) -> Words:
    endpoint = row.endpoint
    return row.project.slug, f"the project may call {endpoint.project.slug}/{endpoint.name}", endpoint.project


def _key(row: ApiKey) -> Words:
    used = f"last used {row.last_used_at:%Y-%m-%d}" if row.last_used_at else "never used"
    return row.person.username, f"key {row.prefix} ({row.name}) of {row.project.slug}, {used}", row.project


def _application(row: Application) -> Words:
    where = row.project.slug if row.project else "the platform"
    scopes = ", ".join(row.client.get_scopes())
    return row.owner.username, f"application {row.client.name} of {where}: {scopes}", row.project


_WORDS: Mapping[str, Callable[[Any], Words]] = {
    "membership": _membership,
    "group": _group,
    "asset-user": _asset_user,
    "asset-group": _asset_group,
    "asset-project": _asset_project,
    "server": _server,
    "share": _share,
    "key": _key,
    "application": _application,
}
