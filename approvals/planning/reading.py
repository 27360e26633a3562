"""A plan as somebody reads it who did not build it. It stays as it was frozen; what it was offered instead of a new
endpoint is named to those only who may know of those endpoints today.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import Exists, OuterRef

from approvals.models import Request
from approvals.planning.sharing import offered
from approvals.policies.record import without_inputs
from endpoints.models import Desired, Endpoint
from projects.permissions import allows, visible
from projects.principal import Principal


@dataclass(frozen=True)
class Reader:
    """Somebody who reads plans. `seen`: ids of the offered endpoints that they may see; `asked`: of those that every
    project may ask for now.
    """

    by: Principal
    seen: frozenset[str] = frozenset()
    asked: frozenset[str] = frozenset()

    def plan(self, plan: Mapping[str, Any], project: int | None) -> dict[str, Any]:
        """Return a plan of a request of `project` without the input document, and without the endpoints of other
        projects that this reader may neither see nor ask for.
        """
        found = without_inputs(plan)
        half = found.get("sharing")
        if not half or not half["offers"]:
            return found
        builds = allows(self.by, "create", Request, project)
        known = self.seen | self.asked if builds else self.seen
        return found | {"sharing": offered([one for one in half["offers"] if one["endpoint"] in known])}


def reader(by: Principal, plans: Iterable[Mapping[str, Any]]) -> Reader:
    """Return `by` as the reader of `plans` (one query for all of them, none where nothing was offered)."""
    named = {one["endpoint"] for plan in plans for one in (plan.get("sharing") or {}).get("offers", ())}
    if not named:
        return Reader(by)
    mine = visible(by, Endpoint.objects.filter(pk=OuterRef("pk")))
    rows = Endpoint.objects.filter(pk__in=named).annotate(seen=Exists(mine))
    found = list(rows.values_list("pk", "seen", "shareable", "desired"))
    return Reader(
        by,
        frozenset(str(pk) for pk, seen, _, _ in found if seen),
        frozenset(str(pk) for pk, _, shareable, desired in found if shareable and desired != Desired.DELETED),
    )


def as_read(by: Principal, request: Request, plan: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the plan of `request`, or another `plan` of the same, as `by` reads it (one query at most)."""
    shown = request.plan if plan is None else plan
    return reader(by, [shown]).plan(shown, request.project_id)
