"""What a canary did with its calls beside what runs: the numbers from which an owner decides."""

import datetime as dt
from dataclasses import dataclass

from django.db.models import Count, Min, Q
from django.utils import timezone

from endpoints.models import Endpoint
from quotas import histogram
from quotas.models import Outcome, UsageEvent

DAY = dt.timedelta(days=1)
MOST = 10_000  # calls whose times are looked at, the newest
FAILED = (Outcome.ERROR, Outcome.INTERRUPTED)


@dataclass(frozen=True)
class Trial:
    """The calls of one revision: `ttft_p50` and `ttft_p95` in milliseconds, None where no answer was streamed."""

    revision: int
    percent: int  # of the calls that it is to get
    requests: int = 0
    errors: int = 0
    ttft_p50: float | None = None
    ttft_p95: float | None = None

    @property
    def error_percent(self) -> float | None:
        """How many of its calls failed, None without calls."""
        return 100 * self.errors / self.requests if self.requests else None


def compared(row: Endpoint) -> tuple[dt.datetime | None, list[Trial]]:
    """Return what runs and its canary, with their calls since the first one of the canary, at most of a day, and since
    when; both empty without a canary (three queries). Calls are in the ledger some seconds after they end.
    """
    if row.canary_percent is None or row.revision is None or row.next_revision is None:
        return None, []
    numbers = (row.revision.number, row.next_revision.number)
    calls = UsageEvent.objects.filter(endpoint_id=str(row.pk), at__gt=timezone.now() - DAY, revision__in=numbers)
    since = calls.filter(revision=numbers[1]).aggregate(first=Min("at"))["first"]
    counts: dict[int, tuple[int, int]] = {}
    times: dict[int, histogram.Histogram] = {number: {} for number in numbers}
    if since is not None:
        calls = calls.filter(at__gte=since)
        sums = calls.values("revision").annotate(all=Count("pk"), bad=Count("pk", filter=Q(outcome__in=FAILED)))
        counts = {one["revision"] or 0: (one["all"], one["bad"]) for one in sums.order_by()}
        streamed = calls.filter(ttft_ms__isnull=False).order_by("-at").values_list("revision", "ttft_ms")
        for number, value in streamed[:MOST]:
            if number is not None and value is not None:
                histogram.add(times[number], value)
    shares = (100 - row.canary_percent, row.canary_percent)
    return since, [
        Trial(
            number, share, *counts.get(number, (0, 0)),
            histogram.percentile(times[number], 0.5), histogram.percentile(times[number], 0.95),
        )
        for number, share in zip(numbers, shares, strict=True)
    ]  # fmt: skip
