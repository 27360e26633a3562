"""What is the portal's on a cluster: names from the endpoint's id, labels on everything, and how a stranger's object is
told from an own one. The `kserve` driver uses the same."""

import hashlib
import re
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from endpoints.clusters import Place, Workload
from endpoints.clusters.explaining.cases import refused

MANAGER = "gatehouse"  # of server-side apply, and the value of the label below
PREFIX = "gatehouse"  # of namespaces, unless the registration says otherwise
MANAGED_BY = "app.kubernetes.io/managed-by"
DOMAIN = "gatehouse.example"
ENDPOINT = f"{DOMAIN}/endpoint"
REVISION = f"{DOMAIN}/revision"
PROJECT = f"{DOMAIN}/project"
ENVIRONMENT = f"{DOMAIN}/environment"
INSTALLATION = f"{DOMAIN}/installation"  # two portals on one cluster have two
APPROVAL_DIGEST = f"{DOMAIN}/approval-digest"
APPROVAL = f"{DOMAIN}/approval"
APPLIED = f"{DOMAIN}/applied"  # what was applied last, sealed
NAME_LIMIT = 63
KEY_NAME = re.compile(r"\bep-[0-9a-f]{13}-key\b")  # what `key_name` returns

Object = Mapping[str, Any]


def prefix(settings: Mapping[str, Any]) -> str:
    """Return what the names of this installation's namespaces begin with, by the options of a registration."""
    return str(settings.get("namespace_prefix") or PREFIX)


def installation(settings: Mapping[str, Any]) -> str:
    """Return what tells the objects of this portal from those of another one, whose prefix may be the same."""
    return str(settings.get("installation") or prefix(settings))


def stem(endpoint_id: str) -> str:
    """Return the name that all objects of an endpoint begin with; raises ClusterError when the id is no UUID."""
    try:
        return f"ep-{UUID(endpoint_id).hex[:13]}"
    except ValueError:
        raise refused("invalid_endpoint", detail="must be a UUID") from None


def name(workload: Workload) -> str:
    """Return the name of the objects of one revision."""
    return f"{stem(workload.endpoint_id)}-r{workload.revision}"


def key_name(endpoint_id: str) -> str:
    """Return the name of the Secret that holds the key of an endpoint's engines."""
    return f"{stem(endpoint_id)}-key"


def namespace(place: Place, project: str, environment: str) -> str:
    """Return the namespace of a project and environment, at most 63 characters."""
    full = f"{prefix(place.settings)}-{project}-{environment}"
    if len(full) <= NAME_LIMIT:
        return full
    mark = hashlib.sha256(full.encode()).hexdigest()[:8]
    return f"{full[: NAME_LIMIT - 9].rstrip('-')}-{mark}"


def shared(place: Place, project: str, environment: str) -> dict[str, str]:
    """Return the labels of what all endpoints of a project and environment share."""
    return {MANAGED_BY: MANAGER, INSTALLATION: installation(place.settings), PROJECT: project, ENVIRONMENT: environment}


def labels(place: Place, workload: Workload) -> dict[str, str]:
    """Return the labels of what belongs to one revision of one endpoint."""
    own = {ENDPOINT: workload.endpoint_id, REVISION: str(workload.revision)}
    return shared(place, workload.project, workload.environment_name) | own


def annotations(workload: Workload) -> dict[str, str]:
    """Return under which approval something runs."""
    return {APPROVAL_DIGEST: workload.authorization_digest, APPROVAL: workload.approval}


def selector(place: Place, endpoint_id: str = "") -> str:
    """Return the label selector of everything of this installation that belongs to an endpoint, or to this one."""
    which = f"{ENDPOINT}={endpoint_id}" if endpoint_id else ENDPOINT
    return f"{MANAGED_BY}={MANAGER},{INSTALLATION}={installation(place.settings)},{which}"


def selector_of_all(place: Place) -> str:
    """Return the label selector of everything of this installation."""
    return f"{MANAGED_BY}={MANAGER},{INSTALLATION}={installation(place.settings)}"


def label(found: Object, key: str) -> str:
    """Return a label of an object, or ""."""
    return str((found.get("metadata", {}).get("labels") or {}).get(key, ""))


def annotation(found: Object, key: str) -> str:
    """Return an annotation of an object, or ""."""
    return str((found.get("metadata", {}).get("annotations") or {}).get(key, ""))


def require_ours(found: Object, wanted: Object) -> None:
    """Raise ClusterError `name_collision` when `found` bears the name of `wanted` and not the labels that say whose it
    is: a stranger's object is never touched.
    """
    for key in (MANAGED_BY, INSTALLATION, PROJECT, ENVIRONMENT, ENDPOINT):
        if label(found, key) != label(wanted, key):
            meta = wanted["metadata"]
            where = f" in the namespace {meta['namespace']}" if meta.get("namespace") else ""
            raise refused("name_collision", thing=f"{wanted['kind']} {meta['name']}", where=where)
