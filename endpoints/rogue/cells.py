"""What pages and the API show of workloads without approval, computed before the template."""

import datetime as dt
from typing import Any

from django.urls import reverse

from endpoints.rogue import adopt, services
from endpoints.rogue.models import RogueState, RogueWorkload
from projects.permissions import can
from projects.principal import Principal

Cell = dict[str, Any]
STATES = {
    RogueState.OPEN: ("red", "warn"),
    RogueState.NOTICED: ("orange", "send"),
    RogueState.ADOPTING: ("blue", "progress"),
    RogueState.ADOPTED: ("green", "ok"),
    RogueState.WAIVED: ("purple", "waiver"),
    RogueState.GONE: ("grey", "trash"),
}
CLAIMS = {"imitated": ("Imitates the portal", "red"), "other-portal": ("Another portal's", "grey")}


def line(row: RogueWorkload) -> Cell:
    """Return the cells of one row of the list; wants cluster, project and owner selected."""
    return {
        "id": row.pk, "name": row.name, "namespace": row.namespace, "kind": row.kind, "url": services.page_of(row),
        "cluster": row.cluster.name, "cluster_slug": row.cluster.slug, "why": why(row),
        "reasons": ", ".join(reasons(row)), "accelerators": row.accelerators, "hours": f"{row.device_hours:,.1f}",
        "hours_number": round(row.device_hours, 2), "owner": owner(row), "owner_source": row.owner_source,
        "project": row.project.slug if row.project else "", "since": row.started_at or row.first_seen_at,
        "first_seen": row.first_seen_at, "last_seen": row.last_seen_at, "state": row.state, "chip": chip(row),
        "uid": row.uid, "images": " ".join(row.images),
    }  # fmt: skip


def chip(row: RogueWorkload) -> Cell:
    """Return the chip of the state."""
    state = RogueState(row.state)
    colour, icon = STATES[state]
    label = str(state.label)
    if state == RogueState.WAIVED and row.waived_until:
        label = f"Waived until {row.waived_until.day} {row.waived_until:%b}"
    return {"label": label, "colour": colour, "icon": icon, "kind": "filled"}


def why(row: RogueWorkload) -> list[Cell]:
    """Return the chips that say why it is here."""
    found = [("Accelerators", "orange")] if row.by_accelerators else []
    found += [(row.engine or "Inference image", "blue")] if row.by_image else []
    found += [("KServe", "teal")] if row.by_kserve else []
    found += [CLAIMS[row.claim]] if row.claim in CLAIMS else []
    return [{"label": label, "colour": colour, "kind": "outline"} for label, colour in found]


def reasons(row: RogueWorkload) -> list[str]:
    """Return the machine words of why it is here."""
    named = (("accelerators", row.by_accelerators), ("image", row.by_image), ("kserve", row.by_kserve))
    return [name for name, holds in named if holds]


def owner(row: RogueWorkload) -> str:
    """Return who it probably belongs to: a person of the portal, else what stands there."""
    return row.owner.username if row.owner is not None else row.owner_name


def detail(by: Principal, row: RogueWorkload) -> Cell:
    """Return the cells of its page."""
    open_ = row.state in services.CLAIMABLE
    return line(row) | {
        "evidence": evidence(row),
        "facts": facts(by, row),
        "claim_says": row.claim_says,
        "timeline": [
            {"at": dt.datetime.fromisoformat(one["at"]), "sentence": one["sentence"]} for one in reversed(row.timeline)
        ],
        "message": services.message(row),
        "people": [one.username for one in services.audience(row)] if open_ else [],
        "may_notify": open_ and can(by, "notify", row),
        "may_waive": row.state in (RogueState.OPEN, RogueState.NOTICED) and can(by, "waive", row),
        "may_revoke": row.state == RogueState.WAIVED and can(by, "waive", row),
        "adopt_url": reverse("rogue_adopt", args=[row.pk]) if open_ and not adopt.why_not(row, row.cluster) else "",
        "adopt_not": adopt.why_not(row, row.cluster) if open_ else "",
        "request_url": reverse("request_detail", args=[row.request]) if row.request else "",
        "endpoint_url": reverse("endpoint_detail", args=[row.endpoint_id]) if row.endpoint_id else "",
    }


def evidence(row: RogueWorkload) -> list[tuple[str, str]]:
    """Return what was seen, as pairs of label and value."""
    held = ", ".join(f"{count} × {name}" for name, count in row.resources.items()) or "none now"
    pods = row.facts.get("pods")
    where = f" in {pods} pod{'' if pods == 1 else 's'}" if pods else ""
    found = [
        ("Kind", f"{row.kind} ({row.api})"), ("Namespace", row.namespace), ("Object id", row.uid),
        ("Accelerators", held + where),
        ("Images", "\n".join(row.images) or "–"), ("Model", str(row.facts.get("model") or "–")),
        ("Written by", row.tool or "–"),
    ]  # fmt: skip
    return found


def facts(by: Principal, row: RogueWorkload) -> list[Cell]:
    """Return what stands at the side."""
    looks = can(by, "inspect", row.cluster)
    cluster = reverse("cluster_detail", args=[row.cluster.slug]) if looks else ""
    rows: list[Cell] = [
        {"name": "Cluster", "value": row.cluster.name, "url": cluster},
        {"name": "Runs since", "at": row.started_at},
        {"name": "First seen", "at": row.first_seen_at},
        {"name": "Last seen", "at": row.last_seen_at},
        {"name": "Accelerator hours", "value": f"{row.device_hours:,.1f}"},
        {"name": "Probably of", "value": owner(row) or "nobody known"},
    ]
    if row.owner_source:
        rows.append({"name": "Says", "value": row.owner_source})
    if row.project:
        rows.append({"name": "Project", "value": row.project.slug})
    if row.noticed_at:
        rows.append({"name": "Owner told", "at": row.noticed_at})
    if row.state == RogueState.WAIVED and row.waived_until:
        rows += [{"name": "Waived until", "at": row.waived_until}, {"name": "Because", "value": row.waived_reason}]
    return rows


def document(row: RogueWorkload) -> Cell:
    """Return a workload as the API shows it; wants cluster, project and owner selected."""
    return {
        "id": row.pk, "cluster": row.cluster.slug, "kind": row.kind, "api": row.api, "namespace": row.namespace,
        "name": row.name, "uid": row.uid, "state": row.state, "reasons": reasons(row), "mark": row.claim or None,
        "mark_says": row.claim_says or None, "engine": row.engine or None, "images": row.images,
        "accelerators": row.accelerators, "resources": row.resources, "gpu_hours": round(row.device_hours, 3),
        "started_at": row.started_at, "first_seen_at": row.first_seen_at, "last_seen_at": row.last_seen_at,
        "age_seconds": int((row.last_seen_at - (row.started_at or row.first_seen_at)).total_seconds()),
        "owner": {"name": owner(row), "source": row.owner_source,
                  "user": row.owner.username if row.owner else None} if owner(row) else None,
        "project": row.project.slug if row.project else None, "tool": row.tool or None,
        "waived_until": row.waived_until if row.state == RogueState.WAIVED else None,
        "request": row.request, "endpoint": row.endpoint_id,
    }  # fmt: skip
