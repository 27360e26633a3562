"""REST API of projects and members, and what all routers share: authentication, scopes, ETags, idempotency."""

import datetime as dt
import json
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, cast

from django.conf import settings
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from ninja import Router, Schema
from ninja.security.base import AuthBase
from pydantic import ConfigDict, Field

from portal import crypto
from portal.errors import Conflict, GatehouseError, Invalid, NotFound, RateLimited, Unauthenticated
from portal.http import canonical, cursor_page, etag, require_match
from portal.rates import spend
from projects import credentials, services
from projects.credentials import Credential, InvalidToken
from projects.models import IdempotentAnswer, Membership, Project, is_slug
from projects.permissions import require, require_scope, visible
from projects.principal import PortalRequest, Principal

router = Router(tags=["projects"])


# --- Shared by all routers
# ---------------------------------------------------------------------------------------------------


class Body(Schema):
    """Base of request bodies: unknown fields are an error, so that a typo never passes in silence."""

    model_config = ConfigDict(extra="forbid")


class Bearer(AuthBase):
    """`Authorization: Bearer <OAuth access token | API key>`, with the scope that the operation asks for."""

    openapi_type = "http"
    openapi_scheme = "bearer"

    def __init__(self, scope: str | None = None) -> None:
        super().__init__()
        self.scope = scope
        self.openapi_security_schema = {"type": "http", "scheme": "bearer"}  # type: ignore[assignment]

    def __call__(self, request: HttpRequest) -> Principal:
        """Return the principal; raises Unauthenticated, InsufficientScope or RateLimited."""
        scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not secret.strip():
            raise Unauthenticated("Send an access token or API key as: Authorization: Bearer …")
        asking = cast(PortalRequest, request)
        asking.credential = credentials.read(secret.strip(), asking)
        found: Principal = asking.credential.principal
        limit_rate(found)  # first: calls that are refused for their scope count too
        if self.scope is not None:
            require_scope(found, self.scope)
        asking.principal = found
        return found


def scope(name: str) -> Bearer:
    """Return the authentication of an operation that needs scope `name`."""
    return Bearer(name)


def identify(secret: str, request: HttpRequest) -> Principal:
    """Return who `secret` stands for; raises InvalidToken with one sentence for unknown, expired and revoked alike."""
    return credentials.read(secret, request).principal


def limit_rate(principal: Principal) -> None:
    """Count a call in the current minute; raises RateLimited above settings.API_RATE_PER_MINUTE."""
    wait = spend(principal.credential, settings.API_RATE_PER_MINUTE, 60)
    if wait:
        raise RateLimited(
            f"More than {settings.API_RATE_PER_MINUTE} calls in a minute. Wait {wait} s.", extra={"retry_after": wait}
        )


def answer(request: HttpRequest, body: Mapping[str, Any], status: int = 200, *, secret: bool = False) -> HttpResponse:
    """Return `body` as JSON with its ETag. `secret` marks an answer that an Idempotency-Key must never repeat."""
    response = HttpResponse(canonical(body), content_type="application/json", status=status)
    if not secret:
        response["ETag"] = etag(body)
    response.headers["Cache-Control"] = "no-store"
    response.holds_secret = secret  # type: ignore[attr-defined]
    return response


def idempotent(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Give a POST operation its Idempotency-Key: the same key and body get the first answer again, for 24 hours.

    Key, work and answer are one transaction: whatever dies, either all of it stands or nothing, and a second call with
    the key waits for the first. A key with another body is a Conflict; so is a replay of an answer that held a secret.
    """

    @wraps(view)
    def wrapper(request: PortalRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        name = request.headers.get("Idempotency-Key", "")
        if not name:
            return view(request, *args, **kwargs)
        if len(name) > 200 or not name.isprintable():
            raise Invalid.field("Idempotency-Key", "Idempotency-Key takes up to 200 printable characters.")
        principal: Principal = request.principal
        digest = crypto.digest(f"{request.method} {request.get_full_path()}\n".encode() + request.body)
        owner = f"{principal.key}:{principal.project_id or ''}"
        with transaction.atomic():
            kept = _claim(owner, name, digest)
            if kept is not None:
                return kept
            response = view(request, *args, **kwargs)
            hidden = bool(getattr(response, "holds_secret", False))
            IdempotentAnswer.objects.filter(principal=owner, key=name).update(
                status=response.status_code, body="" if hidden else response.content.decode(), secret=hidden
            )
        return response

    return wrapper


def _claim(owner: str, name: str, digest: str) -> HttpResponse | None:
    """Take the key for this call and return None, or return the answer that it got before."""
    IdempotentAnswer.objects.filter(created_at__lt=timezone.now() - dt.timedelta(hours=24)).delete()
    try:
        with transaction.atomic():
            IdempotentAnswer.objects.create(principal=owner, key=name, digest=digest)
            return None
    except IntegrityError:
        kept = IdempotentAnswer.objects.filter(principal=owner, key=name).first()
    if kept is None or kept.digest != digest:
        raise Conflict(
            "This Idempotency-Key was used for another request. Use a new one.", code="idempotency_key_reused"
        )
    if kept.secret:
        raise Conflict(
            "The answer held a secret, which is shown once and never again. Rotate the key instead.",
            code="secret_already_shown",
        )
    response = HttpResponse(kept.body, content_type="application/json", status=kept.status)
    response["ETag"] = etag(json.loads(kept.body))  # the body is canonical, so its tag is the first one again
    response["Cache-Control"] = "no-store"
    response["Idempotency-Replayed"] = "true"
    return response


def problem(error: GatehouseError, request_id: str = "") -> HttpResponse:
    """Return an RFC 9457 problem document."""
    body = {
        "type": f"{settings.BASE_URL}/api/v1/docs#{error.code}",
        "title": error.title,
        "status": error.status,
        "detail": error.sentence,
        "code": error.code,
        "errors": error.errors,
        **({"request_id": request_id} if request_id else {}),
        **error.extra,
    }
    response = HttpResponse(json.dumps(body), content_type="application/problem+json", status=error.status)
    if error.status == 401:  # RFC 6750: who sent nothing hears of no error
        wrong = ', error="invalid_token"' if isinstance(error, InvalidToken) else ""
        response["WWW-Authenticate"] = f'Bearer realm="gatehouse"{wrong}'
    if error.code == "insufficient_scope":
        wanted = f', scope="{error.extra["scope"]}"' if "scope" in error.extra else ""
        response["WWW-Authenticate"] = f'Bearer realm="gatehouse", error="insufficient_scope"{wanted}'
    if "retry_after" in error.extra:
        response["Retry-After"] = str(error.extra["retry_after"])
    return response


def project_or_404(principal: Principal, slug: str) -> Project:
    """Return the project; raises NotFound when it does not exist or the caller may not see it."""
    found = visible(principal, Project.objects.all()).filter(slug=slug) if is_slug(slug) else Project.objects.none()
    project: Project | None = found.first()
    if project is None:
        raise NotFound(f"There is no project {slug[:40]}, or you may not see it.")
    return project


# --- Operations
# ------------------------------------------------------------------------------------------------------------------


class ProjectIn(Body):
    """A new project."""

    slug: str = Field(max_length=40)
    name: str = Field(max_length=400)
    description: str = Field("", max_length=4000)
    cost_centre: str = Field("", max_length=400)
    owner_team: str = Field("", max_length=400)


class ProjectPatch(Body):
    """Fields of a project that may change."""

    name: str | None = Field(None, max_length=400)
    description: str | None = Field(None, max_length=4000)
    cost_centre: str | None = Field(None, max_length=400)
    owner_team: str | None = Field(None, max_length=400)


class MemberIn(Body):
    """A role for a member."""

    role: str = Field(max_length=40)


def project_json(project: Project) -> dict[str, object]:
    """Return a project as the API shows it."""
    return {
        "slug": project.slug,
        "name": project.name,
        "description": project.description,
        "cost_centre": project.cost_centre,
        "owner_team": project.owner_team,
        "created_at": project.created_at,
    }


def _member_json(member: Membership) -> dict[str, object]:
    return {
        "user": member.user.username,
        "name": member.user.display_name,
        "role": member.role,
        "service": member.user.is_service,
        "since": member.created_at,
    }


def _credential_json(credential: Credential) -> dict[str, object]:
    application = credential.application
    return {
        "kind": credential.kind,
        "expires_at": credential.expires_at,
        "second_factor": credential.principal.second_factor or None,
        "application": {"id": application.pk, "name": application.client.name} if application else None,
    }


@router.get("/me", auth=Bearer())
def me(request: PortalRequest) -> HttpResponse:
    """Who the token stands for: principal, credential, roles, scopes, projects."""
    principal: Principal = request.principal
    memberships = Membership.objects.filter(user=principal.person).select_related("project").order_by("project__slug")
    bound = principal.project_id
    return answer(
        request,
        {
            "principal": {
                "user": principal.person.username,
                "name": principal.person.display_name,
                "service": principal.person.is_service,
                "via": principal.via,
            },
            "credential": _credential_json(request.credential),
            "roles": sorted(principal.groups),
            "scopes": sorted(principal.scopes or []),
            "projects": [
                {"slug": item.project.slug, "name": item.project.name, "role": item.role}
                for item in memberships
                if bound in (None, item.project_id)
            ],
        },
    )


@router.get("/projects", auth=Bearer())
def list_projects(request: PortalRequest, limit: int | None = None, cursor: str | None = None) -> HttpResponse:
    """The projects that the caller may see."""
    rows, following = cursor_page(
        visible(request.principal, Project.objects.all()), limit=limit, cursor=cursor, order=("slug",)
    )
    return answer(request, {"items": [project_json(row) for row in rows], "next": following})


@router.post("/projects", auth=scope("admin"))
@idempotent
def create_project(request: PortalRequest, body: ProjectIn) -> HttpResponse:
    """Create a project."""
    project = services.create_project(request.principal, **body.model_dump())
    return answer(request, project_json(project), status=201)


@router.get("/projects/{slug}", auth=Bearer())
def get_project(request: PortalRequest, slug: str) -> HttpResponse:
    """One project."""
    return answer(request, project_json(project_or_404(request.principal, slug)))


@router.patch("/projects/{slug}", auth=scope("admin"))
def change_project(request: PortalRequest, slug: str, body: ProjectPatch) -> HttpResponse:
    """Change a project; needs If-Match."""
    with transaction.atomic():
        project = project_or_404(request.principal, slug)
        project = Project.objects.select_for_update().get(pk=project.pk)
        require_match(request, project_json(project))
        fields = {name: value for name, value in body.model_dump().items() if value is not None}
        project = services.change_project(request.principal, project, **fields)
    return answer(request, project_json(project))


@router.get("/projects/{slug}/members", auth=Bearer())
def list_members(
    request: PortalRequest, slug: str, limit: int | None = None, cursor: str | None = None
) -> HttpResponse:
    """The members of a project."""
    project = project_or_404(request.principal, slug)
    rows, following = cursor_page(
        Membership.objects.filter(project=project).select_related("user"), limit=limit, cursor=cursor, order=("id",)
    )
    return answer(request, {"items": [_member_json(row) for row in rows], "next": following})


@router.put("/projects/{slug}/members/{user}", auth=scope("admin"))
def set_member(request: PortalRequest, slug: str, user: str, body: MemberIn) -> HttpResponse:
    """Give a person a role in a project; If-Match is needed to change one that exists."""
    project = project_or_404(request.principal, slug)
    with transaction.atomic():
        require(request.principal, "manage_members", project)
        present = Membership.objects.select_related("user").filter(project=project, user__username=user).first()
        if present is not None:
            require_match(request, _member_json(present))
        member = services.set_member(request.principal, project, username=user, role=body.role)
    member = Membership.objects.select_related("user").get(pk=member.pk)
    return answer(request, _member_json(member), status=200 if present else 201)


@router.delete("/projects/{slug}/members/{user}", auth=scope("admin"))
def remove_member(request: PortalRequest, slug: str, user: str) -> HttpResponse:
    """Take a person out of a project."""
    services.remove_member(request.principal, project_or_404(request.principal, slug), username=user)
    return HttpResponse(status=204)
