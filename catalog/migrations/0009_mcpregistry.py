from django.db import migrations, models


class Migration(migrations.Migration):
    """Which MCP servers anybody may read of, and when a version last changed its state."""

    dependencies = [("catalog", "0008_evidence")]

    operations = [
        migrations.AddField(
            model_name="asset",
            name="registry_public",
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.AddField(
            model_name="version",
            name="changed_at",
            field=models.DateTimeField(null=True),
        ),
    ]
