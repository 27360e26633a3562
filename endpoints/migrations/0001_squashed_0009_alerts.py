"""None"""

import django.core.validators
import django.db.models.deletion
import uuid
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    replaces = [
        ("endpoints", "0001_initial"),
        ("endpoints", "0002_initial"),
        ("endpoints", "0003_living"),
        ("endpoints", "0004_rollout"),
        ("endpoints", "0005_endpoint_order"),
        ("endpoints", "0006_suspend_at"),
        ("endpoints", "0007_served"),
        ("endpoints", "0008_revision_seal"),
        ("endpoints", "0009_alerts"),
    ]

    initial = True

    dependencies = [
        ("catalog", "0001_squashed_0009_mcpregistry"),
        ("projects", "0001_initial"),
        ("projects", "__first__"),
    ]

    operations = [
        migrations.CreateModel(
            name="Cluster",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "slug",
                    models.CharField(
                        max_length=40,
                        unique=True,
                        validators=[
                            django.core.validators.RegexValidator(
                                "\\A[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?\\Z",
                                "Use 1 to 40 lower-case letters, digits and hyphens, starting and ending with a letter or digit.",
                            )
                        ],
                    ),
                ),
                ("name", models.CharField(max_length=80)),
                ("driver", models.CharField(max_length=20)),
                ("environments", models.JSONField(default=list)),
                ("simulated", models.BooleanField(default=False)),
                ("paused", models.BooleanField(default=False)),
            ],
            options={
                "ordering": ["slug"],
            },
        ),
        migrations.CreateModel(
            name="Endpoint",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                (
                    "name",
                    models.CharField(
                        max_length=40,
                        validators=[
                            django.core.validators.RegexValidator(
                                "\\A[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?\\Z",
                                "Use 1 to 40 lower-case letters, digits and hyphens, starting and ending with a letter or digit.",
                            )
                        ],
                    ),
                ),
                (
                    "environment",
                    models.CharField(choices=[("dev", "Dev"), ("staging", "Staging"), ("prod", "Prod")], max_length=8),
                ),
                ("purpose", models.TextField(blank=True)),
                ("data_classification", models.CharField(blank=True, max_length=16)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("ends_on", models.DateField(null=True)),
                ("shareable", models.BooleanField(db_default=False, default=False)),
                ("scale", models.PositiveSmallIntegerField(null=True)),
                (
                    "desired",
                    models.CharField(
                        choices=[("running", "Running"), ("suspended", "Suspended"), ("deleted", "Deleted")],
                        default="running",
                        max_length=10,
                    ),
                ),
                (
                    "phase",
                    models.CharField(
                        choices=[
                            ("pending", "Pending"),
                            ("provisioning", "Provisioning"),
                            ("ready", "Ready"),
                            ("degraded", "Degraded"),
                            ("failed", "Failed"),
                            ("suspended", "Suspended"),
                            ("deleting", "Deleting"),
                            ("deleted", "Deleted"),
                        ],
                        default="pending",
                        max_length=14,
                    ),
                ),
                ("reason_code", models.CharField(default="accepted", max_length=40)),
                (
                    "reason_sentence",
                    models.CharField(default="The request is approved; a worker picks it up now.", max_length=500),
                ),
                ("reason_turn", models.CharField(default="portal", max_length=20)),
                ("hold_reason", models.CharField(blank=True, max_length=300)),
                ("hold_by", models.CharField(blank=True, max_length=80)),
                ("hold_since", models.DateTimeField(null=True)),
                ("hold_resumes", models.BooleanField(db_default=False, default=False)),
                ("suspend_at", models.DateTimeField(null=True)),
                ("reminded_days", models.PositiveSmallIntegerField(null=True)),
                ("fallback_scale", models.PositiveSmallIntegerField(null=True)),
                ("next_beside", models.BooleanField(db_default=True, default=True)),
                ("next_attempts", models.PositiveSmallIntegerField(db_default=0, default=0)),
                ("remark", models.CharField(blank=True, db_default="", default="", max_length=300)),
                ("drain_until", models.DateTimeField(null=True)),
                ("upstreams", models.JSONField(default=list)),
                ("ready_at", models.DateTimeField(null=True)),
                ("phase_since", models.DateTimeField(auto_now_add=True)),
                ("deleted_at", models.DateTimeField(null=True)),
                ("claimed_by", models.CharField(blank=True, max_length=64)),
                ("claimed_until", models.DateTimeField(null=True)),
                ("due_at", models.DateTimeField(db_index=True, null=True)),
                ("attempts", models.PositiveSmallIntegerField(default=0)),
                (
                    "cluster",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="endpoints", to="endpoints.cluster"
                    ),
                ),
                (
                    "contact",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
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
                        on_delete=django.db.models.deletion.PROTECT, related_name="endpoints", to="projects.project"
                    ),
                ),
            ],
            options={
                "ordering": ["project_id", "name"],
                "indexes": [
                    models.Index(fields=["project", "phase"], name="endpoint_project_phase"),
                    models.Index(fields=["name"], name="endpoint_name"),
                    models.Index(fields=["phase", "name"], name="endpoint_phase_name"),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("phase", "deleted"), _negated=True),
                        fields=("project", "name"),
                        name="one_living_endpoint_per_name",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Revision",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("number", models.PositiveIntegerField()),
                ("replicas", models.PositiveSmallIntegerField()),
                ("concurrency", models.PositiveIntegerField()),
                ("context_tokens", models.PositiveIntegerField()),
                ("runtime", models.JSONField(default=dict)),
                ("authorization_reference", models.CharField(max_length=64)),
                ("authorization_digest", models.CharField(max_length=80)),
                ("authorization_valid_until", models.DateField(null=True)),
                ("seal", models.CharField(db_default="", default="", max_length=80)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "outcome",
                    models.CharField(
                        choices=[
                            ("untried", "not ready yet"),
                            ("worked", "Worked"),
                            ("failed", "Failed"),
                            ("cancelled", "Cancelled"),
                        ],
                        db_default="untried",
                        default="untried",
                        max_length=9,
                    ),
                ),
                ("outcome_sentence", models.CharField(blank=True, db_default="", default="", max_length=500)),
                (
                    "endpoint",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="revisions", to="endpoints.endpoint"
                    ),
                ),
                (
                    "profile",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="revisions",
                        to="catalog.hardwareprofile",
                    ),
                ),
                (
                    "version",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="revisions", to="catalog.version"
                    ),
                ),
            ],
            options={
                "ordering": ["-number"],
                "constraints": [models.UniqueConstraint(fields=("endpoint", "number"), name="one_revision_per_number")],
            },
        ),
        migrations.AddField(
            model_name="endpoint",
            name="fallback",
            field=models.ForeignKey(
                null=True, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="endpoints.revision"
            ),
        ),
        migrations.AddField(
            model_name="endpoint",
            name="next_revision",
            field=models.ForeignKey(
                null=True, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="endpoints.revision"
            ),
        ),
        migrations.AddField(
            model_name="endpoint",
            name="revision",
            field=models.ForeignKey(
                null=True, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="endpoints.revision"
            ),
        ),
        migrations.CreateModel(
            name="Served",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("since", models.DateTimeField()),
                ("until", models.DateTimeField(null=True)),
                (
                    "endpoint",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="served", to="endpoints.endpoint"
                    ),
                ),
                (
                    "revision",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="served", to="endpoints.revision"
                    ),
                ),
            ],
            options={
                "ordering": ["-since", "-id"],
                "indexes": [models.Index(fields=["endpoint", "since"], name="served_endpoint")],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("until__isnull", True)),
                        fields=("endpoint",),
                        name="one_revision_answers_at_a_time",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Share",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("ends_on", models.DateField(null=True)),
                ("reason", models.CharField(blank=True, max_length=500)),
                ("authorization_reference", models.CharField(max_length=64)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("ended_at", models.DateTimeField(null=True)),
                (
                    "endpoint",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="shares", to="endpoints.endpoint"
                    ),
                ),
                (
                    "granted_by",
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
                        on_delete=django.db.models.deletion.CASCADE, related_name="shares", to="projects.project"
                    ),
                ),
            ],
            options={
                "ordering": ["project_id", "id"],
                "indexes": [models.Index(fields=["project", "ended_at"], name="share_project")],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("ended_at__isnull", True)),
                        fields=("endpoint", "project"),
                        name="one_living_share",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Alert",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("fingerprint", models.CharField(max_length=64)),
                ("name", models.CharField(max_length=120)),
                ("severity", models.CharField(blank=True, max_length=20)),
                ("summary", models.CharField(blank=True, max_length=500)),
                ("runbook_url", models.CharField(blank=True, max_length=500)),
                ("starts_at", models.DateTimeField()),
                ("ends_at", models.DateTimeField(null=True)),
                ("told_at", models.DateTimeField()),
                (
                    "endpoint",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="alerts", to="endpoints.endpoint"
                    ),
                ),
            ],
            options={
                "ordering": ["-starts_at", "-id"],
                "indexes": [models.Index(fields=["endpoint", "ends_at"], name="alert_endpoint")],
                "constraints": [
                    models.UniqueConstraint(fields=("endpoint", "fingerprint"), name="one_alert_per_fingerprint")
                ],
            },
        ),
        migrations.CreateModel(
            name="EngineCount",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("instance", models.CharField(max_length=80)),
                ("at", models.DateTimeField()),
                ("prompt_tokens", models.BigIntegerField(default=0)),
                ("generation_tokens", models.BigIntegerField(default=0)),
                ("cached_tokens", models.BigIntegerField(default=0)),
                ("requests", models.BigIntegerField(default=0)),
                ("running", models.FloatField(default=0)),
                ("waiting", models.FloatField(default=0)),
                ("kv_cache_usage", models.FloatField(null=True)),
                ("ttft_sum", models.FloatField(default=0)),
                ("ttft_count", models.BigIntegerField(default=0)),
                ("error", models.CharField(blank=True, max_length=200)),
                (
                    "endpoint",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="engine_counts",
                        to="endpoints.endpoint",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("endpoint", "instance"), name="one_count_per_instance")
                ],
            },
        ),
        migrations.CreateModel(
            name="Event",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("at", models.DateTimeField(auto_now_add=True)),
                ("code", models.CharField(max_length=40)),
                (
                    "phase",
                    models.CharField(
                        choices=[
                            ("pending", "Pending"),
                            ("provisioning", "Provisioning"),
                            ("ready", "Ready"),
                            ("degraded", "Degraded"),
                            ("failed", "Failed"),
                            ("suspended", "Suspended"),
                            ("deleting", "Deleting"),
                            ("deleted", "Deleted"),
                        ],
                        max_length=14,
                    ),
                ),
                ("sentence", models.CharField(max_length=500)),
                (
                    "endpoint",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="events", to="endpoints.endpoint"
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
                "indexes": [models.Index(fields=["endpoint", "-id"], name="event_endpoint")],
            },
        ),
    ]
