"""Ending many keys at once: all of a person, of a project, of an endpoint, or the one that a prefix names; counted
before anything ends.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from audit.services import record
from endpoints.keys import TARGET_KIND
from endpoints.models import Endpoint
from portal.errors import Invalid
from portal.http import clean_text
from portal.states import move
from projects import epoch
from projects.models import ApiKey, KeyState, KeyTarget, Project, User, is_slug
from projects.permissions import require_anywhere, visible
from projects.principal import Principal

FIELDS = ("person", "project", "endpoint", "prefix")
LIVING = (KeyState.ACTIVE, KeyState.ROTATING)
MOST_KEYS = 1000
MAX_REASON = 500
PREFIX = 12  # characters: gth_ and the eight of the key's id


@dataclass(frozen=True)
class Revocation:
    """The keys that end, or would, and how many more reach the endpoint that was named because they are for the whole
    project.
    """

    keys: tuple[ApiKey, ...]
    also_for_whole_project: int


def revoke_keys(by: Principal, which: Mapping[str, str], *, reason: str = "", dry_run: bool = False) -> Revocation:
    """End every living key that `which` names and `by` may end; all of them or, on any error, none.

    `which` holds person, project, endpoint ("project/name", or its id) or prefix ("gth_…"); several narrow. Playground
    keys count. With `dry_run` nothing changes. Raises Forbidden for somebody who ends no keys anywhere, and Invalid
    naming the field at fault: an unknown name and a hidden one read the same. A key that ended meanwhile is left out.
    """
    require_anywhere(by, "revoke", ApiKey)
    text = clean_text(reason, field="reason", high=MAX_REASON)
    rows, endpoint = _named(by, which)
    with transaction.atomic():
        found = list(rows.select_related("project", "person").prefetch_related("targets")[: MOST_KEYS + 1])
        if len(found) > MOST_KEYS:
            raise Invalid.field(
                "by", f"by names more than {MOST_KEYS:,} keys. Narrow it by person or project and repeat the call."
            )
        whole = _for_whole_project(by, endpoint) if endpoint is not None else 0
        if dry_run:
            return Revocation(tuple(found), whole)
        ended = [key.pk for key in found if _end(by, key, text, which)]
        if ended:
            epoch.bump()
        rows = ApiKey.objects.filter(pk__in=ended).order_by("pk")
        return Revocation(tuple(rows.select_related("project", "person").prefetch_related("targets")), whole)


def _end(by: Principal, key: ApiKey, reason: str, which: Mapping[str, str]) -> bool:
    for source in LIVING:
        if move(ApiKey.objects.filter(pk=key.pk), source, KeyState.REVOKED, revoked_at=timezone.now()):
            before, after = {"state": source}, {"in_bulk_by": sorted(which)}
            record("keys.revoke", by=by, obj=key, project=key.project.slug, before=before, after=after, reason=reason)
            return True
    return False


def _endable(by: Principal) -> QuerySet[ApiKey]:
    """Return the living keys that `by` may end: those of others where a role allows it, and own ones."""
    any_of = visible(by, ApiKey.objects.all(), "revoke_any").values("pk")
    own = visible(by, ApiKey.objects.filter(person=by.person), "revoke").values("pk")
    rows = ApiKey.objects.filter(Q(pk__in=any_of) | Q(pk__in=own))
    return rows.filter(state__in=LIVING, expires_at__gt=timezone.now()).order_by("pk")


def _named(by: Principal, which: Mapping[str, str]) -> tuple[QuerySet[ApiKey], Endpoint | None]:
    """Return the keys that `which` names, and the endpoint if it names one."""
    unknown = sorted(set(which) - set(FIELDS))
    if unknown or not which:
        wrong = f"by holds {unknown[0][:40]!r}" if unknown else "by is empty"
        raise Invalid.field("by", f"{wrong}. Name one of {', '.join(FIELDS)}.")
    rows, endpoint = _endable(by), None
    if "person" in which:
        rows = rows.filter(person=_person(by, which["person"]))
    if "project" in which:
        rows = rows.filter(project=_project(by, which["project"]))
    if "endpoint" in which:
        endpoint = _endpoint(by, which["endpoint"])
        bound = KeyTarget.objects.filter(key=OuterRef("pk"), kind=TARGET_KIND, target_id=str(endpoint.pk))
        rows = rows.filter(Exists(bound))
    if "prefix" in which:
        # Somebody in a hurry pastes the whole key; what follows the prefix is never looked at.
        rows = rows.filter(prefix=clean_text(which["prefix"], field="by.prefix", low=PREFIX, high=80)[:PREFIX])
    return rows, endpoint


def _person(by: Principal, name: str) -> User:
    text = clean_text(name, field="by.person", low=1, high=150)
    found = visible(by, User.objects.filter(username=text)).first()
    if found is None:
        raise Invalid.field("by.person", f"by.person names {text[:60]!r}, whom the portal does not know.")
    person: User = found
    return person


def _project(by: Principal, slug: str) -> Project:
    found = visible(by, Project.objects.filter(slug=slug)).first() if is_slug(slug) else None
    if found is None:
        raise Invalid.field("by.project", f"by.project names {slug[:60]!r}, which does not exist or you may not see.")
    project: Project = found
    return project


def _endpoint(by: Principal, name: str) -> Endpoint:
    rows = visible(by, Endpoint.objects.select_related("project"), "inspect")
    project, _, short = name.partition("/")
    found = None
    if is_slug(project) and is_slug(short):
        found = rows.filter(project__slug=project, name=short).order_by("-created_at").first()
    elif not short:
        try:
            found = rows.filter(pk=UUID(name)).first()
        except ValueError:
            found = None
    if found is None:
        raise Invalid.field(
            "by.endpoint",
            f"by.endpoint names {name[:90]!r}, which does not exist or you may not see. Write project/name or its id.",
        )
    endpoint: Endpoint = found
    return endpoint


def _for_whole_project(by: Principal, endpoint: Endpoint) -> int:
    """Return how many living keys reach `endpoint` without naming it, as far as `by` may end them."""
    rows = _endable(by).filter(project_id=endpoint.project_id)
    return rows.filter(~Exists(KeyTarget.objects.filter(key=OuterRef("pk")))).count()
