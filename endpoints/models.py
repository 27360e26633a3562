"""The running thing. Three facts: `desired` (what is wanted), `phase` (what is observed), `reason` (why, and whose
turn it is).
"""

import uuid
from typing import Any

from django.db import models
from django.db.models import Q, QuerySet

from catalog.models import HardwareProfile, Version
from portal.http import digest
from portal.states import arrows
from projects.models import Project, User, slug_validator


class Authentication(models.TextChoices):
    """How the portal shows a cluster who it is."""

    IN_CLUSTER = "in_cluster", "As the ServiceAccount of the portal's own pods"
    TOKEN = "token", "By a token"
    CERTIFICATE = "certificate", "By a client certificate"


class _Registered(models.Manager["Cluster"]):
    """Without the clusters that were removed."""

    def get_queryset(self) -> QuerySet["Cluster"]:
        return super().get_queryset().filter(removed_at=None)


class Cluster(models.Model):
    """A place where endpoints run, driven by one cluster driver."""

    slug = models.CharField(max_length=40, unique=True, validators=[slug_validator])
    name = models.CharField(max_length=80)
    driver = models.CharField(max_length=20)  # a key of settings.CLUSTER_DRIVERS
    environments = models.JSONField(default=list)  # which of dev, staging, prod it serves
    simulated = models.BooleanField(default=False)
    removed_at = models.DateTimeField(null=True)  # endpoints of the past still name it; its credential is gone

    # How the portal gets in: nothing of this for `local`.
    server = models.CharField(max_length=500, blank=True, default="", db_default="")  # https:// address of its API
    ca = models.TextField(blank=True, default="", db_default="")  # PEM; "" = the authorities that this machine trusts
    authentication = models.CharField(
        max_length=12, choices=Authentication.choices, blank=True, default="", db_default=""
    )
    credential = models.TextField(blank=True, default="", db_default="")  # encrypted; endpoints/credentials.py opens it
    credential_since = models.DateTimeField(null=True)
    credential_ends = models.DateTimeField(null=True)  # what token or certificate say of themselves; None = nothing
    options = models.JSONField(default=dict, db_default=models.Value({}, models.JSONField()))
    # The Git repository of the driver `gitops`; its key or token is kept with the credential.
    repository = models.CharField(max_length=500, blank=True, default="", db_default="")
    repository_ca = models.TextField(blank=True, default="", db_default="")  # PEM
    known_hosts = models.TextField(blank=True, default="", db_default="")  # host keys of an SSH server

    # What was seen of it.
    last_seen_at = models.DateTimeField(null=True)  # the last time that its API answered
    version = models.CharField(max_length=40, blank=True, default="", db_default="")
    problem_code = models.CharField(max_length=40, blank=True, default="", db_default="")
    problem_sentence = models.CharField(max_length=500, blank=True, default="", db_default="")
    checks = models.JSONField(default=list, db_default=models.Value([], models.JSONField()))  # of the last test
    checked_at = models.DateTimeField(null=True)
    asked_at = models.DateTimeField(null=True)  # somebody wants a test, and none was made since

    # Maintenance: it is watched, and nothing is started or stopped there.
    paused = models.BooleanField(default=False)
    paused_reason = models.CharField(max_length=300, blank=True, default="", db_default="")
    paused_by = models.CharField(max_length=150, blank=True, default="", db_default="")
    paused_since = models.DateTimeField(null=True)
    adopts = models.BooleanField(default=False, db_default=False)  # an endpoint here has adopted what ran before it
    # What it does by itself with what was not approved: off, audit (record), enforce (refuse).
    admission = models.CharField(max_length=8, default="off", db_default="off")

    objects = _Registered()
    known = models.Manager["Cluster"]()  # those that were removed, too

    class Meta:
        ordering = ["slug"]

    def __str__(self) -> str:
        return self.slug


class Watch(models.Model):
    """How a cluster is looked at: which watcher process follows it, and when the sweep compared all of it."""

    cluster = models.OneToOneField(Cluster, primary_key=True, on_delete=models.CASCADE, related_name="watch")

    # A lease, renewed by its holder; written by watchers alone.
    holder = models.CharField(max_length=64, blank=True, default="", db_default="")
    until = models.DateTimeField(null=True)
    live_since = models.DateTimeField(null=True)  # all streams are open since then; None = some are not
    sign_at = models.DateTimeField(null=True)  # when every stream had said something last
    problem = models.CharField(max_length=500, blank=True, default="", db_default="")  # why a stream is not open

    # The sweep's own: `looking_until` is a claim, `looked_at` the end of the last whole comparison.
    looking_until = models.DateTimeField(null=True)
    looked_at = models.DateTimeField(null=True)  # None = wanted now
    look_seconds = models.FloatField(default=0, db_default=0)  # that it took
    look_failures = models.PositiveSmallIntegerField(default=0, db_default=0)  # in a row

    def __str__(self) -> str:
        return f"watch of {self.cluster_id}"


class Desired(models.TextChoices):
    """What is wanted."""

    RUNNING = "running"
    SUSPENDED = "suspended"
    DELETED = "deleted"


class Phase(models.TextChoices):
    """What is observed."""

    PENDING = "pending"
    PROVISIONING = "provisioning"
    READY = "ready"
    DEGRADED = "degraded"
    FAILED = "failed"
    SUSPENDED = "suspended"
    DELETING = "deleting"
    DELETED = "deleted"


LIVE = {Phase.PENDING, Phase.PROVISIONING, Phase.READY, Phase.DEGRADED, Phase.FAILED, Phase.SUSPENDED, Phase.DELETING}


class Environment(models.TextChoices):
    """Where in its life a use stands."""

    DEV = "dev"
    STAGING = "staging"
    PROD = "prod"


class Endpoint(models.Model):
    """A named, addressable deployment of a catalog version in a project. The row is the queue: workers only make it
    true.
    """

    ARROWS = {
        "desired": arrows(
            {
                Desired.RUNNING: {Desired.SUSPENDED, Desired.DELETED},
                Desired.SUSPENDED: {Desired.RUNNING, Desired.DELETED},
            }
        ),
        "phase": arrows(
            {
                Phase.PENDING: LIVE - {Phase.PENDING} | {Phase.DELETED},
                Phase.PROVISIONING: LIVE - {Phase.PROVISIONING} | {Phase.DELETED},
                Phase.READY: LIVE - {Phase.READY} | {Phase.DELETED},
                Phase.DEGRADED: LIVE - {Phase.DEGRADED} | {Phase.DELETED},
                Phase.FAILED: LIVE - {Phase.FAILED} | {Phase.DELETED},
                Phase.SUSPENDED: LIVE - {Phase.SUSPENDED} | {Phase.DELETED},
                Phase.DELETING: {Phase.DELETED},
            }
        ),
    }

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="endpoints")
    name = models.CharField(max_length=40, validators=[slug_validator])
    environment = models.CharField(max_length=8, choices=Environment.choices)
    cluster = models.ForeignKey(Cluster, on_delete=models.PROTECT, related_name="endpoints")
    purpose = models.TextField(blank=True)
    data_classification = models.CharField(max_length=16, blank=True)
    created_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    contact = models.ForeignKey(  # the person who is asked and reminded; changes by transfer
        User, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    ends_on = models.DateField(null=True)
    shareable = models.BooleanField(default=False, db_default=False)  # whether other projects may ask to call it
    # replicas wanted now, at most those of the revision, which are what was approved; None = all of them
    scale = models.PositiveSmallIntegerField(null=True)

    desired = models.CharField(max_length=10, choices=Desired.choices, default=Desired.RUNNING)
    phase = models.CharField(max_length=14, choices=Phase.choices, default=Phase.PENDING)
    reason_code = models.CharField(max_length=40, default="accepted")
    reason_sentence = models.CharField(max_length=500, default="The request is approved; a worker picks it up now.")
    reason_turn = models.CharField(max_length=20, default="portal")  # portal | platform | owner | nobody
    # parts of the sentence, where the cluster explains itself: what it has tried, and what is to be done
    reason_tried = models.CharField(max_length=200, blank=True, default="", db_default="")
    reason_next = models.CharField(max_length=500, blank=True, default="", db_default="")
    # revision → its steps with begin and end as the cluster tells them; endpoints/telling.py writes and reads it
    progress = models.JSONField(default=dict, db_default=models.Value({}, models.JSONField()))
    # a hold blocks resume; only its setter's service clears it
    hold_reason = models.CharField(max_length=300, blank=True)
    hold_by = models.CharField(max_length=80, blank=True)
    hold_since = models.DateTimeField(null=True)
    # the hold suspended what ran, so lifting the hold runs it again
    hold_resumes = models.BooleanField(default=False, db_default=False)
    suspend_at = models.DateTimeField(null=True)  # its version is blocked, and it may go on until then
    reminded_days = models.PositiveSmallIntegerField(null=True)  # days before ends_on of the last reminder; None = none

    # What answers calls. A rollout has one of two more: `next_revision` is brought up beside it and takes over when
    # it is ready; `fallback` ran before, had to make room for it, and runs again when it fails.
    revision = models.ForeignKey("Revision", null=True, on_delete=models.PROTECT, related_name="+")
    next_revision = models.ForeignKey("Revision", null=True, on_delete=models.PROTECT, related_name="+")
    fallback = models.ForeignKey("Revision", null=True, on_delete=models.PROTECT, related_name="+")
    fallback_scale = models.PositiveSmallIntegerField(null=True)  # what `scale` was while it ran
    next_beside = models.BooleanField(default=True, db_default=True)  # False: `next_revision` waits to take the place
    next_attempts = models.PositiveSmallIntegerField(default=0, db_default=0)  # starts of `next_revision`
    # per cent of the calls that `next_revision` gets once it is ready; none: all of them, it takes over
    canary_percent = models.PositiveSmallIntegerField(null=True)
    # what stays true beside the reason until the next rollout: the last one failed, and why
    remark = models.CharField(max_length=300, blank=True, db_default="", default="")
    # engines that get no calls any more finish those they have until then
    drain_until = models.DateTimeField(null=True)
    upstreams = models.JSONField(default=list)  # [{"url", "key" (encrypted)}]: where the gateway sends calls
    ready_at = models.DateTimeField(null=True)  # first time, for the lead time
    phase_since = models.DateTimeField(auto_now_add=True)
    deleted_at = models.DateTimeField(null=True)  # when phase became deleted; the name stays reserved for 30 days

    # Work on the row: a claim is a lease renewed by its holder, `due_at` is when it wants attention next.
    claimed_by = models.CharField(max_length=64, blank=True)
    claimed_until = models.DateTimeField(null=True)
    due_at = models.DateTimeField(null=True, db_index=True)
    # starts since the last time it was ready or was retried by hand
    attempts = models.PositiveSmallIntegerField(default=0)
    # what was approved is to be written into the cluster again: since when, and who wants it ("": the portal)
    rewrite_at = models.DateTimeField(null=True)
    rewrite_by = models.CharField(max_length=150, blank=True, default="", db_default="")
    # the endpoint of the environment before, whose settings it got
    promoted_from = models.ForeignKey("self", null=True, on_delete=models.SET_NULL, related_name="promoted")

    class Meta:
        ordering = ["project_id", "name"]
        constraints = [
            models.UniqueConstraint(
                fields=["project", "name"], condition=~Q(phase=Phase.DELETED), name="one_living_endpoint_per_name"
            )
        ]
        indexes = [
            models.Index(fields=["project", "phase"], name="endpoint_project_phase"),
            models.Index(fields=["name"], name="endpoint_name"),  # the order of the list, of all and of one state
            models.Index(fields=["phase", "name"], name="endpoint_phase_name"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def wanted_replicas(self) -> int:
        """Replicas wanted now: `scale`, at most what was approved; 0 without a revision."""
        approved = self.revision.replicas if self.revision else 0
        return min(self.scale or approved, approved)

    @property
    def rolling_out(self) -> bool:
        """Whether a revision is on its way, and has not worked yet."""
        return self.next_revision_id is not None or self.fallback_id is not None


class RevisionOutcome(models.TextChoices):
    """What became of a revision: only one that worked is returned to by itself."""

    UNTRIED = "untried", "not ready yet"
    WORKED = "worked"
    FAILED = "failed"
    CANCELLED = "cancelled"  # taken back before it was ready


class Revision(models.Model):
    """What exactly runs, with the authorization it was approved under: `endpoints` stores, labels and compares it,
    and never resolves it.
    """

    endpoint = models.ForeignKey(Endpoint, on_delete=models.CASCADE, related_name="revisions")
    number = models.PositiveIntegerField()
    version = models.ForeignKey(Version, on_delete=models.PROTECT, related_name="revisions")
    profile = models.ForeignKey(HardwareProfile, on_delete=models.PROTECT, related_name="revisions")
    replicas = models.PositiveSmallIntegerField()
    concurrency = models.PositiveIntegerField()
    context_tokens = models.PositiveIntegerField()
    runtime = models.JSONField(default=dict)  # copy of the version's runtime at approval
    authorization_reference = models.CharField(max_length=64)
    authorization_digest = models.CharField(max_length=80)
    authorization_valid_until = models.DateField(null=True)
    seal = models.CharField(max_length=80, db_default="", default="")  # digest of what was approved, made with the row
    # an object that ran before the portal came and that this revision is: {api, kind, namespace, name, uid, port,
    # container, served}; empty: the portal writes its own
    adopted = models.JSONField(default=dict, db_default=models.Value({}, models.JSONField()))
    created_at = models.DateTimeField(auto_now_add=True)
    outcome = models.CharField(
        max_length=9,
        choices=RevisionOutcome.choices,
        default=RevisionOutcome.UNTRIED,
        db_default=RevisionOutcome.UNTRIED,
    )
    outcome_sentence = models.CharField(max_length=500, blank=True, db_default="", default="")  # why it failed

    class Meta:
        ordering = ["-number"]
        constraints = [models.UniqueConstraint(fields=["endpoint", "number"], name="one_revision_per_number")]

    def __str__(self) -> str:
        return f"{self.endpoint_id}#{self.number}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Seal a new row: whoever changes what was approved afterwards is found out before it is started."""
        self.seal = self.seal or (self.digest() if self._state.adding else "")
        super().save(*args, **kwargs)

    def digest(self) -> str:
        """Return the digest of what was approved to run, and by which approval (its end may be moved by a renewal)."""
        names = ("version_id", "profile_id", "replicas", "concurrency", "context_tokens", "runtime",
                 "authorization_reference", "authorization_digest")  # fmt: skip
        own = {"adopted": self.adopted} if self.adopted else {}
        return digest({"endpoint": str(self.endpoint_id), **{name: getattr(self, name) for name in names}, **own})


class Served(models.Model):
    """A time in which a revision answered calls: endpoints/serving.py writes it, the production history reads it."""

    endpoint = models.ForeignKey(Endpoint, on_delete=models.CASCADE, related_name="served")
    revision = models.ForeignKey(Revision, on_delete=models.CASCADE, related_name="served")
    since = models.DateTimeField()
    until = models.DateTimeField(null=True)  # none: it answers now

    class Meta:
        ordering = ["-since", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["endpoint"], condition=Q(until__isnull=True), name="one_revision_answers_at_a_time"
            )
        ]
        indexes = [models.Index(fields=["endpoint", "since"], name="served_endpoint")]

    def __str__(self) -> str:
        return f"{self.revision_id} since {self.since}"


class Share(models.Model):
    """Another project that may call an endpoint with keys of its own, as `<project>/<endpoint>`."""

    endpoint = models.ForeignKey(Endpoint, on_delete=models.CASCADE, related_name="shares")
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="shares")
    ends_on = models.DateField(null=True)  # last day, UTC
    reason = models.CharField(max_length=500, blank=True)
    granted_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    authorization_reference = models.CharField(max_length=64)  # opaque here, as of a revision
    created_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["project_id", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["endpoint", "project"], condition=Q(ended_at__isnull=True), name="one_living_share"
            )
        ]
        indexes = [models.Index(fields=["project", "ended_at"], name="share_project")]

    def __str__(self) -> str:
        return f"{self.endpoint_id} for {self.project_id}"


class Event(models.Model):
    """What happened to an endpoint, for its timeline."""

    endpoint = models.ForeignKey(Endpoint, on_delete=models.CASCADE, related_name="events")
    at = models.DateTimeField(auto_now_add=True)
    code = models.CharField(max_length=40)
    phase = models.CharField(max_length=14, choices=Phase.choices)
    sentence = models.CharField(max_length=500)

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["endpoint", "-id"], name="event_endpoint")]

    def __str__(self) -> str:
        return self.sentence


class EngineCount(models.Model):
    """What the engine itself counted, summed over restarts: stands beside the gateway's count."""

    endpoint = models.ForeignKey(Endpoint, on_delete=models.CASCADE, related_name="engine_counts")
    instance = models.CharField(max_length=80)  # replica index and identity of the process
    at = models.DateTimeField()
    prompt_tokens = models.BigIntegerField(default=0)
    generation_tokens = models.BigIntegerField(default=0)
    cached_tokens = models.BigIntegerField(default=0)
    requests = models.BigIntegerField(default=0)
    running = models.FloatField(default=0)
    waiting = models.FloatField(default=0)
    kv_cache_usage = models.FloatField(null=True)
    ttft_sum = models.FloatField(default=0)
    ttft_count = models.BigIntegerField(default=0)
    error = models.CharField(max_length=200, blank=True)  # why the last scrape failed

    class Meta:
        constraints = [models.UniqueConstraint(fields=["endpoint", "instance"], name="one_count_per_instance")]

    def __str__(self) -> str:
        return f"{self.endpoint_id} {self.instance}"


class Alert(models.Model):
    """What a monitoring system says is wrong with an endpoint: one row per fingerprint, until it says otherwise."""

    endpoint = models.ForeignKey(Endpoint, on_delete=models.CASCADE, related_name="alerts")
    fingerprint = models.CharField(max_length=64)
    name = models.CharField(max_length=120)
    severity = models.CharField(max_length=20, blank=True)
    summary = models.CharField(max_length=500, blank=True)
    runbook_url = models.CharField(max_length=500, blank=True)
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField(null=True)  # none: it fires
    told_at = models.DateTimeField()  # when the monitoring system last said so

    class Meta:
        ordering = ["-starts_at", "-id"]
        constraints = [models.UniqueConstraint(fields=["endpoint", "fingerprint"], name="one_alert_per_fingerprint")]
        indexes = [models.Index(fields=["endpoint", "ends_at"], name="alert_endpoint")]

    def __str__(self) -> str:
        return self.name


# Models of packages of this app, so that Django finds them.
from endpoints.differences.models import DriftLook, LiveDifference  # noqa: E402, F401
from endpoints.rogue.models import Mapped, Proposal, RogueScan, RogueWorkload  # noqa: E402, F401
