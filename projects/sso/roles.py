"""Writing what the identity provider's groups make of a person: memberships and platform groups, each with its row."""

from django.contrib.auth.models import Group

from audit.services import Actor, record
from projects import epoch
from projects.models import Membership, Project, Role, Source, User
from projects.notify.audience import platform_engineers
from projects.notify.services import tell


def join(person: User, group: Group, *, by: Actor) -> None:
    """Put a person into a platform group."""
    person.groups.add(group)
    epoch.bump()
    record("people.join_group", by=by, obj=("user", str(person.public_id)), after={"group": group.name})


def leave(person: User, group: Group, *, by: Actor) -> None:
    """Take a person out of a platform group."""
    person.groups.remove(group)
    epoch.bump()
    record("people.leave_group", by=by, obj=("user", str(person.public_id)), before={"group": group.name})


def hold(
    person: User, project: Project, held: Membership | None, *, role: str, source: str, by_hand: str, by: Actor
) -> bool:
    """Let a person hold `role` in the project ("": none), instead of what `held` says; return whether that changed
    anything. `by_hand` is the role that comes back when the identity provider's goes. The last owner may go: the
    provider has the last word, and platform engineers are told.
    """
    old = (held.role, held.source, held.by_hand) if held else ("", "", "")
    if old == (role, source, by_hand) or (not role and held is None):
        return False
    before = {"user": person.username, "role": old[0], "source": old[1]} if held else None
    after: dict[str, object] | None = {"user": person.username, "role": role, "source": source} if role else None
    if held is None:
        Membership.objects.create(project=project, user=person, role=role, source=source, by_hand=by_hand)
    elif role:
        Membership.objects.filter(pk=held.pk).update(role=role, source=source, by_hand=by_hand)
    else:
        held.delete()
    verb = "add_member" if held is None else "change_role" if role else "remove_member"
    record(f"projects.{verb}", by=by, obj=project, project=project.slug, before=before, after=after)
    if old[0] != role:
        epoch.bump()
    if old[0] == Role.OWNER and role != Role.OWNER:
        _tell_if_ownerless(project, person)
    return True


def give_back(person: User, held: Membership, *, by: Actor) -> bool:
    """Take what the identity provider gave in a project: the role given by hand returns, where there was one."""
    return hold(person, held.project, held, role=held.by_hand, source=Source.HAND, by_hand="", by=by)


def _tell_if_ownerless(project: Project, person: User) -> None:
    if project.memberships.filter(role=Role.OWNER).exists():
        return
    tell(
        "project.ownerless",
        platform_engineers(),
        title=f"{project.slug} has no owner any more.",
        text=f"{person.username} lost the group that made them owner. Make somebody else owner.",
        url=f"/projects/{project.slug}/",
        project=project,
        about=("project", str(project.pk)),
    )
