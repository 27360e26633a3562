"""Pages of single sign-on: the way in and back, the proof, and what people read who are not let in."""

from allauth.account.utils import get_next_redirect_url
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.socialaccount.adapter import get_adapter
from allauth.socialaccount.helpers import render_authentication_error
from allauth.socialaccount.models import SocialApp
from allauth.socialaccount.providers.oauth2.client import OAuth2Error
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods

from portal.errors import NotFound, Unavailable
from portal.http import page
from projects.models import User
from projects.principal import PortalRequest
from projects.sso import prove, refusals
from projects.sso.door import Callback, Door, OwnProvider, RefusedByDoor


def _provider(request: HttpRequest, provider_id: str) -> OwnProvider:
    try:
        found: OwnProvider = get_adapter(request).get_provider(request, provider_id)
    except SocialApp.DoesNotExist as error:
        raise NotFound("There is no such way to sign in.") from error
    return found


@login_not_required
@require_http_methods(["GET", "POST"])
def login(request: HttpRequest, provider_id: str) -> HttpResponse:
    """Lead to the identity provider. Only a form does: else a picture on any page could sign somebody in."""
    provider = _provider(request, provider_id)
    if request.method == "GET":
        context = {"provider": provider, "next": get_next_redirect_url(request) or ""}
        return page(request, "socialaccount/login.html", context)
    response: HttpResponse = provider.redirect_from_request(request)
    return response


@never_cache
@login_not_required
@require_GET
def callback(request: HttpRequest, provider_id: str) -> HttpResponse:
    """Take the identity provider's answer."""
    provider = _provider(request, provider_id)
    view = Callback()
    view.request, view.adapter = request, Door(request, provider_id)
    try:
        response: HttpResponse = view.dispatch(request)
    except ImmediateHttpResponse as error:
        response = error.response
    except Unavailable as error:
        return _refused(request, provider, RefusedByDoor("unreachable", error.sentence))
    except OAuth2Error as error:
        return _refused(request, provider, error)
    return response


def _refused(request: HttpRequest, provider: OwnProvider, error: Exception) -> HttpResponse:
    response: HttpResponse = render_authentication_error(request, provider, exception=error, extra_context={})
    return response


@never_cache
@require_GET
def sso_prove(request: PortalRequest, provider_id: str) -> HttpResponse:
    """Let the identity provider ask again who is there, and go on with what waited for it."""
    _provider(request, provider_id)
    person = request.user
    assert isinstance(person, User)  # noqa: S101 - LoginRequiredMiddleware
    return prove.ask(request, person, provider_id, then=get_next_redirect_url(request) or "/")


@never_cache
@login_not_required
@require_GET
def sso_no_group(request: HttpRequest) -> HttpResponse:
    """What people read whom single sign-on does not let in."""
    told = refusals.told(request)
    return page(request, "projects/sso/no_group.html", told, status=403 if told["reason"] else 200)


@login_not_required
def closed(request: HttpRequest) -> HttpResponse:
    """allauth's pages to link and unlink accounts: an account here belongs to one person there, for good."""
    raise NotFound("Accounts of single sign-on cannot be linked or unlinked. A platform engineer can help.")
