import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    """What was found to differ in clusters, what is to be written again, and which endpoint was promoted from which."""

    dependencies = [
        ("endpoints", "0016_gitops"),
    ]

    operations = [
        migrations.CreateModel(
            name="DriftLook",
            fields=[
                (
                    "cluster",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="drift_look",
                        serialize=False,
                        to="endpoints.cluster",
                    ),
                ),
                ("looking_until", models.DateTimeField(null=True)),
                ("looked_at", models.DateTimeField(null=True)),
                ("finished_at", models.DateTimeField(null=True)),
                ("seconds", models.FloatField(default=0)),
                ("compared", models.PositiveIntegerField(default=0)),
                ("failures", models.PositiveSmallIntegerField(default=0)),
                ("problem", models.CharField(blank=True, max_length=500)),
                ("after", models.UUIDField(null=True)),
            ],
        ),
        migrations.AddField(
            model_name="endpoint",
            name="promoted_from",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="promoted",
                to="endpoints.endpoint",
            ),
        ),
        migrations.AddField(
            model_name="endpoint",
            name="rewrite_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="endpoint",
            name="rewrite_by",
            field=models.CharField(blank=True, db_default="", default="", max_length=150),
        ),
        migrations.CreateModel(
            name="LiveDifference",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("revision", models.PositiveIntegerField()),
                ("mark", models.CharField(max_length=64)),
                ("kind", models.CharField(max_length=63)),
                ("namespace", models.CharField(blank=True, max_length=63)),
                ("name", models.CharField(max_length=253)),
                ("field", models.CharField(blank=True, max_length=300)),
                ("wanted", models.TextField(null=True)),
                ("found", models.TextField(null=True)),
                ("manager", models.CharField(blank=True, max_length=120)),
                ("operation", models.CharField(blank=True, max_length=20)),
                ("changed_at", models.DateTimeField(null=True)),
                ("sure", models.BooleanField(default=True)),
                ("guarded", models.BooleanField(default=True)),
                ("own", models.BooleanField(default=False)),
                ("first_seen", models.DateTimeField()),
                ("last_seen", models.DateTimeField()),
                ("times", models.PositiveIntegerField(default=1)),
                ("accepted_at", models.DateTimeField(null=True)),
                ("accepted_by", models.CharField(blank=True, max_length=150)),
                ("resolved_at", models.DateTimeField(null=True)),
                (
                    "resolution",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("reapplied", "written again"),
                            ("taken_back", "taken back"),
                            ("gone", "no longer there"),
                            ("replaced", "another revision runs"),
                        ],
                        max_length=10,
                    ),
                ),
                ("resolved_by", models.CharField(blank=True, max_length=150)),
                (
                    "endpoint",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="differences", to="endpoints.endpoint"
                    ),
                ),
            ],
            options={
                "ordering": ["-first_seen", "-id"],
                "indexes": [
                    models.Index(fields=["endpoint", "resolved_at"], name="difference_endpoint"),
                    models.Index(fields=["resolved_at", "-first_seen"], name="difference_open"),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("resolved_at__isnull", True)),
                        fields=("endpoint", "mark"),
                        name="one_open_difference_per_field",
                    )
                ],
            },
        ),
    ]
