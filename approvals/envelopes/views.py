"""Pages of auto-approve rules: the list, one rule with its agreement, switching, and the later review."""

from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from approvals.envelopes import cells, reading, services
from approvals.envelopes.reading import Standing
from approvals.models import EnvelopeMode, Mode, Reading, Verdict
from portal.errors import Conflict, Invalid, NotFound
from portal.http import page
from projects.permissions import can_anywhere, require_anywhere, visible
from projects.principal import PortalRequest, Principal
from projects.signin.recent import recently_proved

SHOWN, TO_READ = 20, 50


@require_GET
def envelope_list(request: PortalRequest) -> HttpResponse:
    """Every auto-approve rule of the policies that count: what it does, and how often it agrees with people."""
    require_anywhere(request.principal, "view", EnvelopeMode)
    found = reading.standings()
    waiting = visible(request.principal, reading.to_read(), "read").exclude(request__requester=request.principal.person)
    context = {
        "crumbs": _crumbs(request.principal, ("Auto-approve rules", "")),
        "rows": [cells.line(one) for one in found],
        "live": sum(one.mode == Mode.LIVE for one in found),
        "waiting": waiting.count(),
        "may": _may(request.principal),
    }
    return page(request, "approvals/envelopes/list.html", context)


@require_GET
def envelope_detail(request: PortalRequest, rule: str) -> HttpResponse:
    """One rule: its text, what it would have decided beside what people did, what it approved."""
    require_anywhere(request.principal, "view", EnvelopeMode)
    return page(request, "approvals/envelopes/detail.html", _detail(request, _standing(rule)))


def _detail(request: PortalRequest, one: Standing) -> dict[str, Any]:
    bold = list(reading.differing(one.envelope, bold=True)[:SHOWN])
    careful = list(reading.differing(one.envelope, bold=False)[:SHOWN])
    approved = list(reading.verdicts(one.envelope).filter(mode=Mode.LIVE, approves=True)[:SHOWN])
    row, label = one.row, cells.MODES[one.mode]
    return {
        "crumbs": _crumbs(request.principal, ("Auto-approve rules", reverse("envelope_list")), (one.envelope.id, "")),
        "one": one,
        "kinds": cells.kinds(one),
        "chip": cells.mode_chip(one.mode),
        "means": label[3],
        "share": cells.share(one.agreement),
        "changed": row if row is not None and row.changed_by_id else None,
        "stats": cells.stats(one),
        "table": cells.table(reading.weeks(one.envelope, timezone.now()), one.agreement),
        "bold": [cells.verdict(row, reading.NO) for row in bold],
        "careful": [cells.verdict(row, reading.YES) for row in careful],
        "approved": [cells.verdict(row) | {"reading": READINGS[Reading(row.reading)]} for row in approved],
        "may": _may(request.principal),
        "modes": {"live": one.mode == Mode.LIVE, "shadow": one.mode == Mode.SHADOW, "off": one.mode == Mode.OFF},
    }


READINGS = {
    Reading.NONE: {"label": "Not in the sample", "colour": "grey", "icon": "info", "kind": "outline"},
    Reading.WAITING: {"label": "To be read", "colour": "blue", "icon": "clock", "kind": "filled"},
    Reading.CONFIRMED: {"label": "Confirmed", "colour": "green", "icon": "ok", "kind": "filled"},
    Reading.OBJECTED: {"label": "Objected to", "colour": "red", "icon": "err", "kind": "filled"},
}


@require_http_methods(["GET", "POST"])
@recently_proved(why="You let a rule approve in the place of people.")
def envelope_on(request: PortalRequest, rule: str) -> HttpResponse:
    """Show what a rule would have decided, then let it decide: with a reason and a share to be read later."""
    require_anywhere(request.principal, "switch_on", EnvelopeMode)
    one = _standing(rule)
    typed = {"sample_percent": str(one.sample_percent), "reason": ""}
    problem: Invalid | Conflict | None = None
    if request.method == "POST":
        typed = {name: request.POST.get(name, "") for name in typed}
        try:
            services.set_mode(
                request.principal,
                rule,
                Mode.LIVE,
                reason=typed["reason"],
                sample_percent=_number(typed["sample_percent"]),
                seen=request.POST.get("digest", "")[:80] or "none",
            )
        except (Invalid, Conflict) as error:
            problem = error
        else:
            messages.success(request, f"{rule} is live: the next request inside it is approved at once.")
            return redirect("envelope_detail", rule=rule)
    wrong = problem.fields if problem else {}
    context = _detail(request, one) | {
        "crumbs": _crumbs(
            request.principal,
            ("Auto-approve rules", reverse("envelope_list")),
            (rule, reverse("envelope_detail", args=[rule])),
            ("Switch on", ""),
        ),
        "fields": _fields(typed, wrong),
        "errors": problem.errors if problem else [],
        "refused": problem.sentence if problem and not wrong else "",
    }
    return page(request, "approvals/envelopes/on.html", context, status=problem.status if problem else 200)


@require_POST
def envelope_stop(request: PortalRequest, rule: str) -> HttpResponse:
    """Stop a rule at once: off, or back into shadow. One button, no question: people decide from now on."""
    shadow = request.POST.get("to") == Mode.SHADOW
    mode = Mode.SHADOW if shadow else Mode.OFF
    services.set_mode(request.principal, rule, mode, reason=request.POST.get("reason", ""))
    words = "only records what it would decide" if shadow else "is off"
    messages.success(request, f"{rule} {words}; people decide every request from now on.")
    return redirect("envelope_detail", rule=rule)


@require_POST
def envelope_stop_all(request: PortalRequest) -> HttpResponse:
    """Stop every rule that decides, at once."""
    stopped = services.switch_all_off(request.principal, reason=request.POST.get("reason", ""))
    words = f"Switched off: {', '.join(stopped)}. People decide every request." if stopped else "No rule was live."
    messages.success(request, words)
    return redirect("envelope_list")


@require_GET
def envelope_sample(request: PortalRequest) -> HttpResponse:
    """The approvals by rule that a person shall read later, the oldest first."""
    return _sample(request)


def _sample(request: PortalRequest, problem: Invalid | None = None, at: int = 0, typed: str = "") -> HttpResponse:
    require_anywhere(request.principal, "read", Verdict)
    waiting = visible(request.principal, reading.to_read(), "read")
    rows = list(waiting[: TO_READ + 1])
    me = request.principal.person.pk
    shown = []
    for row in rows[:TO_READ]:
        here = problem is not None and row.pk == at
        field = {
            "name": f"remark_{row.pk}", "label": f"Remark on {row.request.number}", "kind": "text",
            "value": typed[:4000] if here else "", "error": problem.sentence if here and problem else "",
            "help": "Needed to object.", "attrs": {"maxlength": services.MAX_REMARK, "autocomplete": "off"},
        }  # fmt: skip
        shown.append(cells.verdict(row) | {"own": row.request.requester_id == me, "remark_field": field})
    context = {
        "crumbs": _crumbs(request.principal, ("Auto-approve rules", reverse("envelope_list")), ("Later review", "")),
        "rows": shown,
        "more": len(rows) > TO_READ,
    }
    return page(request, "approvals/envelopes/sample.html", context, status=problem.status if problem else 200)


@require_POST
def envelope_read(request: PortalRequest, verdict_id: int) -> HttpResponse:
    """Confirm an approval by rule, or object to it with a remark."""
    rows = visible(request.principal, Verdict.objects.all()).select_related("request__project", "request__requester")
    found = rows.filter(pk=verdict_id).first()
    if found is None:
        raise NotFound("There is no such approval by rule, or you may not see it.")
    remark = request.POST.get(f"remark_{found.pk}", request.POST.get("remark", ""))
    try:
        if request.POST.get("answer") == "object":
            services.object_to(request.principal, found, remark=remark)
            messages.warning(
                request,
                f"You object to the approval of {found.request}; governance was told. Put {found.rule} back into "
                "shadow if it should decide nothing for now.",
            )
            return redirect("envelope_detail", rule=found.rule)
        services.confirm(request.principal, found, remark=remark)
    except Invalid as error:
        return _sample(request, error, found.pk, remark)
    messages.success(request, f"The approval of {found.request} is confirmed.")
    return redirect("envelope_sample")


def _standing(rule: str) -> Standing:
    found = reading.standings(only=rule)
    if not found:
        raise NotFound(f"The policies that count have no auto-approve rule {rule[:60]!r}.")
    return found[0]


def _may(by: Principal) -> dict[str, bool]:
    return {
        "on": can_anywhere(by, "switch_on", EnvelopeMode),
        "off": can_anywhere(by, "switch_off", EnvelopeMode),
        "read": can_anywhere(by, "read", Verdict),
    }


def _crumbs(by: Principal, *rest: tuple[str, str]) -> list[tuple[str, str]]:
    decides = can_anywhere(by, "read", Verdict)
    return [*([("Approvals", reverse("approval_list"))] if decides else [("Home", reverse("home"))]), *rest]


def _number(text: str) -> int:
    if not (text.isascii() and text.strip().isdigit() and len(text) < 4):
        raise Invalid.field("sample_percent", f"sample_percent is {text[:20]!r}; choose a whole number from 0 to 100.")
    return int(text)


def _fields(typed: dict[str, str], wrong: dict[str, str]) -> list[dict[str, Any]]:
    return [
        {
            "name": "sample_percent", "label": "Read later, in percent", "kind": "number", "required": True,
            "value": typed["sample_percent"][:20], "error": wrong.get("sample_percent", ""),
            "help": "Of what it approves, drawn at random. 100: everything.", "attrs": {"min": 0, "max": 100},
        },
        {
            "name": "reason", "label": "Reason", "kind": "textarea", "required": True,
            "value": typed["reason"][:8000], "error": wrong.get("reason", ""),
            "help": "Kept in the audit log. Say why this may be decided without a person.",
            "attrs": {"maxlength": services.MAX_REASON},
        },
    ]  # fmt: skip
