"""Resetting a password by mail. The page answers before anybody looks whether there is such an account, so neither its
words nor its time tell a stranger.
"""

import logging
from typing import Any

from allauth.account.forms import ResetPasswordForm
from allauth.account.utils import user_pk_to_url_str
from celery import current_app
from django.conf import settings
from django.contrib.auth.tokens import default_token_generator
from django.core.mail import EmailMessage
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import reverse
from kombu.exceptions import OperationalError

from projects.models import User

TASK = "projects.tasks.reset_password"  # by name: the task calls this module
MOST = 5  # accounts of one address that get a mail

log = logging.getLogger(__name__)


class ResetForm(ResetPasswordForm):
    """The address, which is not looked up here."""

    def clean_email(self) -> str:
        """Return the address as it was typed."""
        return str(self.cleaned_data["email"]).strip()

    def save(self, request: HttpRequest, **kwargs: Any) -> str:
        """Hand the address to a worker."""
        address = str(self.cleaned_data["email"])
        if settings.MAIL_ON:
            hand_over(address)
        return address


def hand_over(address: str) -> None:
    """Let a worker do the rest. The message holds the address alone; the secret is made where it is mailed."""
    try:
        current_app.send_task(TASK, args=[address])
    except (OperationalError, OSError):
        log.warning("signin.reset_not_queued")  # the person asks again; the answer is the same for everybody


def mail_link(address: str) -> int:
    """Mail each active person with this address a link, or how they sign in instead; return how many mails left."""
    if not settings.MAIL_ON:
        return 0
    people = User.objects.filter(email__iexact=address, is_active=True, is_service=False).exclude(email="")
    sent = 0
    for person in people.order_by("pk")[:MOST]:
        sent += message(person).send(fail_silently=False)
    return sent


def message(person: User) -> EmailMessage:
    """Return the mail: the link of one use, or for people of the identity provider that there is no password here."""
    link = ""
    if person.has_usable_password():
        key = default_token_generator.make_token(person)
        names = {"uidb36": user_pk_to_url_str(person), "key": key}
        link = settings.BASE_URL + reverse("account_reset_password_from_key", kwargs=names)
    context = {
        "name": person.display_name,
        "username": person.username,
        "link": link,
        "hours": settings.PASSWORD_RESET_TIMEOUT // 3600,
        "provider": settings.SSO.name if settings.SSO else "",
        "login_url": settings.BASE_URL + reverse("account_login"),
    }
    text = render_to_string("account/email/reset.txt", context)
    headers = {"Auto-Submitted": "auto-generated"}
    return EmailMessage("Your password for Gatehouse", text, to=[person.email], headers=headers)
