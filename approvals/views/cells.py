"""What the pages of requests show, worked out before the template: chips, whose turn it is, the plan in human units."""

import datetime as dt
from collections.abc import Mapping
from typing import Any

from django.urls import reverse

from approvals.models import Request, RequestKind, RequestState
from approvals.representation import last_decision, stages_of, who
from approvals.stages import words as stage_words
from approvals.views import halves
from approvals.views.blocks import blocks, title
from catalog.models import HardwareProfile
from endpoints.models import Endpoint, Phase
from portal.templatetags.gatehouse import bytes_h, day, duration_h, money

Cell = dict[str, Any]
STATE_LOOK = {
    RequestState.DRAFT: ("grey", "draft"),
    RequestState.SUBMITTED: ("blue", "expired"),  # the hourglass
    RequestState.CHANGES_REQUESTED: ("orange", "rotate"),
    RequestState.APPROVED: ("green", "ok"),
    RequestState.REJECTED: ("red", "err"),
    RequestState.WITHDRAWN: ("grey", "withdrawn"),
    RequestState.EXPIRED: ("grey", "clock"),
}
TURNS = {"portal": "Gatehouse, automatic", "platform": "Platform engineers", "owner": "The project", "nobody": ""}
SIMULATED = {
    "label": "Simulated accelerators", "colour": "purple", "icon": "info", "kind": "outline",
    "title": "This pool counts accelerators that do not exist: for trying the portal.",
}  # fmt: skip
DEMO_ENGINE = {
    "label": "Demo engine", "colour": "purple", "icon": "info", "kind": "outline",
    "title": "The shape of the answers is real, the text is not this model's.",
}  # fmt: skip


KINDS = {
    RequestKind.REVISION: "branch",
    RequestKind.RENEWAL: "calendar",
    RequestKind.ACCESS: "share",
    RequestKind.QUOTA: "capacity",
    RequestKind.MCP_ACCESS: "mcp",
    RequestKind.ADMISSION: "catalog",
    RequestKind.WAIVER: "waiver",
}


def kind_chip(kind: str) -> Cell | None:
    """Return the chip of a request's kind; None for a new endpoint, which most of them ask for."""
    icon = KINDS.get(RequestKind(kind))
    label = RequestKind(kind).label
    return {"label": label, "colour": "blue", "icon": icon, "kind": "outline"} if icon else None


def state_chip(state: str) -> Cell:
    """Return the chip of a request's state."""
    colour, icon = STATE_LOOK[RequestState(state)]
    return {"label": RequestState(state).label.capitalize(), "colour": colour, "icon": icon, "kind": "filled"}


def state_line(request: Request, *, mine: bool, decides: bool) -> Cell:
    """Return chip, one sentence, whose turn it is and the next action of a request of `with_all`.

    `mine`: the reader made it; `decides`: the reader may decide it.
    """
    state = RequestState(request.state)
    last = last_decision(request)
    line: Cell = {"chip": state_chip(state), "sentence": "", "turn": "", "mine": False, "since": None}
    owner = "You" if mine else request.requester.username
    if state == RequestState.DRAFT:
        line |= {"sentence": "Not sent yet.", "turn": owner, "mine": mine, "since": request.created_at}
    elif state == RequestState.SUBMITTED:
        turn = "You or another reviewer" if decides else _reviewers(request)
        line |= {"sentence": _waits(request), "turn": turn, "mine": decides, "since": request.submitted_at}
    elif state == RequestState.CHANGES_REQUESTED and last is not None:
        line |= {
            "sentence": f"{who(last)} asks: {last.reason}",
            "turn": owner,
            "mine": mine,
            "since": last.at,
        }
    elif state == RequestState.REJECTED and last is not None:
        line |= {"sentence": f"{who(last)} said no: {last.reason}"}
    elif state == RequestState.APPROVED:
        line |= approved_line(request, who(last) if last else "")
    elif state == RequestState.WITHDRAWN:
        line |= {"sentence": f"Taken back by {request.requester.username}."}
    else:
        line |= {"sentence": "Expired without an answer."}
    if mine and state in {RequestState.DRAFT, RequestState.CHANGES_REQUESTED}:
        line |= {"action_url": reverse("request_edit", args=[request.pk])}
        line |= {"action_label": "Finish and send" if state == RequestState.DRAFT else "Change and send again"}
    return line


def _waits(request: Request) -> str:
    stages = stages_of(request)
    place, stage = next(((n, one) for n, one in enumerate(stages, 1) if one.state == "open"), (0, None))
    if stage is None or (len(stages) == 1 and stage.count == 1):
        return "Waits for one decision."
    step = f", stage {place} of {len(stages)}" if len(stages) > 1 else ""
    return f"Waits for {stage.name}{step}."


def _reviewers(request: Request) -> str:
    if request.assignee is not None:
        return request.assignee.username
    roles = request.waiting_roles or ["platform-engineers", "governance-leads"]
    others = ", ".join(f"{stage_words.role_name(role)}s" for role in roles if role != "owner").capitalize()
    if "owner" not in roles:
        return others
    asked = request.endpoint.project if request.kind == RequestKind.ACCESS and request.endpoint else request.project
    platform = " or the platform" if others else ""
    return f"Owners of {asked.slug if asked else 'the project'}{',' if platform else ''}{platform}"


def granted(request: Request) -> str:
    """Return what the approval of a request other than for a new endpoint did."""
    ends_on = request.body.get("ends_on")
    until = f" until {iso_day(ends_on)}" if ends_on else ""
    if request.kind == RequestKind.RENEWAL:
        return f"{request.name} may run{until}."
    if request.kind == RequestKind.ACCESS and request.endpoint is not None:
        return f"Call it as {request.endpoint.project.slug}/{request.endpoint.name}{until}."
    if request.kind == RequestKind.QUOTA:
        return f"The larger quota counts{until}."
    if request.kind == RequestKind.MCP_ACCESS and request.project is not None:
        return f"{request.project.slug} may use the server{until}."
    if request.kind == RequestKind.ADMISSION:
        return "It is in the catalog."
    if request.kind == RequestKind.WAIVER:
        return f"The rule is waived{until}."
    return ""


def approved_line(request: Request, reviewer: str) -> Cell:
    """Return sentence and turn of an approved request: from then on a new endpoint or revision speaks."""
    endpoint = request.endpoint
    by = f"Approved by {reviewer}." if reviewer else "Approved."
    if endpoint is None:
        return {"sentence": f"{by} {granted(request)}".strip(), **_server_action(request)}
    if request.kind not in {RequestKind.ENDPOINT, RequestKind.REVISION}:
        gone = " The endpoint was deleted." if endpoint.phase == Phase.DELETED else ""
        action = {} if gone else _endpoint_action(endpoint)
        return {"sentence": f"{by} {granted(request)}{gone}", **action}
    if endpoint.phase == Phase.READY:
        return {"sentence": f"{by} The endpoint is ready.", **_endpoint_action(endpoint)}
    if endpoint.phase == Phase.DELETED:
        return {"sentence": f"{by} The endpoint was deleted."}
    turn = TURNS.get(endpoint.reason_turn, "")
    sentence = f"{by} {endpoint.reason_sentence}"
    return {"sentence": sentence, "turn": turn, "since": endpoint.phase_since, **_endpoint_action(endpoint)}


def _server_action(request: Request) -> Cell:
    """Return the way to what clients need, where a server was granted."""
    if request.kind != RequestKind.MCP_ACCESS or request.version is None or request.project is None:
        return {}
    asset = reverse("catalog_detail", args=[request.version.asset.slug])
    address = f"{asset}?tab=connect&project={request.project.slug}"
    return {"action_url": address, "action_label": "Connect a client"}


def _endpoint_action(endpoint: Endpoint) -> Cell:
    return {"action_url": reverse("endpoint_detail", args=[endpoint.pk]), "action_label": "Open the endpoint"}


def what(request: Request) -> str:
    """Return the name of the asset that a request is about, with its version; of a quota what is limited."""
    if request.version is not None:
        return f"{request.version.asset.name} {request.version.version}"
    if request.kind == RequestKind.QUOTA:
        return title(request.plan) or f"{str(request.body.get('quota') or '').capitalize()} quota".strip()
    if request.kind == RequestKind.WAIVER:
        return f"Rule {request.body.get('check') or 'not chosen'}"
    return " ".join(str(request.body.get(name) or "") for name in ("asset", "version")).strip() or "–"


def where(request: Request) -> str:
    """Return environment and hardware profile, as far as they are known, and the kind where it is no new endpoint."""
    profile = request.profile.slug if request.profile else request.body.get("hardware_profile")
    kind = "" if request.kind == RequestKind.ENDPOINT else request.get_kind_display().lower()
    return " · ".join(str(part) for part in (kind, request.environment, profile) if part) or "new endpoint"


def per_month(plan: Mapping[str, Any]) -> str:
    """Return the monthly price of a plan, or a dash."""
    cost = plan.get("cost")
    return money(cost["per_month"], cost["currency"]) if cost else "–"


def short_digest(value: str) -> str:
    """Return a digest as people compare it: first and last digits."""
    plain = value.removeprefix("sha256:")
    return f"{plain[:6]}…{plain[-4:]}" if plain else ""


def counts(plan: Mapping[str, Any]) -> Cell:
    """Return how many rules pass, warn, fail, are waived and are for information."""
    verdicts = [check["verdict"] for check in plan.get("checks", [])]
    words = {"passed": "pass", "warned": "warn", "failed": "fail", "waived": "waived", "noted": "info"}
    return {name: verdicts.count(verdict) for name, verdict in words.items()}


def plan_cells(
    plan: Mapping[str, Any], *, ends_on: str | None, profile: HardwareProfile | None, digest: str = ""
) -> Cell:
    """Return a plan (live or frozen) of any kind in the units of the page. `ends_on` is an ISO date.

    Parts that a kind does not have are None or empty: memory, room, cost.
    """
    gpus, room = plan.get("gpus", {"per_replica": 0, "total": 0}), plan.get("room")
    shown = ((SIMULATED, plan.get("simulated") and gpus["total"]), (DEMO_ENGINE, plan.get("demo")))
    memory = plan.get("memory")
    return {
        "memory": memory_cells(memory, accelerated=bool(gpus["per_replica"])) if memory else None,
        "notes": memory.get("notes", []) if memory else [],
        "blocks": blocks(plan),
        "gpus": gpus["total"],
        "room": room,
        "room_tone": "ok" if room and not room.get("position") else "wait",
        "after": _after(plan),
        "per_month": per_month(plan) if plan.get("cost") else "",
        "cost_rows": _cost_rows(plan.get("cost"), ends_on),
        "verdicts": halves.verdicts(plan),
        "counts": counts(plan),
        "stages": stage_words.rows(plan),
        "who_decides": stage_words.sentence(plan),
        "people_needed": stage_words.people_needed(plan),
        "estimate": estimate_cells(plan["lead_time"], plan.get("kind", "endpoint")),
        "cluster": plan.get("cluster"),
        "bundle": _bundle(plan),
        "security": halves.security(plan),
        "loads": halves.loads(plan),
        "sharing": halves.sharing(plan),
        "profile": profile.name if profile else "",
        "chips": [chip for chip, wanted in shown if wanted],
        "digest": digest,
        "short_digest": short_digest(digest),
    }


def _bundle(plan: Mapping[str, Any]) -> Cell | None:
    """Return which policies judged it; None in a plan that is older than policies."""
    found = plan.get("bundle")
    return {**found, "short": short_digest(found["digest"])} if found else None


def _after(plan: Mapping[str, Any]) -> int:
    """Return what the pool would hold when it is done: what an endpoint gives back is not held any more."""
    room = plan.get("room") or {}
    return int(room.get("held", 0) + room.get("needed", 0) - room.get("own", 0))


def _cost_rows(cost: Mapping[str, Any] | None, ends_on: str | None) -> list[tuple[str, str, str]]:
    if not cost:
        return []
    labels = (("Per hour", "per_hour"), ("Per month", "per_month"), (f"Until {_day(ends_on)}", "until_end"))
    return [(label, cost[f"{name}_inputs"], money(cost[name], cost["currency"])) for label, name in labels]


def iso_day(value: str) -> str:
    """Return an ISO date as people write it."""
    return day(dt.date.fromisoformat(value))


def _day(value: str | None) -> str:
    return iso_day(value) if value else "the end"


def memory_cells(memory: Mapping[str, Any], *, accelerated: bool) -> Cell | None:
    """Return the memory of a plan for _plan_memory.html; None when nothing is loaded."""
    if not memory["rows"]:
        return None
    whole = max(memory["needed_bytes"], memory["limit_bytes"]) * 1.08 or 1  # some track beyond the limit's mark
    formula = memory.get("limit_formula", "")
    return {
        "needed_text": bytes_h(memory["needed_bytes"]),
        "limit_text": bytes_h(memory["limit_bytes"]),
        "limit_percent": memory["limit_bytes"] * 100 / whole,
        "limit_detail": formula if accelerated else f"{formula} of the machine’s memory: no GPU",
        "fits": memory["fits"],
        "sentence": memory["sentence"],
        "segments": [
            {
                "label": row["what"],
                "kind": row["kind"],
                "detail": row["inputs"],
                "bytes_text": bytes_h(row["bytes"]),
                "share_percent": row["bytes"] * 100 / whole,
            }
            for row in memory["rows"]
        ],
    }


def estimate_cells(estimate: Mapping[str, Any], kind: str) -> Cell:
    """Return the honest estimate: half of them, nine of ten, and from how many."""
    new = kind == "endpoint"
    if not estimate["samples"]:
        what = "nobody has got an endpoint" if new else "nobody has got such a request approved"
        return {"head": "", "text": f"No data yet: {what} in the last 90 days."}
    ninety = duration_h(estimate["p90_seconds"])
    return {
        "head": duration_h(estimate["p50_seconds"]),
        "text": f"9 of 10 were {'live' if new else 'approved'} within {ninety}. {estimate['sentence']}",
    }
