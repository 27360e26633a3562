"""A month's totals over five million calls: the daily roll-up against the ledger itself."""

import datetime as dt
from functools import partial

from django.contrib.auth.models import Group
from django.db.models import Count, Sum

from benchmarks import seed_usage
from benchmarks.paired import paired
from benchmarks.results import Result
from benchmarks.stores import scaled
from projects.models import AUDITORS, Project, User
from projects.principal import Principal
from quotas import usage
from quotas.models import UsageEvent

CALLS = 5_000_000
MONTH = dt.datetime(2026, 9, 1, tzinfo=dt.UTC), dt.datetime(2026, 10, 1, tzinfo=dt.UTC)
NAMES = ("requests", "input_tokens", "output_tokens")
NOTE = "reference: sums over the single calls of the ledger; measured: what the portal asks; target ≤ 20 ms and ≤ 1/40"


def measure(store: str) -> list[Result]:
    """Compare the totals of all projects, and of the busiest one."""
    seed_usage.usage(scaled(CALLS))
    person = User.objects.create_user(username="auditor")
    person.groups.add(Group.objects.get_or_create(name=AUDITORS)[0])
    reader = Principal.of(person)
    calls = dict(UsageEvent.objects.values_list("project_id").annotate(Count("pk")))
    busiest = Project.objects.get(pk=max(calls, key=lambda pk: calls[pk]))
    results = []
    for what, project in (("all projects", None), ("busiest project", busiest)):
        naive, ours = partial(_raw, project), partial(_rolled, reader, project)
        if naive() != [tuple(row[name] for name in ("project_id", *NAMES)) for row in ours()]:
            raise SystemExit(f"{store}: the roll-up of {what} differs from the ledger")
        reference, measured = paired(naive, ours)
        results.append(Result(f"month totals, {what}, {store}", "ms", reference, measured, note=NOTE))
    return results


def _raw(project: Project | None) -> list[tuple[object, ...]]:
    """The naive form: sum up the calls."""
    chosen = UsageEvent.objects.filter(at__gte=MONTH[0], at__lt=MONTH[1])
    if project is not None:
        chosen = chosen.filter(project_id=project.pk)
    sums = (Count("pk"), Sum("input_tokens"), Sum("output_tokens"))
    return list(chosen.values_list("project_id").annotate(*sums).order_by("project_id"))


def _rolled(reader: Principal, project: Project | None) -> list[usage.Row]:
    """What the usage page asks."""
    wanted = usage.Wanted(MONTH[0], MONTH[1], hours=False, project=project.slug if project else "")
    return usage.totals(reader, wanted, ("project_id",))
