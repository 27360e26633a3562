"""What the frame of every page needs: menu, project switcher, theme, banner."""

from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db.models import Exists, Expression, OuterRef, Value
from django.http import HttpRequest
from django.urls import reverse

from approvals.models import Request
from approvals.stages.reading import waiting_for
from approvals.stages.standing import Standing, lenders
from audit.models import Row
from portal.counting import number
from portal.guide import has_news
from portal.help import of_route
from portal.people import DEMO_PEOPLE
from projects.middleware import SWITCHER
from projects.models import Notification, Project, User
from projects.permissions import allows, can_anywhere, visible
from projects.principal import ANONYMOUS, PortalRequest, Principal
from projects.views import THEME_COOKIE, THEMES

MOST_ENTRIES = 8


@dataclass(frozen=True)
class Counts:
    """The numbers that every page shows of a person."""

    unread: int = 0
    waiting: int = 0  # requests of others that wait for a decision
    news: bool = False
    lent: bool = False  # somebody lets them decide


def counts(request: PortalRequest, decides: bool) -> Counts:
    """Return what the masthead and the menu count, without what the page itself has counted: one query for all of it,
    and one for who lends to a platform reviewer where the page has not read that; two for anybody else to whom somebody
    lends.
    """
    principal = request.principal
    everywhere = allows(principal, "decide", Request, None)
    standing = Standing.seen(request) if everywhere else getattr(request, "standing", None)
    me = User.objects.filter(pk=principal.person.pk).order_by()
    unread = Notification.objects.filter(person=OuterRef("pk"), read_at__isnull=True)
    counted = getattr(request, "waiting", None)
    waiting: Expression = Value(counted or 0)
    if counted is None and (decides or standing):
        waiting = number(waiting_for(principal, standing or Standing(principal)))
    row = me.annotate(unread=number(unread), waiting=waiting, lent=Exists(lenders(OuterRef("pk"))))
    many, open_requests, seen, lent = row.values_list("unread", "waiting", "preference__seen_news", "lent").get()
    if lent and standing is None and not principal.person.is_service:
        open_requests = waiting_for(principal, Standing.seen(request)).count()
    return Counts(many, open_requests, has_news(seen or ""), bool(lent))


def _entry(request: HttpRequest, label: str, name: str, icon: str, go: str, badge: int = 0) -> dict[str, Any]:
    url = reverse(name)
    current = request.path == url or (url != "/" and request.path.startswith(url))
    return {"label": label, "url": url, "icon": icon, "current": current, "badge": badge, "go": go}


def navigation(request: HttpRequest, principal: Principal, known: Counts) -> list[dict[str, Any]]:
    """Return the menu by what the person may do; at most eight entries, each with the letter that follows `g`."""
    decides, waiting = known.lent or can_anywhere(principal, "decide", Request), known.waiting
    reads_all = can_anywhere(principal, "view", Row)
    home = _entry(request, "Home", "home", "home", "h")
    requests = _entry(request, "Requests", "request_list", "requests", "r")
    capacity = _entry(request, "Capacity", "capacity", "capacity", "p")
    # The menu has no room for clusters and environments.
    capacity["current"] |= request.path.startswith((reverse("cluster_list"), reverse("environment_list")))
    usage = _entry(request, "Usage", "usage", "usage", "u")
    use = [
        home,
        _entry(request, "Catalog", "catalog_list", "catalog", "c"),
        requests,
        _entry(request, "Endpoints", "endpoint_list", "endpoints", "e"),
        usage,
    ]
    decide: list[dict[str, Any]] = []
    govern: list[dict[str, Any]] = []
    if decides:
        decide = [_entry(request, "Approvals", "approval_list", "approvals", "a", waiting), capacity]
    else:
        use.append(capacity)
    if reads_all:
        (decide if decides else govern).append(_entry(request, "Insights", "insights", "trendup", "i"))
        govern.append(_entry(request, "Policies", "policy_list", "policy", "o"))
    if reads_all or can_anywhere(principal, "manage_members", Project):
        govern.append(_entry(request, "Access", "access", "access", "w"))
    if reads_all:
        govern.append(_entry(request, "Audit", "audit_list", "audit", "l"))
    # Who decides sees all requests through the queue; the product's name is a way home, insights lead to capacity, and
    # home and every endpoint to usage.
    asks = can_anywhere(principal, "request", Project) or not decides
    spare = [home, capacity, usage] if asks else [requests, home, usage]
    for entry in spare:
        if len(use) + len(decide) + len(govern) > MOST_ENTRIES:
            use, decide = [one for one in use if one != entry], [one for one in decide if one != entry]
    groups = [("Use", use), ("Decide", decide), ("Govern", govern)]
    return [{"group": title, "items": items} for title, items in groups if items]


def frame(request: PortalRequest) -> dict[str, Any]:
    """Context processor: `frame` for base.html; nothing for a part of a page, whose frame is there already."""
    if getattr(request, "in_frame", False):
        return {}
    principal = getattr(request, "principal", ANONYMOUS)
    theme = request.COOKIES.get(THEME_COOKIE, "")
    data: dict[str, Any] = {
        "product": "Gatehouse",
        "version": settings.VERSION,
        "theme": theme if theme in THEMES else "",
        "banner": "Demo: simulated accelerators, a demo engine, demo people, no second factor. Not for production."
        if settings.DEMO
        else "",
        "nav": [],
        "brand_go": "",
        "projects": [],
        "project": None,
        "user_name": "",
        "initial": "",
        "unread": 0,
        "news": False,
        "help": None,
    }
    if principal.is_authenticated:
        chosen = getattr(request, "project", None)
        known = counts(request, can_anywhere(principal, "decide", Request))
        data["nav"] = navigation(request, principal, known)
        # Where the menu has no room for it, the product's name is what `g h` follows.
        data["brand_go"] = "" if any(one["go"] == "h" for part in data["nav"] for one in part["items"]) else "h"
        data["unread"], data["news"] = known.unread, known.news
        match = request.resolver_match
        data["help"] = of_route((match.url_name or "") if match else "")
        data["projects"] = [
            {"slug": item.slug, "name": item.slug, "current": chosen is not None and item.pk == chosen.pk}
            for item in (getattr(request, "projects", None) or visible(principal, Project.objects.all()))[:SWITCHER]
        ]
        data["project"] = chosen
        data["user_name"] = principal.name
        data["initial"] = principal.name[:1].upper()
        return {"frame": data}
    return {"frame": data, "demo_people": DEMO_PEOPLE if settings.DEMO else [], "sso": ways_in()}


def ways_in() -> list[dict[str, str]]:
    """Return the identity provider that the sign-in page offers."""
    asked = settings.SSO
    return [{"name": asked.name, "url": reverse("openid_connect_login", args=[asked.provider])}] if asked else []
