"""API keys: `gth_<8-char id>_<secret><checksum>`. The secret is shown once; plain SHA-256 is stored, since it has
256 random bits.
"""

import datetime as dt
from collections.abc import Iterable

from django.db import transaction
from django.utils import timezone

from audit.services import record, system
from portal import crypto
from portal.errors import Conflict, Invalid
from portal.http import clean_text
from portal.states import move
from projects import epoch
from projects.models import ApiKey, KeyState, KeyTarget, Project
from projects.permissions import SCOPES, SHORT_LIVED, require
from projects.principal import Principal

SECRET_LENGTH = 43  # of 62 symbols: 256 bits
DEFAULT_DAYS, MAX_DAYS = 90, 365
ROTATION_OVERLAP = dt.timedelta(days=7)


def new_secret() -> tuple[str, str]:
    """Return (prefix, whole secret)."""
    prefix = f"gth_{crypto.random_text(8)}"
    body = f"{prefix}_{crypto.random_text(SECRET_LENGTH)}"
    return prefix, body + crypto.checksum(body)


def well_formed(secret: str) -> bool:
    """Whether `secret` has the shape and the checksum of a key: decided without the database."""
    return (
        len(secret) == 13 + SECRET_LENGTH + 6
        and secret.startswith("gth_")
        and secret[12] == "_"
        and crypto.same(crypto.checksum(secret[:-6]), secret[-6:])
    )


def issue(
    by: Principal,
    *,
    project: Project,
    name: str,
    scopes: Iterable[str],
    targets: Iterable[tuple[str, str]] = (),
    days: int = DEFAULT_DAYS,
    purpose: str = "api",
    ttl: dt.timedelta | None = None,
) -> tuple[ApiKey, str]:
    """Create a key and return it with its secret, which exists nowhere else.

    `targets` are (kind, id) pairs, none means everything in the project; `days` 1 to 365, or `ttl` for a shorter
    life. Raises Forbidden,
    NotFound and Invalid.
    """
    require(by, "create", project, model=ApiKey)
    label = clean_text(name, field="name", low=1, high=80)
    wanted = sorted(set(scopes))
    unknown = [scope for scope in wanted if scope not in SCOPES]
    if unknown or not wanted:
        raise Invalid.field("scopes", f"scopes holds {unknown or 'nothing'}; choose from {', '.join(SCOPES)}.")
    if SHORT_LIVED & set(wanted):
        raise Invalid.field(
            "scopes", f"Keys cannot carry {', '.join(sorted(SHORT_LIVED))}: those need a token of at most one hour."
        )
    if by.scopes is not None and not set(wanted) <= by.scopes | {"inference:invoke"}:
        raise Invalid.field("scopes", "A key cannot carry scopes that the token which creates it lacks.")
    if ttl is None:
        if isinstance(days, bool) or not 1 <= days <= MAX_DAYS:
            raise Invalid.field("days", f"days is {days}; a key lives 1 to {MAX_DAYS} days.")
        ttl = dt.timedelta(days=days)
    prefix, secret = new_secret()
    with transaction.atomic():
        key = ApiKey.objects.create(
            prefix=prefix,
            hash=crypto.digest(secret),
            name=label,
            project=project,
            person=by.person,
            scopes=wanted,
            purpose=purpose,
            expires_at=timezone.now() + ttl,
        )
        KeyTarget.objects.bulk_create(
            [KeyTarget(key=key, kind=kind, target_id=identifier) for kind, identifier in targets]
        )
        record("keys.issue", by=by, obj=key, project=project.slug, after=facts(key))
        epoch.bump()
    return key, secret


def facts(key: ApiKey) -> dict[str, object]:
    """Return what an audit row may say about a key."""
    return {
        "name": key.name,
        "prefix": key.prefix,
        "scopes": key.scopes,
        "purpose": key.purpose,
        "expires_at": key.expires_at,
        "targets": [f"{target.kind}:{target.target_id}" for target in key.targets.all()],
    }


def revoke(by: Principal, key: ApiKey, *, reason: str = "") -> ApiKey:
    """End a key at once; every gateway process refuses it within a second. Raises Conflict when it has ended
    already.
    """
    require(by, "revoke", key)
    with transaction.atomic():
        for source in (KeyState.ACTIVE, KeyState.ROTATING):
            if move(ApiKey.objects.filter(pk=key.pk), source, KeyState.REVOKED, revoked_at=timezone.now()):
                break
        else:
            raise Conflict("This key is revoked or expired already.", code="key_ended")
        record("keys.revoke", by=by, obj=key, project=key.project.slug, before={"state": key.state}, reason=reason)
        epoch.bump()
    key.refresh_from_db()
    return key


def rotate(by: Principal, key: ApiKey) -> tuple[ApiKey, str]:
    """Replace a key: the new one works at once, the old one until it expires or for seven more days, whichever comes
    first. The new one belongs to whoever rotates, since that person holds its secret.

    Raises Conflict unless the key is active.
    """
    require(by, "rotate", key)
    with transaction.atomic():
        ends = min(key.expires_at, timezone.now() + ROTATION_OVERLAP)
        if not move(ApiKey.objects.filter(pk=key.pk), KeyState.ACTIVE, KeyState.ROTATING, expires_at=ends):
            raise Conflict("Only an active key can be rotated.", code="key_not_active")
        lifetime = max(key.expires_at - key.created_at, dt.timedelta(days=1))
        fresh, secret = issue(
            by,
            project=key.project,
            name=key.name,
            scopes=key.scopes,
            targets=[(target.kind, target.target_id) for target in key.targets.all()],
            ttl=lifetime,
        )
        record(
            "keys.rotate",
            by=by,
            obj=key,
            project=key.project.slug,
            before={"state": "active"},
            after={"state": "rotating", "replaced_by": fresh.prefix, "expires_at": ends},
        )
    return fresh, secret


def find(secret: str) -> ApiKey | None:
    """Return the key that `secret` belongs to when it may be used now, else None."""
    if not well_formed(secret):
        return None
    key = ApiKey.objects.select_related("project", "person").filter(hash=crypto.digest(secret)).first()
    return key if key is not None and usable(key) else None


def usable(key: ApiKey) -> bool:
    """Whether a key may be used now: not revoked, not expired, and its person still active."""
    living = key.state in {KeyState.ACTIVE, KeyState.ROTATING} and key.expires_at > timezone.now()
    return living and key.person.is_active


def expire() -> int:
    """Mark keys whose end has passed; they stopped working at that moment already. Returns how many."""
    now, count = timezone.now(), 0
    for source in (KeyState.ACTIVE, KeyState.ROTATING):
        for key in ApiKey.objects.select_related("project").filter(state=source, expires_at__lte=now)[:500]:
            with transaction.atomic():
                if move(ApiKey.objects.filter(pk=key.pk), source, KeyState.EXPIRED):
                    record(
                        "keys.expire", by=system("keys"), obj=key, project=key.project.slug, before={"state": source}
                    )
                    epoch.bump()
                    count += 1
    return count
