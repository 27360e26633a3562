"""Which applications may speak the protocol at all: one question, asked wherever a client or its token comes in."""

import datetime as dt

from allauth.idp.oidc.models import Client
from django.utils import timezone

from projects.models import Application
from projects.permissions import SCOPES

MAX_CLIENT_ID = 100
IDENTITY_SCOPES = ("openid", "profile", "email")  # what OpenID Connect itself asks for; they open nothing of the API
EXTERNAL = "external"  # Client.data: the client lives at the issuer of settings.EXTERNAL_JWT


def why_ended(application: Application, now: dt.datetime | None = None) -> str:
    """Return why `application` is refused, "" while it lives. Reads owner and account, which the caller selects."""
    if application.ended_at is not None:
        return "ended"
    if application.ends_at <= (now or timezone.now()):
        return "past_its_end"
    if not application.owner.is_active:
        return "owner_left"
    if application.account is not None and not application.account.is_active:
        return "account_inactive"
    return ""


def last_day(application: Application) -> dt.date:
    """Return the last day (UTC) on which an application works."""
    return (application.ends_at - dt.timedelta(seconds=1)).astimezone(dt.UTC).date()


def living_client(client_id: object) -> Client | None:
    """Return the client of a living application that speaks the protocol here, else None (one query)."""
    if not isinstance(client_id, str) or not 0 < len(client_id) <= MAX_CLIENT_ID or not client_id.isprintable():
        return None
    rows = Application.objects.select_related("client", "owner", "account", "project")
    application = rows.filter(client_id=client_id).first()
    if application is None or why_ended(application) or is_external(application.client):
        return None
    client: Client = application.client
    client.skip_consent = False  # whatever the column says: a person is always asked
    return client


def is_external(client: Client) -> bool:
    """Whether the client lives at another issuer, so that it can only come with a token of that one."""
    return isinstance(client.data, dict) and bool(client.data.get(EXTERNAL))


def in_words(scope: str) -> str:
    """Return what a scope lets an application do."""
    words = {
        "openid": "Know who you are",
        "profile": "Read your name and user name",
        "email": "Read your e-mail address",
        **SCOPES,
    }
    return words.get(scope, scope)
