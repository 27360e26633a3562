"""How allauth behaves here: accounts and second factors. Single sign-on stands in projects/sso, OAuth in
projects/oauth.
"""

from allauth.account.adapter import DefaultAccountAdapter
from allauth.mfa.adapter import DefaultMFAAdapter
from django.http import HttpRequest

from portal import crypto


class AccountAdapter(DefaultAccountAdapter):
    """Accounts come from the platform team or the identity provider: nobody signs up."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Nobody signs up."""
        return False


class MfaAdapter(DefaultMFAAdapter):
    """Second factors; their secrets are encrypted at rest."""

    def encrypt(self, text: str) -> str:
        """Return `text` encrypted under the newest key."""
        return crypto.encrypt(text)

    def decrypt(self, encrypted_text: str) -> str:
        """Return what `encrypt` was given."""
        return crypto.decrypt(encrypted_text)
