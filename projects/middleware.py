"""Who is asking: puts `request.principal` and `request.project` on every request."""

from collections.abc import Callable

from django.http import HttpResponse
from django.utils import timezone

from projects.models import Project, User
from projects.permissions import visible
from projects.principal import ANONYMOUS, PortalRequest, Principal
from projects.signin.proof import second_factor
from projects.zones import zone_of

PROJECT_SESSION_KEY = "project"
SWITCHER = 50  # projects that the switcher offers


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
                mine = visible(who, Project.objects.all())
                request.projects = list(mine[:SWITCHER])
                listed = next((project for project in request.projects if project.pk == chosen), None)
                request.project = listed or mine.filter(pk=chosen).first()
            with timezone.override(zone_of(user)):  # times on pages are the person's own
                return get_response(request)
        return get_response(request)

    return middleware
