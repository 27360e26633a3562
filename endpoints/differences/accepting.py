"""What of a difference a request can ask for: fewer or more replicas, the image of an approved version, the numbers in
the command. Everything else is said to be out of a request's reach, and why.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from catalog.models import Version, VersionState
from endpoints.clusters import ClusterError, Workload
from endpoints.differences.models import LiveDifference
from endpoints.drivers import workload
from endpoints.models import Endpoint, Revision

COUNTS = frozenset({"spec.replicas", "spec.predictor.minReplicas", "spec.predictor.maxReplicas"})
HOLES = {"{context}": "context_tokens", "{concurrency}": "concurrency"}
MOST = {"replicas": 64, "concurrency": 1024, "context_tokens": 10_000_000}
_IMAGE, _COMMAND = re.compile(r"containers\[[^\]]*\]\.image$"), re.compile(r"containers\[[^\]]*\]\.command$")
_SIZE = re.compile(r"containers\[[^\]]*\]\.resources\.")


@dataclass
class Offer:
    """What a request would ask for. `changes` are the fields of its body that differ from what runs, `refused` the rows
    that no request can hold, each with the reason.
    """

    endpoint: Endpoint
    changes: dict[str, Any] = field(default_factory=dict)
    accepted: list[LiveDifference] = field(default_factory=list)
    refused: list[tuple[LiveDifference, str]] = field(default_factory=list)

    @property
    def body(self) -> dict[str, Any]:
        """The body of a revision request; empty where nothing can be asked for."""
        now = self.endpoint.revision
        if now is None or not self.changes:
            return {}
        return {
            "kind": "revision", "endpoint": str(self.endpoint.pk), "asset": now.version.asset.slug,
            "version": now.version.version, "hardware_profile": now.profile.slug, "replicas": now.replicas,
            "concurrency": now.concurrency, "context_tokens": now.context_tokens, **self.changes,
        }  # fmt: skip

    @property
    def words(self) -> str:
        """Why the rest cannot be asked for, each reason once."""
        reasons = dict.fromkeys(why for _, why in self.refused)
        return " ".join(reasons) or "nothing differs."


def offer(endpoint: Endpoint, rows: Iterable[LiveDifference]) -> Offer:
    """Return what a request can ask for of `rows` (a query for each image); wants the revision selected."""
    made, revision = Offer(endpoint), endpoint.revision
    for row in rows:
        if row.own:
            continue
        why, changes = _of(endpoint, revision, row) if revision is not None else ("It has no revision.", {})
        if changes:
            made.changes |= changes
            made.accepted.append(row)
        else:
            made.refused.append((row, why))
    return made


def _of(endpoint: Endpoint, revision: Revision, row: LiveDifference) -> tuple[str, dict[str, Any]]:
    """Return what one row asks for, or why it asks for nothing."""
    if row.found is None:
        return "What is missing is written again; nothing can be asked for.", {}
    if row.field in COUNTS:
        return "The number of replicas must be 1 to 64.", _number("replicas", row.found)
    if _IMAGE.search(row.field):
        name = revision.version.asset.slug
        return f"No approved version of {name} runs this image; have one admitted first.", _image(revision, row.found)
    if _COMMAND.search(row.field):
        return (
            "Of the command a request holds the context and the parallel calls; the rest belongs to the version.",
            _command(endpoint, revision, row),
        )
    if _SIZE.search(row.field):
        return "Processor, memory and accelerators come with the hardware profile; choose another one in a request.", {}
    return "A request says nothing about such fields: the portal writes them.", {}


def _number(name: str, text: str) -> dict[str, Any]:
    good = text.isascii() and text.isdigit() and len(text) < 9 and 1 <= int(text) <= MOST[name]
    return {name: int(text)} if good else {}


def _image(revision: Revision, image: str) -> dict[str, Any]:
    """Return the approved version of the same model that runs `image`, the newest."""
    rows = Version.objects.filter(asset=revision.version.asset_id, state=VersionState.APPROVED, runtime__image=image)
    found = rows.order_by("-pk").first()
    return {"version": found.version} if found is not None else {}


def _command(endpoint: Endpoint, revision: Revision, row: LiveDifference) -> dict[str, Any]:
    """Return the numbers that differ in a command whose other words are the same."""
    wanted, found = _list(row.wanted), _list(row.found)
    try:
        made: Workload = workload(endpoint, revision, revision.replicas)
    except ClusterError:
        return {}
    template = [*made.command, *made.arguments]
    if not found or len(found) != len(wanted) or len(found) < len(template):
        return {}
    changes: dict[str, Any] = {}
    for place, (old, new) in enumerate(zip(wanted, found, strict=True)):
        if old == new:
            continue
        name = HOLES.get(template[place]) if place < len(template) else None
        value = _number(name, new) if name else {}
        if not value:
            return {}
        changes |= value
    return changes


def _list(text: str | None) -> list[str]:
    try:
        found = json.loads(text or "")
    except ValueError:
        return []
    return [str(one) for one in found] if isinstance(found, list) else []
