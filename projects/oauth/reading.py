"""What there is to know of tokens without changing them: of an application, and of a person."""

import datetime as dt
from collections.abc import Iterable
from typing import Any

from allauth.idp.oidc.models import Token

from audit.models import Row
from projects.models import ApiKey, Application, KeyState, User
from projects.oauth.living import in_words, last_day, why_ended
from projects.tokens import CLIENT_ID

MOST = 500  # tokens of a person that are looked at
SHOWN = ("applications.create", "applications.rotate")  # whoever did that has read the secret


def living_tokens(application: Application) -> int:
    """Return how many access tokens of an application work now."""
    rows = Token.objects.valid().filter(client=application.client_id, type=Token.Type.ACCESS_TOKEN)
    return int(rows.count())


def behind(account: str) -> frozenset[int]:
    """Return the ids of the people who may be behind what the service account with this user name does: who answers
    for its application, and who was ever handed the secret (one query, three where there is an application).
    """
    rows = list(Application.objects.filter(account__username=account).values_list("pk", "owner_id"))
    if not rows:
        return frozenset()
    kept = Row.objects.filter(object_kind="application", object_id__in=[str(pk) for pk, _ in rows], action__in=SHOWN)
    names = [actor.removeprefix("user:") for actor in kept.values_list("actor", flat=True).distinct()]
    holders = User.objects.filter(public_id__in=[name for name in names if ":" not in name])
    return frozenset({owner for _, owner in rows} | set(holders.values_list("pk", flat=True)))


def effects_of_end(application: Application) -> list[dict[str, Any]]:
    """Return what ends with an application, counted (at most three queries)."""
    held = Token.objects.valid().filter(client=application.client_id)
    people = held.exclude(user=None).values("user").distinct().count()
    found = [
        {"count": f"{held.count():,}", "text": " of its tokens stop at once"},
        {"count": f"{people:,}", "text": " people are disconnected"},
    ]
    if application.account is not None:
        keys = ApiKey.objects.filter(person=application.account, state__in=(KeyState.ACTIVE, KeyState.ROTATING)).count()
        found.append({"count": application.account.username, "text": " is closed for good"})
        found.append({"count": f"{keys:,}", "text": " keys of it are revoked"})
    return found


def tokens_of(person: User) -> list[Token]:
    """Return the living tokens of a person, newest first, with their applications (one query)."""
    rows = Token.objects.valid().filter(user=person, type__in=[Token.Type.ACCESS_TOKEN, Token.Type.REFRESH_TOKEN])
    rows = rows.select_related("client__application__owner", "client__application__account")
    return list(rows.order_by("-created_at", "-id")[:MOST])


def connected(held: Iterable[Token]) -> list[dict[str, Any]]:
    """Return the applications that hold `held`: scopes, since when, last used. No query."""
    found: dict[str, dict[str, Any]] = {}
    for token in held:
        application = getattr(token.client, "application", None)
        if application is None:
            continue
        line = found.setdefault(
            token.client_id,
            {
                "client": token.client_id, "name": token.client.name, "owner": application.owner.username,
                "ends_on": last_day(application), "works": not why_ended(application), "since": token.created_at,
                "used": None, "scopes": set(),
            },
        )  # fmt: skip
        line["scopes"] |= set(token.get_scopes()) & set(token.client.get_scopes())
        line["since"] = min(line["since"], token.created_at)
        line["used"] = max(filter(None, (line["used"], _used(token))), default=None)
    return [
        line | {"scopes": [{"name": scope, "words": in_words(scope)} for scope in sorted(line["scopes"])]}
        for line in sorted(found.values(), key=lambda one: str(one["name"]))
    ]


def own(held: Iterable[Token]) -> list[dict[str, Any]]:
    """Return the tokens that were minted on the host. No query."""
    return [
        {
            "id": token.pk, "scopes": ", ".join(token.get_scopes()), "since": token.created_at,
            "ends": token.expires_at, "used": _used(token), "bound": bool((token.data or {}).get("project")),
        }
        for token in held
        if token.client_id == CLIENT_ID
    ]  # fmt: skip


def _used(token: Token) -> dt.datetime | None:
    text = (token.data or {}).get("used_at")
    return dt.datetime.fromisoformat(text) if text else None
