"""Calling webhooks. Each webhook has a lane of its own: one call at a time, and a receiver that is broken or slow keeps
nobody else waiting.
"""

import datetime as dt
import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from uuid import UUID

from django.db import transaction
from django.db.models import Min
from django.utils import timezone

from portal import outbound
from portal.http import canonical
from projects.models import Delivery, DeliveryState, Webhook
from projects.notify import formats, queue, signing
from projects.notify.services import WEBHOOK
from projects.notify.webhooks import gone

WAITS = (5, 30, 120, 600, 3_600, 10_800, 21_600, 36_000, 36_000)  # seconds after each failure; 30 hours in all
ATTEMPTS = len(WAITS) + 1
LANES = 16  # webhooks that one run calls at the same time
PER_LANE = 10  # calls of one webhook in one run
LANE_SECONDS = 30  # after which a lane leaves the rest to the next run; with TIMEOUT below the lease
TIMEOUT = 10.0
BREATHER = dt.timedelta(seconds=5)  # what else waits for a receiver that just failed
LONGEST_ASKED = 3_600  # seconds that a receiver may ask for by Retry-After
GONE = 410

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What became of one call: the status that came back, or the sentence why none did."""

    row: Delivery
    status: int | None
    error: str
    wait: int = 0  # seconds that the receiver asked for

    @property
    def came_through(self) -> bool:
        """Only 2xx counts."""
        return self.status is not None and 200 <= self.status < 300


@dataclass(frozen=True)
class Lane:
    """The calls of one webhook that a run makes, in their order, and the secrets that sign them."""

    webhook: Webhook
    rows: Sequence[Delivery]
    secrets: list[str]


def deliver() -> int:
    """Make the calls that are due, each webhook's one after the other, and return how many came through."""
    now = timezone.now()
    asked = queue.due(WEBHOOK, now).filter(webhook__enabled=True).order_by()
    first = asked.values("webhook").annotate(first=Min("due_at")).order_by("first")
    lanes = [lane for pk in list(first.values_list("webhook", flat=True)[:LANES]) if (lane := _claim(pk, now))]
    if not lanes:
        return 0
    count = 0
    with ThreadPoolExecutor(max_workers=len(lanes)) as pool:  # threads call, and never touch the database
        for done in as_completed([pool.submit(run, lane) for lane in lanes]):
            lane, outcomes = done.result()
            count += sum(outcome.came_through for outcome in outcomes)
            _settle(lane, outcomes)
    return count


def _claim(pk: UUID, now: dt.datetime) -> Lane | None:
    """Take the lane of a webhook; None when another worker has it."""
    with transaction.atomic():
        webhook = Webhook.objects.select_for_update(skip_locked=True).filter(pk=pk, enabled=True).first()
        if webhook is None:
            return None
        mine = Delivery.objects.filter(webhook=webhook, state=DeliveryState.WAITING)
        if mine.filter(claimed_until__gt=now).exists():
            return None
        due = queue.due(WEBHOOK, now).filter(webhook=webhook)
        rows = queue.claim(due.order_by("due_at", "created_at"), now, PER_LANE)
    try:
        return Lane(webhook, rows, signing.living(webhook.signing, now)) if rows else None
    except ValueError as error:
        for row in rows:
            _failed(Outcome(row, None, str(error)))
        return None


def run(lane: Lane) -> tuple[Lane, list[Outcome]]:
    """Make the calls of a lane up to the first failure. Runs in a thread of its own, without the database."""
    ends, outcomes = time.monotonic() + LANE_SECONDS, []
    for row in lane.rows:
        if time.monotonic() >= ends:
            break
        outcomes.append(_call(lane, row))
        if not outcomes[-1].came_through:
            break
    return lane, outcomes


def _call(lane: Lane, row: Delivery) -> Outcome:
    body = canonical(formats.body(lane.webhook.format, row.payload)).encode()
    headers = signing.headers(lane.secrets, str(row.pk), timezone.now(), body)
    try:
        answer = outbound.send("POST", lane.webhook.url, purpose="webhook", headers=headers, body=body, timeout=TIMEOUT)
    except outbound.OutboundError as error:
        return Outcome(row, None, str(error))
    except Exception as error:  # a lane must never end without an outcome: its rows would be tried at once, forever
        log.exception("notify.call_failed webhook=%s", lane.webhook.pk)
        return Outcome(row, None, f"The call could not be made ({type(error).__name__}).")
    asked = next((value for name, value in answer.headers.items() if name.lower() == "retry-after"), "")
    wait = min(int(asked), LONGEST_ASKED) if asked.isascii() and asked.isdigit() and len(asked) < 8 else 0
    redirect = " Redirects are not followed; change the address." if 300 <= answer.status < 400 else ""
    return Outcome(row, answer.status, f"The receiver answered {answer.status}.{redirect}", wait)


def _settle(lane: Lane, outcomes: Sequence[Outcome]) -> None:
    """Write down what became of a lane."""
    now = timezone.now()
    for outcome in outcomes:
        if outcome.came_through:
            queue.sent([outcome.row], now, outcome.status)
        elif outcome.status == GONE:
            queue.dead([outcome.row], outcome.error, outcome.status)
            gone(lane.webhook)
        else:
            _failed(outcome)
    tried = {outcome.row.pk for outcome in outcomes}
    left = [row for row in lane.rows if row.pk not in tried]
    queue.put_back(left, now + BREATHER if outcomes and not outcomes[-1].came_through else None)


def _failed(outcome: Outcome) -> None:
    row = outcome.row
    if row.attempts + 1 >= ATTEMPTS:
        queue.dead([row], outcome.error, outcome.status)
        return
    wait = max(queue.spread(WAITS[row.attempts]), dt.timedelta(seconds=outcome.wait))
    queue.again([row], timezone.now() + wait, outcome.error, outcome.status)
