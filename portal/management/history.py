"""What the demo organisation asked for and decided in the last weeks, so that its numbers have something to say: how
the auto-approve rules in shadow compare with people, how long decisions took.

Every request goes through the services, by people who may. What was approved was deleted again, so nothing is started.
Afterwards the columns that lists and numbers read are moved back in time; the audit log keeps the moment at which it
really happened, when the demo was loaded.
"""

import datetime as dt
from dataclasses import dataclass
from typing import Any

from django.db.models import Model
from django.utils import timezone

from approvals import services as requests
from approvals.models import Decision, Request, Stage, Submission, Verdict
from approvals.objective import calendar
from catalog.models import Version, VersionState
from endpoints import services as endpoints
from projects.models import Notification, User
from projects.principal import Principal

PROJECT, REQUESTER = "search-ranking", "omar"


@dataclass(frozen=True)
class Past:
    """One request of the past. `sent`: days ago; `took`: hours until the decision; `days`: for how long."""

    name: str
    asset: str
    purpose: str
    sent: int
    took: float
    by: str
    decision: str
    reason: str
    days: int = 28
    more: tuple[tuple[str, Any], ...] = ()


PASTS = (
    Past("rerank-trial", "granite-3.3-2b-instruct", "Try the ranker on last month's questions.", 25, 4.5, "pat",
         "approve", "Small, and ends by itself."),
    Past("answers-lab", "phi-4-mini-instruct", "Compare short answers in the help centre.", 23, 20, "pat",
         "approve", ""),
    Past("ranker-staging", "granite-3.3-2b-instruct", "Dress rehearsal of the new ranker with the web team.", 18, 27,
         "ravi", "approve", "Agreed with the web team.", 45, (("environment", "staging"),)),
    Past("query-rewrite", "granite-3.3-2b-instruct", "Rewrite questions before they are searched.", 16, 6, "pat",
         "request_changes", "rerank-trial runs the same model and has room. Ask to use that, or say why not."),
    Past("synonyms", "phi-4-mini-instruct", "Collect synonyms for the search index.", 11, 2, "ravi", "approve", ""),
    Past("archive-search", "granite-3.3-2b-instruct", "Search ten years of tickets, whenever somebody needs it.", 9, 30,
         "pat", "reject", "Half a year in dev is not a trial. Ask for staging with an owner.", 80),
    Past("tone-check", "granite-3.3-2b-instruct", "Check the tone of answers before they are sent.", 4, 3.5, "pat",
         "approve", "Fine for the trial."),
)  # fmt: skip


def load() -> int:
    """Ask and decide what is missing of the past; return how many requests that were. Where the catalog lacks a model,
    its request is left out.
    """
    if Request.objects.filter(project__slug=PROJECT, name=PASTS[0].name).exists():
        return 0
    offered = set(Version.objects.filter(state=VersionState.APPROVED).values_list("asset__slug", flat=True))
    told = Notification.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
    done = [_relive(past) for past in PASTS if past.asset in offered]
    Notification.objects.filter(pk__gt=told, read_at=None).update(read_at=timezone.now())  # it is long ago
    return len(done)


def _relive(past: Past) -> Request:
    omar, decider = (Principal.of(User.objects.get(username=name), via="command") for name in (REQUESTER, past.by))
    offered = Version.objects.filter(state=VersionState.APPROVED, asset__slug=past.asset)
    version = offered.order_by("-approved_at").first()
    today = timezone.now().date()
    body = {
        "kind": "endpoint", "project": PROJECT, "name": past.name, "asset": past.asset,
        "version": version.version if version else None, "hardware_profile": "cpu-demo", "environment": "dev",
        "replicas": 1, "concurrency": 4, "context_tokens": 4096, "purpose": past.purpose,
        "data_classification": "internal", "ends_on": (today + dt.timedelta(days=past.days)).isoformat(),
    } | dict(past.more)  # fmt: skip
    sent = requests.send(omar, body)
    decided = requests.DECISIONS[past.decision](decider, sent, reason=past.reason)
    if decided.endpoint is not None:
        endpoints.delete(omar, decided.endpoint, reason="The trial is over.")
    elif past.decision == "request_changes":
        requests.withdraw(omar, decided)
    _move_back(decided, past)
    return decided


def _move_back(request: Request, past: Past) -> None:
    """Set the moments that lists and numbers read."""
    at = timezone.now() - dt.timedelta(days=past.sent)
    end = at + dt.timedelta(hours=past.took)
    _set(Request, {"pk": request.pk}, created_at=at, submitted_at=at, triaged_at=at + (end - at) / 2, updated_at=end,
         clock_seconds=calendar.business_seconds(at, end), clock_since=None, due_at=None,
         **({"decided_at": end} if past.decision != "request_changes" else {}))  # fmt: skip
    _set(Submission, {"request": request}, at=at, closed_at=end)
    _set(Stage, {"request": request}, opened_at=at, closed_at=end)
    _set(Decision, {"request": request}, at=end)
    _set(Verdict, {"request": request}, at=at)


def _set(model: type[Model], which: dict[str, Any], **columns: object) -> None:
    model._default_manager.filter(**which).update(**columns)
