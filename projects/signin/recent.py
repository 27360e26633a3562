"""Recent proof: what spends, publishes or gives rights is asked again who is there, and nothing typed is lost.

`recently_proved` lays the form aside in the session and leads to the proof. Who proves it gets the answer of that very
form: `resume` hands it to the middleware `replay`, which sends it through the portal as if it had just come.
"""

import copy
import time
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast
from urllib.parse import urlencode, urlsplit

from allauth.account.adapter import get_adapter
from allauth.account.internal.flows.reauthentication import STATE_SESSION_KEY
from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.http.response import HttpResponseBase
from django.urls import NoReverseMatch, reverse
from django.utils.datastructures import MultiValueDict
from django.utils.http import url_has_allowed_host_and_scheme
from django_htmx.http import HttpResponseClientRedirect

from portal.errors import Forbidden, Invalid
from projects.signin import proof

SUSPENDED = "suspended"  # session key: {"why", "next", "at", "path"?, "post"?}
REPLAY = "gatehouse_replay"  # attribute of a request whose answer is that of the suspended one
MOST_BYTES = 262_144  # of a form that is laid aside
SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})

View = TypeVar("View", bound=Callable[..., HttpResponseBase])


def recently_proved(*, why: str) -> Callable[[View], View]:
    """Let a form pass only within settings.ACCOUNT_REAUTHENTICATION_TIMEOUT of a proof; `why` is the sentence of the
    page that asks for one.
    """

    def decorate(inner: View) -> View:
        @wraps(inner)
        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if request.method in SAFE or proof.is_recent(request.session):
                return inner(request, *args, **kwargs)
            return suspend(request, why=why)

        return cast(View, guarded)

    return decorate


def suspend(request: HttpRequest, *, why: str) -> HttpResponse:
    """Lay the request aside and lead to the proof, with the whole page where htmx asked.

    Raises Invalid for a form that is too large to be laid aside, and Forbidden for somebody who can prove nothing here.
    """
    where = where_to_prove(request)
    here = _where_from(request)
    aside: dict[str, Any] = {"why": why, "next": here, "at": time.time()}
    if request.method not in SAFE:
        post = request.POST.urlencode()
        if len(post) > MOST_BYTES:
            raise Invalid(
                f"The form holds {len(post):,} bytes; up to {MOST_BYTES:,} can wait for your proof. Shorten it, or sign"
                " out and in again first."
            )
        aside |= {"path": request.get_full_path(), "post": post}
    request.session[SUSPENDED] = aside
    request.session[STATE_SESSION_KEY] = {"state": {}, "callback": "projects.signin.recent.resume_for_allauth"}
    target = f"{where}?{urlencode({'next': here})}"
    return HttpResponseClientRedirect(target) if getattr(request, "htmx", None) else HttpResponseRedirect(target)


def where_to_prove(request: HttpRequest) -> str:
    """Return the address where this person proves who they are: at the identity provider when they came from there,
    else with what they have here. Raises Forbidden when there is neither.
    """
    from_provider = any(one.get("method") == "socialaccount" for one in proof.records(request.session))
    provider = _at_provider()
    if from_provider and provider:
        return provider
    methods = get_adapter(request).get_reauthentication_methods(request.user)
    if methods:
        return str(methods[0]["url"])
    if provider:
        return provider
    raise Forbidden(
        "This asks for a recent proof that it is you, and your account has nothing to prove it with. Sign out and in"
        " again, then repeat it.",
        code="proof_required",
    )


def why_asked(request: HttpRequest) -> str:
    """Return why the proof is asked for, "" when somebody came to the page unasked."""
    aside = request.session.get(SUSPENDED)
    return str(aside["why"]) if isinstance(aside, dict) and _wanted(request, aside) else ""


def resume(request: HttpRequest) -> HttpResponse:
    """Return what comes after a proof: the answer of the form that was laid aside, or the page that asked."""
    aside = request.session.pop(SUSPENDED, None)
    request.session.pop(STATE_SESSION_KEY, None)
    if not isinstance(aside, dict) or not _wanted(request, aside):
        return HttpResponseRedirect(_next(request) or reverse("home"))
    stale = time.time() - float(aside["at"]) > settings.ACCOUNT_REAUTHENTICATION_TIMEOUT
    if "path" in aside and not stale and proof.is_recent(request.session):
        setattr(request, REPLAY, aside)
    unknown = aside.get("path") == aside["next"]  # the browser did not say which page held the form
    return HttpResponseRedirect(reverse("home") if unknown else aside["next"])


def resume_for_allauth(request: HttpRequest, state: dict[str, Any]) -> HttpResponse:
    """Resume, as allauth calls it after a proof on its own pages."""
    return resume(request)


def laid_aside(request: HttpRequest) -> HttpRequest | None:
    """Return the suspended request when `request` was the proof for it: the same person, session and messages with the
    form of then.
    """
    aside = getattr(request, REPLAY, None)
    if aside is None:
        return None
    again = copy.copy(request)
    for name in (REPLAY, "headers", "GET", "_body", "resolver_match", "principal", "project", "projects"):
        again.__dict__.pop(name, None)
    path, _, query = str(aside["path"]).partition("?")
    again.method, again.path, again.path_info = "POST", path, path
    again.content_type = "application/x-www-form-urlencoded"
    again.csrf_processing_done = True  # type: ignore[attr-defined] # it was checked when the form came
    again.META = {name: value for name, value in request.META.items() if not name.startswith("HTTP_HX_")} | {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "CONTENT_TYPE": again.content_type,
        "HTTP_REFERER": request.build_absolute_uri(str(aside["next"])),
    }
    again.GET = QueryDict(query)
    again.POST = QueryDict(str(aside["post"]))
    again._files = MultiValueDict()  # type: ignore[attr-defined] # a form with files is none of those that are guarded
    return again


def _where_from(request: HttpRequest) -> str:
    """Return the page to come back to: the one asked for, or the one that holds the form."""
    if request.method in SAFE:
        return request.get_full_path()
    came_from = request.headers.get("HX-Current-URL") or request.headers.get("Referer", "")
    if url_has_allowed_host_and_scheme(came_from, allowed_hosts={request.get_host()}):
        parts = urlsplit(came_from)
        return f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
    return request.get_full_path()


def _wanted(request: HttpRequest, aside: dict[str, Any]) -> bool:
    """Whether the proof is for what was laid aside: another page may have asked for one since."""
    return _next(request) == aside.get("next")


def _next(request: HttpRequest) -> str:
    target = request.POST.get("next") or request.GET.get("next") or ""
    return target if get_adapter(request).is_safe_url(target) else ""


def _at_provider() -> str:
    if settings.SSO is None:
        return ""
    try:
        return reverse("sso_prove", args=[settings.SSO.provider])
    except NoReverseMatch:
        return ""
