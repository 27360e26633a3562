"""`manage.py reencrypt`: put every secret at rest under the newest of GATEHOUSE_ENCRYPTION_KEYS, so that an old one can
be taken away.
"""

import sys
from collections.abc import Callable
from typing import Any

from allauth.mfa.models import Authenticator
from django.core.management.base import BaseCommand
from django.db import transaction
from django.db.models import Model

from audit.services import record, system
from endpoints.models import Cluster, Endpoint
from portal import crypto
from projects.models import SsoSession, Webhook

Change = Callable[[Any], Any]


def _factor(data: dict[str, Any]) -> dict[str, Any]:
    """Return what is stored of a second factor. A security key is a public one and stays as it is."""
    sealed: dict[str, Any] = {name: crypto.rotate(data[name]) for name in ("secret", "seed") if name in data}
    if "migrated_codes" in data:
        sealed["migrated_codes"] = [crypto.rotate(code) for code in data["migrated_codes"]]
    return data | sealed


def _upstreams(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [entry | {"key": crypto.rotate(entry["key"])} if entry.get("key") else entry for entry in entries]


def _text(sealed: str) -> str:
    return crypto.rotate(sealed) if sealed else sealed


# What holds ciphertext: model, field, how its value is put under the newest key.
PLACES: tuple[tuple[type[Model], str, Change], ...] = (
    (Authenticator, "data", _factor),
    (Webhook, "signing", _text),
    (SsoSession, "id_token", _text),
    (SsoSession, "refresh_token", _text),
    (Endpoint, "upstreams", _upstreams),
    (Cluster, "credential", _text),
)


class Command(BaseCommand):
    """Re-encrypt."""

    help = (
        "put every secret at rest under the newest of GATEHOUSE_ENCRYPTION_KEYS; exit 1 when some key is missing. Safe"
        " to repeat, and while the portal runs."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        """Walk through all places; each row is one short transaction."""
        done, closed = 0, 0
        for model, field, change in PLACES:
            changed, lost = _walk(model, field, change)
            done, closed = done + changed, closed + lost
            self.stdout.write(f"{model.__name__}.{field}: {changed} re-encrypted, {lost} that no key opens")
        with transaction.atomic():
            after = {"values": done, "closed": closed}
            record("portal.reencrypt", by=system("reencrypt"), obj=("portal", "encryption-keys"), after=after)
        if closed:
            self.stderr.write(f"{closed} values stay as they are: put the key that they need behind the newest one.")
            sys.exit(1)


def _walk(model: type[Model], field: str, change: Change) -> tuple[int, int]:
    """Change each row on its own, locked, so that nothing is lost that changes meanwhile; return done and closed."""
    done, closed = 0, 0
    for pk in list(model._default_manager.order_by("pk").values_list("pk", flat=True)):
        with transaction.atomic():
            rows = model._default_manager.filter(pk=pk)
            row = rows.select_for_update().first()
            if row is None or not getattr(row, field):
                continue
            try:
                value = change(getattr(row, field))
            except ValueError:
                closed += 1
                continue
            if value != getattr(row, field):
                rows.update(**{field: value})
                done += 1
    return done, closed
