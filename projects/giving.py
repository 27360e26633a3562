"""Who may give which role in a project: nobody hands out more than they hold themselves."""

from portal.errors import Conflict, Forbidden, Invalid
from projects.models import PLATFORM_ENGINEERS, Membership, Preset, Project, Role, Source, Where
from projects.presets import of_roles
from projects.principal import Principal

_BELOW_OWNER = (Role.DEVELOPER, Role.VIEWER)


def roles_of_projects() -> list[tuple[str, str]]:
    """Return every role that a member can have, as (value, label): built-in ones first (one query)."""
    presets = Preset.objects.filter(where=Where.PROJECT).order_by("name").values_list("slug", "name")
    return [*((role.value, str(role.label)) for role in Role), *presets]


def check_role(role: str) -> None:
    """Raise Invalid unless `role` is a built-in role or a preset of projects (one query)."""
    known = [value for value, _ in roles_of_projects()]
    if role not in known:
        raise Invalid.field("role", f"role is {str(role)[:40]!r}; choose one of {', '.join(known)}.")


def require_may_give(by: Principal, project: Project, role: str) -> None:
    """Raise Forbidden when `by`, who may manage members, holds less than `role` (two queries at most).

    Platform engineers give every role. An owner gives what an owner holds. Whoever manages members by a preset gives
    and takes what developers and viewers hold, so that nobody climbs by their own hand.
    """
    if PLATFORM_ENGINEERS in by.groups:
        return
    own = by.role_in(project.pk)
    limit = of_roles([Role.OWNER] if own == Role.OWNER else _BELOW_OWNER)
    too_much = sorted(_held(role) - limit)
    if too_much:
        holder = "an owner" if own == Role.OWNER else "a developer"
        raise Forbidden(
            f"{role} may {too_much[0]}, which {holder} may not. Ask a platform engineer"
            f"{'' if own == Role.OWNER else ' or an owner of the project'}."
        )


def require_by_hand(member: Membership) -> None:
    """Raise Conflict for a role that the identity provider's groups give: the next sign-in would bring it back."""
    if member.source == Source.SSO:
        raise Conflict(
            f"{member.user.username} is {member.role} by a group of the identity provider. Change the group there.",
            code="managed_by_sso",
        )


def _held(role: str) -> frozenset[str]:
    if role in Role.values:
        return of_roles([role])
    preset = Preset.objects.filter(where=Where.PROJECT, slug=role).first()
    return preset.granted if preset is not None else frozenset()
