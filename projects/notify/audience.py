"""Who is told: active people only, each once."""

from projects.models import GOVERNANCE_LEADS, PLATFORM_ENGINEERS, Project, Role, User


def _members(project: Project, *roles: str) -> list[User]:
    found = User.objects.filter(
        is_active=True, is_service=False, memberships__project=project, memberships__role__in=roles
    )
    return list(found.distinct().order_by("pk"))


def _group(name: str) -> list[User]:
    return list(User.objects.filter(is_active=True, is_service=False, groups__name=name).distinct().order_by("pk"))


def owners(project: Project) -> list[User]:
    """Return the owners of `project`."""
    return _members(project, Role.OWNER)


def builders(project: Project) -> list[User]:
    """Return the owners and developers of `project`."""
    return _members(project, Role.OWNER, Role.DEVELOPER)


def platform_engineers() -> list[User]:
    """Return the platform engineers."""
    return _group(PLATFORM_ENGINEERS)


def governance_leads() -> list[User]:
    """Return the governance leads."""
    return _group(GOVERNANCE_LEADS)
