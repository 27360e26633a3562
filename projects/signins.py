"""Every sign-in, sign-out, changed password and refused sign-in leaves an audit row."""

from typing import Any

from allauth.account.signals import password_changed, password_reset
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.db import transaction
from django.dispatch import receiver
from django.http import HttpRequest

from audit.services import record, system
from projects.models import User
from projects.principal import Principal
from projects.signin import proof


def _write(action: str, request: HttpRequest | None, user: User, **after: object) -> None:
    who = Principal(user=user, request_id=getattr(request, "request_id", ""), address=getattr(request, "address", ""))
    with transaction.atomic():
        record(action, by=who, obj=("user", str(user.public_id)), after=after)


@receiver(user_logged_in)
def signed_in(sender: Any, request: HttpRequest | None, user: User, **_: Any) -> None:
    """Somebody signed in."""
    session = getattr(request, "session", None)
    proved = {} if session is None else {"second_factor": proof.second_factor(session), "how": proof.method(session)}
    _write("people.sign_in", request, user, **proved)


@receiver(user_logged_out)
def signed_out(sender: Any, request: HttpRequest | None, user: User | None, **_: Any) -> None:
    """Somebody signed out."""
    if isinstance(user, User):
        _write("people.sign_out", request, user)


@receiver(password_changed)
def changed(sender: Any, request: HttpRequest, user: User, **_: Any) -> None:
    """Somebody changed a password, which ends the other sessions."""
    _write("people.change_password", request, user)


@receiver(password_reset)
def reset(sender: Any, request: HttpRequest, user: User, **_: Any) -> None:
    """Somebody set a new password by a link from a mail, which ends all sessions."""
    _write("people.reset_password", request, user)


@receiver(user_login_failed)
def refused(sender: Any, credentials: dict[str, Any], request: HttpRequest | None = None, **_: Any) -> None:
    """Somebody was refused."""
    refused_for("wrong", request)


def refused_for(code: str, request: HttpRequest | None) -> None:
    """Write that somebody was refused: `code` wrong, locked or service. The name that was typed is not kept, since
    people type passwords there.
    """
    where = {"request_id": getattr(request, "request_id", ""), "address": getattr(request, "address", "")}
    with transaction.atomic():
        record(
            "people.sign_in_refused",
            by=system("sign-in"),
            obj=("session", where["request_id"] or "-"),
            after=where | {"code": code},
        )
