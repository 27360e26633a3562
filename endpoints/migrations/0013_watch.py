import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("endpoints", "0012_canary"),
    ]

    operations = [
        migrations.CreateModel(
            name="Watch",
            fields=[
                (
                    "cluster",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="watch",
                        serialize=False,
                        to="endpoints.cluster",
                    ),
                ),
                ("holder", models.CharField(blank=True, db_default="", default="", max_length=64)),
                ("until", models.DateTimeField(null=True)),
                ("live_since", models.DateTimeField(null=True)),
                ("sign_at", models.DateTimeField(null=True)),
                ("problem", models.CharField(blank=True, db_default="", default="", max_length=500)),
                ("looking_until", models.DateTimeField(null=True)),
                ("looked_at", models.DateTimeField(null=True)),
                ("look_seconds", models.FloatField(db_default=0, default=0)),
                ("look_failures", models.PositiveSmallIntegerField(db_default=0, default=0)),
            ],
        ),
    ]
