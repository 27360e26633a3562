"""How allauth treats people who come from the identity provider: who gets in, under which name, with which roles."""

import logging
import re
import unicodedata
from typing import Any

import requests
from allauth.account.models import EmailAddress
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialAccount, SocialApp, SocialLogin
from allauth.socialaccount.providers.base.constants import AuthProcess
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import Q
from django.http import HttpRequest

from audit.services import record, system
from portal import sso
from projects import signins
from projects.models import User
from projects.sso import groups, prove, refusals, wire
from projects.sso.door import PROVE, OwnProvider
from projects.sso.kept import CAME

RESERVED = frozenset({"anonymous", "system", "admin", "root", "gatehouse"})
LONGEST_NAME = 60
# Logged only: anybody can cause them without an account, and nobody was refused who had one.
UNWRITTEN = frozenset({"state_mismatch", "cancelled", "unreachable"})
TRIES = 50  # names that are tried for somebody new: dana, dana-2, dana-3, …

log = logging.getLogger(__name__)


class SsoAdapter(DefaultSocialAccountAdapter):
    """People of the identity provider. An account here belongs to one `sub` there and to nobody else: neither a name
    nor an address of mail ever leads into an account that exists.
    """

    def get_requests_session(self) -> requests.Session:
        """Return the only way out."""
        return wire.session()

    def list_apps(
        self, request: HttpRequest | None, provider: str | None = None, client_id: str | None = None
    ) -> list[SocialApp]:
        """Return the provider of the settings; rows of the database lead nowhere."""
        found = []
        for one in sso.apps(settings.SSO):
            app = SocialApp(provider=OwnProvider.id, **one)
            if provider in (None, app.provider, app.provider_id) and client_id in (None, app.client_id):
                found.append(app)
        return found

    def get_provider(self, request: HttpRequest, provider: str, client_id: str | None = None) -> OwnProvider:
        """Return the provider with the portal's own additions; raises SocialApp.DoesNotExist."""
        return OwnProvider(request, app=self.get_app(request, provider=provider, client_id=client_id))

    def is_open_for_signup(self, request: HttpRequest, sociallogin: SocialLogin) -> bool:
        """Whoever passed `pre_social_login` may have an account."""
        return bool(sociallogin.state.get(CAME))

    def populate_user(self, request: HttpRequest, sociallogin: SocialLogin, data: dict[str, Any]) -> User:
        """Fill in names and mail within what the columns hold."""
        user: User = super().populate_user(request, sociallogin, data)
        user.username = clean_name(user.username)
        user.first_name, user.last_name = user.first_name[:150], user.last_name[:150]
        return user

    def pre_social_login(self, request: HttpRequest, sociallogin: SocialLogin) -> None:
        """Settle roles and decide whether the person gets in. Raises ImmediateHttpResponse for who does not, and for
        who only proved who they are.
        """
        came, process = sociallogin.state.get(CAME), sociallogin.state.get("process")
        if process == PROVE and came:
            raise ImmediateHttpResponse(prove.proved(request, sociallogin, came))
        if process != AuthProcess.LOGIN or not came:
            raise ImmediateHttpResponse(refusals.refuse(request, "not_a_sign_in"))
        name = sociallogin.account.extra_data.get("userinfo", {}).get("preferred_username", "")
        if sociallogin.is_existing:
            person = sociallogin.user
            if not person.is_active or person.is_service:
                raise ImmediateHttpResponse(refusals.refuse(request, "inactive", name=person.username))
            keep_profile(person, sociallogin)
            groups.sync(person, came["groups"])
            if not groups.holds_anything(person):
                raise ImmediateHttpResponse(refusals.refuse(request, "no_group", name=name or person.username))
        elif not groups.leads_somewhere(came["groups"]):
            raise ImmediateHttpResponse(refusals.refuse(request, "no_group", name=name))
        else:
            sociallogin.email_addresses = [one for one in sociallogin.email_addresses if not _taken(one.email)]
        setattr(request, CAME, came)

    def save_user(self, request: HttpRequest, sociallogin: SocialLogin, form: Any = None) -> User:
        """Create the account with its roles, all of it or nothing. Two first sign-ins at once share one account."""
        user: User = sociallogin.user
        # Not `user.username`: allauth empties it when the name is taken.
        wanted = clean_name(sociallogin.account.extra_data.get("userinfo", {}).get("preferred_username", ""))
        for number in range(1, TRIES + 1):
            user.username = wanted if number == 1 else f"{wanted}-{number}"
            if user.username in RESERVED or User.objects.filter(username__iexact=user.username).exists():
                continue
            try:
                return self._create(request, sociallogin, user)
            except IntegrityError:  # a sign-in at the same time took the name, or is the same person's
                user.pk, user._state.adding = None, True
                sociallogin.account.pk, sociallogin.account._state.adding = None, True
                account = SocialAccount.objects.filter(
                    provider=sociallogin.account.provider, uid=sociallogin.account.uid
                ).first()
                if account is not None:
                    user = account.user
                    sociallogin.account, sociallogin.user = account, user
                    return user
        log.error("sso.no_free_name")
        raise ImmediateHttpResponse(refusals.refuse(request, "no_free_name", name=wanted))

    def _create(self, request: HttpRequest, sociallogin: SocialLogin, user: User) -> User:
        user.set_unusable_password()
        with transaction.atomic():
            sociallogin.save(request)
            record("people.create", by=system("sso"), obj=("user", str(user.public_id)), after={"source": "sso"})
            groups.sync(user, sociallogin.state[CAME]["groups"])
        return user

    def on_authentication_error(
        self,
        request: HttpRequest,
        provider: Any,
        error: Any = None,
        exception: Exception | None = None,
        extra_context: dict[str, Any] | None = None,
    ) -> None:
        """Log why with a reason code, and give the page its sentence."""
        code = getattr(exception, "code", "") or ("state_mismatch" if "state_id" in (extra_context or {}) else "")
        code = code or ("cancelled" if str(error) == "cancelled" else "provider_error")
        log.warning("sso.refused reason=%s", code)
        if code not in UNWRITTEN:
            signins.refused_for(f"sso.{code}", request)
        if extra_context is not None:
            extra_context["sentence"] = getattr(exception, "sentence", "") or refusals.SENTENCES.get(code, "")

    def validate_disconnect(self, account: SocialAccount, accounts: Any) -> None:
        """Nobody takes the link to the identity provider away; raises ValidationError."""
        raise ValidationError("Accounts of single sign-on stay linked to the identity provider.")


def clean_name(text: str) -> str:
    """Return a user name made of `text`: lower-case ASCII letters, digits, dots, hyphens and underscores, so that no
    name looks like another one.
    """
    plain = unicodedata.normalize("NFKD", text.partition("@")[0][:150]).encode("ascii", "ignore").decode().lower()
    name = re.sub(r"[^a-z0-9._-]+", "-", plain).strip("-._")[:LONGEST_NAME].rstrip("-._")
    return name or "person"


def _taken(address: str, *, but: User | None = None) -> bool:
    """Whether somebody else here has the address already: then it is no second person's way to anything."""
    others = User.objects.filter(Q(email__iexact=address) | Q(emailaddress__email__iexact=address))
    return others.exclude(pk=but.pk if but else 0).exists()


def keep_profile(person: User, sociallogin: SocialLogin) -> None:
    """Take over the names and the address of mail that the provider has of a person."""
    info = sociallogin.account.extra_data.get("userinfo", {})
    first, _, last = info.get("name", "").partition(" ")
    told = {"first_name": info.get("given_name", first)[:150], "last_name": info.get("family_name", last)[:150]}
    told["email"] = next((one.email for one in sociallogin.email_addresses), "")
    changed = sorted(name for name, value in told.items() if value and getattr(person, name) != value)
    if not changed:
        return
    with transaction.atomic():
        for name in changed:
            setattr(person, name, told[name])
        person.save(update_fields=changed)
        if "email" in changed:
            EmailAddress.objects.filter(user=person).delete()
            for one in sociallogin.email_addresses:
                one.user, one.verified = person, one.verified and not _taken(one.email, but=person)
                one.save()
        record("people.change", by=system("sso"), obj=("user", str(person.public_id)), after={"fields": changed})
