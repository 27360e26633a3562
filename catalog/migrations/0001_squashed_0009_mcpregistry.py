"""None"""

import django.core.validators
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    replaces = [
        ("catalog", "0001_initial"),
        ("catalog", "0002_initial"),
        ("catalog", "0003_living_listings"),
        ("catalog", "0004_fill_listings"),
        ("catalog", "0005_version_newest"),
        ("catalog", "0006_authorization"),
        ("catalog", "0007_audience"),
        ("catalog", "0008_evidence"),
        ("catalog", "0009_mcpregistry"),
    ]

    initial = True

    dependencies = [
        ("auth", "0012_alter_user_first_name_max_length"),
        ("projects", "0001_initial"),
        ("projects", "__first__"),
    ]

    operations = [
        migrations.CreateModel(
            name="Asset",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "slug",
                    models.CharField(
                        max_length=40,
                        unique=True,
                        validators=[
                            django.core.validators.RegexValidator(
                                "^[a-z0-9]([a-z0-9.-]{0,38}[a-z0-9])?$",
                                "Use 1 to 40 lower-case letters, digits, dots and hyphens, starting and ending with a letter or digit.",
                            )
                        ],
                    ),
                ),
                ("kind", models.CharField(choices=[("model", "Model"), ("mcp-server", "MCP server")], max_length=12)),
                ("name", models.CharField(max_length=80)),
                ("publisher", models.CharField(blank=True, max_length=80)),
                ("summary", models.CharField(blank=True, max_length=300)),
                ("description", models.TextField(blank=True)),
                ("tasks", models.JSONField(default=list)),
                ("languages", models.JSONField(default=list)),
                ("homepage", models.URLField(blank=True, max_length=300)),
                (
                    "access",
                    models.CharField(
                        choices=[("everyone", "everyone"), ("listed", "only those who are listed")],
                        db_default="everyone",
                        default="everyone",
                        max_length=8,
                    ),
                ),
                ("registry_public", models.BooleanField(db_default=False, default=False)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "proposed_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ["name", "id"],
                "permissions": [("use_asset", "Can see and ask for the asset")],
                "indexes": [models.Index(fields=["name", "id"], name="asset_by_name")],
            },
        ),
        migrations.CreateModel(
            name="AssetGroupGrant",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("reason", models.CharField(blank=True, max_length=300)),
                ("ends_at", models.DateTimeField(null=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "content_object",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="group_grants", to="catalog.asset"
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
                ("group", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="auth.group")),
                ("permission", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="auth.permission")),
            ],
            options={
                "abstract": False,
                "indexes": [models.Index(fields=["group", "ends_at", "content_object"], name="assetgroupgrant_holder")],
                "unique_together": {("group", "permission", "content_object")},
            },
        ),
        migrations.CreateModel(
            name="AssetProjectGrant",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("reason", models.CharField(blank=True, max_length=300)),
                ("ends_at", models.DateTimeField(null=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "content_object",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="project_grants", to="catalog.asset"
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
                        on_delete=django.db.models.deletion.CASCADE, related_name="asset_grants", to="projects.project"
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(fields=["project", "ends_at", "content_object"], name="assetprojectgrant_holder")
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("project", "content_object"), name="one_grant_per_project")
                ],
            },
        ),
        migrations.CreateModel(
            name="AssetUserGrant",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("reason", models.CharField(blank=True, max_length=300)),
                ("ends_at", models.DateTimeField(null=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "content_object",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="user_grants", to="catalog.asset"
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
                ("permission", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="auth.permission")),
                ("user", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to=settings.AUTH_USER_MODEL)),
            ],
            options={
                "abstract": False,
                "indexes": [models.Index(fields=["user", "ends_at", "content_object"], name="assetusergrant_holder")],
                "unique_together": {("user", "permission", "content_object")},
            },
        ),
        migrations.CreateModel(
            name="HardwareProfile",
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
                ("accelerator", models.CharField(blank=True, max_length=40)),
                ("accelerator_count", models.PositiveSmallIntegerField(default=0)),
                ("memory_bytes", models.BigIntegerField()),
                ("price_per_hour", models.DecimalField(decimal_places=4, max_digits=10)),
                ("currency", models.CharField(max_length=3)),
                ("enabled", models.BooleanField(default=True)),
                ("order", models.PositiveSmallIntegerField(default=100)),
            ],
            options={
                "ordering": ["order", "slug"],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("price_per_hour__gte", 0)), name="profile_price_not_negative"
                    ),
                    models.CheckConstraint(condition=models.Q(("memory_bytes__gt", 0)), name="profile_memory_positive"),
                ],
            },
        ),
        migrations.CreateModel(
            name="Version",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("version", models.CharField(max_length=40)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("draft", "Draft"),
                            ("in_review", "In Review"),
                            ("approved", "Approved"),
                            ("deprecated", "Deprecated"),
                            ("retired", "Retired"),
                            ("blocked", "Blocked"),
                        ],
                        default="draft",
                        max_length=12,
                    ),
                ),
                ("source", models.CharField(max_length=300)),
                ("digest", models.CharField(blank=True, max_length=80)),
                ("licence", models.CharField(max_length=80)),
                ("runtime", models.JSONField(default=dict)),
                ("runtimes", models.JSONField(default=dict)),
                ("needs", models.JSONField(default=dict)),
                ("facts", models.JSONField(default=dict)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("approved_at", models.DateTimeField(null=True)),
                ("changed_at", models.DateTimeField(null=True)),
                ("state_reason", models.CharField(blank=True, max_length=300)),
                ("retires_on", models.DateField(null=True)),
                (
                    "asset",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="versions", to="catalog.asset"
                    ),
                ),
                (
                    "proposed_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "successor",
                    models.ForeignKey(
                        null=True, on_delete=django.db.models.deletion.SET_NULL, related_name="+", to="catalog.version"
                    ),
                ),
            ],
            options={
                "ordering": ["-created_at", "-id"],
                "indexes": [
                    models.Index(fields=["state", "asset"], name="version_state"),
                    models.Index(fields=["state", "-approved_at", "-id"], name="version_newest"),
                ],
                "constraints": [models.UniqueConstraint(fields=("asset", "version"), name="one_version_per_name")],
            },
        ),
        migrations.CreateModel(
            name="Tool",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=128)),
                ("digest", models.CharField(max_length=80)),
                ("definition", models.JSONField()),
                (
                    "version",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="tools", to="catalog.version"
                    ),
                ),
            ],
            options={
                "ordering": ["name"],
                "constraints": [models.UniqueConstraint(fields=("version", "name"), name="one_tool_per_name")],
            },
        ),
        migrations.CreateModel(
            name="ServerGrant",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("tools", models.JSONField(default=list)),
                ("ends_on", models.DateField(null=True)),
                ("reason", models.CharField(blank=True, max_length=300)),
                ("reference", models.CharField(blank=True, max_length=20)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("ended_at", models.DateTimeField(null=True)),
                (
                    "asset",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="server_grants", to="catalog.asset"
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
                        on_delete=django.db.models.deletion.CASCADE, related_name="server_grants", to="projects.project"
                    ),
                ),
                (
                    "version",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="server_grants", to="catalog.version"
                    ),
                ),
            ],
            options={
                "ordering": ["-created_at", "-id"],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("ended_at__isnull", True)),
                        fields=("project", "asset"),
                        name="one_living_server_grant",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Pin",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("pending", "Pending"),
                            ("resolved", "Resolved"),
                            ("failed", "Failed"),
                            ("drifted", "Drifted"),
                        ],
                        default="pending",
                        max_length=10,
                    ),
                ),
                ("sentence", models.CharField(blank=True, max_length=300)),
                ("revision", models.CharField(blank=True, max_length=80)),
                ("digest", models.CharField(blank=True, max_length=80)),
                ("files", models.JSONField(default=list)),
                ("total_bytes", models.BigIntegerField(default=0)),
                ("progress", models.JSONField(default=dict)),
                ("drift", models.JSONField(default=dict)),
                ("resolved_at", models.DateTimeField(null=True)),
                ("verified_at", models.DateTimeField(null=True)),
                ("drifted_at", models.DateTimeField(null=True)),
                (
                    "version",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE, related_name="pin", to="catalog.version"
                    ),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["state", "verified_at"], name="pin_verified")],
            },
        ),
        migrations.CreateModel(
            name="Listing",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "audience",
                    models.CharField(
                        choices=[("public", "Public"), ("reviewers", "Reviewers"), ("own", "Own")], max_length=10
                    ),
                ),
                ("kind", models.CharField(max_length=12)),
                ("name", models.CharField(max_length=80)),
                ("state", models.CharField(max_length=12)),
                ("rank", models.PositiveSmallIntegerField()),
                ("licence", models.CharField(max_length=80)),
                ("listed", models.BooleanField(db_default=False, default=False)),
                ("evidence", models.CharField(max_length=8)),
                ("parameters", models.BigIntegerField(null=True)),
                ("context_tokens", models.BigIntegerField(null=True)),
                ("needed_bytes", models.BigIntegerField(null=True)),
                ("tasks", models.TextField()),
                ("text", models.TextField()),
                ("created_at", models.DateTimeField()),
                (
                    "asset",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="listings", to="catalog.asset"
                    ),
                ),
                (
                    "person",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "version",
                    models.ForeignKey(
                        null=True, on_delete=django.db.models.deletion.CASCADE, related_name="+", to="catalog.version"
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(fields=["audience", "rank", "name", "asset"], name="listing_by_name"),
                    models.Index(fields=["audience", "-created_at", "asset"], name="listing_by_age"),
                    models.Index(fields=["audience", "listed", "asset"], name="listing_by_access"),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("person__isnull", True)),
                        fields=("asset", "audience"),
                        name="one_listing_per_audience",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("person__isnull", False)),
                        fields=("asset", "person"),
                        name="one_listing_per_person",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Job",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("kind", models.CharField(max_length=20)),
                ("due_at", models.DateTimeField(null=True)),
                ("claimed_by", models.CharField(blank=True, max_length=64)),
                ("claimed_until", models.DateTimeField(null=True)),
                ("attempts", models.PositiveSmallIntegerField(default=0)),
                ("problem", models.CharField(blank=True, max_length=300)),
                ("finished_at", models.DateTimeField(null=True)),
                (
                    "wanted_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "version",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="jobs", to="catalog.version"
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(condition=models.Q(("due_at__isnull", False)), fields=["due_at"], name="job_due")
                ],
                "constraints": [models.UniqueConstraint(fields=("version", "kind"), name="one_job_per_check")],
            },
        ),
        migrations.CreateModel(
            name="Evidence",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("kind", models.CharField(max_length=20)),
                (
                    "verdict",
                    models.CharField(choices=[("pass", "Pass"), ("warn", "Warn"), ("fail", "Fail")], max_length=8),
                ),
                ("summary", models.CharField(max_length=300)),
                ("tool", models.CharField(max_length=60)),
                ("report", models.JSONField(default=dict)),
                ("content", models.CharField(blank=True, db_default="", default="", max_length=80)),
                ("digest", models.CharField(blank=True, db_default="", default="", max_length=80)),
                ("collected_at", models.DateTimeField()),
                ("expires_at", models.DateTimeField(null=True)),
                (
                    "version",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="evidence", to="catalog.version"
                    ),
                ),
            ],
            options={
                "ordering": ["kind", "-collected_at"],
                "indexes": [models.Index(fields=["version", "kind", "-collected_at"], name="evidence_latest")],
            },
        ),
        migrations.CreateModel(
            name="Attachment",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("kind", models.CharField(max_length=20)),
                ("name", models.CharField(max_length=120)),
                ("content", models.TextField()),
                ("digest", models.CharField(max_length=80)),
                ("added_at", models.DateTimeField(auto_now_add=True)),
                (
                    "added_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "version",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="attachments", to="catalog.version"
                    ),
                ),
            ],
            options={
                "ordering": ["kind", "-added_at", "-id"],
                "constraints": [
                    models.UniqueConstraint(fields=("version", "kind", "digest"), name="one_attachment_once")
                ],
            },
        ),
        migrations.CreateModel(
            name="Acknowledgement",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("licence", models.CharField(max_length=80)),
                ("terms", models.CharField(max_length=80)),
                ("at", models.DateTimeField(auto_now_add=True)),
                (
                    "person",
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
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="acknowledgements",
                        to="projects.project",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("project", "licence", "terms"), name="one_acknowledgement_per_terms"
                    )
                ],
            },
        ),
    ]
