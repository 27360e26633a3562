import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("projects", "0002_squashed_0004_webhook_format"),
        ("quotas", "0005_revision"),
    ]

    operations = [
        migrations.CreateModel(
            name="GiveBack",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("asked_at", models.DateTimeField(auto_now_add=True)),
                ("due_at", models.DateTimeField()),
                ("ended_at", models.DateTimeField(null=True)),
                ("outcome", models.CharField(blank=True, default="", max_length=10)),
            ],
            options={
                "ordering": ["id"],
            },
        ),
        migrations.CreateModel(
            name="Node",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("cluster", models.CharField(max_length=40)),
                ("name", models.CharField(max_length=253)),
                ("resource", models.CharField(max_length=317)),
                ("product", models.CharField(blank=True, max_length=80)),
                ("memory_mib", models.PositiveIntegerField(null=True)),
                ("capacity", models.PositiveIntegerField()),
                ("allocatable", models.PositiveIntegerField()),
                ("labels", models.JSONField(default=dict)),
                (
                    "condition",
                    models.CharField(
                        choices=[
                            ("ready", "Ready"),
                            ("cordoned", "takes no new pods"),
                            ("lost", "not ready"),
                            ("gone", "no longer there"),
                        ],
                        max_length=8,
                    ),
                ),
                ("since", models.DateTimeField()),
                ("pods", models.JSONField(default=list)),
            ],
            options={
                "ordering": ["cluster", "name", "resource"],
            },
        ),
        migrations.CreateModel(
            name="Share",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("weight", models.PositiveSmallIntegerField(default=1)),
                ("nominal", models.PositiveIntegerField(null=True)),
                ("borrowing_limit", models.PositiveIntegerField(null=True)),
            ],
            options={
                "ordering": ["id"],
            },
        ),
        migrations.CreateModel(
            name="Survey",
            fields=[
                ("cluster", models.CharField(max_length=40, primary_key=True, serialize=False)),
                ("claimed_until", models.DateTimeField(null=True)),
                ("seen_at", models.DateTimeField(null=True)),
                ("tried_at", models.DateTimeField(null=True)),
                ("seconds", models.FloatField(default=0)),
                ("problem", models.CharField(blank=True, default="", max_length=500)),
            ],
        ),
        migrations.AddField(
            model_name="pool",
            name="from_nodes",
            field=models.BooleanField(db_default=True, default=True),
        ),
        migrations.AddField(
            model_name="pool",
            name="give_back",
            field=models.CharField(
                choices=[("never", "Never"), ("not-prod", "Not Prod"), ("any", "Any")],
                db_default="not-prod",
                default="not-prod",
                max_length=8,
            ),
        ),
        migrations.AddField(
            model_name="pool",
            name="grace_hours",
            field=models.PositiveSmallIntegerField(db_default=24, default=24),
        ),
        migrations.AddField(
            model_name="pool",
            name="observed_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddIndex(
            model_name="reservation",
            index=models.Index(fields=["pool", "project", "held_at"], name="reservation_last_held"),
        ),
        migrations.AddField(
            model_name="giveback",
            name="reservation",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="give_backs", to="quotas.reservation"
            ),
        ),
        migrations.AddField(
            model_name="giveback",
            name="wanted_by",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="+", to="quotas.reservation"
            ),
        ),
        migrations.AddConstraint(
            model_name="node",
            constraint=models.UniqueConstraint(fields=("cluster", "name", "resource"), name="one_row_per_node"),
        ),
        migrations.AddField(
            model_name="share",
            name="pool",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="shares", to="quotas.pool"
            ),
        ),
        migrations.AddField(
            model_name="share",
            name="project",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="+", to="projects.project"
            ),
        ),
        migrations.AddConstraint(
            model_name="giveback",
            constraint=models.UniqueConstraint(
                condition=models.Q(("ended_at", None)),
                fields=("reservation",),
                name="one_open_give_back_per_reservation",
            ),
        ),
        migrations.AddConstraint(
            model_name="share",
            constraint=models.UniqueConstraint(fields=("pool", "project"), name="one_share_per_project"),
        ),
    ]
