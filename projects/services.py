"""Projects and their members."""

from django.db import transaction

from audit.services import record
from portal.errors import Conflict, Forbidden, Invalid, NotFound
from portal.http import clean_text
from projects import epoch
from projects.giving import check_role, require_by_hand, require_may_give
from projects.models import Membership, Project, Role, User, is_slug, slug_validator
from projects.permissions import require, require_anywhere
from projects.principal import Principal


def _clean(fields: dict[str, object]) -> dict[str, str]:
    bounds = {"name": (1, 80), "description": (0, 500), "cost_centre": (0, 40), "owner_team": (0, 80)}
    return {
        field: clean_text(value, field=field, low=bounds[field][0], high=bounds[field][1])
        for field, value in fields.items()
    }


def create_project(by: Principal, *, slug: str, name: str, **fields: object) -> Project:
    """Create a project and make its creator the first owner.

    `fields`: description, cost_centre, owner_team. Raises Forbidden, Invalid for text out of bounds and Conflict for
    a slug that is taken.
    """
    require_anywhere(by, "create", Project)
    if by.project_id is not None:
        raise Forbidden("The token is bound to a project. Creating another one needs a token without a project.")
    cleaned = _clean({"name": name, **fields})
    if not is_slug(slug):
        raise Invalid.field("slug", f"slug is {slug[:60]!r}. {slug_validator.message}")
    with transaction.atomic():
        if Project.objects.filter(slug=slug).exists():
            raise Conflict(f"A project named {slug} exists already. Choose another slug.", code="name_taken")
        project = Project.objects.create(slug=slug, **cleaned)
        record("projects.create", by=by, obj=project, project=slug, after={"slug": slug, **cleaned})
        Membership.objects.create(project=project, user=by.person, role=Role.OWNER)
        record(
            "projects.add_member", by=by, obj=project, project=slug, after={"user": by.name, "role": Role.OWNER.value}
        )
    return project


def change_project(by: Principal, project: Project, **fields: object) -> Project:
    """Change name, description, cost_centre or owner_team. Raises Forbidden, NotFound and Invalid."""
    require(by, "change", project)
    cleaned = _clean(fields)
    with transaction.atomic():
        before = {field: getattr(project, field) for field in cleaned}
        if before != cleaned:
            for field, value in cleaned.items():
                setattr(project, field, value)
            project.save(update_fields=list(cleaned))
            record("projects.change", by=by, obj=project, project=project.slug, before=before, after=cleaned)
    return project


def _person(username: str) -> User:
    name = clean_text(username, field="user", low=1, high=150)
    user = User.objects.filter(username=name, is_active=True).first()
    if user is None:
        raise NotFound(f"There is no person with the user name {username[:150]}.", fields={"user": "No such person."})
    return user


def set_member(by: Principal, project: Project, *, username: str, role: str) -> Membership:
    """Give a person a role in the project, new or changed: a built-in one, or a preset of projects.

    Raises Invalid for an unknown role, NotFound for an unknown person, Forbidden for a role that holds more than `by`,
    and Conflict when the last owner would go, or the identity provider gave the role that is there.
    """
    require(by, "manage_members", project)
    check_role(role)
    require_may_give(by, project, role)
    with transaction.atomic():
        user = _person(username)
        member = Membership.objects.select_related("user").filter(project=project, user=user).first()
        before = {"role": member.role} if member else {}
        if member is not None and member.role != role:
            require_by_hand(member)
            require_may_give(by, project, member.role)
        if member is None:
            member = Membership.objects.create(project=project, user=user, role=role)
        elif member.role != role:
            _keep_an_owner(project, member)
            Membership.objects.filter(pk=member.pk).update(role=role)
            member.role = role
        else:
            return member
        verb = "change_role" if before else "add_member"
        record(
            f"projects.{verb}",
            by=by,
            obj=project,
            project=project.slug,
            before=before,
            after={"user": user.username, "role": role},
        )
        epoch.bump()
    return member


def remove_member(by: Principal, project: Project, *, username: str) -> None:
    """Take a person out of the project; their keys there stop working within a second.

    Raises NotFound when the person is no member, Forbidden when they hold more than `by`, and Conflict for the last
    owner and for members by a group of the identity provider.
    """
    require(by, "manage_members", project)
    name = clean_text(username, field="user", low=1, high=150)
    with transaction.atomic():
        member = Membership.objects.select_related("user").filter(project=project, user__username=name).first()
        if member is None:
            raise NotFound(f"{username[:150]} is not a member of {project.slug}.")
        require_by_hand(member)
        require_may_give(by, project, member.role)
        _keep_an_owner(project, member)
        member.delete()
        record(
            "projects.remove_member",
            by=by,
            obj=project,
            project=project.slug,
            before={"user": member.user.username, "role": member.role},
        )
        epoch.bump()


def _keep_an_owner(project: Project, member: Membership) -> None:
    if member.role != Role.OWNER:
        return
    # Locking the project row serialises two owners who remove each other at the same instant.
    Project.objects.select_for_update().get(pk=project.pk)
    if not project.memberships.filter(role=Role.OWNER).exclude(pk=member.pk).exists():
        raise Conflict(
            f"{project.slug} would be left without an owner. Make somebody else owner first.", code="last_owner"
        )
