"""Who is asking: puts `request.principal` and `request.project` on every request."""

from collections.abc import Callable

from django.db.models import Q
from django.http import HttpResponse
from django.utils import timezone

from projects.models import Project, User, is_slug
from projects.permissions import visible
from projects.principal import ANONYMOUS, PortalRequest, Principal
from projects.signin.proof import second_factor
from projects.zones import zone_of

PROJECT_SESSION_KEY = "project"
SWITCHER = 50  # projects that the switcher offers


def offered(who: Principal, chosen: int | None = None) -> list[Project]:
    """Return the projects that pages offer, by slug: the first ones of the switcher, all in which `who` may ask for
    something, and the one that was chosen (its id). One query, however many there are.
    """
    seen = visible(who, Project.objects.all())
    wanted = Q(pk__in=seen.order_by("slug").values("pk")[:SWITCHER]) | Q(pk=chosen)
    wanted |= Q(pk__in=visible(who, Project.objects.all(), "request").values("pk"))
    return list(seen.filter(wanted).order_by("slug"))


def offered_on(request: PortalRequest) -> list[Project]:
    """Return what `offered` returns for who reads a page, read once for all parts of it."""
    if getattr(request, "projects", None) is None:
        request.projects = offered(request.principal)
    return request.projects


def offered_names(request: PortalRequest) -> list[tuple[str, str]]:
    """Return the choices of a list's filter by project: those of the switcher, which the frame needs anyway, and the
    one that the address names.
    """
    names = [project.slug for project in offered_on(request)[:SWITCHER]]
    wanted = request.GET.get("project", "")
    return [(name, name) for name in ([*names, wanted] if is_slug(wanted) and wanted not in names else names)]


def principal(get_response: Callable[[PortalRequest], HttpResponse]) -> Callable[[PortalRequest], HttpResponse]:
    """Add the signed-in principal, and the project that the person chose in the switcher (None = all)."""

    def middleware(request: PortalRequest) -> HttpResponse:
        request.principal = ANONYMOUS
        request.project = None
        user = request.user
        if isinstance(user, User) and user.is_authenticated:
            who = Principal.of(
                user,
                request_id=getattr(request, "request_id", ""),
                address=getattr(request, "address", ""),
                second_factor=second_factor(request.session),
            )
            request.principal = who
            chosen = request.session.get(PROJECT_SESSION_KEY)
            if chosen is not None:
                request.projects = offered(who, chosen)
                request.project = next((project for project in request.projects if project.pk == chosen), None)
            with timezone.override(zone_of(user)):  # times on pages are the person's own
                return get_response(request)
        return get_response(request)

    return middleware
