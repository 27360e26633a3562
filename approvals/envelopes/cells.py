"""What the pages of auto-approve rules show, worked out before the template."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.urls import reverse

from approvals.envelopes.reading import NO, YES, Agreement, Standing
from approvals.models import Mode, RequestKind, Verdict

Cell = dict[str, Any]
MODES: Mapping[Mode, tuple[str, str, str, str]] = {  # label, colour, icon, what it means
    Mode.LIVE: ("Live", "green", "ok", "It approves what is inside it, the moment it is sent."),
    Mode.SHADOW: ("In shadow", "blue", "view", "It only records what it would have decided; people decide."),
    Mode.OFF: ("Off", "grey", "pause", "It says nothing and approves nothing."),
}
SAID = {YES: ("Approved", "green", "ok"), NO: ("Not approved", "red", "err")}


def mode_chip(mode: Mode) -> Cell:
    """Return the chip of a mode."""
    label, colour, icon, title = MODES[mode]
    return {"label": label, "colour": colour, "icon": icon, "kind": "filled", "title": title}


def beside(one: Standing, *, reads: bool) -> Cell:
    """Return what the page of the policies shows of a rule beside its text; `reads`: the reader may open its page."""
    return {"chip": mode_chip(one.mode), "url": reverse("envelope_detail", args=[one.envelope.id]) if reads else ""}


def share(agreement: Agreement) -> str:
    """Return the share of agreement as people read it."""
    return "–" if agreement.share is None else f"{agreement.share * 100:.0f} %"


def kinds(one: Standing) -> str:
    """Return the kinds of requests that a rule is for."""
    known = dict(RequestKind.choices)
    return ", ".join(str(known.get(kind, kind)) for kind in one.envelope.kinds)


def line(one: Standing) -> Cell:
    """Return a rule as the list shows it."""
    counted = one.agreement
    return {
        "id": one.envelope.id,
        "title": one.envelope.title,
        "kinds": kinds(one),
        "url": reverse("envelope_detail", args=[one.envelope.id]),
        "stop_url": reverse("envelope_stop", args=[one.envelope.id]),
        "chip": mode_chip(one.mode),
        "live": one.mode == Mode.LIVE,
        "fell_back": one.fell_back,
        "decided": counted.decided,
        "share": share(counted),
        "percent": (counted.share or 0) * 100,
        "bold": counted.bold,
        "approved": counted.live,
        "objected": counted.objected,
    }


def stats(one: Standing) -> list[Cell]:
    """Return the strip of numbers of a rule's page."""
    counted = one.agreement
    read, same = counted.confirmed + counted.objected, f"{counted.agreed} of {counted.decided}"
    return [
        {"label": "Sample", "value": counted.decided, "scope": "decided by people", "bad": False},
        {
            "label": "Said the same",
            "value": share(counted),
            "scope": same,
            "bad": False,
        },
        {
            "label": "Too bold",
            "value": counted.bold,
            "scope": "it would have approved, people did not",
            "bad": counted.bold > 0,
        },
        {"label": "Only people approved", "value": counted.careful, "scope": "here it is more careful", "bad": False},
        {
            "label": "Approved by rule",
            "value": counted.live,
            "scope": f"{read} read later, {counted.objected} objected to",
            "bad": counted.objected > 0,
        },
    ]


def table(found: Sequence[tuple[Any, Agreement]], total: Agreement) -> list[Cell]:
    """Return the agreement by week, the newest first, and over all of them."""
    rows = [_row(f"{start.day} {start:%b %Y}", counted, last=False) for start, counted in found]
    return [*rows, _row("All weeks", total, last=True)]


def _row(label: str, counted: Agreement, *, last: bool) -> Cell:
    return {
        "label": label,
        "last": last,
        "decided": counted.decided,
        "agreed": counted.agreed,
        "bold": counted.bold,
        "careful": counted.careful,
        "undecided": counted.undecided,
        "live": counted.live,
        "share": share(counted),
    }


def verdict(row: Verdict, said: str = "") -> Cell:
    """Return one verdict with what people answered, and the way to the request."""
    request, project = row.request, row.request.project.slug if row.request.project else ""
    label, colour, icon = SAID.get(said, ("", "", ""))
    return {
        "id": row.pk,
        "number": request.number,
        "name": request.name,
        "where": " · ".join(part for part in (project, request.environment) if part),
        "url": reverse("request_detail", args=[request.pk]),
        "requester": request.requester.username,
        "rule": row.rule,
        "why": row.why,
        "at": row.at,
        "remark": row.remark,
        "reader": row.read_by.username if row.read_by_id and row.read_by else "",
        "chip": {"label": label, "colour": colour, "icon": icon, "kind": "filled"} if label else None,
    }
