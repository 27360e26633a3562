"""All that the capacity page reads, once: pools with their queues, nodes, endpoints, use, and what comes back."""

import datetime as dt
from collections.abc import Iterable, Mapping

from django.db.models import OuterRef, Subquery
from django.utils import timezone

from endpoints import idle, numbers
from endpoints.giving_back import leaves
from endpoints.models import Endpoint, EngineCount
from endpoints.numbers import Calls
from projects.models import Project
from projects.permissions import can_anywhere, visible
from projects.principal import Principal
from quotas import capacity as pools
from quotas import devices
from quotas.capacity import STRANGER, Panel
from quotas.devices import Part
from quotas.forecast import Return
from quotas.models import GiveBack, Node, Pool, Reservation, Survey

FRESH = dt.timedelta(minutes=2)  # an older reading of an engine says nothing about now


class Scene:
    """At most thirteen queries, however much there is. `everyone` are the endpoints of all that is held or waits;
    `endpoints` those of them that the reader may see.
    """

    def __init__(self, principal: Principal) -> None:
        self.principal, self.now = principal, timezone.now()
        self.panels = pools.panels(principal)
        places = [place for panel in self.panels for place in (*panel.held, *panel.waiting)]
        held = [place.reservation for panel in self.panels for place in panel.held]
        self.everyone = idle.holders(place.reservation for place in places) if places else {}
        known = {place.reservation.holder_id for place in places if place.known}
        self.endpoints = {key: row for key, row in self.everyone.items() if key in known}
        self.lazy = {str(one.endpoint.pk): one for one in idle.judge(held, self.everyone)}
        self.idle = {key: one for key, one in self.lazy.items() if key in known}
        ids = [one.holder_id for one in held if one.holder_id in self.endpoints]
        self.calls: Mapping[str, Calls] = numbers.last_day(ids) if ids else {}
        self.running = _running([self.endpoints[one] for one in ids])
        self.nodes = _nodes(self.panels)
        self.parts: Mapping[int, list[Part]] = devices.parts([panel.pool for panel in self.panels], self.nodes)
        self.asked = {one.reservation_id: one for one in GiveBack.objects.filter(ended_at=None)} if held else {}
        self.projects = {one.pk: one for one in visible(principal, Project.objects.all())} if self.panels else {}
        self.steers = can_anywhere(principal, "change", Pool)

    def endpoint(self, reservation: Reservation) -> Endpoint | None:
        """Return the endpoint that holds or waits, if the reader may know it."""
        return self.endpoints.get(reservation.holder_id)

    def project(self, pk: int) -> str:
        """Return the slug of a project, or words that say nothing of it."""
        return self.projects[pk].slug if pk in self.projects else STRANGER

    def elsewhere(self, panel: Panel) -> set[str]:
        """Return who holds something of other pools."""
        others = (one for one in self.panels if one is not panel)
        return {place.reservation.holder_id for one in others for place in one.held}

    def returns(self, panel: Panel) -> list[Return]:
        """Return what is known to come back to a pool: of endpoints that stop, were asked back, or have a last day."""
        found = []
        for place in panel.held:
            one, row = place.reservation, self.everyone.get(place.reservation.holder_id)
            moments = []
            if leaves(one, self.everyone):
                moments.append((self.now, "stops"))
            if one.pk in self.asked:
                moments.append((self.asked[one.pk].due_at, "asked"))
            if row is not None and row.ends_on is not None:
                day = dt.datetime.combine(row.ends_on + dt.timedelta(days=1), dt.time(), dt.UTC)
                moments.append((day, "ends"))  # its last day is a whole one
            if moments:
                at, why = min(moments)
                found.append(Return(at, one.project_id, one.amount, one.pk, why))
        return found


def _nodes(panels: Iterable[Panel]) -> list[Node]:
    """Return the nodes of the clusters of these pools, with when they were seen last and what is wrong (one query)."""
    clusters = {panel.pool.cluster for panel in panels}
    if not clusters:
        return []
    survey = Survey.objects.filter(cluster=OuterRef("cluster"))
    columns = {name: Subquery(survey.values(name)[:1]) for name in ("seen_at", "problem")}
    return list(Node.objects.filter(cluster__in=clusters).annotate(**columns))


def _running(rows: Iterable[Endpoint]) -> dict[str, dict[int, EngineCount]]:
    """Return the fresh readings of the engines that answer now, by endpoint id and replica (one query)."""
    living = {str(row.pk): {str(route.get("instance", "")) for route in row.upstreams} for row in rows}
    living = {endpoint_id: instances for endpoint_id, instances in living.items() if instances}
    if not living:
        return {}
    found: dict[str, dict[int, EngineCount]] = {}
    counts = EngineCount.objects.filter(endpoint_id__in=list(living), at__gt=timezone.now() - FRESH, error="")
    for one in counts.order_by("at"):
        index = one.instance.partition("-")[0]
        if one.instance in living[str(one.endpoint_id)] and index.isdecimal():
            found.setdefault(str(one.endpoint_id), {})[int(index)] = one
    return found
