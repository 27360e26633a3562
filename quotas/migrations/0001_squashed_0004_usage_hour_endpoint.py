"""What 0001 to 0004 make together, for a new database; one that exists goes on through those."""

import django.core.validators
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    replaces = [
        ("quotas", "0001_initial"),
        ("quotas", "0002_living"),
        ("quotas", "0003_usage_day_endpoint"),
        ("quotas", "0004_usage_hour_endpoint"),
    ]

    initial = True

    dependencies = [
        ("catalog", "0001_squashed_0009_mcpregistry"),
        ("projects", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="JournalOffset",
            fields=[
                ("gateway", models.CharField(max_length=40, primary_key=True, serialize=False)),
                ("offset", models.BigIntegerField(default=0)),
                ("finished", models.BooleanField(default=False)),
                ("corrupt", models.PositiveIntegerField(default=0)),
                ("updated_at", models.DateTimeField(auto_now=True)),
            ],
        ),
        migrations.CreateModel(
            name="Pool",
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
                ("cluster", models.CharField(max_length=40)),
                ("limit", models.PositiveIntegerField()),
                ("observed", models.PositiveIntegerField()),
                ("held", models.PositiveIntegerField(default=0)),
                ("simulated", models.BooleanField(default=False)),
                ("profiles", models.ManyToManyField(related_name="pools", to="catalog.hardwareprofile")),
            ],
            options={
                "ordering": ["slug"],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("held__gte", 0), ("held__lte", models.F("limit"))),
                        name="pool_never_oversubscribed",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Quota",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("kind", models.CharField(choices=[("gpus", "GPUs"), ("tokens", "Tokens")], max_length=8)),
                (
                    "target_kind",
                    models.CharField(
                        choices=[("project", "Project"), ("endpoint", "Endpoint"), ("key", "Key")],
                        default="project",
                        max_length=8,
                    ),
                ),
                ("target_id", models.CharField(blank=True, max_length=36)),
                ("window", models.CharField(blank=True, choices=[("day", "Day"), ("month", "Month")], max_length=5)),
                ("soft", models.BigIntegerField(null=True)),
                ("hard", models.BigIntegerField(null=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                (
                    "project",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="quotas", to="projects.project"
                    ),
                ),
            ],
            options={
                "ordering": ["project_id", "kind", "target_kind", "target_id", "window"],
                "indexes": [models.Index(fields=["target_kind", "target_id"], name="quota_target")],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("project", "kind", "target_kind", "target_id", "window"), name="one_quota_per_target"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("soft__isnull", True), ("soft__gte", 0), _connector="OR"),
                            models.Q(("hard__isnull", True), ("hard__gte", 0), _connector="OR"),
                        ),
                        name="quota_not_negative",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("kind", "tokens"), ("window__in", ["day", "month"])),
                            models.Q(
                                ("kind", "gpus"), ("soft__isnull", True), ("target_kind", "project"), ("window", "")
                            ),
                            _connector="OR",
                        ),
                        name="quota_shape",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="QuotaAlert",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("window_start", models.DateTimeField()),
                ("threshold", models.PositiveSmallIntegerField()),
                ("used", models.BigIntegerField()),
                ("limit", models.BigIntegerField()),
                ("at", models.DateTimeField(auto_now_add=True)),
                (
                    "quota",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="alerts", to="quotas.quota"
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("quota", "window_start", "threshold"), name="one_alert_per_threshold"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="QuotaRaise",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("soft", models.BigIntegerField(null=True)),
                ("hard", models.BigIntegerField(null=True)),
                ("ends_on", models.DateField()),
                ("reference", models.CharField(max_length=64)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "quota",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="raises", to="quotas.quota"
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
            },
        ),
        migrations.CreateModel(
            name="Reservation",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("amount", models.PositiveIntegerField()),
                (
                    "state",
                    models.CharField(
                        choices=[("waiting", "Waiting"), ("held", "Held"), ("released", "Released")],
                        default="waiting",
                        max_length=8,
                    ),
                ),
                ("holder_kind", models.CharField(max_length=20)),
                ("holder_id", models.CharField(max_length=64)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("held_at", models.DateTimeField(null=True)),
                ("released_at", models.DateTimeField(null=True)),
                ("price_per_hour", models.DecimalField(decimal_places=4, max_digits=12, null=True)),
                ("currency", models.CharField(blank=True, db_default="", default="", max_length=3)),
                (
                    "pool",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="reservations", to="quotas.pool"
                    ),
                ),
                (
                    "project",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="projects.project"
                    ),
                ),
            ],
            options={
                "ordering": ["id"],
                "indexes": [models.Index(fields=["pool", "state", "id"], name="reservation_queue")],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("state", "released"), _negated=True),
                        fields=("holder_kind", "holder_id"),
                        name="one_living_reservation_per_holder",
                    ),
                    models.CheckConstraint(condition=models.Q(("amount__gt", 0)), name="reservation_amount_positive"),
                ],
            },
        ),
        migrations.CreateModel(
            name="UsageDay",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("start", models.DateTimeField()),
                ("project_id", models.BigIntegerField()),
                ("endpoint_id", models.CharField(max_length=36)),
                ("endpoint", models.CharField(max_length=63)),
                ("key_id", models.CharField(max_length=36)),
                ("key", models.CharField(max_length=16)),
                ("person", models.CharField(max_length=150)),
                ("requests", models.BigIntegerField(default=0)),
                ("errors", models.BigIntegerField(default=0)),
                ("input_tokens", models.BigIntegerField(default=0)),
                ("output_tokens", models.BigIntegerField(default=0)),
                ("cached_tokens", models.BigIntegerField(default=0)),
                ("ttft", models.JSONField(default=dict)),
                ("latency", models.JSONField(default=dict)),
            ],
            options={
                "indexes": [
                    models.Index(fields=["start"], name="usage_day_start"),
                    models.Index(fields=["endpoint_id", "start"], name="usage_day_endpoint"),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("project_id", "start", "endpoint_id", "key_id"), name="one_usage_day"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="UsageEvent",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("gateway", models.CharField(max_length=40)),
                ("sequence", models.BigIntegerField()),
                ("request_id", models.CharField(max_length=64)),
                ("at", models.DateTimeField()),
                ("project_id", models.BigIntegerField()),
                ("endpoint_id", models.CharField(max_length=36)),
                ("endpoint", models.CharField(max_length=63)),
                ("key_id", models.CharField(max_length=36)),
                ("key", models.CharField(max_length=16)),
                ("person", models.CharField(max_length=150)),
                ("purpose", models.CharField(default="api", max_length=12)),
                ("operation", models.CharField(max_length=20)),
                ("status", models.PositiveSmallIntegerField()),
                (
                    "outcome",
                    models.CharField(
                        choices=[
                            ("ok", "Ok"),
                            ("error", "Error"),
                            ("cancelled", "Cancelled"),
                            ("interrupted", "Interrupted"),
                        ],
                        max_length=12,
                    ),
                ),
                ("stream", models.BooleanField(default=False)),
                ("input_tokens", models.PositiveIntegerField(default=0)),
                ("output_tokens", models.PositiveIntegerField(default=0)),
                ("cached_tokens", models.PositiveIntegerField(default=0)),
                ("estimated", models.BooleanField(default=False)),
                ("ttft_ms", models.FloatField(null=True)),
                ("latency_ms", models.FloatField(null=True)),
            ],
            options={
                "indexes": [
                    models.Index(fields=["project_id", "at"], name="usage_project_at"),
                    models.Index(fields=["endpoint_id", "at"], name="usage_endpoint_at"),
                    models.Index(fields=["at"], name="usage_at"),
                ],
                "constraints": [models.UniqueConstraint(fields=("gateway", "sequence"), name="usage_exactly_once")],
            },
        ),
        migrations.CreateModel(
            name="UsageHour",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("start", models.DateTimeField()),
                ("project_id", models.BigIntegerField()),
                ("endpoint_id", models.CharField(max_length=36)),
                ("endpoint", models.CharField(max_length=63)),
                ("key_id", models.CharField(max_length=36)),
                ("key", models.CharField(max_length=16)),
                ("person", models.CharField(max_length=150)),
                ("requests", models.BigIntegerField(default=0)),
                ("errors", models.BigIntegerField(default=0)),
                ("input_tokens", models.BigIntegerField(default=0)),
                ("output_tokens", models.BigIntegerField(default=0)),
                ("cached_tokens", models.BigIntegerField(default=0)),
                ("ttft", models.JSONField(default=dict)),
                ("latency", models.JSONField(default=dict)),
            ],
            options={
                "indexes": [
                    models.Index(fields=["start"], name="usage_hour_start"),
                    models.Index(fields=["endpoint_id", "start"], name="usage_hour_endpoint"),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("project_id", "start", "endpoint_id", "key_id"), name="one_usage_hour"
                    )
                ],
            },
        ),
    ]
