"""Where the directory reads from: the database through the ORM, always called in a background thread."""

import functools
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import ParamSpec, Protocol, TypeVar

from django.db import DEFAULT_DB_ALIAS, close_old_connections, connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Exists, OuterRef, Q, QuerySet

from endpoints.gateways.builtin.records import EndpointRecord, KeyRecord
from endpoints.gateways.builtin.upstream import Upstream
from endpoints.models import Desired, Endpoint, Phase
from endpoints.sharing import living_shares
from portal import crypto
from projects import epoch
from projects.models import ApiKey, KeyState, Membership
from quotas.bounds import Bound, Target, bounds
from quotas.spent import Spent, spent

CONNECT_SECONDS = 3
KEEP_SECONDS = 300  # of a connection; after that it is made anew, so that it finds a server that has moved

log = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")
Quotas = Mapping[Target, tuple[Bound, ...]]


class Source(Protocol):
    """Reads what the directory keeps.

    Each answer comes with the epoch that was read before it, so it is at least as new as that.
    """

    def epoch(self) -> int:
        """Return the counter that moves with every change the gateway must notice."""

    def key(self, digest: str) -> tuple[int, KeyRecord | None]:
        """Return the key whose secret has this SHA-256, or None."""

    def endpoints(self, project_id: int) -> tuple[int, dict[str, EndpointRecord]]:
        """Return the living endpoints of a project by name, and those shared with it by full name."""

    def quotas(self, project_id: int) -> tuple[int, Quotas]:
        """Return the token quotas of a project by what they limit."""

    def spent(self, wanted: Sequence[Bound], journals: Sequence[str]) -> Spent:
        """Return what `wanted` used, and how far the journals that are written, and these, stand in the ledger."""


def _own_connection(function: Callable[P, R]) -> Callable[P, R]:
    """Give the thread a usable connection and hand it back: threads outlive requests, and Django closes only those of
    its own.
    """

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if connection.in_atomic_block:  # called from somebody's transaction, whose connection it is
            return function(*args, **kwargs)
        close_old_connections()
        _leave_the_pool()
        try:
            return function(*args, **kwargs)
        finally:
            close_old_connections()

    return call


def _leave_the_pool() -> None:
    """Let this thread keep a connection to PostgreSQL of its own.

    The pages' pool may be used up, and after an outage it waits longer and longer before it connects again (up to
    minutes); a revocation may wait for neither. A connection that died unheard, behind a firewall, ends in seconds.
    """
    given = connection.settings_dict
    if threading.current_thread() is threading.main_thread():  # a command's or a test's, not the gateway's
        return
    if "pool" in given["OPTIONS"] and connection.connection is None:
        own = {"connect_timeout": CONNECT_SECONDS, "tcp_user_timeout": CONNECT_SECONDS * 1000, **given["OPTIONS"]}
        del own["pool"]
        connection.settings_dict = {**given, "OPTIONS": own, "CONN_MAX_AGE": KEEP_SECONDS}
        _own.closer = _Closer(connections[DEFAULT_DB_ALIAS])


class _Closer:
    """Closes a thread's own connection when the thread ends: Django's wrapper alone waits for the garbage collector."""

    def __init__(self, wrapper: BaseDatabaseWrapper) -> None:
        self._wrapper = wrapper

    def __del__(self) -> None:
        if self._wrapper.connection is not None:
            self._wrapper.connection.close()


_own = threading.local()


class DatabaseSource:
    """The portal's database."""

    @_own_connection
    def epoch(self) -> int:
        """Return the epoch (one query)."""
        return epoch.current()

    @_own_connection
    def key(self, digest: str) -> tuple[int, KeyRecord | None]:
        """Return the key (three queries).

        Its person must still be active and a member: a leaver's keys end with the membership.
        """
        now = epoch.current()
        key = with_member(ApiKey.objects.filter(hash=digest)).first()
        if key is None:
            return now, None
        return now, key_record(key, list(key.targets.values_list("kind", "target_id")))

    @_own_connection
    def endpoints(self, project_id: int) -> tuple[int, dict[str, EndpointRecord]]:
        """Return the living endpoints of a project by name, and those shared with it by full name (two queries)."""
        now = epoch.current()
        shared = living_shares().filter(project_id=project_id).values("endpoint_id")
        rows = (
            Endpoint.objects.select_related("project", "revision", "next_revision")
            .filter(Q(project_id=project_id) | Q(pk__in=shared))
            .exclude(Q(phase=Phase.DELETED) | Q(desired=Desired.DELETED))
        )
        records = (_endpoint(row, guest_id=project_id if row.project_id != project_id else 0) for row in rows)
        return now, {one.model if one.guest_id else one.name: one for one in records}

    @_own_connection
    def quotas(self, project_id: int) -> tuple[int, Quotas]:
        """Return the token quotas of a project (two queries)."""
        now = epoch.current()
        found: dict[Target, tuple[Bound, ...]] = {}
        for bound in bounds(projects=[project_id]):
            found[bound.target] = (*found.get(bound.target, ()), bound)
        return now, found

    @_own_connection
    def spent(self, wanted: Sequence[Bound], journals: Sequence[str]) -> Spent:
        """Return what `wanted` used (one statement)."""
        return spent(wanted, journals=journals)


def with_member(keys: QuerySet[ApiKey]) -> QuerySet[ApiKey]:
    """Return `keys` as `key_record` wants them: `member` says whether the person is still in the project."""
    member = Membership.objects.filter(project_id=OuterRef("project_id"), user_id=OuterRef("person_id"))
    return keys.select_related("project", "person").annotate(member=Exists(member))


def key_record(key: ApiKey, targets: Sequence[tuple[str, str]]) -> KeyRecord:
    """Return what the gateway remembers of a key that `with_member` has read. `targets`: its (kind, id) pairs."""
    return KeyRecord(
        id=str(key.pk),
        prefix=key.prefix,
        ended=_why_ended(key),
        expires_at=key.expires_at.timestamp(),
        project_id=key.project_id,
        project=key.project.slug,
        person=key.person.username,
        purpose=key.purpose,
        scopes=frozenset(key.scopes),
        targets=frozenset(target for kind, target in targets if kind == "endpoint") if targets else None,
    )


def _why_ended(key: ApiKey) -> str:
    """Return why a key may not be used, or "". `member` is annotated by the query."""
    if key.state == KeyState.REVOKED:
        return f"The key {key.prefix} was revoked; create a new one on the endpoint's page."
    if key.state not in {KeyState.ACTIVE, KeyState.ROTATING}:
        return f"The key {key.prefix} has expired; create a new one on the endpoint's page."
    if not key.person.is_active or not getattr(key, "member", False):
        return f"The person who owns the key {key.prefix} is no longer an active member of the project; ask its owner."
    return ""


def _endpoint(row: Endpoint, *, guest_id: int = 0) -> EndpointRecord:
    canary = row.next_revision.number if row.canary_percent and row.next_revision else 0
    usable = _upstreams(row)
    return EndpointRecord(
        id=str(row.pk),
        name=row.name,
        project=row.project.slug,
        served_name=(row.revision.adopted.get("served") if row.revision else "") or row.name,
        phase=row.phase,
        running=row.desired == Desired.RUNNING,
        reason=row.reason_sentence,
        created=int(row.created_at.timestamp()),
        context_tokens=row.revision.context_tokens if row.revision else None,
        upstreams=tuple(one for one in usable if one.revision != canary),
        canary=tuple(one for one in usable if one.revision == canary) if canary else (),
        canary_percent=row.canary_percent or 0,
        project_id=row.project_id,
        guest_id=guest_id,
    )


def _upstreams(row: Endpoint) -> tuple[Upstream, ...]:
    """Return the usable replicas; one that cannot be read is left out and logged, and the others go on serving."""
    usable = []
    for entry in row.upstreams or []:
        try:
            secret = entry.get("key", "")
            number = entry.get("revision")
            usable.append(Upstream.parse(entry["url"], crypto.decrypt(secret) if secret else "", number))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            log.error("gateway.upstream_unusable endpoint=%s error=%s", row.pk, error)
    return tuple(usable)
