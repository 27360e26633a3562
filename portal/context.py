"""What the frame of every page needs: menu, project switcher, theme, banner."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse

from approvals.models import Request, RequestState
from audit.models import Row
from portal.people import DEMO_PEOPLE
from projects.middleware import SWITCHER
from projects.models import GOVERNANCE_LEADS, PLATFORM_ENGINEERS, Project
from projects.permissions import can_anywhere, visible
from projects.principal import ANONYMOUS, Principal
from projects.views import THEME_COOKIE, THEMES


def _entry(request: HttpRequest, label: str, name: str, icon: str, badge: int = 0) -> dict[str, Any]:
    url = reverse(name)
    current = request.path == url or (url != "/" and request.path.startswith(url))
    return {"label": label, "url": url, "icon": icon, "current": current, "badge": badge}


def navigation(request: HttpRequest, principal: Principal) -> list[dict[str, Any]]:
    """Return the menu by what the person may do; at most eight entries (one query for the badge)."""
    open_requests = Request.objects.filter(state=RequestState.SUBMITTED)
    use = [
        _entry(request, "Home", "home", "home"),
        _entry(request, "Catalog", "catalog_list", "catalog"),
        _entry(request, "Requests", "request_list", "requests"),
        _entry(request, "Endpoints", "endpoint_list", "endpoints"),
        _entry(request, "Usage", "usage", "usage"),
    ]
    groups = [{"group": "Use", "items": use}]
    if principal.groups & {PLATFORM_ENGINEERS, GOVERNANCE_LEADS}:
        waiting = open_requests.exclude(requester=principal.person).count()
        decide = [
            _entry(request, "Approvals", "approval_list", "approvals", waiting),
            _entry(request, "Capacity", "capacity", "capacity"),
        ]
        groups.append({"group": "Decide", "items": decide})
    else:
        use.append(_entry(request, "Capacity", "capacity", "capacity"))
    if can_anywhere(principal, "view", Row):
        groups.append({"group": "Govern", "items": [_entry(request, "Audit", "audit_list", "audit")]})
    return groups


def frame(request: HttpRequest) -> dict[str, Any]:
    """Context processor: `frame` for base.html."""
    principal = getattr(request, "principal", ANONYMOUS)
    theme = request.COOKIES.get(THEME_COOKIE, "")
    data: dict[str, Any] = {
        "product": "Gatehouse",
        "version": settings.VERSION,
        "theme": theme if theme in THEMES else "",
        "banner": "Demo: simulated accelerators, a demo engine and demo people. Not for production."
        if settings.DEMO
        else "",
        "nav": [],
        "projects": [],
        "project": None,
        "user_name": "",
        "initial": "",
    }
    if principal.is_authenticated:
        chosen = getattr(request, "project", None)
        data["nav"] = navigation(request, principal)
        data["projects"] = [
            {"slug": item.slug, "name": item.slug, "current": chosen is not None and item.pk == chosen.pk}
            for item in getattr(request, "projects", None) or visible(principal, Project.objects.all())[:SWITCHER]
        ]
        data["project"] = chosen
        data["user_name"] = principal.name
        data["initial"] = principal.name[:1].upper()
    elif settings.DEMO:
        return {"frame": data, "demo_people": DEMO_PEOPLE}
    return {"frame": data}
