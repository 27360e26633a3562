from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("approvals", "0003_living"),
    ]

    operations = [
        migrations.AddConstraint(
            model_name="request",
            constraint=models.UniqueConstraint(
                condition=models.Q(("kind__in", ["revision", "renewal", "access"]), ("state", "submitted")),
                fields=("kind", "endpoint", "project"),
                name="one_open_request_per_endpoint",
            ),
        ),
    ]
