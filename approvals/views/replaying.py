"""Replay of a request's rules: what was said then, and what another bundle says of the same input."""

from typing import Any

from django.http import HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_GET

from approvals.policies import replay
from approvals.policies.replay import ABSENT, Line, Replay
from approvals.views.cells import short_digest
from approvals.views.policies_cells import verdict_chip
from approvals.views.requests import find
from portal.errors import Conflict, Invalid
from portal.http import page
from projects.principal import PortalRequest

GONE = {"label": "Not asked", "colour": "grey", "icon": "info", "kind": "outline"}


@require_GET
def request_replay(request: PortalRequest, pk: int) -> HttpResponse:
    """The checks of a request under another bundle: `?bundle=` now, baseline, a version or a digest."""
    item, chosen = find(request, pk), request.GET.get("bundle", "") or replay.NOW
    found, error = None, ""
    try:
        found = replay.of(item, chosen)
    except (Invalid, Conflict) as refusal:
        error = refusal.sentence
    options = replay.choices()
    if chosen not in {value for value, _ in options} and found is not None:
        options.append((chosen, short_digest(chosen)))
    context = {
        "crumbs": [
            ("Requests", reverse("request_list")),
            (item.number, reverse("request_detail", args=[pk])),
            ("Replay", ""),
        ],
        "item": item,
        "field": {
            "name": "bundle", "label": "Rules", "kind": "select", "value": chosen, "choices": options, "attrs": {},
        },
        "error": error,
        **(_cells(found) if found else {}),
    }  # fmt: skip
    return page(request, "approvals/replay.html", context, status=422 if error and chosen != replay.NOW else 200)


def _cells(found: Replay) -> dict[str, Any]:
    changed = sum(line.changed for line in found.lines)
    what = "The decision" if found.of == "decision" else "The submission"
    same = "says the same" if not changed else f"says something else of {changed} rule{'' if changed == 1 else 's'}"
    return {
        "found": found,
        "what": what,
        "then": f"{found.then.get('name', '')} {found.then.get('version', '')}".strip() or "no bundle",
        "then_digest": short_digest(found.then.get("digest", "")),
        "now": f"{found.now['name']} {found.now['version']}",
        "now_digest": short_digest(found.now["digest"]),
        "words": f"Of {len(found.lines)} rules {found.now['version']} {same}.",
        "pass_words": "Nothing fails: it could be sent."
        if found.would_pass
        else "Something fails: it would be refused.",
        "rows": [_row(line) for line in found.lines],
        "stages_then": ", then ".join(found.stages_then) or "–",
        "stages_now": ", then ".join(found.stages_now),
    }


def _row(line: Line) -> dict[str, Any]:
    then, now = (GONE if verdict == ABSENT else verdict_chip(verdict) for verdict in (line.then, line.now))
    return {"line": line, "then": then, "now": now}
