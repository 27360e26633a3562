"""Registering clusters, changing them, giving them new credentials, and taking them away."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from audit.services import record
from endpoints.fleet import options as choices
from endpoints.fleet import repository
from endpoints.fleet.access import Access, has_api, read
from endpoints.fleet.examining import want_test
from endpoints.models import Cluster, Environment, Phase
from portal import crypto
from portal.errors import Conflict, Invalid
from portal.http import clean_text
from projects.models import is_slug, slug_validator
from projects.permissions import require, require_anywhere
from projects.principal import Principal
from quotas.models import Pool

ROUTES = frozenset({"new", "access"})  # stand in addresses where a slug does
KEPT = ("server", "ca", "repository", "repository_ca", "known_hosts")  # where a new credential names no other
# What the last test found belongs to the credential that it was made with.
UNSEEN: dict[str, Any] = {
    "last_seen_at": None, "version": "", "problem_code": "", "problem_sentence": "", "checks": [], "checked_at": None,
}  # fmt: skip


def create_cluster(
    by: Principal,
    *,
    slug: str,
    name: str,
    driver: str,
    environments: Sequence[str],
    simulated: bool = False,
    access: Mapping[str, str] | None = None,
    options: Mapping[str, object] | None = None,
) -> Cluster:
    """Register a cluster that `driver` (a key of settings.CLUSTER_DRIVERS) steers and that serves `environments`, and
    ask for a first test; `access` holds the arguments of `access.read`.

    Raises Forbidden, Invalid naming the field, and Conflict for a slug that is taken.
    """
    require_anywhere(by, "create", Cluster)
    label = clean_text(name, field="name", low=1, high=80)
    if not is_slug(slug):
        raise Invalid.field("slug", f"slug is {slug[:60]!r}. {slug_validator.message}")
    if slug in ROUTES:
        raise Invalid.field("slug", f"slug is {slug!r}, which the portal needs for itself. Choose another one.")
    if driver not in settings.CLUSTER_DRIVERS:
        raise Invalid.field(
            "driver", f"driver is {driver[:40]!r}; choose one of {', '.join(settings.CLUSTER_DRIVERS)}."
        )
    columns: dict[str, Any] = {
        "slug": slug, "name": label, "driver": driver, "environments": clean_environments(environments),
        "simulated": simulated,
    }  # fmt: skip
    if has_api(Cluster(driver=driver)):
        columns |= _access(driver, access or {}).columns(timezone.now())
        columns["options"] = choices.marked(choices.clean(options or {}))
        repository.check_alone(Cluster(**columns))
    with transaction.atomic():
        other = Cluster.known.filter(slug=slug).first()
        was = "was removed, and old endpoints still name it" if other and other.removed_at else "exists already"
        taken = Conflict(f"A cluster named {slug} {was}. Choose another slug.", code="name_taken")
        if other is not None:
            raise taken
        try:
            with transaction.atomic():
                cluster = Cluster.objects.create(**columns)
        except IntegrityError as error:  # somebody else was faster by an instant
            raise taken from error
        record("clusters.create", by=by, obj=cluster, after=facts(cluster))
        want_test(cluster)
    return cluster


def change(
    by: Principal,
    cluster: Cluster,
    *,
    name: str | None = None,
    environments: Sequence[str] | None = None,
    options: Mapping[str, object] | None = None,
) -> Cluster:
    """Change name, environments or options; None leaves each as it is. Server and credential change by `rotate`.

    Raises Forbidden, Invalid, and Conflict for an option that is fixed while endpoints live on the cluster.
    """
    require(by, "change", cluster)
    with transaction.atomic():
        cluster = locked(cluster)
        before = facts(cluster)
        if name is not None:
            cluster.name = clean_text(name, field="name", low=1, high=80)
        if environments is not None:
            cluster.environments = clean_environments(environments)
        if options is not None:
            if not has_api(cluster):
                raise Invalid.field("options", "The local cluster has no options.")
            cluster.options = _changed(cluster, options)
            repository.check_alone(cluster)
        after = facts(cluster)
        differing = sorted(field for field in after if after[field] != before[field])
        if differing:
            cluster.save(update_fields=["name", "environments", "options"])
            old, new = ({field: side[field] for field in differing} for side in (before, after))
            record("clusters.change", by=by, obj=cluster, before=old, after=new)
    return cluster


def rotate(by: Principal, cluster: Cluster, *, access: Mapping[str, str]) -> Cluster:
    """Give a cluster a new credential, and with it a new server and authority where `access` says so.

    One cannot come without the other: a credential that is kept is never sent to a server that came later. Raises
    Forbidden, Invalid naming the field, and Conflict for a cluster that has no credential.
    """
    require(by, "rotate", cluster)
    if not has_api(cluster):
        raise Conflict(f"{cluster.slug} runs on this machine and needs no credential.", code="no_credential")
    way = _access(cluster.driver, {name: getattr(cluster, name) for name in KEPT} | dict(access))
    with transaction.atomic():
        cluster = locked(cluster)
        before = facts(cluster)
        columns = way.columns(timezone.now()) | UNSEEN
        for column, value in columns.items():
            setattr(cluster, column, value)
        repository.check_alone(cluster)
        cluster.save(update_fields=list(columns))
        after = facts(cluster) | {"ends": cluster.credential_ends}
        differing = {field for field in after if after[field] != before.get(field)}
        old = {field: before[field] for field in sorted(differing & before.keys())}
        new = {field: after[field] for field in sorted(differing)} | {"access": "replaced"}
        record("clusters.rotate", by=by, obj=cluster, before=old, after=new)
        want_test(cluster)
    return cluster


def remove(by: Principal, cluster: Cluster, *, reason: str = "") -> None:
    """Take a cluster out of the register and forget its credential; nothing is touched in the cluster itself.

    The row stays where endpoints of the past name it. Raises Forbidden, NotFound, and Conflict while endpoints live on
    it or a pool is on it.
    """
    require(by, "remove", cluster)
    why = clean_text(reason, field="reason", high=300)
    with transaction.atomic():
        # Whoever opens an endpoint holds the row, so it is counted here, or finds the cluster removed.
        cluster = locked(cluster)
        living = cluster.endpoints.exclude(phase=Phase.DELETED).count()
        if living:
            what = f"{living:,} endpoint{' lives' if living == 1 else 's live'}"
            raise Conflict(f"{what} on {cluster.slug}. Delete or move them first.", code="cluster_in_use")
        pool = Pool.objects.filter(cluster=cluster.slug).values_list("slug", flat=True).first()
        if pool is not None:
            raise Conflict(
                f"The pool {pool} is on {cluster.slug}. Put the pool on another cluster first.", code="cluster_in_use"
            )
        record("clusters.remove", by=by, obj=cluster, before=facts(cluster), reason=why)
        if cluster.endpoints.exists():
            gone = UNSEEN | {"credential": "", "credential_ends": None, "asked_at": None, "removed_at": timezone.now()}
            Cluster.objects.filter(pk=cluster.pk).update(**gone)
            for found in (cluster.rogues, cluster.proposals, cluster.mapped):  # as when the row goes: nobody looks
                found.all().delete()
        else:
            cluster.delete()


def locked(cluster: Cluster) -> Cluster:
    """Return the row of now, held until the transaction ends; raises Conflict when it was removed meanwhile."""
    row: Cluster | None = Cluster.objects.select_for_update().filter(pk=cluster.pk).first()
    if row is None:
        raise Conflict(f"{cluster.slug} was removed a moment ago.", code="cluster_removed")
    return row


def clean_environments(environments: Sequence[str]) -> list[str]:
    """Return `environments`, each once and in the order of their lives; raises Invalid for none or an unknown one."""
    if not environments or not set(environments) <= set(Environment.values):
        raise Invalid.field("environments", f"environments must name some of {', '.join(Environment.values)}.")
    return [value for value in Environment.values if value in environments]


def facts(cluster: Cluster) -> dict[str, Any]:
    """Return what an audit row says about a cluster: nothing by which somebody could get in."""
    plain = {
        "slug": cluster.slug, "name": cluster.name, "driver": cluster.driver, "environments": cluster.environments,
        "simulated": cluster.simulated,
    }  # fmt: skip
    if not has_api(cluster):
        return plain
    return plain | {
        "server": cluster.server,
        "authority": crypto.digest(cluster.ca)[:12] if cluster.ca else "",  # tells one from another
        "authentication": cluster.authentication,
        "options": cluster.options,
        **repository.facts(cluster),
    }


def _access(driver: str, given: Mapping[str, str]) -> Access:
    known = ("authentication", "server", "ca", "token", "kubeconfig")
    parts = {name: str(given.get(name) or "") for name in known}
    way = read(kubeconfig_text=parts.pop("kubeconfig"), **parts)
    return replace(way, repository=repository.read(given)) if driver == repository.DRIVER else way


def _changed(cluster: Cluster, options: Mapping[str, object]) -> dict[str, str]:
    cleaned = choices.clean(cluster.options | dict(options))
    before = choices.clean(cluster.options)
    cleaned["installation"] = cleaned["installation"] or before["installation"]
    fixed = [name for name, one in choices.OPTIONS.items() if one.fixed and cleaned[name] != before[name]]
    if fixed and cluster.endpoints.exclude(phase=Phase.DELETED).exists():
        raise Conflict(
            f"{fixed[0]} cannot change while endpoints live on {cluster.slug}: their objects carry it. Delete or move"
            " them first.",
            code="cluster_in_use",
        )
    return cleaned
