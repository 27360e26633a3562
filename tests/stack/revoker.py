"""The control plane of the revocation tests, a process of its own: `python -m tests.stack.revoker` reads one JSON list
[command, argument, …] per line and answers each with one line of JSON.

`WAYS` are the ways in which a key ends. A new one is a function that takes the key, ends it through the services, and
returns when that was committed (monotonic seconds, which all processes of a machine share).
"""

import datetime as dt
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import django

django.setup()

from django.contrib.auth.models import Group  # noqa: E402
from django.db import close_old_connections, transaction  # noqa: E402

from endpoints.key_revocation import revoke_keys  # noqa: E402
from endpoints.keys import INVOKE, revoke_key  # noqa: E402
from endpoints.models import Cluster, Endpoint, Phase  # noqa: E402
from projects import epoch, keys, services  # noqa: E402
from projects.models import PLATFORM_ENGINEERS, ApiKey, Membership, Project, Role, User  # noqa: E402
from projects.principal import Principal  # noqa: E402

PROJECT, OWNER, ENGINEER = "drill", "olga", "pete"


@contextmanager
def stamped() -> Iterator[list[float]]:
    """A transaction that writes down when it was committed, before it tells the bus."""
    at: list[float] = []
    with transaction.atomic():
        transaction.on_commit(lambda: at.append(time.monotonic()))
        yield at


def prepare(engine: str) -> None:
    """One project with an owner, and an endpoint `paced` on the engine at this URL."""
    project = Project.objects.create(slug=PROJECT, name="Drill", owner_team="Platform")
    owner = User.objects.create_user(username=OWNER)
    Membership.objects.create(project=project, user=owner, role=Role.OWNER)
    engineer = User.objects.create_user(username=ENGINEER)
    engineer.groups.add(Group.objects.get_or_create(name=PLATFORM_ENGINEERS)[0])
    cluster = Cluster.objects.create(slug="local", name="Local", driver="local", environments=["dev"])
    # As reconciling leaves it when an engine answers; no worker runs here that would.
    Endpoint.objects.create(
        name="paced", project=project, environment="dev", cluster=cluster, phase=Phase.READY,
        upstreams=[{"url": engine}],
    )  # fmt: skip
    epoch.bump()


def issue(person: str, seconds: float = 3600) -> dict[str, str]:
    """A key of a new member of the project, good for `seconds`."""
    project = Project.objects.get(slug=PROJECT)
    user = User.objects.create_user(username=person)
    services.set_member(_owner(), project, username=person, role=Role.DEVELOPER)
    key, secret = keys.issue(
        Principal.of(user), project=project, name="drill", scopes=[INVOKE], ttl=dt.timedelta(seconds=seconds)
    )
    return {"id": str(key.pk), "secret": secret}


def end(way: str, key: str) -> float:
    """End a key in one of the WAYS; when that was committed."""
    return WAYS[way](ApiKey.objects.select_related("project", "person").get(pk=key))


def _owner() -> Principal:
    return Principal.of(User.objects.get(username=OWNER))


def _revoked_by_its_owner(key: ApiKey) -> float:
    with stamped() as at:
        keys.revoke(Principal.of(key.person), key, reason="leaked")
    return at[0]


def _revoked_by_an_engineer(key: ApiKey) -> float:
    with stamped() as at:
        revoke_key(Principal.of(User.objects.get(username=ENGINEER)), key, reason="leaked")
    return at[0]


def _revoked_in_bulk(key: ApiKey) -> float:
    with stamped() as at:
        by = Principal.of(User.objects.get(username=ENGINEER))
        assert len(revoke_keys(by, {"person": key.person.username}, reason="leaked").keys) == 1
    return at[0]


def _person_removed(key: ApiKey) -> float:
    with stamped() as at:
        services.remove_member(_owner(), key.project, username=key.person.username)
    return at[0]


def _rotated_and_then_revoked(key: ApiKey) -> float:
    keys.rotate(Principal.of(key.person), key)
    key.refresh_from_db()
    return _revoked_by_its_owner(key)


def _overlap_ended(key: ApiKey) -> float:
    """Rotated: the old one goes on until its own end here, which is nearer than the seven days."""
    keys.rotate(Principal.of(key.person), key)
    key.refresh_from_db()
    return time.monotonic() + key.expires_at.timestamp() - time.time()


WAYS: dict[str, Callable[[ApiKey], float]] = {
    "revoked by its owner": _revoked_by_its_owner,
    "revoked by a platform engineer": _revoked_by_an_engineer,
    "revoked in bulk, by its person": _revoked_in_bulk,
    "its person removed from the project": _person_removed,
    "rotated, and the old one revoked": _rotated_and_then_revoked,
    "rotated, and the overlap ended": _overlap_ended,
}
COMMANDS: dict[str, Callable[..., Any]] = {"prepare": prepare, "issue": issue, "end": end}


def main() -> None:
    """Serve until stdin ends."""
    for line in sys.stdin:
        command, *arguments = json.loads(line)
        close_old_connections()
        print(json.dumps(COMMANDS[command](*arguments)), flush=True)


if __name__ == "__main__":
    main()
