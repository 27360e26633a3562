"""What groups of the identity provider make of people: by the settings, and by rows that platform engineers keep."""

import logging
from dataclasses import dataclass

from allauth.socialaccount.models import SocialAccount
from django.conf import settings
from django.contrib.auth.models import Group
from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from audit.services import record
from portal.errors import Conflict, Invalid, NotFound
from portal.http import clean_text
from projects.models import PLATFORM_GROUPS, GroupMapping, Membership, Preset, Project, Role, Source, User, Where
from projects.permissions import require, require_anywhere, visible
from projects.principal import Principal
from projects.sso import roles

log = logging.getLogger(__name__)

RANK = {Role.VIEWER.value: 0, Role.DEVELOPER.value: 2, Role.OWNER.value: 3}  # a preset ranks 1: between both


@dataclass(frozen=True)
class Mapping:
    """One mapping, whichever way it came. `broken` says why it leads nowhere."""

    group: str
    into: Group | None = None
    project: Project | None = None
    role: str = ""
    managed: bool = True
    row: GroupMapping | None = None  # None: from the settings
    broken: str = ""

    @property
    def words(self) -> str:
        """What the group's people become."""
        if self.into is not None:
            return group_words(self.into.name)
        return f"{self.role} of {self.project.slug}" if self.project else self.broken


def group_words(name: str) -> str:
    """Return what a member of a platform group is called."""
    return name.removesuffix("s").replace("-", " ") if name in PLATFORM_GROUPS else f"member of {name}"


def words(row: GroupMapping) -> str:
    """Return what a row makes of people."""
    return Mapping(row.group, row.into, row.project, row.role, row.managed, row).words


def rank(role: str) -> tuple[int, str]:
    """Return what orders roles in a project: owner over developer over presets (by name) over viewer over none."""
    return (RANK.get(role, 1), role) if role else (-1, "")


def project_roles() -> list[str]:
    """Return what a person may be in a project: the roles, and the presets that are held in projects."""
    presets = Preset.objects.filter(where=Where.PROJECT).order_by("slug").values_list("slug", flat=True)
    return [*Role.values, *presets]


def known() -> list[Mapping]:
    """Return every mapping, those of the settings first (at most four queries)."""
    rows = GroupMapping.objects.select_related("into", "project", "created_by")
    return [*_of_settings(), *(Mapping(row.group, row.into, row.project, row.role, row.managed, row) for row in rows)]


def _of_settings() -> list[Mapping]:
    pairs = settings.SSO.groups if settings.SSO else ()
    if not pairs:
        return []
    groups = {group.name: group for group in Group.objects.filter(name__in=[into for _, into in pairs])}
    slugs = [into.partition(":")[0] for _, into in pairs if ":" in into]
    projects = {project.slug: project for project in Project.objects.filter(slug__in=slugs)} if slugs else {}
    choices = project_roles() if slugs else []
    found = []
    for name, into in pairs:
        slug, colon, role = into.partition(":")
        if not colon:
            broken = "" if into in groups else f"there is no group {into} in the portal"
            found.append(Mapping(name, into=groups.get(into), broken=broken))
            continue
        broken = "" if slug in projects else f"there is no project {slug}"
        broken = broken or ("" if role in choices else f"there is no role {role} in projects")
        found.append(Mapping(name, project=None if broken else projects[slug], role=role, broken=broken))
    for one in found:
        if one.broken:
            log.warning("sso.mapping_broken %s", one.broken)
    return found


def create(
    by: Principal, *, group: str, into: str = "", project: str = "", role: str = "", managed: bool = True
) -> GroupMapping:
    """Let a group of the identity provider lead into a platform group (`into`), or into `project` with `role`.

    Raises Forbidden, Invalid for a text out of bounds or a target that does not exist, and Conflict for a second
    mapping of the group to the same place.
    """
    require_anywhere(by, "create", GroupMapping)
    name = clean_text(group, field="group", low=1, high=200)
    target = _platform_group(into) if into else None
    room = _project(by, project, role) if project or role else None
    if (target is None) == (room is None):
        raise Invalid.field("into", "A mapping leads to one place: choose a platform group, or a project with a role.")
    try:
        with transaction.atomic():
            row = GroupMapping.objects.create(
                group=name,
                into=target,
                project=room,
                role=role if room else "",
                managed=managed,
                created_by=by.person,
            )
            record("sso.create_mapping", by=by, obj=row, project=room.slug if room else "", after=_facts(row))
    except IntegrityError as error:
        raise Conflict(
            f"{name} leads there already. Change or delete that mapping instead.",
            code="name_taken",
            fields={"group": "This group leads there already."},
        ) from error
    return row


def _platform_group(name: str) -> Group:
    found = Group.objects.filter(name=name[:150]).first()
    if found is None:
        raise Invalid.field("into", f"into is {name[:60]!r}, but there is no such group. Choose one of the list.")
    return found


def _project(by: Principal, slug: str, role: str) -> Project:
    found: Project | None = visible(by, Project.objects.all()).filter(slug=slug[:40]).first()
    if found is None:
        raise Invalid.field("project", f"project is {slug[:60]!r}, but there is no such project. Choose one.")
    choices = project_roles()
    if role not in choices:
        raise Invalid.field("role", f"role is {role[:40]!r}; choose one of {', '.join(choices)}.")
    return found


def _facts(row: GroupMapping) -> dict[str, object]:
    target = {"into": row.into.name} if row.into else {"project": row.project and row.project.slug, "role": row.role}
    return {"group": row.group, "managed": row.managed, **target}


def get(by: Principal, mapping_id: int) -> GroupMapping:
    """Return a mapping that `by` may see; raises NotFound."""
    rows = visible(by, GroupMapping.objects.select_related("into", "project"))
    row: GroupMapping | None = rows.filter(pk=mapping_id).first() if mapping_id < 2**63 else None
    if row is None:
        raise NotFound("There is no such mapping, or you may not see it.")
    return row


def set_managed(by: Principal, row: GroupMapping, managed: bool) -> None:
    """Let the mapping also take roles away, or only give them. Raises Forbidden."""
    require(by, "change", row)
    with transaction.atomic():
        if GroupMapping.objects.filter(pk=row.pk).exclude(managed=managed).update(managed=managed):
            record("sso.change_mapping", by=by, obj=row, before={"managed": not managed}, after={"managed": managed})
    row.managed = managed


def delete(by: Principal, row: GroupMapping) -> None:
    """Delete a mapping. The last managed one to a place takes what it gave with it, at once; raises Forbidden."""
    require(by, "delete", row)
    with transaction.atomic():
        pk, lost = row.pk, list(_holders(row)) if _is_last(row) else []
        if not GroupMapping.objects.filter(pk=pk).delete()[0]:
            return
        record(
            "sso.delete_mapping",
            by=by,
            obj=("groupmapping", str(pk)),
            project=row.project.slug if row.project else "",
            before={**_facts(row), "people": len(lost)},
        )
        for person in lost:
            _take(by, row, person)


def loses(row: GroupMapping) -> int:
    """Return how many people lose a role when the mapping is deleted."""
    return _holders(row).count() if _is_last(row) else 0


def _is_last(row: GroupMapping) -> bool:
    """Whether no other managed mapping leads to the place; where one does, the next sign-in decides who stays."""
    others = [one for one in known() if one.managed and (one.row is None or one.row.pk != row.pk)]
    same = {(one.into and one.into.pk, one.project and one.project.pk) for one in others if not one.broken}
    return row.managed and (row.into_id, row.project_id) not in same


def _holders(row: GroupMapping) -> QuerySet[User]:
    """People who hold what the mapping gives and have it from the identity provider."""
    if row.project_id is not None:
        return User.objects.filter(memberships__project=row.project_id, memberships__source=Source.SSO)
    came = SocialAccount.objects.values("user_id")
    return User.objects.filter(groups=row.into_id, pk__in=came)


def _take(by: Principal, row: GroupMapping, person: User) -> None:
    if row.into is not None:
        roles.leave(person, row.into, by=by)
        return
    roles.give_back(
        person, Membership.objects.select_related("project").get(project=row.project_id, user=person), by=by
    )
