"""The page: shares of a pool."""

from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from portal.errors import GatehouseError, NotFound
from portal.http import FormProblem, etag, page
from projects.models import Project
from projects.permissions import require, require_anywhere, visible
from projects.principal import PortalRequest, Principal
from projects.signin.recent import recently_proved
from quotas import lines, pools, share_form
from quotas.fairness import Line
from quotas.models import Pool
from quotas.share_form import MOST_ROWS


@require_http_methods(["GET", "POST"])
@recently_proved(why="You change what of a pool is whose.")
def pool_shares(request: PortalRequest, pool: str) -> HttpResponse:
    """The form of a pool's shares, of what is asked back, and of how long its people have; POST saves all of it."""
    require_anywhere(request.principal, "change", Pool)
    row: Pool | None = visible(request.principal, Pool.objects.all()).filter(slug=pool[:40]).first()
    if row is None:
        raise NotFound(f"There is no pool {pool[:40]}.")
    require(request.principal, "change", row)
    refused: FormProblem | None = None
    if request.method == "POST":
        fields, slugs = share_form.posted(request.POST)
        try:
            pools.change_terms(request.principal, row, request.POST.get("version", ""), **fields)
        except GatehouseError as error:
            refused = share_form.problem(error, slugs, request.POST)
        else:
            messages.success(request, f"The shares of {row.name or row.slug} are saved.")
            return redirect(f"{reverse('capacity')}#shares-{row.slug}")
    context = _context(request.principal, row, refused)
    return page(request, "quotas/shares.html", context, status=refused.status if refused else 200)


def _context(principal: Principal, pool: Pool, refused: FormProblem | None) -> dict[str, Any]:
    """Return what the page shows (five queries)."""
    now = pools.terms(principal, pool)
    line = lines.read([pool.pk]).get(pool.pk, Line(pool.limit, pool.observed))
    known, more = _projects(principal, now, line)
    return {
        "crumbs": [("Home", reverse("home")), ("Capacity", reverse("capacity")), ("Change shares", "")],
        "pool": pool,
        "version": etag(now),
        "too_many": len(now["shares"]) > MOST_ROWS,
        "most": MOST_ROWS,
        "form": share_form.form(now, known, line, refused, more=more),
        "back": f"{reverse('capacity')}#shares-{pool.slug}",
    }


def _projects(principal: Principal, now: dict[str, Any], line: Line) -> tuple[dict[str, int], bool]:
    """Return the ids of the projects that have a row, by slug in their order, and whether there are others."""
    rows = visible(principal, Project.objects.all())
    every = dict(rows.order_by("slug").values_list("slug", "pk")[: MOST_ROWS + 1])
    if len(every) <= MOST_ROWS:
        return every, False
    agreed = [one["project"] for one in now["shares"]]
    known = dict(rows.filter(slug__in=agreed).values_list("slug", "pk")[:MOST_ROWS])
    asking = {*line.held, *(claim.project for claim in line.waiting)}
    for slug, pk in rows.filter(pk__in=asking).order_by("slug").values_list("slug", "pk")[:MOST_ROWS]:
        if len(known) < MOST_ROWS:
            known[slug] = pk
    return dict(sorted(known.items())), True
