"""`/health/live`, `/health/ready`, `/metrics`."""

from typing import Any

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.core.cache import cache
from django.db import connection
from django.db.models import Count
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.views.decorators.http import require_GET
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.core import CollectorRegistry, GaugeMetricFamily

from approvals.models import Request, RequestState
from endpoints.gateways.builtin import metrics as gateway_metrics
from endpoints.models import Endpoint
from portal import crypto
from portal.errors import GatehouseError
from projects.api import identify
from projects.principal import Principal
from quotas.models import Pool


@login_not_required
@require_GET
def live(request: HttpRequest) -> HttpResponse:
    """The process answers."""
    return JsonResponse({"status": "ok"})


def _problems() -> dict[str, str]:
    found: dict[str, str] = {}
    try:
        connection.ensure_connection()
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except Exception as error:
        found["database"] = type(error).__name__
    try:
        cache.set("health", 1, 5)
        if cache.get("health") != 1:
            found["cache"] = "does not keep values"
    except Exception as error:
        found["cache"] = type(error).__name__
    return found


def _caller(request: HttpRequest) -> Principal | None:
    scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        return None
    try:
        principal = identify(secret.strip(), request)
    except GatehouseError:
        return None
    return principal if "admin" in (principal.scopes or ()) or "audit:read" in (principal.scopes or ()) else None


@login_not_required
@require_GET
def ready(request: HttpRequest) -> HttpResponse:
    """The process can do its work; what is down only with a token (scope admin or audit:read)."""
    problems = _problems()
    body: dict[str, Any] = {"status": "unavailable" if problems else "ok"}
    if problems and "database" not in problems and _caller(request):
        body["down"] = problems
    return JsonResponse(body, status=503 if problems else 200)


class PortalCollector:
    """Gauges read from the database at scrape time."""

    def collect(self) -> Any:
        """Yield the metric families (three queries)."""
        waiting = Request.objects.filter(state=RequestState.SUBMITTED)
        oldest = waiting.order_by("submitted_at").values_list("submitted_at", flat=True).first()
        yield GaugeMetricFamily(
            "gatehouse_requests_open", "Submitted requests that wait for a decision", value=waiting.count()
        )
        age = (timezone.now() - oldest).total_seconds() if oldest else 0
        yield GaugeMetricFamily("gatehouse_requests_oldest_seconds", "Age of the oldest submitted request", value=age)
        phases = GaugeMetricFamily("gatehouse_endpoints", "Endpoints by phase", labels=["phase"])
        for phase, count in Endpoint.objects.order_by().values_list("phase").annotate(count=Count("pk")):
            phases.add_metric([phase], count)
        yield phases
        pools = GaugeMetricFamily("gatehouse_pool_gpus", "Accelerators of a pool", labels=["pool", "kind"])
        for pool in Pool.objects.all():
            for kind in ("limit", "observed", "held"):
                pools.add_metric([pool.slug, kind], getattr(pool, kind))
        yield pools


_registry = CollectorRegistry()
_registry.register(PortalCollector())


@login_not_required
@require_GET
def metrics(request: HttpRequest) -> HttpResponse:
    """Prometheus exposition; needs a token with scope admin or audit:read, or GATEHOUSE_METRICS_TOKEN."""
    sent = request.headers.get("Authorization", "").removeprefix("Bearer ").strip()
    allowed = bool(settings.METRICS_TOKEN) and crypto.same(sent, settings.METRICS_TOKEN)
    if not allowed and _caller(request) is None:
        return HttpResponse("Send a token with the scope admin or audit:read.\n", status=401, content_type="text/plain")
    page = generate_latest(_registry) + generate_latest(gateway_metrics.REGISTRY)
    return HttpResponse(page, content_type=CONTENT_TYPE_LATEST)
