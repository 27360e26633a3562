"""How allauth behaves here: accounts and second factors. Single sign-on stands in projects/sso, OAuth in
projects/oauth.
"""

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.auth_backends import AuthenticationBackend
from allauth.core import context
from allauth.core.exceptions import ReauthenticationRequired
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from django.contrib.auth import authenticate
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext_lazy as _

from portal import crypto
from projects import signins
from projects.models import User
from projects.signin import factors, proof, recent
from projects.sso import kept

STAGE, OUR_STAGE = "allauth.mfa.stages.AuthenticateStage", "projects.signin.stages.SecondFactorStage"
LOCKED = _(
    "Too many attempts failed, so no attempt counts for now, not even a right one. Wait five minutes and try again."
    " If you forgot the password, reset it or ask the platform team."
)
WRONG = _("The user name and the password do not belong together, or the account is not active.")


class AccountAdapter(DefaultAccountAdapter):
    """Accounts come from the platform team or the identity provider: nobody signs up."""

    error_messages = DefaultAccountAdapter.error_messages | {
        "too_many_login_attempts": LOCKED,
        "username_password_mismatch": WRONG,
        "rate_limited": _("Too many codes in a short time. Wait five minutes, then type a new one."),
        "incorrect_password": _("This is not your password."),
    }

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Nobody signs up."""
        return False

    def is_safe_url(self, url: str) -> bool:
        """Whether a redirect stays on this very host; allauth would also take every other allowed one."""
        request = context.request
        return url_has_allowed_host_and_scheme(
            url, allowed_hosts={request.get_host()}, require_https=request.is_secure()
        )

    def authenticate(self, request: HttpRequest, **credentials: Any) -> User | None:
        """Return the person of a name and password. Inactive people and service accounts are refused like a wrong
        password; raises ValidationError while there were too many failures.
        """
        try:
            self.pre_authenticate(request, **credentials)
        except ValidationError:
            signins.refused_for("locked", request)
            raise
        user = authenticate(request, **credentials)
        # allauth keeps somebody inactive whose password was right, to say so. Nobody is told that here.
        AuthenticationBackend.unstash_authenticated_user()
        if not isinstance(user, User):
            return None
        if user.is_service:
            signins.refused_for("service", request)
            return None
        self._rollback_login_failed_rl_usage()
        return user

    def _get_login_attempts_cache_key(self, request: HttpRequest, **credentials: Any) -> str:
        """Return whose failures are counted: the name alone. allauth's key holds the Host header too, whose port a
        client chooses, and with each new one five more guesses.
        """
        return f"sign-in:{credentials.get('username', '').strip().lower()}"

    def get_logout_redirect_url(self, request: HttpRequest) -> str:
        """Return where a sign-out leads: over the identity provider for who came from there, so that both end."""
        return kept.logout_url(request) or str(super().get_logout_redirect_url(request))

    def get_login_stages(self) -> list[str]:
        """Return the steps of a sign-in, with the portal's own for the second factor."""
        return [OUR_STAGE if stage == STAGE else stage for stage in super().get_login_stages()]

    def is_reauthentication_required(self, *, app: str, **kwargs: Any) -> bool:
        """Whether factors may only be changed after a new proof. A sign-in counts as one for a while.

        Raises ReauthenticationRequired itself, since allauth would wave through people who have nothing to prove it
        with, and Forbidden for those who have that nowhere.
        """
        if proof.is_recent(context.request.session):
            return False
        recent.where_to_prove(context.request)
        raise ReauthenticationRequired


class MfaAdapter(DefaultMFAAdapter):
    """Second factors; their secrets are encrypted at rest."""

    error_messages = DefaultMFAAdapter.error_messages | {
        "cannot_delete_authenticator": _(
            "Gatehouse asks everyone for a second factor, and this is your last one. Set up another one first."
        ),
        "incorrect_code": _("This code is not right, or it was used already. Wait for the next one."),
    }

    def encrypt(self, text: str) -> str:
        """Return `text` encrypted under the newest key."""
        return crypto.encrypt(text)

    def decrypt(self, encrypted_text: str) -> str:
        """Return what `encrypt` was given."""
        return crypto.decrypt(encrypted_text)

    def can_delete_authenticator(self, authenticator: Authenticator) -> bool:
        """Whether a factor may go."""
        return factors.may_remove(authenticator)
