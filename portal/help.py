"""The help of each page in two paragraphs, the guide behind it, the quick-starts, and what is new."""

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from django.conf import settings
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.safestring import SafeString, mark_safe
from django.views.decorators.http import require_GET, require_POST

from catalog.markdown import render as markdown
from portal import guide
from portal.errors import NotFound
from portal.helptexts import DEFAULT, GUIDES, TEXTS
from portal.http import page
from projects.principal import PortalRequest

DOCS = Path(settings.BASE_DIR) / "docs"
LINK = re.compile(r"!?\[([^\]]*)\]\(([^)\s]*)\)")
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
ROW = re.compile(r"<tr>(\s*)<td><code>([a-z][a-z_]{2,60})</code></td>")
NAME = re.compile(r"([a-z0-9-]+)\.md(?:#.*)?")


def of_route(route: str) -> dict[str, Any]:
    """Return the help of the page with the route name `route`: two paragraphs and the guide to read on in."""
    name, *paragraphs = TEXTS.get(route, DEFAULT)
    return {"paragraphs": paragraphs, "url": reverse("help_page", args=[name]), "title": GUIDES[name]}


@require_GET
def help_index(request: PortalRequest) -> HttpResponse:
    """The guides, and the quick-starts of the person."""
    context = {
        "crumbs": [("Home", reverse("home")), ("Help", "")],
        "starts": guide.quick_starts(request.principal),
        "guides": [
            {"title": title, "url": reverse("help_page", args=[name]), "about": _about(name)}
            for name, title in GUIDES.items()
        ],
    }
    return page(request, "portal/help.html", context)


@require_GET
def help_page(request: PortalRequest, name: str) -> HttpResponse:
    """One guide: a file of docs/, shown as a page."""
    if name not in GUIDES:
        raise NotFound(f"There is no guide {name[:40]}. The help page lists them all.")
    title, html = _guide(name)
    context = {
        "crumbs": [("Home", reverse("home")), ("Help", reverse("help")), (title, "")],
        "heading": title,
        "html": html,
        "others": [
            {"title": other, "url": reverse("help_page", args=[key]), "current": key == name}
            for key, other in GUIDES.items()
        ],
    }
    return page(request, "portal/help_page.html", context)


@require_GET
def news(request: PortalRequest) -> HttpResponse:
    """What is new, newest release first."""
    groups = request.principal.groups
    context = {
        "crumbs": [("Home", reverse("home")), ("What is new", "")],
        "releases": [
            {
                "version": release.version.split("-")[0],
                "day": release.day,
                "pieces": [
                    {
                        "title": piece.title,
                        "text": piece.text,
                        "url": reverse(piece.route) if piece.route and _opens(piece.groups, groups) else "",
                    }
                    for piece in release.pieces
                ],
            }
            for release in guide.NEWS
        ],
    }
    return page(request, "portal/news.html", context)


def _opens(wanted: frozenset[str], held: frozenset[str]) -> bool:
    return not wanted or bool(wanted & held)


@require_POST
def news_read(request: PortalRequest) -> HttpResponse:
    """Take the dot away."""
    guide.read_news(request.principal)
    return redirect("news")


# --- Guides -----------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=32)  # files of the release: they change with it
def _guide(name: str) -> tuple[str, SafeString]:
    """Return the title and the sanitised page of a guide."""
    text = (DOCS / f"{name}.md").read_text(encoding="utf-8")
    first, _, rest = text.partition("\n")
    # A row that begins with a code can be linked to by it.
    html = ROW.sub(r'<tr id="\2">\1<td><code>\2</code></td>', markdown(LINK.sub(_link, rest), top=2))
    # Wide code scrolls inside its frame, and the keyboard must get there. Text never holds a bare <pre>: it is escaped.
    return first.lstrip("# ").strip(), mark_safe(html.replace("<pre>", '<pre tabindex="0">'))  # noqa: S308


def _about(name: str) -> str:
    """Return the first sentence of a guide as plain text."""
    text = FENCED.sub("", (DOCS / f"{name}.md").read_text(encoding="utf-8").split("\n", 1)[1])
    paragraph = next((part for part in text.split("\n\n") if part.strip() and part.strip()[0] not in "#|"), "")
    plain = re.sub(r"[*`]", "", LINK.sub(r"\1", " ".join(paragraph.split())))
    return plain.split(". ")[0].rstrip(".: ") + "."


def _link(match: re.Match[str]) -> str:
    """Point a link to another guide at its page; a link to a file that is no page becomes its words."""
    words, target = match[1], match[2]
    if target.startswith(("https://", "http://")) and not match[0].startswith("!"):
        return match[0]
    found = NAME.fullmatch(target)
    known: Mapping[str, str] = GUIDES
    return f"[{words}]({reverse('help_page', args=[found[1]])})" if found and found[1] in known else words
