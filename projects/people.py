"""People, service accounts, and the platform-wide groups that they are in."""

from collections.abc import Iterable

from django.contrib.auth.models import Group
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction

from audit.services import Actor, record
from portal.errors import Conflict, Invalid
from portal.http import clean_text
from projects import epoch
from projects.models import (
    PLATFORM_ENGINEERS,
    PLATFORM_GROUPS,
    GroupMapping,
    Preset,
    Role,
    User,
    is_slug,
    slug_validator,
)
from projects.permissions import require, require_anywhere
from projects.principal import Principal

MAX_REASON = 300


def create_person(
    by: Actor,
    *,
    username: str,
    full_name: str = "",
    email: str = "",
    password: str | None = None,
    groups: tuple[str, ...] = (),
    service: bool = False,
) -> User:
    """Create a person, or a service account without a password, in platform groups; for commands on the host.

    Raises Invalid for a bad name, password or group and Conflict for a name that is taken.
    """
    name = clean_text(username, field="username", low=1, high=150)
    unknown = [group for group in groups if group not in PLATFORM_GROUPS]
    if unknown:
        raise Invalid.field("groups", f"groups holds {unknown}; choose from {', '.join(PLATFORM_GROUPS)}.")
    user = User(username=name, first_name=clean_text(full_name, field="full_name", high=150), is_service=service)
    user.email = clean_text(email, field="email", high=254)
    if email:
        try:
            validate_email(user.email)
        except ValidationError as error:
            raise Invalid.field("email", "email must look like dana@example.com.") from error
    if password is None:
        user.set_unusable_password()
    else:
        try:
            validate_password(password, user)
        except ValidationError as error:
            raise Invalid.field("password", " ".join(error.messages)) from error
        user.set_password(password)
    with transaction.atomic():
        if User.objects.filter(username=name).exists():
            raise Conflict(f"The user name {name} is taken.", code="name_taken")
        user.save()
        user.groups.set(Group.objects.filter(name__in=groups))
        record(
            "people.create",
            by=by,
            obj=("user", str(user.public_id)),
            after={"groups": sorted(groups), "service": service},
        )
    return user


def set_groups(by: Principal, person: User, groups: Iterable[str], *, reason: str) -> list[str]:
    """Make `person` a member of exactly these platform-wide groups: the platform's own, presets, named groups.

    Returns them sorted. Raises Forbidden, Invalid for an unknown group or a missing reason, and Conflict when nobody
    would be left who runs the platform, or for a service account, which belongs to projects only.
    """
    require(by, "change", person)
    text = clean_text(reason, field="reason", low=3, high=MAX_REASON)
    wanted = set(groups)
    found = list(Group.objects.filter(name__in=wanted))
    unknown = sorted(wanted - {group.name for group in found})
    if unknown:
        raise Invalid.field("groups", f"groups holds {unknown[0][:60]!r}, which is not a group of this platform.")
    if person.is_service and wanted:
        raise Conflict(f"{person.username} is a service account. Give it a role in a project instead.")
    with transaction.atomic():
        engineers = Group.objects.select_for_update().get(name=PLATFORM_ENGINEERS)  # one after the other
        before = sorted(person.groups.values_list("name", flat=True))
        if before == sorted(wanted):
            return before
        if engineers.name in before and engineers.name not in wanted:
            _keep_an_engineer(person)
        person.groups.set(found)
        record(
            "people.set_groups",
            by=by,
            obj=("user", str(person.public_id)),
            before={"groups": before},
            after={"groups": sorted(wanted)},
            reason=text,
        )
        epoch.bump()
    return sorted(wanted)


def create_group(by: Principal, name: str) -> Group:
    """Create a named group, to which assets can be opened and into which groups of the identity provider can lead.

    Raises Forbidden, Invalid for a bad name and Conflict for one that a role, preset or group has already.
    """
    require_anywhere(by, "change", User)
    if not is_slug(name):
        raise Invalid.field("name", f"name is {name[:60]!r}. {slug_validator.message}")
    with transaction.atomic():
        taken = name in Role.values or Preset.objects.filter(slug=name).exists()
        if taken or Group.objects.filter(name=name).exists():
            raise Conflict(f"{name} is the name of a role, preset or group already. Choose another.", code="name_taken")
        made = Group.objects.create(name=name)
        record("people.create_group", by=by, obj=("group", str(made.pk)), after={"name": name})
    return made


def delete_group(by: Principal, group: Group) -> None:
    """Delete a named group that is empty. Raises Forbidden, and Conflict for a group of the platform, a preset's, one
    with people in it, or one that a mapping leads into.
    """
    require_anywhere(by, "change", User)
    with transaction.atomic():
        if group.name in PLATFORM_GROUPS or Preset.objects.filter(slug=group.name).exists():
            raise Conflict(f"{group.name} belongs to the platform and stays.")
        people, mapped = group.user_set.count(), GroupMapping.objects.filter(into=group).count()
        if people or mapped:
            raise Conflict(f"{group.name} has {people} people and {mapped} mappings. Take them out first.")
        record("people.delete_group", by=by, obj=("group", str(group.pk)), before={"name": group.name})
        group.delete()


def _keep_an_engineer(person: User) -> None:
    others = User.objects.filter(groups__name=PLATFORM_ENGINEERS, is_active=True).exclude(pk=person.pk)
    if not others.exists():
        raise Conflict(
            "Nobody would be left who runs the platform. Make somebody else a platform engineer first.",
            code="last_engineer",
        )
