"""Tags of the catalog's cards: a page holds two dozen, and a loop of a template costs ten times as much."""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from django import template
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from portal.templatetags.gatehouse import ago, icon

register = template.Library()


@register.simple_tag
def trust_line(line: Iterable[Mapping[str, Any]]) -> SafeString:
    """Return the trust line of a version; `line` = [{icon, tone, text, title?, at?}]."""
    facts = [
        (_fact(one["icon"], one["tone"], str(one["text"]), str(one.get("title") or "")), _moment(one.get("at")))
        for one in line
    ]
    if not facts:
        return SafeString("")
    inner = format_html_join("", "{}{}</li>", facts)
    return format_html('<ul class="gh-trust" role="list" aria-label="{}">{}</ul>', _("Evidence"), inner)


# Few of the facts on a page are different. `typed`: the same words marked as safe are others.
@lru_cache(maxsize=2048, typed=True)
def _fact(picture: str, tone: str, text: str, title: str) -> SafeString:
    words = format_html(' title="{}"', title) if title else ""
    return format_html('<li class="gh-tone-{}"{}>{} {}', tone, words, icon(picture), text)


def _moment(at: Any) -> SafeString | str:
    return format_html(" {}", ago(at)) if at else ""


@register.simple_tag
def spec_list(specs: Iterable[tuple[str, str, str]]) -> SafeString:
    """Return the facts of a card as a list; `specs` = [(name, value, explanation)]."""
    return _specs(tuple(specs))


@lru_cache(maxsize=2048, typed=True)
def _specs(specs: tuple[tuple[str, str, str], ...]) -> SafeString:
    if not specs:
        return SafeString("")
    lines = [(format_html(' title="{}"', why) if why else "", name, value) for name, value, why in specs]
    inner = format_html_join("", "<div{}><dt>{}</dt><dd>{}</dd></div>", lines)
    return format_html('<dl class="gh-specs">{}</dl>', inner)
