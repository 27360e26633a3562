"""Who holds grants on assets: projects, groups, people. How they are found and called, and who sees which grant."""

import datetime as dt
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import Group
from django.db.models import BigIntegerField, QuerySet, Value

from catalog.models import (
    Access,
    Asset,
    AssetGroupGrant,
    AssetProjectGrant,
    AssetUserGrant,
    living,
    naming,
    reviews,
)
from projects.models import Project, User
from projects.notify.audience import builders
from projects.permissions import allows, can, can_anywhere
from projects.principal import Principal

Grant = AssetProjectGrant | AssetGroupGrant | AssetUserGrant


@dataclass(frozen=True)
class Holder:
    """One kind of holder: the table of its grants, the column that names it, how it is found and who is told."""

    model: type[Any]
    column: str
    find: Callable[[str], Any]
    people: Callable[[Any], Iterable[User]]
    fix: str

    def of(self, grant: Any) -> Any:
        """Return who holds `grant`."""
        return getattr(grant, self.column)


HOLDERS: Mapping[str, Holder] = {
    "project": Holder(
        AssetProjectGrant,
        "project",
        lambda name: Project.objects.filter(slug=name).first(),
        builders,
        "Use its short name.",
    ),
    "group": Holder(
        AssetGroupGrant,
        "group",
        lambda name: Group.objects.filter(name=name).first(),
        lambda group: group.user_set.filter(is_active=True, is_service=False),
        "Use the name of a group as the portal knows it.",
    ),
    "person": Holder(
        AssetUserGrant,
        "user",
        lambda name: User.objects.filter(username=name, is_active=True, is_service=False).first(),
        lambda user: [user],
        "Use the user name of somebody who is active.",
    ),
}


def kind_of(grant: Grant) -> str:
    """Return project, group or person."""
    return next(kind for kind, holder in HOLDERS.items() if isinstance(grant, holder.model))


def name_of(grant: Grant) -> str:
    """Return how people call the holder of a grant: short name of a project, name of a group, user name."""
    return called(HOLDERS[kind_of(grant)].of(grant))


def called(holder: Any) -> str:
    """Return how people call a holder."""
    return str(holder.username if isinstance(holder, User) else holder.slug if isinstance(holder, Project) else holder)


def last_day(grant: Grant) -> dt.date | None:
    """Return the last day (UTC) of a grant; None: until somebody takes it away."""
    return (grant.ends_at.astimezone(dt.UTC) - dt.timedelta(microseconds=1)).date() if grant.ends_at else None


def grants_seen(principal: Principal, asset: Asset, kind: str) -> QuerySet[Any]:
    """Return the grants of one kind on `asset` that hold now: all for who reads the whole catalog or gives grants,
    else those through which `principal` sees it. With holder and giver.
    """
    entry = HOLDERS[kind]
    rows = living(entry.model.objects.all()) if sees_all(principal, asset) else naming(principal)[entry.model]
    return rows.filter(content_object=asset).select_related(entry.column, "granted_by", "content_object")


def holding(slug: str, kind: str) -> set[str]:
    """Return how those are called who hold a grant of one kind on an asset now."""
    entry = HOLDERS[kind]
    rows = living(entry.model.objects.filter(content_object__slug=slug)).select_related(entry.column)
    return {name_of(grant) for grant in rows}


def sees_all(principal: Principal, asset: Asset) -> bool:
    """Whether `principal` reads to whom else `asset` was granted."""
    return reviews(principal) or can(principal, "grant", asset)


def open_where(principal: Principal, projects: Iterable[int], assets: Iterable[Asset]) -> dict[int, frozenset[int]]:
    """Return in which of their `projects` the person may ask for each of `assets`, by its id (a query only where one
    is not for everyone).
    """
    mine = frozenset(projects)
    found = {asset.pk: asset.access for asset in assets}
    listed = [pk for pk, access in found.items() if access == Access.LISTED]
    where = {pk: frozenset() if access == Access.LISTED else mine for pk, access in found.items()}
    for asset, project in _granted(principal, mine, listed) if listed and mine else ():
        where[asset] |= mine if project is None else {project}
    return where


def _granted(principal: Principal, projects: Iterable[int], assets: Iterable[int]) -> Iterable[tuple[int, int | None]]:
    """Yield (asset, project) for each grant; no project: the grant is the person's, wherever they ask."""
    rows = {model: grants.filter(content_object__in=assets) for model, grants in naming(principal, projects).items()}
    nowhere = Value(None, output_field=BigIntegerField())
    ours = rows.pop(AssetProjectGrant).order_by().values_list("content_object", "project")
    return ours.union(*(one.order_by().values_list("content_object", nowhere) for one in rows.values()))


def askable(principal: Principal, assets: Iterable[Asset]) -> set[int]:
    """Return the ids of those of `assets` for which `principal` may ask in some project; queries as `open_where`."""
    if not can_anywhere(principal, "request", Project):
        return set()
    found = list(assets)
    mine = [pk for pk in principal.roles if allows(principal, "request", Project, pk)]
    given = {pk for pk, projects in open_where(principal, mine, found).items() if projects}
    return given | {asset.pk for asset in found if asset.access == Access.EVERYONE}
