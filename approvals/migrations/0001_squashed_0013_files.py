"""None"""

import approvals.models.requests
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    replaces = [
        ("approvals", "0001_initial"),
        ("approvals", "0002_initial"),
        ("approvals", "0003_living"),
        ("approvals", "0004_one_open_request"),
        ("approvals", "0005_request_waiting"),
        ("approvals", "0006_authorization"),
        ("approvals", "0007_mcp_access"),
        ("approvals", "0008_version_of_a_draft"),
        ("approvals", "0009_evidence_decides"),
        ("approvals", "0010_waivers_between_people"),
        ("approvals", "0011_clock"),
        ("approvals", "0012_stages"),
        ("approvals", "0013_files"),
    ]

    initial = True

    dependencies = [
        ("catalog", "0001_squashed_0009_mcpregistry"),
        ("endpoints", "0001_squashed_0009_alerts"),
        ("projects", "0001_initial"),
        ("projects", "__first__"),
    ]

    operations = [
        migrations.CreateModel(
            name="Bundle",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("digest", models.CharField(max_length=80, unique=True)),
                ("name", models.CharField(max_length=80)),
                ("files", models.JSONField(default=dict)),
                ("rules", models.PositiveSmallIntegerField(default=0)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
        ),
        migrations.CreateModel(
            name="AccessReview",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=80)),
                (
                    "state",
                    models.CharField(choices=[("open", "Open"), ("closed", "Closed")], default="open", max_length=6),
                ),
                ("due_on", models.DateField()),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("closed_at", models.DateTimeField(null=True)),
                ("reminded_on", models.DateField(null=True)),
                (
                    "created_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "project",
                    models.ForeignKey(
                        null=True, on_delete=django.db.models.deletion.CASCADE, related_name="+", to="projects.project"
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
            },
        ),
        migrations.CreateModel(
            name="Calendar",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("zone", models.CharField(default="UTC", max_length=64)),
                ("workdays", models.JSONField(default=list)),
                ("holidays", models.JSONField(default=list)),
                ("changed_at", models.DateTimeField(auto_now=True)),
                (
                    "changed_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="PolicyDraft",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("base", models.CharField(max_length=80)),
                ("files", models.JSONField(default=dict)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                (
                    "owner",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="policy_draft",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Preview",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("files", models.JSONField(default=dict)),
                ("digest", models.CharField(max_length=80)),
                ("against", models.CharField(max_length=80)),
                (
                    "state",
                    models.CharField(
                        choices=[("queued", "Queued"), ("running", "Running"), ("done", "Done"), ("failed", "Failed")],
                        default="queued",
                        max_length=8,
                    ),
                ),
                ("done", models.PositiveIntegerField(default=0)),
                ("total", models.PositiveIntegerField(default=0)),
                ("result", models.JSONField(default=dict)),
                ("sentence", models.CharField(blank=True, max_length=500)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("claimed_until", models.DateTimeField(null=True)),
                (
                    "by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
            },
        ),
        migrations.CreateModel(
            name="Publication",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("number", models.PositiveIntegerField(unique=True)),
                ("version", models.CharField(max_length=20)),
                ("reason", models.CharField(max_length=2000)),
                ("rolled_back", models.BooleanField(default=False)),
                ("at", models.DateTimeField(auto_now_add=True)),
                (
                    "bundle",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="publications", to="approvals.bundle"
                    ),
                ),
                (
                    "by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ["-number"],
            },
        ),
        migrations.CreateModel(
            name="Request",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("endpoint", "Endpoint"),
                            ("admission", "Admission"),
                            ("revision", "Revision"),
                            ("renewal", "Renewal"),
                            ("access", "Access"),
                            ("quota", "Quota"),
                            ("mcp-access", "MCP access"),
                            ("waiver", "Waiver"),
                        ],
                        max_length=12,
                    ),
                ),
                ("name", models.CharField(blank=True, max_length=40)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("draft", "Draft"),
                            ("submitted", "Submitted"),
                            ("changes_requested", "changes requested"),
                            ("approved", "Approved"),
                            ("rejected", "Rejected"),
                            ("withdrawn", "Withdrawn"),
                            ("expired", "Expired"),
                        ],
                        default="draft",
                        max_length=20,
                    ),
                ),
                ("submission", models.PositiveSmallIntegerField(default=0)),
                ("body", models.JSONField(default=dict)),
                (
                    "environment",
                    models.CharField(
                        blank=True, choices=[("dev", "Dev"), ("staging", "Staging"), ("prod", "Prod")], max_length=8
                    ),
                ),
                ("plan", models.JSONField(default=dict)),
                ("plan_digest", models.CharField(blank=True, max_length=80)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                ("submitted_at", models.DateTimeField(null=True)),
                ("triaged_at", models.DateTimeField(null=True)),
                ("decided_at", models.DateTimeField(null=True)),
                ("clock_seconds", models.PositiveIntegerField(db_default=0, default=0)),
                ("clock_since", models.DateTimeField(null=True)),
                ("due_at", models.DateTimeField(null=True)),
                ("alerted_at", models.DateTimeField(null=True)),
                ("first_token_at", models.DateTimeField(null=True)),
                ("waiting_on", models.CharField(blank=True, db_default="", default="", max_length=400)),
                ("answered_by", models.CharField(blank=True, db_default="", default="", max_length=400)),
                (
                    "assignee",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "endpoint",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="requests",
                        to="endpoints.endpoint",
                    ),
                ),
                (
                    "profile",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="requests",
                        to="catalog.hardwareprofile",
                    ),
                ),
                (
                    "project",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="requests",
                        to="projects.project",
                    ),
                ),
                (
                    "requester",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="requests",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "version",
                    models.ForeignKey(
                        null=True,
                        on_delete=approvals.models.requests.kept_once_sent,
                        related_name="requests",
                        to="catalog.version",
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
                "indexes": [
                    models.Index(fields=["state", "submitted_at"], name="request_queue"),
                    models.Index(fields=["project", "-id"], name="request_project"),
                    models.Index(fields=["state", "waiting_on", "requester", "answered_by"], name="request_waiting_on"),
                    models.Index(fields=["state", "due_at"], name="request_due"),
                    models.Index(fields=["state", "decided_at"], name="request_decided"),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("id", "requester"), name="request_requester"),
                    models.CheckConstraint(
                        condition=models.Q(("kind", "admission"), ("project__isnull", False), _connector="OR"),
                        name="request_has_a_project",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("kind__in", ["revision", "renewal", "access"]), ("state", "submitted")),
                        fields=("kind", "endpoint", "project"),
                        name="one_open_request_per_endpoint",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Comment",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("text", models.TextField()),
                ("at", models.DateTimeField(auto_now_add=True)),
                (
                    "author",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
                (
                    "request",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="comments", to="approvals.request"
                    ),
                ),
            ],
            options={
                "ordering": ["id"],
            },
        ),
        migrations.CreateModel(
            name="RequestFile",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=40)),
                ("at", models.DateTimeField(auto_now=True)),
                (
                    "person",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="request_files",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "request",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="files", to="approvals.request"
                    ),
                ),
            ],
            options={
                "ordering": ["name"],
                "constraints": [models.UniqueConstraint(fields=("person", "name"), name="one_request_per_file")],
            },
        ),
        migrations.CreateModel(
            name="Stage",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("submission", models.PositiveSmallIntegerField()),
                ("position", models.PositiveSmallIntegerField()),
                ("rule", models.CharField(max_length=60)),
                ("name", models.CharField(max_length=80)),
                ("reason", models.CharField(blank=True, max_length=300)),
                ("roles", models.JSONField(default=list)),
                ("count", models.PositiveSmallIntegerField(default=1)),
                ("human", models.BooleanField(default=False)),
                (
                    "state",
                    models.CharField(
                        choices=[("waiting", "Waiting"), ("open", "Open"), ("passed", "Passed"), ("closed", "Closed")],
                        default="waiting",
                        max_length=8,
                    ),
                ),
                ("opened_at", models.DateTimeField(null=True)),
                ("closed_at", models.DateTimeField(null=True)),
                ("escalate_after_hours", models.PositiveSmallIntegerField(null=True)),
                ("escalate_to", models.JSONField(default=list)),
                ("escalated_at", models.DateTimeField(null=True)),
                (
                    "request",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="stages", to="approvals.request"
                    ),
                ),
            ],
            options={
                "ordering": ["submission", "position"],
                "indexes": [models.Index(fields=["state", "opened_at"], name="stage_open")],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("request", "submission", "position"), name="one_stage_per_position"
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("state", "open")), fields=("request",), name="one_open_stage_per_request"
                    ),
                    models.UniqueConstraint(fields=("id", "request"), name="stage_request"),
                    models.CheckConstraint(condition=models.Q(("count__gte", 1)), name="a_stage_needs_somebody"),
                ],
            },
        ),
        migrations.CreateModel(
            name="Decision",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("submission", models.PositiveSmallIntegerField()),
                (
                    "decision",
                    models.CharField(
                        choices=[("approve", "Approve"), ("reject", "Reject"), ("request_changes", "request changes")],
                        max_length=16,
                    ),
                ),
                ("reason", models.TextField(blank=True)),
                ("plan_digest", models.CharField(blank=True, max_length=80)),
                ("plan_digest_now", models.CharField(blank=True, max_length=80)),
                ("via", models.CharField(default="session", max_length=20)),
                ("second_factor", models.CharField(blank=True, db_default="", max_length=40)),
                ("rule", models.CharField(blank=True, db_default="", default="", max_length=60)),
                ("bundle_digest", models.CharField(blank=True, db_default="", default="", max_length=80)),
                ("inputs", models.JSONField(db_default=models.Value("{}", models.JSONField()), default=dict)),
                ("verdicts", models.JSONField(db_default=models.Value("[]", models.JSONField()), default=list)),
                ("evidence", models.JSONField(db_default=models.Value("{}", models.JSONField()), default=dict)),
                ("at", models.DateTimeField(auto_now_add=True)),
                (
                    "on_behalf_of",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "requester",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
                (
                    "reviewer",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="decisions",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "request",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="decisions", to="approvals.request"
                    ),
                ),
                (
                    "stage",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="decisions",
                        to="approvals.stage",
                    ),
                ),
            ],
            options={
                "ordering": ["id"],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("request", "reviewer", "submission"), name="one_decision_per_person"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("reviewer", models.F("requester")), _negated=True),
                        name="nobody_decides_an_own_request",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("on_behalf_of__isnull", True),
                            models.Q(("on_behalf_of", models.F("requester")), _negated=True),
                            _connector="OR",
                        ),
                        name="nobody_decides_for_the_requester",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Submission",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("number", models.PositiveSmallIntegerField()),
                ("body", models.JSONField(default=dict)),
                ("plan", models.JSONField(default=dict)),
                ("plan_digest", models.CharField(max_length=80)),
                ("at", models.DateTimeField()),
                ("closed_at", models.DateTimeField(null=True)),
                (
                    "request",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="submissions", to="approvals.request"
                    ),
                ),
            ],
            options={
                "ordering": ["id"],
                "constraints": [models.UniqueConstraint(fields=("request", "number"), name="one_row_per_submission")],
            },
        ),
        migrations.CreateModel(
            name="Verdict",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("submission", models.PositiveSmallIntegerField()),
                ("rule", models.CharField(max_length=60)),
                ("digest", models.CharField(max_length=80)),
                (
                    "mode",
                    models.CharField(choices=[("off", "Off"), ("shadow", "Shadow"), ("live", "Live")], max_length=6),
                ),
                ("approves", models.BooleanField()),
                ("why", models.CharField(max_length=500)),
                ("at", models.DateTimeField(auto_now_add=True)),
                (
                    "reading",
                    models.CharField(
                        choices=[
                            ("none", "None"),
                            ("waiting", "Waiting"),
                            ("confirmed", "Confirmed"),
                            ("objected", "Objected"),
                        ],
                        default="none",
                        max_length=10,
                    ),
                ),
                ("read_at", models.DateTimeField(null=True)),
                ("remark", models.CharField(blank=True, max_length=2000)),
                (
                    "read_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "request",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="verdicts", to="approvals.request"
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
                "indexes": [models.Index(fields=["rule", "digest", "mode"], name="verdict_envelope")],
                "constraints": [
                    models.UniqueConstraint(fields=("request", "submission", "rule"), name="one_verdict_per_envelope")
                ],
            },
        ),
        migrations.CreateModel(
            name="Waiver",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("check_id", models.CharField(max_length=60)),
                ("reason", models.TextField()),
                ("compensating_control", models.TextField()),
                ("ends_on", models.DateField()),
                (
                    "state",
                    models.CharField(
                        choices=[("active", "Active"), ("expired", "Expired"), ("revoked", "Revoked")],
                        default="active",
                        max_length=8,
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("closed_at", models.DateTimeField(null=True)),
                ("reminded_on", models.DateField(null=True)),
                (
                    "approved_by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
                (
                    "asked",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT, related_name="waiver", to="approvals.request"
                    ),
                ),
                (
                    "beneficiary",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "endpoint",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="waivers",
                        to="endpoints.endpoint",
                    ),
                ),
                (
                    "owner",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="waivers_owned",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "project",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="waivers", to="projects.project"
                    ),
                ),
                (
                    "request",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="waivers",
                        to="approvals.request",
                    ),
                ),
                (
                    "requested_by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
                "indexes": [models.Index(fields=["state", "ends_on"], name="waiver_ends")],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("approved_by", models.F("requested_by")), _negated=True),
                        name="nobody_waives_for_oneself",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("approved_by", models.F("owner")), _negated=True),
                        name="no_owner_approves_the_own_waiver",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("beneficiary__isnull", True),
                            models.Q(("approved_by", models.F("beneficiary")), _negated=True),
                            _connector="OR",
                        ),
                        name="nobody_waives_for_the_own_request",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("request__isnull", False), ("endpoint__isnull", False), _connector="OR"),
                        name="a_waiver_is_about_something",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("state", "active")),
                        fields=("request", "check_id"),
                        name="one_active_waiver_per_request",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("state", "active")),
                        fields=("endpoint", "check_id"),
                        name="one_active_waiver_per_endpoint",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Finding",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("check_id", models.CharField(max_length=60)),
                ("title", models.CharField(max_length=120)),
                ("verdict", models.CharField(max_length=8)),
                ("reason", models.CharField(max_length=500)),
                ("fix", models.CharField(blank=True, max_length=500)),
                ("opened_at", models.DateTimeField(auto_now_add=True)),
                ("seen_at", models.DateTimeField()),
                ("closed_at", models.DateTimeField(null=True)),
                (
                    "endpoint",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="findings", to="endpoints.endpoint"
                    ),
                ),
                (
                    "waiver",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="findings",
                        to="approvals.waiver",
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("closed_at__isnull", True)),
                        fields=("endpoint", "check_id"),
                        name="one_open_finding",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="AccessReviewItem",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("kind", models.CharField(max_length=20)),
                ("target_id", models.CharField(max_length=64)),
                ("holder", models.CharField(max_length=150)),
                ("words", models.CharField(max_length=300)),
                (
                    "outcome",
                    models.CharField(
                        choices=[("waiting", "Waiting"), ("keep", "Keep"), ("revoke", "Revoke"), ("gone", "Gone")],
                        default="waiting",
                        max_length=8,
                    ),
                ),
                ("reason", models.CharField(blank=True, max_length=300)),
                ("decided_at", models.DateTimeField(null=True)),
                (
                    "decided_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "project",
                    models.ForeignKey(
                        null=True, on_delete=django.db.models.deletion.CASCADE, related_name="+", to="projects.project"
                    ),
                ),
                (
                    "review",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="items", to="approvals.accessreview"
                    ),
                ),
                (
                    "reviewer",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="access_reviews",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ["id"],
                "indexes": [models.Index(fields=["reviewer", "outcome"], name="reviewitem_reviewer")],
                "constraints": [
                    models.UniqueConstraint(fields=("review", "kind", "target_id"), name="one_item_per_entry")
                ],
            },
        ),
        migrations.CreateModel(
            name="Delegation",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("starts_at", models.DateTimeField()),
                ("ends_at", models.DateTimeField()),
                ("reason", models.CharField(max_length=300)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("revoked_at", models.DateTimeField(null=True)),
                (
                    "delegate",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="delegations_got",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "delegator",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="delegations_given",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
                "indexes": [models.Index(fields=["delegate", "ends_at"], name="delegation_delegate")],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("delegator", models.F("delegate")), _negated=True),
                        name="nobody_delegates_to_oneself",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("ends_at__gt", models.F("starts_at"))),
                        name="a_delegation_ends_after_it_starts",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="EnvelopeMode",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("rule", models.CharField(max_length=60, unique=True)),
                ("digest", models.CharField(max_length=80)),
                (
                    "mode",
                    models.CharField(
                        choices=[("off", "Off"), ("shadow", "Shadow"), ("live", "Live")], default="shadow", max_length=6
                    ),
                ),
                ("sample_percent", models.PositiveSmallIntegerField(default=10)),
                ("reason", models.CharField(blank=True, max_length=2000)),
                ("changed_at", models.DateTimeField(auto_now=True)),
                (
                    "changed_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ["rule"],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("sample_percent__lte", 100)), name="a_sample_is_at_most_everything"
                    )
                ],
            },
        ),
    ]
