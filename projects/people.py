"""People and service accounts."""

from django.contrib.auth.models import Group
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction

from audit.services import Actor, record
from portal.errors import Conflict, Invalid
from portal.http import clean_text
from projects.models import PLATFORM_GROUPS, User


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
