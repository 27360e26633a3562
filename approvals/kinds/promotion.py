"""Promotion: what a request takes along from an endpoint of another environment, and what still differs then."""

import uuid
from collections.abc import Mapping
from typing import Any

from approvals.bodies import EndpointBody, RevisionBody
from endpoints import promoting
from endpoints.models import Endpoint, Revision
from portal.errors import Invalid
from projects.models import Project
from projects.permissions import visible
from projects.principal import Principal

# What makes the answers: it goes along. Hardware and replicas are the choice of each environment.
TAKEN = ("asset", "version", "concurrency", "context_tokens")
SIZES = ("hardware_profile", "replicas")
RELATED = ("project", "cluster", "revision__version__asset", "revision__profile")


def source_of(by: Principal, body: EndpointBody | RevisionBody, project: Project) -> Endpoint | None:
    """Return the endpoint that a body is promoted from, None for no promotion (a query else). Raises Invalid where the
    caller does not see it, or it is of another project or of the same environment.
    """
    if not body.promoted_from:
        return None
    rows = visible(by, Endpoint.objects.select_related(*RELATED), "inspect")
    found: Endpoint | None = rows.filter(pk=body.promoted_from, project=project, revision__isnull=False).first()
    if found is None:
        raise Invalid.field(
            "promoted_from",
            f"promoted_from is {body.promoted_from}, which is no endpoint of {project.slug}. Promotion stays in one "
            "project; choose another, or leave it out.",
        )
    return found


def check(source: Endpoint | None, environment: str) -> None:
    """Raise Invalid where `source` lies in the `environment` into which it is promoted."""
    if source is not None and source.environment == environment:
        raise Invalid.field(
            "promoted_from",
            f"promoted_from is {source.name}, which is in {environment} itself. Promote it to another environment.",
        )


def find(by: Principal, identifier: str) -> Endpoint | None:
    """Return the endpoint of that id which the caller may see and promote, for a form (one query)."""
    try:
        pk = uuid.UUID(identifier)
    except ValueError:
        return None
    rows = visible(by, Endpoint.objects.select_related(*RELATED), "inspect")
    found: Endpoint | None = rows.filter(pk=pk, revision__isnull=False).first()
    return found


def settings_of(revision: Revision) -> dict[str, Any]:
    """Return what a revision says of the fields that environments are compared by."""
    return {
        "asset": revision.version.asset.slug, "version": revision.version.version,
        "concurrency": revision.concurrency, "context_tokens": revision.context_tokens,
        "hardware_profile": revision.profile.slug, "replicas": revision.replicas,
    }  # fmt: skip


def start(source: Endpoint, to: str) -> dict[str, Any]:
    """Return the body of a new endpoint that is `source` in the environment `to`: all of it, under its name there."""
    assert source.revision is not None  # noqa: S101 - `find` leaves out those without
    return {
        "project": source.project.slug, "name": promoting.name_in(source.name, source.environment, to),
        "environment": to, "purpose": source.purpose, "data_classification": source.data_classification or None,
        **settings_of(source.revision),
    }  # fmt: skip


def taken(source: Endpoint) -> dict[str, Any]:
    """Return what a revision of an endpoint that exists takes along from `source`."""
    assert source.revision is not None  # noqa: S101
    found = settings_of(source.revision)
    return {name: found[name] for name in TAKEN}


def part(source: Endpoint | None, asked: Mapping[str, Any], environment: str) -> dict[str, Any]:
    """Return the part of a plan that says where it comes from and what is not the same as there; empty where it is no
    promotion. `asked` are the fields that environments are compared by.
    """
    if source is None or source.revision is None:
        return {}
    there = settings_of(source.revision)
    differs = [
        {"field": name, "before": there[name], "after": asked[name]}
        for name in (*TAKEN, *SIZES)
        if asked.get(name) is not None and asked[name] != there[name]
    ]
    return {
        "promotion": {
            "from": {
                "id": str(source.pk), "name": source.name, "environment": source.environment,
                "revision": source.revision.number,
            },
            "to": environment,
            "differs": differs,
        }
    }  # fmt: skip
