from django.db import migrations, models


class Migration(migrations.Migration):
    """Where a replica may run in a cluster of containers."""

    dependencies = [("catalog", "0001_squashed_0009_mcpregistry")]

    operations = [
        migrations.AddField(
            model_name="hardwareprofile",
            name="resource",
            field=models.CharField(blank=True, db_default="", default="", max_length=100),
        ),
        migrations.AddField(
            model_name="hardwareprofile",
            name="node_selector",
            field=models.JSONField(db_default=models.Value({}, models.JSONField()), default=dict),
        ),
        migrations.AddField(
            model_name="hardwareprofile",
            name="tolerations",
            field=models.JSONField(db_default=models.Value([], models.JSONField()), default=list),
        ),
        migrations.AddField(
            model_name="hardwareprofile",
            name="cpu_millis",
            field=models.PositiveIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name="hardwareprofile",
            name="host_memory_bytes",
            field=models.BigIntegerField(db_default=0, default=0),
        ),
    ]
