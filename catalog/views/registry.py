"""The registry that MCP clients read: /mcp/registry/v0.1/… for anybody, /mcp/registry/<project>/v0.1/… with a token.

Answers and errors have the shape of the official registry API, not that of this portal's own.
"""

import json
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_http_methods

from catalog.mcp import registry
from catalog.mcp.registry import Asked, Granted, Public, View
from portal.errors import GatehouseError
from projects.api import Bearer, problem, project_or_404

METHODS = ["GET", "HEAD", "OPTIONS"]
NOT_FOUND = "Server not found"
CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, OPTIONS",
    "Access-Control-Allow-Headers": "Authorization, Content-Type",
}
_read = Bearer("catalog:read")
Body = Mapping[str, Any] | None


def _answered(work: Callable[..., Body]) -> Callable[..., HttpResponse]:
    """Turn what `work` returns for a view of the registry into an answer; None is a server that is not there.

    OPTIONS is answered without asking who it is: browsers send it without a token.
    """

    @wraps(work)
    def view(request: HttpRequest, *args: Any, project: str | None = None, **kwargs: Any) -> HttpResponse:
        if request.method == "OPTIONS":
            return _with_cors(HttpResponse(status=204))
        try:
            body = work(request, _view(request, project), *args, **kwargs)
        except GatehouseError as error:
            return _with_cors(_refused(error))
        if body is None:
            return _with_cors(_json({"error": NOT_FOUND}, 404))
        return _with_cors(_json(body))

    return view


def _view(request: HttpRequest, project: str | None) -> View:
    """Return whose registry is asked for; raises Unauthenticated, InsufficientScope, RateLimited and NotFound."""
    if project is None:
        return Public()
    return Granted(project_or_404(_read(request), project))


def _json(body: Mapping[str, Any], status: int = 200) -> HttpResponse:
    return HttpResponse(json.dumps(body, ensure_ascii=False), content_type="application/json", status=status)


def _refused(error: GatehouseError) -> HttpResponse:
    """Return an error as the registry API shows one; what the portal adds in headers stays."""
    shown = _json({"error": error.sentence}, 400 if error.status == 422 else error.status)
    for name in ("WWW-Authenticate", "Retry-After"):
        if name in (own := problem(error)):
            shown[name] = own[name]
    return shown


def _with_cors(response: HttpResponse) -> HttpResponse:
    for name, value in CORS.items():
        response[name] = value
    response["Cache-Control"] = "no-store"  # what is blocked is gone at once
    return response


@login_not_required
@require_http_methods(METHODS)
@_answered
def servers(request: HttpRequest, view: View) -> Body:
    """One page of servers."""
    return registry.listed(view, Asked.of(request.GET.dict()))


@login_not_required
@require_http_methods(METHODS)
@_answered
def versions(request: HttpRequest, view: View, name: str) -> Body:
    """Every version of a server; its name may hold %2F or a slash."""
    return registry.versions(view, name)


@login_not_required
@require_http_methods(METHODS)
@_answered
def version(request: HttpRequest, view: View, name: str, version: str) -> Body:
    """One version of a server, or the latest."""
    return registry.one(view, name, version)


@login_not_required
@require_http_methods(METHODS)
def missing(request: HttpRequest, rest: str = "") -> HttpResponse:
    """What the registry does not have."""
    return _with_cors(HttpResponse(status=204) if request.method == "OPTIONS" else _json({"error": "Not found"}, 404))
