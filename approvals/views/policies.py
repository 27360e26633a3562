"""Reading the policies: what the rules say, who decides. Open to whoever is judged by them; how often they speak is
counted over all projects, and for those who run, govern or audit the platform.
"""

from dataclasses import replace
from typing import Any

from django.http import HttpResponse
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_GET

from approvals.envelopes.cells import beside
from approvals.envelopes.reading import standings
from approvals.models import Bundle as Stored
from approvals.models import EnvelopeMode, Publication
from approvals.policies import bundle as bundles
from approvals.policies import drafting
from approvals.policies.active import SHIPPED, Active, active, baseline
from approvals.policies.hits import counted
from approvals.policies.rules import SEVERITIES, Rule
from approvals.views import policies_cells as cells
from portal.errors import NotFound
from portal.http import page
from projects.permissions import can_anywhere
from projects.principal import PortalRequest

HISTORY = 20  # publications that the page lists


@require_GET
def policy_list(request: PortalRequest) -> HttpResponse:
    """The bundle that counts: its rules, stages and envelopes, and how it came to be."""
    now, writes = active(), can_anywhere(request.principal, "publish", Stored)
    text = " ".join(request.GET.get("q", "")[:100].split())
    severity = request.GET.get("severity", "")
    severity = severity if severity in SEVERITIES else ""
    found = [rule for rule in now.bundle.rules if _matches(rule, text, severity)]
    reads = can_anywhere(request.principal, "view", EnvelopeMode)
    hits = counted() if reads else None
    modes = {one.envelope.id: beside(one, reads=reads) for one in standings(now)}
    context = {
        "crumbs": [("Home", reverse("home")), ("Policies", "")],
        "now": now,
        "short": short(now.bundle.digest),
        "rules": [cells.rule_row(rule, hits) for rule in found],
        "total": len(now.bundle.rules),
        "sample": hits.sample if hits is not None else None,
        "q": text,
        "severity": severity,
        "severities": [("", "Every severity"), *((one, one) for one in SEVERITIES)],
        "filtered": bool(text or severity),
        "stages": [cells.stage_row(stage) for stage in now.bundle.stages or (now.bundle.default_stage,)],
        "envelopes": [cells.envelope_row(one) | modes[one.id] for one in now.bundle.envelopes],
        "history": history(now, writes),
        "writes": writes,
        "draft": drafting.of(request.principal) if writes else None,
    }
    return page(request, "approvals/policies/list.html", context, part="results")


def _matches(rule: Rule, text: str, severity: str) -> bool:
    if severity and rule.severity != severity:
        return False
    words = f"{rule.id} {rule.title} {rule.message} {cells.controls(rule)}".lower()
    return all(word in words for word in text.lower().split())


def short(digest: str) -> str:
    """Return a digest as people compare it: sha256:b7714e…02cd."""
    return f"{digest[:13]}…{digest[-4:]}"


def history(now: Active, writes: bool) -> list[dict[str, Any]]:
    """Return the last publications, the newest first, and the baseline before them (one query)."""
    rows = Publication.objects.select_related("by", "bundle").defer("bundle__files")[:HISTORY]
    lines = [
        {
            "number": row.number,
            "version": row.version,
            "by": row.by.username if row.by else "",
            "at": row.at,
            "reason": row.reason,
            "rolled_back": row.rolled_back,
            "rules": row.bundle.rules,
            "digest": row.bundle.digest,
            "short": short(row.bundle.digest),
            "counts": row.number == now.number,
        }
        for row in rows
    ]
    if len(lines) < HISTORY:
        lines.append(_shipped(now))
    for line in lines:
        same = line["digest"] == now.bundle.digest
        line["back_url"] = reverse("policy_roll_back", args=[line["number"]]) if writes and not same else ""
    return lines


def _shipped(now: Active) -> dict[str, Any]:
    found = baseline()
    return {
        "number": 0, "version": SHIPPED, "by": "", "at": None, "reason": "Ships with the portal.", "rolled_back": False,
        "rules": len(found.rules), "digest": found.digest, "short": short(found.digest), "counts": now.number == 0,
    }  # fmt: skip


@require_GET
def policy_rule(request: PortalRequest, rule_id: str) -> HttpResponse:
    """One rule: what it says, why, on which controls it bears, its tests with their results."""
    now = active()
    rule = next((one for one in now.bundle.rules if one.id == rule_id), None)
    if rule is None:
        raise NotFound(f"The policies that count have no rule {rule_id[:60]!r}. The page Policies lists them.")
    alone = replace(now.bundle, rules=(rule,), stages=(), envelopes=())
    results = bundles.run_tests(alone)
    hits = counted() if can_anywhere(request.principal, "view", EnvelopeMode) else None
    writes = can_anywhere(request.principal, "publish", Stored)
    context = {
        "crumbs": [("Home", reverse("home")), ("Policies", reverse("policy_list")), (rule.id, "")],
        "rule": rule,
        "row": cells.rule_row(rule, hits),
        "now": now,
        "sample": hits.sample if hits is not None else None,
        "controls": rule.controls.items(),
        "tests": [cells.test_row(one) for one in results],
        "tested": cells.tested_words(results),
        "writes": writes,
        "edit_url": f"{reverse('policy_draft')}?{urlencode({'path': rule.path})}",
    }
    return page(request, "approvals/policies/rule.html", context)
