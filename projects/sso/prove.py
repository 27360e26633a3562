"""Recent proof at the identity provider, for people who have no password here."""

import logging
import time
from collections.abc import Mapping
from typing import Any

from allauth.account.internal.flows.login import record_authentication
from allauth.socialaccount.adapter import get_adapter
from allauth.socialaccount.models import SocialAccount, SocialLogin
from django.http import HttpRequest, HttpResponse

from portal.errors import Forbidden
from projects.models import User
from projects.signin import recent
from projects.sso import kept
from projects.sso.door import PROVE
from projects.sso.idp import LEEWAY_SECONDS

log = logging.getLogger(__name__)


def ask(request: HttpRequest, person: User, provider: str, *, then: str) -> HttpResponse:
    """Lead to the provider, which asks again for all that it asks at a sign-in, and afterwards to `then`.

    Raises Forbidden for somebody who did not come from there, and Unavailable.
    """
    if not SocialAccount.objects.filter(user=person, provider=provider).exists():
        raise Forbidden("Your account does not come from the identity provider. Prove who you are with your password.")
    response: HttpResponse = (
        get_adapter(request)
        .get_provider(request, provider)
        .redirect(request, PROVE, then, auth_params={"prompt": "login", "max_age": "0"})
    )
    return response


def proved(request: HttpRequest, sociallogin: SocialLogin, came: Mapping[str, Any]) -> HttpResponse:
    """Renew the session's proof, and go on with what waited for it. Raises Forbidden when somebody else proved it, or
    nobody anew.
    """
    person = request.user
    if not isinstance(person, User) or not sociallogin.is_existing or sociallogin.user.pk != person.pk:
        log.warning("sso.refused reason=proved_by_somebody_else")
        raise Forbidden("Somebody else signed in at the identity provider. Nothing was changed; prove it as yourself.")
    if came["proved_at"] < float(sociallogin.state["data"]["asked_at"]) - LEEWAY_SECONDS:
        log.warning("sso.refused reason=proof_not_fresh")
        raise Forbidden("The identity provider did not ask who you are again, so this is no recent proof. Try again.")
    setattr(request, kept.CAME, {**came, "proved_at": time.time()})
    account = sociallogin.account
    record_authentication(
        request, person, "socialaccount", provider=account.provider, uid=account.uid, reauthenticated=True
    )
    kept.keep(str(request.session.session_key), person, came)
    # `resume` looks at the address for the page that waits; the provider does not repeat it, the state does.
    address = request.GET.copy()
    address["next"] = str(sociallogin.state.get("next") or "")
    request.GET = address  # type: ignore[assignment] # the stub wants an immutable one
    return recent.resume(request)
