"""Template tags and filters of every page: icons, human units, relative times, small ordering helpers for partials."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, tzinfo
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any

from django import template
from django.forms.utils import flatatt
from django.templatetags.static import static
from django.utils import timezone
from django.utils.formats import localize
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

register = template.Library()

SYMBOLS = {"EUR": "€", "USD": "$", "GBP": "£", "JPY": "¥"}
# Anything else is shown after what needs a person: unknown verdicts must not hide among the passed ones.
VERDICT_ORDER = {"fail": 0, "deny": 0, "error": 0, "warn": 1, "waived": 2, "info": 3, "pass": 5}
SEGMENT_FILLS = {"weights": "blue", "kv": "teal", "overhead": "grey"}
MINUTE, HOUR, DAY = 60, 3600, 86_400
UNITS = ((DAY, "d", HOUR, "h"), (HOUR, "h", MINUTE, "min"), (MINUTE, "min", 1, "s"))
FAR_DAYS = 90  # beyond this a date says more than a number of days


# A page holds a hundred icons and chips, few of them different. `typed`: the same words marked as safe are others.
@register.simple_tag
@lru_cache(maxsize=1024, typed=True)
def icon(name: str, label: str = "") -> SafeString:
    """Return one icon of the sprite: decoration without `label`, an image named `label` with one."""
    href = f"{static('gatehouse/icons.svg')}#{name}"
    access = format_html('role="img" aria-label="{}"', label) if label else format_html('aria-hidden="{}"', "true")
    return format_html(
        '<svg class="pf-v6-svg" fill="currentColor" width="1em" height="1em" {}><use href="{}"></use></svg>',
        access,
        href,
    )


@register.simple_tag
def chip(cell: Mapping[str, Any]) -> SafeString:
    """Return a state or an attribute as a chip: icon and word, never colour alone.

    `cell` = {label, colour: green|blue|orange|red|purple|grey|teal, icon?, kind: filled (a state) | outline (an
    attribute), title?}
    """
    get = cell.get
    return _chip(str(get("label", "")), get("colour"), get("icon"), get("kind"), str(get("title") or ""))


@lru_cache(maxsize=2048, typed=True)
def _chip(label: str, colour: str | None, picture: str | None, kind: str | None, title: str) -> SafeString:
    return format_html(
        '<span class="pf-v6-c-label pf-m-compact pf-m-{}{}"{}><span class="pf-v6-c-label__content">{}'
        '<span class="pf-v6-c-label__text">{}</span></span></span>\n',  # the line break keeps two chips apart
        kind or "filled",
        f" pf-m-{colour}" if colour and colour != "grey" else "",
        format_html(' title="{}"', title) if title else "",
        format_html('<span class="pf-v6-c-label__icon">{}</span>', icon(picture)) if picture else "",
        label,
    )


@register.simple_tag
@lru_cache(maxsize=1024, typed=True)
def who(name: str, role: str = "") -> SafeString:
    """Return a person with the initial; `role` = words after the name."""
    after = format_html(' <span class="gh-subtle">{}</span>', role) if role else ""
    return format_html(
        '<span class="gh-who"><span class="gh-who__dot" aria-hidden="true">{}</span><span>{}{}</span></span>\n',
        name[:1].upper(),
        name,
        after,
    )


@register.simple_tag
@lru_cache(maxsize=1024, typed=True)
def turn(words: str, mine: bool) -> SafeString:
    """Return whose turn it is, as `_turn.html` does, for the rows of a list; `mine`: it is the reader's."""
    return format_html(
        '<span class="gh-turn{}">{}<span><strong>{}</strong></span></span>\n',
        " pf-m-mine" if mine else "",
        icon("user" if mine else "clock"),
        words,
    )


@register.simple_tag
def options(choices: Iterable[Sequence[Any]], value: Any) -> SafeString:
    """Return the options of a select, each (value, label, disabled?); the one that reads as `value` is chosen."""
    chosen = "" if value is None else str(value)
    return format_html_join(
        "",
        '<option value="{}"{}{}>{}</option>',
        (
            (
                "" if one[0] is None else one[0],
                SafeString(" selected") if str(one[0]) == chosen else "",
                SafeString(" disabled") if len(one) > 2 and one[2] else "",
                one[1],
            )
            for one in choices
        ),
    )


@register.simple_tag
def number_cells(cells: Iterable[Mapping[str, Any]]) -> SafeString:
    """Return cells of numbers, `{label, value, text}` each: what one reads, and the exact value for a machine.

    With `values` in place of value and text, several stand in one cell.
    """
    return format_html_join(
        "",
        '<td class="pf-v6-c-table__td gh-num" data-label="{}">{}</td>',
        (
            (
                cell["label"],
                format_html("<span>{}</span>", _data(cell["values"])) if "values" in cell else _data([cell]),
            )
            for cell in cells
        ),
    )


def _data(numbers: Iterable[Mapping[str, Any]]) -> SafeString:
    between = SafeString('<span class="gh-subtle"> / </span>')
    return format_html_join(
        between, '<data value="{}">{}</data>', ((localize(one["value"]), one["text"]) for one in numbers)
    )


@register.simple_tag
def tick(value: str, label: str) -> SafeString:
    """Return the cell that ticks a row for the bar of `_list_bulk.html`: `value` = its id, empty where the reader may
    do nothing with the row; `label` = what people call it.
    """
    box = (
        format_html(
            '<label class="gh-rowcheck"><input class="pf-v6-c-check__input" type="checkbox" form="bulk" name="id"'
            ' value="{}" data-tick aria-label="{}"></label>',
            value,
            _("Tick %(label)s") % {"label": label},
        )
        if value
        else ""
    )
    return format_html('<td class="pf-v6-c-table__td pf-v6-c-table__check">{}</td>', box)


@register.simple_tag
def stack_bar(segments: Sequence[Mapping[str, Any]], limit_percent: float | None = None, label: str = "") -> SafeString:
    """Return a stacked bar as SVG: segments with `share_percent` (of the whole bar) and `kind`, a mark at the limit."""
    rects, at = [], 0.0
    for segment in segments:
        width = max(0.0, min(float(segment["share_percent"]), 100.0 - at))
        fill = SEGMENT_FILLS.get(str(segment.get("kind", "")), str(segment.get("kind", "blue")))
        # A sliver of the track between two segments keeps them apart where colours are hard to tell.
        rects.append((fill, f"{at:.2f}", f"{max(width - 0.3, 0.0):.2f}"))
        at += width
    return format_html(
        '<svg class="gh-stackbar" viewBox="0 0 100 12" preserveAspectRatio="none" role="img" aria-label="{}">'
        '<rect class="gh-bar__track" width="100" height="12"></rect>{}{}</svg>',
        label,
        format_html_join("", '<rect class="gh-fill-{}" x="{}" width="{}" height="12"></rect>', rects),
        format_html('<rect class="gh-bar__mark" x="{}" width="0.6" height="12"></rect>', f"{limit_percent:.2f}")
        if limit_percent is not None
        else "",
    )


@register.simple_tag
def bar(percent: float, label: str, tone: str = "", mark_percent: float | None = None) -> SafeString:
    """Return a meter as SVG, `percent` of the width filled; tone is "", warn, bad, ok or calm; `label` is its text."""
    width = max(0.0, min(float(percent), 100.0))
    mark = (
        format_html('<rect class="gh-bar__mark" x="{}" width="0.8" height="8"></rect>', f"{float(mark_percent):.1f}")
        if mark_percent is not None
        else ""
    )
    return format_html(
        '<svg class="gh-bar{}" viewBox="0 0 100 8" preserveAspectRatio="none" role="img" aria-label="{}">'
        '<rect class="gh-bar__track" width="100" height="8"></rect>'
        '<rect class="gh-bar__fill" width="{}" height="8"></rect>{}</svg>',
        f" pf-m-{tone}" if tone else "",
        label,
        f"{width:.1f}",
        mark,
    )


@register.filter
def attributes(values: Mapping[str, Any] | None) -> SafeString:
    """Return a mapping as HTML attributes, escaped; True stands alone, False and None vanish."""
    return SafeString(flatatt({name: value for name, value in (values or {}).items() if value is not None}))


@register.filter
def alert_kind(level: str) -> str:
    """Return the alert kind of a message level of Django; each level has its own name there."""
    return {"debug": "info", "error": "danger"}.get(level, level or "info")


@register.filter
def bytes_h(value: float | None) -> str:
    """Return bytes in the largest binary unit that keeps the number ≥ 1, one decimal from GiB on: 15.2 GiB, 640 MiB."""
    if value is None:
        return "–"
    size, unit = float(value), "B"
    for bigger in ("KiB", "MiB", "GiB", "TiB", "PiB"):
        if abs(size) < 1024:
            break
        size, unit = size / 1024, bigger
    return f"{size:,.1f} {unit}" if unit in ("GiB", "TiB", "PiB") else f"{size:,.0f} {unit}"


@register.filter
def tokens(value: float | None) -> str:
    """Return a count with thousands separators; a dash where there is none."""
    return "–" if value is None else f"{int(value):,}"


@register.filter
def money(value: Any, currency: str = "EUR") -> str:
    """Return an amount with its currency in front and two decimals (four below one cent): € 1,036.60."""
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        return "–"
    digits = 4 if 0 < abs(amount) < Decimal("0.01") else 2
    return f"{SYMBOLS.get(currency, currency)}\u00a0{amount:,.{digits}f}"


@register.filter
def duration_h(seconds: float | None) -> str:
    """Return seconds as the two largest units: 182 ms, 20 s, 1 min 52 s, 4 h 10 min, 2 d 4 h."""
    if seconds is None:
        return "–"
    if 0 < seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10 and seconds != int(seconds):
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, name, smaller, smaller_name in (
        (DAY, "d", HOUR, "h"),
        (HOUR, "h", MINUTE, "min"),
        (MINUTE, "min", 1, "s"),
    ):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size} {name} {rest} {smaller_name}" if rest else f"{whole // size} {name}"
    return f"{whole} s"


@register.filter
def day(value: date | datetime | None) -> str:
    """Return the calendar day in the reader's zone: 1 Feb 2027."""
    if value is None:
        return "–"
    local = timezone.localtime(value) if isinstance(value, datetime) and timezone.is_aware(value) else value
    return f"{local.day} {local:%b %Y}"


def relative(moment: datetime, now: datetime) -> str:
    """Return how far `moment` is from `now` in words; app.js uses the same words to keep them fresh in the browser."""
    seconds = (now - moment).total_seconds()
    distance = abs(seconds)
    if distance < 5:
        return _("just now")
    days = round(distance / DAY)
    if days > FAR_DAYS:
        return day(moment)
    if distance < MINUTE:
        words = f"{int(distance)} s"
    elif distance < HOUR:
        words = f"{int(distance // MINUTE)} min"
    elif distance < 2 * DAY:
        words = f"{int(distance // HOUR)} h"
    else:
        words = ngettext("%(n)d day", "%(n)d days", days) % {"n": days}
    return (_("%(time)s ago") if seconds > 0 else _("in %(time)s")) % {"time": words}


@register.filter
def ago(value: date | datetime | None) -> SafeString | str:
    """Return a `<time>` with the relative time as text and the exact one as its title; works for the future, too."""
    if value is None:
        return "–"
    if not isinstance(value, datetime):
        days = (value - timezone.localdate()).days
        near = _("today") if days == 0 else ngettext("%(n)d day", "%(n)d days", abs(days)) % {"n": abs(days)}
        if days:
            near = (_("in %(time)s") if days > 0 else _("%(time)s ago")) % {"time": near}
        text, title = (day(value), near) if abs(days) > FAR_DAYS else (near, day(value))
        return format_html('<time datetime="{}" title="{}">{}</time>', value.isoformat(), title, text)
    return _moment(value, timezone.get_current_timezone(), relative(value, timezone.now()))


@lru_cache(maxsize=1024)
def _moment(value: datetime, zone: tzinfo, words: str) -> SafeString:
    local = timezone.localtime(value, zone)
    exact = f"{local.day} {local:%b %Y, %H:%M:%S %Z}"
    return format_html(
        '<time datetime="{}" title="{}" data-relative>{}</time>', value.isoformat(timespec="seconds"), exact, words
    )


@register.filter
def worst_first(verdicts: Iterable[Mapping[str, Any]] | None) -> list[Mapping[str, Any]]:
    """Return what did not pass, failures first, each kind in its given order."""
    rest = [one for one in verdicts or () if one.get("verdict") != "pass"]
    return sorted(rest, key=lambda one: VERDICT_ORDER.get(str(one.get("verdict")), 4))


@register.filter
def passed(verdicts: Iterable[Mapping[str, Any]] | None) -> list[Mapping[str, Any]]:
    """Return the verdicts that passed."""
    return [one for one in verdicts or () if one.get("verdict") == "pass"]
