"""The account in whose name rules approve: it belongs to nobody and signs in nowhere."""

from django.db import transaction

from audit.services import system
from portal.errors import Conflict
from projects.models import PLATFORM_ENGINEERS, User
from projects.people import create_person
from projects.principal import Principal

NAME = "policy-rules"
VIA = "rule"


def machine() -> User:
    """Return the account, made on first use. Raises Conflict when a person has taken its name."""
    found = User.objects.filter(username=NAME).first()
    if found is None:
        try:
            with transaction.atomic():
                found = create_person(system("policies"), username=NAME, full_name="Policy rules", service=True)
        except Conflict:  # another process made it at this moment
            found = User.objects.get(username=NAME)
    if not found.is_service:
        raise Conflict(f"The user name {NAME} belongs to a person, so no rule can approve. Rename that account.")
    return found


def principal() -> Principal:
    """Return who decides where a rule does."""
    return Principal(user=machine(), via=VIA)


def acting() -> Principal:
    """Return the same with the role that carries out what was approved: what any reviewer's yes would do."""
    return Principal(user=machine(), via=VIA, groups=frozenset({PLATFORM_ENGINEERS}))
