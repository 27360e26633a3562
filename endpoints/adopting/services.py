"""Taking proposals: a profile of a cluster becomes one of the catalog, a namespace belongs to a project from now on."""

from collections.abc import Mapping
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from typing import Any

from django.db import transaction
from pydantic import ValidationError

from audit.services import record
from catalog.models import HardwareProfile
from catalog.services import save_profile
from catalog.specs import ProfileSpec
from endpoints.rogue.models import Mapped, Proposal, ProposalKind, ProposalState, RogueWorkload
from portal.errors import Conflict, Invalid
from portal.http import field_errors
from portal.states import move
from projects.models import Project
from projects.permissions import require, visible
from projects.principal import Principal
from projects.services import create_project

GIB = 2**30
TAKEN = ("accelerator", "accelerator_count", "resource", "cpu_millis", "host_memory_bytes", "node_selector",
         "tolerations")  # fmt: skip


def take_profile(by: Principal, row: Proposal, typed: Mapping[str, str]) -> HardwareProfile:
    """Add a hardware profile to the catalog as `row` proposes it, with `slug name memory_gib price_per_hour` from a
    person.

    Raises Forbidden, Invalid naming the field, and Conflict: `wrong_state`, `slug_taken`.
    """
    require(by, "take", row)
    fields = {name: row.content[name] for name in TAKEN if name in row.content}
    if not fields.get("accelerator_count"):
        fields |= {"resource": "", "accelerator": "", "accelerator_count": 0}
    fields |= {
        "slug": typed.get("slug", "").strip(), "name": typed.get("name", "").strip(),
        "memory_bytes": _gib(typed.get("memory_gib", "")), "price_per_hour": _price(typed.get("price_per_hour", "")),
    }  # fmt: skip
    try:
        spec = ProfileSpec.model_validate(fields)
    except ValidationError as error:
        raise field_errors(error.errors(include_url=False)) from error
    with transaction.atomic():
        if HardwareProfile.objects.filter(slug=spec.slug).exists():
            raise Conflict(f"A hardware profile {spec.slug} exists already. Choose another slug.", code="slug_taken")
        _take(by, row, spec.slug)
        return save_profile(by, spec)


def take_project(by: Principal, row: Proposal, typed: Mapping[str, str]) -> Project:
    """Map a namespace to a project: to the one that `project` names, or to a new one of `slug` and `name`.

    Raises Forbidden, Invalid naming the field, and Conflict `wrong_state`.
    """
    require(by, "take", row)
    with transaction.atomic():
        if typed.get("project"):
            project: Project | None = visible(by, Project.objects.all()).filter(slug=typed["project"][:40]).first()
            if project is None:
                raise Invalid.field("project", f"There is no project {typed['project'][:40]}. Choose one of the list.")
        else:
            project = create_project(by, slug=typed.get("slug", "").strip(), name=typed.get("name", "").strip())
        _take(by, row, project.slug)
        Mapped.objects.update_or_create(cluster=row.cluster, namespace=row.name, defaults={"project": project})
        RogueWorkload.objects.filter(cluster=row.cluster, namespace=row.name).update(project=project)
    return project


def dismiss(by: Principal, row: Proposal) -> None:
    """Let a proposal rest. Raises Forbidden and Conflict `wrong_state`."""
    require(by, "dismiss", row)
    with transaction.atomic():
        if not move(Proposal.objects.filter(pk=row.pk), ProposalState.PROPOSED, ProposalState.DISMISSED):
            raise _wrong_state(row)
        record("proposals.dismiss", by=by, obj=row, before={"state": row.state}, after=_facts(row))


def start(row: Proposal) -> dict[str, Any]:
    """Return what the form of a proposal begins with."""
    found = {"slug": str(row.content.get("slug", "")), "name": str(row.content.get("name", ""))}
    if row.kind == ProposalKind.HARDWARE_PROFILE:
        found |= {"memory_gib": "", "price_per_hour": ""}
    return found


def _take(by: Principal, row: Proposal, became: str) -> None:
    if not move(Proposal.objects.filter(pk=row.pk), ProposalState.PROPOSED, ProposalState.TAKEN, became=became):
        raise _wrong_state(row)
    after = _facts(row) | {"became": became, "state": ProposalState.TAKEN.value}
    record("proposals.take", by=by, obj=row, before={"state": row.state}, after=after)


def _facts(row: Proposal) -> dict[str, object]:
    return {"kind": row.kind, "cluster": row.cluster.slug, "namespace": row.namespace, "name": row.name}


def _wrong_state(row: Proposal) -> Conflict:
    return Conflict(f"Somebody was faster with {row.name}. Reload the page.", code="wrong_state")


def _gib(text: str) -> int:
    number = _number("memory_gib", "Memory", text, "GiB per accelerator, for example 48")
    if not Decimal("0.1") <= number <= 1024:
        raise Invalid.field("memory_gib", f"Memory is {text[:20]} GiB; write 0.1 to 1,024.")
    return int(number * GIB)


def _price(text: str) -> Decimal:
    number = _number("price_per_hour", "The price", text, "a number, for example 2.50")
    if not 0 <= number < 10**6:
        raise Invalid.field("price_per_hour", f"The price is {text[:20]}; write 0 to 1,000,000.")
    return number.quantize(Decimal("0.0001"))


def _number(field: str, what: str, text: str, example: str) -> Decimal:
    """Return a number that somebody typed; raises Invalid for what is none, with what to write in its place."""
    typed = text.strip()
    with suppress(InvalidOperation):
        if (found := Decimal(typed.replace(",", "."))).is_finite():
            return found
    raise Invalid.field(
        field, f"{what} is {f'{typed[:20]!r}, which is no number' if typed else 'missing'}. Write {example}."
    )
