"""The page of insights: lead time by stage, throughput, how full the pools were, why endpoints failed."""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from django.conf import settings
from django.http import HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET

from approvals import insights
from approvals.insights import Failure, Stage, Week
from approvals.models import RequestKind
from approvals.objective import changing, views
from approvals.objective.clock import SAMPLE_DAYS
from portal.http import page
from portal.templatetags.gatehouse import duration_h
from projects.permissions import PLATFORM, visible
from projects.principal import PortalRequest
from quotas import charts
from quotas.charts import Plot, Series
from quotas.models import Pool
from quotas.occupancy import occupancy

HOUR = dt.timedelta(hours=1)
RANGES: Mapping[str, tuple[str, int, int]] = {  # name → words, days, hours in a slot
    "7d": ("7 d", 7, 1),
    "30d": ("30 d", 30, 4),
}
ORDER = ("triage", "decision", "ready", "first_token", "total")
COLOURS = ("blue", "teal", "purple", "orange", "green", "red")
REASONS: Mapping[str, str] = {
    "authorization_ended": "The approval had ended",
    "revision_altered": "Not what was approved",
    "cluster_unreachable": "The cluster could not be asked",
    "crashed": "The engine crashed",
    "no_reservation": "No pool reserved accelerators for it",
    "not_answering": "The engine stopped answering",
    "out_of_memory": "The engine ran out of memory",
    "start_timeout": "The engine did not start in time",
    "version_blocked": "The version was blocked in the catalog",
    "version_drifted": "The content of the version had drifted",
}


@require_GET
def insight_page(request: PortalRequest) -> HttpResponse:
    """The numbers of the requests and endpoints that the person may see."""
    chosen = request.GET.get("range", "")
    name = chosen if chosen in RANGES else "7d"
    decided = insights.past(request.principal, project=request.project)
    stages, open_ones = insights.stages(decided), insights.ageing(request.principal, project=request.project)
    weeks = insights.throughput(request.principal, project=request.project)
    pools = list(visible(request.principal, Pool.objects.all())[: len(COLOURS)])
    failures = insights.failures(request.principal, project=request.project)
    context = {
        "crumbs": [("Home", reverse("home")), ("Insights", "")],
        "scope_words": _scope(request),
        "stats": _stats(stages, weeks),
        "stages": [_stage(one) for one in sorted(stages, key=_place) if one.samples and _tells(one)],
        "goal": insights.objective(),
        "budget": views.budget_cells(insights.budget(decided, open_ones.overdue)),
        "ageing": views.ageing_cells(open_ones),
        "overdue_url": f"{reverse('approval_list')}?overdue=1" if open_ones.overdue else "",
        "calendar": views.calendar_words(),
        "may_change_calendar": changing.may_change(request.principal),
        "silent": _silent(stages),
        "days": SAMPLE_DAYS,
        "weeks": _weeks_plot(weeks) if any(week.sent or week.decided or week.open for week in weeks) else None,
        "occupancy": _occupancy_plot(pools, name),
        "ranges": [
            {"label": words, "url": f"?range={key}#occupancy", "current": key == name}
            for key, (words, _, _) in RANGES.items()
        ],
        "failures": _failures(failures),
        "failure_days": insights.FAILURE_DAYS,
        "failed_url": f"{reverse('endpoint_list')}?phase=failed",
    }
    return page(request, "approvals/insights.html", context)


def _scope(request: PortalRequest) -> str:
    if request.project is not None:
        return request.project.slug
    return "all projects" if request.principal.groups & PLATFORM else "your projects"


def _stats(stages: Sequence[Stage], weeks: Sequence[Week]) -> list[dict[str, Any]]:
    total = insights.samples_of(stages, RequestKind.ENDPOINT, "total")
    decision = insights.samples_of(stages, RequestKind.ENDPOINT, "decision")
    goal = insights.objective()
    return [
        {"label": "Live, half", "value": duration_h(total.p50), "scope": _from(total.samples), "bad": False},
        {
            "label": "Live, 9 of 10",
            "value": duration_h(total.p90),
            "scope": f"objective {goal}",
            "bad": total.p90 is not None and total.p90 > settings.LEAD_TIME_OBJECTIVE_SECONDS,
        },
        {"label": f"Within {goal}", "value": _share(total.within), "scope": _from(total.samples), "bad": False},
        {
            "label": "Decided, half",
            "value": duration_h(decision.p50),
            "scope": _from(decision.samples),
            "bad": False,
        },
        {"label": "Open now", "value": weeks[-1].open, "scope": "sent and not decided", "bad": False},
    ]


def _from(samples: int) -> str:
    return f"of {samples:,} request{'s' if samples != 1 else ''}" if samples else "no data yet"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value * 100:.0f} %"


def _stage(one: Stage) -> dict[str, Any]:
    late = one.within is not None and one.within < 0.9
    return {
        "kind": RequestKind(one.kind).label.capitalize(),
        "stage": insights.STAGES[one.stage],
        "p50": duration_h(one.p50),
        "p90": duration_h(one.p90),
        "within": _share(one.within),
        "percent": (one.within or 0) * 100,
        "tone": "warn" if late else "ok",
        "samples": one.samples,
    }


def _place(one: Stage) -> tuple[int, int]:
    """Return where a stage stands on the page: by kind, then as they follow each other, the whole of it last."""
    return list(RequestKind.values).index(one.kind), ORDER.index(one.stage)


def _tells(one: Stage) -> bool:
    """Whether a line says more than another one: where the decision is the end, the total is the decision again."""
    return one.kind == RequestKind.ENDPOINT or one.stage != "total"


def _silent(stages: Sequence[Stage]) -> str:
    """Return the kinds of which nothing was finished, as words."""
    known = {one.kind for one in stages if one.samples}
    return ", ".join(str(kind.label) for kind in RequestKind if kind not in known)


def _weeks_plot(weeks: Sequence[Week]) -> Plot:
    sent, decided = sum(week.sent for week in weeks), sum(week.decided for week in weeks)
    series = [
        Series("Sent", "blue", [week.sent for week in weeks], f"{sent:,}"),
        Series("Decided", "green", [week.decided for week in weeks], f"{decided:,}"),
        Series("Open at the end of the week", "orange", [week.open for week in weeks], f"{weeks[-1].open:,} now"),
    ]
    labels = [(f"{week.start.day} {week.start:%b}", "") for week in weeks]
    words = f"Requests sent and decided per week, and how many were open at its end, last {len(weeks)} weeks, UTC."
    return charts.plot("weeks", "Requests per week", words, labels, series, kind="lines", first="Week of")


def _occupancy_plot(pools: Sequence[Pool], name: str) -> Plot | None:
    """Return the accelerators held over time; None without a pool."""
    if not pools:
        return None
    words, days, hours = RANGES[name]
    now, step = timezone.now(), hours * HOUR
    midnight = now.astimezone(dt.UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    start = midnight - dt.timedelta(days=days - 1)
    found = occupancy(pools, start=start, end=now, step=step)
    series = [
        Series(pool.name or pool.slug, colour, found[pool.pk], f"{pool.held} of {pool.limit} now")
        for pool, colour in zip(pools, COLOURS, strict=False)
    ]
    count = max(len(held) for held in found.values())
    slots = [start + number * step for number in range(count)]
    labels = [(f"{slot.day} {slot:%b %H:%M}", "") for slot in slots]
    every = "hour" if hours == 1 else f"{hours} hours"
    description = f"Accelerators held, the average of every {every}, by pool, last {words}, UTC."
    return charts.plot("held", "Accelerators held", description, labels, series, kind="lines", unit="held")


def _failures(found: Sequence[Failure]) -> list[dict[str, Any]]:
    most = max((one.times for one in found), default=1)
    return [
        {
            "reason": REASONS.get(one.code, one.code.replace("_", " ").capitalize()),
            "code": one.code,
            "times": one.times,
            "endpoints": one.endpoints,
            "last": one.last,
            "percent": one.times * 100 / most,
            "label": f"{one.times} of the most frequent {most}",
        }
        for one in found
    ]
