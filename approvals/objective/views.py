"""Pages of the objective: the calendar, and what Insights shows of budget and ageing."""

from collections.abc import Sequence
from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from approvals.models import Calendar
from approvals.objective import changing
from approvals.objective.calendar import facts
from approvals.objective.report import Ageing, Budget
from portal.errors import Conflict, Forbidden, Invalid
from portal.http import page
from projects.permissions import forbidden_sentence
from projects.principal import PortalRequest
from projects.zones import names

WEEK = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
LABELS = {"zone": "Time zone", "workdays": "Working days", "holidays": "Holidays"}
TONES = ("ok", "", "warn", "bad")


@require_http_methods(["GET", "POST"])
def insight_calendar(request: PortalRequest) -> HttpResponse:
    """Which days count against the objective: everybody reads it, those who decide change it."""
    row = Calendar.objects.select_related("changed_by").order_by("pk").first()
    may_change, problem = changing.may_change(request.principal), None
    typed = _typed_from(facts(row)) | {"was": changing.seen(row)}
    if request.method == "POST":
        if not may_change:
            raise Forbidden(forbidden_sentence("change", Calendar))
        typed = {
            "zone": request.POST.get("zone", ""),
            "workdays": request.POST.getlist("workdays"),
            "holidays": request.POST.get("holidays", ""),
            "was": request.POST.get("was", ""),
        }
        try:
            changing.change(
                request.principal,
                zone=typed["zone"],
                workdays=_numbers(typed["workdays"]),
                holidays=changing.read_lines(typed["holidays"]),
                was=typed["was"],
            )
        except (Invalid, Conflict) as error:
            problem = error
        else:
            messages.success(request, "The calendar is changed; it counts from now on.")
            return redirect("insight_calendar")
    context = {
        "crumbs": [("Home", reverse("home")), ("Insights", reverse("insights")), ("Calendar", "")],
        "may_change": may_change,
        "facts": facts(row),
        "week": ", ".join(WEEK[number] for number in facts(row)["workdays"]),
        "changed": row,
        "errors": [one | {"label": LABELS.get(one["field"], "")} for one in _errors(problem)],
        **_form(typed, problem),
    }
    return page(request, "approvals/calendar.html", context, status=problem.status if problem else 200)


def _errors(problem: Invalid | Conflict | None) -> list[dict[str, str]]:
    if problem is None:
        return []
    return problem.errors or [{"field": "zone", "message": problem.sentence}]


def _typed_from(found: dict[str, Any]) -> dict[str, Any]:
    return {
        "zone": found["zone"],
        "workdays": [str(number) for number in found["workdays"]],
        "holidays": "\n".join(f"{one['on']} {one['name']}" for one in found["holidays"]),
    }


def _numbers(texts: Sequence[str]) -> list[int]:
    """Return the days of the week that are ticked; one that is none of the seven stands as a day that is refused."""
    return [int(text) if text in {"0", "1", "2", "3", "4", "5", "6"} else -1 for text in texts]


def _form(typed: dict[str, Any], problem: Invalid | Conflict | None) -> dict[str, Any]:
    wrong = problem.fields if problem else {}
    return {
        "zone_field": {
            "name": "zone",
            "label": "Time zone",
            "kind": "select",
            "value": typed["zone"],
            "choices": [(name, name.replace("_", " "), False) for name in names()],
            "help": "A working day lasts from midnight to midnight there.",
            "error": wrong.get("zone", ""),
        },
        "days": [
            {"number": number, "name": name, "chosen": str(number) in typed["workdays"]}
            for number, name in enumerate(WEEK)
        ],
        "days_error": wrong.get("workdays", ""),
        "holidays_field": {
            "name": "holidays",
            "label": "Holidays",
            "kind": "textarea",
            "value": typed["holidays"],
            "help": f"One line each, at most {changing.MAX_HOLIDAYS}: 2026-12-25 Christmas Day",
            "error": wrong.get("holidays", ""),
            "attrs": {"rows": 10, "spellcheck": "false"},
        },
        "was": typed["was"],
    }


def calendar_words() -> str:
    """Return which days count, as the end of a sentence (one query)."""
    found = facts(Calendar.objects.order_by("pk").first())
    days: list[int] = found["workdays"]
    whole = len(days) > 2 and days == list(range(days[0], days[-1] + 1))
    week = f"{WEEK[days[0]]} to {WEEK[days[-1]]}" if whole else ", ".join(WEEK[number] for number in days)
    count = len(found["holidays"])
    rest = f", without {count} holiday{'s' if count != 1 else ''}" if count else ""
    return f"{week}, {found['zone'].replace('_', ' ')}{rest}"


def budget_cells(found: Budget) -> dict[str, Any]:
    """Return the error budget as Insights shows it."""
    if not found.finished:
        return {"sentence": "No data yet: nothing was finished in the last 90 days."}
    left = found.left
    words = f"{left} more may be late" if left > 0 else "none more may be late" if not left else f"{-left} too many"
    used = found.late / found.allowed * 100 if found.allowed else 100.0 if found.late else 0.0
    return {
        "sentence": f"{found.late} of {found.finished} late, {found.allowed} may be: {words}.",
        "percent": used,
        "used": f"{used:.0f} % of the budget used",
        "tone": "bad" if left < 0 else "warn" if used >= 75 else "ok",
        "kept": f"{found.kept * 100:.1f} %" if found.kept is not None else "–",
        "wanted": f"{found.share * 100:.0f} %",
    }


def ageing_cells(found: Ageing) -> dict[str, Any]:
    """Return the open requests by age; without any of them, no lines."""
    most = max((bucket.count for bucket in found.buckets), default=0) or 1
    tones = [*TONES[: len(found.buckets) - 1], TONES[-1]]
    return {
        "lines": [
            {
                "label": bucket.label,
                "count": bucket.count,
                "percent": bucket.count * 100 / most,
                "tone": tone if bucket.count else "",
                "text": f"{bucket.count} of {found.waiting}",
            }
            for bucket, tone in zip(found.buckets, tones, strict=True)
        ]
        if found.waiting
        else [],
        "still": found.with_requester,
    }
