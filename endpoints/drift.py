"""Telling the people of running endpoints that the content of their version has drifted from what was approved.

The state of the pin is the queue: `tell_drift` may run twice, at the same time as itself, or after a week away.
"""

from uuid import UUID

from django.db import transaction
from django.db.models import Exists, F, OuterRef, QuerySet

from audit.services import record, system
from catalog.models import PinState, drift_of, with_pins
from endpoints.changes import keepers, tell
from endpoints.models import Desired, Endpoint, Event, Phase
from endpoints.timeline import note

ACTOR = system("drift")
TOLD = "drifted"  # code of the event that says so
BATCH = 500


def tell_drift() -> int:
    """Note the drift on the timeline of each living endpoint and tell contact and owners, once for each drift; return
    for how many endpoints.
    """
    return sum(_one(pk) for pk in _untold().order_by("pk").values_list("pk", flat=True)[:BATCH])


def _untold() -> QuerySet[Endpoint]:
    since = OuterRef("revision__version__pin__drifted_at")
    told = Event.objects.filter(endpoint=OuterRef("pk"), code=TOLD, at__gte=since)
    living = Endpoint.objects.exclude(phase=Phase.DELETED).exclude(desired=Desired.DELETED)
    return living.filter(~Exists(told), revision__version__pin__state=PinState.DRIFTED)


def _one(pk: UUID) -> bool:
    with transaction.atomic():
        # Whoever comes second waits here, and finds the event of the first.
        Endpoint.objects.select_for_update(of=("self",)).filter(pk=pk).first()
        rows = _untold().select_related("project", "contact", "created_by", "revision__version__asset")
        row = (
            with_pins(rows.annotate(since=F("revision__version__pin__drifted_at")), "revision__version")
            .filter(pk=pk)
            .first()
        )
        if row is None or row.revision is None:
            return False
        version = row.revision.version
        name, said = f"{version.asset.name} {version.version}", drift_of(version)
        note(row, TOLD, f"The content of {name} has drifted: {said}")
        after = {"asset": version.asset.slug, "version": version.version, "drifted_at": row.since}
        record("endpoints.drift", by=ACTOR, obj=row, project=row.project.slug, after=after, reason=said)
        tell(
            row,
            "endpoint.drifted",
            f"{row.project.slug}/{row.name} runs content that has drifted",
            keepers(row),
            text=f"The content of its version {name} has drifted: {said} What runs goes on; nothing new is started.",
            once=f"drift:{row.pk}:{row.since.isoformat()}",
            asset=version.asset.slug,
            version=version.version,
        )
        return True
