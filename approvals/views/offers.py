"""What runs already: an endpoint of the same version that one may call, or ask for, is the cheapest way (two
queries at most).
"""

import datetime as dt
from typing import Any
from urllib.parse import urlencode

from django.db.models import Exists, OuterRef, QuerySet, Subquery, Sum
from django.urls import reverse
from django.utils import timezone

from approvals.views.asking import EndpointForm, KindForm
from endpoints import sharing
from endpoints.models import Endpoint, EngineCount, Phase
from portal.templatetags.gatehouse import day
from quotas.models import UsageHour
from quotas.rollups import floor

MOST = 3
READ = 30
FRESH = dt.timedelta(minutes=5)  # an engine that was not read for longer is gone


def running(form: KindForm) -> dict[str, Any] | None:
    """Return running endpoints of the chosen version, own ones first, with how busy they are; None without one.

    Of an endpoint of another project it says what its owners offered to show: name, environment, model, load, end.
    """
    if not isinstance(form, EndpointForm) or not form.offer.projects:
        return None
    version = form.offer.version(form.values["asset"], form.values["version"])
    if version is None:
        return None
    mine = [project.pk for project in form.offer.projects]
    own = Endpoint.objects.filter(project__in=mine, phase=Phase.READY, revision__version=version)
    found = sorted(
        _with_load(own | sharing.shareable(version), mine),
        key=lambda item: (item.project_id not in mine, not item.granted, item.project.slug, item.name),
    )[:MOST]
    if not found:
        return None
    since = floor(timezone.now() - dt.timedelta(hours=1), "hour")
    calls = _calls(found, since)
    return {"rows": [_row(form, item, item.project_id in mine, calls.get(str(item.pk), 0), since) for item in found]}


def _with_load(rows: QuerySet[Endpoint], mine: list[int]) -> list[Any]:
    """Return endpoints with what their engines work on now, and whether one of the own projects may call them."""
    counts = EngineCount.objects.filter(endpoint=OuterRef("pk"), at__gte=timezone.now() - FRESH).order_by()
    engines = counts.values("endpoint")
    shares = sharing.living_shares().filter(endpoint=OuterRef("pk"), project__in=mine)
    return list(
        rows.select_related("project", "revision__version__asset")
        .annotate(
            granted=Exists(shares),
            busy=Subquery(engines.annotate(sum=Sum("running")).values("sum")),
            queued=Subquery(engines.annotate(sum=Sum("waiting")).values("sum")),
        )
        .order_by("project__slug", "name")[:READ]
    )


def _calls(found: list[Any], since: dt.datetime) -> dict[str, int]:
    """Return the calls since an hour began, by endpoint id (one query)."""
    rows = UsageHour.objects.filter(endpoint_id__in=[str(item.pk) for item in found], start__gte=since).order_by()
    return dict(rows.values("endpoint_id").annotate(sum=Sum("requests")).values_list("endpoint_id", "sum"))


def _row(form: EndpointForm, item: Any, own: bool, calls: int, since: dt.datetime) -> dict[str, Any]:
    seats = len(item.upstreams) * item.revision.concurrency
    busy, queued = round(item.busy or 0), round(item.queued or 0)
    until = f" Runs until {day(item.ends_on)}." if item.ends_on else ""
    version = item.revision.version
    load = f"{busy} of {seats} parallel calls busy, {queued} waiting; {calls:,} calls since "
    name = f"{item.project.slug}/{item.name}"
    return {
        "name": name,
        "where": f"{version.asset.name} {version.version} in {item.environment}.",
        "load": f"{load}{timezone.localtime(since):%H:%M}.{until}",
        **_way(form, item, name, own),
    }


def _way(form: EndpointForm, item: Any, name: str, own: bool) -> dict[str, str]:
    """Return what to do with it: open what one may call, ask for what one may not."""
    if own or item.granted:
        text = "A key for it costs nothing extra." if own else "It is shared with one of your projects."
        return {"text": text, "url": reverse("endpoint_detail", args=[item.pk]), "label": f"Open {name}"}
    asked = {"kind": "access", "endpoint": str(item.pk)}
    asked |= {key: form.values[key] for key in ("project", "ends_on", "data_classification") if form.values[key]}
    url = f"{reverse('request_new')}?{urlencode(asked)}"
    return {"text": "Its owners let other projects ask.", "url": url, "label": f"Ask to use {name}"}
