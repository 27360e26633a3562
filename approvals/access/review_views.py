"""Pages of access reviews: the campaigns, and the entries with keep and revoke."""

import datetime as dt
from collections.abc import Sequence
from typing import Any

from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from approvals.access import review as reviews
from approvals.models import AccessReview, AccessReviewItem, Outcome, ReviewState
from portal import listing
from portal.errors import Invalid, NotFound
from portal.http import page
from portal.listing import BulkAction, Column, Filter, Listing
from projects import saved_views
from projects.models import Project, is_slug
from projects.permissions import can, can_anywhere, require_anywhere, visible
from projects.principal import PortalRequest, Principal
from projects.signin.recent import recently_proved

KINDS = (
    ("membership", "Membership"),
    ("group", "Platform-wide group"),
    ("key", "API key"),
    ("application", "Application"),
    ("share", "Shared endpoint"),
    ("asset-user", "Asset for a person"),
    ("asset-group", "Asset for a group"),
    ("asset-project", "Asset for a project"),
    ("server", "MCP server for a project"),
)
CHIPS = {
    Outcome.WAITING: {"label": "Waiting", "colour": "blue", "icon": "clock", "kind": "filled"},
    Outcome.KEEP: {"label": "Kept", "colour": "green", "icon": "ok", "kind": "filled"},
    Outcome.REVOKE: {"label": "Revoked", "colour": "red", "icon": "err", "kind": "filled"},
    Outcome.GONE: {"label": "Had ended", "colour": "grey", "icon": "info", "kind": "filled"},
}


def _said(rows: QuerySet[Any], value: str, request: PortalRequest) -> QuerySet[Any]:
    return rows.filter(outcome=value)


def _kind(rows: QuerySet[Any], value: str, request: PortalRequest) -> QuerySet[Any]:
    return rows.filter(kind=value)


def _holder(rows: QuerySet[Any], value: str, request: PortalRequest) -> QuerySet[Any]:
    return rows.filter(holder__icontains=value)


ENTRIES = Listing(
    route="access_review",
    nouns=("entry", "entries"),
    columns=(
        Column("holder", "Who", ("holder", "id"), {"holder": "holder", "kind": "kind_label"}, fixed=True),
        Column("words", "What", csv={"what": "words"}),
        Column("project", "Project", csv={"project": "project"}, default=False),
        Column("reviewer", "Answered by", csv={"reviewer": "reviewer"}),
        Column("outcome", "Answer", ("outcome", "id"), {"outcome": "outcome", "reason": "reason", "by": "decided_by"}),
    ),
    filters=(
        Filter("q", "Who", _holder, kind="search"),
        Filter("outcome", "Answer", _said, choices=Outcome.choices, every="Every answer"),
        Filter("kind", "Kind", _kind, choices=KINDS, every="Every kind"),
    ),
    sort="holder",
    file="access-review",
)
MOST = 200  # reviews that the page lists
ACTIONS = (BulkAction("keep", "Keep"), BulkAction("revoke", "Revoke", danger=True))


@require_http_methods(["GET", "POST"])
@recently_proved(why="You ask others to decide on access.")
def review_list(request: PortalRequest) -> HttpResponse:
    """The reviews that concern the reader; POST begins one."""
    by = request.principal
    starts = can_anywhere(by, "create", AccessReview)
    usual = (timezone.now().date() + dt.timedelta(days=30)).isoformat()
    typed, problem = {"name": "", "due_on": usual, "project": ""}, None
    if request.method == "POST":
        require_anywhere(by, "create", AccessReview)
        typed = {name: request.POST.get(name, "").strip() for name in typed}
        try:
            made = reviews.start(
                by, name=typed["name"], due_on=_day(typed["due_on"]), project=_project(by, typed["project"])
            )
        except Invalid as error:
            problem = error
        else:
            messages.success(request, f"{made.name} has begun; whoever answers for an entry was told.")
            return redirect("access_review", review_id=made.pk)
    shown = list(reviews.reviews_of(by)[:MOST])
    counts = reviews.counts(shown)
    rows = [
        {
            "row": row,
            "waiting": counts.get(row.pk, {}).get(Outcome.WAITING, 0),
            "kept": counts.get(row.pk, {}).get(Outcome.KEEP, 0),
            "revoked": counts.get(row.pk, {}).get(Outcome.REVOKE, 0),
            "overdue": row.state == ReviewState.OPEN and row.due_on < timezone.now().date(),
        }
        for row in shown
    ]
    context = {
        "heading": "Access reviews",
        "crumbs": [("Home", reverse("home")), ("Access reviews", "")],
        "rows": rows,
        "starts": starts,
        "fields": _fields(by, typed, problem.fields if problem else {}) if starts else [],
        "errors": problem.errors if problem else [],
    }
    return page(request, "approvals/access/reviews.html", context, status=problem.status if problem else 200)


@require_GET
def access_review(request: PortalRequest, review_id: int) -> HttpResponseBase:
    """The entries of one review that the reader may see."""
    by, review = request.principal, _review(request.principal, review_id)
    asked = listing.read(request, ENTRIES)
    rows = reviews.entries_of(by, review)

    def lines(found: Sequence[AccessReviewItem]) -> list[dict[str, Any]]:
        return [_line(by, item) for item in found]

    if asked.csv:
        return listing.csv_response(asked, rows, lines)
    found = listing.find(asked, rows)
    shown = lines(found.rows)
    context: dict[str, Any] = {
        "review": review,
        "crumbs": [("Home", reverse("home")), ("Access reviews", reverse("access_review_list")), (review.name, "")],
        "rows": shown,
        "open": review.state == ReviewState.OPEN,
        "closes": review.state == ReviewState.OPEN and can(by, "close", review),
        "views": saved_views.menu(by, asked),
        "overdue": review.state == ReviewState.OPEN and review.due_on < timezone.now().date(),
    }
    if any(line["tick"] for line in shown):
        url = reverse("access_review_bulk", args=[review.pk])
        context["bulk"] = listing.bulk_bar(url, ACTIONS)
    return found.render("approvals/access/review.html", context)


@require_POST
@recently_proved(why="You decide who keeps access.")
def access_review_bulk(request: PortalRequest, review_id: int) -> HttpResponse:
    """Keep or revoke the ticked entries, with one result per entry."""
    by, review = request.principal, _review(request.principal, review_id)
    action = listing.chosen_action(request, ACTIONS)
    ids = listing.ticked(request)
    known = [int(one) for one in ids if one.isdecimal() and len(one) < 19]
    rows = {str(item.pk): item for item in reviews.entries_of(by, review).filter(pk__in=known)}
    reason = request.POST.get("reason", "")

    def act(item: AccessReviewItem) -> str:
        said = reviews.decide(by, item, action.verb, reason=reason)
        return f"{CHIPS[Outcome(said.outcome)]['label']}."

    outcomes = listing.perform(ids, rows, act, label=lambda item: f"{item.holder}: {item.words}")
    back = listing.back_to(request, reverse("access_review", args=[review.pk]))
    if len(outcomes) == 1 and outcomes[0].done:  # one click, one row: back to the list
        messages.success(request, f"{outcomes[0].label}: {outcomes[0].sentence}")
        return HttpResponseRedirect(back)
    words = {"title": review.name, "back_url": back, "back_label": "Back to the entries"}
    crumbs = [("Access reviews", reverse("access_review_list")), (review.name, back), (action.label, "")]
    return listing.outcome_page(
        request, {"crumbs": crumbs, "heading": action.label, "results": listing.outcome_context(outcomes, **words)}
    )


@require_POST
@recently_proved(why="You end an access review.")
def access_review_close(request: PortalRequest, review_id: int) -> HttpResponse:
    """End a review."""
    closed = reviews.close(request.principal, _review(request.principal, review_id))
    messages.success(request, f"{closed.name} is closed; the audit log has the result.")
    return redirect("access_review", review_id=closed.pk)


def _review(by: Principal, review_id: int) -> AccessReview:
    found = reviews.reviews_of(by).filter(pk=review_id).first()
    if found is None:
        raise NotFound("There is no such access review, or none of its entries is yours.")
    review: AccessReview = found
    return review


def _line(by: Principal, item: AccessReviewItem) -> dict[str, Any]:
    open_ = item.review.state == ReviewState.OPEN and item.outcome in {Outcome.WAITING, Outcome.KEEP}
    answers = open_ and item.holder != by.name and reviews.answers(by, item)
    return {
        "id": item.pk,
        "tick": str(item.pk) if answers and item.outcome == Outcome.WAITING else "",
        "answers": answers,
        "kept": item.outcome == Outcome.KEEP,
        "own": item.holder == by.name,
        "holder": item.holder,
        "kind_label": dict(KINDS).get(item.kind, item.kind),
        "words": item.words,
        "project": item.project.slug if item.project else "",
        "reviewer": item.reviewer.username if item.reviewer else "governance",
        "outcome": item.outcome,
        "chip": CHIPS[Outcome(item.outcome)],
        "reason": item.reason,
        "decided_by": item.decided_by.username if item.decided_by else "",
        "decided_at": item.decided_at,
    }


def _day(text: str) -> dt.date:
    try:
        return dt.date.fromisoformat(text)
    except ValueError as error:
        raise Invalid.field("due_on", f"due_on is {text[:20]!r}; write a date as YYYY-MM-DD.") from error


def _project(by: Principal, slug: str) -> Project | None:
    if not slug:
        return None
    found = visible(by, Project.objects.filter(slug=slug)).first() if is_slug(slug) else None
    if found is None:
        raise Invalid.field("project", f"project is {slug[:60]!r}, which does not exist or you may not see.")
    project: Project = found
    return project


def _fields(by: Principal, typed: dict[str, str], errors: dict[str, str]) -> list[dict[str, Any]]:
    slugs = visible(by, Project.objects.all()).values_list("slug", flat=True)[:500]
    common = {"required": True, "help": ""}
    due = common | {"name": "due_on", "label": "Due", "kind": "date", "value": typed["due_on"]}
    due |= {"error": errors.get("due_on", "")}
    return [
        common
        | {
            "name": "name",
            "label": "Name",
            "kind": "text",
            "value": typed["name"],
            "error": errors.get("name", ""),
            "attrs": {"maxlength": 80, "autocomplete": "off", "placeholder": "First quarter"},
        },
        common
        | {
            "name": "due_on",
            "label": "Due",
            "kind": "date",
            "value": typed["due_on"],
            "error": errors.get("due_on", ""),
        },
        common
        | {
            "name": "project",
            "label": "Of",
            "kind": "select",
            "required": False,
            "value": typed["project"],
            "error": errors.get("project", ""),
            "choices": [("", "the whole platform", False), *((slug, slug, False) for slug in slugs)],
        },
    ]
