"""What the forms about something that is there offer: own endpoints, shared ones, quotas. Constant queries."""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.db.models import Case, QuerySet, Value, When
from django.utils import timezone

from approvals.kinds.base import living
from approvals.views.choices import NOTHING, Choice
from catalog.models import Asset
from endpoints.models import Endpoint, Phase
from portal.templatetags.gatehouse import day
from projects.models import ApiKey, KeyState, Project, is_slug
from projects.principal import Principal
from quotas.bounds import bounds
from quotas.models import QuotaTarget
from quotas.words import amount, title

MOST = 300  # a list to choose from; the chosen one is always among them


def own_endpoints(projects: Iterable[Project], chosen: str, *, ending: bool = False) -> list[Endpoint]:
    """Return the living endpoints of `projects` by name, the `chosen` one for certain (one query). `ending`: only
    those that have an end date.
    """
    rows = living().filter(project__in=list(projects))
    return _some(rows.filter(ends_on__isnull=False) if ending else rows, chosen)


def offered_endpoints(by: Principal, chosen: str, project: Project) -> list[Endpoint]:
    """Return the endpoints that owners of other projects offer and whose models are open to `project`, by name (one
    query).
    """
    fitting = Asset.objects.open_in(by, project.pk).values("pk")
    rows = living().filter(shareable=True, revision__version__asset__in=fitting)
    return _some(rows.exclude(project=project), chosen)


def _some(rows: QuerySet[Endpoint], chosen: str) -> list[Endpoint]:
    first = Case(When(pk=chosen, then=Value(0)), default=Value(1)) if _is_id(chosen) else Value(1)
    return sorted(rows.order_by(first, "project__slug", "name")[:MOST], key=lambda item: (item.project.slug, item.name))


def _is_id(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True


def endpoint_choices(found: Sequence[Endpoint], value: str, *, ending: bool = False) -> list[Choice]:
    """Return own endpoints with what tells them apart."""
    options = [
        (
            str(item.pk),
            f"{item.project.slug}/{item.name} · "
            + (f"until {day(item.ends_on)}" if ending and item.ends_on else item.environment),
            False,
        )
        for item in found
    ]
    return _kept(options, value, "none of yours" if not ending else "none of yours, or without an end date")


def offered_choices(found: Sequence[Endpoint], value: str) -> list[Choice]:
    """Return shared endpoints with what their owners show: project, name, model, environment."""
    options = []
    for item in found:
        version = item.revision.version if item.revision else None
        runs = f"{version.asset.name} {version.version}" if version else ""
        words = [f"{item.project.slug}/{item.name}", runs, item.environment]
        options.append((str(item.pk), " · ".join(word for word in words if word), False))
    return _kept(options, value, "not offered to this project")


def _kept(options: list[Choice], value: str, reason: str) -> list[Choice]:
    missing = [(value, f"{value[:40]} · {reason}", False)] if value and value not in {one[0] for one in options} else []
    return [NOTHING, *options, *missing]


@dataclass(frozen=True)
class Limited:
    """A quota as it can be raised. `parts`: quota, target, target_name and window as the body names them."""

    kind: str
    parts: tuple[str, str, str, str]
    label: str
    soft: int | None
    hard: int | None

    @property
    def value(self) -> str:
        """What the form sends."""
        return "|".join(self.parts)


def quotas_of(project: Project) -> list[Limited]:
    """Return the quotas of a project with the numbers that count today (at most three queries)."""
    found = bounds(projects=[project.pk], kind=None)
    names = _names(project, {bound.target_kind for bound in found})
    today = timezone.now().date()
    rows = []
    for bound in found:
        whole = bound.target_kind == QuotaTarget.PROJECT
        name = "" if whole else names.get(bound.target_id, "")
        if not whole and not name:
            continue  # what it limits is gone
        now = bound.on(today)
        words = title(bound.kind, bound.target_kind, name, bound.window)
        label = f"{words[:1].upper()}{words[1:]} · now {amount(bound.kind, now.limit)}"
        parts = (bound.kind, bound.target_kind, name, bound.window)
        rows.append(Limited(bound.kind, parts, label, now.soft, now.hard))
    return sorted(rows, key=lambda row: (row.kind, list(QuotaTarget.values).index(row.parts[1]), row.parts))


def _names(project: Project, kinds: set[str]) -> dict[str, str]:
    """Return what quotas call endpoints and keys: name, and prefix."""
    names: dict[str, str] = {}
    if QuotaTarget.ENDPOINT in kinds:
        rows = Endpoint.objects.filter(project=project).exclude(phase=Phase.DELETED)
        names |= {str(pk): name for pk, name in rows.values_list("pk", "name")}
    if QuotaTarget.KEY in kinds:
        keys = ApiKey.objects.filter(project=project, purpose="api", state__in=(KeyState.ACTIVE, KeyState.ROTATING))
        names |= {str(pk): prefix for pk, prefix in keys.values_list("pk", "prefix")}
    return names


def quota_choices(found: Sequence[Limited], value: str, project: str) -> list[Choice]:
    """Return the quotas; a project without any is not limited, so that nothing can be raised."""
    options = [(item.value, item.label, False) for item in found]
    if value and value not in {one[0] for one in options}:
        words = " ".join(part for part in value.split("|") if part)[:60]
        options.append((value, f"{words} · there is no such quota", False))
    nothing = f"{project} has no quota" if is_slug(project) else "Choose a project first"
    return [NOTHING if found else ("", nothing, False), *options]
