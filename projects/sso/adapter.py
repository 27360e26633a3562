"""How allauth treats people who come from the identity provider."""

from allauth.socialaccount.adapter import DefaultSocialAccountAdapter


class SsoAdapter(DefaultSocialAccountAdapter):
    """People of the identity provider."""
