"""Saved views: a list as somebody likes to see it, kept as its address under a name. Private to the person."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from django.db import transaction
from django.urls import Resolver404, resolve, reverse

from audit.services import record
from portal.errors import Conflict, Forbidden, Invalid, NotFound
from portal.http import clean_text
from portal.listing import Asked, known
from projects.models import SavedView, User
from projects.principal import Principal

MAX_VIEWS = 50  # of one list
MAX_NAME, MAX_QUERY = 60, 1000
# Where somebody stood in the list, and what is ticked there, which is no part of a view.
PLACES = frozenset({"after", "before", "format", "page", "v"})
FULL = f"You have {MAX_VIEWS} saved views of this list; delete one first."


def save_view(by: Principal, *, name: str, address: str) -> SavedView:
    """Keep the list at `address` (path and query) under `name`, 1 to 60 characters; a view of that name is replaced.

    Raises Invalid for the name, for an address that is no list page or has more than 1,000 characters of query, and
    Conflict `too_many_views` above 50 views of one list.
    """
    person = _person(by)
    wanted = clean_text(name, field="name", low=1, high=MAX_NAME)
    page, query = _place(address)
    with transaction.atomic():
        User.objects.select_for_update().get(pk=person.pk)  # two tabs must not save the 51st together
        mine = SavedView.objects.filter(person=person, page=page)
        existing = mine.filter(name=wanted).first()
        if existing is None and mine.count() >= MAX_VIEWS:
            raise Conflict(FULL, code="too_many_views")
        before = {"query": existing.query} if existing else None
        view, _ = SavedView.objects.update_or_create(person=person, page=page, name=wanted, defaults={"query": query})
        after = {"page": page, "name": wanted, "query": query}
        record("views.save", by=by, obj=view, before=before, after=after)
    return view


def delete_view(by: Principal, view_id: int) -> SavedView:
    """Delete an own view. Raises NotFound for everybody else's."""
    person = _person(by)
    with transaction.atomic():
        view = SavedView.objects.filter(pk=view_id, person=person).first() if view_id < 2**63 else None
        if view is None:
            raise NotFound("There is no such saved view, or it is not yours.")
        before = {"page": view.page, "name": view.name, "query": view.query}
        record("views.delete", by=by, obj=view, before=before)
        SavedView.objects.filter(pk=view.pk).delete()
    return view


def menu(by: Principal, asked: Asked, always: Sequence[tuple[str, str]] = ()) -> dict[str, Any]:
    """Return the context of the views menu in `_list_toolbar.html`: the person's views of this list (one query), behind
    those that everybody has, `always` as (name, query).
    """
    return menu_at(by, asked.listing.route, asked.url(), always)


def menu_at(by: Principal, route: str, address: str, always: Sequence[tuple[str, str]] = ()) -> dict[str, Any]:
    """Return the context of the views menu of a list that reads its own address: `address` (path and query) in its
    short form, of the list page `route` (one query).
    """
    path, _, query = address.partition("?")
    rows = SavedView.objects.filter(person=by.person, page=route).order_by("name", "id")
    here = sorted(_kept(query))
    kept = list(rows[:MAX_VIEWS])
    own = [(view.name, view.query, reverse("view_delete", args=[view.pk])) for view in kept]
    items = [
        {
            "name": name,
            "url": f"{path}?{text}" if text else path,
            "current": sorted(parse_qsl(text)) == here,  # one value ticked before another is the same view
            "delete_url": delete_url,
        }
        for name, text, delete_url in [*((name, text, "") for name, text in always), *own]
    ]
    return {
        "items": items,
        "current": next((item["name"] for item in items if item["current"]), ""),
        "address": address,
        "full": FULL if len(kept) >= MAX_VIEWS else "",
        "most": MAX_NAME,
    }


def _person(by: Principal) -> User:
    if by.user is None or not by.is_authenticated:
        raise Forbidden("Only somebody who is signed in has saved views.")
    return by.user


def _place(address: str) -> tuple[str, str]:
    """Return route name and query of a list page."""
    try:
        parts = urlsplit(address[: 8 * MAX_QUERY])
        page = resolve(parts.path).url_name or ""
    except (ValueError, Resolver404):
        page, parts = "", urlsplit("")
    if not known(page):
        raise Invalid.field("next", "Views are saved of list pages only. Open the list and save it from there.")
    query = urlencode(_kept(parts.query))
    if len(query) > MAX_QUERY:
        raise Invalid.field(
            "next", f"The filters of this view have {len(query):,} characters; the limit is {MAX_QUERY:,}. Use fewer."
        )
    return page, query


def _kept(query: str) -> list[tuple[str, str]]:
    return [(key, value) for key, value in parse_qsl(query) if key not in PLACES]
