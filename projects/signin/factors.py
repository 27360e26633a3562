"""Second factors of a person: whether there is one, whether it may go, and an audit row for every change."""

from typing import Any

from allauth.account.internal.flows.login import record_authentication
from allauth.mfa.models import Authenticator
from allauth.mfa.signals import authenticator_added, authenticator_removed, authenticator_reset
from django.conf import settings
from django.db import transaction
from django.dispatch import receiver
from django.http import HttpRequest

from audit.services import Actor, record
from portal.http import clean_text
from projects.models import User
from projects.permissions import require
from projects.principal import Principal
from projects.signin import proof

THEN = "after_second_factor"  # session key: the page that somebody wanted before the set-up of a factor
FACTORS = (Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN)  # recovery codes only stand in for one


def has_one(person: User) -> bool:
    """Whether the person has set up a second factor here."""
    return bool(Authenticator.objects.filter(user=person, type__in=FACTORS).exists())


def may_remove(authenticator: Authenticator) -> bool:
    """Whether a factor may go: where one is demanded, the last one stays."""
    if not settings.REQUIRE_MFA or authenticator.type not in FACTORS:
        return True
    others = Authenticator.objects.filter(user=authenticator.user_id, type__in=FACTORS)
    return bool(others.exclude(pk=authenticator.pk).exists())


def take_away(by: Principal, person: User, reason: str) -> int:
    """Take all factors of somebody who lost them, for platform engineers; return how many. Raises Forbidden for others
    and Invalid without a reason.
    """
    require(by, "change", person)
    return drop(by, person, clean_text(reason, field="reason", low=1, high=300))


def drop(by: Actor, person: User, reason: str) -> int:
    """Take all factors of somebody without asking who wants it: for commands on the host. Returns how many."""
    with transaction.atomic():
        count: int = Authenticator.objects.filter(user=person).delete()[0]
        if count:
            record("people.take_factors", by=by, obj=("user", str(person.public_id)), reason=reason)
    return count


@receiver(authenticator_added)
def added(sender: Any, request: HttpRequest, user: User, authenticator: Authenticator, **_: Any) -> None:
    """A factor was set up. Its first code or touch is a proof like every later one."""
    if authenticator.type in FACTORS:
        record_authentication(request, user, "mfa", id=authenticator.pk, type=str(authenticator.type))
    _write("people.add_factor", request, user, authenticator)


@receiver(authenticator_removed)
def removed(sender: Any, request: HttpRequest, user: User, authenticator: Authenticator, **_: Any) -> None:
    """A factor was removed."""
    _write("people.remove_factor", request, user, authenticator)


@receiver(authenticator_reset)
def renewed(sender: Any, request: HttpRequest, user: User, authenticator: Authenticator, **_: Any) -> None:
    """Recovery codes were replaced by new ones."""
    _write("people.renew_recovery_codes", request, user, authenticator)


def _write(action: str, request: HttpRequest, user: User, authenticator: Authenticator) -> None:
    who = Principal(
        user=user,
        second_factor=proof.second_factor(request.session),
        request_id=getattr(request, "request_id", ""),
        address=getattr(request, "address", ""),
    )
    with transaction.atomic():
        record(action, by=who, obj=("user", str(user.public_id)), after={"factor": str(authenticator.type)})
