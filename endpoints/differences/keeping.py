"""Writing down what was found: one open row for each field that differs, closed when it does not differ any more. Who
keeps an endpoint is told once of what somebody changed.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from audit.services import record, system
from endpoints.changes import keepers, tell
from endpoints.clusters import Difference
from endpoints.differences.models import LiveDifference, Resolution
from endpoints.models import Endpoint, Phase
from endpoints.timeline import note
from portal.http import digest

ACTOR = system("drift")
MOST = 200  # fields of one endpoint
AGAIN = timedelta(hours=1)  # what somebody changes again and again within it is one row, and told once
NAMED = 3  # fields that a sentence names
KEPT = timedelta(days=90)  # what is over


def mark(one: Difference) -> str:
    """Return what tells a field of an object from all others of its endpoint."""
    return hashlib.sha256("\n".join((one.kind, one.namespace, one.name, one.field)).encode()).hexdigest()


def by_mark(found: Iterable[Difference]) -> dict[str, Difference]:
    """Return the first differences of an endpoint, each once."""
    known: dict[str, Difference] = {}
    for one in found:
        known.setdefault(mark(one), one)
        if len(known) >= MOST:
            break
    return known


def open_of(ids: Iterable[Any]) -> dict[Any, dict[str, LiveDifference]]:
    """Return the open rows of some endpoints by endpoint and mark (one query)."""
    rows: dict[Any, dict[str, LiveDifference]] = {}
    for row in LiveDifference.objects.filter(endpoint__in=list(ids), resolved_at=None):
        rows.setdefault(row.endpoint_id, {})[row.mark] = row
    return rows


def write(endpoint: Endpoint, found: Sequence[Difference], known: Mapping[str, LiveDifference], since: datetime) -> int:
    """Make the open rows of an endpoint say what was found by a look that began at `since`; `known` are those that are
    open. Returns how many are new.
    """
    now, seen = timezone.now(), by_mark(found)
    gone = [row for key, row in known.items() if key not in seen]
    with transaction.atomic():
        if gone:
            number = endpoint.revision.number if endpoint.revision else 0
            for resolution, rows in _ended(gone, number).items():
                close(rows, resolution, now)
        fresh = _without_resolved(endpoint, {key: one for key, one in seen.items() if key not in known}, since)
        made = [_row(endpoint, key, one, now) for key, one in fresh.items()]
        LiveDifference.objects.bulk_create(made, ignore_conflicts=True)  # another look may have been faster
        same = [key for key, row in known.items() if key in seen and _says(row, seen[key])]
        if same:
            LiveDifference.objects.filter(pk__in=[known[key].pk for key in same]).update(last_seen=now)
        for key, row in known.items():
            if key in seen and key not in same:
                _change(row, seen[key], now)
        told = [*made, *(row for key, row in known.items() if key in seen and key not in same)]
        _tell(endpoint, [row for row in told if row.by_hand])
    return len(made)


def taken_back(endpoint: Endpoint, found: Sequence[Difference], who: str) -> None:
    """Note that what was found is written over, and what it was before; `who` wanted that, "": the portal itself."""
    now, seen = timezone.now(), by_mark(found)
    resolution = Resolution.REAPPLIED if who else Resolution.TAKEN_BACK
    with transaction.atomic():
        known = open_of([endpoint.pk]).get(endpoint.pk, {})
        fresh = {key: one for key, one in seen.items() if key not in known}
        again = _repeated(endpoint, fresh, now) if resolution == Resolution.TAKEN_BACK else set()
        made = [_row(endpoint, key, one, now) for key, one in fresh.items() if key not in again]
        LiveDifference.objects.bulk_create(made, ignore_conflicts=True)
        closing = [row for key, row in open_of([endpoint.pk]).get(endpoint.pk, {}).items() if key in seen]
        close(closing, resolution, now, who)
        by_hand = [row for row in closing if row.by_hand]
        if by_hand:
            record(
                "endpoints.take_back", by=ACTOR, obj=endpoint, project=endpoint.project.slug,
                before={"fields": [document(row) for row in by_hand]}, after={"fields": "as approved"},
                reason=f"Asked for by {who}." if who else "It bears on the approval.",
            )  # fmt: skip
            note(
                endpoint,
                "taken_back",
                f"What was changed by hand is written again as approved: {words(by_hand)}.",
            )
        if resolution == Resolution.TAKEN_BACK:
            _tell(endpoint, [row for row in made if row.by_hand], taken_back=True)


def close(rows: Iterable[LiveDifference], resolution: Resolution, now: datetime, who: str = "") -> None:
    """End open rows."""
    LiveDifference.objects.filter(pk__in=[row.pk for row in rows], resolved_at=None).update(
        resolved_at=now, resolution=resolution, resolved_by=who[:150]
    )


def end_deleted() -> int:
    """End the open rows of endpoints that are deleted, which nobody compares again; return how many."""
    rows = LiveDifference.objects.filter(resolved_at=None, endpoint__phase=Phase.DELETED)
    return rows.update(resolved_at=timezone.now(), resolution=Resolution.GONE)


def prune() -> int:
    """Delete rows that are over for 90 days; return how many."""
    return LiveDifference.objects.filter(resolved_at__lt=timezone.now() - KEPT).delete()[0]


def document(row: LiveDifference) -> dict[str, Any]:
    """Return a row as the audit log keeps it; values hold no secrets."""
    return {
        "object": f"{row.kind} {row.namespace}/{row.name}".replace(" /", " "), "field": row.field or "(all of it)",
        "approved": row.wanted, "found": row.found, "manager": row.manager,
    }  # fmt: skip


def words(rows: Sequence[LiveDifference]) -> str:
    """Return a few fields, each with both values, for a sentence."""
    said = [
        f"{row.kind} {row.field or row.name} is {_brief(row.found)} and not {_brief(row.wanted)}"
        + (f", by {row.manager}" if row.manager else "")
        for row in rows[:NAMED]
    ]
    more = f", and {len(rows) - NAMED} more" if len(rows) > NAMED else ""
    return "; ".join(said) + more


def _brief(value: str | None) -> str:
    if value is None:
        return "missing"
    return value if len(value) <= 60 else f"{value[:59]}…"


def _row(endpoint: Endpoint, key: str, one: Difference, now: datetime) -> LiveDifference:
    number = endpoint.revision.number if endpoint.revision else 0
    return LiveDifference(
        endpoint=endpoint, revision=number, mark=key, kind=one.kind[:63], namespace=one.namespace[:63],
        name=one.name[:253], field=one.field[:300], first_seen=now, last_seen=now, **_values(one),
    )  # fmt: skip


def _values(one: Difference) -> dict[str, Any]:
    return {
        "wanted": one.wanted, "found": one.found, "manager": one.manager[:120], "operation": one.operation[:20],
        "changed_at": one.at, "sure": one.sure, "guarded": one.guarded, "own": one.own,
    }  # fmt: skip


def _says(row: LiveDifference, one: Difference) -> bool:
    return (row.found, row.wanted, row.own) == (one.found, one.wanted, one.own)


def _change(row: LiveDifference, one: Difference, now: datetime) -> None:
    """Let an open row say what is found now instead."""
    values = _values(one) | {"last_seen": now, "accepted_at": None, "accepted_by": ""}
    LiveDifference.objects.filter(pk=row.pk, resolved_at=None).update(**values)
    for name, value in values.items():
        setattr(row, name, value)


def _ended(rows: Iterable[LiveDifference], number: int) -> dict[Resolution, list[LiveDifference]]:
    found: dict[Resolution, list[LiveDifference]] = {}
    for row in rows:
        found.setdefault(Resolution.GONE if row.revision == number else Resolution.REPLACED, []).append(row)
    return found


def _without_resolved(endpoint: Endpoint, fresh: dict[str, Difference], since: datetime) -> dict[str, Difference]:
    """Leave out what was written over after the look began: it has seen what is over."""
    if not fresh:
        return fresh
    over = LiveDifference.objects.filter(endpoint=endpoint, mark__in=fresh, resolved_at__gte=since)
    known = set(over.values_list("mark", flat=True))
    return {key: one for key, one in fresh.items() if key not in known}


def _repeated(endpoint: Endpoint, fresh: Mapping[str, Difference], now: datetime) -> set[str]:
    """Count on the rows of what was taken back a short time ago and was changed to the same again; return which."""
    recent = LiveDifference.objects.filter(
        endpoint=endpoint, mark__in=fresh, resolution=Resolution.TAKEN_BACK, resolved_at__gte=now - AGAIN
    )
    found = set()
    for row in recent:
        if row.mark not in found and row.found == fresh[row.mark].found:
            found.add(row.mark)
            LiveDifference.objects.filter(pk=row.pk).update(times=row.times + 1, last_seen=now, resolved_at=now)
    return found


def _tell(endpoint: Endpoint, rows: Sequence[LiveDifference], *, taken_back: bool = False) -> None:
    """Tell contact and owners of what somebody changed, each change once."""
    if not rows:
        return
    name, said = f"{endpoint.project.slug}/{endpoint.name}", words(rows)
    cause = digest(sorted((row.mark, row.found or "", str(row.changed_at)) for row in rows))
    if not taken_back:
        note(endpoint, "changed_by_hand", f"Somebody changed it by hand: {said}.")
    what = "It was written again as approved." if taken_back else "Its page says what can be done."
    tell(
        endpoint, "endpoint.changed", f"{name} was changed by hand", keepers(endpoint),
        text=f"{said}. {what}", fields=len(rows),
        once=f"changed:{endpoint.pk}:{cause}",
    )  # fmt: skip
