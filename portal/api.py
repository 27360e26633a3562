"""Root of the REST API: mounts the routers and turns errors into problem documents."""

import json
import logging
from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import RequestDataTooBig
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, URLResolver
from ninja import NinjaAPI
from ninja.errors import HttpError, ValidationError
from ninja.openapi.docs import DocsBase
from ninja.parser import Parser
from ninja.types import DictStrAny

from approvals import interchange
from approvals.access.api import router as access_router
from approvals.access.review_api import router as review_router
from approvals.admission_api import router as admission_router
from approvals.api import router as approvals_router
from approvals.envelopes.api import router as envelopes_router
from approvals.insights_api import router as insights_router
from approvals.policies.api import router as policies_router
from approvals.replay_api import router as replay_router
from approvals.stages.api import router as stages_router
from approvals.waivers.api import router as waivers_router
from catalog.api import router as catalog_router
from catalog.audience_api import router as audience_router
from catalog.interchange.api import router as interchange_router
from catalog.life_api import router as life_router
from endpoints.alerting_api import router as alerting_router
from endpoints.api import router as endpoints_router
from endpoints.blocking_api import router as blocking_router
from endpoints.canary_api import router as canary_router
from endpoints.cluster_api import router as clusters_router
from endpoints.differences.api import router as drift_router
from endpoints.idle_api import router as idle_router
from endpoints.key_api import router as keys_router
from endpoints.limits_api import router as limits_router
from endpoints.rogue.api import router as rogue_router
from endpoints.sharing_api import router as sharing_router
from portal.errors import GatehouseError, Invalid, Malformed, NotFound, TooLarge
from portal.http import field_errors, page
from projects.api import problem
from projects.api import router as projects_router
from projects.audit_api import router as audit_router
from projects.notify.api import router as notify_router
from projects.oauth.api import router as applications_router
from projects.oauth.openapi import secured
from projects.sso.api import router as sso_router
from quotas.api import router as quotas_router

YAML = frozenset({interchange.MEDIA_TYPE, "application/x-yaml", "text/yaml"})
log = logging.getLogger(__name__)


class Json(Parser):
    """Reads bodies that a database can keep: whole characters, no NUL, and numbers that JSON knows. What is sent as
    YAML is read as plain YAML of at most 64 KB (approvals/interchange.py).
    """

    def parse_body(self, request: HttpRequest) -> DictStrAny:
        """Return the document. Raises ValueError for what is not JSON, and Invalid for what no column holds."""
        document: DictStrAny
        if request.content_type in YAML:
            document = interchange.values(request.body)
        else:
            document = json.loads(request.body, parse_constant=_no_number)
        parts = document if isinstance(document, dict) else {"body": document}
        for name, part in parts.items():
            if not all(_keepable(text) for text in _texts([name, part])):
                field = "".join(char for char in name if char.isprintable())[:60]
                raise Invalid.field(field, f"{field} holds a control character. Remove it and send the text again.")
        return document


def _keepable(text: str) -> bool:
    """Whether a database can store it: PostgreSQL takes no NUL, and nothing takes half of a surrogate pair."""
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


def _texts(value: object) -> Iterator[str]:
    """Every text in a document, keys too, without recursion: documents of strangers may be deep."""
    rest = [value]
    while rest:
        part = rest.pop()
        if isinstance(part, str):
            yield part
        elif isinstance(part, dict):
            rest += [*part.keys(), *part.values()]
        elif isinstance(part, list):
            rest += part


def _no_number(name: str) -> None:
    raise Invalid.field("body", f"The body holds {name}, which is not a number of JSON. Send a number or null.")


class Docs(DocsBase):
    """The human page: plain HTML from the OpenAPI document, without a script from elsewhere."""

    def render_page(self, request: HttpRequest, api: NinjaAPI, **kwargs: Any) -> HttpResponse:
        """Render every operation."""
        operations = []
        for path, methods in api.get_openapi_schema()["paths"].items():
            for method, operation in methods.items():
                operations.append(
                    {
                        "method": method.upper(),
                        "path": path,
                        "summary": operation.get("description") or operation.get("summary", ""),
                        "tag": (operation.get("tags") or [""])[0],
                        "parameters": [item["name"] for item in operation.get("parameters", [])],
                    }
                )
        return page(request, "portal/api_docs.html", {"operations": operations, "base": f"{settings.BASE_URL}/api/v1"})


class Api(NinjaAPI):
    """The API; its document says where tokens come from."""

    def get_openapi_schema(self, **kwargs: Any) -> Any:
        """Return the OpenAPI document."""
        return secured(super().get_openapi_schema(**kwargs), self)


api = Api(
    title="Gatehouse",
    version="1",
    description="Governed AI inference, from catalog to usage. Errors are RFC 9457 problem documents.",
    docs=Docs(),
    parser=Json(),
    docs_url="/docs",
    urls_namespace="api",
)
api.add_router("", notify_router)
api.add_router("", sso_router)
for router in (projects_router, audit_router, catalog_router, quotas_router, endpoints_router, approvals_router):
    api.add_router("", router)
for part in (keys_router, sharing_router, alerting_router, canary_router, clusters_router):
    api.add_router("", part)
api.add_router("", audience_router)
for life in (admission_router, life_router, blocking_router):
    api.add_router("", life)
api.add_router("", interchange_router)
api.add_router("", applications_router)
api.add_router("", review_router)
api.add_router("", access_router)
api.add_router("", policies_router)
for part in (envelopes_router, waivers_router, stages_router, replay_router):
    api.add_router("", part)
for insight in (drift_router, idle_router, insights_router, limits_router, rogue_router):
    api.add_router("", insight)


@api.exception_handler(GatehouseError)
def expected(request: HttpRequest, error: GatehouseError) -> HttpResponse:
    """An error with its own sentence."""
    return problem(error, getattr(request, "request_id", ""))


@api.exception_handler(ValidationError)
def invalid(request: HttpRequest, error: ValidationError) -> HttpResponse:
    """Types and bounds of parameters and bodies."""
    return expected(request, field_errors(error.errors))


@api.exception_handler(HttpError)
def unreadable(request: HttpRequest, error: HttpError) -> HttpResponse:
    """A body that is not JSON."""
    if isinstance(error.__cause__, GatehouseError):
        return expected(request, error.__cause__)
    kind = TooLarge if error.status_code == 413 else Malformed
    return expected(request, kind("The body is not valid JSON. Send a JSON document as application/json."))


@api.exception_handler(RequestDataTooBig)
def too_large(request: HttpRequest, error: RequestDataTooBig) -> HttpResponse:
    """A body above the limit: it is not read."""
    limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE or 0
    return expected(request, TooLarge(f"The body is larger than {limit:,} bytes. Send a smaller one."))


@api.exception_handler(Http404)
def missing(request: HttpRequest, error: Http404) -> HttpResponse:
    """No such object."""
    return expected(request, NotFound("There is no such object, or you may not see it."))


@api.exception_handler(Exception)
def unexpected(request: HttpRequest, error: Exception) -> HttpResponse:
    """Something that nobody foresaw: logged with its trace, answered without one."""
    log.exception("api.unexpected %s %s", request.method, request.path)
    return expected(request, GatehouseError("The portal made a mistake; it is logged under the request id."))


@login_not_required
def not_found(request: HttpRequest, rest: str = "") -> HttpResponse:
    """Any other path below /api: a problem document, not the page for people."""
    return problem(
        NotFound(f"There is no {request.path[:200]} in this API. See /api/v1/docs."), getattr(request, "request_id", "")
    )


def public(pattern: URLPattern | URLResolver) -> None:
    """Take the API out of LoginRequiredMiddleware, since it authenticates by token: else it would answer 302 instead
    of 401.
    """
    if isinstance(pattern, URLResolver):
        for child in pattern.url_patterns:
            public(child)
    else:
        pattern.callback = login_not_required(pattern.callback)
