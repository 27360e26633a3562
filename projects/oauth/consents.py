"""What a person takes back: the yes to an application, a token of their own."""

from allauth.idp.oidc.models import Client, Token
from django.db import transaction

from audit.services import record
from portal.errors import NotFound
from projects.principal import Principal
from projects.tokens import CLIENT_ID


def disconnect(by: Principal, client_id: str) -> str:
    """End all tokens that an application holds of this person, and return its name. Raises NotFound when it holds
    none.
    """
    with transaction.atomic():
        held = Token.objects.filter(user=by.person, client_id=client_id).exclude(client_id=CLIENT_ID)
        client = Client.objects.filter(pk=client_id).first() if client_id.isprintable() and held.exists() else None
        if client is None:
            raise NotFound("No application of that kind acts in your name.")
        count, _ = held.delete()
        record(
            "applications.disconnect",
            by=by,
            obj=("application", str(client.application.pk) if hasattr(client, "application") else client.pk),
            before={"client": client.pk, "name": client.name, "tokens_ended": count},
        )
    name: str = client.name
    return name


def revoke_own(by: Principal, token_id: int) -> None:
    """End an own token that was minted on the host. Raises NotFound."""
    with transaction.atomic():
        held = Token.objects.filter(user=by.person, client_id=CLIENT_ID, pk=token_id).first()
        if held is None:
            raise NotFound("There is no such token, or it is not yours.")
        record(
            "tokens.revoke",
            by=by,
            obj=("access", str(held.pk)),
            before={"scopes": held.get_scopes(), "expires_at": held.expires_at},
        )
        held.delete()
