"""Writing down what a scan found: new rows, what changed, what is gone, hours, and whose it probably is.

Everything is compared in bulk: the number of queries does not depend on how much was found.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from audit.services import record, system
from endpoints.models import Cluster
from endpoints.rogue import hours, owning
from endpoints.rogue.judging import SERVED, Found, Verdict
from endpoints.rogue.listing import Seen
from endpoints.rogue.models import Mapped, Proposal, ProposalState, RogueState, RogueWorkload
from endpoints.rogue.reading import Space
from portal.states import move
from projects.models import Project, User

ACTOR = system("rogue")
KEPT = timedelta(days=90)  # what is gone
MOST_EVENTS = 50
BATCH = 500
FIELDS = (
    "api", "kind", "namespace", "name", "by_accelerators", "by_image", "by_kserve", "claim", "claim_says", "engine",
    "images", "accelerators", "resources", "facts", "started_at", "last_seen_at", "device_seconds", "counted_at",
    "owner_name", "owner_source", "owner", "project", "tool", "timeline",
)  # fmt: skip


def keep(cluster: Cluster, verdict: Verdict, seen: Seen) -> None:
    """Make the rows of `cluster` say what was found, in one transaction."""
    now = seen.now
    with transaction.atomic():
        rows = {row.uid: row for row in RogueWorkload.objects.select_for_update().filter(cluster=cluster)}
        people = _People(cluster, verdict.found, seen.spaces)
        fresh, changed = list[RogueWorkload](), list[RogueWorkload]()
        for found in verdict.found:
            row = rows.get(found.thing.ref.uid)
            known = row is not None
            row = row or RogueWorkload(cluster=cluster, uid=found.thing.ref.uid, first_seen_at=now)
            _fill(row, found, seen, now)
            people.guess(row, found, seen.spaces.get(found.thing.namespace))
            (changed if known else fresh).append(row)
        RogueWorkload.objects.bulk_create(fresh, batch_size=BATCH)
        # One statement for many rows; that of bulk_update takes longer to write down than the whole scan.
        RogueWorkload.objects.bulk_create(
            changed, batch_size=BATCH, update_conflicts=True, unique_fields=["id"], update_fields=FIELDS
        )
        _back([row for row in changed if row.state in (RogueState.GONE, RogueState.ADOPTED)], now)
        _gone(cluster, {one.thing.ref.uid for one in verdict.found}, verdict.approved, seen.unseen)


def end_waivers() -> int:
    """Open again what was waived until a day that is over; return how many."""
    today, count = timezone.now().date(), 0
    over = RogueWorkload.objects.filter(state=RogueState.WAIVED, waived_until__lt=today)
    for pk in list(over.values_list("pk", flat=True)):
        with transaction.atomic():
            # Read under the lock: a scan may have written into its timeline since.
            row = over.select_for_update(of=("self",)).select_related("cluster", "project").filter(pk=pk).first()
            if row is None:
                continue
            text = f"The waiver until {row.waived_until:%d %b %Y} is over."
            move(over.filter(pk=pk), RogueState.WAIVED, RogueState.OPEN, timeline=told(row, text))
            record(
                "rogue.expire", by=ACTOR, obj=row, project=row.project.slug if row.project else "",
                before={"state": RogueState.WAIVED.value, "waived_until": row.waived_until},
                after={"state": RogueState.OPEN.value}, reason=text,
            )  # fmt: skip
            count += 1
    return count


def prune() -> int:
    """Delete what is gone and was not seen for 90 days, and proposals like that; return how many. A waiver that still
    counts would count again, so its row stays.
    """
    now = timezone.now()
    waived = Q(waived_until__gte=now.date())
    rows = RogueWorkload.objects.filter(state=RogueState.GONE, last_seen_at__lt=now - KEPT).exclude(waived)
    proposals = Proposal.objects.filter(state=ProposalState.GONE, seen_at__lt=now - KEPT)
    return rows.delete()[0] + proposals.delete()[0]


def told(row: RogueWorkload, sentence: str, now: datetime | None = None) -> list[dict[str, str]]:
    """Return the timeline of a row with one more sentence."""
    at = (now or timezone.now()).isoformat(timespec="seconds")
    return [*row.timeline, {"at": at, "sentence": sentence[:300]}][-MOST_EVENTS:]


def _fill(row: RogueWorkload, found: Found, seen: Seen, now: datetime) -> None:
    thing = found.thing
    before = (row.accelerators, row.claim, tuple(row.images))
    row.api, row.kind, row.namespace, row.name = thing.ref.api, thing.ref.kind, thing.namespace, thing.ref.name
    row.by_accelerators, row.by_image = found.wants, bool(found.engine)
    row.by_kserve = thing.ref.kind in SERVED
    row.claim, row.claim_says, row.engine = found.claim, found.claim_says[:300], found.engine
    row.images, row.facts = list(found.images), dict(found.facts)
    row.accelerators, row.resources = found.held, dict(found.accelerators)
    row.device_seconds += hours.more(found.pods, seen.claims, row.counted_at, now)
    row.started_at, row.last_seen_at = found.started, now
    row.counted_at = max(row.counted_at or now, now)  # the clocks of two API servers may differ
    row.tool = owning.tool(thing)
    if not row.timeline:
        row.timeline = told(row, f"Found: {devices(row.accelerators)}{f', {row.engine}' if row.engine else ''}.", now)
    elif before != (row.accelerators, row.claim, tuple(row.images)):
        row.timeline = told(row, f"Changed: it holds {devices(row.accelerators)} and runs {_images(row)}.", now)


def _images(row: RogueWorkload) -> str:
    return str(row.images[0])[:120] if row.images else "no image"


def devices(count: int) -> str:
    """Return a number of accelerators in words."""
    return f"{count} accelerator{'' if count == 1 else 's'}"


def _back(rows: Iterable[RogueWorkload], now: datetime) -> None:
    """Open what was gone and is there again, and what was adopted and is approved no longer; a waiver still counts, and
    so does a request that waits for its answer.
    """
    for row in rows:
        target = RogueState.OPEN
        if row.state == RogueState.GONE and row.request is not None and row.endpoint_id is None:
            target = RogueState.ADOPTING
        elif row.state == RogueState.GONE and row.waived_until is not None and row.waived_until >= now.date():
            target = RogueState.WAIVED
        move(_one(row), row.state, target, timeline=told(row, "It is there again without approval.", now))


def _gone(cluster: Cluster, found: set[str], approved: frozenset[str], unseen: Mapping[str, str]) -> None:
    """Close what was not seen any more, of the kinds that could be listed. What is approved by now is no longer rogue;
    an adopted one stays adopted.
    """
    living = RogueWorkload.objects.filter(cluster=cluster).exclude(state=RogueState.GONE).exclude(kind__in=unseen)
    followed = (RogueState.ADOPTED, RogueState.ADOPTING)
    for row in living:
        if row.uid in found or (row.state in followed and row.uid in approved):
            continue
        text = "It is approved now." if row.uid in approved else "It is not there any more."
        move(_one(row), row.state, RogueState.GONE, accelerators=0, resources={}, timeline=told(row, text))


def _one(row: RogueWorkload) -> QuerySet[RogueWorkload]:
    return RogueWorkload.objects.filter(pk=row.pk)


class _People:
    """Portal users and projects that guesses may mean: read once for all that was found."""

    def __init__(self, cluster: Cluster, found: Sequence[Found], spaces: Mapping[str, Space]) -> None:
        self._mapped = {
            one.namespace: one.project for one in Mapped.objects.filter(cluster=cluster).select_related("project")
        }
        self._projects = {one.slug: one for one in Project.objects.all()}
        names = {
            _person(guess.name) for one in found for guess in owning.guesses(one.thing, spaces.get(one.thing.namespace))
        }
        self._users: dict[str, User] = {}
        for part in _parts(sorted(names - {""})):
            people = User.objects.filter(is_active=True).filter(Q(username__in=part) | Q(email__in=part))
            for person in people.order_by("-pk"):
                self._users |= {person.username.lower(): person} | (
                    {person.email.lower(): person} if person.email else {}
                )

    def guess(self, row: RogueWorkload, found: Found, space: Space | None) -> None:
        """Write into `row` whose it probably is."""
        all_ = list(owning.guesses(found.thing, space))
        known = next(((one, who) for one in all_ if (who := self._users.get(_person(one.name)))), None)
        best = known[0] if known else (all_[0] if all_ else None)
        row.owner = known[1] if known else None
        row.owner_name, row.owner_source = (best.name, best.source) if best else ("", "")
        row.project = self._mapped.get(row.namespace) or self._projects.get(row.namespace)


def _person(name: str) -> str:
    """Return the name or address of a person, without the identity provider before it (ldap:dana); "" for accounts of
    the cluster itself (system:serviceaccount:…).
    """
    plain = name.lower()
    return "" if plain.startswith("system:") else plain.rpartition(":")[2]


def _parts(names: list[str]) -> Iterable[list[str]]:
    return (names[start : start + BATCH] for start in range(0, len(names), BATCH))
