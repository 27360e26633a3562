"""What a plan asks about the project around it, in one query: forms ask with every change of a field."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

from django.db.models import Count, Exists, OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce

from catalog.evidence.licence import Terms
from catalog.models import Acknowledgement
from endpoints.keys import PLAYGROUND
from endpoints.models import Endpoint
from endpoints.numbers import LIVE_KEYS, reaching
from endpoints.services import names_in_use
from projects.models import ApiKey, KeyTarget, Membership, Project
from projects.permissions import OWNER, VIEWER
from quotas.gpus import COLUMNS, GpuLimit, with_gpus
from quotas.gpus import found as gpus_of

MEMBERS = ("n_owners", "n_developers", "n_viewers", "n_service_accounts")


@dataclass(frozen=True)
class Callers:
    """Who may call: members of the project by role, service accounts, and living keys (`others`: of other projects)."""

    owners: int
    developers: int
    viewers: int
    service_accounts: int
    keys: int
    others: int = 0

    def json(self) -> dict[str, Any]:
        """Return the numbers as the plan keeps them, with their sentence."""
        parts = [
            _count(self.owners, "owner"),
            _count(self.developers, "developer"),
            _count(self.viewers, "viewer"),
            _count(self.service_accounts, "service account"),
        ]
        keys = f"{_count(self.keys, 'key')} of the project can call it"
        others = f", and {_count(self.others, 'key')} of other projects" if self.others else ""
        sentence = f"{', '.join(parts)}; {keys}{others}. Only a key calls; owners and developers make them."
        return {
            "owners": self.owners,
            "developers": self.developers,
            "viewers": self.viewers,
            "service_accounts": self.service_accounts,
            "keys": self.keys,
            "keys_of_others": self.others,
            "sentence": sentence,
        }


@dataclass(frozen=True)
class Around:
    """What was found: who may call, which `terms` nobody acknowledged for the project, whether the name is `taken`, and
    the project's GPU quota.
    """

    callers: Callers
    missing: tuple[Terms, ...] = ()
    taken: bool = False
    gpus: GpuLimit | None = None


def around(
    project: Project, terms: Iterable[Terms] = (), *, endpoint: Endpoint | None = None, name: str = ""
) -> Around:
    """Return what is around a plan of `project` (one query): of a new endpoint called `name`, or of an `endpoint` that
    is there. A new one can be called at once by the keys that are bound to no endpoint.
    """
    asked = list(terms)
    special: dict[str, Any] = {f"read_{place}": Exists(_read(project, one)) for place, one in enumerate(asked)}
    if name:
        special["name_taken"] = Exists(names_in_use(project).filter(name=name))
    if endpoint is not None:
        keys = reaching(endpoint)
        special |= {"n_keys": _number(keys.filter(project=project)), "n_others": _number(keys.exclude(project=project))}
    rows = _projects(new=endpoint is None).filter(pk=project.pk).annotate(**special)
    names = dict.fromkeys((*MEMBERS, "n_keys", *special, *COLUMNS))
    lines: list[dict[str, Any]] = list(rows.values(*names))
    found = lines[0]  # one for each raise of the quota
    return Around(
        callers=Callers(
            owners=found["n_owners"],
            developers=found["n_developers"],
            viewers=found["n_viewers"],
            service_accounts=found["n_service_accounts"],
            keys=found["n_keys"],
            others=found.get("n_others", 0),
        ),
        missing=tuple(one for place, one in enumerate(asked) if not found[f"read_{place}"]),
        taken=bool(found.get("name_taken")),
        gpus=gpus_of(project, lines),
    )


@cache
def _projects(*, new: bool) -> QuerySet[Project]:
    """Return every project with its members and GPUs, and for a `new` endpoint the keys that are bound to none.

    Put together once per process: that takes ten times as long as the answer of the database, and nothing of it
    depends on the project, on who asks or when. Every use makes a query of its own of it.
    """
    person = Q(user__is_service=False, user__is_active=True)
    members = Membership.objects.filter(project=OuterRef("pk"))
    counted: tuple[QuerySet[Any], ...] = (
        members.filter(person, role=OWNER),
        members.filter(person).exclude(role__in=[OWNER, VIEWER]),
        members.filter(person, role=VIEWER),
        members.filter(user__is_service=True, user__is_active=True),
    )
    numbers: dict[str, QuerySet[Any]] = dict(zip(MEMBERS, counted, strict=True))
    if new:
        unbound = ~Exists(KeyTarget.objects.filter(key=OuterRef("pk")))
        keys = ApiKey.objects.filter(unbound, project=OuterRef("pk"), state__in=LIVE_KEYS)
        numbers["n_keys"] = keys.exclude(purpose=PLAYGROUND)
    return with_gpus(Project.objects.annotate(**{key: _number(one) for key, one in numbers.items()}))


def _read(project: Project, terms: Terms) -> QuerySet[Acknowledgement]:
    return Acknowledgement.objects.filter(project=project, licence=terms.key, terms=terms.digest)


def _number(rows: QuerySet[Any]) -> Coalesce:
    counted = rows.order_by().annotate(all=Value(1)).values("all").annotate(number=Count("pk")).values("number")
    return Coalesce(Subquery(counted), 0)


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
