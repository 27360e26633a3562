"""What is left: GPU pools with reservations, and the ledger of tokens with its roll-ups."""

from django.db import models
from django.db.models import F, Q

from catalog.models import HardwareProfile
from portal.states import arrows
from projects.models import Project, slug_validator


class GiveBackRule(models.TextChoices):
    """Which endpoints of a borrower are asked back, and suspended after the grace, when who lent it needs it."""

    NEVER = "never"
    NOT_PROD = "not-prod"
    ANY = "any"


class Pool(models.Model):
    """Accelerators that are shared. `limit` is configuration, `observed` what nodes report.

    `held` moves only by one conditional UPDATE (quotas/services.py).
    """

    slug = models.CharField(max_length=40, unique=True, validators=[slug_validator])
    name = models.CharField(max_length=80)
    cluster = models.CharField(max_length=40)  # slug of an endpoints.Cluster: a reference upwards, so no foreign key
    profiles = models.ManyToManyField(HardwareProfile, related_name="pools")
    limit = models.PositiveIntegerField()
    observed = models.PositiveIntegerField()
    held = models.PositiveIntegerField(default=0)
    simulated = models.BooleanField(default=False)
    # Whether `observed` follows the nodes of its cluster. False: it stays as configured, where nodes come when asked.
    from_nodes = models.BooleanField(default=True, db_default=True)
    observed_at = models.DateTimeField(null=True)  # when nodes said so last; None = no node was ever one of this pool
    # What may be asked back of who borrowed it, and how long its people have.
    give_back = models.CharField(
        max_length=8, choices=GiveBackRule.choices, default=GiveBackRule.NOT_PROD, db_default=GiveBackRule.NOT_PROD
    )
    grace_hours = models.PositiveSmallIntegerField(default=24, db_default=24)

    class Meta:
        ordering = ["slug"]
        constraints = [
            models.CheckConstraint(condition=Q(held__gte=0) & Q(held__lte=F("limit")), name="pool_never_oversubscribed")
        ]

    def __str__(self) -> str:
        return self.slug


class ReservationState(models.TextChoices):
    """A place in the pool, or in its queue."""

    WAITING = "waiting"
    HELD = "held"
    RELEASED = "released"


class Reservation(models.Model):
    """`amount` accelerators for one holder: (kind, id) of something above, without a foreign key."""

    ARROWS = {
        "state": arrows(
            {
                ReservationState.WAITING: {ReservationState.HELD, ReservationState.RELEASED},
                ReservationState.HELD: {ReservationState.RELEASED},
            }
        )
    }

    pool = models.ForeignKey(Pool, on_delete=models.PROTECT, related_name="reservations")
    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="+")
    amount = models.PositiveIntegerField()
    state = models.CharField(max_length=8, choices=ReservationState.choices, default=ReservationState.WAITING)
    holder_kind = models.CharField(max_length=20)
    holder_id = models.CharField(max_length=64)
    created_at = models.DateTimeField(auto_now_add=True)
    held_at = models.DateTimeField(null=True)
    released_at = models.DateTimeField(null=True)
    # list price of one accelerator when it was reserved, for the cost of what was held; None = not priced
    price_per_hour = models.DecimalField(max_digits=12, decimal_places=4, null=True)
    currency = models.CharField(max_length=3, blank=True, db_default="", default="")

    class Meta:
        ordering = ["id"]  # the queue's order: first come, first served
        constraints = [
            models.UniqueConstraint(
                fields=["holder_kind", "holder_id"],
                condition=~Q(state=ReservationState.RELEASED),
                name="one_living_reservation_per_holder",
            ),
            models.CheckConstraint(condition=Q(amount__gt=0), name="reservation_amount_positive"),
        ]
        indexes = [
            models.Index(fields=["pool", "state", "id"], name="reservation_queue"),
            models.Index(fields=["pool", "project", "held_at"], name="reservation_last_held"),  # since when one waits
        ]

    def __str__(self) -> str:
        return f"{self.amount} in {self.pool_id} for {self.holder_kind}:{self.holder_id}"


class Share(models.Model):
    """What of a pool is a project's own (quotas/fairness.py). A project without a row has weight 1."""

    pool = models.ForeignKey(Pool, on_delete=models.CASCADE, related_name="shares")
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="+")
    weight = models.PositiveSmallIntegerField(default=1)  # 0: nothing is its own, it only borrows
    nominal = models.PositiveIntegerField(null=True)  # accelerators; None = by weight of what nobody has in numbers
    borrowing_limit = models.PositiveIntegerField(
        null=True
    )  # accelerators beyond its share; None = as many as are idle

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["pool", "project"], name="one_share_per_project")]

    def __str__(self) -> str:
        return f"share of {self.project_id} in {self.pool_id}"


class GiveBack(models.Model):
    """Borrowed accelerators that are asked back: of a held reservation, for a waiting one, until `due_at`."""

    reservation = models.ForeignKey(Reservation, on_delete=models.CASCADE, related_name="give_backs")
    wanted_by = models.ForeignKey(Reservation, on_delete=models.CASCADE, related_name="+")
    asked_at = models.DateTimeField(auto_now_add=True)
    due_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    outcome = models.CharField(max_length=10, blank=True, default="")  # given | withdrawn | suspended

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                fields=["reservation"], condition=Q(ended_at=None), name="one_open_give_back_per_reservation"
            )
        ]

    def __str__(self) -> str:
        return f"give back {self.reservation_id} for {self.wanted_by_id}"


class NodeCondition(models.TextChoices):
    """Whether a node takes pods."""

    READY = "ready"
    CORDONED = "cordoned", "takes no new pods"  # spec.unschedulable
    LOST = "lost", "not ready"
    GONE = "gone", "no longer there"


class Node(models.Model):
    """One kind of accelerator of one node, as its cluster said last, with the pods that hold some of it."""

    cluster = models.CharField(max_length=40)  # slug of an endpoints.Cluster: a reference upwards, so no foreign key
    name = models.CharField(max_length=253)
    resource = models.CharField(max_length=317)  # nvidia.com/gpu, nvidia.com/mig-1g.10gb, amd.com/gpu, …
    product = models.CharField(max_length=80, blank=True)  # nvidia.com/gpu.product, or what the vendor calls it
    memory_mib = models.PositiveIntegerField(null=True)  # of one accelerator, where the node says it
    capacity = models.PositiveIntegerField()
    allocatable = models.PositiveIntegerField()  # without those that are unhealthy
    labels = models.JSONField(default=dict)  # those by which hardware profiles choose nodes
    condition = models.CharField(max_length=8, choices=NodeCondition.choices)
    since = models.DateTimeField()  # in this condition
    pods = models.JSONField(default=list)  # [{namespace, name, amount, endpoint, since}], the oldest first

    class Meta:
        ordering = ["cluster", "name", "resource"]
        constraints = [models.UniqueConstraint(fields=["cluster", "name", "resource"], name="one_row_per_node")]

    def __str__(self) -> str:
        return f"{self.name} {self.resource}"


class Survey(models.Model):
    """When the nodes of a cluster were looked at, and by whom they are now."""

    cluster = models.CharField(max_length=40, primary_key=True)
    claimed_until = models.DateTimeField(null=True)
    seen_at = models.DateTimeField(null=True)  # the last time that all of it was read
    tried_at = models.DateTimeField(null=True)
    seconds = models.FloatField(default=0)  # that it took
    problem = models.CharField(max_length=500, blank=True, default="")  # why the last look failed

    def __str__(self) -> str:
        return f"survey of {self.cluster}"


class Outcome(models.TextChoices):
    """How a call ended."""

    OK = "ok"
    ERROR = "error"
    CANCELLED = "cancelled"  # the client went away
    INTERRUPTED = "interrupted"  # the gateway died: tokens are estimated


class UsageEvent(models.Model):
    """The ledger: one row per call, exactly once by (gateway, sequence)."""

    gateway = models.CharField(max_length=40)
    sequence = models.BigIntegerField()
    request_id = models.CharField(max_length=64)
    at = models.DateTimeField()  # when the call arrived
    project_id = models.BigIntegerField()
    endpoint_id = models.CharField(max_length=36)
    endpoint = models.CharField(max_length=63)  # its name at that time
    key_id = models.CharField(max_length=36)
    key = models.CharField(max_length=16)  # its prefix
    person = models.CharField(max_length=150)  # user name of the key's person
    purpose = models.CharField(max_length=12, default="api")  # api | playground
    operation = models.CharField(max_length=20)  # chat | completions | embeddings | responses
    status = models.PositiveSmallIntegerField()
    outcome = models.CharField(max_length=12, choices=Outcome.choices)
    stream = models.BooleanField(default=False)
    input_tokens = models.PositiveIntegerField(default=0)
    output_tokens = models.PositiveIntegerField(default=0)
    cached_tokens = models.PositiveIntegerField(default=0)
    estimated = models.BooleanField(default=False)
    ttft_ms = models.FloatField(null=True)
    latency_ms = models.FloatField(null=True)
    revision = models.PositiveIntegerField(null=True)  # of the endpoint, that answered; none: no engine, or unknown

    class Meta:
        constraints = [models.UniqueConstraint(fields=["gateway", "sequence"], name="usage_exactly_once")]
        indexes = [
            models.Index(fields=["project_id", "at"], name="usage_project_at"),
            models.Index(fields=["endpoint_id", "at"], name="usage_endpoint_at"),
            models.Index(fields=["at"], name="usage_at"),
        ]

    def __str__(self) -> str:
        return f"{self.gateway}/{self.sequence}"


class RollUp(models.Model):
    """Sums of a period, for one project, endpoint, key and person.

    Histograms map a bucket number to a count (quotas/histogram.py).
    """

    start = models.DateTimeField()
    project_id = models.BigIntegerField()
    endpoint_id = models.CharField(max_length=36)
    endpoint = models.CharField(max_length=63)
    key_id = models.CharField(max_length=36)
    key = models.CharField(max_length=16)
    person = models.CharField(max_length=150)
    requests = models.BigIntegerField(default=0)
    errors = models.BigIntegerField(default=0)
    input_tokens = models.BigIntegerField(default=0)
    output_tokens = models.BigIntegerField(default=0)
    cached_tokens = models.BigIntegerField(default=0)
    ttft = models.JSONField(default=dict)
    latency = models.JSONField(default=dict)

    class Meta:
        abstract = True


class UsageHour(RollUp):
    """Usage by hour, UTC: for charts of the last days."""

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project_id", "start", "endpoint_id", "key_id"], name="one_usage_hour")
        ]
        indexes = [
            models.Index(fields=["start"], name="usage_hour_start"),
            models.Index(fields=["endpoint_id", "start"], name="usage_hour_endpoint"),  # the last day of some endpoints
        ]

    def __str__(self) -> str:
        return f"{self.endpoint} {self.start:%Y-%m-%d %H:%M}"


class UsageDay(RollUp):
    """Usage by day, UTC: for months and invoices."""

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project_id", "start", "endpoint_id", "key_id"], name="one_usage_day")
        ]
        indexes = [
            models.Index(fields=["start"], name="usage_day_start"),
            models.Index(fields=["endpoint_id", "start"], name="usage_day_endpoint"),  # what an endpoint's quota counts
        ]

    def __str__(self) -> str:
        return f"{self.endpoint} {self.start:%Y-%m-%d %H:%M}"


class JournalOffset(models.Model):
    """How far a gateway's journal has been read into the ledger; moves in the transaction that writes the events."""

    gateway = models.CharField(max_length=40, primary_key=True)
    offset = models.BigIntegerField(default=0)
    finished = models.BooleanField(default=False)
    corrupt = models.PositiveIntegerField(default=0)  # lines that could not be read
    updated_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return f"{self.gateway}@{self.offset}"


class QuotaKind(models.TextChoices):
    """What is limited."""

    GPUS = "gpus", "GPUs"
    TOKENS = "tokens"


class QuotaTarget(models.TextChoices):
    """Whose use is limited, within a project."""

    PROJECT = "project"
    ENDPOINT = "endpoint"
    KEY = "key"


class Window(models.TextChoices):
    """Over which time tokens are counted, UTC."""

    DAY = "day"
    MONTH = "month"


class Quota(models.Model):
    """How much a project, one of its endpoints or one of its keys may use: `soft` warns, `hard` refuses.

    GPUs are held, not used up: they have no window and no soft limit.
    """

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="quotas")
    kind = models.CharField(max_length=8, choices=QuotaKind.choices)
    target_kind = models.CharField(max_length=8, choices=QuotaTarget.choices, default=QuotaTarget.PROJECT)
    target_id = models.CharField(max_length=36, blank=True)  # of the endpoint or key; a reference without foreign key
    window = models.CharField(max_length=5, choices=Window.choices, blank=True)
    soft = models.BigIntegerField(null=True)
    hard = models.BigIntegerField(null=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["project_id", "kind", "target_kind", "target_id", "window"]
        constraints = [
            models.UniqueConstraint(
                fields=["project", "kind", "target_kind", "target_id", "window"], name="one_quota_per_target"
            ),
            models.CheckConstraint(
                condition=(Q(soft__isnull=True) | Q(soft__gte=0)) & (Q(hard__isnull=True) | Q(hard__gte=0)),
                name="quota_not_negative",
            ),
            models.CheckConstraint(
                condition=Q(kind=QuotaKind.TOKENS, window__in=Window.values)
                | Q(kind=QuotaKind.GPUS, window="", target_kind=QuotaTarget.PROJECT, soft__isnull=True),
                name="quota_shape",
            ),
        ]
        indexes = [models.Index(fields=["target_kind", "target_id"], name="quota_target")]

    def __str__(self) -> str:
        return f"{self.kind} of {self.target_kind} {self.target_id or self.project_id}"


class QuotaRaise(models.Model):
    """A raise that was granted until a day; while it lasts the larger number counts, afterwards the quota does."""

    quota = models.ForeignKey(Quota, on_delete=models.CASCADE, related_name="raises")
    soft = models.BigIntegerField(null=True)
    hard = models.BigIntegerField(null=True)
    ends_on = models.DateField()  # last day, UTC
    reference = models.CharField(max_length=64)  # under which it was granted, for example R-12: opaque here
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.quota_id} until {self.ends_on}"


class QuotaAlert(models.Model):
    """A threshold that was crossed in a window: told once. `threshold` is a percentage; 0: will not last; 1: the number
    that warns was passed (quotas/alerts.py).
    """

    quota = models.ForeignKey(Quota, on_delete=models.CASCADE, related_name="alerts")
    window_start = models.DateTimeField()
    threshold = models.PositiveSmallIntegerField()
    used = models.BigIntegerField()
    limit = models.BigIntegerField()
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["quota", "window_start", "threshold"], name="one_alert_per_threshold")
        ]

    def __str__(self) -> str:
        return f"{self.threshold} % of quota {self.quota_id}"
