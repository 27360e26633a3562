"""Where calls to an endpoint go: the replicas as they were seen, and as its row keeps them for the gateway."""

from collections.abc import Iterable
from typing import Any

from endpoints.clusters import Replica
from endpoints.models import Endpoint
from portal import crypto

Identity = tuple[str, str, str, int]


def instance(replica: Replica) -> str:
    """Return the identity of one life of a replica: a restarted engine counts from zero again."""
    if replica.identity:
        return replica.identity
    started = int(replica.started_at.timestamp()) if replica.started_at else 0
    return f"{replica.index}-{started}-{replica.pid or 0}"


def identities(routes: Iterable[Replica]) -> set[Identity]:
    """Return what tells these routes from others."""
    return {(one.url, one.key, instance(one), one.revision) for one in routes}


def kept(routes: Iterable[Replica]) -> list[dict[str, Any]]:
    """Return routes as a row keeps them, with their keys encrypted."""
    return [
        {"url": one.url, "key": crypto.encrypt(one.key), "instance": instance(one), "revision": one.revision}
        for one in routes
    ]


def stored(row: Endpoint) -> set[Identity]:
    """Return what tells the routes of a row from others."""
    found = set()
    for entry in row.upstreams:
        try:
            key, revision = crypto.decrypt(entry["key"]), entry.get("revision", 0)
            found.add((entry["url"], key, entry.get("instance", ""), revision))
        except ValueError:  # the encryption key was taken away: the route is written anew
            found.add((entry["url"], "", "", 0))
    return found
