"""Every sign-in, sign-out and refused sign-in leaves an audit row."""

from typing import Any

from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.db import transaction
from django.dispatch import receiver
from django.http import HttpRequest

from audit.services import record, system
from projects.models import User
from projects.principal import Principal


def _write(action: str, request: HttpRequest | None, user: User) -> None:
    who = Principal(user=user, request_id=getattr(request, "request_id", ""), address=getattr(request, "address", ""))
    with transaction.atomic():
        record(action, by=who, obj=("user", str(user.public_id)))


@receiver(user_logged_in)
def signed_in(sender: Any, request: HttpRequest | None, user: User, **_: Any) -> None:
    """Somebody signed in."""
    _write("people.sign_in", request, user)


@receiver(user_logged_out)
def signed_out(sender: Any, request: HttpRequest | None, user: User | None, **_: Any) -> None:
    """Somebody signed out."""
    if isinstance(user, User):
        _write("people.sign_out", request, user)


@receiver(user_login_failed)
def refused(sender: Any, credentials: dict[str, Any], request: HttpRequest | None = None, **_: Any) -> None:
    """Somebody was refused. The name that was typed is not kept: people type passwords there."""
    where = {"request_id": getattr(request, "request_id", ""), "address": getattr(request, "address", "")}
    with transaction.atomic():
        record("people.sign_in_refused", by=system("sign-in"), obj=("session", where["request_id"] or "-"), after=where)
