"""How requests like one were decided: what a reviewer compares with, of what the reviewer may see."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import Q, QuerySet
from django.utils import timezone

from approvals.models import Choice, Decision, Request, RequestState
from projects.permissions import visible
from projects.principal import Principal

DAYS = 90
SHOWN, LOOKED_AT = 3, 100  # decisions: the newest of them
FINAL = (RequestState.APPROVED, RequestState.REJECTED)


@dataclass(frozen=True)
class Similar:
    """The newest decisions about similar requests, one per request, and how many of those were approved."""

    rows: Sequence[Decision]
    approved: int
    decided: int

    @property
    def sentence(self) -> str:
        """How many were approved, in words; "" without any."""
        if not self.decided:
            return ""
        one = self.decided == 1
        what = f"similar request{'' if one else 's'} in {DAYS} days {'was' if one else 'were'} approved"
        return f"{self.approved} of {self.decided} {what}."


def compare(by: Principal, request: Request) -> tuple[Sequence[Decision], Similar]:
    """Return the decisions on `request` itself, oldest first, and what was decided in the last DAYS about requests like
    it that `by` may see (one query for both).

    Alike are those of its kind about the same asset, or with the same profile, environment and data class.
    """
    since = timezone.now() - dt.timedelta(days=DAYS)
    alike = visible(by, Decision.objects.all()).filter(_alike(request), at__gte=since).exclude(request=request.pk)
    own = Decision.objects.filter(request=request.pk)
    both = Q(pk__in=own.values("pk")) | Q(pk__in=alike.order_by("-pk").values("pk")[:LOOKED_AT])
    rows = list(_light(Decision.objects.filter(both)).order_by("pk"))
    newest = {row.request_id: row for row in rows if row.request_id != request.pk}
    final = [row for row in newest.values() if row.request.state in FINAL]
    approved = sum(row.request.state == RequestState.APPROVED for row in final)
    shown = sorted(newest.values(), key=lambda row: -row.pk)[:SHOWN]
    return [row for row in rows if row.request_id == request.pk], Similar(shown, approved, len(final))


def like(request: Request, row: Decision) -> str:
    """Return in few words what `row` is about that `request` is about, too."""
    other = row.request
    if request.version_id is not None and other.version_id == request.version_id:
        return "same version"
    if request.profile_id is not None and other.profile_id == request.profile_id:
        return "same hardware" if other.environment == request.environment else ""
    return ""


def answer(row: Decision) -> RequestState:
    """Return what became of the request; of one that is open, what was said last."""
    state = RequestState(row.request.state)
    return (
        state
        if state in FINAL
        else {
            Choice.APPROVE: RequestState.APPROVED,
            Choice.REJECT: RequestState.REJECTED,
            Choice.REQUEST_CHANGES: RequestState.CHANGES_REQUESTED,
        }[Choice(row.decision)]
    )


def _alike(request: Request) -> Q:
    same = Q(request__kind=request.kind)
    if request.version is None:
        return same & Q(request__project=request.project_id)
    shape = Q(pk__in=[])
    if request.profile_id is not None and request.environment:
        data = request.body.get("data_classification")
        shape = Q(request__profile=request.profile_id, request__environment=request.environment)
        shape &= Q(request__body__data_classification=data) if data else Q()
    return same & (Q(request__version__asset=request.version.asset_id) | shape)


def _light(rows: QuerySet[Decision]) -> QuerySet[Decision]:
    """Return the rows without plans, bodies and records, which nobody reads here."""
    of_request = ("kind", "name", "state", "environment", "version", "profile")
    people = ("reviewer__username", "on_behalf_of__username")
    own = ("submission", "stage", "decision", "rule", "reason", "plan_digest", "plan_digest_now", "bundle_digest", "at")
    related = rows.select_related("request", "reviewer", "on_behalf_of")
    return related.only(*own, *people, *(f"request__{name}" for name in of_request))
