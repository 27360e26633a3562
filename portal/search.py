"""Search over everything that the person may see: assets, endpoints, requests, projects, people, policies."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from django.db.models import Case, Prefetch, Q, QuerySet, When
from django.http import HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_GET

from approvals.models import Request
from approvals.policies.active import active
from approvals.views.cells import state_chip as request_chip
from approvals.views.policies_cells import severity_chip
from catalog import cells as catalog_cells
from catalog.models import Kind, Listing, VersionState
from endpoints import cells as endpoint_cells
from endpoints.models import Endpoint, Phase
from portal.http import page
from projects.models import Membership, Project, User
from projects.permissions import PLATFORM, visible
from projects.principal import PortalRequest, Principal

LONGEST, SHORTEST = 200, 2
SHOWN, SUGGESTED = 8, 3
NUMBER = re.compile(r"(?:r-?)?(\d{1,9})", re.IGNORECASE)


@dataclass(frozen=True)
class Hit:
    """One thing that was found; without `url` there is no page of it that the person may open."""

    name: str
    url: str = ""
    context: str = ""
    chip: dict[str, Any] | None = None


@dataclass(frozen=True)
class Group:
    """What was found of one kind: the first ones, whether there are more, and the list that shows all."""

    title: str
    icon: str
    hits: list[Hit] = field(default_factory=list)
    more: bool = False
    all_url: str = ""


@require_GET
def search(request: PortalRequest) -> HttpResponse:
    """The page with everything found; htmx gets the first ones, for the box in the masthead."""
    raw = request.GET.get("q", "")
    text = " ".join(raw[:LONGEST].split())
    few = bool(getattr(request, "htmx", None))
    ready = len(text) >= SHORTEST
    groups = find(request.principal, text, SUGGESTED if few else SHOWN) if ready else []
    count = sum(len(group.hits) for group in groups)
    context = {
        "crumbs": [("Home", reverse("home")), ("Search", "")],
        "q": text,
        "ready": ready,
        "cut": len(raw) > LONGEST,
        "longest": LONGEST,
        "groups": groups,
        "count": count,
        "more": any(group.more for group in groups),
        "page_url": f"{reverse('search')}?{urlencode({'q': text})}",
    }
    return page(request, "portal/search.html", context, part="suggestions")


def find(principal: Principal, text: str, most: int) -> list[Group]:
    """Return what `principal` may see that holds every word of `text`, at most `most` of a kind: seven queries.

    A number, also as R-12, finds the request with that number first.
    """
    words = text.split()
    kinds: list[Callable[[Principal, list[str], int], Group]] = [
        _assets, _endpoints, _requests, _projects, _people, _policies,
    ]  # fmt: skip
    return [group for kind in kinds if (group := kind(principal, words, most)).hits]


def _holding(words: list[str], *columns: str) -> Q:
    """Return the condition that every word stands in one of `columns`."""
    condition = Q()
    for word in words:
        condition &= Q.create([(f"{column}__icontains", word) for column in columns], connector=Q.OR)
    return condition


def _list(name: str, words: list[str]) -> str:
    return f"{reverse(name)}?{urlencode({'q': ' '.join(words)})}"


def _first(rows: QuerySet[Any], most: int) -> tuple[list[Any], bool]:
    found = list(rows[: most + 1])
    return found[:most], len(found) > most


def _assets(principal: Principal, words: list[str], most: int) -> Group:
    rows = Listing.objects.visible_to(principal)
    for word in words:
        rows = rows.filter(text__contains=word.lower())
    found, more = _first(rows.select_related("asset").order_by("rank", "name", "asset_id"), most)
    hits = [
        Hit(
            name=row.asset.name,
            url=reverse("catalog_detail", args=[row.asset.slug]),
            context=", ".join(part for part in (Kind(row.kind).label, row.asset.publisher) if part),
            chip=catalog_cells.state_chip(VersionState(row.state)),
        )
        for row in found
    ]
    return Group("Assets", "catalog", hits, more, _list("catalog_list", words))


def _endpoints(principal: Principal, words: list[str], most: int) -> Group:
    rows = visible(principal, Endpoint.objects.exclude(phase=Phase.DELETED))
    rows = rows.filter(_holding(words, "name", "project__slug", "revision__version__asset__name"))
    related = ("project", "cluster", "revision__version__asset", "revision__profile")
    found, more = _first(rows.select_related(*related).order_by("name", "project__slug", "id"), most)
    hits = [
        Hit(
            name=item.name,
            url=reverse("endpoint_detail", args=[item.pk]),
            context=f"{item.project.slug}, {item.environment}",
            chip=endpoint_cells.phase_chip(item),
        )
        for item in found
    ]
    return Group("Endpoints", "endpoints", hits, more, _list("endpoint_list", words))


def _requests(principal: Principal, words: list[str], most: int) -> Group:
    holding = _holding(words, "name", "project__slug", "version__asset__name", "requester__username")
    number = NUMBER.fullmatch(words[0]) if len(words) == 1 else None
    if number:
        holding |= Q(pk=int(number[1]))
    rows = visible(principal, Request.objects.filter(holding)).select_related("project", "requester")
    first = [Case(When(pk=int(number[1]), then=0), default=1)] if number else []
    found, more = _first(rows.order_by(*first, "-id"), most)
    hits = [
        Hit(
            name=f"{item.number} {item.name}".strip(),
            url=reverse("request_detail", args=[item.pk]),
            context=f"{item.get_kind_display()} · {item.project.slug if item.project else 'catalog'} · "
            f"{item.requester.username}",
            chip=request_chip(item.state),
        )
        for item in found
    ]
    return Group("Requests", "requests", hits, more, _list("request_list", words))


def _projects(principal: Principal, words: list[str], most: int) -> Group:
    rows = visible(principal, Project.objects.filter(_holding(words, "slug", "name", "owner_team", "cost_centre")))
    found, more = _first(rows.order_by("slug"), most)
    hits = [Hit(item.slug, reverse("project_detail", args=[item.slug]), item.name) for item in found]
    return Group("Projects", "team", hits, more, _list("project_list", words))


def _people(principal: Principal, words: list[str], most: int) -> Group:
    """Find people who share a project with `principal`; platform roles find everybody. The link is a shared project."""
    shared = visible(principal, Project.objects.all())
    rows = User.objects.filter(is_active=True, is_service=False)
    if not principal.groups & PLATFORM:
        rows = rows.filter(Q(memberships__project__in=shared.values("pk")) | Q(pk=principal.person.pk)).distinct()
    rows = rows.filter(_holding(words, "username", "first_name", "last_name"))
    places = (
        Membership.objects.filter(project__in=shared.values("pk")).select_related("project").order_by("project__slug")
    )
    rows = rows.prefetch_related(Prefetch("memberships", queryset=places, to_attr="shared"))
    found, more = _first(rows.order_by("username"), most)
    hits = []
    for person in found:
        held = [f"{item.role} of {item.project.slug}" for item in person.shared[:2]]
        held += [f"{len(person.shared) - 2} more"] if len(person.shared) > 2 else []
        url = reverse("project_detail", args=[person.shared[0].project.slug]) if person.shared else ""
        full = person.get_full_name()
        hits.append(Hit(f"{person.username} ({full})" if full else person.username, url, ", ".join(held)))
    return Group("People", "user", hits, more)


def _policies(principal: Principal, words: list[str], most: int) -> Group:
    """Find the rules of the bundle that counts, by id and title; whoever is signed in is judged by them and reads
    them. The bundle itself is found by its name and version.
    """
    if not principal.is_authenticated:
        return Group("Policies", "policy")
    now, lowered = active(), [word.lower() for word in words]

    def holds(*texts: str) -> bool:
        return all(word in " ".join(texts).lower() for word in lowered)

    hits = [
        Hit(rule.title, reverse("policy_rule", args=[rule.id]), rule.id, severity_chip(rule.severity))
        for rule in now.bundle.rules
        if holds(rule.id, rule.title)
    ]
    if holds("policy policies bundle", now.bundle.name, now.version):
        count = len(now.bundle.rules)
        context = f"Bundle {now.version} · {count} rule{'' if count == 1 else 's'}"
        hits.insert(0, Hit(now.bundle.name, reverse("policy_list"), context))
    return Group("Policies", "policy", hits[:most], len(hits) > most, _list("policy_list", words))
