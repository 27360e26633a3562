"""The page of delegations: who decides for whom, letting somebody decide, and ending that."""

from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.utils.dateparse import parse_date
from django.views.decorators.http import require_http_methods, require_POST

from approvals.models import Delegation, Request
from approvals.stages import delegating
from portal.errors import Conflict, GatehouseError, Invalid
from portal.http import page
from projects.models import User
from projects.permissions import can_anywhere
from projects.principal import PortalRequest, Principal
from projects.signin.recent import recently_proved

SHOWN = 100
LABELS = {"delegate": "Who decides for you", "starts_on": "From", "ends_on": "Last day", "reason": "Reason"}
HELP = {
    "delegate": "A user name. They decide what you may decide, and nothing of their own requests or yours.",
    "starts_on": "Today, when it is empty.",
    "ends_on": f"At most {delegating.MAX_DAYS} days after the first one.",
    "reason": "Both of you and the governance leads read it.",
}
LOOKS = {
    "active": ("green", "ok"),
    "planned": ("blue", "calendar"),
    "ended": ("grey", "clock"),
    "revoked": ("grey", "err"),
}
WHY = "You say who decides in your name."


@require_http_methods(["GET", "POST"])
def delegation_list(request: PortalRequest) -> HttpResponseBase:
    """The delegations that the person gave or got; governance sees all. POST makes one."""
    return _make(request) if request.method == "POST" else _show(request, {}, None)


@recently_proved(why=WHY)
def _make(request: PortalRequest) -> HttpResponse:
    typed = {name: request.POST.get(name, "") for name in LABELS}
    try:
        made = _made(request.principal, typed)
    except (Invalid, Conflict) as error:
        return _show(request, typed, error)
    messages.success(request, f"{made.delegate.username} decides for you. They are told.")
    return redirect("delegation_list")


def _made(by: Principal, typed: dict[str, str]) -> Delegation:
    problems: dict[str, str] = {}
    days = {name: _day(typed[name], name, problems) for name in ("starts_on", "ends_on")}
    if days["ends_on"] is None and "ends_on" not in problems:
        problems["ends_on"] = "ends_on is missing. Choose the last day."
    if not typed["delegate"].strip():
        problems["delegate"] = "delegate is missing. Name a colleague."
    if problems or days["ends_on"] is None:
        raise Invalid(next(iter(problems.values())), fields=problems)
    return delegating.delegate(
        by, to=typed["delegate"].strip(), starts_on=days["starts_on"], ends_on=days["ends_on"], reason=typed["reason"]
    )


def _day(text: str, name: str, problems: dict[str, str]) -> Any:
    if not text.strip():
        return None
    try:
        found = parse_date(text.strip())
    except ValueError:
        found = None
    if found is None:
        problems[name] = f"{name} is {text[:40]!r}, which is no day. Write it like 2027-02-01."
    return found


@require_POST
@recently_proved(why=WHY)
def delegation_end(request: PortalRequest, delegation_id: int) -> HttpResponse:
    """End one now."""
    ended = delegating.revoke(request.principal, delegating.get(request.principal, delegation_id))
    messages.success(request, f"{ended.delegate.username} decides no longer for {ended.delegator.username}.")
    return redirect("delegation_list")


def _show(request: PortalRequest, typed: dict[str, str], problem: GatehouseError | None) -> HttpResponse:
    by, now = request.principal, timezone.now()
    rows = [_line(by, one, now) for one in delegating.seen(by).order_by("-id")[:SHOWN]]
    context = {
        "crumbs": [("Home", reverse("home")), ("Delegations", "")],
        "given": [row for row in rows if row["given"]],
        "got": [row for row in rows if row["got"]],
        "others": [row for row in rows if not row["given"] and not row["got"]],
        "whole": delegating.leads(by),
        "fields": _fields(by, typed, problem) if can_anywhere(by, "decide", Request) else [],
        "errors": _errors(problem),
    }
    return page(request, "approvals/delegations.html", context, status=problem.status if problem else 200)


def _errors(problem: GatehouseError | None) -> list[dict[str, str]]:
    if problem is None:
        return []
    found = problem.errors or [{"field": "delegate", "message": problem.sentence}]
    return [one | {"label": LABELS.get(one["field"], "")} for one in found]


def _fields(by: Principal, typed: dict[str, str], problem: GatehouseError | None) -> list[dict[str, Any]]:
    wrong = {one["field"]: one["message"] for one in _errors(problem)}
    kinds = {"starts_on": "date", "ends_on": "date"}
    most = {"delegate": User._meta.get_field("username").max_length, "reason": delegating.MAX_REASON}
    return [
        {
            "name": name, "label": label, "kind": kinds.get(name, "text"), "value": typed.get(name, ""),
            "required": name != "starts_on", "help": HELP[name], "error": wrong.get(name, ""),
            "attrs": {"maxlength": most[name], "autocomplete": "off"} if name in most else {},
        }
        for name, label in LABELS.items()
    ]  # fmt: skip


def _line(by: Principal, one: Delegation, now: Any) -> dict[str, Any]:
    state = delegating.state(one, now)
    colour, icon = LOOKS[state]
    mine = by.person.pk in (one.delegator_id, one.delegate_id)
    open_ = state in ("active", "planned")
    return {
        "row": one,
        "given": one.delegator_id == by.person.pk,
        "got": one.delegate_id == by.person.pk,
        "chip": {"label": state.capitalize(), "colour": colour, "icon": icon, "kind": "filled"},
        "end_url": reverse("delegation_end", args=[one.pk]) if open_ and (mine or delegating.leads(by)) else "",
    }
