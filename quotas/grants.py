"""The quotas of a project as one document: reading it, and making it so."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.db import transaction

from audit.services import record
from portal.errors import Forbidden, Invalid
from projects import epoch
from projects.models import ApiKey, Project
from projects.permissions import can, require
from projects.principal import Principal
from quotas.bodies import QuotaDocument, TokenQuota
from quotas.bounds import Bound, Target
from quotas.gpus import taken
from quotas.models import Quota, QuotaAlert, QuotaKind, QuotaTarget
from quotas.spent import spent

Place = tuple[str, str, str, str]  # kind, target kind, target id, window
GPUS: Place = (QuotaKind.GPUS, QuotaTarget.PROJECT, "", "")


@dataclass(frozen=True, slots=True)
class Numbers:
    """The numbers of one quota."""

    soft: int | None
    hard: int | None


def document(found: Iterable[Bound], names: Mapping[Target, str]) -> dict[str, Any]:
    """Return the quotas `found` of a project as `set_quotas` takes them.

    `names` maps the targets that are still there to what people call them (quotas/limits.py: names); quotas of what is
    gone are not in it.
    """
    found = list(found)
    tokens: list[dict[str, Any]] = [
        {
            "target": bound.target_kind,
            "name": "" if bound.target_kind == QuotaTarget.PROJECT else names[bound.target],
            "window": bound.window,
            "soft": bound.soft,
            "hard": bound.hard,
        }
        for bound in found
        if bound.kind == QuotaKind.TOKENS and bound.target in names
    ]
    order = list(QuotaTarget.values)
    tokens.sort(key=lambda entry: (order.index(entry["target"]), entry["name"], entry["window"]))
    gpus = next((bound.hard for bound in found if bound.kind == QuotaKind.GPUS), None)
    return {"gpus": {"limit": gpus}, "tokens": tokens}


def set_quotas(
    by: Principal,
    project: Project,
    body: Mapping[str, Any] | QuotaDocument,
    *,
    endpoints: Mapping[str, str] | None = None,
) -> list[str]:
    """Make the quotas of `project` those of `body` (quotas/bodies.py) and return warnings, one sentence each, for every
    limit below what is used already.

    `endpoints` maps names of living endpoints to their ids. A quota that stays keeps its raises. Platform engineers set
    everything; an owner of the project sets quotas of endpoints and keys and what warns the project, but neither the
    project's hard limits nor its GPUs. Raises Forbidden, NotFound, and Invalid for numbers out of bounds, an unknown
    name, or fewer GPUs than are held or waited for.
    """
    require(by, "change", project, model=Quota)
    wanted = QuotaDocument.read(body)
    with transaction.atomic():
        Project.objects.select_for_update().get(pk=project.pk)
        rows = {_place(row): row for row in Quota.objects.select_for_update().filter(project=project)}
        asked = _resolve(project, wanted, rows, endpoints or {})
        if not can(by, "grant", project, model=Quota):
            _only_divides(project, rows, asked)
        if _hard(rows.get(GPUS)) != _hard(asked.get(GPUS)):
            _check_gpus(project, asked.get(GPUS))
        _write(by, project, rows, asked)
        return _warnings(project, {place: asked[place] for place in asked if place[0] == QuotaKind.TOKENS})


def _place(row: Quota) -> Place:
    return row.kind, row.target_kind, row.target_id, row.window


def _hard(numbers: Quota | Numbers | None) -> int | None:
    return numbers.hard if numbers is not None else None


def _resolve(
    project: Project, wanted: QuotaDocument, rows: Mapping[Place, Quota], endpoints: Mapping[str, str]
) -> dict[Place, Numbers]:
    """Return the numbers that `wanted` asks for, by place; parts that it leaves out as they are."""
    kept = {
        place: Numbers(row.soft, row.hard)
        for place, row in rows.items()
        if (wanted.gpus if place[0] == QuotaKind.GPUS else wanted.tokens) is None
    }
    if wanted.gpus is not None and wanted.gpus.limit is not None:
        kept[GPUS] = Numbers(None, wanted.gpus.limit)
    keys: dict[str, str] = {}
    if any(entry.target == "key" for entry in wanted.tokens or []):
        names = [entry.name for entry in wanted.tokens or []]
        found = ApiKey.objects.filter(project=project, prefix__in=names).values_list("prefix", "pk")
        keys = {prefix: str(pk) for prefix, pk in found}
    for index, entry in enumerate(wanted.tokens or []):
        place = (QuotaKind.TOKENS.value, entry.target, _target(entry, index, project, endpoints, keys), entry.window)
        if place in kept:
            raise Invalid.field(
                f"tokens.{index}", f"tokens.{index} is the second entry for this target and window. Leave one of them."
            )
        kept[place] = Numbers(entry.soft, entry.hard)
    return kept


def _target(
    entry: TokenQuota, index: int, project: Project, endpoints: Mapping[str, str], keys: Mapping[str, str]
) -> str:
    """Return the id that an entry means; raises Invalid for a name that nothing has."""
    field = f"tokens.{index}.name"
    if entry.target == "project":
        if entry.name not in {"", project.slug}:
            raise Invalid.field(field, f"{field} is {entry.name!r}; leave it empty for the project itself.")
        return ""
    known, what, hint = (
        (endpoints, "living endpoint", "its name, for example scoring")
        if entry.target == "endpoint"
        else (keys, "key", "its prefix, for example gth_ab12cd34")
    )
    if entry.name not in known:
        raise Invalid.field(field, f"{field} is {entry.name!r}; {project.slug} has no such {what}. Write {hint}.")
    return known[entry.name]


def _only_divides(project: Project, rows: Mapping[Place, Quota], asked: Mapping[Place, Numbers]) -> None:
    """Raise Forbidden when a hard limit of the whole project or its GPUs would change."""
    for place in {*rows, *asked}:
        kind, target_kind, _, window = place
        before, after = _hard(rows.get(place)), _hard(asked.get(place))
        if target_kind != QuotaTarget.PROJECT or before == after:
            continue
        what = "the GPU quota" if kind == QuotaKind.GPUS else f"the hard limit of tokens per {window}"
        now = "none" if before is None else f"{before:,}"
        raise Forbidden(
            f"Only a platform engineer changes {what} of {project.slug}, which is {now} now. Leave it as it is, or ask "
            "for more with a request of the kind quota."
        )


def _check_gpus(project: Project, asked: Numbers | None) -> None:
    held, waiting = taken(project)
    if asked is not None and asked.hard is not None and asked.hard < held + waiting:
        waits = f" and waits for {waiting}" if waiting else ""
        raise Invalid.field(
            "gpus.limit",
            f"gpus.limit is {asked.hard}, but {project.slug} holds {held}{waits}. Give back accelerators first, or set "
            f"at least {held + waiting}.",
        )


def _write(by: Principal, project: Project, rows: Mapping[Place, Quota], asked: Mapping[Place, Numbers]) -> None:
    before, after = {}, {}
    for place in sorted({*rows, *asked}):
        row, numbers = rows.get(place), asked.get(place)
        old = Numbers(row.soft, row.hard) if row else None
        if old == numbers:
            continue
        name = " ".join(part for part in place if part)
        before[name] = {"soft": old.soft, "hard": old.hard} if old else None
        after[name] = {"soft": numbers.soft, "hard": numbers.hard} if numbers else None
        if numbers is None and row is not None:
            row.delete()
        elif numbers is not None:
            kind, target_kind, target_id, window = place
            made, _ = Quota.objects.update_or_create(
                project=project, kind=kind, target_kind=target_kind, target_id=target_id, window=window,
                defaults={"soft": numbers.soft, "hard": numbers.hard},
            )  # fmt: skip
            _forget_alerts(made)
    if after:
        record("quotas.set_quotas", by=by, obj=project, project=project.slug, before=before, after=after)
        epoch.bump()


def _forget_alerts(quota: Quota) -> None:
    """A threshold of a number that counts no longer was not crossed: the new number is told about anew."""
    kept = [number for number in (quota.soft, quota.hard) if number is not None]
    QuotaAlert.objects.filter(quota=quota).exclude(limit__in=kept).delete()


def _warnings(project: Project, asked: Mapping[Place, Numbers]) -> list[str]:
    found = [Bound(0, project.pk, project.slug, *place, numbers.soft, numbers.hard) for place, numbers in asked.items()]
    used = spent(found)
    said = []
    for bound in found:
        tokens = used.used(bound.target, bound.window)
        if bound.hard is not None and tokens >= bound.hard:
            said.append(
                f"The {bound.target_kind}'s hard limit of {bound.hard:,} tokens per {bound.window} is used up already: "
                f"{tokens:,} were used in this {bound.window}, so calls are refused until it ends."
            )
    return said
