"""The approver of a waiver is not who asked for what it is about; one waiver counts per check and object."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("approvals", "0009_evidence_decides"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name="waiver",
            name="beneficiary",
            field=models.ForeignKey(
                null=True, on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
            ),
        ),
        migrations.AddConstraint(
            model_name="waiver",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("beneficiary__isnull", True),
                    models.Q(("approved_by", models.F("beneficiary")), _negated=True),
                    _connector="OR",
                ),
                name="nobody_waives_for_the_own_request",
            ),
        ),
        migrations.AddConstraint(
            model_name="waiver",
            constraint=models.UniqueConstraint(
                condition=models.Q(("state", "active")),
                fields=("request", "check_id"),
                name="one_active_waiver_per_request",
            ),
        ),
        migrations.AddConstraint(
            model_name="waiver",
            constraint=models.UniqueConstraint(
                condition=models.Q(("state", "active")),
                fields=("endpoint", "check_id"),
                name="one_active_waiver_per_endpoint",
            ),
        ),
    ]
